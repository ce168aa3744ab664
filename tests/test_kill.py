"""Killed with -9 between a commit and its answer, or anywhere else, and asked again (row 100).

A real `earnest serve` talks to a real PostgreSQL through a middleman who decides when it dies.
The next one is started on the same database and gets the same request: what was committed is
answered again, what was not is carried out, and either way it happens once.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from canary import KEEP_REPLY, LOOK_FOR_KEY, damaged, plant, sound
from checkout_event import cash_minor, inbox, opened, sessions
from conftest import TestDatabase
from digest import rows_by_table
from life import Life, accepted, post_event
from middleman import Keep, open_middleman
from mortal import Ask, Servers, family, kill_together, until_waiting
from repeats import REPLAYED, Request, creating, paying, releasing, same
from test_races import NO_VERSIONS
from test_serve import COMMAND, Serve, clean_environ, earnest, processes_of
from web import Caller, Cast, problem

STORED = "SELECT status, reply FROM idempotency_key WHERE key = $1"
VERSION = "SELECT id, version FROM contract WHERE public_id = $1"
PAYMENTS = "SELECT state FROM payment"
TERMINATE = "SELECT pg_terminate_backend($1, 5000)"

# The worker sums the ledger up whenever it likes: that is no effect of any request.
WORKERS = {
    "public.anchor_tip",
    "public.balance_line",
    "public.ledger_horizon",
    "public.reconciliation",
    "public.reconciliation_difference",
    "public.reconciliation_turn",
    "public.rollup",
}
"""What a worker writes by itself, whoever asks for what."""


@pytest.fixture
async def servers(tmp_path: Path, database: TestDatabase) -> AsyncIterator[Servers]:
    async with open_middleman(database.app_dsn) as middleman:
        made = Servers(tmp_path / "data", database, middleman)
        yield made
        while made.started:
            await made.kill()


def at(url: str, headers: httpx.Headers | None = None) -> Caller:
    return Caller(base_url=url, headers=headers, timeout=60)


def sending(request: Request) -> Ask:
    async def ask(url: str) -> httpx.Response:
        async with at(url, request.who.headers) as who:
            return await request.send(who=who)

    return ask


def sending_without_key(request: Request) -> Ask:
    async def ask(url: str) -> httpx.Response:
        async with at(url, request.who.headers) as who:
            return await who.request(request.method, request.url, json=request.json)

    return ask


async def stored(cast: Cast) -> tuple[int, bytes] | None:
    """The status and the body that were committed under "the key"."""
    async with cast.app.state.pool.connection() as conn:
        row = await conn.fetchrow(STORED, "the key")
    return None if row is None else (row["status"], row["reply"])


async def identity(life: Life) -> tuple[int, int]:
    """The key and the version of a life's contract."""
    async with life.cast.app.state.pool.connection() as conn:
        row = await conn.fetchrow(VERSION, life.contract)
    return row["id"], row["version"]


async def business(cast: Cast) -> dict[str, str]:
    """A hash of the rows of every table that a request can have an effect on."""
    tables = await rows_by_table(cast.app.state.pool)
    return {name: rows for name, rows in tables.items() if name not in WORKERS}


async def assert_released_once(life: Life, version_before: int) -> None:
    assert (await identity(life))[1] == version_before + 1
    proof = await life.proof()
    figures = [proof[name] for name in ("funded", "toFreelancer", "fees", "held", "holds")]
    assert figures == [12_000, 10_800, 1_200, 0, True]
    assert await life.wallet(life.cast.bob) == 10_800


async def assert_answered_again(cast: Cast, again: httpx.Response) -> None:
    """`again` is what was committed before the server died."""
    assert (again.status_code, again.content) == await stored(cast)
    assert again.headers[REPLAYED] == "true"


# -- between the commit and the answer --------------------------------------------------------


@pytest.mark.abuse(100)
async def test_it_answers_a_release_again_that_it_died_of(cast: Cast, servers: Servers) -> None:
    life = await Life.at(cast, "requested")
    _, version = await identity(life)
    ask = sending(releasing(life))
    await servers.die(Keep.ANSWER, ask)
    committed = await business(cast)
    again = await servers.ask_the_next(ask)
    assert again.json()["data"]["status"] == "released"
    await assert_answered_again(cast, again)
    assert await business(cast) == committed
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)
    dsn = servers.database.app_dsn
    checked = await asyncio.to_thread(earnest, "verify", EARNEST_DATABASE_URL=dsn)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.abuse(100)
async def test_it_answers_a_new_contract_again_that_it_died_of(
    cast: Cast, servers: Servers
) -> None:
    life = await Life.begin(cast)
    ask = sending(creating(life))
    await servers.die(Keep.ANSWER, ask)
    committed = await business(cast)
    again = await servers.ask_the_next(ask)
    assert again.status_code == 201
    await assert_answered_again(cast, again)
    assert await business(cast) == committed
    life.contract = again.json()["contract"]["_id"]
    listed = accepted(await cast.alice.get(f"/api/client/get-contracts/{cast.alice.id}"))
    assert [one["_id"] for one in listed["data"]] == [life.contract]
    assert (await identity(life))[1] == 1
    await life.pay()
    assert (await life.proof())["held"] == 12_000
    await sound(servers.database.superuser_dsn)


async def test_it_opens_one_checkout_when_it_died_before_it_asked_the_provider(
    cast: Cast, servers: Servers
) -> None:
    life = await Life.at(cast, "created")
    ask = sending(paying(life))
    await servers.die(Keep.ANSWER, ask)
    assert await sessions(cast) == []
    again = await servers.ask_the_next(ask)
    assert (again.status_code, again.content) == await stored(cast)
    assert await sessions(cast) == [again.json()["id"]]
    async with cast.app.state.pool.connection() as conn:
        assert [row[0] for row in await conn.fetch(PAYMENTS)] == ["open"]
    await sound(servers.database.superuser_dsn)


@pytest.mark.abuse(100)
async def test_it_takes_a_payment_once_that_it_died_of(cast: Cast, servers: Servers) -> None:
    life, event = await opened(cast)
    _, version = await identity(life)
    at_seconds = int(time.time())

    async def ask(url: str) -> httpx.Response:
        async with at(url) as anybody:
            told = msgspec.structs.replace(cast, anybody=anybody)
            return await post_event(told, event.body, at_seconds=at_seconds)

    await servers.die(Keep.ANSWER, ask)
    assert await inbox(cast) == {event.id: "applied"}
    committed = await business(cast)
    again = await servers.ask_the_next(ask)
    assert (again.status_code, again.text) == (200, "received")
    assert await business(cast) == committed
    assert await inbox(cast) == {event.id: "applied"}
    assert (await identity(life))[1] == version + 1
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12_000, 12_000, True)
    assert [one["movement"] for one in proof["transfers"]] == ["funded"]
    assert await cash_minor(cast) == 1_200_000
    await sound(servers.database.superuser_dsn)


async def test_it_refuses_a_second_release_without_a_key(cast: Cast, servers: Servers) -> None:
    life = await Life.at(cast, "requested")
    _, version = await identity(life)
    ask = sending_without_key(releasing(life))
    await servers.die(Keep.ANSWER, ask)
    committed = await business(cast)
    refused = problem(await servers.ask_the_next(ask), 400)
    assert refused["error"] == "Funds have already been released for this contract."
    assert await business(cast) == committed
    assert await stored(cast) is None
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)


async def test_it_keeps_its_word_to_everybody_when_it_dies_under_load(
    cast: Cast, servers: Servers
) -> None:
    lives = [await Life.at(cast, "requested") for _ in range(10)]
    asks = [
        sending(msgspec.structs.replace(releasing(life), key=f"key {number}"))
        for number, life in enumerate(lives)
    ]
    url = await servers.start(servers.middleman.dsn)
    servers.middleman.keep_next(Keep.ANSWER, let_pass=1)
    asking = [asyncio.ensure_future(ask(url)) for ask in asks]
    await servers.middleman.has_kept()
    await servers.kill()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert any(isinstance(answer, httpx.TransportError) for answer in answers)
    assert not any(isinstance(answer, httpx.Response) and answer.is_error for answer in answers)

    url = await servers.start(servers.database.app_dsn)
    repeated = await asyncio.gather(*(ask(url) for ask in asks))
    for answer, again in zip(answers, repeated, strict=True):
        assert again.status_code == 200
        if isinstance(answer, httpx.Response):
            same(answer, again)
    assert any(REPLAYED in again.headers for again in repeated)
    assert await lives[0].wallet(cast.bob) == 10 * 10_800
    await sound(servers.database.superuser_dsn)


async def test_its_canary_a_reply_that_is_not_in_the_commit_would_be_missed(
    cast: Cast, servers: Servers
) -> None:
    life = await Life.at(cast, "requested")
    await plant(servers.database.owner_dsn, KEEP_REPLY)
    ask = sending(releasing(life))
    await servers.die(Keep.ANSWER, ask)
    assert await stored(cast) is None
    again = await servers.ask_the_next(ask)
    assert again.status_code == 400
    with pytest.raises(AssertionError):
        await assert_answered_again(cast, again)


# -- before the commit ------------------------------------------------------------------------


@pytest.mark.abuse(100)
async def test_it_carries_out_what_never_came_to_the_database(cast: Cast, servers: Servers) -> None:
    life = await Life.at(cast, "requested")
    _, version = await identity(life)
    ask = sending(releasing(life))
    before = await business(cast)
    await servers.die(Keep.CALL, ask)
    assert await business(cast) == before
    done = await servers.ask_the_next(ask)
    assert REPLAYED not in done.headers
    assert (done.status_code, done.content) == await stored(cast)
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)


# -- while the database is at work ------------------------------------------------------------


async def ask_while_it_is_at_work(servers: Servers, life: Life) -> httpx.Response:
    """The dead server's release is still being carried out when the next one gets the same."""
    contract, _ = await identity(life)
    ask = sending(releasing(life))
    async with servers.die_at_work(ask, contract) as surgeon:
        asking = asyncio.ensure_future(servers.ask_the_next(ask))
        await until_waiting(surgeon, 2)
    return await asking


async def test_it_answers_what_the_dead_one_asked_for_when_that_happens_after_all(
    cast: Cast, servers: Servers
) -> None:
    life = await Life.at(cast, "requested")
    _, version = await identity(life)
    await assert_answered_again(cast, await ask_while_it_is_at_work(servers, life))
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)


async def test_its_canary_without_versions_both_would_happen(cast: Cast, servers: Servers) -> None:
    life = await Life.at(cast, "requested")
    await plant(
        servers.database.owner_dsn,
        LOOK_FOR_KEY,
        *NO_VERSIONS,
        without=("idempotency_key_once", "event_chain", "balance_floor"),
    )
    await ask_while_it_is_at_work(servers, life)
    assert await life.wallet(cast.bob) == 2 * 10_800
    assert {
        "a contract was settled more or less often than its state says",
        "an idempotency key was used twice",
    } <= await damaged(servers.database.superuser_dsn)


async def test_it_carries_out_what_the_database_gave_up(cast: Cast, servers: Servers) -> None:
    life = await Life.at(cast, "requested")
    contract, version = await identity(life)
    ask = sending(releasing(life))
    async with servers.die_at_work(ask, contract) as surgeon:
        for orphan in await until_waiting(surgeon, 1):
            await surgeon.fetchval(TERMINATE, orphan)
    assert await stored(cast) is None
    done = await servers.ask_the_next(ask)
    assert REPLAYED not in done.headers
    assert (done.status_code, done.content) == await stored(cast)
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)


# -- the network dies, not the server ---------------------------------------------------------


@pytest.mark.abuse(100)
@pytest.mark.parametrize("keep", Keep)
async def test_it_says_503_and_does_it_once_when_the_database_is_cut_off_with(
    cast: Cast, servers: Servers, keep: Keep
) -> None:
    life = await Life.at(cast, "requested")
    _, version = await identity(life)
    ask = sending(releasing(life))
    url = await servers.start(servers.middleman.dsn)
    servers.middleman.keep_next(keep)
    asking = asyncio.ensure_future(ask(url))
    await servers.middleman.has_kept()
    servers.middleman.leave()
    refused = problem(await asking, 503)
    assert refused["code"] == "outcome_unknown"
    servers.middleman.come_back()
    again = await ask(url)
    assert (again.status_code, again.content) == await stored(cast)
    assert (REPLAYED in again.headers) is (keep is Keep.ANSWER)
    await assert_released_once(life, version)
    await sound(servers.database.superuser_dsn)


# -- the embedded database dies, too ----------------------------------------------------------


@pytest.fixture
def demo_dir() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="earnest-kill-"))
    parent.chmod(0o711)  # PostgreSQL runs as another user when we are root
    yield parent / "data"
    for process in processes_of(parent):
        process.kill()
        process.wait(10)
    shutil.rmtree(parent)


def test_it_knows_what_it_answered_when_its_own_database_was_killed_with_it(
    demo_dir: Path,
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--port", "0", "--data", demo_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environ(),
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    url = next(lines).split()[-1]
    path = next(
        found[1] for line in lines if (found := re.search(r" -X PUT http://[^/]+(\S+)", line))
    )
    with httpx.Client(base_url=url) as olga:
        olga.headers = sign_in(olga, "olga@example.com") | {"Idempotency-Key": "the key"}
        first = olga.put(path)
        # It was answered, so it is there: whatever happens from here on.
        kill_together(list({*family(process), *processes_of(demo_dir)}))
    process.communicate()
    assert first.json()["data"]["status"] == "released"

    again = Serve(demo_dir)
    url = again.ready()
    with httpx.Client(base_url=url) as olga:
        olga.headers = sign_in(olga, "olga@example.com") | {"Idempotency-Key": "the key"}
        repeated = olga.put(path)
    assert (repeated.status_code, repeated.content) == (200, first.content)
    assert repeated.headers[REPLAYED] == "true"
    checked = earnest("verify", "--data", demo_dir)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert again.stop() == 0


def sign_in(anybody: httpx.Client, email: str) -> Any:
    answer = anybody.post("/api/auth/login", json={"email": email, "password": "Demo@123"})
    return {"Authorization": f"Bearer {accepted(answer)['accessToken']}"}
