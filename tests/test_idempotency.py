"""Idempotency-Key: a request is carried out once, and its answer comes again (rows 95 to 100).

Scope = caller, method and route; the key is bound to the concrete path, query and raw body.
"""

from typing import Any

import httpx
import pytest

from checkout_event import rows, sessions
from digest import digest
from life import Life, accepted
from repeats import RECORDS, REPLAYED, Request, creating, of_job, paying, refunding, releasing, same
from web import Caller, Cast, problem

BLOCK = "UPDATE login SET status = 'Blocked' WHERE party_id = $1"


# -- the same again ---------------------------------------------------------------------------


@pytest.mark.abuse(95)
async def test_it_answers_every_step_of_a_life_again_now_and_later(cast: Cast) -> None:
    alice, bob = cast.alice, cast.bob
    told: list[tuple[Request, httpx.Response]] = []

    async def do(who: Caller, method: str, url: str, json: Any = None) -> Any:
        request = Request(who, method, url, json, key=f"step {len(told)}")
        first = await request.send()
        before = await digest(cast.app.state.pool)
        same(first, await request.send())
        assert await digest(cast.app.state.pool) == before
        told.append((request, first))
        return first.json()

    job = (await do(alice, "POST", "/api/client/job/create-job", cast.job()))["job"]["_id"]
    await do(alice, "PUT", f"/api/client/job/update-job/{job}", cast.job(title="Renamed"))
    await do(bob, "POST", f"/api/freelancer/jobs/apply-job/{job}")
    hire = {"freelancerId": bob.id, "amount": 12000}
    made = await do(alice, "POST", f"/api/client/contract/create-contract/{job}", hire)
    life = Life(cast, job, made["contract"]["_id"])
    opened = await do(alice, "POST", of_job(life, "job/payment"), {"freelancerId": bob.id})
    await life.pay()
    assert life.session == opened["id"]
    own = f"/api/freelancer/contract/approve-contract/{life.contract}/{bob.id}"
    await do(bob, "POST", own)
    status = f"/api/freelancer/contract/update-status/{life.contract}"
    await do(bob, "PUT", status, {"status": "Ongoing"})
    await do(bob, "PUT", status, {"status": "Completed"})
    await do(alice, "PATCH", f"/api/client/release-fund/{life.contract}")
    await do(cast.olga, "PUT", f"/api/admin/escrow/release-fund/{life.contract}")

    before = await digest(cast.app.state.pool)
    for request, first in told:
        same(first, await request.send())
    assert await digest(cast.app.state.pool) == before
    assert await life.wallet(bob) == 10800


@pytest.mark.abuse(95)
async def test_it_answers_a_cancel_and_a_refund_again(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    cancel = Request(cast.alice, "DELETE", f"/api/client/cancel-contract/{life.contract}")
    first = await cancel.send()
    refunded = await refunding(life).send()
    before = await digest(cast.app.state.pool)
    same(first, await cancel.send())
    same(refunded, await refunding(life).send())
    assert await digest(cast.app.state.pool) == before
    assert await life.wallet(cast.alice) == 10800


async def test_it_answers_again_for_a_session_that_was_open_already(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    first = await paying(life).send()
    assert first.json()["id"] == life.session
    accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 90_000}))
    same(first, await paying(life).send())
    assert len(await sessions(cast)) == 1
    fresh = await paying(life).send(key="another key")
    assert fresh.json()["id"] != life.session


async def test_it_answers_a_job_and_an_application_again(cast: Cast) -> None:
    job = Request(cast.alice, "POST", "/api/client/job/create-job", cast.job())
    first = await job.send()
    same(first, await job.send())
    mine = f"/api/client/job/my-jobs/{cast.alice.id}"
    assert accepted(await cast.alice.get(mine))["total"] == 1
    url = f"/api/freelancer/jobs/apply-job/{first.json()['job']['_id']}"
    apply = Request(cast.bob, "POST", url)
    applied = await apply.send()
    same(applied, await apply.send())
    problem(await apply.send(key="another key"), 409)
    application = applied.json()["application"]["_id"]
    back = Request(cast.bob, "DELETE", f"/api/freelancer/jobs/cancel-application/{application}")
    same(await back.send(), await back.send())
    same(applied, await apply.send())
    assert accepted(await cast.bob.get("/api/freelancer/jobs/applied-jobs"))["applications"] == []


async def test_it_keeps_the_keys_of_what_moves_money_for_ever(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await releasing(life).send()
    other = await Life.at(cast, "created")
    await paying(other).send()
    await other.pay()
    await refunding(other).send()
    apply = "/api/freelancer/jobs/apply-job/" + await cast.post_job()
    await Request(cast.bob, "POST", apply).send()
    kept = dict(await rows(cast, RECORDS))
    assert kept == {
        "PUT /api/admin/escrow/release-fund/{contract_id}": True,
        "PUT /api/admin/escrow/refund-client/{contract_id}/{client_id}": True,
        "POST /api/client/job/payment/{job_id}": True,
        "POST /api/freelancer/jobs/apply-job/{job_id}": False,
    }


# -- without a key ----------------------------------------------------------------------------


async def test_it_refuses_a_second_release_without_a_key(cast: Cast) -> None:
    life = await Life.at(cast, "released")
    before = await digest(cast.app.state.pool)
    again = await cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}")
    refused = problem(again, 400)
    assert refused["error"] == "Funds have already been released for this contract."
    problem(await releasing(life).send(), 400)
    assert await digest(cast.app.state.pool) == before


# -- the same key for something else ----------------------------------------------------------


async def test_it_refuses_the_key_for_another_body(cast: Cast) -> None:
    life = await Life.begin(cast)
    request = creating(life)
    first = await request.send()
    before = await digest(cast.app.state.pool)
    others: list[Any] = [
        {**request.json, "amount": 1},
        {**request.json, "freelancerId": cast.mallet.id},
        {**request.json, "extra": None},
        dict(reversed(request.json.items())),  # the same to JSON, but other bytes
    ]
    for other in others:
        refused = problem(await request.send(json=other), 422)
        assert refused["code"] == "idempotency_key_reused"
    assert await digest(cast.app.state.pool) == before
    same(first, await request.send())


async def test_it_refuses_the_key_for_another_contract(cast: Cast) -> None:
    life, other = await Life.at(cast, "requested"), await Life.at(cast, "requested")
    first = await releasing(life).send()
    before = await digest(cast.app.state.pool)
    problem(await releasing(other).send(), 422)
    problem(await releasing(life).send(url=f"{releasing(life).url}?again=1"), 422)
    problem(await releasing(life).send(json={}), 422)
    assert await digest(cast.app.state.pool) == before
    same(first, await releasing(life).send())
    assert (await releasing(other).send(key="another key")).status_code == 200
    assert await life.wallet(cast.bob) == 21600


async def test_it_refuses_the_key_for_another_job_of_a_plain_route(cast: Cast) -> None:
    urls = [f"/api/freelancer/jobs/apply-job/{await cast.post_job()}" for _ in range(2)]
    first = Request(cast.bob, "POST", urls[0])
    assert (await first.send()).status_code == 201
    before = await digest(cast.app.state.pool)
    problem(await first.send(url=urls[1]), 422)
    problem(await first.send(url=f"{urls[0]}?x"), 422)
    assert await digest(cast.app.state.pool) == before


async def test_it_takes_the_same_key_on_another_route(cast: Cast) -> None:
    life = await Life.begin(cast)
    assert (await creating(life).send()).status_code == 201
    paid = await paying(life).send()
    assert (paid.status_code, paid.headers.get(REPLAYED)) == (200, None)
    deployed = of_job(life, "contract/create-contract")
    problem(await creating(life).send(url=deployed), 400)  # another route: the contract exists


@pytest.mark.abuse(98)
async def test_it_takes_the_same_key_from_somebody_else(cast: Cast) -> None:
    mine = Request(cast.alice, "POST", "/api/client/job/create-job", cast.job())
    first = await mine.send()
    hers = await mine.send(who=cast.mallory, json=cast.job())
    assert (hers.status_code, hers.headers.get(REPLAYED)) == (200, None)
    assert hers.json()["job"]["clientId"] == cast.mallory.id
    assert hers.json()["job"]["_id"] != first.json()["job"]["_id"]
    same(first, await mine.send())


@pytest.mark.abuse(98)
async def test_it_shows_no_reply_to_somebody_else(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    created = creating(await Life.begin(cast))
    assert (await releasing(life).send()).is_success
    assert (await created.send()).is_success
    before = await digest(cast.app.state.pool)
    for who, status in ((cast.alice, 403), (cast.bob, 403), (cast.anybody, 401)):
        problem(await releasing(life).send(who=who), status)
    problem(await created.send(who=cast.mallory), 403)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(98)
async def test_it_shows_no_reply_to_somebody_who_was_blocked_since(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await releasing(life).send()
    job = Request(cast.alice, "POST", "/api/client/job/create-job", cast.job())
    await job.send()
    async with cast.app.state.pool.connection() as conn:
        for who in (cast.olga, cast.alice):
            await conn.execute(BLOCK, who.actor.key)
    problem(await releasing(life).send(), 403)
    problem(await job.send(), 403)


# -- refusals leave no record -----------------------------------------------------------------


async def test_it_carries_out_what_was_refused_before(cast: Cast) -> None:
    job = await cast.post_job()
    early = creating(Life(cast, job))
    problem(await early.send(), 400)  # Bob did not apply
    life = await Life.at(cast, "completed")
    problem(await releasing(life).send(), 400)  # Alice did not ask
    assert await rows(cast, RECORDS) == []
    accepted(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}"), 201)
    same(await early.send(), await early.send())
    await life.request()
    same(await releasing(life).send(), await releasing(life).send())


async def test_it_says_that_the_key_is_used_before_it_says_what_is_wrong(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await releasing(life).send()
    unknown = releasing(life).url.replace(life.contract, "66aa00000000000000000a01")
    problem(await releasing(life).send(url=unknown), 422)
    problem(await releasing(life).send(url=unknown, key="another key"), 404)


# -- the header -------------------------------------------------------------------------------

BAD_KEYS = [b"", b" ", b"   ", b"x" * 256, b"\xff", "é".encode(), b"a\x7f", b"a\x1fb", b" a", b"a "]


async def test_it_refuses_a_key_that_is_not_1_to_255_printable_characters(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    job = f"/api/client/job/update-job/{life.job}"
    before = await digest(cast.app.state.pool)
    twice = [(b"Idempotency-Key", b"a"), (b"idempotency-key", b"a")]
    for headers in [*([(b"Idempotency-Key", bad)] for bad in BAD_KEYS), twice]:
        for answer in (
            await cast.olga.put(releasing(life).url, headers=headers),
            await cast.alice.put(job, headers=headers, json=cast.job()),
        ):
            assert problem(answer, 400)["field"] == "Idempotency-Key", headers
    assert await digest(cast.app.state.pool) == before


async def test_it_takes_any_other_key(cast: Cast) -> None:
    for key in ("x", "a b", "~!@#$%^&*()", "x" * 255, "'; DROP TABLE transfer"):
        request = Request(cast.alice, "POST", "/api/client/job/create-job", cast.job(), key)
        same(await request.send(), await request.send())


async def test_it_tells_keys_apart_by_case(cast: Cast) -> None:
    request = Request(cast.alice, "POST", "/api/client/job/create-job", cast.job(), "Key")
    first, second = await request.send(), await request.send(key="key")
    assert REPLAYED not in second.headers
    assert first.json()["job"]["_id"] != second.json()["job"]["_id"]


# -- where it means nothing -------------------------------------------------------------------


async def test_it_is_not_for_signing_in_nor_for_reading(cast: Cast) -> None:
    headers = {"Idempotency-Key": "the key"}
    body = {"email": cast.alice.email, "password": "Sun$hine9"}
    answers = [await cast.anybody.post("/api/auth/login", json=body, headers=headers) for _ in "ab"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["accessToken"] != answers[1].json()["accessToken"]
    read = await cast.alice.get("/api/client/job/get-jobs", headers=headers)
    assert REPLAYED not in read.headers
    assert await rows(cast, RECORDS) == []
