"""The **settings** of a partner as they are written: by an operator, in a command or in JSON.

`Wanted` says what shall be different, in the words of the admin API; `applied` makes a business's
`Settings` of it and `written` tells them back. Invariant: settings that come out of `applied` can
price a contract: rates within 0 and 10,000 basis points, no minimum above its maximum, nothing
that eats a seller's whole base at any amount. A refusal names the field as the API spells it.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from earnest.domain.business import PAYOUT_SCHEDULES, CancellationTier, Settings, partner_settings
from earnest.domain.money import BPS_WHOLE, Currency, parse_major, share_bps, to_number
from earnest.domain.pricing import Fee, FeeRule, LineType, Payer, partner_plan
from earnest.errors import InvalidField

NAME_CHARACTERS_MAX = 100
CALLBACK_HOSTS_MAX = 100
MINOR_MAX = 10**15
"""Of every amount in settings: what a buyer then pays is still a safe JSON number."""

Number = int | Decimal
Rate = int | UnsetType
Cap = Number | None | UnsetType


class Wanted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What shall be different; what is unset stays as it is.

    Rates are basis points, amounts major units of the business's currency; a maximum of None is
    no maximum. `cancellation_..._bps`: what the seller keeps of the earning when work had come
    that far. `callback_hosts`: where buyers may be sent back to; none: any https host (E14).
    """

    name: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    escrow_fee_bps: Rate = UNSET
    escrow_fee_payer: str | UnsetType = UNSET
    escrow_fee_minimum: Number | UnsetType = UNSET
    escrow_fee_maximum: Cap = UNSET
    platform_fee_bps: Rate = UNSET
    platform_fee_payer: str | UnsetType = UNSET
    platform_fee_minimum: Number | UnsetType = UNSET
    platform_fee_maximum: Cap = UNSET
    tax_bps: Rate = UNSET
    cancellation_not_started_bps: Rate = UNSET
    cancellation_started_bps: Rate = UNSET
    cancellation_ongoing_bps: Rate = UNSET
    cancellation_delivered_bps: Rate = UNSET
    retention_bps: Rate = UNSET
    require_kyc: bool | UnsetType = UNSET
    refund_approval: str | UnsetType = UNSET
    release_needs_approval: bool | UnsetType = UNSET
    callback_hosts: list[str] | UnsetType = UNSET
    amount_maximum: Number | UnsetType = UNSET
    payout_minimum: Number | UnsetType = UNSET
    payout_schedule: str | UnsetType = UNSET


def new_settings(wanted: Wanted, of: Currency) -> Settings:
    """The settings of a new partner: the defaults, and what is wanted. Raises InvalidField."""
    return applied(partner_settings(of), wanted, of)


def applied(settings: Settings, wanted: Wanted, of: Currency) -> Settings:
    """`settings` of a partner with what is wanted. Raises InvalidField."""
    escrow = _fee(fee_of(settings, LineType.ESCROW_FEE), wanted, "escrow", of)
    platform = _fee(fee_of(settings, LineType.PLATFORM_FEE), wanted, "platform", of)
    tax_bps = _bps(wanted.tax_bps, "taxBps", tax_of(settings))
    _leave_something(escrow, platform, tax_bps)
    return msgspec.structs.replace(
        payouts_applied(settings, wanted, of),
        fee_plan=partner_plan(escrow, platform, tax_bps),
        cancellation_policy=tuple(_tier(tier, wanted) for tier in settings.cancellation_policy),
        retention_bps=_bps(wanted.retention_bps, "retentionBps", settings.retention_bps),
        require_kyc=_or(wanted.require_kyc, settings.require_kyc),
        refund_approval=_one_of(
            wanted.refund_approval, "refundApproval", ("automatic", "admin"),
            settings.refund_approval,
        ),
        release_needs_approval=_or(wanted.release_needs_approval, settings.release_needs_approval),
        callback_hosts=_hosts(wanted.callback_hosts, settings.callback_hosts),
        amount_minor_max=_positive(
            wanted.amount_maximum, "amountMaximum", of, settings.amount_minor_max
        ),
    )  # fmt: skip


def written(settings: Settings, of: Currency) -> dict[str, Any]:
    """`settings` in the words of `Wanted` as the API spells them; all of them."""
    tiers = {tier.work: tier.seller_bps for tier in settings.cancellation_policy}
    return {
        **_fee_written(fee_of(settings, LineType.ESCROW_FEE), "escrow", of),
        **_fee_written(fee_of(settings, LineType.PLATFORM_FEE), "platform", of),
        "taxBps": tax_of(settings),
        **{_tier_field(work): seller_bps for work, seller_bps in tiers.items()},
        "retentionBps": settings.retention_bps,
        "requireKyc": settings.require_kyc,
        "refundApproval": settings.refund_approval,
        "releaseNeedsApproval": settings.release_needs_approval,
        "callbackHosts": list(settings.callback_hosts),
        "amountMaximum": to_number(settings.amount_minor_max, of),
        **payouts_written(settings, of),
    }


def payouts_applied(settings: Settings, wanted: Wanted, of: Currency) -> Settings:
    """`settings` of any business, the marketplace too, with what is wanted of its payouts. Raises
    InvalidField."""
    return msgspec.structs.replace(
        settings,
        payout_minimum_minor=_positive(
            wanted.payout_minimum, "payoutMinimum", of, settings.payout_minimum_minor
        ),
        payout_schedule=_one_of(
            wanted.payout_schedule, "payoutSchedule", PAYOUT_SCHEDULES, settings.payout_schedule
        ),
    )


def payouts_written(settings: Settings, of: Currency) -> dict[str, Any]:
    """What `payouts_applied` changes, in the words of `Wanted` as the API spells them."""
    return {
        "payoutMinimum": to_number(settings.payout_minimum_minor, of),
        "payoutSchedule": settings.payout_schedule,
    }


def business_name(name: str) -> str:
    """A name as it is stored and shown to buyers. Raises InvalidField."""
    tidy = " ".join(unicodedata.normalize("NFC", name[:NAME_CHARACTERS_MAX]).split())
    if len(name) > NAME_CHARACTERS_MAX or not any(map(_is_seen, tidy)):
        raise InvalidField("name", f"must have 1 to {NAME_CHARACTERS_MAX} characters")
    if any(unicodedata.category(one) in _HIDDEN and one not in _JOINERS for one in name):
        raise InvalidField("name", "must not contain control characters")
    return tidy


_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # which Persian and Hindi are written with
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol without any ink


def _is_seen(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK


# -- fees -------------------------------------------------------------------------------------


def fee_of(settings: Settings, line: LineType) -> Fee:
    """One of the two fees of a partner's plan."""
    rule = _rule(settings, line)
    return Fee(rule.rate_bps, rule.payer, rule.minor_min, rule.minor_max)


def tax_of(settings: Settings) -> int:
    """The rate of the tax on both fees, in basis points."""
    return _rule(settings, LineType.ESCROW_FEE_TAX).rate_bps


def _rule(settings: Settings, line: LineType) -> FeeRule:
    return next(rule for rule in settings.fee_plan if rule.line is line)


def _fee(present: Fee, wanted: Wanted, which: str, of: Currency) -> Fee:
    field = f"{which}Fee"
    rate, payer, minimum, maximum = (
        getattr(wanted, f"{which}_fee_{part}") for part in ("bps", "payer", "minimum", "maximum")
    )
    fee = Fee(
        rate_bps=_bps(rate, f"{field}Bps", present.rate_bps),
        payer=Payer(_one_of(payer, f"{field}Payer", tuple(Payer), present.payer)),
        minor_min=_minor(minimum, f"{field}Minimum", of, present.minor_min) or 0,
        minor_max=_minor(maximum, f"{field}Maximum", of, present.minor_max),
    )
    if fee.minor_max is not None and fee.minor_min > fee.minor_max:
        part = "Maximum" if minimum is UNSET else "Minimum"
        beyond = "not be below the minimum" if minimum is UNSET else "not exceed the maximum"
        raise InvalidField(f"{field}{part}", f"must {beyond}")
    return fee


def _fee_written(fee: Fee, which: str, of: Currency) -> dict[str, Any]:
    return {
        f"{which}FeeBps": fee.rate_bps,
        f"{which}FeePayer": str(fee.payer),
        f"{which}FeeMinimum": to_number(fee.minor_min, of),
        f"{which}FeeMaximum": None if fee.minor_max is None else to_number(fee.minor_max, of),
    }


def _leave_something(escrow: Fee, platform: Fee, tax_bps: int) -> None:
    """Refuse rates that would leave a seller less than nothing of every contract."""
    parts = {Payer.BUYER: 0, Payer.SPLIT: 1, Payer.SELLER: 2}
    halves = 0
    for field, fee in (("escrowFeeBps", escrow), ("platformFeeBps", platform)):
        # A maximum that ends the fee somewhere leaves something of amounts beyond.
        if fee.minor_max is None:
            halves += parts[fee.payer] * (fee.rate_bps + share_bps(fee.rate_bps, tax_bps))
        if halves > 2 * BPS_WHOLE:
            raise InvalidField(field, "and the other fees leave the seller nothing, with their tax")


# -- the other switches -----------------------------------------------------------------------


def _tier(present: CancellationTier, wanted: Wanted) -> CancellationTier:
    rate = getattr(wanted, f"cancellation_{present.work}_bps")
    return CancellationTier(present.work, _bps(rate, _tier_field(present.work), present.seller_bps))


def _tier_field(work: str) -> str:
    """not_started -> cancellationNotStartedBps"""
    return f"cancellation{work.title().replace('_', '')}Bps"


# A name of RFC 1123, without a port; what is outside ASCII in its xn-- form.
_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*"
                   r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")  # fmt: skip
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")


def is_host_name(text: str) -> bool:
    """Whether `text` is a host's name or IPv4 address as RFC 1123 writes them, in any case.

    >>> is_host_name("Shop.example"), is_host_name("shop.example."), is_host_name("a;b")
    (True, False, False)
    """
    return text.isascii() and _HOST.fullmatch(text.lower()) is not None


def _hosts(wanted: list[str] | UnsetType, present: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(wanted, UnsetType):
        return present
    if len(wanted) > CALLBACK_HOSTS_MAX:
        raise InvalidField("callbackHosts", f"must have at most {CALLBACK_HOSTS_MAX} entries")
    for index, host in enumerate(wanted):
        if not is_host_name(host):
            raise InvalidField(f"callbackHosts[{index}]", "must be a host name: shop.example.com")
        if _NUMBER.fullmatch(host.lower().rpartition(".")[2]):
            raise InvalidField(f"callbackHosts[{index}]", "must be a name, not an address")
    return tuple(dict.fromkeys(host.lower() for host in wanted))


def _positive(wanted: Number | UnsetType, field: str, of: Currency, present: int) -> int:
    if isinstance(wanted, UnsetType):
        return present
    return parse_major(wanted, of, field, MINOR_MAX)


def _minor(wanted: Cap, field: str, of: Currency, present: int | None) -> int | None:
    if isinstance(wanted, UnsetType):
        return present
    if wanted is None:
        return None
    if Decimal(wanted).is_zero():
        return 0
    return parse_major(wanted, of, field, MINOR_MAX)


def _bps(wanted: Rate, field: str, present: int) -> int:
    if isinstance(wanted, UnsetType):
        return present
    if not 0 <= wanted <= BPS_WHOLE:
        raise InvalidField(field, f"must be 0 to {BPS_WHOLE} basis points")
    return wanted


def _one_of(wanted: str | UnsetType, field: str, allowed: tuple[str, ...], present: str) -> str:
    if isinstance(wanted, UnsetType):
        return present
    if wanted not in allowed:
        raise InvalidField(field, f"must be one of {', '.join(allowed)}")
    return wanted


def _or(wanted: bool | UnsetType, present: bool) -> bool:
    return present if isinstance(wanted, UnsetType) else wanted
