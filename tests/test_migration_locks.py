"""Migrations and those who are at work meanwhile: nobody waits for more than a moment."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from conftest import TestDatabase
from earnest.store.db import DatabaseRefused
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate, read_migrations

JARS = """
CREATE TABLE jar (id integer PRIMARY KEY, coins integer NOT NULL DEFAULT 0);
INSERT INTO jar (id) SELECT g FROM generate_series(1, 1000) AS g;
GRANT SELECT, INSERT, UPDATE ON jar TO earnest_app;
"""
LIDS = "ALTER TABLE jar ADD COLUMN lid text;"
INDEX = """\
-- without a transaction
-- By coins; jars are counted every day.
CREATE INDEX CONCURRENTLY IF NOT EXISTS jar_by_coins ON jar (coins);
"""
UNIQUE = """\
-- without a transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS jar_one_of_each ON jar (coins);
"""
STATE = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('jar_by_coins')"
MIGRATING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'earnest migrate' AND {}"


@pytest.fixture
async def shelf(empty_database: TestDatabase, tmp_path: Path) -> Path:
    """The migrations of a database with jars; another is to come."""
    (tmp_path / "0001_jars.sql").write_text(JARS)
    await migrate(empty_database.owner_dsn, tmp_path)
    return tmp_path


@asynccontextmanager
async def connected(dsn: str, name: str = "") -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn, server_settings={"application_name": name})
    try:
        yield conn
    finally:
        await conn.close()


async def longest_wait(conn: asyncpg.Connection, sql: str, seconds: float) -> float:
    """How long the slowest of many took, one after the other for so many seconds."""
    longest, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        await conn.execute(sql)
        longest = max(longest, time.perf_counter() - begun)
        await asyncio.sleep(0.005)
    return longest


async def until(conn: asyncpg.Connection, sql: str) -> object:
    """What `sql` yields once it yields anything but false."""
    for _ in range(600):
        if found := await conn.fetchval(sql):
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError(sql)


# -- waiting for a lock ---------------------------------------------------------------------


async def test_others_wait_for_a_moment_only_while_it_waits_for_its_lock(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_lids.sql").write_text(LIDS)
    async with (
        connected(empty_database.app_dsn) as slow,
        connected(empty_database.app_dsn) as quick,
    ):
        async with slow.transaction():
            await slow.fetch("SELECT * FROM jar LIMIT 1")
            migrating = asyncio.create_task(migrate(empty_database.owner_dsn, shelf))
            waited = await longest_wait(quick, "SELECT * FROM jar WHERE id = 1", 4)
            assert not migrating.done()
        assert [one.number for one in await migrating] == [2]
        assert await quick.fetchval("SELECT lid IS NULL FROM jar LIMIT 1")
    assert 0.1 < waited < 1, "they queue behind it, and are let through"


async def test_it_gives_up_on_a_lock_that_somebody_keeps_and_says_who(
    empty_database: TestDatabase, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnest.store.migrate.TRY_SECONDS_MAX", 2)
    (shelf / "0002_lids.sql").write_text(LIDS)
    async with connected(empty_database.app_dsn, "a long report") as reader:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM jar")
            who = rf"pid {reader.get_server_pid()} \(a long report, earnest_app, since 20.* UTC\)"
            with pytest.raises(DatabaseRefused, match=f"0002_lids did not get a lock .*{who}"):
                await migrate(empty_database.owner_dsn, shelf)
        assert await reader.fetchval("SELECT count(*) FROM schema_migration") == 1
    assert len(await migrate(empty_database.owner_dsn, shelf)) == 1


async def test_it_knows_since_when_if_it_may_know(
    empty_database: TestDatabase, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnest.store.migrate.TRY_SECONDS_MAX", 1)
    (shelf / "0002_lids.sql").write_text(LIDS)
    async with connected(empty_database.app_dsn) as reader, reader.transaction():
        await reader.fetch("SELECT * FROM jar")
        began = await reader.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'HH24:MI:SS')")
        await asyncio.sleep(1.1)
        with pytest.raises(DatabaseRefused, match=f"since 20.* {began} UTC"):
            await migrate(empty_database.superuser_dsn, shelf)


@pytest.fixture
def own_server() -> Iterator[Embedded]:
    parent = Path(tempfile.mkdtemp(prefix="earnest-test-"))
    parent.chmod(0o711)
    held = Embedded.start(parent / "data")
    yield held
    held.release()
    shutil.rmtree(parent)


VACUUMED = """
ALTER TABLE jar SET (
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1
);
INSERT INTO jar (id) SELECT g FROM generate_series(1001, 300000) AS g;
UPDATE jar SET coins = 1;
"""


async def test_autovacuum_gives_way(own_server: Embedded, tmp_path: Path) -> None:
    (tmp_path / "0001_jars.sql").write_text(JARS + VACUUMED)
    async with connected(own_server.superuser_dsn) as superuser:
        await superuser.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
        await superuser.execute("SELECT pg_reload_conf()")
        await migrate(own_server.owner_dsn, tmp_path)
        vacuuming = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'jar'::regclass"
        assert await until(superuser, vacuuming)  # it would take minutes
        (tmp_path / "0002_lids.sql").write_text(LIDS)
        await asyncio.wait_for(migrate(own_server.owner_dsn, tmp_path), 30)


# -- without a transaction ------------------------------------------------------------------


async def test_an_index_is_made_while_others_write(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_by_coins.sql").write_text(INDEX)
    async with (
        connected(empty_database.app_dsn) as slow,
        connected(empty_database.app_dsn) as quick,
    ):
        async with slow.transaction():
            await slow.execute("UPDATE jar SET coins = 2 WHERE id = 2")
            migrating = asyncio.create_task(migrate(empty_database.owner_dsn, shelf))
            waited = await longest_wait(quick, "UPDATE jar SET coins = 3 WHERE id = 3", 2)
            assert await quick.fetchval(STATE) is False, "it waits for the slow one to end"
        assert [one.number for one in await migrating] == [2]
        assert await quick.fetchval(STATE) is True
    assert waited < 1


async def test_an_index_that_a_crash_has_left_half_made_is_made_anew(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_by_coins.sql").write_text(INDEX)
    async with (
        connected(empty_database.app_dsn) as slow,
        connected(empty_database.superuser_dsn) as superuser,
    ):
        async with slow.transaction():
            await slow.execute("UPDATE jar SET coins = 2 WHERE id = 2")
            migrating = asyncio.create_task(migrate(empty_database.owner_dsn, shelf))
            await until(superuser, STATE.replace("SELECT ", "SELECT NOT "))
            pid = await superuser.fetchval(MIGRATING.format("query LIKE '%CONCURRENTLY%'"))
            await superuser.execute("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises((DatabaseRefused, OSError, asyncpg.InterfaceError)):
                await migrating
        assert await superuser.fetchval(STATE) is False
        assert await superuser.fetchval("SELECT count(*) FROM schema_migration") == 1
        assert [one.number for one in await migrate(empty_database.owner_dsn, shelf)] == [2]
        assert await superuser.fetchval(STATE) is True


async def test_an_index_that_was_finished_before_the_crash_is_kept(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_by_coins.sql").write_text(INDEX)
    async with connected(empty_database.owner_dsn) as owner:
        await owner.execute("CREATE INDEX jar_by_coins ON jar (coins)")
        made = await owner.fetchval("SELECT 'jar_by_coins'::regclass::oid")
        assert len(await migrate(empty_database.owner_dsn, shelf)) == 1
        assert await owner.fetchval("SELECT 'jar_by_coins'::regclass::oid") == made


async def test_two_that_start_together_do_not_wait_for_each_other(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_by_coins.sql").write_text(INDEX)
    applied = await asyncio.wait_for(
        asyncio.gather(*(migrate(empty_database.owner_dsn, shelf) for _ in range(4))), 30
    )
    assert sorted(len(each) for each in applied) == [0, 0, 0, 1]


async def test_rows_that_break_a_unique_index_are_named_and_can_be_mended(
    empty_database: TestDatabase, shelf: Path
) -> None:
    (shelf / "0002_one_of_each.sql").write_text(UNIQUE)
    with pytest.raises(DatabaseRefused, match=r"0002_one_of_each failed: .*jar_one_of_each"):
        await migrate(empty_database.owner_dsn, shelf)
    async with connected(empty_database.owner_dsn) as owner:
        await owner.execute("UPDATE jar SET coins = id")
        assert len(await migrate(empty_database.owner_dsn, shelf)) == 1
        with pytest.raises(asyncpg.UniqueViolationError):
            await owner.execute("UPDATE jar SET coins = 1 WHERE id = 2")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (LIDS, "found 'ALTER TABLE jar ADD COLUMN lid text'"),
        ("CREATE INDEX CONCURRENTLY jar_by_id ON jar (id);", "found 'CREATE INDEX CONC"),
        ("CREATE INDEX IF NOT EXISTS jar_by_id ON jar (id);", "found 'CREATE INDEX IF"),
        (f"{INDEX}{LIDS}", "found 'ALTER TABLE"),
        ("-- nothing yet", "expected an index, found nothing"),
    ],
)
def test_it_refuses_what_could_be_done_by_halves(tmp_path: Path, sql: str, words: str) -> None:
    (tmp_path / "0001_halves.sql").write_text(f"-- without a transaction\n{sql}")
    with pytest.raises(ValueError, match=words):
        read_migrations(tmp_path)
