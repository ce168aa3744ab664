"""**Endpoints**: where a business wants to hear of its events, and **replays** of those.

Invariants: a business has at most one endpoint; its secret is kept sealed; an event has at most one
delivery, whose id (the webhook id) is the same in all attempts and replays, wherever they go.
"""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from earnest.domain.delivery import TEST_EVENT

OLD_SECRET_HOURS = 24
REPLAYED_MAX = 10_000


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint; `secret` is sealed. `consecutive_failures` counts deliveries."""

    id: UUID
    url: str
    secret: bytes
    is_active: bool
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    created_at: datetime


class Saved(msgspec.Struct, frozen=True):
    """`is_new`: it was not there before."""

    endpoint: Endpoint
    is_new: bool


class Wanted(msgspec.Struct, frozen=True):
    """Which events to replay: those that match all that is given. `number` is a contract's,
    `state` one of a delivery's, or "missing" for events that have none."""

    event: str | None = None
    number: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: str | None = None


class Matching(msgspec.Struct, frozen=True):
    """Events: `deliveries` of some, and the keys of those that are `missing` one."""

    deliveries: list[UUID]
    missing: list[int]


FIND = """
SELECT
    id, url, secret, is_active, consecutive_failures, last_success_at, last_failure_at, created_at
FROM webhook_endpoint
WHERE business_id = $1 AND deleted_at IS NULL
"""

# NO KEY: commits go on inserting deliveries for it.
LOCK = """
SELECT
    id, url, secret, is_active, consecutive_failures, last_success_at, last_failure_at, created_at
FROM webhook_endpoint
WHERE business_id = $1 AND deleted_at IS NULL
FOR NO KEY UPDATE
"""

# xmax is 0 for a row that is inserted. What was given before stays, but for the URL.
SAVE = """
INSERT INTO webhook_endpoint AS w (id, business_id, url, secret, created_at, updated_at)
VALUES ($1, $2, $3, $4, business_now(), business_now())
ON CONFLICT (business_id) WHERE deleted_at IS NULL DO UPDATE SET
    url = excluded.url,
    is_active = TRUE,
    consecutive_failures = 0,
    failed_attempts = 0,
    disabled_at = NULL,
    disabled_for = '',
    updated_at = excluded.updated_at
RETURNING
    w.id, w.url, w.secret, w.is_active, w.consecutive_failures, w.last_success_at,
    w.last_failure_at, w.created_at, w.xmax = 0 AS is_new
"""

REPLACE_SECRET = """
UPDATE webhook_endpoint SET
    secret = $2,
    old_secret = secret,
    old_secret_until = business_now() + make_interval(hours => $3),
    updated_at = business_now()
WHERE id = $1
"""

DELETE = """
UPDATE webhook_endpoint SET deleted_at = business_now(), updated_at = business_now()
WHERE business_id = $1 AND deleted_at IS NULL
RETURNING id
"""

TEST = """
INSERT INTO delivery (
    endpoint_id, business_id, type, state, attempts, next_attempt_at, created_at
) VALUES ($1, $2, $3, 'pending', 0, business_now(), business_now())
RETURNING id
"""

# A pending delivery that waits for its first attempt needs no other series.
REPLAY_ONE = """
UPDATE delivery SET
    endpoint_id = $3,
    state = 'pending',
    series = series + CASE WHEN state = 'pending' AND attempts = 0 THEN 0 ELSE 1 END,
    attempts = 0,
    next_attempt_at = business_now(),
    done_at = NULL,
    failed_for = ''
WHERE id = $1 AND business_id = $2
RETURNING id
"""

# The events that a filter means, with their deliveries if they have any.
#
# A contract is not changed before its first event nor after its last: that spares the events of
# contracts that lie wholly outside the time asked for.
MATCHING = """
SELECT e.id AS event_id, d.id AS delivery_id
FROM contract AS c
INNER JOIN event AS e ON c.id = e.contract_id
LEFT JOIN delivery AS d ON e.id = d.event_id
WHERE
    c.business_id = $1
    AND ($2::text IS NULL OR c.number = $2)
    AND ($3::timestamptz IS NULL OR (c.updated_at >= $3 AND e.recorded_at >= $3))
    AND ($4::timestamptz IS NULL OR (c.created_at <= $4 AND e.recorded_at <= $4))
    AND is_public_event(e.type)
    AND ($5::text IS NULL OR e.type = $5)
    AND ($6::text IS NULL OR coalesce(d.state, 'missing') = $6)
ORDER BY e.id
LIMIT $7
"""

REPLAY = """
UPDATE delivery AS d SET
    endpoint_id = $2,
    state = 'pending',
    series = d.series + CASE WHEN d.state = 'pending' AND d.attempts = 0 THEN 0 ELSE 1 END,
    attempts = 0,
    next_attempt_at = business_now(),
    done_at = NULL,
    failed_for = ''
FROM (
    SELECT i.id FROM delivery AS i
    WHERE i.id = ANY($1::uuid[])
    ORDER BY i.id
    FOR UPDATE
) AS r
WHERE d.id = r.id
RETURNING d.id
"""

# Somebody else may be creating the same: there is one all the same.
CREATE_MISSING = """
INSERT INTO delivery (
    endpoint_id, business_id, event_id, contract_id, seq, type, state, attempts, next_attempt_at,
    created_at
)
SELECT
    $2, $3, e.id, e.contract_id, e.seq, e.type, 'pending', 0, business_now(), business_now()
FROM event AS e
WHERE e.id = ANY($1::bigint[])
ON CONFLICT (event_id) DO NOTHING
RETURNING id
"""


async def find(conn: asyncpg.Connection, business: int) -> Endpoint | None:
    """The endpoint of a business."""
    row = await conn.fetchrow(FIND, business)
    return None if row is None else Endpoint(*row)


async def lock(conn: asyncpg.Connection, business: int) -> Endpoint | None:
    """The same, which stays as it is until the caller's database transaction ends."""
    row = await conn.fetchrow(LOCK, business)
    return None if row is None else Endpoint(*row)


# -- changes, each within the caller's database transaction -----------------------------------


async def save(
    conn: asyncpg.Connection, business: int, new_id: UUID, url: str, secret: bytes
) -> Saved:
    """An endpoint at `url`. One that is there already keeps its id and secret, forgets its
    failures and is active again; else `new_id` and `secret`, sealed for that, are its own."""
    row = await conn.fetchrow(SAVE, new_id, business, url, secret)
    assert row is not None
    return Saved(Endpoint(*row[:8]), row[8])


async def replace_secret(conn: asyncpg.Connection, endpoint: UUID, secret: bytes) -> None:
    """Sign with another secret, with the present one too for OLD_SECRET_HOURS."""
    await conn.execute(REPLACE_SECRET, endpoint, secret, OLD_SECRET_HOURS)


async def delete(conn: asyncpg.Connection, business: int) -> bool:
    """Whether there was one. What is pending will fail."""
    return await conn.fetchval(DELETE, business) is not None


async def queue_test(conn: asyncpg.Connection, business: int, endpoint: UUID) -> UUID:
    """The id of a new webhook that tests the way."""
    found: UUID = await conn.fetchval(TEST, endpoint, business, TEST_EVENT)
    return found


async def replay_one(
    conn: asyncpg.Connection, business: int, delivery: UUID, endpoint: UUID
) -> bool:
    """Begin another series of attempts; False for a delivery that is not this business's."""
    return await conn.fetchval(REPLAY_ONE, delivery, business, endpoint) is not None


async def matching(conn: asyncpg.Connection, business: int, wanted: Wanted) -> Matching | None:
    """The events that are `wanted`; None if they are more than REPLAYED_MAX.

    This may take a while, in which nobody should have to wait for an endpoint."""
    rows = await conn.fetch(
        MATCHING,
        business,
        wanted.number,
        wanted.since,
        wanted.until,
        wanted.event,
        wanted.state,
        REPLAYED_MAX + 1,
    )
    if len(rows) > REPLAYED_MAX:
        return None
    return Matching(
        [row["delivery_id"] for row in rows if row["delivery_id"] is not None],
        [row["event_id"] for row in rows if row["delivery_id"] is None],
    )


async def replay(conn: asyncpg.Connection, business: int, endpoint: UUID, found: Matching) -> int:
    """Begin another series for every event that was `found`, oldest first, a first one for those
    without a delivery; how many."""
    known, missing = found.deliveries, found.missing
    again = await conn.fetch(REPLAY, known, endpoint) if known else []
    first = await conn.fetch(CREATE_MISSING, missing, endpoint, business) if missing else []
    return len(again) + len(first)
