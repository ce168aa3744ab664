"""A **backup**: the database at one instant, in one file; all but the secret key.

Invariant: a file with the name that was asked for is complete, on the disk, and for its owner's
eyes only; nothing that was there before is ever replaced.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import asyncpg

from earnest import reports
from earnest.errors import EarnestError
from earnest.settings import Settings
from earnest.store import books, dump
from earnest.store.client_programs import programs_of
from earnest.store.db import CONNECT_SECONDS_MAX, UNREACHABLE, DatabaseRefused
from earnest.store.migrate import APPLIED, HAS_SCHEMA_MIGRATION, become_owner

# For as long as pg_dump works: it sees what this session sees.
SESSION = {
    "application_name": "earnest backup",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "TimeZone": "UTC",
}
EXPORT = "SELECT pg_export_snapshot()"
COUNTS = """
SELECT
    (SELECT count(*) FROM contract) AS contracts,
    (SELECT count(*) FROM transfer) AS transfers,
    (SELECT count(*) FROM event) AS events,
    statement_timestamp() AS taken_at
"""


class FileRefused(EarnestError):
    """The backup cannot be written there."""


async def take(
    settings: Settings, file: Path, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Write `file` while money moves, and say what is in it.

    The shape: file, bytes, taken_at, migration, contracts, transfers, events, trial_balance (as
    `reports.shown`); all of one snapshot. Raises FileRefused or DatabaseRefused; then there is no
    file.
    """
    conn = await asyncpg.connect(
        settings.database_url, timeout=CONNECT_SECONDS_MAX, server_settings=SESSION
    )
    try:
        programs = programs_of(conn.get_server_version().major)
        owner_url = settings.migrate_database_url or settings.database_url
        await _check_owner(owner_url)
        with appearing(file) as opened:
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                held = await _holdings(conn)
                await dump.write(
                    programs,
                    owner_url,
                    await conn.fetchval(EXPORT),
                    opened,
                    lambda done: progress(size(done), done, 0),
                )
            dump.finish(opened)
            held_bytes = os.fstat(opened.fileno()).st_size
    finally:
        await conn.close(timeout=CONNECT_SECONDS_MAX)
    return {"file": str(file), "bytes": held_bytes, **held}


async def _check_owner(owner_url: str) -> None:
    """pg_dump would say no more than that permission is denied."""
    conn = await connected(owner_url)
    try:
        await become_owner(conn)
    finally:
        await conn.close(timeout=CONNECT_SECONDS_MAX)


async def connected(dsn: str) -> asyncpg.Connection:
    """A bare connection. Raises DatabaseRefused."""
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS_MAX)
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        # The URL itself is not repeated: it holds a password.
        raise DatabaseRefused(f"The database cannot be reached: {error}") from error


async def _holdings(conn: asyncpg.Connection) -> dict[str, Any]:
    if not await conn.fetchval(HAS_SCHEMA_MIGRATION):
        raise DatabaseRefused("There is nothing to back up: the database has no tables of ours.")
    applied = await conn.fetch(APPLIED)
    counted = await conn.fetchrow(COUNTS)
    assert counted is not None
    balance = await books.trial_balance(conn, by_kind=True)
    return {
        "taken_at": counted["taken_at"].isoformat(),
        "migration": f"{applied[-1]['number']:04d}_{applied[-1]['name']}",
        **{name: counted[name] for name in ("contracts", "transfers", "events")},
        "trial_balance": reports.shown(balance, every_account=False),
    }


def lines(taken: dict[str, Any], settings: Settings) -> list[str]:
    """For people: what is in the file, and what is not."""
    what = ", ".join(f"{taken[name]:,} {name}" for name in ("contracts", "transfers", "events"))
    key = where_key_is(settings)
    return [
        f"{taken['file']}: {size(taken['bytes'])}, as of {taken['taken_at']}",
        f"It holds {what}, and migration {taken['migration']}.",
        *(
            f"{total['currency']}: debits {total['debits']}, credits {total['credits']}"
            for total in taken["trial_balance"]["totals"]
        ),
        f"The secret key is not in it ({key}). Keep a copy of that, apart from this file:",
        "identity data, webhook secrets and signing keys cannot be opened without it.",
    ]


def where_key_is(settings: Settings) -> str:
    """Where the secret key of an installation stands."""
    return "EARNEST_SECRET_KEY" if settings.secret_key else str(settings.data_dir / "secret_key")


def size(count: int) -> str:
    """Bytes for people: 12.3 MB."""
    for unit, step in (("GB", 10**9), ("MB", 10**6)):
        if count >= step:
            return f"{count * 10 // step / 10:,} {unit}"
    return f"{-(-count // 1000):,} kB"


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A new file, mode 0600, that gets its name when the block has ended well, else none.

    Raises FileRefused, also if there is something of that name.
    """
    taken = f"{path} is there already, and is left as it is. Give another name."
    if os.path.lexists(path):
        raise FileRefused(taken)
    try:
        handle, name = tempfile.mkstemp(prefix=".earnest-backup-", suffix=".new", dir=path.parent)
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror}.") from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "w+b") as opened:
            yield opened
            os.fsync(opened.fileno())
        _give_name(partial, path)
        _sync(path.parent)
    except FileExistsError as error:
        raise FileRefused(taken) from error
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _give_name(partial: Path, path: Path) -> None:
    """A link fails if somebody else took the name meanwhile; a rename would replace theirs."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, on a stick or a share
        if os.path.lexists(path):
            raise FileExistsError from None
        partial.rename(path)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every share can
            os.fsync(handle)
    finally:
        os.close(handle)
