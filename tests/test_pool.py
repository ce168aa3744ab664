"""The connection pool: last in, first out, bounded, and nothing broken is lent twice."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import asyncpg
import msgspec
import pytest

from conftest import Server, TestDatabase
from earnest.errors import Unavailable
from earnest.store import captures, contracts, partners
from earnest.store.db import DatabaseRefused, Pool, check_durability


async def pid(pool: Pool) -> int:
    async with pool.connection() as conn:
        found: int = await conn.fetchval("SELECT pg_backend_pid()")
        return found


async def test_it_lends_the_connection_that_came_back_last(pool: Pool) -> None:
    first, second = await pool.acquire(), await pool.acquire()
    pool.release(first)
    pool.release(second)
    assert await pool.acquire() is second


async def test_it_sets_each_session_up(pool: Pool) -> None:
    async with pool.connection() as conn:
        settings = {
            name: await conn.fetchval("SELECT current_setting($1)", name)
            for name in (
                "application_name",
                "statement_timeout",
                "default_transaction_isolation",
                "synchronous_commit",
                "TimeZone",
            )
        }
    assert settings == {
        "application_name": "earnest",
        "statement_timeout": "30s",
        "default_transaction_isolation": "read committed",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
    }


LOADS = {
    contracts.LOAD: "'{1}', '{x}', '{1}', '{x}', '{x}'",
    contracts.LOAD_PAID: "'{1}', '{x}', '{1}', '{x}', '{x}'",
    contracts.CLIENTS: "'{1}'",
    partners.LOAD: "'{1}', '{x}', '{x}'",
    captures.LOAD: "'stripe', 2, 'evt_1', 'cs_1', 'pi_1'",
}
SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan")


def walks(plan: dict[str, Any]) -> list[str]:
    """The tables that a plan reads from their beginning, or all through an index."""
    found = [name for part in plan.get("Plans", ()) for name in walks(part)]
    by_key = plan.keys() & {"Index Cond", "Recheck Cond"}
    if plan["Node Type"] in SCANS and not by_key and plan["Relation Name"] != "business_clock":
        found.append(plan["Relation Name"])
    return found


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("is_purged", [False, True])
async def test_what_is_loaded_before_a_decision_is_found_by_its_keys_even_if_planned_for_nothing(
    database: TestDatabase, load: str, is_purged: bool
) -> None:
    """A connection plans once, maybe when tables were empty, and they grow. (The clock is a row.)

    Of a table of which nothing is known the planner expects some pages. Of one that is known to be
    empty, as the keys are after a purge, it expects that all of it is read as quickly as one row.
    """
    if is_purged:
        owner = await asyncpg.connect(database.superuser_dsn)
        await owner.execute("VACUUM (ANALYZE) idempotency_key")
        await owner.close()
    probing = Pool(database.app_dsn, connections_max=1, only_probes=True)
    async with probing.connection() as conn, conn.transaction():
        await conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await conn.execute(f"PREPARE load AS {load}")
        explained = f"EXPLAIN (FORMAT JSON) EXECUTE load ({LOADS[load]})"
        plan = msgspec.json.decode(await conn.fetchval(explained))[0]["Plan"]
    await probing.close()
    assert walks(plan) == []


async def test_a_third_of_its_connections_are_for_statements_that_only_probe(
    database: TestDatabase,
) -> None:
    """Who borrows there does not wait for those who borrow here, and there are not more in all."""
    pool = Pool(database.app_dsn, connections_max=8, wait_seconds_max=1)
    part = pool.probing()
    rest = [await pool.acquire() for _ in range(6)]
    lent = [await part.acquire() for _ in range(2)]
    for full in (pool, part):
        with pytest.raises(Unavailable):
            await full.acquire()
    walks = [await conn.fetchval("SHOW enable_seqscan") for conn in (rest[0], lent[0])]
    assert walks == ["on", "off"]
    for conn in rest:
        pool.release(conn)
    for conn in lent:
        part.release(conn)
    await pool.close()
    with pytest.raises(Unavailable):
        await part.acquire()
    small = Pool(database.app_dsn, connections_max=2)
    assert small.probing() is small
    await small.close()


async def test_it_never_opens_more_than_its_bound_and_serves_who_waits_longest(
    database: TestDatabase,
) -> None:
    pool = Pool(database.app_dsn, connections_max=3)
    served: list[int] = []

    async def borrow(number: int) -> int:
        async with pool.connection() as conn:
            served.append(number)
            found: int = await conn.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.01)")
            return found

    pids = await asyncio.gather(*(borrow(number) for number in range(30)))
    await pool.close()
    assert len(set(pids)) == 3
    assert sorted(served) == list(range(30))
    assert served[3:] == sorted(served[3:])


async def test_it_gives_up_after_a_while_and_loses_no_connection_by_it(
    database: TestDatabase,
) -> None:
    pool = Pool(database.app_dsn, connections_max=1, wait_seconds_max=0)
    async with pool.connection():
        for _ in range(3):
            with pytest.raises(Unavailable, match="busy"):
                await pool.acquire()
    assert await pid(pool) == await pid(pool)
    await pool.close()


async def test_it_passes_on_a_connection_given_to_a_task_that_was_just_cancelled(
    database: TestDatabase,
) -> None:
    pool = Pool(database.app_dsn, connections_max=1, wait_seconds_max=5)
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pool.release(held)  # the waiter is served ...
    waiting.cancel()  # ... and cancelled before it could run
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.wait_for(pool.acquire(), 1) is held
    pool.release(held)
    await pool.close()


async def test_it_closes_a_connection_whose_borrower_was_cancelled(pool: Pool) -> None:
    before = await pid(pool)

    async def dawdle() -> None:
        async with pool.connection() as conn:
            await conn.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(dawdle())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pid(pool) != before


async def test_it_closes_a_connection_with_an_open_database_transaction(pool: Pool) -> None:
    async with pool.connection() as conn:
        before = await conn.fetchval("SELECT pg_backend_pid()")
        await conn.execute("BEGIN")
    assert await pid(pool) != before


async def test_it_keeps_a_connection_after_a_plain_error(pool: Pool) -> None:
    before = await pid(pool)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with pool.connection() as conn:
            await conn.execute("SELECT 1 / 0")
    assert await pid(pool) == before


async def test_it_replaces_connections_that_the_server_closed(
    database: TestDatabase, server: Server
) -> None:
    pool = Pool(database.app_dsn, connections_max=2)
    first, second = await pool.acquire(), await pool.acquire()
    pool.release(first)
    pool.release(second)
    server.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE datname = '{database.name}'"
    )
    await asyncio.sleep(0.1)
    async with pool.connection() as one, pool.connection() as other:
        assert await one.fetchval("SELECT 1") == await other.fetchval("SELECT 1") == 1
    await pool.close()


OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'half open'"


async def test_it_leaves_no_connection_behind_that_could_not_be_set_up(
    pool: Pool, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.connection() as conn:
        broken = Pool(database.app_dsn, connections_max=1, application_name="half open")
        opened: list[int] = []

        async def break_down(_: asyncpg.Connection, *args: object, **options: object) -> None:
            opened.append(await conn.fetchval(OURS))
            raise asyncpg.ConnectionDoesNotExistError

        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "set_type_codec", break_down)
            with pytest.raises(Unavailable):
                await broken.acquire()
        assert opened == [1]
        left = 1
        for _ in range(500):
            if not (left := await conn.fetchval(OURS)):
                break
            await asyncio.sleep(0.01)
        assert left == 0
        broken.release(await broken.acquire())  # its slot is free again
        await broken.close()


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
async def test_it_sends_and_receives_instants_to_the_microsecond(
    pool: Pool, instant: datetime
) -> None:
    async with pool.connection() as conn:
        text = await conn.fetchval("SELECT $1::timestamptz::text", instant)
        back = await conn.fetchval("SELECT $1::text::timestamptz", text)
        with pytest.raises(asyncpg.DataError):
            await conn.fetchval("SELECT $1::timestamptz", instant.replace(tzinfo=None))
    assert back == instant
    assert back.tzinfo is UTC


async def test_it_says_unavailable_when_there_is_no_server() -> None:
    pool = Pool("postgresql://earnest_app:x@/earnest?host=/nowhere", connections_max=1)
    for _ in range(2):  # the slot is free again after the first
        with pytest.raises(Unavailable, match="cannot be reached"):
            await pool.acquire()


async def test_it_refuses_newcomers_and_waits_for_borrowers_when_it_closes(
    database: TestDatabase,
) -> None:
    pool = Pool(database.app_dsn, connections_max=1)
    conn = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="shutting down"):
        await pool.acquire()
    with pytest.raises(Unavailable, match="shutting down"):
        await waiting
    assert await conn.fetchval("SELECT 1") == 1
    assert not closing.done()
    pool.release(conn)
    await closing
    assert conn.is_closed()


async def test_a_server_that_forgets_is_refused_with_the_fix(
    database: TestDatabase, server: Server
) -> None:
    server.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = 'off'")
    conn = await asyncpg.connect(database.app_dsn)
    try:
        with pytest.raises(DatabaseRefused, match="ALTER SYSTEM SET synchronous_commit = 'on'"):
            await check_durability(conn)
    finally:
        await conn.close()


async def test_a_server_that_remembers_is_taken(database: TestDatabase) -> None:
    conn = await asyncpg.connect(database.app_dsn)
    try:
        await check_durability(conn)
    finally:
        await conn.close()
