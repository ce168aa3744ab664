"""Partners with a webhook: a receiver on 127.0.0.1, and a worker that delivers to it.

    async with hooked(broker, answering(200)) as hook:      a receiver, made known to the server
        await hook.test()                                   something to deliver
        await hook.deliver()                                the worker, until nothing is due

The worker is the product's own, on the database of the test. `hook.contract()` makes a contract of
Huda's and Omar's, `hook.approve(number)` and the others move it: each has its event.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from conftest import TestDatabase
from earnest.assembly import build_core
from earnest.outbound.sender import Limits, Sender
from earnest.settings import Settings
from earnest.store import clock
from earnest.store.db import Pool
from earnest.web.metrics import Metrics
from earnest.worker.chores import expire_webhooks
from earnest.worker.deliveries import Deliveries
from life import accepted
from partners import Broker
from receiver import Conduct, Receiver, Request, receiving
from web import make_settings

WEBHOOKS = "/apps/api/webhooks"
CONTRACTS = "/apps/api/contracts"
HUDA = {"phoneNumber": "966500000001", "firstName": "Huda", "lastName": "S"}
OMAR = {"phoneNumber": "966500000002", "firstName": "Omar", "lastName": ""}
DUE = """
SELECT count(*) FROM delivery AS d
INNER JOIN webhook_endpoint AS w ON d.endpoint_id = w.id
WHERE d.state = 'pending' AND d.next_attempt_at <= business_now()
AND w.is_active AND w.deleted_at IS NULL
"""
ATTEMPTS = """
SELECT a.*, d.type, d.event_id FROM delivery_attempt AS a
INNER JOIN delivery AS d ON a.delivery_id = d.id
ORDER BY a.created_at, a.id
"""


@contextlib.asynccontextmanager
async def delivering(
    settings: Settings, *, total_seconds: float = 30, metrics: Metrics | None = None
) -> AsyncIterator[Deliveries]:
    """A worker's deliveries, with a pool of their own, until the block ends."""
    core = build_core(settings, Pool(settings.database_url))
    sender = Sender(limits=Limits(total_seconds=total_seconds))
    observe = (metrics or Metrics()).webhook
    deliveries = Deliveries(core, settings, sender=sender, observe=observe)
    stopping = asyncio.Event()

    async def work() -> None:
        while not stopping.is_set():
            if not await deliveries.turn():
                await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    try:
        yield deliveries
    finally:
        stopping.set()
        await working
        await deliveries.finish()
        await core.pool.close()


class Hook(msgspec.Struct):
    """A broker's webhook and whoever receives it. `secret` is as it was told."""

    broker: Broker
    receiver: Receiver
    secret: str
    id: str
    settings: Settings

    @property
    def heard(self) -> list[Request]:
        return self.receiver.heard

    @property
    def events(self) -> list[str]:
        """The types of what was heard."""
        return [json.loads(request.body)["event"] for request in self.heard]

    @property
    def pool(self) -> Pool:
        pool: Pool = self.broker.app.state.pool
        return pool

    async def test(self) -> str:
        """Queue a test; its webhook id."""
        answer = accepted(await self.broker.client.post(f"{WEBHOOKS}/test"))
        return str(answer["data"]["webhookId"])

    async def contract(self, **other: Any) -> str:
        """A new contract; its number."""
        body = {
            "title": "Logo pack",
            "contractServiceType": "Service",
            "amount": 1000,
            "BuyerParty": HUDA,
            "SellerParty": OMAR,
            **other,
        }
        answer = accepted(await self.broker.client.post(CONTRACTS, json=body))
        return str(answer["data"]["contractId"])

    async def approve(self, number: str) -> None:
        accepted(await self.broker.client.post(f"{CONTRACTS}/{number}/approve"))

    async def cancel(self, number: str) -> None:
        accepted(
            await self.broker.client.post(f"{CONTRACTS}/{number}/cancel", json={"by": "buyer"})
        )

    async def deliver(self, *, total_seconds: float = 30) -> None:
        """A worker, until nothing is due."""
        async with delivering(self.settings, total_seconds=total_seconds):
            await self.until_ended()

    async def until_ended(self, seconds: float = 20) -> None:
        """Wait until nothing is due any more."""
        async with asyncio.timeout(seconds):
            while await self.value(DUE):  # noqa: ASYNC110  the database has to be asked
                await asyncio.sleep(0.01)

    async def expire(self) -> None:
        """The worker's other chore: what nobody will receive any more fails."""
        await expire_webhooks(self.pool)

    async def advance(self, seconds: int) -> None:
        async with self.pool.connection() as conn:
            await clock.advance(conn, seconds)

    async def value(self, sql: str, *arguments: Any) -> Any:
        async with self.pool.connection() as conn:
            return await conn.fetchval(sql, *arguments)

    async def attempts(self) -> list[dict[str, Any]]:
        """Every attempt, in the order in which they began."""
        async with self.pool.connection() as conn:
            return [dict(row) for row in await conn.fetch(ATTEMPTS)]

    async def shown(self) -> Any:
        """The webhook as GET shows it."""
        return accepted(await self.broker.client.get(WEBHOOKS))["data"]

    async def deliveries(self, **wanted: str) -> list[dict[str, Any]]:
        """The deliveries as they are listed, oldest first."""
        answer = accepted(await self.broker.client.get(f"{WEBHOOKS}/deliveries", params=wanted))
        listed: list[dict[str, Any]] = answer["data"]["deliveries"]
        return listed[::-1]

    async def logs(self) -> list[dict[str, Any]]:
        """The log, oldest first."""
        answer = accepted(await self.broker.client.get(f"{WEBHOOKS}/logs?pageSize=100"))
        listed: list[dict[str, Any]] = answer["data"]["logs"]
        return listed[::-1]


async def save(broker: Broker, url: str) -> Any:
    """Give `broker` a webhook at `url`; the answer's data."""
    return accepted(await broker.client.post(WEBHOOKS, json={"webhookUrl": url}))["data"]


def scripted(*conducts: Conduct) -> Conduct:
    """These conducts, one after the other, and the last one for ever."""
    left = list(conducts)

    async def conduct(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return conduct


@contextlib.asynccontextmanager
async def hooked(broker: Broker, conduct: Conduct) -> AsyncIterator[Hook]:
    """`broker` hears of everything by a receiver of this conduct."""
    async with receiving(conduct) as receiver:
        made = await save(broker, f"http://127.0.0.1:{receiver.port}/hook")
        settings: Settings = broker.app.state.settings
        yield Hook(broker, receiver, made["secretKey"], made["id"], settings)


def webhook_settings(database: TestDatabase) -> Settings:
    """Sandbox settings with which webhooks may be received on loopback."""
    return make_settings(database.app_dsn, webhook_allow_private=True)
