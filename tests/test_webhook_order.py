"""POST /webhook: genuine events that come late, too early, or after the contract has ended.

Rows 91 and 92 of spec/abuse-cases.md, and D14 of the marketplace spec.
"""

import asyncio

import pytest

from checkout_event import (
    EXPIRED,
    FAILED,
    SUCCEEDED,
    assert_unpaid,
    cash_minor,
    inbox,
    opened,
    suspense_minor,
    tell,
    told_of,
)
from conftest import TestDatabase
from digest import rows_by_table
from earnest.store.verify import verify
from life import Life, accepted, post_event
from web import UNKNOWN_ID, Cast, problem

# -- whatever becomes of the money afterwards -------------------------------------------------

# Refunds, payouts and disputes only say that there is something to look up: test_event_hints.
OUT_OF_ORDER = {
    # what the provider tells: the state of the contract in which it does
    "charge.refunded": ("created", "paid", "released", "refunded"),
    "payment_intent.payment_failed": ("paid", "released"),
    EXPIRED: ("paid", "released", "refunded", "canceled"),
    FAILED: ("paid", "released", "refunded", "canceled"),
    "checkout.session.completed": ("paid", "released", "refunded", "canceled"),
    SUCCEEDED: ("paid", "released", "refunded"),
}


PAID = ("checkout.session.completed", SUCCEEDED)


@pytest.mark.abuse(92)
async def test_it_leaves_the_books_alone_whatever_comes_out_of_order(
    cast: Cast, database: TestDatabase
) -> None:
    """No rows but the inbox's and the trail's: what was paid, released or refunded stays so."""
    for kind, points in OUT_OF_ORDER.items():
        for point in points:
            life = await Life.at(cast, point)
            event = await told_of(cast, life.session or await life.checkout())
            before = await rows_by_table(cast.app.state.pool)
            late = event.but(type=kind, payment_status="paid" if kind in PAID else "unpaid")
            await tell(cast, late)
            await tell(cast, late)
            after = await rows_by_table(cast.app.state.pool)
            changed = {name for name in after if after[name] != before[name]}
            assert changed <= {"public.provider_event", "public.event"}, f"{kind} when {point}"
            assert (await inbox(cast))[late.id] == "ignored", f"{kind} when {point}"
            if point == "created":
                await tell(cast, event)
                assert (await life.proof())["held"] == 12000
    assert (await verify(database.app_dsn)).violation is None


# -- money for nobody, a stranger, or nothing -------------------------------------------------

NOBODYS: dict[str, dict[str, str]] = {
    "another client": {"clientId": "mallory"},
    "another freelancer": {"freelancerId": "mallet"},
    "each for the other": {"clientId": "bob", "freelancerId": "alice"},
    "an admin": {"clientId": "olga"},
    "a job of nobody": {"jobId": UNKNOWN_ID},
    "a client of nobody": {"clientId": UNKNOWN_ID},
    "ids that are none": {"jobId": "xyz", "clientId": "", "freelancerId": "%00"},
    "another payment": {"paymentId": UNKNOWN_ID},
    "ten thousand letters": {"jobId": "6" * 10_000},
    "a query": {"jobId": "' OR 1=1--"},
}
OF_CONTRACTS = ("contract", "contract_terms", "payment", "balance", "job", "application")


@pytest.mark.abuse(91)
@pytest.mark.parametrize("point", ["begin", "created", "canceled"])
async def test_it_keeps_money_that_is_nobodys_out_of_every_contract(
    cast: Cast, database: TestDatabase, point: str
) -> None:
    life = await (Life.begin(cast) if point == "begin" else Life.at(cast, "created"))
    event = await told_of(cast, await life.checkout())
    if point == "canceled":
        await life.cancel(cast.alice)
    assert event.metadata is not None
    before = await rows_by_table(cast.app.state.pool)
    for number, (what, other) in enumerate(NOBODYS.items(), 1):
        ids = {key: getattr(getattr(cast, who, None), "id", who) for key, who in other.items()}
        told = event.but(metadata=event.metadata | ids, payment_id=f"pi_strange_{number}")
        await tell(cast, told)
        assert (await inbox(cast))[told.id] == "quarantined", what
    after = await rows_by_table(cast.app.state.pool)
    for table in OF_CONTRACTS:
        assert after[f"public.{table}"] == before[f"public.{table}"], table
    # It is one session's money, whatever is said of it.
    assert await suspense_minor(cast) == await cash_minor(cast) == 1200000
    assert (await verify(database.app_dsn)).violation is None


# -- after the cancel (D14) -------------------------------------------------------------------


async def test_it_holds_money_that_comes_after_the_cancel_for_a_refund(cast: Cast) -> None:
    life, event = await opened(cast)
    await life.cancel(cast.alice)
    await tell(cast, event)
    seen = await life.seen()
    assert (seen["status"], seen["escrowPaid"]) == ("Canceled", True)
    proof = await life.proof()
    assert (proof["funded"], proof["held"]) == (12000, 12000)
    assert await suspense_minor(cast) == 0
    escrow = await life.refund()
    assert (escrow["status"], escrow["amount"]) == ("refunded", 12000)
    assert (await life.wallet(cast.alice), await life.wallet(cast.bob)) == (10800, 0)
    proof = await life.proof()
    assert (proof["toClient"], proof["fees"], proof["held"], proof["holds"]) == (
        10800,
        1200,
        0,
        True,
    )


async def test_it_refunds_late_money_by_the_work_done_at_the_cancel(cast: Cast) -> None:
    life, event = await opened(cast)
    await life.approve()
    await life.cancel(cast.bob)
    await tell(cast, event)
    await life.refund()
    assert (await life.wallet(cast.alice), await life.wallet(cast.bob)) == (9180, 1620)


async def test_it_funds_the_contract_that_was_made_after_the_cancel(cast: Cast) -> None:
    life, event = await opened(cast)
    canceled = life.contract
    await life.cancel(cast.alice)
    await life.create()
    assert life.contract != canceled
    await tell(cast, event)
    assert (await life.proof())["held"] == 12000
    life.contract = canceled
    await assert_unpaid(life)


async def test_it_loses_no_money_when_cancel_and_payment_meet(cast: Cast) -> None:
    life, event = await opened(cast)
    url = f"/api/client/cancel-contract/{life.contract}"
    paid, canceled = await asyncio.gather(post_event(cast, event.body), cast.alice.delete(url))
    assert (paid.status_code, canceled.status_code) == (200, 200)
    assert (await life.seen())["status"] == "Canceled"
    assert (await life.proof())["held"] == 12000
    await life.refund()
    assert await life.wallet(cast.alice) == 10800


async def test_it_creates_one_contract_when_payment_and_create_meet(cast: Cast) -> None:
    for _ in range(4):
        life = await Life.begin(cast)
        event = await told_of(cast, await life.checkout())
        body = {"freelancerId": cast.bob.id, "amount": 12000}
        url = f"/api/client/create-contract/{life.job}"
        paid, made = await asyncio.gather(
            post_event(cast, event.body), cast.alice.post(url, json=body)
        )
        assert paid.status_code == 200, paid.text
        life.contract = accepted(made, 201)["contract"]["_id"]
        assert (await life.proof())["held"] == 12000
        problem(await cast.alice.post(url, json=body), 400)
