"""Invariants as checks: the nouns of `earnest.store.verify`.

A **check** looks for rows that break one invariant of the specification and finds a
**violation**: the first such row, what was expected there and what was found. A check is a
statement, or (where hashes or the domain's own rules are needed) a walk over rows in Python.
"""

import msgspec

from earnest.ledger.accounts import unpack


class Violation(msgspec.Struct, frozen=True):
    """`row` is the primary key as text; `public_id` the row's public name if it has one: a
    public id, a contract number, or for an account `held:1234:0`."""

    invariant: int
    predicate: str
    table: str
    row: str
    public_id: str | None
    expected: str
    found: str

    def __str__(self) -> str:
        name = f" ({self.public_id})" if self.public_id else ""
        return (
            f"Invariant {self.invariant} is broken: {self.predicate}\n"
            f"  table {self.table}, row {self.row}{name}\n"
            f"  expected: {self.expected}\n"
            f"  found:    {self.found}"
        )


class Check(msgspec.Struct, frozen=True):
    """`sql` returns row, public_id, expected and found of rows that break the predicate, all
    as text. With `currencies`, $1
    and $2 are the codes and ISO 4217 numbers of all currencies. With `accounts`, `row` is the
    number of an account, which gets its name here."""

    invariant: int
    predicate: str
    table: str
    sql: str
    currencies: bool = False
    accounts: bool = False

    def violation(self, row: str, public_id: str | None, expected: str, found: str) -> Violation:
        if self.accounts:
            public_id = account_name(int(row))
        return Violation(
            self.invariant, self.predicate, self.table, row, public_id, expected, found
        )


def account_name(account: int) -> str | None:
    """The name of an account; None for a number that is none."""
    try:
        return unpack(account).name
    except (KeyError, ValueError):
        return None
