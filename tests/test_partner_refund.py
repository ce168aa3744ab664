"""Money back to the buyer: POST /apps/api/contracts/{contractId}/refund (spec 3.5, E6)."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import Deal
from dealing import at, books, done, once_only, only_its_own, refused, row, sound
from partners import Broker, make_broker

FULL, PARTIAL = "RefundCreatedSuccessfully", "PartialRefundCreatedSuccessfully"
KEYS = [
    *("refundId", "settlementId", "milestoneId", "refundedAmount", "releasedToSellerAmount"),
    *("type", "externalContractId"),
]
BODY = {"type": "FULL", "reason": "The buyer changed her mind"}
PAID = row("1143.75", "1143.75", "0", "0", "0", "0")


async def refund(broker: Broker, number: str, body: Any = None, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/refund"
    return await broker.client.post(path, json=BODY if body is None else body, headers=headers)


# -- happy path ---------------------------------------------------------------------------------


async def test_full_gives_the_base_back_and_the_fees_stay_paid(broker: Broker) -> None:
    for terms in ({}, {"Milestones": None}):
        deal = await Deal.at(broker, "paid", **terms)
        before = await books(deal)
        data = done(await deal.refund(), FULL)
        assert list(data) == KEYS
        assert isinstance(data.pop("refundId"), int)
        assert data == {
            "settlementId": None,
            "milestoneId": None,
            "refundedAmount": 1000,
            "releasedToSellerAmount": None,
            "type": "FullRefund",
            "externalContractId": deal.number,
        }
        assert await deal.status() == "refundInProgress"
        assert await books(deal) == before
        assert await deal.settle() == 1
        after = [now - then for now, then in zip(await books(deal), before, strict=True)]
        assert after == [-1000, -PAID.held, 0, 25, Decimal("3.75"), 115]
        assert await deal.status() == "refunded"
    await sound(broker)


async def test_partial_ends_its_target(broker: Broker) -> None:
    """E6: 1000 refund 250 = 250.00 to the buyer, 712.50 to the seller, 37.50 kept of it, and the
    fee and tax lines, 143.75, posted in full."""
    deal = await Deal.at(broker, "paid", Milestones=None)
    data = done(await deal.refund("PARTIAL", amount=250), PARTIAL)
    assert (data["refundedAmount"], data["releasedToSellerAmount"]) == (250, Decimal("712.5"))
    assert (data["type"], data["milestoneId"]) == ("PartialRefund", None)
    assert await books(deal) == PAID
    await deal.settle()
    assert await books(deal) == row("893.75", "0", "712.50", "62.50", "3.75", "115")
    shown = await deal.shown()
    assert shown["status"] == "refunded"
    assert shown["settlement"] == {
        "currency": "SAR",
        "funded": 1143.75,
        "held": 0,
        "releasedToSeller": 712.5,
        "refundedToBuyer": 250,
        "fees": 162.5,
        "taxes": 18.75,
    }
    assert (await deal.events())[-3:] == [
        "refund.partial-initiated",
        "refund.partial-succeeded",
        "contract.refunded",
    ]
    await sound(broker)


async def test_a_milestone_is_refunded_for_itself(broker: Broker) -> None:
    """400 refund 100 = 285.00 to the seller, as the guide's sample has it."""
    deal = await Deal.at(broker, "paid")
    data = done(await deal.refund("PARTIAL", milestone=1, amount=100), PARTIAL)
    assert (data["milestoneId"], data["releasedToSellerAmount"]) == (deal.milestone(1), 285)
    shown = await deal.shown()
    assert [one["Status"] for one in shown["milestones"]] == ["escrow", "refundInProgress"]
    assert shown["status"] == "refundInProgress"
    assert (await deal.release(0)).status_code == 200  # the other one is not concerned
    await deal.settle()
    assert await books(deal) == row("1043.75", "0", "885", "40", "3.75", "115")
    shown = await deal.shown()
    assert [one["Status"] for one in shown["milestones"]] == ["released", "refunded"]
    assert shown["status"] == "refunded"
    await sound(broker)


async def test_full_of_the_whole_is_of_what_is_still_held(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.release(0)).status_code == 200
    assert done(await deal.refund(), FULL)["refundedAmount"] == 400
    await deal.settle()
    assert await books(deal) == row("743.75", "0", "600", "25", "3.75", "115")


async def test_one_milestone_after_the_other_can_be_refunded(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund(milestone=0)).status_code == 200
    assert done(await deal.refund("PARTIAL", milestone=1, amount=399.99), PARTIAL)
    assert await deal.settle() == 2
    # Of the last halala nothing is kept: 5 % of it is less than half of one.
    assert await books(deal) == row("143.76", "0", "0.01", "25", "3.75", "115")
    await sound(broker)


async def test_the_operator_may_want_to_see_it_first(app: Litestar) -> None:
    slow = await make_broker(app, "Slow", refund_approval="admin")
    deal, other = await at(slow, "paid", "paid")
    for one in (deal, other):
        assert (await one.refund()).status_code == 200
        assert await one.status() == "refundInProgress"
        assert await one.settle() == 0
    assert (await deal.rule("approve")).status_code == 200
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    assert (await other.rule("decline")).status_code == 200
    assert await other.settle() == 0
    assert await other.status() == "escrow"
    assert (await other.release()).status_code == 200
    await sound(slow)


async def test_a_declined_refund_can_be_asked_for_again(app: Litestar) -> None:
    slow = await make_broker(app, "Slow", refund_approval="admin")
    deal = await Deal.at(slow, "paid")
    assert (await deal.refund()).status_code == 200
    assert (await deal.rule("decline")).status_code == 200
    assert (await deal.refund()).status_code == 200
    assert (await deal.rule("approve")).status_code == 200
    await deal.settle()
    assert await deal.status() == "refunded"


async def test_a_sellers_fees_lapse_with_a_full_refund_and_stay_with_a_partial_one(
    app: Litestar,
) -> None:
    half = await make_broker(app, "Half", escrow_fee_payer="seller", platform_fee_bps=0)
    whole = await Deal.at(half, "paid", Milestones=None)
    assert await books(whole) == row("1000", "1000", "0", "0", "0", "0")
    assert (await whole.refund()).status_code == 200
    await whole.settle()
    assert await books(whole) == row("0", "0", "0", "0", "0", "0")
    part = await Deal.at(half, "paid", Milestones=None)
    data = done(await part.refund("PARTIAL", amount=100), PARTIAL)
    assert data["releasedToSellerAmount"] == Decimal("826.25")  # 900 - 45 - 28.75
    await part.settle()
    assert await books(part) == row("900", "0", "826.25", "70", "3.75", "0")
    greedy = await Deal.at(half, "paid", Milestones=None)
    why = "The amount is too small for the fees of this business."
    await refused(half, greedy.refund("PARTIAL", amount=999.99), 400, why)
    await sound(half)


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.abuse(37)
async def test_it_names_what_is_wrong_with_the_body(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid", Milestones=None)
    less = "must be less than the base amount that it is part of"
    positive = "must be greater than 0"
    for changed, field, says in (
        ({"type": "full"}, "type", "must be FULL or PARTIAL"),
        ({"type": "FullRefund"}, "type", "must be FULL or PARTIAL"),
        ({"type": ""}, "type", "must be FULL or PARTIAL"),
        ({"type": 1}, "type", None),
        ({"type": None}, "type", None),
        ({"amount": 100}, "amount", "must not be given for a full refund"),
        ({"type": "PARTIAL"}, "amount", "is required for a partial refund"),
        ({"type": "PARTIAL", "amount": None}, "amount", "is required for a partial refund"),
        ({"type": "PARTIAL", "Amount": 1000}, "Amount", less),
        ({"type": "PARTIAL", "Amount": 1000.01}, "Amount", less),
        ({"type": "PARTIAL", "Amount": 1143.75}, "Amount", less),
        ({"type": "PARTIAL", "AMOUNT": 0}, "AMOUNT", positive),
        ({"type": "PARTIAL", "AMOUNT": -1}, "AMOUNT", positive),
        ({"type": "PARTIAL", "amount": 1.005}, "amount", "must have at most 2 decimals in SAR"),
        ({"type": "PARTIAL", "amount": 0.30000000000000004}, "amount", None),
        ({"type": "PARTIAL", "amount": "100"}, "amount", None),
        ({"type": "PARTIAL", "amount": True}, "amount", None),
        ({"type": "PARTIAL", "amount": [100]}, "amount", None),
        ({"type": "PARTIAL", "amount": {"$gt": 0}}, "amount", None),
        ({"type": "PARTIAL", "amount": 10**30}, "amount", None),
        ({"reason": None}, "reason", "is required"),
        ({"reason": " "}, "reason", "must not be empty"),
        ({"reason": "x" * 501}, "reason", "must be at most 500 characters long"),
        ({"reason": 7}, "reason", None),
        ({"milestoneId": "x"}, "milestoneId", "must be a whole number"),
    ):
        asked = refund(broker, deal.number, BODY | changed)
        await refused(broker, asked, 400, "Validation failed", field=field, says=says)
    without = {"type": "FULL"}
    await refused(broker, refund(broker, deal.number, without), 400, field="reason")
    await refused(broker, refund(broker, deal.number, {}), 400, field="type", says="is required")
    await refused(broker, refund(broker, deal.number, BODY | {"Type": "FULL"}), 400, field="Type")


@pytest.mark.abuse(13)
async def test_it_needs_a_body(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    path = f"/apps/api/contracts/{deal.number}/refund"
    for content in (b"", b"null", b"[]", b"{"):
        headers = {"Content-Type": "application/json"}
        await refused(broker, broker.client.post(path, content=content, headers=headers), 400)
    await refused(broker, broker.client.post(path), 400)


async def test_partial_says_of_which_milestone(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    asked = deal.refund("PARTIAL", amount=100)
    await refused(
        broker, asked, 400, field="milestoneId", says="is required: say of which milestone"
    )
    asked = deal.refund("PARTIAL", milestone=1, amount=400)
    await refused(broker, asked, 400, field="amount")
    other = await Deal.at(broker, "paid")
    unknown = BODY | {"milestoneId": other.milestone(0)}
    await refused(broker, refund(broker, deal.number, unknown), 404, "Milestone not found")


async def test_a_yen_has_no_parts_and_a_dinar_has_a_thousand(app: Litestar) -> None:
    yen = await make_broker(app, "Kyoto", currency="JPY")
    deal = await Deal.at(yen, "paid", Milestones=None)
    says = "must have at most 0 decimals in JPY"
    await refused(yen, deal.refund("PARTIAL", amount=0.5), 400, field="amount", says=says)
    data = done(await deal.refund("PARTIAL", amount=249), PARTIAL)
    assert (data["refundedAmount"], data["releasedToSellerAmount"]) == (249, 713)  # 37.55 kept
    await deal.settle()
    dinar = await make_broker(app, "Kuwait", currency="KWD")
    deal = await Deal.at(dinar, "paid", Milestones=None)
    data = done(await deal.refund("PARTIAL", amount=249.999), PARTIAL)
    assert data["releasedToSellerAmount"] == Decimal("712.501")
    await deal.settle()
    await sound(dinar)


@pytest.mark.abuse(38)
async def test_the_same_target_is_refunded_once(broker: Broker) -> None:
    part, whole, half = await at(broker, "paid", "paid", "paid")
    assert (await part.refund("PARTIAL", milestone=0, amount=1)).status_code == 200
    assert (await whole.refund()).status_code == 200
    assert (await half.refund(milestone=1)).status_code == 200
    pending = "A refund is pending for this contract."
    for asked in (
        part.refund("PARTIAL", milestone=0, amount=1),
        part.refund("PARTIAL", milestone=0, amount=2),
        part.refund(milestone=0),
        whole.refund(),
        whole.refund(milestone=1),
        half.refund("PARTIAL", milestone=1, amount=1),
    ):
        await refused(broker, asked, 400, pending)
    await part.settle()
    gone = "Funds have already been refunded for this contract."
    for asked in (
        part.refund("PARTIAL", milestone=0, amount=1),
        part.refund(milestone=0),
        whole.refund(),
        half.refund(milestone=1),
    ):
        await refused(broker, asked, 400, gone)
    assert (await part.refund()).status_code == 200  # of the other milestone


async def test_it_refuses_what_is_not_held(broker: Broker) -> None:
    pending, released, ended = await at(broker, "pending", "released", "pending")
    assert (await ended.act("cancel", {"by": "buyer"})).status_code == 200
    for deal, why in (
        (pending, "The contract has to be paid for first."),
        (released, "Funds have already been released for this contract."),
        (ended, "The contract has to be paid for first."),
    ):
        await refused(broker, deal.refund(), 400, why)
        await refused(broker, deal.refund("PARTIAL", milestone=0, amount=1), 400, why)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await at(broker, "paid", "paid")

    async def ask(key: str) -> httpx.Response:
        return await refund(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, refund(broker, other.number, **{"Idempotency-Key": "key-1"}))
    assert await deal.settle() == 1


@pytest.mark.abuse(68)
async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, refund, (await Deal.at(broker, "paid")).number)
