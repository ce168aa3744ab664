"""A partner's new contract: POST /apps/api/contracts (spec 3.1, E4, E23)."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import HUDA, MILESTONES, OMAR, TERMS, Deal
from dealing import blocked, books, done, once_only, refused, row, sound
from earnest.store.db import Pool
from partners import Broker, make_broker

CONTRACTS = "/apps/api/contracts"
CREATED = "Contract created successfully."
KEYS = [
    *("contractId", "status", "contractServiceType", "checkoutUrl", "buyerParty", "sellerParty"),
    *("reference", "metaData", "milestones", "pricingLineItems", "createdDate", "checkout"),
]
PARTIES = "SELECT phone, first_name FROM party WHERE business_id = $1 ORDER BY id"


async def create(broker: Broker, body: Any = None, **headers: str) -> httpx.Response:
    body = {**TERMS, "Milestones": MILESTONES} if body is None else body
    return await broker.client.post(CONTRACTS, json=body, headers=headers)


async def parties(broker: Broker) -> list[tuple[str, str]]:
    pool: Pool = broker.app.state.pool
    async with pool.connection() as conn:
        return [tuple(one) for one in await conn.fetch(PARTIES, broker.key)]


# -- happy path ---------------------------------------------------------------------------------


async def test_it_answers_200_with_a_pending_contract_and_the_buyers_link(broker: Broker) -> None:
    data = done(await create(broker), CREATED)
    assert list(data) == KEYS
    assert re.fullmatch(r"CNT-[0-9]{4}-[0-9]{8}", data["contractId"])
    assert (data["status"], data["contractServiceType"]) == ("pending", "service")
    assert data["checkoutUrl"] == data["checkout"]["url"]
    assert data["buyerParty"] == HUDA | {"platformRefId": data["buyerParty"]["platformRefId"]}
    assert data["sellerParty"] == OMAR | {"platformRefId": data["sellerParty"]["platformRefId"]}
    assert data["reference"] == "order-66"
    assert data["metaData"] == dict(zip(TEXTS, ("1", "2", "", ""), strict=True))


TEXTS = ("metadata1", "metadata2", "metadata3", "metadata4")


async def test_it_says_the_same_as_a_get_afterwards(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    shown = await deal.shown()
    for name in set(KEYS) - {"checkoutUrl", "checkout"}:
        assert deal.made[name] == shown[name], name


async def test_it_prices_each_milestone_and_their_sum(broker: Broker) -> None:
    """600 -> 686.25, 400 -> 457.50, 1000 -> 1143.75 (spec 4)."""
    data = done(await create(broker), CREATED)
    assert [one["Amount"] for one in data["milestones"]] == [pytest.approx(686.25), 457.5]
    for position, line in enumerate(data["pricingLineItems"]):
        parts = [one["PricingLineItems"][position] for one in data["milestones"]]
        assert sum(part["amount"] for part in parts) == line["amount"]
        assert {(part["lineType"], part["order"]) for part in parts} == {
            (line["lineType"], line["order"])
        }


async def test_it_moves_no_money(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    assert await books(deal) == row("0", "0", "0", "0", "0", "0")
    assert await deal.events() == ["contract.created"]


async def test_names_bind_whatever_their_case_and_others_are_ignored(broker: Broker) -> None:
    """E4: the guide's own samples mix them."""
    plain = {**TERMS, "Milestones": MILESTONES}
    odd = {
        "TITLE": plain["title"],
        "contractservicetype": "PRODUCT",
        "buyerparty": {name.upper(): text for name, text in HUDA.items()},
        "sellerPARTY": {**OMAR, "kyc": None, "ratings": []},
        "Amount": 1000,
        "metadata": {"MetaData1": "1"},
        "milestones": [
            {name.lower(): text for name, text in one.items()} | {"Status": "released"}
            for one in MILESTONES
        ],
        "callbackurl": "https://broker.example/back",
        "feePayer": 2,
        "PaymentMethod": "card",
        "initiatorRole": "buyer",
        "status": "released",
        "contractId": "CNT-2601-00100002",
    }
    data = done(await create(broker, odd), CREATED)
    assert (data["status"], data["contractServiceType"]) == ("pending", "product")
    assert data["metaData"] == {"metadata1": "1", "metadata2": "", "metadata3": "", "metadata4": ""}
    assert [one["Name"] for one in data["milestones"]] == ["Draft", "Final"]
    assert data["buyerParty"]["firstName"] == "Huda"
    assert data["contractId"] != odd["contractId"]


async def test_a_text_of_metadata_may_be_null(broker: Broker) -> None:
    sent = {"metadata1": None, "metadata2": "2", "metadata4": None}
    data = done(await create(broker, TERMS | {"metaData": sent}), CREATED)
    assert data["metaData"] == {"metadata1": "", "metadata2": "2", "metadata3": "", "metadata4": ""}


async def test_a_due_date_is_echoed_as_it_was_sent(broker: Broker) -> None:
    dates = ["2033-02-28T00:00:00Z", "2032-02-29T23:59:59.9999999Z"]
    milestones = [one | {"DueDate": date} for one, date in zip(MILESTONES, dates, strict=True)]
    data = done(await create(broker, {**TERMS, "Milestones": milestones}), CREATED)
    assert [one["DueDate"] for one in data["milestones"]] == dates


async def test_a_hundred_milestones_are_not_too_many(broker: Broker) -> None:
    milestones = [
        {"Name": f"Part {n}", "Amount": 10, "DueDate": "2032-01-01T00:00:00Z"} for n in range(100)
    ]
    data = done(await create(broker, {**TERMS, "Milestones": milestones}), CREATED)
    assert len(data["milestones"]) == 100
    assert len({one["Id"] for one in data["milestones"]}) == 100
    deal = Deal(broker, data)
    await deal.pay()
    assert (await deal.release()).status_code == 200
    assert await books(deal) == row("1143.75", "0", "1000", "25", "3.75", "115")


# -- who they are (E23) -------------------------------------------------------------------------


async def test_the_same_phone_is_the_same_person_whose_stored_name_wins(broker: Broker) -> None:
    first = await Deal.begin(broker)
    again = await Deal.begin(broker, BuyerParty=HUDA | {"firstName": "Hoda", "lastName": "X"})
    assert again.made["buyerParty"] == first.made["buyerParty"]
    assert await parties(broker) == [("966583944460", "Huda"), ("966583944461", "Omar")]


async def test_a_platform_ref_is_enough_and_wins_over_a_phone(broker: Broker) -> None:
    first = await Deal.begin(broker)
    ref = first.made["buyerParty"]["platformRefId"]
    for party in ({"platformRefId": ref}, {"platformRefId": ref} | OMAR):
        again = await Deal.begin(broker, BuyerParty=party)
        assert again.made["buyerParty"] == first.made["buyerParty"]


async def test_the_people_of_each_business_are_its_own(broker: Broker, rival: Broker) -> None:
    mine, theirs = await Deal.begin(broker), await Deal.begin(rival)
    ours = mine.made["buyerParty"]["platformRefId"]
    assert theirs.made["buyerParty"]["platformRefId"] != ours
    await refused(
        rival,
        create(rival, TERMS | {"BuyerParty": {"platformRefId": ours}}),
        400,
        "Validation failed",
        field="BuyerParty.platformRefId",
        says="is not known",
    )


async def test_one_may_sell_what_one_bought_elsewhere_but_not_to_oneself(broker: Broker) -> None:
    await Deal.begin(broker)
    await Deal.begin(broker, BuyerParty=OMAR, SellerParty=HUDA)
    for both in (HUDA, {**HUDA, "phoneNumber": "966511111111"}):
        await refused(
            broker,
            create(broker, TERMS | {"BuyerParty": both, "SellerParty": {**both, "firstName": "O"}}),
            400,
            "A contract needs two different people.",
        )


async def test_two_contracts_at_once_make_one_person_of_one_new_phone(
    broker: Broker,
) -> None:
    """In every round the same new buyer and seller, eight times, in one process and by chance in
    one batch or in several."""
    for number in range(6):
        body = {
            **TERMS,
            "BuyerParty": HUDA | {"phoneNumber": f"96658000000{number}"},
            "SellerParty": OMAR | {"phoneNumber": f"96659000000{number}"},
        }
        answers = await asyncio.gather(*(create(broker, body) for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        made = [answer.json()["data"] for answer in answers]
        assert len({one["contractId"] for one in made}) == 8
        for party in ("buyerParty", "sellerParty"):
            assert len({one[party]["platformRefId"] for one in made}) == 1
    assert len(await parties(broker)) == 12
    await sound(broker)


# -- once, and for whom -------------------------------------------------------------------------


async def test_a_key_makes_one_contract(broker: Broker) -> None:
    async def ask(key: str) -> httpx.Response:
        return await create(broker, **{"Idempotency-Key": key})

    other = create(broker, TERMS, **{"Idempotency-Key": "key-1"})
    made = done(await once_only(broker, ask, other), CREATED)
    listed = (await broker.client.get(CONTRACTS)).json()["data"]["contracts"]
    assert [one["contractId"] for one in listed] == [made["contractId"]]


@pytest.mark.abuse(98)
async def test_a_key_is_its_business_own_and_its_routes_own(broker: Broker, rival: Broker) -> None:
    """E16: the same word elsewhere is another key; nobody's reply comes to somebody else."""
    key = {"Idempotency-Key": "key-1"}
    mine = await create(broker, **key)
    theirs = await create(rival, **key)
    assert (mine.status_code, theirs.status_code) == (200, 200)
    assert "idempotent-replayed" not in theirs.headers
    numbers = {answer.json()["data"]["contractId"] for answer in (mine, theirs)}
    assert len(numbers) == 2
    deal = Deal(broker, mine.json()["data"])
    assert (await deal.act("approve", **key)).status_code == 200
    again = await deal.act("approve", **key)
    assert again.headers["idempotent-replayed"] == "true"
    await refused(broker, deal.act("approve"), 400, "This contract is already approved.")


async def test_fifty_with_one_key_at_once_make_one_contract(broker: Broker) -> None:
    answers = await asyncio.gather(
        *(create(broker, **{"Idempotency-Key": "key-1"}) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer for answer in answers if "idempotent-replayed" in answer.headers]
    assert len(replayed) == 49


async def test_a_blocked_client_makes_none(broker: Broker) -> None:
    async with blocked(broker):
        await refused(broker, create(broker), 403, "Your account is blocked")
    del broker.client.headers["Authorization"]
    await refused(broker, create(broker), 401)


async def test_fees_that_would_eat_a_base_are_refused(app: Litestar) -> None:
    greedy = await make_broker(app, escrow_fee_payer="seller", escrow_fee_minimum=50)
    await refused(
        greedy,
        create(greedy, TERMS | {"amount": 49}),
        400,
        "The amount is too small for the fees of this business.",
    )
    assert done(await create(greedy, TERMS | {"amount": 60}), CREATED)
