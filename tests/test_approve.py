"""C7: the freelancer accepts, POST .../approve-contract/{contractId}/{freelancerId} (D3)."""

import re
from datetime import datetime, timedelta

import httpx
import pytest

from life import Life, accepted
from refusals import MALFORMED_IDS, only_for, refused, refuses_ids
from switches import switch
from web import UNKNOWN_ID, Caller, Cast

PATH = "/api/freelancer/contract/approve-contract"
JSON = {"Content-Type": "application/json", "Content-Length": "0"}


async def approve(who: Caller, contract: str, freelancer: str) -> httpx.Response:
    return await who.post(f"{PATH}/{contract}/{freelancer}")


# -- happy path -------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, JSON, {"Content-Type": "application/json"}])
async def test_it_answers_with_the_started_contract(cast: Cast, headers: dict[str, str]) -> None:
    life = await Life.at(cast, "created")
    before = await life.seen()
    answer = await cast.bob.post(f"{PATH}/{life.contract}/{cast.bob.id}", headers=headers)
    body = accepted(answer)
    assert body.keys() == {"message", "contract"}
    assert body["message"] == "Contract has been approved"
    contract = body["contract"]
    assert (contract["status"], contract["isApproved"]) == ("Started", True)
    assert contract["updatedAt"] >= contract["createdAt"]
    assert contract["escrowPaid"] is False
    assert (contract["clientId"], contract["freelancerId"]) == (cast.alice.id, cast.bob.id)
    [entry] = contract["statusHistory"]
    assert entry.keys() == {"status", "timestamp", "_id"}
    assert entry["status"] == "Started"
    assert re.fullmatch(r"\d\d-\d\d-\d\d", entry["timestamp"])
    assert re.fullmatch(r"[0-9a-f]{24}", entry["_id"])
    changed = {"status", "isApproved", "statusHistory", "updatedAt"}
    after = await life.seen()
    assert {key for key in after if after[key] != before[key]} <= changed
    assert {key: contract[key] for key in changed} == {key: after[key] for key in changed}


async def test_it_writes_the_day_of_business_time(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    now = datetime.fromisoformat(accepted(await cast.anybody.get("/sandbox/clock"))["now"])
    # A day that is no month, so that the two cannot be taken for each other.
    days = next(ahead for ahead in range(30, 62) if (now + timedelta(days=ahead)).day == 20)
    ahead = {"advance_seconds": days * 86400}
    then = accepted(await cast.anybody.post("/sandbox/clock", json=ahead))["now"]
    await life.approve()
    [entry] = (await life.seen())["statusHistory"]
    assert entry["timestamp"] == f"{then[8:10]}-{then[5:7]}-{then[2:4]}"


async def test_it_works_before_and_after_the_payment(cast: Cast) -> None:
    for point in ("created", "paid"):
        life = await Life.at(cast, point)
        await life.approve()
        seen = await life.seen()
        assert (seen["status"], seen["escrowPaid"]) == ("Started", point == "paid")


async def test_it_is_the_same_as_the_status_started(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    contract = accepted(await life.status("Started"))["contract"]
    assert (contract["status"], contract["isApproved"]) == ("Started", True)
    assert [one["status"] for one in contract["statusHistory"]] == ["Started"]


async def test_it_waits_for_the_payment_where_the_business_says_so(cast: Cast) -> None:
    await switch(cast, require_funding_before_start=True)
    life = await Life.at(cast, "created")
    text = "The contract has to be paid for first."
    await refused(cast, approve(cast.bob, life.contract, cast.bob.id), 400, text)
    await refused(cast, life.status("Started"), 400, text)
    await life.pay()
    await life.approve()


# -- refusals ---------------------------------------------------------------------------------

TOO_LATE = {
    "started": "This contract is already approved.",
    "ongoing": "This contract is already approved.",
    "completed": "This contract is already approved.",
    "requested": "This contract is already approved.",
    "released": "This contract is already approved.",
    "canceled": "This contract is already canceled.",
    "refunded": "This contract is already canceled.",
}


async def test_it_is_refused_at_any_other_point(cast: Cast) -> None:
    for point, text in TOO_LATE.items():
        life = await Life.at(cast, point)
        await refused(cast, approve(cast.bob, life.contract, cast.bob.id), 400, text)


@pytest.mark.abuse(47)
async def test_it_refuses_the_id_of_somebody_else(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    for somebody in (cast.mallet.id, cast.alice.id, cast.olga.id, UNKNOWN_ID):
        await refused(cast, approve(cast.bob, life.contract, somebody), 403)
    for malformed in MALFORMED_IDS:
        await refused(cast, approve(cast.bob, life.contract, malformed), 400)


@pytest.mark.abuse(47)
async def test_it_refuses_the_token_of_somebody_else(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    for freelancer in (cast.bob.id, cast.mallet.id):
        await refused(cast, approve(cast.mallet, life.contract, freelancer), 403)


async def test_it_wants_a_known_contract(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await refuses_ids(
        cast, lambda contract: approve(cast.bob, contract, cast.bob.id), life.contract
    )


async def test_it_is_for_the_freelancer(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await only_for(cast, lambda who: approve(who, life.contract, cast.bob.id), cast.bob)
    await only_for(cast, lambda who: approve(who, life.contract, who_id(who)), cast.bob)


def who_id(who: Caller) -> str:
    """The caller's own id; somebody's without an account uses an unknown one."""
    return getattr(who, "id", UNKNOWN_ID)
