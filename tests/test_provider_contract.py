"""What every payment provider does alike: one suite, for the sandbox and for Stripe (its double).

A **shop** is a provider with somebody who pays there. Each test runs once for each.
"""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.errors import ProviderError, ProviderKeyReused, ProviderPermanent
from earnest.providers.base import CheckoutSession, CheckoutState, ProviderRefundState
from earnest.providers.events import EventKind
from shop import Shop, a_refund
from town import NOON, a_request


@pytest.fixture(params=["sandbox", "stripe"])
def shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


async def paid(shop: Shop, **changes: Any) -> tuple[CheckoutSession, str]:
    """A session that was paid, and the provider's id of its payment."""
    session = await shop.provider.create_checkout(a_request(**changes))
    await shop.pay(session, "paid")
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert found.payment_id is not None
    return session, found.payment_id


# -- sessions -------------------------------------------------------------------------------


async def test_it_opens_a_session_that_can_be_looked_up(shop: Shop) -> None:
    session = await shop.provider.create_checkout(a_request())
    assert session.url.startswith("http")
    assert session.expires_at == NOON + timedelta(hours=1)
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert found.session == session
    assert (found.state, found.amount_minor, found.currency, found.payment_id) == (
        CheckoutState.OPEN,
        1_200_000,
        "INR",
        None,
    )
    assert found.metadata == {"jobId": "66aa00000000000000000a01", "note": "₹"}


@pytest.mark.parametrize("seconds", [30 * 60, 60 * 60, 24 * 60 * 60])
async def test_it_keeps_the_page_open_for_as_long_as_was_asked(shop: Shop, seconds: int) -> None:
    session = await shop.provider.create_checkout(a_request(expires_in_seconds=seconds))
    off = session.expires_at - (NOON + timedelta(seconds=seconds))
    assert timedelta(minutes=-1) <= off <= timedelta(minutes=15)


async def test_it_answers_the_same_key_with_the_same_session(shop: Shop) -> None:
    request = a_request()
    first = await shop.provider.create_checkout(request)
    again = msgspec.structs.replace(request, metadata=dict(reversed(request.metadata.items())))
    assert await shop.another().create_checkout(again) == first
    assert await shop.made() == (1, 0)


async def test_it_opens_one_session_when_sixteen_ask_at_once(shop: Shop) -> None:
    request = a_request()
    asked = (shop.provider.create_checkout(request) for _ in range(16))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    sessions = {one.id for one in answers if isinstance(one, CheckoutSession)}
    assert sessions == {(await shop.provider.create_checkout(request)).id}
    refused = [one for one in answers if not isinstance(one, CheckoutSession)]
    assert all(isinstance(one, ProviderError) for one in refused)
    assert not any(isinstance(one, ProviderPermanent) for one in refused)
    assert await shop.made() == (1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 1},
        {"currency": "SAR"},
        {"title": "Another"},
        {"metadata": {}},
        {"success_url": "https://shop.example/"},
        {"cancel_url": "https://shop.example/"},
        {"expires_in_seconds": 7200},
        {"asked_at": NOON + timedelta(seconds=1)},
    ],
)
async def test_it_refuses_the_same_key_for_another_request(
    shop: Shop, changes: dict[str, Any]
) -> None:
    request = a_request()
    await shop.provider.create_checkout(request)
    with pytest.raises(ProviderKeyReused):
        await shop.provider.create_checkout(msgspec.structs.replace(request, **changes))
    assert await shop.made() == (1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"currency": "ZZZ"},
        {"title": " "},
        {"title": "\ud800"},
        {"metadata": {"k" * 41: "v"}},
        {"success_url": "javascript:alert(1)"},
        {"expires_in_seconds": 1799},
    ],
)
async def test_it_opens_nothing_for_what_cannot_be_paid(
    shop: Shop, changes: dict[str, Any]
) -> None:
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_checkout(a_request(**changes))
    assert await shop.made() == (0, 0)


@pytest.mark.parametrize(
    "session_id",
    ["", "cs_test_", "cs_test_" + "x" * 43, "cs_test_\0", "é", "../refunds", "x" * 5000],
)
async def test_it_knows_no_session_that_it_did_not_open(shop: Shop, session_id: str) -> None:
    await shop.provider.create_checkout(a_request())
    assert await shop.provider.find_checkout(session_id) is None
    with pytest.raises(ProviderPermanent):
        await shop.provider.expire_checkout(session_id)


async def test_it_closes_a_session_and_twice_is_harmless(shop: Shop) -> None:
    session = await shop.provider.create_checkout(a_request())
    await shop.provider.expire_checkout(session.id)
    await shop.provider.expire_checkout(session.id)
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert found.state is CheckoutState.EXPIRED
    assert [event.kind for event in await shop.events(session)] == [EventKind.CHECKOUT_EXPIRED]


@pytest.mark.parametrize("outcome", ["paid", "unpaid"])
async def test_it_cannot_close_a_session_whose_payer_is_done(shop: Shop, outcome: str) -> None:
    session = await shop.provider.create_checkout(a_request())
    await shop.pay(session, outcome)
    with pytest.raises(ProviderPermanent):
        await shop.provider.expire_checkout(session.id)


# -- outcomes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "state", "kinds"),
    [
        (["paid"], "paid", ["checkout_paid"]),
        (["unpaid"], "processing", ["checkout_unpaid"]),
        (["unpaid", "paid"], "paid", ["checkout_unpaid", "checkout_paid"]),
        (["unpaid", "failed"], "failed", ["checkout_unpaid", "checkout_failed"]),
    ],
)
async def test_it_tells_and_answers_what_became_of_it(
    shop: Shop, outcomes: list[str], state: str, kinds: list[str]
) -> None:
    session = await shop.provider.create_checkout(a_request())
    for outcome in outcomes:
        await shop.pay(session, outcome)
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert (found.state, found.session.id) == (state, session.id)
    events = await shop.events(session)
    assert [event.kind for event in events] == kinds
    last = events[-1]
    assert last.paid is (state == "paid")
    assert (last.amount_minor, last.currency) == (found.amount_minor, found.currency)
    assert (found.amount_minor, found.currency) == (1_200_000, "INR")
    assert last.payment_id == found.payment_id is not None
    assert last.metadata == found.metadata == a_request().metadata
    assert (last.livemode, last.session_livemode, last.account) == (False, False, None)
    assert len({event.id for event in events}) == len(events)


@pytest.mark.parametrize(
    ("currency", "amount_minor"),
    [
        ("INR", 1),
        ("SAR", 68_625),
        ("JPY", 500),
        ("KWD", 5_120),
        ("BHD", 10),
        ("ISK", 7),
        ("UGX", 12_345),
        ("MGA", 500_000),
        ("HUF", 1_045),
    ],
)
async def test_it_means_what_we_mean_by_an_amount(
    shop: Shop, currency: str, amount_minor: int
) -> None:
    """Asked for, looked up, told and given back: always in our units."""
    session, payment_id = await paid(shop, currency=currency, amount_minor=amount_minor)
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert (found.amount_minor, found.currency) == (amount_minor, currency)
    (event,) = await shop.events(session)
    assert (event.amount_minor, event.currency) == (amount_minor, currency)
    wanted = a_refund(payment_id, amount_minor=amount_minor, currency=currency)
    refund = await shop.provider.create_refund(wanted)
    assert (refund.amount_minor, refund.currency) == (amount_minor, currency)
    again = {"amount_minor": amount_minor, "currency": currency, "idempotency_key": "refund-2"}
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(payment_id, **again))


# -- refunds --------------------------------------------------------------------------------


async def test_it_gives_a_part_back_and_then_the_rest(shop: Shop) -> None:
    _, payment_id = await paid(shop)
    first = await shop.provider.create_refund(a_refund(payment_id))
    assert (first.state, first.amount_minor, first.currency) == (
        ProviderRefundState.SUCCEEDED,
        500_000,
        "INR",
    )
    rest = a_refund(payment_id, idempotency_key="refund-2", amount_minor=700_000)
    second = await shop.provider.create_refund(rest)
    assert second.id != first.id
    assert await shop.made() == (1, 2)


async def test_it_makes_one_refund_of_one_key(shop: Shop) -> None:
    _, payment_id = await paid(shop)
    first = await shop.provider.create_refund(a_refund(payment_id))
    assert await shop.another().create_refund(a_refund(payment_id)) == first
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(payment_id, amount_minor=1))
    assert await shop.made() == (1, 1)


async def test_it_finds_a_refund_by_its_key_among_others(shop: Shop) -> None:
    _, payment_id = await paid(shop)
    wanted = [
        a_refund(payment_id, idempotency_key=f"refund-{n}", amount_minor=100 + n) for n in range(5)
    ]
    made = [await shop.provider.create_refund(one) for one in wanted]
    assert [await shop.another().find_refund(one) for one in wanted] == made


async def test_it_knows_no_refund_that_it_did_not_make(shop: Shop) -> None:
    _, payment_id = await paid(shop)
    await shop.provider.create_refund(a_refund(payment_id))
    other = a_refund(payment_id, idempotency_key="refund-2")
    assert await shop.provider.find_refund(other) is None
    for unknown in ("pi_test_unknown", ""):
        assert await shop.provider.find_refund(a_refund(unknown, idempotency_key="x")) is None


@pytest.mark.parametrize("changes", [{"amount_minor": 1_200_001}, {"amount_minor": 0}])
async def test_it_gives_back_no_more_than_came_in(shop: Shop, changes: dict[str, Any]) -> None:
    _, payment_id = await paid(shop)
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(payment_id, **changes))
    assert await shop.made() == (1, 0)


@pytest.mark.parametrize("payment_id", ["pi_test_unknown", ""])
async def test_it_gives_nothing_back_of_what_it_does_not_know(shop: Shop, payment_id: str) -> None:
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(payment_id))
    assert await shop.made() == (0, 0)


async def test_it_gives_nothing_back_of_what_was_not_captured(shop: Shop) -> None:
    session = await shop.provider.create_checkout(a_request())
    await shop.pay(session, "unpaid")
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert found.payment_id is not None
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(found.payment_id))
    assert await shop.made() == (1, 0)
