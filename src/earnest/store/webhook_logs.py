"""What a partner sees of its webhooks: its **deliveries** and their **attempts**, newest first."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from earnest.store.contracts import Page


class Delivery(msgspec.Struct, frozen=True):
    """`number` is the contract's, None for a test. `attempts` are those of the present series."""

    id: UUID
    type: str
    number: str | None
    state: str
    series: int
    attempts: int
    failed_for: str
    next_attempt_at: datetime | None
    created_at: datetime
    done_at: datetime | None


class Deliveries(msgspec.Struct, frozen=True):
    """Some deliveries of `total`."""

    deliveries: list[Delivery]
    total: int


class Attempt(msgspec.Struct, frozen=True):
    """`contract` is a key; `number` and `contract` are None for a test."""

    id: UUID
    delivery: UUID
    type: str
    number: str | None
    contract: int | None
    http_status: int | None
    is_success: bool
    attempt: int
    error: str
    duration_ms: int
    created_at: datetime


class Attempts(msgspec.Struct, frozen=True):
    """Some attempts of `total`."""

    attempts: list[Attempt]
    total: int


DELIVERIES = """
SELECT
    d.id, d.type, c.number, d.state, d.series, d.attempts, d.failed_for, d.next_attempt_at,
    d.created_at, d.done_at
FROM delivery AS d
LEFT JOIN contract AS c ON d.contract_id = c.id
WHERE
    d.business_id = $1
    AND ($2::text IS NULL OR d.state = $2)
    AND ($3::text IS NULL OR d.type = $3)
    AND ($4::text IS NULL OR c.number = $4)
ORDER BY d.created_at DESC, d.id DESC
LIMIT $5 OFFSET $6
"""

COUNT_DELIVERIES = """
SELECT count(*)
FROM delivery AS d
LEFT JOIN contract AS c ON d.contract_id = c.id
WHERE
    d.business_id = $1
    AND ($2::text IS NULL OR d.state = $2)
    AND ($3::text IS NULL OR d.type = $3)
    AND ($4::text IS NULL OR c.number = $4)
"""

DELIVERY = """
SELECT
    d.id, d.type, c.number, d.state, d.series, d.attempts, d.failed_for, d.next_attempt_at,
    d.created_at, d.done_at
FROM delivery AS d
LEFT JOIN contract AS c ON d.contract_id = c.id
WHERE d.business_id = $1 AND d.id = $2
"""

ATTEMPTS = """
SELECT
    a.id, a.delivery_id, d.type, c.number, d.contract_id, a.http_status, a.is_success, a.number,
    a.error, a.duration_ms, a.created_at
FROM (
    SELECT i.* FROM delivery_attempt AS i
    WHERE i.business_id = $1
    ORDER BY i.created_at DESC, i.id DESC
    LIMIT $2 OFFSET $3
) AS a
INNER JOIN delivery AS d ON a.delivery_id = d.id
LEFT JOIN contract AS c ON d.contract_id = c.id
ORDER BY a.created_at DESC, a.id DESC
"""

COUNT_ATTEMPTS = "SELECT count(*) FROM delivery_attempt WHERE business_id = $1"


async def deliveries(
    conn: asyncpg.Connection,
    business: int,
    state: str | None,
    event: str | None,
    number: str | None,
    page: Page,
) -> Deliveries:
    """Those in a state, of a type of event, of the contract with this number; None for any."""
    wanted = (business, state, event, number)
    rows = await conn.fetch(DELIVERIES, *wanted, page.limit, page.offset)
    total = await conn.fetchval(COUNT_DELIVERIES, *wanted)
    return Deliveries([Delivery(*row) for row in rows], total)


async def delivery(conn: asyncpg.Connection, business: int, id_: UUID) -> Delivery | None:
    """One of this business's."""
    row = await conn.fetchrow(DELIVERY, business, id_)
    return None if row is None else Delivery(*row)


async def attempts(conn: asyncpg.Connection, business: int, page: Page) -> Attempts:
    """All attempts of a business, whatever endpoint they went to."""
    rows = await conn.fetch(ATTEMPTS, business, page.limit, page.offset)
    return Attempts([Attempt(*row) for row in rows], await conn.fetchval(COUNT_ATTEMPTS, business))
