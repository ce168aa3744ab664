"""**Reconciliation**: the ledger on our money at a provider, against the provider's own books.

What happened to our balance is told **there**, by the provider, and **here**, by the ledger, each
time as a kind, a source (the provider's id of the payment, refund, transfer ...) and an amount,
positive into the balance. What is told of one source adds up on each side; where the sums differ
at the end of a day is a **difference**. Invariant: closing there - closing here is the sum of the
differences, to the minor unit, and each of them says why.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from enum import IntEnum, StrEnum

import msgspec


class Kind(StrEnum):
    """What a change of the balance is. `earnest.providers.base.BalanceKind` has the same words."""

    CHARGE = "charge"
    REFUND = "refund"
    REFUND_RETURNED = "refund_returned"
    TRANSFER = "transfer"
    TRANSFER_RETURNED = "transfer_returned"
    CHARGEBACK = "chargeback"
    CHARGEBACK_RETURNED = "chargeback_returned"
    FEE = "fee"
    BANK = "bank"
    OTHER = "other"


class Cause(StrEnum):
    """Why both sides differ about a source.

    TIMING: they agree in the end, but not at the end of this day. CURRENCY: the other side has the
    same source in another currency. FEE: a fee that is not booked, or with another amount. ALTERED:
    a line came again with other content; it counts as it was first told, so it changes no sum.
    """

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    FEE = "fee"
    TIMING = "timing"
    CURRENCY = "currency"
    ALTERED = "altered"


SETTLED_LATER = frozenset({Cause.TIMING, Cause.MISSING_HERE, Cause.MISSING_THERE, Cause.FEE})
"""What the next days may explain: their day is looked at again for a week."""


class When(IntEnum):
    """Relative to the day in question. BEFORE: what earlier days had left unexplained."""

    BEFORE = 0
    DAY = 1
    AFTER = 2


class Line(msgspec.Struct, frozen=True):
    """One line of the provider's books. `amount_minor` is gross, `fee_minor` came off as well."""

    id: str
    kind: Kind
    type: str
    amount_minor: int
    fee_minor: int
    currency: str
    source_id: str
    created_at: datetime
    available_at: datetime

    @property
    def net_minor(self) -> int:
        return self.amount_minor - self.fee_minor


class Fact(msgspec.Struct, frozen=True):
    """What one side, or each, tells of one source. `of`: what it is of, in our words, or ""."""

    when: When
    kind: Kind
    source_id: str
    currency: str
    there_minor: int = 0
    here_minor: int = 0
    of: str = ""


class Difference(msgspec.Struct, frozen=True):
    """One source on which both sides differ at the end of the day, with what each has of it."""

    cause: Cause
    kind: Kind
    source_id: str
    currency: str
    there_minor: int
    here_minor: int
    of: str

    @property
    def minor(self) -> int:
        """Its part of the drift."""
        return 0 if self.cause is Cause.ALTERED else self.there_minor - self.here_minor


class Balances(msgspec.Struct, frozen=True):
    """Both sides at one instant."""

    there_minor: int = 0
    here_minor: int = 0

    @property
    def drift_minor(self) -> int:
        return self.there_minor - self.here_minor


class Result(msgspec.Struct, frozen=True):
    """One day of one currency. `lines` and `entries` count what the day had there and here."""

    day: date
    currency: str
    opening: Balances
    closing: Balances
    lines: int
    entries: int
    differences: tuple[Difference, ...]


class Unexplained(Exception):
    """The differences do not add up to the drift: earlier days have changed since they were
    reconciled."""


# -- what lines and bookings say ----------------------------------------------------------------


def fee_id(line: Line) -> str:
    """Under which id the fee that came off a line is booked: the line's own, unless the line itself
    is booked under that."""
    return f"{line.id}#fee" if line.kind in (Kind.FEE, Kind.BANK) else line.id


def to_book(line: Line) -> list[tuple[str, Kind, int]]:
    """What of a line is booked for its own sake: (id, fee or bank, minor units that left the
    balance)."""
    booked = []
    if line.kind in (Kind.FEE, Kind.BANK):
        booked.append((line.id, line.kind, -line.amount_minor))
    booked.append((fee_id(line), Kind.FEE, line.fee_minor))
    return [one for one in booked if one[2]]


def altered(line: Line, stored: Line) -> Difference:
    """A line that came again, and says something else than it did."""
    of = f"{line.type} {line.source_id}"
    name = f"{line.id}#altered"
    return Difference(
        Cause.ALTERED, line.kind, name, stored.currency, line.net_minor, stored.net_minor, of
    )


def facts_of(line: Line, when: When) -> list[Fact]:
    """What a line says: its amount under its source, and under its own id what is to be booked."""
    facts = [
        Fact(when, kind, booked_as, line.currency, there_minor=-minor, of=line.type)
        for booked_as, kind, minor in to_book(line)
    ]
    if line.kind not in (Kind.FEE, Kind.BANK):
        facts.append(Fact(when, line.kind, line.source_id, line.currency, line.amount_minor))
    return facts


# -- comparing ----------------------------------------------------------------------------------


def compare(
    day: date,
    facts: Iterable[Fact],
    opening: dict[str, Balances],
    altered: Sequence[Difference] = (),
) -> list[Result]:
    """Both sides at the end of `day`, a result for each currency of `opening` and `facts`.

    `opening` has the balances at the day's beginning, which the facts BEFORE explain; those AFTER
    show what was only late. `altered` are findings about lines, which change no sum.
    Raises Unexplained.
    """
    told = _named_alike(list(facts))
    sums = _sums(told)
    differences = _differences(sums)
    results = []
    for currency in sorted(opening.keys() | {fact.currency for fact in told if _counts(fact)}):
        began = opening.get(currency, Balances())
        of_day = [f for f in told if f.when is When.DAY and f.currency == currency]
        closing = Balances(
            began.there_minor + sum(fact.there_minor for fact in of_day),
            began.here_minor + sum(fact.here_minor for fact in of_day),
        )
        listed = tuple(one for one in (*differences, *altered) if one.currency == currency)
        if sum(one.minor for one in listed) != closing.drift_minor:
            raise Unexplained(f"{day} {currency}")
        lines = sum(1 for fact in of_day if fact.there_minor)
        entries = sum(1 for fact in of_day if fact.here_minor)
        results.append(Result(day, currency, began, closing, lines, entries, listed))
    return results


def _counts(fact: Fact) -> bool:
    return fact.when is not When.AFTER


Key = tuple[Kind, str, str]


class _Sum(msgspec.Struct):
    """Of one source: at the end of the day, and as far as is known."""

    there_minor: int = 0
    here_minor: int = 0
    there_at_last_minor: int = 0
    here_at_last_minor: int = 0
    of: str = ""


def _sums(facts: list[Fact]) -> dict[Key, _Sum]:
    sums: dict[Key, _Sum] = defaultdict(_Sum)
    for fact in facts:
        found = sums[(fact.kind, fact.source_id, fact.currency)]
        found.there_at_last_minor += fact.there_minor
        found.here_at_last_minor += fact.here_minor
        found.of = found.of or fact.of
        if _counts(fact):
            found.there_minor += fact.there_minor
            found.here_minor += fact.here_minor
    return sums


def _differences(sums: dict[Key, _Sum]) -> list[Difference]:
    apart = {key: one for key, one in sums.items() if one.there_minor != one.here_minor}
    currencies: dict[tuple[Kind, str], set[str]] = defaultdict(set)
    for kind, source_id, currency in apart:
        currencies[kind, source_id].add(currency)
    found = [
        Difference(
            _cause(key[0], one, in_others=len(currencies[key[0], key[1]]) > 1),
            *key,
            one.there_minor,
            one.here_minor,
            one.of,
        )
        for key, one in apart.items()
    ]
    return sorted(found, key=lambda one: (one.cause, one.kind, one.source_id))


def _cause(kind: Kind, one: _Sum, *, in_others: bool) -> Cause:
    if one.there_at_last_minor == one.here_at_last_minor:
        return Cause.TIMING
    if in_others and not (one.there_at_last_minor and one.here_at_last_minor):
        return Cause.CURRENCY
    if not one.there_at_last_minor:
        return Cause.MISSING_THERE
    if kind is Kind.FEE:
        return Cause.FEE
    return Cause.AMOUNT if one.here_at_last_minor else Cause.MISSING_HERE


_CAME_BACK = frozenset({Kind.TRANSFER_RETURNED, Kind.REFUND_RETURNED})


def _named_alike(facts: list[Fact]) -> list[Fact]:
    """The facts, with what came back under the name that the ledger has for it.

    A provider may name the return, the ledger names what came back (of a refund that was sent once
    more, the last one). All of it came back, so equal amounts belong together, the oldest first.
    """
    names: dict[tuple[Kind, str, int], list[str]] = defaultdict(list)
    returns = [fact for fact in facts if fact.kind in _CAME_BACK]
    there = {fact.source_id for fact in returns if fact.there_minor}
    here = {fact.source_id for fact in returns if fact.here_minor}
    for fact in sorted(returns, key=lambda fact: fact.when):
        if fact.here_minor and fact.source_id not in there:
            names[fact.kind, fact.currency, fact.here_minor].append(fact.source_id)
    renamed = {}
    for fact in sorted(returns, key=lambda fact: fact.when):
        waiting = names[fact.kind, fact.currency, fact.there_minor]
        if waiting and fact.source_id not in here:
            renamed[fact.kind, fact.source_id] = waiting.pop(0)
    return [
        msgspec.structs.replace(
            fact, source_id=renamed.get((fact.kind, fact.source_id), fact.source_id)
        )
        if fact.kind in _CAME_BACK
        else fact
        for fact in facts
    ]
