"""Opening a payment: POST /api/client/job/payment/:jobId (spec 3.1, D2)."""

import asyncio
from typing import Any

import pytest

from checkout_event import rows, sessions
from checkouts import DAY_SECONDS, STATES, later, pay
from digest import digest
from life import Life, accepted, post_event, provider_events
from web import UNKNOWN_ID, Cast, problem

AMOUNTS = "SELECT amount_minor, currency FROM sandbox.session ORDER BY created_at"


# -- what is asked for ------------------------------------------------------------------------


async def test_it_opens_a_session_for_the_price_of_the_contract(cast: Cast) -> None:
    life = await Life.at(cast, "created", rate=4999.99)
    opened = accepted(await pay(cast.alice, life.job, cast.bob.id, title="x", rate=1))
    assert set(opened) == {"id", "url"}
    assert opened["id"].startswith("cs_")
    assert opened["id"] in opened["url"]
    assert await rows(cast, AMOUNTS) == [(499999, "INR")]


async def test_it_opens_a_session_for_the_rate_of_the_job_before_there_is_a_contract(
    cast: Cast,
) -> None:
    life = await Life.begin(cast, rate=12000)
    accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert await rows(cast, AMOUNTS) == [(1200000, "INR")]


async def test_it_never_reads_a_price_from_the_body(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    prices: list[Any] = [0.01, "1", None, -5, [1], {"$gt": 0}, True]
    for price in prices:
        other = {"rate": price, "amount": price, "title": price, "currency": "usd"}
        accepted(await pay(cast.alice, life.job, cast.bob.id, **other))
    assert await rows(cast, AMOUNTS) == [(1200000, "INR")]


async def test_it_sends_the_payer_to_a_page_with_that_price(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    opened = accepted(await pay(cast.alice, life.job, cast.bob.id))
    page = await cast.anybody.get(opened["url"])
    assert page.status_code == 200
    assert "12,000" in page.text


async def test_it_tells_the_provider_who_and_what_for(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    status = await cast.app.state.provider.find_checkout(life.session)
    assert status is not None
    payment = status.metadata.pop("paymentId")
    assert len(payment) == 24
    assert status.metadata == {
        "jobId": life.job,
        "clientId": cast.alice.id,
        "freelancerId": cast.bob.id,
    }


# -- once -------------------------------------------------------------------------------------


async def test_it_answers_with_the_session_that_is_open_already(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    first = accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert accepted(await pay(cast.alice, life.job, cast.bob.id)) == first
    assert await sessions(cast) == [first["id"]]


async def test_it_keeps_the_open_session_when_the_contract_comes_after_it(cast: Cast) -> None:
    life = await Life.begin(cast)
    first = await life.checkout()
    await life.create()
    assert await life.checkout() == first
    assert await sessions(cast) == [first]


@pytest.mark.abuse(74)
@pytest.mark.parametrize("point", ["begin", "created"])
async def test_it_opens_one_session_for_ten_who_ask_at_once(cast: Cast, point: str) -> None:
    life = await (Life.begin(cast) if point == "begin" else Life.at(cast, point))
    answers = await asyncio.gather(*(pay(cast.alice, life.job, cast.bob.id) for _ in range(10)))
    ids = {accepted(answer)["id"] for answer in answers}
    assert len(ids) == 1
    assert await sessions(cast) == list(ids)
    assert await rows(cast, STATES) == [("open",)]


async def test_it_opens_one_session_when_two_freelancers_are_wanted_at_once(cast: Cast) -> None:
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    wanted = [cast.bob.id, cast.mallet.id] * 5
    answers = await asyncio.gather(*(pay(cast.alice, life.job, one) for one in wanted))
    taken = {one for one, answer in zip(wanted, answers, strict=True) if answer.is_success}
    assert len(taken) == 1
    for one, answer in zip(wanted, answers, strict=True):
        if one not in taken:
            problem(answer, 409)
    assert len(await sessions(cast)) == 1


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.abuse(73)
async def test_it_refuses_the_job_of_somebody_else(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.mallory, life.job, cast.bob.id), 403)
    problem(await pay(cast.bob, life.job, cast.bob.id), 403)
    problem(await pay(cast.olga, life.job, cast.bob.id), 403)
    problem(await pay(cast.anybody, life.job, cast.bob.id), 401)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_a_job_that_does_not_exist(cast: Cast) -> None:
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, UNKNOWN_ID, cast.bob.id), 404)
    problem(await pay(cast.alice, "%2e%2e%2fx", cast.bob.id), 404)
    for malformed in ("xyz", UNKNOWN_ID[:-1], UNKNOWN_ID + "0", "%00"):
        problem(await pay(cast.alice, malformed, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_a_freelancer_who_cannot_be_hired(cast: Cast) -> None:
    life = await Life.begin(cast)
    before = await digest(cast.app.state.pool)
    others: list[Any] = [
        UNKNOWN_ID,
        "xyz",
        "",
        None,
        7,
        {"$ne": None},
        cast.alice.id,
        cast.mallory.id,
        cast.mallet.id,  # did not apply
    ]
    for one in others:
        problem(await pay(cast.alice, life.job, one), 400)
    missing = await cast.alice.post(f"/api/client/job/payment/{life.job}", json={"rate": 12000})
    assert problem(missing, 400)["field"] == "freelancerId"
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(73)
async def test_it_refuses_what_is_paid_for(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(73)
@pytest.mark.parametrize("point", ["completed", "released"])
async def test_it_refuses_what_was_paid_for_and_went_on(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(73)
@pytest.mark.parametrize("point", ["created", "paid", "refunded"])
async def test_it_refuses_a_canceled_contract(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    if point != "refunded":
        await life.cancel(cast.alice if point == "paid" else cast.bob)
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(73)
async def test_it_refuses_a_canceled_contract_whose_session_is_still_open(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    await life.cancel(cast.alice)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await sessions(cast) == [life.session]


async def test_it_takes_a_new_contract_after_a_canceled_one(cast: Cast) -> None:
    life = await Life.at(cast, "canceled")
    canceled = life.contract
    await life.create()
    assert life.contract != canceled
    await life.pay()
    assert (await life.seen())["escrowPaid"] is True
    assert (await life.proof())["held"] == 12000


async def test_it_refuses_another_freelancer_while_a_session_is_open(cast: Cast) -> None:
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    await life.checkout()
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.mallet.id), 409)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_another_freelancer_than_the_hired_one(cast: Cast) -> None:
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    await life.create()
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.mallet.id), 400)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_a_job_that_is_closed(cast: Cast) -> None:
    life = await Life.begin(cast)
    await close(life)
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


async def close(life: Life) -> None:
    url = f"/api/client/job/update-job/{life.job}"
    accepted(await life.cast.alice.put(url, json=life.cast.job(status="Closed")))


# -- while a session is open ------------------------------------------------------------------


async def test_it_freezes_the_rate_of_the_job(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.checkout()
    applied = accepted(await cast.bob.get("/api/freelancer/jobs/applied-jobs"))["applications"]
    accepted(await cast.bob.delete(f"/api/freelancer/jobs/cancel-application/{applied[0]['_id']}"))
    url = f"/api/client/job/update-job/{life.job}"
    before = await digest(cast.app.state.pool)
    problem(await cast.alice.put(url, json=cast.job(rate=1)), 409)
    assert await digest(cast.app.state.pool) == before
    await later(cast, DAY_SECONDS + 1)
    await life.cast.app.state.provider.expire_due()
    assert await life.rate() == 12000


# -- when a session is over -------------------------------------------------------------------


async def test_it_opens_a_new_session_when_the_old_one_is_over(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    first = await life.checkout()
    await later(cast, DAY_SECONDS - 60)
    assert await life.checkout() == first
    await later(cast, 61)
    second = await life.checkout()
    assert second != first
    assert await rows(cast, STATES) == [("expired",), ("open",)]
    await life.pay()
    assert life.session == second
    assert (await life.proof())["held"] == 12000


async def test_it_opens_one_new_session_for_ten_who_ask_when_the_old_one_is_over(
    cast: Cast,
) -> None:
    life = await Life.at(cast, "created")
    first = await life.checkout()
    await later(cast, DAY_SECONDS + 1)
    answers = await asyncio.gather(*(pay(cast.alice, life.job, cast.bob.id) for _ in range(10)))
    ids = {accepted(answer)["id"] for answer in answers}
    assert len(ids) == 1
    assert ids != {first}
    assert len(await sessions(cast)) == 2


async def test_it_opens_a_new_session_after_a_failed_one(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    first = await life.checkout()
    await fail(life)
    assert await life.checkout() != first
    await life.pay()
    assert (await life.proof())["held"] == 12000


async def fail(life: Life) -> None:
    await life.cast.app.state.provider.complete(life.session, "failed")
    for body in await provider_events(life.cast, life.session):
        assert (await post_event(life.cast, body)).status_code == 200
