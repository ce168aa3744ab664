"""Fee plans and cancellation shares, against exact fractions."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.business import CancellationTier, Settings, partner_settings
from earnest.domain.contract import Terms, Work, cancellation_shares
from earnest.domain.money import CURRENCIES, parse_major, to_major
from earnest.domain.pricing import (
    Fee,
    FeeRule,
    FeesExceedAmount,
    Line,
    LineType,
    Payee,
    Payer,
    PricedTranche,
    partner_plan,
    price,
)

MARKETPLACE = Settings()
PARTNER = (
    FeeRule(LineType.ESCROW_FEE, 250, Payer.BUYER, Payee.ESCROW_FEE_INCOME),
    FeeRule(LineType.ESCROW_FEE_TAX, 1500, Payer.BUYER, Payee.TAX_PAYABLE, of=LineType.ESCROW_FEE),
    FeeRule(LineType.PLATFORM_FEE, 1000, Payer.BUYER, Payee.PARTNER_PAYABLE),
    FeeRule(
        LineType.PLATFORM_FEE_TAX,
        1500,
        Payer.BUYER,
        Payee.PARTNER_PAYABLE,
        of=LineType.PLATFORM_FEE,
    ),
)
bases = st.lists(st.integers(1, 99_999_999), min_size=1, max_size=30)
rates = st.integers(0, 3_000)
one_bears = st.sampled_from((Payer.BUYER, Payer.SELLER))


def rounded(exact: Fraction) -> int:
    """The nearest integer, halves up: the rule of every line, said with fractions."""
    return floor(exact + Fraction(1, 2))


def whole(tranches: tuple[PricedTranche, ...], type_: LineType) -> int:
    return sum(line.amount_minor for one in tranches for line in one.lines if line.type is type_)


# -- the partner's numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "escrow_fee", "its_tax", "platform_fee", "tax_on_that", "charge"),
    [
        ("600", "15.00", "2.25", "60.00", "9.00", "686.25"),
        ("400", "10.00", "1.50", "40.00", "6.00", "457.50"),
        ("1000", "25.00", "3.75", "100.00", "15.00", "1143.75"),
    ],
)
def test_it_prices_the_partners_samples_to_the_halala(
    base: str, escrow_fee: str, its_tax: str, platform_fee: str, tax_on_that: str, charge: str
) -> None:
    sar = CURRENCIES["SAR"]
    base_minor = parse_major(Decimal(base), sar, "amount", 99_999_999)
    (tranche,) = price((base_minor,), PARTNER)
    printed = {line.type: str(to_major(line.amount_minor, sar)) for line in tranche.lines}
    assert printed == {
        LineType.ESCROW_FEE: escrow_fee,
        LineType.ESCROW_FEE_TAX: its_tax,
        LineType.PLATFORM_FEE: platform_fee,
        LineType.PLATFORM_FEE_TAX: tax_on_that,
    }
    assert str(to_major(tranche.charge_minor, sar)) == charge
    assert tranche.net_minor == base_minor


def test_it_prices_two_milestones_like_the_contract_that_they_make() -> None:
    milestones = price((60_000, 40_000), PARTNER)
    assert [one.charge_minor for one in milestones] == [68_625, 45_750]
    (contract,) = price((100_000,), PARTNER)
    assert sum(one.charge_minor for one in milestones) == contract.charge_minor == 114_375


def test_it_reconciles_the_split_that_rounding_milestone_by_milestone_gets_wrong() -> None:
    milestones = price((8_272, 7_184, 17_977, 37_312), PARTNER)
    # Half up milestone by milestone would give 827 + 718 + 1798 + 3731 = 7074, a halala short.
    assert whole(milestones, LineType.PLATFORM_FEE) == 7_075
    assert [one.lines[2].amount_minor for one in milestones] == [827, 718, 1798, 3732]


# -- any plan, any bases --------------------------------------------------------------------------


@given(bases, rates, rates, rates, one_bears, one_bears)
def test_it_prices_every_line_once_and_splits_it_exactly(
    bases_minor: list[int], fee_bps: int, tax_bps: int, other_bps: int, payer: Payer, other: Payer
) -> None:
    plan = (
        FeeRule(LineType.ESCROW_FEE, fee_bps, payer, Payee.ESCROW_FEE_INCOME),
        FeeRule(LineType.ESCROW_FEE_TAX, tax_bps, payer, Payee.TAX_PAYABLE, LineType.ESCROW_FEE),
        FeeRule(LineType.PLATFORM_FEE, other_bps, other, Payee.PLATFORM_FEE_INCOME),
    )
    total = sum(bases_minor)
    fee = rounded(Fraction(total * fee_bps, 10_000))
    tax = rounded(Fraction(fee * tax_bps, 10_000))  # of the rounded fee (invariant 8)
    platform = rounded(Fraction(total * other_bps, 10_000))
    try:
        tranches = price(bases_minor, plan)
    except FeesExceedAmount:
        # Only where one paisa of rounding meets a base of a few paise.
        assert min(bases_minor) < 10
        return
    assert whole(tranches, LineType.ESCROW_FEE) == fee
    assert whole(tranches, LineType.ESCROW_FEE_TAX) == tax
    assert whole(tranches, LineType.PLATFORM_FEE) == platform
    of_buyer = (fee + tax) * (payer is Payer.BUYER) + platform * (other is Payer.BUYER)
    assert sum(one.charge_minor for one in tranches) == total + of_buyer
    assert sum(one.net_minor for one in tranches) == total - (fee + tax + platform - of_buyer)
    for base_minor, one in zip(bases_minor, tranches, strict=True):
        assert one.base_minor == base_minor
        assert one.charge_minor == one.net_minor + one.fees_minor  # what goes in comes out
        for line, amount in zip(one.lines, (fee, tax, platform), strict=True):
            assert abs(line.amount_minor - Fraction(amount * base_minor, total)) < 1


@given(bases, st.integers(0, 2_000))
def test_it_halves_a_split_fee_and_the_odd_unit_is_the_buyers(
    bases_minor: list[int], fee_bps: int
) -> None:
    rule = FeeRule(LineType.ESCROW_FEE, fee_bps, Payer.SPLIT, Payee.ESCROW_FEE_INCOME)
    fee = rounded(Fraction(sum(bases_minor) * fee_bps, 10_000))
    try:
        tranches = price(bases_minor, (rule,))
    except FeesExceedAmount:
        assert min(bases_minor) < 10
        return
    of_buyer = sum(one.charge_minor - one.base_minor for one in tranches)
    of_seller = sum(one.base_minor - one.net_minor for one in tranches)
    assert (of_buyer, of_seller) == (fee - fee // 2, fee // 2)
    assert {line.payer for one in tranches for line in one.lines} == {Payer.BUYER, Payer.SELLER}


@given(bases, rates, st.integers(0, 5_000), st.integers(0, 5_000))
def test_it_keeps_a_fee_within_its_minimum_and_its_cap(
    bases_minor: list[int], rate_bps: int, one_minor: int, other_minor: int
) -> None:
    low, high = sorted((one_minor, other_minor))
    rule = FeeRule(
        LineType.ESCROW_FEE,
        rate_bps,
        Payer.BUYER,
        Payee.ESCROW_FEE_INCOME,
        minor_min=low,
        minor_max=high,
    )
    tax = FeeRule(
        LineType.ESCROW_FEE_TAX, 1_500, Payer.BUYER, Payee.TAX_PAYABLE, of=LineType.ESCROW_FEE
    )
    tranches = price(bases_minor, (rule, tax))
    uncapped = rounded(Fraction(sum(bases_minor) * rate_bps, 10_000))
    fee = sorted((low, uncapped, high))[1]
    assert whole(tranches, LineType.ESCROW_FEE) == fee
    assert whole(tranches, LineType.ESCROW_FEE_TAX) == rounded(Fraction(fee * 15, 100))


@pytest.mark.parametrize(
    ("code", "amount", "fee", "net"),
    [
        ("JPY", "105", "11", "94"),
        ("INR", "99.99", "10.00", "89.99"),
        ("KWD", "0.015", "0.002", "0.013"),
    ],
)
def test_it_rounds_in_the_smallest_unit_of_each_currency(
    code: str, amount: str, fee: str, net: str
) -> None:
    of = CURRENCIES[code]
    (tranche,) = price(
        (parse_major(Decimal(amount), of, "amount", 99_999_999),), MARKETPLACE.fee_plan
    )
    assert to_major(tranche.fees_minor, of) == Decimal(fee)
    assert to_major(tranche.net_minor, of) == Decimal(net)


def test_it_prices_without_a_plan() -> None:
    assert price((5, 7), ()) == (PricedTranche(5, ()), PricedTranche(7, ()))


def test_it_refuses_an_amount_that_its_fees_would_eat() -> None:
    rule = FeeRule(
        LineType.PLATFORM_FEE,
        100,
        Payer.SELLER,
        Payee.PLATFORM_FEE_INCOME,
        minor_min=500,
    )
    with pytest.raises(FeesExceedAmount):
        price((499,), (rule,))
    assert price((500,), (rule,))[0].net_minor == 0


def test_it_refuses_when_the_fees_eat_one_milestone_of_several() -> None:
    rule = FeeRule(LineType.PLATFORM_FEE, 0, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, minor_min=4)
    assert price((3, 5), (rule,))
    with pytest.raises(FeesExceedAmount):
        price((1, 2, 1), (msgspec.structs.replace(rule, minor_min=5),))


@pytest.mark.parametrize(
    ("payer", "payee", "role"),
    [
        (Payer.SELLER, Payee.ESCROW_FEE_INCOME, "seller"),
        (Payer.SELLER, Payee.PARTNER_PAYABLE, "seller"),
        (Payer.BUYER, Payee.PARTNER_PAYABLE, "buyer"),
        (Payer.BUYER, Payee.ESCROW_FEE_INCOME, "thirdParty"),
        (Payer.BUYER, Payee.TAX_PAYABLE, "thirdParty"),
    ],
)
def test_a_line_names_the_party_whom_it_concerns(payer: Payer, payee: Payee, role: str) -> None:
    assert Line(LineType.ESCROW_FEE, payer, payee, 100).role == role


def test_a_partners_plan_is_two_fees_within_their_caps_and_a_tax_on_each() -> None:
    escrow = Fee(250, Payer.SPLIT, minor_min=100, minor_max=5_000)
    platform = Fee(1_000, Payer.SELLER, minor_min=7, minor_max=700)
    assert partner_plan(escrow, platform, 1_500) == (
        FeeRule(
            *(LineType.ESCROW_FEE, 250, Payer.SPLIT, Payee.ESCROW_FEE_INCOME),
            of=LineType.CONTRACT_AMOUNT,
            minor_min=100,
            minor_max=5_000,
        ),
        FeeRule(
            *(LineType.ESCROW_FEE_TAX, 1_500, Payer.SPLIT, Payee.TAX_PAYABLE),
            of=LineType.ESCROW_FEE,
        ),
        FeeRule(
            *(LineType.PLATFORM_FEE, 1_000, Payer.SELLER, Payee.PARTNER_PAYABLE),
            of=LineType.CONTRACT_AMOUNT,
            minor_min=7,
            minor_max=700,
        ),
        FeeRule(
            *(LineType.PLATFORM_FEE_TAX, 1_500, Payer.SELLER, Payee.PARTNER_PAYABLE),
            of=LineType.PLATFORM_FEE,
        ),
    )


def test_a_new_partner_begins_with_the_fees_of_the_spec_and_refunds_to_the_source() -> None:
    settings = partner_settings(CURRENCIES["SAR"])
    assert settings.fee_plan == partner_plan(Fee(250), Fee(1_000), 1_500)
    assert settings == Settings(
        fee_plan=settings.fee_plan,
        cancellation_policy=tuple(
            CancellationTier(work, 0) for work in ("not_started", "started", "ongoing", "delivered")
        ),
        refund_approval="automatic",
        refund_to="source",
        retention_bps=500,
        payout_schedule="daily",
        amount_minor_max=99_999_999,
    )
    assert partner_settings(CURRENCIES["JPY"]).amount_minor_max == 999_999
    assert partner_settings(CURRENCIES["KWD"]).amount_minor_max == 999_999_999


def test_the_marketplace_begins_with_the_decisions_of_its_spec() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Settings())) == {
        "fee_plan": [
            {
                "line": "externalPlatformFee",
                "rate_bps": 1_000,
                "payer": "seller",
                "payee": "platform_fee_income",
                "of": "contractAmount",
                "minor_min": 0,
                "minor_max": None,
            }
        ],
        "cancellation_policy": [
            {"work": "not_started", "seller_bps": 0},
            {"work": "started", "seller_bps": 1_500},
            {"work": "ongoing", "seller_bps": 4_000},
            {"work": "delivered", "seller_bps": 4_000},
        ],
        "refund_approval": "admin",
        "require_funding_before_start": False,
        "release_without_request_days": 14,
        "amount_minor_max": 99_999_999,
        "refund_to": "wallet",
        "retention_bps": 0,
        "release_needs_approval": False,
        "require_kyc": False,
        "payout_minimum_minor": 100,
        "payout_schedule": "manual",
        "callback_hosts": [],
    }


# -- cancelled: D7, invariant 7 -------------------------------------------------------------------

TIERS = {
    Work.NOT_STARTED: Fraction(0),
    Work.STARTED: Fraction(15, 100),
    Work.ONGOING: Fraction(40, 100),
    Work.DELIVERED: Fraction(40, 100),
}


def terms(amount_minor: int) -> Terms:
    """What the marketplace agrees on for one amount."""
    return Terms(
        "Logo", price((amount_minor,), MARKETPLACE.fee_plan), MARKETPLACE.cancellation_policy
    )


@given(st.integers(1, 99_999_999), st.sampled_from(list(TIERS)))
def test_it_shares_a_cancelled_amount_by_the_policy(amount_minor: int, work: Work) -> None:
    fee = rounded(Fraction(amount_minor, 10))
    earning = amount_minor - fee
    seller = rounded(earning * TIERS[work])
    shares = cancellation_shares(terms(amount_minor), 0, work)
    expected = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, fee)
    assert shares.lines == (expected,)
    assert shares.seller_minor == seller
    assert shares.buyer_minor == amount_minor - fee - seller >= 0


@pytest.mark.parametrize(
    ("amount_minor", "work", "fee", "seller", "buyer"),
    [
        (5_000_000, Work.NOT_STARTED, 500_000, 0, 4_500_000),
        (5_000_000, Work.STARTED, 500_000, 675_000, 3_825_000),
        (5_000_000, Work.ONGOING, 500_000, 1_800_000, 2_700_000),
        (9_999, Work.STARTED, 1_000, 1_350, 7_649),
        (1, Work.ONGOING, 0, 0, 1),
        (5, Work.ONGOING, 1, 2, 2),
    ],
)
def test_it_shares_the_samples_of_the_policy(
    amount_minor: int, work: Work, fee: int, seller: int, buyer: int
) -> None:
    shares = cancellation_shares(terms(amount_minor), 0, work)
    assert (shares.lines[0].amount_minor, shares.seller_minor, shares.buyer_minor) == (
        fee,
        seller,
        buyer,
    )


@given(st.integers(1, 99_999_999), st.sampled_from(list(TIERS)))
def test_it_shares_a_partners_cancelled_amount_without_losing_a_halala(
    amount_minor: int, work: Work
) -> None:
    priced = price((amount_minor,), PARTNER)
    shares = cancellation_shares(Terms("x", priced, MARKETPLACE.cancellation_policy), 0, work)
    parts = shares.buyer_minor + shares.seller_minor + sum(x.amount_minor for x in shares.lines)
    assert parts == priced[0].charge_minor
    assert shares.buyer_minor >= 0
