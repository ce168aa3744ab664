"""A **restore**: a backup's database in a place where there is none.

Invariant: a database that has anything in it is never touched, and one that is restored has
everything; whether it holds is for `earnest verify` to say, which is asked at once.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from earnest.backup import connected, size, where_key_is
from earnest.database import opened
from earnest.providers.events import amount_minor_of
from earnest.sealing import Sealer, derive_key
from earnest.settings import Settings
from earnest.store import binaries, dump, seals
from earnest.store import verify as books
from earnest.store.client_programs import Programs, programs_of
from earnest.store.db import DatabaseRefused
from earnest.store.embedded import Embedded
from earnest.store.migrate import become_owner, pending_after
from earnest.verifying import outside_of, secret_key_of

NAMED_MAX = 5
NEXT = "Next: earnest db migrate, then earnest verify"

Bar = Callable[[str, int, int], None]


def restore(settings: Settings, file: Path, say: Callable[[str], None], bar: Bar) -> dict[str, Any]:
    """Restore `file` into the empty database of `settings`, and check it.

    The shape: file, pending (migrations to be applied), verified (None if some are pending, else
    as `Report.as_json`), lines (the verdict for people), warnings (of the secret key; for a
    database of this version only). Raises
    DatabaseRefused; then nothing was changed, but that a data directory may have been set up.
    """
    dump.check_whole(file)
    programs = programs_of(_major(settings))
    listed = dump.contents(programs, file)
    pending = [str(one) for one in pending_after(dump.applied_migrations(programs, file))]
    with _made(settings, say) as target:
        asyncio.run(_check_empty(target))
        _load(programs, target, file, listed, bar)
        found: dict[str, Any] = {"file": str(file), "pending": pending, "warnings": []}
        if pending:  # then nothing of ours can read it yet
            line = f"Restored, not verified: it lacks {len(pending)} migrations. {NEXT}"
            return found | {"verified": None, "lines": [line]}
        found["warnings"] = asyncio.run(_of_seals(target, where_key_is(target)))
        report = asyncio.run(
            books.verify(
                target.database_url,
                lambda at: bar(f"verify {at.what}", at.done, at.total),
                minor_of=amount_minor_of,
                outside=outside_of(target, None, ()),
            )
        )
    return found | {"verified": report.as_json(), "lines": report.lines()}


@contextmanager
def _made(settings: Settings, say: Callable[[str], None]) -> Iterator[Settings]:
    """The database, open; the embedded one is set up if need be, a secret key is not."""
    with ExitStack() as stack:
        if not settings.database_url:
            stack.callback(Embedded.start(settings.data_dir, say).release)
        yield stack.enter_context(opened(settings, say, create=False, migrated=False)).settings


def _major(settings: Settings) -> int:
    """Of the server, which is asked only if it is not ours: ours may not be there yet."""
    return asyncio.run(_asked_major(settings)) if settings.database_url else binaries.major()


async def _asked_major(settings: Settings) -> int:
    conn = await connected(settings.database_url)
    try:
        return conn.get_server_version().major
    finally:
        await conn.close()


async def _check_empty(target: Settings) -> None:
    conn = await connected(target.migrate_database_url or target.database_url)
    try:
        await become_owner(conn)
        found = await dump.relations(conn)
    finally:
        await conn.close()
    if found:
        some = ", ".join(found[:NAMED_MAX]) + (", ..." if len(found) > NAMED_MAX else "")
        raise DatabaseRefused(
            f"There are {len(found)} tables in the database already ({some}). A backup is restored"
            " into an empty one only: name another data directory with --data, or another database."
        )


def _load(programs: Programs, target: Settings, file: Path, listed: list[str], bar: Bar) -> None:
    dump.load(
        programs,
        target.migrate_database_url or target.database_url,
        file,
        listed,
        lambda done: bar(size(done), done, 0),
    )


async def _of_seals(target: Settings, place: str) -> list[str]:
    """What is sealed and does not open with the secret key that this place has."""
    key = secret_key_of(target)
    conn = await connected(target.database_url)
    try:
        tried = await seals.try_seals(conn, Sealer(derive_key(key, "sealing")))
    finally:
        await conn.close()
    here = f"The secret key ({place})" if key else f"There is no secret key ({place}), which"
    return [
        f"{here} does not open {one.found - one.opened} of {one.found} {one.what}. Take the one"
        " of the server that was backed up, before you serve."
        for one in tried
        if one.opened < one.found
    ]


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """For programs."""
    return {name: found[name] for name in found if name != "lines"}
