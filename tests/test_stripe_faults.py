"""What an error of Stripe's or a broken line to it means.

The line to it breaks in every way that the double knows, in every call: a refusal never says that
nothing happened when something did, and asking again makes nothing twice.
"""

import logging
from collections.abc import Awaitable, Callable

import httpx
import pytest

from earnest.errors import (
    ProviderError,
    ProviderKeyInUse,
    ProviderKeyReused,
    ProviderPermanent,
    ProviderTransient,
    ProviderUnknown,
)
from earnest.providers.base import ProviderRefundState, RefundRequest
from earnest.providers.stripe import StripeProvider
from shop import paid, provider_at
from stripe_double import Fault, StripeDouble
from town import a_request

SESSIONS, REFUNDS = "/v1/checkout/sessions", "/v1/refunds"


# -- what went wrong ------------------------------------------------------------------------

Call = Callable[[StripeProvider, RefundRequest, str], Awaitable[object]]
CALLS: dict[str, tuple[str, str, Call]] = {
    "create_checkout": ("POST", SESSIONS, lambda p, _, __: p.create_checkout(a_request())),
    "find_checkout": ("GET", f"{SESSIONS}/*", lambda p, _, opened: p.find_checkout(opened)),
    "expire_checkout": (
        "POST",
        f"{SESSIONS}/*/expire",
        lambda p, _, opened: p.expire_checkout(opened),
    ),
    "create_refund": ("POST", REFUNDS, lambda p, refund, _: p.create_refund(refund)),
    "find_refund": ("GET", REFUNDS, lambda p, refund, _: p.find_refund(refund)),
}
MEANING: dict[Fault, type[ProviderError]] = {
    Fault.TIMEOUT_AFTER_SUCCESS: ProviderUnknown,
    Fault.TIMEOUT_BEFORE: ProviderUnknown,
    Fault.RESET_AFTER_SUCCESS: ProviderUnknown,
    Fault.RESET_BEFORE: ProviderUnknown,
    Fault.ERROR_500: ProviderUnknown,
    Fault.ERROR_500_AFTER_SUCCESS: ProviderUnknown,
    Fault.ERROR_500_THEN_SUCCESS: ProviderUnknown,
    Fault.CONFLICT_409: ProviderTransient,  # or, with a key, that it is in use
    Fault.TOO_MANY_429: ProviderTransient,
    Fault.SLOW: ProviderUnknown,
    Fault.GARBAGE: ProviderUnknown,
    Fault.HALF: ProviderUnknown,
}


def test_it_is_asked_about_every_fault() -> None:
    assert set(MEANING) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("name", CALLS)
async def test_it_says_what_a_fault_means(
    stripe: StripeDouble, provider: StripeProvider, name: str, fault: Fault
) -> None:
    refund = await paid(stripe, provider)
    opened = await provider.create_checkout(a_request())
    method, path, call = CALLS[name]
    stripe.fault(method, path, fault)
    in_use = fault is Fault.CONFLICT_409 and method == "POST"
    with pytest.raises(ProviderError) as refused:
        await call(provider, refund, opened.id)
    assert type(refused.value) is (ProviderKeyInUse if in_use else MEANING[fault])
    assert stripe.api_key not in refused.value.message
    assert "double" not in refused.value.message.lower()


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in (Fault.ERROR_500, Fault.SLOW)]
)
async def test_it_makes_one_session_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, fault: Fault
) -> None:
    request = a_request()
    stripe.fault("POST", SESSIONS, fault)
    with pytest.raises(ProviderError):
        await provider.create_checkout(request)
    if fault is Fault.ERROR_500_AFTER_SUCCESS:
        with pytest.raises(ProviderPermanent):
            await provider.create_checkout(request)
    else:
        assert (await provider.create_checkout(request)).id in stripe.sessions
    assert len(stripe.sessions) == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.ERROR_500_AFTER_SUCCESS])
async def test_it_gives_up_a_key_that_stripe_has_spoilt(
    stripe: StripeDouble, provider: StripeProvider, fault: Fault
) -> None:
    """Or the buyer would be told to try again for a day."""
    request = a_request()
    stripe.fault("POST", SESSIONS, fault)
    with pytest.raises(ProviderUnknown):
        await provider.create_checkout(request)
    with pytest.raises(ProviderPermanent, match="500"):
        await provider.create_checkout(request)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
async def test_it_makes_one_refund_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, fault: Fault
) -> None:
    """As the worker does it: what is not known is looked up before it is asked for again."""
    refund = await paid(stripe, provider)
    stripe.fault("POST", REFUNDS, fault)
    with pytest.raises(ProviderError) as refused:
        await provider.create_refund(refund)
    made = len(stripe.refunds)
    assert made == 0 or isinstance(refused.value, ProviderUnknown)
    found = await provider.find_refund(refund)
    assert (found is not None) is (made == 1)
    if fault is Fault.ERROR_500:
        with pytest.raises(ProviderUnknown):
            await provider.create_refund(refund)  # not a refusal: it may yet have happened
        stripe.forget_keys()
    found = found or await provider.create_refund(refund)
    assert list(stripe.refunds) == [found.id]
    assert found.state is ProviderRefundState.SUCCEEDED


async def test_it_says_that_a_call_is_still_under_way(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """409 for our own key: the first call may yet succeed, so nobody knows."""
    refund = await paid(stripe, provider)
    stripe.fault("POST", REFUNDS, Fault.SLOW, seconds=60)
    with pytest.raises(ProviderUnknown, match="did not answer"):
        await provider.create_refund(refund)
    with pytest.raises(ProviderUnknown, match="idempotency_key_in_use"):
        await provider.create_refund(refund)


async def test_it_knows_that_nothing_was_sent() -> None:
    nowhere = provider_at("http://127.0.0.1:9")
    with pytest.raises(ProviderTransient):
        await nowhere.create_checkout(a_request())
    await nowhere.close()
    nowhere = provider_at("http://stripe.invalid")
    with pytest.raises(ProviderTransient):
        await nowhere.find_checkout("cs_test_1")
    await nowhere.close()


async def test_it_tells_the_operator_of_a_wrong_key(
    stripe: StripeDouble, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = provider_at(stripe.url, api_key="sk_test_stranger")
    with caplog.at_level(logging.ERROR), pytest.raises(ProviderTransient) as refused:
        await stranger.create_checkout(a_request())
    assert "EARNEST_STRIPE_SECRET_KEY" in caplog.text
    assert "stranger" not in caplog.text + refused.value.message
    await stranger.close()


async def test_it_refuses_sessions_of_the_other_mode(stripe: StripeDouble) -> None:
    live = provider_at(stripe.url, livemode=True)
    with pytest.raises(ProviderPermanent, match="mode"):
        await live.create_checkout(a_request())
    (session,) = stripe.sessions
    with pytest.raises(ProviderPermanent, match="mode"):
        await live.find_checkout(session)
    await live.close()


async def test_it_repeats_no_words_of_stripes(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """They are for developers, and may name a card, a person or a key."""
    refund = await paid(stripe, provider)
    await provider.create_refund(refund)
    other = RefundRequest("refund-1", "refund-1", refund.payment_id, 1, "INR")
    with pytest.raises(ProviderKeyReused) as refused:
        await provider.create_refund(other)
    assert "another" not in refused.value.message
    assert refused.value.message.startswith("Stripe answered 400 (req_")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "7",
        "null",
        '"x"',
        "{}",
        '{"object": "checkout.session", "id": 7}',
        '{"object": "checkout.session", "amount_total": 1.5}',
        '{"error": null}',
        "\ufffe",
    ],
)
@pytest.mark.parametrize("status", [200, 300, 400, 402, 500])
async def test_it_does_not_know_what_an_answer_means_that_is_none(body: str, status: int) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body.encode())

    provider = provider_at("http://127.0.0.1:9")
    provider._line._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    with pytest.raises(ProviderUnknown):
        await provider.create_checkout(a_request())
    await provider.close()
