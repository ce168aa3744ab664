"""Webhooks out: how many a worker delivers per second against a bare httpx loop that posts the same
bytes, and how long after its event the first attempt arrives at 200 commits per second.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import httpx
import msgspec

from bench import load, receiver
from bench.neighbours import quiet
from bench.partners import Requests, partner_token
from bench.reads import SECRET, ready, serve
from bench.report import Figure
from earnest.actions.core import Core
from earnest.assembly import build_core
from earnest.domain.partner import Draft, Stage, create
from earnest.domain.partner_settings import Wanted
from earnest.domain.party import Actor, Member, Role
from earnest.ids import PublicId
from earnest.settings import Settings
from earnest.store import businesses
from earnest.store.businesses import Partner
from earnest.store.commit import Commit
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.worker.deliveries import IN_FLIGHT_MAX, Deliveries

BUSINESSES = 8
AT_ONCE = BUSINESSES * IN_FLIGHT_MAX
COMMITS_PER_SECOND = 200
DELAY_SECONDS = 10
WORKER, LOOP = "webhooks of a worker", "the same bytes, bare httpx"

ENDPOINT = """
INSERT INTO webhook_endpoint (id, business_id, url, secret, created_at, updated_at)
VALUES ($1, $2, $3, $4, business_now(), business_now())
"""
PENDING = "SELECT count(*) FROM delivery WHERE state = 'pending'"
BODIES = "SELECT body FROM delivery WHERE state = 'succeeded' ORDER BY done_at DESC LIMIT $1"
MEMBER = """
INSERT INTO party (
    id, public_id, business_id, name, created_at, platform_ref, phone, first_name, last_name
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '')
"""


class Webhooks:
    """One run on the database of `server`. `rates` tell of each round; `delays_ms` are the
    measured ones, p50 and p99. What others use of the machine is not looked at."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self.rates: dict[str, list[float]] = {WORKER: [], LOOP: []}
        self.others: list[float] = []
        self.delays_ms: dict[str, float] = {}

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Measure both."""
        say("webhooks: a worker, and a bare loop")
        with _receiver() as port:
            brokers = [await self._broker(f"Broker {n}", port) for n in range(BUSINESSES)]
            for number in range(self._rounds + 1):
                await self._commit(brokers)
                worker = await self._deliver()
                loop = await self._post(port)
                if number:
                    self.rates[WORKER].append(worker)
                    self.rates[LOOP].append(loop)
        say(f"webhooks: {COMMITS_PER_SECOND} commits per second for {DELAY_SECONDS} s")
        await self._delay()
        pairs = zip(self.rates[WORKER], self.rates[LOOP], strict=True)
        return [Figure("webhooks_to_httpx", [one / other for one, other in pairs], 0.7, 1.0)]

    # -- deliveries per second ------------------------------------------------------------------

    async def _broker(self, name: str, port: int) -> tuple[Partner, Member, Member]:
        core = self._core()
        async with self._pool.connection() as conn, conn.transaction():
            made = await businesses.create(conn, Wanted(name=name, currency="SAR"), "setup")
            key = made.partner.business.key
            endpoint = UUID(int=key)
            secret = core.sealer.seal(b"whsec_" + b"a" * 48, f"webhook:{endpoint}")
            await conn.execute(ENDPOINT, endpoint, key, f"http://127.0.0.1:{port}/{key}", secret)
            now = await conn.fetchval("SELECT business_now()")
            people = []
            for number, first in enumerate(("Huda", "Omar")):
                object_key, public_id = (await core.keys.ids()).new_object(now)
                phone = f"96650000000{number}"
                ref = f"USR_{object_key}"
                await conn.execute(
                    MEMBER, object_key, public_id, key, first, now, ref, phone, first
                )
                people.append(Member(object_key, public_id, key, ref, phone, first, "", now))
        return made.partner, people[0], people[1]

    async def _commit(self, brokers: list[tuple[Partner, Member, Member]]) -> None:
        """An event each of `count` contracts, at all businesses in turns."""
        core = self._core()
        async with self._pool.connection() as conn:
            now: datetime = await conn.fetchval("SELECT business_now()")
        commits = []
        for number in range(self._count):
            partner, buyer, seller = brokers[number % len(brokers)]
            ids = await core.keys.ids()
            actor = Actor(Role.PARTNER, partner.business.key)
            change = create(_draft(now), partner.business, buyer, seller, (), actor, now, ids)
            commits.append(core.door.commit(Commit(change)))
        assert all(await asyncio.gather(*commits))

    async def _deliver(self) -> float:
        """Per second, until nothing is pending."""
        deliveries = Deliveries(self._core(), self._settings())
        begun = time.perf_counter()
        try:
            async with self._pool.connection() as conn:
                while await deliveries.turn() or await conn.fetchval(PENDING):
                    pass
            return self._count / (time.perf_counter() - begun)
        finally:
            await deliveries.finish()

    async def _post(self, port: int) -> float:
        """The bodies of those deliveries, by as many tasks as the worker has on the wire."""
        async with self._pool.connection() as conn:
            bodies = [row[0] for row in await conn.fetch(BODIES, self._count)]
        waiting = iter(bodies)
        headers = {"Content-Type": "application/json"}
        begun = time.perf_counter()
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.TaskGroup() as tasks:

            async def post() -> None:
                for body in waiting:
                    url = f"http://127.0.0.1:{port}/"
                    (await client.post(url, content=body, headers=headers)).raise_for_status()

            for _ in range(AT_ONCE):
                tasks.create_task(post())
        return len(bodies) / (time.perf_counter() - begun)

    # -- delay ----------------------------------------------------------------------------------

    async def _delay(self) -> None:
        """From `createdAt` in the body to its arrival, while contracts are made over HTTP."""
        arrived: list[tuple[float, bytes]] = []
        server, port = await receiver.receiving(lambda body: arrived.append((time.time(), body)))
        async with self._pool.connection() as conn, conn.transaction():
            made = await businesses.create(conn, Wanted(name="Prompt", currency="SAR"), "setup")
        with TemporaryDirectory(prefix="earnest-bench-") as directory:
            api, serving = serve(self._server, Path(directory), EARNEST_WEBHOOK_ALLOW_PRIVATE="1")
            try:
                await ready(api)
                await quiet(self._server.pgdata / "postmaster.pid", serving.pid)
                token = await partner_token(api, made.partner.client_id, made.secret)
                await _subscribe(api, token, f"http://127.0.0.1:{port}/")
                requests = Requests(api, [], PublicId(""), made.partner.business.key, "", token)
                await load.send(api, [requests.create_two()] * 1, connections=1)
                arrived.clear()
                await _paced(api, requests)
                until = time.monotonic() + 30
                while len(arrived) < COMMITS_PER_SECOND * DELAY_SECONDS:
                    assert time.monotonic() < until, f"only {len(arrived)} webhooks came"
                    await asyncio.sleep(0.1)
            finally:
                serving.terminate()
                serving.wait()
        server.close()
        delays = sorted(1_000 * (at - _created_at(body)) for at, body in arrived)
        self.delays_ms = {
            "p50": statistics.median(delays),
            "p99": delays[int(len(delays) * 0.99)],
        }

    def _settings(self) -> Settings:
        return Settings(
            database_url=self._server.app_dsn,
            secret_key=SECRET.encode(),
            webhook_allow_private=True,
        )

    def _core(self) -> Core:
        return build_core(self._settings(), self._pool)


class _Body(msgspec.Struct):
    createdAt: datetime  # noqa: N815


def _created_at(body: bytes) -> float:
    return msgspec.json.decode(body, type=_Body).createdAt.timestamp()


def _draft(now: datetime) -> Draft:
    due = now + timedelta(days=30)
    text = due.isoformat(timespec="seconds").replace("+00:00", "Z")
    stages = (
        Stage("Draft", "", 60_000, text, due),
        Stage("Final", "", 40_000, text, due),
    )
    return Draft("Logo", "service", 100_000, None, None, "order", None, "", stages)


async def _subscribe(api: int, token: str, url: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers) as http:
        path = f"http://127.0.0.1:{api}/apps/api/webhooks"
        (await http.post(path, json={"webhookUrl": url})).raise_for_status()


async def _paced(api: int, requests: Requests) -> None:
    """COMMITS_PER_SECOND contracts each second, spread over it."""
    slice_seconds = 0.1
    each = round(COMMITS_PER_SECOND * slice_seconds)
    begun = time.perf_counter()
    for number in range(round(DELAY_SECONDS / slice_seconds)):
        await load.send(api, [requests.create_two() for _ in range(each)], connections=4)
        pause = begun + (number + 1) * slice_seconds - time.perf_counter()
        await asyncio.sleep(max(0.0, pause))


@contextmanager
def _receiver() -> Iterator[int]:
    """The port of a receiver in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
