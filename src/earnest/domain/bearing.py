"""Who bears what a payer's bank takes (ADR 0028): what is still held or parked; then the buyer, who
was given money back and now has it twice; then the seller; then us.

People bear no more than what they got of this payment and still have. Given back it goes the other
way round: to the seller first.
"""

from datetime import datetime

import msgspec

from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import HOLDING, Contract
from earnest.domain.movement import ChargebackReturned, ChargedBack, Movement
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.refund import Refund, RefundState


class Taken(msgspec.Struct, frozen=True):
    """One balance transaction of a dispute: negative when money was taken. Without its fee."""

    id: str
    amount_minor: int


class Dossier(msgspec.Struct, frozen=True):
    """A dispute as the provider knows it now."""

    state: ChargebackState
    amount_minor: int
    currency: str
    reason: str
    evidence_due_at: datetime | None
    lines: tuple[Taken, ...]


class Purse(msgspec.Struct, frozen=True):
    """Somebody's wallet, and how much of the payment came into it, less what chargebacks took of
    that."""

    wallet_minor: int = 0
    got_minor: int = 0

    @property
    def bears_minor(self) -> int:
        return max(0, min(self.wallet_minor, self.got_minor))

    def plus(self, minor: int) -> "Purse":
        return Purse(self.wallet_minor + minor, self.got_minor + minor)


class Exposure(msgspec.Struct, frozen=True):
    """What stands around a chargeback. `contract` is the one that the payment funded, if any;
    `others_lost_minor`: the amount of its other chargebacks that are lost; `others_open`: one of
    them is undecided."""

    payment: Payment
    contract: Contract | None
    buyer: Purse = Purse()
    seller: Purse = Purse()
    others_lost_minor: int = 0
    others_open: bool = False
    refunds: tuple[Refund, ...] = ()
    """Those of the contract that are neither done nor declined."""

    @property
    def is_refunding(self) -> bool:
        """Whether a refund may be happening at the provider now."""
        return any(
            refund.state in (RefundState.SENT, RefundState.UNKNOWN) for refund in self.refunds
        )

    @property
    def waits_minor(self) -> int:
        """What is still held, or parked: nobody has it yet."""
        if self.contract is not None:
            tranches = self.contract.terms.tranches
            return sum(tranches[index].charge_minor for index in self.contract.holding(*HOLDING))
        return self.payment.amount_minor if self.payment.state is PaymentState.PARKED else 0


def book(
    chargeback: Chargeback, exposure: Exposure, fresh: list[Taken]
) -> tuple[list[Line], list[Movement]]:
    """The lines of a dispute that are not booked yet, each with who bears it."""
    buyer, seller = exposure.buyer, exposure.seller
    by_buyer = -sum(line.buyer_minor for line in chargeback.lines)
    by_seller = -sum(line.seller_minor for line in chargeback.lines)
    lines: list[Line] = []
    movements: list[Movement] = []
    for one in fresh:
        if one.amount_minor < 0:
            beyond = max(0, -one.amount_minor - exposure.waits_minor)
            buyer_minor = -min(beyond, buyer.bears_minor)
            seller_minor = -min(beyond + buyer_minor, seller.bears_minor)
        else:
            seller_minor = min(one.amount_minor, max(0, by_seller))
            buyer_minor = min(one.amount_minor - seller_minor, max(0, by_buyer))
        buyer, seller = buyer.plus(buyer_minor), seller.plus(seller_minor)
        by_buyer, by_seller = by_buyer - buyer_minor, by_seller - seller_minor
        line = Line(one.id, one.amount_minor, buyer_minor, seller_minor)
        lines.append(line)
        movements.append(_moved(chargeback, exposure.payment, line))
    return lines, movements


def _moved(chargeback: Chargeback, payment: Payment, line: Line) -> Movement:
    kind = ChargedBack if line.amount_minor < 0 else ChargebackReturned
    return kind(
        currency=chargeback.currency,
        provider_account=chargeback.provider_account,
        amount_minor=abs(line.amount_minor),
        buyer=payment.buyer,
        buyer_minor=abs(line.buyer_minor),
        seller=payment.seller,
        seller_minor=abs(line.seller_minor),
    )
