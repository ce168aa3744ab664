"""Paying people with EARNEST_PROVIDER=stripe, over HTTP from end to end: onboarding, a withdrawal,
what Stripe's events do, and every way in which the line can break at every call, with the worker
killed around it. Stripe is its double, on a socket of its own.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.actions import payouts
from earnest.providers import stripe_line
from earnest.settings import Settings
from hesitant import Killed, hesitant
from life import Life, accepted
from paying_out import FREELANCER, balance, later, seen, withdrawn
from refusals import refused
from stripe_desk import checkout, fetch, heard, settings_with, sound
from stripe_double import Fault, StripeDouble
from web import Cast

ONBOARDING = "/api/freelancer/wallet/onboarding"
STATE = "SELECT state, leg, provider_payout_id IS NOT NULL FROM payout"
KILLED = ("never", "before the call", "after the call", "never")
STEP_SECONDS, PATIENCE_SECONDS = 20, 15 * 60
CALLS = {
    "create_transfer": ("/v1/transfers", "/v1/transfers"),
    "create_payout": ("/v1/payouts", "/v1/payouts"),
    "return_transfer": ("/v1/transfers/*/reversals", "/v1/transfers"),
}


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    """In real time."""
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


async def earned(stripe: StripeDouble, cast: Cast) -> None:
    """Bob has 10,800 in his wallet, of money that came in through Stripe."""
    stripe.books.fee_bps = stripe.books.fee_minor = 0
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session)
    await heard(stripe, cast.app)
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()


async def onboarded(stripe: StripeDouble, cast: Cast) -> str:
    """Bob went through Stripe's onboarding; his account there."""
    page = accepted(await cast.bob.post(ONBOARDING))
    assert page["url"].startswith("https://")
    (account,) = stripe.all("account")
    stripe.onboard(account)
    return account


async def only_payout(stripe: StripeDouble) -> Any:
    (payout,) = stripe.all("payout").values()
    return payout


# -- it goes well -----------------------------------------------------------------------------


async def test_who_was_not_onboarded_is_told_so_and_nothing_happens(
    stripe: StripeDouble, cast: Cast
) -> None:
    await earned(stripe, cast)
    told = "Before money can be paid out, its owner has to say where to: finish the onboarding."
    await refused(cast, cast.bob.post(FREELANCER, json={"amount": 100}), 400, told)
    assert stripe.all("account") == {}
    accepted(await cast.bob.post(ONBOARDING))
    answer = cast.bob.post(FREELANCER, json={"amount": 100})
    assert (await answer).status_code == 400, "begun, and not finished"
    assert await balance(cast.bob) == 10800
    await sound(cast.app)


async def test_it_reaches_the_bank_through_connect(stripe: StripeDouble, cast: Cast) -> None:
    await earned(stripe, cast)
    account = await onboarded(stripe, cast)
    payout = await withdrawn(cast.bob, 10000)
    for _ in range(2):
        await payouts.send_due(cast.app.state.core)
    (transfer,) = stripe.all("transfer").values()
    assert (transfer["amount"], transfer["destination"]) == (1_000_000, account)
    assert transfer["transfer_group"] == payout["_id"]
    paid = await only_payout(stripe)
    assert paid["metadata"]["payoutId"] == payout["_id"]
    assert (await seen(cast.bob, payout))["status"] == "pending"
    stripe.settle_payout(paid["id"], "paid")
    await heard(stripe, cast.app)
    await payouts.send_due(cast.app.state.core)
    done = await seen(cast.bob, payout)
    assert done["status"] == "paid"
    assert done["providerTransferId"] == transfer["id"]
    assert done["providerPayoutId"] == paid["id"]
    await sound(cast.app)


@pytest.mark.parametrize("paid_first", [False, True], ids=["on its way", "after it was paid"])
async def test_what_a_bank_sends_back_is_in_the_wallet_again(
    stripe: StripeDouble, cast: Cast, paid_first: bool
) -> None:
    await earned(stripe, cast)
    await onboarded(stripe, cast)
    payout = await withdrawn(cast.bob, 10000)
    for _ in range(2):
        await payouts.send_due(cast.app.state.core)
    paid = await only_payout(stripe)
    for status in ("paid", "failed") if paid_first else ("failed",):
        stripe.settle_payout(paid["id"], status)
        await heard(stripe, cast.app, times=2)
        await payouts.send_due(cast.app.state.core)
    await payouts.send_due(cast.app.state.core)
    back = await seen(cast.bob, payout)
    assert (back["status"], back["paidAt"]) == ("failed", None)
    assert "account_closed" in back["failure"]
    assert await balance(cast.bob) == 10800
    (transfer,) = stripe.all("transfer").values()
    assert transfer["amount_reversed"] == transfer["amount"]
    await sound(cast.app)


async def test_too_little_at_stripe_is_waited_for(stripe: StripeDouble, cast: Cast) -> None:
    """Card payments are there for days before they can be sent on."""
    await earned(stripe, cast)
    await onboarded(stripe, cast)
    spare = stripe.books.book("adjustment", -500_000, "inr", None)
    assert spare
    payout = await withdrawn(cast.bob, 10000)
    for _ in range(4):
        await payouts.send_due(cast.app.state.core)
        await later(cast.app, 600)
    assert stripe.all("transfer") == {}
    assert (await seen(cast.bob, payout))["status"] == "pending"
    stripe.books.book("adjustment", 500_000, "inr", None)
    await payouts.send_due(cast.app.state.core)
    assert len(stripe.all("transfer")) == 1
    await sound(cast.app)


# -- the line breaks --------------------------------------------------------------------------


async def _settled(stripe: StripeDouble, cast: Cast, call: str, fault: Fault) -> tuple[str, str]:
    """Work on until nothing is left to do, a quarter of an hour at most; where the payout is."""
    state = leg = ""
    for _ in range(PATIENCE_SECONDS // STEP_SECONDS):
        with contextlib.suppress(Killed):
            await payouts.send_due(cast.app.state.core)
        ((state, leg, is_accepted),) = await fetch(cast.app, STATE)
        if state == "failed" or (is_accepted and call != "return_transfer"):
            break
        await later(cast.app, STEP_SECONDS)
        # What is slow at Stripe is so in real time, and over long before the next attempt.
        await asyncio.sleep(0.06 if fault is Fault.SLOW else 0)
    return state, leg


def _ways() -> list[tuple[Fault, str, str]]:
    """Every fault at every call, with a worker that is killed around it, or is not: each in turn,
    all of them at night."""
    calls = itertools.product(Fault, CALLS)
    if os.environ.get("EARNEST_TEST_PROFILE") == "nightly":
        return [(*one, killed) for one, killed in itertools.product(calls, KILLED)]
    return [(*one, killed) for one, killed in zip(calls, itertools.cycle(KILLED), strict=False)]


@pytest.mark.parametrize(("fault", "call", "killed"), _ways())
async def test_nothing_is_doubled_lost_or_stuck(
    stripe: StripeDouble,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    call: str,
    killed: str,
) -> None:
    await earned(stripe, cast)
    await onboarded(stripe, cast)
    monkeypatch.setattr(stripe_line, "CALL_SECONDS", 0.3)
    payout = await withdrawn(cast.bob, 10000)
    if call == "return_transfer":
        for _ in range(2):
            await payouts.send_due(cast.app.state.core)
        stripe.settle_payout((await only_payout(stripe))["id"], "failed")
        await heard(stripe, cast.app)
    elif call == "create_payout":
        await payouts.send_due(cast.app.state.core)
    made, looked = CALLS[call]
    if killed != "after the call":
        stripe.fault("POST", made, fault, times=2, seconds=0.35)
    if killed != "never":
        stripe.fault("GET", looked, fault, seconds=0.35)
        hesitant(cast.app, call, Killed(), deaf=killed == "after the call")
    state = await _settled(stripe, cast, call, fault)
    if call == "return_transfer":
        assert state == ("failed", "return")
        assert await balance(cast.bob) == 10800
        assert (await seen(cast.bob, payout))["status"] == "failed"
    else:
        assert state == ("sent", "payout")
        assert await balance(cast.bob) == 800
    (transfer,) = stripe.all("transfer").values()
    assert len(stripe.all("payout")) == 1
    reversed_minor = transfer["amount"] if call == "return_transfer" else 0
    assert transfer["amount_reversed"] == reversed_minor
    await sound(cast.app)
