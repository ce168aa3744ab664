"""/api/admin/reconciliations: each day's books against the payment provider's. Admins only.

The worker compares a day in the night that follows it (`earnest.actions.reconciliation`); here is
what that came to. Days are UTC, in real time.
"""

from datetime import date
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery

from earnest.actions.core import Core
from earnest.domain.bank_file import parse_day
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Role
from earnest.domain.reconciliation import Cause, Kind
from earnest.errors import InvalidField, NotFound
from earnest.marketplace.contracts import read_page
from earnest.store import reconciliations
from earnest.store.reconciliations import Kept, KeptDifference
from earnest.web.auth import only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, one_of

Day = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class NotReconciled(NotFound):
    """This day has not been reconciled."""


class BothBalances(msgspec.Struct):
    """At the beginning and at the end of the day, counted from the first day of all."""

    opening: Major
    closing: Major


class ReconciliationDocument(msgspec.Struct):
    """A day of one currency. `status` is open while the day is not over; `drift` is the provider's
    closing balance less the ledger's: the sum of the differences. `lines` and `entries` count what
    the provider and the ledger tell of the day, a fee apart from what it is of."""

    date: Day
    currency: str
    status: Annotated[str, one_of("open", "clean", "different")]
    provider: BothBalances
    ledger: BothBalances
    drift: Major
    lines: int
    entries: int
    differences: int
    comparedAt: Instant  # noqa: N815


class DifferenceDocument(msgspec.Struct):
    """What the provider and the ledger have of one source at the end of the day, and since which
    day they differ. `source` is the provider's id, `of` what of ours that is; `resolvedAt` once
    they differ no more."""

    cause: Annotated[str, one_of(*Cause)]
    kind: Annotated[str, one_of(*Kind)]
    source: str
    currency: str
    provider: Major
    ledger: Major
    of: str
    since: Day
    firstSeen: Instant  # noqa: N815
    resolvedAt: Instant | None  # noqa: N815


class ReconciliationList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[ReconciliationDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class DayDocument(msgspec.Struct):
    """One day: its currencies, and a page of its differences, the unresolved first."""

    date: Day
    currencies: list[ReconciliationDocument]
    differences: list[DifferenceDocument]


class ReconciledDay(msgspec.Struct):
    """`total` counts the differences on all pages."""

    success: bool
    data: DayDocument
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


@get("/")
async def get_reconciliations(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ReconciliationList:
    """The days that were compared, newest first; 1,000 at most if not asked by page."""
    await signed_in(request)
    wanted = read_page(page, limit)
    core: Core = request.app.state.core
    async with core.pool.connection() as conn:
        found, total = await reconciliations.listed(conn, core.provider_account, wanted)
    return ReconciliationList(
        success=True,
        data=[_document(one) for one in found],
        total=total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-total // wanted.limit),
    )


@get("/{date:str}", refuses=(NotReconciled, InvalidField))
async def get_reconciliation(
    request: EarnestRequest,
    date: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ReconciledDay:
    """One day with its differences; 1,000 at most if not asked by page."""
    await signed_in(request)
    day = parse_day(date, "date")
    wanted = read_page(page, limit)
    core: Core = request.app.state.core
    async with core.pool.connection() as conn:
        currencies = await reconciliations.of_day(conn, core.provider_account, day)
        found, total = await reconciliations.differences_of_day(
            conn, core.provider_account, day, wanted
        )
    if not currencies:
        raise NotReconciled
    return ReconciledDay(
        success=True,
        data=DayDocument(
            date=_day(day),
            currencies=[_document(one) for one in currencies],
            differences=[_difference(one) for one in found],
        ),
        total=total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-total // wanted.limit),
    )


def _day(day: date) -> str:
    return day.isoformat()


def _document(kept: Kept) -> ReconciliationDocument:
    def both(opening_minor: int, closing_minor: int) -> BothBalances:
        return BothBalances(
            _major(opening_minor, kept.currency), _major(closing_minor, kept.currency)
        )

    return ReconciliationDocument(
        date=_day(kept.day),
        currency=kept.currency,
        status=kept.state,
        provider=both(kept.there_opening_minor, kept.there_closing_minor),
        ledger=both(kept.here_opening_minor, kept.here_closing_minor),
        drift=_major(kept.drift_minor, kept.currency),
        lines=kept.lines,
        entries=kept.entries,
        differences=kept.differences,
        comparedAt=instant(kept.ran_at),
    )


def _difference(kept: KeptDifference) -> DifferenceDocument:
    one = kept.difference
    return DifferenceDocument(
        cause=one.cause,
        kind=one.kind,
        source=one.source_id,
        currency=one.currency,
        provider=_major(one.there_minor, one.currency),
        ledger=_major(one.here_minor, one.currency),
        of=one.of,
        since=_day(kept.since),
        firstSeen=instant(kept.first_seen),
        resolvedAt=instant(kept.resolved_at) if kept.resolved_at is not None else None,
    )


def _major(minor: int, currency: str) -> Major:
    """As it stands where ISO 4217 has no such currency."""
    known = CURRENCIES.get(currency)
    return to_number(minor, known) if known is not None else minor


router = Router(
    "/api/admin/reconciliations",
    route_handlers=[get_reconciliations, get_reconciliation],
    opt={"access": only(Role.ADMIN)},
    tags=["Reconciliation"],
)
