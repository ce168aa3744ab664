"""The sandbox provider's face: its hosted **card page**, and the payer as one JSON call.

It belongs to the provider, not to Earnest: it knows sessions and test **cards**, nothing of
contracts. Invariant: a card number is looked at while the request lasts, and neither
stored, logged nor sent back; only the documented test cards are taken.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2
import msgspec
from litestar import MediaType, Request, Response, Router, get, post
from litestar.datastructures import CacheControlHeader, State
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, JSONBody
from litestar.static_files import create_static_files_router

from earnest.domain import money
from earnest.errors import Conflict, NotFound, Refused
from earnest.providers.base import CheckoutState
from earnest.providers.sandbox import Completion, HostedPage, SandboxProvider
from earnest.providers.sandbox_rules import Outcome, origin
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.problems import Problem, render

FORM_BYTES_MAX = 8 * 1024
FORM_FIELDS_MAX = 16
CARD_YEARS_MAX = 50
_HERE = Path(__file__).parent
_EXPIRY = re.compile(r"([0-9]{1,2}) ?[/-]? ?(20)?([0-9]{2})")
_CVC = re.compile(r"[0-9]{3}")
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Answer(StrEnum):
    """What the bank behind a test card says."""

    PAID = "paid"
    DECLINED = "declined"
    ASK = "ask"
    LATER = "later"


class Card(msgspec.Struct, frozen=True):
    """A test card: its number as printed, and what happens when it is used."""

    number: str
    answer: Answer
    effect: str


CARDS = (
    Card("4242 4242 4242 4242", Answer.PAID, "Succeeds"),
    Card("4000 0000 0000 0002", Answer.DECLINED, "Is declined; you may try another card"),
    Card("4000 0025 0000 3155", Answer.ASK, "Asks for 3-D Secure confirmation"),
    Card("4000 0000 0000 0077", Answer.LATER, "Is accepted, but the bank pays later"),
)
_ANSWERS = {card.number.replace(" ", ""): card.answer for card in CARDS}


def sandbox_router() -> Router:
    """Everything of the sandbox provider under /sandbox; `state.provider` is the provider."""
    return Router(
        "/sandbox",
        route_handlers=[show_page, pay, show_confirmation, confirm, complete],
        request_max_body_size=FORM_BYTES_MAX,
        opt={"access": PUBLIC},
        include_in_schema=False,
    )


def static_router() -> Router:
    """The style sheets of all pages under /static/."""
    return create_static_files_router(
        "/static",
        directories=[_HERE / "static"],
        include_in_schema=False,
        cache_control=CacheControlHeader(max_age=3600),
        exception_handlers={
            ValueError: _no_such_file,
            InternalServerException: _no_such_file,  # what becomes of an OSError
        },
        opt={"access": PUBLIC},
    )


def _no_such_file(request: Request[Any, Any, Any], _: Exception) -> Response[Problem]:
    """The file system cannot have what was asked for: NUL in a name, or 300 characters."""
    return render(request, NotFound())


# -- the page -------------------------------------------------------------------------------


@get("/pay/{session_id:str}")
async def show_page(session_id: FromPath[str], state: State) -> Response[str]:
    """The card form while the session is open; afterwards, what became of it."""
    page = await _provider(state).find_page(session_id)
    if page is None:
        return _unknown()
    if page.status.state is not CheckoutState.OPEN:
        return _notice(page)
    return _card_form(page, {})


@post("/pay/{session_id:str}", status_code=200)
async def pay(session_id: FromPath[str], request: Request[object, object, State]) -> Response[str]:
    """Take a card: 303 to the success URL, to the confirmation, or the form with its errors."""
    provider = _provider(request.app.state)
    page = await provider.find_page(session_id)
    if page is None:
        return _unknown()
    if page.status.state is not CheckoutState.OPEN:
        return _after(page)
    form = await _form(request)
    answer, errors = read_card(form, await provider.clock())
    if answer is None:
        return _card_form(page, errors, form.get("expiry", ""), status_code=400)
    if answer is Answer.DECLINED:
        errors = {"number": "The bank declined this card. Try another one."}
        return _card_form(page, errors, form.get("expiry", ""), status_code=402)
    if answer is Answer.ASK:
        return _see_other(f"/sandbox/pay/{session_id}/confirm")
    return await _settle(provider, page, Outcome.UNPAID if answer is Answer.LATER else Outcome.PAID)


@get("/pay/{session_id:str}/confirm")
async def show_confirmation(session_id: FromPath[str], state: State) -> Response[str]:
    """The payer's bank asks whether it is really them (3-D Secure)."""
    page = await _provider(state).find_page(session_id)
    if page is None:
        return _unknown()
    if page.status.state is not CheckoutState.OPEN:
        return _notice(page)
    return _html("confirm.html", page)


@post("/pay/{session_id:str}/confirm", status_code=200)
async def confirm(
    session_id: FromPath[str], request: Request[object, object, State]
) -> Response[str]:
    """The payer's answer to their bank: `answer=confirm` pays, anything else goes back."""
    provider = _provider(request.app.state)
    page = await provider.find_page(session_id)
    if page is None:
        return _unknown()
    if page.status.state is not CheckoutState.OPEN:
        return _after(page)
    if (await _form(request)).get("answer") != "confirm":
        errors = {"number": "Your bank could not confirm that it is you. Try again."}
        return _card_form(page, errors, status_code=402)
    return await _settle(provider, page, Outcome.PAID)


async def _settle(provider: SandboxProvider, page: HostedPage, outcome: Outcome) -> Response[str]:
    """Pay, and go on; a second submit of the same form ends at the same place."""
    try:
        await provider.complete(page.status.session.id, outcome)
    except (Conflict, Refused):
        return _see_other(f"/sandbox/pay/{page.status.session.id}")
    return _see_other(page.success_url)


def _after(page: HostedPage) -> Response[str]:
    if page.status.state in (CheckoutState.PAID, CheckoutState.PROCESSING):
        return _see_other(page.success_url)
    return _see_other(f"/sandbox/pay/{page.status.session.id}")


# -- the payer as one call ------------------------------------------------------------------


class Payer(msgspec.Struct):
    """What the payer does: paid, failed, expired or unpaid."""

    outcome: str


@post(
    "/checkout/{session_id:str}/complete",
    status_code=200,
    request_class=EarnestRequest,
    include_in_schema=True,
    refuses=(NotFound, Conflict, Refused),
    operation_id="complete_checkout",
    tags=["Sandbox"],
)
async def complete(session_id: FromPath[str], data: JSONBody[Payer], state: State) -> Completion:
    """Be the payer. `delivered`: the event has reached the webhook before this answer.

    Raises what the guard and `SandboxProvider.complete` raise.
    """
    return await _provider(state).complete(session_id, data.outcome)


# -- reading --------------------------------------------------------------------------------


def read_card(form: Mapping[str, str], now: datetime) -> tuple[Answer | None, dict[str, str]]:
    """What the bank answers to the card in `form`, or None and a sentence per wrong field."""
    errors: dict[str, str] = {}
    digits = re.sub(r"[ -]", "", form.get("number", ""))
    if not digits:
        errors["number"] = "Enter a card number."
    elif not passes_luhn(digits):
        errors["number"] = "This is not a card number: check the digits."
    elif digits not in _ANSWERS:
        errors["number"] = "This sandbox takes only the test cards listed on this page."
    expiry = _EXPIRY.fullmatch(form.get("expiry", "").strip())
    if expiry is None or not 1 <= int(expiry[1]) <= 12:
        errors["expiry"] = "Enter the expiry date as MM / YY."
    elif not 0 <= _months_left(int(expiry[1]), 2000 + int(expiry[3]), now) < 12 * CARD_YEARS_MAX:
        errors["expiry"] = "The expiry date must be in the future."
    if not _CVC.fullmatch(form.get("cvc", "").strip()):
        errors["cvc"] = "Enter the 3 digits of the security code."
    return (None if errors else _ANSWERS[digits]), errors


def _months_left(month: int, year: int, now: datetime) -> int:
    """A card is good until the end of the month that is printed on it."""
    return (year - now.year) * 12 + month - now.month


def passes_luhn(digits: str) -> bool:
    """Whether 12 to 19 ASCII digits end in their check digit (ISO/IEC 7812-1).

    >>> passes_luhn("4242424242424242"), passes_luhn("4242424242424241")
    (True, False)
    """
    if not re.fullmatch(r"[0-9]{12,19}", digits):
        return False
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


async def _form(request: Request[object, object, State]) -> dict[str, str]:
    """The fields of a submitted form, the first of each; empty if it cannot be read."""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _provider(state: State) -> SandboxProvider:
    provider = state.provider
    assert isinstance(provider, SandboxProvider)
    return provider


# -- writing --------------------------------------------------------------------------------


def _card_form(
    page: HostedPage, errors: Mapping[str, str], expiry: str = "", status_code: int = 200
) -> Response[str]:
    # What is no expiry date is not sent back: it may be a number in the wrong field.
    expiry = expiry if _EXPIRY.fullmatch(expiry.strip()) else ""
    return _html("card.html", page, status_code, errors=errors, expiry=expiry, cards=CARDS)


def _notice(page: HostedPage) -> Response[str]:
    return _html("notice.html", page, state=page.status.state.value)


def _unknown() -> Response[str]:
    return _html("notice.html", None, 404, state="unknown")


def _html(
    template: str, page: HostedPage | None, status_code: int = 200, **context: object
) -> Response[str]:
    if page is not None:
        of = money.currency(page.status.currency)
        context["page"] = page
        context["amount"] = f"{of.code} {money.to_major(page.status.amount_minor, of):,f}"
        context["expires_at"] = page.status.session.expires_at
    return Response(
        _PAGES.get_template(f"sandbox/{template}").render(context),
        status_code=status_code,
        media_type=MediaType.HTML,
        headers={
            "Content-Security-Policy": _content_security_policy(page),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _content_security_policy(page: HostedPage | None) -> str:
    """Nothing but our style sheet, and forms that go nowhere else.

    Browsers hold the redirect after a form to form-action as well, so the one place where a
    paid session leads has to be named. (A policy cannot name an IPv6 address.)
    """
    form_action = "form-action 'self'"
    leads_to = origin(page.success_url) if page else None
    if leads_to and "[" not in leads_to:
        form_action += f" {leads_to}"
    return (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        f"{form_action}; base-uri 'none'; frame-ancestors 'none'"
    )


def _see_other(url: str) -> Response[str]:
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response("", status_code=303, media_type=MediaType.TEXT, headers=headers)
