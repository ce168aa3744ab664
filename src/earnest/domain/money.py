"""Money: an integer number of minor units and a currency. Nothing here is ever a float.

`minor` is counted in the currency's smallest unit (paise, halalas, yen, fils); how many
make a major unit is the currency's ISO 4217 exponent. Decimal appears at the edges only:
`parse_major` reads what people and JSON write, `to_major` prints it back.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NewType

import msgspec

from earnest.errors import InvalidField

Bps = NewType("Bps", int)
"""Basis points: 10,000 are the whole."""

BPS_WHOLE = 10_000

_NUMERIC = """
AED:784 AFN:971 ALL:8 AMD:51 AOA:973 ARS:32 AUD:36 AWG:533 AZN:944 BAM:977 BBD:52 BDT:50
BHD:48 BIF:108 BMD:60 BND:96 BOB:68 BOV:984 BRL:986 BSD:44 BTN:64 BWP:72 BYN:933 BZD:84
CAD:124 CDF:976 CHE:947 CHF:756 CHW:948 CLF:990 CLP:152 CNY:156 COP:170 COU:970 CRC:188
CUP:192 CVE:132 CZK:203 DJF:262 DKK:208 DOP:214 DZD:12 EGP:818 ERN:232 ETB:230 EUR:978
FJD:242 FKP:238 GBP:826 GEL:981 GHS:936 GIP:292 GMD:270 GNF:324 GTQ:320 GYD:328 HKD:344
HNL:340 HTG:332 HUF:348 IDR:360 ILS:376 INR:356 IQD:368 IRR:364 ISK:352 JMD:388 JOD:400
JPY:392 KES:404 KGS:417 KHR:116 KMF:174 KPW:408 KRW:410 KWD:414 KYD:136 KZT:398 LAK:418
LBP:422 LKR:144 LRD:430 LSL:426 LYD:434 MAD:504 MDL:498 MGA:969 MKD:807 MMK:104 MNT:496
MOP:446 MRU:929 MUR:480 MVR:462 MWK:454 MXN:484 MXV:979 MYR:458 MZN:943 NAD:516 NGN:566
NIO:558 NOK:578 NPR:524 NZD:554 OMR:512 PAB:590 PEN:604 PGK:598 PHP:608 PKR:586 PLN:985
PYG:600 QAR:634 RON:946 RSD:941 RUB:643 RWF:646 SAR:682 SBD:90 SCR:690 SDG:938 SEK:752
SGD:702 SHP:654 SLE:925 SOS:706 SRD:968 SSP:728 STN:930 SVC:222 SYP:760 SZL:748 THB:764
TJS:972 TMT:934 TND:788 TOP:776 TRY:949 TTD:780 TWD:901 TZS:834 UAH:980 UGX:800 USD:840
USN:997 UYI:940 UYU:858 UYW:927 UZS:860 VED:926 VES:928 VND:704 VUV:548 WST:882 XAF:950
XCD:951 XCG:532 XOF:952 XPF:953 YER:886 ZAR:710 ZMW:967 ZWG:924
"""
_EXPONENT_NOT_2 = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


class Currency(msgspec.Struct, frozen=True):
    """One row of ISO 4217: `code` INR, `numeric` 356, `exponent` 2."""

    code: str
    numeric: int
    exponent: int


CURRENCIES: dict[str, Currency] = {
    code: Currency(code, int(numeric), _EXPONENT_NOT_2.get(code, 2))
    for code, numeric in (pair.split(":") for pair in _NUMERIC.split())
}
_UNITS: tuple[int, ...] = tuple(10**exponent for exponent in range(5))
CURRENCY_BY_NUMERIC: dict[int, Currency] = {c.numeric: c for c in CURRENCIES.values()}


def currency(code: str) -> Currency:
    """The ISO 4217 row of `code`; InvalidField for anything else."""
    found = CURRENCIES.get(code)
    if found is None:
        raise InvalidField("currency", "must be an ISO 4217 code such as INR or SAR")
    return found


def parse_major(amount: int | Decimal, of: Currency, field: str, minor_max: int) -> int:
    """What a caller wrote in major units, as minor units from 1 to `minor_max`.

    Refuses what cannot be held exactly instead of rounding it: 10.005 INR, 0.5 JPY.

    >>> parse_major(Decimal("686.25"), CURRENCIES["SAR"], "amount", 99_999_999)
    68625

    Raises InvalidField naming `field`.
    """
    value = Decimal(amount)
    if not value.is_finite() or value.adjusted() > 18:
        raise InvalidField(field, "is out of range")
    if value <= 0:
        raise InvalidField(field, "must be greater than 0")
    minor = int(value.scaleb(of.exponent))
    # Arithmetic with Decimals rounds to 28 digits, comparing them does not.
    if to_major(minor, of) != value:
        raise InvalidField(field, f"must have at most {of.exponent} decimals in {of.code}")
    if minor > minor_max:
        raise InvalidField(field, f"must be at most {to_major(minor_max, of)}")
    return minor


def to_major(minor: int, of: Currency) -> Decimal:
    """Minor units as a Decimal of major units with all its places: 68625 SAR -> 686.25."""
    return Decimal(minor).scaleb(-of.exponent)


def to_number(minor: int, of: Currency) -> int | Decimal:
    """Minor units as the JSON number that the clients of both APIs compute with.

    Whole amounts are ints and no other has a trailing zero, so that the bytes equal what
    JavaScript's JSON.stringify makes of them (partner spec 6.3).

    >>> to_number(100000, CURRENCIES["INR"]), to_number(68650, CURRENCIES["INR"])
    (1000, Decimal('686.5'))
    """
    unit = _UNITS[of.exponent]
    whole, rest = divmod(minor, unit)
    return Decimal(minor) / unit if rest else whole


def half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator, both >= 0, rounded to the nearest integer, halves up.

    >>> half_up(5, 2), half_up(7, 3), half_up(0, 9)
    (3, 2, 0)
    """
    if numerator < 0 or denominator <= 0:
        raise ValueError(f"half_up needs 0 <= n and 0 < d: {numerator}/{denominator}")
    return (2 * numerator + denominator) // (2 * denominator)


def share_bps(minor: int, rate_bps: int) -> int:
    """`rate_bps` of `minor`, half up: 1,000 bps of 9999 is 1000."""
    return half_up(minor * rate_bps, BPS_WHOLE)


def allocate(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split `total` in proportion to `weights`, exactly, by largest remainder.

    Each part is the floor of its share; the units left over go one each to the largest
    remainders, the earlier part first among equals.

    >>> allocate(100, (1, 1, 1))
    (34, 33, 33)
    >>> allocate(7074, (8272, 7184, 17977, 37312))
    (827, 718, 1798, 3731)
    """
    whole = sum(weights)
    if total < 0 or whole <= 0 or min(weights) < 0:
        raise ValueError(f"cannot allocate {total} over {weights}")
    parts = [total * weight // whole for weight in weights]
    # Sorting leaves equals in their order: the earlier part stays first.
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return tuple(parts)
