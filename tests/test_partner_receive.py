"""A partner receives for its buyer: POST /apps/api/contracts/{contractId}/receive (E22).

Completed is what is settled and received, in either order, if the seller was paid for any of it.
"""

from typing import Any

import httpx

from deal import Deal
from dealing import at, books, done, once_only, only_its_own, refused, row, sound
from partners import Broker

RECEIVED = "ContractReceivedSuccessfully"


async def receive(broker: Broker, number: str, body: Any = None, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/receive"
    return await broker.client.post(path, json=body, headers=headers)


async def test_it_completes_what_is_released(broker: Broker) -> None:
    deal = await Deal.at(broker, "released")
    assert await deal.status() == "released"
    assert done(await deal.act("receive"), RECEIVED)["status"] == "completed"
    assert (await deal.events())[-2:] == ["contract.received", "contract.completed"]


async def test_what_is_received_completes_when_it_is_released(broker: Broker) -> None:
    deal = await Deal.at(broker, "delivered")
    assert done(await deal.act("receive", {"reason": "Fine"}), RECEIVED)["status"] == "escrow"
    assert await books(deal) == row("1143.75", "1143.75", "0", "0", "0", "0")
    assert (await deal.release(0)).status_code == 200
    assert await deal.status() == "escrow"
    assert (await deal.release(1)).status_code == 200
    assert await deal.status() == "completed"
    assert (await deal.events())[-3:] == [
        "contract.released",
        "contract.released",
        "contract.completed",
    ]


async def test_it_needs_no_delivery(broker: Broker) -> None:
    assert done(await (await Deal.at(broker, "paid")).act("receive"), RECEIVED)


async def test_a_refunded_part_does_not_keep_the_rest_from_completing(broker: Broker) -> None:
    """Whether it is received before the refund is settled or after."""
    before, after = await Deal.at(broker, "paid"), await Deal.at(broker, "paid")
    for deal in (before, after):
        assert (await deal.release(0)).status_code == 200
        if deal is before:
            assert done(await deal.act("receive"), RECEIVED)["status"] == "escrow"
        assert (await deal.refund(milestone=1)).status_code == 200
        await deal.settle()
    assert (await before.events())[-2:] == ["contract.refunded", "contract.completed"]
    assert await before.status() == "completed"
    assert await after.status() == "refunded"
    assert done(await after.act("receive"), RECEIVED)["status"] == "completed"
    await sound(broker)


async def test_what_went_back_whole_or_in_part_is_refunded_not_completed(broker: Broker) -> None:
    part = await Deal.at(broker, "paid", Milestones=None)
    assert (await part.act("receive")).status_code == 200
    assert (await part.refund("PARTIAL", amount=250)).status_code == 200
    await part.settle()
    assert await part.status() == "refunded"
    assert "contract.completed" not in await part.events()
    await sound(broker)


async def test_it_refuses_what_the_buyer_cannot_have_received(broker: Broker) -> None:
    pending, ended, disputed, refunding, refunded, twice = await at(
        broker, "pending", "pending", "paid", "paid", "paid", "paid"
    )
    assert (await ended.act("cancel", {"by": "buyer"})).status_code == 200
    assert (await disputed.act("dispute", {"by": "buyer"})).status_code == 200
    assert (await refunded.refund()).status_code == 200
    await refunded.settle()
    assert (await refunding.refund()).status_code == 200
    assert (await twice.act("receive")).status_code == 200
    for deal, why in (
        (pending, "The contract has to be paid for first."),
        (ended, "This contract is already canceled."),
        (disputed, "This contract is in dispute."),
        (refunding, "A refund is pending for this contract."),
        (refunded, "Funds have already been refunded for this contract."),
        (twice, "This contract is already received."),
    ):
        await refused(broker, deal.act("receive"), 400, why)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await Deal.at(broker, "paid"), await Deal.at(broker, "paid")

    async def ask(key: str) -> httpx.Response:
        return await receive(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, receive(broker, other.number, **{"Idempotency-Key": "key-1"}))


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, receive, (await Deal.at(broker, "paid")).number)
