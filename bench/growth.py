"""Growth: the same requests to a server with ten times as many contracts.

Each size is a server of its own with a database of its own, on the same machine; they are asked in
turns, so one rests while the other answers. Contracts are drawn at random, which is the worst case.
Every client has PER_CLIENT contracts and every freelancer about as many, however many there are:
a marketplace grows by people.
"""

import asyncio
import contextlib
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from bench import books, load, seeding
from bench.changes import add_admin, release_requests
from bench.neighbours import Clock, quiet
from bench.reads import CONNECTIONS, VIEW_PATH, get, ready, serve, token_of
from bench.report import Figure
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys
from earnest.store.migrate import migrate

PER_CLIENT = 20
CLIENTS_AT_ONCE = 100
WRITES, VIEWS, LISTS = "PUT release-fund", "GET view-contract", "GET the contracts of a client"
BUDGETS = {WRITES: ("writes", 0.75), VIEWS: ("get", 0.65), LISTS: ("list", 0.7)}

ADD_LOGIN = """
INSERT INTO login (party_id, role, email_canonical, password_hash)
SELECT p.id, $2, 'p' || p.id || '@example.com', ''
FROM unnest($1::bigint[]) AS p (id)
"""
OWNED = """
SELECT c.public_id, p.public_id AS client
FROM contract AS c INNER JOIN party AS p ON p.id = c.buyer_id
WHERE c.id = ANY($1::bigint[])
"""


class Town(msgspec.Struct):
    """A server with its contracts: `waiting` are those that are not released yet."""

    contracts: int
    server: Embedded
    pool: Pool
    port: int
    serving: "subprocess.Popen[bytes]"
    admin: PublicId
    all: list[int]
    waiting: list[int]

    async def release(self, count: int) -> float:
        taken = self.waiting[:count]
        del self.waiting[:count]
        token = token_of(self.admin, Role.ADMIN)
        requests = await release_requests(self.pool, self.port, token, taken)
        return (await load.send(self.port, requests, connections=CONNECTIONS)).per_second

    async def view(self, count: int) -> float:
        return await self._read(count, lambda one, _: VIEW_PATH + one)

    async def list_of_client(self, count: int) -> float:
        return await self._read(count // 4, lambda _, client: f"/api/client/get-contracts/{client}")

    async def _read(self, count: int, path: Callable[[str, str], str]) -> float:
        async with self.pool.connection() as conn:
            rows = await conn.fetch(OWNED, random.sample(self.all, count))
        asked = [
            get(self.port, token_of(PublicId(client), Role.CLIENT), path(one, client))
            for one, client in rows
        ]
        return (await load.send(self.port, asked, connections=CONNECTIONS)).per_second


class Growth:
    """One run over `sizes`, the smallest first. `rates` and `others` tell of each round."""

    def __init__(self, sizes: tuple[int, ...], *, rounds: int, count: int) -> None:
        self._sizes = sizes
        self._rounds = rounds
        self._count = count
        self.rates: dict[str, list[float]] = {
            _series(what, size): [] for what in BUDGETS for size in sizes
        }
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed each size, serve all, measure in turns, check."""
        async with contextlib.AsyncExitStack() as stack:
            towns = []
            for size in self._sizes:
                say(f"growth: making {size:,} contracts")
                towns.append(await stack.enter_async_context(_town(size)))
            say("serving; asking small and large in turns")
            for number in range(-1, self._rounds):
                await self._round(towns, number)
            for town in towns:
                await books.check_sums(town.pool)
        return self._figures()

    async def _round(self, towns: list[Town], number: int) -> None:
        begun = _clock(towns)
        asks: dict[str, Callable[[Town], Awaitable[float]]] = {
            WRITES: lambda town: town.release(self._count),
            VIEWS: lambda town: town.view(2 * self._count),
            LISTS: lambda town: town.list_of_client(2 * self._count),
        }
        for what, ask in asks.items():
            for town in towns if number % 2 == 0 else reversed(towns):
                rate = await ask(town)
                if number >= 0:  # the first round warms up
                    self.rates[_series(what, town.contracts)].append(rate)
        if number >= 0:
            self.others.append(_clock(towns).share_of_others(begun))

    def _figures(self) -> list[Figure]:
        small, large, *larger = self._sizes
        figures = []
        for what, (name, must) in BUDGETS.items():
            figures.append(self._figure(f"{name}_at_{large:_}", what, large, small, must, 0.85))
            figures += [self._figure(f"{name}_at_{n:_}", what, n, large, 0, 0.85) for n in larger]
        return figures

    def _figure(self, name: str, what: str, of: int, to: int, must: float, goal: float) -> Figure:
        pairs = zip(self.rates[_series(what, of)], self.rates[_series(what, to)], strict=True)
        return Figure(f"{name}_to_{to:_}", [a / b for a, b in pairs], must, goal)


def _series(what: str, size: int) -> str:
    return f"{what}, {size:,} contracts"


def _clock(towns: list[Town]) -> Clock:
    first, *others = [town.server.pgdata / "postmaster.pid" for town in towns]
    postmasters = [int(other.read_text().splitlines()[0]) for other in others]
    return Clock.read(first, *postmasters, *(town.serving.pid for town in towns))


@contextlib.asynccontextmanager
async def _town(contracts: int) -> AsyncIterator[Town]:
    directory = Path(tempfile.mkdtemp(prefix="earnest-bench-"))
    server = Embedded.start(directory)
    pool = Pool(server.app_dsn, application_name="earnest bench", statement_timeout_seconds=300)
    try:
        await migrate(server.owner_dsn)
        admin, made = await _populate(pool, contracts)
        await books.vacuum(server.owner_dsn)
        port, serving = serve(server, directory)
        try:
            await ready(port)
            await quiet(server.pgdata / "postmaster.pid", serving.pid)
            random.shuffle(made)
            yield Town(contracts, server, pool, port, serving, admin, made, [*made])
        finally:
            serving.terminate()
            serving.wait()
    finally:
        await pool.close()
        server.release()
        shutil.rmtree(directory, ignore_errors=True)


async def _populate(pool: Pool, contracts: int) -> tuple[PublicId, list[int]]:
    keys, door = Keys(pool), Door(pool)
    clients = await seeding.add_parties(pool, keys, contracts // PER_CLIENT)
    sellers = await seeding.add_parties(pool, keys, contracts // PER_CLIENT)
    async with pool.connection() as conn:
        await conn.execute(ADD_LOGIN, clients, "client")
        await conn.execute(ADD_LOGIN, sellers, "freelancer")

    async def hire(client: int) -> list[int]:
        jobs = await seeding.add_jobs(pool, keys, PER_CLIENT, client=client)
        return await seeding.add_contracts(
            door, keys, PER_CLIENT, buyer=client, sellers=random.sample(sellers, 5), jobs=jobs
        )

    made: list[int] = []
    for first in range(0, len(clients), CLIENTS_AT_ONCE):
        for hired in await asyncio.gather(*map(hire, clients[first : first + CLIENTS_AT_ONCE])):
            made.extend(hired)
    return await add_admin(pool, keys), made
