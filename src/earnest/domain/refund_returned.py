"""**Returned** refunds: money that a provider had given back, and that came back days later.

The payer's card is gone or the bank refuses it. The contract stays refunded, for nothing of what
it was settled by has changed; the money is the payer's and in transit, until an admin has had it
sent once more. Invariant: what is in transit is what was returned and not repaid.
"""

from datetime import datetime

import msgspec

from earnest.domain.change import Change
from earnest.domain.contract import Contract, Money
from earnest.domain.movement import RefundRepaid, RefundReturned
from earnest.domain.party import SYSTEM
from earnest.domain.payment import Payment
from earnest.domain.refund import DUE, Refund, RefundState
from earnest.domain.returning import step_alone
from earnest.ids import Ids


def is_settled(contract: Contract, refund: Refund) -> bool:
    """Whether the refund's parts were posted: it was done once."""
    tranches = (contract.tranches[part.tranche] for part in refund.parts)
    return all(tranche is not Money.REFUND_PENDING for tranche in tranches)


def hint(refund: Refund, now: datetime, ids: Ids) -> Change | None:
    """The provider has something to tell of it: it is looked up at once. None for one that is not
    under way and was never done, about which there is nothing to ask."""
    if refund.state not in DUE and refund.state is not RefundState.DONE:
        return None
    return step_alone(refund, "refund.hinted", SYSTEM, now, ids, due_at=now)


def confirm(refund: Refund, now: datetime, ids: Ids) -> Change:
    """It was looked up, and is as done as before."""
    return step_alone(refund, "refund.confirmed", SYSTEM, now, ids, due_at=None)


def came_back(refund: Refund, payment: Payment, now: datetime, ids: Ids, why: str) -> Change:
    """The refund that it was done by has failed: the money is in our balance again."""
    change = step_alone(
        refund,
        "refund.returned",
        SYSTEM,
        now,
        ids,
        state=RefundState.RETURNED,
        due_at=None,
        last_error=why,
    )
    movement = RefundReturned(refund.currency, payment.provider_account, refund.amount_minor)
    return msgspec.structs.replace(change, movements=(movement,))


def repay(refund: Refund, payment: Payment, provider_id: str, now: datetime, ids: Ids) -> Change:
    """What had come back has been given to the payer again."""
    change = step_alone(
        refund,
        "refund.repaid",
        SYSTEM,
        now,
        ids,
        state=RefundState.DONE,
        due_at=None,
        provider_refund_id=provider_id,
        last_error="",
    )
    movement = RefundRepaid(refund.currency, payment.provider_account, refund.amount_minor)
    return msgspec.structs.replace(change, movements=(movement,))
