"""/api/admin/alerts, /dead-letters, /holds: what an operator has to see, and what to do about it.

Admins only. Reading changes nothing; an alert is closed by whoever has seen to it, or by itself
when its cause is gone.
"""

from typing import Annotated, Any

import asyncpg
import msgspec
from litestar import Response, Router, get, put
from litestar.params import FromPath, FromQuery

from earnest.domain.alert import PROPOSALS, WHAT, Alert, AlertKind, AlertNotFound
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Role
from earnest.ids import parse_public_id
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import Id
from earnest.store import alerts, dead_letters, holds
from earnest.store.dead_letters import DeadLetter
from earnest.store.holds import Hold
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, choice, one_of


class AlertDocument(msgspec.Struct):
    """`subject` names what it is about: its kind and its id. `stage` tells several alerts about one
    thing apart: days that money is held, days before a deadline. `detail` is what a machine said of
    it. `closedBy` is `system:0` where its cause was gone, null while it is open."""

    id: Id = msgspec.field(name="_id")
    kind: Annotated[str, one_of(*AlertKind)]
    subject: str
    stage: int
    what: str
    detail: str
    advice: str
    amount: Major | None
    currency: str | None
    isOpen: bool  # noqa: N815
    raisedAt: Instant  # noqa: N815
    closedAt: Instant | None  # noqa: N815
    closedBy: str | None  # noqa: N815


class AlertList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[AlertDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class AlertSaved(msgspec.Struct):
    success: bool
    message: str
    data: AlertDocument


class DeadLetterDocument(msgspec.Struct):
    """A refund or payout that nobody does anything about. `retry` is the path to PUT to have the
    provider asked again; `lastError` what it said last."""

    id: Id = msgspec.field(name="_id")
    kind: Annotated[str, one_of("refund", "payout")]
    businessName: str  # noqa: N815
    status: Annotated[str, one_of("failed", "returned", "stuck")]
    amount: Major
    currency: str
    lastError: str  # noqa: N815
    since: Instant
    retry: str


class DeadLetterList(msgspec.Struct):
    """The latest first; `total` counts all pages."""

    success: bool
    data: list[DeadLetterDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class HoldDocument(msgspec.Struct):
    """Money that waits: in a contract, or a payment that belongs to none yet. `limitDays` is the
    limit that it is past, of 60, 80 and 89."""

    id: Id = msgspec.field(name="_id")
    kind: Annotated[str, one_of("contract", "payment")]
    contractNumber: str | None  # noqa: N815
    amount: Major
    currency: str
    heldSince: Instant  # noqa: N815
    days: int
    limitDays: int  # noqa: N815
    proposal: Annotated[str, one_of(*PROPOSALS)]


class HoldList(msgspec.Struct):
    """The oldest first; `total` counts all pages."""

    success: bool
    data: list[HoldDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


@get("/alerts")
async def get_alerts(
    request: EarnestRequest,
    open: FromQuery[str | None] = None,  # noqa: A002
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> AlertList:
    """What an operator has to see; with `open=true` only what nobody has seen to."""
    await signed_in(request)
    wanted = read_page(page, limit)
    is_open = choice(open, "open", ("true", "false"), "false") == "true"
    async with request.app.state.pool.connection() as conn:
        found = await alerts.listed(conn, wanted, only_open=is_open)
    return AlertList(
        success=True,
        data=[document(alert) for alert in found.alerts],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


@put("/alerts/{alert_id:str}/close", refuses=(AlertNotFound,))
async def close_alert(request: EarnestRequest, alert_id: FromPath[str]) -> Response[AlertSaved]:
    """Somebody has seen to it. A closed alert stays as it is."""
    caller = actor(request)
    wanted = parse_public_id(alert_id, "alertId")
    once_only = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        closed = await alerts.close(conn, caller, wanted)
        return reply(200, AlertSaved(True, "Alert has been closed", document(closed)))

    return respond(await carry_out(request.app.state.core, caller, once_only, work))


@get("/dead-letters")
async def get_dead_letters(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> DeadLetterList:
    """Refunds that failed or came back and payouts that are stuck: each waits for an admin."""
    await signed_in(request)
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await dead_letters.listed(conn, wanted)
    return DeadLetterList(
        success=True,
        data=[_dead_letter(letter) for letter in found.letters],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


@get("/holds")
async def get_holds(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> HoldList:
    """Money that has been held for 60 days and more, with what might be done about it."""
    await signed_in(request)
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await holds.too_long(conn, wanted)
    return HoldList(
        success=True,
        data=[_hold(hold) for hold in found.holds],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


def document(alert: Alert) -> AlertDocument:
    """An alert as admins see it."""
    return AlertDocument(
        id=alert.public_id,
        kind=alert.kind,
        subject=alert.subject,
        stage=alert.stage,
        what=WHAT[alert.kind],
        detail=alert.detail,
        advice=alert.advice,
        amount=_major(alert.amount_minor, alert.currency),
        currency=alert.currency,
        isOpen=alert.closed_at is None,
        raisedAt=instant(alert.raised_at),
        closedAt=instant(alert.closed_at) if alert.closed_at is not None else None,
        closedBy=alert.closed_by,
    )


def _major(amount_minor: int | None, currency: str | None) -> Any:
    if amount_minor is None or currency is None:
        return None
    return to_number(amount_minor, CURRENCIES[currency])


def _dead_letter(letter: DeadLetter) -> DeadLetterDocument:
    return DeadLetterDocument(
        id=letter.public_id,
        kind=letter.kind,
        businessName=letter.business,
        status=letter.state,
        amount=to_number(letter.amount_minor, CURRENCIES[letter.currency]),
        currency=letter.currency,
        lastError=letter.said,
        since=instant(letter.since),
        retry=letter.retry,
    )


def _hold(hold: Hold) -> HoldDocument:
    return HoldDocument(
        id=hold.public_id,
        kind=hold.kind,
        contractNumber=hold.number,
        amount=to_number(hold.amount_minor, CURRENCIES[hold.currency]),
        currency=hold.currency,
        heldSince=instant(hold.held_since),
        days=hold.days,
        limitDays=hold.stage,
        proposal=hold.proposal,
    )


router = Router(
    "/api/admin",
    route_handlers=[get_alerts, close_alert, get_dead_letters, get_holds],
    opt={"access": only(Role.ADMIN)},
    tags=["Alerts"],
)
