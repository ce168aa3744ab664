"""Movements: what happens to money, in the words of escrow.

`earnest.ledger.movements.expand` turns each into transfers between accounts. All amounts are
minor units of the one `currency`; `tranche` is an index into the contract's tranches.
"""

import msgspec

from earnest.domain.pricing import Line


class Funded(msgspec.Struct, frozen=True, tag=True):
    """The buyer's money arrived for a tranche and is held."""

    contract: int
    tranche: int
    currency: str
    amount_minor: int
    provider_account: int


class Parked(msgspec.Struct, frozen=True, tag=True):
    """Captured money that belongs to no contract yet (D2), or never will (quarantine, D14)."""

    currency: str
    amount_minor: int
    provider_account: int
    quarantined: bool = False


class Attached(msgspec.Struct, frozen=True, tag=True):
    """Parked money found its contract."""

    contract: int
    tranche: int
    currency: str
    amount_minor: int
    provider_account: int


class ParkedRefunded(msgspec.Struct, frozen=True, tag=True):
    """Parked money goes back to the buyer's wallet."""

    buyer: int
    currency: str
    amount_minor: int
    provider_account: int


class Released(msgspec.Struct, frozen=True, tag=True):
    """A held tranche goes to the seller, less the priced lines."""

    business: int
    contract: int
    tranche: int
    currency: str
    seller: int
    seller_minor: int
    lines: tuple[Line, ...]


class Refunded(msgspec.Struct, frozen=True, tag=True):
    """A held tranche goes back to the buyer, less the policy's share and the fees."""

    business: int
    contract: int
    tranche: int
    currency: str
    buyer: int
    buyer_minor: int
    seller: int
    seller_minor: int
    lines: tuple[Line, ...]


class RefundedToSource(msgspec.Struct, frozen=True, tag=True):
    """A provider has given a held tranche's money back to the payer, less the seller's share and
    the fees."""

    business: int
    contract: int
    tranche: int
    currency: str
    provider_account: int
    buyer_minor: int
    seller: int
    seller_minor: int
    lines: tuple[Line, ...]


Movement = Funded | Parked | Attached | ParkedRefunded | Released | Refunded | RefundedToSource
