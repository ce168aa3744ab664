"""The reference service (`bench.reference`) as a peer: served in one process, with the pool of
connections that it is fastest with, its books checked after every round."""

import asyncio
import random
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence

import asyncpg
import httpx
import msgspec

from bench import load, peer
from bench.books import BooksAreWrong
from bench.changes import release_each
from bench.reads import CONNECTIONS
from earnest.store.embedded import Embedded

MODULE = "bench.reference"
POOLS = (8, 16, 32)
TRIALS = 2
READY_SECONDS_MAX = 60

# Of the kinds held and wallet a balance runs; of the others the transfers are summed.
WRONG = (
    """
    SELECT 'all accounts together are ' || sums.total || ' and not 0'
    FROM (
        SELECT
            (
                SELECT sum(a.balance_minor) FROM account AS a
                WHERE a.kind IN ('held', 'wallet')
            ) + (
                SELECT sum(t.amount_minor) FROM transfer AS t
                INNER JOIN account AS a ON t.credit_id = a.id
                WHERE a.kind NOT IN ('held', 'wallet')
            ) - (
                SELECT sum(t.amount_minor) FROM transfer AS t
                INNER JOIN account AS a ON t.debit_id = a.id
                WHERE a.kind NOT IN ('held', 'wallet')
            ) AS total
    ) AS sums
    WHERE sums.total IS DISTINCT FROM 0
    """,
    """
    SELECT 'account ' || a.id || ' has ' || a.balance_minor || ', its transfers say '
    || coalesce(sum(side.amount_minor), 0)
    FROM account AS a
    LEFT JOIN (
        SELECT c.credit_id AS account_id, c.amount_minor FROM transfer AS c
        UNION ALL
        SELECT d.debit_id, -d.amount_minor FROM transfer AS d
    ) AS side ON side.account_id = a.id
    WHERE a.kind IN ('held', 'wallet')
    GROUP BY a.id
    HAVING a.balance_minor <> coalesce(sum(side.amount_minor), 0)
    LIMIT 1
    """,
    """
    SELECT 'contract ' || c.id || ' is ' || c.status || ' at version ' || c.version || ' and has '
    || count(e.id) || ' events'
    FROM contract AS c
    LEFT JOIN event AS e ON e.contract_id = c.id
    GROUP BY c.id
    HAVING c.version <> count(e.id) OR c.version <> max(e.sequence)
    OR (c.status = 'released') <> (count(e.id) FILTER (WHERE e.type = 'contract.released') = 1)
    LIMIT 1
    """,
)
RELEASED = """
SELECT
    (SELECT count(*) FROM contract AS c WHERE c.status = 'released') AS contracts,
    (SELECT count(*) FROM transfer AS t WHERE t.movement = 'released') AS transfers,
    (SELECT count(*) FROM idempotency_key) AS replies
"""


class Tokens(msgspec.Struct, frozen=True):
    """Access tokens: of who may release funds, and of who may not."""

    admin: str
    client: str


class Reference:
    """One run in a database of its own. `pid` is the process that serves, on `port`; `released` is
    how many contracts must be released by now, each with a key."""

    pid: int
    port: int
    tokens: Tokens

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._environment = peer.environment(dsn)
        self._services: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
        self._contracts: Iterator[int] = iter(())
        self.released = 0

    @classmethod
    async def of(cls, server: Embedded) -> "Reference":
        return cls(await peer.make_database(server, "bench_fastapi"))

    async def prepare(self, contracts: int) -> None:
        """Make its tables and that many contracts, ready for release."""
        making = await asyncio.create_subprocess_exec(
            *peer.python(MODULE, "prepare", contracts),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await making.communicate()
        if making.returncode != 0:
            raise RuntimeError(f"{MODULE} could not be prepared, see above")
        self._contracts = iter(range(1, contracts + 1))
        self.tokens = msgspec.json.decode(out, type=Tokens)

    async def start(self, trial: int, pools: Sequence[int] = POOLS) -> int:
        """Serve with each size of pool, release `trial` contracts with it some times over, and keep
        the fastest; its size."""
        for size in pools:
            self._services[size] = self._serve(size)
        for port, _ in self._services.values():
            await _answering(port)
        tried: dict[int, list[float]] = {size: [] for size in pools}
        for _ in range(1 + TRIALS):
            for size in pools:
                self.port = self._services[size][0]
                tried[size].append(await self.release(trial))
        # The first one prepared the statements of each connection.
        best = max(pools, key=lambda size: statistics.median(tried[size][1:]))
        self.port, kept = self._services.pop(best)
        self.pid = kept.pid
        self.close()
        self._services[best] = (self.port, kept)
        return best

    async def release(self, count: int) -> float:
        """Release `count` contracts; how many per second."""
        chosen = [f"{next(self._contracts):024x}" for _ in range(count)]
        random.shuffle(chosen)
        requests = release_each(self.port, self.tokens.admin, chosen)
        answered = await load.send(self.port, requests, connections=CONNECTIONS)
        self.released += count
        return answered.per_second

    async def check(self) -> None:
        """Raise BooksAreWrong, naming the first violation."""
        conn = await asyncpg.connect(self.dsn)
        try:
            for find in WRONG:
                violation = await conn.fetchval(find)
                if violation is not None:
                    raise BooksAreWrong(f"of the FastAPI service: {violation}")
            (found,) = map(tuple, await conn.fetch(RELEASED))
        finally:
            await conn.close()
        wanted = (self.released, 2 * self.released, self.released)
        if found != wanted:
            raise BooksAreWrong(
                "of the FastAPI service: contracts released, transfers and replies of them are"
                f" {found} and must be {wanted}"
            )

    def close(self) -> None:
        for _, serving in self._services.values():
            serving.terminate()
            serving.wait()
        self._services.clear()

    def _serve(self, pool: int) -> "tuple[int, subprocess.Popen[bytes]]":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        command = peer.python(MODULE, "serve", port, pool)
        return port, subprocess.Popen(command, env=self._environment)


async def _answering(port: int) -> None:
    until = time.monotonic() + READY_SECONDS_MAX
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                return
