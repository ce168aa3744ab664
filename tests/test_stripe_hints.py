"""Stripe tells of refunds, payouts and disputes days later: it is heard at once, over HTTP.

Stripe is its double, whose own signed events come to /webhook; the worker asks it how things stand.
"""

from collections.abc import AsyncIterator

import pytest

from conftest import TestDatabase
from deal import Deal
from earnest.actions import chargebacks, payouts
from earnest.settings import Settings
from life import Life, accepted
from partners import Broker
from paying_out import balance, seen, withdrawn
from stripe_desk import REFUNDS, checkout, fetch, heard, paid, settings_with, sound
from stripe_double import StripeDouble
from web import Cast

INBOX = "SELECT type, outcome, reason FROM provider_event WHERE session_id IS NULL ORDER BY type"


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    """In real time."""
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


async def test_it_is_done_with_a_slow_refund_as_soon_as_stripe_says_so(
    stripe: StripeDouble, broker: Broker
) -> None:
    stripe.books.refund_status = "pending"
    deal = await Deal.at(broker, "pending")
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    assert await deal.settle() == 1
    assert [row[1] for row in await fetch(broker.app, REFUNDS)] == ["sent"]
    assert await deal.settle() == 0, "it waits for the bank"
    (refund,) = stripe.refunds
    stripe.settle_refund(refund, "succeeded")
    await heard(stripe, broker.app, times=2)
    await sound(broker.app)
    assert await deal.settle() == 1, "no time had to go by"
    assert [row[1] for row in await fetch(broker.app, REFUNDS)] == ["done"]
    await sound(broker.app)


async def test_it_hears_that_a_refund_came_back(stripe: StripeDouble, broker: Broker) -> None:
    deal = await Deal.at(broker, "pending")
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    assert await deal.settle() == 1
    (refund,) = stripe.refunds
    await heard(stripe, broker.app)
    assert await deal.settle() == 0, "what Stripe told of it was known"
    stripe.settle_refund(refund, "failed")
    await heard(stripe, broker.app, times=3)
    await sound(broker.app)
    assert await deal.settle() == 1
    assert [row[1] for row in await fetch(broker.app, REFUNDS)] == ["returned"]
    assert await deal.settle() == 0
    await sound(broker.app)


async def test_it_hears_of_accounts_and_payouts_of_connected_accounts(
    stripe: StripeDouble, cast: Cast
) -> None:
    await released(stripe, cast)
    await onboarded(stripe, cast)
    await heard(stripe, cast.app)
    earned = await balance(cast.bob)
    payout = await withdrawn(cast.bob, 800)
    for _ in range(3):
        await payouts.send_due(cast.app.state.core)
    (at_stripe,) = stripe.all("payout")
    assert await payouts.send_due(cast.app.state.core) == 0, "it waits for the bank"
    stripe.settle_payout(at_stripe, "in_transit")
    stripe.settle_payout(at_stripe, "paid")
    await heard(stripe, cast.app, times=2)
    await payouts.send_due(cast.app.state.core)
    assert (await seen(cast.bob, payout))["status"] == "paid"
    stripe.settle_payout(at_stripe, "failed")
    await heard(stripe, cast.app, times=2)
    for _ in range(3):
        await payouts.send_due(cast.app.state.core)
    assert (await seen(cast.bob, payout))["status"] == "failed"
    assert await balance(cast.bob) == earned > 800
    told = await fetch(cast.app, INBOX)
    assert ("account.updated", "ignored", "is looked up when it matters") in told
    assert ("payout.failed", "applied", "is looked up") in told
    assert {outcome for _, outcome, _ in told} == {"applied", "ignored"}
    await sound(cast.app)


async def test_it_books_a_dispute_whatever_comes_first(stripe: StripeDouble, cast: Cast) -> None:
    life = await released(stripe, cast)
    (intent,) = stripe.payment_intents
    *_, told = stripe.dispute(intent)
    stripe.settle_dispute(told["data"]["object"]["id"], "review")
    await heard(stripe, cast.app, order=[2, 0, 1], times=2)
    assert await chargebacks.look_up_due(cast.app.state.core) == 1
    assert await fetch(cast.app, "SELECT state FROM chargeback") == [("review",)]
    assert (await life.proof())["holds"] is True
    await sound(cast.app)


async def released(stripe: StripeDouble, cast: Cast) -> Life:
    """Bob has earned what Alice paid with Stripe."""
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session)
    await heard(stripe, cast.app)
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
    return life


async def onboarded(stripe: StripeDouble, cast: Cast) -> None:
    """Bob has told Stripe where he wants to be paid."""
    body = {"country": "IN"}
    accepted(await cast.bob.post("/api/freelancer/wallet/onboarding", json=body), 200)
    (account,) = stripe.all("account")
    stripe.onboard(account)
