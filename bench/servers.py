"""The two HTTP servers that Earnest could run on, with its application, in turns.

**uvicorn** is `earnest serve` as it comes, with the limits and deadlines of `web.connection`;
**granian** is `bench.on_granian`. One API process each, the same database, 64 connections.
"""

import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import books, load, peer, seeding
from bench.changes import add_admin, check_released, release_requests
from bench.neighbours import Clock, quiet
from bench.reads import (
    CONNECTIONS,
    PARTY,
    PUBLIC_IDS,
    SECRET,
    SELLERS,
    VIEW_PATH,
    get,
    ready,
    serve,
    token_of,
)
from bench.report import Figure
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

WRITES, VIEWS = "PUT release-fund", "GET view-contract"
SERVERS = ("uvicorn", "granian")


class Servers:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self.rates: dict[str, list[float]] = {}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve by both, measure in turns, check."""
        names = {WRITES: "release_granian_to_uvicorn", VIEWS: "view_granian_to_uvicorn"}
        if why_not := peer.why_absent():
            return [Figure(name, (), 0, 0, why_not=why_not) for name in names.values()]
        say("uvicorn and granian: making contracts")
        self.rates = {f"{what}, {name}": [] for what in names for name in SERVERS}
        contracts, admin, client = await self._seed()
        with tempfile.TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, ours = serve(self._server, Path(directory))
            other_port, other = self._serve_granian(Path(directory))
            try:
                await ready(port)
                await ready(other_port)
                await quiet(self._server.pgdata / "postmaster.pid", ours.pid)
                say("serving by both; releasing and reading in turns")
                ports = dict(zip(SERVERS, (port, other_port), strict=True))
                for number in range(-1, self._rounds):
                    begun = Clock.read(self._server.pgdata / "postmaster.pid", ours.pid, other.pid)
                    for name in SERVERS if number % 2 == 0 else reversed(SERVERS):
                        await self._ask(number, name, ports[name], contracts, admin, client)
                    self.others.append(
                        Clock.read(
                            self._server.pgdata / "postmaster.pid", ours.pid, other.pid
                        ).share_of_others(begun)
                    )
            finally:
                for process in (ours, other):
                    process.terminate()
                    process.wait()
        await books.check_sums(self._pool)
        return [Figure(name, self._ratios(what), 0, 0) for what, name in names.items()]

    def _ratios(self, what: str) -> Sequence[float]:
        ours, other = (self.rates[f"{what}, {name}"] for name in SERVERS)
        return [b / a for a, b in zip(ours, other, strict=True)]

    async def _ask(
        self,
        number: int,
        name: str,
        port: int,
        contracts: list[int],
        admin: PublicId,
        client: PublicId,
    ) -> None:
        taken = contracts[: self._count]
        del contracts[: self._count]
        writes = await release_requests(self._pool, port, token_of(admin, Role.ADMIN), taken)
        reads = await self._views(port, client, taken)
        for what, requests in ((WRITES, writes), (VIEWS, reads)):
            answered = await load.send(port, requests, connections=CONNECTIONS)
            if number >= 0:  # the first round warms up
                self.rates[f"{what}, {name}"].append(answered.per_second)
        await check_released(self._pool, taken)

    async def _views(self, port: int, client: PublicId, contracts: Sequence[int]) -> list[bytes]:
        async with self._pool.connection() as conn:
            ids = [row[0] for row in await conn.fetch(PUBLIC_IDS, contracts)]
        token = token_of(client, Role.CLIENT)
        return [get(port, token, VIEW_PATH + one) for one in random.choices(ids, k=2 * self._count)]

    async def _seed(self) -> tuple[list[int], PublicId, PublicId]:
        keys = Keys(self._pool)
        buyer, *sellers = await seeding.add_parties(self._pool, keys, SELLERS + 1)
        await seeding.add_logins(self._pool, buyer, sellers)
        count = self._count * len(SERVERS) * (self._rounds + 1)
        jobs = await seeding.add_jobs(self._pool, keys, count, client=buyer)
        made = await seeding.add_contracts(
            Door(self._pool), keys, count, buyer=buyer, sellers=sellers, jobs=jobs
        )
        admin = await add_admin(self._pool, keys)
        await books.vacuum(self._server.owner_dsn)
        async with self._pool.connection() as conn:
            return made, admin, PublicId(await conn.fetchval(PARTY, buyer))

    def _serve_granian(self, directory: Path) -> tuple[int, "subprocess.Popen[bytes]"]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        packages = next(peer.VENV.glob("lib/python*/site-packages"))
        with (directory / "granian.log").open("wb") as log:
            return port, subprocess.Popen(
                [sys.executable, "-m", "bench.on_granian", str(port)],
                env=os.environ
                | {
                    "EARNEST_DATABASE_URL": self._server.app_dsn,
                    "EARNEST_MIGRATE_DATABASE_URL": self._server.owner_dsn,
                    "EARNEST_SECRET_KEY": SECRET,
                    "PYTHONPATH": f"{peer.ROOT}{os.pathsep}{packages}",
                },
                stdout=log,
                stderr=log,
            )
