"""A partner delivers for its seller: POST /apps/api/contracts/{contractId}/deliver (E22).

Delivered has no status of its own (spec 7): it is an event while the money is in escrow.
"""

from typing import Any

import httpx

from deal import Deal
from dealing import at, books, done, once_only, only_its_own, refused, row
from partners import Broker

DELIVERED = "ContractDeliveredSuccessfully"


async def deliver(broker: Broker, number: str, body: Any = None, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/deliver"
    return await broker.client.post(path, json=body, headers=headers)


async def test_the_contract_stays_in_escrow(broker: Broker) -> None:
    for point in ("paid", "approved"):
        deal = await Deal.at(broker, point)
        data = done(await deal.act("deliver", {"reason": "Here you are"}), DELIVERED)
        assert data["status"] == "escrow"
        assert (await deal.events())[-1] == "contract.delivered"


async def test_it_moves_no_money(broker: Broker) -> None:
    deal = await Deal.at(broker, "delivered")
    assert await books(deal) == row("1143.75", "1143.75", "0", "0", "0", "0")


async def test_what_is_left_can_be_delivered_after_a_part_was_released(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.release(0)).status_code == 200
    assert done(await deal.act("deliver"), DELIVERED)["status"] == "escrow"


async def test_it_refuses_what_is_not_in_escrow(broker: Broker) -> None:
    pending, released, ended, disputed, refunding, received = await at(
        broker, "pending", "released", "pending", "paid", "paid", "paid"
    )
    assert (await ended.act("cancel", {"by": "buyer"})).status_code == 200
    assert (await disputed.act("dispute", {"by": "buyer"})).status_code == 200
    assert (await refunding.refund()).status_code == 200
    assert (await received.act("receive")).status_code == 200
    for deal, why in (
        (pending, "The contract has to be paid for first."),
        (released, "The money of this contract has already gone where it belongs."),
        (ended, "This contract is already canceled."),
        (disputed, "This contract is in dispute."),
        (refunding, "A refund is pending for this contract."),
        (received, "This contract is already received."),
        (await Deal.at(broker, "delivered"), "This contract is already delivered."),
    ):
        await refused(broker, deal.act("deliver"), 400, why)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await Deal.at(broker, "paid"), await Deal.at(broker, "paid")

    async def ask(key: str) -> httpx.Response:
        return await deliver(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, deliver(broker, other.number, **{"Idempotency-Key": "key-1"}))


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, deliver, (await Deal.at(broker, "paid")).number)
