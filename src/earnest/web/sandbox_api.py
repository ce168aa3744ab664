"""Sandbox only: the mailbox and the clock (not registered in production, hence 404 there)."""

import msgspec
from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from earnest.actions.accounts import EMAIL_CHARACTERS_MAX
from earnest.errors import InvalidField
from earnest.store import clock, mail
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest, clean_text
from earnest.web.instants import instant


class Mail(msgspec.Struct):
    """One letter. `code` and `link` repeat what stands in `text`."""

    to: str
    subject: str
    text: str
    code: str | None
    link: str | None
    sent_at: str


class Clock(msgspec.Struct):
    """Business time, and how many seconds it is ahead of real time."""

    now: str
    advance_seconds: int


class Advance(msgspec.Struct):
    advance_seconds: int


@get("/mailbox")
async def mailbox(request: EarnestRequest, to: FromQuery[str] = "") -> list[Mail]:
    """The letters to one address, newest first."""
    if not to:
        raise InvalidField("to", "is required")
    address = clean_text(to, "to", EMAIL_CHARACTERS_MAX).strip()
    async with request.app.state.pool.connection() as conn:
        letters = await mail.mailbox(conn, address.lower())
    return [
        Mail(one.recipient, one.subject, one.body, one.code, one.link, instant(one.sent_at))
        for one in letters
    ]


@get("/clock")
async def read_clock(request: EarnestRequest) -> Clock:
    """Business time."""
    async with request.app.state.pool.connection() as conn:
        return Clock(instant(await clock.now(conn)), await clock.offset_seconds(conn))


@post("/clock", status_code=200)
async def advance_clock(request: EarnestRequest, data: JSONBody[Advance]) -> Clock:
    """Move business time forward; what falls due happens within seconds."""
    async with request.app.state.pool.connection() as conn:
        offset_seconds = await clock.advance(conn, data.advance_seconds)
        return Clock(instant(await clock.now(conn)), offset_seconds)


router = Router(
    "/sandbox",
    route_handlers=[mailbox, read_clock, advance_clock],
    opt={"access": PUBLIC},
    tags=["Sandbox"],
)
