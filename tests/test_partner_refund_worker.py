"""What the worker does with refunds: the provider is told once, by key, whatever happens between
the intent, the call and the settlement (invariant 14)."""

import asyncio
from typing import Any

import msgspec
import pytest
from litestar import Litestar

from deal import Deal
from dealing import at, books, refused, row, sound
from earnest.actions import refunds
from earnest.app import build_app
from earnest.domain.party import SYSTEM
from earnest.domain.refund_returned import hint
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.ids import PublicId
from earnest.providers.base import ProviderRefund, ProviderRefundState, RefundRequest
from earnest.store.commit import Commit
from earnest.store.db import Pool
from earnest.store.refunds import load
from partners import Broker
from reluctant import Reluctant, reluctant
from web import caller

HELD = row("1143.75", "1143.75", "0", "0", "0", "0")
REFUNDED = row("143.75", "0", "0", "25", "3.75", "115")
STATE = "SELECT state, attempts, last_error, due_at IS NULL AS is_over FROM refund ORDER BY id"
AT_PROVIDER = "SELECT count(*) FROM sandbox.refund"


class Killed(Exception):
    """The process is gone: nothing of ours hears of it."""


async def refunding(broker: Broker) -> Deal:
    """A contract whose refund is planned."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    return deal


async def state(broker: Broker) -> tuple[Any, ...]:
    """Of the only refund: state, attempts, what the provider said last, whether it is over."""
    async with broker.app.state.pool.connection() as conn:
        (found,) = await conn.fetch(STATE)
    return tuple(found)


async def public_id(broker: Broker) -> PublicId:
    async with broker.app.state.pool.connection() as conn:
        return PublicId(await conn.fetchval("SELECT public_id FROM refund"))


async def given_back(broker: Broker) -> int:
    """How many refunds the provider has made."""
    async with broker.app.state.pool.connection() as conn:
        return int(await conn.fetchval(AT_PROVIDER))


async def later(broker: Broker, seconds: int) -> None:
    async with caller(broker.app) as nobody:
        await nobody.post("/sandbox/clock", json={"advance_seconds": seconds})


async def refunded_once(deal: Deal) -> None:
    assert await given_back(deal.broker) == 1
    assert await deal.status() == "refunded"
    assert (await deal.events()).count("contract.refunded") == 1
    assert await books(deal) == REFUNDED
    assert await deal.settle() == 0
    await sound(deal.broker)


# -- it goes well -------------------------------------------------------------------------------


async def test_it_asks_by_the_key_that_was_written_before(broker: Broker) -> None:
    deal = await refunding(broker)
    key = await public_id(broker)
    provider = reluctant(broker.app)
    assert await deal.settle() == 1
    assert provider.asked == [key]
    assert (await state(broker))[0] == "done"
    await refunded_once(deal)


async def test_it_takes_the_longest_due_first_and_comes_back_for_the_rest(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refunds, "AT_ONCE_MAX", 2)
    deals = [await refunding(broker) for _ in range(3)]
    assert [await deals[0].settle() for _ in range(3)] == [2, 1, 0]
    assert [await deal.status() for deal in deals] == ["refunded"] * 3


# -- it is killed -------------------------------------------------------------------------------


async def test_killed_before_the_call_it_calls_when_its_lease_is_over(broker: Broker) -> None:
    deal = await refunding(broker)
    provider = reluctant(broker.app, Killed())
    with pytest.raises(Killed):
        await deal.settle()
    assert await state(broker) == ("sent", 1, "", False)
    assert (await deal.settle(), await given_back(broker)) == (0, 0)
    assert await books(deal) == HELD
    await later(broker, 61)
    assert await deal.settle() == 1
    assert provider.asked[0] == provider.asked[1]
    await refunded_once(deal)


async def test_killed_after_the_call_it_looks_up_and_does_not_ask_again(broker: Broker) -> None:
    deal = await refunding(broker)
    provider = reluctant(broker.app, Killed(), deaf=True)
    with pytest.raises(Killed):
        await deal.settle()
    assert await given_back(broker) == 1
    assert await books(deal) == HELD
    assert await deal.status() == "refundInProgress"
    await later(broker, 61)
    assert await deal.settle() == 1
    assert len(provider.asked) == 1
    await refunded_once(deal)


# -- nobody knows -------------------------------------------------------------------------------


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unknown_outcome_is_looked_up_never_guessed(
    broker: Broker, happened: bool
) -> None:
    deal = await refunding(broker)
    provider = reluctant(broker.app, ProviderUnknown("The line was cut."), deaf=happened)
    assert await deal.settle() == 1
    assert await state(broker) == ("unknown", 1, "The line was cut.", False)
    assert await books(deal) == HELD
    assert await deal.settle() == 0
    await later(broker, 20)
    assert await deal.settle() == 1
    assert len(provider.asked) == (1 if happened else 2)
    await refunded_once(deal)


async def test_a_provider_that_is_down_is_asked_again_ever_later(broker: Broker) -> None:
    deal = await refunding(broker)
    down = [ProviderTransient("Busy.") for _ in range(3)]
    provider = reluctant(broker.app, *down)
    for attempt, seconds in ((1, 20), (2, 40), (3, 80)):
        assert await deal.settle() == 1
        assert await state(broker) == ("planned", attempt, "Busy.", False)
        await later(broker, seconds - 5)
        assert await deal.settle() == 0
        await later(broker, 6)
    assert await deal.settle() == 1
    assert len(provider.asked) == 4
    assert len(set(provider.asked)) == 1
    await refunded_once(deal)


async def test_a_refund_that_takes_days_is_settled_when_it_is_done(broker: Broker) -> None:
    deal = await refunding(broker)
    reluctant(broker.app, ProviderRefundState.PENDING, ProviderRefundState.PENDING)
    for seconds in (21, 41):
        assert await deal.settle() == 1
        assert (await state(broker))[0] == "sent"
        assert await books(deal) == HELD
        await later(broker, seconds)
    assert await deal.settle() == 1
    await refunded_once(deal)


# -- it fails for good --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (ProviderPermanent("The card is gone."), "The card is gone."),
        (ProviderRefundState.FAILED, "The provider could not give the money back."),
    ],
)
async def test_a_refusal_for_good_leaves_the_money_held_until_an_admin_asks_again(
    broker: Broker, word: Any, said: str
) -> None:
    deal = await refunding(broker)
    provider = reluctant(broker.app, word)
    assert await deal.settle() == 1
    assert await state(broker) == ("failed", 1, said, True)
    await later(broker, 10**6)
    assert await deal.settle() == 0
    assert await deal.status() == "refundInProgress"
    assert await books(deal) == HELD
    for asked in (deal.release(), deal.refund(), deal.act("receive")):
        await refused(broker, asked, 400, "A refund is pending for this contract.")
    await sound(broker)
    assert (await deal.rule("retry")).status_code == 200
    assert (await state(broker))[0] == "unknown"
    assert await deal.settle() == 1
    assert len(provider.asked) == 2
    await refunded_once(deal)


# -- several of them ----------------------------------------------------------------------------


async def test_workers_at_once_tell_the_provider_once(broker: Broker, settings: Any) -> None:
    """Eight in two processes, with three refunds."""
    deals = await at(broker, "paid", "paid", "paid")
    for deal in deals:
        assert (await deal.refund()).status_code == 200
    other: Litestar = build_app(settings, Pool(settings.database_url))
    async with other.lifespan():
        providers = [reluctant(broker.app), reluctant(other)]
        cores = [broker.app.state.core, other.state.core] * 4
        await asyncio.gather(*(refunds.send_due(core) for core in cores))
    asked = [key for provider in providers for key in provider.asked]
    assert len(asked) == len(set(asked)) == 3
    assert await given_back(broker) == 3
    assert [await deal.status() for deal in deals] == ["refunded"] * 3
    await sound(broker)


class Slow(Reluctant):
    """A provider whose answer takes until `may_answer`."""

    is_asked: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        done = await super().create_refund(request)
        self.is_asked.set()
        await self.may_answer.wait()
        return done


async def test_a_slow_worker_and_the_one_that_takes_over_settle_once(broker: Broker) -> None:
    """The first one's call takes longer than its lease; both have the provider's word then."""
    deal = await refunding(broker)
    core = broker.app.state.core
    slow = Slow(core.provider, [])
    first = asyncio.create_task(refunds.send_due(msgspec.structs.replace(core, provider=slow)))
    await slow.is_asked.wait()
    await later(broker, 61)
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    slow.may_answer.set()
    assert await first == 1
    await refunded_once(deal)


async def test_news_that_come_while_it_is_settled_are_looked_at(broker: Broker) -> None:
    """The provider tells of it between its answer and the commit of it: it is asked once more."""
    deal = await refunding(broker)
    core = broker.app.state.core
    slow = Slow(core.provider, [])
    first = asyncio.create_task(refunds.send_due(msgspec.structs.replace(core, provider=slow)))
    await slow.is_asked.wait()
    found = await load(core.pool, await public_id(broker), SYSTEM)
    assert found.refund is not None
    told = hint(found.refund, found.now, await core.keys.ids())
    assert told is not None
    assert await core.door.commit(Commit(told))
    slow.may_answer.set()
    assert await first == 1
    assert await deal.status() == "refunded"
    assert await state(broker) == ("done", 1, "", False)
    assert await deal.settle() == 1
    assert await state(broker) == ("done", 1, "", True)
    await refunded_once(deal)
