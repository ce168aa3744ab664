"""GET /api/admin/dead-letters: refunds and payouts that wait for Olga, and how to try again."""

from typing import Any

import pytest

from alerted import advance, kinds, look, rows
from deal import Deal
from earnest.actions import refunds
from earnest.errors import ProviderPermanent
from earnest.store.verify import verify
from life import Life, accepted
from partners import Broker
from refusals import only_for
from reluctant import reluctant
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


async def stuck_payout(cast: Cast) -> str:
    """A withdrawal of Bob's that the provider refuses to give back: its id."""
    life = await Life.at(cast, "released", rate=500)
    account = f"acct_{life.contract}"
    async with cast.app.state.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO payout_account (id, public_id, business_id, party_id,"
            " provider_account_id, country, external_account, is_payable, created_at, checked_at)"
            " VALUES (nextval('object_key'), 'x', 1, $1, 1, 'IN', $2, TRUE, now(), now())",
            cast.bob.actor.key,
            account,
        )
        return str(
            await conn.fetchval(
                "INSERT INTO payout (id, public_id, business_id, party_id, provider_account_id,"
                " external_account, cause, amount_minor, currency, created_at, version, commit_id,"
                " updated_at, state, leg, attempts, calls, provider_transfer_id, last_error)"
                " VALUES (nextval('object_key'), $3, 1, $1, 1, $2, 'asked', 12345, 'INR',"
                " business_now(), 7, 1, business_now(), 'stuck', 'return', 3, 1, 'tr_1',"
                " 'account_closed') RETURNING public_id",
                cast.bob.actor.key,
                account,
                life.contract[:-1] + "0",
            )
        )


async def test_it_lists_what_waits_for_an_admin(cast: Cast, broker: Broker) -> None:
    assert await letters(cast) == []
    await dead_refund(broker)
    await advance(cast.app, seconds=5)
    payout = await stuck_payout(cast)
    stuck, failed = await letters(cast)
    assert (stuck["_id"], stuck["kind"], stuck["status"]) == (payout, "payout", "stuck")
    assert (stuck["amount"], stuck["currency"]) == (123.45, "INR")
    assert (stuck["lastError"], stuck["retry"]) == (
        "account_closed",
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
    assert [one["_id"] for one in await letters(cast, page=2, limit=1)] == [failed["_id"]]
    assert await look(cast.app) == 2
    assert sorted(await kinds(cast)) == ["payout_stuck", "refund_failed"]


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
