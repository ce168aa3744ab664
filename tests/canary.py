"""Planted bugs, and the eye that must see what they do.

A race test that never fails proves nothing, so each has a **canary**: the same race with a
defence taken away in the test's own database, which must leave **damage** behind. `damage` is
also what every race ends with, and then it must find nothing. It knows the tables and the
invariants of the spec, none of the product's code but the hash of a chain's link.
"""

import re

import asyncpg

from earnest.domain.audit import genesis, link
from earnest.ids import PublicId
from earnest.store.verify import verify

DEFINITION = "SELECT pg_get_functiondef($1::regproc)"
CONSTRAINTS = """
SELECT conrelid::regclass::text AS on_table FROM pg_constraint WHERE conname = $1
"""
INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass($1)"

# -- planting -------------------------------------------------------------------------------------

# (a text of commit_changes, what stands there instead); any white space matches any.
COMPARE_VERSION = (
    "WHERE c.id = n.id AND c.version = n.version - 1 AND",
    "WHERE c.id = n.id AND",
)
COMPARE_PAYMENT_EARLY = (
    "n.version - 1 IS DISTINCT FROM ( SELECT p.version FROM payment AS p WHERE p.id = n.id )",
    "FALSE",
)
COMPARE_PAYMENT = (
    "FROM unnest(payments) AS n WHERE p.id = n.id AND p.version = n.version - 1 AND",
    "FROM unnest(payments) AS n WHERE p.id = n.id AND",
)
LOOK_INTO_INBOX = (
    """
    SELECT TRUE FROM provider_event AS e
    WHERE e.provider = i.provider AND e.event_id = i.event_id
    """,
    "SELECT FALSE",
)
LOOK_FOR_KEY = (
    "SELECT TRUE FROM idempotency_key AS k WHERE k.scope = r.scope",
    "SELECT FALSE",
)
KEEP_REPLY = (
    "FROM unnest(replies) AS r WHERE r.commit_id <> ALL (lost)",
    "FROM unnest(replies) AS r WHERE FALSE",
)
LEAVE_OUT_TRANSFERS = (
    "FROM unnest(transfers) AS t WHERE t.commit_id <> ALL (lost)",
    "FROM unnest(transfers) AS t",
)


async def plant(owner_dsn: str, *bugs: tuple[str, str], without: tuple[str, ...] = ()) -> None:
    """Replace each (text, by) in commit_changes and drop the named constraints and indexes.

    Fails when a text is not there exactly once or a name is unknown: a canary that plants
    nothing would sing for nothing.
    """
    conn = await asyncpg.connect(owner_dsn)
    try:
        definition: str = await conn.fetchval(DEFINITION, "commit_changes")
        for text, by in bugs:
            anywhere = r"\s+".join(map(re.escape, text.split()))
            definition, replaced = re.subn(anywhere, by, definition)
            assert replaced == 1, text
        await conn.execute(definition)
        for name in without:
            await _drop(conn, name)
    finally:
        await conn.close()


async def _drop(conn: asyncpg.Connection, name: str) -> None:
    table = await conn.fetchval(CONSTRAINTS, name)
    if table is not None:
        await conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        return
    assert await conn.fetchval(INDEXES, name) == name, f"there is no {name}"
    await conn.execute(f"DROP INDEX {name}")


# -- looking --------------------------------------------------------------------------------------

# Each yields one row of text for each thing that is wrong.
EYES = {
    "a running balance is not the sum of its transfers": """
        SELECT coalesce(b.account, s.account)::text
        FROM balance AS b
        FULL JOIN (
            SELECT account, sum(amount) AS amount
            FROM (
                SELECT credit AS account, amount_minor AS amount FROM transfer
                UNION ALL SELECT debit, -amount_minor FROM transfer
            ) AS side
            WHERE account >> 57 <= 2
            GROUP BY account
        ) AS s ON s.account = b.account
        WHERE coalesce(b.amount_minor, 0) <> coalesce(s.amount, 0)
    """,
    "a person's account is below zero": """
        SELECT account::text FROM balance WHERE amount_minor < 0
    """,
    "rollup and tail are not the sum of the transfers": """
        SELECT s.account::text
        FROM (
            SELECT side.account, sum(side.amount) AS total,
                coalesce(sum(side.amount) FILTER (
                    WHERE side.xid >= (SELECT horizon_xid FROM ledger_horizon)
                ), 0) AS tail
            FROM (
                SELECT credit AS account, amount_minor AS amount, xid FROM transfer
                UNION ALL SELECT debit, -amount_minor, xid FROM transfer
            ) AS side
            WHERE side.account >> 57 > 2
            GROUP BY side.account
        ) AS s
        LEFT JOIN rollup AS r ON r.account = s.account
        WHERE s.total <> coalesce(r.credits_minor - r.debits_minor, 0) + s.tail
    """,
    "a contract's held money is not what its state says": """
        SELECT c.public_id || ' ' || c.tranches[1] || ' ' || coalesce(b.amount_minor, 0)
        FROM contract AS c
        LEFT JOIN balance AS b ON b.account >> 57 = 1 AND b.account & ((1::bigint << 40) - 1) = c.id
        WHERE coalesce(b.amount_minor, 0) <> CASE
            WHEN c.tranches[1] IN ('held', 'release_requested', 'refund_pending')
            THEN c.amount_minor ELSE 0
        END
    """,
    "a contract was funded more or less often than its state says": """
        SELECT c.public_id || ' ' || count(t.id)
        FROM contract AS c
        LEFT JOIN transfer AS t ON t.contract_id = c.id AND t.credit >> 57 = 1
        GROUP BY c.id
        HAVING count(t.id) <> (c.funded_at IS NOT NULL)::integer
    """,
    "a contract was settled more or less often than its state says": """
        SELECT c.public_id || ' ' || count(DISTINCT t.commit_id)
        FROM contract AS c
        LEFT JOIN transfer AS t ON t.contract_id = c.id AND t.debit >> 57 = 1
        GROUP BY c.id
        HAVING count(DISTINCT t.commit_id) <> (c.settled_at IS NOT NULL)::integer
    """,
    "a payment brought its money in more or less often than its state says": """
        SELECT p.public_id || ' ' || p.state || ' ' || count(t.id)
        FROM payment AS p
        LEFT JOIN transfer AS t ON t.payment_id = p.id AND t.debit >> 57 = 3
        GROUP BY p.id
        HAVING count(t.id) <> (p.state IN ('captured', 'parked', 'refunded'))::integer
    """,
    "a session's strange money was taken more than once": """
        SELECT e.session_id
        FROM provider_event AS e
        INNER JOIN transfer AS t ON t.commit_id = e.commit_id
        WHERE e.outcome = 'quarantined'
        GROUP BY e.session_id
        HAVING count(*) > 1
    """,
    "a provider event was consumed twice": """
        SELECT event_id FROM provider_event GROUP BY provider, event_id HAVING count(*) > 1
    """,
    "a job has two live contracts": """
        SELECT job_id::text FROM contract WHERE live GROUP BY job_id HAVING count(*) > 1
    """,
    "a job has two open checkouts": """
        SELECT job_id::text FROM payment WHERE state IN ('opening', 'open', 'processing')
        GROUP BY job_id HAVING count(*) > 1
    """,
    "an idempotency key was used twice": """
        SELECT key FROM idempotency_key GROUP BY scope, key HAVING count(*) > 1
    """,
    "a transfer, an inbox line or a reply belongs to no commit": """
        SELECT w.kind || ' ' || w.commit_id
        FROM (
            SELECT 'transfer' AS kind, commit_id FROM transfer
            UNION ALL SELECT 'inbox', commit_id FROM provider_event
            UNION ALL SELECT 'reply', commit_id FROM idempotency_key WHERE commit_id <> 0
            UNION ALL SELECT 'contract', commit_id FROM contract
            UNION ALL SELECT 'payment', commit_id FROM payment
        ) AS w
        LEFT JOIN event AS e ON e.id = w.commit_id
        WHERE e.id IS NULL
    """,
    "a contract's version is not the number of its commits": """
        SELECT c.public_id || ' ' || c.version || ' ' || count(DISTINCT e.commit_id)
        FROM contract AS c
        LEFT JOIN event AS e ON e.contract_id = c.id
        GROUP BY c.id
        HAVING c.version <> count(DISTINCT e.commit_id) OR c.event_seq <> count(e.id)
    """,
}
CHAINS = """
SELECT c.public_id, c.event_head, e.seq, e.recorded_at, e.type, e.actor, e.body, e.hash
FROM contract AS c
INNER JOIN event AS e ON e.contract_id = c.id
ORDER BY c.id, e.seq, e.id
"""


async def damage(conn: asyncpg.Connection) -> list[str]:
    """Everything that is wrong in the books, in one snapshot; [] when nothing is."""
    found: list[str] = []
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        for what, eye in EYES.items():
            found += [f"{what}: {row[0]}" for row in await conn.fetch(eye)]
        rows = await conn.fetch(CHAINS)
    heads: dict[PublicId, bytes] = {}
    ends: dict[PublicId, bytes] = {}
    for public_id, end, seq, at, type_, actor, body, hashed in rows:
        before = heads.get(public_id) or genesis(public_id)
        heads[public_id] = link(before, seq, at, type_, actor, body)
        ends[public_id] = end
        if hashed != heads[public_id]:
            found.append(f"a chain is broken: {public_id} {seq}")
    found += [f"a chain ends elsewhere: {one}" for one in heads if heads[one] != ends[one]]
    return found


def names(found: list[str]) -> set[str]:
    """What kinds of damage there are."""
    return {one.split(":", maxsplit=1)[0] for one in found}


async def sound(dsn: str) -> None:
    """Nothing is damaged, to these eyes and to the product's own."""
    conn = await asyncpg.connect(dsn)
    try:
        assert await damage(conn) == []
    finally:
        await conn.close()
    assert (await verify(dsn)).violations == ()


async def damaged(dsn: str) -> set[str]:
    """What kinds of damage there are in a database."""
    conn = await asyncpg.connect(dsn)
    try:
        return names(await damage(conn))
    finally:
        await conn.close()
