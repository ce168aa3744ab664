"""What a migration does to tables that are in use, looked at before it commits.

PostgreSQL itself is asked which locks it took, which tables it wrote anew and which it read from
one end to the other. So the rule does not depend on how the SQL is worded, on rows, or on a clock:

    a table of an older migration is neither rewritten nor read whole under a lock that keeps
    readers or writers off it, or off rows that were changed

Then a lock lasts for milliseconds however large the table is. CONTRIBUTING.md says how to do in
several steps what cannot be done in one.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from conftest import TestDatabase
from earnest.store.migrate import MIGRATIONS, Migration, migrate, read_migrations

# Each has a few rows for ever.
SMALL = ["business", "business_clock", "ledger_horizon", "provider_account"]

BEFORE = """
SELECT c.oid, c.relfilenode, pg_catalog.pg_stat_get_xact_numscans(c.oid) AS scans
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'sandbox') AND c.relname <> ALL ($1)
"""

# ShareUpdateExclusiveLock is not among them: it keeps off other migrations and VACUUM only.
AFTER = """
SELECT
    t.oid::regclass::text AS name,
    c.relfilenode <> t.relfilenode AS is_rewritten,
    pg_catalog.pg_stat_get_xact_numscans(t.oid) > t.scans AS is_read
FROM unnest($1::oid [], $2::oid [], $3::bigint []) AS t (oid, relfilenode, scans)
INNER JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
WHERE EXISTS (
    SELECT FROM pg_catalog.pg_locks AS l
    WHERE l.pid = pg_backend_pid() AND l.relation = t.oid AND l.mode IN (
        'RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
        'AccessExclusiveLock'
    )
)
ORDER BY 1
"""


async def findings(conn: asyncpg.Connection, migration: Migration) -> list[str]:
    """What the migration would do to tables that are there, by the rule; it is rolled back."""
    if migration.indexes:
        return []
    before = await conn.fetch(BEFORE, SMALL)
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(migration.sql)
        after = await conn.fetch(AFTER, *([row[of] for row in before] for of in range(3)))
    finally:
        await transaction.rollback()
    return [
        f"{row['name']} is {'rewritten' if row['is_rewritten'] else 'read whole'}"
        for row in after
        if row["is_rewritten"] or row["is_read"]
    ]


@asynccontextmanager
async def at(
    database: TestDatabase, scratch: Path, number: int
) -> AsyncIterator[asyncpg.Connection]:
    """The owner of a database that has come to this migration."""
    for path in sorted(MIGRATIONS.glob("[0-9]*.sql"))[:number]:
        shutil.copy(path, scratch)
    await migrate(database.owner_dsn, scratch)
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        yield conn
    finally:
        await conn.close()


@pytest.mark.parametrize("migration", read_migrations(), ids=str)
async def test_no_table_in_use_is_rewritten_or_read_whole_under_a_lock(
    empty_database: TestDatabase, tmp_path: Path, migration: Migration
) -> None:
    async with at(empty_database, tmp_path, migration.number - 1) as owner:
        assert await findings(owner, migration) == []


NOT_NULL = "ALTER TABLE job ADD CONSTRAINT job_ends CHECK (end_date IS NOT NULL)"

KEY = "ALTER TABLE mail ADD CONSTRAINT mail_of_job FOREIGN KEY (id) REFERENCES job (id)"

PLANTED = {
    "ALTER TABLE job ADD COLUMN place text NOT NULL DEFAULT ''": [],
    "ALTER TABLE job ADD COLUMN place uuid DEFAULT gen_random_uuid()": ["job is rewritten"],
    "ALTER TABLE job ALTER COLUMN end_date TYPE timestamptz": ["job is rewritten"],
    "ALTER TABLE job DROP COLUMN start_date": [],
    NOT_NULL: ["job is read whole"],
    f"{NOT_NULL} NOT VALID": [],
    "ALTER TABLE job ALTER COLUMN end_date SET NOT NULL": ["job is read whole"],
    "CREATE INDEX job_by_rate ON job (rate_minor)": ["job is read whole"],
    "ALTER TABLE job ADD CONSTRAINT job_public UNIQUE (public_id)": ["job is read whole"],
    "UPDATE job SET location = 'Pune'": ["job is read whole"],
    "DELETE FROM job WHERE location = 'Pune'": ["job is read whole"],
    "UPDATE job SET location = 'Pune' WHERE id = 7": [],
    "CREATE TABLE place AS SELECT location FROM job": [],
    "CREATE TABLE place (job_id bigint REFERENCES job (id))": [],
    KEY: ["mail is read whole"],
    f"{KEY} NOT VALID": [],
    "UPDATE business SET name = 'Bazaar'": [],
}


@pytest.mark.parametrize("sql", PLANTED)
async def test_it_is_the_database_that_says_what_a_statement_does(
    database: TestDatabase, sql: str
) -> None:
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        assert await findings(conn, Migration(9999, "planted", f"{sql};")) == PLANTED[sql]
    finally:
        await conn.close()


UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS job_public ON job (public_id)"

STEPS = {
    "not null": [
        f"{NOT_NULL} NOT VALID",
        "ALTER TABLE job VALIDATE CONSTRAINT job_ends",
        "ALTER TABLE job ALTER COLUMN end_date SET NOT NULL",
        "ALTER TABLE job DROP CONSTRAINT job_ends",
    ],
    "a foreign key": [f"{KEY} NOT VALID", "ALTER TABLE mail VALIDATE CONSTRAINT mail_of_job"],
    "unique": [
        f"-- without a transaction\n{UNIQUE}",
        "ALTER TABLE job ADD CONSTRAINT job_public UNIQUE USING INDEX job_public",
    ],
}


@pytest.mark.parametrize("wanted", STEPS)
async def test_what_takes_long_is_done_in_steps_that_keep_nobody_off(
    database: TestDatabase, wanted: str
) -> None:
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        for step in STEPS[wanted]:
            assert await findings(conn, Migration(9999, "step", step)) == [], step
            await conn.execute(step)
    finally:
        await conn.close()
