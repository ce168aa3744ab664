"""Invariant 20: the database still has what its anchors say, row by row, and nothing besides.

Anchors are read in order, a good many rows at a time, and compared with what the database has
of the same transactions. The first row that differs is named, and so is the first line of the
anchors that is not as it was written.
"""

from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec

from earnest.anchors import Anchors, Damage, Row, Written, unpack
from earnest.store.anchoring import Tip, events_between, tips, transfers_between
from earnest.store.invariant import Violation

PREDICATE = "the database still has what its anchors say, and nothing besides"
LINES_PREDICATE = "the anchors are as they were written, one after the other"

# Rows in memory at once. Where the index by transaction is not up to date, each query reads the
# whole table, so there should not be many.
ROWS_COMPARED_MAX = 250_000

SUBJECT = "SELECT split_part(e.subject, ':', 2) FROM event AS e WHERE e.id = $1"

Advance = Callable[[int], None]
_Between = Callable[[asyncpg.Connection, int, int], Any]


class Outcome(msgspec.Struct):
    """`violations`: a row first, then a line of the anchors. `unproved` is what was not checked."""

    anchors: int
    violations: list[Violation]
    unproved: str


async def check_anchors(
    conn: asyncpg.Connection, anchors: Anchors, place: str, advance: Advance
) -> Outcome:
    """Compare. `anchors` must be older than the caller's snapshot; `place` is where they are, as
    their writer notes it. Raises AnchorsRefused where they cannot be read."""
    walk = _Walk(conn, advance)
    lines: list[Violation] = []
    last: Written | None = None
    count = 0
    for read in anchors.read():
        if isinstance(read, Damage):
            lines.append(_of_line(read))
            continue
        count, last = count + 1, read
        await walk.take(read)
    await walk.finish()
    on_record = await tips(conn)
    if (missing := _missing(on_record, last, place)) and not anchors.is_copy:
        lines.append(missing)
    return Outcome(count, walk.found[:1] + lines[:1], _unproved(anchors, last, on_record, missing))


class _Walk:
    """Anchors in order, and the rows that they name."""

    def __init__(self, conn: asyncpg.Connection, advance: Advance) -> None:
        self._conn = conn
        self._advance = advance
        self._waiting: list[Written] = []
        self._rows = 0
        self.found: list[Violation] = []

    async def take(self, written: Written) -> None:
        anchor = written.anchor
        # One query covers anchors that lie side by side.
        if self._waiting and (
            self._rows >= ROWS_COMPARED_MAX or self._waiting[-1].anchor.to_xid != anchor.from_xid
        ):
            await self.finish()
        self._waiting.append(written)
        self._rows += (len(anchor.events) + len(anchor.transfers)) // 24

    async def finish(self) -> None:
        """Compare those that wait."""
        if self._waiting and not self.found:
            await self._compare("event", events_between)
            await self._compare("transfer", transfers_between)
        self._advance(self._rows)
        self._waiting, self._rows = [], 0

    async def _compare(self, table: str, between: _Between) -> None:
        if self.found:
            return
        first, last = self._waiting[0].anchor.from_xid, self._waiting[-1].anchor.to_xid
        has: list[Row] = await between(self._conn, first, last)
        rest = dict(has)
        for written in self._waiting:
            packed = written.anchor.events if table == "event" else written.anchor.transfers
            for key, print_ in unpack(packed):
                got = rest.pop(key, None)
                if got != print_:
                    what = "no such row" if got is None else "a row with another content"
                    expected = f"the row that {_named(written)} has"
                    await self._note(table, key, expected, what)
                    return
        for key in rest:
            expected = f"no row that {_named(self._waiting[0])} and those after it do not have"
            await self._note(table, key, expected, "one more")
            return

    async def _note(self, table: str, key: int, expected: str, found: str) -> None:
        subject = await self._conn.fetchval(SUBJECT, key) if table == "event" else None
        self.found.append(
            Violation(20, PREDICATE, table, str(key), subject or None, expected, found)
        )


def _named(written: Written) -> str:
    anchor = written.anchor
    return f"anchor {anchor.number} of {anchor.at:%Y-%m-%d %H:%M:%S} UTC ({written.place})"


def _of_line(damage: Damage) -> Violation:
    return Violation(
        20, LINES_PREDICATE, "anchors", damage.place, None, damage.expected, damage.found
    )


def _missing(on_record: list[Tip], last: Written | None, place: str) -> Violation | None:
    """What the database has on record of this chain, or of this place, and the files have not."""
    for tip in on_record:
        if last is None or tip.chain != last.anchor.chain:
            # Anchors of other hosts are elsewhere; those of this one are here or are gone.
            if tip.place != place:
                continue
            found = "none of its chain"
        elif tip.number > last.anchor.number:
            found = f"{last.anchor.number} is the last one"
        elif tip.number == last.anchor.number and tip.hash != last.hash:
            found = f"another line, of hash {last.hash}"
        else:
            continue
        return Violation(
            20,
            LINES_PREDICATE,
            "anchors",
            str(tip.number),
            None,
            f"anchor {tip.number} of hash {tip.hash}, written {tip.noted_at} to {tip.place}",
            found,
        )
    return None


def _unproved(
    anchors: Anchors, last: Written | None, on_record: list[Tip], missing: Violation | None
) -> str:
    """What of invariant 20 was not checked, for people."""
    if last is None:
        elsewhere = "".join(f"; the database tells of some in {tip.place}" for tip in on_record)
        return f"anchors outside the database: there are none in {anchors.directory}{elsewhere}"
    said = [f"what was recorded after {_named(last)}"]
    if not anchors.keys:
        said.append(
            "the signatures of the anchors, without the secret key or --anchor-key: whoever wrote"
            " these lines may have made them up"
        )
    if missing is not None and anchors.is_copy:
        said.append(f"anchors up to {missing.row}, which this copy does not have")
    return "; ".join(said)
