"""A contract as a partner sees it: GET /apps/api/contracts/{contractId} (spec 3.2, E1).

tests/data/partner-get-contract.json is the seed's sample, byte for byte but for its indents.
"""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from deal import Deal
from dealing import SUCCESS, done, only_its_own, refused
from partners import Broker, make_broker

SAMPLE = Path(__file__).parent / "data" / "partner-get-contract.json"
ADDED = ["amount", "updatedDate", "id", "checkout", "settlement"]
RETRIEVED = "ContractRetrievedSuccessfully"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z")


def sample() -> Any:
    """The seed's answer; its milestones are due next year, whenever this runs."""
    year = str(datetime.now(UTC).year + 1)
    text = re.sub(r'"DueDate": "[0-9]{4}', f'"DueDate": "{year}', SAMPLE.read_text())
    return json.loads(text, parse_float=Decimal)


async def seeded(app: Litestar) -> tuple[Broker, Deal]:
    """The seed's contract, made of what its answer says that it was made of."""
    said = sample()["data"]
    broker = await make_broker(app, said["businessName"])
    milestones = [
        {
            "Name": one["Name"],
            "Description": one["Description"],
            "Amount": int(one["PricingLineItems"][0]["amount"]),
            "DueDate": one["DueDate"],
        }
        for one in said["milestones"]
    ]
    people = {
        name: {part: text for part, text in said[key].items() if part != "platformRefId"}
        for name, key in (("BuyerParty", "buyerParty"), ("SellerParty", "sellerParty"))
    }
    deal = await Deal.begin(
        broker,
        title=said["title"],
        description=said["description"],
        notes=said["notes"],
        reference=said["reference"],
        contractServiceType=said["contractServiceType"].capitalize(),
        amount=1000,
        metaData=said["metaData"],
        Milestones=milestones,
        callbackUrl=None,
        **people,
    )
    return broker, deal


async def get(broker: Broker, number: str) -> Any:
    return await broker.client.get(f"/apps/api/contracts/{number}")


# -- the seed ---------------------------------------------------------------------------------


async def test_it_has_the_keys_of_the_seed_in_its_order_then_those_of_its_tables(
    app: Litestar,
) -> None:
    broker, deal = await seeded(app)
    wanted, answer = sample(), (await get(broker, deal.number)).json()
    assert list(answer) == [*wanted, "succeeded", "errors"] == SUCCESS
    told, said = answer["data"], wanted["data"]
    assert list(told) == [*said, *ADDED]
    for name in ("buyerParty", "sellerParty", "metaData"):
        assert list(told[name]) == list(said[name]), name
    for shown, meant in zip(told["milestones"], said["milestones"], strict=True):
        assert list(shown) == [*meant, "Status"]
        for line, other in zip(shown["PricingLineItems"], meant["PricingLineItems"], strict=True):
            assert list(line) == [*other, "id"]
    for line, other in zip(told["pricingLineItems"], said["pricingLineItems"], strict=True):
        assert list(line) == [*other, "id"]


async def test_it_has_the_values_of_the_seed_wherever_they_are_determined(app: Litestar) -> None:
    """All but ids, references and the moment, whose form is looked at instead."""
    broker, deal = await seeded(app)
    said, told = sample()["data"], done(await get(broker, deal.number), RETRIEVED)
    assert re.fullmatch(r"CNT-[0-9]{4}-[0-9]{8}", told.pop("contractId"))
    assert INSTANT.fullmatch(told.pop("createdDate"))
    assert INSTANT.fullmatch(told.pop("updatedDate"))
    assert (told.pop("amount"), told["transactions"]) == (1000, [])
    ids = [told.pop("id"), *(line.pop("id") for line in told["pricingLineItems"])]
    for shown in told["milestones"]:
        assert isinstance(shown.pop("Id"), int)
        assert shown.pop("Status") == "pending"
        ids += [line.pop("id") for line in shown["PricingLineItems"]]
    assert all(UUID.fullmatch(one) for one in ids)
    assert len(set(ids)) == 1 + 3 * 6
    for party in ("buyerParty", "sellerParty"):
        assert re.fullmatch(r"USR_[0-9]{14}_[0-9]{4}", told[party].pop("platformRefId"))
        del said[party]["platformRefId"]
    del said["contractId"], said["createdDate"], told["checkout"], told["settlement"]
    for shown in said["milestones"]:
        del shown["Id"]
    assert told == said


async def test_its_numbers_have_the_bytes_that_javascript_would_write(app: Litestar) -> None:
    broker, deal = await seeded(app)
    text = (await get(broker, deal.number)).text
    numbers = re.findall(r'"[aA]mount":([^,}]+)', text)
    assert numbers == [
        *("686.25", "600", "15", "2.25", "60", "9", "600"),
        *("457.5", "400", "10", "1.5", "40", "6", "400"),
        *("1000", "25", "3.75", "100", "15", "1000"),
        "1000",
    ]


# -- what the tables add ------------------------------------------------------------------------


async def test_it_has_a_fresh_link_for_the_buyer_until_it_is_paid(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    checkout = (await deal.shown())["checkout"]
    assert list(checkout) == ["url", "token", "expiresAt"]
    assert checkout["url"].endswith(f"/checkout?token={checkout['token']}")
    await deal.pay()
    assert (await deal.shown())["checkout"] is None


async def test_it_says_where_the_money_is(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    steps = [(await deal.shown())["settlement"]]
    await deal.pay()
    steps.append((await deal.shown())["settlement"])
    assert (await deal.release(0)).status_code == 200
    steps.append((await deal.shown())["settlement"])
    assert (await deal.refund("PARTIAL", milestone=1, amount=100)).status_code == 200
    steps.append((await deal.shown())["settlement"])
    await deal.settle()
    steps.append((await deal.shown())["settlement"])
    names = ["currency", "funded", "held", "releasedToSeller", "refundedToBuyer", "fees", "taxes"]
    assert [list(step) for step in steps] == [names] * 5
    assert [list(step.values()) for step in steps] == [
        ["SAR", 0, 0, 0, 0, 0, 0],
        ["SAR", 1143.75, 1143.75, 0, 0, 0, 0],
        ["SAR", 1143.75, 457.5, 600, 0, 75, 11.25],
        ["SAR", 1143.75, 457.5, 600, 0, 75, 11.25],
        ["SAR", 1143.75, 0, 885, 100, 140, 18.75],
    ]


async def test_it_lists_every_movement_once(broker: Broker) -> None:
    """E21: what came from the buyer and what went to one of the two."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund("PARTIAL", milestone=1, amount=100)).status_code == 200
    assert (await deal.release(0)).status_code == 200
    await deal.settle()
    told = (await deal.shown())["transactions"]
    first, second = deal.milestone(0), deal.milestone(1)
    assert [(one["type"], one["amount"], one["milestoneId"]) for one in told] == [
        ("payment", 686.25, first),
        ("payment", 457.5, second),
        ("release", 600, first),
        ("refund", 100, second),
        ("release", 285, second),
    ]
    assert {tuple(one) for one in told} == {
        ("id", "type", "amount", "currency", "milestoneId", "createdDate")
    }
    assert len({one["id"] for one in told}) == 5
    assert all(re.fullmatch(r"TXN-[0-9]+(-[0-9]+)?", one["id"]) for one in told)
    assert {one["currency"] for one in told} == {"SAR"}


async def test_what_was_not_sent_is_null_and_the_lists_are_there(broker: Broker) -> None:
    deal = await Deal.begin(
        broker,
        Milestones=None,
        description=None,
        notes=None,
        reference=None,
        metaData=None,
        callbackUrl=None,
    )
    told = await deal.shown()
    assert [told[name] for name in ("description", "notes", "reference", "metaData")] == [None] * 4
    assert (told["milestones"], told["transactions"]) == ([], [])
    assert [line["amount"] for line in told["pricingLineItems"]] == [1000, 25, 3.75, 100, 15, 1000]
    await deal.pay()
    (payment,) = (await deal.shown())["transactions"]
    assert (payment["amount"], payment["milestoneId"]) == (1143.75, None)


async def test_reading_changes_nothing(broker: Broker) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await get(broker, deal.number)).content == (await get(broker, deal.number)).content


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.abuse(68)
async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    deal = await Deal.begin(broker)
    await only_its_own(broker, rival, get, deal.number)


async def test_it_needs_a_token(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    broker.client.headers.pop("Authorization")
    await refused(broker, get(broker, deal.number), 401)


async def test_it_speaks_arabic_when_asked(broker: Broker) -> None:
    answer = await broker.client.get(
        "/apps/api/contracts/CNT-2601-00999999", headers={"Accept-Language": "ar-SA, en;q=0.5"}
    )
    assert (answer.status_code, answer.json()["message"]) == (404, "العقد غير موجود")
