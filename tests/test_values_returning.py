"""A partner's refunds from the asking to the last word that is told of them: in values alone."""

from typing import Any

import msgspec
import pytest

from earnest.domain import returning
from earnest.domain.contract import Dispute, Work
from earnest.domain.refund import Part, RefundKind, RefundState
from earnest.domain.refusals import NotFunded
from till import BROKER, NOW, Till, a_business


def paid(**settings: Any) -> Till:
    """Milestones of 600.00 and 400.00 that the buyer has paid."""
    till = Till.open(a_business(**settings), (60_000, 40_000))
    assert till.fund() == "ok"
    return till


def told(till: Till, since: int = 0) -> list[tuple[str, Any, Any]]:
    """What is told from the `since`-th event on: the type, the status, the one before."""
    said = [(event.type, msgspec.json.decode(event.body)) for event in till.events[since:]]
    return [(type_, body["status"], body["previousStatus"]) for type_, body in said]


# -- how it begins --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_paid", [False, True])
def test_a_cancelled_contract_says_who_ended_it_when_and_why(is_paid: bool) -> None:
    till = paid() if is_paid else Till.open(a_business(), (60_000, 40_000))
    change = returning.cancel(
        *(till.contract, till.payment if is_paid else None, BROKER, NOW, till.ids),
        by="seller",
        reason="Ill.",
    )
    after = change.contract
    assert after is not None
    assert (after.agreement, after.cancelled_at, after.cancelled_by) == ("cancelled", NOW, "seller")
    assert (after.cancelled_work, after.cancel_reason) == (Work.NOT_STARTED, "Ill.")
    assert [one.reason for one in (change.refund,) if one] == ["Ill."] * is_paid


def test_nothing_goes_back_of_what_no_payment_brought() -> None:
    till = paid()
    how: dict[str, Any] = {"milestone": None, "amount_minor": None, "reason": ""}
    with pytest.raises(NotFunded):
        returning.request(
            *(till.contract, till.business, None, BROKER, NOW, till.ids),
            kind=RefundKind.FULL,
            **how,
        )
    with pytest.raises(NotFunded):
        returning.cancel(till.contract, None, BROKER, NOW, till.ids, by="buyer", reason="")


def test_what_comes_for_a_contract_that_had_ended_goes_back_for_that_reason() -> None:
    till = Till.open(a_business(), (60_000, 40_000))
    assert till.act("cancel") == till.fund() == "ok"
    (refund,) = till.refunds
    assert (refund.kind, refund.state, refund.reason) == (
        *("late", "planned", "The contract had ended."),
    )
    assert [(one.buyer_minor, one.seller_minor, one.lines) for one in refund.parts] == [
        (tranche.charge_minor, 0, ()) for tranche in till.contract.terms.tranches
    ]
    assert (refund.version, refund.commit_id) == (1, till.contract.commit_id)


def test_a_cancelled_contract_is_shared_by_what_was_done_when_it_was_cancelled() -> None:
    contract = paid(cancellation_started_bps=1_500, cancellation_ongoing_bps=4_000).contract
    base_minor = contract.terms.tranches[0].net_minor
    for cancelled_work, seller_minor in (
        (None, base_minor * 40 // 100),
        (Work.STARTED, base_minor * 15 // 100),
    ):
        later = msgspec.structs.replace(contract, work=Work.ONGOING, cancelled_work=cancelled_work)
        part = returning.part_of(later, RefundKind.CANCELLATION, 0, 0)
        assert part.seller_minor == seller_minor


# -- how it ends ----------------------------------------------------------------------------------


def test_a_refund_that_settles_a_contract_ends_its_dispute() -> None:
    till = paid()
    assert till.act("dispute") == till.act("refund", milestone=0) == "ok"
    assert till.settle() == 1
    assert (till.contract.dispute, till.contract.settled_at) == (Dispute.OPEN, None)
    assert till.act("refund", milestone=1) == "ok"
    assert till.settle() == 1
    assert (till.contract.dispute, till.contract.settled_at) == (Dispute.RESOLVED, NOW)


def test_a_refund_that_settles_a_contract_without_a_dispute_makes_none() -> None:
    till = paid()
    assert till.act("refund") == "ok"
    assert till.settle() == 1
    assert (till.contract.dispute, till.contract.settled_at) == (Dispute.NONE, NOW)


def test_the_last_refund_of_finished_work_completes_the_contract() -> None:
    till = paid()
    for verb in ("approve", "deliver", "receive"):
        assert till.act(verb) == "ok"
    assert till.act("release", milestone=0) == till.act("refund", milestone=1) == "ok"
    before = len(till.events)
    assert till.settle() == 1
    assert told(till, before) == [
        ("refund.full-succeeded", "refunded", "refundInProgress"),
        ("contract.refunded", "refunded", "refundInProgress"),
        ("contract.completed", "completed", "refunded"),
    ]
    assert till.contract.work is Work.COMPLETED
    till.look()


def test_the_last_refund_of_unfinished_work_completes_nothing() -> None:
    till = paid()
    assert till.act("refund") == "ok"
    before = len(till.events)
    assert till.settle() == 1
    assert told(till, before) == [
        ("refund.full-succeeded", "refunded", "refundInProgress"),
        ("contract.refunded", "refunded", "refundInProgress"),
    ]
    assert till.contract.work is Work.NOT_STARTED


def test_a_refund_that_is_done_is_not_due_and_has_no_error_any_more() -> None:
    till = paid()
    assert till.act("refund") == "ok"
    (refund,) = till.refunds
    tried = msgspec.structs.replace(refund, state=RefundState.SENT, last_error="timeout")
    change = returning.settle(till.contract, tried, till.payment, "re_1", NOW, till.ids)
    assert change.contract is not None
    assert change.refund == msgspec.structs.replace(
        tried,
        version=2,
        commit_id=change.contract.commit_id,
        state=RefundState.DONE,
        due_at=None,
        provider_refund_id="re_1",
        last_error="",
    )


@pytest.mark.parametrize(
    ("kind", "seller_minor", "word"),
    [
        (RefundKind.FULL, 0, "full"),
        (RefundKind.PARTIAL, 0, "partial"),
        (RefundKind.PARTIAL, 100, "partial"),
        (RefundKind.CANCELLATION, 0, "full"),
        (RefundKind.CANCELLATION, 1, "partial"),
        (RefundKind.LATE, 0, "full"),
    ],
)
def test_a_refund_is_partial_by_its_kind_or_when_the_seller_is_left_something(
    kind: RefundKind, seller_minor: int, word: str
) -> None:
    till = paid()
    assert till.act("refund", milestone=0) == "ok"
    (refund,) = till.refunds
    part = Part(0, 60_000 - seller_minor, seller_minor, ())
    as_told = msgspec.structs.replace(refund, kind=kind, parts=(part,))
    change = returning.settle(till.contract, as_told, till.payment, "re_1", NOW, till.ids)
    assert change.events[0].type == f"refund.{word}-succeeded"
