"""C2: ending a contract, DELETE /api/client/cancel-contract/{contractId} (D5)."""

from typing import Any

import httpx
import pytest

from balances import amounts, balances
from life import Life, accepted, post_event, provider_events
from refusals import only_for, refused, refuses_ids
from web import Caller, Cast

PATHS = ("/api/client/cancel-contract", "/api/client/contract/cancel-contract")
JSON = {"Content-Type": "application/json", "Content-Length": "0"}


async def cancel(who: Caller, contract: str, path: str = PATHS[0]) -> httpx.Response:
    return await who.delete(f"{path}/{contract}")


async def job_of(life: Life) -> Any:
    found = await life.cast.alice.get(f"/api/client/job/job-details/{life.job}")
    return accepted(found)["data"]


# -- happy path -------------------------------------------------------------------------------


async def test_it_says_that_it_is_cancelled(cast: Cast) -> None:
    for path in PATHS:
        for headers in ({}, JSON, {"Content-Type": "application/json"}):
            life = await Life.at(cast, "created")
            answer = await cast.alice.delete(f"{path}/{life.contract}", headers=headers)
            assert accepted(answer) == {"message": "Your job contract has been cancelled"}
            assert (await life.seen())["status"] == "Canceled"


async def test_it_remembers_who_canceled(cast: Cast) -> None:
    for who, word in ((cast.alice, "Client"), (cast.bob, "Freelancer")):
        for point in ("created", "paid", "started", "ongoing"):
            life = await Life.at(cast, point)
            before = await life.seen()
            accepted(await cancel(who, life.contract))
            seen = await life.seen()
            assert (seen["status"], seen["canceledBy"]) == ("Canceled", word)
            assert seen["releaseFundStatus"] == "NotRequested"
            assert seen["escrowPaid"] == before["escrowPaid"]
            assert seen["isApproved"] == before["isApproved"]
            assert seen["isDeleted"] is False
            assert seen["statusHistory"][:-1] == before["statusHistory"]
            assert seen["statusHistory"][-1]["status"] == "Canceled"


async def test_it_opens_the_job_again(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    assert (await job_of(life))["status"] == "Closed"
    await life.cancel(cast.bob)
    job = await job_of(life)
    assert (job["status"], job["hiredFreelancer"]) == ("Open", None)
    listed = accepted(await cast.anybody.get("/api/client/job/get-jobs"))["jobs"]
    assert [one["_id"] for one in listed] == [life.job]
    created = await cast.alice.get(f"/api/client/is-created/{life.job}/{cast.alice.id}")
    assert accepted(created) == {"contract": None}


async def test_another_freelancer_can_be_hired_then(cast: Cast) -> None:
    life = await Life.at(cast, "ongoing")
    ended = life.contract
    await life.cancel(cast.alice)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    hired = await cast.alice.post(
        f"/api/client/create-contract/{life.job}",
        json={"freelancerId": cast.mallet.id, "amount": 12000},
    )
    contract = accepted(hired, 201)["contract"]
    assert contract["_id"] != ended
    assert (contract["status"], contract["escrowPaid"]) == ("Pending", False)
    assert (await job_of(life))["hiredFreelancer"] == cast.mallet.id
    listed = accepted(await cast.alice.get(f"/api/client/get-contracts/{cast.alice.id}"))
    assert [one["status"] for one in listed["data"]] == ["Pending", "Canceled"]


async def test_the_same_freelancer_can_be_hired_again(cast: Cast) -> None:
    life = await Life.at(cast, "canceled")
    ended = life.contract
    for step in ("create", "pay", "approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
    assert life.contract != ended
    assert await balances(cast) == amounts("0", "10800", "1200", "12000")
    life.contract = ended
    await life.refund()
    assert await balances(cast) == amounts("10800", "10800", "2400", "0")


# -- money ------------------------------------------------------------------------------------


async def test_it_moves_no_money(cast: Cast) -> None:
    for point in ("paid", "started", "ongoing"):
        for who in (cast.alice, cast.bob):
            life = await Life.at(cast, point, rate=99.99)
            before = await balances(cast)
            await life.cancel(who)
            assert await balances(cast) == before
            proof = await life.proof()
            assert (proof["held"], proof["holds"]) == (99.99, True)
            assert len(proof["transfers"]) == 1


# The tier is the status that the contract had when it was canceled, whoever canceled it and
# however long ago (D13).
REFUNDED_LATER = [
    # canceled at, alice, bob, fees, held
    ("paid", amounts("45000", "0", "5000", "-50000")),
    ("started", amounts("38250", "6750", "5000", "-50000")),
    ("ongoing", amounts("27000", "18000", "5000", "-50000")),
]


async def test_what_is_held_waits_for_the_admin(cast: Cast) -> None:
    for point, moved in REFUNDED_LATER:
        for who in (cast.alice, cast.bob):
            life = await Life.at(cast, point, rate=50000)
            await life.cancel(who)
            advanced = await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 86400})
            accepted(advanced)
            before = await balances(cast)
            await life.refund()
            assert (await balances(cast)).less(before) == moved
            seen = await life.seen()
            by = "Client" if who is cast.alice else "Freelancer"
            assert (seen["canceledBy"], seen["releaseFundStatus"]) == (by, "Approved")


@pytest.mark.abuse(46)
async def test_a_payment_that_arrives_after_it_is_held_for_refund(cast: Cast) -> None:
    for point, approved, moved in (
        ("created", False, amounts("45000", "0", "5000", "-50000")),
        ("created", True, amounts("38250", "6750", "5000", "-50000")),
    ):
        life = await Life.at(cast, point, rate=50000)
        if approved:
            await life.approve()
        await life.checkout()
        await life.cancel(cast.alice)
        await cast.app.state.provider.complete(life.session, "paid")
        for event in await provider_events(cast, life.session):
            assert (await post_event(cast, event)).status_code == 200
        seen = await life.seen()
        assert (seen["status"], seen["escrowPaid"]) == ("Canceled", True)
        before = await balances(cast)
        assert before.held == 50000
        await life.refund()
        assert (await balances(cast)).less(before) == moved
        assert (await life.proof())["holds"] is True


# -- refusals ---------------------------------------------------------------------------------

TOO_LATE = {
    "completed": "Completed work that is paid for cannot be canceled.",
    "requested": "Completed work that is paid for cannot be canceled.",
    "released": "Completed work that is paid for cannot be canceled.",
    "canceled": "This contract is already canceled.",
    "refunded": "This contract is already canceled.",
}


async def test_it_is_refused_once_it_is_too_late(cast: Cast) -> None:
    for point, text in TOO_LATE.items():
        life = await Life.at(cast, point)
        for who in (cast.alice, cast.bob):
            for path in PATHS:
                await refused(cast, cancel(who, life.contract, path), 400, text)


async def test_it_is_refused_twice_for_an_unpaid_contract_too(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.cancel(cast.bob)
    for who in (cast.alice, cast.bob):
        text = "This contract is already canceled."
        await refused(cast, cancel(who, life.contract), 400, text)


async def test_it_wants_a_known_contract(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    await refuses_ids(cast, lambda contract: cancel(cast.alice, contract), life.contract)
    await refuses_ids(cast, lambda contract: cancel(cast.bob, contract), life.contract)
    await refused(cast, cancel(cast.alice, life.job), 404, "Contract not found")


@pytest.mark.abuse(44)
@pytest.mark.parametrize("path", PATHS)
async def test_it_is_for_the_two_parties(cast: Cast, path: str) -> None:
    life = await Life.at(cast, "started")
    await only_for(cast, lambda who: cancel(who, life.contract, path), cast.alice, cast.bob)
    accepted(await cancel(cast.bob, life.contract, path))


@pytest.mark.abuse(44)
async def test_it_refuses_strangers_before_it_says_anything(cast: Cast) -> None:
    life = await Life.at(cast, "canceled")
    for stranger in (cast.mallory, cast.mallet):
        text = "This contract is not yours."
        await refused(cast, cancel(stranger, life.contract), 403, text)
