"""A server for the existing web client, on a real socket, and the people in front of it.

    async with open_storefront(database.app_dsn) as shop:
        alice = await shop.visit("Alice", Role.CLIENT)        a Frontend that has signed in
        await shop.pay(session)                               what the payer does at the provider

It runs as `earnest serve` runs it; the provider's signed events come back over the same socket.
"""

import asyncio
import contextlib
import json
import socket
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar

from earnest.app import build_app
from earnest.domain.party import Role
from earnest.serving import server_config
from earnest.store.db import Pool
from frontend import Frontend
from web import PASSWORD, make_settings, sign_up
from xhr import Browser, NodeAdapter

# The host of the server: browsers send a Lax cookie to no other one. Ports do not matter.
CLIENT = "http://127.0.0.1:5173"
TITLE, RATE = "Logo for a bakery", 49999.99


class Storefront:
    """`url` is where the server listens. `is_browser`: whether people use one."""

    def __init__(self, app: Litestar, url: str) -> None:
        self.app, self.url = app, url
        self.is_browser = True
        self.outside = httpx.AsyncClient(base_url=url, trust_env=False)
        self._browsers: list[NodeAdapter] = []

    def stranger(self, browser: NodeAdapter | None = None) -> Frontend:
        """The client in a browser of its own (this one), in which nobody is signed in."""
        if browser is None:
            browser = Browser(self.url, CLIENT) if self.is_browser else NodeAdapter(self.url)
        self._browsers.append(browser)
        return Frontend(browser)

    async def visit(self, name: str, role: Role, browser: NodeAdapter | None = None) -> Frontend:
        """Somebody with an account, who signs in."""
        async with await sign_up(self.app, name, role) as known:
            tab = self.stranger(browser)
            found = await tab.login_user(known.email, PASSWORD)
        assert (found.role, found.user.id, found.user.name) == (role.value, known.id, name)
        return tab

    async def pay(self, session: str, outcome: str = "paid") -> None:
        """Act as the payer; the provider's event has arrived when this returns."""
        answer = await self.outside.post(
            f"/sandbox/checkout/{session}/complete", json={"outcome": outcome}
        )
        assert (answer.status_code, answer.json()["delivered"]) == (200, True), answer.text

    async def advance(self, *, days: int) -> None:
        """Business time goes on."""
        answer = await self.outside.post("/sandbox/clock", json={"advance_seconds": days * 86_400})
        assert answer.status_code == 200, answer.text

    async def letter(self, email: str) -> dict[str, Any]:
        """The newest letter to `email`."""
        letters = (await self.outside.get("/sandbox/mailbox", params={"to": email})).json()
        return dict(letters[0])

    def let_token_expire(self, tab: Frontend) -> None:
        """The access token in the browser of `tab` is the one it would have had yesterday."""
        assert tab.token is not None
        payload = tab.token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=="))
        yesterday = SimpleNamespace(time=lambda: time.time() - 86_400)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("earnest.web.tokens.time", yesterday)
            issue = self.app.state.access_tokens.issue
            tab.browser.store(issue(claims["id"], Role(claims["role"]), claims["gen"]))

    async def execute(self, sql: str, *arguments: Any) -> None:
        pool: Pool = self.app.state.pool
        async with pool.connection() as conn:
            await conn.execute(sql, *arguments)

    async def close(self) -> None:
        await self.outside.aclose()
        for each in self._browsers:
            await each.close()


class People(msgspec.Struct, frozen=True):
    """Everybody, signed in, and what they do before a contract is there."""

    shop: Storefront
    alice: Frontend
    bob: Frontend
    olga: Frontend

    @classmethod
    async def of(cls, shop: Storefront) -> "People":
        people = cls(
            shop,
            await shop.visit("Alice", Role.CLIENT),
            await shop.visit("Bob", Role.FREELANCER),
            await shop.visit("Olga", Role.ADMIN),
        )
        await people.olga.add_label("categories", "Design")
        await people.olga.add_label("skills", "Drawing")
        return people

    async def job(self, **other: Any) -> str:
        """Alice fills in the form; the job's id from her own page."""
        await self.alice.create_job(
            **{
                "title": TITLE,
                "description": "A logo, three drafts.",
                "rate": RATE,
                "experienceLevel": "Beginner",
                "location": "Pune",
                "category": (await self.alice.labels("categories"))[0].id,
                "skills": [(await self.alice.labels("skills"))[0].id],
                **other,
            }
        )
        return (await self.alice.fetch_my_jobs(self.alice.id)).jobs[0].id

    async def applied(self) -> str:
        """A job for which Bob has applied."""
        job = await self.job()
        await self.bob.apply_job(job)
        return job

    async def hired(self) -> tuple[str, str]:
        """A job, and the contract that Bob has approved."""
        job = await self.applied()
        await self.alice.create_contract(job, self.bob.id, RATE)
        contract = (await self.bob.get_contracts(self.bob.id))[0].id
        await self.bob.approve_contract(contract, self.bob.id)
        return job, contract

    async def paid(self) -> tuple[str, str]:
        """A job, and the contract that Alice has paid for as well."""
        job, contract = await self.hired()
        await self.shop.pay(await self.alice.pay_now(job, TITLE, RATE, self.bob.id))
        return job, contract


@contextlib.asynccontextmanager
async def open_storefront(dsn: str, **settings: Any) -> AsyncIterator[Storefront]:
    """A server with these settings, for pages of CLIENT."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = msgspec.structs.replace(
        make_settings(dsn, public_url=url), **{"client_url": CLIENT, **settings}
    )
    app = build_app(chosen, Pool(dsn))
    server = uvicorn.Server(server_config(chosen, app))
    # Not `serve`: the signals stay with the test run.
    running = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110  it has no event to wait for
        await asyncio.sleep(0.01)
    shop = Storefront(app, url)
    try:
        yield shop
    finally:
        await shop.close()
        server.should_exit = True
        await running


@pytest.fixture
async def shop(database: Any) -> AsyncIterator[Storefront]:
    async with open_storefront(database.app_dsn) as made:
        yield made


@pytest.fixture
async def people(shop: Storefront) -> People:
    return await People.of(shop)
