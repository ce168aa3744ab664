"""**Who is calling**: what a route asks of its caller, and the actor behind a request.

Every route declares its `access`; one hook holds all requests to that, before their body is
read. Invariants: a route that declares nothing keeps the application from starting; a token
names a party that existed when it was issued, and whether that party is blocked or signed out by
now is for the database to say, on each request.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Request
from litestar.routes import BaseRoute, HTTPRoute

from earnest.domain.party import Actor, Role
from earnest.errors import Forbidden, InvalidToken, Unauthenticated
from earnest.ids import PublicId, key_of
from earnest.store import sessions
from earnest.store.accounts import require_active
from earnest.web.tokens import REFRESH_COOKIE, Claims, Tokens


class Access(msgspec.Struct, frozen=True):
    """Who may call a route: `roles` with an access token, or anybody.

    `is_read`: anybody may look, and who says who they are is recognised (D8); `is_open`: no
    setting changes that.
    """

    roles: frozenset[Role] = frozenset()
    is_read: bool = False
    is_open: bool = False


def only(*roles: Role) -> Access:
    """`@post("/create-job", access=only(Role.CLIENT))`"""
    return Access(frozenset(roles))


PUBLIC = Access()
"""Nobody is asked who they are."""

READERS = Access(is_read=True)
"""Anybody; nobody in particular only where EARNEST_ANONYMOUS_READS is on."""

OPEN = Access(is_read=True, is_open=True)
"""Anybody, whatever that setting says: nothing is shown of people or of what they do."""

SIGNED_IN = only(Role.CLIENT, Role.FREELANCER, Role.ADMIN)


def access_of(route_handler: Any) -> Access:
    """What a handler declares."""
    found: Access = route_handler.opt["access"]
    return found


def require_declared(routes: Iterable[BaseRoute]) -> None:
    """Raises LookupError for a handler that does not say who may call it."""
    for route in routes:
        if not isinstance(route, HTTPRoute):
            raise LookupError(f"{route.path} is not for HTTP")
        for handler in route.route_handlers:
            declared = isinstance(handler.opt.get("access"), Access)
            if not declared and handler.http_methods != {"OPTIONS"}:
                raise LookupError(f"{route.path} does not say who may call it")


async def admit(request: Request[Any, Any, Any]) -> None:
    """Litestar's hook before each request: hold the caller to the route's `access`.

    Raises Unauthenticated without a token where one is needed, InvalidToken for one that is not
    good wherever one is looked at, Forbidden for another role. Asks no database.
    """
    if request.scope["method"] == "OPTIONS":
        return
    access = access_of(request.route_handler)
    if not access.roles and not access.is_read:
        return
    token = _bearer(request)
    found = None if token is None else await _known(request, access, token)
    if found is None:
        if access.roles or not (_may_be_known(request) or _may_stay_unknown(request)):
            raise Unauthenticated
        return
    if access.roles and found.role not in access.roles:
        raise Forbidden
    request.scope[_KNOWN] = found  # type: ignore[literal-required]


# -- for handlers -----------------------------------------------------------------------------


def actor(request: Request[Any, Any, Any]) -> Actor:
    """The caller, whom the route's `access` admitted.

    Asks no database: for handlers whose own load brings the account, as all loads of actions and
    `idempotency.carry_out` do.
    """
    found: Actor = request.scope[_KNOWN]  # type: ignore[literal-required]
    return found


async def signed_in(request: Request[Any, Any, Any]) -> Actor:
    """The caller, whose account is neither blocked nor signed out everywhere.

    Raises what `store.accounts.require_active` refuses.
    """
    found = actor(request)
    require_active(await request.app.state.core.loads.account(found), found)
    return found


async def viewer(request: Request[Any, Any, Any]) -> Actor | None:
    """Who looks, by bearer token or else by the refresh cookie (D8); None for nobody known.

    For handlers whose own load brings the account. A cookie that is no longer good names nobody;
    raises Unauthenticated then where the operator wants no anonymous readers.
    """
    found: Actor | None = request.scope.get(_KNOWN)  # type: ignore[assignment]
    if found is None and _may_be_known(request):
        found = await _by_cookie(request)
    if found is None and not _may_stay_unknown(request):
        raise Unauthenticated
    return found


async def reader(request: Request[Any, Any, Any]) -> Actor | None:
    """`viewer`, whose account is neither blocked nor signed out everywhere."""
    found = await viewer(request)
    if found is not None:
        require_active(await request.app.state.core.loads.account(found), found)
    return found


# -- tokens of a request ----------------------------------------------------------------------

_KNOWN = "earnest.actor"


async def _known(request: Request[Any, Any, Any], access: Access, token: str) -> Actor:
    """Whom `token` names: partners have an issuer of their own (invariant of both faces)."""
    state = request.app.state
    if Role.PARTNER in access.roles:
        partner: Actor = await state.partner_tokens.read(token)
        return partner
    tokens: Tokens = state.access_tokens
    return _actor_of(tokens.read(token))


def _bearer(request: Request[Any, Any, Any]) -> str | None:
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
    return token.strip(b" ").decode("latin-1")


async def _by_cookie(request: Request[Any, Any, Any]) -> Actor | None:
    try:
        claims = request.app.state.refresh_tokens.read(request.cookies[REFRESH_COOKIE])
    except InvalidToken:
        return None
    async with request.app.state.pool.connection() as conn:
        generation = await sessions.generation(conn, claims.jti)
    if generation is None:
        return None
    return msgspec.structs.replace(_actor_of(claims), token_generation=generation)


def _may_be_known(request: Request[Any, Any, Any]) -> bool:
    return REFRESH_COOKIE in request.cookies


def _may_stay_unknown(request: Request[Any, Any, Any]) -> bool:
    is_open: bool = access_of(request.route_handler).is_open
    return is_open or request.app.state.settings.anonymous_reads


def _actor_of(claims: Claims) -> Actor:
    party = PublicId(claims.id)
    return Actor(Role(claims.role), key_of(party), party, claims.gen)
