"""/api/admin/refunds: money of partners' contracts on its way back, where it waits for an admin.

Admins only. A refund waits for an approval where its business asks for one, and for a decision
where the provider has refused it for good, or a bank has sent it back. What an admin decides moves
the refund on; the money moves when the provider has given it back (`earnest.actions.refunds`).
"""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, put
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import refunds as actions
from earnest.actions.core import ANY_ACTION
from earnest.actions.refunds import RefundNotFound
from earnest.domain.change import Change
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Role
from earnest.domain.refund import Refund, RefundKind, RefundState
from earnest.domain.returning import NotFailed, NotRequested
from earnest.errors import InvalidField
from earnest.ids import parse_public_id
from earnest.marketplace.businesses import BusinessId
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import Id
from earnest.store import refunds
from earnest.store.idempotency import Reply
from earnest.store.refunds import FoundRefund, Origin
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import once, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, Text, choice, one_of, tidy
from earnest.web.wire import encode


class RefundDocument(msgspec.Struct):
    """A refund to its source. `amount` is what the buyer gets back; `dueAt` when the provider is
    asked next, null while nobody is; `lastError` what the provider said when it last refused."""

    id: Id = msgspec.field(name="_id")
    businessId: BusinessId  # noqa: N815
    businessName: str  # noqa: N815
    contractNumber: Annotated[  # noqa: N815
        str, msgspec.Meta(pattern=r"\ACNT-[0-9]{4}-[0-9]{8}\Z")
    ]
    kind: Annotated[str, one_of(*RefundKind)]
    status: Annotated[str, one_of(*RefundState)]
    amount: Major
    currency: str
    reason: str
    attempts: int
    dueAt: Instant | None  # noqa: N815
    lastError: str  # noqa: N815
    providerRefundId: str | None  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815


class RefundList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[RefundDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class RefundSaved(msgspec.Struct):
    success: bool
    message: str
    data: RefundDocument


class Decline(msgspec.Struct):
    """Why not."""

    reason: Text


@get("/")
async def get_refunds(
    request: EarnestRequest,
    status: FromQuery[str | None] = None,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> RefundList:
    """The refunds with one status, or all of them; 1,000 at most if not asked by page."""
    await signed_in(request)
    wanted = read_page(page, limit)
    only_state = choice(status, "status", tuple(RefundState), "")
    states = (only_state,) if only_state else tuple(RefundState)
    async with request.app.state.pool.connection() as conn:
        found = await refunds.in_states(conn, states, wanted)
    return RefundList(
        success=True,
        data=[document(refund, origin) for refund, origin in found.refunds],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


@put("/{refund_id:str}/approve", refuses=(RefundNotFound, NotRequested, *ANY_ACTION))
async def approve_refund(
    request: EarnestRequest, refund_id: FromPath[str]
) -> Response[RefundSaved]:
    """Let a refund go that waits for it: the provider is asked for it at once."""
    caller = actor(request)
    return respond(
        await actions.approve(
            request.app.state.core,
            caller,
            parse_public_id(refund_id, "refundId"),
            await once(request, caller, moves_money=True),
            lambda found, change: _saved("Refund has been approved", found, change),
        )
    )


@put("/{refund_id:str}/decline", refuses=(RefundNotFound, NotRequested, *ANY_ACTION))
async def decline_refund(
    request: EarnestRequest, refund_id: FromPath[str], data: JSONBody[Decline]
) -> Response[RefundSaved]:
    """Do not let it go: the money is in escrow as before."""
    caller = actor(request)
    reason = tidy(data.reason)
    if not reason:
        raise InvalidField("reason", "must not be empty")
    return respond(
        await actions.decline(
            request.app.state.core,
            caller,
            parse_public_id(refund_id, "refundId"),
            reason,
            await once(request, caller, moves_money=True),
            lambda found, change: _saved("Refund has been declined", found, change),
        )
    )


@put("/{refund_id:str}/retry", refuses=(RefundNotFound, NotFailed, *ANY_ACTION))
async def retry_refund(request: EarnestRequest, refund_id: FromPath[str]) -> Response[RefundSaved]:
    """Ask the provider again for a refund that it had refused for good, or that came back."""
    caller = actor(request)
    return respond(
        await actions.retry(
            request.app.state.core,
            caller,
            parse_public_id(refund_id, "refundId"),
            await once(request, caller, moves_money=True),
            lambda found, change: _saved("The provider is asked again", found, change),
        )
    )


def _saved(message: str, found: FoundRefund, change: Change) -> Reply:
    assert change.refund is not None
    assert found.origin is not None
    shown = document(change.refund, found.origin)
    return Reply(200, encode(RefundSaved(True, message, shown)))


def document(refund: Refund, origin: Origin) -> RefundDocument:
    """A refund as admins see it."""
    return RefundDocument(
        id=refund.public_id,
        businessId=str(origin.business_id),
        businessName=origin.business_name,
        contractNumber=origin.contract_number,
        kind=refund.kind,
        status=refund.state,
        amount=to_number(refund.amount_minor, CURRENCIES[refund.currency]),
        currency=refund.currency,
        reason=refund.reason,
        attempts=refund.attempts,
        dueAt=instant(refund.due_at) if refund.due_at is not None else None,
        lastError=refund.last_error,
        providerRefundId=refund.provider_refund_id,
        createdAt=instant(refund.created_at),
        updatedAt=instant(refund.updated_at),
    )


router = Router(
    "/api/admin/refunds",
    route_handlers=[get_refunds, approve_refund, decline_refund, retry_refund],
    opt={"access": only(Role.ADMIN)},
    tags=["Refunds"],
)
