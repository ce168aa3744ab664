"""Migrations: numbered plain SQL, forward only, and the schema they add up to.

A **migration** is a file `NNNN_name.sql`. Invariants: what was applied is what the files say,
number by number and byte by byte; table `schema_migration` keeps the record. While one waits for
a lock, whoever comes after it waits, too: so it waits for a moment only, lets them through, and
tries again.
"""

import asyncio
import hashlib
import re
import subprocess
import time
from pathlib import Path

import asyncpg
import msgspec

from earnest.store import binaries
from earnest.store.db import CONNECT_SECONDS_MAX, DatabaseRefused
from earnest.store.lock_holders import Watch

MIGRATIONS = Path(__file__).parent.parent / "migrations"

TURN_SECONDS_MAX = 300
TURN_LOOK_SECONDS = 0.1
# Five locks in a row that are only just to be had make nobody wait for more than a second.
LOCK_MS = 200
PAUSE_SECONDS = 1
TRY_SECONDS_MAX = 300
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


DEADLOCK_MS = """
SELECT setting::integer FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'
"""

IS_INVALID = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid
)
"""

WITHOUT_A_TRANSACTION = "-- without a transaction\n"
CREATE_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS ([a-z0-9_]+)"
    r"\s+ON ([a-z0-9_]+\.)?[a-z0-9_]+\s.*",
    re.DOTALL,
)


class OtherVersion(DatabaseRefused):
    """This database was made by another version of Earnest."""


class Applied(msgspec.Struct, frozen=True):
    """A row of `schema_migration`: a migration as it was when it was applied."""

    number: int
    name: str
    sha256: str


class Index(msgspec.Struct, frozen=True):
    """An index that is made while others write: its name with the schema, and its statement."""

    name: str
    sql: str


class Migration(msgspec.Struct, frozen=True):
    """One file `NNNN_name.sql`: plain SQL, applied whole in one database transaction.

    Unless its first line is `-- without a transaction`: then it is nothing but indexes of tables
    that are in use, each made by CREATE INDEX CONCURRENTLY IF NOT EXISTS, which no transaction
    may hold.
    """

    number: int
    name: str
    sql: str

    @property
    def indexes(self) -> list[Index]:
        """What is made without a transaction; [] in one. ValueError if it is anything else."""
        if not self.sql.startswith(WITHOUT_A_TRANSACTION):
            return []
        found: list[Index] = []
        for statement in re.sub(r"--.*", "", self.sql).split(";"):
            if not statement.strip():
                continue
            match = CREATE_INDEX.fullmatch(statement.strip())
            if match is None:
                raise ValueError(
                    f"{self}: expected CREATE INDEX CONCURRENTLY IF NOT EXISTS name ON table ...;"
                    f" without a transaction, found {statement.strip()!r}"
                )
            found.append(Index(f"{match[2] or 'public.'}{match[1]}", statement.strip()))
        if not found:
            raise ValueError(f"{self}: expected an index, found nothing")
        return found

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The migration files in order.

    ValueError unless they are numbered 1, 2, 3, ..., and if one says of itself that it is without
    a transaction and cannot be.
    """
    found: list[Migration] = []
    for path in sorted(directory.glob("[0-9]*.sql")):
        match = re.fullmatch(r"([0-9]{4})_([a-z0-9_]+)\.sql", path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise ValueError(f"expected {len(found) + 1:04d}_some_name.sql, found {path.name}")
        migration = Migration(int(match[1]), match[2], path.read_text("utf-8"))
        _ = migration.indexes
        found.append(migration)
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
    Raises DatabaseRefused as `pending_migrations` does, if a role is missing, if a migration
    fails, or if somebody has a lock that it needs for TRY_SECONDS_MAX.
    """
    conn = await _connect(dsn)
    try:
        await become_owner(conn)
        await _wait_turn(conn)
        pending = await pending_migrations(conn, directory)
        if pending:
            await conn.execute(CREATE_SCHEMA_MIGRATION)
        for migration in pending:
            await _apply(dsn, conn, migration)
        return pending
    finally:
        await conn.close(timeout=CONNECT_SECONDS_MAX)


async def _connect(dsn: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS_MAX,
        server_settings={"application_name": "earnest migrate", "TimeZone": "UTC"},
    )


async def _wait_turn(conn: asyncpg.Connection) -> None:
    """Return when nobody else migrates this database, for as long as `conn` lives.

    It asks again and again: a statement that waits would have a snapshot, for whose end an index
    that the first one makes CONCURRENTLY would wait in turn.
    """
    until = time.monotonic() + TURN_SECONDS_MAX
    while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_KEY):
        if time.monotonic() > until:
            raise DatabaseRefused(
                f"Another process has been applying migrations for {TURN_SECONDS_MAX} seconds."
                " Look what it waits for: application_name 'earnest migrate' in pg_stat_activity."
            )
        await asyncio.sleep(TURN_LOOK_SECONDS)


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


# -- one migration --------------------------------------------------------------------------


async def _apply(dsn: str, conn: asyncpg.Connection, migration: Migration) -> None:
    """Apply it, in as many attempts as it takes to get its locks. Raises DatabaseRefused."""
    if not migration.indexes and await _attempt(conn, migration, LOCK_MS):
        return
    watcher = await _connect(dsn)
    try:
        watch = Watch(watcher, conn)
        until = time.monotonic() + TRY_SECONDS_MAX
        while not await watch.during(
            _make_indexes(conn, migration)
            if migration.indexes
            else _attempt(conn, migration, await _lock_ms(watcher, watch))
        ):
            if time.monotonic() >= until:
                raise DatabaseRefused(_refusal(migration, watch))
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await watcher.close(timeout=CONNECT_SECONDS_MAX)


async def _attempt(conn: asyncpg.Connection, migration: Migration, lock_ms: int) -> bool:
    """Apply it in a transaction; or nothing of it, if a lock was not to be had: False."""
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = {lock_ms}")
            await conn.execute(migration.sql)
            if not conn.is_in_transaction():
                raise DatabaseRefused(f"Migration {migration} ends its own database transaction.")
            await _record(conn, migration)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    except asyncpg.PostgresError as error:
        raise DatabaseRefused(
            f"Migration {migration} failed, nothing of it stays: {error}"
        ) from error
    return True


async def _make_indexes(conn: asyncpg.Connection, migration: Migration) -> bool:
    """Make each index that is not there; False if some transaction did not end meanwhile.

    While it waits, nobody waits for it. One that was begun and not finished is of no use, and
    costs every writer: it is dropped and made anew.
    """
    try:
        await conn.execute(f"SET lock_timeout = '{TRY_SECONDS_MAX}s'")
        for index in migration.indexes:
            if await conn.fetchval(IS_INVALID, index.name):
                await conn.execute(f"DROP INDEX CONCURRENTLY {index.name}")
            await conn.execute(index.sql)
        await _record(conn, migration)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    except asyncpg.PostgresError as error:
        raise DatabaseRefused(
            f"Migration {migration} failed: {error}. An index that it did not finish is made anew"
            " the next time."
        ) from error
    return True


async def _record(conn: asyncpg.Connection, migration: Migration) -> None:
    await conn.execute(RECORD_APPLIED, migration.number, migration.name, migration.sha256)


async def _lock_ms(watcher: asyncpg.Connection, watch: Watch) -> int:
    """How long to wait for a lock: longer than usual if only autovacuum has it, for the server
    ends that once somebody has waited for `deadlock_timeout`."""
    if watch.holders and all(holder.is_autovacuum for holder in watch.holders):
        deadlock_ms: int = await watcher.fetchval(DEADLOCK_MS)
        return deadlock_ms + LOCK_MS
    return LOCK_MS


def _refusal(migration: Migration, watch: Watch) -> str:
    named = ", ".join(map(str, watch.holders)) or "nobody who is still there"
    return (
        f"Migration {migration} did not get a lock that it needs, though it tried for"
        f" {TRY_SECONDS_MAX} seconds, and is not applied. In the way: {named}. Let that end, or end"
        " it, and run earnest db migrate again."
    )


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
