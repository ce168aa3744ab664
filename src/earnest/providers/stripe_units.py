"""Amounts as Stripe counts them, next to ISO 4217, by which we count.

Both count most currencies in hundredths, and some in whole units or thousandths. They differ in
three: Stripe wants hundredths of ISK and UGX, which have none any more, and whole units of MGA,
which has hundredths. In the dinars and rials with thousandths card networks take only amounts
that end in 0. HUF and TWD are special only for payouts. Source: docs.stripe.com/currencies, "Minor
units in API amounts" and "Special cases".

Invariant: an amount is converted exactly or refused, never rounded, and
`from_stripe(to_stripe(minor, currency), currency) == minor`.
"""

from earnest.domain.money import CURRENCIES
from earnest.errors import ProviderPermanent

ZERO_DECIMAL = frozenset(
    "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()
)  # fmt: skip
"""Counted in whole units. UGX is in Stripe's list too; its special case goes before."""

THREE_DECIMAL = frozenset("BHD JOD KWD OMR TND".split())
THREE_DECIMAL_STEP = 10
WHOLE_PAYOUTS = frozenset({"HUF", "TWD"})

_UNITS = (1, 10, 100, 1000)


def exponent(currency: str) -> int:
    """How many decimals Stripe's amounts of `currency` have: JPY 0, INR 2, UGX 2, KWD 3."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def to_stripe(minor: int, currency: str) -> int:
    """`minor` units of ISO 4217 as Stripe wants to be told.

    >>> to_stripe(1_250, "INR"), to_stripe(500, "JPY"), to_stripe(5, "UGX"), to_stripe(700, "MGA")
    (1250, 500, 500, 7)

    Raises ProviderPermanent for what Stripe cannot charge exactly: 7.50 MGA, 5.124 KWD, and
    currencies that it counts in a way of which nothing is written (IQD, LYD, CLF ...).
    """
    ours = CURRENCIES.get(currency)
    if ours is None or (ours.exponent not in (0, 2) and currency not in THREE_DECIMAL):
        raise ProviderPermanent(f"Stripe does not take payments in {currency}.")
    if currency in THREE_DECIMAL and minor % THREE_DECIMAL_STEP:
        raise ProviderPermanent(f"Stripe takes amounts of {currency} with two decimals only.")
    scaled, rest = divmod(minor * _UNITS[exponent(currency)], _UNITS[ours.exponent])
    if rest:
        raise ProviderPermanent(f"Stripe takes whole amounts of {currency} only.")
    return scaled


def to_stripe_payout(minor: int, currency: str) -> int:
    """The same for what is to be paid out: of HUF and TWD, only whole units can be.

    >>> to_stripe_payout(1_200, "TWD"), to_stripe_payout(1_250, "INR")
    (1200, 1250)
    """
    amount = to_stripe(minor, currency)
    if currency in WHOLE_PAYOUTS and amount % 100:
        raise ProviderPermanent(f"Stripe pays out whole amounts of {currency} only.")
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's `amount` in minor units of ISO 4217; as it stands where ISO has no such currency.

    >>> from_stripe(1_250, "INR"), from_stripe(500, "UGX"), from_stripe(7, "MGA")
    (1250, 5, 700)

    Raises ValueError for a fraction that ISO 4217 has no unit for, such as half a UGX.
    """
    ours = CURRENCIES.get(currency)
    if ours is None or (ours.exponent not in (0, 2) and currency not in THREE_DECIMAL):
        return amount
    minor, rest = divmod(amount * _UNITS[ours.exponent], _UNITS[exponent(currency)])
    if rest:
        raise ValueError(f"{amount} is no whole number of {currency}")
    return minor
