"""What the database itself must guarantee: privileges, tenants, ids (21, 23, 25)."""

from earnest.store.invariant import Check

# No privilege on the table or on a column, no ownership, no superuser.
APPEND_ONLY_BY_PRIVILEGE = """
SELECT forbidden.relation, NULL, format('no %s for earnest_app', forbidden.privilege), 'granted'
FROM (
    SELECT relation, privilege
    FROM unnest(ARRAY[
        'transfer', 'event', 'provider_event', 'contract_terms', 'delivery_attempt'
    ]) AS relation
    CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
    UNION ALL
    SELECT relation, privilege
    FROM unnest(ARRAY['contract', 'payment', 'balance', 'rollup', 'ledger_horizon']) AS relation
    CROSS JOIN unnest(ARRAY['DELETE', 'TRUNCATE']) AS privilege
) AS forbidden
WHERE has_table_privilege('earnest_app', forbidden.relation, forbidden.privilege)
    OR (
        forbidden.privilege = 'UPDATE'
        AND has_any_column_privilege('earnest_app', forbidden.relation, 'UPDATE')
    )
ORDER BY forbidden.relation, forbidden.privilege
LIMIT 1
"""

# tgtype: 2 before, 8 delete, 16 update, 32 truncate; without 1 it fires once per statement.
APPEND_ONLY_BY_TRIGGER = """
SELECT needed.relation, NULL, 'an enabled trigger that refuses UPDATE, DELETE and TRUNCATE',
    coalesce(string_agg(format('%s, enabled %s, type %s', t.tgname, t.tgenabled, t.tgtype), '; '),
        'no trigger')
FROM unnest(ARRAY[
        'transfer', 'event', 'provider_event', 'contract_terms', 'delivery_attempt'
    ]) AS needed (relation)
LEFT JOIN pg_catalog.pg_trigger AS t
    ON t.tgrelid = needed.relation::regclass AND NOT t.tgisinternal
LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
GROUP BY needed.relation
HAVING coalesce(bool_or(
    t.tgenabled IN ('O', 'A') AND t.tgtype = 2 + 8 + 16 + 32 AND t.tgqual IS NULL
    AND p.proname = 'refuse_rewrite' AND p.prosrc LIKE '%RAISE EXCEPTION%'
), FALSE) IS NOT TRUE
ORDER BY needed.relation
LIMIT 1
"""

APPLICATION_ROLE_IS_PLAIN = """
SELECT r.rolname::text, NULL, 'no superuser, and neither owner of a table nor a member of one',
    CASE WHEN r.rolsuper THEN 'superuser' ELSE format('owner of %s', c.relname) END
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = 'public'::regnamespace AND pg_has_role(r.oid, c.relowner, 'MEMBER')
WHERE r.rolname = 'earnest_app' AND (r.rolsuper OR c.oid IS NOT NULL)
ORDER BY c.relname
LIMIT 1
"""

CONTRACT_IN_ITS_BUSINESS = """
SELECT c.id::text, c.public_id, format('business %s', c.business_id),
    format('buyer of %s, seller of %s, job of %s', b.business_id, s.business_id,
        coalesce(j.business_id::text, 'none'))
FROM contract AS c
LEFT JOIN party AS b ON b.id = c.buyer_id
LEFT JOIN party AS s ON s.id = c.seller_id
LEFT JOIN job AS j ON j.id = c.job_id
WHERE b.business_id IS DISTINCT FROM c.business_id OR s.business_id IS DISTINCT FROM c.business_id
    OR (c.job_id IS NOT NULL AND j.business_id IS DISTINCT FROM c.business_id)
ORDER BY c.id
LIMIT 1
"""

PAYMENT_IN_ITS_BUSINESS = """
SELECT p.id::text, p.public_id, format('business %s', p.business_id),
    format('buyer of %s, seller of %s, job of %s, contract of %s', b.business_id, s.business_id,
        coalesce(j.business_id::text, 'none'), coalesce(c.business_id::text, 'none'))
FROM payment AS p
LEFT JOIN party AS b ON b.id = p.buyer_id
LEFT JOIN party AS s ON s.id = p.seller_id
LEFT JOIN job AS j ON j.id = p.job_id
LEFT JOIN contract AS c ON c.id = p.contract_id
WHERE b.business_id IS DISTINCT FROM p.business_id OR s.business_id IS DISTINCT FROM p.business_id
    OR (p.job_id IS NOT NULL AND j.business_id IS DISTINCT FROM p.business_id)
    OR (p.contract_id IS NOT NULL AND c.business_id IS DISTINCT FROM p.business_id)
ORDER BY p.id
LIMIT 1
"""

JOB_IN_ITS_BUSINESS = """
SELECT j.id::text, j.public_id, format('business %s', j.business_id),
    format('client of %s', coalesce(p.business_id::text, 'none'))
FROM job AS j
LEFT JOIN party AS p ON p.id = j.client_id
WHERE p.business_id IS DISTINCT FROM j.business_id
ORDER BY j.id
LIMIT 1
"""

APPLICATION_IN_ITS_BUSINESS = """
SELECT a.id::text, a.public_id, format('business %s', j.business_id),
    format('freelancer of %s', coalesce(p.business_id::text, 'none'))
FROM application AS a
LEFT JOIN job AS j ON j.id = a.job_id
LEFT JOIN party AS p ON p.id = a.freelancer_id
WHERE p.business_id IS DISTINCT FROM j.business_id
ORDER BY a.id
LIMIT 1
"""

# A public id has 24 hex digits; 10 of them, from the ninth on, are the row's key.
PUBLIC_ID_CARRIES_KEY = """
SELECT format('%s %s', o.kind, o.id), o.public_id,
    format('24 hex digits with %s from the ninth on', lpad(to_hex(o.id), 10, '0')), o.public_id
FROM (
    SELECT 'contract' AS kind, c.id, c.public_id FROM contract AS c
    UNION ALL
    SELECT 'payment', p.id, p.public_id FROM payment AS p
    UNION ALL
    SELECT 'job', j.id, j.public_id FROM job AS j
    UNION ALL
    SELECT 'party', p.id, p.public_id FROM party AS p
    UNION ALL
    SELECT 'application', a.id, a.public_id FROM application AS a
    UNION ALL
    SELECT 'category', c.id, c.public_id FROM category AS c
    UNION ALL
    SELECT 'skill', s.id, s.public_id FROM skill AS s
    UNION ALL
    SELECT 'review', r.id, r.public_id FROM review AS r
    UNION ALL
    SELECT 'refund', r.id, r.public_id FROM refund AS r
) AS o
WHERE o.public_id !~ '^[0-9a-f]{24}$' OR substr(o.public_id, 9, 10) <> lpad(to_hex(o.id), 10, '0')
ORDER BY o.kind, o.id
LIMIT 1
"""

# All objects draw from one sequence.
KEY_ONCE = """
SELECT o.id::text, min(o.public_id), 'one object with this key', string_agg(o.kind, ', ')
FROM (
    SELECT 'contract' AS kind, c.id, c.public_id FROM contract AS c
    UNION ALL
    SELECT 'payment', p.id, p.public_id FROM payment AS p
    UNION ALL
    SELECT 'job', j.id, j.public_id FROM job AS j
    UNION ALL
    SELECT 'party', p.id, p.public_id FROM party AS p
    UNION ALL
    SELECT 'application', a.id, a.public_id FROM application AS a
    UNION ALL
    SELECT 'category', c.id, c.public_id FROM category AS c
    UNION ALL
    SELECT 'skill', s.id, s.public_id FROM skill AS s
    UNION ALL
    SELECT 'review', r.id, r.public_id FROM review AS r
    UNION ALL
    SELECT 'refund', r.id, r.public_id FROM refund AS r
) AS o
GROUP BY o.id
HAVING count(*) > 1
ORDER BY o.id
LIMIT 1
"""

ENTRY_KEY_ONCE = """
SELECT e.id::text, NULL, 'an event or a transfer with this key', 'both'
FROM event AS e
INNER JOIN transfer AS t ON t.id = e.id
ORDER BY e.id
LIMIT 1
"""

NUMBER_ONCE = """
SELECT max(c.id)::text, c.number, 'one contract with this number', format('%s', count(*))
FROM contract AS c
GROUP BY c.business_id, c.number
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

# A partner's number tells the month, in UTC.
NUMBER_WELL_FORMED = """
SELECT c.id::text, c.public_id, own.form, c.number
FROM contract AS c
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN c.business_id = 1 THEN 'CON[1-9][0-9]{7}'
        ELSE to_char(c.created_at AT TIME ZONE 'UTC', '"CNT-"YYMM"-[0-9]{8}"')
    END AS form
) AS own
WHERE c.number !~ ('^' || own.form || '$')
ORDER BY c.id
LIMIT 1
"""

ONE_LIVE_CONTRACT_PER_JOB = """
SELECT max(c.id)::text, max(c.public_id), 'one live contract for a job',
    format('%s for job %s', count(*), c.job_id)
FROM contract AS c
WHERE c.job_id IS NOT NULL AND c.agreement IN ('draft', 'pending', 'accepted')
GROUP BY c.job_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

ONE_OPEN_PAYMENT_PER_JOB = """
SELECT max(p.id)::text, max(p.public_id), 'one payment under way for a job',
    format('%s for job %s', count(*), p.job_id)
FROM payment AS p
WHERE p.job_id IS NOT NULL AND p.state IN ('opening', 'open', 'processing')
GROUP BY p.job_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

CHECKS = (
    Check(
        21,
        "the application's role cannot rewrite the ledger or the audit trail",
        "pg_class",
        APPEND_ONLY_BY_PRIVILEGE,
    ),
    Check(
        21,
        "every append-only table has the trigger that refuses a rewrite",
        "pg_trigger",
        APPEND_ONLY_BY_TRIGGER,
    ),
    Check(
        21,
        "the application's role is no superuser and owns nothing",
        "pg_roles",
        APPLICATION_ROLE_IS_PLAIN,
    ),
    Check(
        23,
        "a contract, its people and its job are of one business",
        "contract",
        CONTRACT_IN_ITS_BUSINESS,
    ),
    Check(
        23,
        "a payment, its people, job and contract are of one business",
        "payment",
        PAYMENT_IN_ITS_BUSINESS,
    ),
    Check(23, "a job and its client are of one business", "job", JOB_IN_ITS_BUSINESS),
    Check(
        23,
        "an application is within one business",
        "application",
        APPLICATION_IN_ITS_BUSINESS,
    ),
    Check(
        25,
        "a public id has 24 hex digits and carries its row's key",
        "objects",
        PUBLIC_ID_CARRIES_KEY,
    ),
    Check(25, "no two objects share a key", "objects", KEY_ONCE),
    Check(25, "no event and transfer share a key", "event", ENTRY_KEY_ONCE),
    Check(25, "a contract number is used once", "contract", NUMBER_ONCE),
    Check(25, "a contract number is well-formed", "contract", NUMBER_WELL_FORMED),
    Check(
        25,
        "a job is bound by at most one live contract",
        "contract",
        ONE_LIVE_CONTRACT_PER_JOB,
    ),
    Check(25, "a job has at most one payment under way", "payment", ONE_OPEN_PAYMENT_PER_JOB),
)
