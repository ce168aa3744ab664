"""The money of partners' contracts: the buyer's checkout link, release and refund (E6)."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, Router, post
from litestar.params import FromPath, JSONBody

from earnest.actions import brokerage
from earnest.actions.checkout import NotPayable
from earnest.actions.contracts import ContractNotFound
from earnest.actions.core import ANY_ACTION
from earnest.domain.business import Business
from earnest.domain.change import Change
from earnest.domain.identity import phone_number
from earnest.domain.partner import MilestoneNotFound, SellerNotApproved, SellerNotVerified
from earnest.domain.pricing import FeesExceedAmount
from earnest.domain.refund import RefundKind
from earnest.domain.rules import Verb, refusals
from earnest.errors import InvalidField
from earnest.partner.answers import PARTNER, fresh_checkout
from earnest.partner.binding import PartnerRequest
from earnest.partner.documents import CheckoutShown, Number
from earnest.partner.envelope import Envelope, answer
from earnest.partner.shapes import (
    Amount,
    InvalidContractId,
    amount_in,
    contract_number,
    milestone_id,
    reason,
)
from earnest.store.idempotency import Reply
from earnest.store.partners import Brokered
from earnest.web.auth import actor
from earnest.web.idempotency import once, respond
from earnest.web.shapes import Line, Major, Text, one_of


class NewCheckout(msgspec.Struct, rename="camel"):
    """Which contract, and the buyer's phone number as a second word for it."""

    external_contract_id: Line | None = None
    contract_id: Line | None = None
    buyer_phone_number: Line | None = None
    phone_number: Line | None = None


class NewRelease(msgspec.Struct, rename="camel"):
    """All that is held, or one milestone's."""

    contract_id: Line
    milestone_id: int | Line | None = None


class NewRefund(msgspec.Struct, rename="camel"):
    """`type` is FULL or PARTIAL; `amount`, of the base, goes with PARTIAL only."""

    type: Line
    reason: Text | None = None
    milestone_id: int | Line | None = None
    amount: Amount | None = None


class CheckoutStarted(msgspec.Struct, rename="camel"):
    """A fresh link for the buyer."""

    checkout_url: str
    checkout: CheckoutShown


class Released(msgspec.Struct, rename="camel"):
    """`amount` is what the seller got."""

    transaction_id: int
    amount: Major
    contract_id: Number


class Refunded(msgspec.Struct, rename="camel"):
    """A refund that has begun; `settlementId` comes when it is settled."""

    refund_id: int
    settlement_id: int | None
    milestone_id: int | None
    refunded_amount: Major
    released_to_seller_amount: Major | None
    type: Annotated[str, one_of("FullRefund", "PartialRefund")]
    external_contract_id: Number


# -- the buyer's link -----------------------------------------------------------------------------


@post(
    "/checkout",
    status_code=200,
    access=PARTNER,
    refuses=(InvalidContractId, ContractNotFound, NotPayable, *ANY_ACTION),
)
async def start_checkout(
    request: PartnerRequest, data: JSONBody[NewCheckout]
) -> Response[Envelope[CheckoutStarted]]:
    """Make a fresh link for the buyer to pay with."""
    caller = actor(request)
    field, text = _either(
        ("externalContractId", data.external_contract_id), ("contractId", data.contract_id)
    )
    number = contract_number(text, field)
    field, text = _either(
        ("buyerPhoneNumber", data.buyer_phone_number), ("phoneNumber", data.phone_number)
    )
    phone = phone_number(text, field)

    def render(found: Brokered, now: datetime) -> Reply:
        if phone != found.buyer.phone:
            raise InvalidField(field, "is not the number of this contract's buyer")
        if not found.contract.payable:
            raise NotPayable
        checkout = fresh_checkout(request, found, now)
        started = CheckoutStarted(checkout.url, checkout)
        return answer(started, "ContractCheckoutStartedSuccessfully")

    wanted = await once(request, caller)
    return respond(
        await brokerage.renew_checkout(request.app.state.core, caller, number, wanted, render)
    )


def _either(first: tuple[str, str | None], second: tuple[str, str | None]) -> tuple[str, str]:
    """The one of two spellings of a field that was sent (B11), and its text."""
    for field, text in (first, second):
        if text is not None:
            return field, text
    raise InvalidField(first[0], "is required")


# -- release and refund ---------------------------------------------------------------------------


@post(
    "/release",
    status_code=200,
    access=PARTNER,
    refuses=(
        InvalidContractId,
        ContractNotFound,
        MilestoneNotFound,
        SellerNotApproved,
        SellerNotVerified,
        *refusals(Verb.RELEASE),
        *ANY_ACTION,
    ),
)
async def release(
    request: PartnerRequest, data: JSONBody[NewRelease]
) -> Response[Envelope[Released]]:
    """Release what is held to the seller: everything, or one milestone's."""
    caller = actor(request)
    number = contract_number(data.contract_id)
    milestone = milestone_id(data.milestone_id)

    def render(found: Brokered, change: Change) -> Reply:
        after = change.contract
        assert after is not None
        targets = brokerage.released_tranches(found.contract, after)
        seller_minor = sum(after.terms.tranches[index].net_minor for index in targets)
        amount = after.major(seller_minor)
        done = Released(change.commit_id, amount, number)
        return answer(done, "ExternalContractReleasedSuccessfully")

    return respond(
        await brokerage.release(
            request.app.state.core,
            caller,
            number,
            milestone,
            await once(request, caller, moves_money=True),
            render,
        )
    )


@post(
    "/{contract_id:str}/refund",
    status_code=200,
    access=PARTNER,
    refuses=(
        InvalidContractId,
        ContractNotFound,
        MilestoneNotFound,
        FeesExceedAmount,
        *refusals(Verb.REFUND),
        *ANY_ACTION,
    ),
)
async def refund(
    request: PartnerRequest, contract_id: FromPath[str], data: JSONBody[NewRefund]
) -> Response[Envelope[Refunded]]:
    """Give money back to the buyer: the whole base, or a part of it."""
    caller = actor(request)
    number = contract_number(contract_id)
    kinds = {"FULL": RefundKind.FULL, "PARTIAL": RefundKind.PARTIAL}
    kind = kinds.get(data.type)
    if kind is None:
        raise InvalidField("type", "must be FULL or PARTIAL")
    if kind is RefundKind.PARTIAL and data.amount is None:
        raise InvalidField("amount", "is required for a partial refund")
    if kind is RefundKind.FULL and data.amount is not None:
        raise InvalidField("amount", "must not be given for a full refund")
    milestone = milestone_id(data.milestone_id)
    why = reason(data.reason, required=True)

    def amount_minor(business: Business) -> int | None:
        if data.amount is None:
            return None
        minor_max = business.settings.amount_minor_max
        return amount_in(data.amount, business.currency, "amount", minor_max)

    def render(found: Brokered, change: Change) -> Reply:
        begun = change.refund
        assert begun is not None
        partial = kind is RefundKind.PARTIAL
        to_seller = found.contract.major(begun.seller_minor) if partial else None
        done = Refunded(
            refund_id=begun.key,
            settlement_id=None,
            milestone_id=milestone,
            refunded_amount=found.contract.major(begun.amount_minor),
            released_to_seller_amount=to_seller,
            type="PartialRefund" if partial else "FullRefund",
            external_contract_id=number,
        )
        created = "PartialRefundCreatedSuccessfully" if partial else "RefundCreatedSuccessfully"
        return answer(done, created)

    return respond(
        await brokerage.refund(
            request.app.state.core,
            caller,
            number,
            kind,
            milestone,
            amount_minor,
            why,
            await once(request, caller, moves_money=True),
            render,
        )
    )


router = Router(
    "/apps/api/contracts",
    route_handlers=[start_checkout, release, refund],
    request_class=PartnerRequest,
    tags=["Partner money"],
)
