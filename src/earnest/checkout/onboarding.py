"""`/onboarding?token=...`: where a partner's member proves who they are.

Invariant: a link opens this for one member, until it ends; each step that is taken leads on with
a new link, so that nobody who is at it runs out of time, and nobody gets more than one a step. In
the end it leads only to where the business may send people today, whatever was allowed once.
"""

from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post

from earnest.checkout import identity
from earnest.checkout.identity import Place
from earnest.checkout.pages import FORM_BYTES_MAX, go, link, show
from earnest.domain.party import Member
from earnest.partner.callbacks import is_allowed, with_query
from earnest.store import businesses, kyc, parties
from earnest.store.kyc import Progress
from earnest.web.auth import PUBLIC
from earnest.web.links import LinkKind, LinkUnknown

AnyRequest = Request[Any, Any, Any]


class Visit(msgspec.Struct, frozen=True):
    """Whom the link of a request is for, how far they have come, and where the partner wants them
    in the end: "" for nowhere, or for where nobody may be sent."""

    member: Member
    business_name: str
    progress: Progress
    callback_url: str


@get("")
async def show_onboarding(request: AnyRequest) -> Response[str]:
    """The next step, or that all is done."""
    visit = await _visit(request)
    page = await identity.show_step(request, _place(request, visit))
    return page or _done(request, visit)


@post("", status_code=200)
async def take_step(request: AnyRequest) -> Response[str]:
    """One step: 303 to the next one or, after the last, to where the partner wants them."""
    visit = await _visit(request)
    page = await identity.take_step(request, _place(request, visit))
    if page is not None:
        return page
    after = await _visit(request)
    was_last = visit.progress.completed_at is None and after.progress.completed_at is not None
    if was_last and after.callback_url:
        return go(_back(after))
    return go(_here(request, after, renewed=_is_further(visit.progress, after.progress)))


async def _visit(request: AnyRequest) -> Visit:
    """Raises LinkUnknown, LinkExpired."""
    state = request.app.state
    token = request.query_params.get("token", "")
    async with state.pool.connection() as conn:
        opened = state.links.peek(token)
        member = await parties.find(conn, opened.business, opened.subject)
        business = await businesses.find(conn, opened.business)
        if member is None or business is None:
            raise LinkUnknown
        progress = await kyc.progress(conn, member.key)
        state.links.read(token, LinkKind.ONBOARDING, progress.now)
    url, is_production = progress.callback_url, state.settings.is_production
    leads_back = url and is_allowed(url, business, is_production=is_production)
    return Visit(member, business.name, progress, url if leads_back else "")


def _place(request: AnyRequest, visit: Visit) -> Place:
    return Place(
        visit.member,
        visit.business_name,
        _here(request, visit),
        _back(visit),
    )


def _here(request: AnyRequest, visit: Visit, *, renewed: bool = False) -> str:
    token = request.query_params.get("token", "")
    if renewed:
        token = request.app.state.links.issue(
            LinkKind.ONBOARDING,
            visit.member.business,
            visit.member.public_id,
            visit.progress.now,
        )
    return link(request, "/onboarding", token=token)


def _is_further(before: Progress, after: Progress) -> bool:
    return (before.identified_at, before.answered_at, before.verified_at) != (
        after.identified_at,
        after.answered_at,
        after.verified_at,
    )


def _back(visit: Visit) -> str:
    """The partner's URL with its own query and what came of it, "" without one. Whether it is true
    the partner learns by asking us: a URL can be made up."""
    if not visit.callback_url:
        return ""
    ref = visit.member.platform_ref
    return with_query(visit.callback_url, platformRefId=ref, isKycCompleted="True")


def _done(request: AnyRequest, visit: Visit) -> Response[str]:
    return show(request, "identity-done.html", business_name=visit.business_name, back=_back(visit))


router = Router(
    "/onboarding",
    route_handlers=[show_onboarding, take_step],
    request_max_body_size=FORM_BYTES_MAX,
    opt={"access": PUBLIC},
    include_in_schema=False,
)
