"""`/checkout?token=...`: the **order** as its buyer sees it, and the button that pays.

Invariant: a link opens one contract of one business until it ends; nothing is asked of the payment
provider before the buyer has pressed the button, and nothing at all for an order that cannot be
paid or whose buyer has yet to prove who they are.
"""

import msgspec
from litestar import Response, Router, get, post

from earnest.actions.checkout import open_session
from earnest.actions.onboarding import Step, next_step
from earnest.checkout import arrival, identity
from earnest.checkout.identity import Place
from earnest.checkout.pages import ANY_HTTPS, FORM_BYTES_MAX, go, language_of, show
from earnest.checkout.view import Standing, charges_of, parts_of, standing_of
from earnest.checkout.visit import AnyRequest, Visit, expired, here, notice, visit_of
from earnest.domain.payment import PaymentState
from earnest.errors import Conflict, Refused
from earnest.partner.callbacks import with_query
from earnest.store import kyc
from earnest.web.auth import PUBLIC
from earnest.web.links import LinkKind

IDENTITY = "identity"
"""The value of `step` in the URLs of the steps that prove who the buyer is."""


@get("")
async def show_order(request: AnyRequest) -> Response[str]:
    """The order with all that it costs; or why it cannot be paid."""
    visit = await visit_of(request)
    if visit.is_over:
        return expired(request, visit)
    standing = standing_of(visit.found.contract)
    if standing is not Standing.PAYABLE:
        check = here(request, visit) if standing is Standing.PROCESSING else None
        return notice(request, visit, standing, check=check)
    proves = _has_to_prove(visit)
    if proves and request.query_params.get("step") == IDENTITY:
        page = await identity.show_step(request, _place(request, visit))
        if page is not None:
            return page
    return _order(request, visit, proves=proves)


@post("", status_code=200)
async def pay(request: AnyRequest) -> Response[str]:
    """303 to the payment provider's page; or a step of proving who the buyer is."""
    visit = await visit_of(request)
    if visit.is_over:
        return expired(request, visit)
    if standing_of(visit.found.contract) is not Standing.PAYABLE:
        return go(here(request, visit))
    if _has_to_prove(visit):
        return await _take_step(request, visit)
    state, language = request.app.state, language_of(request).value
    try:
        payment = await open_session(
            state.core,
            visit.link.business,
            visit.link.subject,
            arrival.urls(state.settings.public_url, visit.token, lang=language),
        )
    except (Conflict, Refused):
        return go(here(request, visit))  # somebody was faster: the page says how it stands
    url = payment.session_url
    if state.core.provider_name == "sandbox":
        url = with_query(url, lang=language)
    return go(url)


def _order(request: AnyRequest, visit: Visit, *, proves: bool) -> Response[str]:
    contract, payment = visit.found.contract, visit.found.payment
    return show(
        request,
        "checkout/summary.html",
        leads_to=_pays_at(request),
        found=visit.found,
        currency=contract.currency,
        total_minor=contract.charge_minor,
        charges=charges_of(contract),
        parts=parts_of(contract),
        action=here(request, visit),
        identity=here(request, visit, step=IDENTITY) if proves else None,
        has_failed=payment is not None and payment.state is PaymentState.FAILED,
    )


def _pays_at(request: AnyRequest) -> str:
    """The card page of the sandbox is ours; that of a company may be under a name of its own, or
    of the operator's, which its session will tell."""
    state = request.app.state
    if state.core.provider_name == "sandbox":
        public_url: str = state.settings.public_url
        return public_url
    return ANY_HTTPS


# -- proving who the buyer is -----------------------------------------------------------------


def _has_to_prove(visit: Visit) -> bool:
    """Whether the buyer has steps to take before they may pay (E12)."""
    return visit.found.business.settings.require_kyc and not visit.found.buyer_verified


async def _take_step(request: AnyRequest, visit: Visit) -> Response[str]:
    """One step; a link that is good for another ten minutes leads on from each that is done."""
    before = await _next_step(request, visit)
    page = await identity.take_step(request, _place(request, visit))
    if page is not None:
        return page
    after = await _next_step(request, visit)
    if after is not before:
        token = request.app.state.links.issue(
            LinkKind.CHECKOUT, visit.link.business, visit.link.subject, visit.found.now
        )
        visit = msgspec.structs.replace(visit, token=token)
    return go(here(request, visit) if after is None else here(request, visit, step=IDENTITY))


async def _next_step(request: AnyRequest, visit: Visit) -> Step | None:
    async with request.app.state.pool.connection() as conn:
        return next_step(await kyc.progress(conn, visit.found.buyer.key))


def _place(request: AnyRequest, visit: Visit) -> Place:
    return Place(visit.found.buyer, visit.found.business.name, here(request, visit, step=IDENTITY))


router = Router(
    "/checkout",
    route_handlers=[show_order, pay, arrival.come_back],
    request_max_body_size=FORM_BYTES_MAX,
    opt={"access": PUBLIC},
    include_in_schema=False,
)
