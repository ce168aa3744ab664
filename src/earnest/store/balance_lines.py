"""The provider's **lines**, as they were imported, and what has been booked of them.

Invariant: a line is stored once, as it was first told, and never changed.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date

import asyncpg

from earnest.domain.reconciliation import Kind, Line

IMPORT = """
INSERT INTO balance_line (
    provider_account_id, line_id, day, kind, type, amount_minor, fee_minor, currency, source_id,
    created_at, available_at
)
SELECT $1, n.line_id, n.day, n.kind, n.type, n.amount_minor, n.fee_minor, n.currency, n.source_id,
    n.created_at, n.available_at
FROM unnest(
    $2::text[], $3::date[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
    $9::text[], $10::timestamptz[], $11::timestamptz[]
) AS n (
    line_id, day, kind, type, amount_minor, fee_minor, currency, source_id, created_at,
    available_at
)
ON CONFLICT DO NOTHING
RETURNING line_id
"""

FIND = """
SELECT
    b.line_id, b.kind, b.type, b.amount_minor, b.fee_minor, b.currency, b.source_id, b.created_at,
    b.available_at
FROM balance_line AS b
WHERE b.provider_account_id = $1 AND b.line_id = ANY($2::text[])
"""

OF_DAYS = """
SELECT
    b.line_id, b.kind, b.type, b.amount_minor, b.fee_minor, b.currency, b.source_id, b.created_at,
    b.available_at
FROM balance_line AS b
WHERE b.provider_account_id = $1 AND b.day BETWEEN $2 AND $3
ORDER BY b.created_at, b.line_id
"""

BOOKED = """
SELECT b.line_id, b.kind, b.amount_minor, b.currency FROM booked_line AS b
WHERE b.provider_account_id = $1 AND b.line_id = ANY($2::text[])
"""


async def add(
    conn: asyncpg.Connection, account: int, lines: Sequence[Line]
) -> list[tuple[Line, Line]]:
    """Store the lines that are new. Returns those that say something else than when they were
    stored, each with what is stored."""
    lines = list({line.id: line for line in lines}.values())
    new = await conn.fetch(
        IMPORT,
        account,
        [line.id for line in lines],
        [line.created_at.astimezone(UTC).date() for line in lines],
        [str(line.kind) for line in lines],
        [line.type for line in lines],
        [line.amount_minor for line in lines],
        [line.fee_minor for line in lines],
        [line.currency for line in lines],
        [line.source_id for line in lines],
        [line.created_at for line in lines],
        [line.available_at for line in lines],
    )
    known = {line.id: line for line in lines} if len(new) < len(lines) else {}
    stored = [_line(row) for row in await conn.fetch(FIND, account, list(known))] if known else []
    told = [(known[line.id], line) for line in stored]
    return [(line, kept) for line, kept in told if _content(line) != _content(kept)]


def _content(line: Line) -> tuple[object, ...]:
    """When a line becomes available may change."""
    return (
        line.kind, line.amount_minor, line.fee_minor, line.currency, line.source_id,
        line.created_at,
    )  # fmt: skip


async def of_days(conn: asyncpg.Connection, account: int, first: date, last: date) -> list[Line]:
    """The lines from day `first` to day `last`, the oldest first."""
    return [_line(row) for row in await conn.fetch(OF_DAYS, account, first, last)]


async def booked(
    conn: asyncpg.Connection, account: int, line_ids: Iterable[str]
) -> dict[str, tuple[Kind, int, str]]:
    """What is booked under these ids: fee or bank, the minor units that left, their currency."""
    rows = await conn.fetch(BOOKED, account, list(line_ids))
    return {row[0]: (Kind(row[1]), row[2], row[3]) for row in rows}


def _line(row: asyncpg.Record) -> Line:
    return Line(row[0], Kind(row[1]), *row[2:])
