"""`earnest verify`: it passes healthy books, and names the row of every damage done to them.

The books (tests/written.py) have a life at every point, payments parked, attached, given back,
quarantined, expired and open, partners' contracts at every point and refunds in every state, a
rollup and a tail beyond it. Chains that are forged are in test_verify_forgeries.py.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from damage import DAMAGES, Damage
from earnest.store import books
from earnest.store.db import DatabaseRefused, Pool
from earnest.store.verify import NOT_CHECKED, TITLES, Progress, check, verify
from life import Life
from story import POINTS
from web import SECRET_KEY, Cast


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
    assert report.checked == tuple(sorted(set(TITLES) - {20})), "it was given no anchors"
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
    elsewhere = {20}  # test_anchors.py
    assert {damage.invariant for damage in DAMAGES} == set(TITLES) - elsewhere


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
