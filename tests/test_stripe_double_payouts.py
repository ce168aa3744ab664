"""Stripe's double and money going out: connected accounts, transfers, payouts, balances."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from stripe_client import captured, seller, speaking_to
from stripe_double import StripeDouble

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

DAY_SECONDS = 86_400


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def double(clock: Clock) -> AsyncIterator[StripeDouble]:
    async with StripeDouble(clock) as server:
        yield server


@pytest.fixture
async def client(double: StripeDouble) -> AsyncIterator[stripe.StripeClient]:
    async with speaking_to(double) as speaker:
        yield speaker


async def balance(client: stripe.StripeClient, account: str | None = None) -> dict[str, int]:
    """What is available and what is pending, in rupees."""
    found = await client.v1.balance.retrieve_async({}, {"stripe_account": account})
    return {
        status: sum(each.amount for each in rows if each.currency == "inr")
        for status, rows in (("available", found.available), ("pending", found.pending))
    }


async def moved(client: stripe.StripeClient, account: str | None = None) -> list[tuple[str, int]]:
    """The net of every balance transaction, in the order in which they happened."""
    first = await client.v1.balance_transactions.list_async(
        {"limit": 2}, {"stripe_account": account}
    )
    rows = [(row.reporting_category, row.net) async for row in first.auto_paging_iter()]
    return rows[::-1]


# -- connected accounts, transfers, payouts -------------------------------------------------


async def test_it_onboards_an_account_before_it_can_be_paid(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    account = await client.v1.accounts.create_async(
        {
            "type": "express",
            "email": "bob@example.com",
            "metadata": {"who": "bob", "old": "x"},
            "capabilities": {"transfers": {"requested": True}},
        }
    )
    transfer: Any = {"amount": 100, "currency": "inr", "destination": account.id}
    assert (account.payouts_enabled, account.details_submitted) == (False, False)
    assert account.requirements is not None
    assert account.requirements.currently_due
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.transfers.create_async(transfer)
    assert caught.value.code == "insufficient_capabilities_for_transfer"
    link = await client.v1.account_links.create_async(
        {
            "account": account.id,
            "type": "account_onboarding",
            "refresh_url": "https://shop.example/again",
            "return_url": "https://shop.example/done",
        }
    )
    assert link.expires_at > link.created
    (told,) = double.onboard(account.id)
    assert (told["type"], told["account"]) == ("account.updated", account.id)
    changed = await client.v1.accounts.update_async(account.id, {"metadata": {"old": ""}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"who": "bob"}
    own = await client.v1.accounts.retrieve_current_async({}, {"stripe_account": account.id})
    assert (own.id, own.payouts_enabled) == (account.id, True)
    await client.v1.transfers.create_async(transfer)
    with pytest.raises(stripe.PermissionError):
        await client.v1.balance.retrieve_async({}, {"stripe_account": "acct_stranger"})


async def test_it_moves_money_to_an_account_and_back(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    bob = await seller(client, double)
    wanted: Any = {"amount": 100_000, "currency": "inr", "destination": bob}
    key: Any = {"idempotency_key": "tr_1"}
    transfer = await client.v1.transfers.create_async(wanted, key)
    assert (await client.v1.transfers.create_async(wanted, key)).id == transfer.id
    assert await balance(client) == {"available": 120_000 - 3_510 - 100_000, "pending": 0}
    assert await balance(client, bob) == {"available": 100_000, "pending": 0}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.transfers.create_async(wanted)
    assert caught.value.code == "balance_insufficient"
    paid_out: Any = {"amount": 80_000, "currency": "inr"}
    payout = await client.v1.payouts.create_async(paid_out, {"stripe_account": bob})
    with pytest.raises(stripe.InvalidRequestError) as gone:
        await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 40_000})
    assert gone.value.code == "balance_insufficient"
    await client.v1.payouts.cancel_async(payout.id, {}, {"stripe_account": bob})
    await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 40_000})
    await client.v1.transfers.reversals.create_async(transfer.id)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 1})
    found = await client.v1.transfers.retrieve_async(transfer.id)
    assert (found.amount_reversed, found.reversed) == (100_000, True)
    assert len((await client.v1.transfers.reversals.list_async(transfer.id)).data) == 2
    assert await moved(client, bob) == [
        ("charge", 100_000),
        ("payout", -80_000),
        ("payout_reversal", 80_000),
        ("refund", -40_000),
        ("refund", -60_000),
    ]
    assert await balance(client) == {"available": 120_000 - 3_510, "pending": 0}


async def test_it_pays_out_what_an_account_has_and_takes_back_what_failed(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    bob = await seller(client, double)
    await client.v1.transfers.create_async(
        {"amount": 100_000, "currency": "inr", "destination": bob}
    )
    as_bob: Any = {"stripe_account": bob}
    wanted: Any = {"amount": 60_000, "currency": "inr"}
    payout = await client.v1.payouts.create_async(wanted, as_bob | {"idempotency_key": "po_1"})
    with pytest.raises(stripe.IdempotencyError):  # the key was for Bob's payout
        await client.v1.payouts.create_async(wanted, {"idempotency_key": "po_1"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payouts.create_async(wanted, as_bob)
    assert caught.value.code == "balance_insufficient"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payouts.retrieve_async(payout.id)  # it is Bob's, not the platform's
    double.settle_payout(payout.id, "in_transit")
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payouts.cancel_async(payout.id, {}, as_bob)
    double.settle_payout(payout.id, "paid")
    (failed,) = double.settle_payout(payout.id, "failed", failure_code="account_closed")
    assert (failed["type"], failed["account"]) == ("payout.failed", bob)
    with pytest.raises(ValueError, match="does not become"):
        double.settle_payout(payout.id, "paid")
    other = await client.v1.payouts.create_async(wanted, as_bob)
    assert (await client.v1.payouts.cancel_async(other.id, {}, as_bob)).status == "canceled"
    assert await moved(client, bob) == [
        ("charge", 100_000),
        ("payout", -60_000),
        ("payout_reversal", 60_000),
        ("payout", -60_000),
        ("payout_reversal", 60_000),
    ]
    assert await balance(client, bob) == {"available": 100_000, "pending": 0}
    double.onboard(bob, complete=False)
    with pytest.raises(stripe.InvalidRequestError) as not_now:
        await client.v1.payouts.create_async(wanted, as_bob)
    assert not_now.value.code == "payouts_not_allowed"
    listed = await client.v1.payouts.list_async({"status": "failed"}, as_bob)
    assert [(each.id, each.failure_code) for each in listed] == [(payout.id, "account_closed")]


async def test_it_keeps_a_charge_pending_until_it_is_settled(
    double: StripeDouble, client: stripe.StripeClient, clock: Clock
) -> None:
    double.books.settles_after_seconds = 2 * DAY_SECONDS
    await captured(client, double)
    bob = await seller(client, double)
    assert await balance(client) == {"available": 0, "pending": 116_490}
    wanted: Any = {"amount": 100_000, "currency": "inr", "destination": bob}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.transfers.create_async(wanted)
    (charge,) = double.all("charge")
    await client.v1.transfers.create_async(wanted | {"source_transaction": charge})
    with pytest.raises(stripe.InvalidRequestError):  # more than the charge has
        await client.v1.transfers.create_async(wanted | {"source_transaction": charge})
    assert await balance(client, bob) == {"available": 0, "pending": 100_000}
    clock.now += 2 * DAY_SECONDS
    assert await balance(client, bob) == {"available": 100_000, "pending": 0}
    assert await balance(client) == {"available": 16_490, "pending": 0}
    rows = await client.v1.balance_transactions.list_async()
    assert {row.status for row in rows} == {"available"}


async def test_it_has_no_money_but_what_its_balance_transactions_say(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double)
    await client.v1.refunds.create_async({"payment_intent": intent, "amount": 20_000})
    double.charge_fee(500, "inr")
    await client.v1.payouts.create_async({"amount": 10_000, "currency": "inr"})
    rows = await moved(client)
    assert rows[-2:] == [("fee", -500), ("payout", -10_000)]
    assert sum(net for _, net in rows) == (await balance(client))["available"]
    fees = await client.v1.balance_transactions.list_async({"type": "stripe_fee"})
    assert [(fee.amount, fee.source) for fee in fees] == [(-500, None)]
    with pytest.raises(stripe.InvalidRequestError) as broken:
        await client.v1.payouts.create_async({"amount": 150, "currency": "huf"})
    assert broken.value.param == "amount"  # not: there is no such money
