"""Release, refund and cancel of a partner's contract at the same moment: one of them moves money.

Each race runs in two processes on one database, with the requests in another order each time.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from deal import Deal
from dealing import Books, books, row, sound
from earnest.app import build_app
from earnest.store.db import Pool
from partners import Broker
from web import Caller, caller

# What each end adds to the books of a contract that was paid for.
ENDS = {
    row("0", "-1143.75", "1000", "25", "3.75", "115"): "released",
    row("-1000", "-1143.75", "0", "25", "3.75", "115"): "refunded or cancelled",
    row("-250", "-1143.75", "712.50", "62.50", "3.75", "115"): "refunded in part",
}
BASE = "/apps/api/contracts"
REASON = {"reason": "The buyer changed her mind"}


@pytest.fixture
async def callers(broker: Broker, settings: Any) -> AsyncIterator[list[Caller]]:
    """The broker's client at one process and at another."""
    other = build_app(settings, Pool(settings.database_url))
    token = {"Authorization": broker.client.headers["Authorization"]}
    async with other.lifespan(), caller(other, **token) as there:
        yield [broker.client, there]


Ask = Callable[[Caller], Awaitable[httpx.Response]]


def release(deal: Deal, **of: Any) -> Ask:
    return lambda who: who.post(f"{BASE}/release", json={"contractId": deal.number, **of})


def refund(deal: Deal, **of: Any) -> Ask:
    body = {"type": "FULL", **REASON, **of}
    return lambda who: who.post(f"{BASE}/{deal.number}/refund", json=body)


def cancel(deal: Deal, by: str) -> Ask:
    return lambda who: who.post(f"{BASE}/{deal.number}/cancel", json={"by": by, **REASON})


async def at_once(
    callers: list[Caller], asks: list[Ask], dice: random.Random
) -> list[httpx.Response]:
    dice.shuffle(asks)
    return await asyncio.gather(*(ask(dice.choice(callers)) for ask in asks))


def winner(answers: list[httpx.Response]) -> httpx.Response:
    """The one that was done; everybody else was told why not, or that others were faster."""
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200] == 1, statuses
    assert set(statuses) <= {200, 400, 409}, statuses
    (done,) = [answer for answer in answers if answer.status_code == 200]
    return done


@pytest.mark.abuse(58)
async def test_fifty_ends_of_one_contract_leave_one_set_of_postings(
    broker: Broker, callers: list[Caller]
) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(8):
        dice = random.Random(number)
        deal = await Deal.at(broker, "paid", Milestones=None)
        before = await books(deal)
        asks = [release(deal)] * 17 + [refund(deal)] * 11 + [cancel(deal, "buyer")] * 11
        asks += [refund(deal, type="PARTIAL", amount=250)] * 11
        done = winner(await at_once(callers, asks, dice))
        assert await deal.settle() == (0 if "/release" in done.url.path else 1)
        after = await books(deal)
        outcomes[ENDS[Books(*(now - then for now, then in zip(after, before, strict=True)))]] += 1
        assert (await deal.proof())["holds"] is True
    assert sum(outcomes.values()) == 8
    assert len(outcomes) > 1, "always the same one wins: that is no race"
    await sound(broker)


@pytest.mark.abuse(58)
async def test_milestones_race_for_themselves(broker: Broker, callers: list[Caller]) -> None:
    """Each of the two is released, refunded or refunded in part exactly once; the whole takes
    what it finds."""
    for number in range(6):
        deal = await Deal.at(broker, "paid")
        asks: list[Ask] = [release(deal), refund(deal)] * 4
        for index in (0, 1):
            of = {"milestoneId": deal.milestone(index)}
            asks += [release(deal, **of), refund(deal, **of)] * 5
            asks += [refund(deal, type="PARTIAL", amount=100, **of)] * 5
        answers = await at_once(callers, asks, random.Random(number))
        done = [answer for answer in answers if answer.status_code == 200]
        assert 1 <= len(done) <= 2
        await deal.settle()
        shown = await deal.shown()
        assert {one["Status"] for one in shown["milestones"]} <= {"released", "refunded"}
        assert shown["settlement"]["held"] == 0
        assert (await deal.proof())["holds"] is True
    await sound(broker)


@pytest.mark.abuse(46)
async def test_a_cancel_meets_the_payment(broker: Broker, callers: list[Caller]) -> None:
    """Whoever comes first: the money is held, on its way back, or back; never lost."""
    seen: Counter[str] = Counter()
    for number in range(8):
        deal = await Deal.begin(broker)
        dice = random.Random(number)
        ends = [cancel(deal, "buyer")(dice.choice(callers)), deal.pay()]
        dice.shuffle(ends)
        answers = await asyncio.gather(*ends, return_exceptions=True)
        # A checkout that is cancelled under the payer's hands may not open any more.
        assert all(not isinstance(one, BaseException) or "400" in str(one) for one in answers)
        await deal.settle()
        status = await deal.status()
        assert status in ("cancelled", "refunded")
        seen[status] += 1
        proof = await deal.proof()
        assert (proof["holds"], proof["held"]) == (True, 0)
    await sound(broker)


@pytest.mark.parametrize("verb", ["approve", "reject", "deliver", "receive"])
async def test_a_verb_is_done_once_when_many_ask(
    broker: Broker, callers: list[Caller], verb: str
) -> None:
    deal = await Deal.at(broker, "pending" if verb in ("approve", "reject") else "paid")
    path = f"{BASE}/{deal.number}/{verb}"
    asks: list[Ask] = [lambda who: who.post(path, json=REASON)] * 12
    winner(await at_once(callers, asks, random.Random(1)))
    word = {"approve": "approved", "reject": "rejected", "deliver": "delivered"}
    told = f"contract.{word.get(verb, 'received')}"
    assert (await deal.events()).count(told) == 1


async def test_a_key_is_one_release_wherever_it_is_sent(
    broker: Broker, callers: list[Caller]
) -> None:
    deal = await Deal.at(broker, "paid")
    body = {"contractId": deal.number}
    answers = await asyncio.gather(
        *(
            who.post(f"{BASE}/release", json=body, headers={"Idempotency-Key": "key-1"})
            for who in callers * 10
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (await deal.events()).count("contract.released") == 1
    assert await books(deal) == row("1143.75", "0", "1000", "25", "3.75", "115")
