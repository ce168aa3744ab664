"""A digest of everything that business is about, for "and nothing has changed" (check Z).

    before = await digest(pool)
    ...                                     a refusal
    assert await digest(pool) == before

It covers every row of every business table and what the sandbox provider was asked for. Tables
are read from the catalogue: a table is watched from the day it exists. Sign-in counters, sessions
and mail are not business: a refused login may count itself. `doors` looks at them, too (check S).
"""

from earnest.store.db import Pool

NOT_BUSINESS = (
    "public.hold_watch",
    "public.known_address",
    "public.login",
    "public.mail",
    "public.password_reset",
    "public.rate_limit",
    "public.refresh_token",
    "public.registration",
    "public.schema_migration",
    "public.session",
    "public.signing_key",
    "sandbox.outbox",
)

# One statement over every table, so one snapshot; rows in the order of their text, so that the
# order in which PostgreSQL finds them does not matter.
EVERY_TABLE = """
SELECT string_agg(
    format(
        'SELECT %L AS name, coalesce(md5(string_agg(t::text, chr(10) ORDER BY t::text)), '''') '
        'AS rows FROM %I.%I AS t',
        schemaname || '.' || tablename, schemaname, tablename
    ),
    ' UNION ALL '
)
FROM pg_tables
WHERE schemaname IN ('public', 'sandbox') AND schemaname || '.' || tablename <> ALL($1::text[])
"""


async def rows_by_table(pool: Pool) -> dict[str, str]:
    """Every business table's name and a hash of all its rows; "" for an empty table."""
    async with pool.connection() as conn:
        found = await conn.fetch(await conn.fetchval(EVERY_TABLE, NOT_BUSINESS))
    return {row["name"]: row["rows"] for row in found}


async def digest(pool: Pool) -> str:
    """A text that changes when any business row does."""
    tables = await rows_by_table(pool)
    return "\n".join(f"{name} {tables[name]}" for name in sorted(tables))


# Tries of a code are counted down by each wrong one.
DOORS = """
SELECT string_agg(door, chr(10) ORDER BY door)
FROM (
    SELECT 'login ' || l::text AS door FROM login AS l
    UNION ALL
    SELECT 'session ' || s::text FROM session AS s
    UNION ALL
    SELECT 'refresh_token ' || r::text FROM refresh_token AS r
    UNION ALL
    SELECT 'password_reset ' || p::text FROM password_reset AS p
    UNION ALL
    SELECT 'signing_key ' || k::text FROM signing_key AS k
    UNION ALL
    SELECT 'known_address ' || k::text FROM known_address AS k
    UNION ALL
    SELECT 'registration ' || (to_jsonb(r) - 'tries_left')::text FROM registration AS r
) AS doors
"""


async def doors(pool: Pool) -> str:
    """All business rows, and all that lets people in but for its counters (check S)."""
    async with pool.connection() as conn:
        ways_in = await conn.fetchval(DOORS)
    return f"{await digest(pool)}\n{ways_in}"
