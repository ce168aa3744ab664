"""Writes anchors: every so often, what was recorded since the last one is said outside.

Any number of workers may do so. Those that share a directory take turns, and each goes on from
the last line that is there; those with directories of their own write complete chains of their
own, which are as many witnesses. Invariant: a worker that finds less than the database has on
record writes nothing, so that what is gone is not papered over.
"""

import asyncio
import secrets
from pathlib import Path

import structlog

from earnest.anchors import (
    NO_LINE,
    Anchor,
    AnchorsRefused,
    Signer,
    Written,
    alone,
    append,
    hash_of,
    last_of,
    pack,
    place_of,
)
from earnest.store import anchoring
from earnest.store.anchoring import Interval, Tip
from earnest.store.db import Pool

log = structlog.get_logger()


async def write_anchor(pool: Pool, directory: Path, signer: Signer) -> int:
    """Write one anchor if anything was recorded; 1 if there may be more to write.

    Raises AnchorsRefused, after the log was told why, where anchors and database do not fit; and
    OSError where the directory cannot be written to.
    """
    try:
        with alone(directory) as may_write:
            return await _write(pool, directory, signer) if may_write else 0
    except AnchorsRefused as refused:
        log.error("no anchor is written", reason=refused.message)
        raise


async def _write(pool: Pool, directory: Path, signer: Signer) -> int:
    last = await asyncio.to_thread(last_of, directory)
    place = place_of(directory)
    async with pool.connection() as conn:
        _require_all(last, await anchoring.tips(conn), place)
        interval = await anchoring.recorded_since(conn, last.anchor.to_xid if last else 0)
        if interval is None:
            return 0
        anchor = _next(last, interval)
        line = signer.line(anchor)
        # A few milliseconds, in which nobody else can need this connection's locks: it has none.
        await asyncio.to_thread(append, directory, anchor.at, line)
        tip = Tip(anchor.chain, place, anchor.number, hash_of(line), anchor.at)
        await anchoring.note_tip(conn, tip)
    log.info("anchor", number=anchor.number, hash=tip.hash)
    return int(len(interval.events) + len(interval.transfers) > anchoring.ROWS_MAX)


def _next(last: Written | None, interval: Interval) -> Anchor:
    return Anchor(
        chain=last.anchor.chain if last else secrets.token_hex(16),
        number=last.anchor.number + 1 if last else 1,
        at=interval.at,
        previous=last.hash if last else NO_LINE,
        from_xid=last.anchor.to_xid if last else 0,
        to_xid=interval.to_xid,
        events=pack(interval.events),
        transfers=pack(interval.transfers),
    )


def _require_all(last: Written | None, on_record: list[Tip], place: str) -> None:
    """Raises AnchorsRefused if anchors were here that are not any more."""
    for tip in on_record:
        is_ours = tip.chain == last.anchor.chain if last else tip.place == place
        if is_ours and (last is None or last.anchor.number < tip.number):
            raise AnchorsRefused(
                f"anchor {tip.number} was written to {tip.place} and is gone: see docs/anchors.md"
            )
