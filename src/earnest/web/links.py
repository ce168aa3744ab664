"""**Links**: tokens in the URLs of hosted pages, that let whoever has one do one thing.

A token names its kind, its business, its subject and when it ends, and carries a MAC of that (keyed
BLAKE2b, RFC 7693); nothing about it is stored. Invariant: a link opens the page it was made for, of
one business and one subject, for LINK_SECONDS of business time.
"""

import hashlib
import hmac
import re
import struct
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from datetime import UTC, datetime
from enum import IntEnum

import msgspec

from earnest.errors import NotFound
from earnest.ids import PublicId

LINK_SECONDS = 600
_SIGNATURE_BYTES = 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_BODY = struct.Struct(">BI12sI")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{50}")  # 21 bytes, and 16


class LinkKind(IntEnum):
    """What a link is for. The number is part of every token."""

    CHECKOUT = 1
    ONBOARDING = 2


class LinkUnknown(NotFound):
    """This link is not valid."""


class LinkExpired(NotFound):
    """This link has expired."""


class Link(msgspec.Struct, frozen=True):
    """An opened link; `subject` is a contract's or a party's public id."""

    kind: LinkKind
    business: int
    subject: PublicId
    expires_at: datetime


class Links:
    """Issues and reads links with one secret `key`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, kind: LinkKind, business: int, subject: PublicId, now: datetime) -> str:
        """A token that is good for LINK_SECONDS from `now` (business time)."""
        body = _BODY.pack(kind, business, bytes.fromhex(subject), _end(now))
        return _encode(body + self._sign(body))

    def read(self, token: str, kind: LinkKind, now: datetime) -> Link:
        """What `token` is good for. Raises LinkUnknown, LinkExpired."""
        link = self.peek(token)
        if link.kind is not kind:
            raise LinkUnknown
        if now >= link.expires_at:
            raise LinkExpired
        return link

    def peek(self, token: str) -> Link:
        """What `token` was issued for, expired or not. Raises LinkUnknown."""
        if not _TOKEN.fullmatch(token):
            raise LinkUnknown
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        # Comparing the encoded text leaves no second spelling of the same token.
        genuine = hmac.compare_digest(self._sign(body), signature)
        if not genuine or _encode(raw) != token:
            raise LinkUnknown
        kind, business, subject, ends = _BODY.unpack(body)
        return Link(
            LinkKind(kind), business, PublicId(subject.hex()), datetime.fromtimestamp(ends, UTC)
        )

    def _sign(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def ends_at(now: datetime) -> datetime:
    """When a link that is issued `now` ends: at a whole second."""
    return datetime.fromtimestamp(_end(now), UTC)


def _end(now: datetime) -> int:
    return int(now.timestamp()) + LINK_SECONDS


def _encode(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode()
