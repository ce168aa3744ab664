"""The one door, on a real PostgreSQL: all of a change or nothing, once, whatever breaks."""

import asyncio
from typing import Any

import asyncpg
import pytest

from canary import LEAVE_OUT_TRANSFERS, damage, names, plant
from conftest import TestDatabase
from desk import Desk, broken, killed_after, killed_before, killed_within, reply_lost, still_running
from earnest.errors import OutcomeUnknown, Unavailable
from earnest.ledger.accounts import held, wallet
from earnest.ledger.movements import Posting
from earnest.store import commit as commit_module
from earnest.store.commit import LANES, Commit, Door, claims
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Reply


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    """Alice, Bob and Olga at the door, without any HTTP."""
    return await Desk.open(pool)


async def together(door: Door, *commits: Commit) -> list[bool | BaseException]:
    """Hand all in at once: the first leaves alone, the others in the next batch."""
    return await asyncio.gather(*map(door.commit, commits), return_exceptions=True)


async def transactions(pool: Pool, *commits: Commit) -> list[int | None]:
    """The database transaction that wrote each commit, None where there is none."""
    async with pool.connection() as conn:
        return [
            await conn.fetchval(
                "SELECT xmin::text::bigint FROM event WHERE id = $1", one.change.commit_id
            )
            for one in commits
        ]


async def undamaged(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert await damage(conn) == []


# -- one commit -----------------------------------------------------------------------------------


async def test_it_writes_all_of_a_change_under_one_commit_id(desk: Desk) -> None:
    contract = await desk.funded()
    once = Once("admin:1", "PUT /x", "key", b"hash", moves_money=True)
    commit = await desk.released(contract, once=once, reply=Reply(200, b"{}"))
    assert await desk.door.commit(commit) is True
    commit_id = commit.change.commit_id
    assert commit_id == commit.change.events[0].key
    async with desk.pool.connection() as conn:
        for table in ("contract", "transfer", "event", "idempotency_key"):
            count = await conn.fetchval(
                f"SELECT count(*) FROM {table} WHERE commit_id = $1", commit_id
            )
            assert count > 0, table
    assert await desk.balance(wallet("INR", desk.bob.key)) == 1_080_000
    assert await desk.balance(held("INR", contract.key, 0)) == 0
    await undamaged(desk.pool)


async def test_it_writes_nothing_of_a_change_that_comes_too_late(desk: Desk) -> None:
    contract = await desk.funded()
    first, second = [await desk.released(contract) for _ in range(2)]
    assert await desk.door.commit(first) is True
    assert await desk.door.commit(second) is False
    assert await transactions(desk.pool, second) == [None]
    assert await desk.balance(wallet("INR", desk.bob.key)) == 1_080_000
    await undamaged(desk.pool)


async def test_it_never_lets_a_balance_fall_below_its_floor(desk: Desk) -> None:
    contract = await desk.funded()
    commit = await desk.released(contract)
    assert commit.change.contract is not None
    double = Commit(commit.change, commit.transfers + await desk.copies(commit.transfers))
    with pytest.raises(asyncpg.CheckViolationError, match="balance_floor"):
        await desk.door.commit(double)
    assert await transactions(desk.pool, double) == [None]
    # An account that never had anything has no row that could fall: it is refused all the same.
    empty = await desk.transfer(Posting(wallet("INR", desk.alice.key), wallet("INR", 9), 1))
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.door.commit(empty)
    await undamaged(desk.pool)


# -- batches --------------------------------------------------------------------------------------


async def test_it_carries_together_what_arrives_together(desk: Desk) -> None:
    commits = [await desk.approved(await desk.created()) for _ in range(20)]
    assert await together(desk.door, *commits) == [True] * 20
    written = await transactions(desk.pool, *commits)
    assert len(set(written)) == LANES
    assert len(set(written[: len(commits) // LANES])) == 1  # who came first travels first
    await undamaged(desk.pool)


async def test_it_leaves_out_the_one_member_that_is_stale(desk: Desk) -> None:
    lead, stale, *fine = [await desk.funded() for _ in range(6)]
    commits = [await desk.released(one) for one in (lead, *fine[:2], stale, *fine[2:])]
    assert await desk.door.commit(await desk.commit(desk.cancel, stale))
    answers = await together(desk.door, *commits)
    assert answers == [True, True, True, False, True, True]
    written = await transactions(desk.pool, *commits)
    assert written[3] is None
    assert len({one for one in written[1:] if one is not None}) == 1
    assert await desk.balance(wallet("INR", desk.bob.key)) == 5 * 1_080_000
    await undamaged(desk.pool)


async def test_its_canary_a_stale_members_transfers_would_be_seen(
    desk: Desk, database: TestDatabase
) -> None:
    await plant(database.owner_dsn, LEAVE_OUT_TRANSFERS, without=("balance_floor",))
    lead, stale = [await desk.funded() for _ in range(2)]
    commits = [await desk.released(lead), await desk.released(stale)]
    assert await desk.door.commit(await desk.commit(desk.cancel, stale))
    assert await together(desk.door, *commits) == [True, False]
    async with desk.pool.connection() as conn:
        assert "a transfer, an inbox line or a reply belongs to no commit" in names(
            await damage(conn)
        )


async def test_it_tries_each_alone_when_one_makes_the_statement_fail(desk: Desk) -> None:
    """A second live contract for a job, and a balance below its floor, between good members."""
    lead, one, greedy, two = [await desk.funded() for _ in range(4)]
    taken = await desk.created()
    second = await desk.new_contract(taken.job)
    greedy_commit = await desk.released(greedy)
    too_much = Commit(
        greedy_commit.change, greedy_commit.transfers + await desk.copies(greedy_commit.transfers)
    )
    commits = [
        await desk.released(lead),
        await desk.released(one),
        second,
        too_much,
        await desk.released(two),
    ]
    answers = await together(desk.door, *commits)
    assert answers[:3] == [True, True, False]  # False: load again, and see the live contract
    assert isinstance(answers[3], asyncpg.CheckViolationError)
    assert answers[3].constraint_name == "balance_floor"
    assert answers[4] is True
    written = await transactions(desk.pool, *commits)
    assert written[2:4] == [None, None]
    assert len({written[0], written[1], written[4]}) == 3
    await undamaged(desk.pool)


async def test_it_never_takes_two_changes_of_one_contract_into_a_batch(desk: Desk) -> None:
    lead, contract = [await desk.funded() for _ in range(2)]
    commits = [await desk.approved(lead)]
    commits += [await desk.approved(contract) for _ in range(4)]
    assert await together(desk.door, *commits) == [True, True, False, False, False]
    await undamaged(desk.pool)


async def test_it_writes_two_changes_of_one_contract_in_two_batches(desk: Desk) -> None:
    lead, contract = [await desk.created() for _ in range(2)]
    first = await desk.approved(contract)
    assert first.change.contract is not None
    second = await desk.commit(desk.cancel, first.change.contract)
    answers = await together(desk.door, await desk.approved(lead), first, second)
    assert answers == [True, True, True]
    written = await transactions(desk.pool, first, second)
    assert written[0] != written[1]
    await undamaged(desk.pool)


async def test_it_never_takes_one_idempotency_key_twice(desk: Desk) -> None:
    once = Once("client:1", "POST /x", "key", b"hash", moves_money=False)
    lead, one, other = [await desk.created() for _ in range(3)]
    reply = Reply(200, b"{}")
    commits = [
        await desk.approved(lead),
        await desk.approved(one, once=once, reply=reply),
        await desk.approved(other, once=once, reply=reply),
    ]
    assert not set(claims(commits[1])).isdisjoint(claims(commits[2]))
    assert await together(desk.door, *commits) == [True, True, False]
    assert await transactions(desk.pool, commits[2]) == [None]
    await undamaged(desk.pool)


async def test_it_lets_debits_of_wallets_travel_alone(desk: Desk) -> None:
    for _ in range(2):
        contract = await desk.funded()
        assert await desk.door.commit(await desk.released(contract))
    # Stand-ins for payouts: money leaves Bob's wallet under changes that own no wallet.
    bob, olga = wallet("INR", desk.bob.key), wallet("INR", desk.olga.key)
    payouts = [await desk.transfer(Posting(bob, olga, 1_000)) for _ in range(6)]
    others = [await desk.approved(await desk.created()) for _ in range(4)]
    assert all(one.solo for one in payouts)
    assert not any(one.solo for one in others)
    assert await together(desk.door, *others, *payouts) == [True] * 10
    written = await transactions(desk.pool, *payouts)
    assert len(set(written)) == 6
    assert set(written).isdisjoint(await transactions(desk.pool, *others))
    assert await desk.balance(bob) == 2 * 1_080_000 - 6_000


async def test_it_drains_what_was_handed_in(desk: Desk) -> None:
    commits = [await desk.approved(await desk.created()) for _ in range(8)]
    handed_in = [asyncio.ensure_future(desk.door.commit(one)) for one in commits]
    await asyncio.sleep(0)
    await desk.door.drain()
    assert [one.result() for one in handed_in] == [True] * 8


async def test_it_has_nothing_to_say_when_the_database_cannot_be_reached(desk: Desk) -> None:
    commit = await desk.approved(await desk.created())
    nowhere = Pool("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable) as refused:
        await Door(nowhere).commit(commit)
    assert not isinstance(refused.value, OutcomeUnknown)
    assert await desk.door.commit(commit) is True  # nothing had happened
    await nowhere.close()


# -- broken connections ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "happened"),
    [
        (killed_before, False),
        (killed_within, False),
        (killed_after, True),
        (reply_lost(OSError), True),
        (reply_lost(TimeoutError), True),
        (reply_lost(asyncpg.InterfaceError), True),
        (reply_lost(asyncpg.InternalClientError), True),
        (reply_lost(asyncpg.ConnectionDoesNotExistError), True),
        (still_running, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_it_looks_up_what_a_broken_connection_did(
    desk: Desk, database: TestDatabase, fault: Any, happened: bool
) -> None:
    contract = await desk.funded()
    commit = await desk.released(contract)
    async with broken(desk.pool, database, fault, contract) as breaking:
        assert await Door(breaking).commit(commit) is happened
    assert (await transactions(desk.pool, commit) != [None]) is happened
    if not happened:  # what the action does then: decide again
        assert await desk.door.commit(await desk.released(contract)) is True
    await asyncio.sleep(0.05)  # nothing of the first attempt may still arrive
    assert await desk.balance(wallet("INR", desk.bob.key)) == 1_080_000
    await undamaged(desk.pool)


async def test_it_lends_no_connection_again_over_which_the_server_said_goodbye(pool: Pool) -> None:
    conn = await pool.acquire()
    pool.release(conn, asyncpg.InternalClientError("protocol is in the failed state"))
    async with pool.connection() as another:
        assert another is not conn
    assert conn.is_closed()


async def test_it_looks_up_every_member_of_a_batch_whose_reply_was_lost(
    desk: Desk, database: TestDatabase
) -> None:
    lead, stale, one, two = [await desk.funded() for _ in range(4)]
    commits = [await desk.released(x) for x in (lead, one, stale, two)]
    assert await desk.door.commit(await desk.commit(desk.cancel, stale))
    async with broken(desk.pool, database, reply_lost(OSError), lead) as breaking:
        answers = await together(Door(breaking), *commits)
    assert answers == [True, True, False, True]
    await undamaged(desk.pool)


async def test_its_canary_taking_unknown_for_failed_would_be_seen(
    desk: Desk, database: TestDatabase
) -> None:
    class Guessing(Door):
        async def _look_up(self, *_: Any) -> set[int]:
            return set()

    contract = await desk.funded()
    commit = await desk.released(contract)
    async with broken(desk.pool, database, reply_lost(OSError), contract) as breaking:
        assert await Guessing(breaking).commit(commit) is False
    assert await transactions(desk.pool, commit) != [None]


async def test_it_says_unknown_when_it_cannot_look(desk: Desk, database: TestDatabase) -> None:
    contract = await desk.funded()
    commit = await desk.released(contract)
    async with broken(desk.pool, database, reply_lost(OSError), contract) as breaking:
        breaking.unreachable = True
        with pytest.raises(OutcomeUnknown):
            await Door(breaking).commit(commit)
    # It had happened: repeating it finds that out.
    assert await desk.door.commit(await desk.released(contract)) is False
    assert await desk.balance(wallet("INR", desk.bob.key)) == 1_080_000


async def test_it_says_unknown_while_the_server_is_still_at_work(
    desk: Desk, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that does not go: whatever it has not done yet it may still do."""
    monkeypatch.setattr(commit_module, "END_BACKEND", "SELECT $1::integer")
    contract = await desk.funded()
    commit = await desk.released(contract)
    async with broken(desk.pool, database, still_running, contract) as breaking:
        with pytest.raises(OutcomeUnknown):
            await Door(breaking).commit(commit)
        await asyncio.sleep(0.5)
    assert await transactions(desk.pool, commit) != [None]  # it did


# -- two processes --------------------------------------------------------------------------------


async def test_it_shares_wallets_between_two_processes(desk: Desk, database: TestDatabase) -> None:
    """Two doors on two pools, all releases into one wallet, refunds into another."""
    contracts = [await desk.funded() for _ in range(60)]
    releases = [await desk.released(one) for one in contracts[:40]]
    cancelled = []
    for one in contracts[40:]:
        commit = await desk.commit(desk.cancel, one)
        assert await desk.door.commit(commit)
        assert commit.change.contract is not None
        cancelled.append(commit.change.contract)
    refunds = [await desk.commit(desk.refund, one) for one in cancelled]
    again = [await desk.released(one) for one in contracts[:40]]
    other_pool = Pool(database.app_dsn)
    doors = [Door(desk.pool, members_max=7), Door(other_pool, members_max=5)]
    work: list[Commit] = [one for pair in zip(releases, again, strict=True) for one in pair]
    work += refunds
    answers = await asyncio.gather(
        *(doors[i % 2].commit(one) for i, one in enumerate(work)), return_exceptions=True
    )
    await other_pool.close()
    assert not [one for one in answers if isinstance(one, BaseException)]
    assert sum(map(bool, answers)) == 60
    assert await desk.balance(wallet("INR", desk.bob.key)) == 40 * 1_080_000
    assert await desk.balance(wallet("INR", desk.alice.key)) == 20 * 1_080_000
    await undamaged(desk.pool)


async def test_it_survives_two_processes_that_lock_in_opposite_orders(
    desk: Desk, database: TestDatabase
) -> None:
    """New contracts for the same jobs, in batches whose keys run against each other."""
    other_pool = Pool(database.app_dsn)
    doors = [Door(desk.pool), Door(other_pool)]
    for _ in range(5):
        jobs = [await desk.new_job() for _ in range(8)]
        one_way = [await desk.new_contract(job) for job in jobs]
        other_way = [await desk.new_contract(job) for job in reversed(jobs)]
        answers = await asyncio.gather(
            *map(doors[0].commit, one_way), *map(doors[1].commit, other_way)
        )
        won = [
            one.change.contract.job
            for one, answer in zip(one_way + other_way, answers, strict=True)
            if answer and one.change.contract is not None
        ]
        assert len(won) == len(set(won))
        # Who lost to a deadlock or to the other door decides again; then every job has one.
        for job in set(jobs) - set(won):
            assert await desk.door.commit(await desk.new_contract(job))
        await undamaged(desk.pool)
    await other_pool.close()


async def test_it_changes_two_wallets_of_one_commit_together(desk: Desk) -> None:
    contract = await desk.funded()
    started = await desk.approved(contract)
    assert await desk.door.commit(started)
    assert started.change.contract is not None
    refund = await desk.commit(desk.refund, started.change.contract)
    assert await desk.door.commit(refund)
    moved = [one.amount_minor for one in refund.transfers]
    assert sorted(moved) == sorted([918_000, 162_000, 120_000])
    assert await desk.balance(wallet("INR", desk.alice.key)) == 918_000
    assert await desk.balance(wallet("INR", desk.bob.key)) == 162_000
    await undamaged(desk.pool)
