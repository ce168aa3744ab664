"""Alerts: finding what has to be told, closing what is over, lists.

Invariant: one worker at a time looks, and each cause is told of once (alert_once); an alert that
closed because its cause was gone opens again when the cause is back.
"""

from datetime import datetime, timedelta

import asyncpg
import msgspec

from earnest.domain.alert import (
    EVIDENCE_DAYS,
    HOLD_DAYS,
    LATE_ATTEMPTS,
    LATE_SECONDS,
    Alert,
    AlertKind,
    AlertNotFound,
)
from earnest.domain.audit import canonical
from earnest.domain.party import SYSTEM, Actor
from earnest.ids import Ids, PublicId, key_of
from earnest.store import holds
from earnest.store.accounts import INSERT_EVENT
from earnest.store.contracts import Page

FOUND_MAX = 100
LOCK_KEY = 0x6561726E616C7274

LOCK = "SELECT pg_try_advisory_xact_lock($1)"

NOW = "SELECT business_now()"

# What was told of is looked up by alert_once; only rows that are in trouble are looked at, each
# kind by an index of its own. Deadlines of banks are in real time.
FIND = """
SELECT f.kind, f.subject, f.stage, f.object_id, f.amount_minor, f.currency, f.detail
FROM (
    SELECT
        'event_quarantined' AS kind, format('event:%s', e.event_id) AS subject, 0 AS stage,
        NULL::bigint AS object_id, NULL::bigint AS amount_minor, NULL AS currency,
        e.reason AS detail
    FROM provider_event AS e
    WHERE e.outcome = 'quarantined'
    UNION ALL
    SELECT
        format('refund_%s', r.state), 'refund:' || r.public_id, r.version, r.id, r.amount_minor,
        r.currency, r.last_error
    FROM refund AS r
    WHERE r.state IN ('failed', 'returned')
    UNION ALL
    SELECT
        'payout_stuck', 'payout:' || p.public_id, p.version, p.id, p.amount_minor, p.currency,
        p.last_error
    FROM payout AS p
    WHERE p.state = 'stuck'
    UNION ALL
    SELECT
        'chargeback_open', 'chargeback:' || c.public_id, 0, c.id,
        nullif(c.amount_minor, 0), CASE WHEN c.amount_minor > 0 THEN c.currency END,
        concat_ws(
            ', ', nullif(c.reason, ''),
            'evidence until ' || to_char(c.evidence_due_at, 'YYYY-MM-DD"T"HH24:MI"Z"')
        )
    FROM chargeback AS c
    WHERE c.state IN ('warning', 'open') OR (c.state = 'noticed' AND c.attempts > 0)
    UNION ALL
    SELECT
        'evidence_due', 'chargeback:' || c.public_id, s.days, c.id,
        nullif(c.amount_minor, 0), CASE WHEN c.amount_minor > 0 THEN c.currency END,
        'until ' || to_char(c.evidence_due_at, 'YYYY-MM-DD"T"HH24:MI"Z"')
    FROM chargeback AS c
    CROSS JOIN unnest($1::integer[]) AS s (days)
    WHERE c.state IN ('warning', 'open') AND c.evidence_due_at > now()
        AND c.evidence_due_at <= now() + make_interval(days => s.days)
    UNION ALL
    SELECT
        'chargeback_lost', 'chargeback:' || c.public_id, 0, c.id,
        nullif(c.amount_minor, 0), CASE WHEN c.amount_minor > 0 THEN c.currency END, c.reason
    FROM chargeback AS c
    WHERE c.state = 'lost'
    UNION ALL
    SELECT
        'call_late', 'refund:' || r.public_id, 0, r.id, r.amount_minor, r.currency, r.last_error
    FROM refund AS r
    WHERE r.due_at IS NOT NULL AND r.state <> 'done' AND r.attempts >= $5 AND r.last_error <> ''
        AND r.created_at <= business_now() - make_interval(secs => $2)
    UNION ALL
    SELECT
        'call_late', 'payout:' || p.public_id, 0, p.id, p.amount_minor, p.currency, p.last_error
    FROM payout AS p
    WHERE p.due_at IS NOT NULL AND p.attempts >= $5 AND p.last_error <> ''
        AND p.state IN ('planned', 'sent', 'unknown')
        AND p.created_at <= business_now() - make_interval(secs => $2)
    UNION ALL
    SELECT
        'webhook_disabled', 'webhook:' || w.id, 0, NULL, NULL, NULL, w.disabled_for
    FROM webhook_endpoint AS w
    WHERE NOT w.is_active AND w.deleted_at IS NULL
    UNION ALL
    SELECT
        'reconciliation', 'reconciliation:' || d.day, 0, NULL, NULL, NULL,
        count(*) || ' differences'
    FROM reconciliation_difference AS d
    WHERE d.resolved_at IS NULL AND d.since = d.day AND d.cause <> 'timing'
    GROUP BY d.day
) AS f
WHERE NOT EXISTS (
    SELECT FROM alert AS a
    WHERE
        a.kind = f.kind AND a.subject = f.subject AND a.stage = f.stage
        AND (a.closed_at IS NULL OR a.closed_by <> $3)
)
LIMIT $4
"""

RAISE = """
INSERT INTO alert (
    id, public_id, kind, subject, stage, object_id, amount_minor, currency, detail, raised_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT ON CONSTRAINT alert_once DO UPDATE SET
    amount_minor = excluded.amount_minor,
    currency = excluded.currency,
    detail = excluded.detail,
    raised_at = excluded.raised_at,
    mailed_at = NULL,
    closed_at = NULL,
    closed_by = NULL
"""

# A quarantined event stays one, and a lost dispute: only an admin closes their alerts.
CLOSE_OVER = """
UPDATE alert AS a SET closed_at = business_now(), closed_by = $1
WHERE a.closed_at IS NULL AND CASE a.kind
    WHEN 'refund_failed' THEN NOT EXISTS (
        SELECT FROM refund AS r
        WHERE r.id = a.object_id AND r.state = 'failed' AND r.version = a.stage
    )
    WHEN 'refund_returned' THEN NOT EXISTS (
        SELECT FROM refund AS r
        WHERE r.id = a.object_id AND r.state = 'returned' AND r.version = a.stage
    )
    WHEN 'payout_stuck' THEN NOT EXISTS (
        SELECT FROM payout AS p
        WHERE p.id = a.object_id AND p.state = 'stuck' AND p.version = a.stage
    )
    WHEN 'chargeback_open' THEN NOT EXISTS (
        SELECT FROM chargeback AS c
        WHERE c.id = a.object_id AND c.state IN ('noticed', 'warning', 'open')
    )
    WHEN 'evidence_due' THEN NOT EXISTS (
        SELECT FROM chargeback AS c
        WHERE c.id = a.object_id AND c.state IN ('warning', 'open') AND c.evidence_due_at > now()
    )
    WHEN 'call_late' THEN NOT EXISTS (
        SELECT FROM refund AS r
        WHERE
            a.subject LIKE 'refund:%' AND r.id = a.object_id AND r.due_at IS NOT NULL
            AND r.state <> 'done' AND r.last_error <> ''
        UNION ALL
        SELECT FROM payout AS p
        WHERE
            a.subject LIKE 'payout:%' AND p.id = a.object_id AND p.due_at IS NOT NULL
            AND p.state IN ('planned', 'sent', 'unknown') AND p.last_error <> ''
    )
    WHEN 'webhook_disabled' THEN NOT EXISTS (
        SELECT FROM webhook_endpoint AS w
        WHERE w.id::text = split_part(a.subject, ':', 2) AND NOT w.is_active
        AND w.deleted_at IS NULL
    )
    WHEN 'reconciliation' THEN NOT EXISTS (
        SELECT FROM reconciliation_difference AS d
        WHERE d.resolved_at IS NULL AND d.since = d.day AND d.cause <> 'timing'
        AND d.day::text = split_part(a.subject, ':', 2)
    )
    WHEN 'hold_limit' THEN NOT EXISTS (
        SELECT FROM hold AS h
        WHERE h.id = a.object_id AND a.subject = format('%s:%s', h.kind, h.public_id)
    ) OR EXISTS (
        SELECT FROM alert AS later
        WHERE later.kind = a.kind AND later.subject = a.subject AND later.stage > a.stage
    )
    ELSE FALSE
END
RETURNING a.public_id, a.kind, a.subject, a.stage, a.closed_at
"""

COLUMNS_OF = """
SELECT
    a.id AS key, a.public_id, a.kind, a.subject, a.stage, a.amount_minor, a.currency, a.detail,
    a.raised_at, a.closed_at, a.closed_by
FROM alert AS a
WHERE NOT $1 OR a.closed_at IS NULL
ORDER BY a.id DESC
LIMIT $2 OFFSET $3
"""

COUNT = "SELECT count(*) FROM alert AS a WHERE NOT $1 OR a.closed_at IS NULL"

LOCK_ONE = """
SELECT
    a.id AS key, a.public_id, a.kind, a.subject, a.stage, a.amount_minor, a.currency, a.detail,
    a.raised_at, a.closed_at, a.closed_by
FROM alert AS a
WHERE a.id = $1 AND a.public_id = $2
FOR UPDATE
"""

CLOSE_ONE = """
UPDATE alert SET closed_at = business_now(), closed_by = $2 WHERE id = $1 RETURNING closed_at
"""

# Those that come within minutes of a letter wait for the next one.
TAKE_TO_MAIL = """
UPDATE alert AS a SET mailed_at = business_now()
WHERE a.closed_at IS NULL AND a.mailed_at IS NULL AND NOT EXISTS (
    SELECT FROM alert AS told
    WHERE told.mailed_at > business_now() - make_interval(secs => $1)
)
RETURNING
    a.id AS key, a.public_id, a.kind, a.subject, a.stage, a.amount_minor, a.currency, a.detail,
    a.raised_at, a.closed_at, a.closed_by
"""

ADMINS = """
SELECT p.email, l.email_canonical
FROM login AS l
INNER JOIN party AS p ON p.id = l.party_id
WHERE l.role = 'admin' AND l.status = 'Active'
ORDER BY l.party_id
"""

OPEN_BY_KIND = """
SELECT a.kind, count(*) AS alerts
FROM alert AS a
WHERE a.closed_at IS NULL
GROUP BY a.kind
ORDER BY a.kind
"""


class Cause(msgspec.Struct, frozen=True):
    """Something that nobody was told of yet."""

    kind: AlertKind
    subject: str
    stage: int
    object_id: int | None
    amount_minor: int | None
    currency: str | None
    detail: str
    body: dict[str, object] | None = None
    """Of the audit event that tells of it, where one does."""


class Listed(msgspec.Struct, frozen=True):
    """Some alerts of `total`."""

    alerts: list[Alert]
    total: int


async def is_alone(conn: asyncpg.Connection) -> bool:
    """Whether no other worker is looking, until the caller's transaction ends."""
    return bool(await conn.fetchval(LOCK, LOCK_KEY))


async def raise_new(conn: asyncpg.Connection, ids: Ids) -> list[Alert]:
    """Alerts about what nobody was told of yet, at most FOUND_MAX of both kinds.

    Money that is held past a limit is told of by an event, too (`hold.limit`).
    """
    now: datetime = await conn.fetchval(NOW)
    rows = await conn.fetch(
        FIND, list(EVIDENCE_DAYS), LATE_SECONDS, SYSTEM.name, FOUND_MAX, LATE_ATTEMPTS
    )
    causes = [msgspec.convert(dict(row), Cause) for row in rows]
    causes += [_of_hold(hold) for hold in await holds.past_limits(conn, HOLD_DAYS, FOUND_MAX, now)]
    raised = []
    for cause in causes:
        key, public_id = ids.new_object(now)
        alert = Alert(
            key,
            public_id,
            cause.kind,
            cause.subject,
            cause.stage,
            cause.amount_minor,
            cause.currency,
            cause.detail,
            now,
        )
        await conn.execute(
            RAISE,
            key,
            public_id,
            cause.kind,
            cause.subject,
            cause.stage,
            cause.object_id,
            cause.amount_minor,
            cause.currency,
            cause.detail,
            now,
        )
        if cause.body is not None:
            body = canonical(cause.body)
            await conn.execute(INSERT_EVENT, cause.subject, "hold.limit", SYSTEM.name, now, body)
        raised.append(alert)
    return raised


def _of_hold(hold: holds.Hold) -> Cause:
    return Cause(
        AlertKind.HOLD_LIMIT,
        hold.subject,
        hold.stage,
        hold.key,
        hold.amount_minor,
        hold.currency,
        hold.proposal,
        {
            "days": hold.days,
            "stage": hold.stage,
            "amount_minor": hold.amount_minor,
            "currency": hold.currency,
            "proposal": hold.proposal,
        },
    )


async def close_over(conn: asyncpg.Connection) -> int:
    """Close alerts whose cause is gone, with an event each; how many."""
    rows = await conn.fetch(CLOSE_OVER, SYSTEM.name)
    for row in rows:
        await _tell_closed(conn, row["public_id"], row["kind"], row["subject"], row["closed_at"])
    return len(rows)


async def close(conn: asyncpg.Connection, admin: Actor, alert: PublicId) -> Alert:
    """An admin has seen to it, within the caller's database transaction; a closed one stays as it
    is. Raises AlertNotFound."""
    row = await conn.fetchrow(LOCK_ONE, key_of(alert), alert)
    if row is None:
        raise AlertNotFound
    found = msgspec.convert(dict(row), Alert)
    if found.closed_at is not None:
        return found
    at = await conn.fetchval(CLOSE_ONE, found.key, admin.name)
    await _tell_closed(conn, alert, found.kind, found.subject, at, admin)
    return msgspec.structs.replace(found, closed_at=at, closed_by=admin.name)


async def _tell_closed(
    conn: asyncpg.Connection,
    alert: str,
    kind: str,
    subject: str,
    at: datetime,
    actor: Actor = SYSTEM,
) -> None:
    body = canonical({"kind": kind, "about": subject})
    await conn.execute(INSERT_EVENT, f"alert:{alert}", "alert.closed", actor.name, at, body)


async def take_to_mail(conn: asyncpg.Connection, pause: timedelta) -> list[Alert]:
    """Open alerts that no letter has told of, which the caller's letter does; none within `pause`
    of the last letter."""
    rows = await conn.fetch(TAKE_TO_MAIL, pause.total_seconds())
    return sorted((msgspec.convert(dict(row), Alert) for row in rows), key=lambda one: one.key)


async def admins(conn: asyncpg.Connection) -> list[tuple[str, str]]:
    """The address of each admin who may sign in, as written and canonical."""
    return [(row[0], row[1]) for row in await conn.fetch(ADMINS)]


async def listed(conn: asyncpg.Connection, page: Page, *, only_open: bool) -> Listed:
    """Alerts, newest first."""
    rows = await conn.fetch(COLUMNS_OF, only_open, page.limit, page.offset)
    total = await conn.fetchval(COUNT, only_open)
    return Listed([msgspec.convert(dict(row), Alert) for row in rows], total)


async def open_by_kind(conn: asyncpg.Connection) -> dict[str, int]:
    """How many alerts of each kind are open."""
    return {row["kind"]: row["alerts"] for row in await conn.fetch(OPEN_BY_KIND)}
