"""**Payouts**: money that leaves Earnest for the bank of whoever it belongs to.

    planned -> sent -> done       the bank has it (a bank may send it back for days: returns then)
                    -> unknown    nobody knows yet: it is looked up, never guessed
                    -> failed     it is in the wallet again
                    -> stuck      the provider refuses to give it back: an operator has to look

A payout has **legs**, each the intent of one provider call (invariant 14): the transfer from our
balance to the owner's account there, the payout from that to their bank, and the return of a
transfer that could not be paid out. Invariant: what left the wallet is in transit until the
transfer is made, at the provider until the payout is done, and otherwise comes back, once.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.ids import PublicId


class PayoutState(StrEnum):
    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    STUCK = "stuck"


STATUS = {
    PayoutState.PLANNED: "pending",
    PayoutState.SENT: "pending",
    PayoutState.UNKNOWN: "pending",
    PayoutState.STUCK: "pending",
    PayoutState.DONE: "paid",
    PayoutState.FAILED: "failed",
}
"""What the owner of the money sees: pending, paid, or failed and back in the wallet."""


class Leg(StrEnum):
    """Which call is next, or was last."""

    TRANSFER = "transfer"
    PAYOUT = "payout"
    RETURN = "return"


class Cause(StrEnum):
    """Whether its owner asked for it, or the business's schedule."""

    ASKED = "asked"
    SCHEDULED = "scheduled"


DUE = frozenset({PayoutState.PLANNED, PayoutState.SENT, PayoutState.UNKNOWN})
"""The worker has to do something about it."""


class Payout(msgspec.Struct, frozen=True):
    """One payout at one version. `party` None: what a business itself is owed.

    `external_account` is the provider's name of the account that it goes to; `calls` counts the
    idempotency keys that the present leg has used, `attempts` its tries.
    """

    key: int
    public_id: PublicId
    business: int
    party: int | None
    provider_account: int
    external_account: str
    cause: Cause
    amount_minor: int
    currency: str
    created_at: datetime
    # from here on: what changes
    version: int
    commit_id: int
    updated_at: datetime
    state: PayoutState = PayoutState.PLANNED
    leg: Leg = Leg.TRANSFER
    attempts: int = 0
    calls: int = 1
    due_at: datetime | None = None
    provider_transfer_id: str | None = None
    provider_payout_id: str | None = None
    paid_at: datetime | None = None
    last_error: str = ""

    @property
    def owner(self) -> str:
        """Whose money it is, as events name them."""
        whose = f"business:{self.business}"
        return whose if self.party is None else f"{whose}/party:{self.party}"
