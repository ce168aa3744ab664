"""A fresh link for the buyer: POST /apps/api/contracts/checkout (spec 3.3, B8, B11)."""

from typing import Any

import httpx
import pytest

from deal import HUDA, OMAR, Deal
from dealing import at, done, once_only, only_its_own, refused
from digest import digest
from earnest.store.db import Pool
from partners import Broker
from web import Caller, caller

CHECKOUT = "/apps/api/contracts/checkout"
STARTED = "ContractCheckoutStartedSuccessfully"
PHONE = HUDA["phoneNumber"]
NOT_PAYABLE = "This contract cannot be paid now."


async def renew(broker: Broker, body: Any, **headers: str) -> httpx.Response:
    return await broker.client.post(CHECKOUT, json=body, headers=headers)


def of(deal: Deal, **other: Any) -> dict[str, Any]:
    return {"externalContractId": deal.number, "buyerPhoneNumber": PHONE, **other}


# -- happy path ---------------------------------------------------------------------------------


async def test_it_answers_with_a_link_that_pays_for_this_contract(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    data = done(await renew(broker, of(deal)), STARTED)
    assert list(data) == ["checkoutUrl", "checkout"]
    assert list(data["checkout"]) == ["url", "token", "expiresAt"]
    assert data["checkoutUrl"] == data["checkout"]["url"]
    assert data["checkout"]["url"].endswith(f"?token={data['checkout']['token']}")
    deal.made["checkout"]["token"] = data["checkout"]["token"]
    await deal.pay()
    assert await deal.status() == "escrow"


async def test_both_names_of_both_fields_are_taken(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    for contract in ("externalContractId", "contractId", "EXTERNALCONTRACTID"):
        for phone in ("buyerPhoneNumber", "phoneNumber", "buyerphonenumber"):
            body = {contract: deal.number, phone: PHONE}
            assert done(await renew(broker, body), STARTED)


async def test_it_changes_nothing(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    before = await deal.shown()
    assert done(await renew(broker, of(deal)), STARTED)
    assert {**await deal.shown(), "checkout": 0} == {**before, "checkout": 0}
    assert await deal.events() == ["contract.created"]


async def test_a_payment_that_failed_can_be_made_again(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    await deal.pay("failed")
    assert done(await renew(broker, of(deal)), STARTED)


# -- the link -----------------------------------------------------------------------------------


@pytest.mark.abuse(77)
async def test_a_link_is_good_for_ten_minutes(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    async with caller(broker.app) as nobody:
        await nobody.post("/sandbox/clock", json={"advance_seconds": 590})
        assert (await look(nobody, deal.token)).status_code == 200
        await nobody.post("/sandbox/clock", json={"advance_seconds": 10})
        await opens_nothing(broker, nobody, deal.token)
        fresh = done(await renew(broker, of(deal)), STARTED)["checkout"]["token"]
        assert (await look(nobody, fresh)).status_code == 200
        await opens_nothing(broker, nobody, deal.token)


@pytest.mark.abuse(77)
async def test_a_link_is_good_for_its_contract_alone(broker: Broker, rival: Broker) -> None:
    """A token of another contract, another business, another kind or another letter."""
    deal, theirs = await Deal.begin(broker), await Deal.begin(rival)
    user = {"phoneNumber": PHONE, "firstName": "Huda", "lastName": ""}
    onboarding = (await broker.client.post("/apps/api/user", json=user)).json()["data"]["kycUrl"]
    token = deal.token
    async with caller(broker.app) as nobody:
        for other in (
            theirs.token[:25] + token[25:],
            token[:25] + theirs.token[25:],
            ("A" if token[0] != "A" else "B") + token[1:],
            token[:-1] + ("A" if token[-1] != "A" else "B"),
            token + "A",
            token.swapcase(),
            onboarding.partition("token=")[2],
            deal.number,
        ):
            await opens_nothing(broker, nobody, other)
        assert "A logo" in (await look(nobody, token)).text


async def look(nobody: Caller, token: str) -> httpx.Response:
    return await nobody.get("/checkout", params={"token": token})


async def opens_nothing(broker: Broker, nobody: Caller, token: str) -> None:
    pool: Pool = broker.app.state.pool
    before = await digest(pool)
    for answer in (
        await look(nobody, token),
        await nobody.post("/checkout", params={"token": token}, data={}),
        await nobody.post(f"/sandbox/checkout/{token}/complete", json={"outcome": "paid"}),
    ):
        assert answer.status_code in (400, 404, 405, 410), f"{answer.url}: {answer.text}"
        assert "A logo" not in answer.text
    assert await digest(pool) == before


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.abuse(77)
async def test_it_needs_the_buyers_phone_number(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    says = "is not the number of this contract's buyer"
    for wrong in (OMAR["phoneNumber"], "966583944469"):
        for name in ("buyerPhoneNumber", "phoneNumber", "PHONEnumber"):
            asked = renew(broker, {"contractId": deal.number, name: wrong})
            await refused(broker, asked, 400, field=name, says=says)
    for wrong in ("", "+966583944460", " 966583944460", "٩٦٦٥٨٣٩٤٤٤٦٠", "966583944460\n"):
        asked = renew(broker, {"contractId": deal.number, "phoneNumber": wrong})
        await refused(broker, asked, 400, field="phoneNumber")
    for number in (966583944460, None, [PHONE], {"$ne": ""}):
        await refused(broker, renew(broker, of(deal, buyerPhoneNumber=number)), 400)


@pytest.mark.abuse(77)
async def test_it_refuses_what_cannot_be_paid(broker: Broker) -> None:
    paid, released, waiting, cancelled, rejected = await at(
        broker, "paid", "released", "pending", "pending", "pending"
    )
    await waiting.pay("unpaid")
    assert (await cancelled.act("cancel", {"by": "buyer"})).status_code == 200
    assert (await rejected.act("reject")).status_code == 200
    for deal in (paid, released, waiting, cancelled, rejected):
        await refused(broker, renew(broker, of(deal)), 400, NOT_PAYABLE)


async def test_it_names_what_is_missing(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    for body, field in (
        ({}, "externalContractId"),
        ({"phoneNumber": PHONE}, "externalContractId"),
        ({"contractId": deal.number}, "buyerPhoneNumber"),
    ):
        await refused(broker, renew(broker, body), 400, field=field, says="is required")
    asked = renew(broker, {"CONTRACTid": "xyz", "phoneNumber": PHONE})
    await refused(broker, asked, 400, "Invalid contract ID", field="CONTRACTid")


async def test_it_is_done_once_for_a_key(broker: Broker) -> None:
    """A repeated request finds the same link, also when the contract is paid by now."""
    deal, other = await at(broker, "pending", "pending")

    async def ask(key: str) -> httpx.Response:
        return await renew(broker, of(deal), **{"Idempotency-Key": key})

    first = await once_only(broker, ask, renew(broker, of(other), **{"Idempotency-Key": "key-1"}))
    await deal.pay()
    assert (await ask("key-1")).content == first.content


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    deal = await Deal.begin(broker)

    async def ask(who: Broker, number: str) -> httpx.Response:
        return await renew(who, {"contractId": number, "phoneNumber": PHONE})

    await only_its_own(broker, rival, ask, deal.number)
