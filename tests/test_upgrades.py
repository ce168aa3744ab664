"""Upgrades: every migration is applied to a database of the one before that is full of rows.

What is checked is in tests/upgrading.py, which also says what a migration that changes rows has to
bring along. A migration that is added is tested here without being named.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from litestar import Litestar

from conftest import Server, TestDatabase
from earnest.app import build_app
from earnest.domain.party import Role
from earnest.generated import record_examples
from earnest.store import catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.store.db import DatabaseRefused, Pool
from earnest.store.migrate import MIGRATIONS, migrate, read_migrations
from earnest.store.verify import verify
from earnest.worker.chores import chores_of
from life import accepted
from story import tell_the_story
from upgrading import Upgrade, copy, shape, superuser
from web import PASSWORD, Cast, caller, make_settings, sign_up

NORA = "nora@example.com"

NEWEST = len(read_migrations())
EMPTY = {"sandbox.spent_key"}  # calls refused for want of money, which nobody here has


@pytest.fixture(scope="module")
def story(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestDatabase]:
    """A database in which everything has happened: the examples of the API, then the story, then
    somebody who has only begun, then whatever the worker finds to do."""
    made = server.create(server.template)
    asyncio.run(live(made.app_dsn, tmp_path_factory.mktemp("anchors")))
    yield made
    server.drop(made)


async def live(dsn: str, anchors: Path) -> None:
    await record_examples(dsn)
    pool = Pool(dsn)
    settings = make_settings(
        dsn, webhook_allow_private=True, anchor_seconds=600, anchor_dir=anchors
    )
    app = build_app(settings, pool)
    async with app.lifespan():
        await tell_the_story(await other_people(app))
        async with caller(app) as nobody:
            new = {"name": "Nora", "email": NORA, "password": PASSWORD, "role": "client"}
            accepted(await nobody.post("/api/auth/register", json=new))
            forgot = {"email": "anna@example.com"}
            accepted(await nobody.post("/api/auth/forgot-password", json=forgot))
        for chore in chores_of(settings, app.state.core):
            await chore.do()
            await chore.finish()


async def other_people(app: Litestar) -> Cast:
    """Alice, Bob and their labels are in the examples already."""
    pool: Pool = app.state.pool
    async with pool.connection() as conn, conn.transaction():
        category = await catalog.add(conn, CATEGORY, "Carpentry")
        skill = await catalog.add(conn, SKILL, "Joinery")
    return Cast(
        alice=await sign_up(app, "Anna", Role.CLIENT),
        bob=await sign_up(app, "Ben", Role.FREELANCER),
        mallory=await sign_up(app, "Mary", Role.CLIENT),
        mallet=await sign_up(app, "Max", Role.FREELANCER),
        olga=await sign_up(app, "Oona", Role.ADMIN),
        anybody=caller(app),
        app=app,
        category=category.public_id,
        skill=skill.public_id,
    )


async def test_the_story_has_rows_in_every_table(story: TestDatabase) -> None:
    async with superuser(story) as conn:
        empty = {
            table
            for table in await shape(conn)
            if not await conn.fetchval(f"SELECT EXISTS (SELECT FROM {table})")
        }
    assert empty == EMPTY


@pytest.mark.parametrize("number", range(2, NEWEST + 1))
async def test_it_keeps_every_row_and_the_books_balance(
    server: Server, story: TestDatabase, tmp_path: Path, number: int
) -> None:
    upgrade = Upgrade(server, story, tmp_path)
    async with upgrade.through(number) as made:
        await upgrade.to_the_newest(made)
        report = await verify(made.app_dsn)
    assert report.violation is None, str(report.violation)
    assert min(report.counts.values()) > 0, "every check had something to look at"


# -- with many rows, while others work ------------------------------------------------------

ROWS = 300_000 if os.environ.get("EARNEST_TEST_PROFILE") == "nightly" else 20_000

GROWN = {
    "public.contract": "'id', {g}, 'number', {g}, 'job_id', NULL",
    "public.payment": """'id', {g}, 'session_id', {g}, 'provider_payment_id', {g}, 'job_id', NULL,
        'contract_id', NULL, 'state', 'captured'""",
    "public.provider_event": "'event_id', {g}, 'took_money', FALSE",
    "public.transfer": "'id', {g}",
    "public.event": "'id', {g}, 'contract_id', NULL, 'seq', NULL, 'hash', NULL",
    "public.login": "'party_id', {g}, 'email_canonical', {g}",
    "public.payout": "'id', {g}, 'provider_transfer_id', {g}, 'provider_payout_id', {g}",
}
"""The tables that grow most, and what a row that is made after another has of its own."""

# Of the last row: whatever stands in a column in the story will do, and every CHECK is kept.
GROW = """
INSERT INTO {table} ({columns})
SELECT {made}
FROM (SELECT t AS model FROM {table} AS t ORDER BY ctid DESC LIMIT 1) AS m
CROSS JOIN generate_series(1000000001, 1000000000 + {rows}) AS g
CROSS JOIN LATERAL jsonb_populate_record(m.model, jsonb_build_object({own})) AS r
"""


async def grow(source: asyncpg.Connection, conn: asyncpg.Connection, table: str) -> None:
    """Fill it with the story's rows, and ROWS more."""
    columns = (await shape(conn))[table]
    await copy(source, conn, table, columns)
    made = ", ".join(f"r.{name}" for name in columns)
    own = GROWN[table].format(g="g::text")
    await conn.execute(
        GROW.format(table=table, columns=", ".join(columns), made=made, rows=ROWS, own=own)
    )


async def longest_wait(database: TestDatabase, mode: str, stopping: asyncio.Event) -> float:
    """For how many seconds somebody waited who wanted this lock on one table after the other."""
    longest = 0.0
    async with superuser(database) as conn:
        tables = list(await shape(conn))
        while not stopping.is_set():
            for table in tables:
                begun = time.perf_counter()
                await conn.execute(f"BEGIN; LOCK TABLE {table} IN {mode} MODE; COMMIT")
                longest = max(longest, time.perf_counter() - begun)
    return longest


async def waits_during(database: TestDatabase, work: Coroutine[Any, Any, object]) -> list[float]:
    """How long a reader and a writer of any table had to wait while `work` was done."""
    stopping = asyncio.Event()
    reader, writer = (
        asyncio.create_task(longest_wait(database, mode, stopping))
        for mode in ("ACCESS SHARE", "ROW EXCLUSIVE")
    )
    try:
        await work
    finally:
        stopping.set()
    return [await reader, await writer]


async def test_nobody_waits_for_a_second_while_large_tables_are_migrated(
    server: Server, story: TestDatabase, tmp_path: Path
) -> None:
    upgrade = Upgrade(server, story, tmp_path)
    made = server.create("template0")
    waits: dict[int, float] = {}
    try:
        async with superuser(story) as source, superuser(made) as conn:
            await upgrade.migrate(made, 1)
            for number in range(2, NEWEST + 1):
                for table in GROWN.keys() & (await shape(conn)).keys():
                    if not await conn.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
                        await grow(source, conn, table)
                waits[number] = max(await waits_during(made, upgrade.migrate(made, number)))
            for table in GROWN:
                assert await conn.fetchval(f"SELECT count(*) FROM {table}") > ROWS
    finally:
        server.drop(made)
    assert max(waits.values()) < 1, waits


async def test_who_waits_is_noticed(server: Server, database: TestDatabase, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("[0-9]*.sql"):
        shutil.copy(path, tmp_path)
    (tmp_path / f"{NEWEST + 1:04d}_slow.sql").write_text(
        "CREATE INDEX mail_by_subject ON mail (subject); SELECT pg_sleep(1.5);"
    )
    reader, writer = await waits_during(database, migrate(database.owner_dsn, tmp_path))
    assert reader < 1 < writer


# -- migrations that somebody might write ---------------------------------------------------


class Planted(msgspec.Struct, frozen=True):
    """The next migration: `sql`; what it makes of the story by way of a program of that day,
    `today`; and what tests/upgrades would have to say of it, `undo`."""

    sql: str
    today: str = ""
    undo: str = ""


async def go_through(server: Server, story: TestDatabase, folder: Path, planted: Planted) -> None:
    """Lead the story through all migrations and this one."""
    (folder / "migrations").mkdir()
    (folder / "undone").mkdir()
    for path in MIGRATIONS.glob("[0-9]*.sql"):
        shutil.copy(path, folder / "migrations")
    (folder / f"migrations/{NEWEST + 1:04d}_planted.sql").write_text(planted.sql)
    if planted.undo:
        (folder / f"undone/{NEWEST + 1:04d}.sql").write_text(planted.undo)
    of_that_day = server.create(story.name)
    try:
        server.execute(planted.today or planted.sql, of_that_day.name)
        upgrade = Upgrade(server, of_that_day, folder, folder / "migrations", folder / "undone")
        async with upgrade.through(NEWEST + 1):
            pass
    finally:
        server.drop(of_that_day)


NOTHING = "SELECT 1"
RENAMED = "ALTER TABLE job RENAME location TO place"
RENAMED_BACK = "ALTER TABLE job RENAME place TO location"
DEALT = "ALTER TABLE job ADD COLUMN place text NOT NULL"
ALLOWED = "ALTER TABLE alert DROP CONSTRAINT alert_kind_known"
SMOKE = f"{ALLOWED}; UPDATE alert SET kind = 'smoke' WHERE id = (SELECT min(id) FROM alert)"
UPPER = f"{RENAMED}; UPDATE job SET place = upper(place)"

BAD = {
    "it drops a column with data": (
        Planted("ALTER TABLE job DROP COLUMN location"),
        AssertionError,
        "public.job had location before",
    ),
    "it drops a table with data": (
        Planted("DROP TABLE review"),
        AssertionError,
        "public.review had id, public_id, .* before",
    ),
    "it asks for a value that old rows do not have": (
        Planted(DEALT, today=f"{DEALT} DEFAULT 'Pune'"),
        DatabaseRefused,
        'column "place" of relation "job" contains null values',
    ),
    "it wants to be unique what is not": (
        Planted("CREATE UNIQUE INDEX job_once ON job (title)", today=NOTHING),
        DatabaseRefused,
        'could not create unique index "job_once"',
    ),
    "it changes values": (
        Planted("UPDATE job SET rate_minor = rate_minor + 1", today=NOTHING),
        AssertionError,
        "public.job: [0-9]+ rows are not what they were",
    ),
    "it deletes rows": (
        Planted("DELETE FROM job_skill", today=NOTHING),
        AssertionError,
        "public.job_skill: [0-9]+ rows before, 0 after",
    ),
    "it adds a rule that is not looked at, and does not hold": (
        Planted("ALTER TABLE job ADD CONSTRAINT cheap CHECK (rate_minor < 100) NOT VALID"),
        AssertionError,
        "job: cheap does not hold",
    ),
    "it allows what was not allowed, and says nothing of rows that are so": (
        Planted(ALLOWED, today=SMOKE),
        asyncpg.CheckViolationError,
        "alert_kind_known",
    ),
    "it makes other rows than was said": (
        Planted(UPPER, today=RENAMED, undo=RENAMED_BACK),
        AssertionError,
        "public.job: [0-9]+ rows are not what they were",
    ),
}

GOOD = {
    "it adds a column with a default": Planted(f"{DEALT} DEFAULT 'Pune'"),
    "it renames a column": Planted(RENAMED, undo=RENAMED_BACK),
    "it renames a table": Planted(
        "ALTER TABLE review RENAME TO verdict", undo="ALTER TABLE verdict RENAME TO review"
    ),
    "it drops a column, and says what was in it": Planted(
        "ALTER TABLE job DROP COLUMN location",
        undo="ALTER TABLE job ADD COLUMN location text NOT NULL DEFAULT 'Pune'",
    ),
    "it adds a row": Planted(
        "INSERT INTO provider_account (id, provider) VALUES (9, 'other')",
        undo="DELETE FROM provider_account WHERE id = 9",
    ),
    "it allows what was not allowed": Planted(
        ALLOWED, SMOKE, "DELETE FROM alert WHERE kind = 'smoke'"
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_migration_is_found_out(
    server: Server, story: TestDatabase, tmp_path: Path, name: str
) -> None:
    planted, error, words = BAD[name]
    with pytest.raises(error, match=words):
        await go_through(server, story, tmp_path, planted)


@pytest.mark.parametrize("name", GOOD)
async def test_a_migration_passes(
    server: Server, story: TestDatabase, tmp_path: Path, name: str
) -> None:
    await go_through(server, story, tmp_path, GOOD[name])
