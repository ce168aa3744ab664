"""Projections: a contract's facets in the words of the two public APIs. Pure and total."""

from earnest.domain.contract import HOLDING, Agreement, Contract, Dispute, Money, Work

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


_PARTNER_BEGUN = {Agreement.DRAFT: "draft", Agreement.PENDING: "pending"}
_PARTNER_ENDED = {
    Agreement.REJECTED: "rejected",
    Agreement.EXPIRED: "expired",
    Agreement.CANCELLED: "cancelled",
    Agreement.TERMINATED: "terminated",
}


def partner_status(contract: Contract) -> str:
    """One of the sixteen statuses of partner spec 7, in its API spelling.

    Money speaks first: what is on its way back, held, in dispute or gone says more than what
    was agreed. A contract is in escrow until its last tranche is settled; then it is completed
    if the buyer received something that the seller was paid for (E22).
    """
    tranches = set(contract.tranches)
    if Money.REFUND_PENDING in tranches:
        return "refundInProgress"
    if not tranches.isdisjoint(HOLDING):
        disputed = contract.dispute is Dispute.OPEN or contract.charged_back
        return "dispute" if disputed else "escrow"
    if contract.agreement in _PARTNER_ENDED and Money.REFUNDED not in tranches:
        return _PARTNER_ENDED[contract.agreement]
    if Money.AWAITING_PAYMENT in tranches:
        return "waitingForBankPayment"
    if contract.settled:
        if Money.RELEASED in tranches and contract.work is Work.COMPLETED:
            return "completed"
        return "refunded" if tranches & {Money.REFUNDED, Money.SPLIT} else "released"
    if contract.agreement in _PARTNER_BEGUN:
        return _PARTNER_BEGUN[contract.agreement]
    return "accepted" if contract.work is Work.NOT_STARTED else "approved"


PARTNER_STATUSES = (
    "draft",
    "pending",
    "accepted",
    "approved",
    "rejected",
    "expired",
    "completed",
    "cancelled",
    "waitingForBankPayment",
    "escrow",
    "dispute",
    "released",
    "refunded",
    "terminated",
    "refundInProgress",
)
"""Those of partner spec 7 that v1.5.0 still has, in its order."""

_MILESTONE = {
    Money.HELD: "escrow",
    Money.RELEASE_REQUESTED: "escrow",
    Money.RELEASED: "released",
    Money.REFUND_PENDING: "refundInProgress",
    Money.REFUNDED: "refunded",
    Money.SPLIT: "refunded",
}


def milestone_status(contract: Contract, tranche: int) -> str:
    """One of the milestone statuses of partner spec 7, in its API spelling."""
    state = contract.tranches[tranche]
    if state in _MILESTONE:
        return _MILESTONE[state]
    if contract.agreement in _PARTNER_ENDED:
        ended = _PARTNER_ENDED[contract.agreement]
        return "cancelled" if ended == "expired" else ended
    return "waitingForBankPayment" if state is Money.AWAITING_PAYMENT else "pending"


def step(before: Contract | None, after: Contract) -> dict[str, object]:
    """What an event of a partner's contract says of its status, and nothing of any other's."""
    if not after.is_partners:
        return {}
    previous = "draft" if before is None else partner_status(before)
    return {"status": partner_status(after), "previousStatus": previous}
