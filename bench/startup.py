"""Starting, and what it takes to stay: `earnest serve` with its embedded database.

From the command to its ready line (which it prints when /readyz answers): in an empty directory,
where the database is made first, and in one with data. Then the memory of its API process and of
its worker, resident, after READS answers.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from bench import load, seeding
from bench.reads import CONNECTIONS, PARTY, PUBLIC_IDS, SECRET, VIEW_PATH, get, token_of
from bench.report import Figure
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

CONTRACTS = 2_000
READS = 5_000
SERVING = {"earnest.serving", "earnest.working"}
MEGABYTE = 1_000_000


class Startup:
    """One run. `rates` has nothing: nothing here is done so many times a second."""

    def __init__(self, *, rounds: int) -> None:
        self._rounds = rounds
        self.rates: dict[str, list[float]] = {}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Start, load, stop, start again: `rounds` times in a directory of its own."""
        say("starting, with data and without")
        first: list[float] = []
        again: list[float] = []
        megabytes: list[float] = []
        for _ in range(self._rounds):
            with _fresh_directory() as data:
                with _served(data) as (seconds, _, _):
                    first.append(seconds)
                requests = await _populate(data)
                with _served(data) as (seconds, port, process):
                    again.append(seconds)
                    asked = [request(port) for request in requests]
                    await load.send(port, asked, connections=CONNECTIONS)
                    megabytes.append(_resident(process) / MEGABYTE)
        return [
            Figure("seconds_to_first_start", first, 6, 3, True),
            Figure("seconds_to_start_with_data", again, 2.5, 1, True),
            Figure("megabytes_of_api_and_worker", megabytes, 250, 150, True),
        ]


@contextlib.contextmanager
def _fresh_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="earnest-bench-") as parent:
        Path(parent).chmod(0o711)  # PostgreSQL runs as another user when we are root
        yield Path(parent) / "data"


@contextlib.contextmanager
def _served(data: Path) -> Iterator[tuple[float, int, psutil.Process]]:
    """The seconds until the ready line, the port, and the supervisor; it is ended afterwards."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "earnest", "serve", "--port", "0", "--data", str(data)],
        env=os.environ | {"EARNEST_SECRET_KEY": SECRET, "EARNEST_DATABASE_URL": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        yield time.perf_counter() - begun, int(url.rpartition(":")[2]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate()


async def _populate(data: Path) -> list[Callable[[int], bytes]]:
    """Contracts in the database of `data`, and requests for them, which want the port."""
    server = Embedded.start(data)
    pool = Pool(server.app_dsn, application_name="earnest bench")
    try:
        keys = Keys(pool)
        client, *sellers = await seeding.add_parties(pool, keys, 100)
        await seeding.add_logins(pool, client, sellers)
        jobs = await seeding.add_jobs(pool, keys, CONTRACTS, client=client)
        made = await seeding.add_contracts(
            Door(pool), keys, CONTRACTS, buyer=client, sellers=sellers, jobs=jobs
        )
        async with pool.connection() as conn:
            ids = [row[0] for row in await conn.fetch(PUBLIC_IDS, made)]
            token = token_of(PublicId(await conn.fetchval(PARTY, client)), Role.CLIENT)
    finally:
        await pool.close()
        server.release()

    def asking(contract: str) -> Callable[[int], bytes]:
        return lambda port: get(port, token, VIEW_PATH + contract)

    return [asking(ids[number % len(ids)]) for number in range(READS)]


def _resident(supervisor: psutil.Process) -> int:
    """Bytes of its API process and its worker together; what they share counts twice."""
    return sum(
        child.memory_info().rss
        for child in supervisor.children(recursive=True)
        if SERVING.intersection(child.cmdline())
    )
