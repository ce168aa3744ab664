"""Who may sign in, and as what (26).

What this proves of administrators is that each is on record, not that the record is true: who can
write both rows as the database's superuser can forge both.
"""

from earnest.store.invariant import Check

EMAIL_ONCE = """
SELECT max(l.party_id)::text, min(l.email_canonical), 'one account', format('%s', count(*))
FROM login AS l
GROUP BY lower(l.email_canonical)
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

EMAIL_IS_CANONICAL = """
SELECT l.party_id::text, p.public_id, format('the canonical form of %s', p.email),
    l.email_canonical
FROM login AS l
LEFT JOIN party AS p ON p.id = l.party_id
WHERE l.email_canonical IS DISTINCT FROM lower(p.email)
ORDER BY l.party_id
LIMIT 1
"""

# Roles are fixed, so everybody still is what a row once took them for.
ROLE_IS_FIXED = """
SELECT l.party_id::text, NULL, format('role %s', cast_as.role), l.role
FROM (
    SELECT c.buyer_id AS party_id, 'client' AS role FROM contract AS c
    UNION
    SELECT c.seller_id, 'freelancer' FROM contract AS c
    UNION
    SELECT p.buyer_id, 'client' FROM payment AS p
    UNION
    SELECT p.seller_id, 'freelancer' FROM payment AS p
    UNION
    SELECT j.client_id, 'client' FROM job AS j
    UNION
    SELECT a.freelancer_id, 'freelancer' FROM application AS a
    UNION
    SELECT p.id, 'admin'
    FROM event AS e
    INNER JOIN party AS p ON e.subject = 'party:' || p.public_id
    WHERE e.type = 'admin.created' AND e.contract_id IS NULL
) AS cast_as
INNER JOIN login AS l ON l.party_id = cast_as.party_id
WHERE l.role <> cast_as.role
ORDER BY l.party_id
LIMIT 1
"""

# On record: made by setup, or by somebody who was on record. A ring of accounts that made each
# other is not.
ADMIN_IS_ON_RECORD = """
WITH RECURSIVE made AS (
    SELECT p.id, e.actor
    FROM event AS e
    INNER JOIN party AS p ON e.subject = 'party:' || p.public_id
    WHERE e.type = 'admin.created' AND e.contract_id IS NULL
),
on_record AS (
    SELECT m.id FROM made AS m WHERE m.actor = 'setup'
    UNION
    SELECT m.id FROM made AS m
    INNER JOIN on_record AS o ON m.actor = 'admin:' || o.id::text
)
SELECT l.party_id::text, p.public_id,
    format('an event admin.created of party:%s by setup or an admin', p.public_id),
    coalesce(string_agg('one by ' || m.actor, ', ' ORDER BY m.actor), 'none')
FROM login AS l
LEFT JOIN party AS p ON p.id = l.party_id
LEFT JOIN made AS m ON m.id = l.party_id
WHERE l.role = 'admin' AND l.party_id NOT IN (SELECT o.id FROM on_record AS o)
GROUP BY l.party_id, p.public_id
ORDER BY l.party_id
LIMIT 1
"""

# Events of one login are written while it is locked, so the one with the highest id is the last.
STATUS_IS_ON_RECORD = """
SELECT l.party_id::text, p.public_id,
    format('%s after %s', told.status, coalesce(told.type, 'no event')), l.status
FROM (
    SELECT l.party_id, e.type,
        CASE e.type WHEN 'user.blocked' THEN 'Blocked' ELSE 'Active' END AS status
    FROM login AS l
    LEFT JOIN party AS p ON p.id = l.party_id
    LEFT JOIN (
        SELECT DISTINCT ON (subject) subject, type FROM event
        WHERE type IN ('user.blocked', 'user.unblocked') AND contract_id IS NULL
        ORDER BY subject, id DESC
    ) AS e ON e.subject = 'party:' || p.public_id
) AS told
INNER JOIN login AS l ON l.party_id = told.party_id
LEFT JOIN party AS p ON p.id = l.party_id
WHERE l.status <> told.status
ORDER BY l.party_id
LIMIT 1
"""

BLOCKED_BY_ADMINS = """
SELECT e.id::text, e.subject, format('%s by an admin', e.type), e.actor
FROM event AS e
WHERE e.type IN ('user.blocked', 'user.unblocked') AND e.contract_id IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM login AS l
        WHERE l.role = 'admin' AND e.actor = 'admin:' || l.party_id::text
    )
ORDER BY e.id
LIMIT 1
"""

ROLE_IS_FIXED_BY_PRIVILEGE = """
SELECT 'login', NULL, format('no %s for earnest_app', forbidden.what), 'granted'
FROM (
    VALUES ('DELETE', has_table_privilege('earnest_app', 'login', 'DELETE')),
        ('TRUNCATE', has_table_privilege('earnest_app', 'login', 'TRUNCATE')),
        ('UPDATE of role', has_column_privilege('earnest_app', 'login', 'role', 'UPDATE')),
        ('UPDATE of party_id', has_column_privilege('earnest_app', 'login', 'party_id', 'UPDATE'))
) AS forbidden (what, is_granted)
WHERE forbidden.is_granted
ORDER BY forbidden.what
LIMIT 1
"""

# tgtype: 2 before, 16 update; without 1 it fires once per statement. tgattr: of these columns.
ROLE_IS_FIXED_BY_TRIGGER = """
SELECT 'login', NULL, 'an enabled trigger that refuses UPDATE of party_id and role',
    coalesce(string_agg(format('%s, enabled %s, type %s', t.tgname, t.tgenabled, t.tgtype), '; '),
        'no trigger')
FROM (
    SELECT array_agg(a.attnum ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = 'login'::regclass AND a.attname IN ('party_id', 'role')
) AS fixed
LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = 'login'::regclass AND NOT t.tgisinternal
LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
HAVING coalesce(bool_or(
    t.tgenabled IN ('O', 'A') AND t.tgtype = 2 + 16 AND t.tgqual IS NULL
    AND t.tgattr::smallint[] @> fixed.columns
    AND p.proname = 'refuse_new_role' AND p.prosrc LIKE '%RAISE EXCEPTION%'
), FALSE) IS NOT TRUE
"""

# The event is of the moment at which the last step was done: it is written with it.
VERIFIED_IS_ON_RECORD = """
SELECT k.party_id::text, p.public_id, '1 event party.verified of that moment',
    format('%s of them', count(e.id))
FROM kyc AS k
LEFT JOIN party AS p ON p.id = k.party_id
LEFT JOIN event AS e ON e.subject = 'party:' || p.public_id
    AND e.type = 'party.verified' AND e.contract_id IS NULL AND e.recorded_at = k.completed_at
WHERE k.completed_at IS NOT NULL
GROUP BY k.party_id, p.public_id
HAVING count(e.id) <> 1
ORDER BY k.party_id
LIMIT 1
"""

CHECKS = (
    Check(26, "an e-mail address has one account", "login", EMAIL_ONCE),
    Check(26, "an account is found under its own address", "login", EMAIL_IS_CANONICAL),
    Check(26, "nobody's role changed", "login", ROLE_IS_FIXED),
    Check(
        26,
        "every administrator was made by setup or by another administrator, on record",
        "login",
        ADMIN_IS_ON_RECORD,
    ),
    Check(
        26,
        "an account is blocked exactly when the last event about that says so",
        "login",
        STATUS_IS_ON_RECORD,
    ),
    Check(26, "only admins block and unblock", "event", BLOCKED_BY_ADMINS),
    Check(26, "whose identity is verified is so on record", "kyc", VERIFIED_IS_ON_RECORD),
    Check(
        26,
        "the application's role cannot change who has which role",
        "pg_class",
        ROLE_IS_FIXED_BY_PRIVILEGE,
    ),
    Check(
        26,
        "the table of logins has the trigger that refuses another role",
        "pg_trigger",
        ROLE_IS_FIXED_BY_TRIGGER,
    ),
)
