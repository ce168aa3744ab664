"""Books with anchors outside the database, for tests of both."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from earnest.anchors import Signer, place_of, survey
from earnest.sealing import derive_key
from earnest.store.db import Pool
from earnest.store.invariant import Violation
from earnest.store.verify import Outside, Report
from earnest.worker.anchoring import write_anchor
from web import SECRET_KEY

SIGNER = Signer(derive_key(SECRET_KEY, "anchors"))


INSERT = """
INSERT INTO event (id, commit_id, subject, type, actor, recorded_at, body)
VALUES (nextval('entry_key'), lastval(), 'party:x', 'party.x', 'setup', now(), '{}') RETURNING id
"""


async def record(database: Any) -> int:
    """An event of nobody's contract, as the application's role may write one; its key."""
    conn = await asyncpg.connect(database.app_dsn)
    try:
        key: int = await conn.fetchval(INSERT)
        return key
    finally:
        await conn.close()


class Books(msgspec.Struct, frozen=True):
    """A database and the directory of its anchors."""

    database: Any
    directory: Path

    def outside(self, directory: Path | None = None) -> Outside:
        """Its anchors, or those of `directory` in their place."""
        anchors = survey(directory or self.directory, {SIGNER.public})
        return Outside(anchors, place_of(self.directory))


async def anchor_all(
    dsn: str, directory: Path, signer: Signer = SIGNER, *, waits: bool = True
) -> None:
    """Write anchors until there is nothing to write. It `waits` until no transaction of another
    test, in another database of this cluster, holds the horizon back."""
    pool = Pool(dsn)
    try:
        if waits:
            async with pool.connection() as conn:
                await until_below_the_horizon(conn)
        while await write_anchor(pool, directory, signer):
            pass
    finally:
        await pool.close()


HAS_YOUNGER = """
SELECT EXISTS (
    SELECT FROM event AS e, ledger_horizon AS h
    WHERE e.xid >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint + h.xid_offset
) OR EXISTS (
    SELECT FROM transfer AS t, ledger_horizon AS h
    WHERE t.xid >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint + h.xid_offset
)
"""


async def until_below_the_horizon(conn: asyncpg.Connection) -> None:
    for _ in range(600):
        if not await conn.fetchval(HAS_YOUNGER):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("somebody holds the horizon back")


def broken(report: Report) -> Violation:
    """What of invariant 20 is broken first."""
    found = [one for one in report.violations if one.invariant == 20]
    assert found, "nothing was found"
    return found[0]


def lines_of(directory: Path) -> tuple[Path, list[bytes]]:
    (path,) = directory.glob("*.jsonl")
    return path, path.read_bytes().splitlines(keepends=True)
