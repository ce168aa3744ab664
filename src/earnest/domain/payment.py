"""Payments: one checkout that we asked a provider for, and what became of it.

    opening -> open -> captured            the money funded a contract
                    -> processing -> ...   a slow bank payment is under way
                    -> parked -> captured  paid, waits for its contract; or -> refunded,
                                           or -> charged_back when the payer's bank has it again
                    -> expired, failed     nothing was paid (a late payment is still taken)

A **capture** is what a provider's event says about a payment, in our words.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.ids import PublicId


class PaymentState(StrEnum):
    OPENING = "opening"
    OPEN = "open"
    PROCESSING = "processing"
    EXPIRED = "expired"
    FAILED = "failed"
    CAPTURED = "captured"
    PARKED = "parked"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"


PAYABLE = frozenset({PaymentState.OPENING, PaymentState.OPEN, PaymentState.PROCESSING})
"""The session can still be paid: the job's rate is frozen, no second session is opened."""

TAKEN = frozenset(
    {
        PaymentState.CAPTURED,
        PaymentState.PARKED,
        PaymentState.REFUNDED,
        PaymentState.CHARGED_BACK,
    }
)
"""The session's money has arrived: nothing that follows is a second funding (invariant 12)."""


class Payment(msgspec.Struct, frozen=True):
    """One payment at one version. `amount_minor` is what we asked the provider to collect,
    `metadata` what we asked it to repeat in its events."""

    key: int
    public_id: PublicId
    business: int
    job: int | None
    buyer: int
    seller: int
    provider_account: int
    amount_minor: int
    currency: str
    metadata: dict[str, str]
    created_at: datetime
    # from here on: what changes
    version: int
    commit_id: int
    updated_at: datetime
    state: PaymentState = PaymentState.OPENING
    contract: int | None = None
    session_id: str | None = None
    session_url: str = ""
    session_expires_at: datetime | None = None
    provider_payment_id: str | None = None
    captured_at: datetime | None = None


def checkout_metadata(
    payment: PublicId, of: dict[str, str], buyer: PublicId, seller: PublicId
) -> dict[str, str]:
    """What goes with a checkout to the provider, and comes back in its events (spec 3.2).

    `of` names the job or, without one, the contract.
    """
    return {"paymentId": payment, **of, "clientId": buyer, "freelancerId": seller}


class CaptureKind(StrEnum):
    PAID = "paid"
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    OTHER = "other"


class Capture(msgspec.Struct, frozen=True):
    """A verified provider event. `ours`: it happened on our account and in our mode."""

    provider: str
    provider_account: int
    event_id: str
    type: str
    kind: CaptureKind
    ours: bool
    occurred_at: datetime
    payload: bytes
    session_id: str | None = None
    provider_payment_id: str | None = None
    amount_minor: int = 0
    currency: str = ""
    metadata: dict[str, str] = {}


class Outcome(StrEnum):
    """What an inbound event led to."""

    APPLIED = "applied"
    IGNORED = "ignored"
    PARKED = "parked"
    QUARANTINED = "quarantined"


class Consumed(msgspec.Struct, frozen=True):
    """The inbox row of a provider event: it is consumed by the commit that it is part of.

    `took_money`: this event brought its session's money in. At most one event of a session
    does so as applied or parked, and at most one as quarantined (unique indexes, invariant 12).
    """

    capture: Capture
    outcome: Outcome
    reason: str
    received_at: datetime
    took_money: bool
