"""A town for the sandbox provider: its pages on a real port, and the shop whose webhook it calls.

    async def test_...(town): session = await open_session(town, amount_minor=100)

`town.received` is what the shop was told, as it came.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State

from earnest.providers import signature
from earnest.providers.base import CheckoutRequest, CheckoutSession
from earnest.providers.events import ProviderEvent, parse_event
from earnest.providers.sandbox import SandboxProvider
from earnest.store.db import Pool
from earnest.web.problems import HANDLERS
from earnest.web.sandbox_pages import sandbox_router, static_router
from earnest.web.sandbox_people import people_router
from web import make_settings

SECRET = "whsec_sandbox"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UNKNOWN = "cs_test_" + "x" * 43


class Clock:
    """Business time: stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    async def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Town:
    """A running server with the provider's pages and, beside them, the shop's webhook."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = Clock()
        self.received: list[tuple[str, bytes]] = []
        self.webhook_status = 200
        self.webhook_delay_seconds = 0.0
        self.url = ""
        self.needs_onboarding = False
        self.provider = SandboxProvider(
            pool, SECRET, "http://127.0.0.1:9/", "http://127.0.0.1:9", self.clock
        )
        self.http = httpx.AsyncClient(trust_env=False)

    def open_provider(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.provider = self.another_provider()
        self.http = httpx.AsyncClient(base_url=self.url, trust_env=False)

    def another_provider(self) -> SandboxProvider:
        """Another provider that shares nothing with the first but the database."""
        return SandboxProvider(
            self.pool,
            SECRET,
            f"{self.url}/webhook",
            f"{self.url}/",
            self.clock,
            needs_onboarding=self.needs_onboarding,
        )

    def events(self, session: CheckoutSession) -> list[ProviderEvent]:
        """What the shop was told about `session`, every signature checked."""
        events = []
        for header, body in self.received:
            signature.verify(body, header, (SECRET,), int(time.time()), tolerance_seconds=5)
            event = parse_event(body)
            if event.session_id == session.id:
                events.append(event)
        return events

    def bodies(self, session: CheckoutSession) -> list[bytes]:
        return [body for _, body in self.received if session.id.encode() in body]

    async def outbox(self, session: CheckoutSession) -> list[dict[str, Any]]:
        async with self.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT type, attempts, next_attempt_at, delivered_at, last_answer"
                " FROM sandbox.outbox WHERE session_id = $1 ORDER BY position",
                session.id,
            )
        return [dict(row) for row in rows]

    async def deliver_everything(self) -> None:
        while await self.provider.deliver_due():
            pass


@pytest.fixture
async def town(pool: Pool) -> AsyncIterator[Town]:
    town = Town(pool)

    @post("/webhook", status_code=200)
    async def webhook(request: Request[object, object, State]) -> Response[None]:
        await asyncio.sleep(town.webhook_delay_seconds)
        town.received.append((request.headers["Stripe-Signature"], await request.body()))
        return Response(None, status_code=town.webhook_status)

    app = Litestar(
        [webhook, sandbox_router(), people_router(), static_router()],
        exception_handlers=HANDLERS,
        openapi_config=None,
    )
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", lifespan="off", access_log=False)
    )
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    town.open_provider(server.servers[0].sockets[0].getsockname()[1])
    app.state.provider = town.provider
    app.state.settings = make_settings("")
    app.state.session_behind = only_sessions
    yield town
    await town.http.aclose()
    await town.provider.close()
    server.should_exit = True
    await running


async def only_sessions(name: str) -> str:
    """This town has no partners, whose checkout tokens would stand for sessions."""
    return name


def a_request(**changes: Any) -> CheckoutRequest:
    request = CheckoutRequest(
        idempotency_key=f"payment-{time.monotonic_ns()}",
        amount_minor=1_200_000,
        currency="INR",
        title="Logo & <brand> book",
        metadata={"jobId": "66aa00000000000000000a01", "note": "₹"},
        success_url="https://shop.example/paid?session={CHECKOUT_SESSION_ID}",
        cancel_url="https://shop.example/jobs?cancelled=true",
        asked_at=NOON,
        expires_in_seconds=3600,
    )
    return msgspec.structs.replace(request, **changes)


async def open_session(town: Town, **changes: Any) -> CheckoutSession:
    return await town.provider.create_checkout(a_request(**changes))
