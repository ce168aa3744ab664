"""/api/auth: register with a mailed code, sign in, refresh, sign out (spec 4.1, D19)."""

import msgspec
from litestar import Response, Router, post
from litestar.datastructures import ResponseHeader
from litestar.params import JSONBody

from earnest.actions import accounts
from earnest.domain.party import Role
from earnest.errors import InvalidField, InvalidToken
from earnest.marketplace.shapes import Line, Message, tidy
from earnest.store import sessions
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.tokens import REFRESH_COOKIE, REFRESH_SECONDS, refresh_cookie

CODE_SENT = "OTP has been sent"


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


class User(msgspec.Struct):
    """Who signed in. The key is `id`, as clients read it."""

    id: str
    name: str
    email: str
    status: str
    profilePic: str  # noqa: N815


class LoggedIn(msgspec.Struct):
    message: str
    accessToken: str  # noqa: N815
    role: str
    user: User


class Refreshed(msgspec.Struct):
    accessToken: str  # noqa: N815


@post("/register", status_code=200)
async def register(request: EarnestRequest, data: JSONBody[Register]) -> Message:
    """Mail a code to the address. The answer is the same for every address."""
    state = request.app.state
    name = tidy(data.name)
    if not name:
        raise InvalidField("name", "is required")
    if data.role not in ("client", "freelancer", "admin"):
        raise InvalidField("role", "must be client or freelancer")
    await accounts.register(
        state.pool,
        state.passwords,
        state.code_key,
        name=name,
        email=data.email.strip(),
        password=data.password,
        role=Role(data.role),
    )
    return Message(CODE_SENT)


@post("/verify-otp", status_code=201)
async def verify_otp(request: EarnestRequest, data: JSONBody[VerifyCode]) -> Message:
    """Make the account with the code that was mailed."""
    state = request.app.state
    stated = data.userData
    await accounts.verify(
        state.pool,
        state.passwords,
        state.code_key,
        email=data.email.strip(),
        code=data.otp.strip(),
        name=None if stated.name is None else tidy(stated.name),
        stated_email=None if stated.email is None else stated.email.strip(),
        password=stated.password,
        role=stated.role,
    )
    return Message("Signup successful")


@post("/resend-otp", status_code=200)
async def resend_otp(request: EarnestRequest, data: JSONBody[Address]) -> Message:
    """Mail another code; the one before is void."""
    state = request.app.state
    await accounts.resend_code(state.pool, state.code_key, email=data.email.strip())
    return Message(CODE_SENT)


@post("/login", status_code=200)
async def login(request: EarnestRequest, data: JSONBody[Credentials]) -> Response[LoggedIn]:
    """Sign in: an access token in the body, a refresh token in a cookie."""
    state = request.app.state
    found = await accounts.authenticate(
        state.pool, state.passwords, email=data.email.strip(), password=data.password
    )
    async with state.pool.connection() as conn:
        token_id = await sessions.open_session(
            conn, found.key, found.token_generation, REFRESH_SECONDS
        )
    body = LoggedIn(
        message="Login successful",
        accessToken=state.access_tokens.issue(found.public_id, found.role, found.token_generation),
        role=found.role,
        user=User(found.public_id, found.name, found.email, found.status, found.picture),
    )
    refresh = state.refresh_tokens.issue(
        found.public_id, found.role, found.token_generation, token_id
    )
    return Response(body, cookies=[refresh_cookie(refresh, is_https=state.is_https)])


@post("/refresh-token", status_code=200)
async def refresh_token(request: EarnestRequest) -> Response[Refreshed]:
    """A new access token for the refresh cookie, which is exchanged for a new one as well."""
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


@post("/logout", status_code=200)
async def logout(request: EarnestRequest) -> Response[Message]:
    """End the session of the refresh cookie. Works without one, too."""
    state = request.app.state
    cookie = request.cookies.get(REFRESH_COOKIE)
    if cookie:
        try:
            claims = state.refresh_tokens.read(cookie)
        except InvalidToken:
            claims = None
        if claims is not None:
            async with state.pool.connection() as conn:
                await sessions.close(conn, claims.jti)
    return Response(
        Message("Logout successful"), cookies=[refresh_cookie("", is_https=state.is_https)]
    )


router = Router(
    "/api/auth",
    route_handlers=[register, verify_otp, resend_otp, login, refresh_token, logout],
    # What is answered here signs people in: no cache may keep it.
    response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
    opt={"access": PUBLIC},
    tags=["Accounts"],
)
