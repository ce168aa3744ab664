"""Paying before there is a contract (D2): the payment makes it, or waits for it."""

import asyncio
from typing import Any

import httpx
import pytest

from checkout_event import (
    EXPIRED,
    CheckoutEvent,
    cash_minor,
    inbox,
    sessions,
    suspense_minor,
    tell,
    told_of,
)
from digest import digest
from life import Life, accepted, post_event
from web import UNKNOWN_ID, Caller, Cast, problem


async def create(
    who: Caller, life: Life, amount: Any = 12000, freelancer: str = ""
) -> httpx.Response:
    return await who.post(
        f"/api/client/create-contract/{life.job}",
        json={"freelancerId": freelancer or life.cast.bob.id, "amount": amount},
    )


async def pay(life: Life, freelancer: str) -> httpx.Response:
    return await life.cast.alice.post(
        f"/api/client/job/payment/{life.job}", json={"freelancerId": freelancer}
    )


async def checked_out(cast: Cast) -> tuple[Life, CheckoutEvent]:
    """A job without a contract whose checkout is open, and the event that will say it is paid."""
    life = await Life.begin(cast)
    return life, await told_of(cast, await life.checkout())


async def is_created(life: Life) -> Any:
    url = f"/api/client/is-created/{life.job}/{life.cast.alice.id}"
    return accepted(await life.cast.alice.get(url))["contract"]


async def listing(life: Life) -> str:
    found = await life.cast.alice.get(f"/api/client/job/job-details/{life.job}")
    status: str = accepted(found)["data"]["status"]
    return status


async def withdraw(who: Caller, life: Life) -> None:
    applied = accepted(await who.get("/api/freelancer/jobs/applied-jobs"))["applications"]
    (mine,) = (one["_id"] for one in applied if one["jobId"]["_id"] == life.job)
    accepted(await who.delete(f"/api/freelancer/jobs/cancel-application/{mine}"))


async def apply(who: Caller, life: Life) -> None:
    accepted(await who.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)


async def update_job(life: Life, **changes: Any) -> None:
    url = f"/api/client/job/update-job/{life.job}"
    accepted(await life.cast.alice.put(url, json=life.cast.job(**changes)))


async def parked(cast: Cast) -> list[dict[str, Any]]:
    found = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))
    assert found["count"] == len(found["data"])
    data: list[dict[str, Any]] = found["data"]
    return data


# -- the payment makes the contract -----------------------------------------------------------


async def test_it_creates_the_contract_with_its_money(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await tell(cast, event)
    made = await is_created(life)
    assert (made["status"], made["isApproved"], made["escrowPaid"], made["amount"]) == (
        "Pending",
        False,
        True,
        12000,
    )
    assert (made["freelancerId"], made["clientId"]) == (cast.bob.id, cast.alice.id)
    assert made["contractId"].startswith("CON")
    life.contract = made["_id"]
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12000, 12000, True)
    assert await listing(life) == "Closed"
    assert await parked(cast) == []
    assert await inbox(cast) == {event.id: "applied"}


async def test_it_hands_that_contract_out_once(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await tell(cast, event)
    made = await is_created(life)
    claimed = accepted(await create(cast.alice, life), 201)
    assert claimed["message"] == "Job contract has been created"
    assert (claimed["contract"]["_id"], claimed["contract"]["escrowPaid"]) == (made["_id"], True)
    before = await digest(cast.app.state.pool)
    problem(await create(cast.alice, life), 400)
    assert await digest(cast.app.state.pool) == before


async def test_it_hands_it_out_once_to_ten_who_ask_at_once(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await tell(cast, event)
    answers = await asyncio.gather(*(create(cast.alice, life) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 9


async def test_it_hands_it_out_only_for_what_was_paid(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await apply(cast.mallet, life)
    await tell(cast, event)
    before = await digest(cast.app.state.pool)
    problem(await create(cast.alice, life, amount=11999.99), 400)
    problem(await create(cast.alice, life, amount=0.01), 400)
    problem(await create(cast.alice, life, freelancer=cast.mallet.id), 400)
    problem(await create(cast.mallory, life), 403)
    assert await digest(cast.app.state.pool) == before
    accepted(await create(cast.alice, life), 201)


async def test_it_goes_all_the_way_without_being_claimed(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await tell(cast, event)
    life.contract = (await is_created(life))["_id"]
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
    assert await life.wallet(cast.bob) == 10800


async def test_it_binds_the_open_session_to_a_contract_made_meanwhile(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await life.create()
    await tell(cast, event)
    assert (await is_created(life))["_id"] == life.contract
    proof = await life.proof()
    assert [one["movement"] for one in proof["transfers"]] == ["funded"]
    assert (proof["held"], await suspense_minor(cast)) == (12000, 0)


async def test_it_refuses_to_pay_twice(cast: Cast) -> None:
    life, event = await checked_out(cast)
    await apply(cast.mallet, life)
    await tell(cast, event)
    before = await digest(cast.app.state.pool)
    problem(await pay(life, cast.bob.id), 400)
    problem(await pay(life, cast.mallet.id), 409)
    assert await digest(cast.app.state.pool) == before


async def test_it_makes_one_contract_when_money_for_one_meets_the_hiring_of_another(
    cast: Cast,
) -> None:
    for _ in range(6):
        life, event = await checked_out(cast)
        await apply(cast.mallet, life)
        told, *hired = await asyncio.gather(
            post_event(cast, event.body),
            *(create(cast.alice, life, freelancer=cast.mallet.id) for _ in range(3)),
        )
        assert told.status_code == 200, told.text
        statuses = sorted(answer.status_code for answer in hired)
        made = await is_created(life)
        if made["freelancerId"] == cast.bob.id:
            assert (statuses, made["escrowPaid"]) == ([400, 400, 400], True)
        else:
            assert (statuses, made["escrowPaid"]) == ([201, 400, 400], False)
            (waiting,) = await parked(cast)
            accepted(await refund(cast.olga, waiting["_id"]))
    assert await suspense_minor(cast) == 0


# -- the payment waits ------------------------------------------------------------------------


async def paid_after(cast: Cast, what: str) -> tuple[Life, CheckoutEvent]:
    """A payment that came when its contract could not be made any more, because of `what`."""
    life, event = await checked_out(cast)
    match what:
        case "application withdrawn":
            await withdraw(cast.bob, life)
        case "job closed":
            await update_job(life, status="Closed")
        case "rate changed":
            # Frozen while the session is open; its expiry frees the rate, and money comes late.
            await tell(cast, event.but(type=EXPIRED, payment_status="unpaid"))
            await withdraw(cast.bob, life)
            await update_job(life, rate=15000)
            await apply(cast.bob, life)
        case "another freelancer hired":
            await apply(cast.mallet, life)
            accepted(await create(cast.alice, life, freelancer=cast.mallet.id), 201)
    await tell(cast, event)
    return life, event


REASONS = ["application withdrawn", "job closed", "rate changed", "another freelancer hired"]


@pytest.mark.abuse(91)
@pytest.mark.parametrize("what", REASONS)
async def test_it_parks_the_money_after(cast: Cast, what: str) -> None:
    life, event = await paid_after(cast, what)
    assert (await inbox(cast))[event.id] == "parked"
    assert (await suspense_minor(cast), await cash_minor(cast)) == (1200000, 1200000)
    made = await is_created(life)
    if what == "another freelancer hired":
        assert (made["freelancerId"], made["escrowPaid"]) == (cast.mallet.id, False)
    else:
        assert made is None
    (waiting,) = await parked(cast)
    assert set(waiting) == {
        "_id",
        "amount",
        "currency",
        "status",
        "clientId",
        "createdAt",
        "capturedAt",
        "providerSessionId",
        "providerPaymentId",
    }
    assert waiting["providerSessionId"] == life.session
    assert waiting["providerPaymentId"]
    assert (waiting["amount"], waiting["currency"], waiting["status"], waiting["clientId"]) == (
        12000,
        "INR",
        "parked",
        cast.alice.id,
    )
    # Told again, under this event's id or another one: nothing more.
    await tell(cast, event)
    await tell(cast, event.but())
    assert await suspense_minor(cast) == 1200000
    assert len(await parked(cast)) == 1


@pytest.mark.abuse(91)
@pytest.mark.parametrize("what", ["application withdrawn", "job closed"])
async def test_it_attaches_parked_money_to_the_contract_that_comes(cast: Cast, what: str) -> None:
    life, _ = await paid_after(cast, what)
    before = await digest(cast.app.state.pool)
    problem(await create(cast.alice, life), 400)
    assert await digest(cast.app.state.pool) == before
    if what == "job closed":
        await update_job(life, status="Open")
    else:
        await apply(cast.bob, life)
    made = accepted(await create(cast.alice, life), 201)["contract"]
    assert made["escrowPaid"] is True
    life.contract = made["_id"]
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12000, 12000, True)
    assert [one["movement"] for one in proof["transfers"]] == ["attached"]
    assert (await suspense_minor(cast), await cash_minor(cast)) == (0, 1200000)
    assert await parked(cast) == []
    for step in ("approve", "ongoing", "complete", "request", "release"):
        await getattr(life, step)()
    assert await life.wallet(cast.bob) == 10800


async def test_it_attaches_parked_money_once_to_ten_who_ask_at_once(cast: Cast) -> None:
    life, _ = await paid_after(cast, "application withdrawn")
    await apply(cast.bob, life)
    answers = await asyncio.gather(*(create(cast.alice, life) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 9
    assert (await suspense_minor(cast), await cash_minor(cast)) == (0, 1200000)


async def test_it_never_attaches_money_of_another_amount(cast: Cast) -> None:
    life, _ = await paid_after(cast, "rate changed")
    made = accepted(await create(cast.alice, life, amount=15000), 201)["contract"]
    assert made["escrowPaid"] is False
    assert await suspense_minor(cast) == 1200000
    # It waits for an admin; then the contract can be paid for.
    problem(await pay(life, cast.bob.id), 400)
    (waiting,) = await parked(cast)
    accepted(await cast.olga.put(f"/api/admin/escrow/refund-payment/{waiting['_id']}"))
    life.contract = made["_id"]
    await life.pay()
    assert (await life.proof())["held"] == 15000


async def test_it_lists_parked_payments_newest_first_to_admins_alone(cast: Cast) -> None:
    for _ in range(2):
        await paid_after(cast, "application withdrawn")
    first, second = (await parked(cast))[::-1]
    assert first["capturedAt"] <= second["capturedAt"]
    assert first["_id"] < second["_id"]
    url = "/api/admin/escrow/parked-payments"
    for who, status in ((cast.alice, 403), (cast.bob, 403), (cast.anybody, 401)):
        problem(await who.get(url), status)


async def test_it_lets_nobody_open_a_second_session_while_money_waits(cast: Cast) -> None:
    life, _ = await paid_after(cast, "application withdrawn")
    await apply(cast.bob, life)
    await apply(cast.mallet, life)
    before = await digest(cast.app.state.pool)
    problem(await pay(life, cast.bob.id), 400)
    problem(await pay(life, cast.mallet.id), 409)
    assert await digest(cast.app.state.pool) == before
    assert len(await sessions(cast)) == 1


# -- the payment goes back --------------------------------------------------------------------


async def refund(who: Caller, payment: str) -> httpx.Response:
    return await who.put(f"/api/admin/escrow/refund-payment/{payment}")


@pytest.mark.parametrize("what", REASONS)
async def test_it_gives_parked_money_back_whole(cast: Cast, what: str) -> None:
    life, event = await paid_after(cast, what)
    (waiting,) = await parked(cast)
    answer = accepted(await refund(cast.olga, waiting["_id"]))
    assert answer["message"] == "Payment has been refunded"
    assert answer["data"] == {**waiting, "status": "refunded"}
    assert (await life.wallet(cast.alice), await life.wallet(cast.bob)) == (12000, 0)
    assert (await suspense_minor(cast), await cash_minor(cast)) == (0, 1200000)
    assert await parked(cast) == []
    before = await digest(cast.app.state.pool)
    problem(await refund(cast.olga, waiting["_id"]), 400)
    assert await digest(cast.app.state.pool) == before
    await tell(cast, event.but())
    assert (await suspense_minor(cast), await cash_minor(cast)) == (0, 1200000)


async def test_it_gives_parked_money_back_once_to_ten_who_ask_at_once(cast: Cast) -> None:
    life, _ = await paid_after(cast, "job closed")
    (waiting,) = await parked(cast)
    answers = await asyncio.gather(*(refund(cast.olga, waiting["_id"]) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    assert (await life.wallet(cast.alice), await suspense_minor(cast)) == (12000, 0)


async def test_it_attaches_or_refunds_parked_money_never_both(cast: Cast) -> None:
    for _ in range(4):
        life, _ = await paid_after(cast, "application withdrawn")
        await apply(cast.bob, life)
        wallet_before = await life.wallet(cast.alice)
        (waiting,) = await parked(cast)
        made, back = await asyncio.gather(
            create(cast.alice, life), refund(cast.olga, waiting["_id"])
        )
        life.contract = accepted(made, 201)["contract"]["_id"]
        assert back.status_code in (200, 400)
        held = (await life.proof())["held"]
        given_back = await life.wallet(cast.alice) - wallet_before
        assert (held, given_back) == ((0, 12000) if back.is_success else (12000, 0))
        assert await suspense_minor(cast) == 0


async def test_it_refuses_to_refund_a_payment_that_does_not_wait(cast: Cast) -> None:
    life, event = await checked_out(cast)
    assert event.metadata is not None
    payment = event.metadata["paymentId"]
    for status in (400, 400):
        before = await digest(cast.app.state.pool)
        problem(await refund(cast.olga, payment), status)
        assert await digest(cast.app.state.pool) == before
        await tell(cast, event)  # open at first, then captured
    assert await life.wallet(cast.alice) == 0


async def test_it_refunds_parked_money_for_admins_alone(cast: Cast) -> None:
    life, _ = await paid_after(cast, "job closed")
    (waiting,) = await parked(cast)
    before = await digest(cast.app.state.pool)
    for who, status in ((cast.alice, 403), (cast.bob, 403), (cast.anybody, 401)):
        problem(await refund(who, waiting["_id"]), status)
    problem(await refund(cast.olga, UNKNOWN_ID), 404)
    problem(await refund(cast.olga, life.job), 404)
    problem(await refund(cast.olga, "xyz"), 400)
    assert await digest(cast.app.state.pool) == before
