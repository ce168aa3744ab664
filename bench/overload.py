"""Overload: four times as many releases are asked for as can be done.

First the peak: PUT release-fund over 64 connections, each request after the last one's answer. Then
**overload**: requests leave at four times that rate, whatever becomes of those before (an open
loop), over as many connections as it takes, which are open already; what is refused is asked for
again later. Then a quarter of the peak, until all is as before. Useful work is releases done.
"""

import asyncio
import resource
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from bench import books, load, seeding
from bench.changes import add_admin, release_requests
from bench.neighbours import Clock, quiet
from bench.reads import CONNECTIONS, SELLERS, ready, serve, token_of
from bench.report import Figure
from earnest.domain.party import Role
from earnest.store.commit import Door
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

TIMES = 4
CALLERS = 6_000
"""Connections of the open loop: more than the server lets wait."""

TICK_SECONDS = 0.005
CONTRACTS = 120_000
PEAK_COUNT = 2_000
CALM_SHARE = 0.25
CALM_SECONDS, CALM_SECONDS_MAX = 1.0, 10.0
WINDOW_SECONDS = 0.2
NORMAL_TIMES = 3
"""It is normal again when nobody is refused, and the median of the answers of WINDOW_SECONDS is at
most so many times that of before the overload, at a quarter of the peak each."""

PEAK = "PUT release-fund, at most 64 at once"
UNDER_OVERLOAD = "PUT release-fund, at four times the peak"
REFUSED = "refused with 503 meanwhile"
TOO_MANY = "not even asked: all connections were waiting"
WAITS = {
    "refused, median ms": (0.5, False),
    "refused, p90 ms": (0.9, False),
    "released under overload, median ms": (0.5, True),
    "released under overload, p99 ms": (0.99, True),
}


class Heard(msgspec.Struct, frozen=True):
    """An answer: when it came, how long it took, whether the request was carried out."""

    at: float
    seconds: float
    done: bool


class Stretch(msgspec.Struct):
    """What was heard of requests at one rate for some time. `unsent`: no connection was free."""

    begun: float
    ended: float = 0.0
    heard: list[Heard] = []
    unsent: int = 0

    @property
    def done_per_second(self) -> float:
        """Within the stretch: what was answered after its end does not count."""
        done = sum(one.done and one.at <= self.ended for one in self.heard)
        return done / (self.ended - self.begun)

    def quantile_ms(self, share: float, *, done: bool) -> float:
        """For how long those who were answered had to wait."""
        waited = sorted(one.seconds for one in self.heard if one.done is done)
        return 1000 * waited[int(len(waited) * share)] if waited else 0.0


class _Caller(asyncio.Protocol):
    """One connection of the open loop; at most one request at a time."""

    transport: asyncio.Transport

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._request = b""
        self._sent_at = 0.0
        self._received = b""
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("Any", transport)

    def ask(self, request: bytes, now: float) -> None:
        self._request, self._sent_at = request, now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if not load.is_whole(received):
            self._received = received
            return
        request, self._request, self._received = self._request, b"", b""
        self._crowd.hear(self, request, received, self._sent_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._crowd.lose(waiting=bool(self._request), exc=exc)


class Crowd:
    """Callers who ask whenever it is time to, and not when the last answer has come."""

    def __init__(self, port: int, requests: deque[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._free: list[_Caller] = []
        self._all: list[_Caller] = []
        self._stretch = Stretch(0.0)
        self._wrong: Exception | None = None

    async def gather(self) -> None:
        """Have CALLERS open connections: each has asked for something before."""
        self._free = self._all = [caller for caller in self._all if caller.is_open]
        self._stretch = Stretch(0.0, heard=[])
        loop = asyncio.get_running_loop()
        hello = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode()
        while len(self._all) < CALLERS:
            _, caller = await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self._port)
            self._all.append(caller)
        self._free = []
        for caller in self._all:
            caller.ask(hello, time.perf_counter())
        await self.wait()

    def close(self) -> None:
        for caller in self._all:
            caller.transport.abort()

    async def ask(self, per_second: float, seconds: float) -> Stretch:
        """Ask at this rate. Raises WrongAnswer for any answer but 200 and 503."""
        stretch = self._stretch = Stretch(time.perf_counter(), heard=[])
        asked = 0
        while (now := time.perf_counter()) < stretch.begun + seconds:
            wanted = int((now - stretch.begun) * per_second)
            while asked < wanted:
                asked += 1
                self._ask_once(stretch, now)
            await self._turn()
        stretch.ended = time.perf_counter()
        return stretch

    async def wait(self) -> None:
        """Until nobody waits for an answer."""
        while len(self._free) < len(self._all):
            await self._turn()

    async def _turn(self) -> None:
        await asyncio.sleep(TICK_SECONDS)
        if self._wrong is not None:
            raise self._wrong

    def _ask_once(self, stretch: Stretch, now: float) -> None:
        if not self._requests:
            raise load.WrongAnswer("there is nothing left to release: CONTRACTS is too low")
        if self._free:
            self._free.pop().ask(self._requests.popleft(), now)
        else:
            stretch.unsent += 1

    def hear(self, caller: _Caller, request: bytes, answer: bytes, sent_at: float) -> None:
        now = time.perf_counter()
        done = answer.startswith(b"HTTP/1.1 200")
        if not done:
            self._requests.append(request)
            if not answer.startswith(b"HTTP/1.1 503"):
                self._wrong = load.WrongAnswer(answer[:400].decode(errors="replace"))
        self._stretch.heard.append(Heard(now, now - sent_at, done))
        self._free.append(caller)

    def lose(self, *, waiting: bool, exc: Exception | None) -> None:
        if waiting:
            self._wrong = load.WrongAnswer(f"the server hung up: {exc}")


class Overload:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, seconds: float) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._seconds = seconds
        self._calm: list[float] = []
        self.rates: dict[str, list[float]] = {
            PEAK: [],
            UNDER_OVERLOAD: [],
            REFUSED: [],
            TOO_MANY: [],
            **{name: [] for name in WAITS},
        }
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve, measure, check."""
        say("overload: making contracts")
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2
        )
        keys = Keys(self._pool)
        contracts = await self._seed(keys)
        admin = await add_admin(self._pool, keys)
        await books.vacuum(self._server.owner_dsn)
        with tempfile.TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, serving = serve(
                self._server,
                Path(directory),
                # One address is many callers here.
                EARNEST_CONNECTIONS_MAX=str(CALLERS + 2 * CONNECTIONS),
                EARNEST_TRUSTED_PROXIES="127.0.0.1",
            )
            try:
                await ready(port)
                token = token_of(admin, Role.ADMIN)
                requests = deque(await release_requests(self._pool, port, token, contracts))
                await quiet(self._server.pgdata / "postmaster.pid", serving.pid)
                say("serving; asking for four times as much as can be done")
                await self._measure(requests, port, serving.pid)
            finally:
                serving.terminate()
                serving.wait()
        await books.check_sums(self._pool)
        ratios = [
            useful / peak
            for useful, peak in zip(self.rates[UNDER_OVERLOAD], self.rates[PEAK], strict=True)
        ]
        return [
            Figure("useful_work_at_four_times_capacity", ratios, 0.9, 1.0),
            Figure("seconds_to_normal_after_overload", self._calm, 5, 1, True),
        ]

    async def _seed(self, keys: Keys) -> list[int]:
        buyer, *sellers = await seeding.add_parties(self._pool, keys, SELLERS + 1)
        await seeding.add_logins(self._pool, buyer, sellers)
        jobs = await seeding.add_jobs(self._pool, keys, CONTRACTS, client=buyer)
        return await seeding.add_contracts(
            Door(self._pool), keys, CONTRACTS, buyer=buyer, sellers=sellers, jobs=jobs
        )

    async def _measure(self, requests: deque[bytes], port: int, pid: int) -> None:
        postmaster = self._server.pgdata / "postmaster.pid"
        crowd = Crowd(port, requests)
        try:
            for number in range(-1, self._rounds):
                begun = Clock.read(postmaster, pid)
                peak = max([await self._peak(requests, port) for _ in range(2)])
                await crowd.gather()
                calm = await crowd.ask(CALM_SHARE * peak, CALM_SECONDS)
                await crowd.wait()
                usual = statistics.median(one.seconds for one in calm.heard)
                hard = await crowd.ask(TIMES * peak, self._seconds)
                seconds = await self._back_to_normal(crowd, CALM_SHARE * peak, usual)
                if number >= 0:  # the first one warms up
                    refused = sum(not one.done for one in hard.heard) / self._seconds
                    self.rates[PEAK].append(peak)
                    self.rates[UNDER_OVERLOAD].append(hard.done_per_second)
                    self.rates[REFUSED].append(refused)
                    self.rates[TOO_MANY].append(hard.unsent / self._seconds)
                    for name, (share, done) in WAITS.items():
                        self.rates[name].append(hard.quantile_ms(share, done=done))
                    self._calm.append(seconds)
                    self.others.append(Clock.read(postmaster, pid).share_of_others(begun))
        finally:
            crowd.close()

    async def _peak(self, requests: deque[bytes], port: int) -> float:
        taken = [requests.popleft() for _ in range(PEAK_COUNT)]
        return (await load.send(port, taken, connections=CONNECTIONS)).per_second

    async def _back_to_normal(self, crowd: Crowd, rate: float, usual: float) -> float:
        """Seconds until the end of the last window that was not as usual, by a load that is."""
        begun = last = time.perf_counter()
        while time.perf_counter() < begun + CALM_SECONDS_MAX:
            stretch = await crowd.ask(rate, CALM_SECONDS)
            windows: dict[int, list[Heard]] = {}
            for one in stretch.heard:
                windows.setdefault(int((one.at - begun) / WINDOW_SECONDS), []).append(one)
            unusual = [
                number
                for number, heard in windows.items()
                if not all(one.done for one in heard)
                or statistics.median(one.seconds for one in heard) > NORMAL_TIMES * usual
            ]
            if not unusual:
                break
            last = begun + (max(unusual) + 1) * WINDOW_SECONDS
        await crowd.wait()
        return last - begun
