"""The Python client when things go wrong: the same key again, tokens renewed, an end to patience.

Between it and the server stands a front that fails as it is told.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from counter import Counter
from earnest_client import (
    AsyncEarnestClient,
    EarnestClient,
    KeyReused,
    NotAllowed,
    NotConnected,
    Person,
    RateLimited,
    Retries,
    ServerFailed,
    Unauthenticated,
    UnexpectedAnswer,
    conversation,
)
from earnest_client.calls import ask
from front import DROP, LOST, Front, Own, standing

API = "/apps/api"
TOKEN = "/connect/token"
BUSY = Own(503)
HASTY = Retries(attempts_max=4, wait_seconds=0.001, wait_seconds_max=2)
TERMS: dict[str, Any] = {
    "title": "A logo",
    "service_type": "service",
    "buyer": Person("966500000001", "Huda"),
    "seller": Person("966500000002", "Omar"),
    "amount": 1000,
}


@pytest.fixture
async def front(counter: Counter) -> AsyncIterator[Front]:
    async with standing(counter.url) as made:
        yield made


@pytest.fixture
async def escrow(front: Front, counter: Counter) -> AsyncIterator[AsyncEarnestClient]:
    """A client of Demo Broker's that knows the server only through the front."""
    async with AsyncEarnestClient(
        front.url, counter.broker.client_id, counter.broker.secret, retries=HASTY
    ) as client:
        yield client


def keys(front: Front) -> list[str | None]:
    return [one.key for one in front.at(API)]


# -- the same request again -------------------------------------------------------------------


@pytest.mark.parametrize("failure", [LOST, DROP, BUSY, Own(502), Own(504), Own(429)])
async def test_it_sends_the_same_request_again_and_it_is_done_once(
    front: Front, escrow: AsyncEarnestClient, failure: Any
) -> None:
    front.plan(API, failure, failure)
    made = await escrow.create_contract(**TERMS)
    [first, second, third] = front.at(API)
    assert first.key is not None
    assert (first.key, first.body) == (second.key, second.body) == (third.key, third.body)
    page = await escrow.list_contracts()
    assert [one.contract_id for one in page.contracts] == [made.contract_id]


async def test_it_does_so_in_threads_too(front: Front, counter: Counter) -> None:
    front.plan(API, LOST, BUSY)

    def create() -> list[str]:
        with EarnestClient(
            front.url, counter.broker.client_id, counter.broker.secret, retries=HASTY
        ) as client:
            client.create_contract(**TERMS)
            return [one.contract_id for one in client.each_contract()]

    assert len(await run_sync(create)) == 1
    assert len(set(keys(front)[:3])) == 1
    assert keys(front)[3] is None  # a question


async def test_it_gives_each_call_another_key(front: Front, escrow: AsyncEarnestClient) -> None:
    await escrow.create_contract(**TERMS)
    await escrow.create_contract(**TERMS)
    assert len(set(keys(front))) == 2


async def test_it_says_with_which_key_an_unfinished_call_can_be_finished(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    front.plan(API, LOST, LOST, LOST, LOST)
    with pytest.raises(NotConnected) as broken:
        await escrow.create_contract(**TERMS)
    assert isinstance(broken.value.__cause__, httpx.TransportError)
    key = broken.value.idempotency_key
    assert keys(front) == [key] * 4
    made = await escrow.create_contract(**TERMS, idempotency_key=key)
    assert [one.contract_id async for one in escrow.each_contract()] == [made.contract_id]
    with pytest.raises(KeyReused):
        await escrow.create_contract(**TERMS | {"amount": 1}, idempotency_key=key)


async def test_it_gives_up_on_a_server_that_cannot(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    front.plan(API, *[BUSY] * 9)
    with pytest.raises(ServerFailed) as failed:
        await escrow.create_contract(**TERMS, idempotency_key="mine")
    assert (failed.value.status, failed.value.idempotency_key) == (503, "mine")
    assert keys(front) == ["mine"] * 4


@pytest.mark.parametrize("answer", [Own(500), Own(501)])
async def test_it_does_not_repeat_what_the_server_could_not_handle(
    front: Front, escrow: AsyncEarnestClient, answer: Own
) -> None:
    front.plan(API, answer)
    with pytest.raises(ServerFailed):
        await escrow.create_contract(**TERMS)
    assert len(front.at(API)) == 1


async def test_it_does_not_repeat_what_was_refused(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    made = await escrow.create_contract(**TERMS)
    with pytest.raises(NotAllowed):
        await escrow.release(made.contract_id)
    assert len(front.at(API)) == 2


async def test_it_follows_no_redirect(front: Front, escrow: AsyncEarnestClient) -> None:
    front.plan(TOKEN, Own(307, {"Location": "http://elsewhere.example/connect/token"}))
    with pytest.raises(Exception, match="307"):
        await escrow.list_contracts()
    assert len(front.seen) == 1


async def test_it_reads_nothing_into_an_answer_that_it_does_not_know(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    front.plan(API, Own(200, body=b"<html>"), Own(200, body=b'{"data":{}}'), Own(418, body=b"\xff"))
    for _ in range(2):
        with pytest.raises(UnexpectedAnswer):
            await escrow.list_contracts()
    with pytest.raises(Exception, match="HTTP 418"):
        await escrow.list_contracts()


# -- waiting ----------------------------------------------------------------------------------


class Sleeps:
    """Stands for anyio: what was slept, without sleeping."""

    Lock = anyio.Lock

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    made = Sleeps()
    monkeypatch.setattr("earnest_client.client.anyio", made)
    return made


async def test_it_waits_as_long_as_it_is_asked_to(
    front: Front, escrow: AsyncEarnestClient, sleeps: Sleeps
) -> None:
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1))
    front.plan(API, Own(429, {"Retry-After": "2"}), Own(503, {"Retry-After": soon}))
    await escrow.list_contracts()
    two, until = sleeps.seconds
    assert 2 <= two < 2.1
    assert until < 2


async def test_it_does_not_wait_longer_than_it_wants_to(
    front: Front, escrow: AsyncEarnestClient, sleeps: Sleeps
) -> None:
    front.plan(API, Own(429, {"Retry-After": "3"}))
    with pytest.raises(RateLimited) as limited:
        await escrow.list_contracts()
    assert limited.value.retry_after_seconds == 3
    assert len(front.at(API)) == 1
    assert sleeps.seconds == []


async def test_it_waits_twice_as_long_each_time_and_never_all_at_once(
    front: Front, counter: Counter, sleeps: Sleeps
) -> None:
    patient = Retries(attempts_max=8, wait_seconds=1, wait_seconds_max=10)
    broker = counter.broker
    async with AsyncEarnestClient(
        front.url, broker.client_id, broker.secret, retries=patient
    ) as client:
        front.plan(API, *[BUSY] * 8)
        with pytest.raises(ServerFailed):
            await client.list_contracts()
    for waited, most in zip(sleeps.seconds, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert most / 2 <= waited <= most
    assert len({waited / round(waited) for waited in sleeps.seconds}) > 1


# -- tokens -----------------------------------------------------------------------------------


class Watch:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.ahead_seconds = 0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds


async def test_it_gets_one_token_for_a_day_and_then_another(
    front: Front, escrow: AsyncEarnestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    monkeypatch.setattr(conversation, "time", watch)
    await escrow.list_contracts()
    await escrow.list_contracts()
    watch.ahead_seconds = 1440  # minutes is what the server means
    await escrow.list_contracts()
    watch.ahead_seconds = 1440 * 60 - 120
    await escrow.list_contracts()
    assert len(front.at(TOKEN)) == 1
    watch.ahead_seconds = 1440 * 60 - 30
    await escrow.list_contracts()
    assert len(front.at(TOKEN)) == 2
    tokens = [one.headers["authorization"] for one in front.at(API)]
    assert len(set(tokens[:4])) == 1
    assert tokens[4] != tokens[3]


async def test_it_gets_one_token_for_all_tasks(front: Front, escrow: AsyncEarnestClient) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(escrow.list_contracts)
    assert len(front.at(API)) == 10
    assert len(front.at(TOKEN)) == 1


async def test_it_gets_one_token_for_all_threads(front: Front, counter: Counter) -> None:
    with EarnestClient(front.url, counter.broker.client_id, counter.broker.secret) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(lambda: run_sync(client.list_contracts))
    assert len(front.at(API)) == 6
    assert len(front.at(TOKEN)) == 1


async def test_it_asks_for_another_token_when_its_own_is_refused_and_goes_on_with_the_same_key(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    front.plan(API, Own(401))
    await escrow.create_contract(**TERMS)
    assert len(front.at(TOKEN)) == 2
    assert len(set(keys(front))) == 1
    front.plan(API, Own(401), Own(401))
    with pytest.raises(Unauthenticated):
        await escrow.list_contracts()


async def test_it_asks_for_its_token_again_while_the_server_cannot_give_one(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    front.plan(TOKEN, BUSY, DROP)
    await escrow.list_contracts()
    assert len(front.at(TOKEN)) == 3


async def test_its_secret_goes_nowhere_but_for_tokens(
    front: Front, counter: Counter, escrow: AsyncEarnestClient
) -> None:
    secret = counter.broker.secret
    await escrow.create_contract(**TERMS)
    [asked] = front.at(TOKEN)
    assert secret.encode() in asked.body
    for one in front.at(API):
        assert secret not in f"{one.path} {one.headers} {one.body!r}"
    assert secret not in repr(vars(escrow).get("client_id"))
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_it_needs_no_token_for_what_is_public(
    front: Front, escrow: AsyncEarnestClient
) -> None:
    assert (await escrow.get_keys()).keys
    assert [one.path for one in front.seen] == ["/.well-known/jwks.json"]


async def test_it_takes_a_client_of_ones_own_and_leaves_it_open(counter: Counter) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        broker = counter.broker
        async with AsyncEarnestClient(
            counter.url + "/", broker.client_id, broker.secret, http=http
        ) as client:
            assert (await client.send(ask("/apps/api/contracts", object))) is not None
        assert not http.is_closed
