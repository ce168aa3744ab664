"""Lines of the provider's books (17, 24): what was booked of them is what they say, once.

Kinds of account: 3 is money at a provider, 10 its fees, 13 our own bank.
"""

from earnest.store.invariant import Check

# A fee that came off a fee or a bank line is booked under that line's id and #fee; a line of the
# bank moved the other way than what is booked of it: that is what left the balance.
BOOKED_AS_TOLD = """
SELECT b.line_id, NULL,
    coalesce(format('%s %s of %s', e.minor, e.currency, e.kind), 'a line of the provider'),
    format('%s %s of %s', b.amount_minor, b.currency, b.kind)
FROM booked_line AS b
LEFT JOIN (
    SELECT l.provider_account_id, l.line_id, l.kind, -l.amount_minor AS minor, l.currency
    FROM balance_line AS l
    WHERE l.kind IN ('fee', 'bank')
    UNION ALL
    SELECT l.provider_account_id,
        CASE WHEN l.kind IN ('fee', 'bank') THEN l.line_id || '#fee' ELSE l.line_id END,
        'fee', l.fee_minor, l.currency
    FROM balance_line AS l
) AS e ON e.provider_account_id = b.provider_account_id AND e.line_id = b.line_id
WHERE (e.kind, e.minor, e.currency) IS DISTINCT FROM (b.kind, b.amount_minor, b.currency)
ORDER BY 1
LIMIT 1
"""

# A commit moves the sum of what it books, for each account, kind and currency.
BOOKED_IS_MOVED = """
SELECT coalesce(b.commit_id, t.commit_id)::text, NULL,
    format('%s of %s', coalesce(b.minor, 0), coalesce(b.kind, t.kind)),
    format('%s of %s', coalesce(t.minor, 0), coalesce(t.kind, b.kind))
FROM (
    SELECT o.commit_id, o.kind, o.provider_account_id::bigint AS account, n.number,
        sum(o.amount_minor) AS minor
    FROM booked_line AS o
    LEFT JOIN unnest($1::text[], $2::integer[]) AS n (code, number) ON n.code = o.currency
    GROUP BY o.commit_id, o.kind, o.provider_account_id, n.number
) AS b
FULL JOIN (
    SELECT d.commit_id, side.kind, side.account & ((1::bigint << 40) - 1) AS account,
        (side.account >> 47) & 1023 AS number, sum(side.minor) AS minor
    FROM transfer AS d
    CROSS JOIN LATERAL (
        SELECT
            CASE (CASE WHEN d.credit >> 57 = 3 THEN d.debit ELSE d.credit END) >> 57
                WHEN 10 THEN 'fee' WHEN 13 THEN 'bank'
            END AS kind,
            CASE WHEN d.credit >> 57 = 3 THEN d.credit ELSE d.debit END AS account,
            CASE WHEN d.credit >> 57 = 3 THEN d.amount_minor ELSE -d.amount_minor END AS minor
    ) AS side
    WHERE d.movement = 'booked'
    GROUP BY d.commit_id, side.kind, side.account
) AS t ON t.commit_id = b.commit_id AND t.kind = b.kind AND t.account = b.account
    AND t.number = b.number
WHERE coalesce(b.minor, 0) <> coalesce(t.minor, 0)
ORDER BY 1
LIMIT 1
"""

ONLY_BOOKED = """
SELECT t.id::text, NULL, 'a movement that books lines of the provider', t.movement
FROM transfer AS t
WHERE (t.debit >> 57 IN (10, 13) OR t.credit >> 57 IN (10, 13)) AND t.movement <> 'booked'
ORDER BY t.id
LIMIT 1
"""

BOOKED_IS_TOLD = """
SELECT coalesce(b.commit_id, e.commit_id)::text, e.subject,
    format('%s lines', coalesce(e.lines, 'none')), coalesce(b.lines::text, 'none')
FROM (
    SELECT o.commit_id, count(*) AS lines FROM booked_line AS o GROUP BY o.commit_id
) AS b
FULL JOIN (
    SELECT v.commit_id, v.subject, v.body::jsonb ->> 'lines' AS lines
    FROM event AS v
    WHERE v.type = 'provider.lines_booked'
) AS e ON e.commit_id = b.commit_id
WHERE b.lines::text IS DISTINCT FROM e.lines
ORDER BY 1
LIMIT 1
"""

DRIFT_IS_EXPLAINED = """
SELECT format('%s %s %s', r.provider_account_id, r.day, r.currency), NULL, r.drift_minor::text,
    coalesce(d.minor, 0)::text
FROM reconciliation AS r
LEFT JOIN (
    SELECT o.provider_account_id, o.day, o.currency, o.last_seen,
        sum(o.there_minor - o.here_minor) AS minor
    FROM reconciliation_difference AS o
    WHERE o.cause <> 'altered'
    GROUP BY o.provider_account_id, o.day, o.currency, o.last_seen
) AS d ON d.provider_account_id = r.provider_account_id AND d.day = r.day
    AND d.currency = r.currency AND d.last_seen = r.ran_at
WHERE r.drift_minor <> coalesce(d.minor, 0)
ORDER BY 1
LIMIT 1
"""

CHECKS = (
    Check(17, "what is booked of a provider's lines is told of", "booked_line", BOOKED_IS_TOLD),
    Check(
        24,
        "a line is booked as the provider told it",
        "booked_line",
        BOOKED_AS_TOLD,
    ),
    Check(
        24,
        "what is booked moves its own amount",
        "booked_line",
        BOOKED_IS_MOVED,
        currencies=True,
    ),
    Check(
        24,
        "fees and our own bank change by the provider's lines only",
        "transfer",
        ONLY_BOOKED,
    ),
    Check(24, "a day's drift is its differences", "reconciliation", DRIFT_IS_EXPLAINED),
)
