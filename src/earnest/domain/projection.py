"""Projections: a contract's facets in the words of the two public APIs. Pure and total."""

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work

_ENDED = frozenset(
    {Agreement.REJECTED, Agreement.EXPIRED, Agreement.CANCELLED, Agreement.TERMINATED}
)
_BY_WORK = {
    Work.NOT_STARTED: "Pending",
    Work.STARTED: "Started",
    Work.ONGOING: "Ongoing",
    Work.DELIVERED: "Ongoing",
    Work.COMPLETED: "Completed",
}
MARKETPLACE_STATUSES = ("Pending", "Started", "Ongoing", "Completed", "Canceled")

_RELEASE = {
    Money.RELEASE_REQUESTED: "Requested",
    Money.RELEASED: "Approved",
    Money.REFUNDED: "Approved",
    Money.SPLIT: "Approved",
}


def marketplace_status(contract: Contract) -> str:
    """One of the five statuses of marketplace spec 2.2."""
    if contract.agreement in _ENDED:
        return "Canceled"
    if contract.agreement is not Agreement.ACCEPTED:
        return "Pending"
    return _BY_WORK[contract.work]


def release_fund_status(contract: Contract) -> str:
    """NotRequested, Requested or Approved: how far the contract's money is (spec 2.4)."""
    return _RELEASE.get(contract.money, "NotRequested")


def escrow_status(contract: Contract) -> str:
    """funded, released or refunded: what became of the money that arrived (D15)."""
    match contract.money:
        case Money.RELEASED:
            return "released"
        case Money.REFUNDED | Money.SPLIT:
            return "refunded"
    return "funded"


_PARTNER_ENDED = {
    Agreement.REJECTED: "rejected",
    Agreement.EXPIRED: "expired",
    Agreement.CANCELLED: "cancelled",
    Agreement.TERMINATED: "terminated",
}


def partner_status(contract: Contract) -> str:
    """One of the sixteen statuses of partner spec 7, in its API spelling.

    Money speaks first: what is held, in dispute, on its way back or gone says more than what
    was agreed. A contract is in escrow until its last tranche is settled.
    """
    tranches = set(contract.tranches)
    if contract.dispute is Dispute.OPEN:
        return "dispute"
    if Money.REFUND_PENDING in tranches:
        return "refundInProgress"
    if tranches & {Money.HELD, Money.RELEASE_REQUESTED}:
        return "escrow"
    if Money.AWAITING_PAYMENT in tranches:
        return "waitingForBankPayment"
    if contract.agreement in _PARTNER_ENDED and Money.REFUNDED not in tranches:
        return _PARTNER_ENDED[contract.agreement]
    if tranches <= {Money.RELEASED, Money.REFUNDED, Money.SPLIT}:
        if tranches & {Money.REFUNDED, Money.SPLIT}:
            return "refunded"
        return "completed" if contract.work is Work.COMPLETED else "released"
    return {Agreement.DRAFT: "draft", Agreement.PENDING: "pending"}.get(
        contract.agreement, "accepted" if contract.work is Work.NOT_STARTED else "approved"
    )
