"""The door alone, as an API process uses it: commits that were decided before, handed in.

One asyncio process on uvloop, one pool, `tasks` callers at once. Each release carries an
idempotency key and a reply, as the real route's does. Deciding is not timed: pgbench's side
does not decide either.
"""

import asyncio
import gc
import hashlib
import math
import time
from collections.abc import Sequence
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
    decided = [await _decided(keys, contract) for contract in contracts]
    # Each caller has a share of its own, as each client of pgbench has: neighbours on a page of
    # the database are then not all rewritten by one batch.
    span = math.ceil(len(decided) / tasks)
    shares = [decided[first : first + span] for first in range(0, len(decided), span)]
    acknowledged: list[int] = []
    # As an API process does after start-up.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    begun = time.perf_counter()
    await asyncio.gather(*(_work(door, share, acknowledged) for share in shares))
    seconds = time.perf_counter() - begun
    gc.unfreeze()
    return Measured(seconds, acknowledged)


async def _work(door: Door, share: Sequence[Commit], acknowledged: list[int]) -> None:
    for commit in share:
        if not await door.commit(commit):
            raise BooksAreWrong(f"commit {commit.change.commit_id} found its contract changed")
        acknowledged.append(commit.change.commit_id)


async def _decided(keys: Keys, contract: Contract) -> Commit:
    ids = await keys.ids()
    change = approve_release(contract, BUSINESS, OLGA, datetime.now(UTC), ids)
    return Commit(change, expand(change, ids), _once(contract), REPLY)


def _once(contract: Contract) -> Once:
    return Once(
        principal=OLGA.name,
        route="PUT /api/admin/escrow/release-fund/{contract_id:str}",
        key=f"release-{contract.public_id}",
        request_hash=hashlib.sha256(contract.public_id.encode()).digest(),
        moves_money=True,
    )
