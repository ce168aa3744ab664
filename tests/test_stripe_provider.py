"""What is Stripe's alone: its units, what is sent to it, what its refunds and sessions say."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.money import CURRENCIES
from earnest.errors import (
    MalformedBody,
    ProviderPermanent,
)
from earnest.providers.base import CheckoutState
from earnest.providers.events import parse_event
from earnest.providers.stripe import StripeProvider
from earnest.providers.stripe_line import API_VERSION
from earnest.providers.stripe_units import from_stripe, to_stripe
from shop import a_refund, paid, provider_at
from stripe_double import StripeDouble
from town import NOON, a_request

SESSIONS, REFUNDS = "/v1/checkout/sessions", "/v1/refunds"


# -- units ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (1, "INR", 1),
        (68_625, "SAR", 68_625),
        (500, "JPY", 500),
        (500, "KRW", 500),
        (5_120, "KWD", 5_120),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (1_045, "HUF", 1_045),
        (1_045, "TWD", 1_045),
    ],
)
def test_it_counts_as_stripe_does(minor: int, currency: str, amount: int) -> None:
    assert to_stripe(minor, currency) == amount
    assert from_stripe(amount, currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency"),
    [(5_124, "KWD"), (1, "BHD"), (750, "MGA"), (10, "IQD"), (10, "LYD"), (1, "CLF"), (1, "ZZZ")],
)
def test_it_charges_exactly_or_not_at_all(minor: int, currency: str) -> None:
    with pytest.raises(ProviderPermanent, match=currency):
        to_stripe(minor, currency)


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 2**53))
def test_it_gets_back_the_amount_that_it_sent(currency: str, minor: int) -> None:
    try:
        amount = to_stripe(minor, currency)
    except ProviderPermanent:
        return
    assert from_stripe(amount, currency) == minor


async def test_it_takes_no_event_of_a_fraction_that_nobody_can_pay(stripe_event: Any) -> None:
    whole = parse_event(stripe_event(amount_total=500, currency="ugx"), "stripe")
    assert (whole.amount_minor, whole.currency) == (5, "UGX")
    with pytest.raises(MalformedBody):
        parse_event(stripe_event(amount_total=550, currency="ugx"), "stripe")
    # What Stripe does not charge today is believed as it stands, and quarantined by whoever asked
    # for another currency.
    other = parse_event(stripe_event(amount_total=550, currency="zzz"), "stripe")
    assert (other.amount_minor, other.currency) == (550, "ZZZ")


@pytest.fixture
async def stripe_event(stripe: StripeDouble, provider: StripeProvider) -> Callable[..., bytes]:
    session = await provider.create_checkout(a_request())
    stripe.pay(session.id)

    def event(**changes: object) -> bytes:
        told = stripe.events[-1]
        data = {"object": told["data"]["object"] | changes}
        return stripe.signed(told | {"data": data})[0]

    return event


# -- what is sent ---------------------------------------------------------------------------


async def test_it_sends_the_same_bytes_for_the_same_request(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    request = a_request(metadata={"b": "2", "a": "1"})
    await provider.create_checkout(request)
    await provider.create_checkout(request)
    first, second = stripe.requests
    assert first.form == second.form
    assert first.key == second.key == request.idempotency_key
    assert first.headers["stripe-version"] == API_VERSION
    assert "x-stripe-client-telemetry" not in second.headers


async def test_it_asks_for_one_thing_at_its_price(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    session = await provider.create_checkout(a_request(expires_in_seconds=86_400))
    made = stripe.sessions[session.id]
    assert made["client_reference_id"] == made_key(stripe)
    assert made["adaptive_pricing"]["enabled"] is False
    assert made["expires_at"] == NOON.timestamp() + 86_340
    assert "payment_method_types" not in stripe.requests[0].form
    stripe.pay(session.id)
    (intent,) = stripe.payment_intents.values()
    assert intent["metadata"] == made["metadata"] == a_request().metadata


def made_key(stripe: StripeDouble) -> str:
    key = stripe.requests[0].key
    assert key is not None
    return key


async def test_it_speaks_of_real_time_to_stripe_and_of_business_time_to_us(
    stripe: StripeDouble,
) -> None:
    async def a_week() -> int:
        return 7 * 86_400

    provider = provider_at(stripe.url, clock_ahead_seconds=a_week)
    next_week = NOON + timedelta(days=7)
    session = await provider.create_checkout(a_request(asked_at=next_week))
    assert session.expires_at == next_week + timedelta(hours=1)
    assert stripe.sessions[session.id]["expires_at"] == NOON.timestamp() + 3600
    found = await provider.find_checkout(session.id)
    assert found is not None
    assert found.session.expires_at == session.expires_at
    await provider.close()


async def test_it_asks_nobody_in_between(
    stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    provider = provider_at(stripe.url)
    assert (await provider.create_checkout(a_request())).id in stripe.sessions
    await provider.close()


# -- refunds and sessions, read -------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", "pending"),
        ("requires_action", "pending"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ],
)
async def test_it_says_how_a_refund_stands(
    stripe: StripeDouble, provider: StripeProvider, status: str, state: str
) -> None:
    refund = await paid(stripe, provider)
    made = await provider.create_refund(refund)
    stripe.refunds[made.id]["status"] = status
    found = await provider.find_refund(refund)
    assert found is not None
    assert found.state == state


async def test_it_finds_a_refund_on_a_later_page(
    stripe: StripeDouble, provider: StripeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnest.providers.stripe.PAGE_REFUNDS", 2)
    payment_id = (await paid(stripe, provider)).payment_id
    wanted = [
        a_refund(payment_id, idempotency_key=f"refund-{n}", amount_minor=100) for n in range(7)
    ]
    made = [await provider.create_refund(one) for one in wanted]
    assert [await provider.find_refund(one) for one in wanted] == made
    assert len([one for one in stripe.requests if one.method == "GET"]) > len(wanted)


async def test_it_refuses_a_refund_that_is_not_the_one_asked_for(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    refund = await paid(stripe, provider)
    made = await provider.create_refund(refund)
    stripe.refunds[made.id]["amount"] = 1
    with pytest.raises(ProviderPermanent, match="amount"):
        await provider.find_refund(refund)


async def test_it_sees_a_card_declined_on_a_page_that_is_open_still(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    session = await provider.create_checkout(a_request())
    stripe.pay(session.id, "declined")
    found = await provider.find_checkout(session.id)
    assert found is not None
    assert (found.state, found.payment_id) == (CheckoutState.OPEN, None)


async def test_it_believes_no_other_price(stripe: StripeDouble, provider: StripeProvider) -> None:
    request = a_request()
    session = await provider.create_checkout(request)
    remembered = stripe.sessions[session.id]
    remembered["amount_total"] += 1
    found = await provider.find_checkout(session.id)
    assert found is not None
    assert found.amount_minor == request.amount_minor + 1, "what Stripe says, to be compared"
