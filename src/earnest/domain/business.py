"""Businesses: the marketplace is one, every partner is another. Their rules are data."""

import msgspec

from earnest.domain.money import Currency
from earnest.domain.pricing import Fee, FeeRule, LineType, Payee, Payer, partner_plan

MARKETPLACE = 1
"""The key of the built-in business."""

PAYOUT_SCHEDULES = ("manual", "daily", "weekly", "monthly")


class CancellationTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When work had come to `work`, the seller keeps `seller_bps` of the earning."""

    work: str
    seller_bps: int


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The switches of a business; every default is the marketplace's (spec decisions D1-D21)."""

    fee_plan: tuple[FeeRule, ...] = (
        FeeRule(LineType.PLATFORM_FEE, 1_000, Payer.SELLER, Payee.PLATFORM_FEE_INCOME),
    )
    """D11: 10 % borne by the freelancer."""
    cancellation_policy: tuple[CancellationTier, ...] = (
        CancellationTier("not_started", 0),
        CancellationTier("started", 1_500),
        CancellationTier("ongoing", 4_000),
        CancellationTier("delivered", 4_000),
    )
    """D7: the tiers of marketplace spec 3.4, by the work status at cancellation."""
    refund_approval: str = "admin"
    """D6: "admin", or "automatic" when the refund call of who may ask moves the money at once."""
    require_funding_before_start: bool = False
    """D3: whether approving needs the money to be held."""
    release_without_request_days: int = 14
    """D20: an admin may release this long after completion without the client's request."""
    amount_minor_max: int = 99_999_999
    """D16, E18: the largest base amount of a contract."""
    refund_to: str = "wallet"
    """Where a refund goes: the buyer's "wallet" here, or back to its "source" by the provider."""
    retention_bps: int = 0
    """E6: what is kept of the part of a base that a partial refund leaves the seller."""
    release_needs_approval: bool = False
    """E15: whether a release needs the seller's approve."""
    require_kyc: bool = False
    """E12: whether a release needs the seller's identity to be verified."""
    payout_minimum_minor: int = 100
    """D21: the least that is paid out at once."""
    payout_schedule: str = "manual"
    """E24: "manual", when people ask for it, or "daily", "weekly" (Mondays) or "monthly" (on the
    first), UTC: then everything that can be paid out is."""
    callback_hosts: tuple[str, ...] = ()
    """E14: where buyers may be sent back to, in lower case; empty: to any https host."""


ESCROW_FEE = Fee(250)
PLATFORM_FEE = Fee(1_000)
TAX_BPS = 1_500
NOTHING_TO_SELLER = tuple(
    CancellationTier(work, 0) for work in ("not_started", "started", "ongoing", "delivered")
)


def partner_settings(of: Currency) -> Settings:
    """What a new partner begins with: the fees of partner spec 4, refunds to their source."""
    return Settings(
        fee_plan=partner_plan(ESCROW_FEE, PLATFORM_FEE, TAX_BPS),
        cancellation_policy=NOTHING_TO_SELLER,
        refund_approval="automatic",
        refund_to="source",
        retention_bps=500,
        payout_schedule="daily",
        amount_minor_max=10 ** (6 + of.exponent) - 1,
    )


class Business(msgspec.Struct, frozen=True):
    """A business with its settings. `currency` is an ISO 4217 code."""

    key: int
    name: str
    currency: str
    settings: Settings
