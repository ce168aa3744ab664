"""A payment, its contract and a chargeback about it, as values: for tests of who bears what."""

import msgspec

from earnest.domain.chargeback import Chargeback, Line
from earnest.domain.contract import Contract, Money
from earnest.domain.payment import Payment, PaymentState
from earnest.ids import PublicId
from hired import PROVIDER, payment
from reachable import NOW, SHOP, beginnings

CHARGE_MINOR = 1_200_000


def paid(state: PaymentState = PaymentState.CAPTURED) -> Payment:
    """Alice's 12,000.00 for Bob."""
    return payment(state, public_id=PublicId("0" * 24), amount_minor=CHARGE_MINOR)


def contract_with(money: str) -> Contract:
    """A contract whose money is there."""
    _, funded = beginnings()
    return msgspec.structs.replace(funded, tranches=(Money(money),))


def disputed(*lines: Line) -> Chargeback:
    """A chargeback of which these lines are booked."""
    return Chargeback(
        key=5,
        public_id=PublicId("5" * 24),
        business=SHOP.key,
        payment=99,
        contract=None,
        provider_account=PROVIDER,
        provider_dispute_id="dp_1",
        currency="INR",
        created_at=NOW,
        version=1,
        commit_id=1,
        updated_at=NOW,
        due_at=NOW,
        lines=lines,
    )
