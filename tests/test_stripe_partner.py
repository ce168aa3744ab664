"""A partner's buyer pays and is refunded with EARNEST_PROVIDER=stripe, over HTTP from end to end.

Stripe is its double, on a socket of its own; its signed events are posted to /webhook. What stays
in the end: the books, as `verify` sees them, and the objects at Stripe.
"""

from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from conftest import TestDatabase
from deal import TERMS, Deal
from dealing import books, row
from earnest.settings import Settings
from life import accepted
from partners import Broker, make_broker
from stripe_desk import REFUNDS, fetch, paid, press_pay, settings_with, sound
from stripe_double import Fault, StripeDouble
from web import caller


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    """In real time."""
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


async def test_it_pays_and_refunds_a_partners_contract(
    stripe: StripeDouble, broker: Broker
) -> None:
    deal = await Deal.begin(broker)
    session = await paid(stripe, deal)
    assert await deal.status() == "escrow"
    assert stripe.sessions[session]["amount_total"] == 114_375
    assert (await deal.refund()).status_code == 200
    assert await deal.settle() == 1
    ((public_id, state, _),) = await fetch(broker.app, REFUNDS)
    (refund,) = stripe.refunds.values()
    assert refund["metadata"] == {"refundId": public_id}
    assert stripe.requests[-1].key == public_id
    assert state == "done"
    assert await deal.status() == "refunded"
    assert refund["payment_intent"] == stripe.sessions[session]["payment_intent"]
    assert await books(deal) == row("143.75", "0", "0", "25", "3.75", "115")
    await sound(broker.app)


async def test_it_waits_for_a_refund_that_takes_days(stripe: StripeDouble, broker: Broker) -> None:
    deal = await Deal.begin(broker)
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    stripe.books.refund_status = "pending"
    assert await deal.settle() == 1
    assert await deal.status() != "refunded"
    (refund,) = stripe.refunds
    stripe.settle_refund(refund, "succeeded")
    await later(broker, 3_600)
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    assert list(stripe.refunds) == [refund]
    await sound(broker.app)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.RESET_AFTER_SUCCESS,
        Fault.RESET_BEFORE,
        Fault.ERROR_500_AFTER_SUCCESS,
        Fault.ERROR_500_THEN_SUCCESS,
        Fault.CONFLICT_409,
        Fault.TOO_MANY_429,
        Fault.GARBAGE,
        Fault.HALF,
    ],
)
async def test_it_gives_money_back_once_over_a_bad_line(
    stripe: StripeDouble, broker: Broker, fault: Fault
) -> None:
    deal = await Deal.begin(broker)
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    stripe.fault("POST", "/v1/refunds", fault)
    assert await deal.settle() == 1
    ((_, state, _),) = await fetch(broker.app, REFUNDS)
    assert state in ("planned", "unknown")
    await later(broker, 3_600)
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    assert len(stripe.refunds) == 1
    assert await deal.settle() == 0
    await sound(broker.app)


async def later(broker: Broker, seconds: int) -> None:
    async with caller(broker.app) as nobody:
        accepted(await nobody.post("/sandbox/clock", json={"advance_seconds": seconds}))


@pytest.mark.parametrize(
    ("currency", "amount", "at_stripe"),
    [("UGX", 160_000, 100), ("MGA", 160_000, 0.01), ("JPY", 160_000, 1), ("KWD", 1_000, 1)],
)
async def test_it_means_the_same_amount_as_stripe(
    stripe: StripeDouble, app: Litestar, currency: str, amount: int, at_stripe: float
) -> None:
    broker = await make_broker(app, currency=currency)
    deal = await Deal.begin(broker, amount=amount, Milestones=None)
    await paid(stripe, deal)
    assert await deal.status() == "escrow"
    async with app.state.pool.connection() as conn:
        (minor,) = await conn.fetchrow("SELECT amount_minor FROM payment")
    (session,) = stripe.sessions.values()
    assert session["amount_total"] == minor * at_stripe
    assert (await deal.refund()).status_code == 200
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    await sound(app)
    await broker.client.aclose()


async def test_it_offers_nothing_that_stripe_cannot_charge_exactly(
    stripe: StripeDouble, app: Litestar
) -> None:
    """57.188 KWD with all charges: cards take fils by tens. Nor does it take dinars of Iraq."""
    broker = await make_broker(app, currency="KWD")
    other = await make_broker(app, name="Baghdad Broker", currency="IQD")
    for whose, total in ((broker, "57.188 KWD"), (other, "57.188 IQD")):
        body = {**TERMS, "amount": 50, "Milestones": None}
        answer = await whose.client.post("/apps/api/contracts", json=body)
        assert answer.status_code == 400
        (error,) = answer.json()["validationErrors"]
        assert error["field"] == "amount"
        assert f"makes a total of {total} with all fees" in str(error)
    assert stripe.requests == []
    deal = await Deal.begin(broker, amount=80, Milestones=None)
    assert (await press_pay(deal)).status_code == 303
    await other.client.aclose()
    await sound(app)
    await broker.client.aclose()
