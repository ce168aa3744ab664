"""C1: hiring, POST /api/client/create-contract/{jobId}."""

import re
import time
from typing import Any

import httpx
import pytest

from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import UNKNOWN_ID, Caller, Cast, problem

PATHS = ("/api/client/create-contract", "/api/client/contract/create-contract")
NUMBER = re.compile(r"CON[1-9][0-9]{7}")
OBJECT_ID = re.compile(r"[0-9a-f]{24}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def create(
    who: Caller, job: str, freelancer: Any, amount: Any = 12000, path: str = PATHS[0]
) -> httpx.Response:
    return await who.post(f"{path}/{job}", json={"freelancerId": freelancer, "amount": amount})


async def create_raw(who: Caller, job: str, body: str | bytes, **headers: str) -> httpx.Response:
    headers = {"Content-Type": "application/json", **headers}
    return await who.post(f"{PATHS[0]}/{job}", content=body, headers=headers)


async def job_of(cast: Cast, job: str) -> Any:
    return accepted(await cast.alice.get(f"/api/client/job/job-details/{job}"))["data"]


# -- happy path -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_it_answers_with_the_contract(cast: Cast, path: str) -> None:
    life = await Life.begin(cast)
    answer = await create(cast.alice, life.job, cast.bob.id, path=path)
    body = accepted(answer, 201)
    assert body.keys() == {"message", "contract"}
    assert body["message"] == "Job contract has been created"
    contract = body["contract"]
    assert OBJECT_ID.fullmatch(contract.pop("_id"))
    assert NUMBER.fullmatch(contract.pop("contractId"))
    assert INSTANT.fullmatch(contract["createdAt"])
    assert contract.pop("createdAt") == contract.pop("updatedAt")
    assert contract == {
        "jobId": life.job,
        "clientId": cast.alice.id,
        "freelancerId": cast.bob.id,
        "isApproved": False,
        "status": "Pending",
        "amount": 12000,
        "escrowPaid": False,
        "canceledBy": None,
        "cancelReason": "",
        "cancelReasonDescription": "",
        "releaseFundStatus": "NotRequested",
        "isDeleted": False,
        "statusHistory": [],
        "__v": 0,
    }


async def test_it_closes_the_job_and_hires(cast: Cast) -> None:
    life = await Life.begin(cast)
    before = await job_of(cast, life.job)
    assert (before["status"], before["hiredFreelancer"]) == ("Open", None)
    await life.create()
    after = await job_of(cast, life.job)
    assert (after["status"], after["hiredFreelancer"]) == ("Closed", cast.bob.id)
    listed = accepted(await cast.anybody.get("/api/client/job/get-jobs"))
    assert listed["jobs"] == []


async def test_it_reads_only_what_a_client_may_say(cast: Cast) -> None:
    life = await Life.begin(cast)
    body = {
        "freelancerId": cast.bob.id,
        "amount": 12000,
        "_id": UNKNOWN_ID,
        "contractId": "CON11111111",
        "clientId": cast.mallory.id,
        "status": "Completed",
        "isApproved": True,
        "escrowPaid": True,
        "releaseFundStatus": "Approved",
        "canceledBy": "Client",
        "statusHistory": [{"status": "Completed"}],
        "isDeleted": True,
        "__v": 7,
    }
    contract = accepted(await cast.alice.post(f"{PATHS[0]}/{life.job}", json=body), 201)["contract"]
    assert contract["_id"] != UNKNOWN_ID
    assert contract["contractId"] != "CON11111111"
    assert contract["clientId"] == cast.alice.id
    assert (contract["status"], contract["isApproved"]) == ("Pending", False)
    assert (contract["escrowPaid"], contract["releaseFundStatus"]) == (False, "NotRequested")
    assert (contract["canceledBy"], contract["isDeleted"], contract["__v"]) == (None, False, 0)
    assert contract["statusHistory"] == []


async def test_it_numbers_every_contract_differently(cast: Cast) -> None:
    numbers, ids = set(), []
    for _ in range(40):
        life = await Life.begin(cast)
        contract = accepted(await create(cast.alice, life.job, cast.bob.id), 201)["contract"]
        assert NUMBER.fullmatch(contract["contractId"])
        numbers.add(contract["contractId"])
        ids.append(contract["_id"])
    assert len(numbers) == 40
    assert ids == sorted(ids)


SPELLINGS = [
    (100, "1e2"),
    (100, "100.00"),
    (100, "1.0E+2"),
    (12000, "12000"),
    (99.99, "99.99"),
    (99.9, "99.90"),
    (0.01, "0.01"),
    (0.05, "0.0500"),
    (999999.99, "999999.99"),
]


async def test_it_takes_the_rate_in_any_spelling(cast: Cast) -> None:
    for rate, written in SPELLINGS:
        life = await Life.begin(cast, rate)
        body = f'{{"freelancerId":"{cast.bob.id}","amount":{written}}}'
        contract = accepted(await create_raw(cast.alice, life.job, body), 201)["contract"]
        assert contract["amount"] == rate


async def test_it_takes_the_freelancer_in_capitals(cast: Cast) -> None:
    life = await Life.begin(cast)
    answer = await create(cast.alice, life.job.upper(), cast.bob.id.upper())
    contract = accepted(answer, 201)["contract"]
    assert (contract["jobId"], contract["freelancerId"]) == (life.job, cast.bob.id)


async def test_it_keeps_the_amount_when_the_job_changes(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await cast.alice.put(f"/api/client/job/update-job/{life.job}", json={"rate": 1})
    assert (await life.seen())["amount"] == 12000


# -- after a payment (D2) ---------------------------------------------------------------------


async def test_it_returns_the_contract_that_the_payment_created_once(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.pay()
    path = f"/api/client/is-created/{life.job}/{cast.alice.id}"
    made_by_payment = accepted(await cast.alice.get(path))["contract"]
    assert made_by_payment["escrowPaid"] is True

    claimed = accepted(await create(cast.alice, life.job, cast.bob.id), 201)["contract"]
    assert (claimed["_id"], claimed["status"]) == (made_by_payment["_id"], "Pending")
    assert (claimed["amount"], claimed["escrowPaid"]) == (12000, True)
    asked_again = create(cast.alice, life.job, cast.bob.id)
    await refused(cast, asked_again, 400, "Contract is already exist")


async def test_it_returns_that_contract_to_nobody_else(cast: Cast) -> None:
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    await life.pay()
    await refused(cast, create(cast.mallory, life.job, cast.bob.id), 403)
    await refused(cast, create(cast.alice, life.job, cast.mallet.id), 400)
    await refused(cast, create(cast.alice, life.job, cast.bob.id, 11999.99), 400)
    accepted(await create(cast.alice, life.job, cast.bob.id), 201)


# -- refusals: the body -----------------------------------------------------------------------

NOT_A_NUMBER = "amount must be a number"
TOO_LITTLE = "amount must be greater than 0"
TOO_FINE = "amount must have at most 2 decimals in INR"
OUT_OF_RANGE = "out of range"
NOT_THE_RATE = "amount must be the rate of the job"
NOT_JSON = "The body is not valid JSON"
NOT_AMOUNTS = {
    '"12000"': NOT_A_NUMBER,
    '" 12000 "': NOT_A_NUMBER,
    '"12_000"': NOT_A_NUMBER,
    "true": NOT_A_NUMBER,
    "null": NOT_A_NUMBER,
    "[12000]": NOT_A_NUMBER,
    '{"$gt":0}': NOT_A_NUMBER,
    "0": TOO_LITTLE,
    "-0": TOO_LITTLE,
    "-0.0": TOO_LITTLE,
    "-0.01": TOO_LITTLE,
    "-12000": TOO_LITTLE,
    "0.30000000000000004": TOO_FINE,
    "12000.001": TOO_FINE,
    "12000.0000000000000000001": TOO_FINE,
    "1e309": OUT_OF_RANGE,
    "1e999999": OUT_OF_RANGE,
    "-1e309": OUT_OF_RANGE,
    "1e-400": OUT_OF_RANGE,
    "9007199254740993": "amount must be",
    "11999.99": NOT_THE_RATE,
    "12000.01": NOT_THE_RATE,
    "12001": NOT_THE_RATE,
    "1200000": NOT_THE_RATE,
    "120": NOT_THE_RATE,
    "0.01": NOT_THE_RATE,
    "999999.99": NOT_THE_RATE,
    "NaN": "",
    "Infinity": "",
    "-Infinity": "",
    "12_000": NOT_JSON,
    "012000": NOT_JSON,
    "+12000": NOT_JSON,
    ".5": NOT_JSON,
    "0x2ee0": NOT_JSON,
}


async def test_it_wants_the_rate_of_the_job_as_a_number(cast: Cast) -> None:
    life = await Life.begin(cast)
    for written, why in NOT_AMOUNTS.items():
        body = f'{{"freelancerId":"{cast.bob.id}","amount":{written}}}'
        text = await refused(cast, create_raw(cast.alice, life.job, body), 400)
        assert why in text, written
    accepted(await create(cast.alice, life.job, cast.bob.id), 201)


async def test_it_refuses_long_numbers_at_once(cast: Cast) -> None:
    life = await Life.begin(cast)
    for digits in (41, 400, 5_000, 60_000):
        body = f'{{"freelancerId":"{cast.bob.id}","amount":{"9" * digits}}}'
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            problem(await create_raw(cast.alice, life.job, body), 400)
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < 0.05


@pytest.mark.abuse(13)
async def test_it_names_the_field_that_is_missing(cast: Cast) -> None:
    life = await Life.begin(cast)
    url = f"{PATHS[0]}/{life.job}"
    for body, field in (
        ({}, "freelancerId"),
        ({"amount": 12000}, "freelancerId"),
        ({"freelancerId": cast.bob.id}, "amount"),
        ({"FreelancerId": cast.bob.id, "amount": 12000}, "freelancerId"),
    ):
        text = await refused(cast, cast.alice.post(url, json=body), 400)
        assert field in text
    assert "freelancerId" in await refused(cast, cast.alice.post(url), 400)


NOT_IDS = ("", "xyz", "6" * 23, "6" * 25, "%00", "../x", 7, None, True, ["6" * 24], {"$ne": None})


@pytest.mark.abuse(43)
async def test_it_wants_an_id_as_freelancer(cast: Cast) -> None:
    life = await Life.begin(cast)
    for freelancer in NOT_IDS:
        text = await refused(cast, create(cast.alice, life.job, freelancer), 400)
        assert text.startswith("freelancerId must be"), freelancer


async def test_it_wants_one_plain_json_object(cast: Cast) -> None:
    life = await Life.begin(cast)
    alice, bob = cast.alice, cast.bob.id
    for body in (
        "",
        "{",
        "null",
        "[]",
        '"x"',
        f'[{{"freelancerId":"{bob}","amount":12000}}]',
        f'{{"freelancerId":"{bob}","amount":12000,}}',
        f'{{"freelancerId":"{bob}","amount":12000}} x',
        f"{{'freelancerId':'{bob}','amount':12000}}",
        f'{{"freelancerId":"{bob}","amount":1,"amount":12000}}',
        f'{{"freelancerId":"{bob}","amount":12000,"\\u0061mount":12000}}',
        f'{{"freelancerId":"{bob}\\u0000","amount":12000}}',
        f'\ufeff{{"freelancerId":"{bob}","amount":12000}}',
        f'{{"freelancerId":"{bob}","amount":12000}}'.encode("utf-16"),
        b'{"freelancerId":"\xff\xfe","amount":12000}',
    ):
        await refused(cast, create_raw(alice, life.job, body), 400)
    good = f'{{"freelancerId":"{bob}","amount":12000}}'
    text = {"Content-Type": "text/plain"}
    await refused(cast, create_raw(alice, life.job, good, **text), 415)
    zipped = {"Content-Encoding": "gzip"}
    await refused(cast, create_raw(alice, life.job, good, **zipped), 415)
    long = good + " " * 65_536
    await refused(cast, create_raw(alice, life.job, long), 413)


# -- refusals: the rules ----------------------------------------------------------------------


async def test_it_wants_a_known_job(cast: Cast) -> None:
    life = await Life.begin(cast)
    await refuses_ids(cast, lambda job: create(cast.alice, job, cast.bob.id), life.job)


@pytest.mark.abuse(40)
async def test_it_refuses_another_clients_job(cast: Cast) -> None:
    life = await Life.begin(cast)
    for path in PATHS:
        asked = create(cast.mallory, life.job, cast.bob.id, path=path)
        await refused(cast, asked, 403, "This job is not yours.")


@pytest.mark.abuse(40)
async def test_it_refuses_a_job_that_its_client_closed(cast: Cast) -> None:
    life = await Life.begin(cast)
    closing = await cast.alice.put(
        f"/api/client/job/update-job/{life.job}", json={"status": "Closed"}
    )
    accepted(closing)
    asked = create(cast.alice, life.job, cast.bob.id)
    await refused(cast, asked, 400, "Job is closed, or hired someone")


async def test_it_refuses_a_second_contract_for_a_job(cast: Cast) -> None:
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    await life.create()
    again = create(cast.alice, life.job, cast.bob.id)
    await refused(cast, again, 400, "Contract is already exist")
    await refused(cast, create(cast.alice, life.job, cast.mallet.id), 400)


async def test_it_refuses_a_second_contract_at_any_point(cast: Cast) -> None:
    for point in ("paid", "started", "ongoing", "completed", "requested", "released"):
        life = await Life.at(cast, point)
        again = create(cast.alice, life.job, cast.bob.id)
        await refused(cast, again, 400, "Contract is already exist")


@pytest.mark.abuse(41)
async def test_it_refuses_who_did_not_apply(cast: Cast) -> None:
    life = await Life.begin(cast)
    asked = create(cast.alice, life.job, cast.mallet.id)
    await refused(cast, asked, 400, "Freelancers not applied")


@pytest.mark.abuse(41)
async def test_it_refuses_who_took_the_application_back(cast: Cast) -> None:
    job = await cast.post_job()
    applied = await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}")
    application = accepted(applied, 201)["application"]["_id"]
    accepted(await cast.bob.delete(f"/api/freelancer/jobs/cancel-application/{application}"))
    await refused(cast, create(cast.alice, job, cast.bob.id), 400, "Freelancers not applied")


@pytest.mark.abuse(41)
async def test_it_refuses_anybody_who_is_no_freelancer(cast: Cast) -> None:
    life = await Life.begin(cast)
    for nobody in (cast.alice.id, cast.mallory.id, cast.olga.id, UNKNOWN_ID, life.job):
        await refused(cast, create(cast.alice, life.job, nobody), 400)


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_for_clients(cast: Cast, path: str) -> None:
    life = await Life.begin(cast)
    await only_for(
        cast, lambda who: create(who, life.job, cast.bob.id, path=path), cast.alice, cast.mallory
    )
