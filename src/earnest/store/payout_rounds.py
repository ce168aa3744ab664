"""**Rounds** of payouts by schedule: whose turn it is, and how far each business's round has come.

A round looks at everybody of one business, once a period: the business itself, then its people in
the order of their keys, some at a **turn**. Invariant: one round for each business and period; it
goes on where its last finished turn came to, whoever was killed meanwhile.
"""

from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.ledger.accounts import Kind, pack
from earnest.store.contracts import business_from

NOBODY = -1
"""Where a round begins: not even the business itself was looked at."""


class Turn(msgspec.Struct, frozen=True):
    """Some of a round. `tries`: how often this very turn came to nothing."""

    business: Business
    period_at: datetime
    began_at: datetime
    looked_to: int
    tries: int


class Looked(msgspec.Struct, frozen=True):
    """One whom a round looks at; `party` is None for the business itself. `is_wanted`: maybe there
    is something to pay; then the provider need not be asked whether it can be paid, or must."""

    party: int | None
    is_wanted: bool
    must_ask: bool


# A round that is under way is finished first, however late. Blocked partners have to wait.
BEGIN = """
INSERT INTO payout_round AS r (business_id, period_at, began_at, looked_to, tries, due_at)
SELECT b.id, p.began_at, c.now, -1, 0, c.now
FROM business AS b
LEFT JOIN api_client AS a ON a.business_id = b.id
CROSS JOIN (SELECT business_now() AS now) AS c
CROSS JOIN LATERAL (
    SELECT date_trunc(
        CASE b.settings::jsonb ->> 'payout_schedule'
            WHEN 'daily' THEN 'day' WHEN 'weekly' THEN 'week' WHEN 'monthly' THEN 'month'
        END,
        c.now,
        'UTC'
    ) AS began_at
) AS p
WHERE
    p.began_at IS NOT NULL AND a.status IS DISTINCT FROM 'Blocked'
    AND NOT EXISTS (
        SELECT FROM payout_round AS o
        WHERE o.business_id = b.id AND (o.due_at IS NOT NULL OR o.period_at >= p.began_at)
    )
ORDER BY b.id
ON CONFLICT (business_id) DO UPDATE SET
    period_at = excluded.period_at,
    began_at = excluded.began_at,
    looked_to = excluded.looked_to,
    tries = excluded.tries,
    due_at = excluded.due_at
WHERE r.due_at IS NULL AND r.period_at < excluded.period_at
"""

# Who has waited longest comes first, so businesses take turns.
TAKE = """
UPDATE payout_round AS r SET due_at = business_now() + make_interval(secs => $1)
FROM business AS b
WHERE b.id = r.business_id AND r.business_id = (
    SELECT d.business_id
    FROM payout_round AS d
    INNER JOIN business AS o ON o.id = d.business_id
    LEFT JOIN api_client AS a ON a.business_id = d.business_id
    WHERE
        d.due_at <= business_now()
        AND o.settings::jsonb ->> 'payout_schedule' <> 'manual'
        AND a.status IS DISTINCT FROM 'Blocked'
    ORDER BY d.due_at
    LIMIT 1
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
RETURNING
    b.id, b.name, b.currency, b.settings, r.period_at, r.began_at, r.looked_to, r.tries
"""

# $4: whether there are no accounts but of people who have been through onboarding. Of an account
# that cannot be paid the provider is asked again, unless somebody did since the round began.
ITSELF = """
SELECT
    NULL::bigint AS party,
    CASE
        WHEN a.external_account IS NULL THEN NOT $4
        WHEN a.is_payable THEN TRUE
        ELSE a.checked_at < $3
    END
    AND NOT EXISTS (
        SELECT FROM payout AS o
        WHERE
            o.business_id = b.id AND o.party_id IS NULL AND o.cause = 'scheduled'
            AND o.created_at >= $2
    ) AS is_wanted,
    a.is_payable IS NOT TRUE AS must_ask
FROM business AS b
LEFT JOIN payout_account AS a
    ON a.business_id = b.id AND a.party_id IS NULL AND a.provider_account_id = $5
WHERE b.id = $1
"""

# Accounts are numbered by their owners: $7 is the number of party 0's wallet.
PEOPLE = """
SELECT
    p.id AS party,
    coalesce(w.amount_minor, 0) >= $8
    AND l.status IS DISTINCT FROM 'Blocked'
    AND CASE
        WHEN a.external_account IS NULL THEN NOT $4
        WHEN a.is_payable THEN TRUE
        ELSE a.checked_at < $3
    END
    AND NOT EXISTS (
        SELECT FROM payout AS o
        WHERE o.party_id = p.id AND o.cause = 'scheduled' AND o.created_at >= $2
    ) AS is_wanted,
    a.is_payable IS NOT TRUE AS must_ask
FROM (
    SELECT m.id FROM party AS m WHERE m.business_id = $1 AND m.id > $6 ORDER BY m.id LIMIT $9
) AS p
LEFT JOIN balance AS w ON w.account = $7 + p.id
LEFT JOIN login AS l ON l.party_id = p.id
LEFT JOIN payout_account AS a ON a.party_id = p.id AND a.provider_account_id = $5
ORDER BY p.id
"""

# Whoever held the turn for too long may find that somebody else has finished it.
FINISH = """
UPDATE payout_round SET
    looked_to = $4, tries = $5, due_at = business_now() + make_interval(secs => $6)
WHERE business_id = $1 AND period_at = $2 AND looked_to = $3 AND due_at IS NOT NULL
"""


async def begin(conn: asyncpg.Connection) -> None:
    """Begin a round of every business whose present period has none yet."""
    await conn.execute(BEGIN)


async def take(conn: asyncpg.Connection, lease_seconds: int) -> Turn | None:
    """The next turn, which is nobody else's for as long as that; None when none is due."""
    row = await conn.fetchrow(TAKE, lease_seconds)
    if row is None:
        return None
    business = business_from(row, 0)
    assert business is not None
    return Turn(business, *row[4:])


async def look(
    conn: asyncpg.Connection,
    turn: Turn,
    limit: int,
    *,
    provider_account: int,
    needs_onboarding: bool,
) -> list[Looked]:
    """Whom a turn looks at, `limit` people at most; with the first of them, the business itself."""
    business = turn.business
    common = (business.key, turn.period_at, turn.began_at, needs_onboarding, provider_account)
    rows = [] if turn.looked_to != NOBODY else await conn.fetch(ITSELF, *common)
    rows += await conn.fetch(
        PEOPLE,
        *common,
        turn.looked_to,
        pack(Kind.WALLET, business.currency, 1) - 1,
        business.settings.payout_minimum_minor,
        limit,
    )
    return [Looked(*row) for row in rows]


async def finish(
    conn: asyncpg.Connection,
    turn: Turn,
    looked_to: int,
    *,
    tries: int = 0,
    again_after_seconds: int | None,
) -> None:
    """The turn is over; the next is due after so many seconds of business time, None: the round is
    over, too."""
    await conn.execute(
        FINISH,
        turn.business.key,
        turn.period_at,
        turn.looked_to,
        looked_to,
        tries,
        again_after_seconds,
    )
