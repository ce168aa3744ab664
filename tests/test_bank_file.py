"""What our own bank says came from the provider, against what the provider says it sent."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.bank_file import Row, compare_bank, read_bank_file
from earnest.domain.reconciliation import Kind, Line
from earnest.errors import InvalidField


def sent(name: str, minor: int, day: int, currency: str = "INR") -> Line:
    at = datetime(2026, 11, day, 12, tzinfo=UTC)
    return Line(f"txn_{name}", Kind.BANK, "payout", -minor, 0, currency, f"po_{name}", at, at)


def came(number: int, minor: int, day: int, reference: str = "", currency: str = "INR") -> Row:
    return Row(number, date(2026, 11, day), minor, currency, reference)


EDGES = [came(90, 1, 1), came(91, 1, 30)]
EDGE_LINES = [sent("first_edge", 1, 1), sent("last_edge", 1, 30)]


def causes(rows: list[Row], lines: list[Line]) -> list[tuple[Any, ...]]:
    """Within a file of a whole month."""
    found = compare_bank([*rows, *EDGES], [*lines, *EDGE_LINES])
    return [
        (str(one.cause), one.row, one.line_id, one.there_minor, one.here_minor) for one in found
    ]


# -- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_it_reads_columns_in_any_order_with_any_separator(separator: str) -> None:
    lines = [
        ["Reference", "DATE", "balance", "Currency", "Amount"],
        ["STRIPE po_1", "2026-11-22", "9", "INR", "1234.50"],
        ['"Two, three; ""four"""', "2026-11-23", "9", "jpy", "-70"],
    ]
    text = "\ufeff" + "\r\n".join(separator.join(cells) for cells in lines) + "\r\n\r\n"
    assert read_bank_file(text) == [
        Row(2, date(2026, 11, 22), 123_450, "INR", "STRIPE po_1"),
        Row(3, date(2026, 11, 23), -70, "JPY", 'Two, three; "four"'),
    ]


HEADER = "date,amount,currency,reference\n"
BEGIN = "must begin with a line of date, amount, currency, reference"
DAY = "must be a day such as 2026-11-22"
NUMBER = "must be a number such as 1234.56, without thousands separators"
CURRENCY = "must be an ISO 4217 code such as INR or SAR"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", f"bank {BEGIN}"),
        ("dateXamountXcurrencyXreference\n", f"bank {BEGIN}"),
        ("date,amount,currency\n", "bank must have one column reference in its first line"),
        (
            "date,date,amount,currency,reference\n",
            "bank must have one column date in its first line",
        ),
        (HEADER + "2026-11-22,1,INR\n", "line 2 must have 4 columns"),
        (HEADER + "22.11.2026,1,INR,x\n", f"line 2: date {DAY}"),
        (HEADER + "2026-02-30,1,INR,x\n", f"line 2: date {DAY}"),
        (HEADER + "20261122,1,INR,x\n", f"line 2: date {DAY}"),
        (HEADER + "2026-W47-7,1,INR,x\n", f"line 2: date {DAY}"),
        (HEADER + '2026-11-22,"1,234.50",INR,x\n', f"line 2: amount {NUMBER}"),
        (HEADER + "2026-11-22,1e3,INR,x\n", f"line 2: amount {NUMBER}"),
        (HEADER + "2026-11-22,NaN,INR,x\n", f"line 2: amount {NUMBER}"),
        (HEADER + "2026-11-22,0.00,INR,x\n", "line 2: amount must not be 0"),
        (HEADER + "2026-11-22,1.005,INR,x\n", "line 2: amount must have at most 2 decimals in INR"),
        (HEADER + "2026-11-22,0.5,JPY,x\n", "line 2: amount must have at most 0 decimals in JPY"),
        (HEADER + "2026-11-22,1,RUPEES,x\n", f"line 2: currency {CURRENCY}"),
        (HEADER + '2026-11-22,1,INR,"x\n', "bank is no CSV file: unexpected end of data"),
    ],
)
def test_it_says_which_line_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_bank_file(text)
    assert str(refused.value) == says


def test_blank_lines_between_rows_are_passed_over() -> None:
    text = f"{HEADER}2026-11-22,1,INR,x\n\n , ,,\n2026-11-23,0.50,INR,y\n"
    assert read_bank_file(text) == [
        Row(2, date(2026, 11, 22), 100, "INR", "x"),
        Row(5, date(2026, 11, 23), 50, "INR", "y"),
    ]


def test_an_amount_is_ten_trillion_at_most() -> None:
    (row,) = read_bank_file(f"{HEADER}2026-11-22,-10000000000000.00,INR,x\n")
    assert row.amount_minor == -(10**15)
    with pytest.raises(InvalidField, match=r"\Aline 2: amount must be at most 10000000000000.00\Z"):
        read_bank_file(f"{HEADER}2026-11-22,-10000000000000.01,INR,x\n")


def test_a_file_has_twenty_million_characters_at_most() -> None:
    blanks = (" " * 99_999 + "\n") * 200
    longest = HEADER + blanks[len(HEADER) :]
    assert (len(longest), read_bank_file(longest)) == (20_000_000, [])
    with pytest.raises(InvalidField, match=r"\Abank must have at most 20,000,000 characters\Z"):
        read_bank_file(longest + "\n")


@given(st.text(max_size=200))
def test_it_reads_or_refuses_whatever_it_is_given(text: str) -> None:
    for given_text in (text, HEADER + text):
        try:
            rows = read_bank_file(given_text)
        except InvalidField:
            continue
        assert all(isinstance(row.amount_minor, int) and row.amount_minor for row in rows)


# -- matching ---------------------------------------------------------------------------------


def test_what_was_sent_and_came_agrees() -> None:
    lines = [sent("aaa", 500, 10), sent("bbb", 500, 11), sent("ccc", 700, 12)]
    rows = [came(2, 500, 12), came(3, 500, 13), came(4, 700, 12, "from po_ccc")]
    assert causes(rows, lines) == []


def test_a_row_that_nobody_sent_and_a_line_that_never_came() -> None:
    assert causes([came(2, 500, 10)], []) == [("missing_here", 2, "", 0, 500)]
    assert causes([], [sent("aaa", 500, 10)]) == [("missing_there", None, "txn_aaa", 500, 0)]


def test_what_was_sent_in_the_last_week_may_be_on_its_way() -> None:
    for day, cause in ((23, "missing_there"), (24, "timing"), (30, "timing")):
        assert causes([], [sent("aaa", 500, day)]) == [(cause, None, "txn_aaa", 500, 0)]


def test_a_reference_brings_another_amount_and_a_late_row_to_their_line() -> None:
    lines = [sent("aaa", 500, 5), sent("bbb", 600, 5), sent("ccc", 700, 5)]
    rows = [
        came(2, 499, 6, "po_aaa"),
        came(3, 600, 20, "txn_bbb"),
        came(4, 700, 6, "po_ccc", "EUR"),
    ]
    assert causes(rows, lines) == [
        ("amount", 2, "txn_aaa", 500, 499),
        ("timing", 3, "txn_bbb", 600, 600),
        ("currency", 4, "txn_ccc", 700, 700),
    ]


def test_a_row_whose_reference_names_two_lines_is_the_one_of_them() -> None:
    lines = [sent("aaa", 500, 5), sent("bbb", 500, 5)]
    assert causes([came(2, 500, 6, "po_aaa and po_bbb")], lines) == [
        ("missing_there", None, "txn_bbb", 500, 0)
    ]


def test_of_rows_that_name_a_line_it_is_the_one_in_its_currency_then_the_nearest() -> None:
    rows = [came(2, 500, 5, "po_aaa", "EUR"), came(3, 500, 7, "po_aaa")]
    assert causes(rows, [sent("aaa", 500, 5)]) == [("missing_here", 2, "", 0, 500)]
    rows = [came(2, 500, 20, "po_aaa"), came(3, 500, 7, "po_aaa")]
    assert causes(rows, [sent("aaa", 500, 5)]) == [("missing_here", 2, "", 0, 500)]


def test_a_row_that_names_its_line_has_a_week_to_come() -> None:
    assert causes([came(2, 500, 12, "po_aaa")], [sent("aaa", 500, 5)]) == []
    assert causes([came(2, 500, 13, "po_aaa")], [sent("aaa", 500, 5)]) == [
        ("timing", 2, "txn_aaa", 500, 500)
    ]


def test_a_short_id_of_the_providers_names_nothing() -> None:
    short = [sent("x", 500, 5)]
    assert causes([came(2, 499, 5, "txn_x po_x")], short) == [
        ("missing_here", 2, "", 0, 499),
        ("missing_there", None, "txn_x", 500, 0),
    ]


def test_a_row_is_matched_once_and_a_line_is() -> None:
    one, two = sent("aaa", 500, 5), sent("bbb", 500, 5)
    assert causes([came(2, 500, 5), came(3, 500, 6)], [one]) == [("missing_here", 3, "", 0, 500)]
    assert causes([came(2, 500, 5)], [one, two]) == [("missing_there", None, "txn_bbb", 500, 0)]


def test_differences_are_listed_by_day_then_line_then_row() -> None:
    rows = [came(4, 3, 6), came(3, 4, 5), came(2, 5, 5)]
    lines = [sent("bbb", 600, 5), sent("aaa", 700, 5), sent("ccc", 800, 4)]
    assert [one[1] or one[2] for one in causes(rows, lines)] == [
        *("txn_ccc", 2, 3, "txn_aaa", "txn_bbb", 4)
    ]


def test_equal_amounts_go_to_the_nearest_day() -> None:
    lines = [sent("aaa", 500, 5), sent("bbb", 500, 12)]
    assert causes([came(2, 500, 13)], lines) == [("missing_there", None, "txn_aaa", 500, 0)]
    assert causes([came(2, 500, 20)], lines) == [
        ("missing_there", None, "txn_aaa", 500, 0),
        ("missing_there", None, "txn_bbb", 500, 0),
        ("missing_here", 2, "", 0, 500),
    ]


def test_what_came_back_from_our_bank_is_matched_by_its_sign() -> None:
    assert causes([came(2, -500, 11)], [sent("aaa", -500, 10)]) == []


def test_a_file_without_rows_says_nothing() -> None:
    assert compare_bank([], [sent("aaa", 500, 10)]) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sound", "drop row", "drop line"]),
            st.integers(1, 22),
            st.integers(0, 1),
        ),
        max_size=30,
    )
)
def test_whatever_is_missing_is_found_and_nothing_else(told: list[Any]) -> None:
    rows, lines, wanted = [], [], []
    for number, (seed, day, late) in enumerate(told, start=2):
        minor = 1_000 + number
        if seed != "drop row":
            rows.append(came(number, minor, day + late))
        if seed != "drop line":
            lines.append(sent(f"n{number:04d}", minor, day))
        if seed != "sound":
            wanted.append(("missing_here" if seed == "drop line" else "missing_there", minor))
    found = [(cause, there or here) for cause, _, _, there, here in causes(rows, lines)]
    assert sorted(found) == sorted(wanted)


def test_a_week_apart_is_the_most() -> None:
    assert causes([came(2, 500, 17)], [sent("aaa", 500, 10)]) == []
    assert len(causes([came(2, 500, 18)], [sent("aaa", 500, 10)])) == 2
