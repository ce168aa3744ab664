"""An **upgrade** of a database that holds rows, one migration at a time.

    upgrade = Upgrade(server, story, MIGRATIONS, UNDONE)
    async with upgrade.through(7): ...       from 0006 to 0007; `to_the_newest` goes on from there

The **story** is a database at the newest schema. Its rows are loaded into a new database at the
migration before, as far as tables and columns are there; the migration is applied; then every
row must be there still, the same in every column that there was, and every constraint must hold.

A migration that changes rows there are (renames a column, drops one, writes other values, adds rows
of its own, allows what was not allowed) says so in tests/upgrades/NNNN.sql: statements of a
superuser, run in a copy of the story, that turn rows as they are after NNNN into rows as they were
before it. The migration must then lead from these to what the story has, in whatever columns the
statements took away, too.
"""

import io
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from conftest import Server, TestDatabase
from earnest.store.migrate import MIGRATIONS, migrate, read_migrations

UNDONE = Path(__file__).parent / "upgrades"

Shape = dict[str, list[str]]
"""The tables there are, each with its columns but for generated ones."""

SHAPE = """
SELECT format('%I.%I', n.nspname, c.relname), array_agg(quote_ident(a.attname) ORDER BY a.attnum)
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND c.relname <> 'schema_migration'
AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY n.nspname, c.relname ORDER BY 1
"""

CONSTRAINTS = """
SELECT o.conrelid::regclass::text, o.conname, pg_catalog.pg_get_constraintdef(o.oid)
FROM pg_catalog.pg_constraint AS o
INNER JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE o.contype IN ('c', 'f')
AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY 1, 2
"""


class Upgrade(msgspec.Struct, frozen=True):
    """From each of the migrations in `directory` to the next, with the rows of `story`."""

    server: Server
    story: TestDatabase
    scratch: Path
    directory: Path = MIGRATIONS
    undone: Path = UNDONE

    @asynccontextmanager
    async def through(self, number: int) -> AsyncIterator[TestDatabase]:
        """A database with the story's rows that has just come through migration `number`.

        Raises AssertionError where rows are not as they have to be, and what `migrate` raises.
        """
        before = self.story_at(number - 1)
        after = self.story_at(number)
        made = self.server.create("template0")
        try:
            async with (
                superuser(before) as was,
                superuser(after) as will_be,
                superuser(made) as conn,
            ):
                await self.migrate(made, number - 1)
                old = await load(was, conn)
                await self.migrate(made, number)
                await _check_rows(conn, old, was, will_be)
                await _check_constraints(conn)
            yield made
        finally:
            for database in {made, before, after} - {self.story}:
                self.server.drop(database)

    async def to_the_newest(self, made: TestDatabase) -> None:
        """Apply the other migrations, and add what only they have a place for."""
        await migrate(made.owner_dsn, self.directory)
        async with superuser(self.story) as source, superuser(made) as conn:
            for table, columns in (await shape(source)).items():
                if await rows(conn, table, columns) != await rows(source, table, columns):
                    await conn.execute(f"DELETE FROM {table}")
                    await copy(source, conn, table, columns)

    async def migrate(self, database: TestDatabase, number: int) -> None:
        """Bring it to migration `number`, by the product's own means."""
        first = self.scratch / f"{number:04d}"
        first.mkdir(exist_ok=True)
        for path in sorted(self.directory.glob("[0-9]*.sql"))[:number]:
            shutil.copy(path, first)
        await migrate(database.owner_dsn, first)

    def story_at(self, number: int) -> TestDatabase:
        """The story as its rows were at migration `number`: a copy of it, if anything differs."""
        undo = [
            path
            for migration in reversed(read_migrations(self.directory)[number:])
            if (path := self.undone / f"{migration.number:04d}.sql").exists()
        ]
        if not undo:
            return self.story
        made = self.server.create(self.story.name)
        for path in undo:
            sql = "SET session_replication_role = replica; " + path.read_text("utf-8")
            self.server.execute(sql, made.name)
        return made


# -- rows -----------------------------------------------------------------------------------


@asynccontextmanager
async def superuser(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection for which no trigger and no foreign key counts."""
    conn = await asyncpg.connect(
        database.superuser_dsn, server_settings={"session_replication_role": "replica"}
    )
    try:
        yield conn
    finally:
        await conn.close()


async def shape(conn: asyncpg.Connection) -> Shape:
    return {row[0]: list(row[1]) for row in await conn.fetch(SHAPE)}


async def rows(conn: asyncpg.Connection, table: str, columns: Sequence[str]) -> Counter[str]:
    """All of them, as texts of these columns; each with how often it is there."""
    found = await conn.fetch(f"SELECT ROW({', '.join(columns)})::text FROM {table}")
    return Counter(row[0] for row in found)


async def load(source: asyncpg.Connection, conn: asyncpg.Connection) -> Shape:
    """All rows of `source` for which `conn` has a place, instead of those it has; its shape."""
    there = await shape(source)
    wanted = await shape(conn)
    for table, columns in wanted.items():
        lacking = [name for name in columns if name not in there.get(table, ())]
        assert not lacking, (
            f"{table} had {', '.join(lacking)} before, and the rows of today do not. A migration"
            " that takes columns or tables away says in tests/upgrades what was in them."
        )
        await conn.execute(f"DELETE FROM {table}")
        await copy(source, conn, table, columns)
    return wanted


async def copy(
    source: asyncpg.Connection, conn: asyncpg.Connection, table: str, columns: Sequence[str]
) -> None:
    names = ", ".join(columns)
    bytes_ = io.BytesIO()
    await source.copy_from_query(f"SELECT {names} FROM {table}", output=bytes_)
    bytes_.seek(0)
    schema, name = table.split(".")
    plain = [column.strip('"') for column in columns]
    await conn.copy_to_table(name, schema_name=schema, columns=plain, source=bytes_)


# -- what must be true ----------------------------------------------------------------------


async def _check_rows(
    conn: asyncpg.Connection, old: Shape, was: asyncpg.Connection, will_be: asyncpg.Connection
) -> None:
    """Every row of `was` is in `conn`, as `will_be` has it, in the columns that were there before
    and in those that the statements in tests/upgrades have taken away."""
    new, in_was, in_will_be = await shape(conn), await shape(was), await shape(will_be)
    gone = [table for table in old if table not in new and table in in_will_be]
    assert not gone, f"{', '.join(gone)} and all rows in it are gone"
    for table, columns in new.items():
        kept = [
            name
            for name in columns
            if name in old.get(table, ()) or name not in in_was.get(table, ())
        ]
        if not kept:
            continue
        expected, found = await rows(will_be, table, kept), await rows(conn, table, kept)
        changed = found - expected
        assert not changed, (
            f"{table}: {changed.total()} rows are not what they were, for instance"
            f" {next(iter(changed))}, in {', '.join(kept)}"
        )
        count = (await rows(was, table, old[table])).total() if table in old else expected.total()
        assert found.total() >= count, f"{table}: {count} rows before, {found.total()} after"


async def _check_constraints(conn: asyncpg.Connection) -> None:
    """Each foreign key and check holds for the rows there are, validated or not."""
    for table, name, definition in await conn.fetch(CONSTRAINTS):
        again = definition.removesuffix(" NOT VALID")
        transaction = conn.transaction()
        await transaction.start()
        try:
            await conn.execute(f"ALTER TABLE {table} ADD CONSTRAINT once_more {again}")
        except asyncpg.IntegrityConstraintViolationError as broken:
            raise AssertionError(f"{table}: {name} does not hold: {broken.detail}") from broken
        finally:
            await transaction.rollback()
