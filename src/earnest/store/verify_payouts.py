"""Payouts against their events, their owners and the ledger (5, 10, 11, 14, 23).

A payout has no chain; every step of it is an event of its own, subject `payout:PUBLIC_ID`. Kinds of
account: 2 is a wallet, 4 what a business is owed, 8 payouts in transit, 3 money at a provider.
"""

from earnest.store.invariant import Check

PAYOUT_IS_AS_LAST_CHANGED = """
SELECT p.id::text, p.public_id,
    format('a state and a leg that %s leads to', coalesce(e.type, 'no event')),
    format('%s, %s', p.state, p.leg)
FROM payout AS p
LEFT JOIN event AS e ON e.id = p.commit_id AND e.subject = 'payout:' || p.public_id
WHERE (CASE e.type
    WHEN 'payout.requested' THEN p.state = 'planned' AND p.leg = 'transfer'
    WHEN 'payout.sent' THEN p.state = 'sent'
    WHEN 'payout.delayed' THEN p.state IN ('planned', 'unknown')
    WHEN 'payout.accepted' THEN p.state = 'sent' AND p.leg = 'payout'
    WHEN 'payout.hinted' THEN p.due_at IS NOT NULL
    WHEN 'payout.transferred' THEN p.state = 'planned' AND p.leg = 'payout'
    WHEN 'payout.completed' THEN p.state = 'done' AND p.leg = 'payout'
    WHEN 'payout.refused' THEN p.state = 'failed' AND p.leg = 'transfer'
    WHEN 'payout.bounced' THEN p.state = 'planned' AND p.leg = 'return'
    WHEN 'payout.returned' THEN p.state = 'failed' AND p.leg = 'return'
    WHEN 'payout.stuck' THEN p.state = 'stuck' AND p.leg = 'return'
    WHEN 'payout.retried' THEN p.state = 'unknown' AND p.leg = 'return'
END) IS NOT TRUE
ORDER BY p.id
LIMIT 1
"""

# A step each, and the first one says what was asked for.
PAYOUT_STEPS = """
SELECT coalesce(p.id::text, t.subject), p.public_id,
    coalesce(format('%s steps, the first for %s %s of %s', p.version, p.amount_minor, p.currency,
        CASE WHEN p.party_id IS NULL THEN format('business:%s', p.business_id)
            ELSE format('business:%s/party:%s', p.business_id, p.party_id) END), 'a payout'),
    coalesce(format('%s steps, the first for %s %s of %s', t.steps, t.asked ->> 'amount_minor',
        t.asked ->> 'currency', t.asked ->> 'owner'), 'no events')
FROM (
    SELECT e.subject, count(*) AS steps,
        max(e.body) FILTER (WHERE e.type = 'payout.requested')::jsonb AS asked
    FROM event AS e
    WHERE e.contract_id IS NULL AND starts_with(e.subject, 'payout:')
    GROUP BY e.subject
) AS t
FULL JOIN payout AS p ON t.subject = 'payout:' || p.public_id
WHERE (
    t.steps, t.asked ->> 'amount_minor', t.asked ->> 'currency', t.asked ->> 'owner'
) IS DISTINCT FROM (
    p.version::bigint, p.amount_minor::text, p.currency,
    CASE WHEN p.party_id IS NULL THEN format('business:%s', p.business_id)
        ELSE format('business:%s/party:%s', p.business_id, p.party_id) END
)
ORDER BY p.id, t.subject
LIMIT 1
"""

# What left its owner is in transit until the transfer, then gone, unless it came back: each of
# these is all of the amount, from and to the accounts that the payout names, as often as it says.
PAYOUT_MOVED = """
WITH numbered AS (
    SELECT 'payout:' || p.public_id AS subject, p.state, p.amount_minor, p.provider_transfer_id,
        (n.number::bigint << 47) | CASE WHEN p.party_id IS NULL
            THEN (4::bigint << 57) | p.business_id
            ELSE (2::bigint << 57) | p.party_id END AS owned,
        (8::bigint << 57) | (n.number::bigint << 47) | p.provider_account_id AS transit,
        (3::bigint << 57) | (n.number::bigint << 47) | p.provider_account_id AS cash
    FROM payout AS p
    INNER JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = p.currency
),
wanted AS (
    SELECT w.subject, m.movement, m.debit, m.credit, w.amount_minor, 1::bigint AS position
    FROM numbered AS w
    CROSS JOIN LATERAL (
        VALUES
        ('withdrawn', w.owned, w.transit, TRUE),
        ('paid_out', w.transit, w.cash, w.provider_transfer_id IS NOT NULL),
        ('payout_refused', w.transit, w.owned,
            w.state = 'failed' AND w.provider_transfer_id IS NULL),
        ('payout_returned', w.cash, w.transit,
            w.state = 'failed' AND w.provider_transfer_id IS NOT NULL),
        ('payout_returned', w.transit, w.owned,
            w.state = 'failed' AND w.provider_transfer_id IS NOT NULL)
    ) AS m (movement, debit, credit, happened)
    WHERE m.happened
),
moved AS (
    SELECT e.subject, t.movement, t.debit, t.credit, t.amount_minor,
        row_number() OVER (
            PARTITION BY e.subject, t.movement, t.debit, t.credit, t.amount_minor
        ) AS position
    FROM transfer AS t
    INNER JOIN event AS e ON e.id = t.commit_id AND starts_with(e.subject, 'payout:')
)
SELECT coalesce(p.id::text, subject), p.public_id,
    coalesce(format('%s: %s from %s to %s', w.movement, w.amount_minor, w.debit, w.credit), 'none'),
    coalesce(format('%s: %s from %s to %s', x.movement, x.amount_minor, x.debit, x.credit), 'none')
FROM wanted AS w
FULL JOIN moved AS x USING (subject, movement, debit, credit, amount_minor, position)
LEFT JOIN payout AS p ON subject = 'payout:' || p.public_id
WHERE w.subject IS NULL OR x.subject IS NULL
ORDER BY subject
LIMIT 1
"""

MOVED_BY_A_PAYOUT = """
SELECT t.id::text, NULL, 'a commit that begins with a step of a payout',
    coalesce(e.subject, 'no event')
FROM transfer AS t
LEFT JOIN event AS e ON e.id = t.commit_id
WHERE (t.movement IN ('withdrawn', 'paid_out', 'payout_refused', 'payout_returned')
    OR t.debit >> 57 = 8 OR t.credit >> 57 = 8)
    AND starts_with(e.subject, 'payout:') IS NOT TRUE
ORDER BY t.id
LIMIT 1
"""

TRANSIT_IS_WHAT_WAITS = """
SELECT coalesce(s.account, w.account)::text, NULL, coalesce(w.waits, 0)::text,
    coalesce(s.balance, 0)::text
FROM (
    SELECT side.account, sum(side.amount) AS balance
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS side (account, amount)
    WHERE side.account >> 57 = 8
    GROUP BY side.account
) AS s
FULL JOIN (
    SELECT (8::bigint << 57) | (n.number::bigint << 47) | p.provider_account_id AS account,
        sum(p.amount_minor) AS waits
    FROM payout AS p
    INNER JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = p.currency
    WHERE p.provider_transfer_id IS NULL AND p.state <> 'failed'
    GROUP BY 1
) AS w ON w.account = s.account
WHERE coalesce(s.balance, 0) <> coalesce(w.waits, 0)
ORDER BY 1
LIMIT 1
"""

OWED_IS_NOT_OVERDRAWN = """
SELECT side.account::text, NULL, '0 or more', sum(side.amount)::text
FROM transfer AS t
CROSS JOIN LATERAL (
    VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
) AS side (account, amount)
WHERE side.account >> 57 = 4
GROUP BY side.account
HAVING sum(side.amount) < 0
ORDER BY side.account
LIMIT 1
"""

PROVIDERS_WORD_IS_TOLD = """
SELECT p.id::text, p.public_id,
    format('transfer %s, payout %s', coalesce(e.transfer, 'none'), coalesce(e.payout, 'none')),
    format('transfer %s, payout %s', coalesce(p.provider_transfer_id, 'none'),
        coalesce(p.provider_payout_id, 'none'))
FROM payout AS p
LEFT JOIN (
    SELECT t.subject, max(t.body::jsonb ->> 'providerTransfer') AS transfer,
        max(t.body::jsonb ->> 'providerPayout') AS payout
    FROM event AS t
    WHERE t.type IN ('payout.transferred', 'payout.completed')
    GROUP BY t.subject
) AS e ON e.subject = 'payout:' || p.public_id
WHERE e.transfer IS DISTINCT FROM p.provider_transfer_id
    OR (p.state = 'done' AND e.payout IS DISTINCT FROM p.provider_payout_id)
ORDER BY p.id
LIMIT 1
"""

PAYOUT_OF_ITS_OWNER = """
SELECT p.id::text, p.public_id,
    format('business %s, %s, to the account of its owner', b.id, b.currency),
    format('business %s, %s, party %s of business %s, to the account of party %s of business %s',
        p.business_id, p.currency, p.party_id, o.business_id, a.party_id, a.business_id)
FROM payout AS p
LEFT JOIN business AS b ON b.id = p.business_id
LEFT JOIN party AS o ON o.id = p.party_id
LEFT JOIN payout_account AS a ON a.provider_account_id = p.provider_account_id
    AND a.external_account = p.external_account
WHERE p.currency IS DISTINCT FROM b.currency
    OR (p.party_id IS NOT NULL AND o.business_id IS DISTINCT FROM p.business_id)
    OR (a.business_id, a.party_id) IS DISTINCT FROM (p.business_id, p.party_id)
ORDER BY p.id
LIMIT 1
"""

ASKED_BY_ITS_OWNER = """
SELECT p.id::text, p.public_id,
    CASE p.cause WHEN 'scheduled' THEN 'system:0' ELSE 'its owner, or the business' END,
    coalesce(e.actor, 'no event')
FROM payout AS p
LEFT JOIN event AS e ON e.subject = 'payout:' || p.public_id AND e.type = 'payout.requested'
WHERE (CASE p.cause
    WHEN 'scheduled' THEN e.actor = 'system:0'
    ELSE e.actor IN ('client:' || p.party_id, 'freelancer:' || p.party_id,
        'partner:' || p.business_id)
END) IS NOT TRUE
ORDER BY p.id
LIMIT 1
"""

RETRIED_BY_ADMINS = """
SELECT e.id::text, e.subject, format('%s by an admin', e.type), e.actor
FROM event AS e
LEFT JOIN login AS l ON l.role = 'admin' AND e.actor = 'admin:' || l.party_id::text
WHERE e.type = 'payout.retried' AND l.party_id IS NULL
ORDER BY e.id
LIMIT 1
"""

CHECKS = (
    Check(
        5,
        "no business was paid more than it is owed",
        "transfer",
        OWED_IS_NOT_OVERDRAWN,
        accounts=True,
    ),
    Check(
        10,
        "a payout is in the state that its last commit brought it to",
        "payout",
        PAYOUT_IS_AS_LAST_CHANGED,
    ),
    Check(10, "a payout has taken the steps that are told of it", "payout", PAYOUT_STEPS),
    Check(11, "a payout was asked for by its owner, or scheduled", "payout", ASKED_BY_ITS_OWNER),
    Check(11, "only admins have a stuck payout tried again", "event", RETRIED_BY_ADMINS),
    Check(
        14,
        "a payout moves its amount out once, and back once if it failed",
        "payout",
        PAYOUT_MOVED,
        currencies=True,
    ),
    Check(14, "only payouts move money that is paid out", "transfer", MOVED_BY_A_PAYOUT),
    Check(
        14,
        "in transit is what was withdrawn and has not left yet",
        "payout",
        TRANSIT_IS_WHAT_WAITS,
        currencies=True,
        accounts=True,
    ),
    Check(
        14,
        "a payout went where the provider said that it went",
        "payout",
        PROVIDERS_WORD_IS_TOLD,
    ),
    Check(23, "a payout goes to its owner, in its business", "payout", PAYOUT_OF_ITS_OWNER),
)
