"""A partner rejects for its seller: POST /apps/api/contracts/{contractId}/reject (E22)."""

from typing import Any

import httpx

from deal import Deal
from dealing import books, done, once_only, only_its_own, refused, row, sound
from partners import Broker

REJECTED = "ContractRejectedSuccessfully"


async def reject(broker: Broker, number: str, body: Any = None, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/reject"
    return await broker.client.post(path, json=body, headers=headers)


async def test_it_ends_a_contract_that_nobody_paid(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    data = done(await deal.act("reject", {"reason": "No time"}), REJECTED)
    assert (data["status"], data["checkout"]) == ("rejected", None)
    assert {one["Status"] for one in data["milestones"]} == {"rejected"}
    assert await deal.events() == ["contract.created", "contract.rejected"]


async def test_money_that_comes_later_all_the_same_goes_back_whole(broker: Broker) -> None:
    """The bank was at work when the seller rejected: nothing was done for any fee."""
    deal = await Deal.begin(broker)
    await deal.pay("unpaid")
    assert await deal.status() == "waitingForBankPayment"
    assert done(await deal.act("reject"), REJECTED)["status"] == "rejected"
    await deal.pay()
    assert await deal.status() == "refundInProgress"
    assert await books(deal) == row("1143.75", "1143.75", "0", "0", "0", "0")
    await deal.settle()
    assert await deal.status() == "refunded"
    assert await books(deal) == row("0", "0", "0", "0", "0", "0")
    settlement = (await deal.shown())["settlement"]
    assert (settlement["funded"], settlement["refundedToBuyer"]) == (1143.75, 1143.75)
    await sound(broker)


async def test_a_bank_payment_that_fails_afterwards_changes_nothing(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    await deal.pay("unpaid")
    assert (await deal.act("reject")).status_code == 200
    await deal.pay("failed")
    assert await deal.status() == "rejected"
    await sound(broker)


async def test_it_refuses_what_is_paid_approved_or_over(broker: Broker) -> None:
    for point, verb, body, why in (
        ("paid", None, None, "This contract is paid for: refund it instead."),
        ("approved", None, None, "This contract is already approved."),
        ("pending", "approve", None, "This contract is already approved."),
        ("pending", "reject", None, "This contract has ended."),
        ("pending", "cancel", {"by": "seller"}, "This contract is already canceled."),
    ):
        deal = await Deal.at(broker, point)
        if verb is not None:
            assert (await deal.act(verb, body)).status_code == 200
        await refused(broker, deal.act("reject"), 400, why)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await Deal.begin(broker), await Deal.begin(broker)

    async def ask(key: str) -> httpx.Response:
        return await reject(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, reject(broker, other.number, **{"Idempotency-Key": "key-1"}))


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, reject, (await Deal.begin(broker)).number)
