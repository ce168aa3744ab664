"""Migrations: numbered plain SQL, forward only, and the schema they add up to.

A **migration** is a file `NNNN_name.sql`. Invariant: what was applied is what the files say,
number by number and byte by byte; table `schema_migration` keeps the record.
"""

import hashlib
import re
import subprocess
from pathlib import Path

import asyncpg
import msgspec

from earnest.store import binaries
from earnest.store.db import CONNECT_SECONDS_MAX, DatabaseRefused

MIGRATIONS = Path(__file__).parent.parent / "migrations"

WAIT_SECONDS_MAX = 300
LOCK_SECONDS_MAX = 30
# Any constant will do as long as every version of Earnest uses the same one.
ADVISORY_KEY = 0x4541_524E_4553_5401

ROLES = """
SELECT wanted.role
FROM unnest(ARRAY['earnest_owner', 'earnest_app']) AS wanted (role)
WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = wanted.role)
ORDER BY wanted.role
"""

CREATE_SCHEMA_MIGRATION = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON schema_migration TO earnest_app;
"""

HAS_SCHEMA_MIGRATION = "SELECT to_regclass('schema_migration') IS NOT NULL"

APPLIED = "SELECT number, name, sha256 FROM schema_migration ORDER BY number"

RECORD_APPLIED = "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)"


class OtherVersion(DatabaseRefused):
    """This database was made by another version of Earnest."""


class Applied(msgspec.Struct, frozen=True):
    """A row of `schema_migration`: a migration as it was when it was applied."""

    number: int
    name: str
    sha256: str


class Migration(msgspec.Struct, frozen=True):
    """One file `NNNN_name.sql`: plain SQL, applied whole in one database transaction."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The migration files in order. ValueError unless they are numbered 1, 2, 3, ..."""
    found: list[Migration] = []
    for path in sorted(directory.glob("[0-9]*.sql")):
        match = re.fullmatch(r"([0-9]{4})_([a-z0-9_]+)\.sql", path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise ValueError(f"expected {len(found) + 1:04d}_some_name.sql, found {path.name}")
        found.append(Migration(int(match[1]), match[2], path.read_text("utf-8")))
    return found


async def pending_migrations(
    conn: asyncpg.Connection, directory: Path = MIGRATIONS
) -> list[Migration]:
    """What `migrate` would apply. Any role may ask.

    Raises DatabaseRefused if the database is newer than this code, or if a file was changed
    after it had been applied.
    """
    if not await conn.fetchval(HAS_SCHEMA_MIGRATION):
        return read_migrations(directory)
    applied = [Applied(*row) for row in await conn.fetch(APPLIED)]
    return pending_after(applied, directory)


def pending_after(applied: list[Applied], directory: Path = MIGRATIONS) -> list[Migration]:
    """What `migrate` would apply to a database with this record. Raises OtherVersion."""
    known = read_migrations(directory)
    if len(applied) > len(known):
        raise OtherVersion(
            f"The database is at migration {applied[-1].number:04d}, this version of Earnest"
            f" knows {len(known)}. Run the newer version; migrations never go back."
        )
    for row, migration in zip(applied, known, strict=False):
        if (row.number, row.sha256) != (migration.number, migration.sha256):
            raise OtherVersion(
                f"Migration {migration} is not the file that was applied to this database as"
                f" {row.number:04d}_{row.name}. Restore that file; a change needs a new one."
            )
    return known[len(applied) :]


async def migrate(dsn: str, directory: Path = MIGRATIONS) -> list[Migration]:
    """Bring the database at `dsn` up to date and say what was applied.

    Runs as `earnest_owner`, or as a role that may become it. Whoever comes second waits for the
    first. Each migration commits on its own, so that a failure keeps those before it.
    Raises DatabaseRefused as `pending_migrations` does, or if a role is missing.
    """
    conn = await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS_MAX,
        server_settings={
            "application_name": "earnest migrate",
            "lock_timeout": f"{WAIT_SECONDS_MAX}s",
            "TimeZone": "UTC",
        },
    )
    try:
        await become_owner(conn)
        await conn.execute("SELECT pg_advisory_lock($1)", ADVISORY_KEY)
        await conn.execute(f"SET lock_timeout = '{LOCK_SECONDS_MAX}s'")
        pending = await pending_migrations(conn, directory)
        if pending:
            await conn.execute(CREATE_SCHEMA_MIGRATION)
        for migration in pending:
            await _apply(conn, migration)
        return pending
    finally:
        await conn.close(timeout=CONNECT_SECONDS_MAX)


async def become_owner(conn: asyncpg.Connection) -> None:
    """From now on `conn` acts as earnest_owner. Raises DatabaseRefused with the fix."""
    missing = [row["role"] for row in await conn.fetch(ROLES)]
    if missing:
        fixes = " ".join(f"CREATE ROLE {role} LOGIN PASSWORD '...';" for role in missing)
        raise DatabaseRefused(
            f"The database has no role {' and no role '.join(missing)}. As a superuser: {fixes}"
            " and make earnest_owner the owner of the database."
        )
    try:
        await conn.execute("SET ROLE earnest_owner")
    except asyncpg.InsufficientPrivilegeError as error:
        user = await conn.fetchval("SELECT session_user")
        raise DatabaseRefused(
            f"This is done as earnest_owner, and {user} may not become it. Put a URL of"
            " earnest_owner into EARNEST_MIGRATE_DATABASE_URL."
        ) from error


async def _apply(conn: asyncpg.Connection, migration: Migration) -> None:
    async with conn.transaction():
        try:
            await conn.execute(migration.sql)
        except asyncpg.PostgresError as error:
            raise DatabaseRefused(
                f"Migration {migration} failed, nothing of it stays: {error}"
            ) from error
        if not conn.is_in_transaction():
            raise DatabaseRefused(f"Migration {migration} ends its own database transaction.")
        await conn.execute(RECORD_APPLIED, migration.number, migration.name, migration.sha256)


# -- the schema as text ---------------------------------------------------------------------

_DUMP_NOISE = re.compile(
    r"--( .*)?|\\(un)?restrict .*|SET \w+ = .*;|SELECT pg_catalog\.set_config\(.*\);"
)


def dump_schema(dsn: str) -> str:
    """The schema at `dsn` as pg_dump tells it, without what differs from run to run.

    Equal schemas give equal text on servers of one major version. It is compared with, and
    regenerated into, migrations/schema.sql.
    """
    done = subprocess.run(
        [binaries.program("pg_dump"), "--schema-only", "--no-owner", "--dbname", dsn],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DatabaseRefused(f"pg_dump failed: {done.stderr.strip()}")
    lines = [line for line in done.stdout.splitlines() if not _DUMP_NOISE.fullmatch(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
