"""Paying the freelancer: the client asks (C6), an admin releases (D4, D20)."""

from typing import Any

import httpx
import pytest

from balances import amounts, balances, exact
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from switches import switch
from web import Caller, Cast

REQUEST = ("/api/client/release-fund", "/api/client/contract/release-fund")
RELEASE = "/api/admin/escrow/release-fund"
JSON = {"Content-Type": "application/json", "Content-Length": "0"}
DAY_SECONDS = 86400


async def request(who: Caller, contract: str, path: str = REQUEST[0]) -> httpx.Response:
    return await who.patch(f"{path}/{contract}")


async def release(who: Caller, contract: str) -> httpx.Response:
    return await who.put(f"{RELEASE}/{contract}")


async def wait(cast: Cast, seconds: int) -> None:
    """Let business time pass."""
    answer = await cast.anybody.post("/sandbox/clock", json={"advance_seconds": seconds})
    assert answer.status_code == 200, answer.text


# -- the client asks --------------------------------------------------------------------------


async def test_it_records_the_request(cast: Cast) -> None:
    for path in REQUEST:
        for headers in ({}, JSON, {"Content-Type": "application/json"}):
            life = await Life.at(cast, "completed")
            before = await balances(cast)
            answer = await cast.alice.patch(f"{path}/{life.contract}", headers=headers)
            assert accepted(answer) == {"message": "Fund release requested successfully."}
            seen = await life.seen()
            assert (seen["status"], seen["releaseFundStatus"]) == ("Completed", "Requested")
            assert await balances(cast) == before


NOT_COMPLETED = "You can request release only after work completion."
NO_REQUEST = {
    "created": NOT_COMPLETED,
    "paid": NOT_COMPLETED,
    "started": NOT_COMPLETED,
    "ongoing": NOT_COMPLETED,
    "requested": "The release of these funds is already requested.",
    "released": "Funds have already been released for this contract.",
    "canceled": "This contract is already canceled.",
    "refunded": "This contract is already canceled.",
}


@pytest.mark.abuse(55)
async def test_it_takes_no_request_at_any_other_point(cast: Cast) -> None:
    for point, text in NO_REQUEST.items():
        life = await Life.at(cast, point)
        before = (await life.seen())["releaseFundStatus"]
        for path in REQUEST:
            await refused(cast, request(cast.alice, life.contract, path), 400, text)
        assert (await life.seen())["releaseFundStatus"] == before


async def test_it_takes_requests_from_its_client_only(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    for path in REQUEST:
        await only_for(cast, lambda who, path=path: request(who, life.contract, path), cast.alice)  # type: ignore[misc]
    await refuses_ids(cast, lambda contract: request(cast.alice, contract), life.contract)


# -- an admin releases ------------------------------------------------------------------------


async def test_it_answers_with_the_escrow(cast: Cast) -> None:
    for headers in ({}, JSON, {"Content-Type": "application/json"}):
        life = await Life.at(cast, "requested", rate=50000)
        answer = await cast.olga.put(f"{RELEASE}/{life.contract}", headers=headers)
        body = accepted(answer)
        assert body.keys() == {"message", "data"}
        assert body["message"] == "Fund has been released"
        escrow = body["data"]
        assert len(escrow.pop("_id")) == 24
        assert escrow.pop("updatedAt") >= escrow.pop("createdAt")
        assert escrow.pop("providerSessionId") == life.session
        assert escrow.pop("providerPaymentId")
        assert escrow == {
            "clientId": cast.alice.id,
            "freelancerId": cast.bob.id,
            "contractId": life.contract,
            "jobId": life.job,
            "amount": 50000,
            "platformFee": 5000,
            "freelancerEarning": 45000,
            "status": "released",
            "transactionType": "debit",
            "__v": 0,
        }
        seen = await life.seen()
        assert (seen["status"], seen["releaseFundStatus"]) == ("Completed", "Approved")
        assert seen["escrowPaid"] is True


# fee = half_up(10 %), the rest is the freelancer's: whole, awkward, tiny and the largest amount.
RELEASED = [
    # paid, what it changes
    ("50000", amounts("0", "45000", "5000", "-50000")),
    ("12000", amounts("0", "10800", "1200", "-12000")),
    ("99.99", amounts("0", "89.99", "10.00", "-99.99")),
    ("0.01", amounts("0", "0.01", "0", "-0.01")),
    ("0.04", amounts("0", "0.04", "0", "-0.04")),
    ("0.05", amounts("0", "0.04", "0.01", "-0.05")),
    ("0.14", amounts("0", "0.13", "0.01", "-0.14")),
    ("0.15", amounts("0", "0.13", "0.02", "-0.15")),
    ("0.25", amounts("0", "0.22", "0.03", "-0.25")),
    ("33.33", amounts("0", "30.00", "3.33", "-33.33")),
    ("1234.56", amounts("0", "1111.10", "123.46", "-1234.56")),
    ("999999.99", amounts("0", "899999.99", "100000.00", "-999999.99")),
]


async def test_it_moves_the_money_to_the_paisa(cast: Cast) -> None:
    after = amounts("0", "0", "0", "0")
    for paid, moved in RELEASED:
        life = await Life.at(cast, "requested", rate=float(paid))
        before = await balances(cast)
        assert before == after._replace(held=-moved.held)
        escrow = exact(await release(cast.olga, life.contract))["data"]
        after = await balances(cast)
        assert after.less(before) == moved, paid
        assert (escrow["amount"], escrow["platformFee"]) == (-moved.held, moved.fees)
        assert escrow["freelancerEarning"] == moved.bob
        proof = await life.proof()
        assert (proof["holds"], proof["held"]) == (True, 0)
    assert after.held == 0


@pytest.mark.abuse(55)
async def test_it_moves_the_money_once(cast: Cast) -> None:
    life = await Life.at(cast, "released")
    text = "Funds have already been released for this contract."
    for _ in range(3):
        await refused(cast, release(cast.olga, life.contract), 400, text)
    await refused(cast, request(cast.alice, life.contract), 400, text)
    assert await balances(cast) == amounts("0", "10800", "1200", "0")


async def test_it_leaves_other_contracts_alone(cast: Cast) -> None:
    other = await Life.at(cast, "requested", rate=99.99)
    life = await Life.at(cast, "requested", rate=50000)
    before = await other.seen()
    await life.release()
    assert await other.seen() == before
    assert await balances(cast) == amounts("0", "45000", "5000", "99.99")


NOT_REQUESTED = "The client has not requested the release of these funds."
NO_RELEASE: dict[str, tuple[int, str]] = {
    "created": (404, "Escrow not found for the contract id"),
    "paid": (400, NOT_REQUESTED),
    "started": (400, NOT_REQUESTED),
    "ongoing": (400, NOT_REQUESTED),
    "completed": (400, NOT_REQUESTED),
    "canceled": (400, "A refund is pending for this contract."),
    "refunded": (400, "Funds have already been refunded for this contract."),
}


@pytest.mark.abuse(56)
async def test_it_releases_at_no_other_point(cast: Cast) -> None:
    for point, (status, text) in NO_RELEASE.items():
        life = await Life.at(cast, point)
        await refused(cast, release(cast.olga, life.contract), status, text)


@pytest.mark.abuse(62)
async def test_it_releases_for_admins_only(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await only_for(cast, lambda who: release(who, life.contract), cast.olga)
    await refuses_ids(cast, lambda contract: release(cast.olga, contract), life.contract)


# -- without a request (D20) ------------------------------------------------------------------


async def test_it_releases_without_a_request_after_14_days(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    await wait(cast, 14 * DAY_SECONDS - 60)
    await refused(cast, release(cast.olga, life.contract), 400, NOT_REQUESTED)
    await wait(cast, 61)
    await life.release()
    assert await balances(cast) == amounts("0", "10800", "1200", "0")
    assert (await life.seen())["releaseFundStatus"] == "Approved"


async def test_it_counts_those_days_from_the_completion(cast: Cast) -> None:
    life = await Life.at(cast, "ongoing")
    await wait(cast, 15 * DAY_SECONDS)
    await refused(cast, release(cast.olga, life.contract), 400, NOT_REQUESTED)
    await life.complete()
    await refused(cast, release(cast.olga, life.contract), 400, NOT_REQUESTED)


async def test_it_counts_the_days_that_the_business_says(cast: Cast) -> None:
    await switch(cast, release_without_request_days=3)
    life = await Life.at(cast, "completed")
    await wait(cast, 3 * DAY_SECONDS - 60)
    await refused(cast, release(cast.olga, life.contract), 400, NOT_REQUESTED)
    await wait(cast, 61)
    await life.release()


@pytest.mark.parametrize("point", ["paid", "started", "ongoing"])
async def test_no_time_releases_unfinished_work(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    await wait(cast, 400 * DAY_SECONDS)
    await refused(cast, release(cast.olga, life.contract), 400, NOT_REQUESTED)


# -- other roads to the same money ------------------------------------------------------------


def other_roads(cast: Cast, life: Life) -> list[Any]:
    """Every other request that names this contract and would move or lose its money."""
    refund = f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}"
    return [
        cast.olga.put(refund),
        cast.alice.put(refund),
        cast.alice.delete(f"/api/client/cancel-contract/{life.contract}"),
        cast.bob.delete(f"/api/client/cancel-contract/{life.contract}"),
        life.status("Canceled"),
    ]


async def test_what_is_requested_or_released_cannot_be_refunded_or_canceled(cast: Cast) -> None:
    for point in ("completed", "requested", "released"):
        life = await Life.at(cast, point)
        for asked in other_roads(cast, life):
            await refused(cast, asked, 400)
