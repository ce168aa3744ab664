"""A job, who may be hired for it, and its payment, as values: for tests of hiring and paying."""

from typing import Any

import msgspec

from earnest.domain.hiring import Hire, Job
from earnest.domain.payment import Payment, PaymentState
from earnest.ids import PublicId
from reachable import ALICE, AMOUNT_MINOR, BOB, NOW, SHOP

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
