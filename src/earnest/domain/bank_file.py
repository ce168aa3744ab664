"""A **bank file**: what our own bank says came from the provider, a **row** for each.

A row is found again among the provider's lines of what it sent to our bank: by a name of theirs in
its reference, else by its amount within a week. Invariant: a row and a line are matched once, and
what is left of either is a difference with its cause.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal

import msgspec

from earnest.domain.money import currency as currency_of
from earnest.domain.money import parse_major
from earnest.domain.reconciliation import Cause, Line
from earnest.errors import InvalidField

COLUMNS = ("date", "amount", "currency", "reference")
DAYS_APART_MAX = 7
CHARACTERS_MAX = 20_000_000
NAME_CHARACTERS_MIN = 6
"""A shorter id of a provider's might be part of anything."""

MINOR_MAX = 10**15
_AMOUNT = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,4})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Row(msgspec.Struct, frozen=True):
    """One row, of line `number` of the file. `amount_minor` is positive when it came in."""

    number: int
    day: date
    amount_minor: int
    currency: str
    reference: str


class BankDifference(msgspec.Struct, frozen=True):
    """One row or line, or both, that do not agree. `there`: the provider says so much came into our
    bank. `here`: the bank says so. `row` is None where the file has none."""

    cause: Cause
    line_id: str
    row: int | None
    day: date
    currency: str
    there_minor: int
    here_minor: int


def parse_day(text: str, field: str) -> date:
    """A day as ISO 8601 writes it. Raises InvalidField naming `field`."""
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidField(field, "must be a day such as 2026-11-22") from None


# -- reading --------------------------------------------------------------------------------------


def read_bank_file(text: str) -> list[Row]:
    """The rows of a CSV file with a header that has COLUMNS, in any order and case, and maybe more;
    with commas, semicolons, tabs or bars between them. Raises InvalidField naming the line."""
    if len(text) > CHARACTERS_MAX:
        raise InvalidField("bank", f"must have at most {CHARACTERS_MAX:,} characters")
    try:
        return list(_rows(text.removeprefix("\ufeff")))
    except csv.Error as error:
        raise InvalidField("bank", f"is no CSV file: {error}") from None


def _rows(text: str) -> Iterator[Row]:
    header, _, _ = text.partition("\n")
    try:
        dialect = csv.Sniffer().sniff(header, delimiters=",;\t|")
    except csv.Error:
        raise InvalidField("bank", f"must begin with a line of {', '.join(COLUMNS)}") from None
    reader = csv.reader(io.StringIO(text), delimiter=dialect.delimiter, strict=True)
    names = [name.strip().lower() for name in next(reader, [])]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise InvalidField("bank", f"must have one column {name} in its first line")
    at = [names.index(name) for name in COLUMNS]
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        number = reader.line_num
        if len(cells) != len(names):
            raise InvalidField(f"line {number}", f"must have {len(names)} columns")
        day, amount, currency, reference = (cells[index].strip() for index in at)
        yield Row(
            number,
            parse_day(day, f"line {number}: date"),
            *_money(amount, currency, number),
            reference,
        )


def _money(amount: str, code: str, number: int) -> tuple[int, str]:
    field = f"line {number}: amount"
    if not _AMOUNT.fullmatch(amount):
        raise InvalidField(field, "must be a number such as 1234.56, without thousands separators")
    try:
        currency = currency_of(code.upper())
    except InvalidField as error:
        raise InvalidField(f"line {number}: currency", error.expected) from None
    value = Decimal(amount)
    if not value:
        raise InvalidField(field, "must not be 0")
    minor = parse_major(abs(value), currency, field, MINOR_MAX)
    return (minor if value > 0 else -minor), currency.code


# -- matching -------------------------------------------------------------------------------------


def compare_bank(rows: Sequence[Row], lines: Sequence[Line]) -> list[BankDifference]:
    """The rows against the provider's lines of kind bank, which reach a week further back.

    What the provider sent before the file's first day may have come before it, too; what it sent
    in the last week may still be on its way (timing).
    """
    if not rows:
        return []
    found, rows_left, lines_left = _by_name(rows, lines)
    rows_left, lines_left = _by_amount(rows_left, lines_left)
    first, last = min(row.day for row in rows), max(row.day for row in rows)
    for row in rows_left:
        found.append(_difference(Cause.MISSING_HERE, "", row, row.day, 0, row.amount_minor))
    for line in lines_left:
        if first <= _day(line) <= last:
            is_late = _day(line) > last - timedelta(days=DAYS_APART_MAX)
            cause = Cause.TIMING if is_late else Cause.MISSING_THERE
            sent_minor = -line.amount_minor
            found.append(
                BankDifference(cause, line.id, None, _day(line), line.currency, sent_minor, 0)
            )
    return sorted(found, key=lambda one: (one.day, one.line_id, one.row or 0))


def _by_name(
    rows: Sequence[Row], lines: Sequence[Line]
) -> tuple[list[BankDifference], list[Row], list[Line]]:
    """The differences among those that a reference brings together, and what is left."""
    found: list[BankDifference] = []
    taken: set[int] = set()
    lines_left = []
    for line in lines:
        names = {line.id, line.source_id}
        named = [row for row in rows if row.number not in taken and _names(row, names)]
        if not named:
            lines_left.append(line)
            continue
        row = min(named, key=lambda row: (row.currency != line.currency, _apart(row, line)))
        taken.add(row.number)
        if (row.amount_minor, row.currency) != (-line.amount_minor, line.currency):
            cause = Cause.AMOUNT if row.currency == line.currency else Cause.CURRENCY
        elif _apart(row, line) > DAYS_APART_MAX:
            cause = Cause.TIMING
        else:
            continue
        sent_minor = -line.amount_minor
        found.append(_difference(cause, line.id, row, _day(line), sent_minor, row.amount_minor))
    return found, [row for row in rows if row.number not in taken], lines_left


def _names(row: Row, names: set[str]) -> bool:
    return any(len(name) >= NAME_CHARACTERS_MIN and name in row.reference for name in names)


def _by_amount(rows: Sequence[Row], lines: Sequence[Line]) -> tuple[list[Row], list[Line]]:
    """What is left when equal amounts within a week belong together, the nearest first."""
    of_amount: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        of_amount[row.amount_minor, row.currency].append(row)
    pairs = sorted(
        (_apart(row, line), line.id, row.number)
        for line in lines
        for row in of_amount[-line.amount_minor, line.currency]
        if _apart(row, line) <= DAYS_APART_MAX
    )
    taken_lines: set[str] = set()
    taken_rows: set[int] = set()
    for _, line_id, number in pairs:
        if line_id not in taken_lines and number not in taken_rows:
            taken_lines.add(line_id)
            taken_rows.add(number)
    return (
        [row for row in rows if row.number not in taken_rows],
        [line for line in lines if line.id not in taken_lines],
    )


def _difference(
    cause: Cause, line_id: str, row: Row, day: date, there_minor: int, here_minor: int
) -> BankDifference:
    return BankDifference(cause, line_id, row.number, day, row.currency, there_minor, here_minor)


def _day(line: Line) -> date:
    return line.created_at.astimezone(UTC).date()


def _apart(row: Row, line: Line) -> int:
    return abs((row.day - _day(line)).days)
