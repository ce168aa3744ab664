"""A forger who knows how the chain is made: what was changed looks as if it had always been so."""

import asyncpg

from earnest.domain.audit import genesis, link

EVENTS = """
SELECT id, seq, type, actor, recorded_at, body, commit_id FROM event
WHERE contract_id = $1 ORDER BY seq
"""
PUBLIC_ID = "SELECT public_id FROM contract WHERE id = $1"
RELINK = "UPDATE event SET seq = $2, hash = $3 WHERE id = $1"
REHEAD = """
UPDATE contract SET event_seq = $2, event_head = $3, version = $4, commit_id = $5, updated_at = $6
WHERE id = $1
"""


async def forge(attacker: asyncpg.Connection, find: str, *statements: str) -> int:
    """Change a contract's events and make all their hashes right again; the contract."""
    contract: int = await attacker.fetchval(find)
    await attacker.execute("DROP INDEX event_chain")
    for statement in statements:
        status = await attacker.execute(statement.replace(":row", str(contract)))
        assert not status.endswith(" 0"), f"{statement} changed nothing"
    head = genesis(await attacker.fetchval(PUBLIC_ID, contract))
    rows = await attacker.fetch(EVENTS, contract)
    for seq, row in enumerate(rows, start=1):
        head = link(head, seq, row["recorded_at"], row["type"], row["actor"], row["body"])
        await attacker.execute(RELINK, row["id"], seq, head)
    commits = {row["commit_id"] for row in rows}
    last = rows[-1]
    await attacker.execute(
        REHEAD, contract, len(rows), head, len(commits), last["commit_id"], last["recorded_at"]
    )
    return contract
