"""A digest of everything that business is about, for "and nothing has changed" (check Z).

    before = await digest(pool)
    ...                                     a refusal
    assert await digest(pool) == before

It covers every row of every business table and what the sandbox provider was asked for. Sign-in
counters, sessions and mail are not business: a refused login may count itself.
"""

from earnest.store.db import Pool

# One statement, so one snapshot; rows in the order of their text, so that the order in which
# PostgreSQL finds them does not matter.
DIGEST = """
SELECT md5(string_agg(whole.name || whole.digest, '' ORDER BY whole.name))
FROM (
    SELECT named.name, coalesce(md5(string_agg(named.content, E'\\n' ORDER BY named.content)), '')
        AS digest
    FROM (
        SELECT 'application' AS name, t::text AS content FROM application AS t
        UNION ALL SELECT 'balance', t::text FROM balance AS t
        UNION ALL SELECT 'business', t::text FROM business AS t
        UNION ALL SELECT 'category', t::text FROM category AS t
        UNION ALL SELECT 'contract', t::text FROM contract AS t
        UNION ALL SELECT 'contract_terms', t::text FROM contract_terms AS t
        UNION ALL SELECT 'event', t::text FROM event AS t
        UNION ALL SELECT 'idempotency_key', t::text FROM idempotency_key AS t
        UNION ALL SELECT 'job', t::text FROM job AS t
        UNION ALL SELECT 'job_skill', t::text FROM job_skill AS t
        UNION ALL SELECT 'party', t::text FROM party AS t
        UNION ALL SELECT 'payment', t::text FROM payment AS t
        UNION ALL SELECT 'provider_event', t::text FROM provider_event AS t
        UNION ALL SELECT 'skill', t::text FROM skill AS t
        UNION ALL SELECT 'transfer', t::text FROM transfer AS t
        UNION ALL SELECT 'sandbox.session', t::text FROM sandbox.session AS t
    ) AS named
    GROUP BY named.name
) AS whole
"""


async def digest(pool: Pool) -> str:
    """32 hex digits that change when any business row does."""
    async with pool.connection() as conn:
        found: str | None = await conn.fetchval(DIGEST)
    return found or ""
