"""Emptying wallets (D21): withdrawing, how withdrawals stand, saying where to be paid.

Clients and freelancers have the same routes, each under their own path. What is withdrawn leaves
the wallet at once; the worker has it paid out (`earnest.actions.payouts`), and what cannot be paid
out comes back. Admins see all payouts, and have the provider asked again about those that are
stuck.
"""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import payout_accounts
from earnest.actions import payouts as actions
from earnest.actions.checkout_sessions import ProviderUnavailable
from earnest.actions.core import ANY_ACTION
from earnest.actions.payout_accounts import AccountGone, CountryRefused
from earnest.actions.payouts import PayoutNotFound
from earnest.domain.business import MARKETPLACE
from earnest.domain.money import CURRENCIES, parse_major, to_number
from earnest.domain.party import Actor, Role
from earnest.domain.payout import STATUS, Cause, Leg, Payout, PayoutState
from earnest.domain.withdrawing import NotEnough, NotStuck, OnboardingFirst
from earnest.ids import parse_public_id
from earnest.marketplace.catalog import called
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import Id
from earnest.store import payouts
from earnest.store.accounts import require_active
from earnest.store.idempotency import Reply
from earnest.store.payout_accounts import Payee
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import Amount, EarnestRequest
from earnest.web.idempotency import once, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, choice, one_of
from earnest.web.wire import encode

_INR = CURRENCIES["INR"]
MINOR_MAX = 10**15


class Withdrawal(msgspec.Struct):
    """How much, in INR."""

    amount: Amount


class PayoutDocument(msgspec.Struct):
    """Money on its way from a wallet to a bank. `failed`: it is in the wallet again, and `failure`
    says why. The provider's references are null until it has made what they name."""

    id: Id = msgspec.field(name="_id")
    amount: Major
    currency: str
    status: Annotated[str, one_of("pending", "paid", "failed")]
    failure: str
    providerTransferId: str | None  # noqa: N815
    providerPayoutId: str | None  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    paidAt: Instant | None  # noqa: N815


class PayoutAccepted(msgspec.Struct):
    success: bool
    message: str
    data: PayoutDocument


class PayoutShown(msgspec.Struct):
    success: bool
    data: PayoutDocument


class PayoutList(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[PayoutDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class OnboardingPage(msgspec.Struct):
    """The payment provider's page, for the caller alone: it opens once, before `expiresAt`."""

    url: str
    expiresAt: Instant  # noqa: N815


def document(payout: Payout) -> PayoutDocument:
    """A payout as its owner sees it."""
    status = STATUS[payout.state]
    return PayoutDocument(
        id=payout.public_id,
        amount=to_number(payout.amount_minor, CURRENCIES[payout.currency]),
        currency=payout.currency,
        status=status,
        failure=payout.last_error if status == "failed" else "",
        providerTransferId=payout.provider_transfer_id,
        providerPayoutId=payout.provider_payout_id,
        createdAt=instant(payout.created_at),
        updatedAt=instant(payout.updated_at),
        paidAt=instant(payout.paid_at) if payout.paid_at is not None else None,
    )


def _payee(caller: Actor) -> Payee:
    return Payee(MARKETPLACE, caller.key)


def _router(role: Role) -> Router:
    @post(
        "/withdraw",
        status_code=202,
        refuses=(NotEnough, OnboardingFirst, CountryRefused, ProviderUnavailable, *ANY_ACTION),
    )
    @called(
        f"{role}_withdraw",
        "Take money out of the wallet, to be paid to the caller's bank. It leaves the wallet now,"
        " and comes back if it cannot be paid out.",
    )
    async def withdraw(
        request: EarnestRequest, data: JSONBody[Withdrawal]
    ) -> Response[PayoutAccepted]:
        caller = actor(request)
        amount_minor = parse_major(data.amount, _INR, "amount", MINOR_MAX)

        def render(payout: Payout) -> Reply:
            shown = PayoutAccepted(True, "Withdrawal is on its way", document(payout))
            return Reply(202, encode(shown))

        return respond(
            await actions.withdraw(
                request.app.state.core,
                caller,
                _payee(caller),
                "INR",
                lambda _: amount_minor,
                await once(request, caller, moves_money=True),
                render,
            )
        )

    @get("/withdraw")
    @called(f"{role}_withdrawals", "The caller's withdrawals, newest first; 1,000 at most.")
    async def withdrawals(
        request: EarnestRequest,
        page: FromQuery[str | None] = None,
        limit: FromQuery[str | None] = None,
    ) -> PayoutList:
        caller = await signed_in(request)
        wanted = read_page(page, limit)
        async with request.app.state.pool.connection() as conn:
            found = await payouts.of_party(conn, caller.key, wanted)
        return PayoutList(
            success=True,
            data=[document(one) for one in found.payouts],
            total=found.total,
            currentPage=wanted.offset // wanted.limit + 1,
            totalPages=-(-found.total // wanted.limit),
        )

    @get("/withdraw/{payout_id:str}", refuses=(PayoutNotFound,))
    @called(f"{role}_withdrawal", "How one of the caller's withdrawals stands.")
    async def withdrawal(request: EarnestRequest, payout_id: FromPath[str]) -> PayoutShown:
        caller = actor(request)
        wanted = parse_public_id(payout_id, "payoutId")
        found = await payouts.load(request.app.state.pool, wanted, caller)
        require_active(found.caller, caller)
        if found.payout is None or found.payout.party != caller.key:
            raise PayoutNotFound
        return PayoutShown(True, document(found.payout))

    @post(
        "/onboarding",
        status_code=200,
        refuses=(CountryRefused, AccountGone, ProviderUnavailable, *ANY_ACTION),
    )
    @called(
        f"{role}_payout_onboarding",
        "A page of the payment provider's on which the caller says where to be paid.",
    )
    async def onboarding(request: EarnestRequest) -> Response[OnboardingPage]:
        caller = await signed_in(request)
        settings = request.app.state.settings
        back = f"{(settings.client_url or settings.public_url).rstrip('/')}/{role}/wallet"
        return respond(
            await payout_accounts.onboard(
                request.app.state.core,
                _payee(caller),
                "IN",
                await once(request, caller),
                lambda link: Reply(200, encode(OnboardingPage(link.url, instant(link.expires_at)))),
                return_url=back,
                refresh_url=f"{back}?onboarding=again",
            )
        )

    return Router(
        f"/api/{role}/wallet",
        route_handlers=[withdraw, withdrawals, withdrawal, onboarding],
        opt={"access": only(role)},
        tags=["Wallets"],
    )


# -- admins ---------------------------------------------------------------------------------------


class AdminPayout(PayoutDocument, kw_only=True):
    """A payout as operators see it: `state` and `leg` are where it really stands, `lastError` what
    the provider said when it last refused, `dueAt` when it is asked next, null while nobody is."""

    businessName: str  # noqa: N815
    ownerName: str | None  # noqa: N815
    state: Annotated[str, one_of(*PayoutState)]
    leg: Annotated[str, one_of(*Leg)]
    cause: Annotated[str, one_of(*Cause)]
    attempts: int
    dueAt: Instant | None  # noqa: N815
    lastError: str  # noqa: N815


class AdminPayouts(msgspec.Struct):
    """Newest first; `total` counts all pages."""

    success: bool
    data: list[AdminPayout]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


@get("/", operation_id="getPayouts")
async def get_payouts(
    request: EarnestRequest,
    status: FromQuery[str | None] = None,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> AdminPayouts:
    """The payouts with one `state`, or all of them; 1,000 at most if not asked by page."""
    await signed_in(request)
    wanted = read_page(page, limit)
    only_state = choice(status, "status", tuple(PayoutState), "")
    states = (only_state,) if only_state else tuple(PayoutState)
    async with request.app.state.pool.connection() as conn:
        found = await payouts.in_states(conn, states, wanted)
    return AdminPayouts(
        success=True,
        data=[
            _admin_document(payout, *names)
            for payout, names in zip(found.payouts, found.names, strict=True)
        ],
        total=found.total,
        currentPage=wanted.offset // wanted.limit + 1,
        totalPages=-(-found.total // wanted.limit),
    )


@put(
    "/{payout_id:str}/retry",
    refuses=(PayoutNotFound, NotStuck, *ANY_ACTION),
    operation_id="retryPayout",
)
async def retry_payout(
    request: EarnestRequest, payout_id: FromPath[str]
) -> Response[PayoutAccepted]:
    """Ask the provider again for the return of a payout that is stuck."""
    caller = actor(request)
    return respond(
        await actions.retry(
            request.app.state.core,
            caller,
            parse_public_id(payout_id, "payoutId"),
            await once(request, caller, moves_money=True),
            lambda payout: Reply(
                200, encode(PayoutAccepted(True, "The provider is asked again", document(payout)))
            ),
        )
    )


def _admin_document(payout: Payout, business: str | None, owner: str | None) -> AdminPayout:
    return AdminPayout(
        **msgspec.structs.asdict(document(payout)),
        businessName=business or "",
        ownerName=owner,
        state=payout.state,
        leg=payout.leg,
        cause=payout.cause,
        attempts=payout.attempts,
        dueAt=instant(payout.due_at) if payout.due_at is not None else None,
        lastError=payout.last_error,
    )


client_router = _router(Role.CLIENT)
freelancer_router = _router(Role.FREELANCER)
admin_router = Router(
    "/api/admin/payouts",
    route_handlers=[get_payouts, retry_payout],
    opt={"access": only(Role.ADMIN)},
    tags=["Payouts"],
)
