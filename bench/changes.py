"""Changing over HTTP: PUT release-fund of a running server against pgbench doing the same releases.

Each request is the whole of it: signature and session of the admin's token, an idempotency key, the
contract loaded and the release decided, committed, answered with the escrow. The server is
`earnest serve` as it comes. pgbench has the client count that it is fastest with.
"""

import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench import books, load, seeding, yardstick
from bench.neighbours import Clock, quiet
from bench.reads import CLIENTS, CONNECTIONS, PARTY, ready, serve, token_of
from bench.report import Figure
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

SELLERS = 500
TRIALS = 2

RELEASE = "PUT release-fund, 64 connections"
SHARED = "PUT release-fund, 64 connections, one shared wallet"
FEW = "PUT release-fund, as many connections as pgbench has clients"
PGBENCH = "pgbench, the same releases"

PUBLIC_IDS = "SELECT public_id FROM contract WHERE id = ANY($1::bigint[]) ORDER BY id"
ADD_ADMIN = """
INSERT INTO login (party_id, role, email_canonical, password_hash)
VALUES ($1::bigint, 'admin', 'p' || $1::bigint || '@example.com', '')
"""
RELEASED = """
SELECT count(*) FROM contract WHERE id = ANY($1::bigint[]) AND tranches = '{released}'
"""


class Changes:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self._spread: list[int] = []
        self._shared: list[int] = []
        self._slowest: dict[str, list[float]] = {FEW: [], PGBENCH: []}
        self._clients = 0
        self.rates: dict[str, list[float]] = {RELEASE: [], SHARED: [], FEW: [], PGBENCH: []}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve, measure in turns, check; nothing where there is no pgbench."""
        pgbench = yardstick.find_pgbench()
        if pgbench is None:
            return []
        say("releases over HTTP: making contracts")
        admin = await self._seed()
        with tempfile.TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, serving = serve(self._server, Path(directory))
            try:
                await ready(port)
                await quiet(self._server.pgdata / "postmaster.pid", serving.pid)
                say("serving; releasing over HTTP")
                await self._measure(pgbench, port, serving.pid, token_of(admin, Role.ADMIN))
            finally:
                serving.terminate()
                serving.wait()
        await books.check_sums(self._pool)
        return self._figures()

    async def _seed(self) -> PublicId:
        keys, door = Keys(self._pool), Door(self._pool)
        buyer, *sellers = await seeding.add_parties(self._pool, keys, SELLERS + 1)
        await seeding.add_logins(self._pool, buyer, sellers)
        spread = self._count * (3 * self._rounds + 1 + TRIALS * len(CLIENTS))
        shared = self._count * self._rounds
        for made, count, of in (
            (self._spread, spread, sellers),
            (self._shared, shared, sellers[:1]),
        ):
            jobs = await seeding.add_jobs(self._pool, keys, count, client=buyer)
            made.extend(
                await seeding.add_contracts(door, keys, count, buyer=buyer, sellers=of, jobs=jobs)
            )
        admin = await add_admin(self._pool, keys)
        await books.vacuum(self._server.owner_dsn)
        return admin

    async def _measure(self, pgbench: Path, port: int, pid: int, token: str) -> None:
        async def over_http(name: str, contracts: list[int], connections: int) -> float:
            taken = self._take(contracts)
            requests = await release_requests(self._pool, port, token, taken)
            answered = await load.send(port, requests, connections=connections)
            await check_released(self._pool, taken)
            if name == FEW:
                self._slowest[FEW].append(_p99(answered.latencies))
            return answered.per_second

        async def by_pgbench(*, counts: bool = True) -> float:
            measured = await yardstick.release(
                pgbench, self._server.app_dsn, self._take(self._spread), clients=self._clients
            )
            if counts:
                self._slowest[PGBENCH].append(_p99(measured.latencies))
            return measured.per_second

        await over_http(RELEASE, self._spread, CONNECTIONS)
        tried: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
        for _ in range(TRIALS):
            for self._clients in CLIENTS:
                tried[self._clients].append(await by_pgbench(counts=False))
        self._clients = max(tried, key=lambda clients: statistics.median(tried[clients]))
        series: dict[str, Callable[[], Awaitable[float]]] = {
            RELEASE: lambda: over_http(RELEASE, self._spread, CONNECTIONS),
            PGBENCH: by_pgbench,
            FEW: lambda: over_http(FEW, self._spread, self._clients),
            SHARED: lambda: over_http(SHARED, self._shared, CONNECTIONS),
        }
        postmaster = self._server.pgdata / "postmaster.pid"
        for number in range(self._rounds):
            begun = Clock.read(postmaster, pid)
            for name in [*series] if number % 2 == 0 else reversed([*series]):
                self.rates[name].append(await series[name]())
            self.others.append(Clock.read(postmaster, pid).share_of_others(begun))

    def _take(self, contracts: list[int]) -> list[int]:
        taken = contracts[: self._count]
        del contracts[: self._count]
        return taken

    def _figures(self) -> list[Figure]:
        def ratio(name: str, of: str, to: str, must: float, goal: float) -> Figure:
            rounds = [a / b for a, b in zip(self.rates[of], self.rates[to], strict=True)]
            return Figure(name, rounds, must, goal)

        slowest = [
            ours / theirs
            for ours, theirs in zip(self._slowest[FEW], self._slowest[PGBENCH], strict=True)
        ]
        return [
            ratio("release_to_pgbench", RELEASE, PGBENCH, 0.6, 1.0),
            ratio("release_shared_to_spread", SHARED, RELEASE, 0.9, 0.95),
            Figure("release_p99_to_pgbench", slowest, 2, 1, True),
        ]


async def add_admin(pool: Pool, keys: Keys) -> PublicId:
    """Somebody who may release."""
    [admin] = await seeding.add_parties(pool, keys, 1)
    async with pool.connection() as conn:
        await conn.execute(ADD_ADMIN, admin)
        return PublicId(await conn.fetchval(PARTY, admin))


async def release_requests(
    pool: Pool, port: int, token: str, contracts: Sequence[int]
) -> list[bytes]:
    """A request for each, ready to be sent, in no order: neighbours on a page are then not all
    rewritten by one batch."""
    async with pool.connection() as conn:
        ids = [row[0] for row in await conn.fetch(PUBLIC_IDS, contracts)]
    random.shuffle(ids)
    return release_each(port, token, ids)


def release_each(port: int, token: str, public_ids: Sequence[str]) -> list[bytes]:
    """A request for each, with an idempotency key."""
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n"
    path = "/api/admin/escrow/release-fund"
    return [
        f"PUT {path}/{one} HTTP/1.1\r\n{head}Idempotency-Key: release-{one}\r\n\r\n".encode()
        for one in public_ids
    ]


async def check_released(pool: Pool, contracts: Sequence[int]) -> None:
    """Raises BooksAreWrong unless each of these, which were answered, is released."""
    async with pool.connection() as conn:
        released = await conn.fetchval(RELEASED, contracts)
    if released != len(contracts):
        raise books.BooksAreWrong(f"{len(contracts)} were answered, {released} are released")


def _p99(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98]
