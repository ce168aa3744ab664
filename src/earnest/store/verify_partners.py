"""Partners: people, payments, milestones, how they sign in and by what rules (11, 13, 25, 26).

What this proves of a client's secret is that as many were made as are told of, not which.
"""

from typing import Any

import asyncpg
import msgspec

from earnest.domain.audit import canonical
from earnest.store import businesses
from earnest.store.invariant import Check, Violation

# Money is for the contract that its payment was made for; suspense is for nobody yet.
FUNDED_BY_ITS_PAYMENT = """
SELECT t.id::text, NULL,
    format('contract %s, business %s', p.contract_id, p.business_id),
    format('contract %s, business %s', t.contract_id, c.business_id)
FROM transfer AS t
LEFT JOIN payment AS p ON p.id = t.payment_id
LEFT JOIN contract AS c ON c.id = t.contract_id
WHERE t.credit >> 57 = 1
    AND (p.contract_id, p.business_id) IS DISTINCT FROM (t.contract_id, c.business_id)
ORDER BY t.id
LIMIT 1
"""

PAYMENT_IS_FOR_SOMETHING = """
SELECT p.id::text, p.public_id,
    CASE WHEN p.business_id = 1 THEN 'a job' ELSE 'a contract, and no job' END,
    format('job %s, contract %s', coalesce(p.job_id::text, 'none'),
        coalesce(p.contract_id::text, 'none'))
FROM payment AS p
WHERE (CASE
    WHEN p.business_id = 1 THEN p.job_id IS NOT NULL
    ELSE p.job_id IS NULL AND p.contract_id IS NOT NULL
END) IS NOT TRUE
ORDER BY p.id
LIMIT 1
"""

ONE_OPEN_PAYMENT_PER_CONTRACT = """
SELECT max(p.id)::text, max(p.public_id), 'one payment under way for a contract',
    format('%s for contract %s', count(*), p.contract_id)
FROM payment AS p
WHERE p.job_id IS NULL AND p.state IN ('opening', 'open', 'processing')
GROUP BY p.contract_id
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

# See earnest.ids.new_platform_ref.
REFERENCE_IS_THE_PARTYS = """
SELECT p.id::text, p.public_id, coalesce(own.reference, 'none'), coalesce(p.platform_ref, 'none')
FROM party AS p
LEFT JOIN LATERAL (
    SELECT format('USR_%s_%s', to_char(p.created_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS'),
        lpad((p.id % 10000)::text, 4, '0')) AS reference
) AS own ON p.business_id <> 1
WHERE own.reference IS DISTINCT FROM p.platform_ref
ORDER BY p.id
LIMIT 1
"""

PHONE_ONCE = """
SELECT max(p.id)::text, max(p.public_id), 'one of the business with this number',
    format('%s', count(*))
FROM party AS p
WHERE p.phone IS NOT NULL
GROUP BY p.business_id, p.phone
HAVING count(*) > 1
ORDER BY 1
LIMIT 1
"""

# Milestones draw their ids from the sequence of events and transfers.
MILESTONE_ONCE = """
WITH milestone AS (
    SELECT t.contract_id, (one.value ->> 'id')::bigint AS id
    FROM contract AS c
    INNER JOIN contract_terms AS t ON t.contract_id = c.id
    CROSS JOIN LATERAL jsonb_array_elements(t.terms::jsonb -> 'milestones') AS one (value)
    WHERE c.business_id <> 1
)
SELECT max(used.contract_id)::text, NULL, format('one use of the id %s', used.id),
    string_agg(used.by, ', ' ORDER BY used.by)
FROM (
    SELECT m.id, m.contract_id, format('a milestone of %s', m.contract_id) AS by
    FROM milestone AS m
    UNION ALL
    SELECT e.id, NULL, 'an event' FROM event AS e WHERE e.id IN (SELECT m.id FROM milestone AS m)
    UNION ALL
    SELECT t.id, NULL, 'a transfer'
    FROM transfer AS t
    WHERE t.id IN (SELECT m.id FROM milestone AS m)
) AS used
GROUP BY used.id
HAVING count(*) > 1
ORDER BY used.id
LIMIT 1
"""

# A new secret is a new generation, and an event; blocking and letting in again are events, too.
# Those of one business are written while its row is locked, so the highest id is the last.
CLIENT_IS_ON_RECORD = """
WITH told AS (
    SELECT e.subject,
        min(e.body::jsonb ->> 'clientId') FILTER (WHERE e.type = 'business.created')
            AS client_id,
        1 + count(*) FILTER (WHERE e.type = 'business.secret-rotated') AS generation,
        CASE (array_agg(e.type ORDER BY e.id DESC)
            FILTER (WHERE e.type IN ('business.blocked', 'business.unblocked')))[1]
            WHEN 'business.blocked' THEN 'Blocked' ELSE 'Active' END AS status
    FROM event AS e
    WHERE e.type LIKE 'business.%' AND e.contract_id IS NULL
    GROUP BY e.subject
)
SELECT a.client_id, b.public_id::text,
    coalesce(format('%s %s, generation %s', t.client_id, t.status, t.generation), 'none'),
    format('%s %s, generation %s', a.client_id, a.status, a.token_generation)
FROM api_client AS a
LEFT JOIN business AS b ON b.id = a.business_id
LEFT JOIN told AS t ON t.subject = 'business:' || b.public_id::text
WHERE (t.client_id, t.status, t.generation)
    IS DISTINCT FROM (a.client_id, a.status, a.token_generation)
ORDER BY a.client_id
LIMIT 1
"""

CLIENT_OF_EVERY_PARTNER = """
SELECT b.id::text, b.public_id::text, 'one client', format('%s', count(a.client_id))
FROM business AS b
LEFT JOIN api_client AS a ON a.business_id = b.id
WHERE b.id <> 1
GROUP BY b.id
HAVING count(a.client_id) <> 1
ORDER BY b.id
LIMIT 1
"""

# What the provider repeats in its events is compared with this, text by text.
ASKED_FOR_ITS_PEOPLE = """
SELECT p.id::text, p.public_id, w.metadata, p.metadata
FROM payment AS p
LEFT JOIN party AS buyer ON buyer.id = p.buyer_id
LEFT JOIN party AS seller ON seller.id = p.seller_id
LEFT JOIN job AS j ON j.id = p.job_id
LEFT JOIN contract AS c ON c.id = p.contract_id AND p.job_id IS NULL
CROSS JOIN LATERAL (
    SELECT format(
        '{"paymentId":"%s","%s":"%s","clientId":"%s","freelancerId":"%s"}', p.public_id,
        CASE WHEN p.job_id IS NULL THEN 'contractId' ELSE 'jobId' END,
        coalesce(j.public_id, c.number), buyer.public_id, seller.public_id
    ) AS metadata
) AS w
WHERE p.metadata IS DISTINCT FROM w.metadata
ORDER BY p.id
LIMIT 1
"""

CHECKS = (
    Check(13, "what a contract holds came by its payment", "transfer", FUNDED_BY_ITS_PAYMENT),
    Check(
        13,
        "a payment is for a job, or for a contract that has none",
        "payment",
        PAYMENT_IS_FOR_SOMETHING,
    ),
    Check(
        13,
        "a payment was asked for in the names of its people and of its job or contract",
        "payment",
        ASKED_FOR_ITS_PEOPLE,
    ),
    Check(
        25,
        "a contract has at most one payment under way",
        "payment",
        ONE_OPEN_PAYMENT_PER_CONTRACT,
    ),
    Check(25, "a reference is the one of its party", "party", REFERENCE_IS_THE_PARTYS),
    Check(25, "a phone number is one person's in each business", "party", PHONE_ONCE),
    Check(25, "a milestone's id is nothing else's", "contract", MILESTONE_ONCE),
    Check(26, "every partner has one client", "business", CLIENT_OF_EVERY_PARTNER),
    Check(
        26,
        "a client is of the generation, and as blocked, as is on record",
        "api_client",
        CLIENT_IS_ON_RECORD,
    ),
)

# What a business was made with, and whatever was changed; later words count.
SETTINGS_ON_RECORD = """
SELECT b.public_id, t.settings AS told
FROM business AS b
INNER JOIN api_client AS a ON a.business_id = b.id
LEFT JOIN (
    SELECT e.subject, jsonb_object_agg(one.key, one.value ORDER BY e.id)::text AS settings
    FROM event AS e
    CROSS JOIN LATERAL jsonb_each(
        CASE e.type WHEN 'business.changed' THEN e.body::jsonb -> 'after' ELSE e.body::jsonb END
    ) AS one (key, value)
    WHERE e.type IN ('business.created', 'business.changed') AND e.contract_id IS NULL
    GROUP BY e.subject
) AS t ON t.subject = 'business:' || b.public_id::text
ORDER BY b.id
"""


async def walk_businesses(conn: asyncpg.Connection) -> Violation | None:
    """The first partner whose rules are not those on record (11), as far as they are told of: a
    rule that came with a later version of Earnest is told of when it is changed."""
    for row in await conn.fetch(SETTINGS_ON_RECORD):
        partner = await businesses.get(conn, row["public_id"])
        told: dict[str, Any] = msgspec.json.decode(row["told"] or "{}")
        current = msgspec.json.decode(canonical(businesses.described(partner)))
        now = {name: current[name] for name in told if name in current}
        if not told or now != told:
            differing = [name for name in told if told[name] != now.get(name)]
            return Violation(
                11,
                "a partner's rules are those that an operator gave it, on record",
                "business",
                str(partner.business.key),
                str(partner.public_id),
                ", ".join(f"{name} {told[name]}" for name in differing) or "an event that made it",
                ", ".join(f"{name} {now.get(name)}" for name in differing) or "none",
            )
    return None
