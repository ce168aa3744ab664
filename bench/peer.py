"""What every peer has: a Python with its packages, and a database of its own on the server that is
measured. Peers run in `.venv-peers` (`.ci/peers`), so that nothing of them is near the product."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from earnest.store.embedded import Embedded

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv-peers"


def why_absent() -> str:
    """Why there are no peers to measure; "" when there are."""
    if (VENV / ".ready").exists():
        return ""
    log = VENV / "pip.log"
    if not log.exists():
        return "make bench installs them"
    reason = log.read_text(errors="replace").strip().rpartition("\n")[2]
    return f"pip could not install them: {reason}"


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs `module` of this repository with the packages of the peers."""
    return [str(VENV / "bin" / "python"), "-m", module, *map(str, arguments)]


async def make_database(server: Embedded, name: str) -> str:
    """An empty database of this name; its URL, as its owner."""
    conn = await asyncpg.connect(server.superuser_dsn)
    try:
        await conn.execute(f"CREATE DATABASE {name} OWNER earnest_owner")
    finally:
        await conn.close()
    return server.owner_dsn.replace("/earnest?", f"/{name}?")


def environment(dsn: str) -> Mapping[str, str]:
    """Everything of ours, and the database in libpq's variables, which both drivers of the peers
    read."""
    url = urlsplit(dsn)
    query = parse_qs(url.query)
    return os.environ | {
        "PGHOST": query["host"][0],
        "PGPORT": query["port"][0],
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.path.lstrip("/"),
        "PYTHONPATH": str(ROOT),
    }
