"""GET /api/admin/dead-letters: refunds and payouts that wait for Olga, and how to try again."""

from typing import Any

import pytest

from alerted import advance, kinds, look, rows
from deal import Deal
from earnest.actions import refunds
from earnest.errors import ProviderPermanent
from earnest.store.verify import verify
from life import accepted
from partners import Broker
from paying_out import balance, work
from refusals import only_for
from reluctant import reluctant
from test_withdraw_worker import stuck
from web import Cast

PATH = "/api/admin/dead-letters"
KEYS = [
    "_id",
    "kind",
    "businessName",
    "status",
    "amount",
    "currency",
    "lastError",
    "since",
    "retry",
]


async def letters(cast: Cast, **query: Any) -> list[dict[str, Any]]:
    body = accepted(await cast.olga.get(PATH, params=query))
    assert list(body) == ["success", "data", "total", "currentPage", "totalPages"]
    data: list[dict[str, Any]] = body["data"]
    assert all(list(one) == KEYS for one in data)
    return data


async def dead_refund(broker: Broker, said: str = "The card is gone.") -> Deal:
    deal = await Deal.at(broker, "paid", Milestones=None)
    assert (await deal.refund()).status_code == 200
    reluctant(broker.app, ProviderPermanent(said))
    assert await deal.settle() == 1
    return deal


async def test_it_lists_what_waits_for_an_admin(cast: Cast, broker: Broker) -> None:
    assert await letters(cast) == []
    payout = (await stuck(cast))["_id"]
    await advance(cast.app, seconds=5)
    await dead_refund(broker)
    failed, waiting = await letters(cast)
    assert (waiting["_id"], waiting["kind"], waiting["status"]) == (payout, "payout", "stuck")
    assert (waiting["amount"], waiting["currency"]) == (800, "INR")
    assert (waiting["lastError"], waiting["retry"]) == (
        "It was paid out already.",
        f"/api/admin/payouts/{payout}/retry",
    )
    assert (failed["kind"], failed["status"], failed["businessName"]) == (
        "refund",
        "failed",
        "Demo Broker",
    )
    assert (failed["amount"], failed["currency"]) == (1000, "SAR")
    assert failed["lastError"] == "The card is gone."
    assert failed["retry"] == f"/api/admin/refunds/{failed['_id']}/retry"
    assert [one["_id"] for one in await letters(cast, page=2, limit=1)] == [payout]
    assert await look(cast.app) == 2
    assert sorted(await kinds(cast)) == ["payout_stuck", "refund_failed"]


async def test_a_payout_is_tried_again_by_the_path_it_names(cast: Cast) -> None:
    await stuck(cast)
    assert await look(cast.app) == 1
    (letter,) = await letters(cast)
    accepted(await cast.olga.put(letter["retry"]))
    assert await letters(cast) == []
    assert await look(cast.app) == 0
    assert await kinds(cast) == []
    await work(cast.app)
    assert await balance(cast.bob) == 10800


async def test_it_is_tried_again_by_the_path_it_names(cast: Cast, broker: Broker) -> None:
    deal = await dead_refund(broker)
    (letter,) = await letters(cast)
    accepted(await cast.olga.put(letter["retry"]))
    assert await letters(cast) == []
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"


@pytest.mark.parametrize("times", [1, 3])
async def test_it_asks_by_a_new_key_each_time(cast: Cast, broker: Broker, times: int) -> None:
    """The provider would repeat what it refused by the old one."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    provider = reluctant(broker.app, *[ProviderPermanent("No.") for _ in range(times)])
    for _ in range(times):
        assert await deal.settle() == 1
        (letter,) = await letters(cast)
        accepted(await cast.olga.put(letter["retry"]))
    assert await deal.settle() == 1
    ((key,),) = await rows(cast.app, "SELECT public_id FROM refund")
    assert provider.asked == [key, *(f"{key}.{call}" for call in range(2, times + 2))]
    assert await deal.status() == "refunded"
    assert await rows(cast.app, "SELECT count(*) FROM sandbox.refund") == [(1,)]
    report = await verify(cast.app.state.settings.database_url)
    assert report.violations == (), report.lines()


async def test_it_waits_as_long_as_nobody_asks_again(cast: Cast, broker: Broker) -> None:
    await dead_refund(broker)
    await advance(cast.app, days=20)
    assert await refunds.send_due(cast.app.state.core) == 0
    assert len(await letters(cast)) == 1


async def test_it_is_for_admins(cast: Cast) -> None:
    await only_for(cast, lambda who: who.get(PATH), cast.olga)
