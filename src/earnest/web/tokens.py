"""**Tokens**: what the marketplace signs, and the cookie that carries one of them.

A token is a JWT (HS256). One signing key per type, so that a refresh token is never taken for
an access token, nor one of the partner API for either. Verification is strict: the one header
we write, the one spelling of the signature, every claim present and of its type, a lifetime no
longer than we give. Invariant: a token that `read` returns the claims of was issued here.
"""

import functools
import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal

import msgspec
from litestar.datastructures import Cookie

from earnest.domain.party import Role
from earnest.errors import InvalidToken
from earnest.ids import PublicId

ISSUER = "earnest"
AUDIENCE = "earnest-marketplace"
REFRESH_COOKIE = "refreshToken"
REFRESH_SECONDS = 7 * 24 * 3600
CLOCK_LEEWAY_SECONDS = 5
TOKEN_CHARACTERS_MAX = 1_024
KNOWN_MAX = 2_048
"""Tokens that are remembered as verified, a kilobyte each."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. All of it is required. `jti` of a refresh token is its row's id; `gen`
    is the generation of its owner's tokens (table login)."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
    role: Literal["client", "freelancer", "admin"]
    iat: int
    exp: int
    jti: str
    gen: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
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
        # A token comes again and again: what cannot change about it is verified once.
        self._known = functools.lru_cache(maxsize=KNOWN_MAX)(self._verify)

    def issue(self, party: PublicId, role: Role, generation: int, jti: str = "") -> str:
        """A token for `party`, valid from now until that generation of its tokens is over."""
        now = int(time.time())
        claims = {
            "id": party,
            "role": role,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": jti or secrets.token_hex(16),
            "gen": generation,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": self._typ,
        }
        signed = f"{_HEADER}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, token: str) -> Claims:
        """The claims of a token that we issued and that is still valid; else InvalidToken."""
        claims = self._known(token)
        now = time.time()
        if claims.iat > now + CLOCK_LEEWAY_SECONDS or claims.exp <= now:
            raise InvalidToken
        return claims

    def _verify(self, token: str) -> Claims:
        """The claims of a token that we issued, whatever the time is; else InvalidToken."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if header != _HEADER or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise InvalidToken
        # Comparing the encoded text leaves no second spelling of the same signature.
        if not hmac.compare_digest(self._signature(signed), signature):
            raise InvalidToken
        try:
            raw = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
            claims = _CLAIMS.decode(raw)
        except (ValueError, msgspec.MsgspecError):
            raise InvalidToken from None
        if msgspec.json.encode(claims) != raw:
            raise InvalidToken  # signed, but not as we write: a claim twice, 1.0 for 1
        if claims.typ != self._typ or not claims.jti:
            raise InvalidToken
        if claims.exp - claims.iat > self.lifetime_seconds:
            raise InvalidToken
        return claims

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), hashlib.sha256))


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


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')
_CLAIMS = msgspec.json.Decoder(Claims)
