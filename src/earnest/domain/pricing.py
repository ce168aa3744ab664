"""Pricing: what a contract costs whom, line by line.

A **fee plan** is data of the business: rules applied in order to the base amount. A **line**
says who pays how much to whom. The rule for every number (partner decision E3): integer minor
units, half up per line, a tax on the *rounded* fee, computed once for the whole contract and
then allocated to its tranches by largest remainder, so that every list reconciles exactly.
The stored lines are what the ledger posts: nothing is computed a second time.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from earnest.domain.money import allocate, share_bps
from earnest.errors import Refused


class LineType(StrEnum):
    """What a line is for; CONTRACT_AMOUNT is the base that the others are computed from."""

    CONTRACT_AMOUNT = "contractAmount"
    ESCROW_FEE = "escrowFee"
    ESCROW_FEE_TAX = "escrowFeeTax"
    PLATFORM_FEE = "externalPlatformFee"
    PLATFORM_FEE_TAX = "externalPlatformFeeTax"


class Payer(StrEnum):
    """On top of the base (BUYER) or out of it (SELLER)."""

    BUYER = "buyer"
    SELLER = "seller"


class Payee(StrEnum):
    """The account that a fee or tax is posted to; see earnest.ledger.accounts."""

    ESCROW_FEE_INCOME = "escrow_fee_income"
    PLATFORM_FEE_INCOME = "platform_fee_income"
    TAX_PAYABLE = "tax_payable"
    PARTNER_PAYABLE = "partner_payable"


class FeeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rate_bps` of `of` (the base, or a fee computed before), kept within the caps."""

    line: LineType
    rate_bps: int
    payer: Payer
    payee: Payee
    of: LineType = LineType.CONTRACT_AMOUNT
    minor_min: int = 0
    minor_max: int | None = None


class Line(msgspec.Struct, frozen=True):
    """One priced line of a tranche."""

    type: LineType
    payer: Payer
    payee: Payee
    amount_minor: int


class PricedTranche(msgspec.Struct, frozen=True):
    """One part of the contract's money: its base and its fee lines, in minor units."""

    base_minor: int
    lines: tuple[Line, ...]

    @property
    def charge_minor(self) -> int:
        """What the buyer pays in: the base and the lines that are on top of it."""
        return self.base_minor + self._paid_by(Payer.BUYER)

    @property
    def net_minor(self) -> int:
        """What a full release leaves the seller: the base less the lines out of it."""
        return self.base_minor - self._paid_by(Payer.SELLER)

    @property
    def fees_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)

    def _paid_by(self, payer: Payer) -> int:
        return sum(line.amount_minor for line in self.lines if line.payer is payer)


class FeesExceedAmount(Refused):
    """The amount is too small for the fees of this business."""


def price(bases_minor: Sequence[int], plan: Sequence[FeeRule]) -> tuple[PricedTranche, ...]:
    """Price a contract whose tranches have these bases, one tranche for one base.

    >>> fee = FeeRule(LineType.ESCROW_FEE, 250, Payer.BUYER, Payee.ESCROW_FEE_INCOME)
    >>> [t.charge_minor for t in price((8272, 7184, 17977, 37312), (fee,))]
    [8479, 7364, 18426, 38245]
    >>> price((70745,), (fee,))[0].charge_minor
    72514

    Raises FeesExceedAmount when the seller's lines would eat a whole base.
    """
    whole = sum(bases_minor)
    amounts = {LineType.CONTRACT_AMOUNT: whole}
    columns: list[tuple[Line, ...]] = []
    for rule in plan:
        amount = max(share_bps(amounts[rule.of], rule.rate_bps), rule.minor_min)
        if rule.minor_max is not None:
            amount = min(amount, rule.minor_max)
        amounts[rule.line] = amount
        columns.append(
            tuple(
                Line(rule.line, rule.payer, rule.payee, part)
                for part in allocate(amount, bases_minor)
            )
        )
    rows = zip(*columns, strict=True) if columns else (() for _ in bases_minor)
    tranches = tuple(PricedTranche(base, row) for base, row in zip(bases_minor, rows, strict=True))
    if any(tranche.net_minor < 0 for tranche in tranches):
        raise FeesExceedAmount
    return tranches
