"""The official SDK, pointed at Stripe's double: the oracle client of its tests.

async with speaking_to(stripe) as client:
    session = await client.v1.checkout.sessions.create_async(page(), {"idempotency_key": "a"})
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import stripe

from stripe_server import StripeServer


@contextlib.asynccontextmanager
async def speaking_to(
    server: StripeServer, api_key: str | None = None, *, timeout_seconds: float = 20
) -> AsyncIterator[stripe.StripeClient]:
    """A client of this server, with its key unless there is another; it never tries again."""
    http = stripe.HTTPXClient(timeout=timeout_seconds)
    yield stripe.StripeClient(
        api_key or server.api_key,
        base_addresses={"api": server.url},
        http_client=http,
        max_network_retries=0,
    )
    await http.close_async()  # type: ignore[no-untyped-call]


def page(amount: int = 120_000, currency: str = "inr", **other: Any) -> Any:
    """The parameters of a checkout session for one thing of this price."""
    price = {
        "currency": currency,
        "unit_amount": amount,
        "product_data": {"name": "Logo for Alice"},
    }
    return {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": "https://shop.example/done",
        "cancel_url": "https://shop.example/back",
        "client_reference_id": "pay_1",
        "metadata": {"paymentId": "pay_1"},
        "payment_intent_data": {"metadata": {"paymentId": "pay_1"}},
        "expires_at": int(time.time()) + 3600,
    } | other


async def captured(
    client: stripe.StripeClient, server: Any, amount: int = 120_000, currency: str = "inr"
) -> str:
    """The payment intent of a session that was paid."""
    session = await client.v1.checkout.sessions.create_async(page(amount, currency))
    server.pay(session.id)
    return str(server.sessions[session.id]["payment_intent"])


async def listening(
    client: stripe.StripeClient,
    url: str = "https://shop.example/webhook",
    events: Iterable[str] = ("refund.updated",),
    **other: Any,
) -> stripe.WebhookEndpoint:
    """A webhook endpoint, made as the dashboard makes it; its secret is said only here."""
    params: Any = {"url": url, "enabled_events": sorted(events), **other}
    return await client.v1.webhook_endpoints.create_async(params)


async def seller(client: stripe.StripeClient, server: Any) -> str:
    """A connected account that can be paid."""
    account = await client.v1.accounts.create_async(
        {"type": "express", "country": "IN", "capabilities": {"transfers": {"requested": True}}}
    )
    server.onboard(account.id)
    return account.id
