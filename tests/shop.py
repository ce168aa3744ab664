"""Payment providers to test: the sandbox in its town, Stripe behind its double.

A **shop** is a provider with somebody who pays there: `sandbox_shop`, `stripe_shop`. `stripe` is
the double on its own, `provider` a StripeProvider at it that waits half a second and no longer.
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec
import pytest

from earnest.providers import stripe_line
from earnest.providers.base import CheckoutSession, Provider, RefundRequest
from earnest.providers.events import ProviderEvent, parse_event
from earnest.providers.stripe import StripeProvider
from stripe_double import StripeDouble
from town import NOON, Town, a_request


class Shop(Protocol):
    """A provider, what a payer does there, what it tells, and what it has made."""

    provider: Provider

    def another(self) -> Provider:
        """The same account by another process."""
        ...

    async def pay(self, session: CheckoutSession, outcome: str) -> None:
        """paid, unpaid (their bank takes its time), then paid or failed."""
        ...

    async def events(self, session: CheckoutSession) -> list[ProviderEvent]: ...

    async def made(self) -> tuple[int, int]:
        """How many sessions and refunds there are."""
        ...


class SandboxShop:
    def __init__(self, town: Town) -> None:
        self._town = town
        self.provider: Provider = town.provider

    def another(self) -> Provider:
        return self._town.another_provider()

    async def pay(self, session: CheckoutSession, outcome: str) -> None:
        await self._town.provider.complete(session.id, outcome)

    async def events(self, session: CheckoutSession) -> list[ProviderEvent]:
        await self._town.deliver_everything()
        return self._town.events(session)

    async def made(self) -> tuple[int, int]:
        async with self._town.pool.connection() as conn:
            sessions = await conn.fetchval("SELECT count(*) FROM sandbox.session")
            return sessions, await conn.fetchval("SELECT count(*) FROM sandbox.refund")


class StripeShop:
    def __init__(self, double: StripeDouble) -> None:
        self._double = double
        self._others: list[StripeProvider] = []
        self.provider: Provider = self.another()

    def another(self) -> Provider:
        provider = provider_at(self._double.url)
        self._others.append(provider)
        return provider

    async def pay(self, session: CheckoutSession, outcome: str) -> None:
        waits = self._double.sessions[session.id]["status"] == "complete"
        if outcome == "paid":
            self._double.pay(session.id, "succeeded_later" if waits else "paid")
        else:
            self._double.pay(session.id, "failed" if outcome == "failed" else "unpaid")

    async def events(self, session: CheckoutSession) -> list[ProviderEvent]:
        bodies = [self._double.signed(event)[0] for event in self._double.events]
        told = [parse_event(body, "stripe") for body in bodies]
        return [event for event in told if event.session_id == session.id]

    async def made(self) -> tuple[int, int]:
        return len(self._double.sessions), len(self._double.refunds)

    async def close(self) -> None:
        for provider in self._others:
            await provider.close()


async def no_seconds() -> int:
    return 0


def provider_at(url: str, **other: Any) -> StripeProvider:
    wanted: dict[str, Any] = {"livemode": False, "clock_ahead_seconds": no_seconds, **other}
    key = wanted.pop("api_key", StripeDouble.api_key)
    return StripeProvider(key, api_base=url, **wanted)


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    async with StripeDouble(clock=NOON.timestamp) as double:
        yield double


@pytest.fixture
async def stripe_shop(stripe: StripeDouble) -> AsyncIterator[StripeShop]:
    shop = StripeShop(stripe)
    yield shop
    await shop.close()


@pytest.fixture
def sandbox_shop(town: Town) -> SandboxShop:
    return SandboxShop(town)


@pytest.fixture
async def provider(
    stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StripeProvider]:
    """A provider that waits half a second."""
    monkeypatch.setattr(stripe_line, "CALL_SECONDS", 0.5)
    made = provider_at(stripe.url)
    yield made
    await made.close()


def a_refund(payment_id: str, **changes: Any) -> RefundRequest:
    request = RefundRequest(
        idempotency_key="refund-1",
        reference="refund-1",
        payment_id=payment_id,
        amount_minor=500_000,
        currency="INR",
    )
    if "idempotency_key" in changes:
        changes.setdefault("reference", changes["idempotency_key"])
    return msgspec.structs.replace(request, **changes)


async def paid(stripe: StripeDouble, provider: StripeProvider) -> RefundRequest:
    """A payment of 12,000.00 INR; the refund of a part of it."""
    session = await provider.create_checkout(a_request())
    stripe.pay(session.id)
    (intent,) = stripe.payment_intents
    return a_refund(intent)
