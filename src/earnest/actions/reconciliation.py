"""Reconciling: the provider's lines are fetched, stored, booked where they are fees or of our own
bank, and compared with the ledger, day by day. A dispute that only they tell of is noticed.

Invariant: each step can be repeated and interrupted anywhere: a line is stored once, booked once
(the primary key of booked_line), and a day has the results of its last run. Days follow each other:
what one leaves unexplained is where the next one begins.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import msgspec

from earnest.actions.core import ATTEMPTS_MAX, Core
from earnest.actions.hints import notice_unheard
from earnest.domain.change import Change, audit_event
from earnest.domain.chargeback import Booking
from earnest.domain.money import CURRENCIES
from earnest.domain.movement import Booked
from earnest.domain.party import SYSTEM
from earnest.domain.reconciliation import (
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
from earnest.errors import Conflict, InvalidField, MalformedBody
from earnest.ids import Ids
from earnest.ledger.movements import expand
from earnest.providers.base import BalanceTransaction
from earnest.providers.events import parse_event
from earnest.store import balance_lines, cash_entries, clock, reconciliations
from earnest.store.cash_entries import Entry
from earnest.store.commit import Commit

log = logging.getLogger(__name__)

LOOK_BACK_DAYS = 7
"""For so long a day with differences is compared again, and so far ahead a late line is seen."""

LINES_AT_ONCE = 500
STARTS_AT_HOUR = 2
"""UTC: by then yesterday's events have come, but for those that are days late."""

TURN_SECONDS = 3_600

Report = Callable[[str, int, int], None]
"""Is told what goes on, how much of it is done, and of how much (0: nobody knows)."""


def unheard(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


async def reconcile_due(core: Core) -> int:
    """Reconcile yesterday once its time has come, unless somebody has, or is about to; what fails
    is tried again an hour later."""
    async with core.pool.connection() as conn:
        now = await reconciliations.real_now(conn)
        day = (now - timedelta(hours=STARTS_AT_HOUR)).astimezone(UTC).date() - timedelta(days=1)
        if not await reconciliations.take_turn(conn, core.provider_account, day, TURN_SECONDS):
            return 0
    with contextlib.suppress(TooEarly):
        await reconcile(core, day)
    async with core.pool.connection() as conn:
        await reconciliations.end_turn(conn, core.provider_account, day)
    return 0


class TooEarly(InvalidField):
    """There is nothing to compare: no money had come in yet."""


async def reconcile(core: Core, day: date, report: Report = unheard) -> list[Result]:
    """Compare `day` (UTC), a result for each currency; before it what earlier days still lack.

    Differences that time alone does not explain are logged as an error.
    Raises InvalidField naming date, ProviderError.
    """
    span = await _span(core, day)
    asked: set[str] = set()
    try:
        results = await _run(core, day, span, asked, report)
    except Unexplained:
        # An earlier day is no longer what the later ones were built upon: all of them again.
        log.warning("a reconciled day has changed: all days are compared again")
        span = msgspec.structs.replace(span, first=span.start)
        results = await _run(core, day, span, asked, report)
    _tell(results)
    return results


async def _run(
    core: Core, day: date, span: "_Span", asked: set[str], report: Report
) -> list[Result]:
    strange = await _import(core, span.first, day, span.now, report)
    # Before the comparison, which then can say whose the money is that it finds missing.
    await notice_unheard(core, span.first, asked)
    first, last = span.first, day
    since = first - timedelta(days=LOOK_BACK_DAYS)
    async with core.pool.connection() as conn:
        stale = await reconciliations.stale_since(conn, core.provider_account, since)
    if stale is not None and span.last is not None and stale <= span.last:
        # That day has lines that it was not compared with, or another beginning: it and all that
        # follow it are compared again.
        first, last = min(first, stale), max(day, span.last)
    results: list[Result] = []
    days = (last - first).days + 1
    for done, one in enumerate(_days(first, last)):
        report("compare", done, days)
        await _book(core, one)
        found = await _compare(core, one, strange.get(one, ()), span.now)
        results = found if one == day else results
    report("compare", days, days)
    return results


def _tell(results: Sequence[Result]) -> None:
    causes = {one.cause for result in results for one in result.differences}
    if causes - {Cause.TIMING}:
        log.error("the books and the provider's differ: see GET /api/admin/reconciliations")
    elif causes:
        log.info("some of a day's money was booked on another day")


# -- which days -----------------------------------------------------------------------------------


class _Span(msgspec.Struct, frozen=True):
    """`start` is the first day of all, `first` where this run begins, `last` the last one that was
    compared before."""

    start: date
    first: date
    last: date | None
    now: datetime


async def _span(core: Core, day: date) -> _Span:
    account = core.provider_account
    back = day - timedelta(days=LOOK_BACK_DAYS)
    async with core.pool.connection() as conn:
        now = await reconciliations.real_now(conn)
        came = await cash_entries.first_at(conn, account)
        last = await reconciliations.last_day(conn, account)
        unsettled = await reconciliations.unsettled_since(conn, account, back)
    if day > now.astimezone(UTC).date():
        raise InvalidField("date", "must not be in the future")
    if came is None:
        raise TooEarly("date", "is before the first payment: there is nothing to compare")
    # What came in just after midnight may be the provider's from before it.
    start = came.astimezone(UTC).date() - timedelta(days=1)
    if day < start:
        raise TooEarly("date", f"must not be before {start}: there was no payment yet")
    if last is None:
        return _Span(start, start, None, now)
    first = min(filter(None, (day, last + timedelta(days=1), unsettled)))
    return _Span(start, max(start, first), last, now)


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# -- import ---------------------------------------------------------------------------------------


async def _import(
    core: Core, first: date, last: date, now: datetime, report: Report
) -> dict[date, list[Difference]]:
    """Store the lines of the days from `first` to `last`, and of a week more, as far as there are
    any; by day what came again with other content."""
    until = min(_midnight(last + timedelta(days=1 + LOOK_BACK_DAYS)), now + timedelta(seconds=1))
    strange: dict[date, list[Difference]] = defaultdict(list)
    done = 0
    told = core.provider.balance_transactions(_midnight(first), until)
    async for lines in _batches(told):
        async with core.pool.connection() as conn:
            changed = await balance_lines.add(conn, core.provider_account, lines)
        for line, stored in changed:
            strange[stored.created_at.astimezone(UTC).date()].append(altered(line, stored))
        done += len(lines)
        report("import", done, 0)
    return strange


async def _batches(told: AsyncIterator[BalanceTransaction]) -> AsyncIterator[list[Line]]:
    batch: list[Line] = []
    async for one in told:
        batch.append(_line(one))
        if len(batch) == LINES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _line(told: BalanceTransaction) -> Line:
    return Line(
        told.id,
        Kind(told.kind),
        told.type,
        told.amount_minor,
        told.fee_minor,
        told.currency,
        told.source_id or told.id,
        told.created_at,
        told.available_at,
    )


# -- book -----------------------------------------------------------------------------------------


async def _book(core: Core, day: date) -> None:
    """Book what of the day's lines is booked for its own sake, and is not yet."""
    for _ in range(ATTEMPTS_MAX):
        bookings = await _unbooked(core, day)
        if not bookings:
            return
        ids = await core.keys.ids()
        async with core.pool.connection() as conn:
            now = await clock.now(conn)
        chunks = [
            bookings[at : at + LINES_AT_ONCE] for at in range(0, len(bookings), LINES_AT_ONCE)
        ]
        for chunk in chunks:
            change = _lines_booked(core, day, chunk, now, ids)
            if not await core.door.commit(Commit(change, expand(change, ids))):
                break  # another run was faster with one of them: look again
    if await _unbooked(core, day):
        raise Conflict


async def _unbooked(core: Core, day: date) -> list[Booking]:
    account = core.provider_account
    async with core.pool.connection() as conn:
        lines = await balance_lines.of_days(conn, account, day, day)
        wanted = [
            Booking(account, booked_as, kind, minor, line.currency)
            for line in lines
            if line.currency in CURRENCIES
            for booked_as, kind, minor in to_book(line)
        ]
        done = await balance_lines.booked(conn, account, [one.line_id for one in wanted])
    return [one for one in wanted if one.line_id not in done]


def _lines_booked(
    core: Core, day: date, bookings: Sequence[Booking], now: datetime, ids: Ids
) -> Change:
    """One commit. The money moved on `day`, whenever that is found out."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for one in bookings:
        sums[one.kind, one.currency] += one.amount_minor
    body: dict[str, object] = {
        "day": day.isoformat(),
        "lines": len(bookings),
        "booked": [
            {"kind": kind, "currency": currency, "amount_minor": minor}
            for (kind, currency), minor in sorted(sums.items())
        ],
    }
    subject = f"provider_account:{core.provider_account}"
    event = audit_event(ids, subject, "provider.lines_booked", SYSTEM, now, body)
    return Change(
        commit_id=event.commit_id,
        recorded_at=now,
        occurred_at=_midnight(day),
        events=(event,),
        bookings=tuple(bookings),
        movements=tuple(
            Booked(kind, currency, minor, core.provider_account)
            for (kind, currency), minor in sorted(sums.items())
        ),
    )


# -- compare --------------------------------------------------------------------------------------


async def _compare(
    core: Core, day: date, strange: Sequence[Difference], now: datetime
) -> list[Result]:
    """Both sides at the end of the day, kept. Raises Unexplained."""
    account, tomorrow = core.provider_account, day + timedelta(days=1)
    is_over = _midnight(tomorrow) <= now
    async with core.pool.connection() as conn, conn.transaction():
        await reconciliations.lock(conn, account)
        ran_at = await reconciliations.real_now(conn)
        opening = await reconciliations.openings(conn, account, day)
        left = await reconciliations.left(conn, account, day)
        facts = [*left, *await _facts(core, conn, When.DAY, day, day)]
        results = compare(day, facts, opening, strange)
        if any(result.differences for result in results):
            # Only then does it matter what the days after have.
            week = day + timedelta(days=LOOK_BACK_DAYS)
            facts += await _facts(core, conn, When.AFTER, tomorrow, week)
            results = compare(day, facts, opening, strange)
        found = [one for result in results for one in result.differences if not one.here_minor]
        ours = await cash_entries.of_ours(conn, account, {one.source_id for one in found})
        results = [_named(result, ours) for result in results]
        for result in results:
            if is_over:
                here_minor = await cash_entries.balance_before(
                    conn, account, result.currency, _midnight(tomorrow)
                )
                if here_minor != result.closing.here_minor:
                    raise Unexplained(f"{day} {result.currency}: the ledger has {here_minor}")
            await reconciliations.save(conn, account, result, left, ran_at, is_over=is_over)
    return results


def _named(result: Result, ours: dict[str, str]) -> Result:
    """The result, in which what the ledger does not have is called by what of ours it is."""
    named = tuple(
        msgspec.structs.replace(one, of=ours.get(one.source_id, one.of))
        for one in result.differences
    )
    return msgspec.structs.replace(result, differences=named)


async def _facts(
    core: Core, conn: asyncpg.Connection, when: When, first: date, last: date
) -> list[Fact]:
    """What both sides tell of the days from `first` to `last`."""
    account, after = core.provider_account, _midnight(last + timedelta(days=1))
    lines = await balance_lines.of_days(conn, account, first, last)
    entries = await cash_entries.entries(conn, account, core.provider_name, _midnight(first), after)
    wanted = [booked_as for line in lines for booked_as, _, _ in to_book(line)]
    booked = await balance_lines.booked(conn, account, wanted)
    return [
        *(fact for line in lines for fact in facts_of(line, when)),
        *(
            Fact(when, kind, booked_as, currency, here_minor=-minor)
            for booked_as, (kind, minor, currency) in booked.items()
        ),
        *(_fact(entry, when, core.provider_name) for entry in entries),
    ]


def _fact(entry: Entry, when: When, provider: str) -> Fact:
    source = entry.source_id
    if entry.payload is not None:
        source = _payment_in(entry.payload, provider) or source
    return Fact(
        when, entry.kind, source, entry.currency, here_minor=entry.amount_minor, of=entry.of
    )


def _payment_in(payload: bytes, provider: str) -> str | None:
    """The provider's payment that a quarantined event is about."""
    try:
        return parse_event(payload, provider).payment_id
    except MalformedBody:
        return None
