"""The door alone against pgbench, in turns: releases that were decided before, handed in."""

import statistics
import time
from collections.abc import Awaitable, Callable

import asyncpg

from bench import books, door, seeding, yardstick
from bench.neighbours import Clock
from bench.report import Figure
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

SELLERS = 1_000
CLIENTS = (8, 16, 32)
"""What pgbench is tried with; every count of releases can be divided by them."""

TRIALS = 3
ROUNDS_MIN = 3

PGBENCH = "pgbench, one function per transaction"
DOOR_16 = "door, 16 at once"
DOOR_128 = "door, 128 at once"
DOOR_SHARED = "door, 128 at once, one shared wallet"


class Commits:
    """One run on the fresh database of `server`: `count` releases per series and round. On a busy
    machine no round begins after `seconds_max`; ROUNDS_MIN are always measured."""

    def __init__(
        self, pool: Pool, server: Embedded, *, rounds: int, count: int, seconds_max: int
    ) -> None:
        self.pool = pool
        self.server = server
        self.count = count
        self._rounds = rounds
        self._seconds_max = seconds_max
        self.keys = Keys(pool)
        self.door = Door(pool)
        self.pgbench = yardstick.find_pgbench()
        self.clients = 0
        self.spread: list[int] = []
        self.shared: list[int] = []
        self.acknowledged: list[int] = []
        self.released = 0
        self.rates: dict[str, list[float]] = {}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, warm up, measure in turns, check; the figures."""
        begun_at = time.perf_counter()
        await self._seed(say)
        await self._warm_up(say)
        series: dict[str, Callable[[], Awaitable[float]]] = {
            DOOR_16: lambda: self._door(self.spread, 16),
            DOOR_128: lambda: self._door(self.spread, 128),
            DOOR_SHARED: lambda: self._door(self.shared, 128),
        }
        if self.pgbench is not None:
            series[PGBENCH] = self._pgbench
        self.rates = {name: [] for name in series}
        for number in range(self._rounds):
            if number >= ROUNDS_MIN and time.perf_counter() - begun_at > self._seconds_max:
                say("no more rounds: this machine is busy")
                break
            turn = number % len(series)
            order = [*series][turn:] + [*series][:turn]
            begun = self._clock()
            for name in order if number % 2 == 0 else reversed(order):
                self.rates[name].append(await series[name]())
            self.others.append(self._clock().share_of_others(begun))
            await self._check()
            say(
                f"round {number + 1} of {self._rounds}: the books are right,"
                f" others used {self.others[-1]:.0%} of this machine"
            )
        return self._figures()

    async def _seed(self, say: Callable[[str], None]) -> None:
        with_pgbench = self.pgbench is not None
        buyer, *sellers = await seeding.add_parties(self.pool, self.keys, SELLERS + 1)
        spread = self.count * (self._rounds * (2 + with_pgbench) + 1 + TRIALS * len(CLIENTS))
        shared = self.count * self._rounds
        say(f"making {spread + shared:,} contracts that are ready for release")
        self.spread = await seeding.add_contracts(
            self.door, self.keys, spread, buyer=buyer, sellers=sellers
        )
        self.shared = await seeding.add_contracts(
            self.door, self.keys, shared, buyer=buyer, sellers=sellers[:1]
        )
        # What autovacuum does sooner or later must not fall into one series and not another.
        conn = await asyncpg.connect(self.server.owner_dsn)
        try:
            await conn.execute("VACUUM (ANALYZE) contract, contract_terms, event")
            await conn.execute("VACUUM (ANALYZE) transfer, balance, party")
            await conn.execute("ANALYZE idempotency_key")
        finally:
            await conn.close()

    async def _warm_up(self, say: Callable[[str], None]) -> None:
        await self._door(self.spread, 16)
        if self.pgbench is None:
            say("there is no pgbench: only shared against spread is measured")
            return
        # One trial each would often pick a slow one, and flatter the door.
        tried: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
        for _ in range(TRIALS):
            for self.clients in CLIENTS:
                tried[self.clients].append(await self._pgbench())
        self.clients = max(tried, key=lambda clients: statistics.median(tried[clients]))
        await self._check()
        say(f"pgbench is at its best with {self.clients} clients")

    async def _door(self, contracts: list[int], tasks: int) -> float:
        taken = await seeding.read_contracts(self.pool, self._take(contracts))
        measured = await door.release(self.door, self.keys, taken, tasks=tasks)
        self.acknowledged.extend(measured.commit_ids)
        self.released += len(taken)
        return measured.per_second

    async def _pgbench(self) -> float:
        assert self.pgbench is not None
        taken = self._take(self.spread)
        self.released += len(taken)
        measured = await yardstick.release(
            self.pgbench, self.server.app_dsn, taken, clients=self.clients
        )
        return measured.per_second

    def _take(self, contracts: list[int]) -> list[int]:
        taken = contracts[: self.count]
        del contracts[: self.count]
        return taken

    async def _check(self) -> None:
        await books.check(self.pool, acknowledged=self.acknowledged, released=self.released)

    def _clock(self) -> Clock:
        return Clock.read(self.server.pgdata / "postmaster.pid")

    def _figures(self) -> list[Figure]:
        def ratio(name: str, of: str, to: str, must: float, goal: float) -> Figure:
            rounds = [a / b for a, b in zip(self.rates[of], self.rates[to], strict=True)]
            return Figure(name, rounds, must, goal)

        shared = ratio("door_shared_to_spread", DOOR_SHARED, DOOR_128, 0.9, 0.95)
        if self.pgbench is None:
            return [shared]
        return [
            ratio("door_16_to_pgbench", DOOR_16, PGBENCH, 1.5, 2.0),
            ratio("door_128_to_pgbench", DOOR_128, PGBENCH, 2.5, 3.0),
            shared,
        ]
