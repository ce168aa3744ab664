"""The money proof of a contract: funded = released + refunded + fees + tax + held (invariant 3).

It is computed from the transfers that touch the contract's held accounts and from nothing else,
so it proves the ledger, not the contract's opinion of itself.
"""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from earnest.ledger.accounts import Kind, unpack


class Transferred(Protocol):
    @property
    def movement(self) -> str: ...
    @property
    def debit(self) -> int: ...
    @property
    def credit(self) -> int: ...
    @property
    def amount_minor(self) -> int: ...


class Proof(msgspec.Struct, frozen=True):
    """All in minor units of the contract's currency."""

    funded_minor: int
    to_seller_minor: int
    to_buyer_minor: int
    fees_minor: int
    tax_minor: int
    held_minor: int

    @property
    def holds(self) -> bool:
        gone = self.to_seller_minor + self.to_buyer_minor + self.fees_minor + self.tax_minor
        return self.funded_minor == gone + self.held_minor and self.held_minor >= 0


_FEES = frozenset({Kind.ESCROW_FEE_INCOME, Kind.PLATFORM_FEE_INCOME, Kind.PARTNER_PAYABLE})


def prove(transfers: Iterable[Transferred], *, buyer: int, seller: int, held_minor: int) -> Proof:
    """The proof over all `transfers` of a contract; `held_minor` is its running balance."""
    funded = to_seller = to_buyer = fees = tax = 0
    for transfer in transfers:
        if unpack(transfer.credit).kind is Kind.HELD:
            funded += transfer.amount_minor
            continue
        target = unpack(transfer.credit)
        if target.kind is Kind.WALLET and target.owner == seller:
            to_seller += transfer.amount_minor
        elif (target.kind is Kind.WALLET and target.owner == buyer) or (
            # What covers a chargeback is what the buyer's bank has given them back.
            target.kind in (Kind.REFUNDS_IN_TRANSIT, Kind.CHARGEBACK_LOSS)
        ):
            to_buyer += transfer.amount_minor
        elif target.kind is Kind.TAX_PAYABLE:
            tax += transfer.amount_minor
        elif target.kind in _FEES:
            fees += transfer.amount_minor
    return Proof(funded, to_seller, to_buyer, fees, tax, held_minor)
