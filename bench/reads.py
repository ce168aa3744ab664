"""Reading over HTTP: GET view-contract of a running server against pgbench selecting the row.

The server is `earnest serve` as it comes, with its default number of processes; the reader is
the contracts' client, with a token. Each answer holds the contract with its job and both people.
"""

import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from bench import load, seeding, yardstick
from bench.neighbours import Clock, quiet
from bench.report import Figure
from earnest.app import access_tokens
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.settings import Settings
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

SECRET = "the secret of this bench, 32 byte"
CONTRACTS = 10_000
SELLERS = 500
CONNECTIONS = 64
CLIENTS = (8, 16, 32)
READY_SECONDS_MAX = 60

PUBLIC_IDS = "SELECT public_id FROM contract WHERE id = ANY($1::bigint[])"
PARTY = "SELECT public_id FROM party WHERE id = $1"

VIEW_PATH = "/api/freelancer/contract/view-contract/"
VIEW = "GET view-contract, 64 connections"
SELECT = "pgbench, SELECT of the row"


class Reads:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self._contracts: list[int] = []
        self._requests: list[bytes] = []
        self.rates: dict[str, list[float]] = {VIEW: [], SELECT: []}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve, measure in turns; nothing where there is no pgbench."""
        pgbench = yardstick.find_pgbench()
        if pgbench is None:
            return []
        client = await self._seed()
        with tempfile.TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, serving = serve(self._server, Path(directory))
            try:
                await ready(port)
                await quiet(self._server.pgdata / "postmaster.pid", serving.pid)
                say("serving; reading contracts")
                await self._measure(pgbench, serving.pid, self._view(port, client))
            finally:
                serving.terminate()
                serving.wait()
        ratios = [
            view / select for view, select in zip(self.rates[VIEW], self.rates[SELECT], strict=True)
        ]
        return [Figure("view_contract_to_pgbench", ratios, 0.15, 0.3)]

    async def _seed(self) -> PublicId:
        keys, door = Keys(self._pool), Door(self._pool)
        buyer, *sellers = await seeding.add_parties(self._pool, keys, SELLERS + 1)
        await seeding.add_logins(self._pool, buyer, sellers)
        jobs = await seeding.add_jobs(self._pool, keys, CONTRACTS, client=buyer)
        self._contracts = await seeding.add_contracts(
            door, keys, CONTRACTS, buyer=buyer, sellers=sellers, jobs=jobs
        )
        async with self._pool.connection() as conn:
            return PublicId(await conn.fetchval(PARTY, buyer))

    def _view(self, port: int, client: PublicId) -> Callable[[str], bytes]:
        token = token_of(client, Role.CLIENT)
        return lambda contract: get(port, token, VIEW_PATH + contract)

    async def _measure(self, pgbench: Path, pid: int, view: Callable[[str], bytes]) -> None:
        async with self._pool.connection() as conn:
            ids = [row[0] for row in await conn.fetch(PUBLIC_IDS, self._contracts)]
        port = int(view("").partition(b"Host: 127.0.0.1:")[2].partition(b"\r")[0])
        requests = [view(contract) for contract in random.choices(ids, k=self._count)]

        async def read() -> float:
            return (await load.send(port, requests, connections=CONNECTIONS)).per_second

        async def select(clients: int) -> float:
            return await yardstick.select(
                pgbench, self._server.app_dsn, self._contracts, clients=clients, count=self._count
            )

        await read()
        tried = {clients: await select(clients) for clients in CLIENTS}
        clients = max(tried, key=lambda number: tried[number])
        postmaster = self._server.pgdata / "postmaster.pid"
        for number in range(self._rounds):
            begun = Clock.read(postmaster, pid)
            for name in (VIEW, SELECT) if number % 2 == 0 else (SELECT, VIEW):
                self.rates[name].append(await (read() if name == VIEW else select(clients)))
            self.others.append(Clock.read(postmaster, pid).share_of_others(begun))


def get(port: int, token: str, path: str) -> bytes:
    """A GET by whoever has this token, ready to be sent."""
    head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    return f"GET {path} HTTP/1.1\r\n{head}".encode()


def token_of(party: PublicId, role: Role) -> str:
    """An access token of the marketplace, as the server that is measured takes it."""
    return access_tokens(Settings(secret_key=SECRET.encode())).issue(party, role, 1)


def serve(
    server: Embedded, directory: Path, **variables: str
) -> tuple[int, "subprocess.Popen[bytes]"]:
    """`earnest serve` on a free port; end it by its handle."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    environment = os.environ | {
        "EARNEST_DATABASE_URL": server.app_dsn,
        "EARNEST_MIGRATE_DATABASE_URL": server.owner_dsn,
        "EARNEST_SECRET_KEY": SECRET,
        **variables,
    }
    command = [sys.executable, "-m", "earnest", "serve", "--port", str(port)]
    with (directory / "serve.log").open("wb") as log:
        return port, subprocess.Popen(
            [*command, "--data", str(directory / "data")],
            env=environment,
            stdout=log,
            stderr=log,
        )


async def ready(port: int) -> None:
    """Wait until it answers."""
    until = time.monotonic() + READY_SECONDS_MAX
    async with httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.1)
