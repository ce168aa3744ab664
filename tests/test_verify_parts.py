"""`earnest verify` by several processes finds what one finds, in the snapshot that one sees."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import psutil
import pytest
from bench import lives

from conftest import TestDatabase
from earnest.assembly import build_core
from earnest.settings import Settings
from earnest.store import verify_parts
from earnest.store.db import DatabaseRefused, Pool
from earnest.store.invariant import Violation
from earnest.store.verify import SESSION, verify
from earnest.store.verify_contracts import walk_contracts
from earnest.store.verify_parts import Parts, divide, walk_parts

LIVES = 40

# Of the contracts in key order: the third, the tenth, ... , and an event of no contract at all.
DAMAGE = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE numbered AS
SELECT c.id, row_number() OVER (ORDER BY c.id) AS number FROM contract AS c;
UPDATE event SET body = replace(body, 'started', 'ongoing')
WHERE type = 'contract.approved'
    AND contract_id IN (SELECT n.id FROM numbered AS n WHERE n.number IN (10, 30));
UPDATE contract SET event_seq = event_seq + 1
WHERE id = (SELECT n.id FROM numbered AS n WHERE n.number = 3);
UPDATE transfer SET amount_minor = amount_minor + 1
WHERE movement = 'funded'
    AND debit_credit_of IN (SELECT n.id FROM numbered AS n WHERE n.number IN (25, 38));
""".replace("debit_credit_of", "credit & ((1::bigint << 40) - 1)")

UNDONE = """
SET session_replication_role = replica;
UPDATE event SET actor = 'client:1' WHERE type = 'contract.released';
"""


@pytest.fixture
async def forty_lives(pool: Pool) -> None:
    await lives.live(build_core(Settings(secret_key=b"k" * 32), pool), LIVES, print)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_parts, "PART_MIN", 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2})


@pytest.fixture
async def snapshot(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose database transaction sees what there is now."""
    conn = await asyncpg.connect(database.app_dsn, server_settings=SESSION)
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn
    await conn.close()


async def parts_of(database: TestDatabase, conn: asyncpg.Connection) -> Parts:
    parts = await divide(conn, database.app_dsn, SESSION)
    assert parts is not None
    return parts


async def walked(parts: Parts) -> list[Violation]:
    counted: list[int] = []
    found = await walk_parts(parts, counted.append)
    assert sum(counted) == LIVES
    return sorted(found, key=lambda one: one.invariant)


@pytest.mark.usefixtures("forty_lives", "small_parts")
async def test_many_processes_find_nothing_in_sound_books(
    database: TestDatabase, snapshot: asyncpg.Connection
) -> None:
    parts = await parts_of(database, snapshot)
    assert (len(parts.keys), parts.processes) == (10, 3)
    assert await walked(parts) == []


@pytest.mark.usefixtures("forty_lives", "small_parts")
async def test_many_processes_find_the_first_row_that_one_would_find(
    database: TestDatabase,
) -> None:
    surgeon = await asyncpg.connect(database.superuser_dsn)
    await surgeon.execute(DAMAGE)
    await surgeon.close()
    conn = await asyncpg.connect(database.app_dsn, server_settings=SESSION)
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        by_one = await walk_contracts(conn, lambda _rows: None)
        by_many = await walked(await parts_of(database, conn))
    await conn.close()
    assert by_many == sorted(by_one, key=lambda one: one.invariant)
    assert {one.invariant for one in by_many} == {3, 13, 19}
    report = await verify(database.app_dsn)
    assert {3, 13, 19} <= {one.invariant for one in report.violations}


@pytest.mark.usefixtures("forty_lives", "small_parts")
async def test_every_process_sees_the_snapshot_of_who_asked(
    database: TestDatabase, snapshot: asyncpg.Connection
) -> None:
    parts = await parts_of(database, snapshot)
    surgeon = await asyncpg.connect(database.superuser_dsn)
    await surgeon.execute(UNDONE)
    await surgeon.close()
    assert await walked(parts) == []
    report = await verify(database.app_dsn)
    assert report.violation is not None, "the next snapshot has it"


@pytest.mark.usefixtures("forty_lives", "small_parts")
async def test_it_says_so_when_a_process_is_killed(
    database: TestDatabase, snapshot: asyncpg.Connection
) -> None:
    walking = asyncio.create_task(walk_parts(await parts_of(database, snapshot), lambda _: None))
    while not (walkers := walkers_now()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    walkers[0].kill()
    with pytest.raises(DatabaseRefused, match="ended early"):
        await walking
    assert walkers_now() == [], "the others are gone, too"


def walkers_now() -> list[psutil.Process]:
    walkers = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it ends while it is looked at
            if "earnest.store.verify_parts" in child.cmdline():
                walkers.append(child)
    return walkers


@pytest.mark.usefixtures("forty_lives")
async def test_a_few_contracts_are_not_worth_a_process(
    database: TestDatabase, snapshot: asyncpg.Connection
) -> None:
    assert await divide(snapshot, database.app_dsn, SESSION) is None
