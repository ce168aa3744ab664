"""What a provider's hint is about: a refund, a payout, a dispute or an account, if it is ours."""

import re
from collections.abc import Collection
from datetime import date, datetime

import msgspec

from earnest.domain.chargeback import Chargeback
from earnest.domain.hint import Hinted
from earnest.domain.payment import Payment
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from earnest.store.rows import payment_from, refund_from
from earnest.store.rows_out import chargeback_from, payout_from

# Not `parse_public_id`: what an outsider wrote there is no bad input, it is nobody's.
_PUBLIC_ID = re.compile(r"[0-9a-f]{24}")


class About(msgspec.Struct, frozen=True):
    """What an event says that it is about: one of the first four by the provider's id for it, at
    `account` of somebody, None for our own; `reference` is our own id for a refund or a payout."""

    event_id: str
    account: str | None
    refund_id: str | None = None
    payout_id: str | None = None
    dispute_id: str | None = None
    payment_id: str | None = None
    reference: str = ""


class FoundHint(msgspec.Struct, frozen=True):
    """`known`: this very event was consumed before. `knows_account`: somebody is paid there."""

    hinted: Hinted
    known: bool
    knows_account: bool
    now: datetime


# By our reference, or else by the provider's id; either way it must be at this account. As in
# store.captures: nothing that a young table's plan could walk.
LOAD = """
SELECT
    (SELECT TRUE FROM provider_event AS e WHERE e.provider = $1 AND e.event_id = $3) IS TRUE,
    (
        SELECT TRUE FROM payout_account AS a
        WHERE a.provider_account_id = $2 AND a.external_account = $4
    ) IS TRUE,
    (
        SELECT r FROM refund AS r
        WHERE r.id = $5 AND r.public_id = $6 AND $7::text IS NOT NULL AND (
            SELECT p.provider_account_id FROM payment AS p WHERE p.id = r.payment_id
        ) = $2
    ) AS refund,
    (
        SELECT o FROM payout AS o
        WHERE o.id = $5 AND o.public_id = $6 AND o.provider_account_id = $2
        AND o.external_account = $4 AND $8::text IS NOT NULL
    ) AS payout_by_reference,
    (
        SELECT o FROM payout AS o
        WHERE o.provider_account_id = $2 AND o.provider_payout_id = $8
        AND o.external_account = $4
    ) AS payout_by_id,
    (
        SELECT c FROM chargeback AS c
        WHERE c.provider_account_id = $2 AND c.provider_dispute_id = $9
    ) AS chargeback,
    (
        SELECT p FROM payment AS p
        WHERE p.provider_account_id = $2 AND p.provider_payment_id = $10
        AND $9::text IS NOT NULL
    ) AS payment,
    business_now()
"""


# Those that their payment has come for, and whose dispute nobody has noticed since.
WAITING = """
SELECT w.dispute_id, w.payment, business_now()
FROM (
    SELECT (
        SELECT v.body::jsonb ->> 'dispute' FROM event AS v WHERE v.id = e.commit_id
    ) AS dispute_id, (
        SELECT p FROM payment AS p
        WHERE p.provider_account_id = $2 AND p.provider_payment_id = e.session_id
    ) AS payment
    FROM provider_event AS e
    WHERE e.outcome = 'parked' AND NOT e.took_money AND e.provider = $1
) AS w
WHERE (w.payment).id IS NOT NULL AND NOT EXISTS (
    SELECT FROM chargeback AS c
    WHERE c.provider_account_id = $2 AND c.provider_dispute_id = w.dispute_id
)
LIMIT $3
"""

# In the lines, or open since a comparison before: that is, in its first row, which the index
# reconciliation_difference_open has. In any order: what can never be answered must not always
# stand before what can.
UNHEARD = """
SELECT f.dispute_id
FROM (
    SELECT b.source_id AS dispute_id FROM balance_line AS b
    WHERE b.provider_account_id = $1 AND b.day >= $2 AND b.kind = 'chargeback'
    UNION
    SELECT d.source_id FROM reconciliation_difference AS d
    WHERE d.provider_account_id = $1 AND d.resolved_at IS NULL AND d.since = d.day
    AND d.cause <> 'timing' AND d.kind = 'chargeback' AND d.there_minor <> 0
) AS f
WHERE f.dispute_id <> ALL($3::text[]) AND NOT EXISTS (
    SELECT FROM chargeback AS c
    WHERE c.provider_account_id = $1 AND c.provider_dispute_id = f.dispute_id
)
ORDER BY random()
LIMIT $4
"""

# At rest, though the books have a line of them that is not booked: the bank thought better of it.
UNBOOKED = """
SELECT DISTINCT ON (c.id) c AS chargeback, business_now()
FROM balance_line AS b
INNER JOIN chargeback AS c
    ON c.provider_account_id = b.provider_account_id AND c.provider_dispute_id = b.source_id
WHERE b.provider_account_id = $1 AND b.day >= $2
    AND b.kind IN ('chargeback', 'chargeback_returned') AND b.amount_minor <> 0
    AND c.due_at IS NULL AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(c.lines::jsonb) AS l (value)
        WHERE l.value ->> 'id' = b.line_id
    )
ORDER BY c.id
LIMIT $3
"""

PAYMENT = """
SELECT (
    SELECT p FROM payment AS p WHERE p.provider_account_id = $1 AND p.provider_payment_id = $2
), business_now()
"""


async def unheard(
    pool: Pool, provider_account: int, since: date, asked: Collection[str], limit: int
) -> list[str]:
    """Disputes that the provider's books have, in lines from day `since` on or in what is missing
    here from before, and nobody has noticed; without those in `asked`."""
    async with pool.connection() as conn:
        rows = await conn.fetch(UNHEARD, provider_account, since, list(asked), limit)
    return [row[0] for row in rows]


async def unbooked(
    pool: Pool, provider_account: int, since: date, limit: int
) -> list[tuple[Chargeback, datetime]]:
    """Chargebacks that nobody is going to look up, though the provider's books have lines of them,
    from day `since` on, that they have not; and what time it is."""
    async with pool.connection() as conn:
        rows = await conn.fetch(UNBOOKED, provider_account, since, limit)
    return [(chargeback_from(row[0]), row[1]) for row in rows]


async def payment_of(
    pool: Pool, provider_account: int, payment_id: str
) -> tuple[Payment | None, datetime]:
    """Our payment with the provider's id, if it is ours, as it is now; and what time it is."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(PAYMENT, provider_account, payment_id)
    assert row is not None
    return payment_from(row[0]) if row[0] is not None else None, row[1]


async def waiting(
    pool: Pool, provider: str, provider_account: int, limit: int
) -> list[tuple[str, Payment, datetime]]:
    """Disputes that were heard of before their payments, which are known now; and what time it
    is. A dispute may be there more than once."""
    async with pool.connection() as conn:
        rows = await conn.fetch(WAITING, provider, provider_account, limit)
    return [(row[0], payment_from(row[1]), row[2]) for row in rows]


async def load(pool: Pool, provider: str, provider_account: int, about: About) -> FoundHint:
    """What we have of it now."""
    reference = about.reference if _PUBLIC_ID.fullmatch(about.reference) else ""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD,
            provider,
            provider_account,
            about.event_id,
            about.account,
            key_of(PublicId(reference)) if reference else 0,
            reference,
            about.refund_id,
            about.payout_id,
            about.dispute_id,
            about.payment_id,
        )
    assert row is not None
    payout = row[3] or row[4]
    hinted = Hinted(
        refund=refund_from(row[2]) if row[2] is not None else None,
        payout=payout_from(payout) if payout is not None else None,
        chargeback=chargeback_from(row[5]) if row[5] is not None else None,
        payment=payment_from(row[6]) if row[6] is not None else None,
    )
    return FoundHint(hinted, row[0], row[1], row[7])
