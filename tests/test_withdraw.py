"""POST /api/{client,freelancer}/wallet/withdraw: wallets are emptied to banks (D21)."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from balances import exact
from earnest.domain.business import Settings
from life import Life, accepted
from paying_out import CLIENT, FREELANCER, balance, fetch, seen, sound, withdrawn, work
from refusals import blocked, only_for, refused, refuses_ids
from web import Cast, caller

DOCUMENT_KEYS = {
    "_id",
    "amount",
    "currency",
    "status",
    "failure",
    "providerTransferId",
    "providerPayoutId",
    "createdAt",
    "updatedAt",
    "paidAt",
}
SET_SETTINGS = "UPDATE business SET settings = $1 WHERE id = 1"
MADE = "SELECT (SELECT count(*) FROM sandbox.transfer), (SELECT count(*) FROM sandbox.payout)"


async def test_it_leaves_the_wallet_at_once_and_reaches_the_bank(cast: Cast) -> None:
    await Life.at(cast, "released")
    assert await balance(cast.bob) == 10800
    payout = await withdrawn(cast.bob, 10000.5)
    assert payout.keys() == DOCUMENT_KEYS
    assert (payout["amount"], payout["currency"], payout["status"]) == (10000.5, "INR", "pending")
    assert (payout["providerTransferId"], payout["paidAt"]) == (None, None)
    assert await balance(cast.bob) == Decimal("799.5")
    await work(cast.app)
    done = await seen(cast.bob, payout)
    assert (done["status"], done["failure"]) == ("paid", "")
    assert done["providerTransferId"]
    assert done["providerPayoutId"]
    assert done["paidAt"] >= done["createdAt"]
    assert await fetch(cast.app, MADE) == [(1, 1)]
    await sound(cast.app)


async def test_a_client_takes_out_what_came_back(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    await life.cancel(cast.alice)
    await life.refund()
    refunded = await life.wallet(cast.alice)
    payout = await withdrawn(cast.alice, 500, CLIENT)
    await work(cast.app)
    assert (await seen(cast.alice, payout, CLIENT))["status"] == "paid"
    assert float(await balance(cast.alice)) == float(refunded) - 500
    await sound(cast.app)


async def test_all_of_it_and_then_nothing_is_left(cast: Cast) -> None:
    await Life.at(cast, "released")
    await withdrawn(cast.bob, 10800)
    assert await balance(cast.bob) == 0
    answer = cast.bob.post(FREELANCER, json={"amount": 1})
    await refused(cast, answer, 400, "The wallet does not hold that much.")
    await sound(cast.app)


async def test_the_wallet_tells_of_it(cast: Cast) -> None:
    await Life.at(cast, "released")
    await withdrawn(cast.bob, 800)
    shown = exact(await cast.bob.get(f"/api/freelancer/wallet/earnings/{cast.bob.id}"))["data"]
    first = shown["transactions"][0]
    assert (first["description"], first["type"], first["amount"]) == ("Withdrawal", "debit", 800)
    assert first["contractId"] is None


async def test_the_list_is_newest_first_and_ones_own(cast: Cast) -> None:
    await Life.at(cast, "released")
    made = [await withdrawn(cast.bob, amount) for amount in (100, 200, 300)]
    listed = exact(await cast.bob.get(FREELANCER))
    assert [one["_id"] for one in listed["data"]] == [one["_id"] for one in reversed(made)]
    assert (listed["total"], listed["currentPage"], listed["totalPages"]) == (3, 1, 1)
    second = exact(await cast.bob.get(FREELANCER, params={"page": 2, "limit": 2}))
    assert [one["amount"] for one in second["data"]] == [100]
    assert (second["total"], second["currentPage"], second["totalPages"]) == (3, 2, 2)
    assert exact(await cast.mallet.get(FREELANCER))["data"] == []
    assert exact(await cast.alice.get(CLIENT))["data"] == []
    for foreign in (cast.mallet.get(f"{FREELANCER}/{made[0]['_id']}"),):
        await refused(cast, foreign, 404, "Payout not found")


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (0, "amount must be greater than 0"),
        (-5, "amount must be greater than 0"),
        (10.005, "amount must have at most 2 decimals in INR"),
        (0.99, "amount must be at least 1"),
        (10800.01, "The wallet does not hold that much."),
        (1e15, "amount must be at most 10000000000000"),
    ],
)
async def test_an_amount_that_cannot_be_taken_out_changes_nothing(
    cast: Cast, amount: float, told: str
) -> None:
    await Life.at(cast, "released")
    answer = cast.bob.post(FREELANCER, json={"amount": amount})
    assert (await refused(cast, answer, 400)).startswith(told)


@pytest.mark.parametrize("amount", ["100", None, True, [100], {"$gt": 0}])
async def test_an_amount_is_a_number(cast: Cast, amount: Any) -> None:
    await refused(cast, cast.bob.post(FREELANCER, json={"amount": amount}), 400)
    await refused(cast, cast.bob.post(FREELANCER, json={}), 400)


async def test_who_never_had_any_money_has_none_to_take_out(cast: Cast) -> None:
    answer = cast.mallet.post(FREELANCER, json={"amount": 1})
    await refused(cast, answer, 400, "The wallet does not hold that much.")


async def test_the_minimum_is_a_setting_of_the_business(cast: Cast) -> None:
    await Life.at(cast, "released")
    settings = msgspec.json.encode(Settings(payout_minimum_minor=50_050)).decode()
    async with cast.app.state.pool.connection() as conn:
        await conn.execute(SET_SETTINGS, settings)
    answer = cast.bob.post(FREELANCER, json={"amount": 500.49})
    await refused(cast, answer, 400, "amount must be at least 500.5")
    await withdrawn(cast.bob, 500.5)


async def test_it_is_for_those_whose_wallet_it_is(cast: Cast) -> None:
    await Life.at(cast, "released")
    body = {"amount": 1}
    await only_for(
        cast, lambda who: who.post(FREELANCER, json=body, headers={}), cast.bob, cast.mallet
    )
    await only_for(cast, lambda who: who.post(CLIENT, json=body), cast.alice, cast.mallory)
    await only_for(cast, lambda who: who.get(FREELANCER), cast.bob, cast.mallet)
    payout = await withdrawn(cast.bob, 10)
    await refuses_ids(cast, lambda one: cast.bob.get(f"{FREELANCER}/{one}"), payout["_id"])
    async with blocked(cast, cast.bob):
        await refused(cast, cast.bob.get(f"{FREELANCER}/{payout['_id']}"), 403)


# -- more than once ---------------------------------------------------------------------------


async def test_the_same_key_is_the_same_withdrawal(cast: Cast) -> None:
    await Life.at(cast, "released")
    ask: dict[str, Any] = {"json": {"amount": 800}, "headers": {"Idempotency-Key": "rent"}}
    first, second = [await cast.bob.post(FREELANCER, **ask) for _ in range(2)]
    assert first.content == second.content
    assert second.headers["Idempotent-Replayed"] == "true"
    other = cast.bob.post(FREELANCER, json={"amount": 801}, headers={"Idempotency-Key": "rent"})
    await refused(cast, other, 422)
    assert await balance(cast.bob) == 10000


async def test_fifty_with_one_key_are_one(cast: Cast) -> None:
    await Life.at(cast, "released")
    ask: dict[str, Any] = {"json": {"amount": 800}, "headers": {"Idempotency-Key": "rent"}}
    answers = await asyncio.gather(*(cast.bob.post(FREELANCER, **ask) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert await balance(cast.bob) == 10000
    await sound(cast.app)


async def test_of_many_at_once_only_as_many_go_as_there_is_money_for(cast: Cast) -> None:
    await Life.at(cast, "released")
    answers = await asyncio.gather(
        *(cast.bob.post(FREELANCER, json={"amount": 3000}) for _ in range(12))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202] * 3 + [400] * 9
    assert await balance(cast.bob) == 1800
    await work(cast.app)
    assert await fetch(cast.app, MADE) == [(3, 3)]
    await sound(cast.app)


# -- onboarding -------------------------------------------------------------------------------


async def test_a_new_onboarding_link_each_time_and_the_same_for_one_key(cast: Cast) -> None:
    path = "/api/freelancer/wallet/onboarding"
    pages = [accepted(await cast.bob.post(path)) for _ in range(2)]
    assert all(page.keys() == {"url", "expiresAt"} for page in pages)
    assert pages[0]["url"] != pages[1]["url"]
    headers = {"Idempotency-Key": "a link"}
    first, second = [await cast.bob.post(path, headers=headers) for _ in range(2)]
    assert first.content == second.content
    assert await fetch(cast.app, "SELECT count(*) FROM sandbox.account") == [(1,)]
    # The link lets whoever has it in, so nobody finds it in our database.
    (kept,) = await fetch(cast.app, "SELECT reply, is_sealed FROM idempotency_key")
    assert kept[1]
    assert accepted(first)["url"].encode() not in kept[0]
    await only_for(cast, lambda who: who.post(path), cast.bob, cast.mallet)
    await sound(cast.app)


async def test_the_page_says_who_is_paid_and_leads_back(cast: Cast) -> None:
    page = accepted(await cast.bob.post("/api/freelancer/wallet/onboarding"))
    async with caller(cast.app) as bob:
        answer = await bob.get(page["url"], follow_redirects=True)
    assert answer.status_code == 200
    assert cast.bob.name in answer.text
