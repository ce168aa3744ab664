"""PostgreSQL's **client programs** for a server: pg_dump, pg_restore and psql.

Invariant: they are of the server's own major version, for one that is older cannot dump a newer
server and one that is newer writes what the older cannot restore; and no password stands in a
command line, which everybody on the machine can read.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from earnest.store import binaries
from earnest.store.db import DatabaseRefused

NAMES = ("pg_dump", "pg_restore", "psql")
# Where Debian and Red Hat keep several versions beside each other.
PACKAGED = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
VERSION_SECONDS_MAX = 10
APPLICATION = "earnest dump"


class Programs(msgspec.Struct, frozen=True):
    """The programs in one directory."""

    directory: Path

    def __getitem__(self, name: str) -> Path:
        return self.directory / name


def programs_of(major: int) -> Programs:
    """Those for a server of this major version: the embedded ones, or the machine's.

    Raises DatabaseRefused that says what to install.
    """
    for directory in _directories(major):
        if _is_of(directory, major):
            return Programs(directory)
    raise DatabaseRefused(
        f"The server is PostgreSQL {major}, and there is no pg_dump, pg_restore and psql of that"
        f" version, neither in {PACKAGED[0].format(major=major)} nor in PATH. Another version will"
        f" not do. Install them: on Debian and Ubuntu apt-get install postgresql-client-{major}"
    )


def _directories(major: int) -> Iterator[Path]:
    if binaries.major() == major:
        yield binaries.program("pg_dump").parent
    yield from (Path(place.format(major=major)) for place in PACKAGED)
    yield from (Path(place) for place in os.get_exec_path() if place.startswith("/"))


def _is_of(directory: Path, major: int) -> bool:
    if not all(os.access(directory / name, os.X_OK) for name in NAMES):
        return False
    try:
        said = subprocess.run(
            [directory / "pg_dump", "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=VERSION_SECONDS_MAX,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"\(PostgreSQL\) ([0-9]+)", said)
    return found is not None and int(found[1]) == major


def connection(dsn: str) -> tuple[str, dict[str, str]]:
    """A URL without its password, and the environment that carries it instead."""
    url = urlsplit(dsn)
    asked = dict(parse_qsl(url.query, keep_blank_values=True))
    password = asked.pop("password", None) or unquote(url.password or "")
    account, _, place = url.netloc.rpartition("@")
    account = account.partition(":")[0]
    shown = url._replace(
        netloc=f"{account}@{place}" if account else place,
        query=urlencode(asked, quote_via=quote, safe="/"),
    )
    environment = os.environ | {"PGAPPNAME": APPLICATION}
    return shown.geturl(), environment | ({"PGPASSWORD": password} if password else {})
