"""Where every halala of a contract is: GET /apps/api/contracts/{contractId}/proof (E7)."""

from decimal import Decimal
from typing import Any

import httpx
from litestar import Litestar

from deal import Deal
from dealing import done, only_its_own
from partners import Broker, make_broker

RETRIEVED = "ProofRetrievedSuccessfully"
KEYS = [
    *("contractId", "currency", "funded", "toSeller", "toBuyer", "fees", "tax", "held", "holds"),
    *("transfers", "provider"),
]


async def ask(broker: Broker, number: str) -> httpx.Response:
    return await broker.client.get(f"/apps/api/contracts/{number}/proof")


async def proof(deal: Deal) -> Any:
    return done(await ask(deal.broker, deal.number), RETRIEVED)


def sums(told: Any) -> list[Any]:
    """funded, toSeller, toBuyer, fees, tax, held; which the transfers must bear out."""
    assert told["holds"] is True
    into = [one for one in told["transfers"] if one["credit"].startswith("held:")]
    out = [one for one in told["transfers"] if one["debit"].startswith("held:")]
    assert sum(one["amount"] for one in into) == told["funded"]
    assert sum(one["amount"] for one in out) == told["funded"] - told["held"]
    for account, name in (("wallet:", "toSeller"), ("refunds_in_transit:", "toBuyer")):
        moved = [one["amount"] for one in out if one["credit"].startswith(account)]
        assert sum(moved) == told[name]
    return [told[name] for name in KEYS[2:8]]


async def test_it_adds_up_at_every_point(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    table = [sums(await proof(deal))]
    await deal.pay()
    table.append(sums(await proof(deal)))
    assert (await deal.release(0)).status_code == 200
    table.append(sums(await proof(deal)))
    assert (await deal.refund("PARTIAL", milestone=1, amount=100)).status_code == 200
    table.append(sums(await proof(deal)))
    await deal.settle()
    told = await proof(deal)
    table.append(sums(told))
    paid, half = Decimal("1143.75"), Decimal("457.5")
    assert table == [
        [0, 0, 0, 0, 0, 0],
        [paid, 0, 0, 0, 0, paid],
        [paid, 600, 0, 84, Decimal("2.25"), half],
        [paid, 600, 0, 84, Decimal("2.25"), half],
        [paid, 885, 100, 155, Decimal("3.75"), 0],
    ]
    assert list(told) == KEYS
    assert (told["contractId"], told["currency"]) == (deal.number, "SAR")
    assert {tuple(one) for one in told["transfers"]} == {
        ("movement", "debit", "credit", "amount", "recordedDate")
    }


async def test_it_is_in_the_currency_of_the_business(app: Litestar) -> None:
    dinar = await make_broker(app, "Kuwait", currency="KWD")
    deal = await Deal.at(dinar, "released", amount=0.003, Milestones=None)
    told = await proof(deal)
    assert (told["currency"], told["funded"], told["toSeller"]) == (
        "KWD",
        Decimal("0.003"),
        Decimal("0.003"),
    )


async def test_it_names_no_contract_but_its_own(broker: Broker) -> None:
    deal, other = await Deal.at(broker, "released"), await Deal.at(broker, "released")
    accounts = [
        {name for one in (await proof(each))["transfers"] for name in (one["debit"], one["credit"])}
        for each in (deal, other)
    ]
    held = [{name for name in names if name.startswith("held:")} for names in accounts]
    assert held[0].isdisjoint(held[1])


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, ask, (await Deal.at(broker, "paid")).number)
