"""`earnest restore`: into an empty database, whole or not at all."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from conftest import Server, TestDatabase
from earnest.app import build_app
from earnest.sealing import Sealer, derive_key
from earnest.store import books, idempotency, kyc
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Reply
from earnest.store.migrate import ADVISORY_KEY, MIGRATIONS, dump_schema, migrate
from earnest.store.verify import verify
from life import Life
from vault import Place, digests, is_empty, terminated, until_waiting
from web import SECRET_KEY, Cast, gather_cast, make_settings

HORIZON = "SELECT horizon_xid, xid_offset FROM ledger_horizon"
YOUNGEST = """
SELECT greatest((SELECT max(xid) FROM transfer), (SELECT max(xid) FROM event))
"""
UNKNOWN = "INSERT INTO schema_migration (number, name, sha256) VALUES (9999, 'tomorrow', '')"
OWNERS = """
SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class AS c
WHERE c.relnamespace IN ('public'::regnamespace, 'sandbox'::regnamespace)
"""


async def run(dsn: str, *statements: str) -> list[Any]:
    conn = await asyncpg.connect(dsn)
    try:
        return [await conn.fetch(statement) for statement in statements]
    finally:
        await conn.close()


@pytest.fixture(scope="module")
def told(server: Server, written: Any) -> Iterator[TestDatabase]:
    """Books with everything in them, and somebody of whom more is known."""
    made = server.create(written.name)
    asyncio.run(_tell(made))
    yield made
    server.drop(made)


async def _tell(database: TestDatabase) -> None:
    conn = await asyncpg.connect(database.app_dsn)
    try:
        party = await conn.fetchval("SELECT max(id) FROM party")
        sealer = Sealer(derive_key(SECRET_KEY, "sealing"))
        await kyc.tell(conn, sealer, party, kyc.Known(national_id="1010101010"), "")
        once = Once("business:1", "POST /x", "key", b"", moves_money=False)
        await idempotency.keep(conn, once, Reply(200, b"secret"), sealer=sealer)
    finally:
        await conn.close()


@pytest.fixture(scope="module")
def story(told: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of them."""
    folder = tmp_path_factory.mktemp("story")
    asyncio.run(Place(folder, told).backup(folder / "story.dump"))
    return folder / "story.dump"


def plain(schema: str) -> str:
    """Without parentheses: PostgreSQL itself drops some when it reads what it has written."""
    return schema.replace("(", "").replace(")", "")


def cut(file: Path, to: Path, part: float) -> None:
    """The first part of `file`."""
    whole = file.read_bytes()
    to.write_bytes(whole[: int(len(whole) * part)])


def damage(file: Path, to: Path) -> None:
    """`file` with 64 zeros amidst its rows."""
    damaged = bytearray(file.read_bytes())
    middle = len(damaged) * 3 // 4
    damaged[middle : middle + 64] = bytes(64)
    to.write_bytes(damaged)


@pytest.fixture
def target(empty_database: TestDatabase, tmp_path: Path) -> Place:
    return Place(tmp_path, empty_database)


# -- what is there afterwards ---------------------------------------------------------------


async def test_it_brings_back_everything_as_the_migrations_made_it(
    told: TestDatabase, story: Path, target: Place
) -> None:
    restored = await target.restore(story)
    assert restored["verified"]["holds"]
    assert (restored["pending"], restored["warnings"]) == ([], [])

    database = target.database
    assert database is not None
    was, is_now = await digests(told.superuser_dsn), await digests(database.superuser_dsn)
    assert was.pop("public.ledger_horizon") != is_now.pop("public.ledger_horizon")
    assert is_now == was
    assert plain(dump_schema(database.owner_dsn)) == plain(dump_schema(told.owner_dsn))
    (owners,) = await run(database.superuser_dsn, OWNERS)
    assert [row[0] for row in owners] == ["earnest_owner"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(database.app_dsn, "UPDATE transfer SET amount_minor = 1")
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await run(database.owner_dsn, "DELETE FROM event")
    (statistics,) = await run(
        database.owner_dsn, "SELECT reltuples FROM pg_class WHERE relname = 'transfer'"
    )
    assert statistics[0][0] > 0


async def test_money_goes_on_where_transaction_ids_are_younger_than_those_of_the_books(
    server: Server, database: TestDatabase, target: Place, tmp_path: Path
) -> None:
    """As in a new cluster: its transaction ids begin below those that stand in the transfers."""

    async def live(dsn: str, *, is_new: bool) -> None:
        pool = Pool(dsn)
        try:
            app = build_app(make_settings(dsn), pool)
            async with app.lifespan():
                if is_new:
                    cast: Cast = await gather_cast(app)
                    await Life.at(cast, "released")
                async with pool.connection() as conn:
                    await books.roll_up(conn)
        finally:
            await pool.close()

    await run(database.superuser_dsn, "UPDATE ledger_horizon SET xid_offset = 1000000000")
    await live(database.app_dsn, is_new=True)
    await run(database.superuser_dsn, "UPDATE ledger_horizon SET xid_offset = 0")
    await Place(tmp_path, database).backup(tmp_path / "old.dump")
    await target.restore(tmp_path / "old.dump")

    restored = target.database
    assert restored is not None
    ((horizon,), (youngest,)) = await run(restored.app_dsn, HORIZON, YOUNGEST)
    assert horizon["xid_offset"] >= max(horizon["horizon_xid"], youngest[0]) > 1_000_000_000
    conn = await asyncpg.connect(restored.owner_dsn)
    try:
        before = await books.trial_balance(conn)
        await conn.execute(
            "INSERT INTO transfer SELECT id + 1000000, commit_id, movement, debit, credit,"
            " amount_minor, contract_id, payment_id, reverses_id, occurred_at, recorded_at,"
            " pg_current_xact_id()::text::bigint + (SELECT xid_offset FROM ledger_horizon)"
            " FROM transfer WHERE account_kind(debit) > 2 AND account_kind(credit) > 2 LIMIT 1"
        )
        tail = await books.trial_balance(conn)
        await books.roll_up(conn)
        assert (await books.trial_balance(conn)).accounts == tail.accounts
        assert len(tail.accounts) == len(before.accounts)
    finally:
        await conn.close()


async def test_it_says_that_the_secret_key_does_not_open_what_is_sealed(
    story: Path, target: Place
) -> None:
    target.secret_key = "some other secret, of 32 bytes.."
    done = await target.earnest("restore", story, "--json")
    assert done.code == 0, "the books hold all the same"
    kinds = ("identity data", "webhook secrets", "signing keys", "stored replies")
    for kind in kinds:
        assert any(kind in warning for warning in done.json["warnings"]), kind
    assert "(EARNEST_SECRET_KEY) does not open" in done.err


async def test_it_makes_no_secret_key_where_there_is_none(story: Path, target: Place) -> None:
    target.secret_key = ""
    done = await target.earnest("restore", story)
    assert done.code == 0
    assert f"There is no secret key ({target.data_dir / 'secret_key'})" in done.err
    assert not (target.data_dir / "secret_key").exists()


# -- what it does not touch -----------------------------------------------------------------


async def test_it_changes_nothing_where_there_is_anything(
    database: TestDatabase, story: Path, tmp_path: Path
) -> None:
    before = await digests(database.superuser_dsn)
    done = await Place(tmp_path, database).earnest("restore", story)
    assert done.code == 1
    assert "in the database already (public.alert, public." in done.err
    assert await digests(database.superuser_dsn) == before


async def test_of_two_at_once_one_restores(story: Path, target: Place) -> None:
    done = await asyncio.gather(*(target.earnest("restore", story) for _ in range(2)))
    assert sorted(one.code for one in done) == [0, 1]
    database = target.database
    assert database is not None
    assert (await verify(database.app_dsn)).violation is None


async def test_it_changes_nothing_when_it_is_told_to_stop(story: Path, target: Place) -> None:
    database = target.database
    assert database is not None
    blocker = await asyncpg.connect(database.owner_dsn)
    try:
        await blocker.execute(f"SELECT pg_advisory_lock({ADVISORY_KEY})")
        begun = await target.start("restore", story)
        await until_waiting(database.superuser_dsn)
        done = await terminated(begun)
    finally:
        await blocker.close()
    assert done.code == 128 + 15
    assert await is_empty(database)


# -- what it does not take ------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0001, 0.5, 0.9999])
async def test_it_takes_nothing_of_a_file_that_is_cut_short(
    story: Path, target: Place, tmp_path: Path, part: float
) -> None:
    cut(story, tmp_path / "cut.dump", part)
    done = await target.earnest("restore", tmp_path / "cut.dump")
    assert done.code == 1
    assert "it was cut short, or damaged" in done.err
    assert target.database is not None
    assert await is_empty(target.database)


async def test_it_takes_nothing_of_a_file_whose_rows_were_damaged(
    story: Path, target: Place, tmp_path: Path
) -> None:
    damage(story, tmp_path / "damaged.dump")
    done = await target.earnest("restore", tmp_path / "damaged.dump")
    assert (done.code, "it was cut short, or damaged" in done.err) == (1, True)
    assert target.database is not None
    assert await is_empty(target.database)


async def test_it_says_what_is_wrong_with_a_file_that_is_no_backup(
    target: Place, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear Olga")
    done = await target.earnest("restore", tmp_path / "letter.txt")
    assert (done.code, "not a file that earnest backup has written" in done.err) == (1, True)
    done = await target.earnest("restore", tmp_path / "nowhere.dump")
    assert (done.code, "there is no such file" in done.err) == (1, True)
    assert not (tmp_path / "postgres").exists()


async def test_it_refuses_a_backup_of_a_newer_version(
    database: TestDatabase, target: Place, tmp_path: Path
) -> None:
    await run(database.superuser_dsn, UNKNOWN)
    await Place(tmp_path, database).backup(tmp_path / "newer.dump")
    done = await target.earnest("restore", tmp_path / "newer.dump")
    assert done.code == 1
    assert "at migration 9999, this version of Earnest knows" in done.err
    assert target.database is not None
    assert await is_empty(target.database)


async def test_a_backup_of_an_older_version_is_migrated_by_the_usual_command(
    server: Server, target: Place, tmp_path: Path
) -> None:
    (tmp_path / "migrations").mkdir()
    for path in sorted(MIGRATIONS.glob("[0-9]*.sql"))[:-1]:
        shutil.copy(path, tmp_path / "migrations")
    older = server.create("template0")
    try:
        await migrate(older.owner_dsn, tmp_path / "migrations")
        await Place(tmp_path, older).backup(tmp_path / "older.dump")
    finally:
        server.drop(older)
    done = await target.earnest("restore", tmp_path / "older.dump")
    assert done.code == 2, done.err
    assert "it lacks 1 migrations. Next: earnest db migrate" in done.out
    assert (await target.earnest("db", "migrate")).code == 0
    assert (await target.earnest("verify")).code == 0
