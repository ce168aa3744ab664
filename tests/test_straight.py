"""The straight way to a handler gives the answers that Litestar's way gives, byte for byte."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath, FromQuery

from deal import Deal
from earnest.app import build_app
from earnest.hooks.payments import EVENT_BYTES_MAX
from earnest.providers import signature
from earnest.store.db import Pool
from earnest.web import straight
from earnest.web.auth import PUBLIC
from earnest.web.guard import BODY_BYTES_MAX, EarnestRequest
from earnest.web.straight import Straight
from life import Life, provider_events
from partners import Broker
from refusals import MALFORMED_IDS, blocked
from web import UNKNOWN_ID, Cast, caller, make_settings

VIEW = "/api/freelancer/contract/view-contract"
CONTRACTS = "/apps/api/contracts"
RELEASE = "/api/admin/escrow/release-fund"


@pytest.fixture
async def long_way(database: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Litestar]:
    """The same application without straight routes."""
    monkeypatch.setattr(straight, "_routes", lambda app: iter(()))
    made = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    async with made.lifespan():
        yield made


def told(answer: httpx.Response) -> Any:
    """All of an answer but the request's id."""
    headers = [(k, v) for k, v in answer.headers.multi_items() if k != "x-request-id"]
    return answer.status_code, sorted(headers), answer.content


async def same(app: Any, long_way: Litestar, **asked: Any) -> httpx.Response:
    """What both ways answer to one request."""
    async with caller(app) as one, caller(long_way) as other:
        answers = await asyncio.gather(one.request(**asked), other.request(**asked))
    assert told(answers[0]) == told(answers[1]), asked
    return answers[0]


def spellings(head: str, id_: str) -> list[str]:
    """The path of `id_`, and paths that only look like it."""
    return [
        f"{head}/{id_}",
        f"{head}/{id_.upper()}",
        f"{head}/{id_.lower()}",
        f"{head}/{id_}?page=1&contract_id=x",
        f"{head}/{id_}/",
        f"{head}//{id_}",
        f"{head}/{id_}/x",
        f"{head}/{id_}%2F",
        f"{head}/",
        head,
        *(f"{head}/{other}" for other in (UNKNOWN_ID, *MALFORMED_IDS)),
    ]


NOBODY = [
    {"authorization": "Bearer e30.e30.e30"},
    {"authorization": "Basic x"},
    {"cookie": "refreshToken=e30.e30.e30"},
    {"origin": "http://localhost:5173"},
    {"content-type": "text/plain", "content-encoding": "gzip"},
    {"accept-language": "ar"},
]


async def test_two_reads_a_release_and_the_providers_events_are_straight(cast: Cast) -> None:
    straight_app: Any = cast.app.asgi_handler
    ways = getattr(straight_app, "_app", straight_app).app  # behind Origins and Admission
    assert isinstance(ways, Straight)
    assert set(ways._routes) == {
        ("GET", VIEW, ""),
        ("GET", CONTRACTS, ""),
        ("PUT", RELEASE, ""),
        ("POST", "/webhook"),
    }


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "url", ["/webhook", "/webhook/", "/webhook?x=1", "//webhook", "/webhook/x"]
)
async def test_an_event_that_is_refused_is_the_same_answer(
    cast: Cast, long_way: Litestar, method: str, url: str
) -> None:
    signatures: tuple[dict[str, str], ...] = (
        {},
        {"Stripe-Signature": ""},
        {"Stripe-Signature": f"t=1,v1={'ab' * 32}"},
        {"Stripe-Signature": "x" * 9_000},
    )
    for headers in (*signatures, *NOBODY):
        await same(cast.app, long_way, method=method, url=url, headers=headers, content=b"{}")
    too_long = b"x" * (EVENT_BYTES_MAX + 1)
    await same(cast.app, long_way, method=method, url=url, content=too_long)


async def test_an_event_that_is_taken_is_the_same_answer(cast: Cast, long_way: Litestar) -> None:
    life = await Life.at(cast, "created")
    session = await life.checkout()
    async with caller(cast.app) as payer:
        await payer.post(f"/sandbox/checkout/{session}/complete", json={"outcome": "paid"})
    (event,) = await provider_events(cast, session)
    key = cast.app.state.webhook_secrets[0]
    headers = {signature.HEADER: signature.sign(event, key, int(time.time()))}
    answer = await same(
        cast.app, long_way, method="POST", url="/webhook", headers=headers, content=event
    )
    assert (answer.status_code, answer.text) == (200, "received")


async def test_a_contract_of_the_market_is_the_same_answer_to_everybody(
    cast: Cast, long_way: Litestar
) -> None:
    life = await Life.at(cast, "canceled")
    paths = spellings(VIEW, life.contract)
    people = (cast.anybody, cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
    for path in paths:
        for headers in [dict(who.headers) for who in people] + NOBODY:
            for method in ("GET", "HEAD"):
                await same(cast.app, long_way, method=method, url=path, headers=headers)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        await same(cast.app, long_way, method=method, url=paths[0])
    headers = dict(cast.alice.headers)
    async with blocked(cast, cast.alice):
        answer = await same(cast.app, long_way, method="GET", url=paths[0], headers=headers)
        assert answer.status_code == 403


async def test_a_contract_of_a_partner_is_the_same_answer_to_everybody(
    cast: Cast, long_way: Litestar, broker: Broker, rival: Broker
) -> None:
    deal = await Deal.at(broker, "paid")  # a contract that waits for money has a new link each time
    paths = spellings(CONTRACTS, deal.number)
    people = (broker.client, rival.client, cast.anybody, cast.alice, cast.olga)
    headers_of = [dict(who.headers) for who in people] + NOBODY
    headers_of.append({**broker.client.headers, "accept-language": "ar"})
    statuses = set()
    for path in paths:
        for headers in headers_of:
            for method in ("GET", "HEAD"):
                asked = {"method": method, "url": path, "headers": headers}
                statuses.add((await same(cast.app, long_way, **asked)).status_code)
    assert statuses == {200, 400, 401, 404}
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        await same(cast.app, long_way, method=method, url=paths[0])


async def test_a_release_that_is_refused_is_the_same_answer(cast: Cast, long_way: Litestar) -> None:
    life = await Life.at(cast, "ongoing")
    paths = spellings(RELEASE, life.contract)
    people = (cast.anybody, cast.alice, cast.bob, cast.olga)
    headers_of = [dict(who.headers) for who in people] + NOBODY
    keys = ("a key", "x" * 256, "")
    headers_of += [{**cast.olga.headers, "idempotency-key": key} for key in keys]
    bodies = (b"", b"{}", b"no json", b"x" * (BODY_BYTES_MAX + 1))
    statuses = set()
    for path in paths:
        for headers in headers_of:
            asked = {"method": "PUT", "url": path, "headers": headers}
            statuses.add((await same(cast.app, long_way, **asked)).status_code)
    for body in bodies:
        for headers in headers_of:
            asked = {"method": "PUT", "url": paths[0], "headers": headers}
            answer = await same(cast.app, long_way, content=body, **asked)
            statuses.add(answer.status_code)
    assert statuses == {400, 401, 403, 404, 413}
    for method in ("GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS"):
        await same(cast.app, long_way, method=method, url=paths[0])


async def test_a_release_is_the_same_answer_and_is_carried_out_once(
    cast: Cast, long_way: Litestar
) -> None:
    """Whichever way comes first carries it out, the other one repeats its answer."""
    life = await Life.at(cast, "requested")
    headers = {**cast.olga.headers, "idempotency-key": "release"}
    path = f"{RELEASE}/{life.contract}"
    async with caller(cast.app) as one, caller(long_way) as other:
        first = await one.put(path, headers=headers)
        again = await other.put(path, headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert (first.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert await life.wallet(cast.bob) == 10_800


async def test_a_mistake_of_ours_is_told_as_everywhere(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(cast.app.state.core.loads, "_load", broken)
    monkeypatch.setattr(cast.app.state.core.loads._together, "_run", broken)
    async with caller(cast.app) as one:
        answer = await one.get(f"{VIEW}/{UNKNOWN_ID}")
    assert answer.status_code == 500
    assert answer.json()["error"] == "Internal server error"
    assert "secret" not in answer.text


@get("/double/{first_id:str}/{second_id:str}", access=PUBLIC, straight=True)
async def double(request: EarnestRequest, first_id: FromPath[str], second_id: FromPath[str]) -> str:
    """Two segments."""
    return f"{request} {first_id} {second_id}"


@get("/paged/{first_id:str}", access=PUBLIC, straight=True)
async def paged(request: EarnestRequest, first_id: FromPath[str], page: FromQuery[str] = "") -> str:
    """A query."""
    return f"{request} {first_id} {page}"


@pytest.mark.parametrize("handler", [double, paged])
def test_a_handler_that_takes_more_is_not_straight(handler: Any) -> None:
    with pytest.raises(LookupError, match="is not straight"):
        Straight(Litestar([handler], request_class=EarnestRequest, openapi_config=None))
