"""Jobs: posting, finding, changing."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar

from earnest.app import build_app
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from web import UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

HIRE = """
INSERT INTO contract (
    id, public_id, business_id, number, buyer_id, seller_id, job_id, currency, amount_minor,
    created_at, version, commit_id, updated_at, agreement, work, dispute, tranches,
    cancel_reason, cancel_reason_description, unclaimed, event_seq, event_head
) VALUES (
    4242, '66aa00000000000000001092', 1, 'CON10000001', $1, $2, $3, 'INR', 1200000,
    now(), 1, 1, now(), 'pending', 'not_started', 'none', '{unfunded}', '', '', FALSE, 1, ''
)
"""
OPEN_PAYMENT = """
INSERT INTO payment (
    id, public_id, business_id, job_id, buyer_id, seller_id, provider_account_id, amount_minor,
    currency, metadata, created_at, version, commit_id, updated_at, state, session_url
) VALUES (
    4243, '66aa00000000000000001093', 1, $3, $1, $2, 1, 1200000, 'INR', '{}', now(), 1, 1, now(),
    $4, ''
)
"""


def day(ahead: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=ahead)).isoformat()


async def row_counts(pool: Pool) -> list[int]:
    async with pool.connection() as conn:
        return [
            await conn.fetchval(f"SELECT count(*) FROM {table}")
            for table in ("job", "job_skill", "application", "idempotency_key")
        ]


# -- create-job -----------------------------------------------------------------------------


async def test_it_answers_with_the_job(cast: Cast) -> None:
    answer = await cast.alice.post(
        "/api/client/job/create-job", json=cast.job(startDate=day(1), endDate="")
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "Job has been updated"
    job = body["job"]
    assert len(job.pop("_id")) == 24
    assert job.pop("createdAt") == job.pop("updatedAt")
    assert job == {
        "title": "Logo for a bakery",
        "description": "A logo, three drafts.",
        "rate": 12000,
        "experienceLevel": "Beginner",
        "location": "Pune",
        "clientId": cast.alice.id,
        "category": cast.category,
        "skills": [cast.skill],
        "hiredFreelancer": None,
        "applicants": 0,
        "status": "Open",
        "startDate": f"{day(1)}T00:00:00.000Z",
        "__v": 0,
    }


async def test_it_belongs_to_the_token_not_to_the_body(cast: Cast) -> None:
    body = cast.job(userId=cast.mallory.id, clientId=cast.mallory.id, status="Closed")
    body |= {"hiredFreelancer": cast.bob.id, "applicants": 9, "_id": UNKNOWN_ID}
    job = (await cast.alice.post("/api/client/job/create-job", json=body)).json()["job"]
    assert (job["clientId"], job["status"]) == (cast.alice.id, "Open")
    assert (job["hiredFreelancer"], job["applicants"]) == (None, 0)
    assert job["_id"] != UNKNOWN_ID


async def test_it_wants_all_fields(cast: Cast) -> None:
    for missing in cast.job().keys() - {"userId"}:
        body = cast.job()
        del body[missing]
        answer = await cast.alice.post("/api/client/job/create-job", json=body)
        assert problem(answer, 409)["error"] == "All fields are required"
    for missing in ("experienceLevel", "category"):
        for absent in ("", " ", "undefined", "null"):
            body = cast.job(**{missing: absent})
            answer = await cast.alice.post("/api/client/job/create-job", json=body)
            assert problem(answer, 409)["error"] == "All fields are required"


IMPOSSIBLE: list[tuple[str, Any]] = [
    ("rate", "100"),
    ("rate", True),
    ("rate", None),
    ("rate", [100]),
    ("rate", {"$gt": 0}),
    ("rate", 0),
    ("rate", -0.01),
    ("rate", 10.005),
    ("rate", 0.30000000000000004),
    ("rate", 1_000_000),
    ("title", 7),
    ("title", "two\nlines"),
    ("title", "x" * 201),
    ("description", "\u202emoc.live"),
    ("description", "nul\x00"),
    ("experienceLevel", "Guru"),
    ("category", "Design"),
    ("category", UNKNOWN_ID),
    ("skills", "Drawing"),
    ("skills", [UNKNOWN_ID]),
    ("startDate", day(-1)),
    ("startDate", "2026-02-29"),
    ("startDate", "tomorrow"),
    ("startDate", "9999-12-31"),
    ("startDate", "2099-W50-1"),
    ("endDate", day(5).replace("-", "/")),
    ("endDate", day(5) + "T99:00:00Z"),
    ("endDate", day(5) + "T10:00:00+05:30"),
    ("endDate", day(-1)),
]


async def test_it_refuses_a_job_that_cannot_be(cast: Cast, pool: Pool) -> None:
    before = await row_counts(pool)
    for field, value in IMPOSSIBLE:
        body = cast.job(**{field: value})
        problem(await cast.alice.post("/api/client/job/create-job", json=body), 400)
    assert await row_counts(pool) == before


async def test_it_refuses_an_end_before_the_start(cast: Cast) -> None:
    body = cast.job(startDate=day(5), endDate=day(4))
    answer = await cast.alice.post("/api/client/job/create-job", json=body)
    assert problem(answer, 400)["field"] == "endDate"


@pytest.mark.parametrize(
    ("literal", "rate"), [("1e2", 100), ("0.01", 0.01), ("999999.99", 999999.99), ("5.50", 5.5)]
)
async def test_it_takes_every_spelling_of_a_number(cast: Cast, literal: str, rate: float) -> None:
    text = json.dumps(cast.job(rate=424242)).replace("424242", literal)
    answer = await cast.alice.post(
        "/api/client/job/create-job", content=text, headers={"content-type": "application/json"}
    )
    assert answer.json()["job"]["rate"] == rate


async def test_it_is_for_clients(cast: Cast, api: Caller) -> None:
    problem(await api.post("/api/client/job/create-job", json=cast.job()), 401)
    for other in (cast.bob, cast.olga):
        problem(await other.post("/api/client/job/create-job", json=cast.job()), 403)


async def test_it_posts_one_job_per_idempotency_key(cast: Cast, pool: Pool) -> None:
    headers = {"Idempotency-Key": "bakery-1"}
    answers = await asyncio.gather(
        *(
            cast.alice.post("/api/client/job/create-job", json=cast.job(), headers=headers)
            for _ in range(20)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * 19
    assert (await row_counts(pool))[0] == 1
    other = await cast.alice.post(
        "/api/client/job/create-job", json=cast.job(rate=1), headers=headers
    )
    problem(other, 422)
    theirs = await cast.mallory.post("/api/client/job/create-job", json=cast.job(), headers=headers)
    assert theirs.json()["job"]["clientId"] == cast.mallory.id


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_it_refuses_a_malformed_idempotency_key(cast: Cast, key: str) -> None:
    answer = await cast.alice.post(
        "/api/client/job/create-job",
        json=cast.job(),
        headers=[(b"Idempotency-Key", key.encode("latin-1"))],
    )
    assert problem(answer, 400)["field"] == "Idempotency-Key"


# -- get-jobs, my-jobs, job-details ---------------------------------------------------------


async def titles(api: Caller, path: str = "/api/client/job/get-jobs", **query: str) -> list[str]:
    answer = await api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [job["title"] for job in answer.json()["jobs"]]


async def test_it_lists_open_jobs_page_by_page(cast: Cast, api: Caller) -> None:
    for number in range(1, 8):
        await cast.post_job(title=f"Job {number}", rate=1000 * number)
    first = (await api.get("/api/client/job/get-jobs")).json()
    assert [job["title"] for job in first["jobs"]] == ["Job 7", "Job 6", "Job 5", "Job 4"]
    assert (first["total"], first["currentPage"], first["totalPages"]) == (7, 1, 2)
    assert await titles(api, page="2") == ["Job 3", "Job 2", "Job 1"]
    assert await titles(api, page="3", limit="3") == ["Job 1"]
    assert await titles(api, sort="dateOld", limit="2") == ["Job 1", "Job 2"]
    assert await titles(api, sort="budgetLow", limit="2") == ["Job 1", "Job 2"]
    assert await titles(api, sort="budgetHigh", limit="1000") == [
        f"Job {number}" for number in range(7, 0, -1)
    ]


async def test_it_finds_text_literally(cast: Cast, api: Caller) -> None:
    for title in ("Fix 100% of it", "Fix 1000 of it", "under_score", "underXscore", "Back\\slash"):
        await cast.post_job(title=title)
    assert await titles(api, search="100%") == ["Fix 100% of it"]
    assert await titles(api, search="R_S") == ["under_score"]
    assert await titles(api, search="k\\s") == ["Back\\slash"]
    assert await titles(api, search="(a+)+$") == []
    assert await titles(api, search="' OR 1=1--") == []
    assert len(await titles(api, search="THREE DRAFTS", limit="9")) == 5


async def test_it_filters_by_experience(cast: Cast, api: Caller) -> None:
    await cast.post_job(title="Easy")
    await cast.post_job(title="Hard", experienceLevel="Expert")
    assert await titles(api, filter="Expert") == ["Hard"]


async def test_it_takes_undefined_as_absent(cast: Cast, api: Caller) -> None:
    await cast.post_job(title="Mine")
    query = dict.fromkeys(("page", "limit", "search", "sort", "filter"), "undefined")
    path = f"/api/client/job/my-jobs/{cast.alice.id}"
    assert await titles(api, path, **query) == ["Mine"]
    assert await titles(api) == ["Mine"]


NO_QUERY = [
    ("page", "1e3"),
    ("page", "1_0"),
    ("page", "\u0661\u0662"),
    ("page", "-1"),
    ("page", "0"),
    ("page", "1.5"),
    ("page", "1000000000"),
    ("page", "1000000"),
    ("page", "99999999999999999999"),
    ("limit", " 5"),
    ("limit", "0x10"),
    ("sort", "rate; DROP TABLE job"),
    ("filter", "expert"),
    ("search", "x" * 101),
    ("search", "nul\x00"),
    ("search", "\x85"),
    ("search", "\ud800"),
]


async def test_it_refuses_a_query_that_cannot_be(api: Caller) -> None:
    for field, value in NO_QUERY:
        quoted = "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "surrogatepass"))
        answer = await api.get(f"/api/client/job/get-jobs?{field}={quoted}")
        assert problem(answer, 400)["field"] == field


async def test_it_takes_a_far_page_as_empty(cast: Cast, api: Caller) -> None:
    await cast.post_job()
    assert await titles(api, page="100000") == []


async def test_it_lists_jobs_of_one_client(cast: Cast, api: Caller) -> None:
    await cast.post_job(title="Mine")
    await cast.mallory.post("/api/client/job/create-job", json=cast.job(title="Theirs"))
    assert await titles(api, f"/api/client/job/my-jobs/{cast.alice.id}") == ["Mine"]
    assert await titles(api, f"/api/client/job/my-jobs/{UNKNOWN_ID}") == []
    problem(await api.get("/api/client/job/my-jobs/xyz"), 400)


async def test_it_shows_the_address_to_its_owner_and_to_admins(cast: Cast, api: Caller) -> None:
    job = await cast.post_job()
    for viewer, sees in ((api, False), (cast.bob, False), (cast.mallory, False),
                         (cast.alice, True), (cast.olga, True)):  # fmt: skip
        listed = (await viewer.get("/api/client/job/get-jobs")).json()["jobs"][0]
        assert listed["clientId"]["name"] == "Alice"
        assert ("email" in listed["clientId"]) is sees
    details = (await cast.bob.get(f"/api/client/job/job-details/{job}")).json()["data"]
    assert details["clientId"] == {"_id": cast.alice.id, "name": "Alice"}
    assert details["category"] == {"_id": cast.category, "name": "Design"}
    assert details["skills"] == [{"_id": cast.skill, "name": "Drawing"}]


async def test_it_shows_details_to_who_is_signed_in(cast: Cast, api: Caller) -> None:
    job = await cast.post_job()
    problem(await api.get(f"/api/client/job/job-details/{job}"), 401)
    unknown = await cast.bob.get(f"/api/client/job/job-details/{UNKNOWN_ID}")
    assert problem(unknown, 404)["message"] == "Job not found"
    forged = job[:-1] + ("0" if job[-1] != "0" else "1")
    problem(await cast.bob.get(f"/api/client/job/job-details/{forged}"), 404)
    for bad in ("xyz", job[:-1], f"{job}0", "%00"):
        problem(await cast.bob.get(f"/api/client/job/job-details/{bad}"), 400)


async def test_it_answers_nobody_where_anonymous_reads_are_off(cast: Cast, database: Any) -> None:
    job = await cast.post_job()
    pool = Pool(database.app_dsn)
    strict: Litestar = build_app(make_settings(database.app_dsn, anonymous_reads=False), pool)
    paths = (
        "/api/client/job/get-jobs",
        f"/api/client/job/my-jobs/{cast.alice.id}",
        f"/api/client/job/applicants/{job}/{cast.alice.id}",
        f"/api/freelancer/jobs/applied-status/{job}/{cast.bob.id}",
    )
    async with strict.lifespan(), caller(strict) as nobody:
        for path in paths:
            problem(await nobody.get(path), 401)
            token = cast.mallory.headers["authorization"]
            somebody = await nobody.get(path, headers={"authorization": token})
            assert somebody.status_code == 200


# -- update-job -----------------------------------------------------------------------------


async def update(somebody: Caller, job: str, **changes: Any) -> Any:
    return await somebody.put(f"/api/client/job/update-job/{job}", json=changes)


async def test_it_changes_what_was_sent(cast: Cast) -> None:
    job = await cast.post_job(startDate=day(1), endDate=day(9))
    answer = await update(
        cast.alice, job, title="New", rate=99.5, skills=[], startDate="", status="Ongoing"
    )
    assert answer.status_code == 200
    changed = answer.json()["job"]
    assert (changed["title"], changed["rate"], changed["skills"]) == ("New", 99.5, [])
    assert (changed["status"], changed["location"]) == ("Ongoing", "Pune")
    assert "startDate" not in changed
    assert changed["endDate"] == f"{day(9)}T00:00:00.000Z"
    assert await titles(cast.bob) == []


async def test_it_changes_only_texts_and_status_once_somebody_applied(cast: Cast) -> None:
    job = await cast.post_job()
    applied = await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}")
    assert applied.status_code == 201
    answer = await update(
        cast.alice, job, title="New", description="Other", rate=1, location="Goa", status="Closed"
    )
    changed = answer.json()["job"]
    assert (changed["title"], changed["description"]) == ("New", "Other")
    assert (changed["rate"], changed["location"], changed["status"]) == (12000, "Pune", "Closed")


async def test_it_lets_nobody_else_change_a_job(cast: Cast) -> None:
    job = await cast.post_job()
    problem(await update(cast.mallory, job, title="Mine now"), 403)
    problem(await update(cast.bob, job, title="Mine now"), 403)
    problem(await update(cast.alice, UNKNOWN_ID, title="Mine now"), 404)
    problem(await update(cast.alice, job, rate=0), 400)
    problem(await update(cast.alice, job, status="Done"), 400)
    details = (await cast.alice.get(f"/api/client/job/job-details/{job}")).json()["data"]
    assert (details["title"], details["rate"]) == ("Logo for a bakery", 12000)
    assert details["clientId"]["_id"] == cast.alice.id


@pytest.mark.parametrize("state", ["opening", "open", "processing", "parked"])
async def test_it_freezes_the_rate_while_a_payment_is_under_way(
    cast: Cast, pool: Pool, state: str
) -> None:
    job = await cast.post_job()
    async with pool.connection() as conn:
        await conn.execute(
            OPEN_PAYMENT, cast.alice.actor.key, cast.bob.actor.key, key_of(PublicId(job)), state
        )
    problem(await update(cast.alice, job, rate=1, title="Cheap"), 409)
    answer = await update(cast.alice, job, rate=12000.00, title="Same")
    assert answer.json()["job"]["title"] == "Same"


async def test_it_is_closed_by_its_live_contract(cast: Cast, api: Caller, pool: Pool) -> None:
    job = await cast.post_job()
    async with pool.connection() as conn:
        await conn.execute(HIRE, cast.alice.actor.key, cast.bob.actor.key, key_of(PublicId(job)))
    assert await titles(api) == []
    details = (await cast.bob.get(f"/api/client/job/job-details/{job}")).json()["data"]
    assert (details["status"], details["hiredFreelancer"]) == ("Closed", cast.bob.id)
    problem(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{job}"), 400)
    changed = (await update(cast.alice, job, rate=1, status="Closed", title="T")).json()["job"]
    assert (changed["rate"], changed["title"], changed["status"]) == (12000, "T", "Closed")
    async with pool.connection() as conn:
        await conn.execute("UPDATE contract SET agreement = 'cancelled'")
    details = (await cast.bob.get(f"/api/client/job/job-details/{job}")).json()["data"]
    assert (details["status"], details["hiredFreelancer"]) == ("Open", None)
