"""Stripe's double and money coming in: pages, payments, refunds, and the lists of them."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from stripe_client import captured, page, speaking_to
from stripe_double import Outcome, StripeDouble

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


# -- paying ---------------------------------------------------------------------------------

# What happens on the page, and how session and payment intent stand then.
PAGES: list[tuple[list[Outcome], str, str, str, str]] = [
    (["paid"], "complete", "paid", "succeeded", "checkout.session.completed"),
    (["unpaid"], "complete", "unpaid", "processing", "checkout.session.completed"),
    (
        ["unpaid", "succeeded_later"],
        "complete",
        "paid",
        "succeeded",
        "checkout.session.async_payment_succeeded",
    ),
    (
        ["succeeded_later"],
        "complete",
        "paid",
        "succeeded",
        "checkout.session.async_payment_succeeded",
    ),
    (
        ["failed"],
        "complete",
        "unpaid",
        "requires_payment_method",
        "checkout.session.async_payment_failed",
    ),
    (["declined"], "open", "unpaid", "requires_payment_method", "payment_intent.payment_failed"),
    (["declined", "paid"], "complete", "paid", "succeeded", "checkout.session.completed"),
]


@pytest.mark.parametrize(("outcomes", "status", "payment_status", "intent", "told"), PAGES)
async def test_it_stands_as_stripe_says_after_a_payer_came(
    double: StripeDouble,
    client: stripe.StripeClient,
    outcomes: list[Outcome],
    status: str,
    payment_status: str,
    intent: str,
    told: str,
) -> None:
    session = await client.v1.checkout.sessions.create_async(page())
    for outcome in outcomes:
        double.pay(session.id, outcome)
    found = await client.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["payment_intent"]}
    )
    assert (found.status, found.payment_status) == (status, payment_status)
    assert isinstance(found.payment_intent, stripe.PaymentIntent)
    assert found.payment_intent.status == intent
    assert found.payment_intent.metadata.to_dict() == {"paymentId": "pay_1"}
    assert len(double.payment_intents) == 1
    assert double.events[-1]["type"] == told
    assert len(double.all("charge")) == (payment_status == "paid")


async def test_it_lets_nobody_do_what_a_page_does_not_allow(
    double: StripeDouble, client: stripe.StripeClient, clock: Clock
) -> None:
    create = client.v1.checkout.sessions.create_async
    paid, waiting, failed, closed, late = [(await create(page())).id for _ in range(5)]
    double.pay(paid)
    double.pay(waiting, "unpaid")
    double.pay(failed, "failed")
    await client.v1.checkout.sessions.expire_async(closed)
    lapsed = (await create(page())).id
    clock.now += 3700
    told = len(double.events)
    assert (await client.v1.checkout.sessions.retrieve_async(lapsed)).status == "expired"
    for session, outcome in (
        (paid, "paid"),
        (waiting, "paid"),
        (failed, "succeeded_later"),
        (closed, "paid"),
        (late, "paid"),
    ):
        with pytest.raises(ValueError, match="session"):
            double.pay(session, outcome)  # type: ignore[arg-type]
    for session in (paid, waiting, closed):
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.checkout.sessions.expire_async(session)
        with pytest.raises(ValueError, match="expire"):
            double.expire(session)
    assert [event["type"] for event in double.events[told:]] == ["checkout.session.expired"] * 2


async def test_it_captures_another_amount_when_a_test_says_so(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    session = await client.v1.checkout.sessions.create_async(page())
    told = double.pay(session.id, amount=1, currency="usd")[-1]["data"]["object"]
    assert (told["amount_total"], told["currency"]) == (1, "usd")
    (charge,) = double.all("charge").values()
    assert (charge["amount"], charge["currency"]) == (1, "usd")


# -- giving back ----------------------------------------------------------------------------


async def test_it_gives_back_no_more_than_came_in(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    wanted: Any = {"payment_intent": await captured(client, double)}
    for amount in (50_000, 70_000):
        await client.v1.refunds.create_async(wanted | {"amount": amount})
        for too_much in ({"amount": 70_001}, {"amount": 0}, {"amount": -1}):
            with pytest.raises(stripe.InvalidRequestError):
                await client.v1.refunds.create_async(wanted | too_much)
    (charge,) = double.all("charge").values()
    assert (charge["amount_refunded"], charge["refunded"]) == (120_000, True)
    assert len(double.refunds) == 2
    unpaid = await client.v1.checkout.sessions.create_async(page())
    double.pay(unpaid.id, "unpaid")
    waiting = double.sessions[unpaid.id]["payment_intent"]
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async({"payment_intent": waiting})


async def test_it_settles_refunds_when_their_bank_speaks(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double)
    double.books.refund_status = "pending"
    good, bad = [
        await client.v1.refunds.create_async({"payment_intent": intent, "amount": 10_000})
        for _ in range(2)
    ]
    assert (good.status, bad.status) == ("pending", "pending")
    double.settle_refund(good.id, "succeeded")
    failed = double.settle_refund(bad.id, "failed")
    assert failed[-1]["type"] == "refund.failed"
    states = [(await client.v1.refunds.retrieve_async(each)).status for each in (good.id, bad.id)]
    assert states == ["succeeded", "failed"]
    fee = 120_000 * 290 // 10_000 + 30
    assert await moved(client) == [
        ("charge", 120_000 - fee),
        ("refund", -10_000),
        ("refund", -10_000),
        ("refund_failure", 10_000),
    ]
    with pytest.raises(ValueError, match="does not become"):
        double.settle_refund(bad.id, "succeeded")


# -- lists ----------------------------------------------------------------------------------


async def test_it_lists_newest_first_a_page_at_a_time(
    double: StripeDouble, client: stripe.StripeClient, clock: Clock
) -> None:
    intent = await captured(client, double)
    other = await captured(client, double)
    await client.v1.refunds.create_async({"payment_intent": other})
    made = []
    for n in range(7):
        clock.now += 60
        metadata = {"refundId": f"rf_{n}"}
        made.append(
            await client.v1.refunds.create_async(
                {"payment_intent": intent, "amount": 10, "metadata": metadata}
            )
        )
    mine: Any = {"payment_intent": intent}
    ids = [each.id for each in reversed(made)]
    first = await client.v1.refunds.list_async(mine | {"limit": 3})
    assert ([each.id for each in first.data], first.has_more) == (ids[:3], True)
    assert [each.id async for each in first.auto_paging_iter()] == ids
    last = await client.v1.refunds.list_async(mine | {"starting_after": ids[3]})
    assert ([each.id for each in last.data], last.has_more) == (ids[4:], False)
    before = await client.v1.refunds.list_async(mine | {"ending_before": ids[4], "limit": 2})
    assert ([each.id for each in before.data], before.has_more) == (ids[2:4], True)
    since = made[3].created
    ranges: list[tuple[Any, int]] = [
        ({"gte": since}, 4),
        ({"gt": since}, 3),
        ({"lt": since}, 3),
        ({"lte": since}, 4),
        ({"gt": made[1].created, "lt": made[5].created}, 3),
        (since, 1),
    ]
    for created, count in ranges:
        assert len((await client.v1.refunds.list_async(mine | {"created": created})).data) == count
    for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "re_nothing"}):
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.refunds.list_async(mine | wrong)


async def test_it_expands_what_it_is_asked_to(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double)
    path = "latest_charge.balance_transaction"
    found = await client.v1.payment_intents.retrieve_async(intent, {"expand": [path]})
    assert isinstance(found.latest_charge, stripe.Charge)
    assert isinstance(found.latest_charge.balance_transaction, stripe.BalanceTransaction)
    assert found.latest_charge.balance_transaction.net == 120_000 - 3_510
    sessions = await client.v1.checkout.sessions.list_async({"expand": ["data.payment_intent"]})
    assert isinstance(sessions.data[0].payment_intent, stripe.PaymentIntent)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.retrieve_async(intent, {"expand": ["colour"]})
    assert isinstance(double.payment_intents[intent]["latest_charge"], str)
