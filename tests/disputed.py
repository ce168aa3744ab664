"""A payment, its contract, a chargeback about it and what comes of it, as values: for tests."""

from datetime import timedelta
from typing import Any

import msgspec

from earnest.domain import charging_back
from earnest.domain.bearing import Dossier, Exposure, Taken
from earnest.domain.change import Change
from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import Contract, Money
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.refund import Part, Refund, RefundState
from earnest.ids import PublicId
from hired import PROVIDER, payment, refund
from reachable import NOW, SHOP, Drawn, beginnings

CHARGE_MINOR = 1_200_000
THEN = NOW + timedelta(hours=1)
LATER = NOW + timedelta(hours=2)
DEADLINE = NOW + timedelta(days=7)
TAKEN = Taken("txn_1", -CHARGE_MINOR)


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


# -- what the provider says, and what comes of it --------------------------------------------------


def learn(
    state: str,
    exposure: Exposure,
    *taken: Taken,
    amount_minor: int = CHARGE_MINOR,
    chargeback: Chargeback | None = None,
) -> Change:
    """The provider says that a dispute is in this state, with these balance transactions."""
    told = Dossier(ChargebackState(state), amount_minor, "INR", "fraudulent", DEADLINE, taken)
    return charging_back.learn(chargeback or disputed(), told, exposure, THEN, LATER, Drawn().ids)


def about(money: str = "held", **changes: Any) -> Exposure:
    """A dispute about the payment of a contract whose money is in this state."""
    return Exposure(paid(), msgspec.structs.replace(contract_with(money), **changes))


def parked(**changes: Any) -> Exposure:
    return msgspec.structs.replace(Exposure(paid(PaymentState.PARKED), None), **changes)


def waiting(state: RefundState = RefundState.PLANNED, *tranches: int) -> Refund:
    """A refund of the contract that is not done."""
    parts = tuple(Part(index, 5, 0, ()) for index in tranches)
    return refund(state, parts=parts, amount_minor=5, due_at=NOW)


def contract_of(change: Change) -> Contract:
    assert change.contract is not None
    return change.contract


def chargeback_of(change: Change) -> Chargeback:
    assert change.chargeback is not None
    return change.chargeback


def told(change: Change) -> dict[str, Any]:
    """What each event says, by its type."""
    return {event.type: msgspec.json.decode(event.body) for event in change.events}
