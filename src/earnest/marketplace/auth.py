"""/api/auth: register with a mailed code, sign in, refresh, sign out, change or forget a password
(spec 4.1, D19)."""

import msgspec
from litestar import Response, Router, post
from litestar.datastructures import ResponseHeader
from litestar.params import JSONBody

from earnest.actions import accounts, password_changes
from earnest.actions.accounts import CodeExpired, WrongCode, WrongLogin
from earnest.actions.password_changes import ResetTokenInvalid
from earnest.domain.party import Role
from earnest.errors import (
    Conflict,
    Forbidden,
    InvalidField,
    InvalidToken,
    TooMany,
    Unauthenticated,
)
from earnest.marketplace.shapes import AccountRole, AccountStatus, Id, Message
from earnest.store import sessions
from earnest.web.address import address_of
from earnest.web.auth import OPEN, PUBLIC, reader
from earnest.web.guard import EarnestRequest
from earnest.web.origins import ForeignPage, require_own_page
from earnest.web.shapes import Line, tidy
from earnest.web.tokens import REFRESH_COOKIE, REFRESH_SECONDS, refresh_cookie

CODE_SENT = "OTP has been sent"
LINK_SENT = "If this address has an account, a link has been sent to it"


class Register(msgspec.Struct):
    """`role`: client or freelancer."""

    name: Line
    email: Line
    password: str
    role: Line


class UserData(msgspec.Struct):
    """The registration once more, as clients send it; what is there must match."""

    password: str
    name: Line | None = None
    email: Line | None = None
    role: Line | None = None


class VerifyCode(msgspec.Struct):
    email: Line
    otp: Line
    userData: UserData  # noqa: N815


class Address(msgspec.Struct):
    email: Line


class Credentials(msgspec.Struct):
    email: Line
    password: str


class PasswordChange(msgspec.Struct):
    email: Line
    currentPassword: str  # noqa: N815
    newPassword: str  # noqa: N815
    confirmPassword: str  # noqa: N815


class PasswordReset(msgspec.Struct):
    """`token`: from the link that was mailed."""

    token: Line
    newPassword: str  # noqa: N815
    confirmPassword: str  # noqa: N815


class User(msgspec.Struct):
    """Who signed in. The key is `id`, as clients read it."""

    id: Id
    name: str
    email: str
    status: AccountStatus
    profilePic: str  # noqa: N815


class LoggedIn(msgspec.Struct):
    message: str
    accessToken: str  # noqa: N815
    role: AccountRole
    user: User


class Refreshed(msgspec.Struct):
    accessToken: str  # noqa: N815


@post("/register", status_code=200, refuses=(Forbidden, TooMany))
async def register(request: EarnestRequest, data: JSONBody[Register]) -> Message:
    """Mail a code to the address. The answer is the same for every address."""
    name = tidy(data.name)
    if not name:
        raise InvalidField("name", "is required")
    if data.role not in ("client", "freelancer", "admin"):
        raise InvalidField("role", "must be client or freelancer")
    await accounts.register(
        request.app.state.gate,
        address_of(request),
        name=name,
        email=data.email.strip(),
        password=data.password,
        role=Role(data.role),
    )
    return Message(CODE_SENT)


@post("/verify-otp", status_code=201, refuses=(WrongCode, CodeExpired, Conflict, TooMany))
async def verify_otp(request: EarnestRequest, data: JSONBody[VerifyCode]) -> Message:
    """Make the account with the code that was mailed."""
    stated = data.userData
    await accounts.verify(
        request.app.state.gate,
        address_of(request),
        email=data.email.strip(),
        code=data.otp.strip(),
        name=None if stated.name is None else tidy(stated.name),
        stated_email=None if stated.email is None else stated.email.strip(),
        password=stated.password,
        role=stated.role,
    )
    return Message("Signup successful")


@post("/resend-otp", status_code=200, refuses=(TooMany,))
async def resend_otp(request: EarnestRequest, data: JSONBody[Address]) -> Message:
    """Mail another code; the one before is void."""
    await accounts.resend_code(
        request.app.state.gate, address_of(request), email=data.email.strip()
    )
    return Message(CODE_SENT)


@post(
    "/login",
    status_code=200,
    refuses=(WrongLogin, Forbidden, Conflict, TooMany),
    sets_cookie=True,
)
async def login(request: EarnestRequest, data: JSONBody[Credentials]) -> Response[LoggedIn]:
    """Sign in: an access token in the body, a refresh token in a cookie."""
    state = request.app.state
    signed_in = await accounts.sign_in(
        state.gate,
        address_of(request),
        email=data.email.strip(),
        password=data.password,
        refresh_seconds=REFRESH_SECONDS,
    )
    found = signed_in.login
    body = LoggedIn(
        message="Login successful",
        accessToken=state.access_tokens.issue(found.public_id, found.role, found.token_generation),
        role=found.role,
        user=User(found.public_id, found.name, found.email, found.status, found.picture),
    )
    refresh = state.refresh_tokens.issue(
        found.public_id, found.role, found.token_generation, signed_in.token_id
    )
    return Response(body, cookies=[refresh_cookie(refresh, is_https=state.is_https)])


@post(
    "/refresh-token",
    status_code=200,
    refuses=(InvalidToken, Forbidden, ForeignPage),
    cookie="needed",
    sets_cookie=True,
)
async def refresh_token(request: EarnestRequest) -> Response[Refreshed]:
    """A new access token for the refresh cookie, which is exchanged for a new one as well."""
    require_own_page(request)
    state = request.app.state
    cookie = request.cookies.get(REFRESH_COOKIE)
    if not cookie:
        raise InvalidToken
    claims = state.refresh_tokens.read(cookie)
    async with state.pool.connection() as conn:
        rotated = await sessions.rotate(conn, claims.jti, REFRESH_SECONDS)
    who = rotated.party, rotated.role, rotated.token_generation
    body = Refreshed(state.access_tokens.issue(*who))
    refresh = state.refresh_tokens.issue(*who, rotated.token_id)
    return Response(body, cookies=[refresh_cookie(refresh, is_https=state.is_https)])


@post("/logout", status_code=200, refuses=(ForeignPage,), cookie="used", sets_cookie=True)
async def logout(request: EarnestRequest) -> Response[Message]:
    """End the session of the refresh cookie. Works without one, too."""
    require_own_page(request)
    token_id = _refresh_token_id(request)
    if token_id is not None:
        async with request.app.state.pool.connection() as conn:
            await sessions.close(conn, token_id)
    return _signed_out(request)


@post(
    "/logout-all",
    status_code=200,
    access=OPEN,
    refuses=(Unauthenticated, Forbidden, ForeignPage),
    sets_cookie=True,
)
async def logout_all(request: EarnestRequest) -> Response[Message]:
    """Sign the caller, whom an access token or the refresh cookie names, out on every device.

    Access tokens are refused from the next request on, refresh tokens as well.
    """
    require_own_page(request)
    caller = await reader(request)
    if caller is None:
        raise Unauthenticated
    async with request.app.state.pool.connection() as conn, conn.transaction():
        await sessions.sign_out_everywhere(conn, caller.key, "logout everywhere")
    return _signed_out(request)


@post("/reset-password", status_code=200, refuses=(WrongLogin, Forbidden, TooMany))
async def change_password(request: EarnestRequest, data: JSONBody[PasswordChange]) -> Message:
    """Another password for whoever knows the current one. All other devices are signed out; the
    one whose refresh cookie comes along refreshes its access token."""
    await password_changes.change_password(
        request.app.state.gate,
        address_of(request),
        email=data.email.strip(),
        current=data.currentPassword,
        new=data.newPassword,
        confirmed=data.confirmPassword,
        refresh_token_id=_refresh_token_id(request),
    )
    return Message("Password has been changed")


@post("/forgot-password", status_code=200, refuses=(TooMany,))
async def forgot_password(request: EarnestRequest, data: JSONBody[Address]) -> Message:
    """Mail a link that lets its reader choose a new password. The answer is the same for every
    address."""
    settings = request.app.state.settings
    await password_changes.forgot_password(
        request.app.state.gate,
        address_of(request),
        email=data.email.strip(),
        client_url=settings.client_url or settings.public_url,
    )
    return Message(LINK_SENT)


@post("/update-new-password", status_code=200, refuses=(ResetTokenInvalid, TooMany))
async def update_new_password(request: EarnestRequest, data: JSONBody[PasswordReset]) -> Message:
    """A new password with the token of the link that was mailed. All devices are signed out."""
    await password_changes.reset_password(
        request.app.state.gate,
        address_of(request),
        token=data.token.strip(),
        new=data.newPassword,
        confirmed=data.confirmPassword,
    )
    return Message("Password has been changed")


def _refresh_token_id(request: EarnestRequest) -> str | None:
    """The id of the token in the refresh cookie, if it is one of ours."""
    try:
        cookie = request.cookies.get(REFRESH_COOKIE, "")
        return str(request.app.state.refresh_tokens.read(cookie).jti)
    except InvalidToken:
        return None


def _signed_out(request: EarnestRequest) -> Response[Message]:
    return Response(
        Message("Logout successful"),
        cookies=[refresh_cookie("", is_https=request.app.state.is_https)],
    )


router = Router(
    "/api/auth",
    route_handlers=[
        register,
        verify_otp,
        resend_otp,
        login,
        refresh_token,
        logout,
        logout_all,
        change_password,
        forgot_password,
        update_new_password,
    ],
    # What is answered here signs people in: no cache may keep it.
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    opt={"access": PUBLIC},
    tags=["Accounts"],
)
