"""Money at the edges and in the middle, against exact fractions."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.money import (
    CURRENCIES,
    Currency,
    allocate,
    currency,
    half_up,
    parse_major,
    share_bps,
    to_major,
    to_number,
)
from earnest.errors import InvalidField

MAX = 99_999_999
currencies = st.sampled_from([CURRENCIES[code] for code in ("INR", "SAR", "JPY", "KWD", "CLF")])
minors = st.integers(1, MAX)


# -- reading what people write ------------------------------------------------------------------


@given(currencies, st.decimals(-10, 10**8, allow_nan=False, places=None))
def test_it_takes_an_amount_exactly_or_not_at_all(of: Currency, value: Decimal) -> None:
    exact = Fraction(value) * 10**of.exponent
    if exact.denominator == 1 and 1 <= exact <= MAX:
        assert parse_major(value, of, "amount", MAX) == exact
    else:
        with pytest.raises(InvalidField, match=r"\Aamount "):
            parse_major(value, of, "amount", MAX)


@given(currencies, minors, st.integers(0, 40))
def test_it_reads_back_what_it_prints_however_many_zeros_follow(
    of: Currency, minor: int, zeros: int
) -> None:
    printed = f"{to_major(minor, of):f}"
    assert Fraction(printed) == Fraction(minor, 10**of.exponent)
    padded = printed + "." * ("." not in printed) + "0" * zeros
    assert parse_major(Decimal(padded), of, "amount", MAX) == minor


@given(currencies, minors)
def test_it_prints_the_number_that_javascript_would(of: Currency, minor: int) -> None:
    text = msgspec.json.Encoder(decimal_format="number").encode(to_number(minor, of)).decode()
    assert Fraction(text) == Fraction(minor, 10**of.exponent)
    assert "e" not in text.lower()
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    "value",
    ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1E+400", "1E+19", "9" * 5000],
)
def test_it_refuses_what_is_not_an_amount_of_anything(value: str) -> None:
    with pytest.raises(InvalidField, match=r"\Aamount is out of range\Z"):
        parse_major(Decimal(value), CURRENCIES["INR"], "amount", MAX)


@pytest.mark.parametrize(
    ("code", "value", "why"),
    [
        ("INR", "0", "must be greater than 0"),
        ("INR", "-0", "must be greater than 0"),
        ("INR", "-0.01", "must be greater than 0"),
        ("INR", "0.001", "must have at most 2 decimals in INR"),
        ("INR", "10.005", "must have at most 2 decimals in INR"),
        ("INR", "0.30000000000000004", "must have at most 2 decimals in INR"),
        ("INR", "1E-30", "must have at most 2 decimals in INR"),
        ("SAR", "9999.9999999999999999999999999999", "must have at most 2 decimals in SAR"),
        ("SAR", "0.01000000000000000000000000000000000001", "must have at most 2 decimals in SAR"),
        ("SAR", "1E-999999", "must have at most 2 decimals in SAR"),
        ("JPY", "99999999999999999999999999999999E-28", "must have at most 0 decimals in JPY"),
        ("KWD", "1.0000000000000000000000000001", "must have at most 3 decimals in KWD"),
        ("JPY", "0.5", "must have at most 0 decimals in JPY"),
        ("KWD", "0.0001", "must have at most 3 decimals in KWD"),
        ("INR", "1000000", "must be at most 999999.99"),
        ("INR", "1E+18", "must be at most 999999.99"),
    ],
)
def test_it_says_what_is_wrong_with_an_amount(code: str, value: str, why: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_major(Decimal(value), CURRENCIES[code], "amount", MAX)
    assert str(refused.value) == f"amount {why}"


@pytest.mark.parametrize(
    ("code", "value", "minor"),
    [
        ("INR", "1E+2", 10_000),
        ("INR", "999999.99", MAX),
        ("INR", "0.01", 1),
        ("JPY", "500", 500),
        ("KWD", "0.001", 1),
        ("SAR", "686.25", 68_625),
    ],
)
def test_it_reads_amounts_in_the_currencys_own_unit(code: str, value: str, minor: int) -> None:
    assert parse_major(Decimal(value), CURRENCIES[code], "amount", MAX) == minor


def test_it_knows_each_currency_once_by_both_its_names() -> None:
    assert len({of.numeric for of in CURRENCIES.values()}) == len(CURRENCIES)
    assert [CURRENCIES[c].exponent for c in ("INR", "SAR", "JPY", "KWD")] == [2, 2, 0, 3]
    assert [CURRENCIES[c].numeric for c in ("INR", "SAR", "JPY", "KWD")] == [356, 682, 392, 414]
    for unknown in ("", "inr", "XXX", "INR "):
        with pytest.raises(InvalidField) as refused:
            currency(unknown)
        assert str(refused.value) == "currency must be an ISO 4217 code such as INR or SAR"


def test_it_knows_which_currencies_do_not_have_two_decimals() -> None:
    """Those of ISO 4217, one by one: a wrong one is wrong by a factor of ten at least."""
    others = {code: of.exponent for code, of in CURRENCIES.items() if of.exponent != 2}
    none = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
    assert others == (
        dict.fromkeys(none, 0)
        | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)
        | {"CLF": 4, "UYW": 4}
    )


# -- shares ---------------------------------------------------------------------------------------


@given(st.integers(0, 10**15), st.integers(1, 10**6))
def test_it_rounds_to_the_nearest_and_halves_up(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert half_up(numerator, denominator) == floor(exact + Fraction(1, 2))


@pytest.mark.parametrize(("numerator", "denominator"), [(-1, 2), (1, 0), (1, -1)])
def test_it_rounds_nothing_negative(numerator: int, denominator: int) -> None:
    with pytest.raises(ValueError, match="half_up needs"):
        half_up(numerator, denominator)


@given(minors, st.integers(0, 10_000))
def test_it_takes_a_share_in_basis_points(minor: int, rate_bps: int) -> None:
    assert share_bps(minor, rate_bps) == floor(Fraction(minor * rate_bps, 10_000) + Fraction(1, 2))


@given(
    st.integers(0, MAX),
    st.lists(st.integers(0, MAX), min_size=1, max_size=100).filter(lambda w: sum(w) > 0),
)
def test_it_allocates_by_largest_remainder(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    shares = [Fraction(total * weight, sum(weights)) for weight in weights]
    extra = [part - floor(share) for part, share in zip(parts, shares, strict=True)]
    assert set(extra) <= {0, 1}
    remainders = [share - floor(share) for share in shares]
    # Whoever got a unit had a larger remainder than whoever did not, or as large and came first.
    got = [(-remainders[i], i) for i, unit in enumerate(extra) if unit]
    left = [(-remainders[i], i) for i, unit in enumerate(extra) if not unit]
    assert not got or not left or max(got) < min(left)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (1, (0, 1), (0, 1)),
        (2, (1, 0, 1, 1), (1, 0, 1, 0)),
        (3, (1, 1, 2), (1, 1, 1)),
        (0, (1, 2), (0, 0)),
        (5, (7,), (5,)),
    ],
)
def test_it_gives_nothing_to_a_weight_of_zero_and_the_odd_unit_to_the_first_of_equals(
    total: int, weights: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    assert allocate(total, weights) == parts


@pytest.mark.parametrize(("total", "weights"), [(-1, (1,)), (1, (0, 0)), (1, ()), (1, (2, -1))])
def test_it_does_not_allocate_over_nothing(total: int, weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"allocate|empty"):
        allocate(total, weights)
