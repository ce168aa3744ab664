"""**Links**: tokens in the URLs of hosted pages, that let whoever has one do one thing.

A token names its kind, its business, its subject and when it ends, and is signed; nothing about it
is stored. Invariant: a link opens the page it was made for, of one business and one subject, for
LINK_SECONDS of business time.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import msgspec

from earnest.errors import NotFound
from earnest.ids import PublicId

LINK_SECONDS = 600
_SIGNATURE_BYTES = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]{50}")  # 1 + 4 + 12 + 4 + 16 bytes


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
        ends = int((now + timedelta(seconds=LINK_SECONDS)).timestamp())
        body = b"".join(
            (
                kind.to_bytes(1, "big"),
                business.to_bytes(4, "big"),
                bytes.fromhex(subject),
                ends.to_bytes(4, "big"),
            )
        )
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
        return Link(
            LinkKind(body[0]),
            int.from_bytes(body[1:5], "big"),
            PublicId(body[5:17].hex()),
            datetime.fromtimestamp(int.from_bytes(body[17:21], "big"), UTC),
        )

    def expires_at(self, token: str) -> datetime:
        """When a token of ours ends."""
        return self.peek(token).expires_at

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
