"""What a provider tells of refunds, payouts and disputes is looked up at once, once, and never
believed: whatever comes, in whatever order, the books say what a lookup said."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from deal import Deal
from digest import digest
from earnest.actions import chargebacks, hints, payouts
from life import Life, post_event, provider_events
from partners import Broker
from paying_out import balance, fetch, seen, sound, withdrawn, work
from web import Cast, caller, problem

INBOX = "SELECT type, outcome, reason FROM provider_event WHERE session_id IS NULL ORDER BY type"
OUTBOX = "SELECT body FROM sandbox.outbox WHERE session_id IS NULL ORDER BY position"
NOBODY = "0" * 24


def event(type_: str, kind: str, id_: str = "", **of_object: Any) -> dict[str, Any]:
    """An event about an object of our own account; `id_` is the event's."""
    return {
        "id": id_ or f"evt_{type_}",
        "object": "event",
        "type": type_,
        "created": 1_780_000_000,
        "livemode": False,
        "data": {"object": {"id": f"{kind}_1", "object": kind, "livemode": False, **of_object}},
    }


async def hear(cast: Cast, *events: Any, times: int = 1) -> None:
    """The provider tells, and is answered."""
    for one in events:
        body = one if isinstance(one, bytes) else msgspec.json.encode(one)
        for _ in range(times):
            answer = await post_event(cast, body)
            assert answer.status_code == 200, answer.text


async def told_by_sandbox(cast: Cast, type_: str) -> list[bytes]:
    bodies = [bytes(row[0]) for row in await fetch(cast.app, OUTBOX)]
    return [body for body in bodies if json.loads(body)["type"].startswith(type_)]


async def inbox(cast: Cast) -> list[tuple[Any, ...]]:
    return await fetch(cast.app, INBOX)


# -- refunds ------------------------------------------------------------------------------------

REFUND = "SELECT public_id, state, version, due_at <= business_now() FROM refund"


async def refunding(broker: Broker) -> str:
    """The id of a refund that waits for the worker."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    ((refund, *_),) = await fetch(broker.app, REFUND)
    return str(refund)


async def test_it_looks_a_refund_up_at_once_and_only_once_for_each_event(
    cast: Cast, broker: Broker
) -> None:
    refund = await refunding(broker)
    created = event("refund.created", "refund", metadata={"refundId": refund}, status="pending")
    await hear(cast, created, times=3)
    await asyncio.gather(*(hear(cast, created) for _ in range(8)))
    assert await fetch(cast.app, REFUND) == [(refund, "planned", 2, True)]
    assert await inbox(cast) == [("refund.created", "applied", "is looked up")]
    await sound(cast.app)


@pytest.mark.abuse(92)
async def test_it_leaves_a_refund_that_is_done_alone_unless_it_came_back(
    cast: Cast, broker: Broker
) -> None:
    refund = await refunding(broker)
    deal = Deal(broker, {})
    assert await deal.settle() == 1
    of_it: dict[str, Any] = {"metadata": {"refundId": refund}}
    done = event("charge.refund.updated", "refund", status="succeeded", **of_it)
    await hear(cast, done)
    assert await inbox(cast) == [("charge.refund.updated", "ignored", "already done")]
    failed = event("refund.failed", "refund", status="failed", **of_it)
    await hear(cast, failed, times=2)
    ((_, state, _, is_due),) = await fetch(cast.app, REFUND)
    assert (state, is_due) == ("done", True)
    await sound(cast.app)
    assert await deal.settle() == 1, "it is looked up, and found as done as before"
    ((_, state, _, is_due),) = await fetch(cast.app, REFUND)
    assert (state, is_due) == ("done", None)
    await sound(cast.app)


# -- payouts ------------------------------------------------------------------------------------


async def test_it_hears_at_once_that_a_bank_sent_a_payout_back(cast: Cast) -> None:
    await Life.at(cast, "released")
    payout = await withdrawn(cast.bob, 800)
    await work(cast.app)
    assert (await seen(cast.bob, payout))["status"] == "paid"
    await cast.app.state.provider.arrive_due()
    await hear(cast, *await told_by_sandbox(cast, "payout."), times=2)
    assert (await seen(cast.bob, payout))["status"] == "paid"
    before = await inbox(cast)
    assert {outcome for _, outcome, _ in before} == {"ignored"}
    answer = await cast.anybody.post(f"/sandbox/payouts/{payout['_id']}/fail")
    assert answer.status_code == 200, answer.text
    await hear(cast, *await told_by_sandbox(cast, "payout.failed"), times=2)
    await sound(cast.app)
    for _ in range(4):  # no time goes by
        await payouts.send_due(cast.app.state.core)
    assert (await seen(cast.bob, payout))["status"] == "failed"
    assert await balance(cast.bob) == 10800
    await hear(cast, *await told_by_sandbox(cast, "payout."))
    await sound(cast.app)


async def test_it_hears_at_once_that_a_bank_took_a_payout(cast: Cast) -> None:
    await Life.at(cast, "released")
    payout = await withdrawn(cast.bob, 800)
    for _ in range(2):
        await payouts.send_due(cast.app.state.core)
    assert (await seen(cast.bob, payout))["status"] != "paid"
    ((account,),) = await fetch(cast.app, "SELECT external_account FROM payout")
    by_reference = event("payout.paid", "payout", metadata={"payoutId": payout["_id"]})
    await hear(cast, by_reference | {"account": account}, times=3)
    (hinted,) = await fetch(cast.app, "SELECT version FROM payout WHERE due_at <= business_now()")
    assert hinted
    await sound(cast.app)


# -- disputes -----------------------------------------------------------------------------------

CHARGEBACK = "SELECT state, version, provider_dispute_id FROM chargeback"


async def disputed(cast: Cast, *outcomes: str) -> tuple[Life, list[bytes]]:
    """Alice's bank takes back what she paid; what the provider tells of that."""
    life = await Life.at(cast, "paid")
    for outcome in ("opened", *outcomes):
        body = {"session": life.session, "outcome": outcome}
        answer = await cast.anybody.post("/sandbox/disputes", json=body)
        assert answer.status_code == 200, answer.text
    return life, await told_by_sandbox(cast, "charge.dispute.")


@pytest.mark.abuse(92)
async def test_it_begins_one_chargeback_whichever_event_of_a_dispute_comes_first(
    cast: Cast,
) -> None:
    life, told = await disputed(cast)
    assert len(told) == 2
    await asyncio.gather(*(hear(cast, body) for body in reversed(told * 4)))
    (chargeback,) = await fetch(cast.app, CHARGEBACK)
    assert chargeback[:2] == ("noticed", 2)
    await sound(cast.app)
    assert await chargebacks.look_up_due(cast.app.state.core) == 1
    ((state, *_),) = await fetch(cast.app, CHARGEBACK)
    assert state == "open"
    assert (await life.proof())["holds"] is True
    await hear(cast, *told)
    assert await chargebacks.look_up_due(cast.app.state.core) == 0, "these were consumed"
    await sound(cast.app)


async def test_it_asks_again_about_a_dispute_that_was_closed(cast: Cast) -> None:
    _, told = await disputed(cast, "won")
    *first, last = told
    await hear(cast, *first)
    await chargebacks.look_up_due(cast.app.state.core)
    ((state, *_),) = await fetch(cast.app, CHARGEBACK)
    assert state == "won", "what is looked up is how it stands now"
    await hear(cast, last)
    assert await chargebacks.look_up_due(cast.app.state.core) == 1
    await sound(cast.app)


async def test_it_parks_a_dispute_that_comes_before_its_payment(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    await cast.app.state.provider.complete(life.session, "paid")
    body = {"session": life.session, "outcome": "opened"}
    assert (await cast.anybody.post("/sandbox/disputes", json=body)).status_code == 200
    await hear(cast, *await told_by_sandbox(cast, "charge.dispute."), times=2)
    core = cast.app.state.core
    assert {row[1:] for row in await parked(cast)} == {("parked", "its payment is not known yet")}
    assert await hints.notice_waiting(core) == 0
    await sound(cast.app)
    await hear(cast, *await provider_events(cast, life.session))
    assert await hints.notice_waiting(core) == 1, "two events, one dispute"
    assert await hints.notice_waiting(core) == 0
    await sound(cast.app)
    assert await chargebacks.look_up_due(core) == 1
    ((state, *_),) = await fetch(cast.app, CHARGEBACK)
    assert state == "open"
    await sound(cast.app)


async def test_it_parks_a_dispute_of_a_partners_payment_too(cast: Cast, broker: Broker) -> None:
    deal = await Deal.at(broker, "pending")
    path = f"/sandbox/checkout/{deal.token}/complete"
    answer = await cast.anybody.post(path, json={"outcome": "paid"})
    session = answer.json()["id"]
    body = {"session": session, "outcome": "opened"}
    assert (await cast.anybody.post("/sandbox/disputes", json=body)).status_code == 200
    await hear(cast, *await told_by_sandbox(cast, "charge.dispute."))
    await deal.hear(session)
    assert await hints.notice_waiting(cast.app.state.core) == 1
    assert await chargebacks.look_up_due(cast.app.state.core) == 1
    ((state, *_),) = await fetch(cast.app, CHARGEBACK)
    assert state == "open"
    await sound(cast.app)


async def parked(cast: Cast) -> list[tuple[Any, ...]]:
    return await fetch(
        cast.app,
        "SELECT type, outcome, reason FROM provider_event WHERE type LIKE 'charge.dispute.%'",
    )


async def test_it_parks_disputes_of_somebody_elses_payments_and_leaves_them(cast: Cast) -> None:
    await Life.at(cast, "paid")
    await hear(cast, event("charge.dispute.created", "dispute", payment_intent="pi_unknown"))
    assert [row[1] for row in await parked(cast)] == ["parked"]
    assert await hints.notice_waiting(cast.app.state.core) == 0
    assert await fetch(cast.app, CHARGEBACK) == []
    await sound(cast.app)


# -- what is not ours ---------------------------------------------------------------------------

FOREIGN = [
    event("refund.updated", "refund", metadata={"refundId": NOBODY}),
    event("refund.updated", "refund", metadata={"refundId": "another system's 7"}),
    event("refund.updated", "refund", metadata={"refundId": "ABCDEF" * 4}),
    event("refund.failed", "refund", status="failed", payment_intent="pi_unknown"),
    event("payout.paid", "payout", metadata={"payoutId": NOBODY}, status="paid"),
    event("payout.failed", "payout", status="failed"),
    event("charge.dispute.closed", "dispute", payment_intent=None),
    event("account.updated", "account"),
    event("capability.updated", "capability", account="acct_unknown"),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: one["type"])
async def test_it_takes_note_of_what_is_not_ours_and_does_nothing(
    cast: Cast, foreign: dict[str, Any]
) -> None:
    await hear(cast, foreign, times=2)
    assert await inbox(cast) == [(foreign["type"], "ignored", "not one of ours")]
    await sound(cast.app)


@pytest.mark.abuse(82)
@pytest.mark.parametrize("changes", [{"livemode": True}, {"account": "acct_of_somebody"}])
async def test_it_quarantines_hints_of_another_mode_or_account(
    cast: Cast, broker: Broker, changes: dict[str, Any]
) -> None:
    refund = await refunding(broker)
    failed = event("refund.failed", "refund", metadata={"refundId": refund}, status="failed")
    paid = event("payout.paid", "payout")
    for one in (failed, paid):
        await hear(cast, one | changes)
    assert {(outcome, reason) for _, outcome, reason in await inbox(cast)} == {
        ("quarantined", "another account or mode")
    }
    assert await fetch(cast.app, REFUND) == [(refund, "planned", 1, True)]
    await sound(cast.app)


MALFORMED = [
    event("refund.updated", "charge"),
    event("refund.updated", "refund", metadata={"refundId": 7}),
    event("refund.updated", "refund", status=["failed"]),
    event("refund.updated", "refund", metadata=[]),
    event("payout.paid", "payout") | {"data": {"object": {"object": "payout"}}},
    event("charge.dispute.created", "dispute", payment_intent=["pi_1"]),
    event("capability.updated", "capability"),
    event("account.updated", "capability", account="acct_1"),
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_it_refuses_hints_that_no_provider_would_send(
    cast: Cast, broker: Broker, body: dict[str, Any]
) -> None:
    await refunding(broker)
    before = await digest(cast.app.state.pool)
    problem(await post_event(cast, msgspec.json.encode(body)), 400)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_a_forged_hint(cast: Cast, broker: Broker) -> None:
    refund = await refunding(broker)
    body = msgspec.json.encode(event("refund.failed", "refund", metadata={"refundId": refund}))
    before = await digest(cast.app.state.pool)
    async with caller(cast.app) as mallory:
        forged = {"Stripe-Signature": "t=1780000000,v1=" + "0" * 64}
        problem(await mallory.post("/webhook", content=body, headers=forged), 400)
    assert await digest(cast.app.state.pool) == before
