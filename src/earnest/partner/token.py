"""`POST /connect/token`: a partner's client id and secret become an access token (partner spec 2).

RFC 6749, section 4.4, to the letter but for `expires_in`, which is in minutes by the guide's own
words. The form in a body, nothing in the URL; the secret there or in HTTP Basic, never both.
Invariants: what is asked for must be unmistakable before anybody looks at the secret; an unknown
client and a wrong secret take the same way and get the same answer.
"""

import base64
import re
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from litestar import Request, Response, post

from earnest.errors import Invalid, TooMany, Unauthenticated, code_of
from earnest.partner.tokens import TOKEN_SECONDS, PartnerTokens
from earnest.store import businesses
from earnest.store.limits import CLIENT, CLIENT_ADDRESS, CLIENT_TOKEN, Charge
from earnest.web.address import address_of
from earnest.web.auth import PUBLIC
from earnest.web.guard import BodyTooLarge, EarnestRequest
from earnest.web.problems import Told
from earnest.web.wire import WireResponse

FORM_BYTES_MAX = 8 * 1024
FIELDS_MAX = 32
CREDENTIAL_CHARACTERS_MAX = 256
GRANT_TYPE = "client_credentials"
SCOPE = "escrow"
"""The one there is; who asks for none gets it, too."""
EXPIRES_IN_MINUTES = TOKEN_SECONDS // 60
CHALLENGE = 'Basic realm="earnest", charset="UTF-8"'


class InvalidRequest(Invalid):
    """Send one form: grant_type, client_id and client_secret, each once, in the body."""


class UnsupportedGrantType(Invalid):
    """grant_type must be client_credentials."""


class InvalidScope(Invalid):
    """There is no such scope: leave scope out."""


class InvalidClient(Unauthenticated):
    """Unknown client_id or wrong client_secret."""


class BlockedClient(InvalidClient):
    """This client is blocked."""


class TokenForm(msgspec.Struct):
    """A form. Id and secret may be in HTTP Basic instead."""

    grant_type: Annotated[str, msgspec.Meta(extra_json_schema={"const": GRANT_TYPE})]
    client_id: str = ""
    client_secret: str = ""
    scope: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["", SCOPE]})] = ""


class AccessToken(msgspec.Struct):
    """`expires_in` counts minutes: a token is good for 24 hours."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int = EXPIRES_IN_MINUTES


class TokenRefused(msgspec.Struct):
    """A refusal (RFC 6749, section 5.2)."""

    error: str
    error_description: str


@post(
    "/connect/token",
    status_code=200,
    access=PUBLIC,
    refuses=(
        InvalidRequest,
        UnsupportedGrantType,
        InvalidScope,
        InvalidClient,
        BlockedClient,
        BodyTooLarge,
        TooMany,
    ),
    form=TokenForm,
    tags=["Partner tokens"],
)
async def connect_token(request: EarnestRequest) -> Response[AccessToken]:
    """An access token for the partner API, good for 24 hours."""
    client_id, secret = await _asked(request)
    state = request.app.state
    tokens: PartnerTokens = state.partner_tokens
    address, limits = address_of(request), state.gate.limits
    tries = (Charge(CLIENT, (client_id, address)), Charge(CLIENT_ADDRESS, (address,)))
    async with limits.counting((InvalidClient,), *tries):
        async with state.pool.connection() as conn:
            client = await businesses.authenticate(conn, client_id, secret)
        if client is None:
            raise InvalidClient
    if client.status != "Active":
        raise BlockedClient
    await limits.charge(Charge(CLIENT_TOKEN, (client.client_id,)))
    return WireResponse(AccessToken(await tokens.issue(client)), headers=_NEVER_KEPT)


def refuse(request: Request[Any, Any, Any], told: Told) -> Response[TokenRefused]:  # noqa: ARG001
    """A refusal, whoever of us made it, in the words of RFC 6749."""
    headers = told.headers | _NEVER_KEPT
    if told.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    return WireResponse(
        TokenRefused(error_of(told.status, type(told.error)), told.text),
        status_code=told.status,
        media_type="application/json",
        headers=headers,
    )


def error_of(status: int, refusal: type[Any]) -> str:
    """The word of RFC 6749 for a refusal with this status; for what it has none, the nearest."""
    if issubclass(refusal, InvalidClient):
        return "invalid_client"
    if issubclass(refusal, (InvalidRequest, UnsupportedGrantType, InvalidScope)):
        return code_of(refusal)
    if status in (429, 503):
        return "temporarily_unavailable"
    return "server_error" if status >= 500 else "invalid_request"


_NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


# -- what is asked ----------------------------------------------------------------------------


async def _asked(request: EarnestRequest) -> tuple[str, str]:
    """Id and secret of a request that has everything else right; raises what it has wrong."""
    if request.scope["query_string"]:
        raise InvalidRequest("Nothing may be in the URL: it ends up in logs. Use the body.")
    form = _read_form(request, await request.body())
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is required.")
    if grant_type != GRANT_TYPE:
        raise UnsupportedGrantType
    client_id, secret = _credentials(request, form)
    if form.get("scope", SCOPE) != SCOPE:
        raise InvalidScope
    return client_id, secret


def _read_form(request: EarnestRequest, body: bytes) -> dict[str, str]:
    """The fields that have a value; one without counts as left out (section 3.2)."""
    headers = request.scope["headers"]
    if any(name == b"content-encoding" for name, _ in headers):
        raise InvalidRequest("The body must not be encoded.")
    kinds = [value for name, value in headers if name == b"content-type"]
    if len(kinds) != 1 or not _FORM.fullmatch(kinds[0].strip().lower()):
        raise InvalidRequest("Content-Type must be application/x-www-form-urlencoded.")
    if len(body) > FORM_BYTES_MAX:
        raise BodyTooLarge
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        raise InvalidRequest("The body is not a form in UTF-8.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequest("A field is there more than once.")
    return {name: value for name, value in form.items() if value}


def _credentials(request: EarnestRequest, form: dict[str, str]) -> tuple[str, str]:
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not given:
        for name in ("client_id", "client_secret"):
            if name not in form:
                raise InvalidRequest(f"{name} is required.")
        return _plain(form["client_id"]), _plain(form["client_secret"])
    if len(given) > 1 or "client_secret" in form:
        raise InvalidRequest("Send the client's secret in one way, not in two.")
    client_id, secret = _basic(given[0])
    if form.get("client_id", client_id) != client_id:
        raise InvalidRequest("client_id is another one than in the Authorization header.")
    return _plain(client_id), _plain(secret)


def _basic(header: bytes) -> tuple[str, str]:
    """Id and secret, which are form-encoded in there (section 2.3.1)."""
    scheme, _, encoded = header.partition(b" ")
    try:
        if scheme.lower() != b"basic":
            raise InvalidClient
        both = base64.b64decode(encoded.strip(b" "), validate=True).decode("ascii")
        client_id, colon, secret = both.partition(":")
        if not colon:
            raise InvalidClient
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise InvalidClient from None


def _plain(text: str) -> str:
    """Text that can be somebody's id or secret: it goes to the database and is counted."""
    if len(text) > CREDENTIAL_CHARACTERS_MAX or not _VISIBLE.fullmatch(text):
        raise InvalidClient
    return text


_FORM = re.compile(rb"application/x-www-form-urlencoded(?:\s*;\s*charset=\"?utf-8\"?)?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
