"""/api/freelancer/wallet: what somebody has and where it came from (spec 3.1, 3.3)."""

import re
from decimal import Decimal
from typing import Any

import pytest

from balances import exact
from life import Life, accepted
from refusals import MALFORMED_IDS, only_for, refused, refuses_ids
from web import UNKNOWN_ID, Caller, Cast

EARNINGS = "/api/freelancer/wallet/earnings"
TRANSACTIONS = "/api/freelancer/wallet/transactions"
REPORT = "/api/freelancer/wallet/user-sales-report"

WALLET_KEYS = {
    "_id",
    "userId",
    "balance",
    "transactions",
    "isDeleted",
    "createdAt",
    "updatedAt",
}
ENTRY_KEYS = {"_id", "amount", "description", "type", "date", "contractId", "reference", "payoutId"}


async def wallet(of: Caller) -> Any:
    body = exact(await of.get(f"{EARNINGS}/{of.id}"))
    assert body.keys() == {"success", "data"}
    assert body["success"] is True
    return body["data"]


async def entries(of: Caller) -> Any:
    body = exact(await of.get(f"{TRANSACTIONS}/{(await wallet(of))['_id']}"))
    assert body.keys() == {"success", "count", "data"}
    assert (body["success"], body["count"]) == (True, len(body["data"]))
    return body["data"]


# -- earnings ---------------------------------------------------------------------------------


async def test_it_is_null_until_the_first_credit(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    assert await wallet(cast.bob) is None
    assert await wallet(cast.alice) is None
    await life.release()
    assert (await wallet(cast.bob))["balance"] == 10800
    assert await wallet(cast.alice) is None
    assert await wallet(cast.mallet) is None


async def test_it_has_a_balance_and_its_entries(cast: Cast) -> None:
    life = await Life.at(cast, "released", rate=99.99)
    found = await wallet(cast.bob)
    assert found.keys() == WALLET_KEYS
    assert re.fullmatch(r"[0-9a-f]{24}", found["_id"])
    assert found["_id"] != cast.bob.id
    assert (found["userId"], found["isDeleted"]) == (cast.bob.id, False)
    assert found["balance"] == Decimal("89.99")
    [entry] = found["transactions"]
    assert entry.keys() == ENTRY_KEYS
    assert (entry["amount"], entry["type"]) == (Decimal("89.99"), "credit")
    assert entry["description"] == "Contract payment"
    assert entry["contractId"] == (await life.seen())["contractId"]
    assert entry["date"] == found["createdAt"] == found["updatedAt"]
    assert entry["date"].endswith("Z")


async def test_it_grows_with_every_contract(cast: Cast) -> None:
    for rate in (50000, 99.99, 0.01):
        await Life.at(cast, "released", rate=rate)
    found = await wallet(cast.bob)
    assert found["balance"] == Decimal("45090.00")
    assert [one["amount"] for one in found["transactions"]] == [
        Decimal("0.01"),
        Decimal("89.99"),
        45000,
    ]
    assert found["createdAt"] <= found["updatedAt"]


async def test_it_is_as_old_as_its_first_entry_however_few_are_shown(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Life.at(cast, "released", rate=50000)
    before = await wallet(cast.bob)
    monkeypatch.setattr("earnest.marketplace.wallet.ENTRIES_MAX", 1)
    await Life.at(cast, "released", rate=99.99)
    after = await wallet(cast.bob)
    assert [one["amount"] for one in after["transactions"]] == [Decimal("89.99")]
    assert after["createdAt"] == before["createdAt"] < after["updatedAt"]


async def test_its_figures_are_numbers(cast: Cast) -> None:
    await Life.at(cast, "released", rate=99.99)
    body = accepted(await cast.bob.get(f"{EARNINGS}/{cast.bob.id}"))
    assert type(body["data"]["balance"]) is float
    assert type(body["data"]["transactions"][0]["amount"]) is float


async def test_a_client_reads_its_own_wallet_there_too(cast: Cast) -> None:
    await Life.at(cast, "refunded", rate=50000)
    found = await wallet(cast.alice)
    assert (found["balance"], found["userId"]) == (45000, cast.alice.id)


# -- transactions -----------------------------------------------------------------------------


async def test_each_entry_says_what_it_was_for(cast: Cast) -> None:
    released = await Life.at(cast, "released", rate=50000)
    refunded = await Life.at(cast, "ongoing", rate=50000)
    await refunded.refund()
    numbers = [(await life.seen())["contractId"] for life in (refunded, released)]

    of_bob = await entries(cast.bob)
    assert [one.keys() for one in of_bob] == [ENTRY_KEYS | {"clientName"}] * 2
    assert [one["contractId"] for one in of_bob] == numbers
    assert [one["clientName"] for one in of_bob] == ["Alice", "Alice"]
    assert [one["type"] for one in of_bob] == ["credit", "credit"]
    assert [(one["description"], one["amount"]) for one in of_bob] == [
        ("Partial payment for canceled contract", 18000),
        ("Contract payment", 45000),
    ]
    assert of_bob[0]["date"] >= of_bob[1]["date"]
    assert len({one["_id"] for one in of_bob}) == 2

    [of_alice] = await entries(cast.alice)
    assert (of_alice["description"], of_alice["amount"]) == ("Contract refund", 27000)
    assert (of_alice["contractId"], of_alice["clientName"]) == (numbers[0], "Alice")


async def test_a_payment_without_a_contract_is_in_the_list(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.checkout()
    closing = await cast.alice.put(
        f"/api/client/job/update-job/{life.job}", json={"status": "Closed"}
    )
    accepted(closing)
    await life.pay()
    parked = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))["data"]
    back = await cast.olga.put(f"/api/admin/escrow/refund-payment/{parked[0]['_id']}")
    accepted(back)
    [entry] = await entries(cast.alice)
    assert (entry["description"], entry["amount"]) == ("Payment refund", 12000)
    assert (entry["contractId"], entry["clientName"]) == (None, None)
    assert (await wallet(cast.alice))["balance"] == 12000


async def test_the_entries_add_up_to_the_balance(cast: Cast) -> None:
    for point in ("released", "refunded"):
        for rate in (99.99, 0.05, 999999.99):
            await Life.at(cast, point, rate=rate)
    started = await Life.at(cast, "started", rate=0.33)
    await started.refund()
    for of in (cast.alice, cast.bob):
        found = await wallet(of)
        assert found["balance"] == sum(one["amount"] for one in found["transactions"])
        assert found["balance"] == sum(one["amount"] for one in await entries(of))


# -- sales report -----------------------------------------------------------------------------


async def test_it_reports_by_month_oldest_first(cast: Cast) -> None:
    assert exact(await cast.bob.get(f"{REPORT}/{cast.bob.id}")) == {"data": []}
    months = []
    for rates in ((50000, 99.99), (0.05,)):
        for rate in rates:
            await Life.at(cast, "released", rate=rate)
        now = accepted(await cast.anybody.get("/sandbox/clock"))["now"]
        months.append(now[:7])
        advanced = await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 62 * 86400})
        accepted(advanced)
    assert exact(await cast.bob.get(f"{REPORT}/{cast.bob.id}")) == {
        "data": [
            {"month": months[0], "totalRevenue": Decimal("45089.99"), "totalTransactions": 2},
            {"month": months[1], "totalRevenue": Decimal("0.04"), "totalTransactions": 1},
        ]
    }


# -- who --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EARNINGS, REPORT])
async def test_a_wallet_is_for_its_owner_and_admins(cast: Cast, path: str) -> None:
    await Life.at(cast, "released")
    await only_for(cast, lambda who: who.get(f"{path}/{cast.bob.id}"), cast.bob, cast.olga)
    await only_for(cast, lambda who: who.get(f"{path}/{cast.alice.id}"), cast.alice, cast.olga)
    for malformed in MALFORMED_IDS:
        await refused(cast, cast.bob.get(f"{path}/{malformed}"), 400)
    for reader in (cast.bob, cast.olga):
        for unknown in (UNKNOWN_ID, "66aa00000000000000000a01"):  # the second has key 0
            await refused(cast, reader.get(f"{path}/{unknown}"), 404, "User not found")


async def test_its_entries_are_for_its_owner_and_admins(cast: Cast) -> None:
    await Life.at(cast, "released")
    of_bob = (await wallet(cast.bob))["_id"]
    await only_for(cast, lambda who: who.get(f"{TRANSACTIONS}/{of_bob}"), cast.bob, cast.olga)
    await refuses_ids(cast, lambda wallet: cast.bob.get(f"{TRANSACTIONS}/{wallet}"), of_bob)
    await refused(cast, cast.bob.get(f"{TRANSACTIONS}/{cast.bob.id}"), 404, "Wallet not found")


async def test_an_admin_reads_everybodys(cast: Cast) -> None:
    await Life.at(cast, "released")
    shown = exact(await cast.olga.get(f"{EARNINGS}/{cast.bob.id}"))["data"]
    assert shown == await wallet(cast.bob)
    listed = exact(await cast.olga.get(f"{TRANSACTIONS}/{shown['_id']}"))["data"]
    assert listed == await entries(cast.bob)
