"""Escrow for admins: what is held, releasing it, refunding it, and the reports (spec 3.1).

The refund route is open to clients too: theirs is a request (D6).
"""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, put
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import contracts as actions
from earnest.actions import payments
from earnest.actions.contracts import ContractNotFound, NotTheirContract
from earnest.actions.core import ANY_ACTION
from earnest.actions.payments import PaymentNotFound
from earnest.domain.business import MARKETPLACE
from earnest.domain.hiring import NotParked
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Role
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.refusals import ChargedBackNow
from earnest.domain.rules import Verb, refusals
from earnest.domain.verbs import RefundAlreadyRequested
from earnest.ids import parse_public_id
from earnest.ledger import accounts as chart
from earnest.marketplace.contracts import read_page
from earnest.marketplace.documents import (
    EscrowDocument,
    plain_escrow,
    populated_escrow,
)
from earnest.marketplace.shapes import Id
from earnest.store import books, contracts, hiring, provider_objects
from earnest.store.hiring import FoundPayment
from earnest.store.idempotency import Reply
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import once, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Line, Major, Text, one_of, tidy
from earnest.web.wire import encode

_INR = CURRENCIES["INR"]


class RefundReasons(msgspec.Struct):
    """Why, in the client's words; both may be left out."""

    cancelReason: Line | None = None  # noqa: N815
    cancelReasonDescription: Text | None = None  # noqa: N815


class Figure(msgspec.Struct):
    """One amount in major units."""

    data: Major


class Settled(msgspec.Struct):
    message: str
    data: EscrowDocument


class Escrows(msgspec.Struct):
    count: int
    data: list[EscrowDocument]


class ParkedPayment(msgspec.Struct):
    """A payment that waits for its contract, or was refunded. `amount` in major units; the last two
    are the payment provider's ids."""

    id: Id = msgspec.field(name="_id")
    amount: Major
    currency: str
    status: Annotated[str, one_of(PaymentState.PARKED, PaymentState.REFUNDED)]
    clientId: Id  # noqa: N815
    createdAt: Instant  # noqa: N815
    capturedAt: Instant | None  # noqa: N815
    providerSessionId: str | None  # noqa: N815
    providerPaymentId: str | None  # noqa: N815


class ParkedPayments(msgspec.Struct):
    count: int
    data: list[ParkedPayment]


class ParkedRefunded(msgspec.Struct):
    message: str
    data: ParkedPayment


# -- figures and reports ----------------------------------------------------------------------


@get("/balance")
async def balance(request: EarnestRequest) -> Figure:
    """All money that is held for contracts now."""
    await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        held_minor = await books.total(conn, chart.Kind.HELD, _INR.numeric)
    return Figure(to_number(held_minor, _INR))


@get("/total-revenue")
async def total_revenue(request: EarnestRequest) -> Figure:
    """All platform fees earned by releases and refunds."""
    account = chart.pack(chart.Kind.PLATFORM_FEE_INCOME, "INR", MARKETPLACE)
    await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        earned_minor = await books.balance(conn, account)
    return Figure(to_number(earned_minor, _INR))


@get(["/transactions", "/sales-report"])
async def transactions(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> Escrows:
    """The escrow of every contract that was ever paid for, newest first.

    Without `page` and `limit` the newest 1,000; all of them by pages of 100 at most (D15).
    """
    wanted = read_page(page, limit)
    await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        found = await contracts.of_business(conn, MARKETPLACE, wanted, funded=True)
        paid = await provider_objects.captured(conn, [one.contract.key for one in found])
    shown = [populated_escrow(one, paid.get(one.contract.key)) for one in found]
    return Escrows(len(shown), shown)


# -- moving money -----------------------------------------------------------------------------


@put(
    "/release-fund/{contract_id:str}",
    refuses=(ContractNotFound, *refusals(Verb.APPROVE_RELEASE), *ANY_ACTION),
    straight=True,
)
async def release_fund(request: EarnestRequest, contract_id: FromPath[str]) -> Response[Settled]:
    """Release what is held to the freelancer, less the platform's fee."""
    caller = actor(request)
    return respond(
        await actions.approve_release(
            request.app.state.core,
            caller,
            parse_public_id(contract_id, "contractId"),
            await once(request, caller, moves_money=True),
            lambda documented, paid: Reply(
                200, encode(Settled("Fund has been released", plain_escrow(documented, paid)))
            ),
        )
    )


@put(
    "/refund-client/{contract_id:str}/{client_id:str}",
    access=only(Role.ADMIN, Role.CLIENT),
    refuses=(
        ContractNotFound,
        NotTheirContract,
        *refusals(Verb.REQUEST_REFUND, Verb.APPROVE_REFUND),
        RefundAlreadyRequested,
        *ANY_ACTION,
    ),
)
async def refund_client(
    request: EarnestRequest,
    contract_id: FromPath[str],
    client_id: FromPath[str],
    data: JSONBody[RefundReasons | None] = None,
) -> Response[Settled]:
    """An admin refunds by the cancellation policy; a client asks for it (D6, D7)."""
    caller = actor(request)
    reasons = data or RefundReasons()
    return respond(
        await actions.refund(
            request.app.state.core,
            caller,
            parse_public_id(contract_id, "contractId"),
            parse_public_id(client_id, "clientId"),
            tidy(reasons.cancelReason or ""),
            tidy(reasons.cancelReasonDescription or ""),
            await once(request, caller, moves_money=True),
            lambda documented, paid: Reply(
                200, encode(Settled("Refund has been processed", plain_escrow(documented, paid)))
            ),
        )
    )


# -- payments without a contract (D2) ---------------------------------------------------------


@get("/parked-payments")
async def parked_payments(request: EarnestRequest) -> ParkedPayments:
    """Captured payments that wait for their contract."""
    await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        found = await hiring.parked(conn)
    shown = [_parked(payment, buyer) for payment, buyer in found]
    return ParkedPayments(len(shown), shown)


@put(
    "/refund-payment/{payment_id:str}",
    refuses=(PaymentNotFound, NotParked, ChargedBackNow, *ANY_ACTION),
)
async def refund_payment(
    request: EarnestRequest, payment_id: FromPath[str]
) -> Response[ParkedRefunded]:
    """Give a parked payment back to the client's wallet."""
    caller = actor(request)

    def render(found: FoundPayment, payment: Payment) -> Reply:
        buyer = found.buyer.public_id if found.buyer is not None else ""
        return Reply(
            200, encode(ParkedRefunded("Payment has been refunded", _parked(payment, buyer)))
        )

    return respond(
        await payments.refund_parked(
            request.app.state.core,
            caller,
            parse_public_id(payment_id, "paymentId"),
            await once(request, caller, moves_money=True),
            render,
        )
    )


def _parked(payment: Payment, buyer: str) -> ParkedPayment:
    return ParkedPayment(
        id=payment.public_id,
        amount=to_number(payment.amount_minor, CURRENCIES[payment.currency]),
        currency=payment.currency,
        status=payment.state,
        clientId=buyer,
        createdAt=instant(payment.created_at),
        capturedAt=instant(payment.captured_at) if payment.captured_at else None,
        providerSessionId=payment.session_id,
        providerPaymentId=payment.provider_payment_id,
    )


router = Router(
    "/api/admin/escrow",
    route_handlers=[
        balance,
        total_revenue,
        transactions,
        release_fund,
        refund_client,
        parked_payments,
        refund_payment,
    ],
    opt={"access": only(Role.ADMIN)},
    tags=["Escrow"],
)
