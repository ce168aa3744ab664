"""Partners: businesses with a client of their own, signed in over HTTP.

    async def test_it_...(broker, rival): answer = await broker.client.post("/apps/api/...")

Demo Broker is the partner, whose buyer is Huda and whose seller is Omar; Rival Broker is the
stranger. `make_broker(app, name, require_kyc=True)` makes another one.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar

from earnest.domain.partner_settings import Wanted
from earnest.domain.party import Actor, Role
from earnest.ids import PublicId
from earnest.store import businesses
from earnest.store.db import Pool
from web import Caller, caller

TOKEN = "/connect/token"


class Broker(msgspec.Struct):
    """A business; `client` calls the API in its name. `key` is its row's, `business_id` public."""

    app: Litestar
    name: str
    key: int
    business_id: UUID
    client_id: str
    secret: str
    client: Caller

    @property
    def actor(self) -> Actor:
        return Actor(Role.PARTNER, self.key, PublicId(""), 1)

    @property
    def token(self) -> str:
        return self.client.headers["Authorization"].removeprefix("Bearer ")

    def form(self, **other: str) -> dict[str, str]:
        """What it asks for a token with."""
        asked = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.secret,
        }
        return asked | other

    async def ask_token(self, **other: str) -> httpx.Response:
        async with caller(self.app) as nobody:
            return await nobody.post(TOKEN, data=self.form(**other))


async def make_broker(app: Litestar, name: str = "Demo Broker", **wanted: Any) -> Broker:
    """A partner as the operator makes one, with `wanted` settings, and a token it asked for."""
    pool: Pool = app.state.pool
    async with pool.connection() as conn, conn.transaction():
        made = await businesses.create(conn, Wanted(name=name, **wanted), "setup")
    partner = made.partner
    broker = Broker(
        app,
        name,
        partner.business.key,
        partner.public_id,
        partner.client_id,
        made.secret,
        caller(app),
    )
    answer = await broker.ask_token()
    assert answer.status_code == 200, answer.text
    broker.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    broker.client.name = name
    broker.client.actor = broker.actor
    return broker


@pytest.fixture
async def broker(app: Litestar) -> AsyncIterator[Broker]:
    """Demo Broker, whose currency is SAR."""
    made = await make_broker(app)
    yield made
    await made.client.aclose()


@pytest.fixture
async def rival(app: Litestar) -> AsyncIterator[Broker]:
    """Rival Broker, another partner."""
    made = await make_broker(app, "Rival Broker")
    yield made
    await made.client.aclose()
