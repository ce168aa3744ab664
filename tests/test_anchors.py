"""Anchors: whoever changes what was recorded, as superuser and with every hash made right, is
found out by what was said outside the database; and whoever changes that, by its signatures.

The books are those of tests/written.py, anchored in many small steps.
"""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from anchored import (
    SIGNER,
    Books,
    anchor_all,
    broken,
    lines_of,
    record,
)
from damage import RELEASED
from damage.relink import forge
from earnest.anchors import Signer, key_as_text, place_of, survey
from earnest.store import anchoring
from earnest.store.verify import Outside, check, verify
from web import SECRET_KEY

STRANGER = Signer(b"s" * 32)
ROWS = 60


@pytest.fixture(scope="module")
def books(server: Any, written: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """The whole story, anchored some rows at a time. Nobody changes it."""
    made = Books(server.create(written.name), tmp_path_factory.mktemp("outside") / "anchors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(anchoring, "ROWS_MAX", ROWS)
        asyncio.run(anchor_all(made.database.app_dsn, made.directory))
    yield made
    server.drop(made.database)


@pytest.fixture
async def superuser(books: Books) -> AsyncIterator[asyncpg.Connection]:
    """A superuser without triggers, whose database transaction is rolled back."""
    conn = await asyncpg.connect(books.database.superuser_dsn)
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("SET LOCAL session_replication_role = replica")
    yield conn
    await transaction.rollback()
    await conn.close()


async def test_it_passes_books_that_are_as_they_were(books: Books) -> None:
    report = await verify(books.database.app_dsn, outside=books.outside())
    assert report.violation is None, str(report.violation)
    assert 20 in report.checked
    assert report.counts["anchor"] > 5
    assert any(line.startswith("ok     20") for line in report.lines())
    assert "what was recorded after anchor" in report.not_checked["20"]


# -- the database is changed --------------------------------------------------------------------

EVENT_OF = "SELECT id FROM event WHERE contract_id = ({}) AND seq = {}"
LAST = f"(SELECT max(seq) FROM event WHERE contract_id = ({RELEASED}))"


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (
            (
                "UPDATE event SET recorded_at = recorded_at + INTERVAL '1 us', seq = seq"
                " WHERE contract_id = :row AND seq = " + LAST,
            ),
            EVENT_OF.format(RELEASED, LAST),
        ),
        (
            ("UPDATE event SET actor = 'freelancer:1' WHERE contract_id = :row AND seq = 3",),
            EVENT_OF.format(RELEASED, 3),
        ),
        (
            ("DELETE FROM event WHERE contract_id = :row AND seq = " + LAST,),
            EVENT_OF.format(RELEASED, LAST),
        ),
        (
            ("DELETE FROM event WHERE contract_id = :row AND seq = 4",),
            EVENT_OF.format(RELEASED, 4),
        ),
        (
            (
                (
                    "UPDATE event AS e SET seq = o.seq, recorded_at = o.recorded_at"
                    " FROM event AS o WHERE e.contract_id = :row AND o.contract_id = :row"
                    " AND e.seq IN (3, 4) AND o.seq = 7 - e.seq"
                ),
            ),
            EVENT_OF.format(RELEASED, 3),
        ),
    ],
    ids=["edited last", "edited inside", "tail cut", "deleted inside", "reordered"],
)
async def test_it_names_the_event_though_the_whole_chain_was_recomputed(
    books: Books, superuser: asyncpg.Connection, statements: tuple[str, ...], named: str
) -> None:
    row = await superuser.fetchval(named)
    await forge(superuser, RELEASED, *statements)
    report = await check(superuser, only={19, 20}, outside=books.outside())
    found = broken(report)
    assert (found.table, found.row) == ("event", str(row))
    assert report.violations == (found,), "the chain by itself is whole again"
    assert "anchor" in found.expected


@pytest.mark.parametrize(
    ("table", "find", "do"),
    [
        (
            "event",
            f"SELECT min(id) FROM event WHERE contract_id = ({RELEASED})",
            (
                "DELETE FROM contract WHERE id = (SELECT contract_id FROM event WHERE id = :row)",
                (
                    "DELETE FROM event WHERE contract_id ="
                    " (SELECT contract_id FROM event WHERE id = :row)"
                ),
            ),
        ),
        (
            "event",
            "SELECT min(id) FROM event WHERE type = 'admin.created'",
            ("UPDATE event SET actor = 'admin:1' WHERE id = :row",),
        ),
        (
            "event",
            "SELECT max(id) FROM event WHERE contract_id IS NULL",
            ("DELETE FROM event WHERE id = :row",),
        ),
        (
            "event",
            "SELECT max(id) + 1 FROM event",
            (
                (
                    "INSERT INTO event SELECT :row, :row, NULL, NULL, subject, type, actor,"
                    " recorded_at, body, NULL, xid FROM event WHERE type = 'admin.created' LIMIT 1"
                ),
            ),
        ),
        (
            "transfer",
            "SELECT min(id) FROM transfer WHERE movement = 'released'",
            ("UPDATE transfer SET amount_minor = amount_minor + 1 WHERE id = :row",),
        ),
        (
            "transfer",
            "SELECT id FROM transfer ORDER BY xid DESC, id DESC LIMIT 1",
            ("DELETE FROM transfer WHERE id = :row",),
        ),
        (
            "transfer",
            "SELECT min(id) FROM transfer",
            ("UPDATE transfer SET xid = xid + 1000000 WHERE id = :row",),
        ),
    ],
    ids=[
        "contract deleted whole", "admin's maker", "newest without a chain", "event slipped in",
        "amount", "newest transfer", "transfer moved in time",
    ],
)  # fmt: skip
async def test_it_names_the_row(
    books: Books, superuser: asyncpg.Connection, table: str, find: str, do: tuple[str, ...]
) -> None:
    row = await superuser.fetchval(find)
    for statement in do:
        assert not (await superuser.execute(statement.replace(":row", str(row)))).endswith(" 0")
    found = broken(await check(superuser, only={20}, outside=books.outside()))
    assert (found.table, found.row) == (table, str(row))


async def test_it_names_what_a_database_restored_from_before_does_not_have(
    server: Any, database: Any, tmp_path: Path
) -> None:
    await record(database)
    await anchor_all(database.app_dsn, tmp_path)
    old = server.create(database.name)
    row = await record(database)
    outside = Books(old, tmp_path)
    assert (await verify(old.app_dsn, outside=outside.outside())).violation is None
    await anchor_all(database.app_dsn, tmp_path)
    found = broken(await verify(old.app_dsn, outside=outside.outside()))
    assert (found.table, found.row, found.found) == ("event", str(row), "no such row")
    server.drop(old)


# -- the anchors are changed --------------------------------------------------------------------


def forged(line: bytes, signer: Signer) -> bytes:
    """The same anchor, without its last event, signed by somebody."""
    raw = msgspec.json.decode(line)["anchor"]
    raw["events"] = ""
    said = msgspec.json.encode(raw)
    return (
        msgspec.json.encode(
            {
                "anchor": msgspec.Raw(said),
                "key": signer.public,
                "signature": signer._key.sign(said),
            }
        )
        + b"\n"
    )


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, str]] = {
    "a letter": (
        lambda ls: [*ls[:2], ls[2].replace(b'"number":3', b'"number":8'), *ls[3:]],
        "line 3", "a signature of this anchor",
    ),
    "line deleted": (lambda ls: [*ls[:2], *ls[3:]], "line 3", "anchor 3"),
    "first line deleted": (lambda ls: ls[1:], "line 1", "anchor 1"),
    "lines swapped": (lambda ls: [*ls[:2], ls[3], ls[2], *ls[4:]], "line 3", "anchor 3"),
    "line twice": (lambda ls: [*ls[:3], ls[2], *ls[3:]], "line 4", "anchor 4"),
    "cut inside": (lambda ls: [*ls[:-1], ls[-1][:-40]], "last", "an anchor, whole"),
    "no JSON": (lambda ls: [*ls[:1], b"{}\n", *ls[2:]], "line 2", "an anchor, whole"),
    "tail cut": (lambda ls: ls[:-2], "tip", "anchor"),
    "all gone": (lambda _: [], "tip", "anchor"),
    "forged by a stranger": (
        lambda ls: [*ls[:2], forged(ls[2], STRANGER), *ls[3:]], "line 3", "signed by",
    ),
    "forged with our key": (
        lambda ls: [*ls[:2], forged(ls[2], SIGNER), *ls[3:]], "line 4", "hash of the line before",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_it_names_the_line_that_is_not_as_it_was_written(
    books: Books, superuser: asyncpg.Connection, tmp_path: Path, change: str
) -> None:
    do, place, expected = CHANGES[change]
    directory = tmp_path / "anchors"
    shutil.copytree(books.directory, directory)
    path, lines = lines_of(directory)
    path.write_bytes(b"".join(do(lines)))
    named = {"tip": str(len(lines)), "last": f"{path.name} line {len(lines)}"}
    report = await check(superuser, only={20}, outside=books.outside(directory))
    found = [one for one in report.violations if one.table == "anchors"]
    assert [one.row for one in found] == [named.get(place, f"{path.name} {place}")]
    assert found[0].expected.startswith(expected)


async def test_it_tells_of_a_row_and_of_a_line_when_both_were_changed(
    books: Books, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    directory = tmp_path / "anchors"
    shutil.copytree(books.directory, directory)
    path, lines = lines_of(directory)
    path.write_bytes(b"".join(lines[1:]))
    row = await superuser.fetchval("SELECT id FROM event ORDER BY xid DESC, id DESC LIMIT 1")
    await superuser.execute("DELETE FROM event WHERE id = $1", row)
    report = await check(superuser, only={20}, outside=books.outside(directory))
    assert [one.row for one in report.violations] == [str(row), f"{path.name} line 1"]
    told = "\n".join(report.lines())
    assert f"row {row}" in told
    assert f"row {path.name} line 1" in told


async def test_it_says_that_signatures_prove_nothing_without_a_key(
    books: Books, superuser: asyncpg.Connection
) -> None:
    outside = Outside(survey(books.directory), "")
    report = await check(superuser, only={20}, outside=outside)
    assert report.violations == ()
    assert "without the secret key or --anchor-key" in report.not_checked["20"]


async def test_it_does_not_miss_in_a_copy_what_was_written_since(
    books: Books, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    shutil.copytree(books.directory, tmp_path / "copy")
    path, lines = lines_of(tmp_path / "copy")
    path.write_bytes(b"".join(lines[:-2]))
    anchors = survey(tmp_path / "copy", {SIGNER.public}, is_copy=True)
    report = await check(superuser, only={20}, outside=Outside(anchors, place_of(books.directory)))
    assert report.violations == ()
    assert f"anchors up to {len(lines)}, which this copy" in report.not_checked["20"]


async def test_it_says_where_anchors_are_when_there_are_none_here(
    books: Books, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    outside = Outside(survey(tmp_path / "nothing", {SIGNER.public}), "another-host:/anchors")
    report = await check(superuser, only={20}, outside=outside)
    assert (report.violations, report.checked) == ((), ())
    assert place_of(books.directory) in report.not_checked["20"]


# -- the programs -------------------------------------------------------------------------------


def environment(database: Any, data: Path, **settings: str) -> dict[str, str]:
    ours = {"EARNEST_DATABASE_URL": database.app_dsn, "EARNEST_DATA_DIR": str(data)}
    return os.environ | ours | settings


def run(env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earnest", "verify", *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_worker_writes_anchors_that_only_its_user_can_read(
    server: Any, written: Any, tmp_path: Path
) -> None:
    copy = server.create(written.name)
    directory = tmp_path / "anchors"
    env = environment(
        copy,
        tmp_path,
        EARNEST_SECRET_KEY=SECRET_KEY.decode(),
        EARNEST_ANCHOR_DIR=str(directory),
        EARNEST_ANCHOR_SECONDS="1",
        EARNEST_LOG_FORMAT="json",
    )
    command = [sys.executable, "-m", "earnest", "worker"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as worker:
        deadline = time.monotonic() + 20
        while not list(directory.glob("*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        worker.terminate()
        said = worker.communicate()[1].decode().splitlines()
    path, lines = lines_of(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = [line for line in map(json.loads, said) if line["event"] == "anchor"]
    outside = Books(copy, directory).outside()
    hashes = [(one.anchor.number, one.hash) for one in outside.anchors.read()]  # type: ignore[union-attr]
    assert [(line["number"], line["hash"]) for line in told] == hashes
    assert len(hashes) == len(lines)
    server.drop(copy)


def test_it_verifies_a_copy_with_nothing_but_the_public_key(books: Books, tmp_path: Path) -> None:
    env = environment(books.database, tmp_path)
    ours, other = key_as_text(SIGNER.public), key_as_text(STRANGER.public)
    copy = ("--anchors", str(books.directory), "--json", "--anchor-key")
    done = run(env, *copy, ours)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["anchor_keys"]) == (0, [ours])
    assert 20 in answer["checked"]
    assert "signatures" not in answer["not_checked"]["20"]
    answer = json.loads(run(env, *copy, other).stdout)
    assert answer["violation"]["expected"] == f"signed by {other}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--anchor-key", "short"), "--anchor-key: expected the 44 characters of a public key"),
        (("--anchors", "/nowhere"), "--anchors: expected a directory with anchors, not /nowhere"),
    ],
)
def test_it_says_what_is_wrong_with_an_option(
    books: Books, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = run(environment(books.database, tmp_path), *options)
    assert done.returncode == 1
    assert said in done.stderr
