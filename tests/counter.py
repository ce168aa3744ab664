"""A **counter**: Demo Broker's checkout behind a real socket, and buyers who come with a link.

    order = await counter.order(amount=1000)         a contract of Huda's with Omar, and its link
    page = await order.look("?lang=ar")
    await order.paid_by("4242 4242 4242 4242")       all the way through the card page

`counter.book` keeps what was ordered; `counter.http` is a browser that follows nothing by itself.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar

from conftest import TestDatabase
from earnest.app import build_app
from earnest.assembly import sandbox_webhook_secret
from earnest.providers.sandbox import SandboxProvider
from earnest.store.db import Pool
from partners import Broker, make_broker
from web import _Server, make_settings

CALLBACK = "https://shop.example/done?order=7&x=%20a"
SESSIONS = "SELECT id, state FROM sandbox.session ORDER BY created_at, id"
CARD = {"number": "4242 4242 4242 4242", "expiry": "12/40", "cvc": "123"}
SLOW_BANK = "4000 0000 0000 0077"
GUIDES_CARD = "5123 4500 0000 0008"
MILESTONES = [
    {"Name": "Draft", "Description": "Three drafts to choose from", "Amount": 600},
    {"Name": "Final files", "Description": "", "Amount": 400},
]


class Counter(msgspec.Struct):
    """Where buyers pay."""

    app: Litestar
    broker: Broker
    url: str
    http: httpx.AsyncClient

    async def order(self, broker: Broker | None = None, **other: Any) -> "Order":
        """A contract with its checkout link; `other` is what the partner sends besides."""
        broker = broker or self.broker
        sent = {
            "title": "Logo and packaging for a bakery",
            "contractServiceType": "Service",
            "BuyerParty": person("966500000001", "Huda", "S"),
            "SellerParty": person("966500000002", "Omar"),
            "amount": 1000,
            "callbackUrl": CALLBACK,
            **other,
        }
        answer = await broker.client.post("/apps/api/contracts", json=sent)
        assert answer.status_code == 200, answer.text
        made = answer.json()["data"]
        return Order(self, broker, made["contractId"], made["checkout"]["url"])

    async def advance(self, seconds: int) -> None:
        answer = await self.http.post("/sandbox/clock", json={"advance_seconds": seconds})
        assert answer.status_code == 200

    async def sessions(self) -> list[tuple[str, str]]:
        """What the provider was asked for, and what became of it."""
        pool: Pool = self.app.state.pool
        async with pool.connection() as conn:
            return [(row["id"], row["state"]) for row in await conn.fetch(SESSIONS)]

    def mute_provider(self) -> SandboxProvider:
        """The same provider, whose word does not reach us."""
        state = self.app.state
        secret = sandbox_webhook_secret(state.settings)
        return SandboxProvider(
            state.pool, secret, "http://127.0.0.1:9/", self.url, state.provider.clock
        )


class Order(msgspec.Struct):
    """A contract, and the buyer's link to its checkout."""

    counter: Counter
    broker: Broker
    number: str
    link: str

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)["token"][0]

    async def look(self, lang: str = "en", path: str = "/checkout", **query: str) -> httpx.Response:
        """A page of the checkout."""
        asked = {"token": self.token, "lang": lang, **query}
        return await self.counter.http.get(path, params=asked)

    async def press_pay(self, lang: str = "en") -> httpx.Response:
        return await self.counter.http.post("/checkout", params={"token": self.token, "lang": lang})

    async def paid_by(self, number: str, lang: str = "en") -> httpx.Response:
        """Press the button, type the card; the answer of the page that the payer arrives at."""
        pressed = await self.press_pay(lang)
        assert pressed.status_code == 303, pressed.text
        typed = await self.counter.http.post(
            pressed.headers["Location"], data=CARD | {"number": number}
        )
        assert typed.status_code == 303, typed.text
        return await self.counter.http.get(typed.headers["Location"])

    async def back(self, lang: str = "en", **query: str) -> httpx.Response:
        """What the return page answers once it has begun a new chain."""
        return await self.look(lang, "/checkout/return", **query)

    async def tell(self, verb: str, **body: Any) -> None:
        """The partner says something about it."""
        answer = await self.broker.client.post(
            f"/apps/api/contracts/{self.number}/{verb}", json=body
        )
        assert answer.status_code == 200, answer.text

    async def shown(self) -> Any:
        answer = await self.broker.client.get(f"/apps/api/contracts/{self.number}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def renewed(self) -> "Order":
        """The same order with a link that the partner has just asked for."""
        answer = await self.broker.client.post(
            "/apps/api/contracts/checkout",
            json={"buyerPhoneNumber": "966500000001", "externalContractId": self.number},
        )
        assert answer.status_code == 200, answer.text
        return Order(
            self.counter, self.broker, self.number, answer.json()["data"]["checkout"]["url"]
        )


def person(phone: str, first_name: str, last_name: str = "") -> dict[str, str]:
    return {"phoneNumber": phone, "firstName": first_name, "lastName": last_name}


def milestones(due: str = "2036-06-01T00:00:00.000Z") -> list[dict[str, Any]]:
    return [{**one, "DueDate": due} for one in MILESTONES]


def text_of(page: httpx.Response) -> str:
    """What a page says, without markup, blanks made one."""
    body = page.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
async def counter(database: TestDatabase) -> AsyncIterator[Counter]:
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = build_app(make_settings(database.app_dsn, public_url=url), Pool(database.app_dsn))
    server = _Server(uvicorn.Config(app, log_level="warning"))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    broker = await make_broker(app)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http, broker.client:
        yield Counter(app, broker, url, http)
    server.should_exit = True
    await running
