"""The **steps** of proving who one is, as pages that the onboarding and the checkout share.

    page = await show_step(request, member, business_name, action)
    page = await take_step(request, member, business_name, action)

Each is a page, or None when there is nothing (more) to show: all steps are done, or one was just
taken and the caller leads on. Invariants: of what a person typed only names and yes or no are sent
back; of a number that is known already a page shows the end, of a bank account also its bank.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from markupsafe import Markup

from earnest.actions import onboarding
from earnest.actions.accounts import CodeExpired, WrongCode
from earnest.actions.onboarding import (
    NO,
    YES,
    CodeNotSent,
    CodeTooSoon,
    Desk,
    ForeignAccount,
    Step,
    UnknownPerson,
    next_step,
)
from earnest.checkout.pages import form_of, language_of, show
from earnest.checkout.wording import Wording, wording
from earnest.domain import identity
from earnest.domain.party import Member
from earnest.errors import EarnestError, InvalidField, Refused, TooMany
from earnest.providers.kyc import TEST_PEOPLE, SandboxKyc
from earnest.store import kyc
from earnest.store.kyc import Progress

AnyRequest = Request[Any, Any, Any]

_INPUTS = {
    "firstName": "first_name",
    "lastName": "last_name",
    "nationalId": "national_id",
    "dateOfBirth": "born",
    "iBAN": "iban",
    "bIC": "bic",
}
# Which input a refusal is about; `identity.error.<code>` says what to do.
_ABOUT: dict[type[EarnestError], str] = {
    UnknownPerson: "national_id",
    ForeignAccount: "iban",
    WrongCode: "code",
    CodeExpired: "code",
    CodeTooSoon: "code",
    CodeNotSent: "code",
    TooMany: "form",
}


class Place(msgspec.Struct, frozen=True):
    """Where the steps are shown: for whose sake, where the form goes, where it all ends."""

    member: Member
    business_name: str
    action: str
    leads_to: str = ""


async def show_step(request: AnyRequest, place: Place) -> Response[str] | None:
    """The form of the next step; None when all are done."""
    desk: Desk = request.app.state.desk
    async with desk.pool.connection() as conn:
        progress = await kyc.progress(conn, place.member.key)
    step = next_step(progress)
    return None if step is None else await _page(request, place, step, progress, {}, {})


async def take_step(request: AnyRequest, place: Place) -> Response[str] | None:
    """Do what the form says; None when that is done, else the form with what to change.

    A form of another step than the next one, sent twice or from an old page, changes nothing.
    """
    desk: Desk = request.app.state.desk
    async with desk.pool.connection() as conn:
        progress = await kyc.progress(conn, place.member.key)
    step, form = next_step(progress), await form_of(request)
    if step is None or form.get("step") != step:
        return None
    try:
        await _take(desk, place.member, step, form)
    except (InvalidField, Refused, CodeNotSent, TooMany) as error:
        async with desk.pool.connection() as conn:
            progress = await kyc.progress(conn, place.member.key)
        told = _told(wording(language_of(request)), error, progress)
        status = 429 if isinstance(error, TooMany | CodeTooSoon) else 400
        return await _page(request, place, step, progress, told, form, status)
    return None


async def _take(desk: Desk, member: Member, step: Step, form: Mapping[str, str]) -> None:
    match step:
        case Step.PERSON:
            await onboarding.identify(
                desk,
                member,
                first_name=form.get("first_name", ""),
                last_name=form.get("last_name", ""),
                national_id=form.get("national_id", ""),
                born=form.get("born", ""),
            )
        case Step.QUESTIONS:
            await onboarding.answer(desk, member, form)
            await _try_to_send(desk, member)
        case Step.CODE if form.get("do") == "send":
            await onboarding.send_code(desk, member)
        case Step.CODE:
            await onboarding.check_code(desk, member, _digits(form.get("code", "")))
        case Step.BANK_ACCOUNT:
            await onboarding.add_bank_account(
                desk, member, iban=form.get("iban", ""), bic=form.get("bic", "")
            )


async def _try_to_send(desk: Desk, member: Member) -> None:
    """The next page offers to send the code if it cannot be sent by itself."""
    try:
        await onboarding.send_code(desk, member)
    except (CodeTooSoon, CodeNotSent, TooMany):
        return


def _digits(text: str) -> str:
    """A code as people type it, with blanks in it."""
    return "".join(text.split())


def _told(t: Wording, error: EarnestError, progress: Progress) -> dict[str, str]:
    """What to change, by input."""
    if isinstance(error, InvalidField):
        name = _INPUTS.get(error.field, error.field)
        key = f"identity.error.{name}" if error.field in _INPUTS else "identity.error.question"
        return {name: t.plain(key)}
    values = {"tries": progress.code_tries_left, "seconds": progress.resend_seconds}
    if isinstance(error, TooMany):
        values["minutes"] = -(-error.retry_after_seconds // 60)
    return {_ABOUT[type(error)]: t.plain(f"identity.error.{error.code}", **values)}


async def _page(
    request: AnyRequest,
    place: Place,
    step: Step,
    progress: Progress,
    errors: Mapping[str, str],
    form: Mapping[str, str],
    status_code: int = 200,
) -> Response[str]:
    desk: Desk = request.app.state.desk
    async with desk.pool.connection() as conn:
        known = await kyc.known(conn, desk.sealer, place.member.key)
    asked = []
    if step is Step.QUESTIONS:
        asked = list(await onboarding.questions(desk, language_of(request)))
    return show(
        request,
        f"identity-{step.replace('_', '-')}.html",
        status_code=status_code,
        leads_to=place.leads_to,
        place=place,
        step=step,
        steps=list(Step),
        progress=progress,
        errors=errors,
        first_name=form.get("first_name", known.first_name or place.member.first_name),
        last_name=form.get("last_name", known.last_name or place.member.last_name),
        questions=asked,
        form=form,
        yes=YES,
        no=NO,
        national_id=_masked(known.national_id, 1, 3),
        iban=_masked(known.iban, 2, 4),
        bic=known.bic,
        phone=_masked(place.member.phone, 0, 3),
        test_people=TEST_PEOPLE if isinstance(desk.provider, SandboxKyc) else (),
    )


def _masked(text: str, shown_first: int, shown_last: int) -> Markup:
    """The ends of a number, written from the left in every language; "" for no number."""
    if not text:
        return Markup()
    dotted = identity.masked(text, shown_first, shown_last)
    return Markup('<bdi dir="ltr">{}</bdi>').format(dotted)
