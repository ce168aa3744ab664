"""The contracts of a business: GET /apps/api/contracts?status=&page=&pageSize= (E7)."""

from typing import Any

import httpx
import pytest

from deal import HUDA, OMAR, Deal
from dealing import SUCCESS, blocked, refused
from earnest.domain.projection import PARTNER_STATUSES
from partners import Broker

LIST = "/apps/api/contracts"
KEYS = [
    *("contractId", "reference", "title", "status", "contractServiceType", "buyerParty"),
    *("sellerParty", "createdDate", "amount", "updatedDate", "id"),
]


async def ask(broker: Broker, **query: str) -> httpx.Response:
    return await broker.client.get(LIST, params=query)


async def listed(broker: Broker, **query: str) -> Any:
    answer = await ask(broker, **query)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == SUCCESS
    assert answer.json()["message"] == "ContractsRetrievedSuccessfully"
    return answer.json()["data"]


async def test_it_lists_the_newest_first_with_what_a_get_says_of_them(broker: Broker) -> None:
    deals = [await Deal.begin(broker, reference=f"order-{n}") for n in range(3)]
    page = await listed(broker)
    assert list(page) == ["contracts", "totalCount", "page", "pageSize"]
    assert (page["totalCount"], page["page"], page["pageSize"]) == (3, 1, 20)
    numbers = [one["contractId"] for one in page["contracts"]]
    assert numbers == [deal.number for deal in reversed(deals)]
    shown = await deals[2].shown()
    assert page["contracts"][0] == {name: shown[name] for name in KEYS}
    assert list(page["contracts"][0]) == KEYS


async def test_it_has_nothing_at_first(broker: Broker) -> None:
    page = {"contracts": [], "totalCount": 0, "page": 1, "pageSize": 20}
    assert await listed(broker) == page
    assert await listed(broker, status="escrow") == page


async def test_it_turns_pages(broker: Broker) -> None:
    deals = [await Deal.begin(broker) for _ in range(5)]
    newest = [deal.number for deal in reversed(deals)]
    for number, wanted in (("1", newest[:2]), ("2", newest[2:4]), ("3", newest[4:]), ("4", [])):
        page = await listed(broker, page=number, pageSize="2")
        assert [one["contractId"] for one in page["contracts"]] == wanted
        assert (page["totalCount"], page["page"], page["pageSize"]) == (5, int(number), 2)


async def test_it_filters_by_what_a_get_calls_the_status(broker: Broker) -> None:
    deals = {
        "pending": await Deal.begin(broker),
        "escrow": await Deal.at(broker, "paid"),
        "released": await Deal.at(broker, "released"),
        "cancelled": await Deal.begin(broker),
        "rejected": await Deal.begin(broker),
        "approved": await Deal.begin(broker),
        "dispute": await Deal.at(broker, "paid"),
        "refundInProgress": await Deal.at(broker, "paid"),
        "refunded": await Deal.at(broker, "paid"),
        "completed": await Deal.at(broker, "released"),
        "waitingForBankPayment": await Deal.begin(broker),
    }
    await deals["waitingForBankPayment"].pay("unpaid")
    for status, act in (
        ("cancelled", deals["cancelled"].act("cancel", {"by": "buyer"})),
        ("rejected", deals["rejected"].act("reject")),
        ("approved", deals["approved"].act("approve")),
        ("dispute", deals["dispute"].act("dispute", {"by": "seller"})),
        ("refunded", deals["refunded"].refund()),
        ("completed", deals["completed"].act("receive")),
    ):
        assert (await act).status_code == 200, status
    await deals["refunded"].settle()
    assert (await deals["refundInProgress"].refund()).status_code == 200
    for status in PARTNER_STATUSES:
        numbers = [deals[status].number] if status in deals else []
        for spelled in (status, status.upper(), status[0].upper() + status[1:]):
            page = await listed(broker, status=spelled)
            assert [one["contractId"] for one in page["contracts"]] == numbers, status
            assert page["totalCount"] == len(numbers)
            assert {one["status"] for one in page["contracts"]} <= {status}
    for status, deal in deals.items():
        assert await deal.status() == status
    assert (await listed(broker))["totalCount"] == len(deals)


@pytest.mark.abuse(68)
async def test_it_shows_a_business_its_own_contracts_alone(broker: Broker, rival: Broker) -> None:
    """The same two people deal at both."""
    mine, theirs = await Deal.begin(broker), await Deal.begin(rival)
    for who, deal in ((broker, mine), (rival, theirs)):
        page = await listed(who)
        assert [one["contractId"] for one in page["contracts"]] == [deal.number]
        assert page["totalCount"] == 1
        assert page["contracts"][0]["buyerParty"]["phoneNumber"] == HUDA["phoneNumber"]
        assert page["contracts"][0]["sellerParty"]["phoneNumber"] == OMAR["phoneNumber"]


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.abuse(19)
async def test_it_refuses_pages_that_are_no_plain_numbers(broker: Broker) -> None:
    await Deal.begin(broker)
    for name in ("page", "pageSize"):
        for wrong in ("1e3", "1_0", "١٢", "-1", "0", "1000000000", "1.0", "x", " 1", "0x1"):
            says = "must be a whole number from 1 to 999999"
            await refused(broker, ask(broker, **{name: wrong}), 400, field=name, says=says)
        for absent in ("undefined", ""):
            assert len((await listed(broker, **{name: absent}))["contracts"]) == 1
    assert (await listed(broker, pageSize="101"))["pageSize"] == 100
    assert (await listed(broker, pageSize="999999"))["pageSize"] == 100


async def test_it_refuses_a_status_that_there_is_not(broker: Broker) -> None:
    for wrong in ("paid", "escrow ", "partiallyRefunded", "10", "escrow'--", "e\u0441crow"):
        await refused(broker, ask(broker, status=wrong), 400, field="status")
    for bad in ("%00", "%ED%A0%80", "%FF"):
        asked = broker.client.get(f"{LIST}?status={bad}")
        await refused(broker, asked, 400)


async def test_it_lists_nothing_for_a_blocked_client(broker: Broker) -> None:
    async with blocked(broker):
        await refused(broker, ask(broker), 403, "Your account is blocked")
    del broker.client.headers["Authorization"]
    await refused(broker, ask(broker), 401)
