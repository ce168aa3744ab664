"""Migrations: in order, once, forward only, and never changed after the fact."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from conftest import TestDatabase
from earnest.store import binaries
from earnest.store.db import DatabaseRefused
from earnest.store.migrate import MIGRATIONS, dump_schema, migrate, pending_migrations
from earnest.store.migrate import read_migrations as read

FIRST = "CREATE TABLE jar (id integer PRIMARY KEY); GRANT SELECT ON jar TO earnest_app;"
SECOND = "ALTER TABLE jar ADD COLUMN coins integer NOT NULL DEFAULT 0;"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "0001_jar.sql").write_text(FIRST)
    (tmp_path / "0002_coins.sql").write_text(SECOND)
    return tmp_path


async def query(dsn: str, sql: str) -> list[asyncpg.Record]:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetch(sql)
    finally:
        await conn.close()


async def test_it_applies_all_in_order_and_keeps_a_record(
    empty_database: TestDatabase, directory: Path
) -> None:
    applied = await migrate(empty_database.owner_dsn, directory)
    assert [str(migration) for migration in applied] == ["0001_jar", "0002_coins"]

    # The application's role may read the record, for /readyz.
    rows = await query(empty_database.app_dsn, "SELECT * FROM schema_migration ORDER BY number")
    assert [(row["number"], row["name"]) for row in rows] == [(1, "jar"), (2, "coins")]
    assert [row["sha256"] for row in rows] == [migration.sha256 for migration in read(directory)]
    assert await migrate(empty_database.owner_dsn, directory) == []


async def test_it_applies_each_migration_once_when_many_start_together(
    empty_database: TestDatabase, directory: Path
) -> None:
    (directory / "0001_jar.sql").write_text(FIRST + "SELECT pg_sleep(0.3);")
    applied = await asyncio.gather(
        *(migrate(empty_database.owner_dsn, directory) for _ in range(4))
    )
    assert sorted(len(each) for each in applied) == [0, 0, 0, 2]
    assert len(await query(empty_database.owner_dsn, "SELECT 1 FROM schema_migration")) == 2


async def test_it_refuses_a_file_that_was_changed_after_it_was_applied(
    empty_database: TestDatabase, directory: Path
) -> None:
    await migrate(empty_database.owner_dsn, directory)
    (directory / "0001_jar.sql").write_text(FIRST + " -- harmless?")
    with pytest.raises(DatabaseRefused, match="0001_jar is not the file that was applied"):
        await migrate(empty_database.owner_dsn, directory)


async def test_it_refuses_a_database_that_is_newer_than_the_code(
    empty_database: TestDatabase, directory: Path
) -> None:
    await migrate(empty_database.owner_dsn, directory)
    (directory / "0002_coins.sql").unlink()
    with pytest.raises(DatabaseRefused, match="at migration 0002, this version of Earnest knows 1"):
        await migrate(empty_database.owner_dsn, directory)


async def test_it_keeps_what_came_before_a_failure_and_nothing_of_the_failed_file(
    empty_database: TestDatabase, directory: Path
) -> None:
    (directory / "0002_coins.sql").write_text("CREATE TABLE lid (); SELECT 1 / 0;")
    with pytest.raises(DatabaseRefused, match=r"0002_coins failed.*division by zero"):
        await migrate(empty_database.owner_dsn, directory)
    conn = await asyncpg.connect(empty_database.owner_dsn)
    try:
        assert await conn.fetchval("SELECT to_regclass('jar') IS NOT NULL")
        assert await conn.fetchval("SELECT to_regclass('lid') IS NULL")
        assert [str(each) for each in await pending_migrations(conn, directory)] == ["0002_coins"]
    finally:
        await conn.close()


async def test_it_refuses_a_file_that_commits_by_itself(
    empty_database: TestDatabase, directory: Path
) -> None:
    (directory / "0002_coins.sql").write_text(f"{SECOND} COMMIT;")
    with pytest.raises(DatabaseRefused, match="ends its own database transaction"):
        await migrate(empty_database.owner_dsn, directory)


def test_it_refuses_a_gap_in_the_numbers(directory: Path) -> None:
    (directory / "0004_lid.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"expected 0003_some_name\.sql, found 0004_lid\.sql"):
        read(directory)


async def test_it_says_which_url_is_missing_when_the_role_may_not_migrate(
    empty_database: TestDatabase, directory: Path
) -> None:
    with pytest.raises(DatabaseRefused, match="EARNEST_MIGRATE_DATABASE_URL"):
        await migrate(empty_database.app_dsn, directory)


async def test_it_makes_everything_belong_to_the_owner_whoever_runs_it(
    empty_database: TestDatabase, directory: Path
) -> None:
    await migrate(empty_database.superuser_dsn, directory)
    owners = await query(
        empty_database.owner_dsn, "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'"
    )
    assert {row["tableowner"] for row in owners} == {"earnest_owner"}


def test_schema_sql_tells_what_the_migrations_add_up_to(database: TestDatabase) -> None:
    if binaries.major() != 18:
        pytest.skip("pg_dump of another major version words some things differently")
    kept = (MIGRATIONS / "schema.sql").read_text()
    assert dump_schema(database.owner_dsn) == kept, "stale: run `make docs`"


async def test_the_application_role_owns_nothing(database: TestDatabase) -> None:
    owned = await query(
        database.superuser_dsn,
        "SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
        " WHERE rolname = 'earnest_app'",
    )
    assert owned == []


async def test_a_business_that_is_changed_has_another_version(database: TestDatabase) -> None:
    change = "UPDATE business SET name = 'Bazaar', version = 1 RETURNING version"
    assert [row[0] for row in await query(database.owner_dsn, change)] == [2]
    assert [row[0] for row in await query(database.owner_dsn, change)] == [3]
