"""The sandbox provider plays an outside payment company: real database, real HTTP."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.errors import Conflict, InvalidField, NotFound, ProviderPermanent, Refused
from earnest.providers.base import CheckoutState, Provider
from earnest.providers.events import EventKind, ProviderEvent
from earnest.providers.sandbox_rules import (
    refuse_unusable,
)
from town import NOON, UNKNOWN, Town, a_request, open_session

# -- sessions -------------------------------------------------------------------------------


async def test_opens_a_session_that_can_be_looked_up(town: Town) -> None:
    provider: Provider = town.provider
    session = await provider.create_checkout(a_request())
    assert session.url == f"{town.url}/sandbox/pay/{session.id}"
    assert session.expires_at == NOON + timedelta(hours=1)
    found = await provider.find_checkout(session.id)
    assert found is not None
    assert found.session == session
    assert (found.state, found.amount_minor, found.currency, found.payment_id) == (
        CheckoutState.OPEN,
        1_200_000,
        "INR",
        None,
    )
    assert found.metadata == {"jobId": "66aa00000000000000000a01", "note": "₹"}


async def test_answers_the_same_key_with_the_same_session(town: Town) -> None:
    request = a_request()
    first = await town.provider.create_checkout(request)
    town.clock.advance(7200)
    again = msgspec.structs.replace(request, metadata=dict(reversed(request.metadata.items())))
    assert await town.another_provider().create_checkout(again) == first


async def test_opens_one_session_when_sixteen_ask_at_once(town: Town) -> None:
    request = a_request()
    sessions = await asyncio.gather(*(town.provider.create_checkout(request) for _ in range(16)))
    assert len({session.id for session in sessions}) == 1


OTHER_REQUESTS: list[dict[str, Any]] = [
    {"amount_minor": 1},
    {"currency": "SAR"},
    {"title": "Another"},
    {"metadata": {}},
    {"success_url": "https://shop.example/"},
    {"cancel_url": "https://shop.example/"},
    {"expires_in_seconds": 1801},
]


async def test_refuses_the_same_key_for_another_request(town: Town) -> None:
    for changes in OTHER_REQUESTS:
        request = a_request()
        await town.provider.create_checkout(request)
        with pytest.raises(ProviderPermanent):
            await town.provider.create_checkout(msgspec.structs.replace(request, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 2**53 + 1},
        {"currency": "inr"},
        {"currency": "ZZZ"},
        {"title": " "},
        {"title": "a\0b"},
        {"title": "\ud800"},
        {"idempotency_key": "k" * 256},
        {"metadata": {"k" * 41: "v"}},
        {"metadata": {"k": "v" * 501}},
        {"metadata": {f"k{n}": "v" for n in range(51)}},
        {"success_url": "javascript:alert(1)"},
        {"success_url": "/paid"},
        {"success_url": "https://shop.example/\r\nSet-Cookie: a=b"},
        {"cancel_url": "https://alice@shop.example/"},
        {"cancel_url": "https:///x"},
        {"cancel_url": "https://shop.example:port/"},
        {"cancel_url": "https://shop.example;script-src/"},
        {"expires_in_seconds": 1799},
        {"expires_in_seconds": 86_401},
    ],
)
def test_refuses_what_the_real_provider_would_refuse(changes: dict[str, Any]) -> None:
    refuse_unusable(a_request())
    with pytest.raises(ProviderPermanent):
        refuse_unusable(a_request(**changes))


async def test_opens_nothing_for_a_refused_request(town: Town) -> None:
    with pytest.raises(ProviderPermanent):
        await open_session(town, idempotency_key="payment-7", amount_minor=0)
    async with town.pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM sandbox.session") == 0
    await open_session(town, idempotency_key="payment-7")


NO_SESSIONS = [UNKNOWN, "", "cs_test_", "x" * 5000, "cs_test_\0", "é"]


async def test_knows_no_session_that_it_did_not_open(town: Town) -> None:
    for session_id in NO_SESSIONS:
        assert await town.provider.find_checkout(session_id) is None
        with pytest.raises(ProviderPermanent):
            await town.provider.expire_checkout(session_id)
        with pytest.raises(NotFound):
            await town.provider.complete(session_id, "paid")


async def test_expires_a_session_once_and_says_so_later(town: Town) -> None:
    session = await open_session(town)
    await town.provider.expire_checkout(session.id)
    await town.provider.expire_checkout(session.id)
    assert town.events(session) == []
    await town.deliver_everything()
    assert [event.kind for event in town.events(session)] == [EventKind.CHECKOUT_EXPIRED]
    with pytest.raises(Conflict):
        await town.provider.complete(session.id, "paid")


async def test_cannot_expire_a_paid_session(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "paid")
    with pytest.raises(ProviderPermanent):
        await town.provider.expire_checkout(session.id)


async def test_expires_what_is_past_its_time_and_nothing_else(town: Town) -> None:
    short = await open_session(town, expires_in_seconds=1800)
    long = await open_session(town)
    town.clock.advance(1799)
    await town.provider.expire_due()
    assert await town.outbox(short) == []
    town.clock.advance(1)
    with pytest.raises(Refused):
        await town.provider.complete(short.id, "paid")
    found = await town.provider.find_checkout(short.id)
    assert found is not None
    assert found.state is CheckoutState.EXPIRED
    # Two workers at once tell it once.
    await asyncio.gather(town.provider.expire_due(), town.another_provider().expire_due())
    assert [row["type"] for row in await town.outbox(short)] == ["checkout.session.expired"]
    assert await town.outbox(long) == []


# -- outcomes -------------------------------------------------------------------------------


async def test_tells_the_shop_that_it_was_paid(town: Town) -> None:
    session = await open_session(town)
    completion = await town.provider.complete(session.id, "paid")
    assert (completion.id, completion.outcome, completion.delivered) == (session.id, "paid", True)
    (event,) = town.events(session)
    found = await town.provider.find_checkout(session.id)
    assert found is not None
    assert found.state is CheckoutState.PAID
    assert event.id.startswith("evt_test_")
    assert event.payment_id == found.payment_id
    assert event.payment_id is not None
    assert event.payment_id.startswith("pi_test_")
    assert msgspec.structs.replace(event, id="", payment_id=None) == ProviderEvent(
        id="",
        type="checkout.session.completed",
        kind=EventKind.CHECKOUT_PAID,
        created_at=NOON,
        livemode=False,
        account=None,
        session_id=session.id,
        session_livemode=False,
        amount_minor=1_200_000,
        currency="INR",
        paid=True,
        metadata={"jobId": "66aa00000000000000000a01", "note": "₹"},
    )


@pytest.mark.parametrize(
    ("outcomes", "kinds"),
    [
        (["paid"], ["checkout_paid"]),
        (["failed"], ["checkout_failed"]),
        (["expired"], ["checkout_expired"]),
        (["unpaid"], ["checkout_unpaid"]),
        (["unpaid", "paid"], ["checkout_unpaid", "checkout_paid"]),
        (["unpaid", "failed"], ["checkout_unpaid", "checkout_failed"]),
    ],
)
async def test_sends_one_event_per_step_however_often_it_is_asked(
    town: Town, outcomes: list[str], kinds: list[str]
) -> None:
    session = await open_session(town)
    for outcome in outcomes:
        for _ in range(2):
            assert (await town.provider.complete(session.id, outcome)).delivered
    events = town.events(session)
    assert [event.kind for event in events] == kinds
    assert len({event.id for event in events}) == len(events)
    assert len({event.payment_id for event in events}) == 1


SECOND_OUTCOMES = [
    ("paid", "failed"),
    ("paid", "expired"),
    ("paid", "unpaid"),
    ("failed", "paid"),
    ("failed", "unpaid"),
    ("failed", "expired"),
    ("expired", "paid"),
    ("expired", "failed"),
    ("expired", "unpaid"),
    ("unpaid", "expired"),
]


async def test_refuses_another_outcome_afterwards(town: Town) -> None:
    for first, second in SECOND_OUTCOMES:
        session = await open_session(town)
        await town.provider.complete(session.id, first)
        with pytest.raises(Conflict):
            await town.provider.complete(session.id, second)
        assert len(town.events(session)) == 1


async def test_lets_a_slow_bank_pay_after_the_page_has_expired(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "unpaid")
    town.clock.advance(7200)
    await town.provider.expire_due()
    await town.provider.complete(session.id, "paid")
    assert [event.paid for event in town.events(session)] == [False, True]


async def test_pays_once_when_sixteen_pay_at_once(town: Town) -> None:
    session = await open_session(town)
    await asyncio.gather(*(town.provider.complete(session.id, "paid") for _ in range(16)))
    assert len(town.bodies(session)) == 1


async def test_ends_in_one_way_when_two_outcomes_race(town: Town) -> None:
    for _ in range(8):
        session = await open_session(town)
        results = await asyncio.gather(
            *(town.provider.complete(session.id, word) for word in ("paid", "expired", "failed")),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Conflict) for result in results) == 2
        assert len(town.bodies(session)) == 1


async def test_refuses_an_outcome_that_is_none(town: Town) -> None:
    session = await open_session(town)
    with pytest.raises(InvalidField, match="outcome"):
        await town.provider.complete(session.id, "refunded")
