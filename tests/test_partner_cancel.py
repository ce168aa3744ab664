"""A partner ends a contract for one of the two: POST /apps/api/contracts/{contractId}/cancel.

What is held goes back by the policy that they agreed to (D7, E22): the business's own tiers, all of
them nothing to the seller unless the operator set others. Fees and taxes stay paid.
"""

import httpx
import pytest
from litestar import Litestar

from deal import Deal
from dealing import at, books, done, once_only, only_its_own, refused, row, sound
from partners import Broker, make_broker

CANCELLED = "ContractCancelledSuccessfully"
BUYER = {"by": "buyer"}


async def cancel(broker: Broker, number: str, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/cancel"
    return await broker.client.post(path, json=BUYER, headers=headers)


# -- happy path ---------------------------------------------------------------------------------


async def test_what_nobody_paid_is_over_at_once(broker: Broker) -> None:
    for by in ("buyer", "seller"):
        deal = await Deal.begin(broker)
        data = done(await deal.act("cancel", {"by": by, "reason": "Too late"}), CANCELLED)
        assert (data["status"], data["checkout"]) == ("cancelled", None)
        assert {one["Status"] for one in data["milestones"]} == {"cancelled"}
        assert await deal.events() == ["contract.created", "contract.cancelled"]
        assert await deal.settle() == 0


async def test_what_a_bank_still_works_on_is_over_as_well(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    await deal.pay("unpaid")
    assert done(await deal.act("cancel", BUYER), CANCELLED)["status"] == "cancelled"
    await deal.pay("failed")
    assert await deal.status() == "cancelled"
    await sound(broker)


async def test_what_is_held_waits_for_the_provider(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    data = done(await deal.act("cancel", BUYER), CANCELLED)
    assert data["status"] == "refundInProgress"
    assert await books(deal) == row("1143.75", "1143.75", "0", "0", "0", "0")
    assert await deal.settle() == 1
    assert await deal.status() == "refunded"
    assert await books(deal) == row("143.75", "0", "0", "25", "3.75", "115")
    assert (await deal.events())[-4:] == [
        "contract.cancelled",
        "refund.full-initiated",
        "refund.full-succeeded",
        "contract.refunded",
    ]
    await sound(broker)


# The seller keeps 0, 10, 40 or 100 % of the base by how far the work was.
TIERS = [
    ("paid", "refunded", row("143.75", "0", "0", "25", "3.75", "115")),
    ("approved", "refunded", row("243.75", "0", "100", "25", "3.75", "115")),
    ("delivered", "refunded", row("1143.75", "0", "1000", "25", "3.75", "115")),
]


@pytest.mark.parametrize(("point", "status", "after"), TIERS, ids=[tier[0] for tier in TIERS])
async def test_a_policy_may_leave_the_seller_a_share(
    app: Litestar, point: str, status: str, after: object
) -> None:
    fair = await make_broker(
        app, "Fair", cancellation_started_bps=1_000, cancellation_delivered_bps=10_000
    )
    deal = await Deal.at(fair, point)
    data = done(await deal.act("cancel", {"by": "seller"}), CANCELLED)
    # Nothing goes back to the buyer: no provider has to be asked.
    at_once = point == "delivered"
    assert data["status"] == ("refunded" if at_once else "refundInProgress")
    settlement = data["settlement"]
    if at_once:
        assert (settlement["held"], settlement["releasedToSeller"]) == (0, 1000)
        assert [one["type"] for one in data["transactions"]] == ["payment"] * 2 + ["release"] * 2
    assert await deal.settle() == (0 if at_once else 1)
    shown = await deal.shown()
    assert shown["status"] == status
    assert await books(deal) == after
    gone = shown["settlement"]
    assert gone["funded"] == pytest.approx(
        gone["releasedToSeller"] + gone["refundedToBuyer"] + gone["fees"] + gone["taxes"]
    )
    await sound(fair)


async def test_a_policy_that_changes_later_changes_nothing_of_it(app: Litestar) -> None:
    fair = await make_broker(app, "Fair", cancellation_not_started_bps=5_000)
    deal = await Deal.at(fair, "paid", Milestones=None)
    async with app.state.pool.connection() as conn:
        await conn.execute(
            "UPDATE business SET settings = replace(settings, '5000', '0') WHERE id = $1", fair.key
        )
    assert (await deal.act("cancel", BUYER)).status_code == 200
    await deal.settle()
    assert (await books(deal)).seller == 500


# -- refusals -----------------------------------------------------------------------------------


async def test_it_says_for_whom(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    for wrong in ("client", "", "BUYER"):
        asked = deal.act("cancel", {"by": wrong})
        await refused(broker, asked, 400, field="by", says="must be buyer or seller")
    await refused(broker, deal.act("cancel", {"reason": "x"}), 400, field="by", says="is required")
    await refused(broker, deal.act("cancel"), 400)
    await refused(broker, deal.act("cancel", BUYER | {"reason": "x" * 501}), 400, field="reason")


async def test_it_refuses_what_cannot_be_undone(broker: Broker) -> None:
    ended, released, half, received, refunding, refunded, rejected = await at(
        broker, "pending", "released", "paid", "paid", "paid", "paid", "pending"
    )
    assert (await ended.act("cancel", BUYER)).status_code == 200
    assert (await half.release(0)).status_code == 200
    assert (await received.act("receive")).status_code == 200
    assert (await refunded.refund()).status_code == 200
    await refunded.settle()
    assert (await refunding.refund(milestone=1)).status_code == 200
    assert (await rejected.act("reject")).status_code == 200
    for deal, why in (
        (ended, "This contract is already canceled."),
        (released, "Funds have already been released for this contract."),
        (half, "Funds have already been released for this contract."),
        (received, "Completed work that is paid for cannot be canceled."),
        (refunding, "A refund is pending for this contract."),
        (refunded, "Funds have already been refunded for this contract."),
        (rejected, "This contract has ended."),
    ):
        await refused(broker, deal.act("cancel", BUYER), 400, why)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await at(broker, "paid", "paid")

    async def ask(key: str) -> httpx.Response:
        return await cancel(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, cancel(broker, other.number, **{"Idempotency-Key": "key-1"}))
    assert await deal.settle() == 1
    assert await deal.settle() == 0


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, cancel, (await Deal.at(broker, "paid")).number)
