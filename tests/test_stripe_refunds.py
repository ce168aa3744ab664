"""Refunds with EARNEST_PROVIDER=stripe over a line that breaks, by a worker that is killed.

Whatever happens: one refund at Stripe, the money accounted for, and done within fifteen minutes of
business time. The clock is moved to when the refund is due next, as often as it takes.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from alerted import advance, kinds, look, rows
from conftest import TestDatabase
from deal import Deal
from dealing import books, row
from earnest.actions import refunds
from earnest.errors import ProviderPermanent
from earnest.providers import stripe_line
from earnest.providers.base import RefundRequest
from earnest.settings import Settings
from life import accepted
from partners import Broker
from stripe_desk import heard, paid, settings_with, sound
from stripe_double import Fault, StripeDouble
from web import Cast

STUCK_SECONDS = 15 * 60
WHEN = """
SELECT ceil(extract(EPOCH FROM r.due_at - business_now()))::integer, r.state, r.attempts, r.calls
FROM refund AS r
"""
HELD = row("1143.75", "1143.75", "0", "0", "0", "0")
REFUNDED = row("143.75", "0", "0", "25", "3.75", "115")
TRANSIT = """
SELECT coalesce(sum(CASE WHEN credit >> 57 = 9 THEN amount_minor ELSE -amount_minor END), 0)::bigint
FROM transfer WHERE credit >> 57 = 9 OR debit >> 57 = 9
"""


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(
    database: TestDatabase, stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A provider that is waited for one second: less is too little for a busy machine."""
    monkeypatch.setattr(stripe_line, "CALL_SECONDS", 1)
    return settings_with(stripe, database.app_dsn)


async def refunding(stripe: StripeDouble, broker: Broker) -> Deal:
    deal = await Deal.begin(broker)
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    return deal


async def until_done(deal: Deal) -> tuple[int, int, int]:
    """The worker goes on until the refund is: business seconds that went by, attempts, calls."""
    seconds = 0
    for _ in range(20):
        ((due, state, attempts, calls),) = await rows(deal.broker.app, WHEN)
        if state == "done":
            return seconds, attempts, calls
        if due > 0:
            seconds += due
            await advance(deal.broker.app, seconds=due)
        await deal.settle()
    raise AssertionError("it is not done")


async def once_and_sound(stripe: StripeDouble, deal: Deal) -> None:
    """One refund there, and the books say so."""
    (refund,) = [one for one in stripe.refunds.values() if one["status"] == "succeeded"]
    assert len(stripe.refunds) == 1
    ((public_id, provider_id),) = await rows(
        deal.broker.app, "SELECT public_id, provider_refund_id FROM refund"
    )
    assert refund["metadata"] == {"refundId": public_id}
    assert refund["id"] == provider_id
    assert await deal.status() == "refunded"
    assert await books(deal) == REFUNDED
    assert await deal.settle() == 0
    await sound(deal.broker.app)


def asked_keys(stripe: StripeDouble) -> list[str | None]:
    """The idempotency keys of the refunds that Stripe was asked for."""
    return [one.key for one in stripe.requests if (one.method, one.path) == ("POST", "/v1/refunds")]


# -- every fault ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "lookup"),
    [
        *((fault, None) for fault in Fault),
        *((Fault.ERROR_500, lookup) for lookup in Fault),
        *((Fault.RESET_AFTER_SUCCESS, lookup) for lookup in Fault),
    ],
)
async def test_it_is_done_once_within_fifteen_minutes(
    stripe: StripeDouble, broker: Broker, fault: Fault, lookup: Fault | None
) -> None:
    """Whatever breaks when it is asked for, and then when it is looked up."""
    deal = await refunding(stripe, broker)
    armed = [stripe.fault("POST", "/v1/refunds", fault, seconds=60)]
    assert await deal.settle() == 1
    ((_, state, _, _),) = await rows(broker.app, WHEN)
    assert state in ("planned", "unknown")
    assert await books(deal) == HELD
    if lookup is not None and state == "unknown":
        armed.append(stripe.fault("GET", "/v1/refunds", lookup, seconds=60))
        await advance(broker.app, seconds=20)
        assert await deal.settle() == 1
    for one in armed:
        one.over.set()
    seconds, attempts, _ = await until_done(deal)
    assert seconds <= STUCK_SECONDS
    assert attempts <= 6
    await once_and_sound(stripe, deal)


async def test_it_takes_another_key_when_stripe_remembers_a_failure(
    stripe: StripeDouble, broker: Broker
) -> None:
    """A 500 that Stripe would repeat for a day, once it was looked up that nothing happened."""
    deal = await refunding(stripe, broker)
    stripe.fault("POST", "/v1/refunds", Fault.ERROR_500)
    assert await until_done(deal) == (40, 3, 2)
    ((public_id,),) = await rows(broker.app, "SELECT public_id FROM refund")
    assert asked_keys(stripe) == [public_id, public_id, f"{public_id}.2"]
    await once_and_sound(stripe, deal)


async def test_it_takes_as_many_keys_as_it_needs(stripe: StripeDouble, broker: Broker) -> None:
    """The second one fails, too, and that is remembered as well."""
    deal = await refunding(stripe, broker)
    stripe.fault("POST", "/v1/refunds", Fault.ERROR_500)
    assert await deal.settle() == 1
    await advance(broker.app, seconds=20)
    assert await deal.settle() == 1
    stripe.fault("POST", "/v1/refunds", Fault.ERROR_500)
    seconds, attempts, calls = await until_done(deal)
    assert (attempts, calls) == (5, 3)
    assert 20 + seconds <= STUCK_SECONDS
    ((public_id,),) = await rows(broker.app, "SELECT public_id FROM refund")
    assert asked_keys(stripe) == [
        public_id,
        public_id,
        f"{public_id}.2",
        f"{public_id}.2",
        f"{public_id}.3",
    ]
    await once_and_sound(stripe, deal)


async def test_it_is_not_done_twice_when_a_remembered_failure_had_done_it(
    stripe: StripeDouble, broker: Broker
) -> None:
    deal = await refunding(stripe, broker)
    stripe.fault("POST", "/v1/refunds", Fault.ERROR_500_AFTER_SUCCESS)
    await until_done(deal)
    assert len(asked_keys(stripe)) == 1, "it was found, and not asked for again"
    await once_and_sound(stripe, deal)


# -- a worker that is killed ------------------------------------------------------------------


class Killed(Exception):
    """The process is gone: nothing of ours hears of it."""


class Mortal:
    """A core whose worker dies at its `step`-th step outside: asking, being answered, committing,
    having committed."""

    def __init__(self, core: Any, step: int) -> None:
        self.left = step
        self.core = msgspec.structs.replace(
            core, provider=_Provider(core.provider, self), door=_Door(core.door, self)
        )

    def live(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class _Provider:
    def __init__(self, behind: Any, mortal: Mortal) -> None:
        self._behind, self._mortal = behind, mortal

    async def create_refund(self, request: Any) -> Any:
        self._mortal.live()
        made = await self._behind.create_refund(request)
        self._mortal.live()
        return made

    async def find_refund(self, request: Any) -> Any:
        self._mortal.live()
        found = await self._behind.find_refund(request)
        self._mortal.live()
        return found


class _Door:
    def __init__(self, behind: Any, mortal: Mortal) -> None:
        self._behind, self._mortal = behind, mortal

    async def commit(self, commit: Any) -> Any:
        self._mortal.live()
        done = await self._behind.commit(commit)
        self._mortal.live()
        return done


async def dying(stripe: StripeDouble, broker: Broker, fault: Fault | None, step: int) -> bool:
    """A refund is done once by workers of whom the first dies at that step; whether one died."""
    seen = len(stripe.refunds)
    deal = await refunding(stripe, broker)
    if fault is not None:
        stripe.fault("POST", "/v1/refunds", fault)
    mortal = Mortal(broker.app.state.core, step)
    seconds = 0
    for _ in range(20):
        ((due, state, _, _),) = await rows(broker.app, f"{WHEN} ORDER BY r.id DESC LIMIT 1")
        if state == "done":
            break
        if due > 0:
            seconds += due
            await advance(broker.app, seconds=due)
        with contextlib.suppress(Killed):
            await refunds.send_due(mortal.core)
    assert await deal.status() == "refunded", step
    assert seconds <= STUCK_SECONDS, step
    assert len(stripe.refunds) == seen + 1, step
    return mortal.left <= 0


@pytest.mark.parametrize(
    ("fault", "steps"), [(None, 6), (Fault.ERROR_500, 12), (Fault.RESET_AFTER_SUCCESS, 10)]
)
async def test_it_is_done_once_wherever_its_worker_is_killed(
    stripe: StripeDouble, broker: Broker, fault: Fault | None, steps: int
) -> None:
    """At each step that there is, until nobody dies."""
    died = [await dying(stripe, broker, fault, step) for step in range(1, 30)]
    assert died.count(True) >= steps
    assert died == sorted(died, reverse=True)
    assert not died[-1], "it has more steps than that"
    await sound(broker.app)


# -- it comes back ----------------------------------------------------------------------------


async def came_back(stripe: StripeDouble, broker: Broker) -> Deal:
    """A refund that was done, and that the payer's bank sends back days later."""
    deal = await refunding(stripe, broker)
    await until_done(deal)
    await advance(broker.app, days=4)
    (refund,) = stripe.refunds
    stripe.settle_refund(refund, "failed")
    await heard(stripe, broker.app)
    return deal


async def test_it_is_in_transit_until_it_is_sent_again(
    stripe: StripeDouble, cast: Cast, broker: Broker
) -> None:
    deal = await came_back(stripe, broker)
    assert await deal.settle() == 1
    assert await deal.status() == "refunded", "nothing that the contract was settled by changed"
    assert await rows(cast.app, "SELECT state, due_at FROM refund") == [("returned", None)]
    assert await rows(cast.app, TRANSIT) == [(100_000,)]
    assert await deal.settle() == 0
    await sound(cast.app)
    await look(cast.app)
    assert await kinds(cast) == ["refund_returned"]

    (letter,) = accepted(await cast.olga.get("/api/admin/dead-letters"))["data"]
    assert (letter["status"], letter["amount"]) == ("returned", 1000)
    assert letter["lastError"] == "The payer's bank sent the money back."
    accepted(await cast.olga.put(letter["retry"]))
    await sound(cast.app)
    assert await deal.settle() == 1
    assert await rows(cast.app, "SELECT state, calls FROM refund") == [("done", 2)]
    assert await rows(cast.app, TRANSIT) == [(0,)]
    assert await books(deal) == REFUNDED
    assert [one["status"] for one in stripe.refunds.values()] == ["failed", "succeeded"]
    assert (await deal.events()).count("contract.refunded") == 1
    await look(cast.app)
    assert await kinds(cast) == []
    await sound(cast.app)


async def test_it_may_come_back_again_and_again(
    stripe: StripeDouble, cast: Cast, broker: Broker
) -> None:
    deal = await came_back(stripe, broker)
    assert await deal.settle() == 1
    for times in (2, 3):
        (letter,) = accepted(await cast.olga.get("/api/admin/dead-letters"))["data"]
        accepted(await cast.olga.put(letter["retry"]))
        assert await deal.settle() == 1
        assert len(stripe.refunds) == times
        await sound(cast.app)
        stripe.settle_refund(list(stripe.refunds)[-1], "failed")
        await heard(stripe, cast.app)
        assert await deal.settle() == 1
        assert await rows(cast.app, TRANSIT) == [(100_000,)]
        assert await rows(cast.app, "SELECT state FROM refund") == [("returned",)]
        await sound(cast.app)


async def test_it_stays_in_transit_when_it_is_refused_the_second_time(
    stripe: StripeDouble, cast: Cast, broker: Broker
) -> None:
    deal = await came_back(stripe, broker)
    assert await deal.settle() == 1
    (letter,) = accepted(await cast.olga.get("/api/admin/dead-letters"))["data"]
    accepted(await cast.olga.put(letter["retry"]))
    stripe.books.refund_status = "pending"
    assert await deal.settle() == 1
    await sound(cast.app)
    stripe.settle_refund(list(stripe.refunds)[-1], "failed")
    await heard(stripe, cast.app)
    assert await deal.settle() == 1
    assert await rows(cast.app, "SELECT state, last_error FROM refund") == [
        ("returned", "The provider could not give the money back.")
    ]
    assert await rows(cast.app, TRANSIT) == [(100_000,)]
    await sound(cast.app)


async def test_it_is_as_done_as_before_when_it_is_only_told_again(
    stripe: StripeDouble, broker: Broker
) -> None:
    deal = await refunding(stripe, broker)
    await until_done(deal)
    await heard(stripe, broker.app, times=3)
    await deal.settle()
    await once_and_sound(stripe, deal)


async def test_it_is_looked_up_again_when_stripe_cannot_say(
    stripe: StripeDouble, broker: Broker
) -> None:
    deal = await came_back(stripe, broker)
    stripe.fault("GET", "/v1/refunds", Fault.ERROR_500_THEN_SUCCESS)
    assert await deal.settle() == 1
    assert await rows(broker.app, "SELECT state FROM refund") == [("done",)]
    await sound(broker.app)
    await advance(broker.app, seconds=600)
    assert await deal.settle() == 1
    assert await rows(broker.app, "SELECT state FROM refund") == [("returned",)]
    await sound(broker.app)


# -- it is refused ----------------------------------------------------------------------------


async def test_it_asks_by_a_new_key_when_an_admin_has_mended_it(
    stripe: StripeDouble, cast: Cast, broker: Broker
) -> None:
    """Stripe would repeat its refusal for a day: here the key was used for something else."""
    deal = await refunding(stripe, broker)
    ((public_id,),) = await rows(cast.app, "SELECT public_id FROM refund")
    another = RefundRequest(public_id, public_id, "pi_unknown", 100, "SAR")
    with pytest.raises(ProviderPermanent):
        await cast.app.state.provider.create_refund(another)
    assert await deal.settle() == 1
    assert await rows(cast.app, "SELECT state FROM refund") == [("failed",)]
    assert await books(deal) == HELD
    (letter,) = accepted(await cast.olga.get("/api/admin/dead-letters"))["data"]
    accepted(await cast.olga.put(letter["retry"]))
    assert await deal.settle() == 1
    assert asked_keys(stripe)[-1] == f"{public_id}.2"
    await once_and_sound(stripe, deal)
