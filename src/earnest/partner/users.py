"""/apps/api/user: a partner's buyers and sellers, and the page on which they prove who they are.

Invariant: what a partner sends of somebody's identity is checked, kept sealed, and never answered.
"""

from datetime import datetime

import msgspec
from asyncpg import Connection
from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from earnest.actions import onboarding
from earnest.domain import identity
from earnest.domain.party import Actor, Member, Role
from earnest.domain.people import UserNotFound
from earnest.partner.binding import PartnerRequest
from earnest.partner.callbacks import check_callback
from earnest.partner.envelope import Envelope, answer
from earnest.store import businesses, clock, kyc, parties
from earnest.store.idempotency import Reply
from earnest.store.kyc import Known
from earnest.web.auth import actor, only, signed_in
from earnest.web.idempotency import carry_out, keyed, once, respond
from earnest.web.instants import instant
from earnest.web.links import LinkKind, ends_at

CREATED = "User created successfully."
RETRIEVED = "OnboardingRetrievedSuccessfully"


class NewUser(msgspec.Struct):
    """`phoneNumber`: digits with the country code; `lastName` may be empty. What is left out of
    the rest, the user is asked for on the page. `callbackUrl`: where the page leads in the end."""

    phoneNumber: str  # noqa: N815
    firstName: str  # noqa: N815
    lastName: str  # noqa: N815
    nationalId: str | None = None  # noqa: N815
    iBAN: str | None = None  # noqa: N815
    bIC: str | None = None  # noqa: N815
    dateOfBirth: str | None = None  # noqa: N815
    callbackUrl: str | None = None  # noqa: N815


class Page(msgspec.Struct):
    """A hosted page and the token that opens it, until `expiresAt`."""

    url: str
    token: str
    expiresAt: str  # noqa: N815


class CreatedUser(msgspec.Struct):
    """`kycUrl` is `kyc.url`."""

    platformRefId: str  # noqa: N815
    kycUrl: str  # noqa: N815
    kyc: Page


class Onboarding(msgspec.Struct):
    """`isVerified`: the one-time code came back from their phone; `kycCompleted`: all steps are
    done, the bank account included. `onboardingUrl` is `onboarding.url`."""

    onboardingCompleted: bool  # noqa: N815
    isVerified: bool  # noqa: N815
    kycCompleted: bool  # noqa: N815
    isBankAccountReady: bool  # noqa: N815
    onboardingUrl: str  # noqa: N815
    onboarding: Page
    platformRefId: str  # noqa: N815


@post("", status_code=200)
async def create_user(
    request: PartnerRequest, data: JSONBody[NewUser]
) -> Response[Envelope[CreatedUser]]:
    """A user of yours and a link to the page on which they prove who they are. A phone number
    that you sent before is the same user, who keeps the names stored then (E23)."""
    caller = actor(request)
    phone = identity.phone_number(data.phoneNumber, "phoneNumber")
    first_name = identity.person_name(data.firstName, "firstName")
    last_name = identity.person_name(data.lastName, "lastName", required=False)

    async def work(conn: Connection) -> Reply:
        now = await clock.now(conn)
        told = told_of(data, now)
        member = await onboarding.introduce(
            conn,
            request.app.state.sealer,
            caller.key,
            phone=phone,
            first_name=first_name,
            last_name=last_name,
            told=told,
            callback_url=await _callback(request, conn, caller, data.callbackUrl),
        )
        page = page_of(request, member, now)
        return answer(CreatedUser(member.platform_ref, page.url, page), CREATED)

    wanted = keyed(await once(request, caller), request.app.state.code_key)
    return respond(await carry_out(request.app.state.core, caller, wanted, work))


@get("/onboarding", refuses=(UserNotFound,))
async def show_onboarding(
    request: PartnerRequest,
    phoneNumber: FromQuery[str] = "",  # noqa: N803
) -> Response[Envelope[Onboarding]]:
    """How far one of your users has come, and a new link to go on with."""
    caller = await signed_in(request)
    phone = identity.phone_number(phoneNumber, "phoneNumber")
    async with request.app.state.pool.connection() as conn:
        member = await parties.find_by_phone(conn, caller.key, phone)
        if member is None:
            raise UserNotFound
        progress = await kyc.progress(conn, member.key)
    page = page_of(request, member, progress.now)
    is_completed = progress.completed_at is not None
    found = Onboarding(
        onboardingCompleted=is_completed,
        isVerified=progress.verified_at is not None,
        kycCompleted=is_completed,
        isBankAccountReady=progress.bank_account_at is not None,
        onboardingUrl=page.url,
        onboarding=page,
        platformRefId=member.platform_ref,
    )
    return respond(answer(found, RETRIEVED))


async def _callback(
    request: PartnerRequest, conn: Connection, caller: Actor, url: str | None
) -> str:
    """Where the page leads in the end, "" for nowhere. Raises InvalidField."""
    if not url:
        return ""
    business = await businesses.find(conn, caller.key)
    assert business is not None
    is_production = request.app.state.settings.is_production
    return check_callback(url, business, "callbackUrl", is_production=is_production)


def told_of(data: NewUser, now: datetime) -> Known:
    """What the partner says of who somebody is. Raises InvalidField."""
    return Known(
        national_id=identity.national_id(data.nationalId, "nationalId") if data.nationalId else "",
        born=identity.birthday(data.dateOfBirth, "dateOfBirth", now.date())
        if data.dateOfBirth
        else None,
        iban=identity.iban(data.iBAN, "iBAN") if data.iBAN else "",
        bic=identity.bic(data.bIC, "bIC") if data.bIC else "",
    )


def page_of(request: PartnerRequest, member: Member, now: datetime) -> Page:
    """A new link to the onboarding page of `member`."""
    state = request.app.state
    token = state.links.issue(LinkKind.ONBOARDING, member.business, member.public_id, now)
    url = f"{state.settings.public_url.rstrip('/')}/onboarding?token={token}"
    return Page(url, token, instant(ends_at(now)))


router = Router(
    "/apps/api/user",
    route_handlers=[create_user, show_onboarding],
    request_class=PartnerRequest,
    opt={"access": only(Role.PARTNER)},
    tags=["Users"],
)
