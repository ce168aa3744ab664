"""The sandbox provider's other people: who is to be paid, and the banks that change their minds.

An **onboarding page** is where an account's owner says that they are who they are; banks are two
JSON calls, for testers. Like the card page it belongs to the provider, not to Earnest. Invariant: a
link leads to its page once, and to wherever it is renewed ever after.
"""

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from earnest.checkout.pages import FORM_BYTES_MAX, form_of, go, link, show
from earnest.errors import Conflict, NotFound, Refused
from earnest.providers.sandbox import SandboxProvider
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest

PageRequest = Request[object, object, State]


class Chargeback(msgspec.Struct):
    """What a payer's bank does about the payment of a `session` (its id, or the payment's):
    opened, won (for us) or lost."""

    session: str
    outcome: str


class Disputed(msgspec.Struct):
    """A dispute of the sandbox provider's; `state` is open, won or lost."""

    id: str
    payment: str
    state: str


class Failed(msgspec.Struct):
    """A payout that its bank has sent back, and the bank's word for why."""

    reference: str
    state: str
    failure: str


def people_router() -> Router:
    """What `sandbox_pages` has not; `state.provider` is the provider."""
    return Router(
        "/sandbox",
        route_handlers=[open_link, show_page, finish, fail_payout, dispute],
        opt={"access": PUBLIC},
        include_in_schema=False,
    )


# -- the page -------------------------------------------------------------------------------


@get("/onboarding/{token:str}")
async def open_link(token: FromPath[str], request: PageRequest) -> Response[str]:
    """303 to the page that the link opens, or to where it is renewed."""
    try:
        visit, refresh_url = await _provider(request.app.state).open_onboarding(token)
    except NotFound:
        return _unknown(request)
    return go(refresh_url if visit is None else link(request, _path(visit)))


@get("/onboarding/visit/{visit:str}")
async def show_page(visit: FromPath[str], request: PageRequest) -> Response[str]:
    """Who is to be paid, with two buttons; afterwards, the way back."""
    page = await _provider(request.app.state).find_visit(visit)
    if page is None:
        return _unknown(request)
    if page.is_done:
        return go(page.return_url)
    if page.is_over:
        return go(page.refresh_url)
    return show(
        request, "sandbox/payee.html", leads_to=page.return_url, page=page, path=_path(page.id)
    )


@post("/onboarding/visit/{visit:str}", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def finish(visit: FromPath[str], request: PageRequest) -> Response[str]:
    """`answer=finish` completes the page, anything else leaves it for later; 303 back, as Stripe
    does in both cases, or to where the link is renewed when its time is over."""
    provider = _provider(request.app.state)
    page = await provider.find_visit(visit)
    if page is None:
        return _unknown(request)
    if page.is_over and not page.is_done:
        return go(page.refresh_url)
    if (await form_of(request)).get("answer") == "finish":
        await provider.finish_onboarding(visit)
    return go(page.return_url)


def _unknown(request: PageRequest) -> Response[str]:
    return show(request, "sandbox/payee-unknown.html", status_code=404)


def _path(visit: str) -> str:
    return f"/sandbox/onboarding/visit/{visit}"


# -- the banks ------------------------------------------------------------------------------


@post(
    "/payouts/{reference:str}/fail",
    status_code=200,
    request_class=EarnestRequest,
    include_in_schema=True,
    refuses=(NotFound,),
    operation_id="fail_payout",
    tags=["Sandbox"],
)
async def fail_payout(reference: FromPath[str], state: State) -> Failed:
    """Be the bank that sends a payout back, even one that has arrived. Twice is harmless.

    `reference` is our id of the payout; the event reaches the webhook within seconds.
    """
    failed = await _provider(state).fail_payout(reference)
    return Failed(reference, failed.state, failed.failure)


@post(
    "/disputes",
    status_code=200,
    request_class=EarnestRequest,
    include_in_schema=True,
    refuses=(NotFound, Refused, Conflict),
    operation_id="dispute_payment",
    tags=["Sandbox"],
)
async def dispute(data: JSONBody[Chargeback], state: State) -> Disputed:
    """Be the bank of a payer who wants their money back, and later the one that decides. Twice
    is harmless; the events reach the webhook within seconds."""
    made = await _provider(state).dispute(data.session, data.outcome)
    return Disputed(made.id, made.payment_id, made.state)


def _provider(state: State) -> SandboxProvider:
    provider = state.provider
    assert isinstance(provider, SandboxProvider)
    return provider
