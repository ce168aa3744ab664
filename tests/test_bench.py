"""The benchmark is fair and honest: same work on both sides, and books that are really read."""

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from bench import books, door, seeding, yardstick
from bench.neighbours import Clock
from bench.report import Figure

from conftest import Server, TestDatabase
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.keys import Keys

ROWS_WRITTEN = """
SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del
FROM pg_stat_user_tables
WHERE schemaname = 'public'
ORDER BY relname
"""
WRITTEN_BY = {
    "contract": "SELECT * FROM contract WHERE id = $1",
    "event": "SELECT * FROM event WHERE contract_id = $1 AND seq = 2",
    "transfer": "SELECT * FROM transfer WHERE contract_id = $1 AND movement = 'released'"
    " ORDER BY id",
    "idempotency_key": """
        SELECT k.* FROM idempotency_key AS k JOIN contract AS c ON c.commit_id = k.commit_id
        WHERE c.id = $1
    """,
}
SIZES = """
SELECT
    pg_column_size(c.*) AS contract,
    (SELECT pg_column_size(e.*) FROM event AS e WHERE e.id = c.commit_id) AS event,
    (
        SELECT sum(pg_column_size(t.*)) FROM transfer AS t WHERE t.commit_id = c.commit_id
    ) AS transfer,
    (SELECT pg_column_size(k.*) FROM idempotency_key AS k WHERE k.commit_id = c.commit_id) AS reply
FROM contract AS c
WHERE c.id = $1
"""


class Stand(msgspec.Struct, frozen=True):
    """A database with contracts of one seller, ready for release, and both ways to release."""

    pool: Pool
    keys: Keys
    door: Door
    contracts: list[int]

    async def by_door(self, *contracts: int) -> list[int]:
        """Release through the product's door; the commit ids."""
        taken = await seeding.read_contracts(self.pool, contracts)
        return (await door.release(self.door, self.keys, taken, tasks=4)).commit_ids

    async def by_hand(self, contract: int) -> None:
        """Release as pgbench does."""
        async with self.pool.connection() as conn:
            await conn.execute("SELECT bench_release($1, 1)", contract)

    async def written(self) -> dict[str, tuple[int, ...]]:
        """Rows inserted, updated, updated in place and deleted so far, by table."""
        async with self.pool.connection() as conn:
            await conn.execute("SELECT pg_stat_force_next_flush()")
            return {row[0]: tuple(row)[1:] for row in await conn.fetch(ROWS_WRITTEN)}


@pytest.fixture
async def stand(database: TestDatabase) -> AsyncIterator[Stand]:
    await yardstick.install(database.owner_dsn)
    pool = Pool(database.app_dsn, connections_max=1)
    keys, way = Keys(pool), Door(pool)
    buyer, seller = await seeding.add_parties(pool, keys, 2)
    made = await seeding.add_contracts(way, keys, 40, buyer=buyer, sellers=[seller])
    yield Stand(pool, keys, way, made)
    await pool.close()


async def test_it_writes_the_same_rows_by_hand_and_through_the_door(stand: Stand) -> None:
    first, second, by_hand, by_door = stand.contracts[:4]
    await stand.by_hand(first)  # from here on the seller has a wallet
    await stand.by_door(second)

    counts = [await stand.written()]
    await stand.by_hand(by_hand)
    counts.append(await stand.written())
    await stand.by_door(by_door)
    counts.append(await stand.written())

    hand, through_door = (
        {
            table: tuple(new - old for new, old in zip(after[table], before[table], strict=True))
            for table in after
            if after[table] != before[table]
        }
        for before, after in itertools.pairwise(counts)
    )
    assert through_door == {
        "balance": (0, 2, 2, 0),
        "contract": (0, 1, 1, 0),
        "event": (1, 0, 0, 0),
        "idempotency_key": (1, 0, 0, 0),
        "transfer": (2, 0, 0, 0),
    }
    assert hand == through_door


async def test_it_fills_the_same_columns_with_as_many_bytes(
    stand: Stand, database: TestDatabase
) -> None:
    by_hand, by_door = stand.contracts[:2]
    await stand.by_hand(by_hand)
    await stand.by_door(by_door)
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        for table, find in WRITTEN_BY.items():
            hand, through_door = await conn.fetch(find, by_hand), await conn.fetch(find, by_door)
            assert hand, table
            assert [_filled(row) for row in hand] == [_filled(row) for row in through_door], table
        hand_size, door_size = [(await conn.fetch(SIZES, key))[0] for key in (by_hand, by_door)]
    finally:
        await conn.close()
    for part, size in door_size.items():
        assert hand_size[part] == pytest.approx(size, rel=0.1), part


def _filled(row: asyncpg.Record) -> dict[str, Any]:
    """Which columns have a value; of short words and amounts, which."""
    return {
        name: value if isinstance(value, bool | list) or name.endswith("_minor") else None
        for name, value in row.items()
        if value is not None
    }


async def test_pgbench_releases_each_contract_once(stand: Stand, database: TestDatabase) -> None:
    pgbench = yardstick.find_pgbench()
    assert pgbench is not None
    measured = await yardstick.release(pgbench, database.app_dsn, stand.contracts[:32], clients=8)
    assert measured.per_second > 0
    assert len(measured.latencies) == 32
    assert 0 < min(measured.latencies) <= max(measured.latencies) < 60
    acknowledged = await stand.by_door(*stand.contracts[32:])
    await books.check(stand.pool, acknowledged=acknowledged, released=40)


DAMAGE = {
    "a balance that was changed": "UPDATE balance SET amount_minor = amount_minor + 1",
    "a balance that is missing": "DELETE FROM balance WHERE amount_minor > 0",
    "a transfer that is missing": "DELETE FROM transfer WHERE id = (SELECT max(id) FROM transfer)",
    "a transfer of another amount": "UPDATE transfer SET amount_minor = amount_minor + 1",
    "an event that is missing": "DELETE FROM event WHERE seq = 2",
    "a version without an event": "UPDATE contract SET version = 3, event_seq = 3",
    "a head that is not the last event": "UPDATE contract SET event_head = '\\x00'",
    "a reply that is missing": "DELETE FROM idempotency_key",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_it_refuses_books_with(stand: Stand, database: TestDatabase, damage: str) -> None:
    acknowledged = await stand.by_door(*stand.contracts[:3])
    await books.check(stand.pool, acknowledged=acknowledged, released=3)

    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        await conn.execute("SET session_replication_role = replica")  # past the triggers
        assert not (await conn.execute(damage)).endswith(" 0")
    finally:
        await conn.close()
    with pytest.raises(books.BooksAreWrong):
        await books.check(stand.pool, acknowledged=acknowledged, released=3)


async def test_it_misses_a_commit_that_was_acknowledged_and_is_not_there(stand: Stand) -> None:
    acknowledged = await stand.by_door(*stand.contracts[:3])
    with pytest.raises(books.BooksAreWrong, match="4 commits were acknowledged"):
        await books.check(stand.pool, acknowledged=[*acknowledged, 1 << 60], released=3)
    with pytest.raises(books.BooksAreWrong, match="4 contracts were released, 3 say so"):
        await books.check(stand.pool, acknowledged=acknowledged, released=4)


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ([2.1, 2.0, 2.2, 1.9], "goal"),
        ([1.6, 1.7, 1.4, 1.8], "must"),
        ([1.4, 1.4, 1.6, 1.6, 1.45], "must missed, within noise"),
        ([1.4, 1.3, 1.6, 1.2], "MISSED"),
    ],
)
def test_it_misses_a_must_only_when_three_rounds_of_four_do(
    rounds: list[float], verdict: str
) -> None:
    figure = Figure("door_16_to_pgbench", rounds, must=1.5, goal=2.0)
    assert (figure.verdict, figure.missed) == (verdict, verdict == "MISSED")


def test_it_knows_its_own_work_from_that_of_others(server: Server) -> None:
    postmaster = server.embedded.pgdata / "postmaster.pid"
    begun = Clock.read(postmaster)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    server.execute("SELECT sum(i) FROM generate_series(1, 300000) AS i")
    worked = Clock.read(postmaster)
    assert worked.ours - begun.ours > 0.2
    assert worked.everybody - begun.everybody > 0.15

    later = Clock(begun.elapsed + 10, begun.everybody + 6, begun.ours + 4)
    assert later.share_of_others(begun) == pytest.approx(0.2)
