"""Taking a **hint**: a provider's event says that there is news of a refund, a payout or a dispute.

Nothing that it tells is believed: what it is about becomes due at once, in the commit that consumes
the event, and the worker asks how it stands. So the order, the delay and the repetition of hints
cannot matter; one that is lost only means that it is looked up later.
"""

from datetime import datetime

import msgspec

from earnest.domain import charging_back, refund_returned, withdrawing
from earnest.domain.capture import consume, only_inbox
from earnest.domain.change import Change
from earnest.domain.chargeback import Chargeback
from earnest.domain.payment import Capture, Outcome, Payment
from earnest.domain.payout import Payout, PayoutState
from earnest.domain.refund import Refund, RefundState
from earnest.ids import Ids


class Hinted(msgspec.Struct, frozen=True):
    """What a hint is about, as far as it is ours: one of these, or a dispute's `payment` with its
    `chargeback` if there is one. `account`: it is news of an account that we pay people at."""

    refund: Refund | None = None
    payout: Payout | None = None
    payment: Payment | None = None
    chargeback: Chargeback | None = None
    account: bool = False


def take_hint(
    capture: Capture, hinted: Hinted, now: datetime, ids: Ids, *, dispute_id: str, undone: bool
) -> Change:
    """The Change that this verified event leads to; it always consumes the event.

    `dispute_id` begins a chargeback where there is none. What is done stays alone unless the
    provider says that it is `undone`. A dispute of a payment that we do not know (the capture's
    session_id) is parked: events overtake each other, and ours may be still to come.
    """
    if not capture.ours:
        return only_inbox(capture, Outcome.QUARANTINED, "another account or mode", now, ids)
    if hinted.refund is not None:
        settled = hinted.refund.state is RefundState.DONE and not undone
        change = None if settled else refund_returned.hint(hinted.refund, now, ids)
        return _or_nothing(change, capture, f"already {hinted.refund.state}", now, ids)
    if hinted.payout is not None:
        settled = hinted.payout.state is PayoutState.DONE and not undone
        change = None if settled else withdrawing.look_again(hinted.payout, now, ids)
        return _or_nothing(change, capture, f"already {hinted.payout.state}", now, ids)
    if hinted.chargeback is not None:
        change = charging_back.step_alone(
            hinted.chargeback, "chargeback.hinted", now, ids, due_at=now
        )
        return consume(change, capture, Outcome.APPLIED, "is looked up", now)
    if hinted.payment is not None:
        change = charging_back.notice(dispute_id, hinted.payment, now, ids)
        return consume(change, capture, Outcome.APPLIED, "began a chargeback", now)
    if hinted.account:
        return only_inbox(capture, Outcome.IGNORED, "is looked up when it matters", now, ids)
    if dispute_id and capture.session_id is not None:
        why = "its payment is not known yet"
        return only_inbox(capture, Outcome.PARKED, why, now, ids, dispute=dispute_id)
    return only_inbox(capture, Outcome.IGNORED, "not one of ours", now, ids)


def _or_nothing(
    change: Change | None, capture: Capture, otherwise: str, now: datetime, ids: Ids
) -> Change:
    if change is None:
        return only_inbox(capture, Outcome.IGNORED, otherwise, now, ids)
    return consume(change, capture, Outcome.APPLIED, "is looked up", now)
