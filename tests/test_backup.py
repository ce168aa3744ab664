"""`earnest backup`: whole while money moves, and no file at all where it could not be."""

import asyncio
import os
import resource
import stat
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from conftest import TestDatabase
from earnest.store import binaries
from earnest.store.client_programs import connection, programs_of
from earnest.store.db import DatabaseRefused
from life import Life
from test_embedded import data_dir
from vault import COMMAND, Place, digests, left_in, terminated, until_waiting
from web import Cast

__all__ = ["data_dir"]

TRANSFERS = "SELECT count(*) FROM transfer"
ENDS = ("released", "refunded", "completed")


async def query(dsn: str, sql: str) -> Any:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


@pytest.fixture
def place(database: TestDatabase, tmp_path: Path) -> Place:
    return Place(tmp_path, database)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


async def test_it_holds_one_instant_whole_while_money_moves(
    cast: Cast, place: Place, empty_database: TestDatabase, folder: Path, data_dir: Path
) -> None:
    assert place.database is not None
    busy = True

    async def live() -> None:
        point = 0
        while busy:
            await Life.at(cast, ENDS[point % len(ENDS)], rate=1000 + point)
            point += 1

    await Life.at(cast, "released")
    lives = [asyncio.ensure_future(live()) for _ in range(2)]
    try:
        seen_before = await query(place.database.app_dsn, TRANSFERS)
        first = await place.backup(folder / "first.dump")
    finally:
        busy = False
        await asyncio.gather(*lives)

    in_the_end = await query(place.database.app_dsn, TRANSFERS)
    assert 0 < seen_before <= first["transfers"] < in_the_end, "money moved all the time"
    assert first["bytes"] == (folder / "first.dump").stat().st_size
    assert stat.S_IMODE((folder / "first.dump").stat().st_mode) == 0o600

    # Into a fresh directory: the books are those of the instant, and they hold.
    fresh = Place(data_dir)
    restored = await fresh.restore(folder / "first.dump")
    assert restored["verified"]["holds"]
    assert restored["verified"]["counts"]["transfer"] == first["transfers"]
    books = (await fresh.earnest("books", "trial-balance", "--json")).json
    for part in ("accounts", "totals"):
        assert books[part] == first["trial_balance"][part]
    assert all(total["debits"] == total["credits"] for total in books["totals"])

    # When it has calmed down, a backup is the original, row by row.
    second = await place.backup(folder / "second.dump")
    assert second["transfers"] == in_the_end
    await Place(folder.parent, empty_database).restore(folder / "second.dump")
    original, copy = (
        await digests(place.database.superuser_dsn),
        await digests(empty_database.superuser_dsn),
    )
    assert original.pop("public.ledger_horizon")
    assert copy.pop("public.ledger_horizon")
    assert copy == original
    assert left_in(folder) == ["first.dump", "second.dump"]


async def test_it_says_for_people_what_is_in_it_and_what_is_not(place: Place, folder: Path) -> None:
    done = await place.earnest("backup", folder / "b.dump")
    assert done.code == 0, done.err
    assert "0 contracts, 0 transfers" in done.out
    assert "The secret key is not in it (EARNEST_SECRET_KEY)" in done.out
    assert place.secret_key.encode() not in (folder / "b.dump").read_bytes()


async def test_it_replaces_no_file_that_is_there(place: Place, folder: Path) -> None:
    file = folder / "b.dump"
    file.write_text("last year's")
    done = await place.earnest("backup", file)
    assert done.code == 1
    assert f"{file} is there already, and is left as it is" in done.err
    assert (file.read_text(), left_in(folder)) == ("last year's", ["b.dump"])


async def test_it_says_where_it_cannot_write(place: Place, folder: Path) -> None:
    done = await place.earnest("backup", folder / "nowhere" / "b.dump")
    assert done.code == 1
    assert "cannot be written: No such file or directory" in done.err
    assert left_in(folder) == []


def test_it_leaves_nothing_behind_when_the_disk_is_full(place: Place, folder: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(
        [*COMMAND, "backup", folder / "b.dump"],
        env=place.environ(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_disk,
    )
    assert done.returncode == 1
    assert "pg_dump failed" in done.stderr
    assert left_in(folder) == []


async def test_it_leaves_nothing_behind_when_it_is_told_to_stop(place: Place, folder: Path) -> None:
    assert place.database is not None
    blocker = await asyncpg.connect(place.database.superuser_dsn)
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE review IN ACCESS EXCLUSIVE MODE")
            begun = await place.start("backup", folder / "b.dump")
            await until_waiting(place.database.superuser_dsn)
            assert left_in(folder) not in ([], ["b.dump"])
            done = await terminated(begun)
    finally:
        await blocker.close()
    assert done.code == 128 + 15
    assert left_in(folder) == []
    await until_waiting(place.database.superuser_dsn, waiting=False)


async def test_it_refuses_a_database_that_is_none_of_ours(
    empty_database: TestDatabase, folder: Path
) -> None:
    done = await Place(folder.parent, empty_database).earnest("backup", folder / "b.dump")
    assert done.code == 1
    assert "no tables of ours" in done.err
    assert left_in(folder) == []


@pytest.mark.parametrize("command", ["backup", "restore"])
async def test_it_says_which_url_is_missing_when_the_role_is_not_the_owner(
    place: Place, folder: Path, command: str
) -> None:
    if command == "restore":
        await place.backup(folder / "b.dump")
    assert place.database is not None
    app_only = msgspec.structs.replace(place.database, owner_dsn=place.database.app_dsn)
    done = await Place(place.data_dir, app_only).earnest(command, folder / "b.dump")
    assert (done.code, "EARNEST_MIGRATE_DATABASE_URL" in done.err) == (1, True)
    assert left_in(folder) == ([] if command == "backup" else ["b.dump"])


# -- whose programs -------------------------------------------------------------------------


def test_programs_of_another_version_are_never_taken(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("pg_dump", "pg_restore", "psql"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 98.7'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert programs_of(98).directory == tmp_path
    with pytest.raises(DatabaseRefused, match="install postgresql-client-99"):
        programs_of(99)
    assert programs_of(binaries.major())["psql"] == binaries.program("psql")


@pytest.mark.parametrize(
    ("dsn", "shown", "password"),
    [
        (
            "postgresql://olga:se%2Fcret@db:5433/earnest?sslmode=require",
            "postgresql://olga@db:5433/earnest?sslmode=require",
            "se/cret",
        ),
        (
            "postgresql://olga:s@/earnest?host=/run/a%20b&port=5432",
            "postgresql://olga@/earnest?host=/run/a%20b&port=5432",
            "s",
        ),
        ("postgresql://db/earnest?password=s&user=olga", "postgresql://db/earnest?user=olga", "s"),
        ("postgresql://olga@db/earnest", "postgresql://olga@db/earnest", None),
    ],
)
def test_passwords_stand_in_no_command_line(
    dsn: str, shown: str, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url, environment = connection(dsn)
    assert (url, environment.get("PGPASSWORD")) == (shown, password)
