"""A **visit**: the contract that a checkout link opens, and the way back to its partner.

Invariant: a link of another kind, or one that we did not issue, opens nothing and tells nothing; a
visitor is led only to where the business may send people today, whatever was allowed once.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response

from earnest.actions import checkout
from earnest.actions.contracts import ContractNotFound
from earnest.actions.core import Core
from earnest.checkout.pages import link, show
from earnest.partner.callbacks import is_allowed
from earnest.providers.sandbox_rules import origin
from earnest.store.checkouts import FoundCheckout
from earnest.web.links import Link, LinkKind, Links, LinkUnknown

AnyRequest = Request[Any, Any, Any]


class Visit(msgspec.Struct, frozen=True):
    """Whose link it is, and what it opened."""

    token: str
    link: Link
    found: FoundCheckout

    @property
    def is_over(self) -> bool:
        """Whether the link has ended."""
        return self.found.now >= self.link.expires_at


class Back(msgspec.Struct, frozen=True):
    """The site of the partner, to go back to."""

    url: str
    host: str


async def visit_of(request: AnyRequest) -> Visit:
    """What the link of `request` opens, ended or not. Raises LinkUnknown."""
    token = request.query_params.get("token", "")
    links: Links = request.app.state.links
    opened = links.peek(token)
    if opened.kind is not LinkKind.CHECKOUT:
        raise LinkUnknown
    core: Core = request.app.state.core
    try:
        found = await checkout.find(core, opened.business, opened.subject)
    except ContractNotFound:
        raise LinkUnknown from None
    return Visit(token, opened, found)


def here(request: AnyRequest, visit: Visit, path: str = "/checkout", **query: str) -> str:
    """A page of this visit, in this language."""
    return link(request, path, token=visit.token, **query)


def callback_of(request: AnyRequest, visit: Visit) -> str | None:
    """Where the partner wants the buyer back; None for nowhere, or for where nobody may be sent."""
    url = visit.found.contract.terms.callback_url
    if not url:
        return None
    is_production = request.app.state.settings.is_production
    return url if is_allowed(url, visit.found.business, is_production=is_production) else None


def notice(
    request: AnyRequest,
    visit: Visit,
    name: str,
    *,
    status_code: int = 200,
    check: str | None = None,
    again: str | None = None,
    is_long: bool = False,
    refresh: str | None = None,
) -> Response[str]:
    """A page that says one thing: `checkout.<name>`.

    `check` is where to look again, `again` where to pay again; `refresh` looks by itself. It is a
    header: in the page it would be an element that validators of accessibility refuse.
    """
    callback = callback_of(request, visit)
    home = origin(callback) if callback else None
    contract = visit.found.contract
    return show(
        request,
        "checkout/notice.html",
        status_code=status_code,
        headers={"Refresh": refresh} if refresh else None,
        name=name,
        found=visit.found,
        total_minor=contract.charge_minor,
        currency=contract.currency,
        check=check,
        again=again,
        is_long=is_long,
        back=Back(f"{home}/", urlsplit(home).netloc) if home else None,
    )


def expired(request: AnyRequest, visit: Visit) -> Response[str]:
    """The link has ended: how to get a new one."""
    return notice(request, visit, "expired", status_code=410)
