"""What an operator is told, word for word, and when: in values alone."""

from datetime import timedelta

import pytest

from earnest.actions.calls import backoff
from earnest.domain.alert import (
    EVIDENCE_DAYS,
    LATE_ATTEMPTS,
    LATE_SECONDS,
    PROPOSALS,
    WHAT,
    Alert,
    AlertKind,
    stage_of,
)
from earnest.ids import PublicId
from reachable import NOW

# The kind as programs see it; what a letter calls it; what to do about refund, payout or day 42.
TOLD = [
    (
        "event_quarantined",
        "An event of the payment provider was quarantined",
        (
            "Compare it with the provider's dashboard. Money that it brought is in suspense: give"
            " it back there, then close this alert."
        ),
    ),
    (
        "refund_failed",
        "A refund failed for good",
        "Mend what the provider names, then PUT /api/admin/refunds/42/retry.",
    ),
    (
        "refund_returned",
        "A payer's bank sent a refund back",
        "Ask the payer for another way, or PUT /api/admin/refunds/42/retry to send it once more.",
    ),
    (
        "payout_stuck",
        "A payout is stuck",
        "Look at the account at the provider, then PUT /api/admin/payouts/42/retry.",
    ),
    (
        "chargeback_open",
        "A payer's bank wants a payment back",
        (
            "Hand in evidence at the provider's dashboard before the deadline, or accept the"
            " dispute there."
        ),
    ),
    (
        "evidence_due",
        "The evidence of a dispute is due soon",
        "Hand in evidence at the provider's dashboard: after the deadline the dispute is lost.",
    ),
    (
        "chargeback_lost",
        "A dispute is lost",
        (
            "What it cost is at GET /api/admin/chargebacks. Speak with the seller about what was"
            " paid out already, then close this alert."
        ),
    ),
    (
        "call_late",
        "The provider has not done for 15 minutes what it was asked",
        (
            "It is asked again by itself. Look at the provider's status page and at the key in"
            " EARNEST_STRIPE_SECRET_KEY."
        ),
    ),
    (
        "webhook_disabled",
        "A partner's webhook was disabled",
        (
            "Tell the partner: it is enabled by POST /apps/api/webhooks once the receiver answers"
            " again."
        ),
    ),
    (
        "hold_limit",
        "Money is held for too long",
        "Settle it before day 90: see the proposal at GET /api/admin/holds.",
    ),
    (
        "reconciliation",
        "The books and the payment provider's differ",
        (
            "See GET /api/admin/reconciliations/42, and what docs/reconciliation.md says of each"
            " cause."
        ),
    ),
]


@pytest.mark.parametrize(("kind", "what", "advice"), TOLD, ids=[row[0] for row in TOLD])
def test_it_says_what_happened_and_what_to_do(kind: str, what: str, advice: str) -> None:
    told = Alert(1, PublicId("1" * 24), AlertKind(kind), "row:42", 0, None, None, "", NOW)
    assert (WHAT[told.kind], told.advice) == (what, advice)
    assert (told.closed_at, told.closed_by) == (None, None)


def test_it_knows_no_other_kinds() -> None:
    assert [str(kind) for kind in AlertKind] == [row[0] for row in TOLD]


def test_held_money_is_told_of_after_60_80_and_89_days() -> None:
    days = (0, 59, 60, 79, 80, 88, 89, 400)
    assert [stage_of(one) for one in days] == [0, 0, 60, 60, 80, 80, 89, 89]


def test_what_might_be_done_with_held_money_has_a_word_each() -> None:
    assert PROPOSALS == ("release", "refund", "ask_both", "attach_or_refund", "wait_for_bank")


def test_evidence_is_asked_for_three_days_and_one_day_before_it_is_due() -> None:
    assert EVIDENCE_DAYS == (3, 1)


def test_a_call_is_late_after_a_quarter_of_an_hour_and_six_attempts() -> None:
    assert (timedelta(seconds=LATE_SECONDS), LATE_ATTEMPTS) == (timedelta(minutes=15), 6)
    asked = sum((backoff(attempts) for attempts in range(1, LATE_ATTEMPTS)), timedelta())
    assert timedelta(minutes=10) < asked < timedelta(seconds=LATE_SECONDS)
