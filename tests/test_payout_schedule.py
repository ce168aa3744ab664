"""Payouts by schedule: once a day, week or month, everything of a business that can be paid out
is (E24); by two workers, by killed ones, beside people who withdraw, past those who cannot be paid.
"""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from litestar import Litestar

from crowd import Crowd
from deal import HUDA, OMAR, Deal
from earnest.actions import payout_schedule
from earnest.assembly import build_core
from earnest.domain.partner_settings import Wanted
from earnest.errors import ProviderTransient
from earnest.settings import Settings
from earnest.store import businesses
from earnest.store.db import Pool
from hesitant import Killed, hesitant
from life import Life
from partners import Broker, make_broker
from paying_out import balance, fetch, later, sound, work
from refusals import blocked
from test_worker import until, working
from web import Cast, caller, make_settings

DAY = 86_400
PAID = """
SELECT coalesce(o.platform_ref, ''), p.amount_minor, p.state
FROM payout AS p LEFT JOIN party AS o ON o.id = p.party_id
WHERE p.cause = 'scheduled' ORDER BY p.amount_minor, p.id
"""
COUNT = "SELECT count(*) FROM payout"
ACCOUNTS = "SELECT count(*) FROM payout_account"
ROUNDS = "SELECT looked_to > 0, tries, due_at IS NULL FROM payout_round ORDER BY business_id"
TURNS = """
SELECT b.name FROM payout AS p INNER JOIN business AS b ON b.id = p.business_id
WHERE p.party_id IS NOT NULL ORDER BY p.commit_id
"""
SELLER, BUSINESS = 100_000, 11_500
"""Of a contract over 1,000: the seller's, and the platform fee with its tax."""


async def one_round(app: Litestar, turns_max: int = 50) -> int:
    """What the worker does when a period has begun; how many turns it took."""
    core = app.state.core
    await payout_schedule.begin_rounds(core)
    for turn in range(turns_max):
        if not await payout_schedule.take_turn(core):
            return turn
    raise AssertionError("the round has no end")


async def paid(app: Litestar) -> list[tuple[Any, ...]]:
    """Reference ("" for a business), amount and state of each payout by schedule."""
    return await fetch(app, PAID)


async def amounts(app: Litestar) -> list[int]:
    return [row[1] for row in await paid(app)]


async def now(app: Litestar) -> datetime:
    async with app.state.pool.connection() as conn:
        found: datetime = await conn.fetchval("SELECT business_now()")
    return found


async def on(app: Litestar, moment: datetime) -> None:
    """The clock is set forward to `moment`."""
    await later(app, round((moment - await now(app)).total_seconds()))


async def sellers(broker: Broker, count: int) -> None:
    """So many people of the broker with 1,000 each, but for the 115 of every contract."""
    for number in range(count):
        seller = OMAR | {"phoneNumber": f"96650000{number:04d}"}
        await Deal.at(broker, "released", SellerParty=seller, Milestones=None)


async def marketplace(app: Litestar, **wanted: Any) -> None:
    async with app.state.pool.connection() as conn, conn.transaction():
        await businesses.change_marketplace(conn, Wanted(**wanted), "setup")


# -- when, and what -------------------------------------------------------------------------------


async def test_it_pays_the_business_and_its_sellers_all_that_they_have(broker: Broker) -> None:
    app = broker.app
    deal = await Deal.at(broker, "released")
    await one_round(app)
    omar = deal.made["sellerParty"]["platformRefId"]
    assert await paid(app) == [("", BUSINESS, "planned"), (omar, SELLER, "planned")]
    await work(app)
    assert [row[2] for row in await paid(app)] == ["done", "done"]
    await sound(app)


async def test_it_pays_once_a_day_and_what_came_since_the_next_day(broker: Broker) -> None:
    app = broker.app
    tomorrow = (await now(app)).replace(hour=0, minute=0, second=0) + timedelta(days=1)
    await one_round(app)
    assert await paid(app) == []
    await Deal.at(broker, "released")
    await on(app, tomorrow - timedelta(minutes=2))
    assert await one_round(app) == 0
    await on(app, tomorrow + timedelta(seconds=2))
    await one_round(app)
    assert await amounts(app) == [BUSINESS, SELLER]
    await Deal.at(broker, "released")
    assert await one_round(app) == 0
    await later(app, DAY)
    await one_round(app)
    assert await amounts(app) == [BUSINESS, BUSINESS, SELLER, SELLER]
    await sound(app)


@pytest.mark.parametrize("schedule", ["weekly", "monthly"])
async def test_it_keeps_to_mondays_and_to_the_first(app: Litestar, schedule: str) -> None:
    broker = await make_broker(app, payout_schedule=schedule)
    await one_round(app)
    await Deal.at(broker, "released")
    day = (await now(app)).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while (day.weekday() != 0) if schedule == "weekly" else (day.day != 1):
        day += timedelta(days=1)
    await on(app, day - timedelta(minutes=2))
    assert await one_round(app) == 0
    assert await paid(app) == []
    await on(app, day + timedelta(seconds=2))
    await one_round(app)
    assert await amounts(app) == [BUSINESS, SELLER]
    await later(app, 3 * DAY)
    await Deal.at(broker, "released")
    assert await one_round(app) == 0


async def test_it_leaves_what_is_below_the_minimum_until_it_is_more(app: Litestar) -> None:
    broker = await make_broker(app, payout_minimum=Decimal("1000.01"))
    await Deal.at(broker, "released")
    await one_round(app)
    assert await fetch(app, ACCOUNTS) == [(0,)], "nobody was asked about them"
    await Deal.at(broker, "released", amount=10, Milestones=None)
    await later(app, DAY)
    await one_round(app)
    assert await amounts(app) == [SELLER + 1_000]


async def test_it_pays_nobody_of_a_business_that_pays_on_demand(app: Litestar, cast: Cast) -> None:
    broker = await make_broker(app, payout_schedule="manual")
    await Deal.at(broker, "released")
    await Life.at(cast, "released")
    assert await one_round(app) == 0
    await marketplace(app, payout_schedule="weekly")
    assert await one_round(app) == 1
    assert await amounts(app) == [10_800_00]
    assert await balance(cast.bob) == 0
    await sound(app)


async def test_it_pays_buyers_who_have_something_too(cast: Cast) -> None:
    await marketplace(cast.app, payout_schedule="daily")
    await Life.at(cast, "refunded")
    has = await balance(cast.alice)
    await one_round(cast.app)
    assert await amounts(cast.app) == [has * 100]
    assert await balance(cast.alice) == 0


async def test_it_keeps_the_money_of_whoever_is_blocked(cast: Cast, broker: Broker) -> None:
    await marketplace(cast.app, payout_schedule="daily")
    await Life.at(cast, "released")
    await Deal.at(broker, "released")
    async with cast.app.state.pool.connection() as conn, conn.transaction():
        await businesses.set_status(conn, broker.business_id, "Blocked", "setup")
    async with blocked(cast, cast.bob):
        await one_round(cast.app)
    assert await paid(cast.app) == []
    async with cast.app.state.pool.connection() as conn, conn.transaction():
        await businesses.set_status(conn, broker.business_id, "Active", "setup")
    await one_round(cast.app)
    assert await amounts(cast.app) == [BUSINESS, SELLER]
    await later(cast.app, DAY)
    await one_round(cast.app)
    assert await amounts(cast.app) == [BUSINESS, SELLER, 10_800_00]


async def test_it_tries_a_payout_that_failed_again_in_the_next_period(broker: Broker) -> None:
    app = broker.app
    await Deal.at(broker, "released")
    await one_round(app)
    await work(app, turns=2, seconds=0)
    async with caller(app) as bank:
        for (payout,) in await fetch(app, "SELECT public_id FROM payout"):
            assert (await bank.post(f"/sandbox/payouts/{payout}/fail")).status_code == 200
    tomorrow = (await now(app)).replace(hour=0, minute=0, second=0) + timedelta(days=1)
    await later(app, 3600)
    await work(app, turns=3, seconds=1)
    assert [row[2] for row in await paid(app)] == ["failed", "failed"]
    if await now(app) < tomorrow:
        assert await one_round(app) == 0
        await on(app, tomorrow + timedelta(seconds=2))
    await one_round(app)
    assert await amounts(app) == [BUSINESS, BUSINESS, SELLER, SELLER]
    await sound(app)


# -- at once, and cut short -----------------------------------------------------------------------


async def test_it_pays_everybody_once_though_three_workers_run(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payout_schedule, "PEOPLE_MAX", 2)
    rival = await make_broker(broker.app, "Rival Broker")
    await sellers(broker, 5)
    await sellers(rival, 4)
    cores = [build_core(settings, Pool(settings.database_url)) for _ in range(3)]

    async def worker(core: Any) -> None:
        for _ in range(3):
            await payout_schedule.begin_rounds(core)
            while await payout_schedule.take_turn(core):
                pass

    await asyncio.gather(*map(worker, cores))
    for core in cores:
        await core.pool.close()
    found = Counter(row[0] for row in await paid(broker.app))
    assert found.pop("") == 2
    assert len(found) == 5 + 4
    assert set(found.values()) == {1}
    await sound(broker.app)


async def test_two_workers_in_one_turn_pay_everybody_once(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was so slow that its lease is over."""
    app = crowd.cast.app
    broker = await make_broker(app)
    await sellers(broker, 3)
    for one in crowd.apps:
        await payout_schedule.begin_rounds(one.state.core)
    slow, fast = crowd.apps[0].state.core, crowd.apps[-1].state.core
    monkeypatch.setattr(payout_schedule, "LEASE_SECONDS", 0)
    requests: Any = [payout_schedule.take_turn(core) for core in (slow, fast)]
    turns: Any = await crowd.at_once(requests)
    assert turns == [1, 1]
    assert await amounts(app) == [3 * BUSINESS, SELLER, SELLER, SELLER]
    assert await one_round(app) == 0
    await sound(app)


async def test_whoever_withdraws_at_the_same_moment_is_paid_once(crowd: Crowd) -> None:
    cast = crowd.cast
    await marketplace(cast.app, payout_schedule="daily")
    await Life.at(cast, "released")
    core = crowd.apps[-1].state.core
    await payout_schedule.begin_rounds(core)

    async def by_hand() -> httpx.Response:
        return await cast.bob.post("/api/freelancer/wallet/withdraw", json={"amount": 10800})

    requests: Any = [by_hand(), payout_schedule.take_turn(core)]
    answer, _ = await crowd.at_once(requests)
    assert answer.status_code in (202, 400), answer.text
    assert await fetch(cast.app, COUNT) == [(1,)]
    assert await balance(cast.bob) == 0
    await sound(cast.app)


async def test_killed_in_the_middle_it_goes_on_with_those_who_are_left(broker: Broker) -> None:
    app = broker.app
    await sellers(broker, 2)
    await one_round(app)
    await sellers(broker, 4)
    await later(app, DAY)
    before = len(await amounts(app))
    provider = hesitant(app, "create_account", Killed())
    core = app.state.core
    await payout_schedule.begin_rounds(core)
    with pytest.raises(Killed):
        await payout_schedule.take_turn(core)
    seen = len(await amounts(app)) - before
    assert 3 <= seen < 5, "the business and two who were paid before; another two have to be asked"
    assert await payout_schedule.take_turn(core) == 0, "its lease is not over"
    await later(app, payout_schedule.LEASE_SECONDS + 1)
    provider.errors.append(Killed())
    with pytest.raises(Killed):
        await payout_schedule.take_turn(core)
    await later(app, payout_schedule.LEASE_SECONDS + 1)
    assert await one_round(app) >= 1
    assert Counter(await amounts(app)) == {SELLER: 2 + 4, 2 * BUSINESS: 1, 4 * BUSINESS: 1}
    await sound(app)


async def test_it_lets_businesses_take_turns(
    app: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand people of one do not keep the other's waiting."""
    monkeypatch.setattr(payout_schedule, "PEOPLE_MAX", 2)
    large, small = await make_broker(app, "Large"), await make_broker(app, "Small")
    await sellers(large, 5)
    await sellers(small, 1)
    await one_round(app)
    names = [row[0] for row in await fetch(app, TURNS)]
    assert Counter(names) == {"Large": 5, "Small": 1}
    assert names.index("Small") <= 2


# -- those who cannot be paid ---------------------------------------------------------------------


@pytest.fixture
def settings(database: Any, request: pytest.FixtureRequest) -> Settings:
    onboarding = getattr(request, "param", False)
    return make_settings(database.app_dsn, sandbox_onboarding=onboarding)


strict = pytest.mark.parametrize("settings", [True], indirect=True)
"""Nobody is paid who has not been through onboarding."""


@strict
async def test_it_asks_nobody_about_people_without_an_account(broker: Broker) -> None:
    app = broker.app
    provider = hesitant(app, "find_account")
    await sellers(broker, 3)
    assert await one_round(app) >= 1
    assert provider.asked == []
    assert await fetch(app, ACCOUNTS) == [(0,)]
    assert await paid(app) == []
    assert await fetch(app, ROUNDS) == [(True, 0, True)]


@strict
async def test_it_asks_once_a_period_about_people_who_did_not_finish(cast: Cast) -> None:
    app = cast.app
    await marketplace(app, payout_schedule="daily")
    await Life.at(cast, "released")
    assert (await cast.bob.post("/api/freelancer/wallet/onboarding")).status_code == 200
    provider = hesitant(app, "find_account")
    for days in range(1, 4):
        await later(app, DAY)
        for _ in range(3):
            await one_round(app)
        assert len(provider.asked) == days
    assert await paid(app) == []
    await finish_onboarding(cast)
    await later(app, DAY)
    await one_round(app)
    assert await amounts(app) == [10_800_00]


async def finish_onboarding(cast: Cast) -> None:
    """Bob comes back to the provider's page after days, and says where to be paid."""
    link = (await cast.bob.post("/api/freelancer/wallet/onboarding")).json()["url"]
    opened = await cast.anybody.get(link)
    answer = await cast.anybody.post(opened.headers["location"], data={"answer": "finish"})
    assert answer.status_code == 303, answer.text


async def test_it_comes_back_when_the_provider_cannot_be_reached_and_not_for_ever(
    broker: Broker,
) -> None:
    app = broker.app
    await Deal.at(broker, "released")
    provider = hesitant(app, "create_account", *[ProviderTransient("Away.")] * 3)
    core = app.state.core
    await payout_schedule.begin_rounds(core)
    assert await payout_schedule.take_turn(core) == 1
    assert await payout_schedule.take_turn(core) == 0, "not at once"
    assert await fetch(app, ROUNDS) == [(False, 1, False)]
    provider.errors.clear()
    await later(app, payout_schedule.AGAIN_SECONDS + 1)
    assert await payout_schedule.take_turn(core) == 1
    assert await amounts(app) == [BUSINESS, SELLER]
    await Deal.at(broker, "released", SellerParty=OMAR | {"phoneNumber": "966500000077"})
    provider.errors += [ProviderTransient("Away.")] * 3
    await later(app, DAY)
    await payout_schedule.begin_rounds(core)
    for _ in range(3):
        assert await payout_schedule.take_turn(core) == 1
        await later(app, payout_schedule.AGAIN_SECONDS + 1)
    assert await payout_schedule.take_turn(core) == 0
    assert await amounts(app) == [BUSINESS, BUSINESS, SELLER]
    await later(app, DAY)
    await one_round(app)
    assert await amounts(app) == [BUSINESS, BUSINESS, SELLER, SELLER]


async def test_one_whom_the_provider_refuses_keeps_nobody_waiting(broker: Broker) -> None:
    """The country of a currency of several is nobody's: whoever has no account is left out."""
    euro = await make_broker(broker.app, "Euro Broker", currency="EUR")
    await Deal.at(euro, "released")
    await Deal.at(broker, "released", SellerParty=HUDA, BuyerParty=OMAR)
    await one_round(broker.app)
    assert await amounts(broker.app) == [BUSINESS, SELLER]


# -- the worker -----------------------------------------------------------------------------------


async def test_the_worker_pays_within_seconds_of_the_day(
    broker: Broker, settings: Settings
) -> None:
    app = broker.app
    await Deal.at(broker, "released")
    async with working(settings, workers=2):

        async def are_paid() -> bool:
            return await amounts(app) == [BUSINESS, SELLER]

        await until(are_paid, seconds=20)
    await sound(app)
