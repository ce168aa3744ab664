"""Idempotency-Key: fifty requests at once have one effect (rows 95 to 100)."""

import asyncio

import httpx
import pytest

from checkout_event import cash_minor, rows, sessions
from life import Life, accepted
from repeats import RECORDS, REPLAYED, Request, creating, paying, refunding, releasing, same
from web import Cast, problem


def one_effect(answers: list[httpx.Response]) -> httpx.Response:
    """All are the same answer, and exactly one was not a repetition."""
    (first,) = [answer for answer in answers if REPLAYED not in answer.headers]
    for answer in answers:
        if answer is not first:
            same(first, answer)
    return first


async def fifty(request: Request) -> list[httpx.Response]:
    return list(await asyncio.gather(*(request.send() for _ in range(50))))


@pytest.mark.abuse(97)
async def test_it_creates_one_contract_for_fifty_at_once(cast: Cast) -> None:
    life = await Life.begin(cast)
    first = one_effect(await fifty(creating(life)))
    assert first.status_code == 201
    listed = accepted(await cast.alice.get(f"/api/client/get-contracts/{cast.alice.id}"))
    assert [one["_id"] for one in listed["data"]] == [first.json()["contract"]["_id"]]


@pytest.mark.abuse(97)
async def test_it_releases_once_for_fifty_at_once(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    one_effect(await fifty(releasing(life)))
    assert await life.wallet(cast.bob) == 10800
    proof = await life.proof()
    assert (proof["toFreelancer"], proof["fees"], proof["held"]) == (10800, 1200, 0)


@pytest.mark.abuse(97)
async def test_it_refunds_once_for_fifty_at_once(cast: Cast) -> None:
    life = await Life.at(cast, "canceled")
    one_effect(await fifty(refunding(life)))
    assert (await life.wallet(cast.alice), (await life.proof())["held"]) == (10800, 0)
    assert await cash_minor(cast) == 1200000


@pytest.mark.abuse(97)
async def test_it_opens_one_session_for_fifty_at_once(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    answers = await fifty(paying(life))
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert await sessions(cast) == [answers[0].json()["id"]]
    assert len(await rows(cast, RECORDS)) == 1


async def test_it_posts_one_job_for_fifty_at_once(cast: Cast) -> None:
    one_effect(await fifty(Request(cast.alice, "POST", "/api/client/job/create-job", cast.job())))
    mine = f"/api/client/job/my-jobs/{cast.alice.id}"
    assert accepted(await cast.alice.get(mine))["total"] == 1


async def test_it_carries_out_one_of_two_requests_with_one_key_at_once(cast: Cast) -> None:
    life, other = await Life.at(cast, "requested"), await Life.at(cast, "requested")
    wanted = [releasing(life), releasing(other)] * 25
    answers = await asyncio.gather(*(one.send() for one in wanted))
    done = [answer for answer in answers if answer.is_success]
    assert len(done) == 25
    one_effect(done)
    for answer in answers:
        if not answer.is_success:
            problem(answer, 422)
    assert await life.wallet(cast.bob) == 10800


async def test_it_carries_out_fifty_keys_of_one_release_once(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    requests = [releasing(life) for _ in range(50)]
    answers = await asyncio.gather(
        *(one.send(key=f"key {number}") for number, one in enumerate(requests))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    assert await life.wallet(cast.bob) == 10800
    assert len(await rows(cast, RECORDS)) == 1
