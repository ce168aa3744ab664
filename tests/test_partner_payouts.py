"""/apps/api/payouts: a business and its people are paid by hand, say where to, and see how it
stands (E24)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import HUDA, OMAR, Deal
from dealing import blocked, done, failure, once_only, refused
from earnest.actions import payout_schedule
from earnest.app import build_app
from earnest.settings import Settings
from earnest.store.db import Pool
from hesitant import hesitant
from partners import Broker, make_broker
from paying_out import fetch, later, sound, work
from refusals import MALFORMED_IDS
from web import UNKNOWN_ID, caller, make_settings

PAYOUTS = "/apps/api/payouts"
ONBOARDING = f"{PAYOUTS}/onboarding"
BACK = "https://broker.example/paid?user=7"
KEYS = [
    *("payoutId", "platformRefId", "amount", "currency", "status", "cause", "failure"),
    *("providerTransferId", "providerPayoutId", "createdDate", "updatedDate", "paidDate"),
]
STRANGER = "USR_20260101000000_0001"


@pytest.fixture
def settings(database: Any, request: pytest.FixtureRequest) -> Settings:
    onboarding = getattr(request, "param", False)
    return make_settings(database.app_dsn, sandbox_onboarding=onboarding)


strict = pytest.mark.parametrize("settings", [True], indirect=True)
"""Nobody is paid who has not been through onboarding."""


@pytest.fixture
async def deal(broker: Broker) -> Deal:
    """Omar has 1,000, the business 115, Huda nothing."""
    return await Deal.at(broker, "released")


def omar(deal: Deal) -> str:
    return str(deal.made["sellerParty"]["platformRefId"])


def huda(deal: Deal) -> str:
    return str(deal.made["buyerParty"]["platformRefId"])


async def pay_out(
    broker: Broker, amount: Any, of: str | None = None, **headers: str
) -> httpx.Response:
    body = {"amount": amount} | ({} if of is None else {"platformRefId": of})
    return await broker.client.post(PAYOUTS, json=body, headers=headers)


async def paid_out(broker: Broker, amount: Any, of: str | None = None) -> Any:
    answer = await pay_out(broker, amount, of)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == 202
    return answer.json()["data"]


async def listed(broker: Broker, **query: str) -> Any:
    answer = await broker.client.get(PAYOUTS, params=query)
    return done(answer, "PayoutsRetrievedSuccessfully")


async def seen(broker: Broker, payout: Any) -> Any:
    answer = await broker.client.get(f"{PAYOUTS}/{payout['payoutId']}")
    return done(answer, "PayoutRetrievedSuccessfully")


# -- by hand --------------------------------------------------------------------------------------


async def test_it_pays_out_what_a_seller_has(broker: Broker, deal: Deal) -> None:
    payout = await paid_out(broker, 400.25, omar(deal))
    assert list(payout) == KEYS
    assert (payout["platformRefId"], payout["amount"]) == (omar(deal), 400.25)
    assert (payout["currency"], payout["status"], payout["cause"]) == ("SAR", "pending", "asked")
    assert payout["failure"] is payout["providerTransferId"] is payout["paidDate"] is None
    assert await seen(broker, payout) == payout
    await work(broker.app)
    after = await seen(broker, payout)
    assert (after["status"], after["failure"]) == ("paid", None)
    assert after["providerTransferId"]
    assert after["providerPayoutId"]
    assert after["paidDate"] >= after["createdDate"]
    await refused(broker, pay_out(broker, 599.76, omar(deal)), 400, NOT_ENOUGH)
    await paid_out(broker, 599.75, omar(deal))
    await sound(broker.app)


NOT_ENOUGH = "The wallet does not hold that much."


async def test_it_pays_out_what_the_business_is_owed(broker: Broker, deal: Deal) -> None:
    await refused(broker, pay_out(broker, 115.01), 400, NOT_ENOUGH)
    payout = await paid_out(broker, 115)
    assert (payout["platformRefId"], payout["amount"]) == (None, 115)
    await refused(broker, pay_out(broker, 1), 400, NOT_ENOUGH)
    await work(broker.app)
    assert (await seen(broker, payout))["status"] == "paid"
    await sound(broker.app)


async def test_what_the_bank_sends_back_is_the_sellers_again(broker: Broker, deal: Deal) -> None:
    payout = await paid_out(broker, 1000, omar(deal))
    await work(broker.app, turns=2, seconds=0)
    async with caller(broker.app) as bank:
        path = f"/sandbox/payouts/{payout['payoutId']}/fail"
        assert (await bank.post(path)).status_code == 200
    await later(broker.app, 3600)
    await work(broker.app)
    after = await seen(broker, payout)
    assert (after["status"], after["paidDate"]) == ("failed", None)
    assert after["failure"].startswith("The bank did not take the money")
    await paid_out(broker, 1000, omar(deal))
    await sound(broker.app)


async def test_of_many_at_once_only_as_many_go_as_there_is_money_for(
    broker: Broker, deal: Deal
) -> None:
    await paid_out(broker, 1)
    await paid_out(broker, 1, omar(deal))
    for amount, of, enough in ((30, None, 3), (300, omar(deal), 3)):
        answers = await asyncio.gather(*(pay_out(broker, amount, of) for _ in range(8)))
        assert Counter(answer.status_code for answer in answers) == {202: enough, 400: 8 - enough}
    await sound(broker.app)


async def test_it_is_done_once_for_each_key(broker: Broker, deal: Deal) -> None:
    for of in (None, omar(deal)):
        key = {"Idempotency-Key": f"pay-{of}"}
        first = await pay_out(broker, 20, of, **key)
        again = await pay_out(broker, 20, of, **key)
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        other = pay_out(broker, 21, of, **key)
        await refused(broker, other, 422)
    assert (await listed(broker))["totalCount"] == 2


async def test_its_names_bind_in_any_case_and_nothing_else_is_taken(
    broker: Broker, deal: Deal
) -> None:
    sent = {
        "AMOUNT": 10,
        "PlatformRefID": omar(deal),
        "status": "paid",
        "cause": "scheduled",
        "currency": "USD",
        "business": 1,
        "party": 1,
        "payoutId": UNKNOWN_ID,
        "providerPayoutId": "po_evil",
        "external_account": "acct_evil",
    }
    answer = await broker.client.post(PAYOUTS, json=sent)
    assert answer.status_code == 202, answer.text
    payout = answer.json()["data"]
    assert (payout["currency"], payout["status"], payout["cause"]) == ("SAR", "pending", "asked")
    assert (payout["platformRefId"], payout["providerPayoutId"]) == (omar(deal), None)
    twins = {"amount": 10, "Amount": 20}
    await refused(broker, broker.client.post(PAYOUTS, json=twins), 400, field="Amount")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "10"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0.001}, "amount"),
        ({"amount": 0.99}, "amount"),
        ({"amount": 10**14}, "amount"),
        ({"amount": 1, "platformRefId": 7}, "platformRefId"),
        ({"amount": 1, "platformRefId": ""}, "platformRefId"),
        ({"amount": 1, "platformRefId": "USR_%"}, "platformRefId"),
        ({"amount": 1, "platformRefId": STRANGER}, "platformRefId"),
    ],
)
async def test_it_refuses_what_is_no_amount_and_nobody(
    broker: Broker, deal: Deal, body: dict[str, Any], field: str
) -> None:
    await refused(broker, broker.client.post(PAYOUTS, json=body), 400, field=field)


async def test_it_says_it_in_arabic(broker: Broker, deal: Deal) -> None:
    answer = await pay_out(broker, 5000, omar(deal), **{"Accept-Language": "ar"})
    assert failure(answer, 400)["message"] == "لا يوجد هذا المبلغ في المحفظة."


async def test_a_buyer_with_money_is_paid_and_one_without_is_not(
    broker: Broker, deal: Deal
) -> None:
    await refused(broker, pay_out(broker, 1, huda(deal)), 400, NOT_ENOUGH)
    back = await Deal.at(broker, "released", BuyerParty=OMAR, SellerParty=HUDA)
    assert huda(deal) == omar(back)
    assert (await paid_out(broker, 1000, huda(deal)))["platformRefId"] == huda(deal)


# -- lists ----------------------------------------------------------------------------------------


async def test_it_lists_the_newest_first_of_all_or_of_one(broker: Broker, deal: Deal) -> None:
    first = await paid_out(broker, 10, omar(deal))
    second = await paid_out(broker, 15)
    third = await paid_out(broker, 20, omar(deal))
    ids = [one["payoutId"] for one in (third, second, first)]
    page = await listed(broker)
    assert list(page) == ["payouts", "totalCount", "page", "pageSize"]
    assert [one["payoutId"] for one in page["payouts"]] == ids
    assert [one["platformRefId"] for one in page["payouts"]] == [omar(deal), None, omar(deal)]
    assert (page["totalCount"], page["page"], page["pageSize"]) == (3, 1, 20)
    his = await listed(broker, platformRefId=omar(deal))
    assert [one["payoutId"] for one in his["payouts"]] == [ids[0], ids[2]]
    assert {one["platformRefId"] for one in his["payouts"]} == {omar(deal)}
    assert (await listed(broker, platformRefId=huda(deal)))["payouts"] == []
    page = await listed(broker, page="2", pageSize="2")
    assert [one["payoutId"] for one in page["payouts"]] == ids[2:]
    assert (page["totalCount"], page["page"], page["pageSize"]) == (3, 2, 2)


async def test_it_shows_what_the_schedule_has_paid(broker: Broker, deal: Deal) -> None:
    await payout_schedule.begin_rounds(broker.app.state.core)
    while await payout_schedule.take_turn(broker.app.state.core):
        pass
    await work(broker.app)
    page = await listed(broker)
    assert [(one["cause"], one["status"]) for one in page["payouts"]] == [("scheduled", "paid")] * 2
    assert {one["platformRefId"] for one in page["payouts"]} == {None, omar(deal)}


async def test_it_refuses_pages_and_people_that_there_are_not(broker: Broker, deal: Deal) -> None:
    for name in ("page", "pageSize"):
        for wrong in ("0", "-1", "x", "1.0", "1000000000"):
            await refused(broker, broker.client.get(PAYOUTS, params={name: wrong}), 400, field=name)
    for ref in (STRANGER, "Omar", "USR_"):
        asked = broker.client.get(PAYOUTS, params={"platformRefId": ref})
        await refused(broker, asked, 400, field="platformRefId")


# -- onboarding -----------------------------------------------------------------------------------


async def onboard(broker: Broker, of: str | None = None, **body: Any) -> httpx.Response:
    wanted = {"returnUrl": BACK} | ({} if of is None else {"platformRefId": of}) | body
    return await broker.client.post(ONBOARDING, json=wanted)


async def finish(broker: Broker, link: str) -> str:
    """Whoever has the link says where to be paid; where the page leads then."""
    async with caller(broker.app) as somebody:
        opened = await somebody.get(link)
        answer = await somebody.post(opened.headers["location"], data={"answer": "finish"})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@strict
async def test_nobody_is_paid_before_they_have_said_where_to(broker: Broker, deal: Deal) -> None:
    first = "Before money can be paid out, its owner has to say where to: finish the onboarding."
    for of, amount in ((None, 115), (omar(deal), 1000)):
        await refused(broker, pay_out(broker, amount, of), 400, first)
        page = done(await onboard(broker, of), "PayoutOnboardingStartedSuccessfully")
        assert list(page) == ["url", "expiresAt"]
        assert failure(await pay_out(broker, amount, of), 400)["message"] == first
        assert await finish(broker, page["url"]) == BACK
        await paid_out(broker, amount, of)
    await work(broker.app)
    assert [one["status"] for one in (await listed(broker))["payouts"]] == ["paid", "paid"]
    await sound(broker.app)


@strict
async def test_a_seller_may_say_where_to_before_anything_was_paid(broker: Broker) -> None:
    deal = await Deal.begin(broker)
    assert (await onboard(broker, omar(deal))).status_code == 200
    says = "This user sells nothing and has nothing to be paid out."
    await refused(broker, onboard(broker, huda(deal)), 400, says)
    countries = await fetch(broker.app, "SELECT country, party_id IS NULL FROM payout_account")
    assert countries == [("SA", False)]


async def test_it_takes_the_country_of_the_currency_or_another(app: Litestar) -> None:
    euro = await make_broker(app, "Euro Broker", currency="EUR")
    await refused(euro, onboard(euro), 400, field="country", says=SEVERAL)
    assert (await onboard(euro, country="DE")).status_code == 200
    assert await fetch(app, "SELECT country FROM payout_account") == [("DE",)]


SEVERAL = "is required: this currency has several"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"returnUrl": None}, "returnUrl"),
        ({"returnUrl": 7}, "returnUrl"),
        ({"returnUrl": ""}, "returnUrl"),
        ({"returnUrl": "javascript:alert(1)"}, "returnUrl"),
        ({"returnUrl": "http://broker.example/"}, "returnUrl"),
        ({"returnUrl": "https://user:word@broker.example/"}, "returnUrl"),
        ({"returnUrl": "https://broker.example/" + "x" * 2_048}, "returnUrl"),
        ({"country": "sa"}, "country"),
        ({"country": "SAU"}, "country"),
        ({"country": ""}, "country"),
        ({"country": 7}, "country"),
        ({"platformRefId": STRANGER}, "platformRefId"),
        ({"platformRefId": []}, "platformRefId"),
    ],
)
async def test_it_leads_nobody_astray(broker: Broker, body: dict[str, Any], field: str) -> None:
    await refused(broker, onboard(broker, **body), 400, field=field)


async def test_it_leads_back_to_hosts_of_the_business_alone(app: Litestar) -> None:
    broker = await make_broker(app, callback_hosts=["shop.example"])
    says = "must be on one of the hosts that this business allows"
    await refused(broker, onboard(broker), 400, field="returnUrl", says=says)
    assert (await onboard(broker, returnUrl="https://shop.example/")).status_code == 200


async def test_a_link_is_made_once_for_each_key(broker: Broker) -> None:
    async def ask(key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return await broker.client.post(ONBOARDING, json={"returnUrl": BACK}, headers=headers)

    other = {"returnUrl": BACK, "country": "AE"}
    headers = {"Idempotency-Key": "key-1"}
    await once_only(broker, ask, broker.client.post(ONBOARDING, json=other, headers=headers))


# -- who ------------------------------------------------------------------------------------------


async def test_another_business_finds_nothing_of_it(
    broker: Broker, rival: Broker, deal: Deal
) -> None:
    payout = await paid_out(broker, 10, omar(deal))
    path = f"{PAYOUTS}/{payout['payoutId']}"
    await refused(rival, rival.client.get(path), 404, "Payout not found")
    theirs = await rival.client.get(path)
    unknown = await rival.client.get(f"{PAYOUTS}/{UNKNOWN_ID}")
    assert theirs.content == unknown.content
    assert (await listed(rival))["totalCount"] == 0
    says = "is not known"
    for asked in (
        pay_out(rival, 10, omar(deal)),
        onboard(rival, omar(deal)),
        rival.client.get(PAYOUTS, params={"platformRefId": omar(deal)}),
    ):
        await refused(rival, asked, 400, field="platformRefId", says=says)
    await refused(rival, pay_out(rival, 1), 400, NOT_ENOUGH)


async def test_it_finds_by_the_whole_id_alone(broker: Broker, deal: Deal) -> None:
    payout = await paid_out(broker, 10)
    guessed = payout["payoutId"][:-1] + ("0" if payout["payoutId"][-1] != "0" else "1")
    await refused(broker, broker.client.get(f"{PAYOUTS}/{guessed}"), 404, "Payout not found")
    for malformed in MALFORMED_IDS:
        await refused(broker, broker.client.get(f"{PAYOUTS}/{malformed}"), 400)


async def test_a_blocked_client_is_refused_before_the_provider_is_asked(
    broker: Broker, deal: Deal
) -> None:
    provider = hesitant(broker.app, "")
    async with blocked(broker):
        for asked in (
            pay_out(broker, 10),
            pay_out(broker, 10, omar(deal)),
            onboard(broker),
            broker.client.get(PAYOUTS),
            broker.client.get(f"{PAYOUTS}/{UNKNOWN_ID}"),
        ):
            await refused(broker, asked, 403, "Your account is blocked")
    assert provider.asked == []


@pytest.fixture
async def other_app(settings: Settings, database: Any) -> AsyncIterator[Litestar]:
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan():
        yield made


async def test_two_processes_pay_the_business_no_more_than_it_is_owed(
    broker: Broker, deal: Deal, other_app: Litestar
) -> None:
    token = broker.client.headers["Authorization"]
    await paid_out(broker, 1)
    async with caller(other_app, Authorization=token) as elsewhere:
        answers = await asyncio.gather(
            *(who.post(PAYOUTS, json={"amount": 50}) for who in (broker.client, elsewhere) * 4)
        )
    assert Counter(answer.status_code for answer in answers) == {202: 2, 400: 6}
    await sound(broker.app)
