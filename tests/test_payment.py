"""Opening a payment: POST /api/client/job/payment/:jobId (spec 3.1, D2)."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from checkout_event import rows, sessions
from digest import digest
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutStatus,
    Provider,
)
from life import Life, accepted, post_event, provider_events
from web import UNKNOWN_ID, Caller, Cast, problem

AMOUNTS = "SELECT amount_minor, currency FROM sandbox.session ORDER BY created_at"
STATES = "SELECT state FROM payment ORDER BY id"
DAY_SECONDS = 24 * 3600


async def pay(who: Caller, job: str, freelancer: Any, **other: Any) -> httpx.Response:
    headers = other.pop("headers", {})
    return await who.post(
        f"/api/client/job/payment/{job}",
        json={"freelancerId": freelancer, **other},
        headers=headers,
    )


async def later(cast: Cast, seconds: int) -> None:
    accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": seconds}))


class Unreachable(msgspec.Struct):
    """The sandbox provider behind a bad line: `faults` are raised first, one per call; with
    `deaf` the provider did what it was asked, but nobody heard its answer."""

    behind: Provider
    faults: list[Exception]
    deaf: bool = False
    calls: int = 0

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        self.calls += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.deaf:
            raise fault
        session = await self.behind.create_checkout(request)
        if fault is not None:
            raise fault
        return session

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        if self.faults:
            raise self.faults.pop(0)
        return await self.behind.find_checkout(session_id)

    async def expire_checkout(self, session_id: str) -> None:
        await self.behind.expire_checkout(session_id)


def cut_off(cast: Cast, *faults: Exception, deaf: bool = False) -> Unreachable:
    """Put the provider behind a bad line."""
    core = cast.app.state.core
    line = Unreachable(core.provider, list(faults), deaf)
    cast.app.state.core = msgspec.structs.replace(core, provider=line)
    return line


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


async def test_it_refuses_what_is_paid_for(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.parametrize("point", ["completed", "released"])
async def test_it_refuses_what_was_paid_for_and_went_on(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.parametrize("point", ["created", "paid", "refunded"])
async def test_it_refuses_a_canceled_contract(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    if point != "refunded":
        await life.cancel(cast.alice if point == "paid" else cast.bob)
    before = await digest(cast.app.state.pool)
    problem(await pay(cast.alice, life.job, cast.bob.id), 400)
    assert await digest(cast.app.state.pool) == before


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


# -- when the provider cannot be reached ------------------------------------------------------

FAULTS = [
    pytest.param(ProviderTransient("down"), False, id="refused"),
    pytest.param(ProviderUnknown("timed out"), False, id="lost on the way there"),
    pytest.param(ProviderUnknown("timed out"), True, id="lost on the way back"),
]


@pytest.mark.parametrize(("fault", "deaf"), FAULTS)
async def test_it_says_unavailable_and_a_retry_makes_one_session(
    cast: Cast, fault: Exception, deaf: bool
) -> None:
    life = await Life.at(cast, "created")
    line = cut_off(cast, fault, deaf=deaf)
    headers = {"Idempotency-Key": "pay once"}
    answer = await pay(cast.alice, life.job, cast.bob.id, headers=headers)
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert len(await sessions(cast)) == int(deaf)
    again = accepted(await pay(cast.alice, life.job, cast.bob.id, headers=headers))
    assert await sessions(cast) == [again["id"]]
    assert await rows(cast, STATES) == [("open",)]
    assert line.calls == 2
    await life.pay()
    assert life.session == again["id"]
    assert (await life.proof())["held"] == 12000


async def test_it_makes_one_session_though_the_job_was_renamed_before_the_retry(
    cast: Cast,
) -> None:
    life = await Life.begin(cast)
    cut_off(cast, ProviderUnknown("timed out"), deaf=True)
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    url = f"/api/client/job/update-job/{life.job}"
    accepted(await cast.alice.put(url, json=cast.job(title="Another name")))
    await pay(cast.alice, life.job, cast.bob.id)
    await life.pay()
    assert [one for (one,) in await rows(cast, STATES)].count("captured") == 1


async def test_it_starts_anew_after_the_provider_refused_for_good(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    cut_off(cast, ProviderPermanent("no such currency here"))
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    assert await sessions(cast) == []
    accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert await rows(cast, STATES) == [("failed",), ("open",)]


async def test_it_says_unavailable_while_an_old_session_cannot_be_looked_up(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    await later(cast, DAY_SECONDS + 1)
    cut_off(cast, ProviderTransient("down"))
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    assert len(await sessions(cast)) == 1
    accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert len(await sessions(cast)) == 2


async def test_it_answers_ten_at_once_over_a_line_that_breaks(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    cut_off(cast, *(ProviderUnknown("timed out") for _ in range(5)), deaf=True)
    answers = await asyncio.gather(*(pay(cast.alice, life.job, cast.bob.id) for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    again = accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert {answer.json()["id"] for answer in answers if answer.is_success} <= {again["id"]}
    assert await sessions(cast) == [again["id"]]
