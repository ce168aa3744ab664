"""The ledger's horizon, which transactions of other databases of the cluster hold back too."""

import asyncio

import asyncpg

from earnest.store import books

HAS_YOUNGER = "SELECT EXISTS (SELECT FROM transfer WHERE xid >= $1)"


async def roll_up_everything(conn: asyncpg.Connection) -> None:
    """Roll up until every transfer is below the horizon: other tests come and go meanwhile."""
    for _ in range(600):
        horizon = await books.roll_up(conn)
        if not await conn.fetchval(HAS_YOUNGER, horizon):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("somebody holds the horizon back")
