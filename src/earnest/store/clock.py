"""Business time: the database's clock plus one stored offset that only grows (sandbox)."""

from datetime import datetime

import asyncpg

from earnest.errors import InvalidField

# Public ids have room for moments up to the year 2106.
OFFSET_SECONDS_MAX = 50 * 366 * 24 * 3600

NOW = "SELECT business_now()"
OFFSET = "SELECT advance_seconds FROM business_clock"
ADVANCE = """
UPDATE business_clock SET advance_seconds = advance_seconds + $1
WHERE advance_seconds + $1 <= $2
RETURNING advance_seconds
"""


async def now(conn: asyncpg.Connection) -> datetime:
    """The present in business time, in UTC."""
    found: datetime = await conn.fetchval(NOW)
    return found


async def offset_seconds(conn: asyncpg.Connection) -> int:
    """How far business time is ahead of the database's clock."""
    found: int = await conn.fetchval(OFFSET)
    return found


async def advance(conn: asyncpg.Connection, seconds: int) -> int:
    """Move business time forward; the new offset. Raises InvalidField past fifty years."""
    if seconds < 0:
        raise InvalidField("advance_seconds", "must not be negative: time moves forward only")
    found: int | None = await conn.fetchval(
        ADVANCE, min(seconds, OFFSET_SECONDS_MAX + 1), OFFSET_SECONDS_MAX
    )
    if found is None:
        raise InvalidField("advance_seconds", "would move the clock more than fifty years")
    return found
