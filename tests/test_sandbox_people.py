"""The sandbox provider's onboarding page, and the banks that change their minds."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from earnest.providers.base import (
    AccountRequest,
    PayoutAccount,
    PayoutRequest,
    ProviderPayoutState,
    TransferRequest,
)
from town import Town, open_session

RETURN, REFRESH = "https://shop.example/paid-out?x=1", "https://shop.example/again"
BOB = AccountRequest("party-bob", "bob@example.com", "Bob <b> Sells", "IN", is_company=False)


@pytest.fixture
async def strict_town(town: Town) -> AsyncIterator[Town]:
    """Where people have to visit the page before they are paid."""
    lax = town.provider
    town.needs_onboarding = True
    town.provider = town.another_provider()
    yield town
    await lax.close()


async def bobs_page(town: Town) -> tuple[PayoutAccount, str]:
    """His account, and the address of the page that his link opened."""
    account = await town.provider.create_account(BOB)
    made = await town.provider.create_onboarding_link(
        account.id, return_url=RETURN, refresh_url=REFRESH
    )
    opened = await town.http.get(made.url, params={"lang": "en"})
    assert opened.status_code == 303
    return account, opened.headers["Location"]


# -- the page -------------------------------------------------------------------------------


async def test_it_makes_an_account_payable_and_leads_back(strict_town: Town) -> None:
    town = strict_town
    account, address = await bobs_page(town)
    assert (account.is_payable, account.lacks) == (False, ("external_account",))
    page = await town.http.get(address)
    assert page.status_code == 200
    assert "Bob &lt;b&gt; Sells" in page.text
    assert "form-action 'self' https://shop.example;" in page.headers["Content-Security-Policy"]
    done = await town.http.post(address, data={"answer": "finish"})
    assert (done.status_code, done.headers["Location"]) == (303, RETURN)
    assert await town.provider.find_account(account.id) == PayoutAccount(account.id, True)
    await town.deliver_everything()
    (told,) = [json.loads(body) for _, body in town.received]
    assert (told["type"], told["account"]) == ("account.updated", account.id)
    assert told["data"]["object"]["payouts_enabled"] is True


async def test_it_can_wait(strict_town: Town) -> None:
    town = strict_town
    account, address = await bobs_page(town)
    later = await town.http.post(address, data={"answer": "later"})
    assert (later.status_code, later.headers["Location"]) == (303, RETURN)
    assert await town.provider.find_account(account.id) == account
    await town.http.post(address, data={"answer": "finish"})
    found = await town.provider.find_account(account.id)
    assert found is not None
    assert found.is_payable


async def test_it_is_completed_once(strict_town: Town) -> None:
    town = strict_town
    _, address = await bobs_page(town)
    for _ in range(3):
        done = await town.http.post(address, data={"answer": "finish"})
        assert done.headers["Location"] == RETURN
    shown = await town.http.get(address)
    assert shown.headers["Location"] == RETURN
    await town.deliver_everything()
    assert len(town.received) == 1


async def test_it_opens_a_link_once_and_a_reload_is_harmless(strict_town: Town) -> None:
    town = strict_town
    account = await town.provider.create_account(BOB)
    made = await town.provider.create_onboarding_link(
        account.id, return_url=RETURN, refresh_url=REFRESH
    )
    assert (made.expires_at - town.clock.now).total_seconds() == 600
    opened = await town.http.get(made.url)
    for lang in ("en", "ar", "hi"):
        page = await town.http.get(opened.headers["Location"], params={"lang": lang})
        assert page.status_code == 200
        assert f'lang="{lang}"' in page.text
    again = await town.http.get(made.url)
    assert (again.status_code, again.headers["Location"]) == (303, REFRESH)


async def test_it_is_over_after_ten_minutes(strict_town: Town) -> None:
    town = strict_town
    account, address = await bobs_page(town)
    unopened = await town.provider.create_onboarding_link(
        account.id, return_url=RETURN, refresh_url=REFRESH
    )
    town.clock.advance(600)
    answers = [
        await town.http.get(unopened.url),
        await town.http.get(address),
        await town.http.post(address, data={"answer": "finish"}),
    ]
    assert [answer.headers["Location"] for answer in answers] == [REFRESH] * 3
    assert await town.provider.find_account(account.id) == account


@pytest.mark.parametrize("token", ["x" * 43, "x", "%00", "%ff", "x" * 5000])
async def test_it_has_a_clean_page_for_an_unknown_link(town: Town, token: str) -> None:
    for path in (f"/sandbox/onboarding/{token}", f"/sandbox/onboarding/visit/{token}"):
        answer = await town.http.get(path, params={"lang": "en"})
        assert answer.status_code == 404
        assert "no such page" in answer.text
    answer = await town.http.post(f"/sandbox/onboarding/visit/{token}")
    assert answer.status_code == 404


async def test_it_shows_no_page_by_a_link_that_was_not_opened(strict_town: Town) -> None:
    """The page's address is not the link's, and is nobody's before the link is opened."""
    town = strict_town
    account = await town.provider.create_account(BOB)
    await town.provider.create_onboarding_link(account.id, return_url=RETURN, refresh_url=REFRESH)
    async with town.pool.connection() as connection:
        visit = await connection.fetchval("SELECT visit FROM sandbox.onboarding_link")
    assert (await town.http.get(f"/sandbox/onboarding/visit/{visit}")).status_code == 404
    answer = await town.http.post(f"/sandbox/onboarding/visit/{visit}", data={"answer": "finish"})
    assert answer.status_code == 404
    assert await town.provider.find_account(account.id) == account


# -- the banks ------------------------------------------------------------------------------


async def paid_out(town: Town) -> PayoutRequest:
    """Bob's payout of all that Alice paid."""
    session = await open_session(town)
    await town.provider.complete(session.id, "paid")
    account = await town.provider.create_account(BOB)
    sent = ("payout-1", "payout-1", account.id, 1_200_000, "INR")
    await town.provider.create_transfer(TransferRequest(*sent))
    await town.provider.create_payout(PayoutRequest(*sent))
    town.received.clear()
    return PayoutRequest(*sent)


@pytest.mark.parametrize("seconds", [0, 4, 6])
async def test_it_sends_a_payout_back_before_and_after_it_has_arrived(
    town: Town, seconds: int
) -> None:
    request = await paid_out(town)
    town.clock.advance(seconds)
    assert await town.provider.arrive_due() == (seconds > 5)
    for _ in range(2):
        answer = await town.http.post("/sandbox/payouts/payout-1/fail")
        assert answer.status_code == 200
        assert answer.json() == {
            "reference": "payout-1",
            "state": "failed",
            "failure": "account_closed",
        }
    found = await town.provider.find_payout(request)
    assert found is not None
    assert found.state is ProviderPayoutState.FAILED
    await town.deliver_everything()
    told = [json.loads(body) for _, body in town.received]
    expected = ["payout.paid", "payout.failed"] if seconds > 5 else ["payout.failed"]
    assert sorted(event["type"] for event in told) == sorted(expected)
    assert {event["account"] for event in told} == {request.account_id}
    town.clock.advance(60)
    assert await town.provider.arrive_due() == 0


@pytest.mark.parametrize("reference", ["payout-2", "%00", "x" * 3000, "%ff"])
async def test_it_knows_no_other_payout(town: Town, reference: str) -> None:
    await paid_out(town)
    answer = await town.http.post(f"/sandbox/payouts/{reference}/fail")
    assert answer.status_code == 404


async def dispute(town: Town, session: str, outcome: object) -> httpx.Response:
    sent = {"session": session, "outcome": outcome}
    return await town.http.post("/sandbox/disputes", json=sent)


@pytest.mark.parametrize(
    ("outcome", "closing"),
    [
        ("won", ["charge.dispute.closed", "charge.dispute.funds_reinstated"]),
        ("lost", ["charge.dispute.closed"]),
    ],
)
async def test_it_disputes_what_was_paid(town: Town, outcome: str, closing: list[str]) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "paid")
    found = await town.provider.find_checkout(session.id)
    assert found is not None
    assert found.payment_id is not None
    town.received.clear()
    first = await dispute(town, session.id, "opened")
    assert first.status_code == 200
    assert (first.json()["payment"], first.json()["state"]) == (found.payment_id, "open")
    assert (await dispute(town, found.payment_id, "opened")).json() == first.json()
    for _ in range(2):
        answer = await dispute(town, session.id, outcome)
        assert answer.json() == first.json() | {"state": outcome}
    other = "lost" if outcome == "won" else "won"
    assert (await dispute(town, session.id, other)).status_code == 409
    await town.deliver_everything()
    told = sorted(json.loads(body)["type"] for _, body in town.received)
    assert told == sorted(["charge.dispute.created", "charge.dispute.funds_withdrawn", *closing])


async def test_it_disputes_nothing_that_was_not_paid(town: Town) -> None:
    session = await open_session(town)
    assert (await dispute(town, session.id, "opened")).status_code == 400
    await town.provider.complete(session.id, "paid")
    assert (await dispute(town, session.id, "won")).status_code == 409
    for unknown in ("cs_test_unknown", "", "x" * 5000):
        assert (await dispute(town, unknown, "opened")).status_code == 404
    assert (await dispute(town, "\0", "opened")).status_code == 400
    for outcome in ("", "open", None, 7, ["won"]):
        answer = await dispute(town, session.id, outcome)
        assert answer.status_code == 400
        assert answer.json()["field"] == "outcome"
    await town.deliver_everything()
    told = {json.loads(body)["type"] for _, body in town.received}
    assert told == {"checkout.session.completed"}
