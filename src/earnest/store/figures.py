"""**Figures** for the operator's metrics: money, queues and connections at one moment.

One statement, so one snapshot. The only reader of the sandbox provider's outbox besides the
provider itself: for whoever operates a sandbox it is a queue like the others.
"""

import asyncpg
import msgspec

# The tail is what was posted beyond the rollups' horizon; parked money is append-only.
FIGURES = """
WITH money AS (
    SELECT
        account_kind(b.account) AS kind, account_currency(b.account) AS currency,
        sum(b.amount_minor)::text AS amount_minor
    FROM balance AS b
    GROUP BY 1, 2
    UNION ALL
    SELECT 12, p.currency, sum(p.amount_minor)::text
    FROM (
        SELECT
            account_currency(r.account) AS currency,
            r.credits_minor - r.debits_minor AS amount_minor
        FROM rollup AS r WHERE account_kind(r.account) = 12
        UNION ALL
        SELECT account_currency(t.credit), t.amount_minor
        FROM transfer AS t, ledger_horizon AS h
        WHERE account_kind(t.credit) = 12 AND t.xid >= h.horizon_xid
        UNION ALL
        SELECT account_currency(t.debit), -t.amount_minor
        FROM transfer AS t, ledger_horizon AS h
        WHERE account_kind(t.debit) = 12 AND t.xid >= h.horizon_xid
    ) AS p
    GROUP BY p.currency
), queues AS (
    SELECT
        'mail' AS queue, count(*) AS due,
        coalesce(extract(EPOCH FROM now() - min(m.due_at)), 0)::float8 AS oldest_seconds
    FROM mail AS m
    WHERE m.sent_at IS NULL AND m.failed_at IS NULL AND m.due_at <= now()
    UNION ALL
    SELECT
        'provider_events', count(*),
        coalesce(extract(EPOCH FROM business_now() - min(o.next_attempt_at)), 0)::float8
    FROM sandbox.outbox AS o
    WHERE o.next_attempt_at <= business_now()
    UNION ALL
    SELECT
        'webhooks', coalesce(sum(d.due), 0)::bigint,
        coalesce(extract(EPOCH FROM business_now() - min(d.oldest)), 0)::float8
    FROM webhook_endpoint AS w
    CROSS JOIN LATERAL (
        SELECT count(*) AS due, min(i.next_attempt_at) AS oldest
        FROM delivery AS i
        WHERE i.state = 'pending' AND i.endpoint_id = w.id AND i.next_attempt_at <= business_now()
    ) AS d
    WHERE w.is_active AND w.deleted_at IS NULL
), connections AS (
    SELECT a.application_name, coalesce(a.state, 'unknown') AS state, count(*) AS count
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.application_name LIKE 'earnest%'
    GROUP BY 1, 2
)
SELECT
    (SELECT coalesce(json_agg(json_build_array(kind, currency, amount_minor)), '[]') FROM money),
    (SELECT json_agg(json_build_array(queue, due, oldest_seconds)) FROM queues),
    (SELECT
        coalesce(json_agg(json_build_array(application_name, state, count)), '[]')
    FROM connections),
    current_setting('max_connections')::integer,
    (SELECT coalesce(json_agg(json_build_array(o.kind, o.alerts)), '[]')
    FROM (
        SELECT a.kind, count(*) AS alerts FROM alert AS a WHERE a.closed_at IS NULL GROUP BY a.kind
    ) AS o)
"""


class Figures(msgspec.Struct, frozen=True):
    """`money`: kind and currency (ISO 4217 numeric) of accounts, amount in minor units.

    `queues`: name, how many entries are due, for how many seconds the oldest has been.
    `connections`: application, state, how many. `alerts`: kind, how many are open.
    """

    money: list[tuple[int, int, int]]
    queues: list[tuple[str, int, float]]
    connections: list[tuple[str, str, int]]
    connections_max: int
    alerts: list[tuple[str, int]]


async def read(conn: asyncpg.Connection) -> Figures:
    """The present figures."""
    row = await conn.fetchrow(FIGURES)
    assert row is not None
    return msgspec.convert(
        {
            "money": msgspec.json.decode(row[0]),
            "queues": msgspec.json.decode(row[1]),
            "connections": msgspec.json.decode(row[2]),
            "connections_max": row[3],
            "alerts": msgspec.json.decode(row[4]),
        },
        Figures,
        strict=False,  # sums are numeric, and travel as text
    )
