"""A server for the existing web client, on a real socket, and the people in front of it.

    async with open_storefront(database.app_dsn) as shop:
        alice = await shop.visit("Alice", Role.CLIENT)        a Frontend that has signed in
        await shop.pay(session)                               what the payer does at the provider

It runs as `earnest serve` runs it; the provider's signed events come back over the same socket.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
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


class Storefront:
    """`url` is where the server listens. `is_browser`: whether people use one."""

    def __init__(self, app: Litestar, url: str) -> None:
        self.app, self.url = app, url
        self.is_browser = True
        self.outside = httpx.AsyncClient(base_url=url, trust_env=False)
        self._browsers: list[NodeAdapter] = []

    def browser(self) -> NodeAdapter:
        """Another one, in which nobody is signed in."""
        made = Browser(self.url, CLIENT) if self.is_browser else NodeAdapter(self.url)
        self._browsers.append(made)
        return made

    def stranger(self) -> Frontend:
        """The client in a browser of its own."""
        return Frontend(self.browser())

    async def visit(self, name: str, role: Role) -> Frontend:
        """Somebody with an account, who signs in."""
        async with await sign_up(self.app, name, role) as known:
            tab = self.stranger()
            found = await tab.login_user(known.email, PASSWORD)
        assert (found.role, found.user.id, found.user.name) == (role.value, known.id, name)
        return tab

    async def pay(self, session: str, outcome: str = "paid") -> None:
        """Act as the payer; the provider's event has arrived when this returns."""
        answer = await self.outside.post(
            f"/sandbox/checkout/{session}/complete", json={"outcome": outcome}
        )
        assert (answer.status_code, answer.json()["delivered"]) == (200, True), answer.text

    async def letter(self, email: str) -> dict[str, Any]:
        """The newest letter to `email`."""
        letters = (await self.outside.get("/sandbox/mailbox", params={"to": email})).json()
        return dict(letters[0])

    async def close(self) -> None:
        await self.outside.aclose()
        for each in self._browsers:
            await each.close()


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
