"""Abuse cases: each row of the table is held by tests that say so, `@pytest.mark.abuse(40)`.

The rows are numbered as in the list of abuse cases that this server is built against.
A row's letters are what its tests must look at afterwards: Z every business table and what the
provider was asked for are as before; S the same, and all that lets people in; 1 exactly one
effect; Q an event is kept in quarantine and nothing is on any contract; D who was dialled.
"""

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

TESTS = Path(__file__).parent


class Row(msgspec.Struct, frozen=True):
    """`note` says where the answer differs from what the list wants, and why."""

    checks: str
    tried: str
    note: str = ""


MALFORMED = {
    1: Row("Z", "JSON with a comma too many, single quotes, something after it"),
    2: Row("Z", "bytes that are not UTF-8"),
    4: Row("Z", "the same key twice"),
    5: Row("Z", "the same key twice, once escaped"),
    6: Row("Z", "the same name twice but for its case, where case does not matter"),
    7: Row("Z", "a byte order mark, UTF-16"),
    8: Row("Z", "JSON under another media type or charset"),
    10: Row("Z", "compressed bodies, and bombs"),
    11: Row("Z", "64 KiB and a byte, endless chunks, lying lengths"),
    13: Row("Z", "no body where one is needed, or may be left out"),
    14: Row("Z", "lengths that contradict each other"),
    16: Row("Z", "too many, too long and folded headers"),
    17: Row("Z", "a byte every four seconds"),
    19: Row("Z", "pages that are no plain numbers"),
    20: Row("Z", "NUL, lone surrogates and control characters in any text"),
}
AMOUNTS = {
    22: Row("Z", "exponents beyond every amount"),
    23: Row("Z", "numbers as text"),
    25: Row("Z", "true, null, lists and objects for numbers"),
    26: Row("Z", "nothing and less than nothing"),
    28: Row("Z", "more decimals than the currency has"),
    29: Row("Z", "5,000 digits, a megabyte of them", "1 MB is 413: no body is that long (row 11)"),
    31: Row("1", "1e2", "100, as D20 has it"),
    32: Row("Z", "an amount that is not the job's rate"),
    34: Row("Z", "milestones that are the whole, more than it, or nothing"),
    35: Row("Z", "days that are none, or are over", "of jobs, and of partners' milestones"),
    37: Row("Z", "partial refunds of everything or nothing, full ones with an amount"),
    38: Row("Z", "a second refund of the same money"),
}
CONTRACTS = {
    40: Row(
        "Z", "hiring for somebody else's job, or a closed one", "another client's is 403 (D19)"
    ),
    41: Row("Z", "hiring somebody who did not apply, or oneself"),
    43: Row("Z", "ids that are none, or nobody's"),
    44: Row("Z", "canceling a contract of others"),
    46: Row("1", "a cancel meets the payment"),
    47: Row("Z", "approving as another freelancer"),
    49: Row("Z", "the status going where no arrow goes"),
    50: Row("Z", "words that look like a status"),
    52: Row("Z", "work that is unpaid or not agreed to"),
    53: Row("1", "canceling funded work by its status"),
    55: Row("Z", "asking for a release that was granted"),
    56: Row("Z", "releasing what was not asked for"),
    58: Row("1", "release, refund and cancel at the same moment"),
    59: Row("Z", "a refund to another client"),
    61: Row("Z", "refunding what is finished, refunded, or was never paid"),
    62: Row("Z", "the admins' routes with anybody else's token"),
}
READS = {
    68: Row(
        "Z", "another partner's contract", "the same bytes as an unknown one; no test is timed"
    ),
    64: Row("Z", "lists of somebody else's contracts", "names and ids, or 401 (D8)"),
    65: Row("Z", "everybody's contracts without being an admin", "names and ids, or 401 (D8)"),
    67: Row("Z", "hashes, codes and tokens in lists of users"),
    70: Row("Z", "patterns, quotes and 10 KB in a search"),
    71: Row("", "formulas in exported names", "nothing exports yet; books name accounts by number"),
}
PAYMENTS = {
    73: Row("Z", "paying for another's job, twice, or for a canceled contract", "403 (D19)"),
    74: Row("1", "ten payments for one contract at once"),
    76: Row("1", "the provider's answer is lost"),
    77: Row("Z", "checkout links of others, too old, paid, or with a wrong phone number"),
    79: Row("Z", "events without a signature"),
    80: Row("Z", "events that were signed with another secret"),
    82: Row("Z", "events that were signed too long ago, or later"),
    83: Row("1", "one good signature of two"),
    85: Row("Z", "signatures and times in other alphabets"),
    86: Row("Z", "signed bytes that are no event"),
    88: Row("1", "two events that both say paid"),
    89: Row(
        "Z", "a completed checkout that is not paid", "the payment waits; no money, no contract"
    ),
    91: Row("Q", "money for nobody, a stranger, or no contract"),
    92: Row("1", "refunds, expiries and disputes out of order"),
    94: Row("1", "unknown kinds of events, and old ones"),
}
KEYS = {
    95: Row("1", "the same request again"),
    97: Row("1", "the same request fifty times at once"),
    98: Row("Z", "somebody else's key"),
    100: Row("1", "a server that died before it could answer"),
}
PEOPLE = {
    101: Row("S", "tokens signed with nothing, or with what everybody knows"),
    103: Row("S", "tokens without an end, or from the future"),
    104: Row(
        "S", "tokens that say which key to take", "1 MB is 431: no header is that long (row 16)"
    ),
    106: Row("S", "another role in the token or the database; a blocked person's session"),
    107: Row("S", "signing up as an admin, or with the code of another address"),
    109: Row("S", "partners' tokens asked for with other words, in other places, by nobody"),
    110: Row("S", "every code, a thousand passwords, passwords that cannot be"),
    118: Row("Z", "callback URLs that run, carry credentials, or lead to a foreign host"),
    119: Row("Z", "markup and invisible characters in names and texts"),
}
OUTBOUND = {
    112: Row("D", "webhooks to loopback, private, link-local and metadata addresses"),
    113: Row("D", "webhooks to other schemes and ports, with credentials, backslashes, line ends"),
    115: Row("D", "receivers that redirect"),
    116: Row("D", "receivers that hang, drip, reset, answer a gigabyte, or prove another name"),
}
ROWS = MALFORMED | AMOUNTS | CONTRACTS | READS | PAYMENTS | KEYS | PEOPLE | OUTBOUND

# What a test reaches for each check, itself or through functions of its own file.
LOOKS = {
    "Z": {"digest", "rows_by_table", "refused", "only_for", "refuses_ids"},
    "S": {"doors", "SESSIONS"},
    "Q": {"inbox"},
    "D": {"made"},
    "1": {
        "digest",
        "sound",
        "proof",
        "balances",
        "sessions",
        "inbox",
        "rows",
        "assert_released_once",
    },
}


class Marked(msgspec.Struct, frozen=True):
    """A test and the rows that it says it holds; `names` are all that it reaches."""

    where: str
    rows: tuple[int, ...]
    names: frozenset[str]


def rows_of(function: ast.AsyncFunctionDef | ast.FunctionDef) -> tuple[int, ...]:
    """The numbers in its `@pytest.mark.abuse(...)`."""
    found: list[int] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.abuse":
            found += [ast.literal_eval(argument) for argument in decorator.args]
    return tuple(found)


def names_in(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def reached_from(name: str, calls: dict[str, set[str]]) -> frozenset[str]:
    reached, ahead = {name}, [name]
    while ahead:
        for next_ in calls.get(ahead.pop(), set()) - reached:
            reached.add(next_)
            ahead.append(next_)
    return frozenset(reached)


def marked_in(path: Path) -> Iterator[Marked]:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]
    calls = {function.name: names_in(function) for function in functions}
    for function in functions:
        if rows := rows_of(function):
            where = f"{path.name}::{function.name}"
            yield Marked(where, rows, reached_from(function.name, calls))


@functools.cache
def marked() -> tuple[Marked, ...]:
    return tuple(one for path in sorted(TESTS.glob("test_*.py")) for one in marked_in(path))


def test_every_mark_is_on_a_test_and_names_a_row() -> None:
    for one in marked():
        assert "::test_" in one.where, f"{one.where} is not run"
        assert set(one.rows) <= set(ROWS), f"{one.where} holds a row that is not in the table"
        assert len(set(one.rows)) == len(one.rows), one.where


@pytest.mark.parametrize("number", [number for number in ROWS if ROWS[number].checks])
def test_every_row_is_held_by_a_test_that_looks_at_what_must_not_change(number: int) -> None:
    tests = [one for one in marked() if number in one.rows]
    assert tests, f"no test is marked with row {number}: {ROWS[number].tried}"
    wanted = LOOKS[ROWS[number].checks]
    assert any(one.names & wanted for one in tests), f"row {number}: no test looks at {wanted}"


def test_every_row_is_in_the_table_once() -> None:
    text = Path(__file__).read_text()
    numbers = Counter(re.findall(r"^    (\d+): Row\(", text, re.MULTILINE))
    assert len(numbers) == len(ROWS) == numbers.total()


def test_a_row_without_tests_says_why() -> None:
    assert [number for number, row in ROWS.items() if not row.checks and not row.note] == []


def test_nothing_exports_names_yet() -> None:
    """Bank files are read, not written. Whoever writes the first export holds row 71 with a test,
    and takes this one away."""
    sources = (TESTS.parent / "src").rglob("*.py")
    assert [
        path.name
        for path in sources
        if re.search(r"text/csv|csv\.(writer|DictWriter)", path.read_text(), re.IGNORECASE)
    ] == []
