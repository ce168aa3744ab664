"""More requests than can be answered soon: 503 at once, reads first, and it ends by itself."""

import asyncio
import inspect
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from litestar.routes import HTTPRoute

from conftest import TestDatabase
from earnest.web.admission import (
    FEW,
    TURNS,
    WAIT_SECONDS_MAX,
    Admission,
    Queue,
)
from earnest.web.connection import HEAD_SECONDS_MAX
from earnest.web.envelope import Envelope
from earnest.web.kinds import Kind, kind_of
from life import Life, accepted
from web import Caller, Cast, problem
from wire import Line, Wire

STOP = "LOCK TABLE contract IN ACCESS EXCLUSIVE MODE"
BUSY = "The server is busy. Nothing was done: try again."


def queue_of(cast: Cast, kind: Kind) -> Queue:
    assert isinstance(cast.app, Envelope)
    return cast.app.admission._queues[kind]


def stop(queue: Queue) -> None:
    """From now on all who come would wait for too long."""
    queue._under_way, queue._busy_seconds, queue._finished = FEW, 1.0, 1.0


def under_way(cast: Cast, kind: Kind) -> int:
    return queue_of(cast, kind)._under_way


async def until_under_way(cast: Cast, kind: Kind, count: int) -> None:
    deadline = time.monotonic() + 10
    while under_way(cast, kind) < count:
        assert time.monotonic() < deadline, under_way(cast, kind)
        await asyncio.sleep(0.01)


def seeing(life: Life, who: Caller) -> Any:
    return who.get(f"/api/freelancer/contract/view-contract/{life.contract}")


async def shed(cast: Cast) -> dict[str, int]:
    """How many were refused, by kind, as /metrics says."""
    text = (await cast.anybody.get("/metrics")).text
    found = re.findall(r'earnest_http_requests_shed_total\{kind="(\w+)"\} (\d+)\.0', text)
    return {kind: int(count) for kind, count in found}


async def test_while_the_database_stands_still_reads_are_refused_and_money_waits(
    cast: Cast, database: TestDatabase
) -> None:
    life = await Life.at(cast, "requested")
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        gate = conn.transaction()
        await gate.start()
        await conn.execute(STOP)
        waiting = [asyncio.create_task(seeing(life, cast.alice)) for _ in range(FEW)]
        await until_under_way(cast, Kind.READ, FEW)
        await asyncio.sleep(WAIT_SECONDS_MAX[Kind.READ] + 0.05)
        begun = time.perf_counter()
        refused = await asyncio.gather(*(seeing(life, cast.alice) for _ in range(100)))
        assert time.perf_counter() - begun < 5, "nobody waits for a refusal"
        for answer in refused:
            assert problem(answer, 503)["detail"] == BUSY
            assert int(answer.headers["retry-after"]) >= 1
        assert (await cast.anybody.get("/healthz")).status_code == 200
        assert await shed(cast) == {"read": 100, "change": 0, "money": 0}
        release = asyncio.create_task(
            cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}")
        )
        await until_under_way(cast, Kind.MONEY, 1)
        await gate.rollback()
    finally:
        await conn.close()
    accepted(await release)
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert under_way(cast, Kind.READ) == 0
    accepted(await seeing(life, cast.alice))
    assert await life.wallet(cast.bob) == 10_800


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/apps/api/contracts/6b0490390000000101794925", "application/json", BUSY),
        ("/checkout?token=x", "text/html; charset=utf-8", "in a few seconds"),
    ],
)
async def test_it_is_said_in_the_form_of_the_face(
    cast: Cast, path: str, kind: str, text: str
) -> None:
    queue = queue_of(cast, Kind.READ)
    stop(queue)
    answer = await cast.anybody.get(path)
    queue._under_way = 0
    assert answer.status_code == 503
    assert answer.headers["content-type"] == kind
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"]
    assert text in answer.text


@pytest.fixture
async def busy(cast: Cast, wire: Wire) -> Wire:
    """A server that has no room for reads."""
    assert isinstance(cast.app, Envelope)
    wire.config.admission = cast.app.admission
    queue = queue_of(cast, Kind.READ)
    stop(queue)
    return wire


@pytest.fixture
async def line(busy: Wire) -> AsyncIterator[Line]:
    made = await busy.open()
    yield made
    made.close()


def asking(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


VIEW = "/api/freelancer/contract/view-contract/6b0490390000000101794925"
EACH_ITS_OWN = ("date", "x-request-id")


@pytest.mark.parametrize("path", [VIEW, "/apps/api/contracts/6b0490390000000101794925"])
async def test_the_connection_refuses_in_the_words_of_the_application(
    line: Line, path: str
) -> None:
    await line.send(asking(path))
    quick = await line.answer()
    await line.send(asking(path, "Origin: http://elsewhere.example"))
    slow = await line.answer()
    assert quick is not None
    assert slow is not None
    assert (quick.status, json.loads(quick.body)) == (503, json.loads(slow.body))
    for name in EACH_ITS_OWN:
        assert quick.headers.pop(name) != ""
        slow.headers.pop(name)
    assert quick.headers == slow.headers


async def test_a_refused_connection_goes_on(line: Line) -> None:
    """It is neither closed nor timed as one that has begun to speak."""
    for _ in range(3):
        await line.send(asking(VIEW))
        assert await line.status() == 503
        await line.send(asking("/healthz"))
        assert await line.status() == 200
    await line.send(asking(VIEW))
    assert await line.status() == 503
    await asyncio.sleep(HEAD_SECONDS_MAX + 0.3)
    await line.send(asking("/healthz"))
    assert await line.status() == 200


async def test_many_in_one_piece_are_refused_in_their_order(busy: Wire, line: Line) -> None:
    await line.send(asking(VIEW) * 200 + asking("/healthz") + asking(VIEW) * 200)
    statuses = [await line.status() for _ in range(401)]
    assert statuses == [503] * 200 + [200] + [503] * 200
    assert await busy.is_healthy()


async def test_a_refused_head_has_no_body(line: Line) -> None:
    await line.send(asking(VIEW, method="HEAD"))
    head = await line.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    await line.send(asking("/healthz"))
    assert await line.status() == 200


async def test_who_wants_no_more_is_refused_and_let_go(line: Line) -> None:
    await line.send(asking(VIEW, "Connection: close"))
    answers = await line.until_closed()
    assert [answer.status for answer in answers] == [503]
    assert answers[0].headers["connection"] == "close"


async def test_a_body_is_read_before_it_is_refused(line: Line) -> None:
    """Or the next request would begin with it."""
    await line.send(asking(VIEW, "Content-Length: 7"))
    await line.send(b"GET /he")
    assert await line.status() == 503
    await line.send(asking("/healthz"))
    assert await line.status() == 200


async def test_the_second_refusal_needs_a_glance_only(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said in the same words, and counted; whoever is let in is read as ever."""
    parsed: list[str] = []
    enter = Admission.enter

    def entering(self: Admission, scope: Any) -> bool:
        parsed.append(scope["path"])
        return enter(self, scope)

    monkeypatch.setattr(Admission, "enter", entering)
    await line.send(asking(VIEW))
    first = await line.answer()
    await line.send(asking(VIEW, "Content-Length: 3") + b"abc")
    second = await line.answer()
    await line.send(asking("/api/auth/me", method="POST"))
    let_in = await line.status()
    assert parsed == [VIEW, "/api/auth/me"]
    assert first is not None
    assert second is not None
    for answer in (first, second):
        assert answer.headers.pop("x-request-id")
        assert answer.headers.pop("date")
    assert first == second
    assert let_in in (401, 404, 405)


async def test_a_thousand_that_are_refused_at_once_are_all_answered(busy: Wire) -> None:
    """More than there are turns: their connections are read one after the other."""
    lines = [await busy.open() for _ in range(5 * TURNS)]
    for _ in range(3):
        for each in lines:
            each.writer.write(asking(VIEW))
        assert [await each.status() for each in lines] == [503] * len(lines)
    for each in lines[::2]:
        each.writer.write(asking(VIEW))
        each.close()
    for each in lines[1::2]:
        each.writer.write(asking("/healthz"))
    assert [await each.status() for each in lines[1::2]] == [200] * len(lines[1::2])
    for each in lines:
        each.close()
    assert await busy.is_healthy()


async def test_it_knows_reads_and_money(cast: Cast) -> None:
    """Every handler that says of its idempotency keys that they move money."""
    money = 0
    for route in cast.app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            path = re.sub(r"\{[^}]*\}", "6b0490390000000101794925", route.path_format)
            moves = "moves_money=True" in inspect.getsource(inspect.unwrap(handler.fn))
            for method in handler.http_methods:
                kind = kind_of(method, path)
                assert (kind is Kind.READ) == (method in ("GET", "OPTIONS", "HEAD"))
                if moves:
                    assert kind is Kind.MONEY, path
                    money += 1
    assert money >= 12
    assert kind_of("POST", "/webhook") is Kind.MONEY
    assert kind_of("POST", "/api/auth/login") is Kind.CHANGE
    assert kind_of("POST", "/apps/api/webhooks") is Kind.CHANGE
