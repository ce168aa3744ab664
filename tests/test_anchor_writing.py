"""Anchors as they are written: by several at once, after crashes, never on top of what is gone."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from anchored import (
    INSERT,
    Books,
    anchor_all,
    broken,
    lines_of,
    record,
    until_below_the_horizon,
)
from earnest.anchors import AnchorsRefused
from earnest.assembly import build_core
from earnest.store import anchoring
from earnest.store.db import Pool
from earnest.store.verify import verify
from earnest.worker.chores import chores_of
from web import make_settings


async def test_it_never_misses_a_commit_that_took_long(database: Any, tmp_path: Path) -> None:
    slow, fast = [await asyncpg.connect(database.app_dsn) for _ in range(2)]
    await fast.execute(INSERT)
    await until_below_the_horizon(fast)
    transaction = slow.transaction()
    await transaction.start()
    late = await slow.fetchval(INSERT)
    await fast.execute(INSERT)
    books = Books(database, tmp_path)
    await anchor_all(database.app_dsn, tmp_path, waits=False)
    await transaction.commit()
    await anchor_all(database.app_dsn, tmp_path)
    anchors = [msgspec.json.decode(line)["anchor"] for line in lines_of(tmp_path)[1]]
    assert [anchor["number"] for anchor in anchors] == [1, 2]
    superuser = await asyncpg.connect(database.superuser_dsn)
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute("DELETE FROM event WHERE id = $1", late)
    assert broken(await verify(database.app_dsn, outside=books.outside())).row == str(late)
    for conn in (slow, fast, superuser):
        await conn.close()


async def test_workers_at_once_write_one_chain(
    server: Any, written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "ROWS_MAX", 20)
    copy = server.create(written.name)
    await asyncio.gather(*[anchor_all(copy.app_dsn, tmp_path) for _ in range(4)])
    await anchor_all(copy.app_dsn, tmp_path)
    report = await verify(copy.app_dsn, only={20}, outside=Books(copy, tmp_path).outside())
    assert report.violation is None, str(report.violation)
    assert report.counts["anchor"] == len(lines_of(tmp_path)[1]) > 10
    server.drop(copy)


async def test_it_goes_on_after_a_crash_in_the_middle_of_a_line(
    database: Any, tmp_path: Path
) -> None:
    await record(database)
    await anchor_all(database.app_dsn, tmp_path)
    path, lines = lines_of(tmp_path)
    path.write_bytes(lines[0] + lines[0][:50])
    await record(database)
    await anchor_all(database.app_dsn, tmp_path)
    assert len(lines_of(tmp_path)[1]) == 2
    report = await verify(database.app_dsn, outside=Books(database, tmp_path).outside())
    assert (report.violation, report.counts["anchor"]) == (None, 2)


@pytest.mark.parametrize("left", [0, 1])
async def test_it_does_not_paper_over_anchors_that_are_gone(
    database: Any, tmp_path: Path, left: int
) -> None:
    for _ in range(2):
        await record(database)
        await anchor_all(database.app_dsn, tmp_path)
    path, lines = lines_of(tmp_path)
    path.write_bytes(b"".join(lines[:left]))
    await record(database)
    with pytest.raises(AnchorsRefused, match=r"anchor 2 was written to .* and is gone"):
        await anchor_all(database.app_dsn, tmp_path)
    assert path.read_bytes() == b"".join(lines[:left])
    path.write_bytes(b"".join(lines))  # put back from a copy
    await anchor_all(database.app_dsn, tmp_path)
    assert len(lines_of(tmp_path)[1]) == 3


async def test_it_refuses_a_database_that_is_older_than_its_anchors(
    database: Any, tmp_path: Path
) -> None:
    """As a dump in a younger cluster that was not restored by `earnest restore`."""
    conn = await asyncpg.connect(database.superuser_dsn)
    await conn.execute("UPDATE ledger_horizon SET xid_offset = 1000000")
    await conn.execute(INSERT)
    await anchor_all(database.app_dsn, tmp_path)
    await conn.execute("UPDATE ledger_horizon SET xid_offset = 0")
    await conn.execute(INSERT)
    with pytest.raises(AnchorsRefused, match="it is older than its anchors"):
        await anchor_all(database.app_dsn, tmp_path, waits=False)
    await conn.close()


async def test_it_writes_none_where_that_is_switched_off(database: Any, pool: Pool) -> None:
    names = []
    for seconds in (0, 600):
        settings = make_settings(database.app_dsn, anchor_seconds=seconds)
        core = build_core(settings, pool)
        names.append({chore.name for chore in chores_of(settings, core)})
        await core.provider.close()
    assert names[1] - names[0] == {"write anchors"}
