"""/api/admin/refunds: Olga decides about refunds that wait for her, or that a provider refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import Deal
from dealing import books, row
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.providers.base import ProviderRefundState
from earnest.store.db import Pool
from earnest.store.verify import verify
from life import accepted
from partners import Broker, make_broker
from refusals import only_for, refused, refuses_ids
from reluctant import reluctant
from web import Caller, Cast

PATH = "/api/admin/refunds"
NOT_REQUESTED = "This refund does not wait for an approval."
NOT_FAILED = "This refund has not failed."
AT_THE_PROVIDER = "SELECT amount_minor FROM sandbox.refund"
EVENTS = "SELECT type, actor FROM event WHERE subject = 'refund:' || $1 ORDER BY id"
KEYS = [
    "_id",
    "businessId",
    "businessName",
    "contractNumber",
    "kind",
    "status",
    "amount",
    "currency",
    "reason",
    "attempts",
    "dueAt",
    "lastError",
    "providerRefundId",
    "createdAt",
    "updatedAt",
]


@pytest.fixture
async def careful(app: Litestar) -> AsyncIterator[Broker]:
    """A partner whose refunds wait for an admin."""
    made = await make_broker(app, "Careful Broker", refund_approval="admin")
    yield made
    await made.client.aclose()


async def waiting(broker: Broker, **body: Any) -> Deal:
    """A contract over 1000 of which all (or `body`) is to be refunded, as soon as Olga says so."""
    deal = await Deal.at(broker, "paid", Milestones=None)
    answer = await deal.refund(**body)
    assert answer.status_code == 200, answer.text
    return deal


async def listed(cast: Cast, **query: Any) -> list[dict[str, Any]]:
    body = accepted(await cast.olga.get(PATH, params=query))
    assert list(body) == ["success", "data", "total", "currentPage", "totalPages"]
    data: list[dict[str, Any]] = body["data"]
    assert all(list(one) == KEYS for one in data)
    return data


async def of(cast: Cast, deal: Deal) -> dict[str, Any]:
    """The refund of a contract that has one."""
    (one,) = [one for one in await listed(cast) if one["contractNumber"] == deal.number]
    return one


async def decide(
    who: Caller, verb: str, refund: str, body: Any = None, **headers: str
) -> httpx.Response:
    if verb == "decline" and body is None:
        body = {"reason": "The work was delivered."}
    return await who.put(f"{PATH}/{refund}/{verb}", json=body, headers=headers)


async def rows(pool: Pool, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return [tuple(found) for found in await conn.fetch(sql, *arguments)]


async def assert_in_order(app: Litestar) -> None:
    report = await verify(app.state.settings.database_url)
    assert report.violation is None, str(report.violation)


# -- approve ----------------------------------------------------------------------------------


async def test_it_waits_and_no_money_moves(cast: Cast, careful: Broker, pool: Pool) -> None:
    deal = await waiting(careful)
    before = await books(deal)
    assert await deal.settle() == 0
    assert await deal.status() == "refundInProgress"
    assert await books(deal) == before == row("1143.75", "1143.75", "0", "0", "0", "0")
    assert await rows(pool, AT_THE_PROVIDER) == []
    (one,) = await listed(cast, status="requested")
    assert len(one.pop("_id")) == 24
    assert one.pop("createdAt") == one.pop("updatedAt")
    assert one == {
        "businessId": str(careful.business_id),
        "businessName": "Careful Broker",
        "contractNumber": deal.number,
        "kind": "full",
        "status": "requested",
        "amount": 1000,
        "currency": "SAR",
        "reason": "The buyer changed her mind",
        "attempts": 0,
        "dueAt": None,
        "lastError": "",
        "providerRefundId": None,
    }


async def test_it_approves_and_the_money_goes_back_once(
    cast: Cast, careful: Broker, pool: Pool
) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    body = accepted(await decide(cast.olga, "approve", refund))
    assert (body["success"], body["message"]) == (True, "Refund has been approved")
    assert (body["data"]["_id"], body["data"]["status"]) == (refund, "planned")
    assert body["data"]["dueAt"] is not None
    await refused(cast, decide(cast.olga, "approve", refund), 400, NOT_REQUESTED)

    assert await deal.settle() == 1
    assert await deal.settle() == 0
    assert await deal.status() == "refunded"
    assert await books(deal) == row("143.75", "0", "0", "25.00", "3.75", "115.00")
    assert await rows(pool, AT_THE_PROVIDER) == [(100_000,)]
    done = await of(cast, deal)
    assert (done["status"], done["attempts"], done["dueAt"]) == ("done", 1, None)
    assert done["providerRefundId"].startswith("re_test_")
    for verb in ("approve", "decline"):
        await refused(cast, decide(cast.olga, verb, refund), 400, NOT_REQUESTED)
    assert await rows(pool, EVENTS, refund) == [
        ("refund.approved", f"admin:{cast.olga.actor.key}"),
        ("refund.sent", "system:0"),
    ]
    await assert_in_order(careful.app)


async def test_it_approves_once_however_many_ask_at_once(
    cast: Cast, careful: Broker, pool: Pool
) -> None:
    deal = await waiting(careful, type_="PARTIAL", amount=250)
    refund = (await of(cast, deal))["_id"]
    answers = await asyncio.gather(*(decide(cast.olga, "approve", refund) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    while await deal.settle():
        pass
    assert await rows(pool, AT_THE_PROVIDER) == [(25_000,)]
    assert await books(deal) == row("893.75", "0", "712.50", "62.50", "3.75", "115.00")


async def test_one_decision_wins_over_the_other(cast: Cast, careful: Broker) -> None:
    for _ in range(4):
        deal = await waiting(careful)
        refund = (await of(cast, deal))["_id"]
        answers = await asyncio.gather(
            *(decide(cast.olga, verb, refund) for verb in ("approve", "decline"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 400]
        await deal.settle()
        approved = answers[0].status_code == 200
        assert await deal.status() == ("refunded" if approved else "escrow")
    await assert_in_order(careful.app)


@pytest.mark.parametrize("verb", ["approve", "decline"])
async def test_one_key_is_one_decision(cast: Cast, careful: Broker, verb: str) -> None:
    deal, other = await waiting(careful), await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    key = {"Idempotency-Key": "decided"}
    first = await decide(cast.olga, verb, refund, **key)
    again = await decide(cast.olga, verb, refund, **key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    another = (await of(cast, other))["_id"]
    await refused(cast, decide(cast.olga, verb, another, **key), 422)


# -- decline ----------------------------------------------------------------------------------


async def test_it_declines_and_the_money_is_in_escrow_again(
    cast: Cast, careful: Broker, pool: Pool
) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    body = accepted(await decide(cast.olga, "decline", refund))
    assert (body["message"], body["data"]["status"]) == ("Refund has been declined", "declined")
    assert await deal.settle() == 0
    assert await deal.status() == "escrow"
    assert await books(deal) == row("1143.75", "1143.75", "0", "0", "0", "0")
    for verb, text in (("approve", NOT_REQUESTED), ("decline", NOT_REQUESTED)):
        await refused(cast, decide(cast.olga, verb, refund), 400, text)
    assert (await deal.release()).status_code == 200
    assert await deal.status() == "released"
    assert await rows(pool, AT_THE_PROVIDER) == []
    await assert_in_order(careful.app)


async def test_it_may_be_asked_for_again_after_a_decline(cast: Cast, careful: Broker) -> None:
    deal = await waiting(careful)
    await decide(cast.olga, "decline", (await of(cast, deal))["_id"])
    assert (await deal.refund()).status_code == 200
    (again,) = await listed(cast, status="requested")
    accepted(await decide(cast.olga, "approve", again["_id"]))
    await deal.settle()
    assert await deal.status() == "refunded"
    states = [one["status"] for one in await listed(cast)]
    assert states == ["done", "declined"]
    await assert_in_order(careful.app)


async def test_it_leaves_a_dispute_as_it_was(cast: Cast, careful: Broker) -> None:
    deal = await Deal.at(careful, "paid")
    assert (await deal.act("dispute", {"by": "buyer"})).status_code == 200
    assert (await deal.refund("FULL", milestone=1)).status_code == 200
    accepted(await decide(cast.olga, "decline", (await of(cast, deal))["_id"]))
    assert await deal.status() == "dispute"
    await assert_in_order(careful.app)


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " \u200b"}, {"reason": 7}, []])
async def test_it_declines_for_a_reason(cast: Cast, careful: Broker, body: Any) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    await refused(cast, decide(cast.olga, "decline", refund, body), 400)


# -- retry ------------------------------------------------------------------------------------


async def test_it_has_the_provider_asked_again(cast: Cast, careful: Broker, pool: Pool) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    accepted(await decide(cast.olga, "approve", refund))
    provider = reluctant(careful.app, ProviderPermanent("Our balance there is too low."))
    await deal.settle()
    failed = await of(cast, deal)
    assert (failed["status"], failed["dueAt"]) == ("failed", None)
    assert failed["lastError"] == "Our balance there is too low."
    assert await listed(cast, status="failed") == [failed]
    assert await deal.settle() == 0
    assert await deal.status() == "refundInProgress"

    body = accepted(await decide(cast.olga, "retry", refund))
    assert (body["message"], body["data"]["status"]) == ("The provider is asked again", "unknown")
    await refused(cast, decide(cast.olga, "retry", refund), 400, NOT_FAILED)
    await deal.settle()
    assert await deal.status() == "refunded"
    assert provider.asked == [refund, f"{refund}.2"], "the old key would be refused again"
    assert await rows(pool, AT_THE_PROVIDER) == [(100_000,)]
    assert await books(deal) == row("143.75", "0", "0", "25.00", "3.75", "115.00")
    await assert_in_order(careful.app)


async def test_it_looks_up_what_the_provider_did_in_spite_of_its_refusal(
    cast: Cast, careful: Broker, pool: Pool
) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    accepted(await decide(cast.olga, "approve", refund))
    provider = reluctant(careful.app, ProviderPermanent("No."), deaf=True)
    await deal.settle()
    accepted(await decide(cast.olga, "retry", refund))
    await deal.settle()
    assert (await of(cast, deal))["status"] == "done"
    assert provider.asked == [refund], "it was looked up, not asked for a second time"
    assert await rows(pool, AT_THE_PROVIDER) == [(100_000,)]
    await assert_in_order(careful.app)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (ProviderTransient("down"), "planned"),
        (ProviderUnknown("timed out"), "unknown"),
        (ProviderRefundState.PENDING, "sent"),
    ],
)
async def test_it_leaves_alone_what_is_under_way(
    cast: Cast, careful: Broker, word: Any, status: str
) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    accepted(await decide(cast.olga, "approve", refund))
    reluctant(careful.app, word)
    await deal.settle()
    assert [one["_id"] for one in await listed(cast, status=status)] == [refund]
    await refused(cast, decide(cast.olga, "retry", refund), 400, NOT_FAILED)
    await refused(cast, decide(cast.olga, "decline", refund), 400, NOT_REQUESTED)
    await assert_in_order(careful.app)


# -- who, and which ---------------------------------------------------------------------------


@pytest.mark.abuse(62)
async def test_it_obeys_admins_only(cast: Cast, careful: Broker) -> None:
    deal = await waiting(careful)
    refund = (await of(cast, deal))["_id"]
    await only_for(cast, lambda who: who.get(PATH), cast.olga)
    for verb in ("approve", "decline", "retry"):
        await only_for(cast, lambda who, verb=verb: decide(who, verb, refund), cast.olga)  # type: ignore[misc]
        await refused(cast, decide(careful.client, verb, refund), 401)
        await refuses_ids(cast, lambda one, verb=verb: decide(cast.olga, verb, one), refund)  # type: ignore[misc]
    assert (await of(cast, deal))["status"] == "requested"


async def test_it_lists_by_state_and_by_page(cast: Cast, careful: Broker, broker: Broker) -> None:
    deals = [await waiting(careful) for _ in range(3)]
    accepted(await decide(cast.olga, "decline", (await of(cast, deals[1]))["_id"]))
    deals.append(await waiting(broker))
    everything = await listed(cast)
    assert [one["contractNumber"] for one in everything] == [
        deal.number for deal in reversed(deals)
    ]
    assert [one["status"] for one in everything] == [
        "planned",
        "requested",
        "declined",
        "requested",
    ]
    assert everything[0]["businessName"] == "Demo Broker"
    assert [one["contractNumber"] for one in await listed(cast, status="requested")] == [
        deals[2].number,
        deals[0].number,
    ]
    assert await listed(cast, status="unknown") == []
    page = accepted(await cast.olga.get(PATH, params={"page": 2, "limit": 3}))
    assert [one["_id"] for one in page["data"]] == [everything[3]["_id"]]
    assert (page["total"], page["currentPage"], page["totalPages"]) == (4, 2, 2)


@pytest.mark.parametrize("query", ["status=lost", "status=Requested", "page=0", "limit=x"])
async def test_it_names_what_is_wrong_with_a_query(cast: Cast, query: str) -> None:
    text = await refused(cast, cast.olga.get(f"{PATH}?{query}"), 400)
    assert query.partition("=")[0] in text
