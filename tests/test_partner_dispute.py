"""Disputes of partners' contracts: POST .../dispute and .../resolve-dispute (E22)."""

import httpx
from litestar import Litestar

from deal import Deal
from dealing import at, books, done, once_only, only_its_own, refused, row, sound
from partners import Broker, make_broker

DISPUTED = "ContractDisputedSuccessfully"
RESOLVED = "ContractDisputeResolvedSuccessfully"
BUYER = {"by": "buyer", "reason": "It is not green"}
IN_DISPUTE = "This contract is in dispute."


async def dispute(broker: Broker, number: str, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/dispute"
    return await broker.client.post(path, json=BUYER, headers=headers)


async def resolve(broker: Broker, number: str, **headers: str) -> httpx.Response:
    return await broker.client.post(
        f"/apps/api/contracts/{number}/resolve-dispute", headers=headers
    )


# -- happy path ---------------------------------------------------------------------------------


async def test_either_of_the_two_can_disagree_and_nothing_is_released_then(broker: Broker) -> None:
    for by in ("buyer", "seller"):
        deal = await Deal.at(broker, "paid")
        before = await books(deal)
        assert done(await deal.act("dispute", {"BY": by}), DISPUTED)["status"] == "dispute"
        assert (await deal.events())[-1] == "contract.disputed"
        await refused(broker, deal.release(), 400, IN_DISPUTE)
        await refused(broker, deal.release(0), 400, IN_DISPUTE)
        for verb, body in (("cancel", {"by": by}), ("receive", None), ("deliver", None)):
            await refused(broker, deal.act(verb, body), 400, IN_DISPUTE)
        assert await books(deal) == before


async def test_once_they_agree_again_it_is_in_escrow_as_before(broker: Broker) -> None:
    deal = await Deal.at(broker, "delivered")
    assert (await deal.act("dispute", BUYER)).status_code == 200
    assert done(await deal.act("resolve-dispute"), RESOLVED)["status"] == "escrow"
    assert (await deal.events())[-1] == "dispute.resolved"
    assert done(await deal.act("dispute", BUYER), DISPUTED)["status"] == "dispute"
    assert (await deal.act("resolve-dispute", {"reason": "A new draft"})).status_code == 200
    assert (await deal.release()).status_code == 200
    assert await deal.status() == "released"
    await sound(broker)


async def test_a_refund_ends_it(broker: Broker) -> None:
    """Escrow or Dispute -> RefundInProgress -> Refunded (spec 7)."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.act("dispute", BUYER)).status_code == 200
    assert (await deal.refund()).status_code == 200
    assert await deal.status() == "refundInProgress"
    await deal.settle()
    assert await deal.status() == "refunded"
    await refused(broker, deal.act("resolve-dispute"), 400, "This contract is not in dispute.")
    await sound(broker)


async def test_a_refund_of_one_part_leaves_the_other_in_dispute(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.act("dispute", BUYER)).status_code == 200
    assert (await deal.refund("PARTIAL", milestone=0, amount=250)).status_code == 200
    assert await deal.status() == "refundInProgress"
    await refused(broker, deal.release(1), 400, IN_DISPUTE)
    await deal.settle()
    assert await deal.status() == "dispute"
    await refused(broker, deal.release(1), 400, IN_DISPUTE)
    assert (await deal.act("resolve-dispute")).status_code == 200
    assert (await deal.release(1)).status_code == 200
    # 600 refund 250: 17.50 of the 350 that are left is kept.
    assert await books(deal) == row("893.75", "0", "732.50", "42.50", "3.75", "115")
    await sound(broker)


async def test_a_refund_that_the_operator_declines_leaves_it_in_dispute(app: Litestar) -> None:
    slow = await make_broker(app, "Slow", refund_approval="admin")
    deal = await Deal.at(slow, "paid")
    assert (await deal.act("dispute", BUYER)).status_code == 200
    assert (await deal.refund()).status_code == 200
    assert await deal.status() == "refundInProgress"
    assert (await deal.rule("decline")).status_code == 200
    assert await deal.status() == "dispute"
    await refused(slow, deal.release(), 400, IN_DISPUTE)
    await sound(slow)


# -- refusals -----------------------------------------------------------------------------------


async def test_it_says_for_whom(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    expected = "must be buyer or seller"
    for wrong in ("Buyer", "admin", "", "buyer ", "b\u0443er"):
        asked = deal.act("dispute", {"BY": wrong})
        await refused(broker, asked, 400, field="BY", says=expected)
    for body, field in (({}, "by"), ({"by": None}, "by"), ({"by": 1}, "by"), ({"by": []}, "by")):
        await refused(broker, deal.act("dispute", body), 400, field=field)
    await refused(broker, deal.act("dispute", {"by": "buyer", "By": "seller"}), 400, field="By")
    await refused(broker, deal.act("dispute"), 400)
    await refused(broker, deal.act("dispute", []), 400)


async def test_it_refuses_what_nobody_can_disagree_about(broker: Broker) -> None:
    pending, released, disputed, refunding, ended = await at(
        broker, "pending", "released", "paid", "paid", "paid"
    )
    assert (await disputed.act("dispute", BUYER)).status_code == 200
    assert (await refunding.refund()).status_code == 200
    assert (await ended.act("cancel", {"by": "buyer"})).status_code == 200
    for deal, why in (
        (pending, "The contract has to be paid for first."),
        (released, "The money of this contract has already gone where it belongs."),
        (disputed, "This contract is already in dispute."),
        (refunding, "A refund is pending for this contract."),
        (ended, "This contract is already canceled."),
    ):
        await refused(broker, deal.act("dispute", BUYER), 400, why)
    for deal in (pending, released, refunding, ended):
        await refused(broker, deal.act("resolve-dispute"), 400, "This contract is not in dispute.")


async def test_each_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await at(broker, "paid", "paid")

    async def ask(key: str) -> httpx.Response:
        return await dispute(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, ask, dispute(broker, other.number, **{"Idempotency-Key": "key-1"}))

    async def agree(key: str) -> httpx.Response:
        return await resolve(broker, deal.number, **{"Idempotency-Key": key})

    await once_only(broker, agree, resolve(broker, other.number, **{"Idempotency-Key": "key-1"}))


async def test_each_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    number = (await Deal.at(broker, "paid")).number
    await only_its_own(broker, rival, dispute, number)
    await only_its_own(broker, rival, resolve, number)
