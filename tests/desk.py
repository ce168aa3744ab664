"""The door without any HTTP: people, jobs and contracts made by the domain alone; and every way
in which the connection under a commit can break."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from conftest import TestDatabase
from earnest.domain import hiring, verbs
from earnest.domain.business import MARKETPLACE, Business, Settings
from earnest.domain.change import Change, audit_event
from earnest.domain.contract import Agreement, Contract, Money, Work
from earnest.domain.hiring import Hire, Job
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.payment import Payment
from earnest.errors import Unavailable
from earnest.ids import Ids, PublicId, key_of
from earnest.ledger.movements import Posting, Transfer, expand
from earnest.store import accounts, keys
from earnest.store.commit import Commit, Door
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Reply
from earnest.store.keys import Keys

SHOP = Business(MARKETPLACE, "Marketplace", "INR", Settings())
RATE_MINOR = 1_200_000
NEW_JOB = """
INSERT INTO job (
    id, public_id, business_id, client_id, title, description, rate_minor, currency,
    experience_level
) VALUES ($1, $2, 1, $3, 'Logo', 'A logo.', $4, 'INR', 'Beginner')
"""

Decide = Callable[[Contract, Ids], Change]


class Desk(msgspec.Struct):
    """People at the door. `door` works; a test brings its own where it should not."""

    pool: Pool
    door: Door
    keys: Keys
    alice: Actor
    bob: Actor
    olga: Actor
    jobs: dict[int, PublicId] = {}

    @classmethod
    async def open(cls, pool: Pool) -> "Desk":
        people = []
        async with pool.connection() as conn, conn.transaction():
            for name, role in (
                ("alice", Role.CLIENT),
                ("bob", Role.FREELANCER),
                ("olga", Role.ADMIN),
            ):
                party = await accounts.create(
                    conn,
                    name=name,
                    email=f"{name}@example.com",
                    email_canonical=f"{name}@example.com",
                    role=role,
                    password_hash="none",
                )
                people.append(Actor(role, key_of(party), party))
        alice, bob, olga = people
        return cls(pool, Door(pool), Keys(pool), alice, bob, olga)

    # -- what is there ------------------------------------------------------------------------

    async def new_job(self) -> int:
        async with self.pool.connection() as conn:
            fresh = await keys.draw(conn)
            await conn.execute(NEW_JOB, fresh.key, fresh.public_id, self.alice.key, RATE_MINOR)
        self.jobs[fresh.key] = fresh.public_id
        return fresh.key

    def _hire(self, job: int, contract: Contract | None) -> Hire:
        known_as = self.jobs[job]
        of = Job(job, known_as, self.alice.key, "Logo", "", RATE_MINOR, "INR", "Open")
        return Hire(of, self.bob.key, self.bob.public_id, True, contract, payment=None)

    async def new_contract(self, job: int | None = None) -> Commit:
        """A decided contract for `job`, not yet handed in."""
        job = job or await self.new_job()
        ids = await self.keys.ids()
        hire = self._hire(job, None)
        return Commit(hiring.create_contract(hire, SHOP, self.alice, now(), ids, RATE_MINOR))

    async def created(self) -> Contract:
        return await self._done(await self.new_contract())

    async def funded(self) -> Contract:
        """A contract with its money in it, its work done: ready for whatever comes."""
        contract = await self.created()
        ids = await self.keys.ids()
        assert contract.job is not None
        hire = self._hire(contract.job, contract)
        opening = hiring.open_payment(hire, SHOP, 1, self.alice, now(), ids)
        assert isinstance(opening, Change)
        assert await self.door.commit(Commit(opening))
        assert isinstance(opening.payment, Payment)
        change = hiring.fund(contract, opening.payment, SYSTEM, now(), ids)
        return await self._done(Commit(change, expand(change, ids)))

    async def _done(self, commit: Commit) -> Contract:
        assert await self.door.commit(commit)
        assert commit.change.contract is not None
        return commit.change.contract

    # -- decisions, not yet handed in -----------------------------------------------------------

    async def commit(
        self,
        decide: Decide,
        contract: Contract,
        once: Once | None = None,
        reply: Reply | None = None,
    ) -> Commit:
        ids = await self.keys.ids()
        change = decide(contract, ids)
        return Commit(change, expand(change, ids), once, reply)

    async def approved(self, contract: Contract, **more: Any) -> Commit:
        return await self.commit(
            lambda c, ids: verbs.approve(c, SHOP, self.bob, now(), ids), contract, **more
        )

    async def released(self, contract: Contract, **more: Any) -> Commit:
        """The release of a funded contract, as if its work were done and it were asked for."""
        asked = msgspec.structs.replace(
            contract,
            agreement=Agreement.ACCEPTED,
            work=Work.COMPLETED,
            tranches=(Money.RELEASE_REQUESTED,),
        )
        return await self.commit(
            lambda c, ids: verbs.approve_release(c, SHOP, self.olga, now(), ids), asked, **more
        )

    def cancel(self, contract: Contract, ids: Ids) -> Change:
        return verbs.cancel(contract, self.alice, now(), ids)

    def refund(self, contract: Contract, ids: Ids) -> Change:
        return verbs.approve_refund(contract, self.olga, now(), ids)

    async def transfer(self, posting: Posting) -> Commit:
        """Money moved by a change that owns no contract and no payment."""
        ids = await self.keys.ids()
        event = audit_event(ids, "payout:1", "payout.planned", SYSTEM, now(), {})
        change = Change(
            commit_id=event.commit_id, recorded_at=now(), occurred_at=now(), events=(event,)
        )
        moved = Transfer(
            ids.new_entry(),
            change.commit_id,
            "paid_out",
            posting.debit,
            posting.credit,
            posting.amount_minor,
            None,
            None,
            now(),
            now(),
        )
        return Commit(change, (moved,))

    async def copies(self, transfers: tuple[Transfer, ...]) -> tuple[Transfer, ...]:
        """The same transfers a second time, under keys of their own."""
        ids = await self.keys.ids()
        return tuple(msgspec.structs.replace(one, key=ids.new_entry()) for one in transfers)

    async def balance(self, account: int) -> int:
        async with self.pool.connection() as conn:
            found = await conn.fetchval(
                "SELECT amount_minor FROM balance WHERE account = $1", account
            )
        return found or 0


def now() -> datetime:
    return datetime.now(UTC)


# -- broken connections ---------------------------------------------------------------------------


class Wound(msgspec.Struct):
    """What a fault may use: the connection under the statement, a superuser, and the key of a
    contract whose row it may lock."""

    conn: asyncpg.Connection
    surgeon: asyncpg.Connection
    contract: int

    async def kill(self) -> None:
        await self.surgeon.execute(
            "SELECT pg_terminate_backend($1, 5000)", self.conn.get_server_pid()
        )

    async def until_blocked(self) -> None:
        """Wait until the statement waits for a lock."""
        for _ in range(1_000):
            if await self.surgeon.fetchval(IS_BLOCKED, self.conn.get_server_pid()):
                return
            await asyncio.sleep(0.005)
        raise TimeoutError


Fault = Callable[[Wound, tuple[Any, ...]], Awaitable[Any]]
IS_BLOCKED = "SELECT cardinality(pg_blocking_pids($1)) > 0"
LOCK_CONTRACT = "SELECT id FROM contract WHERE id = $1 FOR UPDATE"


async def killed_before(wound: Wound, call: tuple[Any, ...]) -> Any:
    """The server ends the connection before the statement reaches it."""
    await wound.kill()
    return await wound.conn.fetchval(*call)


async def killed_within(wound: Wound, call: tuple[Any, ...]) -> Any:
    """... while it is at work."""
    async with wound.surgeon.transaction():
        await wound.surgeon.execute(LOCK_CONTRACT, wound.contract)
        running = asyncio.ensure_future(wound.conn.fetchval(*call))
        await wound.until_blocked()
        await wound.kill()
    return await running


async def killed_after(wound: Wound, call: tuple[Any, ...]) -> Any:
    """... after it committed and before anybody heard of it."""
    await wound.conn.fetchval(*call)
    await wound.kill()
    raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


def reply_lost(error: type[Exception]) -> Fault:
    """The reply never arrives; the server is well."""

    async def fault(wound: Wound, call: tuple[Any, ...]) -> Any:
        await wound.conn.fetchval(*call)
        raise error("the reply was lost")

    fault.__name__ = f"reply_lost_{error.__name__}"
    return fault


async def still_running(wound: Wound, call: tuple[Any, ...]) -> Any:
    """The connection breaks while the server is at work, and the server does not notice."""
    holder = wound.surgeon.transaction()
    await holder.start()
    await wound.surgeon.execute(LOCK_CONTRACT, wound.contract)
    running = asyncio.ensure_future(wound.conn.fetchval(*call))
    running.add_done_callback(lambda done: done.cancelled() or done.exception())
    await wound.until_blocked()
    asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(holder.rollback()))
    raise OSError("the network swallowed it")


class Wounded:
    """A connection whose next commit meets a fault."""

    def __init__(self, wound: Wound, fault: Fault) -> None:
        self.wound, self._fault = wound, fault

    def get_server_pid(self) -> int:
        return self.wound.conn.get_server_pid()

    async def fetchval(self, *call: Any) -> Any:
        return await self._fault(self.wound, call)


class Breaking(Pool):
    """A pool whose commits break; its other connections are well unless `unreachable`."""

    def __init__(self, whole: Pool, surgeon: asyncpg.Connection, contract: int, fault: Fault):
        self._whole, self._surgeon, self._contract = whole, surgeon, contract
        self._fault = fault
        self.unreachable = False

    async def acquire(self) -> Any:
        conn = await self._whole.acquire()
        return Wounded(Wound(conn, self._surgeon, self._contract), self._fault)

    def release(self, conn: Any, error: BaseException | None = None) -> None:
        self._whole.release(conn.wound.conn, error)

    def connection(self) -> Any:
        if self.unreachable:
            raise Unavailable
        return self._whole.connection()


@asynccontextmanager
async def broken(
    pool: Pool, database: TestDatabase, fault: Fault, contract: Contract
) -> AsyncIterator[Breaking]:
    """A pool over `pool` in which every commit meets `fault`."""
    surgeon = await asyncpg.connect(database.superuser_dsn)
    try:
        yield Breaking(pool, surgeon, contract.key, fault)
    finally:
        await asyncio.sleep(0.4 if fault is still_running else 0)
        await surgeon.close()
