"""Giving money back: PUT /api/admin/escrow/refund-client/{contractId}/{clientId} (D6, D7, D13)."""

from typing import Any

import httpx
import pytest

from balances import amounts, balances, exact
from life import Life, accepted
from refusals import MALFORMED_IDS, only_for, refused, refuses_ids
from switches import switch
from web import UNKNOWN_ID, Caller, Cast

PATH = "/api/admin/escrow/refund-client"
JSON = {"Content-Type": "application/json", "Content-Length": "0"}
REASONS = {"cancelReason": "Too late", "cancelReasonDescription": "No draft\nin two weeks"}


async def refund(
    who: Caller, contract: str, client: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    return await who.put(f"{PATH}/{contract}/{client}", json=REASONS if body is None else body)


# -- the money (D7) ---------------------------------------------------------------------------

# fee = half_up(A x 10 %); earning = A - fee; freelancer = half_up(earning x tier); the client
# gets the rest. Tier by the status at the cancellation: Pending 0, Started 15 %, Ongoing 40 %.
REFUNDED = {
    "paid": [
        # A, what it changes: alice, bob, fees, held
        ("50000", amounts("45000", "0", "5000", "-50000")),
        ("12000", amounts("10800", "0", "1200", "-12000")),
        ("99.99", amounts("89.99", "0", "10.00", "-99.99")),
        ("0.01", amounts("0.01", "0", "0", "-0.01")),
        ("0.05", amounts("0.04", "0", "0.01", "-0.05")),
        ("0.25", amounts("0.22", "0", "0.03", "-0.25")),
        ("999999.99", amounts("899999.99", "0", "100000.00", "-999999.99")),
    ],
    "started": [
        ("50000", amounts("38250", "6750", "5000", "-50000")),
        ("12000", amounts("9180", "1620", "1200", "-12000")),
        ("99.99", amounts("76.49", "13.50", "10.00", "-99.99")),
        ("0.01", amounts("0.01", "0", "0", "-0.01")),
        ("0.05", amounts("0.03", "0.01", "0.01", "-0.05")),
        ("0.33", amounts("0.25", "0.05", "0.03", "-0.33")),
        ("0.35", amounts("0.26", "0.05", "0.04", "-0.35")),
        ("999999.99", amounts("764999.99", "135000.00", "100000.00", "-999999.99")),
    ],
    "ongoing": [
        ("50000", amounts("27000", "18000", "5000", "-50000")),
        ("12000", amounts("6480", "4320", "1200", "-12000")),
        ("99.99", amounts("53.99", "36.00", "10.00", "-99.99")),
        ("0.01", amounts("0.01", "0", "0", "-0.01")),
        ("0.03", amounts("0.02", "0.01", "0", "-0.03")),
        ("0.05", amounts("0.02", "0.02", "0.01", "-0.05")),
        ("0.35", amounts("0.19", "0.12", "0.04", "-0.35")),
        ("999999.99", amounts("539999.99", "360000.00", "100000.00", "-999999.99")),
    ],
}


@pytest.mark.parametrize("asked_first", [False, True])
@pytest.mark.parametrize("point", ["paid", "started", "ongoing"])
async def test_it_splits_to_the_paisa(cast: Cast, point: str, asked_first: bool) -> None:
    """Directly by an admin, or after the client asked: the shares are the same."""
    for paid, moved in REFUNDED[point]:
        life = await Life.at(cast, point, rate=float(paid))
        if asked_first:
            accepted(await refund(cast.alice, life.contract, cast.alice.id))
        before = await balances(cast)
        escrow = exact(await refund(cast.olga, life.contract, cast.alice.id))["data"]
        assert (await balances(cast)).less(before) == moved, paid
        assert sum(moved) == 0
        assert (escrow["amount"], escrow["platformFee"]) == (-moved.held, moved.fees)
        assert escrow["freelancerEarning"] == moved.bob
        proof = await life.proof()
        assert (proof["holds"], proof["held"]) == (True, 0)


async def test_it_follows_the_policy_that_the_parties_agreed_to(cast: Cast) -> None:
    agreed = await Life.at(cast, "started", rate=50000)
    tiers = {"not_started": 1_000, "started": 2_500, "ongoing": 10_000, "delivered": 10_000}
    policy = [{"work": work, "seller_bps": bps} for work, bps in tiers.items()]
    await switch(cast, cancellation_policy=policy)
    before = await balances(cast)
    await agreed.refund()
    assert (await balances(cast)).less(before) == amounts("38250", "6750", "5000", "-50000")

    for point, moved in (
        ("paid", amounts("40500", "4500", "5000", "-50000")),
        ("started", amounts("33750", "11250", "5000", "-50000")),
        ("ongoing", amounts("0", "45000", "5000", "-50000")),
    ):
        life = await Life.at(cast, point, rate=50000)
        before = await balances(cast)
        await life.refund()
        assert (await balances(cast)).less(before) == moved


# -- an admin refunds -------------------------------------------------------------------------


async def test_it_answers_with_the_escrow(cast: Cast) -> None:
    life = await Life.at(cast, "started", rate=50000)
    body = accepted(await refund(cast.olga, life.contract, cast.alice.id))
    assert body.keys() == {"message", "data"}
    assert body["message"] == "Refund has been processed"
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
        "freelancerEarning": 6750,
        "status": "refunded",
        "transactionType": "debit",
        "__v": 0,
    }


async def test_it_cancels_a_live_contract(cast: Cast) -> None:
    life = await Life.at(cast, "ongoing")
    accepted(await refund(cast.olga, life.contract, cast.alice.id))
    seen = await life.seen()
    assert (seen["status"], seen["canceledBy"]) == ("Canceled", "Client")
    assert (seen["releaseFundStatus"], seen["escrowPaid"]) == ("Approved", True)
    assert (seen["cancelReason"], seen["cancelReasonDescription"]) == tuple(REASONS.values())
    history = [one["status"] for one in seen["statusHistory"]]
    assert history == ["Started", "Ongoing", "Canceled"]
    job = accepted(await cast.alice.get(f"/api/client/job/job-details/{life.job}"))["data"]
    assert (job["status"], job["hiredFreelancer"]) == ("Open", None)
    created = await cast.alice.get(f"/api/client/is-created/{life.job}/{cast.alice.id}")
    assert accepted(created) == {"contract": None}


async def test_it_keeps_who_canceled_and_the_clients_reasons(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    await life.cancel(cast.bob)
    accepted(await refund(cast.alice, life.contract, cast.alice.id))
    other = {"cancelReason": "Other", "cancelReasonDescription": "Other"}
    accepted(await refund(cast.olga, life.contract, cast.alice.id, other))
    seen = await life.seen()
    assert seen["canceledBy"] == "Freelancer"
    assert (seen["cancelReason"], seen["cancelReasonDescription"]) == tuple(REASONS.values())


NO_REASONS: tuple[dict[str, Any], ...] = (
    {"headers": {}},
    {"headers": JSON},
    {"headers": {"Content-Type": "application/json"}},
    {"json": {}},
    {"json": {"cancelReason": None, "cancelReasonDescription": None}},
    {"json": {"cancelReason": "", "reason": "ignored"}},
)


@pytest.mark.abuse(13)
async def test_it_needs_no_reasons(cast: Cast) -> None:
    for sent in NO_REASONS:
        for who in (cast.olga, cast.alice):
            life = await Life.at(cast, "paid")
            answer = await who.put(f"{PATH}/{life.contract}/{cast.alice.id}", **sent)
            assert accepted(answer)["message"] == "Refund has been processed"
            assert (await life.seen())["cancelReason"] == ""


# -- the client asks (D6) ---------------------------------------------------------------------


async def test_a_client_only_asks(cast: Cast) -> None:
    for point in ("paid", "started", "ongoing"):
        life = await Life.at(cast, point)
        before = await balances(cast)
        body = accepted(await refund(cast.alice, life.contract, cast.alice.id))
        assert body["message"] == "Refund has been processed"
        assert (body["data"]["status"], body["data"]["amount"]) == ("funded", 12000)
        assert await balances(cast) == before
        seen = await life.seen()
        assert (seen["status"], seen["canceledBy"]) == ("Canceled", "Client")
        assert (seen["releaseFundStatus"], seen["escrowPaid"]) == ("NotRequested", True)
        assert (seen["cancelReason"], seen["cancelReasonDescription"]) == tuple(REASONS.values())
        proof = await life.proof()
        assert (proof["held"], len(proof["transfers"])) == (12000, 1)


async def test_a_client_asks_once(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    accepted(await refund(cast.alice, life.contract, cast.alice.id))
    text = "The refund of this contract is already requested."
    await refused(cast, refund(cast.alice, life.contract, cast.alice.id), 400, text)
    cancel = cast.alice.delete(f"/api/client/cancel-contract/{life.contract}")
    await refused(cast, cancel, 400, "This contract is already canceled.")


async def test_a_client_asks_after_either_party_canceled(cast: Cast) -> None:
    for who in (cast.alice, cast.bob):
        life = await Life.at(cast, "started")
        await life.cancel(who)
        before = await balances(cast)
        accepted(await refund(cast.alice, life.contract, cast.alice.id))
        assert await balances(cast) == before
        assert (await life.seen())["cancelReason"] == "Too late"


async def test_a_client_is_refunded_at_once_where_the_business_says_so(cast: Cast) -> None:
    await switch(cast, refund_approval="automatic")
    for point, moved in (
        ("paid", amounts("45000", "0", "5000", "-50000")),
        ("started", amounts("38250", "6750", "5000", "-50000")),
        ("ongoing", amounts("27000", "18000", "5000", "-50000")),
    ):
        life = await Life.at(cast, point, rate=50000)
        before = await balances(cast)
        body = accepted(await refund(cast.alice, life.contract, cast.alice.id))
        assert body["data"]["status"] == "refunded"
        assert (await balances(cast)).less(before) == moved
        seen = await life.seen()
        assert (seen["status"], seen["releaseFundStatus"]) == ("Canceled", "Approved")
        assert (seen["cancelReason"], seen["cancelReasonDescription"]) == tuple(REASONS.values())
        for who in (cast.alice, cast.olga):
            await refused(cast, refund(who, life.contract, cast.alice.id), 400)


async def test_automatic_refunds_are_for_the_contracts_client_too(cast: Cast) -> None:
    await switch(cast, refund_approval="automatic")
    life = await Life.at(cast, "started")
    await refused(cast, refund(cast.mallory, life.contract, cast.alice.id), 403)
    await refused(cast, refund(cast.mallory, life.contract, cast.mallory.id), 403)
    await refused(cast, refund(cast.bob, life.contract, cast.alice.id), 403)
    done = await Life.at(cast, "completed")
    text = "Refund not allowed for a finished contract"
    await refused(cast, refund(cast.alice, done.contract, cast.alice.id), 400, text)


# -- refusals ---------------------------------------------------------------------------------

FINISHED = "Refund not allowed for a finished contract"
NO_REFUND: dict[str, tuple[int, str]] = {
    "created": (404, "Escrow not found for the contract id"),
    "completed": (400, FINISHED),
    "requested": (400, FINISHED),
    "released": (400, FINISHED),
    "refunded": (400, "Funds have already been refunded for this contract."),
}


@pytest.mark.abuse(61)
async def test_it_refunds_at_no_other_point(cast: Cast) -> None:
    for point, (status, text) in NO_REFUND.items():
        life = await Life.at(cast, point)
        for who in (cast.olga, cast.alice):
            await refused(cast, refund(who, life.contract, cast.alice.id), status, text)


@pytest.mark.abuse(61)
async def test_it_refunds_nothing_where_nothing_was_paid(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.cancel(cast.alice)
    for who in (cast.olga, cast.alice):
        text = "Nothing is held for this contract."
        await refused(cast, refund(who, life.contract, cast.alice.id), 400, text)
    life = await Life.at(cast, "created")
    await life.approve()
    for who in (cast.olga, cast.alice):
        text = "Escrow not found for the contract id"
        await refused(cast, refund(who, life.contract, cast.alice.id), 404, text)


@pytest.mark.abuse(61)
async def test_it_refunds_once(cast: Cast) -> None:
    life = await Life.at(cast, "refunded")
    for _ in range(3):
        await refused(cast, refund(cast.olga, life.contract, cast.alice.id), 400)
    release = cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}")
    text = "Funds have already been refunded for this contract."
    await refused(cast, release, 400, text)
    assert await balances(cast) == amounts("10800", "0", "1200", "0")


async def test_it_leaves_other_contracts_alone(cast: Cast) -> None:
    other = await Life.at(cast, "started", rate=99.99)
    life = await Life.at(cast, "ongoing", rate=50000)
    before = await other.seen()
    await life.refund()
    assert await other.seen() == before
    assert await balances(cast) == amounts("27000", "18000", "5000", "99.99")


@pytest.mark.abuse(59)
async def test_it_wants_the_contracts_own_client_in_the_path(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    for somebody in (cast.mallory.id, cast.bob.id, cast.olga.id, UNKNOWN_ID):
        for who in (cast.olga, cast.alice):
            await refused(cast, refund(who, life.contract, somebody), 403)
    for malformed in MALFORMED_IDS:
        await refused(cast, refund(cast.olga, life.contract, malformed), 400)


@pytest.mark.abuse(61)
async def test_it_wants_a_known_contract(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    for who in (cast.olga, cast.alice):
        await refuses_ids(
            cast,
            lambda contract, who=who: refund(who, contract, cast.alice.id),  # type: ignore[misc]
            life.contract,
        )


async def test_it_is_for_admins_and_the_contracts_client(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    await only_for(
        cast, lambda who: refund(who, life.contract, cast.alice.id), cast.olga, cast.alice
    )
    await refused(cast, refund(cast.mallory, life.contract, cast.mallory.id), 403)


NOT_REASONS: tuple[dict[str, Any], ...] = (
    {"cancelReason": 7},
    {"cancelReason": True},
    {"cancelReason": ["late"]},
    {"cancelReason": {"$gt": ""}},
    {"cancelReason": "two\nlines"},
    {"cancelReason": "nul\x00"},
    {"cancelReason": "c1\x85"},
    {"cancelReason": "\u202eetal"},
    {"cancelReason": "x" * 201},
    {"cancelReasonDescription": 7},
    {"cancelReasonDescription": "nul\x00"},
    {"cancelReasonDescription": "\u2066hidden"},
    {"cancelReasonDescription": "x" * 20_001},
)


async def test_it_wants_reasons_as_text(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    for who in (cast.olga, cast.alice):
        for body in NOT_REASONS:
            await refused(cast, refund(who, life.contract, cast.alice.id, body), 400)
        url = f"{PATH}/{life.contract}/{cast.alice.id}"
        for raw, headers, status in (
            ("{", {"Content-Type": "application/json"}, 400),
            ("[]", {"Content-Type": "application/json"}, 400),
            ('"late"', {"Content-Type": "application/json"}, 400),
            ('{"cancelReason":"\\ud800"}', {"Content-Type": "application/json"}, 400),
            ('{"cancelReason":"late"}', {"Content-Type": "text/plain"}, 415),
        ):
            await refused(cast, who.put(url, content=raw, headers=headers), status)
