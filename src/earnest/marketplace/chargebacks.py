"""/api/admin/chargebacks: payments that their payers' banks want back, with what that costs.

Admins only, and only to look at: evidence is handed in at the payment provider, before the deadline
that stands here; what it decides is looked up and booked by itself (`earnest.actions.chargebacks`).
"""

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import FromQuery

from earnest.domain.chargeback import Chargeback, ChargebackState
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Role
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import Id
from earnest.store import chargebacks
from earnest.web.auth import only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, choice, one_of


class ChargebackDocument(msgspec.Struct):
    """`amount` is what the bank asks for, null until the provider was asked; `taken` what it has
    now, `takenFromBuyer` and `takenFromSeller` the parts of that which came out of their wallets.
    `evidenceDueAt` is when evidence has to be at the provider, null when there is nothing to hand
    in."""

    id: Id = msgspec.field(name="_id")
    businessName: str  # noqa: N815
    contractNumber: str | None  # noqa: N815
    status: Annotated[str, one_of(*ChargebackState)]
    amount: Major | None
    taken: Major
    takenFromBuyer: Major  # noqa: N815
    takenFromSeller: Major  # noqa: N815
    currency: str
    reason: str
    evidenceDueAt: Instant | None  # noqa: N815
    providerDisputeId: str  # noqa: N815
    lastError: str  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815


class ChargebackList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[ChargebackDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


@get("/", operation_id="getChargebacks")
async def get_chargebacks(
    request: EarnestRequest,
    status: FromQuery[str | None] = None,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ChargebackList:
    """The chargebacks with one status, or all of them; 1,000 at most if not asked by page."""
    await signed_in(request)
    wanted = read_page(page, limit)
    only_state = choice(status, "status", tuple(ChargebackState), "")
    states = (only_state,) if only_state else tuple(ChargebackState)
    async with request.app.state.pool.connection() as conn:
        found = await chargebacks.in_states(conn, states, wanted)
    return ChargebackList(
        success=True,
        data=[
            document(chargeback, *names)
            for chargeback, names in zip(found.chargebacks, found.names, strict=True)
        ],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


def document(
    chargeback: Chargeback, business_name: str, contract_number: str | None
) -> ChargebackDocument:
    """A chargeback as admins see it."""
    of = CURRENCIES[chargeback.currency]
    is_known = chargeback.state is not ChargebackState.NOTICED
    due_at = chargeback.evidence_due_at
    return ChargebackDocument(
        id=chargeback.public_id,
        businessName=business_name,
        contractNumber=contract_number,
        status=chargeback.state,
        amount=to_number(chargeback.amount_minor, of) if is_known else None,
        taken=to_number(-sum(line.amount_minor for line in chargeback.lines), of),
        takenFromBuyer=to_number(-sum(line.buyer_minor for line in chargeback.lines), of),
        takenFromSeller=to_number(-sum(line.seller_minor for line in chargeback.lines), of),
        currency=chargeback.currency,
        reason=chargeback.reason,
        evidenceDueAt=instant(due_at) if due_at is not None else None,
        providerDisputeId=chargeback.provider_dispute_id,
        lastError=chargeback.last_error,
        createdAt=instant(chargeback.created_at),
        updatedAt=instant(chargeback.updated_at),
    )


router = Router(
    "/api/admin/chargebacks",
    route_handlers=[get_chargebacks],
    opt={"access": only(Role.ADMIN)},
    tags=["Chargebacks"],
)
