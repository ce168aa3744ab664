"""`earnest verify`: it passes healthy books, and names the row of every damage done to them.

The books of this module are written once, over HTTP: a life at every point, payments parked,
attached, given back, quarantined, expired and open, a rollup and a tail beyond it. A test that
damages them does so in a database transaction, checks within it, and rolls it back.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from damage import DAMAGES, RELEASED, STARTED, Damage
from earnest.domain.audit import genesis, link
from earnest.store import books
from earnest.store.db import DatabaseRefused, Pool
from earnest.store.verify import NOT_CHECKED, TITLES, Progress, check, verify
from life import Life
from story import POINTS, everybody, tell_the_story
from web import SECRET_KEY, Cast


@pytest.fixture(scope="module")
def written(server: Any) -> Iterator[Any]:
    """The database with the whole story, which nobody touches."""
    made = server.create(server.template)
    asyncio.run(everybody(made.app_dsn, tell_the_story))
    yield made
    server.drop(made)


@pytest.fixture
async def attacker(written: Any) -> AsyncIterator[asyncpg.Connection]:
    """A superuser in a database transaction that will never be committed."""
    conn = await asyncpg.connect(written.superuser_dsn)
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("SET LOCAL session_replication_role = replica")
    yield conn
    await transaction.rollback()
    await conn.close()


async def harm(attacker: asyncpg.Connection, damage: Damage) -> str:
    """Do the damage; the row that it was done to."""
    row = str(await attacker.fetchval(damage.find))
    assert row != "None", "there is nothing to damage"
    for statement in damage.do:
        status = await attacker.execute(statement.replace(":row", row))
        assert not status.endswith(" 0"), f"{statement} changed nothing"
    return row


# -- healthy books ----------------------------------------------------------------------------


async def test_it_passes_books_with_a_life_at_every_point(written: Any) -> None:
    report = await verify(written.app_dsn)
    assert report.violation is None, str(report.violation)
    assert report.checked == tuple(sorted(TITLES))
    assert report.lines()[-1] == "The books balance."
    assert report.counts["contract"] > len(POINTS)
    assert min(report.counts.values()) > 0, "every check had something to look at"
    assert {"20", "22"} <= set(NOT_CHECKED)


async def test_it_passes_an_empty_database(database: Any) -> None:
    report = await verify(database.app_dsn)
    assert report.violation is None
    assert report.counts["transfer"] == 0


async def test_it_refuses_a_database_without_tables(empty_database: Any) -> None:
    with pytest.raises(DatabaseRefused, match="lacks migrations"):
        await verify(empty_database.app_dsn)


async def test_it_reports_how_far_it_is(written: Any) -> None:
    seen: list[Progress] = []
    await verify(written.app_dsn, seen.append)
    assert len(seen) > 40
    assert [at.done for at in seen] == sorted(at.done for at in seen)
    assert seen[-1].done > 0.9 * seen[-1].total


async def test_it_sees_one_moment_while_others_write(cast: Cast, database: Any) -> None:
    writing = True

    async def write() -> None:
        while writing:
            await Life.at(cast, "released", rate=99.99)

    pool: Pool = cast.app.state.pool

    async def roll_up() -> None:
        while writing:
            async with pool.connection() as conn:
                await books.roll_up(conn)
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write()) for _ in range(3)]
    writers.append(asyncio.create_task(roll_up()))
    try:
        counts = []
        for _ in range(6):
            report = await verify(database.app_dsn)
            assert report.violation is None, str(report.violation)
            counts.append(report.counts["transfer"])
    finally:
        writing = False
        await asyncio.gather(*writers)
    assert counts[-1] > counts[0]


# -- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage.invariant} {damage.name}")
async def test_it_names_the_row_of_a_damage(attacker: asyncpg.Connection, damage: Damage) -> None:
    row = await harm(attacker, damage)
    found = (await check(attacker, only={damage.invariant})).violation
    assert found is not None, "this check does not see it"
    assert (found.invariant, found.table, found.row) == (damage.invariant, damage.table, row)
    assert found.expected != found.found
    everything = await check(attacker)
    assert everything.violation is not None
    assert everything.violation.invariant <= damage.invariant
    assert damage.invariant in {violation.invariant for violation in everything.violations}


def test_it_has_a_damage_for_every_invariant() -> None:
    forged = {11}  # below: such a damage needs a chain whose hashes are right
    assert {damage.invariant for damage in DAMAGES} | forged == set(TITLES)


# -- a forger who knows how the chain is made -------------------------------------------------

EVENTS = """
SELECT id, seq, type, actor, recorded_at, body, commit_id FROM event
WHERE contract_id = $1 ORDER BY seq
"""
PUBLIC_ID = "SELECT public_id FROM contract WHERE id = $1"
RELINK = "UPDATE event SET seq = $2, hash = $3 WHERE id = $1"
REHEAD = """
UPDATE contract SET event_seq = $2, event_head = $3, version = $4, commit_id = $5, updated_at = $6
WHERE id = $1
"""


async def forge(attacker: asyncpg.Connection, find: str, *statements: str) -> int:
    """Change a contract's events and make all their hashes right again; the contract."""
    contract: int = await attacker.fetchval(find)
    await attacker.execute("DROP INDEX event_chain")
    for statement in statements:
        status = await attacker.execute(statement.replace(":row", str(contract)))
        assert not status.endswith(" 0"), f"{statement} changed nothing"
    head = genesis(
        await attacker.fetchval("SELECT public_id FROM contract WHERE id = $1", contract)
    )
    rows = await attacker.fetch(EVENTS, contract)
    for seq, row in enumerate(rows, start=1):
        head = link(head, seq, row["recorded_at"], row["type"], row["actor"], row["body"])
        await attacker.execute(RELINK, row["id"], seq, head)
    commits = {row["commit_id"] for row in rows}
    last = rows[-1]
    await attacker.execute(
        REHEAD, contract, len(rows), head, len(commits), last["commit_id"], last["recorded_at"]
    )
    return contract


async def test_it_sees_a_step_that_was_skipped(attacker: asyncpg.Connection) -> None:
    contract = await forge(
        attacker,
        RELEASED,
        "DELETE FROM event WHERE contract_id = :row AND type = 'contract.approved'",
    )
    report = await check(attacker)
    found = report.violation
    assert found is not None
    assert (found.invariant, found.table) == (10, "event")
    assert (found.expected, found.found) == ("work before not_started", "started")
    assert 19 not in {violation.invariant for violation in report.violations}, "it is well forged"
    assert found.public_id is not None
    assert int(found.public_id[8:18], 16) == contract


async def test_it_sees_a_release_that_no_admin_granted(
    attacker: asyncpg.Connection,
) -> None:
    await forge(
        attacker,
        RELEASED,
        "UPDATE event SET actor = 'client:' || (SELECT buyer_id FROM contract WHERE id = :row)"
        " WHERE contract_id = :row AND type = 'contract.released'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert (found.invariant, found.table) == (11, "event")
    assert found.expected == "a step that admin may take here"
    assert "Unauthorized Access" in found.found


async def test_it_sees_a_release_before_the_work_was_done(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        RELEASED,
        'DELETE FROM event WHERE contract_id = :row AND body LIKE \'%"to":"completed"%\'',
        "DELETE FROM event WHERE contract_id = :row AND type = 'release.requested'",
    )
    found = (await check(attacker, only={11})).violation
    assert found is not None
    assert "contract.released by admin" in found.found


async def test_it_sees_a_step_by_a_stranger(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        STARTED,
        "UPDATE event SET actor = 'freelancer:'"
        " || (SELECT id FROM party WHERE name = 'Mallet')"
        " WHERE contract_id = :row AND type = 'contract.approved'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert found.invariant == 10
    assert found.found.endswith("This contract is not yours.")


async def test_it_sees_terms_that_nobody_agreed_to(attacker: asyncpg.Connection) -> None:
    """Terms and amount changed together still differ from what the first event says."""
    contract = await forge(
        attacker,
        "SELECT min(id) FROM contract WHERE tranches = '{unfunded}' AND agreement = 'pending'",
        "UPDATE contract SET created_at = created_at - INTERVAL '1 second' WHERE id = :row",
        "UPDATE contract_terms SET terms = replace(terms, 'Logo', 'Gold') WHERE contract_id = :row",
    )
    report = await check(attacker)
    assert report.violation is not None
    assert (report.violation.invariant, report.violation.row) == (19, str(contract))
    assert "Gold for a bakery" in report.violation.found
    assert len(report.violations) == 1


async def test_it_sees_an_event_that_it_does_not_know(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        STARTED,
        "UPDATE event SET type = 'contract.blessed'"
        " WHERE contract_id = :row AND type = 'contract.approved'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert (found.invariant, found.found) == (10, "contract.blessed")


# -- the command ------------------------------------------------------------------------------


def run_verify(database: Any, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "EARNEST_DATABASE_URL": database.app_dsn,
        "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
        "EARNEST_DATA_DIR": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-m", "earnest", "verify", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_exits_with_0_and_the_counts(written: Any, tmp_path: Path) -> None:
    done = run_verify(written, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("The books balance.\n")
    done = run_verify(written, tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["holds"], answer["violation"]) == (0, True, None)
    assert answer["counts"]["transfer"] > 20
    assert answer["not_checked"]["20"]


async def test_it_exits_with_1_and_the_violation(server: Any, written: Any, tmp_path: Path) -> None:
    copy = server.create(written.name)
    damage = next(damage for damage in DAMAGES if damage.name == "a wallet that is off by one")
    conn = await asyncpg.connect(copy.superuser_dsn)
    row = await harm(conn, damage)
    await conn.close()
    done = await asyncio.to_thread(run_verify, copy, tmp_path)
    assert done.returncode == 1
    assert "Invariant 2 is broken" in done.stdout
    assert f"row {row} (wallet:INR:" in done.stdout
    assert "BROKEN  2" in done.stdout
    done = await asyncio.to_thread(run_verify, copy, tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["holds"]) == (1, False)
    assert answer["violation"]["row"] == row
    assert [violation["invariant"] for violation in answer["violations"]] == [2, 24]
    server.drop(copy)
