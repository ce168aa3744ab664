"""**Chargebacks**: a payer's bank takes a payment back, or asks about it.

    noticed -> warning           the bank only asks; nothing was taken
            -> open -> review    money was taken; evidence is wanted, then looked at
            -> won, lost

What the provider says of the dispute is looked up, never taken from an event. `lines` are its
balance transactions that were booked. Invariant: each of them is booked once, in its own amount.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.ids import PublicId


class ChargebackState(StrEnum):
    NOTICED = "noticed"
    WARNING = "warning"
    OPEN = "open"
    REVIEW = "review"
    WON = "won"
    LOST = "lost"


class Line(msgspec.Struct, frozen=True):
    """A booked balance transaction of the provider: negative when money was taken. `buyer_minor`
    and `seller_minor` of it (of the same sign) came out of their wallets, or went back there."""

    id: str
    amount_minor: int
    buyer_minor: int
    seller_minor: int


class Chargeback(msgspec.Struct, frozen=True):
    """One dispute at one version. `contract` is None for a payment that has not found one."""

    key: int
    public_id: PublicId
    business: int
    payment: int
    contract: int | None
    provider_account: int
    provider_dispute_id: str
    currency: str
    created_at: datetime
    # from here on: what changes
    version: int
    commit_id: int
    updated_at: datetime
    state: ChargebackState = ChargebackState.NOTICED
    amount_minor: int = 0
    reason: str = ""
    evidence_due_at: datetime | None = None
    lines: tuple[Line, ...] = ()
    attempts: int = 0
    due_at: datetime | None = None
    last_error: str = ""


class Booking(msgspec.Struct, frozen=True):
    """A line of the provider's books that is booked for its own sake, once: a `fee`, or money to
    our own `bank` (negative: from it)."""

    provider_account: int
    line_id: str
    kind: str
    amount_minor: int
    currency: str
