"""`earnest backup` and `earnest restore`.

Invariant: a backup has its name when it is complete; a restore changes nothing, or restores all.
SIGTERM ends either like a failure: what was begun is cleared away.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from earnest import backup as backups
from earnest import restoring
from earnest.database import opened
from earnest.terminal import AsJson, Data, answer, bar_of, say, settings_of

File = Annotated[Path, Parameter(help="where the backup is to be, or is")]

NOT_VERIFIED = 2


def backup(file: File, /, *, data: Data = None, as_json: AsJson = False) -> None:
    """Write the database, as it is at this moment, into a new file, while serve goes on.

    The secret key is not in it: keep a copy of that apart (docs/backup.md).
    """
    with _ended_by_sigterm():
        settings = settings_of(data)
        with (
            opened(settings, say, create=False, migrated=False, durable=False) as database,
            bar_of("backup") as bar,
        ):
            taken = asyncio.run(backups.take(database.settings, file, bar))
    answer(taken, as_json, backups.lines(taken, settings))


def restore(file: File, /, *, data: Data = None, as_json: AsJson = False) -> None:
    """Restore a backup into an empty database, then verify it.

    A data directory without a database is set up first. The exit code is that of earnest verify;
    2 if an older version wrote the backup, whose database has to be migrated before.
    """
    with _ended_by_sigterm(), bar_of("restore") as bar:
        found = restoring.restore(settings_of(data), file, say, bar)
    answer(restoring.as_json(found), as_json, found["lines"])
    for warning in found["warnings"]:
        say(f"warning: {warning}")
    if found["verified"] is None:
        sys.exit(NOT_VERIFIED)
    sys.exit(0 if found["verified"]["holds"] else 1)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds what goes on, instead of ending us in the midst of it."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
