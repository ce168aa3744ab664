"""The door as an API process uses it, without HTTP: decide, expand, commit.

One asyncio process on uvloop, one pool, `tasks` callers at once. Each release carries an
idempotency key and a reply, as the real route's does.
"""

import asyncio
import gc
import hashlib
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from bench.books import BooksAreWrong
from bench.seeding import BUSINESS
from earnest.domain.contract import Contract
from earnest.domain.party import Actor, Role
from earnest.domain.verbs import approve_release
from earnest.ledger.movements import expand
from earnest.store.commit import Commit, Door
from earnest.store.idempotency import Once, Reply
from earnest.store.keys import Keys

OLGA = Actor(Role.ADMIN, 2)
REPLY = Reply(200, b"x" * 600)
"""About as long as the reply of PUT /api/admin/escrow/release-fund/{contractId}."""


class Measured(msgspec.Struct, frozen=True):
    """One stretch of work."""

    seconds: float
    commit_ids: list[int]

    @property
    def per_second(self) -> float:
        return len(self.commit_ids) / self.seconds


async def release(door: Door, keys: Keys, contracts: Sequence[Contract], *, tasks: int) -> Measured:
    """Release every one of `contracts`, `tasks` at a time."""
    work = [(contract, _once(contract)) for contract in contracts]
    todo = iter(work)
    acknowledged: list[int] = []
    # As an API process does after start-up.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    begun = time.perf_counter()
    await asyncio.gather(*(_work(door, keys, todo, acknowledged) for _ in range(tasks)))
    seconds = time.perf_counter() - begun
    gc.unfreeze()
    return Measured(seconds, acknowledged)


async def _work(
    door: Door, keys: Keys, todo: Iterable[tuple[Contract, Once]], acknowledged: list[int]
) -> None:
    for contract, once in todo:
        ids = await keys.ids()
        change = approve_release(contract, BUSINESS, OLGA, datetime.now(UTC), ids)
        if not await door.commit(Commit(change, expand(change, ids), once, REPLY)):
            raise BooksAreWrong(f"contract {contract.key} was changed by somebody else")
        acknowledged.append(change.commit_id)


def _once(contract: Contract) -> Once:
    return Once(
        principal=OLGA.name,
        route="PUT /api/admin/escrow/release-fund/{contract_id:str}",
        key=f"release-{contract.public_id}",
        request_hash=hashlib.sha256(contract.public_id.encode()).digest(),
        moves_money=True,
    )
