"""The worker: every chore over the real database, alone and several at once."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from earnest.assembly import build_core
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.worker import chores, loop
from earnest.worker.loop import Chore
from life import Life, accepted
from test_mail import Smtp, listening
from web import SECRET_KEY, Caller, Cast, make_settings

REGISTER = {"name": "Carol", "email": "carol@example.com", "password": "Sun$hine9"}
DAY_SECONDS = 24 * 3600

PAYMENT_STATE = "SELECT state FROM payment WHERE session_id = $1"
INBOX = "SELECT type, outcome FROM provider_event WHERE session_id = $1"
HORIZON = "SELECT horizon_xid, closed_at FROM ledger_horizon"
ROLLED_UP = "SELECT coalesce(sum(debits_minor + credits_minor), 0) FROM rollup"
LETTERS = "SELECT count(*) FROM mail WHERE sent_at IS NOT NULL"
KEYS = "SELECT key FROM idempotency_key ORDER BY key"
REGISTRATIONS = "SELECT count(*) FROM registration"


@asynccontextmanager
async def working(settings: Settings, workers: int = 1) -> AsyncIterator[None]:
    """So many workers, each with a pool of its own, as `serve` runs them."""
    stopping = asyncio.Event()
    cores = [build_core(settings, Pool(settings.database_url)) for _ in range(workers)]
    running = [
        asyncio.create_task(loop.run(chores.chores_of(settings, core), stopping)) for core in cores
    ]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*running)
        for core in cores:
            await core.provider.close()
            await core.pool.close()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 8) -> None:
    """Wait until something is true, or fail."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  nobody tells us: the database has to be asked
            await asyncio.sleep(0.05)


async def value(pool: Pool, sql: str, *arguments: Any) -> Any:
    async with pool.connection() as conn:
        return await conn.fetchval(sql, *arguments)


async def advance_clock(somebody: httpx.AsyncClient, seconds: int) -> None:
    accepted(await somebody.post("/sandbox/clock", json={"advance_seconds": seconds}))


# -- the chores -------------------------------------------------------------------------------


async def test_it_tells_of_a_session_that_expired_by_the_business_clock(
    cast: Cast, served: httpx.AsyncClient, database: Any, pool: Pool
) -> None:
    life = await Life.begin(cast)
    await life.create()
    await life.checkout()
    async with working(make_settings(database.app_dsn, public_url=str(served.base_url)), 2):
        await asyncio.sleep(1.5)
        assert await value(pool, PAYMENT_STATE, life.session) == "open"
        await advance_clock(cast.anybody, DAY_SECONDS + 60)
        began = time.monotonic()

        async def is_expired() -> bool:
            return bool(await value(pool, PAYMENT_STATE, life.session) == "expired")

        await until(is_expired)
        assert time.monotonic() - began < 5
    async with pool.connection() as conn:
        events = [tuple(row) for row in await conn.fetch(INBOX, life.session)]
    assert events == [("checkout.session.expired", "applied")]


async def test_it_delivers_what_the_webhook_missed(
    cast: Cast, served: httpx.AsyncClient, database: Any, pool: Pool
) -> None:
    life = await Life.begin(cast)
    await life.create()
    await life.checkout()
    # Nobody listens where this application believes its webhook to be.
    paid = accepted(
        await cast.anybody.post(
            f"/sandbox/checkout/{life.session}/complete", json={"outcome": "paid"}
        )
    )
    assert paid["delivered"] is False
    async with working(make_settings(database.app_dsn, public_url=str(served.base_url)), 2):

        async def is_captured() -> bool:
            return bool(await value(pool, PAYMENT_STATE, life.session) == "captured")

        await until(is_captured)
    assert (await life.seen())["escrowPaid"] is True


async def test_it_sends_each_letter_once_though_two_workers_run(
    api: Caller, database: Any, pool: Pool
) -> None:
    smtp = Smtp()
    async with (
        listening(smtp) as url,
        working(make_settings(database.app_dsn, smtp_url=url), workers=2),
    ):
        for number in range(5):
            body = REGISTER | {"email": f"carol{number}@example.com", "role": "client"}
            accepted(await api.post("/api/auth/register", json=body))

        async def are_sent() -> bool:
            return bool(await value(pool, LETTERS) == 5)

        await until(are_sent)
    assert len(smtp.letters) == 5


async def test_it_rolls_the_ledger_up_and_rests_when_nothing_is_new(
    cast: Cast, settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "ROLL_UP_SECONDS", 0.1)

    async def is_rolled_up() -> bool:
        # cash and income: the whole charge in, the fee out of it
        return bool(await value(pool, ROLLED_UP) == 12_000_00 + 1_200_00)

    await Life.at(cast, "released")
    async with working(settings, workers=2):
        await until(is_rolled_up)
        await asyncio.sleep(0.5)  # the other worker may just have begun the same
        async with pool.connection() as conn:
            before = await conn.fetchrow(HORIZON)
        await advance_clock(cast.anybody, 1)
        await asyncio.sleep(0.5)
        async with pool.connection() as conn:
            assert await conn.fetchrow(HORIZON) == before


async def test_it_forgets_old_replies_except_those_that_moved_money(
    cast: Cast, settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "PURGE_SECONDS", 0.1)
    life = await Life.at(cast, "requested")
    for number in range(3):
        key = {"Idempotency-Key": f"label-{number}"}
        body = {"name": f"Label {number}"}
        accepted(await cast.olga.post("/api/admin/skills/add-skills", json=body, headers=key), 201)
    release = f"/api/admin/escrow/release-fund/{life.contract}"
    first = await cast.olga.put(release, headers={"Idempotency-Key": "release"})
    accepted(first)
    await advance_clock(cast.anybody, 6 * DAY_SECONDS)
    async with working(settings, workers=2):
        await asyncio.sleep(0.5)
        assert await _keys(pool) == ["label-0", "label-1", "label-2", "release"]
        await advance_clock(cast.anybody, DAY_SECONDS + 60)

        async def are_gone() -> bool:
            return await _keys(pool) == ["release"]

        await until(are_gone)
    again = await cast.olga.put(release, headers={"Idempotency-Key": "release"})
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")


async def _keys(pool: Pool) -> list[str]:
    async with pool.connection() as conn:
        return [row["key"] for row in await conn.fetch(KEYS)]


async def test_it_forgets_registrations_that_nobody_confirmed(
    api: Caller, settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "PURGE_SECONDS", 0.1)
    accepted(await api.post("/api/auth/register", json=REGISTER | {"role": "client"}))
    async with working(settings):
        await asyncio.sleep(0.5)
        assert await value(pool, REGISTRATIONS) == 1
        await advance_clock(api, DAY_SECONDS + 60)

        async def is_gone() -> bool:
            return bool(await value(pool, REGISTRATIONS) == 0)

        await until(is_gone)


# -- the loop ---------------------------------------------------------------------------------


async def test_it_goes_on_when_a_chore_raises_and_tries_that_one_ever_more_slowly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[float] = []
    done = 0

    async def broken() -> int:
        tries.append(time.monotonic())
        raise RuntimeError("the disk is on fire")

    async def fine() -> int:
        nonlocal done
        done += 1
        return 0

    stopping = asyncio.Event()
    with caplog.at_level(logging.ERROR):
        running = asyncio.create_task(
            loop.run([Chore("broken", 0.05, broken), Chore("fine", 0.05, fine)], stopping)
        )
        await asyncio.sleep(1)
        stopping.set()
        await running
    assert done >= 10
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert 3 <= len(gaps) <= 5
    assert all(later > 1.5 * earlier for earlier, later in pairwise(gaps))
    assert "broken failed" in caplog.text
    assert "the disk is on fire" in caplog.text


async def test_it_recovers_when_the_database_was_away(
    api: Caller, database: Any, server: Any, pool: Pool
) -> None:
    smtp = Smtp()
    async with (
        listening(smtp) as url,
        working(make_settings(database.app_dsn, smtp_url=url)),
    ):
        await asyncio.sleep(0.3)
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database.name}'"
        )
        accepted(await api.post("/api/auth/register", json=REGISTER | {"role": "client"}))

        async def is_sent() -> bool:
            return bool(await value(pool, LETTERS) == 1)

        await until(is_sent)


async def test_it_comes_back_at_once_while_there_is_more_to_do() -> None:
    left = 50
    emptied = asyncio.Event()

    async def batch() -> int:
        nonlocal left
        left -= 1
        if left == 0:
            emptied.set()
        return left

    stopping = asyncio.Event()
    running = asyncio.create_task(loop.run([Chore("batch", 3600, batch)], stopping))
    async with asyncio.timeout(5):
        await emptied.wait()
    stopping.set()
    await running


async def test_it_finishes_what_runs_and_cancels_what_never_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "DRAIN_SECONDS_MAX", 0.5)
    finished: list[str] = []

    async def slow() -> int:
        await asyncio.sleep(0.3)
        finished.append("slow")
        return 0

    async def endless() -> int:
        await asyncio.sleep(3600)
        finished.append("endless")
        return 0

    stopping = asyncio.Event()
    running = asyncio.create_task(
        loop.run([Chore("slow", 60, slow), Chore("endless", 60, endless)], stopping)
    )
    await asyncio.sleep(0.1)
    stopping.set()
    async with asyncio.timeout(2):
        await running
    assert finished == ["slow"]


def test_it_is_a_process_that_sigterm_ends(database: Any, tmp_path: Path) -> None:
    environment = os.environ | {
        "EARNEST_DATABASE_URL": database.app_dsn,
        "EARNEST_MIGRATE_DATABASE_URL": database.owner_dsn,
        "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
        "EARNEST_DATA_DIR": str(tmp_path),
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "earnest", "worker"], env=environment, stderr=subprocess.PIPE
    )
    time.sleep(3)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 0, said
    assert b"failed" not in said


def test_a_worker_process_imports_nothing_of_http_servers() -> None:
    """It would be half as large again, and start later."""
    asked = "import sys, earnest.working; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", asked], check=True, capture_output=True, text=True
    ).stdout.split()
    assert {"earnest.working", "asyncpg"} <= set(imported)
    assert {"litestar", "uvicorn", "jinja2", "stripe", "earnest.app"}.isdisjoint(imported)
