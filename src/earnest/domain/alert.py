"""**Alerts**: what an operator must see, each once, with what to do about it.

An alert names the row that it is about and repeats nothing that people wrote. It is open until an
admin closes it, or until its cause is gone; a closed one stays on record. Invariant: for one
cause there is one alert, however often a worker looks.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.errors import NotFound
from earnest.ids import PublicId

HOLD_DAYS = (60, 80, 89)
"""Days of 24 hours after which held money is told of: card networks and Stripe let a platform hold
what it captured for 90 days at most (docs.stripe.com/connect/manual-payouts), so the last day is
the last on which it can still be sent where it belongs."""

EVIDENCE_DAYS = (3, 1)
"""Days before a dispute's evidence has to be in."""

LATE_SECONDS = 15 * 60
LATE_ATTEMPTS = 6
"""A provider has not done what we ask of it for as long as that, however often we asked: by the
pauses in between (`earnest.actions.calls`) the sixth attempt is ten minutes after the first, so
that what had waited for an admin before is not called late at its first attempt."""


class AlertNotFound(NotFound):
    """Alert not found"""


class AlertKind(StrEnum):
    EVENT_QUARANTINED = "event_quarantined"
    REFUND_FAILED = "refund_failed"
    REFUND_RETURNED = "refund_returned"
    PAYOUT_STUCK = "payout_stuck"
    CHARGEBACK_OPEN = "chargeback_open"
    EVIDENCE_DUE = "evidence_due"
    CHARGEBACK_LOST = "chargeback_lost"
    CALL_LATE = "call_late"
    WEBHOOK_DISABLED = "webhook_disabled"
    HOLD_LIMIT = "hold_limit"
    RECONCILIATION = "reconciliation"


WHAT: dict[AlertKind, str] = {
    AlertKind.EVENT_QUARANTINED: "An event of the payment provider was quarantined",
    AlertKind.REFUND_FAILED: "A refund failed for good",
    AlertKind.REFUND_RETURNED: "A payer's bank sent a refund back",
    AlertKind.PAYOUT_STUCK: "A payout is stuck",
    AlertKind.CHARGEBACK_OPEN: "A payer's bank wants a payment back",
    AlertKind.EVIDENCE_DUE: "The evidence of a dispute is due soon",
    AlertKind.CHARGEBACK_LOST: "A dispute is lost",
    AlertKind.CALL_LATE: "The provider has not done for 15 minutes what it was asked",
    AlertKind.WEBHOOK_DISABLED: "A partner's webhook was disabled",
    AlertKind.HOLD_LIMIT: "Money is held for too long",
    AlertKind.RECONCILIATION: "The books and the payment provider's differ",
}

ADVICE: dict[AlertKind, str] = {
    AlertKind.EVENT_QUARANTINED: "Compare it with the provider's dashboard. Money that it brought"
    " is in suspense: give it back there, then close this alert.",
    AlertKind.REFUND_FAILED: "Mend what the provider names, then PUT"
    " /api/admin/refunds/{id}/retry.",
    AlertKind.REFUND_RETURNED: "Ask the payer for another way, or PUT"
    " /api/admin/refunds/{id}/retry to send it once more.",
    AlertKind.PAYOUT_STUCK: "Look at the account at the provider, then PUT"
    " /api/admin/payouts/{id}/retry.",
    AlertKind.CHARGEBACK_OPEN: "Hand in evidence at the provider's dashboard before the deadline,"
    " or accept the dispute there.",
    AlertKind.EVIDENCE_DUE: "Hand in evidence at the provider's dashboard: after the deadline the"
    " dispute is lost.",
    AlertKind.CHARGEBACK_LOST: "What it cost is at GET /api/admin/chargebacks. Speak with the"
    " seller about what was paid out already, then close this alert.",
    AlertKind.CALL_LATE: "It is asked again by itself. Look at the provider's status page and at"
    " the key in EARNEST_STRIPE_SECRET_KEY.",
    AlertKind.WEBHOOK_DISABLED: "Tell the partner: it is enabled by POST"
    " /apps/api/webhooks once the receiver answers again.",
    AlertKind.HOLD_LIMIT: "Settle it before day 90: see the proposal at GET /api/admin/holds.",
    AlertKind.RECONCILIATION: "See GET /api/admin/reconciliations/{id}, and what"
    " docs/reconciliation.md says of each cause.",
}

PROPOSALS = ("release", "refund", "ask_both", "attach_or_refund", "wait_for_bank")
"""What might be done with money that is held for too long: release it (the work is completed),
refund it (the contract has ended, or nothing was begun), ask both parties; parked money is attached
to its contract or given back."""


class Alert(msgspec.Struct, frozen=True):
    """One alert. `amount_minor` and `currency` are None where no money is meant; `detail` is what
    a machine said of it: a code, a deadline, a proposal."""

    key: int
    public_id: PublicId
    kind: AlertKind
    subject: str
    stage: int
    amount_minor: int | None
    currency: str | None
    detail: str
    raised_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None

    @property
    def advice(self) -> str:
        """What to do, with the id of what it is about."""
        return ADVICE[self.kind].replace("{id}", self.subject.partition(":")[2])


def stage_of(days: int) -> int:
    """The last limit that money held for so many days has passed; 0 for none.

    >>> [stage_of(days) for days in (59, 60, 79, 80, 400)]
    [0, 60, 60, 80, 89]
    """
    return max((limit for limit in HOLD_DAYS if days >= limit), default=0)
