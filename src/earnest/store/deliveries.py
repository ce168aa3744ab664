"""**Deliveries** as the worker sees them: which are due, and what became of their attempts.

A worker takes an **endpoint** for as long as its lease lasts and renews that (real time), so that
nobody else sends there; a worker that is killed is replaced when its leases end. A delivery itself
is never written before its attempt has ended. Invariants: every attempt leaves one row; a delivery
moves only from where its attempt began; an event of a contract is not attempted before the event
before it has succeeded or failed for good (decision E20).

The SQL stands in migrations/0008_webhooks.sql, for one statement does much at once.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from earnest.domain.delivery import DISABLED_DAYS, FAILURES_MAX, Judged

LEASE_SECONDS = 10
TAKEN_MAX = 64
EXPIRED_MAX = 1_000


class Told(msgspec.Struct, frozen=True):
    """What a webhook tells of: an event, with its contract's number, base and terms (JSON)."""

    type: str
    event_key: int
    body: str
    recorded_at: datetime
    number: str
    amount_minor: int
    currency: str
    terms: str


class Due(msgspec.Struct, frozen=True):
    """A delivery to attempt now. `attempts` of its present series were made; `secret` is sealed.

    `before` is the pending delivery that must go first, itself due at `before_at`; `told` is None
    for a test; `now` is business time when this was read.
    """

    id: UUID
    endpoint: UUID
    business: int
    series: int
    attempts: int
    type: str
    body: bytes | None
    created_at: datetime
    url: str
    secret: bytes
    old_secret: bytes | None
    failed_attempts: int
    before: UUID | None
    before_at: datetime | None
    contract: int | None
    told: Told | None
    now: datetime


class Attempt(msgspec.Struct, frozen=True):
    """An attempt that ended. `error` is empty for a success, else a word of earnest.outbound."""

    id: UUID
    due: Due
    status: int | None
    error: str
    duration_ms: int
    begun_at: datetime
    judged: Judged
    body: bytes | None

    @property
    def number(self) -> int:
        return self.due.attempts + 1


class Disabled(msgspec.Struct, frozen=True):
    """An endpoint that gets nothing more: `gone` or `failures`."""

    endpoint: UUID
    reason: str


TAKE = "SELECT endpoint_id FROM take_endpoints($1, $2, $3) AS t (endpoint_id)"

RENEW = """
UPDATE webhook_endpoint SET leased_until = now() + make_interval(secs => $3)
WHERE id = ANY($2::uuid[]) AND leased_by = $1
RETURNING id
"""

RELEASE = """
UPDATE webhook_endpoint SET leased_by = NULL, leased_until = 'epoch'
WHERE id = ANY($2::uuid[]) AND leased_by = $1
"""

WANTED = """
SELECT id, url, secret FROM webhook_endpoint
WHERE id = ANY($1::uuid[]) AND is_active AND deleted_at IS NULL
"""

DUE = """
SELECT
    id, endpoint_id, business_id, series, attempts, type, body, created_at, url, secret,
    old_secret, failed_attempts, before_id, before_at, contract_id, event_key, event_body,
    recorded_at, number, amount_minor, currency, terms, now
FROM due_deliveries($1, $2::uuid[], $3::integer[], $4::uuid[])
"""

# What is due earlier than what must go before it waits for that. Locks in the order of replays.
PARK = """
UPDATE delivery AS d SET next_attempt_at = p.until
FROM (
    SELECT i.id, q.until
    FROM unnest($1::uuid[], $2::timestamptz[]) AS q (id, until)
    INNER JOIN delivery AS i ON i.id = q.id
    ORDER BY i.id
    FOR NO KEY UPDATE OF i
) AS p
WHERE d.id = p.id AND d.state = 'pending' AND d.next_attempt_at < p.until
"""

RECORD = """
SELECT endpoint_id AS endpoint, disabled_for AS reason
FROM record_attempts($1::delivery_attempt[], $2::text[], $3::integer[], $4::bytea[], $5)
"""

EXPIRE = """
WITH over AS (
    UPDATE delivery AS d SET
        state = 'failed',
        next_attempt_at = NULL,
        done_at = business_now(),
        failed_for = CASE WHEN w.deleted_at IS NULL THEN 'disabled' ELSE 'deleted' END
    FROM webhook_endpoint AS w
    WHERE w.id = d.endpoint_id AND d.id = ANY(ARRAY(
        SELECT i.id
        FROM webhook_endpoint AS e
        INNER JOIN delivery AS i ON i.endpoint_id = e.id AND i.state = 'pending'
        WHERE e.deleted_at IS NOT NULL
        OR e.disabled_at <= business_now() - make_interval(days => $1)
        LIMIT $2
        FOR UPDATE OF i SKIP LOCKED
    ))
    RETURNING d.id
)
SELECT count(*) FROM over
"""


async def take(conn: asyncpg.Connection, worker: UUID) -> list[UUID]:
    """Endpoints with something due that nobody has, now this worker's for LEASE_SECONDS."""
    return [row[0] for row in await conn.fetch(TAKE, worker, LEASE_SECONDS, TAKEN_MAX)]


async def renew(conn: asyncpg.Connection, worker: UUID, held: Collection[UUID]) -> set[UUID]:
    """Hold endpoints for LEASE_SECONDS from now; those that are still this worker's."""
    return {row[0] for row in await conn.fetch(RENEW, worker, list(held), LEASE_SECONDS)}


async def release(conn: asyncpg.Connection, worker: UUID, held: Collection[UUID]) -> None:
    """Let others have endpoints."""
    await conn.execute(RELEASE, worker, list(held))


async def wanted(conn: asyncpg.Connection, held: Collection[UUID]) -> dict[UUID, tuple[str, bytes]]:
    """The URL and the sealed secret that endpoints have now; without those that are disabled or
    deleted."""
    return {row[0]: (row[1], row[2]) for row in await conn.fetch(WANTED, list(held))}


async def due(
    conn: asyncpg.Connection, worker: UUID, rooms: dict[UUID, int], in_hand: Collection[UUID]
) -> list[Due]:
    """What is due at endpoints that this worker holds, so many at each, in the order in which to
    attempt them; without those `in_hand`."""
    rows = await conn.fetch(DUE, worker, list(rooms), list(rooms.values()), list(in_hand))
    return [_due(row) for row in rows]


async def park(conn: asyncpg.Connection, early: Sequence[Due]) -> None:
    """Let deliveries that came before their turn wait until their turn may have come."""
    await conn.execute(PARK, [one.id for one in early], [one.before_at for one in early])


async def record(conn: asyncpg.Connection, attempts: Sequence[Attempt]) -> list[Disabled]:
    """Write what became of attempts, in the order in which they ended; whom that disabled."""
    rows = await conn.fetch(
        RECORD,
        [_attempt_row(one) for one in attempts],
        [one.judged.verdict for one in attempts],
        [one.judged.delay_seconds for one in attempts],
        [one.body for one in attempts],
        FAILURES_MAX,
    )
    return [Disabled(*row) for row in rows]


async def expire(conn: asyncpg.Connection) -> int:
    """Fail what waits for an endpoint that is deleted, or was disabled DISABLED_DAYS ago; how
    many, EXPIRED_MAX at most."""
    count: int = await conn.fetchval(EXPIRE, DISABLED_DAYS, EXPIRED_MAX)
    return count


def _due(row: asyncpg.Record) -> Due:
    told = None if row[15] is None else Told(row[5], *row[15:22])
    columns = (*row[:15], told, row[22])
    return Due(*columns)


def _attempt_row(one: Attempt) -> tuple[object, ...]:
    due = one.due
    return (
        one.id,
        due.id,
        due.business,
        due.series,
        one.number,
        due.url,
        one.status,
        not one.error,
        one.error,
        one.duration_ms,
        one.begun_at,
    )
