"""/apps/api/payouts: what a business and its sellers have, on its way to their banks (E24).

Most of it goes by the business's schedule (`earnest.actions.payout_schedule`); here partners see
how it stands, send their people to say where to be paid, and pay out by hand.
"""

import re
from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import payout_accounts
from earnest.actions import payouts as actions
from earnest.actions.checkout_sessions import ProviderUnavailable
from earnest.actions.core import ANY_ACTION
from earnest.actions.payout_accounts import AccountGone, CountryRefused
from earnest.actions.payouts import PayoutNotFound, country_of
from earnest.domain.business import Business
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.partner_settings import MINOR_MAX
from earnest.domain.party import Actor
from earnest.domain.payout import STATUS, Cause, Payout
from earnest.domain.withdrawing import NotEnough, OnboardingFirst
from earnest.errors import InvalidField, Refused
from earnest.ids import parse_public_id
from earnest.partner.answers import PAGE_ENTRIES_MAX, PARTNER
from earnest.partner.binding import PartnerRequest
from earnest.partner.callbacks import check_callback, with_query
from earnest.partner.envelope import Envelope, answer
from earnest.partner.shapes import Amount, amount_in, platform_ref
from earnest.providers.base import OnboardingLink
from earnest.store import businesses, partner_payouts, payouts
from earnest.store.contracts import Page
from earnest.store.idempotency import Reply, ReplyGone
from earnest.store.partner_payouts import PaidOut
from earnest.store.payout_accounts import Payee
from earnest.web.auth import signed_in
from earnest.web.idempotency import once, respond
from earnest.web.instants import instant
from earnest.web.shapes import PAGE_MAX, Instant, Line, Major, given, one_of, page_number
from earnest.web.wire import encode

PAGE_ENTRIES_DEFAULT = 20
_COUNTRY = re.compile(r"[A-Z]{2}")


class NothingToPayOut(Refused):
    """This user sells nothing and has nothing to be paid out."""


class NewOnboarding(msgspec.Struct, rename="camel"):
    """Who is to be paid: a user, or the business itself. `country` is ISO 3166-1 alpha-2, that of
    the currency if left out; it cannot be changed. `returnUrl`: where the page leads in the end."""

    return_url: str
    platform_ref_id: Line | None = None
    country: Line | None = None


class NewPayout(msgspec.Struct, rename="camel"):
    """How much, and of whom: a user, or the business itself."""

    amount: Amount
    platform_ref_id: Line | None = None


class OnboardingPage(msgspec.Struct, rename="camel"):
    """The payment provider's page, for whoever is to be paid alone: it opens once, until
    `expiresAt`."""

    url: str
    expires_at: Instant


class PayoutShown(msgspec.Struct, rename="camel"):
    """Money on its way to a bank: `platformRefId` says whose, null: the business's own.

    `failed`: it is in the wallet again, and `failure` says why. The provider's references are null
    until it has made what they name.
    """

    payout_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
    platform_ref_id: str | None
    amount: Major
    currency: str
    status: Annotated[str, one_of("pending", "paid", "failed")]
    cause: Annotated[str, one_of(*Cause)]
    failure: str | None
    provider_transfer_id: str | None
    provider_payout_id: str | None
    created_date: Instant
    updated_date: Instant
    paid_date: Instant | None


class PayoutPage(msgspec.Struct, rename="camel"):
    """Newest first."""

    payouts: list[PayoutShown]
    total_count: int
    page: int
    page_size: int


@post(
    "/onboarding",
    status_code=200,
    access=PARTNER,
    refuses=(
        NothingToPayOut,
        CountryRefused,
        AccountGone,
        ProviderUnavailable,
        ReplyGone,
        *ANY_ACTION,
    ),
)
async def start_onboarding(
    request: PartnerRequest, data: JSONBody[NewOnboarding]
) -> Response[Envelope[OnboardingPage]]:
    """Make a link to the provider's page where somebody says where to be paid."""
    caller = await signed_in(request)
    state = request.app.state
    business, payee = await _payee(request, caller, data.platform_ref_id, needs_wallet=True)
    is_production = state.settings.is_production
    back = check_callback(data.return_url, business, "returnUrl", is_production=is_production)

    def render(link: OnboardingLink) -> Reply:
        page = OnboardingPage(link.url, instant(link.expires_at))
        return answer(page, "PayoutOnboardingStartedSuccessfully")

    return respond(
        await payout_accounts.onboard(
            state.core,
            payee,
            _country(data.country, business.currency),
            await once(request, caller),
            render,
            return_url=back,
            refresh_url=with_query(back, onboarding="again"),
        )
    )


@post(
    "/",
    status_code=202,
    access=PARTNER,
    refuses=(NotEnough, OnboardingFirst, CountryRefused, ProviderUnavailable, *ANY_ACTION),
)
async def pay_out(
    request: PartnerRequest, data: JSONBody[NewPayout]
) -> Response[Envelope[PayoutShown]]:
    """Pay out now what a user or the business has. It leaves the wallet at once, and comes back
    if it cannot be paid out."""
    caller = await signed_in(request)
    ref = data.platform_ref_id
    business, payee = await _payee(request, caller, ref)
    amount_minor = amount_in(data.amount, business.currency, "amount", MINOR_MAX)

    def render(payout: Payout) -> Reply:
        accepted = _shown(PaidOut(payout, ref))
        return Reply(202, encode(Envelope(accepted, "PayoutStartedSuccessfully", status=202)))

    return respond(
        await actions.withdraw(
            request.app.state.core,
            caller,
            payee,
            business.currency,
            lambda _: amount_minor,
            await once(request, caller, moves_money=True),
            render,
        )
    )


@get("/", access=PARTNER)
async def list_payouts(
    request: PartnerRequest,
    platformRefId: FromQuery[str | None] = None,  # noqa: N803
    page: FromQuery[str | None] = None,
    pageSize: FromQuery[str | None] = None,  # noqa: N803
) -> Response[Envelope[PayoutPage]]:
    """List the payouts of the business and its users, or those of one user; the newest first."""
    caller = await signed_in(request)
    ref = given(platformRefId)
    size = page_number(pageSize, "pageSize", PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX)
    number = page_number(page, "page", 1, PAGE_MAX)
    wanted = Page(limit=size, offset=(number - 1) * size)
    _, payee = await _payee(request, caller, ref)
    async with request.app.state.pool.connection() as conn:
        if payee.party is None:
            found = await payouts.of_business(conn, caller.key, wanted)
            refs = [platform_ref for platform_ref, _ in found.names]
        else:
            found = await payouts.of_party(conn, payee.party, wanted)
            refs = [ref] * len(found.payouts)
    shown = [_shown(PaidOut(*one)) for one in zip(found.payouts, refs, strict=True)]
    listed = PayoutPage(shown, found.total, number, size)
    return respond(answer(listed, "PayoutsRetrievedSuccessfully"))


@get("/{payout_id:str}", access=PARTNER, refuses=(PayoutNotFound,))
async def show_payout(
    request: PartnerRequest, payout_id: FromPath[str]
) -> Response[Envelope[PayoutShown]]:
    """Show how a payout stands."""
    caller = await signed_in(request)
    wanted = parse_public_id(payout_id, "payoutId")
    async with request.app.state.pool.connection() as conn:
        found = await partner_payouts.find(conn, caller.key, wanted)
    if found is None:
        raise PayoutNotFound
    return respond(answer(_shown(found), "PayoutRetrievedSuccessfully"))


# -- common ground --------------------------------------------------------------------------------


async def _payee(
    request: PartnerRequest, caller: Actor, ref: str | None, *, needs_wallet: bool = False
) -> tuple[Business, Payee]:
    """The caller's business, and who is meant by a reference. Raises InvalidField for one that is
    not known there (E23), NothingToPayOut."""
    async with request.app.state.pool.connection() as conn:
        business = await businesses.find(conn, caller.key)
        assert business is not None
        if ref is None:
            return business, Payee(business.key, None)
        owner = await partner_payouts.owner(conn, business, platform_ref(ref, "platformRefId"))
    if owner is None:
        raise InvalidField("platformRefId", "is not known")
    if needs_wallet and not owner.has_wallet:
        raise NothingToPayOut
    return business, Payee(business.key, owner.key)


def _country(text: str | None, currency: str) -> str:
    country = country_of(currency) if text is None else text
    if country is None:
        raise InvalidField("country", "is required: this currency has several")
    if not _COUNTRY.fullmatch(country):
        raise InvalidField("country", "must be ISO 3166-1 alpha-2, such as SA")
    return country


def _shown(paid: PaidOut) -> PayoutShown:
    payout = paid.payout
    status = STATUS[payout.state]
    return PayoutShown(
        payout_id=payout.public_id,
        platform_ref_id=paid.platform_ref,
        amount=to_number(payout.amount_minor, CURRENCIES[payout.currency]),
        currency=payout.currency,
        status=status,
        cause=payout.cause,
        failure=payout.last_error if status == "failed" else None,
        provider_transfer_id=payout.provider_transfer_id,
        provider_payout_id=payout.provider_payout_id,
        created_date=instant(payout.created_at),
        updated_date=instant(payout.updated_at),
        paid_date=instant(payout.paid_at) if payout.paid_at is not None else None,
    )


router = Router(
    "/apps/api/payouts",
    route_handlers=[start_onboarding, pay_out, list_payouts, show_payout],
    request_class=PartnerRequest,
    tags=["Partner payouts"],
)
