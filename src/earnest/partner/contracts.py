"""Contracts of partners: create, show, list, and every verb (spec 3; E7, E21, E22)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import brokerage
from earnest.actions.contracts import ContractNotFound
from earnest.actions.core import ANY_ACTION, Core
from earnest.domain.business import Business
from earnest.domain.money import CURRENCIES, parse_major
from earnest.domain.partner import (
    MILESTONES_MAX,
    Draft,
    SamePerson,
)
from earnest.domain.party import Actor
from earnest.domain.pricing import FeesExceedAmount
from earnest.domain.projection import PARTNER_STATUSES
from earnest.domain.rules import Verb, refusals
from earnest.errors import InvalidField
from earnest.partner.answers import PAGE_ENTRIES_MAX, PARTNER, find, fresh_checkout, show_reply
from earnest.partner.binding import PartnerRequest
from earnest.partner.callbacks import check_callback
from earnest.partner.documents import (
    ContractListed,
    ContractMade,
    ContractShown,
    listed,
    made,
)
from earnest.partner.envelope import Envelope, answer
from earnest.partner.shapes import (
    Amount,
    InvalidContractId,
    MetaDataSent,
    MilestoneSent,
    Party,
    Seller,
    contract_number,
    known_of,
    line,
    optional,
    person,
    reason,
    stage,
)
from earnest.store import partners
from earnest.store.idempotency import Once, Reply
from earnest.store.partners import Brokered
from earnest.web.auth import actor, signed_in
from earnest.web.idempotency import keyed, once, respond
from earnest.web.shapes import PAGE_MAX, Line, Text, choice, page_number

TITLE_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 5_000
METADATA_CHARACTERS_MAX = 500
PAGE_ENTRIES_DEFAULT = 20
SERVICE_TYPES = ("product", "service")
_STATUS_OF = {status.lower(): status for status in PARTNER_STATUSES}
"""Webhooks write them in PascalCase: a filter takes any."""


class NewContract(msgspec.Struct, rename="camel"):
    """`amount` is the base in the business's currency; milestones, if any, sum to it."""

    title: Line
    contract_service_type: Line
    buyer_party: Party = msgspec.field(name="BuyerParty")
    seller_party: Seller = msgspec.field(name="SellerParty")
    amount: Amount
    description: Text | None = None
    notes: Text | None = None
    reference: Line | None = None
    callback_url: str | None = None
    meta_data: MetaDataSent | None = None
    milestones: Annotated[list[MilestoneSent], msgspec.Meta(max_length=MILESTONES_MAX)] | None = (
        msgspec.field(name="Milestones", default=None)
    )


class Reason(msgspec.Struct):
    """Why, in whoever's words; kept in the contract's trail."""

    reason: Text | None = None


class ReasonOf(msgspec.Struct):
    """Who wants it, and why. `by` is buyer or seller."""

    by: Line
    reason: Text | None = None


class ContractPage(msgspec.Struct, rename="camel"):
    """Newest first; `totalCount` counts to 10,000 at most."""

    contracts: list[ContractListed]
    total_count: int
    page: int
    page_size: int


# -- create, show, list ---------------------------------------------------------------------------


@post(
    "/",
    status_code=200,
    access=PARTNER,
    refuses=(SamePerson, FeesExceedAmount, *ANY_ACTION),
)
async def create(
    request: PartnerRequest, data: JSONBody[NewContract]
) -> Response[Envelope[ContractMade]]:
    """Create a contract between a buyer and a seller."""
    caller = actor(request)
    state = request.app.state
    is_production = state.settings.is_production
    today = datetime.now(UTC).date()

    def draft(business: Business) -> Draft:
        return _draft(data, business, is_production=is_production)

    def render(found: Brokered, now: datetime) -> Reply:
        checkout = fresh_checkout(request, found, now)
        return answer(made(found, checkout), "Contract created successfully.")

    return respond(
        await brokerage.create(
            state.core,
            caller,
            person(data.buyer_party, "BuyerParty"),
            person(data.seller_party, "SellerParty"),
            known_of(data.seller_party.kyc, "SellerParty.KYC", today),
            draft,
            keyed(await once(request, caller), state.code_key),
            render,
        )
    )


def _draft(data: NewContract, business: Business, *, is_production: bool) -> Draft:
    of, minor_max = CURRENCIES[business.currency], business.settings.amount_minor_max
    service_type = data.contract_service_type.lower()
    if service_type not in SERVICE_TYPES:
        raise InvalidField("contractServiceType", "must be Product or Service")
    metadata = None
    if data.meta_data is not None:
        metadata = {
            name: line(text, f"metaData.{name}", METADATA_CHARACTERS_MAX, empty=True)
            for name, text in msgspec.structs.asdict(data.meta_data).items()
        }
    callback_url = data.callback_url or ""
    if callback_url:
        check_callback(callback_url, business, "callbackUrl", is_production=is_production)
    return Draft(
        title=line(data.title, "title", TITLE_CHARACTERS_MAX),
        service_type=service_type,
        amount_minor=parse_major(data.amount, of, "amount", minor_max),
        description=optional(data.description, "description", TEXT_CHARACTERS_MAX),
        notes=optional(data.notes, "notes", TEXT_CHARACTERS_MAX),
        reference=optional(data.reference, "reference", TITLE_CHARACTERS_MAX),
        metadata=metadata,
        callback_url=callback_url,
        stages=tuple(
            stage(one, index, of, minor_max) for index, one in enumerate(data.milestones or ())
        ),
    )


@get(
    "/{contract_id:str}",
    access=PARTNER,
    straight=True,
    refuses=(InvalidContractId, ContractNotFound),
)
async def show(
    request: PartnerRequest, contract_id: FromPath[str]
) -> Response[Envelope[ContractShown]]:
    """Show a contract."""
    found, now = await find(request, contract_id)
    return respond(show_reply(request, found, now, "ContractRetrievedSuccessfully"))


@get("/", access=PARTNER)
async def list_contracts(
    request: PartnerRequest,
    status: FromQuery[str | None] = None,
    page: FromQuery[str | None] = None,
    pageSize: FromQuery[str | None] = None,  # noqa: N803
) -> Response[Envelope[ContractPage]]:
    """List the contracts of the business, newest first."""
    caller = await signed_in(request)
    known = _STATUS_OF.get((status or "").lower(), status)
    wanted = choice(known, "status", PARTNER_STATUSES, "") or None
    size = page_number(pageSize, "pageSize", PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX)
    number = page_number(page, "page", 1, PAGE_MAX)
    async with request.app.state.pool.connection() as conn:
        found = await partners.of_business(conn, caller.key, wanted, size, (number - 1) * size)
        total = await partners.count(conn, caller.key, wanted)
    shown_page = ContractPage([listed(one) for one in found], total, number, size)
    return respond(answer(shown_page, "ContractsRetrievedSuccessfully"))


# -- verbs ----------------------------------------------------------------------------------------

Act = Callable[
    [Core, Actor, str, str, Once | None, brokerage.Render],
    Awaitable[Reply],
]
ActFor = Callable[
    [Core, Actor, str, str, str, Once | None, brokerage.Render],
    Awaitable[Reply],
]


@post(
    "/{contract_id:str}/approve",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.APPROVE), *ANY_ACTION),
)
async def approve(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[Reason | None] = None
) -> Response[Envelope[ContractShown]]:
    """Approve a contract for its seller."""
    return await _act(request, contract_id, data, brokerage.approve, "ContractApprovedSuccessfully")


@post(
    "/{contract_id:str}/reject",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.REJECT), *ANY_ACTION),
)
async def reject(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[Reason | None] = None
) -> Response[Envelope[ContractShown]]:
    """Reject a contract for its seller, before it is paid."""
    return await _act(request, contract_id, data, brokerage.reject, "ContractRejectedSuccessfully")


@post(
    "/{contract_id:str}/deliver",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.DELIVER), *ANY_ACTION),
)
async def deliver(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[Reason | None] = None
) -> Response[Envelope[ContractShown]]:
    """Say for the seller that the work is delivered."""
    return await _act(
        request, contract_id, data, brokerage.deliver, "ContractDeliveredSuccessfully"
    )


@post(
    "/{contract_id:str}/receive",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.RECEIVE), *ANY_ACTION),
)
async def receive(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[Reason | None] = None
) -> Response[Envelope[ContractShown]]:
    """Say for the buyer that the work is received."""
    return await _act(request, contract_id, data, brokerage.receive, "ContractReceivedSuccessfully")


@post(
    "/{contract_id:str}/resolve-dispute",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.RESOLVE), *ANY_ACTION),
)
async def resolve_dispute(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[Reason | None] = None
) -> Response[Envelope[ContractShown]]:
    """Say that buyer and seller agree again; the money may be released."""
    message = "ContractDisputeResolvedSuccessfully"
    return await _act(request, contract_id, data, brokerage.resolve_dispute, message)


@post(
    "/{contract_id:str}/dispute",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.DISPUTE), *ANY_ACTION),
)
async def dispute(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[ReasonOf]
) -> Response[Envelope[ContractShown]]:
    """Say for the buyer or the seller that they disagree: nothing is released meanwhile."""
    return await _act_for(
        request, contract_id, data, brokerage.dispute, "ContractDisputedSuccessfully"
    )


@post(
    "/{contract_id:str}/cancel",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, *refusals(Verb.CANCEL), *ANY_ACTION),
)
async def cancel(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[ReasonOf]
) -> Response[Envelope[ContractShown]]:
    """End a contract for the buyer or the seller; money goes back by the cancellation policy."""
    return await _act_for(
        request, contract_id, data, brokerage.cancel, "ContractCancelledSuccessfully"
    )


async def _act(
    request: PartnerRequest, contract_id: str, data: Reason | None, act: Act, message: str
) -> Response[Envelope[ContractShown]]:
    caller = actor(request)
    return respond(
        await act(
            request.app.state.core,
            caller,
            contract_number(contract_id),
            reason(None if data is None else data.reason),
            await once(request, caller),
            lambda found, now: show_reply(request, found, now, message),
        )
    )


async def _act_for(
    request: PartnerRequest, contract_id: str, data: ReasonOf, act: ActFor, message: str
) -> Response[Envelope[ContractShown]]:
    caller = actor(request)
    if data.by not in ("buyer", "seller"):
        raise InvalidField("by", "must be buyer or seller")
    return respond(
        await act(
            request.app.state.core,
            caller,
            contract_number(contract_id),
            data.by,
            reason(data.reason),
            await once(request, caller, moves_money=True),
            lambda found, now: show_reply(request, found, now, message),
        )
    )


router = Router(
    "/apps/api/contracts",
    route_handlers=[
        create,
        list_contracts,
        show,
        approve,
        reject,
        deliver,
        receive,
        dispute,
        resolve_dispute,
        cancel,
    ],
    request_class=PartnerRequest,
    tags=["Partner contracts"],
)
