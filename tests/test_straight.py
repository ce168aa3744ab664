"""The straight way to a handler gives the answers that Litestar's way gives, byte for byte."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath, FromQuery

from earnest.app import build_app
from earnest.store.db import Pool
from earnest.web import straight
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.straight import Straight
from life import Life
from refusals import MALFORMED_IDS, blocked
from web import UNKNOWN_ID, Cast, caller, make_settings

VIEW = "/api/freelancer/contract/view-contract"


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


async def test_it_is_the_same_answer_to_everybody(cast: Cast, long_way: Litestar) -> None:
    straight_app: Any = cast.app.asgi_handler
    ways = straight_app._app if hasattr(straight_app, "_app") else straight_app
    assert isinstance(ways, Straight)
    assert list(ways._routes) == [VIEW]
    life = await Life.at(cast, "canceled")
    paths = [
        f"{VIEW}/{life.contract}",
        f"{VIEW}/{life.contract.upper()}",
        f"{VIEW}/{life.contract}?page=1&contract_id=x",
        f"{VIEW}/{life.contract}/",
        f"{VIEW}//{life.contract}",
        f"{VIEW}/{life.contract}/x",
        f"{VIEW}/{life.contract}%2F",
        f"{VIEW}/",
        VIEW,
        *(f"{VIEW}/{id_}" for id_ in (UNKNOWN_ID, *MALFORMED_IDS)),
    ]
    people = (cast.anybody, cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
    callers = [dict(who.headers) for who in people]
    callers += [
        {"authorization": "Bearer e30.e30.e30"},
        {"authorization": "Basic x"},
        {"cookie": "refreshToken=e30.e30.e30"},
        {"origin": "http://localhost:5173"},
        {"content-type": "text/plain", "content-encoding": "gzip"},
    ]
    async with caller(cast.app) as one, caller(long_way) as other:
        for path in paths:
            for headers in callers:
                for method in ("GET", "HEAD"):
                    asked: dict[str, Any] = {"method": method, "url": path, "headers": headers}
                    answers = await asyncio.gather(one.request(**asked), other.request(**asked))
                    assert told(answers[0]) == told(answers[1]), f"{method} {path} {headers}"
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            asked = {"method": method, "url": paths[0]}
            answers = await asyncio.gather(one.request(**asked), other.request(**asked))
            assert told(answers[0]) == told(answers[1]), method
        async with blocked(cast, cast.alice):
            asked = {"method": "GET", "url": paths[0], "headers": dict(cast.alice.headers)}
            answers = await asyncio.gather(one.request(**asked), other.request(**asked))
            assert told(answers[0]) == told(answers[1])
            assert answers[0].status_code == 403


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
