"""A job, who may be hired for it, its payment and a refund, as values."""

from typing import Any

import msgspec

from earnest.domain.hiring import Hire, Job
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.refund import Part, Refund, RefundKind, RefundState
from earnest.ids import PublicId
from reachable import ALICE, AMOUNT_MINOR, BOB, NOW, PARTNER, SHOP

PROVIDER = 3
BOBS_ID = PublicId("b" * 24)
LOGO = Job(7, PublicId("7" * 24), ALICE.key, "Logo", "A logo.", AMOUNT_MINOR, "INR", "Open")


def hire(**changes: Any) -> Hire:
    """Alice's job, for which Bob has applied; nothing else is there."""
    plain = Hire(LOGO, BOB.key, BOBS_ID, applied=True, contract=None, payment=None)
    return msgspec.structs.replace(plain, **changes)


def payment(state: PaymentState = PaymentState.OPEN, **changes: Any) -> Payment:
    plain = Payment(
        key=99,
        public_id=PublicId("9" * 24),
        business=SHOP.key,
        job=LOGO.key,
        buyer=ALICE.key,
        seller=BOB.key,
        provider_account=PROVIDER,
        amount_minor=AMOUNT_MINOR,
        currency="INR",
        metadata={},
        created_at=NOW,
        version=2,
        commit_id=1,
        updated_at=NOW,
        state=state,
    )
    return msgspec.structs.replace(plain, **changes)


def refund(state: RefundState = RefundState.SENT, **changes: Any) -> Refund:
    """500.00 of a partner's contract on their way back."""
    plain = Refund(
        key=77,
        public_id=PublicId("7" * 24),
        business=PARTNER.key,
        contract=33,
        payment=99,
        kind=RefundKind.FULL,
        parts=(Part(0, 50_000, 0, ()),),
        amount_minor=50_000,
        currency="INR",
        reason="late",
        created_at=NOW,
        version=3,
        commit_id=1,
        updated_at=NOW,
        state=state,
        attempts=2,
        calls=2,
        last_error="timeout",
    )
    return msgspec.structs.replace(plain, **changes)
