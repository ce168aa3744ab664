"""What the buyer is shown of a contract: where it **stands**, what it costs, how a payment ended.

Pure. Invariants: the **charges** sum to what the buyer is asked to pay; a payment is called
successful only when its money is on the ledger, and failed only when nobody can pay it any more.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from earnest.domain.contract import LIVE, Agreement, Contract, Money
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.pricing import ORDER, LineType, Payer


class Standing(StrEnum):
    """Whether a contract can be paid for, and if not, why."""

    PAYABLE = "payable"
    PROCESSING = "processing"
    PAID = "paid"
    RETURNED = "returned"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class Result(StrEnum):
    """How the payment of a contract ended. OPEN: it has not, as far as we were told; ARRIVING:
    it has, and word of it is on its way."""

    SUCCESS = "success"
    FAILED = "failed"
    PROCESSING = "processing"
    ARRIVING = "arriving"
    OPEN = "open"


class Charge(msgspec.Struct, frozen=True):
    """One line of what the buyer pays, in minor units."""

    type: LineType
    amount_minor: int


class Part(msgspec.Struct, frozen=True):
    """A milestone with all that the buyer pays for it."""

    name: str
    description: str
    due_at: datetime
    amount_minor: int


_RETURNED = frozenset({Money.REFUND_PENDING, Money.REFUNDED, Money.SPLIT})


def standing_of(contract: Contract) -> Standing:
    """Money speaks first: what is paid is paid, whatever became of the agreement."""
    tranches = frozenset(contract.tranches)
    if contract.funded:
        return Standing.RETURNED if tranches <= _RETURNED else Standing.PAID
    if contract.agreement not in LIVE:
        is_rejected = contract.agreement is Agreement.REJECTED
        return Standing.REJECTED if is_rejected else Standing.CANCELLED
    return Standing.PROCESSING if Money.AWAITING_PAYMENT in tranches else Standing.PAYABLE


def result_of(contract: Contract, payment: Payment | None) -> Result:
    """What a partner may be told of the payment."""
    if contract.funded:
        return Result.SUCCESS
    match payment.state if payment else None:
        case PaymentState.PROCESSING:
            return Result.PROCESSING
        case PaymentState.FAILED | PaymentState.EXPIRED | PaymentState.REFUNDED:
            return Result.FAILED
    return Result.OPEN


def charges_of(contract: Contract) -> tuple[Charge, ...]:
    """The base, then what the buyer pays on top of it, line by line; no lines of nothing."""
    tranches = contract.terms.tranches
    sums = dict.fromkeys(ORDER, 0)
    sums[LineType.CONTRACT_AMOUNT] = sum(tranche.base_minor for tranche in tranches)
    for tranche in tranches:
        for line in tranche.lines:
            if line.payer is Payer.BUYER:
                sums[line.type] += line.amount_minor
    return tuple(Charge(kind, amount) for kind, amount in sums.items() if amount)


def parts_of(contract: Contract) -> tuple[Part, ...]:
    """The milestones; none for a contract without."""
    terms = contract.terms
    if not terms.milestones:
        return ()
    return tuple(
        Part(
            milestone.name,
            milestone.description,
            datetime.fromisoformat(milestone.due_date),
            tranche.charge_minor,
        )
        for milestone, tranche in zip(terms.milestones, terms.tranches, strict=True)
    )
