"""Stripe's double and payers' banks: what a dispute moves, tells and forbids."""

from collections.abc import AsyncIterator

import pytest
import stripe

from stripe_client import captured, speaking_to
from stripe_double import StripeDouble

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
async def double() -> AsyncIterator[StripeDouble]:
    async with StripeDouble() as server:
        server.books.fee_bps = server.books.fee_minor = 0
        yield server


@pytest.fixture
async def client(double: StripeDouble) -> AsyncIterator[stripe.StripeClient]:
    async with speaking_to(double) as speaker:
        yield speaker


def types(events: list[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


async def test_it_takes_a_disputed_payment_and_a_fee_and_gives_the_payment_back(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double, 120_000)
    opened = double.dispute(intent, fee=1_500)
    assert types(opened) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert double.books.balance("available") == {"inr": -1_500}
    (listed,) = (await client.v1.disputes.list_async({"payment_intent": intent})).data
    assert (listed.status, listed.amount, listed.payment_intent) == (
        "needs_response",
        120_000,
        intent,
    )
    charge = await client.v1.charges.retrieve_async(str(listed.charge))
    assert charge.disputed
    assert types(double.settle_dispute(listed.id, "review")) == ["charge.dispute.updated"]
    assert types(double.settle_dispute(listed.id, "won")) == [
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]
    assert double.books.balance("available") == {"inr": 118_500}
    found = await client.v1.disputes.retrieve_async(listed.id)
    assert [(row.reporting_category, row.net) for row in found.balance_transactions] == [
        ("dispute", -121_500),
        ("dispute_reversal", 120_000),
    ]
    assert (await client.v1.disputes.list_async({"charge": "ch_other"})).data == []


async def test_it_keeps_what_was_lost(double: StripeDouble, client: stripe.StripeClient) -> None:
    double.dispute(await captured(client, double, 120_000), amount=100_000, fee=0)
    (dispute,) = double.all("dispute")
    assert types(double.settle_dispute(dispute, "lost")) == ["charge.dispute.closed"]
    assert double.books.balance("available") == {"inr": 20_000}
    with pytest.raises(ValueError, match="lost"):
        double.settle_dispute(dispute, "won")


async def test_it_only_warns(double: StripeDouble, client: stripe.StripeClient) -> None:
    intent = await captured(client, double, 120_000)
    assert types(double.dispute(intent, warning=True)) == ["charge.dispute.created"]
    (dispute,) = double.all("dispute")
    assert double.books.balance("available") == {"inr": 120_000}
    await client.v1.refunds.create_async({"payment_intent": intent, "amount": 10})
    with pytest.raises(ValueError, match="warning"):
        double.settle_dispute(dispute, "lost")
    assert types(double.settle_dispute(dispute, "won")) == ["charge.dispute.closed"]
    assert double.all("dispute")[dispute]["status"] == "warning_closed"


async def test_it_refunds_nothing_that_is_disputed(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double)
    double.dispute(intent)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": intent, "amount": 10})
    assert refused.value.code == "charge_disputed"
    with pytest.raises(ValueError, match="again"):
        double.dispute(intent)
