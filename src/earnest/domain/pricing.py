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
    """What a line is for; CONTRACT_AMOUNT is the base that the others are computed from, and
    RETENTION is kept of what a partial refund leaves the seller (E6): never part of a plan."""

    CONTRACT_AMOUNT = "contractAmount"
    ESCROW_FEE = "escrowFee"
    ESCROW_FEE_TAX = "escrowFeeTax"
    PLATFORM_FEE = "externalPlatformFee"
    PLATFORM_FEE_TAX = "externalPlatformFeeTax"
    RETENTION = "retention"


ORDER = tuple(LineType)
"""How lines are listed; what the seller gets comes after them."""


class Payer(StrEnum):
    """On top of the base (BUYER), out of it (SELLER), or half and half (SPLIT).

    SPLIT stands in plans only: it makes two lines, and the odd minor unit is the buyer's.
    """

    BUYER = "buyer"
    SELLER = "seller"
    SPLIT = "split"


class Payee(StrEnum):
    """The account that a fee or tax is posted to; see earnest.ledger.accounts."""

    ESCROW_FEE_INCOME = "escrow_fee_income"
    PLATFORM_FEE_INCOME = "platform_fee_income"
    TAX_PAYABLE = "tax_payable"
    PARTNER_PAYABLE = "partner_payable"


class FeeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rate_bps` of `of` (the base, or a fee computed before), kept within the caps.

    `minor_min` and `minor_max` are minor units; the minimum never exceeds the maximum. A rate of
    0 without a minimum makes lines of 0.
    """

    line: LineType
    rate_bps: int
    payer: Payer
    payee: Payee
    of: LineType = LineType.CONTRACT_AMOUNT
    minor_min: int = 0
    minor_max: int | None = None


class Line(msgspec.Struct, frozen=True):
    """One priced line of a tranche, borne by the buyer or by the seller."""

    type: LineType
    payer: Payer
    payee: Payee
    amount_minor: int

    @property
    def role(self) -> str:
        """Who is shown to be concerned (partner spec 4): what a buyer pays to somebody besides
        the two parties and the partner is a third party's."""
        if self.payer is Payer.SELLER or self.payee is Payee.PARTNER_PAYABLE:
            return self.payer
        return "thirdParty"


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
        return sum([line.amount_minor for line in self.lines if line.payer is payer])


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
    amounts = {LineType.CONTRACT_AMOUNT: sum(bases_minor)}
    columns: list[tuple[Line, ...]] = []
    for rule in plan:
        amount = amounts[rule.line] = charge(rule, amounts[rule.of])
        for payer, part in _by_payer(rule.payer, amount):
            columns.append(
                tuple(
                    Line(rule.line, payer, rule.payee, share)
                    for share in allocate(part, bases_minor)
                )
            )
    rows = zip(*columns, strict=True) if columns else (() for _ in bases_minor)
    tranches = tuple(PricedTranche(base, row) for base, row in zip(bases_minor, rows, strict=True))
    if any(tranche.net_minor < 0 for tranche in tranches):
        raise FeesExceedAmount
    return tranches


def charge(rule: FeeRule, of_minor: int) -> int:
    """What `rule` takes of `of_minor`, in minor units: half up, then the caps."""
    amount = max(share_bps(of_minor, rule.rate_bps), rule.minor_min)
    return amount if rule.minor_max is None else min(amount, rule.minor_max)


def _by_payer(payer: Payer, amount: int) -> tuple[tuple[Payer, int], ...]:
    if payer is not Payer.SPLIT:
        return ((payer, amount),)
    return ((Payer.BUYER, amount - amount // 2), (Payer.SELLER, amount // 2))


# -- plans of partners ------------------------------------------------------------------------


class Fee(msgspec.Struct, frozen=True):
    """One fee of a partner's plan: a rate in basis points within caps in minor units."""

    rate_bps: int
    payer: Payer = Payer.BUYER
    minor_min: int = 0
    minor_max: int | None = None


def partner_plan(escrow: Fee, platform: Fee, tax_bps: int) -> tuple[FeeRule, ...]:
    """The plan of decision E24: a tax on each fee, borne by whoever bears the fee.

    The escrow fee is ours and its tax is owed to the state; the platform fee and the tax on it
    are owed to the partner.
    """
    return (
        _fee(LineType.ESCROW_FEE, escrow, Payee.ESCROW_FEE_INCOME),
        FeeRule(
            LineType.ESCROW_FEE_TAX, tax_bps, escrow.payer, Payee.TAX_PAYABLE, LineType.ESCROW_FEE
        ),
        _fee(LineType.PLATFORM_FEE, platform, Payee.PARTNER_PAYABLE),
        FeeRule(
            LineType.PLATFORM_FEE_TAX,
            tax_bps,
            platform.payer,
            Payee.PARTNER_PAYABLE,
            LineType.PLATFORM_FEE,
        ),
    )


def _fee(line: LineType, fee: Fee, payee: Payee) -> FeeRule:
    return FeeRule(
        line, fee.rate_bps, fee.payer, payee, minor_min=fee.minor_min, minor_max=fee.minor_max
    )
