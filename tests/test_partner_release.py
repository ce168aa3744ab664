"""The seller is paid: POST /apps/api/contracts/release (spec 3.4, E6, E12, E15)."""

from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import HUDA, OMAR, Deal
from dealing import (
    MALFORMED_NUMBERS,
    at,
    books,
    done,
    once_only,
    only_its_own,
    refused,
    row,
    sound,
)
from partners import Broker, make_broker
from people import Visit
from web import caller

RELEASED = "ExternalContractReleasedSuccessfully"
RELEASE = "/apps/api/contracts/release"
PAID = row("1143.75", "1143.75", "0", "0", "0", "0")
WHOLE = row("1143.75", "0", "1000", "25", "3.75", "115")


async def release(broker: Broker, body: Any, **headers: str) -> httpx.Response:
    return await broker.client.post(RELEASE, json=body, headers=headers)


# -- happy path ---------------------------------------------------------------------------------


async def test_everything_goes_where_the_lines_say(broker: Broker) -> None:
    """E24: the base to the seller, our fee and the state's tax, fee and tax of the business."""
    for terms in ({}, {"Milestones": None}):
        deal = await Deal.at(broker, "paid", **terms)
        before = await books(deal)
        data = done(await deal.release(), RELEASED)
        assert list(data) == ["transactionId", "amount", "contractId"]
        assert (data["amount"], data["contractId"]) == (1000, deal.number)
        after = [now - then for now, then in zip(await books(deal), before, strict=True)]
        assert after == [0, -PAID.held, *WHOLE[2:]]
        shown = await deal.shown()
        assert shown["status"] == "released"
        assert f"TXN-{data['transactionId']}" in shown["transactions"][-1]["id"]
    await sound(broker)


async def test_it_pays_one_milestone_after_the_other(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    table = [(await books(deal))]
    for index, amount in ((1, 400), (0, 600)):
        assert done(await deal.release(index), RELEASED)["amount"] == amount
        table.append(await books(deal))
        shown = await deal.shown()
        assert shown["milestones"][index]["Status"] == "released"
    assert table == [PAID, row("1143.75", "686.25", "400", "10", "1.50", "46"), WHOLE]
    assert await deal.status() == "released"
    await sound(broker)


async def test_the_whole_is_what_is_still_held(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.release(0)).status_code == 200
    assert await deal.status() == "escrow"
    assert done(await deal.release(), RELEASED)["amount"] == 400
    assert await books(deal) == WHOLE


async def test_a_milestone_id_may_be_a_text(broker: Broker) -> None:
    """The guide's table says string where its samples have integers."""
    deal = await Deal.at(broker, "paid")
    body = {"CONTRACTID": deal.number, "milestoneid": str(deal.milestone(0))}
    assert done(await release(broker, body), RELEASED)["amount"] == 600
    for nothing in (None, ""):
        other = await Deal.at(broker, "paid")
        sent = {"contractId": other.number, "milestoneId": nothing}
        assert done(await release(broker, sent), RELEASED)["amount"] == 1000


async def test_nobody_has_to_approve_unless_the_business_says_so(app: Litestar) -> None:
    """E15."""
    trusting = await make_broker(app, "Trusting")
    careful = await make_broker(app, "Careful", release_needs_approval=True)
    assert (await (await Deal.at(trusting, "paid")).release()).status_code == 200
    deal = await Deal.at(careful, "paid")
    why = "The seller has to approve this contract first."
    await refused(careful, deal.release(), 400, why)
    await refused(careful, deal.release(0), 400, why)
    assert (await deal.act("approve")).status_code == 200
    assert (await deal.release()).status_code == 200


async def test_a_business_may_want_to_know_who_the_seller_is(app: Litestar) -> None:
    """E12."""
    strict = await make_broker(app, "Strict", require_kyc=True)
    deal = await Deal.begin(strict)
    async with caller(app) as browser:
        buyer = await Visit.begin(strict, browser, **HUDA)
        await buyer.through()
        await deal.pay()
        await refused(strict, deal.release(), 400, "The seller's identity is not verified yet.")
        seller = await Visit.begin(strict, browser, **OMAR)
        await seller.through()
    assert done(await deal.release(), RELEASED)["amount"] == 1000


async def test_a_sellers_fees_come_out_of_the_base(app: Litestar) -> None:
    half = await make_broker(app, "Half", escrow_fee_payer="seller", platform_fee_payer="split")
    deal = await Deal.at(half, "paid", Milestones=None)
    assert await books(deal) == row("1057.50", "1057.50", "0", "0", "0", "0")
    assert done(await deal.release(), RELEASED)["amount"] == 913.75
    assert await books(deal) == row("1057.50", "0", "913.75", "25", "3.75", "115")
    await sound(half)


# -- refusals -----------------------------------------------------------------------------------


async def test_it_refuses_what_is_not_held(broker: Broker) -> None:
    pending, waiting, released, refunded, refunding, disputed = await at(
        broker, "pending", "pending", "released", "paid", "paid", "paid"
    )
    await waiting.pay("unpaid")
    assert (await refunded.refund()).status_code == 200
    await refunded.settle()
    assert (await refunding.refund()).status_code == 200
    assert (await disputed.act("dispute", {"by": "buyer"})).status_code == 200
    for deal, why in (
        (pending, "The contract has to be paid for first."),
        (waiting, "The contract has to be paid for first."),
        (released, "Funds have already been released for this contract."),
        (refunded, "Funds have already been refunded for this contract."),
        (refunding, "A refund is pending for this contract."),
        (disputed, "This contract is in dispute."),
    ):
        await refused(broker, deal.release(), 400, why)
        await refused(broker, deal.release(1), 400, why)


async def test_it_pays_a_milestone_once(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.release(0)).status_code == 200
    why = "Funds have already been released for this contract."
    await refused(broker, deal.release(0), 400, why)


async def test_it_knows_no_milestones_but_its_own(broker: Broker) -> None:
    deal, other, plain = await at(broker, "paid", "paid", "paid")
    unknown = {"contractId": deal.number, "milestoneId": other.milestone(0)}
    await refused(broker, release(broker, unknown), 404, "Milestone not found")
    for unheard in (0, 10**17, "0"):
        asked = release(broker, {"contractId": plain.number, "milestoneId": unheard})
        await refused(broker, asked, 404, "Milestone not found")
    odd: tuple[Any, ...] = (-1, 1.5, True, [], {}, "x", "1e3", "١", " 1", "-1", "9" * 19, 10**30)
    for wrong in odd:
        body = {"contractId": deal.number, "MilestoneID": wrong}
        await refused(broker, release(broker, body), 400, field="MilestoneID")


async def test_it_names_what_is_wrong_with_the_contract(broker: Broker) -> None:
    await refused(broker, release(broker, {}), 400, field="contractId", says="is required")
    nothings: tuple[Any, ...] = (None, 7, [], {})
    for wrong in nothings:
        asked = release(broker, {"contractID": wrong})
        await refused(broker, asked, 400, field="contractID")
    for malformed in ("", "xyz", "CNT-2601-00100002\n", " CNT-2601-00100002"):
        await refused(broker, release(broker, {"contractID": malformed}), 400, field="contractID")
    for path in ("/apps/api/contracts/release", "/apps/api/contracts/release/"):
        assert (await broker.client.get(path)).status_code in (400, 404, 405)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")

    async def ask(key: str) -> httpx.Response:
        return await deal.release(0, **{"Idempotency-Key": key})

    await once_only(broker, ask, deal.release(1, **{"Idempotency-Key": "key-1"}))
    assert (await books(deal)).seller == 600


@pytest.mark.abuse(68)
async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    deal = await Deal.at(broker, "paid")

    async def ask(who: Broker, number: str) -> httpx.Response:
        return await release(who, {"contractId": number})

    assert MALFORMED_NUMBERS
    await only_its_own(broker, rival, ask, deal.number)
    theirs = release(rival, {"contractId": deal.number, "milestoneId": deal.milestone(0)})
    await refused(broker, theirs, 404, "Contract not found")
