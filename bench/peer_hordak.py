"""django-hordak (`bench.hordak`) as a peer: transfers between random accounts, by as many processes
as it is fastest with, its books checked by its own balances after every round."""

import asyncio
import statistics
from asyncio.subprocess import PIPE, Process

from bench import peer
from bench.books import BooksAreWrong
from earnest.store.embedded import Embedded

MODULE = "bench.hordak"
PROCESSES = (1, 2, 4, 8)
TRIALS = 2


class Hordak:
    """One run in a database of its own. `pid` is the process whose children make transfers."""

    pid: int

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._environment = peer.environment(dsn)
        self._driver: Process | None = None
        self._processes = PROCESSES[0]

    @classmethod
    async def of(cls, server: Embedded) -> "Hordak":
        return cls(await peer.make_database(server, "bench_hordak"))

    async def prepare(self) -> None:
        """Migrate, and open accounts."""
        making = await asyncio.create_subprocess_exec(
            *peer.python(MODULE, "prepare"), env=self._environment
        )
        if await making.wait() != 0:
            raise RuntimeError(f"{MODULE} could not be prepared, see above")

    async def start(self, trial: int) -> int:
        """Make `trial` transfers with each number of processes some times over, and keep to the
        fastest; that number."""
        self._driver = await asyncio.create_subprocess_exec(
            *peer.python(MODULE, "drive"), env=self._environment, stdin=PIPE, stdout=PIPE
        )
        self.pid = self._driver.pid
        self._processes = max(PROCESSES)
        await self.transfer(max(PROCESSES))  # now all of them are connected
        tried: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
        for _ in range(TRIALS):
            for self._processes in PROCESSES:
                tried[self._processes].append(await self.transfer(trial))
        self._processes = max(PROCESSES, key=lambda number: statistics.median(tried[number]))
        return self._processes

    async def transfer(self, count: int) -> float:
        """Make `count` transfers, or a few less, as many by each process; how many per second.
        Raises BooksAreWrong unless each account has what was moved to it."""
        assert self._driver is not None
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(f"{self._processes} {count}\n".encode())
        told = (await self._driver.stdout.readline()).decode().strip()
        if not told:
            raise RuntimeError(f"{MODULE} died, see above")
        if told.startswith("wrong: "):
            raise BooksAreWrong(f"of django-hordak: {told.removeprefix('wrong: ')}")
        return float(told)

    async def close(self) -> None:
        if self._driver is not None and self._driver.stdin is not None:
            self._driver.stdin.close()
            await self._driver.wait()
