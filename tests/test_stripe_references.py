"""What Stripe calls our money is what we say it calls it: over HTTP, Stripe is its double."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import TestDatabase
from deal import Deal
from earnest.actions import chargebacks, payouts
from earnest.settings import Settings
from life import Life, accepted
from partners import Broker
from paying_out import withdrawn
from stripe_desk import checkout, heard, press_pay, settings_with, sound
from stripe_double import StripeDouble
from web import Cast

TEST_MODE = {"provider": "stripe", "livemode": False}


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    """In real time."""
    async with StripeDouble() as double:
        double.books.fee_bps = double.books.fee_minor = 0
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


def objects(proof: Any) -> list[tuple[str, str, Any, str]]:
    assert all(one["account"] == TEST_MODE for one in proof["provider"])
    return [(one["type"], one["id"], one["amount"], one["status"]) for one in proof["provider"]]


async def entries(cast: Cast) -> list[tuple[str, str | None, str | None]]:
    """Of Bob's wallet, the newest first."""
    answer = await cast.bob.get(f"/api/freelancer/wallet/earnings/{cast.bob.id}")
    return [
        (one["description"], one["reference"], one["payoutId"])
        for one in accepted(answer)["data"]["transactions"]
    ]


async def test_payment_payout_and_dispute_are_named(stripe: StripeDouble, cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session)
    await heard(stripe, cast.app)
    for step in ("approve", "ongoing", "complete", "request"):
        await getattr(life, step)()
    escrow = await life.release()
    (intent,) = stripe.payment_intents
    assert (escrow["providerSessionId"], escrow["providerPaymentId"]) == (life.session, intent)
    (listed,) = accepted(await cast.olga.get("/api/admin/escrow/transactions"))["data"]
    assert (listed["providerSessionId"], listed["providerPaymentId"]) == (life.session, intent)

    accepted(await cast.bob.post("/api/freelancer/wallet/onboarding"))
    (account,) = stripe.all("account")
    stripe.onboard(account)
    payout = (await withdrawn(cast.bob, 800))["_id"]
    await payouts.send_due(cast.app.state.core)
    (transfer,) = stripe.all("transfer")
    assert (await entries(cast))[0] == ("Withdrawal", transfer, payout)
    await payouts.send_due(cast.app.state.core)
    (at_bank,) = stripe.all("payout")
    assert (await entries(cast))[0] == ("Withdrawal", at_bank, payout)
    stripe.settle_payout(at_bank, "failed")
    await heard(stripe, cast.app)
    for _ in range(3):
        await payouts.send_due(cast.app.state.core)
    assert (await entries(cast))[:2] == [
        ("Withdrawal returned", transfer, payout),
        ("Withdrawal", at_bank, payout),
    ]

    stripe.dispute(intent)
    await heard(stripe, cast.app)
    await chargebacks.look_up_due(cast.app.state.core)
    (dispute,) = stripe.all("dispute")
    assert (await entries(cast))[0] == ("Chargeback", dispute, None)
    assert objects(await life.proof()) == [
        ("checkout_session", life.session, 12000, "captured"),
        ("payment", intent, 12000, "captured"),
        ("chargeback", dispute, 12000, "open"),
    ]
    await sound(cast.app)


async def test_an_open_session_and_a_refund_are_named(stripe: StripeDouble, broker: Broker) -> None:
    deal = await Deal.begin(broker)
    assert (await deal.proof())["provider"] == []
    assert (await press_pay(deal)).status_code == 303
    (session,) = stripe.sessions
    assert objects(await deal.proof()) == [("checkout_session", session, 1143.75, "open")]
    stripe.pay(session)
    await heard(stripe, broker.app)
    assert (await deal.refund()).status_code == 200
    await deal.settle()
    (intent,), (refund,) = stripe.payment_intents, stripe.refunds
    assert objects(await deal.proof()) == [
        ("checkout_session", session, 1143.75, "captured"),
        ("payment", intent, 1143.75, "captured"),
        ("refund", refund, 1000, "done"),
    ]
    await sound(broker.app)
