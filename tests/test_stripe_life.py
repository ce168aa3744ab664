"""A client pays with EARNEST_PROVIDER=stripe, over HTTP from end to end.

Stripe is its double, on a socket of its own; its signed events are posted to /webhook. What stays
in the end: the books, as `verify` sees them, and the objects at Stripe.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import TestDatabase
from deal import Deal
from earnest.app import build_app
from earnest.providers import stripe_line
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.worker.chores import chores_of
from life import Life, accepted
from partners import make_broker
from stripe_desk import REFUNDS, checkout, fetch, heard, paid, settings_with, sound
from stripe_double import Fault, Outcome, StripeDouble
from web import Cast, caller, make_settings

INBOX = (
    "SELECT outcome, took_money FROM provider_event WHERE outcome <> 'ignored' ORDER BY event_id"
)


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    """In real time."""
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


async def test_it_takes_a_clients_money_through_stripe(stripe: StripeDouble, cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    session = stripe.sessions[life.session]
    assert (session["amount_total"], session["currency"]) == (1_200_000, "inr")
    assert set(session["metadata"]) == {"jobId", "clientId", "freelancerId", "paymentId"}
    assert session["metadata"]["paymentId"] == session["client_reference_id"]
    assert stripe.requests[-1].key == session["client_reference_id"]
    await checkout(life)
    assert list(stripe.sessions) == [life.session], "a second request is the same session"
    stripe.pay(life.session)
    await heard(stripe, cast.app, times=3)
    assert (await life.proof())["held"] == 12000
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
    assert await life.wallet(cast.bob) > 0
    assert (await fetch(cast.app, INBOX)) == [("applied", True)]
    await sound(cast.app)


async def test_it_waits_for_a_slow_bank(stripe: StripeDouble, cast: Cast) -> None:
    lives = [await Life.begin(cast) for _ in range(2)]
    outcomes: tuple[Outcome, Outcome] = ("succeeded_later", "failed")
    for life, outcome in zip(lives, outcomes, strict=True):
        await life.create()
        await checkout(life)
        stripe.pay(life.session, "unpaid")
        await heard(stripe, cast.app)
        assert (await life.proof())["held"] == 0
        stripe.pay(life.session, outcome)
        await heard(stripe, cast.app)
    assert [(await life.proof())["held"] for life in lives] == [12000, 0]
    failed = lives[1].session
    await checkout(lives[1])
    assert lives[1].session != failed, "a new page after the failed one"
    await sound(cast.app)


async def test_it_takes_events_in_any_order(stripe: StripeDouble, cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session, "unpaid")
    stripe.pay(life.session, "succeeded_later")
    backwards = list(reversed(range(len(stripe.events))))
    await heard(stripe, cast.app, *stripe.events, order=backwards, times=2)
    assert (await life.proof())["held"] == 12000
    await sound(cast.app)


async def test_it_books_no_other_amount_than_it_asked_for(stripe: StripeDouble, cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session, amount=100)
    await heard(stripe, cast.app, times=2)
    assert (await fetch(cast.app, INBOX)) == [("quarantined", True)]
    assert (await life.proof())["held"] == 0
    await sound(cast.app)


@pytest.mark.parametrize("changes", [{"livemode": True}, {"account": "acct_of_somebody"}])
async def test_it_believes_only_its_own_account_and_mode(
    stripe: StripeDouble, cast: Cast, changes: dict[str, Any]
) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    *_, told = stripe.pay(life.session)
    await heard(stripe, cast.app, told | changes | {"id": "evt_other"})
    assert (await fetch(cast.app, INBOX)) == [("quarantined", False)]
    assert (await life.proof())["held"] == 0
    await heard(stripe, cast.app, told)
    assert (await life.proof())["held"] == 12000
    await sound(cast.app)


async def test_it_takes_both_secrets_while_one_is_exchanged(
    stripe: StripeDouble, cast: Cast
) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    events = stripe.pay(life.session)
    (refused, *_) = await stripe.deliver(cast.anybody, *events, secret="whsec_of_last_year")
    assert refused.status_code == 400
    assert (await life.proof())["held"] == 0
    await heard(stripe, cast.app, *events, secret="whsec_of_last_week")
    assert (await life.proof())["held"] == 12000
    await heard(stripe, cast.app, *events)
    assert (await life.proof())["held"] == 12000


async def test_it_opens_another_page_when_one_is_over(stripe: StripeDouble, cast: Cast) -> None:
    """Whether Stripe has told of it, or the word was lost."""
    life = await Life.begin(cast)
    await checkout(life)
    first = life.session
    stripe.expire(first)
    await heard(stripe, cast.app)
    await checkout(life)
    second = life.session
    stripe.expire(second)
    accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 86_400}))
    await checkout(life)
    assert len({first, second, life.session}) == 3
    assert stripe.sessions[life.session]["status"] == "open", "Stripe's clock was not moved"
    await sound(cast.app)


async def test_it_charges_nothing_while_stripe_is_down(stripe: StripeDouble, cast: Cast) -> None:
    """A failure that Stripe remembers for the key does not lock the buyer out for a day."""
    life = await Life.begin(cast)
    path = f"/api/client/job/payment/{life.job}"
    stripe.fault("POST", "/v1/checkout/sessions", Fault.ERROR_500)
    for _ in range(2):
        answer = await cast.alice.post(path, json={"freelancerId": cast.bob.id})
        assert answer.status_code == 503, answer.text
        assert stripe.api_key not in answer.text
    await checkout(life)
    assert list(stripe.sessions) == [life.session]
    await sound(cast.app)


async def test_it_opens_one_page_for_ten_who_ask_at_once(stripe: StripeDouble, cast: Cast) -> None:
    """Stripe answers nine of them that somebody with the same key is being served."""
    life = await Life.begin(cast)
    stripe.fault("POST", "/v1/checkout/sessions", Fault.SLOW, seconds=0.3)
    path, body = f"/api/client/job/payment/{life.job}", {"freelancerId": cast.bob.id}
    answers = await asyncio.gather(*(cast.alice.post(path, json=body) for _ in range(10)))
    assert {accepted(answer)["id"] for answer in answers} == set(stripe.sessions)
    assert len(stripe.sessions) == 1


async def test_it_does_not_wait_for_a_page_that_takes_too_long(
    stripe: StripeDouble, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await Life.begin(cast)
    monkeypatch.setattr(stripe_line, "CALL_SECONDS", 0.2)
    stripe.fault("POST", "/v1/checkout/sessions", Fault.SLOW, seconds=60)
    path = f"/api/client/job/payment/{life.job}"
    assert (await cast.alice.post(path, json={"freelancerId": cast.bob.id})).status_code == 503
    await checkout(life)
    assert list(stripe.sessions) == [life.session]
    stripe.pay(life.session)
    await heard(stripe, cast.app)
    await sound(cast.app)


@pytest.mark.parametrize(
    "fault", [Fault.RESET_AFTER_SUCCESS, Fault.GARBAGE, Fault.HALF, Fault.TOO_MANY_429]
)
async def test_it_opens_one_page_over_a_bad_line(
    stripe: StripeDouble, cast: Cast, fault: Fault
) -> None:
    life = await Life.begin(cast)
    stripe.fault("POST", "/v1/checkout/sessions", fault)
    path = f"/api/client/job/payment/{life.job}"
    assert (await cast.alice.post(path, json={"freelancerId": cast.bob.id})).status_code == 503
    await checkout(life)
    assert list(stripe.sessions) == [life.session]


# -- what there is, and what there is not ---------------------------------------------------


async def test_it_has_no_card_page_of_its_own(stripe: StripeDouble, cast: Cast) -> None:
    life = await Life.begin(cast)
    await checkout(life)
    for method, path in (
        ("GET", f"/sandbox/pay/{life.session}"),
        ("POST", f"/sandbox/checkout/{life.session}/complete"),
    ):
        assert (await cast.anybody.request(method, path)).status_code == 404
    described = accepted(await cast.anybody.get("/openapi.json"))
    assert not [path for path in described["paths"] if path.startswith("/sandbox/checkout")]
    names = {chore.name for chore in chores_of(cast.app.state.settings, cast.app.state.core)}
    assert "send refunds" in names
    assert not {"expire checkout sessions", "deliver provider events"} & names


async def test_it_asks_stripe_for_nothing_that_the_sandbox_was_asked_for(
    stripe: StripeDouble, database: TestDatabase, settings: Settings
) -> None:
    """A page that was open when the provider was changed leads nowhere any more, and what the
    sandbox took in cannot go back through Stripe."""
    before = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    async with before.lifespan():
        broker = await make_broker(before)
        funded = await Deal.at(broker, "paid")
        assert (await funded.refund()).status_code == 200
        opened = await Deal.begin(broker)
        async with caller(before) as huda:
            pressed = await huda.post("/checkout", params={"token": opened.token})
        assert "/sandbox/pay/" in pressed.headers["Location"]
        await broker.client.aclose()
    app = build_app(settings, Pool(database.app_dsn))
    async with app.lifespan():
        broker.app = app
        await paid(stripe, opened)
        assert len(stripe.sessions) == 1
        assert await funded.settle() == 1
        ((_, state, told),) = await fetch(app, REFUNDS)
        assert state == "failed"
        assert "another account" in told
        assert stripe.refunds == {}
        await sound(app)
