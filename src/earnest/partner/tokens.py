"""**Partner tokens**: what a business's client calls the API with, and what else we sign.

A token is an `at+jwt` (RFC 9068) signed with RS256. Verification is strict, as that of the
marketplace's: the one header we write, a key of ours by its id, the one spelling of the
signature, every claim present and of its type, a lifetime no longer than we give. Nothing in a
token says where to get a key. Invariant: a token that `read` names somebody by was issued here,
to that client, less than a day ago; whether the client is still let in is for the database.
"""

import re
import secrets
import time
from base64 import urlsafe_b64decode
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from litestar import Response, get

from earnest.domain.party import Actor, Role
from earnest.errors import InvalidToken
from earnest.ids import PublicId
from earnest.partner.signing import Jwk, SigningKey, SigningKeys, encode
from earnest.sealing import Sealer
from earnest.store.businesses import Client
from earnest.store.db import Pool
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.wire import WireResponse

AUDIENCE: Final = "earnest-partner"
ACCESS = "at+jwt"
TOKEN_SECONDS = 24 * 3600
CLOCK_LEEWAY_SECONDS = 5
TOKEN_CHARACTERS_MAX = 2_048
KNOWN_MAX = 2_048
"""Tokens that are remembered as verified, two kilobytes each."""
KEYS_SECONDS = 300
"""For how long others may keep the published keys; a new one signs no earlier than a day on."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. All of it is required. `business` is a key, `generation` that of the
    client's tokens (table api_client)."""

    iss: str
    sub: Annotated[str, msgspec.Meta(pattern=r"\Aec_[0-9a-z]{24}\Z")]
    aud: Literal["earnest-partner"]
    client_id: str
    iat: int
    exp: int
    jti: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    business: Annotated[int, msgspec.Meta(ge=2, lt=2**31)]
    generation: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class _Known(msgspec.Struct, frozen=True):
    """A token that the key `kid` has signed, and whom it names while it lasts."""

    kid: str
    claims: Claims
    actor: Actor


class PartnerTokens:
    """Issues and verifies tokens; `public_url` is who we are to others."""

    def __init__(self, pool: Pool, sealer: Sealer, public_url: str) -> None:
        self.keys = SigningKeys(pool, sealer)
        self._issuer = public_url.rstrip("/")
        # A token comes again and again: what cannot change about it is verified once.
        self._known: dict[str, _Known] = {}

    async def issue(self, client: Client) -> str:
        """A token for `client`, good from now on while that generation of its tokens lasts."""
        now = int(time.time())
        claims = Claims(
            iss=self._issuer,
            sub=client.client_id,
            aud=AUDIENCE,
            client_id=client.client_id,
            iat=now,
            exp=now + TOKEN_SECONDS,
            jti=secrets.token_hex(16),
            business=client.business,
            generation=client.token_generation,
        )
        return self._signed(await self.keys.signer(), ACCESS, claims)

    async def sign(self, claims: dict[str, Any], typ: str) -> str:
        """Another statement of ours, as a JWT that the published keys verify.

        `typ` tells it from access tokens and from every other kind; `claims` need an `exp`,
        at most `signing.SIGNED_LIVES_SECONDS` from now.
        """
        if typ == ACCESS:
            raise ValueError("access tokens are made by issue")
        return self._signed(await self.keys.signer(), typ, claims)

    async def read(self, token: str) -> Actor:
        """The client that this token names; InvalidToken for one that is not good."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise InvalidToken
        known = self._known.get(token)
        kid = known.kid if known else _kid_of(token.partition(".")[0])
        # The key is asked for each time: it may have expired since the token was verified.
        key = await self.keys.find(kid)
        if key is None:
            raise InvalidToken
        if known is None:
            known = self._remember(token, key)
        now = time.time()
        if known.claims.iat > now + CLOCK_LEEWAY_SECONDS or known.claims.exp <= now:
            raise InvalidToken
        return known.actor

    def _remember(self, token: str, key: SigningKey) -> "_Known":
        claims = self._verify(token, key)
        actor = Actor(Role.PARTNER, claims.business, PublicId(""), claims.generation)
        known = self._known[token] = _Known(key.kid, claims, actor)
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        return known

    def _verify(self, token: str, key: SigningKey) -> Claims:
        """The claims of a token that `key` has signed, whatever the time is; else InvalidToken."""
        signed, _, signature = token.rpartition(".")
        payload = signed.partition(".")[2]
        try:
            raw_signature, raw = _decode(signature), _decode(payload)
            # Comparing the encoded text leaves no second spelling of the same signature.
            if encode(raw_signature) != signature:
                raise InvalidToken
            key.verify(raw_signature, signed.encode())
            claims = _CLAIMS.decode(raw)
        except (ValueError, InvalidSignature, msgspec.MsgspecError):
            raise InvalidToken from None
        if msgspec.json.encode(claims) != raw:
            raise InvalidToken  # signed, but not as we write: a claim twice, 1.0 for 1
        if claims.iss != self._issuer or claims.sub != claims.client_id:
            raise InvalidToken
        if not 0 < claims.exp - claims.iat <= TOKEN_SECONDS:
            raise InvalidToken
        return claims

    def _signed(self, key: SigningKey, typ: str, claims: Any) -> str:
        text = f"{_header(key.kid, typ)}.{encode(msgspec.json.encode(claims))}"
        return f"{text}.{encode(key.sign(text.encode()))}"


# -- the published keys -----------------------------------------------------------------------


class KeySet(msgspec.Struct):
    """A JWK Set (RFC 7517)."""

    keys: list[Jwk]


@get("/.well-known/jwks.json", access=PUBLIC, tags=["Partner tokens"])
async def jwks(request: EarnestRequest) -> Response[KeySet]:
    """The keys that access tokens and checkout results of partners are verified with."""
    tokens: PartnerTokens = request.app.state.partner_tokens
    return WireResponse(
        KeySet(await tokens.keys.published()),
        headers={"Cache-Control": f"public, max-age={KEYS_SECONDS}"},
    )


# -- headers ----------------------------------------------------------------------------------

_CLAIMS = msgspec.json.Decoder(Claims)
_HEADER = re.compile(rb'\{"alg":"RS256","kid":"([A-Za-z0-9_-]{43})","typ":"at\+jwt"\}')


def _header(kid: str, typ: str) -> str:
    return encode(msgspec.json.encode({"alg": "RS256", "kid": kid, "typ": typ}))


def _kid_of(header: str) -> str:
    """The key that an access token's header names. Raises InvalidToken for any other header."""
    try:
        raw = _decode(header)
    except ValueError:
        raise InvalidToken from None
    found = _HEADER.fullmatch(raw)
    if found is None or encode(raw) != header:
        raise InvalidToken
    return found[1].decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
