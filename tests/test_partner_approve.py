"""A partner approves for its seller: POST /apps/api/contracts/{contractId}/approve (E22)."""

from typing import Any

import httpx
from litestar import Litestar

from deal import Deal
from dealing import books, done, once_only, only_its_own, refused, row, sound
from partners import Broker, make_broker

APPROVED = "ContractApprovedSuccessfully"


async def approve(broker: Broker, number: str, body: Any = None, **headers: str) -> httpx.Response:
    path = f"/apps/api/contracts/{number}/approve"
    return await broker.client.post(path, json=body, headers=headers)


async def test_it_answers_with_the_contract_as_it_is_now(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    data = done(await deal.act("approve", {"reason": "Gladly"}), APPROVED)
    assert data["status"] == "approved"
    shown = await deal.shown()
    assert {**data, "checkout": None} == {**shown, "checkout": None}
    assert (
        data["checkout"]["url"]
        == f"http://127.0.0.1:8000/checkout?token={data['checkout']['token']}"
    )
    assert await deal.events() == ["contract.created", "contract.approved"]


async def test_it_needs_no_body(broker: Broker) -> None:
    bodies: list[Any] = [{}, {"json": {}}, {"json": {"reason": None}}, {"json": {"REASON": "x"}}]
    for sent in bodies:
        deal = await Deal.begin(broker)
        path = f"/apps/api/contracts/{deal.number}/approve"
        assert done(await broker.client.post(path, **sent), APPROVED)["status"] == "approved"


async def test_it_can_come_before_the_money_or_after(broker: Broker) -> None:
    early, late = await Deal.begin(broker), await Deal.at(broker, "paid")
    assert done(await early.act("approve"), APPROVED)["status"] == "approved"
    await early.pay()
    before = await books(early)
    assert done(await late.act("approve"), APPROVED)["status"] == "escrow"
    assert await early.status() == "escrow"
    assert await books(early) == before == row("2287.50", "2287.50", "0", "0", "0", "0")
    await sound(broker)


async def test_a_business_may_want_it_before_it_releases(app: Litestar) -> None:
    """E15."""
    careful = await make_broker(app, "Careful", release_needs_approval=True)
    deal = await Deal.at(careful, "paid")
    why = "The seller has to approve this contract first."
    await refused(careful, deal.release(), 400, why)
    assert (await deal.act("approve")).status_code == 200
    assert (await deal.release()).status_code == 200


async def test_it_refuses_whatever_is_no_longer_open(broker: Broker) -> None:
    for point, verb, body, why in (
        ("approved", None, None, "This contract is already approved."),
        ("pending", "reject", None, "This contract has ended."),
        ("pending", "cancel", {"by": "buyer"}, "This contract is already canceled."),
        ("paid", "dispute", {"by": "buyer"}, "This contract is in dispute."),
    ):
        deal = await Deal.at(broker, point)
        if verb is not None:
            assert (await deal.act(verb, body)).status_code == 200
        await refused(broker, deal.act("approve"), 400, why)


async def test_it_refuses_a_reason_that_is_none(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    for reason in (7, ["x"], {"a": 1}, "x" * 501, "a\u202eb"):
        await refused(broker, deal.act("approve", {"Reason": reason}), 400)
    await refused(broker, deal.act("approve", {"Reason": "x" * 501}), 400, field="Reason")
    await refused(broker, deal.act("approve", ["x"]), 400)


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    deal, other = await Deal.begin(broker), await Deal.begin(broker)

    async def ask(key: str) -> httpx.Response:
        return await approve(broker, deal.number, **{"Idempotency-Key": key})

    elsewhere = approve(broker, other.number, **{"Idempotency-Key": "key-1"})
    await once_only(broker, ask, elsewhere)
    assert (await deal.events()).count("contract.approved") == 1


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, approve, (await Deal.begin(broker)).number)
