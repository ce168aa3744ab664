"""/apps/api/webhooks: what became of a partner's events, and sending them again (our own design).

A **delivery** is one event on its way; a **log** entry is one attempt. Invariant: a replay keeps
the webhook id, so that a receiver that knows it already does nothing twice.
"""

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from asyncpg import Connection
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.domain.delivery import PUBLIC_EVENTS, STATES, TEST_EVENT
from earnest.errors import InvalidField, NotFound
from earnest.partner.answers import PARTNER
from earnest.partner.binding import PartnerRequest
from earnest.partner.envelope import Envelope, answer
from earnest.partner.shapes import InvalidContractId, contract_number
from earnest.partner.webhooks import (
    WebhookDisabled,
    WebhookNotFound,
    change_endpoint,
    instant_or_none,
)
from earnest.store import webhook_logs, webhooks
from earnest.store.contracts import Page
from earnest.store.idempotency import Reply
from earnest.store.webhook_logs import Attempt, Delivery
from earnest.store.webhooks import REPLAYED_MAX, Endpoint, Wanted
from earnest.web.auth import actor, signed_in
from earnest.web.idempotency import carry_out, once, respond
from earnest.web.instants import instant
from earnest.web.shapes import PAGE_MAX, Instant, Line, choice, given, one_of, page_number

MISSING = "missing"
PAGE_ENTRIES_DEFAULT = 20
PAGE_ENTRIES_MAX = 100
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class DeliveryNotFound(NotFound):
    """Delivery not found"""


class LogEntry(msgspec.Struct):
    """One attempt. `contractId` is a number of ours, `externalContractId` the contract's as you
    know it; both are null for a test. `errorMessage` is one word, null for a success."""

    id: UUID
    eventType: str  # noqa: N815
    externalContractId: str | None  # noqa: N815
    contractId: int | None  # noqa: N815
    httpStatusCode: int | None  # noqa: N815
    isSuccess: bool  # noqa: N815
    attemptNumber: int  # noqa: N815
    errorMessage: str | None  # noqa: N815
    durationMs: int  # noqa: N815
    createdAt: Instant  # noqa: N815
    webhookId: UUID  # noqa: N815


class Logs(msgspec.Struct):
    """Some attempts of `totalCount`, newest first."""

    logs: list[LogEntry]
    totalCount: int  # noqa: N815
    page: int
    pageSize: int  # noqa: N815


class DeliveryShown(msgspec.Struct):
    """One event on its way to you; `id` is its webhook id. `attempts` are those of the present
    `series`: each replay begins another. `failedFor`: exhausted (six attempts failed), refused
    (answered with a status that is not tried again), disabled (the webhook was so for a week),
    deleted (the webhook was), null otherwise."""

    id: UUID
    event: str
    contractId: str | None  # noqa: N815
    status: Annotated[str, one_of(*STATES)]
    series: int
    attempts: int
    failedFor: str | None  # noqa: N815
    nextAttemptAt: Instant | None  # noqa: N815
    createdAt: Instant  # noqa: N815
    endedAt: Instant | None  # noqa: N815


class DeliveriesShown(msgspec.Struct):
    """Some deliveries of `totalCount`, newest first."""

    deliveries: list[DeliveryShown]
    totalCount: int  # noqa: N815
    page: int
    pageSize: int  # noqa: N815


class Replay(msgspec.Struct):
    """Which events to send again: all that match whatever is given, of which there must be
    something. `from` and `to` are instants between which they happened; `status` is that of the
    delivery, or `missing` for events that had none because no webhook was enabled."""

    event: Line | None = None
    contractId: Line | None = None  # noqa: N815
    since: Line | None = msgspec.field(default=None, name="from")
    until: Line | None = msgspec.field(default=None, name="to")
    status: Line | None = None


class Replayed(msgspec.Struct):
    """How many events are on their way again."""

    replayed: int


# -- looking --------------------------------------------------------------------------------------


@get("/logs")
async def show_logs(
    request: PartnerRequest,
    page: FromQuery[str | None] = None,
    pageSize: FromQuery[str | None] = None,  # noqa: N803
) -> Response[Envelope[Logs]]:
    """Every attempt to reach you, newest first."""
    caller = await signed_in(request)
    number, size = _page(page, pageSize)
    async with request.app.state.pool.connection() as conn:
        found = await webhook_logs.attempts(conn, caller.key, Page(size, (number - 1) * size))
    shown = Logs([_log_entry(one) for one in found.attempts], found.total, number, size)
    return respond(answer(shown, ""))


@get("/deliveries", refuses=(InvalidContractId,))
async def list_deliveries(
    request: PartnerRequest,
    status: FromQuery[str | None] = None,
    event: FromQuery[str | None] = None,
    contractId: FromQuery[str | None] = None,  # noqa: N803
    page: FromQuery[str | None] = None,
    pageSize: FromQuery[str | None] = None,  # noqa: N803
) -> Response[Envelope[DeliveriesShown]]:
    """What is or was to be sent to you, newest first."""
    caller = await signed_in(request)
    number, size = _page(page, pageSize)
    contract = given(contractId)
    async with request.app.state.pool.connection() as conn:
        found = await webhook_logs.deliveries(
            conn,
            caller.key,
            choice(status, "status", STATES, "") or None,
            choice(event, "event", (*PUBLIC_EVENTS, TEST_EVENT), "") or None,
            None if contract is None else contract_number(contract),
            Page(size, (number - 1) * size),
        )
    shown = [_delivery(one) for one in found.deliveries]
    return respond(answer(DeliveriesShown(shown, found.total, number, size), ""))


@post(
    "/deliveries/{delivery_id:str}/replay",
    status_code=200,
    refuses=(WebhookNotFound, WebhookDisabled, DeliveryNotFound),
)
async def replay_delivery(
    request: PartnerRequest, delivery_id: FromPath[str]
) -> Response[Envelope[DeliveryShown]]:
    """Send one event again, with the same webhook id, from the first of six attempts on."""
    caller = actor(request)
    wanted = _uuid(delivery_id, "deliveryId")

    async def change(conn: Connection, endpoint: Endpoint) -> Reply:
        if not endpoint.is_active:
            raise WebhookDisabled
        if not await webhooks.replay_one(conn, caller.key, wanted, endpoint.id):
            raise DeliveryNotFound
        found = await webhook_logs.delivery(conn, caller.key, wanted)
        assert found is not None
        return answer(_delivery(found), "Webhook replay started.")

    return await change_endpoint(request, change)


@post("/replay", status_code=200, refuses=(WebhookNotFound, WebhookDisabled, InvalidContractId))
async def replay_events(
    request: PartnerRequest, data: JSONBody[Replay]
) -> Response[Envelope[Replayed]]:
    """Send many events again, oldest first, and those that were never sent; 10,000 at most."""
    caller = actor(request)
    wanted = _wanted(data)

    async def work(conn: Connection) -> Reply:
        _require_active(await webhooks.find(conn, caller.key))
        found = await webhooks.matching(conn, caller.key, wanted)
        if found is None:
            raise InvalidField("from", f"means more than {REPLAYED_MAX:,} events: ask for less")
        endpoint = _require_active(await webhooks.lock(conn, caller.key))
        count = await webhooks.replay(conn, caller.key, endpoint.id, found)
        return answer(Replayed(count), "Webhook replay started.")

    once_only = await once(request, caller)
    return respond(await carry_out(request.app.state.core, caller, once_only, work))


def _require_active(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise WebhookNotFound
    if not endpoint.is_active:
        raise WebhookDisabled
    return endpoint


# -- shapes --------------------------------------------------------------------------------------


def _log_entry(one: Attempt) -> LogEntry:
    return LogEntry(
        id=one.id,
        eventType=one.type,
        externalContractId=one.number,
        contractId=one.contract,
        httpStatusCode=one.http_status,
        isSuccess=one.is_success,
        attemptNumber=one.attempt,
        errorMessage=one.error or None,
        durationMs=one.duration_ms,
        createdAt=instant(one.created_at),
        webhookId=one.delivery,
    )


def _delivery(one: Delivery) -> DeliveryShown:
    return DeliveryShown(
        id=one.id,
        event=one.type,
        contractId=one.number,
        status=one.state,
        series=one.series,
        attempts=one.attempts,
        failedFor=one.failed_for or None,
        nextAttemptAt=instant_or_none(one.next_attempt_at),
        createdAt=instant(one.created_at),
        endedAt=instant_or_none(one.done_at),
    )


def _page(page: str | None, size: str | None) -> tuple[int, int]:
    return (
        page_number(page, "page", 1, PAGE_MAX),
        page_number(size, "pageSize", PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX),
    )


def _uuid(text: str, field: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise InvalidField(field, "must be a UUID")
    return UUID(text)


def _wanted(data: Replay) -> Wanted:
    """What is asked for. Raises InvalidField."""
    if not any(map(given, (data.event, data.contractId, data.since, data.until, data.status))):
        raise InvalidField("from", "is required without another filter")
    contract = given(data.contractId)
    return Wanted(
        event=choice(data.event, "event", PUBLIC_EVENTS, "") or None,
        number=None if contract is None else contract_number(contract),
        since=_moment(data.since, "from"),
        until=_moment(data.until, "to"),
        state=choice(data.status, "status", (*STATES, MISSING), "") or None,
    )


def _moment(text: str | None, field: str) -> datetime | None:
    text = given(text)
    if text is None:
        return None
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        expected = "must be an ISO 8601 instant in UTC such as 2026-06-01T00:00:00.000Z"
        raise InvalidField(field, expected) from None


router = Router(
    "/apps/api/webhooks",
    route_handlers=[show_logs, list_deliveries, replay_delivery, replay_events],
    request_class=PartnerRequest,
    opt={"access": PARTNER},
    tags=["Partner webhooks"],
)
