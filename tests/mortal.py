"""Servers that are started to be killed: `earnest serve` on one database, again and again.

    await servers.die(Keep.ANSWER, ask)     one is asked, and dies before it can answer
    await servers.ask_the_next(ask)         what the next one answers

They talk to PostgreSQL by way of a middleman, who knows the moment to die.
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import psutil
import pytest

from conftest import TestDatabase
from desk import LOCK_CONTRACT
from middleman import Keep, Middleman
from test_serve import Serve
from web import SECRET_KEY

Ask = Callable[[str], Awaitable[httpx.Response]]
"""Sends one request, always the same, to the server at a URL."""

WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'earnest api'
AND wait_event_type = 'Lock'
ORDER BY query_start
"""
LOOK_AGAIN = "SELECT pg_stat_clear_snapshot()"  # else a database transaction sees what it saw


class Servers(msgspec.Struct):
    """`earnest serve` on one database, one after the other, by way of the middleman or not."""

    data_dir: Path
    database: TestDatabase
    middleman: Middleman
    started: list[Serve] = []

    async def start(self, dsn: str) -> str:
        """Start one; its URL."""
        serve = Serve(
            self.data_dir,
            "--workers",
            "1",
            EARNEST_DATABASE_URL=dsn,
            EARNEST_SECRET_KEY=SECRET_KEY.decode(),
            # Whoever waits for a lock outlives the start of the next server on a busy machine.
            EARNEST_STATEMENT_TIMEOUT_SECONDS="120",
        )
        self.started.append(serve)
        return await asyncio.to_thread(serve.ready)

    async def kill(self) -> None:
        """SIGKILL the one that runs, with its children."""
        serve = self.started.pop()
        await asyncio.to_thread(kill_together, family(serve.process))
        await asyncio.to_thread(serve.process.communicate)

    async def die(self, keep: Keep, ask: Ask) -> None:
        """A first one is asked, and dies while the middleman keeps the call or the answer."""
        url = await self.start(self.middleman.dsn)
        self.middleman.keep_next(keep)
        asking = asyncio.ensure_future(ask(url))
        await self.middleman.has_kept()
        await self._die_unheard(asking)

    @asynccontextmanager
    async def die_at_work(self, ask: Ask, contract: int) -> AsyncIterator[asyncpg.Connection]:
        """A first one is asked, and dies while the database waits for the contract's row, which
        is locked as long as this is open, by the connection that it gives."""
        url = await self.start(self.middleman.dsn)
        surgeon = await asyncpg.connect(self.database.superuser_dsn)
        try:
            async with surgeon.transaction():
                await surgeon.execute(LOCK_CONTRACT, contract)
                asking = asyncio.ensure_future(ask(url))
                await until_waiting(surgeon, 1)
                await self._die_unheard(asking)
                yield surgeon
        finally:
            await surgeon.close()

    async def _die_unheard(self, asking: asyncio.Future[httpx.Response]) -> None:
        assert not asking.done()
        assert len(family(self.started[-1].process)) == 3, "supervisor, API and worker"
        await self.kill()
        with pytest.raises(httpx.TransportError):
            await asking

    async def ask_the_next(self, ask: Ask) -> httpx.Response:
        """What the next one answers, which has the database to itself."""
        return await ask(await self.start(self.database.app_dsn))


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """A server of ours and its children."""
    supervisor = psutil.Process(process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def kill_together(processes: list[psutil.Process]) -> None:
    """SIGKILL, as if all at once: none has time to hear of the others' end."""
    for send in (psutil.Process.suspend, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that had just done its work
                send(process)
    deadline = time.monotonic() + 10
    while not all(map(is_dead, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def until_waiting(surgeon: asyncpg.Connection, backends: int) -> list[int]:
    """Wait until so many backends of API processes wait for a lock; who waits longest is first."""
    for _ in range(4_000):
        await surgeon.execute(LOOK_AGAIN)
        waiting = [row[0] for row in await surgeon.fetch(WAITING)]
        if len(waiting) == backends:
            return waiting
        await asyncio.sleep(0.005)
    raise TimeoutError
