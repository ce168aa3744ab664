"""What payers' banks take back, as Stripe's double does it.

A **dispute** takes the disputed amount and a fee from the platform's balance when it opens, unless
it is only a **warning**, and gives the amount back when it is won. Invariant: each of these is a
balance transaction of its own, which the dispute lists.
"""

from typing import Literal

from stripe_books import Books, Call
from stripe_wire import Object, Refused

EVIDENCE_SECONDS = 7 * 24 * 60 * 60
Verdict = Literal["review", "won", "lost"]
_OVER = {"won", "lost", "warning_closed"}


def open_dispute(
    books: Books, charge: Object, *, amount: int, fee: int, reason: str, warning: bool
) -> Object:
    """A bank disputes a charge, or warns that it might."""
    if not 0 < amount <= charge["amount"] or disputed(books, charge) is not None:
        raise ValueError("this cannot be disputed, or not again")
    dispute = books.add(
        "du",
        "dispute",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={},
        evidence_details={
            "due_by": books.now + EVIDENCE_SECONDS,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=warning,
        livemode=False,
        metadata={},
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="warning_needs_response" if warning else "needs_response",
    )
    books.tell("charge.dispute.created", dispute)
    if not warning:
        charge["disputed"] = True
        _move(books, dispute, -amount, fee)
        books.tell("charge.dispute.funds_withdrawn", dispute)
    return dispute


def settle_dispute(books: Books, dispute: Object, verdict: Verdict, returned_fee: int) -> None:
    """Evidence was handed in, or the bank has decided."""
    warning = dispute["status"].startswith("warning_")
    if dispute["status"] in _OVER or (warning and verdict == "lost"):
        raise ValueError(f"a dispute that is {dispute['status']} does not become {verdict}")
    if verdict == "review":
        dispute["status"] = "warning_under_review" if warning else "under_review"
        dispute["evidence_details"] |= {"has_evidence": True, "submission_count": 1}
        books.tell("charge.dispute.updated", dispute)
        return
    dispute["status"] = "warning_closed" if warning else verdict
    books.tell("charge.dispute.closed", dispute)
    if verdict == "won" and not warning:
        _move(books, dispute, dispute["amount"], -returned_fee)
        books.tell("charge.dispute.funds_reinstated", dispute)


def _move(books: Books, dispute: Object, amount: int, fee: int) -> None:
    id_ = books.book(
        "adjustment",
        amount,
        dispute["currency"],
        dispute["id"],
        fee=fee,
        category="dispute" if amount < 0 else "dispute_reversal",
    )
    dispute["balance_transactions"].append(books.objects[id_])


def disputed(books: Books, charge: Object) -> Object | None:
    """The dispute of a charge that took its money and has not given it back."""
    found = books.of("dispute", charge=charge["id"])
    return next((one for one in found if one["status"] not in ("won", "warning_closed")), None)


def refuse_disputed(books: Books, charge: Object) -> None:
    """What a bank has taken, or may take, cannot be refunded."""
    found = disputed(books, charge)
    if found is not None and not found["is_charge_refundable"]:
        raise Refused("This charge is disputed.", code="charge_disputed", begun=True)


def find_dispute(books: Books, call: Call) -> Object:
    return books.find("dispute", call.ids[0], call.account)


def list_disputes(books: Books, call: Call) -> Object:
    names = ("charge", "payment_intent")
    wanted = {name: call.params[name] for name in names if name in call.params}
    return books.page(books.of("dispute", call.account, **wanted), call)
