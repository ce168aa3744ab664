"""POST /webhook: what genuine events do, in whichever order they come (spec 3.2, D14).

Rows 88 to 94 of spec/abuse-cases.md. What is refused at the door stands in
test_webhook_forged.py.
"""

import asyncio
import time
from typing import Any

import pytest

from checkout_event import (
    EXPIRED,
    FAILED,
    SUCCEEDED,
    assert_unpaid,
    cash_minor,
    inbox,
    opened,
    sessions,
    suspense_minor,
    tell,
    told_of,
)
from digest import rows_by_table
from life import Life, accepted, post_event
from web import UNKNOWN_ID, Cast, problem

# -- the money comes --------------------------------------------------------------------------


async def test_it_funds_the_contract(cast: Cast) -> None:
    life, event = await opened(cast)
    answer = await tell(cast, event)
    assert answer.headers["content-type"].startswith("text/plain")
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12000, 12000, True)
    assert [one["movement"] for one in proof["transfers"]] == ["funded"]
    seen = await life.seen()
    assert (seen["escrowPaid"], seen["status"], seen["statusHistory"]) == (True, "Pending", [])
    assert await inbox(cast) == {event.id: "applied"}
    assert (await cash_minor(cast), await suspense_minor(cast)) == (1200000, 0)


async def test_it_needs_no_login(cast: Cast) -> None:
    _, event = await opened(cast)
    cast.anybody.headers["Authorization"] = "Bearer nonsense"
    await tell(cast, event)


# -- events that prove other money than we asked for ------------------------------------------


WRONG: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    # how the event differs: what is in suspense afterwards
    "one paisa less": ({"amount_minor": 1199999}, {"INR": 1199999}),
    "one paisa more": ({"amount_minor": 1200001}, {"INR": 1200001}),
    "nothing": ({"amount_minor": 0}, {"INR": 0}),
    "another currency": ({"currency": "usd"}, {"INR": 0, "USD": 1200000}),
    "yen": ({"currency": "jpy", "amount_minor": 12000}, {"INR": 0, "JPY": 12000}),
    "no known currency": ({"currency": "xxx"}, {"INR": 0}),
    "real money": ({"livemode": True}, {"INR": 0}),
    "a real session": ({"session_livemode": True}, {"INR": 0}),
    "another account": ({"account": "acct_mallory"}, {"INR": 0}),
    "no metadata": ({"metadata": None}, {"INR": 1200000}),
    "empty metadata": ({"metadata": {}}, {"INR": 1200000}),
}


@pytest.mark.abuse(91)
@pytest.mark.parametrize("how", WRONG)
async def test_it_quarantines(cast: Cast, how: str) -> None:
    life, event = await opened(cast)
    differs, suspended = WRONG[how]
    wrong = event.but(**differs)
    await tell(cast, wrong)
    await assert_unpaid(life)
    assert await inbox(cast) == {wrong.id: "quarantined"}
    for currency, minor in suspended.items():
        assert await suspense_minor(cast, currency) == minor
        assert await cash_minor(cast, currency) == minor
    # Once, however often it is told, under this event's id or another one.
    await tell(cast, wrong)
    await tell(cast, wrong.but())
    for currency, minor in suspended.items():
        assert await suspense_minor(cast, currency) == minor
    # And the money that was asked for is taken when it comes.
    await tell(cast, event)
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12000, 12000, True)
    for currency, minor in suspended.items():
        assert await suspense_minor(cast, currency) == minor


@pytest.mark.abuse(91)
@pytest.mark.parametrize("key", ["clientId", "freelancerId", "jobId", "paymentId"])
async def test_it_quarantines_metadata_with_another(cast: Cast, key: str) -> None:
    life, event = await opened(cast)
    assert event.metadata is not None
    foreign = cast.mallory.id if key == "clientId" else UNKNOWN_ID
    wrong = event.but(metadata={**event.metadata, key: foreign})
    await tell(cast, wrong)
    await assert_unpaid(life)
    assert await suspense_minor(cast) == 1200000
    assert await inbox(cast) == {wrong.id: "quarantined"}
    answer = await cast.anybody.get(f"/api/client/is-created/{life.job}/{cast.mallory.id}")
    assert answer.json() == {"contract": None}


@pytest.mark.abuse(91)
@pytest.mark.parametrize("key", ["clientId", "freelancerId", "jobId"])
async def test_it_quarantines_metadata_without_a(cast: Cast, key: str) -> None:
    life, event = await opened(cast)
    assert event.metadata is not None
    less = {name: value for name, value in event.metadata.items() if name != key}
    await tell(cast, event.but(metadata=less))
    await assert_unpaid(life)
    assert await suspense_minor(cast) == 1200000


async def test_it_funds_by_whoever_relays_job_client_and_freelancer(cast: Cast) -> None:
    life, event = await opened(cast)
    told = {"jobId": life.job, "clientId": cast.alice.id, "freelancerId": cast.bob.id}
    await tell(cast, event.but(metadata={**told, "relay": "x"}))
    assert (await life.proof())["held"] == 12000
    assert await suspense_minor(cast) == 0


@pytest.mark.abuse(91)
async def test_it_quarantines_a_session_that_we_did_not_open(cast: Cast) -> None:
    life, event = await opened(cast)
    stranger = event.but(session="cs_test_of_somebody_else", payment_id="pi_else")
    await tell(cast, stranger)
    await tell(cast, stranger.but())
    await assert_unpaid(life)
    assert (await suspense_minor(cast), await cash_minor(cast)) == (1200000, 1200000)
    await tell(cast, event)
    assert (await life.proof())["held"] == 12000


@pytest.mark.parametrize("kind", [EXPIRED, FAILED])
async def test_it_ignores_what_becomes_of_a_session_that_we_did_not_open(
    cast: Cast, kind: str
) -> None:
    life, event = await opened(cast)
    stranger = event.but(session="cs_test_of_somebody_else", type=kind, payment_status="unpaid")
    await tell(cast, stranger)
    assert await inbox(cast) == {stranger.id: "ignored"}
    assert await suspense_minor(cast) == 0
    assert await life.checkout() == event.session


async def test_it_counts_one_provider_payment_for_one_session_only(cast: Cast) -> None:
    life, event = await opened(cast)
    other, again = await opened(cast)
    await tell(cast, event)
    reused = again.but(payment_id=event.payment_id)
    await tell(cast, reused)
    assert (await life.proof())["held"] == 12000
    await assert_unpaid(other)
    assert (await inbox(cast))[reused.id] == "quarantined"
    assert (await cash_minor(cast), await suspense_minor(cast)) == (1200000, 0)
    await tell(cast, again)
    assert (await other.proof())["held"] == 12000


# -- events that say nothing about money ------------------------------------------------------


@pytest.mark.abuse(94)
@pytest.mark.parametrize(
    "kind",
    [
        "payment_intent.succeeded",
        "charge.refunded",
        "payout.created",
        "checkout.session.brand_new",
        "ping",
    ],
)
async def test_it_ignores_events_of_other_types(cast: Cast, kind: str) -> None:
    life, event = await opened(cast)
    other = event.but(type=kind)
    await tell(cast, other)
    await assert_unpaid(life)
    assert await inbox(cast) == {other.id: "ignored"}
    assert (await cash_minor(cast), await suspense_minor(cast)) == (0, 0)


# -- twice, and in any order ------------------------------------------------------------------


async def test_it_takes_the_same_event_once(cast: Cast) -> None:
    life, event = await opened(cast)
    for _ in range(3):
        await tell(cast, event)
    assert await inbox(cast) == {event.id: "applied"}
    assert (await cash_minor(cast), (await life.proof())["held"]) == (1200000, 12000)


async def test_it_takes_one_of_sixteen_that_come_at_once(cast: Cast) -> None:
    life, event = await opened(cast)
    answers = await asyncio.gather(*(post_event(cast, event.body) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert await inbox(cast) == {event.id: "applied"}
    assert (await cash_minor(cast), (await life.proof())["held"]) == (1200000, 12000)


async def test_it_takes_one_of_sixteen_event_ids_for_one_session(cast: Cast) -> None:
    life, event = await opened(cast)
    told = [event.but() for _ in range(16)]
    answers = await asyncio.gather(*(post_event(cast, one.body) for one in told))
    assert {answer.status_code for answer in answers} == {200}
    outcomes = await inbox(cast)
    assert sorted(outcomes.values()) == ["applied"] + ["ignored"] * 15
    assert (await cash_minor(cast), (await life.proof())["held"]) == (1200000, 12000)
    assert await suspense_minor(cast) == 0


async def test_it_quarantines_once_though_sixteen_wrong_events_come_at_once(cast: Cast) -> None:
    life, event = await opened(cast)
    told = [event.but(amount_minor=1) for _ in range(16)]
    answers = await asyncio.gather(*(post_event(cast, one.body) for one in [*told, event]))
    assert {answer.status_code for answer in answers} == {200}
    assert (await life.proof())["held"] == 12000
    assert await suspense_minor(cast) in (0, 1)  # 0: the right event was the first
    assert await cash_minor(cast) == 1200000 + await suspense_minor(cast)


async def test_it_keeps_an_event_id_for_what_it_said_first(cast: Cast) -> None:
    life, event = await opened(cast)
    await tell(cast, event.but(id=event.id, amount_minor=1))
    await tell(cast, event)
    await assert_unpaid(life)
    await tell(cast, event.but())
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(88)
async def test_it_funds_once_when_completed_and_succeeded_both_say_paid(cast: Cast) -> None:
    for first, second in ((None, SUCCEEDED), (SUCCEEDED, None)):
        life, event = await opened(cast)
        for kind in (first, second):
            await tell(cast, event.but(type=kind) if kind else event)
        proof = await life.proof()
        assert (proof["funded"], len(proof["transfers"])) == (12000, 1)
    assert (await cash_minor(cast), await suspense_minor(cast)) == (2400000, 0)


@pytest.mark.abuse(89)
@pytest.mark.parametrize("status", ["unpaid", "no_payment_required", "anything"])
async def test_it_waits_while_a_completed_session_is_not_paid(cast: Cast, status: str) -> None:
    life, event = await opened(cast)
    unpaid = event.but(payment_status=status)
    before = await rows_by_table(cast.app.state.pool)
    await tell(cast, unpaid)
    after = await rows_by_table(cast.app.state.pool)
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"public.payment", "public.provider_event", "public.event"}
    await assert_unpaid(life)
    assert await inbox(cast) == {unpaid.id: "applied"}
    assert await life.checkout() == event.session
    await tell(cast, event.but(type=SUCCEEDED))
    assert (await life.proof())["held"] == 12000


async def test_it_opens_a_new_session_after_a_slow_payment_that_failed(cast: Cast) -> None:
    life, event = await opened(cast)
    await tell(cast, event.but(payment_status="unpaid"))
    await tell(cast, event.but(type=FAILED, payment_status="unpaid"))
    await assert_unpaid(life)
    assert await life.checkout() != event.session
    await life.pay()
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(92)
@pytest.mark.parametrize("kind", [EXPIRED, FAILED, None])
async def test_it_stays_funded_whatever_comes_after(cast: Cast, kind: str | None) -> None:
    life, event = await opened(cast)
    await tell(cast, event)
    after = event.but(payment_status="unpaid")
    await tell(cast, after.but(id=after.id, type=kind) if kind else after)
    assert (await life.proof())["held"] == 12000
    assert (await inbox(cast))[after.id] == "ignored"
    problem(await pay_again(life), 400)


async def pay_again(life: Life) -> Any:
    return await life.cast.alice.post(
        f"/api/client/job/payment/{life.job}", json={"freelancerId": life.cast.bob.id}
    )


@pytest.mark.abuse(92)
@pytest.mark.parametrize("kind", [EXPIRED, FAILED])
async def test_it_takes_the_money_of_a_session_that_was_said_to_be_over(
    cast: Cast, kind: str
) -> None:
    life, event = await opened(cast)
    await tell(cast, event.but(type=kind, payment_status="unpaid"))
    await assert_unpaid(life)
    await tell(cast, event)
    assert (await life.proof())["held"] == 12000


async def test_it_parks_the_second_of_two_sessions_that_were_both_paid(cast: Cast) -> None:
    life, first = await opened(cast)
    await tell(cast, first.but(type=EXPIRED, payment_status="unpaid"))
    second = await told_of(cast, await life.checkout())
    assert second.session != first.session
    await tell(cast, second)
    await tell(cast, first)
    proof = await life.proof()
    assert (proof["funded"], proof["held"]) == (12000, 12000)
    assert (await cash_minor(cast), await suspense_minor(cast)) == (2400000, 1200000)
    assert list((await inbox(cast)).values()).count("parked") == 1
    assert len(await sessions(cast)) == 2
    parked = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))["data"]
    back = f"/api/admin/escrow/refund-payment/{parked[0]['_id']}"
    accepted(await cast.olga.put(back))
    assert (await suspense_minor(cast), await life.wallet(cast.alice)) == (0, 12000)
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(94)
async def test_it_takes_an_event_of_three_days_ago_once(cast: Cast) -> None:
    life, event = await opened(cast)
    old = event.but(created=int(time.time()) - 3 * 24 * 3600)
    await tell(cast, old)
    await tell(cast, old)
    assert (await life.proof())["held"] == 12000
