"""Businesses: the marketplace is one, every partner is another. Their rules are data."""

import msgspec

from earnest.domain.pricing import FeeRule, LineType, Payee, Payer

MARKETPLACE = 1
"""The key of the built-in business."""


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
    """D6: "admin", or "automatic" when a client's refund call moves the money at once."""
    require_funding_before_start: bool = False
    """D3: whether approving needs the money to be held."""
    release_without_request_days: int = 14
    """D20: an admin may release this long after completion without the client's request."""
    amount_minor_max: int = 99_999_999
    """D16: the largest base amount of a contract."""


class Business(msgspec.Struct, frozen=True):
    """A business with its settings. `currency` is an ISO 4217 code."""

    key: int
    name: str
    currency: str
    settings: Settings
