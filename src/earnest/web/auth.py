"""**Who is calling**: access tokens, refresh tokens, and the actor behind a request.

Tokens are JWT (HS256). One signing key per purpose, so that a refresh token is never taken for
an access token, nor one of the partner API for either. Verification is strict: the one header
we write, the one spelling of the signature, every claim present and of its type, a lifetime no
longer than we give. Invariant: an access token names a party that existed when it was issued;
whether that party is blocked by now is for the database to say, on each request.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler

from earnest.domain.party import Actor, Role
from earnest.errors import Forbidden, InvalidToken, Unauthenticated
from earnest.ids import PublicId, key_of
from earnest.store import sessions

ISSUER = "earnest"
AUDIENCE = "earnest-marketplace"
REFRESH_COOKIE = "refreshToken"
REFRESH_SECONDS = 7 * 24 * 3600
CLOCK_LEEWAY_SECONDS = 5
TOKEN_CHARACTERS_MAX = 1_024


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. All of it is required. `jti` of a refresh token is its row's id."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
    role: Literal["client", "freelancer", "admin"]
    iat: int
    exp: int
    jti: str
    iss: Literal["earnest"]
    aud: Literal["earnest-marketplace"]
    typ: Literal["access", "refresh"]


class Tokens:
    """Issues and verifies tokens of one type.

    `key` is secret and used for nothing else; `lifetime_seconds` is what `issue` gives and the
    most that `read` takes.
    """

    def __init__(
        self, key: bytes, typ: Literal["access", "refresh"], lifetime_seconds: int
    ) -> None:
        self._key = key
        self._typ = typ
        self.lifetime_seconds = lifetime_seconds

    def issue(self, party: PublicId, role: Role, jti: str = "") -> str:
        """A token for `party`, valid from now."""
        now = int(time.time())
        claims = {
            "id": party,
            "role": role,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": jti or secrets.token_hex(16),
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": self._typ,
        }
        signed = f"{_HEADER}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, token: str) -> Claims:
        """The claims of a token that we issued and that is still valid; else InvalidToken."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if header != _HEADER or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise InvalidToken
        # Comparing the encoded text leaves no second spelling of the same signature.
        if not hmac.compare_digest(self._signature(signed), signature):
            raise InvalidToken
        try:
            claims = _CLAIMS.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (ValueError, msgspec.MsgspecError):
            raise InvalidToken from None
        now = time.time()
        if claims.typ != self._typ or not claims.jti:
            raise InvalidToken
        if claims.iat > now + CLOCK_LEEWAY_SECONDS or claims.exp <= now:
            raise InvalidToken
        if claims.exp - claims.iat > self.lifetime_seconds:
            raise InvalidToken
        return claims

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), hashlib.sha256))


def only(*roles: Role) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]:
    """A guard for routes that read a body: who may not call is told so before it is read.

    @post("/create-job", guards=[only(Role.CLIENT)])
    """

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        actor(connection, *roles)

    return guard


def actor(request: ASGIConnection[Any, Any, Any, Any], *roles: Role) -> Actor:
    """The caller, who must have one of `roles` (none given: any).

    Asks no database: account status is for the query that follows. Raises Unauthenticated
    without a bearer token, InvalidToken, or Forbidden for another role.
    """
    found = _bearer(request)
    if found is None:
        raise Unauthenticated
    if roles and found.role not in roles:
        raise Forbidden
    return found


async def maybe_actor(request: Request[Any, Any, Any]) -> Actor | None:
    """The caller of a read that needs no login (D8): a bearer token, else the refresh cookie.

    None for an anonymous caller and for a cookie that is no longer good; a bearer token that is
    no longer good is InvalidToken, upon which real clients refresh it and ask again.
    """
    found = _bearer(request)
    if found is not None:
        return found
    cookie = request.cookies.get(REFRESH_COOKIE)
    if cookie is None:
        return None
    try:
        claims = request.app.state.refresh_tokens.read(cookie)
    except InvalidToken:
        return None
    async with request.app.state.pool.connection() as conn:
        alive = await sessions.is_alive(conn, claims.jti)
    return _actor_of(claims) if alive else None


async def reader(request: Request[Any, Any, Any]) -> Actor | None:
    """`maybe_actor`, but Unauthenticated for anonymous callers where the operator wants none."""
    found = await maybe_actor(request)
    if found is None and not request.app.state.settings.anonymous_reads:
        raise Unauthenticated
    return found


def refresh_cookie(token: str, *, is_https: bool) -> Cookie:
    """The cookie that keeps a browser signed in; an empty `token` removes it."""
    return Cookie(
        key=REFRESH_COOKIE,
        value=token,
        path="/",
        httponly=True,
        secure=is_https,
        samesite="none" if is_https else "lax",
        max_age=REFRESH_SECONDS if token else 0,
    )


def _bearer(request: ASGIConnection[Any, Any, Any, Any]) -> Actor | None:
    known = request.scope.get(_KNOWN)
    if isinstance(known, Actor):
        return known
    value = None
    for name, given in request.scope["headers"]:
        if name == b"authorization":
            if value is not None:
                raise InvalidToken
            value = given
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise InvalidToken
    tokens: Tokens = request.app.state.access_tokens
    found = _actor_of(tokens.read(token.strip().decode("latin-1")))
    request.scope[_KNOWN] = found  # type: ignore[literal-required]
    return found


def _actor_of(claims: Claims) -> Actor:
    party = PublicId(claims.id)
    return Actor(Role(claims.role), key_of(party), party)


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


_KNOWN = "earnest.actor"
_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')
_CLAIMS = msgspec.json.Decoder(Claims)
