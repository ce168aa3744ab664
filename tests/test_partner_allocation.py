"""Whatever a contract costs and however it goes, every list adds up to the smallest unit.

From prices to postings over currencies with 0, 2 and 3 decimals, any plan that an operator may
write and any order of events: created, paid, released, refunded, disputed, cancelled.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from earnest.domain.contract import Money
from earnest.domain.money import CURRENCIES, to_major
from earnest.domain.pricing import FeesExceedAmount, LineType, Payer
from earnest.errors import InvalidField
from till import Till, a_business

currencies = st.sampled_from(["JPY", "SAR", "KWD"])
bps = st.one_of(st.integers(0, 3_000), st.sampled_from([0, 1, 250, 333, 1_000, 10_000]))
payers = st.sampled_from(["buyer", "seller", "split"])
caps = st.one_of(st.just(0), st.integers(0, 2_000))


@st.composite
def businesses(draw: st.DrawFn) -> Any:
    """Settings as an operator writes them, defaults among them."""
    code = draw(currencies)
    of = CURRENCIES[code]
    wanted: dict[str, Any] = {}
    if draw(st.booleans()):
        for fee in ("escrow", "platform"):
            low = draw(caps)
            wanted[f"{fee}_fee_bps"] = draw(bps)
            wanted[f"{fee}_fee_payer"] = draw(payers)
            wanted[f"{fee}_fee_minimum"] = to_major(low, of)
            if draw(st.booleans()):
                wanted[f"{fee}_fee_maximum"] = to_major(low + draw(caps), of)
        wanted["tax_bps"] = draw(bps)
        wanted["retention_bps"] = draw(bps)
        for work in ("not_started", "started", "delivered"):
            wanted[f"cancellation_{work}_bps"] = draw(bps)
        wanted["refund_approval"] = draw(st.sampled_from(["automatic", "admin"]))
    try:
        return a_business(code, **wanted)
    except InvalidField:
        assume(False)


bases = st.lists(
    st.one_of(st.integers(1, 100), st.integers(1, 200_000), st.just(1)), min_size=1, max_size=7
)
VERBS = ("approve", "deliver", "receive", "dispute", "resolve dispute", "cancel")
places = st.one_of(st.none(), st.integers(0, 6))
shares = st.fractions(0, Fraction(11, 10))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(VERBS), st.none(), st.none()),
        st.tuples(st.just("release"), places, st.none()),
        st.tuples(st.just("release"), places, st.none()),
        st.tuples(st.just("refund"), places, st.one_of(st.none(), shares)),
        st.tuples(st.just("refund"), st.integers(0, 6), st.fractions(0, 1)),
        st.tuples(st.just("refund"), st.integers(0, 6), st.none()),
        st.tuples(st.sampled_from(["settle", "approve refunds", "decline"]), st.none(), st.none()),
    ),
    min_size=3,
    max_size=16,
)


def take(till: Till, verb: str, place: int | None, share: Fraction | None) -> str:
    tranches = till.contract.terms.tranches
    milestone = None if place is None or len(tranches) == 1 else place % len(tranches)
    match verb:
        case "settle":
            return str(till.settle(1))
        case "approve refunds":
            till.rule("approve")
            return "ok"
        case "decline":
            till.rule("decline")
            return "ok"
    amount = None
    if share is not None:
        amount = max(1, int(tranches[milestone or 0].base_minor * share))
    return till.act(verb, milestone=milestone, amount=amount)


@given(businesses(), bases, steps, st.sampled_from([False] * 6 + [True]))
def test_every_list_adds_up_however_it_goes(
    business: Any, bases: list[int], steps: list[Any], late: bool
) -> None:
    try:
        till = Till.open(business, bases)
    except FeesExceedAmount:
        event("too small for its fees")
        return
    till.look()
    if late:
        till.act("cancel")
    assert till.fund() == "ok"
    till.look()
    for verb, place, share in steps:
        event(f"{verb}: {take(till, verb, place, share)}")
        till.look()
    till.rule("approve")
    till.settle()
    till.act("resolve dispute")
    till.act("release")
    till.look()
    assert till.contract.settled
    assert till.shown().held == 0
    assert till.fund() == "AlreadyFunded"


@given(businesses(), bases)
def test_a_quote_is_the_exact_price_rounded_half_up_once(business: Any, bases: list[int]) -> None:
    """E3: each fee of the whole base, half up, within its caps; its tax of the rounded fee; what
    milestones get of it differs from their exact share by less than one unit (largest remainder).
    """
    try:
        till = Till.open(business, bases)
    except FeesExceedAmount:
        return
    whole = sum(bases)
    amounts: dict[LineType, int] = {LineType.CONTRACT_AMOUNT: whole}
    tranches = till.contract.terms.tranches
    for rule in business.settings.fee_plan:
        exact = Fraction(amounts[rule.of] * rule.rate_bps, 10_000)
        rounded = int(exact + Fraction(1, 2))
        capped = max(rounded, rule.minor_min)
        if rule.minor_max is not None:
            capped = min(capped, rule.minor_max)
        amounts[rule.line] = capped
        lines = [[line for line in tranche.lines if line.type is rule.line] for tranche in tranches]
        assert sum(line.amount_minor for of_one in lines for line in of_one) == capped
        for column in zip(*lines, strict=True):
            total = sum(line.amount_minor for line in column)
            for base, line in zip(bases, column, strict=True):
                assert abs(line.amount_minor - Fraction(total * base, whole)) < 1
        if rule.payer is Payer.SPLIT:
            halves = [
                sum(line.amount_minor for line in column) for column in zip(*lines, strict=True)
            ]
            assert halves[0] - halves[1] in (0, 1)
        else:
            assert {line.payer for of_one in lines for line in of_one} == {rule.payer}


@given(currencies, st.integers(2, 10**6), st.data())
def test_a_partial_refund_splits_its_base_into_three(
    code: str, base: int, data: st.DataObject
) -> None:
    """E6: buyer + seller + kept = base, and what is kept is 5 % of the rest, half up."""
    amount = data.draw(st.integers(1, base - 1))
    till = Till.open(a_business(code), [base])
    assert till.fund() == "ok"
    assert till.act("refund", amount=amount) == "ok"
    assert till.settle() == 1
    till.look()
    kept = int(Fraction(base - amount, 20) + Fraction(1, 2))
    told, of = till.shown(), CURRENCIES[code]
    assert told.refunded_to_buyer == to_major(amount, of)
    assert told.released_to_seller == to_major(base - amount - kept, of)
    assert told.fees + told.taxes - to_major(kept, of) == to_major(
        till.contract.charge_minor - base, of
    )
    assert till.contract.tranches == (Money.SPLIT,)


@pytest.mark.parametrize(
    ("code", "base", "lines"),
    [
        # fee 2.5 %, its tax 15 %, fee 10 %, its tax 15 %
        ("SAR", "1000", ["25", "3.75", "100", "15"]),
        ("SAR", "600", ["15", "2.25", "60", "9"]),
        ("SAR", "400", ["10", "1.50", "40", "6"]),
        ("SAR", "707.45", ["17.69", "2.65", "70.75", "10.61"]),
        ("SAR", "0.01", ["0", "0", "0", "0"]),
        ("SAR", "0.20", ["0.01", "0", "0.02", "0"]),
        ("JPY", "1000", ["25", "4", "100", "15"]),
        ("JPY", "30", ["1", "0", "3", "0"]),
        ("KWD", "1.234", ["0.031", "0.005", "0.123", "0.018"]),
        ("KWD", "999999.999", ["25000.000", "3750.000", "100000.000", "15000.000"]),
    ],
)
def test_prices_worked_out_by_hand(code: str, base: str, lines: list[str]) -> None:
    of = CURRENCIES[code]
    (tranche,) = Till.open(
        a_business(code), [int(Decimal(base).scaleb(of.exponent))]
    ).contract.terms.tranches
    assert [to_major(line.amount_minor, of) for line in tranche.lines] == [
        Decimal(line) for line in lines
    ]
