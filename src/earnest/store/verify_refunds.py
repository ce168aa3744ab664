"""Refunds to the source against contracts, events and the ledger (3, 10, 11, 14, 23).

What a refund was to be stands in the contract's chain; every later step of it is an event, too.
"""

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
    ('planned', 'refund.hinted'), ('sent', 'refund.hinted'), ('unknown', 'refund.hinted'),
    ('done', 'contract.refunded'), ('done', 'refund.repaid'), ('done', 'refund.hinted'),
    ('done', 'refund.confirmed'), ('done', 'refund.delayed'),
    ('failed', 'refund.failed'), ('returned', 'refund.failed'), ('returned', 'refund.returned'),
    ('declined', 'refund.declined'), ('declined', 'contract.charged_back')
) AS by (state, type) ON by.state = r.state
LEFT JOIN event AS e ON e.commit_id = r.commit_id AND e.type = by.type
GROUP BY r.id
HAVING count(e.id) <> 1
ORDER BY r.id
LIMIT 1
"""

# As long as it is open its tranches wait for it; once it was done they are settled, though the
# money may have come back since and be on its way again.
REFUND_FITS_ITS_CONTRACT = """
SELECT r.id::text, r.public_id,
    CASE WHEN d.was_done THEN 'refunded or split' ELSE 'refund_pending' END,
    format('tranche %s, which is %s', part.value ->> 'tranche', coalesce(t.state, 'not there'))
FROM refund AS r
INNER JOIN contract AS c ON c.id = r.contract_id
LEFT JOIN (
    SELECT DISTINCT e.subject
    FROM event AS e
    WHERE e.type = 'refund.returned' AND e.contract_id IS NULL
) AS b ON b.subject = 'refund:' || r.public_id
CROSS JOIN LATERAL (
    SELECT r.state IN ('done', 'returned') OR b.subject IS NOT NULL AS was_done
) AS d
CROSS JOIN LATERAL jsonb_array_elements(r.parts::jsonb) AS part (value)
LEFT JOIN LATERAL (
    SELECT c.tranches[(part.value ->> 'tranche')::integer + 1] AS state
) AS t ON TRUE
WHERE r.state <> 'declined' AND (CASE
    WHEN d.was_done THEN t.state IN ('refunded', 'split')
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
    WHERE r.state NOT IN ('done', 'returned', 'declined') AND NOT EXISTS (
        SELECT FROM event AS e
        WHERE e.type = 'refund.returned' AND e.subject = 'refund:' || r.public_id
    )
    GROUP BY 1, 2
) AS i ON i.contract_id = c.id AND i.tranche = one.position - 1
WHERE c.business_id <> 1 AND (one.state = 'refund_pending') <> (coalesce(i.times, 0) = 1)
ORDER BY c.id
LIMIT 1
"""

# A step each: the version counts them, whatever order they came in.
REFUND_STEPS = """
WITH told AS (
    SELECT r.id, e.commit_id, e.type, NULL AS approval
    FROM refund AS r
    INNER JOIN event AS e ON e.subject = 'refund:' || r.public_id AND e.contract_id IS NULL
    UNION ALL
    SELECT (e.body::jsonb ->> 'refund')::bigint, e.commit_id, e.type, e.body::jsonb ->> 'approval'
    FROM event AS e
    WHERE e.contract_id IS NOT NULL AND e.type IN (
        'refund.full-initiated', 'refund.partial-initiated', 'refund.declined',
        'contract.refunded', 'contract.charged_back'
    ) AND e.body::jsonb ? 'refund'
),
steps AS (
    SELECT t.id, count(DISTINCT t.commit_id) AS version,
        count(*) FILTER (WHERE t.type = 'refund.sent') AS attempts,
        CASE
            WHEN count(*) FILTER (WHERE t.type = 'refund.returned')
                > count(*) FILTER (WHERE t.type = 'refund.repaid') THEN CASE
                WHEN count(*) FILTER (WHERE t.type IN ('refund.failed', 'refund.returned'))
                    > count(*) FILTER (WHERE t.type = 'refund.retried') THEN ARRAY['returned']
                ELSE ARRAY['planned', 'sent', 'unknown']
            END
            WHEN bool_or(t.type = 'contract.refunded') THEN ARRAY['done']
            WHEN bool_or(t.type IN ('refund.declined', 'contract.charged_back'))
                THEN ARRAY['declined']
            WHEN count(*) FILTER (WHERE t.type = 'refund.failed')
                > count(*) FILTER (WHERE t.type = 'refund.retried') THEN ARRAY['failed']
            WHEN bool_or(t.approval = 'admin') AND NOT bool_or(t.type = 'refund.approved')
                THEN ARRAY['requested']
            ELSE ARRAY['planned', 'sent', 'unknown']
        END AS states
    FROM told AS t
    GROUP BY t.id
)
SELECT r.id::text, r.public_id,
    format('%s in %s versions and %s attempts', array_to_string(s.states, ', '),
        coalesce(s.version, 0), coalesce(s.attempts, 0)),
    format('%s in %s versions and %s attempts', r.state, r.version, r.attempts)
FROM refund AS r
LEFT JOIN steps AS s ON s.id = r.id
WHERE (s.version = r.version AND s.attempts = r.attempts AND r.state = ANY (s.states)) IS NOT TRUE
ORDER BY r.id
LIMIT 1
"""

DECIDED_BY_ADMINS = """
SELECT e.id::text, e.subject, format('%s by an admin', e.type), e.actor
FROM event AS e
LEFT JOIN login AS l ON l.role = 'admin' AND e.actor = 'admin:' || l.party_id::text
WHERE e.type IN ('refund.approved', 'refund.declined', 'refund.retried') AND l.party_id IS NULL
ORDER BY e.id
LIMIT 1
"""

# As far as it is known what its business wanted then: where its settings never changed.
WAITED_FOR_AN_ADMIN = """
SELECT r.id::text, r.public_id, format('approval %s', b.settings::jsonb ->> 'refund_approval'),
    coalesce(e.body::jsonb ->> 'approval', 'automatic')
FROM refund AS r
INNER JOIN business AS b ON b.id = r.business_id AND b.version = 1 AND b.id <> 1
INNER JOIN event AS e ON e.contract_id = r.contract_id
    AND e.type IN ('refund.full-initiated', 'refund.partial-initiated')
    AND e.body::jsonb ->> 'refund' = r.id::text
WHERE r.kind IN ('full', 'partial') AND b.settings::jsonb ->> 'refund_approval'
    <> coalesce(e.body::jsonb ->> 'approval', 'automatic')
ORDER BY r.id
LIMIT 1
"""

REFUND_IS_AS_BEGUN = """
SELECT coalesce(r.id::text, t.body ->> 'refund'), r.public_id,
    coalesce(format('%s of contract %s for "%s": %s', t.body ->> 'kind', t.contract_id,
        t.body ->> 'reason', t.body -> 'parts'), 'an event that began it'),
    coalesce(format('%s of contract %s for "%s": %s', r.kind, r.contract_id, r.reason, r.parts),
        'no refund')
FROM (
    SELECT e.contract_id, e.body::jsonb AS body
    FROM event AS e
    WHERE e.contract_id IS NOT NULL
        AND e.type IN ('refund.full-initiated', 'refund.partial-initiated')
) AS t
FULL JOIN refund AS r ON r.id = (t.body ->> 'refund')::bigint
WHERE r.id IS NULL OR t.contract_id IS NULL
    OR (t.contract_id, t.body ->> 'kind', t.body ->> 'reason', t.body -> 'parts')
    IS DISTINCT FROM (r.contract_id, r.kind, r.reason, r.parts::jsonb)
ORDER BY r.id, t.body ->> 'refund'
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

# Kind 9 is money in transit, kind 3 the provider's cash. What was returned counts against it.
REFUND_LEFT_ONCE = """
SELECT r.id::text, r.public_id,
    CASE WHEN r.state = 'done' THEN format('%s to the provider', r.amount_minor) ELSE 'nothing' END,
    coalesce(t.minor, 0)::text
FROM refund AS r
LEFT JOIN (
    SELECT e.body::jsonb ->> 'refund' AS refund,
        sum(CASE WHEN d.debit >> 57 = 9 THEN d.amount_minor ELSE -d.amount_minor END) AS minor
    FROM transfer AS d
    INNER JOIN event AS e ON e.commit_id = d.commit_id
        AND e.type IN ('contract.refunded', 'refund.returned', 'refund.repaid')
        AND (e.contract_id IS NULL) = (e.type <> 'contract.refunded')
    WHERE (d.debit >> 57 = 9 AND d.credit >> 57 = 3) OR (d.debit >> 57 = 3 AND d.credit >> 57 = 9)
    GROUP BY 1
) AS t ON t.refund = r.id::text
WHERE coalesce(t.minor, 0) <> CASE WHEN r.state = 'done' THEN r.amount_minor ELSE 0 END
ORDER BY r.id
LIMIT 1
"""

# Both accounts of the last leg are of one provider and one currency; its contract is the refund's,
# or none for what moved because it had been returned.
LAST_LEG = """
SELECT t.id::text, NULL,
    format('contract %s, from transit to the same account there', e.contract_id),
    format('contract %s, from %s to %s', t.contract_id, t.debit, t.credit)
FROM transfer AS t
LEFT JOIN event AS e ON e.commit_id = t.commit_id AND e.type = 'contract.refunded'
WHERE ((t.debit >> 57 = 9 AND t.credit >> 57 = 3) OR (t.debit >> 57 = 3 AND t.credit >> 57 = 9))
    AND (t.contract_id IS DISTINCT FROM e.contract_id
        OR (t.debit & ((1::bigint << 57) - 1)) <> (t.credit & ((1::bigint << 57) - 1)))
ORDER BY t.id
LIMIT 1
"""

PROVIDERS_REFUND_ONCE = """
SELECT max(r.id)::text, max(r.public_id), 'one refund for a refund of the provider',
    format('%s for %s', count(*), r.provider_refund_id)
FROM refund AS r
WHERE r.provider_refund_id IS NOT NULL
GROUP BY r.provider_refund_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

PROVIDERS_REFUND_IS_TOLD = """
SELECT r.id::text, r.public_id, coalesce(t.told, 'none'), coalesce(r.provider_refund_id, 'none')
FROM refund AS r
LEFT JOIN (
    SELECT DISTINCT ON (e.body::jsonb ->> 'refund')
        e.body::jsonb ->> 'refund' AS refund, e.body::jsonb ->> 'providerRefund' AS told
    FROM event AS e
    WHERE e.type IN ('contract.refunded', 'refund.failed', 'refund.repaid')
        AND e.body::jsonb ? 'providerRefund'
    ORDER BY e.body::jsonb ->> 'refund', e.id DESC
) AS t ON t.refund = r.id::text
WHERE t.told IS DISTINCT FROM r.provider_refund_id
    OR (r.state IN ('done', 'returned') AND r.provider_refund_id IS NULL)
ORDER BY r.id
LIMIT 1
"""

REFUND_IN_ITS_BUSINESS = """
SELECT r.id::text, r.public_id,
    format('business %s, %s, a captured payment of its contract', c.business_id, c.currency),
    format('business %s, %s, payment %s of contract %s, which is %s', r.business_id, r.currency,
        p.id, p.contract_id, p.state)
FROM refund AS r
LEFT JOIN contract AS c ON c.id = r.contract_id
LEFT JOIN payment AS p ON p.id = r.payment_id
WHERE (r.business_id, r.business_id, r.currency, r.contract_id, 'captured')
    IS DISTINCT FROM (c.business_id, p.business_id, c.currency, p.contract_id, p.state)
ORDER BY r.id
LIMIT 1
"""

# A refund is in transit from when its last return was told of until it is repaid.
TRANSIT_IS_RETURNED = """
WITH told AS (
    SELECT DISTINCT ON (e.subject) e.subject, e.type, e.commit_id
    FROM event AS e
    WHERE e.type IN ('refund.returned', 'refund.repaid') AND e.contract_id IS NULL
    ORDER BY e.subject, e.id DESC
),
returned AS (
    SELECT d.credit AS account, sum(r.amount_minor) AS minor
    FROM told AS t
    INNER JOIN refund AS r ON t.subject = 'refund:' || r.public_id
    INNER JOIN transfer AS d ON d.commit_id = t.commit_id AND d.credit >> 57 = 9
    WHERE t.type = 'refund.returned'
    GROUP BY d.credit
)
SELECT coalesce(n.account, b.account)::text, NULL,
    format('%s in transit, which were returned', coalesce(b.minor, 0)),
    coalesce(n.minor, 0)::text
FROM (
    SELECT side.account, sum(side.amount) AS minor
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS side (account, amount)
    WHERE side.account >> 57 = 9
    GROUP BY side.account
) AS n
FULL JOIN returned AS b ON b.account = n.account
WHERE coalesce(n.minor, 0) <> coalesce(b.minor, 0)
ORDER BY 1
LIMIT 1
"""

CHECKS = (
    Check(
        3,
        "what leaves for the provider leaves for its contract, where it came in",
        "transfer",
        LAST_LEG,
    ),
    Check(
        10,
        "a refund is in the state that its last commit brought it to",
        "refund",
        REFUND_IS_AS_LAST_CHANGED,
    ),
    Check(
        10,
        "a refund has taken the steps that are told of it",
        "refund",
        REFUND_STEPS,
    ),
    Check(11, "only admins decide about a refund that waits", "event", DECIDED_BY_ADMINS),
    Check(
        11,
        "a refund waited for an admin where its business wants that",
        "refund",
        WAITED_FOR_AN_ADMIN,
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
    Check(14, "a refund is what it was to be when it began", "refund", REFUND_IS_AS_BEGUN),
    Check(
        14,
        "a refund leaves the provider once it is done, and once",
        "refund",
        REFUND_LEFT_ONCE,
    ),
    Check(
        14,
        "a refund of the provider is for one of ours",
        "refund",
        PROVIDERS_REFUND_ONCE,
    ),
    Check(
        14,
        "a refund is done by a refund of the provider, the one that is told of",
        "refund",
        PROVIDERS_REFUND_IS_TOLD,
    ),
    Check(
        14,
        "nothing stays in transit but refunds that were returned",
        "transfer",
        TRANSIT_IS_RETURNED,
        accounts=True,
    ),
    Check(
        23,
        "a refund, its contract and its payment are of one business",
        "refund",
        REFUND_IN_ITS_BUSINESS,
    ),
)
