"""Refunds to the source against contracts, events and the ledger (10, 14)."""

from earnest.store.invariant import Check

REFUND_IS_AS_LAST_CHANGED = """
SELECT r.id::text, r.public_id, format('an event that made it %s', r.state), 'none'
FROM refund AS r
LEFT JOIN (
    VALUES
    ('requested', 'refund.full-initiated'), ('requested', 'refund.partial-initiated'),
    ('planned', 'refund.full-initiated'), ('planned', 'refund.partial-initiated'),
    ('planned', 'refund.approved'), ('planned', 'refund.delayed'),
    ('sent', 'refund.sent'), ('sent', 'refund.accepted'),
    ('unknown', 'refund.delayed'), ('unknown', 'refund.retried'),
    ('done', 'contract.refunded'), ('failed', 'refund.failed'), ('declined', 'refund.declined')
) AS by (state, type) ON by.state = r.state
LEFT JOIN event AS e ON e.commit_id = r.commit_id AND e.type = by.type
GROUP BY r.id
HAVING count(e.id) <> 1
ORDER BY r.id
LIMIT 1
"""

# As long as it is open its tranches wait for it; once it is done they are settled.
REFUND_FITS_ITS_CONTRACT = """
SELECT r.id::text, r.public_id,
    CASE WHEN r.state = 'done' THEN 'refunded or split' ELSE 'refund_pending' END,
    format('tranche %s, which is %s', part.value ->> 'tranche', coalesce(t.state, 'not there'))
FROM refund AS r
INNER JOIN contract AS c ON c.id = r.contract_id
CROSS JOIN LATERAL jsonb_array_elements(r.parts::jsonb) AS part (value)
LEFT JOIN LATERAL (
    SELECT c.tranches[(part.value ->> 'tranche')::integer + 1] AS state
) AS t ON TRUE
WHERE r.state <> 'declined' AND (CASE
    WHEN r.state = 'done' THEN t.state IN ('refunded', 'split')
    ELSE t.state = 'refund_pending'
END) IS NOT TRUE
ORDER BY r.id
LIMIT 1
"""

# The marketplace (business 1) refunds to wallets, when an admin says so.
PENDING_HAS_ONE_INTENT = """
SELECT c.id::text, c.public_id, format('one open refund of tranche %s', one.position - 1),
    coalesce(i.times, 0)::text
FROM contract AS c
CROSS JOIN LATERAL unnest(c.tranches) WITH ORDINALITY AS one (state, position)
LEFT JOIN (
    SELECT r.contract_id, (part.value ->> 'tranche')::integer AS tranche, count(*) AS times
    FROM refund AS r
    CROSS JOIN LATERAL jsonb_array_elements(r.parts::jsonb) AS part (value)
    WHERE r.state NOT IN ('done', 'declined')
    GROUP BY 1, 2
) AS i ON i.contract_id = c.id AND i.tranche = one.position - 1
WHERE c.business_id <> 1 AND (one.state = 'refund_pending') <> (coalesce(i.times, 0) = 1)
ORDER BY c.id
LIMIT 1
"""

REFUND_SUMS = """
SELECT r.id::text, r.public_id, r.amount_minor::text, coalesce(s.minor, 0)::text
FROM refund AS r
LEFT JOIN LATERAL (
    SELECT sum((part.value ->> 'buyer_minor')::bigint) AS minor
    FROM jsonb_array_elements(r.parts::jsonb) AS part (value)
) AS s ON TRUE
WHERE r.amount_minor IS DISTINCT FROM s.minor
ORDER BY r.id
LIMIT 1
"""

# Kind 9 is money in transit, kind 3 the provider's cash.
REFUND_LEFT_ONCE = """
SELECT r.id::text, r.public_id,
    CASE WHEN r.state = 'done' THEN format('%s to the provider', r.amount_minor) ELSE 'nothing' END,
    coalesce(t.minor, 0)::text
FROM refund AS r
LEFT JOIN (
    SELECT e.body::jsonb ->> 'refund' AS refund, e.contract_id, sum(d.amount_minor) AS minor
    FROM transfer AS d
    INNER JOIN event AS e ON e.commit_id = d.commit_id AND e.type = 'contract.refunded'
    WHERE d.debit >> 57 = 9 AND d.credit >> 57 = 3
    GROUP BY 1, 2
) AS t ON t.refund = r.id::text AND t.contract_id = r.contract_id
WHERE coalesce(t.minor, 0) <> CASE WHEN r.state = 'done' THEN r.amount_minor ELSE 0 END
ORDER BY r.id
LIMIT 1
"""

TRANSIT_IS_EMPTY = """
SELECT side.account::text, NULL, 'nothing in transit between two commits', sum(side.amount)::text
FROM transfer AS t
CROSS JOIN LATERAL (
    VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
) AS side (account, amount)
WHERE side.account >> 57 = 9
GROUP BY side.account
HAVING sum(side.amount) <> 0
ORDER BY side.account
LIMIT 1
"""

CHECKS = (
    Check(
        10,
        "a refund is in the state that its last commit brought it to",
        "refund",
        REFUND_IS_AS_LAST_CHANGED,
    ),
    Check(
        14,
        "a refund's tranches wait for it, and are settled once it is done",
        "refund",
        REFUND_FITS_ITS_CONTRACT,
    ),
    Check(
        14,
        "money that is to go back to its source has exactly one intent",
        "contract",
        PENDING_HAS_ONE_INTENT,
    ),
    Check(14, "a refund is the sum of its parts", "refund", REFUND_SUMS),
    Check(
        14,
        "a refund leaves the provider once it is done, and once",
        "refund",
        REFUND_LEFT_ONCE,
    ),
    Check(14, "nothing stays in transit", "transfer", TRANSIT_IS_EMPTY),
)
