"""Payment providers to test: the sandbox in its town, Stripe behind its double.

A **shop** is a provider with people and banks: `sandbox_shop`, `stripe_shop`, and `strict_shop`, a
sandbox whose people have to visit a page before they are paid. `stripe` is the double on its own,
`provider` a StripeProvider at it that waits half a second and no longer.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import pytest

from earnest.providers import stripe_line
from earnest.providers.base import (
    AccountRequest,
    CheckoutSession,
    PayoutRequest,
    Provider,
    RefundRequest,
    ReturnRequest,
    TransferRequest,
)
from earnest.providers.events import ProviderEvent, parse_event
from earnest.providers.sandbox_payouts import PAYOUT_SECONDS
from earnest.providers.stripe import StripeProvider
from stripe_double import StripeDouble
from town import NOON, Town, a_request

PAID_OUT = """
SELECT
    (SELECT count(*) FROM sandbox.account) AS accounts,
    (SELECT count(*) FROM sandbox.transfer) AS transfers,
    (SELECT count(*) FROM sandbox.transfer_return) AS returns,
    (SELECT count(*) FROM sandbox.payout) AS payouts
"""


class Shop(Protocol):
    """A provider, what people and banks do there, what it tells, and what it has made."""

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

    async def onboard(self, account_id: str) -> None:
        """The owner of a payout account hands in all that is wanted."""
        ...

    async def settle(self, payout: PayoutRequest, state: str) -> None:
        """The payee's bank: paid, or failed, which may come after it."""
        ...

    async def dispute(self, session: CheckoutSession, outcome: str) -> str:
        """The payer's bank: opened, then won or lost; the id of the dispute."""
        ...

    async def told(self) -> list[tuple[str, str | None, str]]:
        """Type, account and the object's id of every event, oldest first."""
        ...

    async def paid_out(self) -> tuple[int, int, int, int]:
        """How many accounts, transfers, returns and payouts there are."""
        ...

    def now(self) -> datetime:
        """What time the provider's books have."""
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

    async def onboard(self, account_id: str) -> None:
        link = await self.provider.create_onboarding_link(
            account_id, return_url="https://shop.example/", refresh_url="https://shop.example/"
        )
        visit, _ = await self._town.provider.open_onboarding(link.url.rpartition("/")[2])
        assert visit is not None
        assert await self._town.provider.finish_onboarding(visit)

    async def settle(self, payout: PayoutRequest, state: str) -> None:
        if state == "failed":
            await self._town.provider.fail_payout(payout.reference)
        else:
            self._town.clock.advance(PAYOUT_SECONDS)
            assert await self._town.provider.arrive_due()

    async def dispute(self, session: CheckoutSession, outcome: str) -> str:
        return (await self._town.provider.dispute(session.id, outcome)).id

    async def told(self) -> list[tuple[str, str | None, str]]:
        async with self._town.pool.connection() as conn:
            rows = await conn.fetch("SELECT body FROM sandbox.outbox ORDER BY position")
        return [_told(json.loads(row["body"])) for row in rows]

    async def paid_out(self) -> tuple[int, int, int, int]:
        async with self._town.pool.connection() as conn:
            row = await conn.fetchrow(PAID_OUT)
        assert row is not None
        return row["accounts"], row["transfers"], row["returns"], row["payouts"]

    def now(self) -> datetime:
        return datetime.now(UTC)


class StripeShop:
    def __init__(self, double: StripeDouble) -> None:
        self._double = double
        double.books.fee_bps = double.books.fee_minor = 0
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

    async def onboard(self, account_id: str) -> None:
        self._double.onboard(account_id)

    async def settle(self, payout: PayoutRequest, state: str) -> None:
        found = await self.provider.find_payout(payout)
        assert found is not None
        self._double.settle_payout(found.id, state)

    async def dispute(self, session: CheckoutSession, outcome: str) -> str:
        found = await self.provider.find_checkout(session.id)
        assert found is not None
        assert found.payment_id is not None
        if outcome == "opened":
            self._double.dispute(found.payment_id, fee=0)
        (dispute,) = self._double.all("dispute")
        if outcome != "opened":
            self._double.settle_dispute(dispute, "won" if outcome == "won" else "lost")
        return dispute

    async def told(self) -> list[tuple[str, str | None, str]]:
        return [_told(event) for event in self._double.events]

    async def paid_out(self) -> tuple[int, int, int, int]:
        kinds = ("account", "transfer", "transfer_reversal", "payout")
        accounts, transfers, returns, payouts = (len(self._double.all(kind)) for kind in kinds)
        return accounts, transfers, returns, payouts

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._double.books.now, UTC)

    async def close(self) -> None:
        for provider in self._others:
            await provider.close()


def _told(event: Any) -> tuple[str, str | None, str]:
    return event["type"], event.get("account"), event["data"]["object"]["id"]


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
async def strict_shop(town: Town) -> AsyncIterator[SandboxShop]:
    lax = town.provider
    town.needs_onboarding = True
    town.provider = town.another_provider()
    yield SandboxShop(town)
    await lax.close()


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


# -- paying people --------------------------------------------------------------------------


BOB = AccountRequest("party-bob", "bob@example.com", "Bob Sells", "IN", is_company=False)


def a_transfer(account_id: str, **changes: Any) -> TransferRequest:
    """Of 5,000.00 INR; another reference is another key, too."""
    request = TransferRequest("payout-1", "payout-1", account_id, 500_000, "INR")
    if "reference" in changes:
        changes.setdefault("idempotency_key", changes["reference"])
    return msgspec.structs.replace(request, **changes)


def a_return(transfer_id: str, **changes: Any) -> ReturnRequest:
    """Of the same."""
    request = ReturnRequest("payout-1", "payout-1", transfer_id, 500_000, "INR")
    return msgspec.structs.replace(request, **changes)


def a_payout(account_id: str, **changes: Any) -> PayoutRequest:
    """Of the same."""
    request = PayoutRequest("payout-1", "payout-1", account_id, 500_000, "INR")
    if "reference" in changes:
        changes.setdefault("idempotency_key", changes["reference"])
    return msgspec.structs.replace(request, **changes)


async def earn(shop: Shop, amount_minor: int = 1_200_000, currency: str = "INR") -> CheckoutSession:
    """Our balance grows by what a payer pays."""
    wanted = a_request(amount_minor=amount_minor, currency=currency)
    session = await shop.provider.create_checkout(wanted)
    await shop.pay(session, "paid")
    return session


async def payee(shop: Shop, request: AccountRequest = BOB) -> str:
    """A payout account that can be paid."""
    account = await shop.provider.create_account(request)
    if not account.is_payable:
        await shop.onboard(account.id)
    return account.id
