"""**Entries** of the ledger on provider_cash: what it says came into and left our balance, and why.

All moments are real time, as the provider's. Invariant: an entry is all that one commit moved for
one cause, under the name that the provider has for that cause.
"""

from collections.abc import Iterable
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.money import CURRENCIES, CURRENCY_BY_NUMERIC
from earnest.domain.reconciliation import Kind
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import provider_cash

KINDS = {
    "funded": Kind.CHARGE,
    "parked": Kind.CHARGE,
    "refunded_to_source": Kind.REFUND,
    "refund_repaid": Kind.REFUND,
    "refund_returned": Kind.REFUND_RETURNED,
    "paid_out": Kind.TRANSFER,
    "payout_returned": Kind.TRANSFER_RETURNED,
    "charged_back": Kind.CHARGEBACK,
    "chargeback_returned": Kind.CHARGEBACK_RETURNED,
}
"""What the movements on provider_cash are. What is booked of the provider's own lines is read by
those lines: it is of their day, and was recorded later."""

# transfer_by_recorded_at finds the blocks of the days; everything else is probed by primary key,
# but the event of a refund, which stands in its contract's short chain.
ENTRIES = """
SELECT
    t.movement, t.numeric, t.amount_minor, t.at, t.commit_id, p.provider_payment_id,
    p.public_id AS payment, c.number, e.subject, r.body::jsonb ->> 'providerRefund' AS refund,
    v.payload, k.provider_dispute_id AS dispute
FROM (
    SELECT
        d.commit_id, d.movement, d.payment_id, d.contract_id, (d.debit >> 47) & 1023 AS numeric,
        real_instant(min(d.recorded_at)) AS at,
        sum(CASE WHEN d.debit >> 57 = 3 THEN d.amount_minor ELSE -d.amount_minor END)::bigint
        AS amount_minor
    FROM transfer AS d
    WHERE d.recorded_at >= business_instant($2) AND d.recorded_at < business_instant($3)
        AND d.movement <> 'booked' AND $1 = CASE
            WHEN d.debit >> 57 = 3 THEN d.debit & ((1::bigint << 40) - 1)
            WHEN d.credit >> 57 = 3 THEN d.credit & ((1::bigint << 40) - 1)
        END
    GROUP BY d.commit_id, d.movement, d.payment_id, d.contract_id, (d.debit >> 47) & 1023
) AS t
-- What a bank takes of a payment is of the dispute.
LEFT JOIN payment AS p ON p.id = t.payment_id AND t.movement IN ('funded', 'parked')
LEFT JOIN contract AS c ON c.id = t.contract_id
LEFT JOIN event AS e ON e.id = t.commit_id
LEFT JOIN event AS r
    ON t.movement = 'refunded_to_source' AND r.contract_id = t.contract_id
    AND r.commit_id = t.commit_id AND r.type = 'contract.refunded'
LEFT JOIN provider_event AS v
    ON t.movement = 'parked' AND t.payment_id IS NULL AND v.provider = $4
    AND v.event_id = substr(e.subject, length('provider_event:') + 1)
LEFT JOIN LATERAL (
    SELECT b.provider_dispute_id FROM chargeback AS b
    WHERE t.movement IN ('charged_back', 'chargeback_returned') AND b.payment_id = t.payment_id
    ORDER BY (b.commit_id = t.commit_id) DESC, b.id DESC
    LIMIT 1
) AS k ON TRUE
ORDER BY t.at, t.commit_id
"""

# The subject of an event is payout:, refund: or chargeback: and a public id, which has the key.
NAMED = """
SELECT 'payout:' || p.public_id, p.provider_transfer_id
FROM payout AS p WHERE p.id = ANY($1::bigint[])
UNION ALL
SELECT 'refund:' || r.public_id, r.provider_refund_id
FROM refund AS r WHERE r.id = ANY($1::bigint[])
UNION ALL
SELECT 'chargeback:' || k.public_id, k.provider_dispute_id
FROM chargeback AS k WHERE k.id = ANY($1::bigint[])
"""

# The other way round: what of ours a provider's id is, whether or not it has moved money.
OURS = """
SELECT p.provider_payment_id, concat_ws(', ', 'payment ' || p.public_id, c.number)
FROM payment AS p LEFT JOIN contract AS c ON c.id = p.contract_id
WHERE p.provider_account_id = $1 AND p.provider_payment_id = ANY($2::text[])
UNION ALL
SELECT r.provider_refund_id, concat_ws(', ', 'refund ' || r.public_id, c.number)
FROM refund AS r LEFT JOIN contract AS c ON c.id = r.contract_id
WHERE r.provider_refund_id = ANY($2::text[])
UNION ALL
SELECT o.provider_transfer_id, 'payout ' || o.public_id
FROM payout AS o
WHERE o.provider_account_id = $1 AND o.provider_transfer_id = ANY($2::text[])
UNION ALL
SELECT k.provider_dispute_id, concat_ws(', ', 'chargeback ' || k.public_id, c.number)
FROM chargeback AS k LEFT JOIN contract AS c ON c.id = k.contract_id
WHERE k.provider_account_id = $1 AND k.provider_dispute_id = ANY($2::text[])
"""

# When the first checkout began, or money came in that nobody had asked for: the first debit of each
# currency's account.
FIRST = """
SELECT least((
    SELECT real_instant(p.created_at) FROM payment AS p
    WHERE p.provider_account_id = $1
    ORDER BY p.id
    LIMIT 1
), (
    SELECT real_instant(min(t.recorded_at))
    FROM unnest($2::bigint[]) AS a (account)
    CROSS JOIN LATERAL (
        SELECT d.recorded_at FROM transfer AS d WHERE d.debit = a.account ORDER BY d.xid LIMIT 1
    ) AS t
))
"""

# All there is (rollup and tail), without what is of $2 or later; in one statement, one snapshot.
BALANCE_BEFORE = """
SELECT (
    coalesce((SELECT r.debits_minor - r.credits_minor FROM rollup AS r WHERE r.account = $1), 0)
    + coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t, ledger_horizon AS h
        WHERE t.debit = $1 AND t.xid >= h.horizon_xid
    ), 0)
    - coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t, ledger_horizon AS h
        WHERE t.credit = $1 AND t.xid >= h.horizon_xid
    ), 0)
    - coalesce((
        SELECT sum(CASE WHEN t.debit = $1 THEN t.amount_minor ELSE -t.amount_minor END)
        FROM transfer AS t
        WHERE t.recorded_at >= business_instant($2) AND (t.debit = $1 OR t.credit = $1)
            AND (t.movement <> 'booked' OR t.occurred_at >= $2)
    ), 0)
)::bigint
"""


class Entry(msgspec.Struct, frozen=True):
    """`amount_minor`: positive into the balance. `of`: what it is of, in our words. `payload`: the
    event of money that was quarantined, whose source only that event names."""

    kind: Kind
    source_id: str
    currency: str
    amount_minor: int
    at: datetime
    of: str
    payload: bytes | None = None


async def entries(
    conn: asyncpg.Connection, account: int, provider: str, since: datetime, until: datetime
) -> list[Entry]:
    """The entries recorded from `since` to before `until`, the oldest first."""
    rows = await conn.fetch(ENTRIES, account, since, until, provider)
    keys = [key_of(PublicId(row["subject"].partition(":")[2])) for row in rows if _is_named(row)]
    named = {row[0]: row[1] for row in await conn.fetch(NAMED, keys)} if keys else {}
    return [_entry(row, named) for row in rows]


def _is_named(row: asyncpg.Record) -> bool:
    subject = row["subject"] or ""
    return subject.partition(":")[0] in ("payout", "refund", "chargeback")


def _entry(row: asyncpg.Record, named: dict[str, str | None]) -> Entry:
    subject = row["subject"] or ""
    source = row["provider_payment_id"] or row["refund"] or named.get(subject) or row["dispute"]
    payment = f"payment {row['payment']}" if row["payment"] else ""
    told = subject.replace(":", " ", 1) if _is_named(row) or row["payload"] else ""
    return Entry(
        KINDS.get(row["movement"], Kind.OTHER),
        source or f"commit {row['commit_id']}",
        CURRENCY_BY_NUMERIC[row["numeric"]].code,
        row["amount_minor"],
        row["at"],
        ", ".join(filter(None, (payment or told, row["number"]))),
        None if source else row["payload"],
    )


async def of_ours(
    conn: asyncpg.Connection, account: int, source_ids: Iterable[str]
) -> dict[str, str]:
    """What of ours the provider's ids are, those that are anything."""
    return {row[0]: row[1] for row in await conn.fetch(OURS, account, list(source_ids))}


async def first_at(conn: asyncpg.Connection, account: int) -> datetime | None:
    """When somebody was first asked to pay, or money came in, at the account."""
    accounts = [provider_cash(currency, account) for currency in CURRENCIES]
    found: datetime | None = await conn.fetchval(FIRST, account, accounts)
    return found


async def balance_before(
    conn: asyncpg.Connection, account: int, currency: str, until: datetime
) -> int:
    """What the ledger has at the account from before `until`; of what was booked of the provider's
    own lines, by the time of these."""
    found: int = await conn.fetchval(BALANCE_BEFORE, provider_cash(currency, account), until)
    return found
