"""Peers: what else a team would use for the same, on the same server, in turns with ours.

The whole service against one that an ordinary team would write (`bench.reference`: FastAPI and
SQLAlchemy's ORM): PUT release-fund over 64 connections, one API process each. And transfers through
the door, 128 callers at once and two transfers in each release, against django-hordak's. Each peer
has a database of its own on this server, the settings that it is fastest with, and books that must
be right after every round.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import books, door, load, peer, seeding
from bench.changes import add_admin, check_released, release_requests
from bench.neighbours import Clock, quiet
from bench.peer_fastapi import POOLS, TRIALS, Reference
from bench.peer_hordak import Hordak
from bench.reads import CONNECTIONS, ready, serve, token_of
from bench.report import Figure
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

SELLERS = 500
TASKS = 128
TRANSFERS_OF_A_RELEASE = 2
CONTRACTS_MIN = 10_000
"""Of the reference, so that its tables are no toys."""

RELEASE = "PUT release-fund, beside FastAPI"
FASTAPI = "PUT release-fund, FastAPI and SQLAlchemy's ORM"
DOOR = "transfers through the door, 128 at once"
HORDAK = "transfers by django-hordak"

BUDGETS = {"release_to_fastapi": (8.0, 15.0), "transfers_to_hordak": (15.0, 25.0)}
"""Must and goal."""


class Peers:
    """One run on `server`; `count` releases of ours in each round, and as much of the peers as they
    do in about the same time. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self._fastapi_count = count // 8
        self._hordak_count = count // 2
        self._keys = Keys(pool)
        self._door = Door(pool)
        self._over_http: list[int] = []
        self._by_door: list[int] = []
        self.rates: dict[str, list[float]] = {}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve, measure in turns, check. Where there are no peers, figures that say why."""
        why_not = peer.why_absent()
        if why_not:
            say(f"no peers: {why_not}")
            return [Figure(name, (), *budget, why_not=why_not) for name, budget in BUDGETS.items()]
        say("peers: making contracts and accounts for each")
        reference, hordak = await Reference.of(self._server), await Hordak.of(self._server)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reference.prepare(self._contracts_of_reference()))
            tasks.create_task(hordak.prepare())
            admin = await self._seed()
        with tempfile.TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, serving = serve(self._server, Path(directory))
            try:
                await ready(port)
                pool_size = await reference.start(self._fastapi_count // 2)
                processes = await hordak.start(self._hordak_count // 2)
                say(f"FastAPI with {pool_size} connections, django-hordak in {processes} processes")
                await quiet(self._server.pgdata / "postmaster.pid", serving.pid)
                token = token_of(admin, Role.ADMIN)
                await self._measure(reference, hordak, port, serving.pid, token)
            finally:
                reference.close()
                await hordak.close()
                serving.terminate()
                serving.wait()
        await books.check_sums(self._pool)
        return [
            self._ratio("release_to_fastapi", RELEASE, FASTAPI),
            self._ratio("transfers_to_hordak", DOOR, HORDAK),
        ]

    def _contracts_of_reference(self) -> int:
        tried = (self._fastapi_count // 2) * len(POOLS) * (1 + TRIALS)
        return max(CONTRACTS_MIN, tried + self._fastapi_count * self._rounds)

    async def _seed(self) -> PublicId:
        buyer, *sellers = await seeding.add_parties(self._pool, self._keys, SELLERS + 1)
        await seeding.add_logins(self._pool, buyer, sellers)
        count = self._count * (self._rounds + 1)
        jobs = await seeding.add_jobs(self._pool, self._keys, count, client=buyer)
        self._over_http = await seeding.add_contracts(
            self._door, self._keys, count, buyer=buyer, sellers=sellers, jobs=jobs
        )
        self._by_door = await seeding.add_contracts(
            self._door, self._keys, count, buyer=buyer, sellers=sellers
        )
        admin = await add_admin(self._pool, self._keys)
        await books.vacuum(self._server.owner_dsn)
        return admin

    async def _measure(
        self, reference: Reference, hordak: Hordak, port: int, pid: int, token: str
    ) -> None:
        series: dict[str, Callable[[], Awaitable[float]]] = {
            RELEASE: lambda: self._release(port, token),
            FASTAPI: lambda: reference.release(self._fastapi_count),
            DOOR: self._transfer,
            HORDAK: lambda: hordak.transfer(self._hordak_count),
        }
        await series[RELEASE]()
        await series[DOOR]()
        self.rates = {name: [] for name in series}
        postmaster = self._server.pgdata / "postmaster.pid"
        for number in range(self._rounds):
            pids = (pid, reference.pid, hordak.pid)
            begun = Clock.read(postmaster, *pids)
            for name in [*series] if number % 2 == 0 else reversed([*series]):
                self.rates[name].append(await series[name]())
            self.others.append(Clock.read(postmaster, *pids).share_of_others(begun))
            await reference.check()

    async def _release(self, port: int, token: str) -> float:
        """Over HTTP; releases per second."""
        taken = self._take(self._over_http)
        requests = await release_requests(self._pool, port, token, taken)
        answered = await load.send(port, requests, connections=CONNECTIONS)
        await check_released(self._pool, taken)
        return answered.per_second

    async def _transfer(self) -> float:
        """By our Python API; transfers per second."""
        taken = self._take(self._by_door)
        contracts = await seeding.read_contracts(self._pool, taken)
        measured = await door.release(self._door, self._keys, contracts, tasks=TASKS)
        await check_released(self._pool, taken)
        return TRANSFERS_OF_A_RELEASE * measured.per_second

    def _take(self, contracts: list[int]) -> list[int]:
        taken = contracts[: self._count]
        del contracts[: self._count]
        return taken

    def _ratio(self, name: str, of: str, to: str) -> Figure:
        rounds = [a / b for a, b in zip(self.rates[of], self.rates[to], strict=True)]
        return Figure(name, rounds, *BUDGETS[name])
