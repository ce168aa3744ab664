"""The partner's chapter of the demo: told once, however often it is interrupted; and its receiver,
which believes nobody."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from anyio.to_thread import run_sync

from conftest import TestDatabase
from earnest import demo_partner
from earnest.app import build_app
from earnest.demo_cast import Person
from earnest.demo_partner import partner_story
from earnest.demo_receiver import Receiver
from earnest.domain.party import Role
from earnest.partner.webhooks import new_secret
from earnest.store.db import Pool
from earnest.worker.webhook_body import standard_signature
from web import Caller, _Server, make_settings, sign_up

SECRET = new_secret()
COUNTS = """
SELECT
    (SELECT count(*) FROM api_client) AS clients,
    (SELECT count(*) FROM contract) AS contracts,
    (SELECT count(*) FROM webhook_endpoint) AS endpoints,
    (SELECT count(*) FROM event WHERE type = 'payment.completed') AS payments,
    (SELECT count(*) FROM event WHERE type = 'contract.released') AS releases
"""


class Stage(msgspec.Struct):
    """A server where nothing has happened yet, and Olga."""

    url: str
    olga: Caller
    pool: Pool

    async def tell(self) -> list[str]:
        """The story, as `earnest demo` tells it."""

        def work() -> list[str]:
            with (
                httpx.Client(base_url=self.url, trust_env=False) as anybody,
                httpx.Client(
                    base_url=self.url, headers=dict(self.olga.headers), trust_env=False
                ) as hers,
                listener.listening(),
            ):
                olga = Person("Olga", self.olga.email, self.olga.id, hers)
                return partner_story(olga, anybody, self.url, listener)

        listener = Receiver()
        return await run_sync(work)


@pytest.fixture
async def stage(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(demo_partner, "DELIVERED_SECONDS_MAX", 0)  # there is no worker
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    settings = make_settings(database.app_dsn, public_url=url, webhook_allow_private=True)
    app = build_app(settings, Pool(database.app_dsn))
    server = _Server(uvicorn.Config(app, log_level="warning"))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    async with await sign_up(app, "Olga", Role.ADMIN) as olga:
        yield Stage(url, olga, app.state.pool)
    server.should_exit = True
    await running


@pytest.mark.parametrize("is_lost", [False, True])
async def test_it_is_told_once_however_often_it_is_interrupted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    """After one request, after two, ... either before it is sent or before its answer comes."""
    left = 0
    real = httpx.HTTPTransport.handle_request

    def interrupted(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        nonlocal left
        left -= 1
        if left >= 0:
            return real(transport, request)
        if is_lost:
            real(transport, request).close()
        raise httpx.ConnectError("interrupted")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", interrupted)
    lines: list[str] = []
    starts = 0
    while not lines:
        starts += 1
        left = starts
        try:
            lines = await stage.tell()
        except httpx.ConnectError:
            assert starts < 40
    assert starts > 10
    async with stage.pool.connection() as conn:
        [row] = await conn.fetch(COUNTS)
    assert dict(row) == {
        "clients": 1,
        "contracts": 2,
        "endpoints": 1,
        "payments": 1,
        "releases": 1,
    }
    text = "\n".join(lines)
    assert "held 457.50   (its proof holds)" in text
    assert "the last is void" in text


async def test_it_takes_its_broker_back_when_an_admin_has_blocked_it(stage: Stage) -> None:
    await stage.tell()
    [broker] = (await stage.olga.get(f"{stage.url}/api/admin/businesses")).json()["data"]
    path = f"{stage.url}/api/admin/businesses/{broker['businessId']}/block"
    assert (await stage.olga.patch(path)).status_code == 200
    assert "its proof holds" in "\n".join(await stage.tell())


async def test_it_finds_its_contracts_behind_those_of_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_partner, "PAGE_ENTRIES", 1)
    first, second = [
        [line for line in await stage.tell() if "CNT-" in line and "  [" in line] for _ in range(2)
    ]
    assert len(first) == 2
    assert first == second


# -- the receiver -----------------------------------------------------------------------------

BODY = b'{"id":"1","event":"webhook.test","data":{"message":"x"}}'


def headers_of(body: bytes = BODY, secret: str = SECRET, age_seconds: int = 0) -> dict[str, str]:
    at = str(int(time.time()) - age_seconds)
    return {
        "webhook-id": "1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,AAAA {standard_signature('1', at, body, secret)}",
    }


@pytest.fixture
def receiver() -> Any:
    made = Receiver()
    made.secret = SECRET
    with made.listening():
        yield made


def post(receiver: Receiver, headers: dict[str, str], body: bytes = BODY) -> int:
    return httpx.post(receiver.url, content=body, headers=headers, trust_env=False).status_code


def test_it_tells_of_a_verified_webhook_once(receiver: Receiver) -> None:
    assert post(receiver, headers_of()) == 200
    assert post(receiver, headers_of()) == 200
    told: list[str] = []
    receiver.tell(told.append)
    assert told == ["  webhook, verified: webhook.test"]
    headers = headers_of() | {"webhook-id": "2"}
    headers["webhook-signature"] = standard_signature(
        "2", headers["webhook-timestamp"], BODY, SECRET
    )
    assert post(receiver, headers) == 200
    assert len(told) == 2
    assert receiver.heard() == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        headers_of(secret=new_secret()),
        headers_of(body=BODY + b" "),
        headers_of(age_seconds=3600),
        headers_of(age_seconds=-3600),
        headers_of() | {"webhook-id": "2"},
        headers_of() | {"webhook-timestamp": "x"},
        headers_of() | {"webhook-signature": ""},
    ],
)
def test_it_tells_of_nothing_that_is_not_signed(
    receiver: Receiver, headers: dict[str, str]
) -> None:
    assert post(receiver, headers) == 401
    assert receiver.heard() == []


def test_it_asks_to_be_told_later_while_it_knows_no_secret(receiver: Receiver) -> None:
    receiver.secret = ""
    assert post(receiver, headers_of()) == 503


def test_it_takes_no_huge_body(receiver: Receiver) -> None:
    with socket.create_connection(
        ("127.0.0.1", int(receiver.url.split(":")[2].split("/")[0]))
    ) as s:
        s.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert s.recv(64).startswith(b"HTTP/1.0 413")
