"""The books: what must be true of the database after every round, whatever was measured.

Each check is one statement that finds violations; a run whose books are wrong has failed,
however fast it was.
"""

from collections.abc import Collection

import asyncpg

from earnest.store.db import Pool


class BooksAreWrong(Exception):
    """What was measured does not count: money or a commit went missing."""


ACCOUNTS_SUM_TO_ZERO = """
SELECT 'all accounts together are ' || sums.total || ' and not 0'
FROM (
    SELECT
        (SELECT coalesce(sum(b.amount_minor), 0) FROM balance AS b)
        + (SELECT coalesce(sum(c.amount_minor), 0) FROM transfer AS c WHERE c.credit >> 57 > 2)
        - (SELECT coalesce(sum(d.amount_minor), 0) FROM transfer AS d WHERE d.debit >> 57 > 2)
        AS total
) AS sums
WHERE sums.total <> 0
"""

# Kinds 1 and 2 have a running balance.
BALANCES_ARE_THEIR_TRANSFERS = """
SELECT
    'account ' || coalesce(b.account, s.account) || ' has ' || coalesce(b.amount_minor, 0)
    || ', its transfers say ' || coalesce(s.amount_minor, 0)
FROM balance AS b
FULL JOIN (
    SELECT side.account, sum(side.amount_minor) AS amount_minor
    FROM transfer AS t
    CROSS JOIN LATERAL (
        VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
    ) AS side (account, amount_minor)
    WHERE side.account >> 57 <= 2
    GROUP BY side.account
) AS s ON s.account = b.account
WHERE coalesce(b.amount_minor, 0) <> coalesce(s.amount_minor, 0)
LIMIT 1
"""

VERSIONS_ARE_THEIR_EVENTS = """
SELECT
    'contract ' || c.id || ' is at version ' || c.version || ' and its ' || count(e.id)
    || ' events do not lead there'
FROM contract AS c
LEFT JOIN event AS e ON e.contract_id = c.id
GROUP BY c.id
HAVING
    c.version <> count(e.id) OR c.version <> c.event_seq
    OR bool_or(
        e.seq = c.event_seq AND e.hash = c.event_head AND e.commit_id = c.commit_id
    ) IS NOT TRUE
LIMIT 1
"""

# One contract settled by it, two transfers, one kept reply for each.
ACKNOWLEDGED_ARE_WHOLE = """
SELECT
    $1::bigint || ' commits were acknowledged; there are ' || found.contracts || ' contracts, '
    || found.transfers || ' transfers and ' || found.replies || ' replies of them'
FROM (
    SELECT
        (
            SELECT count(*) FROM contract AS c
            WHERE c.commit_id = ANY($2::bigint[]) AND c.tranches = '{released}'
        ) AS contracts,
        (SELECT count(*) FROM transfer AS t WHERE t.commit_id = ANY($2)) AS transfers,
        (SELECT count(*) FROM idempotency_key AS k WHERE k.commit_id = ANY($2)) AS replies
) AS found
WHERE (found.contracts, found.transfers, found.replies) <> ($1::bigint, 2 * $1::bigint, $1::bigint)
"""

RELEASED = "SELECT count(*) FROM contract WHERE tranches = '{released}'"


async def check(pool: Pool, *, acknowledged: Collection[int], released: int) -> None:
    """Raise BooksAreWrong, naming the first violation.

    `acknowledged` are the commit ids that the door said were written; `released` is how many
    contracts were released in all, by whomever.
    """
    await check_sums(pool)
    async with pool.connection() as conn:
        commit_ids = list(acknowledged)
        violation = await conn.fetchval(ACKNOWLEDGED_ARE_WHOLE, len(commit_ids), commit_ids)
        if violation is not None:
            raise BooksAreWrong(violation)
        found = await conn.fetchval(RELEASED)
        if found != released:
            raise BooksAreWrong(f"{released} contracts were released, {found} say so")


async def check_sums(pool: Pool) -> None:
    """Raise BooksAreWrong unless all sums are right and each contract is where its events lead."""
    async with pool.connection() as conn:
        for find in (ACCOUNTS_SUM_TO_ZERO, BALANCES_ARE_THEIR_TRANSFERS, VERSIONS_ARE_THEIR_EVENTS):
            violation = await conn.fetchval(find)
            if violation is not None:
                raise BooksAreWrong(violation)


async def vacuum(owner_dsn: str) -> None:
    """As autovacuum does within a minute: plans are not made for tables that were empty, and what
    is seeded is not seen for the first time in one series and for the second in another."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        await conn.execute("VACUUM (ANALYZE)")
    finally:
        await conn.close()
