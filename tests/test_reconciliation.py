"""Comparing the ledger with a provider's books, as values: what differs is found and classed."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.reconciliation import (
    SETTLED_LATER,
    Balances,
    Cause,
    Difference,
    Fact,
    Kind,
    Line,
    Result,
    Unexplained,
    When,
    altered,
    compare,
    facts_of,
    to_book,
)
from earnest.providers.base import BalanceKind

DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEFORE, TODAY, AFTER = When.BEFORE, When.DAY, When.AFTER


def there(source: str, minor: int, when: When = TODAY, **other: Any) -> Fact:
    return Fact(when, other.pop("kind", Kind.CHARGE), source, "INR", there_minor=minor, **other)


def here(source: str, minor: int, when: When = TODAY, **other: Any) -> Fact:
    return Fact(when, other.pop("kind", Kind.CHARGE), source, "INR", here_minor=minor, **other)


def compared(*facts: Fact, opening: Balances | None = None) -> Result:
    """The one result, in INR."""
    (result,) = compare(DAY, facts, {"INR": opening or Balances()})
    return result


def causes(*facts: Fact, **how: Any) -> list[tuple[str, str, int]]:
    found = compared(*facts, **how)
    return [(one.cause, one.source_id, one.minor) for one in found.differences]


def line(id_: str, kind: Kind, amount_minor: int, fee_minor: int = 0, source: str = "") -> Line:
    return Line(id_, kind, kind, amount_minor, fee_minor, "INR", source or id_, NOON, NOON)


def test_it_has_the_words_of_the_provider_interface() -> None:
    assert [str(kind) for kind in Kind] == [str(kind) for kind in BalanceKind]


def test_it_has_a_word_for_each_cause_and_looks_again_at_what_time_may_explain() -> None:
    causes_told = "missing_here missing_there amount fee timing currency altered".split()
    assert [str(cause) for cause in Cause] == causes_told
    assert {"timing", "missing_here", "missing_there", "fee"} == SETTLED_LATER


# -- one difference of each kind ------------------------------------------------------------------


def test_a_clean_day_has_no_drift() -> None:
    result = compared(there("pi_1", 500), here("pi_1", 500), opening=Balances(70, 70))
    assert result.differences == ()
    assert (result.closing, result.closing.drift_minor) == (Balances(570, 570), 0)
    assert (result.lines, result.entries) == (1, 1)


def test_a_day_has_as_many_lines_and_entries_as_were_told() -> None:
    result = compared(*(there("pi_1", 100) for _ in range(3)), here("pi_1", 300))
    assert (result.lines, result.entries) == (3, 1)


def test_a_payment_of_several_lines_is_one_source() -> None:
    assert causes(there("pi_1", 200), there("pi_1", 300), here("pi_1", 500)) == []


def test_it_says_which_side_misses_something() -> None:
    assert causes(there("pi_1", 500)) == [("missing_here", "pi_1", 500)]
    assert causes(here("pi_1", 500)) == [("missing_there", "pi_1", -500)]
    assert [one.of for one in compared(here("pi_1", 500)).differences] == [""]


def test_another_amount_and_a_second_line_are_of_the_amount() -> None:
    assert causes(there("pi_1", 499), here("pi_1", 500)) == [("amount", "pi_1", -1)]
    twice = (there("pi_1", 500), there("pi_1", 500), here("pi_1", 500))
    assert causes(*twice) == [("amount", "pi_1", 500)]


def test_what_came_after_midnight_is_a_matter_of_time() -> None:
    assert causes(there("pi_1", 500), here("pi_1", 500, AFTER)) == [("timing", "pi_1", 500)]
    assert causes(here("pi_1", 500), there("pi_1", 500, AFTER)) == [("timing", "pi_1", -500)]


def test_the_next_day_explains_what_the_day_before_had_left() -> None:
    left = there("pi_1", 500, BEFORE)
    assert causes(left, here("pi_1", 500), opening=Balances(500, 0)) == []
    assert causes(left, opening=Balances(500, 0)) == [("missing_here", "pi_1", 500)]


def test_a_difference_says_what_it_is_of_in_whichever_order_it_is_told() -> None:
    named = there("pi_1", 500, of="refund")
    for facts in ((named, here("pi_1", 400)), (here("pi_1", 400), named)):
        (found,) = compared(*facts).differences
        assert found == Difference(Cause.AMOUNT, Kind.CHARGE, "pi_1", "INR", 500, 400, "refund")


def test_differences_are_listed_by_cause_then_kind_then_source() -> None:
    facts = [
        there("z", 5, kind=Kind.TRANSFER),
        there("b", 5),
        there("a", 5, kind=Kind.REFUND),
        there("a", 5),
        here("y", 5),
    ]
    assert [(one.cause, one.kind, one.source_id) for one in compared(*facts).differences] == [
        ("missing_here", "charge", "a"),
        ("missing_here", "charge", "b"),
        ("missing_here", "refund", "a"),
        ("missing_here", "transfer", "z"),
        ("missing_there", "charge", "y"),
    ]


def test_a_later_wrong_amount_is_not_only_late() -> None:
    assert causes(there("pi_1", 500), here("pi_1", 400, AFTER)) == [("amount", "pi_1", 500)]


def test_fees_that_are_not_booked_or_otherwise_are_fees() -> None:
    (fee,) = [f for f in facts_of(line("txn_1", Kind.CHARGE, 500, 15), TODAY) if f.kind is Kind.FEE]
    assert causes(fee) == [("fee", "txn_1", -15)]
    assert [one.of for one in compared(fee).differences] == ["charge"]
    assert causes(fee, here("txn_1", -14, kind=Kind.FEE)) == [("fee", "txn_1", -1)]
    assert causes(fee, here("txn_1", -15, kind=Kind.FEE)) == []
    assert causes(here("txn_1", -15, kind=Kind.FEE)) == [("missing_there", "txn_1", 15)]


def test_another_currency_is_found_on_both_sides() -> None:
    dollars = Fact(TODAY, Kind.CHARGE, "pi_1", "USD", there_minor=500)
    found = compare(DAY, [dollars, here("pi_1", 500)], {})
    assert [(one.currency, one.closing.drift_minor) for one in found] == [
        ("INR", -500),
        ("USD", 500),
    ]
    assert [d.cause for one in found for d in one.differences] == [Cause.CURRENCY] * 2


def test_another_amount_in_each_of_two_currencies_is_of_the_amounts() -> None:
    dollars = Fact(TODAY, Kind.CHARGE, "pi_1", "USD", there_minor=5, here_minor=4)
    found = compare(DAY, [dollars, there("pi_1", 500), here("pi_1", 400)], {})
    assert [d.cause for one in found for d in one.differences] == [Cause.AMOUNT] * 2


@pytest.mark.parametrize("kind", [Kind.TRANSFER_RETURNED, Kind.REFUND_RETURNED])
def test_a_return_under_its_own_name_is_not_taken_for_one_that_has_its_name(kind: Kind) -> None:
    agreed = (there("tr_1", 500, kind=kind), here("tr_1", 500, kind=kind))
    assert causes(*agreed, there("trr_2", 500, kind=kind)) == [("missing_here", "trr_2", 500)]
    assert causes(*agreed, here("tr_2", 500, kind=kind)) == [("missing_there", "tr_2", -500)]
    assert causes(*agreed, there("trr_2", 500, kind=kind), here("tr_2", 500, kind=kind)) == []


def test_a_transfer_that_came_back_is_the_one_that_the_ledger_means() -> None:
    back = there("trr_1", 500, kind=Kind.TRANSFER_RETURNED)
    ours = here("tr_1", 500, kind=Kind.TRANSFER_RETURNED)
    assert causes(back, ours) == []
    late = moved_to(ours, AFTER)
    assert causes(back, late) == [("timing", "tr_1", 500)]
    assert causes(back, here("tr_1", 400, kind=Kind.TRANSFER_RETURNED)) == [
        ("missing_here", "trr_1", 500),
        ("missing_there", "tr_1", -400),
    ]


def test_a_return_of_nothing_takes_no_name_from_another() -> None:
    back = [
        there(source, minor, kind=Kind.TRANSFER_RETURNED)
        for source, minor in (("trr_1", 500), ("trr_1", 0), ("trr_0", 0))
    ]
    assert causes(*back, here("tr_1", 500, kind=Kind.TRANSFER_RETURNED)) == []


def moved_to(fact: Fact, when: When) -> Fact:
    return Fact(when, fact.kind, fact.source_id, fact.currency, fact.there_minor, fact.here_minor)


def test_a_line_that_was_altered_is_told_and_changes_no_sum() -> None:
    told = Difference(Cause.ALTERED, Kind.CHARGE, "txn_1", "INR", 400, 500, "charge pi_1")
    (result,) = compare(DAY, [there("pi_1", 500), here("pi_1", 500)], {}, [told])
    assert (result.differences, result.closing.drift_minor) == ((told,), 0)


def test_a_line_that_came_again_says_what_it_was_and_what_it_says_now() -> None:
    first, again = line("txn_1", Kind.CHARGE, 500, 15, "pi_1"), line("txn_1", Kind.FEE, 400, 5)
    assert altered(again, first) == Difference(
        Cause.ALTERED, Kind.FEE, "txn_1#altered", "INR", 395, 485, "fee txn_1"
    )


def test_it_refuses_an_opening_that_nothing_explains() -> None:
    with pytest.raises(Unexplained, match=r"\A2026-11-22 INR\Z"):
        compared(opening=Balances(500, 0))


def test_a_day_without_anything_closes_as_it_opened() -> None:
    assert compared(opening=Balances(70, 70)).closing == Balances(70, 70)
    assert compare(DAY, [], {}) == []


# -- what is booked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "booked"),
    [
        (line("txn_1", Kind.CHARGE, 500), []),
        (line("txn_1", Kind.CHARGE, 500, 15), [("txn_1", "fee", 15)]),
        (line("txn_1", Kind.REFUND, -500, -15), [("txn_1", "fee", -15)]),
        (line("txn_1", Kind.FEE, -200), [("txn_1", "fee", 200)]),
        (line("txn_1", Kind.FEE, -200, 18), [("txn_1", "fee", 200), ("txn_1#fee", "fee", 18)]),
        (line("txn_1", Kind.BANK, -900), [("txn_1", "bank", 900)]),
        (line("txn_1", Kind.BANK, 900, 5), [("txn_1", "bank", -900), ("txn_1#fee", "fee", 5)]),
    ],
)
def test_it_books_fees_and_what_went_to_our_bank(of: Line, booked: list[Any]) -> None:
    assert to_book(of) == booked
    assert sum(fact.there_minor for fact in facts_of(of, TODAY)) == of.net_minor
    ours = [here(id_, -minor, kind=kind) for id_, kind, minor in booked]
    charged = [] if of.kind in (Kind.FEE, Kind.BANK) else [of.amount_minor]
    ours += [here(of.source_id, minor, kind=of.kind) for minor in charged]
    assert causes(*facts_of(of, TODAY), *ours) == []


# -- whatever is seeded is found ------------------------------------------------------------------

SEEDS = ("sound", "drop here", "drop there", "twice there", "late here", "late there", "amount")
WANTED = {
    "drop here": "missing_here",
    "drop there": "missing_there",
    "twice there": "amount",
    "late here": "timing",
    "late there": "timing",
    "amount": "amount",
}
KINDS = [Kind.CHARGE, Kind.REFUND, Kind.TRANSFER, Kind.CHARGEBACK, Kind.FEE, Kind.BANK]
amounts = st.integers(1, 10**9).flatmap(lambda minor: st.sampled_from([minor, -minor]))
sources = st.lists(
    st.tuples(st.sampled_from(SEEDS), st.sampled_from(KINDS), amounts, st.integers(1, 50)),
    max_size=40,
)


def seeded(name: str, seed: str, kind: Kind, minor: int, off: int) -> list[Fact]:
    told = there(name, minor, AFTER if seed == "late there" else TODAY, kind=kind)
    ours = here(name, minor + (off if seed == "amount" else 0), kind=kind)
    if seed == "late here":
        ours = moved_to(ours, AFTER)
    match seed:
        case "drop here":
            return [told]
        case "drop there":
            return [ours]
        case "twice there":
            return [told, told, ours]
    return [told, ours]


@given(sources)
def test_whatever_is_seeded_is_found_and_nothing_else(told: list[Any]) -> None:
    facts, wanted = [], []
    for number, (seed, kind, minor, off) in enumerate(told):
        facts += seeded(f"s{number}", seed, kind, minor, off if minor + off else off + 1)
        if seed != "sound":
            is_fee = kind is Kind.FEE and WANTED[seed] in ("amount", "missing_here")
            wanted.append((f"s{number}", "fee" if is_fee else WANTED[seed]))
    found = [one for result in compare(DAY, facts, {}) for one in result.differences]
    assert Counter((one.source_id, str(one.cause)) for one in found) == Counter(wanted)
    drift = sum(result.closing.drift_minor for result in compare(DAY, facts, {}))
    assert drift == sum(one.minor for one in found)


@given(sources)
def test_what_a_day_leaves_is_where_the_next_one_begins(told: list[Any]) -> None:
    """Late things are explained the day after; what is missing stays missing."""
    facts = [fact for n, one in enumerate(told) for fact in seeded(f"s{n}", *one)]
    first = compare(DAY, facts, {})
    if not first:
        return
    (result,) = first
    left = [
        Fact(BEFORE, one.kind, one.source_id, "INR", one.there_minor, one.here_minor)
        for one in result.differences
    ]
    late = [moved_to(fact, TODAY) for fact in facts if fact.when is AFTER]
    (second,) = compare(date(2026, 11, 23), [*left, *late], {"INR": result.closing})
    was_late = {one.source_id for one in result.differences if one.cause is Cause.TIMING}
    assert {one.source_id for one in second.differences} == {
        one.source_id for one in result.differences
    } - was_late
    assert [one for one in second.differences if one.cause is Cause.TIMING] == []
