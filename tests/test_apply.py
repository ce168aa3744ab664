"""Applying for a job, and thinking better of it."""

import asyncio

import pytest

from earnest.store.db import Pool
from web import UNKNOWN_ID, Caller, Cast, problem


async def apply(somebody: Caller, job: str) -> str:
    answer = await somebody.post(
        f"/api/freelancer/jobs/apply-job/{job}",
        headers={"content-type": "application/json", "content-length": "0"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["application"]["_id"])


async def test_it_answers_with_the_application(cast: Cast, api: Caller) -> None:
    job = await cast.post_job()
    answer = await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}")
    assert answer.status_code == 201
    body = answer.json()
    assert body["message"]
    application = body["application"]
    assert (application["jobId"], application["freelancerId"]) == (job, cast.bob.id)
    assert application["isApplied"] is True
    status = f"/api/freelancer/jobs/applied-status/{job}"
    assert (await api.get(f"{status}/{cast.bob.id}")).json() == {"application": application}
    assert (await api.get(f"{status}/{cast.alice.id}")).json() == {"application": None}
    listed = (await api.get("/api/client/job/get-jobs")).json()["jobs"][0]
    assert listed["applicants"] == 1


async def test_it_shows_applicants_to_hire(cast: Cast, api: Caller) -> None:
    job = await cast.post_job()
    await apply(cast.bob, job)
    await apply(cast.mallet, job)
    answer = await api.get(f"/api/client/job/applicants/{job}/{cast.alice.id}")
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"]
    assert [one["freelancerId"]["userId"] for one in body["applicants"]] == [
        cast.mallet.id,
        cast.bob.id,
    ]
    profile = body["applicants"][1]["freelancerId"]
    assert profile["firstName"] == "Bob"
    assert profile["_id"] != cast.bob.id
    assert "@" not in answer.text
    problem(await api.get(f"/api/client/job/applicants/{job}/{cast.mallory.id}"), 403)
    problem(await api.get(f"/api/client/job/applicants/{UNKNOWN_ID}/{cast.alice.id}"), 404)
    problem(await api.get(f"/api/client/job/applicants/{job}/xyz"), 400)


async def test_it_lists_what_one_applied_for(cast: Cast) -> None:
    first, second = await cast.post_job(title="First"), await cast.post_job(title="Second")
    await apply(cast.bob, first)
    await apply(cast.bob, second)
    await apply(cast.mallet, first)
    applications = (await cast.bob.get("/api/freelancer/jobs/applied-jobs")).json()["applications"]
    assert [one["jobId"]["title"] for one in applications] == ["Second", "First"]
    assert applications[0]["jobId"]["clientId"] == {"_id": cast.alice.id, "name": "Alice"}


async def test_it_counts_once(cast: Cast, pool: Pool) -> None:
    job = await cast.post_job()
    path = f"/api/freelancer/jobs/apply-job/{job}"
    answers = await asyncio.gather(*(cast.bob.post(path) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM application") == 1


async def test_it_repeats_its_reply_for_the_same_key(cast: Cast) -> None:
    job = await cast.post_job()
    path = f"/api/freelancer/jobs/apply-job/{job}"
    headers = {"Idempotency-Key": "apply-1"}
    answers = await asyncio.gather(*(cast.bob.post(path, headers=headers) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    other = await cast.post_job()
    answer = await cast.bob.post(f"/api/freelancer/jobs/apply-job/{other}", headers=headers)
    problem(answer, 422)


async def test_it_does_not_keep_a_refusal(cast: Cast) -> None:
    job = await cast.post_job()
    closed = await cast.alice.put(f"/api/client/job/update-job/{job}", json={"status": "Closed"})
    assert closed.status_code == 200
    path = f"/api/freelancer/jobs/apply-job/{job}"
    headers = {"Idempotency-Key": "apply-1"}
    answer = await cast.bob.post(path, headers=headers)
    assert problem(answer, 400)["error"] == "Job is closed, or hired someone"
    await cast.alice.put(f"/api/client/job/update-job/{job}", json={"status": "Open"})
    assert (await cast.bob.post(path, headers=headers)).status_code == 201


async def test_it_is_for_freelancers(cast: Cast, api: Caller) -> None:
    job = await cast.post_job()
    path = f"/api/freelancer/jobs/apply-job/{job}"
    problem(await api.post(path), 401)
    for other in (cast.alice, cast.olga):
        problem(await other.post(path), 403)


@pytest.mark.parametrize(
    ("job", "status"), [("xyz", 400), (UNKNOWN_ID[:-1], 400), (UNKNOWN_ID, 404)]
)
async def test_it_wants_a_job(cast: Cast, job: str, status: int) -> None:
    problem(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}"), status)


async def test_it_can_be_withdrawn_by_its_freelancer(cast: Cast) -> None:
    job = await cast.post_job()
    application = await apply(cast.bob, job)
    path = f"/api/freelancer/jobs/cancel-application/{application}"
    problem(await cast.mallet.delete(path), 403)
    problem(await cast.alice.delete(path), 403)
    answer = await cast.bob.delete(path, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (200, ["message"])
    problem(await cast.bob.delete(path), 404)
    problem(await cast.bob.delete("/api/freelancer/jobs/cancel-application/xyz"), 400)
    assert (await cast.bob.get("/api/freelancer/jobs/applied-jobs")).json() == {"applications": []}
    await apply(cast.bob, job)
