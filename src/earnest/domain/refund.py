"""**Refunds** to the source: money that a payment provider is to give back to a payer.

    requested -> planned -> sent -> done       the provider has given it back
              -> declined        -> unknown    nobody knows yet: it is looked up, never guessed
                                 -> failed     the provider refuses for good
    done -> returned                           the payer's bank sent it back, days later

A refund is the intent of one provider call (invariant 14): it is written before the call is made
and carries that call's idempotency keys (`earnest.actions.calls`). Until it is done, the money
stays held and its tranches are refund_pending; `parts` says what then becomes of each, and is what
is posted.
What was returned is in transit until an admin has it sent again: the contract stays refunded.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.domain.pricing import Line
from earnest.ids import PublicId


class RefundKind(StrEnum):
    """Why the money goes back: FULL and PARTIAL were asked for (E6), CANCELLATION is by the
    policy of a contract that was cancelled, LATE came when the contract had ended."""

    FULL = "full"
    PARTIAL = "partial"
    CANCELLATION = "cancellation"
    LATE = "late"


class RefundState(StrEnum):
    REQUESTED = "requested"
    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    RETURNED = "returned"
    DECLINED = "declined"


DUE = frozenset({RefundState.PLANNED, RefundState.SENT, RefundState.UNKNOWN})
"""The worker has to do something about it."""

DEAD = frozenset({RefundState.FAILED, RefundState.RETURNED})
"""Nobody does anything about it until an admin has the provider asked again."""


class Part(msgspec.Struct, frozen=True):
    """What becomes of one tranche; the parts sum to what it holds, in minor units.

    `lines` are the fees and taxes that stay paid, a retention among them.
    """

    tranche: int
    buyer_minor: int
    seller_minor: int
    lines: tuple[Line, ...]


class Refund(msgspec.Struct, frozen=True):
    """One refund at one version. `amount_minor` is what the buyer gets, all parts together.

    `calls` counts the idempotency keys that its call has used, `attempts` its tries. One that is
    done and has a `due_at` is looked up again. `provider_refund_id` is the provider's refund that
    it was done by, or that failed last.
    """

    key: int
    public_id: PublicId
    business: int
    contract: int
    payment: int
    kind: RefundKind
    parts: tuple[Part, ...]
    amount_minor: int
    currency: str
    reason: str
    created_at: datetime
    # from here on: what changes
    version: int
    commit_id: int
    updated_at: datetime
    state: RefundState = RefundState.PLANNED
    attempts: int = 0
    calls: int = 1
    due_at: datetime | None = None
    provider_refund_id: str | None = None
    last_error: str = ""

    @property
    def seller_minor(self) -> int:
        return sum(part.seller_minor for part in self.parts)
