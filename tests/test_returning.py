"""Giving money back to its source, step by step, and news of it: in values alone (E6)."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from disputed import disputed
from earnest.domain import refund_returned, returning
from earnest.domain.change import Change
from earnest.domain.contract import Money
from earnest.domain.hint import Hinted, take_hint
from earnest.domain.movement import RefundRepaid, RefundReturned
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.payment import Capture, CaptureKind
from earnest.domain.payout import Payout, PayoutState
from earnest.domain.refund import Part, Refund, RefundState
from earnest.domain.refusals import WrongRole
from earnest.domain.returning import NotFailed, NotRequested
from earnest.domain.withdrawing import Funds, withdraw
from hired import PROVIDER, payment, refund
from reachable import ALICE, BOB, NOW, OLGA, PARTNER, SHOP, Drawn, beginnings

THEN = NOW + timedelta(hours=1)


def what_became(before: Refund, change: Change) -> dict[str, Any]:
    """The facts of the refund that are others now; it is one version on and told once."""
    assert change.refund is not None
    now = msgspec.structs.asdict(change.refund)
    assert now.pop("version") == before.version + 1
    assert now.pop("commit_id") == change.commit_id == change.events[0].key
    assert now.pop("updated_at") == change.recorded_at == change.occurred_at == THEN
    return {name: value for name, value in now.items() if getattr(before, name) != value}


def what_is_told(change: Change) -> tuple[str, dict[str, Any], str]:
    (event,) = change.events
    return event.type, msgspec.json.decode(event.body), event.actor


# -- an admin decides -----------------------------------------------------------------------------


def test_an_admin_lets_a_refund_go_and_it_is_due_at_once() -> None:
    before = refund(RefundState.REQUESTED)
    change = returning.approve(before, OLGA, THEN, Drawn().ids)
    assert what_became(before, change) == {"state": "planned", "due_at": THEN}
    assert what_is_told(change) == ("refund.approved", {"refund": 77}, "admin:5")
    assert change.events[0].subject == f"refund:{'7' * 24}"
    assert change.movements == ()


def test_an_admin_declines_it_and_the_money_is_held_as_before() -> None:
    _, paid = beginnings()
    waits = msgspec.structs.replace(
        paid, tranches=(Money.REFUND_PENDING, Money.REFUND_PENDING), business=PARTNER.key
    )
    before = refund(RefundState.REQUESTED)
    change = returning.decline(waits, before, OLGA, THEN, Drawn().ids, "No")
    assert change.contract is not None
    assert change.contract.tranches == ("held", "refund_pending")
    assert what_became(before, change) == {"state": "declined"}
    type_, body, _ = what_is_told(change)
    assert type_ == "refund.declined"
    assert body == {
        "refund": 77,
        "tranches": [0],
        "reason": "No",
        "status": "refundInProgress",
        "previousStatus": "refundInProgress",
    }


@pytest.mark.parametrize("state", [RefundState.FAILED, RefundState.RETURNED])
def test_an_admin_has_the_provider_asked_again_after_it_was_looked_up(state: RefundState) -> None:
    before = refund(state)
    change = returning.retry(before, OLGA, THEN, Drawn().ids)
    again = {"state": "unknown", "calls": 3, "due_at": THEN, "last_error": ""}
    assert what_became(before, change) == again
    assert what_is_told(change) == ("refund.retried", {"refund": 77}, "admin:5")


@pytest.mark.parametrize("actor", [ALICE, BOB, PARTNER, SYSTEM])
def test_nobody_else_decides(actor: Actor) -> None:
    _, paid = beginnings()
    ids = Drawn().ids
    with pytest.raises(WrongRole):
        returning.approve(refund(RefundState.REQUESTED), actor, THEN, ids)
    with pytest.raises(WrongRole):
        returning.decline(paid, refund(RefundState.REQUESTED), actor, THEN, ids, "")
    with pytest.raises(WrongRole):
        returning.retry(refund(RefundState.FAILED), actor, THEN, ids)


@pytest.mark.parametrize("state", RefundState)
def test_only_what_waits_is_decided_and_only_what_failed_is_asked_again(
    state: RefundState,
) -> None:
    _, paid = beginnings()
    ids = Drawn().ids
    if state is not RefundState.REQUESTED:
        with pytest.raises(NotRequested):
            returning.approve(refund(state), OLGA, THEN, ids)
        with pytest.raises(NotRequested):
            returning.decline(paid, refund(state), OLGA, THEN, ids, "")
    if state not in (RefundState.FAILED, RefundState.RETURNED):
        with pytest.raises(NotFailed):
            returning.retry(refund(state), OLGA, THEN, ids)


def test_a_step_tells_what_went_wrong_and_which_refund_of_the_provider_it_was() -> None:
    before = refund()
    change = returning.step_alone(
        before,
        "refund.failed",
        SYSTEM,
        THEN,
        Drawn().ids,
        last_error="gone",
        provider_refund_id="re_1",
    )
    body = {"refund": 77, "error": "gone", "providerRefund": "re_1"}
    assert what_is_told(change) == ("refund.failed", body, "system:0")
    assert what_became(before, change) == {"last_error": "gone", "provider_refund_id": "re_1"}


# -- what came back -------------------------------------------------------------------------------


def test_what_came_back_is_in_transit_and_says_why() -> None:
    before = refund(RefundState.DONE, due_at=NOW)
    change = refund_returned.came_back(before, payment(), THEN, Drawn().ids, "no such card")
    assert what_became(before, change) == {
        "state": "returned",
        "due_at": None,
        "last_error": "no such card",
    }
    told = {"refund": 77, "error": "no such card"}
    assert what_is_told(change) == ("refund.returned", told, "system:0")
    assert change.movements == (RefundReturned("INR", PROVIDER, 50_000),)
    assert type(change.movements[0]) is RefundReturned


def test_what_was_sent_again_is_done_again() -> None:
    before = refund(RefundState.SENT, due_at=NOW)
    change = refund_returned.repay(before, payment(), "re_2", THEN, Drawn().ids)
    assert what_became(before, change) == {
        "state": "done",
        "due_at": None,
        "provider_refund_id": "re_2",
        "last_error": "",
    }
    told = {"refund": 77, "providerRefund": "re_2"}
    assert what_is_told(change) == ("refund.repaid", told, "system:0")
    assert change.movements == (RefundRepaid("INR", PROVIDER, 50_000),)
    assert type(change.movements[0]) is RefundRepaid


def test_what_was_looked_up_and_is_done_is_not_due_any_more() -> None:
    before = refund(RefundState.DONE, due_at=NOW)
    change = refund_returned.confirm(before, THEN, Drawn().ids)
    assert what_became(before, change) == {"due_at": None}
    assert what_is_told(change) == ("refund.confirmed", {"refund": 77}, "system:0")


def test_its_parts_are_posted_once_none_of_its_tranches_waits() -> None:
    _, paid = beginnings()
    two = refund(parts=(Part(0, 5, 0, ()), Part(1, 5, 0, ())))
    for tranches, settled in (
        ((Money.REFUNDED, Money.SPLIT, Money.REFUND_PENDING), True),
        ((Money.REFUNDED, Money.REFUND_PENDING, Money.REFUNDED), False),
    ):
        contract = msgspec.structs.replace(paid, tranches=tranches)
        assert refund_returned.is_settled(contract, two) is settled


# -- hints ----------------------------------------------------------------------------------------

NEWS = Capture(
    provider="sandbox",
    provider_account=PROVIDER,
    event_id="evt_1",
    type="refund.updated",
    kind=CaptureKind.OTHER,
    ours=True,
    occurred_at=NOW,
    payload=b"{}",
)


def hinted(
    about: Hinted, *, dispute_id: str = "", undone: bool = False, **capture: Any
) -> tuple[str, str, Change]:
    """As what a hint was consumed, why, and what it changed."""
    news = msgspec.structs.replace(NEWS, **capture)
    change = take_hint(news, about, THEN, Drawn().ids, dispute_id=dispute_id, undone=undone)
    assert change.consumed is not None
    assert change.consumed.took_money is False
    return change.consumed.outcome, change.consumed.reason, change


DUE_REFUNDS = ("planned", "sent", "unknown")


@pytest.mark.parametrize("state", RefundState)
@pytest.mark.parametrize("undone", [False, True])
def test_news_of_a_refund_have_it_looked_up(state: RefundState, undone: bool) -> None:
    before = refund(state)
    outcome, why, change = hinted(Hinted(refund=before), undone=undone)
    if state in DUE_REFUNDS or (state is RefundState.DONE and undone):
        assert (outcome, why) == ("applied", "is looked up")
        assert change.refund is not None
        assert (change.refund.state, change.refund.due_at) == (state, THEN)
        assert change.events[0].type == "refund.hinted"
    else:
        assert (outcome, why, change.refund) == ("ignored", f"already {state}", None)


def bobs_payout(state: PayoutState) -> Payout:
    wallet = Funds(SHOP.key, BOB.key, "INR", 500, PROVIDER, "acct_bob", is_payable=True)
    made = withdraw(wallet, SHOP.settings, BOB, NOW, Drawn().ids, 500).payout
    assert made is not None
    return msgspec.structs.replace(made, state=state)


@pytest.mark.parametrize("state", PayoutState)
@pytest.mark.parametrize("undone", [False, True])
def test_news_of_a_payout_have_it_looked_up(state: PayoutState, undone: bool) -> None:
    outcome, why, change = hinted(Hinted(payout=bobs_payout(state)), undone=undone)
    if state in ("planned", "sent", "unknown") or (state is PayoutState.DONE and undone):
        assert (outcome, why) == ("applied", "is looked up")
        assert change.payout is not None
        assert change.payout.due_at == THEN
    else:
        assert (outcome, why, change.payout) == ("ignored", f"already {state}", None)


def test_news_of_a_dispute_have_it_looked_up_or_begin_it() -> None:
    known = Hinted(payment=payment(), chargeback=disputed())
    outcome, why, change = hinted(known, dispute_id="dp_1")
    assert (outcome, why) == ("applied", "is looked up")
    assert change.chargeback is not None
    assert (change.chargeback.due_at, change.chargeback.version) == (THEN, 2)
    assert change.events[0].type == "chargeback.hinted"
    outcome, why, change = hinted(Hinted(payment=payment()), dispute_id="dp_2")
    assert (outcome, why) == ("applied", "began a chargeback")
    assert change.chargeback is not None
    assert change.chargeback.provider_dispute_id == "dp_2"


@pytest.mark.parametrize(
    ("about", "more", "outcome", "why"),
    [
        (Hinted(refund=refund()), {"ours": False}, "quarantined", "another account or mode"),
        (Hinted(account=True), {}, "ignored", "is looked up when it matters"),
        (Hinted(), {}, "ignored", "not one of ours"),
        (Hinted(), {"session_id": "cs_1"}, "ignored", "not one of ours"),
        (Hinted(), {"dispute_id": "dp_1"}, "ignored", "not one of ours"),
        (
            Hinted(),
            {"dispute_id": "dp_1", "session_id": "cs_1"},
            "parked",
            "its payment is not known yet",
        ),
    ],
)
def test_other_news_only_say_that_they_were_heard(
    about: Hinted, more: dict[str, Any], outcome: str, why: str
) -> None:
    *was, change = hinted(about, **more)
    assert was == [outcome, why]
    assert (change.refund, change.payout, change.chargeback) == (None, None, None)
    said = {"type": "refund.updated", "reason": why}
    said |= {"dispute": "dp_1"} if outcome == "parked" else {}
    assert what_is_told(change) == (f"provider_event.{outcome}", said, "system:0")
