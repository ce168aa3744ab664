"""Every request that we send to Stripe has only parameters that the official SDK knows for that
call: a second reading of its types, next to the double's own.

The list of calls is read from our source (`stripe_calls`), so a new one cannot be left out.
"""

import re
from datetime import timedelta

import msgspec
import pytest

from earnest.providers import stripe_books
from earnest.providers.stripe_line import API_VERSION
from shop import BOB, StripeShop, a_payout, a_refund, a_return, a_transfer, earn, payee, provider_at
from stripe_calls import StripeCall, calls, missing, misspelt, unknown
from stripe_double import StripeDouble
from stripe_routes import ROUTES
from stripe_wire import Request
from town import NOON, a_request

HUDA = msgspec.structs.replace(BOB, reference="party-huda", email="", name="", is_company=True)


CALLS = calls()


@pytest.fixture
async def sent(
    stripe: StripeDouble, stripe_shop: StripeShop, monkeypatch: pytest.MonkeyPatch
) -> list[Request]:
    """What every call of the provider's sends, each way that it can be made."""
    monkeypatch.setattr(stripe_books, "PAGE_LINES", 1)
    provider = stripe_shop.provider
    await stripe_shop.dispute(await earn(stripe_shop), "opened")
    (dispute,) = stripe.all("dispute")
    await provider.find_dispute(dispute)
    paid = await provider.find_checkout((await earn(stripe_shop)).id)
    assert paid is not None
    assert paid.payment_id is not None
    spare = a_request(metadata={}, expires_in_seconds=1800)
    await provider.expire_checkout((await provider.create_checkout(spare)).id)
    refund = a_refund(paid.payment_id, amount_minor=100)
    assert await provider.create_refund(refund) == await provider.find_refund(refund)
    bob = await payee(stripe_shop)
    moved = msgspec.structs.replace(BOB, email="bob@sells.example")
    assert (await provider.create_account(moved)).id == bob, "found among all accounts"
    await provider.create_account(HUDA)
    await provider.find_account(bob)
    urls = {"return_url": "https://shop.example/", "refresh_url": "https://shop.example/r"}
    await provider.create_onboarding_link(bob, **urls)
    transfer, payout = a_transfer(bob), a_payout(bob)
    assert await provider.create_transfer(transfer) == await provider.find_transfer(transfer)
    assert await provider.create_payout(payout) == await provider.find_payout(payout)
    back = await provider.create_transfer(a_transfer(bob, reference="payout-2"))
    await provider.return_transfer(a_return(back.id, idempotency_key="payout-2"))
    lines = provider.balance_transactions(NOON - timedelta(days=1), NOON + timedelta(days=1))
    assert len([line async for line in lines]) >= 5
    doctor = provider_at(stripe.url)
    await doctor.look()
    await doctor.close()
    return stripe.requests


def the_call(request: Request) -> StripeCall:
    (call,) = (call for call in CALLS if call.meets(request.method, request.path))
    return call


async def test_it_makes_every_call_that_the_source_has(sent: list[Request]) -> None:
    assert {the_call(request) for request in sent} == set(CALLS)
    assert len(CALLS) >= 20
    for call in CALLS:
        path = re.sub(r"\{\w+\}", "id", call.path)
        spoken = [r for r in ROUTES if r.method == call.method and r.path.fullmatch(path)]
        assert len(spoken) == 1, f"the double does not speak {call}"


async def test_it_sends_only_parameters_that_the_sdk_knows(sent: list[Request]) -> None:
    for request in sent:
        known = the_call(request).known
        assert unknown(request.form, known) == [], request.path
        assert missing(request.form, known) == set(), request.path
        assert request.headers["stripe-version"] == API_VERSION
    of_accounts = {the_call(request).path for request in sent if request.account}
    assert of_accounts == {"/v1/payouts"}, "only payouts are made as somebody else"


async def test_it_would_find_each_parameter_that_is_misspelt(sent: list[Request]) -> None:
    seen = set()
    for request in sent:
        known = the_call(request).known
        for name, wrong in misspelt(request.form):
            assert len(unknown(wrong, known)) == 1, (request.path, name)
            seen.add(name)
    assert "line_items[0][price_data][product_data][name]" in seen
    assert "settings[payouts][schedule][interval]" in seen
    assert {"created[gte]", "starting_after", "expand[0]"} <= seen
