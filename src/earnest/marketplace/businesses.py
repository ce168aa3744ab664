"""/api/admin/businesses: the partners, how they sign in and by what rules they work.

Admins only. A secret is in exactly one answer, and in what is kept for that answer's
Idempotency-Key for a day, sealed. What is changed holds for contracts created from then on.
"""

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.domain.business import PAYOUT_SCHEDULES
from earnest.domain.partner_settings import Wanted
from earnest.domain.party import Role
from earnest.errors import InvalidField
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import AccountStatus
from earnest.store import businesses
from earnest.store.businesses import BusinessNotFound, Credentials, Partner, Status
from earnest.store.idempotency import ReplyGone
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Line, one_of

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

BusinessId = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
FeePayer = Annotated[str, one_of("buyer", "seller", "split")]
RefundApproval = Annotated[str, one_of("automatic", "admin")]
PayoutSchedule = Annotated[str, one_of(*PAYOUT_SCHEDULES)]
Major = Annotated[int | Decimal, msgspec.Meta(description="Major units of `currency`.")]


class BusinessDocument(msgspec.Struct):
    """A partner. Rates are basis points; a maximum of null is none, and no callback host any."""

    businessId: BusinessId  # noqa: N815
    name: str
    currency: str
    clientId: str  # noqa: N815
    status: AccountStatus
    escrowFeeBps: int  # noqa: N815
    escrowFeePayer: FeePayer  # noqa: N815
    escrowFeeMinimum: Major  # noqa: N815
    escrowFeeMaximum: Major | None  # noqa: N815
    platformFeeBps: int  # noqa: N815
    platformFeePayer: FeePayer  # noqa: N815
    platformFeeMinimum: Major  # noqa: N815
    platformFeeMaximum: Major | None  # noqa: N815
    taxBps: int  # noqa: N815
    cancellationNotStartedBps: int  # noqa: N815
    cancellationStartedBps: int  # noqa: N815
    cancellationOngoingBps: int  # noqa: N815
    cancellationDeliveredBps: int  # noqa: N815
    retentionBps: int  # noqa: N815
    requireKyc: bool  # noqa: N815
    refundApproval: RefundApproval  # noqa: N815
    releaseNeedsApproval: bool  # noqa: N815
    callbackHosts: list[str]  # noqa: N815
    amountMaximum: Major  # noqa: N815
    payoutMinimum: Major  # noqa: N815
    payoutSchedule: PayoutSchedule  # noqa: N815
    createdAt: Instant  # noqa: N815
    secretRotatedAt: Instant  # noqa: N815


class BusinessList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[BusinessDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class BusinessFound(msgspec.Struct):
    success: bool
    data: BusinessDocument


class BusinessSaved(msgspec.Struct):
    success: bool
    message: str
    data: BusinessDocument


class BusinessSecret(msgspec.Struct):
    """`clientSecret` is never shown again."""

    success: bool
    message: str
    data: BusinessDocument
    clientId: str  # noqa: N815
    clientSecret: str  # noqa: N815


class NewBusiness(Wanted, frozen=True, kw_only=True):
    """A partner; whatever is left out has its default. `currency` can never be changed."""

    name: Line


class BusinessChanges(Wanted, frozen=True, kw_only=True):
    """What shall be different; what is left out stays as it is."""


@post("/", status_code=201, refuses=(ReplyGone,))
async def create_business(
    request: EarnestRequest, data: JSONBody[NewBusiness]
) -> Response[BusinessSecret]:
    """A new partner, with the client id and secret that it signs in with."""
    return await _give_secret(
        request,
        201,
        "Business has been created",
        lambda conn, made_by: businesses.create(conn, data, made_by),
    )


@get("/")
async def get_businesses(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> BusinessList:
    """All partners, newest first; 1,000 at most if not asked by page."""
    await signed_in(request)
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await businesses.every(conn, wanted)
    return BusinessList(
        success=True,
        data=[document(partner) for partner in found.partners],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


@get("/{business_id:str}", refuses=(BusinessNotFound,))
async def get_business(request: EarnestRequest, business_id: FromPath[str]) -> BusinessFound:
    """One partner."""
    await signed_in(request)
    wanted = _business_id(business_id)
    async with request.app.state.pool.connection() as conn:
        return BusinessFound(success=True, data=document(await businesses.get(conn, wanted)))


@patch("/{business_id:str}", refuses=(BusinessNotFound,))
async def change_business(
    request: EarnestRequest, business_id: FromPath[str], data: JSONBody[BusinessChanges]
) -> Response[BusinessSaved]:
    """Other rules from the next contract on; contracts that exist keep theirs."""
    wanted = _business_id(business_id)
    return await _save(
        request,
        "Business has been changed",
        lambda conn, made_by: businesses.change(conn, wanted, data, made_by),
    )


@post("/{business_id:str}/rotate-secret", status_code=200, refuses=(BusinessNotFound, ReplyGone))
async def rotate_secret(
    request: EarnestRequest, business_id: FromPath[str]
) -> Response[BusinessSecret]:
    """Another secret; the old one and all tokens that it was given for are void at once."""
    wanted = _business_id(business_id)
    return await _give_secret(
        request,
        200,
        "The old secret is void",
        lambda conn, made_by: businesses.rotate_secret(conn, wanted, made_by),
    )


@patch("/{business_id:str}/block", refuses=(BusinessNotFound,))
async def block_business(
    request: EarnestRequest, business_id: FromPath[str]
) -> Response[BusinessSaved]:
    """Keep a partner out, from its next request on. Its contracts and its money stay."""
    return await _set_status(request, business_id, "Blocked", "Business has been blocked")


@patch("/{business_id:str}/unblock", refuses=(BusinessNotFound,))
async def unblock_business(
    request: EarnestRequest, business_id: FromPath[str]
) -> Response[BusinessSaved]:
    """Let a partner in again."""
    return await _set_status(request, business_id, "Active", "Business has been unblocked")


# -- common ground ----------------------------------------------------------------------------


async def _set_status(
    request: EarnestRequest, business_id: str, status: Status, message: str
) -> Response[BusinessSaved]:
    wanted = _business_id(business_id)
    return await _save(
        request,
        message,
        lambda conn, made_by: businesses.set_status(conn, wanted, status, made_by),
    )


async def _save(
    request: EarnestRequest,
    message: str,
    change: Callable[[asyncpg.Connection, str], Awaitable[Partner]],
) -> Response[Any]:
    """Let an admin change one partner, at most once per idempotency key."""
    caller = actor(request)
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        changed = await change(conn, caller.name)
        return reply(200, BusinessSaved(True, message, document(changed)))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


async def _give_secret(
    request: EarnestRequest,
    status: int,
    message: str,
    make: Callable[[asyncpg.Connection, str], Awaitable[Credentials]],
) -> Response[Any]:
    """Let an admin have a secret made, at most once per idempotency key."""
    core, caller = request.app.state.core, actor(request)
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        made = await make(conn, caller.name)
        shown = document(made.partner)
        return reply(
            status, BusinessSecret(True, message, shown, made.partner.client_id, made.secret)
        )

    return respond(await carry_out(core, caller, wanted, work, seals=core.sealer))


def document(partner: Partner) -> BusinessDocument:
    """A partner as admins see it."""
    return BusinessDocument(
        businessId=str(partner.public_id),
        status=partner.status,
        createdAt=instant(partner.created_at),
        secretRotatedAt=instant(partner.rotated_at),
        **businesses.described(partner),
    )


def _business_id(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise InvalidField("id", "must be a UUID in lower case")
    return UUID(text)


router = Router(
    "/api/admin/businesses",
    route_handlers=[
        create_business,
        get_businesses,
        get_business,
        change_business,
        rotate_secret,
        block_business,
        unblock_business,
    ],
    opt={"access": only(Role.ADMIN)},
    tags=["Businesses"],
)
