"""Provider events against the plain door: the same funding of the same kind of contracts.

**events**: signed bytes, as a provider posts them, are verified, read, compared with what we asked
for, decided and committed. **commits**: what they lead to, decided before, handed to the door. One
process, EVENTS_AT_ONCE callers each; HTTP is left out on both sides.
"""

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from bench import books, seeding
from bench.neighbours import Clock
from bench.report import Figure
from earnest.actions.core import Core
from earnest.actions.payments import take_event
from earnest.assembly import build_core
from earnest.domain.capture import take_capture
from earnest.domain.change import of_contract
from earnest.domain.contract import Agreement, record
from earnest.domain.hiring import payment_change
from earnest.domain.party import SYSTEM
from earnest.domain.payment import (
    Capture,
    CaptureKind,
    Payment,
    PaymentState,
    checkout_metadata,
)
from earnest.domain.verbs import created_body, new_contract
from earnest.ids import PublicId, key_of
from earnest.ledger.movements import expand
from earnest.providers import signature
from earnest.providers.events import parse_event
from earnest.settings import Settings
from earnest.store.captures import Told
from earnest.store.commit import Commit
from earnest.store.db import Pool
from earnest.store.embedded import Embedded

EVENTS_AT_ONCE = 128
SELLERS = 500
SECRET = "whsec_of_this_bench"
EVENTS = "provider events, 128 at once"
COMMITS = "the same commits, decided before"

JOBS = "SELECT id, public_id FROM job WHERE id = ANY($1::bigint[])"
PEOPLE = "SELECT id, public_id FROM party WHERE id = ANY($1::bigint[])"
FUNDED = """
SELECT count(*) FROM payment AS p
INNER JOIN contract AS c ON c.id = p.contract_id
WHERE p.id = ANY($1::bigint[]) AND p.state = 'captured' AND c.tranches = '{held}'
"""

_numbers = itertools.count(1)


class Due(msgspec.Struct, frozen=True):
    """An open payment, and what names its provider's event about it."""

    payment: Payment
    event_id: str
    provider_payment_id: str


class Posted(msgspec.Struct, frozen=True):
    """What the provider posts."""

    raw: bytes
    header: str


class Events:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self.rates: dict[str, list[float]] = {EVENTS: [], COMMITS: []}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, measure in turns, check."""
        say("provider events, and the commits that they lead to")
        core = build_core(Settings(secret_key=b"the secret of this bench, 32 byte"), self._pool)
        series = {EVENTS: self._events, COMMITS: self._commits}
        due = await self._seed(core, self._count * (2 * self._rounds + 2))
        postmaster = self._server.pgdata / "postmaster.pid"
        for number in range(-1, self._rounds):
            begun = Clock.read(postmaster)
            for name in [*series] if number % 2 == 0 else reversed([*series]):
                taken = [due.pop() for _ in range(self._count)]
                per_second = await series[name](core, taken)
                if number >= 0:  # the first one warms up
                    self.rates[name].append(per_second)
                await self._check(taken)
            if number < 0:
                await books.vacuum(self._server.owner_dsn)
            else:
                self.others.append(Clock.read(postmaster).share_of_others(begun))
        pairs = zip(self.rates[EVENTS], self.rates[COMMITS], strict=True)
        return [Figure("events_to_commits", [a / b for a, b in pairs], 0.6, 0.8)]

    async def _events(self, core: Core, due: Sequence[Due]) -> float:
        async def take(one: Posted) -> None:
            signature.verify(one.raw, one.header, (SECRET,), int(time.time()))
            await take_event(core, parse_event(one.raw), one.raw)

        # Just now, as the commits of the other series: a body comes fresh from the network.
        return await _timed(take, [_posted(one) for one in due])

    async def _commits(self, core: Core, due: Sequence[Due]) -> float:
        decided = [await self._decided(core, one) for one in due]

        async def commit(one: Commit) -> None:
            if not await core.door.commit(one):
                raise books.BooksAreWrong("a payment changed under the bench")

        return await _timed(commit, decided)

    async def _decided(self, core: Core, due: Due) -> Commit:
        payment = due.payment
        told = Told(due.event_id, payment.session_id, due.provider_payment_id)
        found = await core.capture_loads.session(told)
        capture = Capture(
            provider=core.provider_name,
            provider_account=core.provider_account,
            event_id=due.event_id,
            type="checkout.session.completed",
            kind=CaptureKind.PAID,
            ours=True,
            occurred_at=found.now,
            payload=_posted(due).raw,
            session_id=payment.session_id,
            provider_payment_id=due.provider_payment_id,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            metadata=payment.metadata,
        )
        ids = await core.keys.ids()
        change = take_capture(capture, found.situation, found.business, found.now, ids)
        return Commit(change, expand(change, ids))

    async def _check(self, due: Sequence[Due]) -> None:
        await books.check_sums(self._pool)
        async with self._pool.connection() as conn:
            funded = await conn.fetchval(FUNDED, [one.payment.key for one in due])
        if funded != len(due):
            raise books.BooksAreWrong(f"{len(due)} payments came in, {funded} funded a contract")

    async def _seed(self, core: Core, count: int) -> list[Due]:
        buyer, *sellers = await seeding.add_parties(self._pool, core.keys, SELLERS + 1)
        keyed = await seeding.add_jobs(self._pool, core.keys, count, client=buyer)
        async with self._pool.connection() as conn:
            jobs = await conn.fetch(JOBS, keyed)
            names = {row[0]: row[1] for row in await conn.fetch(PEOPLE, [buyer, *sellers])}
        due: list[Due] = []
        for first in range(0, len(jobs), seeding.CHUNK):
            chunk = jobs[first : first + seeding.CHUNK]
            made = [
                await _open(core, job_id, buyer, random.choice(sellers), names)
                for _, job_id in chunk
            ]
            for step in (0, 1):  # the contracts, then what is to be paid for them
                assert all(await asyncio.gather(*(core.door.commit(one[step]) for one in made)))
            for _, opened in made:
                assert opened.change.payment is not None
                due.append(_due(opened.change.payment))
        return due


async def _open(
    core: Core, job_id: PublicId, buyer: int, seller: int, names: dict[int, PublicId]
) -> tuple[Commit, Commit]:
    """A contract that both have agreed to, and its open payment."""
    job = key_of(job_id)
    ids = await core.keys.ids()
    now = datetime.now(UTC)
    draft = new_contract(
        seeding.BUSINESS,
        buyer=buyer,
        seller=seller,
        job=job,
        title="Logo for a bakery",
        amount_minor=seeding.AMOUNT_MINOR,
        now=now,
        ids=ids,
    )
    agreed = msgspec.structs.replace(draft, agreement=Agreement.ACCEPTED)
    contract, told = record(agreed, SYSTEM, now, ids, ("contract.created", created_body(agreed)))
    key, public_id = ids.new_object(now)
    payment = Payment(
        key=key,
        public_id=public_id,
        business=contract.business,
        job=job,
        buyer=buyer,
        seller=seller,
        provider_account=core.provider_account,
        amount_minor=contract.charge_minor,
        currency=contract.currency,
        metadata=checkout_metadata(public_id, {"jobId": job_id}, names[buyer], names[seller]),
        created_at=now,
        version=0,
        commit_id=0,
        updated_at=now,
        contract=contract.key,
    )
    opened = payment_change(
        payment,
        "payment.opened",
        SYSTEM,
        now,
        ids,
        {},
        state=PaymentState.OPEN,
        session_id=f"cs_bench_{key}",
        session_url="http://127.0.0.1/pay",
        session_expires_at=now + timedelta(days=1),
    )
    return Commit(of_contract(contract, told)), Commit(opened)


def _due(payment: Payment) -> Due:
    number = next(_numbers)
    return Due(payment, f"evt_bench_{number}", f"pi_bench_{number}")


def _posted(due: Due) -> Posted:
    payment = due.payment
    session = {
        "id": payment.session_id,
        "object": "checkout.session",
        "amount_total": payment.amount_minor,
        "currency": payment.currency.lower(),
        "livemode": False,
        "metadata": payment.metadata,
        "payment_intent": due.provider_payment_id,
        "payment_status": "paid",
        # Stripe's sessions are some 3 KB: what we do not read has to be parsed, too.
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "custom_text": {"after_submit": None, "submit": {"message": "x" * 2_000}},
    }
    now = int(time.time())
    event = {
        "id": due.event_id,
        "object": "event",
        "type": "checkout.session.completed",
        "created": now,
        "livemode": False,
        "data": {"object": session},
    }
    raw = msgspec.json.encode(event)
    return Posted(raw, signature.sign(raw, SECRET, now))


Work = TypeVar("Work")


async def _timed(do: Callable[[Work], Awaitable[None]], work: Sequence[Work]) -> float:
    """How many per second, EVENTS_AT_ONCE at a time."""
    waiting = iter(work)

    async def one_caller() -> None:
        for one in waiting:
            await do(one)

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    begun = time.perf_counter()
    await asyncio.gather(*(one_caller() for _ in range(EVENTS_AT_ONCE)))
    seconds = time.perf_counter() - begun
    gc.unfreeze()
    return len(work) / seconds
