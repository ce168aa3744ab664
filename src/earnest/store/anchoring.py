"""What anchors say of the database (earnest/anchors.py): rows of an interval, and their prints.

Every event and transfer has the id of the transaction that recorded it. An interval ends at a
**horizon**, below which no transaction is in flight any more (ADR 0004), so a commit that takes
long is in a later interval and in no case in none. A print covers all columns of a row; of an
event that is the hash of its chain, too, and so everything before it.
"""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from earnest.anchors import AnchorsRefused, Row

ROWS_MAX = 50_000

# Statements are written here and not as functions of the database, which whoever changes its rows
# could change, too.
HORIZON = """
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint + h.xid_offset AS xid,
    statement_timestamp() AS at
FROM ledger_horizon AS h
"""

# After the last row below the horizon, and not at the horizon itself: a restored database goes on
# counting from its last row. Or earlier, so that an anchor has about $3 rows; one transaction is
# never cut in two.
STOP = """
WITH recorded AS (
    SELECT e.xid FROM event AS e WHERE e.xid >= $1 AND e.xid < $2
    UNION ALL
    SELECT t.xid FROM transfer AS t WHERE t.xid >= $1 AND t.xid < $2
)
SELECT 1 + coalesce(
    (SELECT r.xid FROM recorded AS r ORDER BY r.xid OFFSET $3 LIMIT 1),
    (SELECT max(r.xid) FROM recorded AS r)
)
"""

EVENTS = """
SELECT e.id, substr(sha256(convert_to(json_build_array(
    e.id, e.commit_id, e.contract_id, e.seq, e.subject, e.type, e.actor,
    (extract(EPOCH FROM e.recorded_at) * 1000000)::bigint, e.body, encode(e.hash, 'hex'), e.xid
)::text, 'UTF8')), 1, 16) AS print
FROM event AS e
WHERE e.xid >= $1 AND e.xid < $2
ORDER BY e.xid, e.id
"""

TRANSFERS = """
SELECT t.id, substr(sha256(convert_to(json_build_array(
    t.id, t.commit_id, t.movement, t.debit, t.credit, t.amount_minor, t.contract_id, t.payment_id,
    t.reverses_id, (extract(EPOCH FROM t.occurred_at) * 1000000)::bigint,
    (extract(EPOCH FROM t.recorded_at) * 1000000)::bigint, t.xid
)::text, 'UTF8')), 1, 16) AS print
FROM transfer AS t
WHERE t.xid >= $1 AND t.xid < $2
ORDER BY t.xid, t.id
"""

TIPS = "SELECT chain, place, number, hash, noted_at FROM anchor_tip ORDER BY noted_at"

# Never back: who wrote the newer one noted it first.
NOTE = """
INSERT INTO anchor_tip (chain, place, number, hash, noted_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (chain) DO UPDATE SET
    place = excluded.place, number = excluded.number, hash = excluded.hash,
    noted_at = excluded.noted_at
WHERE anchor_tip.number < excluded.number
"""


class Interval(msgspec.Struct, frozen=True):
    """What the transactions up to `to_xid` (exclusive) recorded."""

    to_xid: int
    at: datetime
    events: list[Row]
    transfers: list[Row]


class Tip(msgspec.Struct, frozen=True):
    """The newest anchor of a chain, as its writer noted it. `place` is where: `host:/directory`."""

    chain: str
    place: str
    number: int
    hash: str
    noted_at: datetime


async def recorded_since(conn: asyncpg.Connection, from_xid: int) -> Interval | None:
    """The next interval that an anchor can cover, ROWS_MAX rows or one transaction more; None if
    nothing was recorded.

    Raises AnchorsRefused if the database has not come to `from_xid` yet.
    """
    now = await conn.fetchrow(HORIZON)
    assert now is not None
    if now["xid"] < from_xid:
        raise AnchorsRefused(
            f"the database is at transaction {now['xid']} and its last anchor at {from_xid}:"
            " it is older than its anchors"
        )
    # A new statement, so a new snapshot: everything below the horizon has ended.
    to_xid: int | None = await conn.fetchval(STOP, from_xid, now["xid"], ROWS_MAX)
    if to_xid is None:
        return None
    events = await events_between(conn, from_xid, to_xid)
    transfers = await transfers_between(conn, from_xid, to_xid)
    return Interval(to_xid, now["at"], events, transfers)


async def events_between(conn: asyncpg.Connection, from_xid: int, to_xid: int) -> list[Row]:
    """The events of these transactions, in order."""
    return [(row[0], row[1]) for row in await conn.fetch(EVENTS, from_xid, to_xid)]


async def transfers_between(conn: asyncpg.Connection, from_xid: int, to_xid: int) -> list[Row]:
    """The transfers of these transactions, in order."""
    return [(row[0], row[1]) for row in await conn.fetch(TRANSFERS, from_xid, to_xid)]


async def tips(conn: asyncpg.Connection) -> list[Tip]:
    """The newest anchor of every chain there ever was, the one noted last at the end."""
    return [Tip(row["chain"].hex, *row[1:]) for row in await conn.fetch(TIPS)]


async def note_tip(conn: asyncpg.Connection, tip: Tip) -> None:
    """Put on record that this anchor was written."""
    await conn.execute(NOTE, UUID(tip.chain), tip.place, tip.number, tip.hash, tip.noted_at)
