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

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import CacheControlHeader, State
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, JSONBody
from litestar.static_files import create_static_files_router

from earnest.actions.checkout import BuyerNotVerified, CheckoutOver, NotPayable
from earnest.checkout.pages import FORM_BYTES_MAX, form_of, go, language_of, link, show
from earnest.checkout.wording import wording
from earnest.errors import Conflict, NotFound, Refused, Unavailable
from earnest.providers.base import CheckoutState
from earnest.providers.sandbox import Completion, HostedPage, SandboxProvider
from earnest.providers.sandbox_rules import Outcome
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.problems import Problem, render

CARD_YEARS_MAX = 50
_HERE = Path(__file__).parent
_EXPIRY = re.compile(r"([0-9]{1,2}) ?[/-]? ?(20)?([0-9]{2})")
_CVC = re.compile(r"[0-9]{3}")

PageRequest = Request[object, object, State]


class Answer(StrEnum):
    """What the bank behind a test card says."""

    PAID = "paid"
    DECLINED = "declined"
    ASK = "ask"
    LATER = "later"


class Card(msgspec.Struct, frozen=True):
    """A test card: its number as printed, and what its bank says.

    `expiry` and `cvc` stand on the card of the guide (spec 5), whose date is good for ever.
    """

    number: str
    answer: Answer
    expiry: str = ""
    cvc: str = ""


CARDS = (
    Card("4242 4242 4242 4242", Answer.PAID),
    Card("5123 4500 0000 0008", Answer.PAID, "01/27", "100"),
    Card("4000 0000 0000 0002", Answer.DECLINED),
    Card("4000 0025 0000 3155", Answer.ASK),
    Card("4000 0000 0000 0077", Answer.LATER),
)
_BY_DIGITS = {card.number.replace(" ", ""): card for card in CARDS}


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
async def show_page(session_id: FromPath[str], request: PageRequest) -> Response[str]:
    """The card form while the session is open; afterwards, what became of it."""
    page = await _provider(request.app.state).find_page(session_id)
    if page is None or page.status.state is not CheckoutState.OPEN:
        return _notice(request, page)
    return _card_form(request, page, {})


@post("/pay/{session_id:str}", status_code=200)
async def pay(session_id: FromPath[str], request: PageRequest) -> Response[str]:
    """Take a card: 303 to the success URL, to the confirmation, or the form with its errors."""
    provider = _provider(request.app.state)
    page = await provider.find_page(session_id)
    if page is None or page.status.state is not CheckoutState.OPEN:
        return _after(request, page)
    form = await form_of(request)
    answer, errors = read_card(form, await provider.clock())
    if answer is None:
        return _card_form(request, page, errors, form.get("expiry", ""), status_code=400)
    if answer is Answer.DECLINED:
        errors = {"number": "card.number-declined"}
        return _card_form(request, page, errors, form.get("expiry", ""), status_code=402)
    if answer is Answer.ASK:
        return go(link(request, f"{_path(page)}/confirm"))
    outcome = Outcome.UNPAID if answer is Answer.LATER else Outcome.PAID
    return await _settle(request, page, outcome)


@get("/pay/{session_id:str}/confirm")
async def show_confirmation(session_id: FromPath[str], request: PageRequest) -> Response[str]:
    """The payer's bank asks whether it is really them (3-D Secure)."""
    page = await _provider(request.app.state).find_page(session_id)
    if page is None or page.status.state is not CheckoutState.OPEN:
        return _notice(request, page)
    return _html(request, "confirm.html", page)


@post("/pay/{session_id:str}/confirm", status_code=200)
async def confirm(session_id: FromPath[str], request: PageRequest) -> Response[str]:
    """The payer's answer to their bank: `answer=confirm` pays, anything else goes back."""
    page = await _provider(request.app.state).find_page(session_id)
    if page is None or page.status.state is not CheckoutState.OPEN:
        return _after(request, page)
    if (await form_of(request)).get("answer") != "confirm":
        return _card_form(request, page, {"number": "card.number-unconfirmed"}, status_code=402)
    return await _settle(request, page, Outcome.PAID)


async def _settle(request: PageRequest, page: HostedPage, outcome: Outcome) -> Response[str]:
    """Pay, and go on; a second submit of the same form ends at the same place."""
    try:
        await _provider(request.app.state).complete(page.status.session.id, outcome)
    except (Conflict, Refused):
        return go(link(request, _path(page)))
    return go(page.success_url)


def _after(request: PageRequest, page: HostedPage | None) -> Response[str]:
    """Where a form leads whose session is not open any more."""
    if page is None:
        return _notice(request, page)
    if page.status.state in (CheckoutState.PAID, CheckoutState.PROCESSING):
        return go(page.success_url)
    return go(link(request, _path(page)))


# -- the payer as one call ------------------------------------------------------------------


class Payer(msgspec.Struct):
    """What the payer does: paid, failed, expired or unpaid."""

    outcome: str


@post(
    "/checkout/{session_id:str}/complete",
    status_code=200,
    request_class=EarnestRequest,
    include_in_schema=True,
    refuses=(
        NotFound,
        Conflict,
        Refused,
        CheckoutOver,
        NotPayable,
        BuyerNotVerified,
        Unavailable,
    ),
    operation_id="complete_checkout",
    tags=["Sandbox"],
)
async def complete(session_id: FromPath[str], data: JSONBody[Payer], state: State) -> Completion:
    """Be the payer of a session, or of the contract that a partner's checkout token is for.

    `delivered`: the event has reached the webhook before this answer.
    """
    session = await state.session_behind(session_id)
    return await _provider(state).complete(session, data.outcome)


# -- reading --------------------------------------------------------------------------------


def read_card(form: Mapping[str, str], now: datetime) -> tuple[Answer | None, dict[str, str]]:
    """What the bank answers to the card in `form`, or None and for each wrong field the key of
    what to say about it."""
    errors: dict[str, str] = {}
    digits = re.sub(r"[ -]", "", form.get("number", ""))
    card = _BY_DIGITS.get(digits)
    if not digits:
        errors["number"] = "card.number-missing"
    elif not passes_luhn(digits):
        errors["number"] = "card.number-wrong"
    elif card is None:
        errors["number"] = "card.number-unknown"
    expiry = _EXPIRY.fullmatch(form.get("expiry", "").strip())
    if expiry is None or not 1 <= int(expiry[1]) <= 12:
        errors["expiry"] = "card.expiry-wrong"
    elif not _is_good(card, int(expiry[1]), int(expiry[3]), now):
        errors["expiry"] = "card.expiry-over"
    if not _CVC.fullmatch(form.get("cvc", "").strip()):
        errors["cvc"] = "card.cvc-wrong"
    return (card.answer if card and not errors else None), errors


def _is_good(card: Card | None, month: int, year: int, now: datetime) -> bool:
    """Whether a card is good: until the end of the month, or as it is printed on it."""
    if card is not None and card.expiry == f"{month:02}/{year:02}":
        return True
    return 0 <= _months_left(month, 2000 + year, now) < 12 * CARD_YEARS_MAX


def _months_left(month: int, year: int, now: datetime) -> int:
    """From the current month to that one."""
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


def _provider(state: State) -> SandboxProvider:
    provider = state.provider
    assert isinstance(provider, SandboxProvider)
    return provider


# -- writing --------------------------------------------------------------------------------


def _card_form(
    request: PageRequest,
    page: HostedPage,
    errors: Mapping[str, str],
    expiry: str = "",
    status_code: int = 200,
) -> Response[str]:
    # What is no expiry date is not sent back: it may be a number in the wrong field.
    expiry = expiry if _EXPIRY.fullmatch(expiry.strip()) else ""
    return _html(request, "card.html", page, status_code, errors, expiry)


def _notice(request: PageRequest, page: HostedPage | None) -> Response[str]:
    if page is None:
        return show(request, "sandbox/notice.html", status_code=404, state="unknown")
    return _html(request, "notice.html", page)


def _html(
    request: PageRequest,
    template: str,
    page: HostedPage,
    status_code: int = 200,
    errors: Mapping[str, str] | None = None,
    expiry: str = "",
) -> Response[str]:
    t = wording(language_of(request))
    amount = (page.status.amount_minor, page.status.currency)
    return show(
        request,
        f"sandbox/{template}",
        status_code=status_code,
        leads_to=page.success_url,
        page=page,
        path=_path(page),
        state=page.status.state.value,
        amount=t.money(*amount),
        amount_text=t.amount(*amount),
        errors={name: t(key) for name, key in (errors or {}).items()},
        expiry=expiry,
        cards=CARDS,
    )


def _path(page: HostedPage) -> str:
    return f"/sandbox/pay/{page.status.session.id}"
