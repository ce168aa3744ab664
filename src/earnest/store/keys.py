"""Keys for decisions: blocks of database sequences, reserved by this process.

Each call of `nextval` reserves a whole block (the sequence's increment), so a key costs no
round trip. A block that was not used up when the process ends leaves a gap; no key is ever
handed out twice.
"""

import asyncio
import secrets
from collections.abc import Iterator
from datetime import datetime

import asyncpg
import msgspec

from earnest.ids import Ids, PublicId, public_id
from earnest.store.db import Pool

BLOCK = {"object_key": 256, "entry_key": 4096, "contract_number": 32, "partner_number": 32}
"""The increments of the sequences in migrations/0001_core.sql."""

# What one decision draws at most: a contract and a payment; the events and transfers of a
# contract of 100 milestones with every fee line.
LOW_WATER = {"object_key": 4, "entry_key": 1024, "contract_number": 2, "partner_number": 2}


class Keys:
    """This process's reserved keys. `ids()` is how a decision gets at them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._left: dict[str, list[Iterator[int]]] = {name: [] for name in BLOCK}
        self._count = dict.fromkeys(BLOCK, 0)
        self._low = set(BLOCK)
        self._refill = asyncio.Lock()
        self._ids = Ids(
            lambda: self._take("object_key"),
            lambda: self._take("entry_key"),
            lambda: self._take("contract_number"),
            lambda: self._take("partner_number"),
        )

    async def ids(self) -> Ids:
        """Fresh identifiers, enough for the decision that follows without another await."""
        while self._low:
            for name in tuple(self._low):
                await self._reserve(name)
        return self._ids

    async def _reserve(self, name: str) -> None:
        async with self._refill:
            while self._count[name] < LOW_WATER[name]:
                async with self._pool.connection() as conn:
                    first = await conn.fetchval("SELECT nextval($1::text::regclass)", name)
                self._left[name].append(iter(range(first, first + BLOCK[name])))
                self._count[name] += BLOCK[name]
            self._low.discard(name)

    def _take(self, name: str) -> int:
        blocks = self._left[name]
        while True:
            key = next(blocks[0], None)
            if key is not None:
                self._count[name] -= 1
                if self._count[name] < LOW_WATER[name]:
                    self._low.add(name)
                return key
            blocks.pop(0)


class Fresh(msgspec.Struct, frozen=True):
    """A key, its public id and the moment (business time) that it was drawn."""

    key: int
    public_id: PublicId
    at: datetime


DRAW = "SELECT nextval('object_key'), business_now()"


async def draw(conn: asyncpg.Connection) -> Fresh:
    """A fresh object key for a plain row, within the caller's database transaction.

    Spends a whole block: the sequence has room for four billion people, jobs and labels.
    """
    row = await conn.fetchrow(DRAW)
    assert row is not None
    key, at = row
    return Fresh(key, public_id(key, at, secrets.randbits(24)), at)
