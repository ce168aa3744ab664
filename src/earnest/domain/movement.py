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


class RefundReturned(msgspec.Struct, frozen=True, tag=True):
    """The payer's bank sent a refund back: the money is in our balance again, and still the
    payer's."""

    currency: str
    provider_account: int
    amount_minor: int


class RefundRepaid(RefundReturned, frozen=True, tag=True):
    """What had come back has been given to the payer again."""


class Withdrawn(msgspec.Struct, frozen=True, tag=True):
    """Money leaves a wallet, or what a business is owed (`party` None), to be paid out."""

    business: int
    party: int | None
    currency: str
    amount_minor: int
    provider_account: int


class PaidOut(Withdrawn, frozen=True, tag=True):
    """Withdrawn money has left our balance at the provider for its owner's account there."""


class PayoutRefused(Withdrawn, frozen=True, tag=True):
    """Withdrawn money did not leave: it is its owner's again."""


class PayoutReturned(Withdrawn, frozen=True, tag=True):
    """Money that had been paid out came back to our balance: it is its owner's again."""


class ChargedBack(msgspec.Struct, frozen=True, tag=True):
    """A payer's bank took money out of our balance: of it the buyer bears `buyer_minor` and the
    seller `seller_minor`, as far as their wallets go, the rest is ours."""

    currency: str
    provider_account: int
    amount_minor: int
    buyer: int
    buyer_minor: int
    seller: int
    seller_minor: int


class ChargebackReturned(ChargedBack, frozen=True, tag=True):
    """A payer's bank gave it back: everybody has what was taken."""


class ChargebackCovered(msgspec.Struct, frozen=True, tag=True):
    """A dispute is lost while the money was still held: that covers the loss."""

    contract: int
    tranche: int
    currency: str
    amount_minor: int
    provider_account: int


class ParkedCovered(msgspec.Struct, frozen=True, tag=True):
    """A dispute is lost while the money was parked: that covers the loss."""

    currency: str
    amount_minor: int
    provider_account: int


class Booked(msgspec.Struct, frozen=True, tag=True):
    """A line of the provider's books that nothing of ours caused: a fee, or money to our own bank;
    negative when it came back."""

    kind: str
    currency: str
    amount_minor: int
    provider_account: int


Movement = (
    Funded
    | Parked
    | Attached
    | ParkedRefunded
    | Released
    | Refunded
    | RefundedToSource
    | RefundReturned
    | RefundRepaid
    | Withdrawn
    | PaidOut
    | PayoutRefused
    | PayoutReturned
    | ChargedBack
    | ChargebackReturned
    | ChargebackCovered
    | ParkedCovered
    | Booked
)
