"""**Calls**: requests as values, which a client of either kind carries out.

Invariant: a call's bytes are made once, so every attempt of it is the same request; whatever
changes something has an idempotency key, so that it is done once however often it is sent.
"""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec

from earnest_client.errors import UnexpectedAnswer

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

_encoder = msgspec.json.Encoder(decimal_format="number")


class Call(msgspec.Struct, Generic[Answer_co], frozen=True, kw_only=True):
    """One request. `read` makes of a successful answer's body what the caller gets; `key` is its
    Idempotency-Key, None for a question; `is_public`: it needs no token."""

    method: str
    path: str
    read: Callable[[bytes], Answer_co]
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    key: str | None = None
    is_public: bool = False


class _Envelope(msgspec.Struct, Generic[Answer]):
    data: Answer


def ask(path: str, kind: type[Answer], **query: object) -> Call[Answer]:
    """A question; what is None in `query` is left out."""
    return Call(
        method="GET",
        path=path,
        read=_reader(kind),
        query={name: str(value) for name, value in query.items() if value is not None},
    )


def tell(
    path: str, kind: type[Answer], body: Any, key: str | None, method: str = "POST"
) -> Call[Answer]:
    """A change, under this key or a new one; what is None in `body` is left out."""
    sent = None
    if body is not None:
        sent = _encoder.encode({name: item for name, item in body.items() if item is not None})
    return Call(
        method=method,
        path=path,
        read=_reader(kind),
        body=sent,
        key=str(uuid4()) if key is None else key,
    )


def turned(call: Call[Answer], page: int) -> Call[Answer]:
    """The same question for another page of its answer."""
    return msgspec.structs.replace(call, query={**call.query, "page": str(page)})


def segment(text: str) -> str:
    """One segment of a path, whatever is in it."""
    return quote(text, safe="") or "%20"


def bare(kind: type[Answer]) -> Callable[[bytes], Answer]:
    """A reader of a body without an envelope. It raises UnexpectedAnswer."""
    decoder = msgspec.json.Decoder(kind)

    def read(body: bytes) -> Answer:
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer(f"The answer is not what was expected: {error}") from error

    return read


def _reader(kind: type[Answer]) -> Callable[[bytes], Answer]:
    any_kind: Any = kind  # which mypy does not take to be hashable
    enveloped = _enveloped(any_kind)

    def read(body: bytes) -> Answer:
        answer: Answer = enveloped(body).data
        return answer

    return read


@functools.cache
def _enveloped(kind: Any) -> Callable[[bytes], _Envelope[Any]]:
    return bare(_Envelope[kind])


# -- what is sent -----------------------------------------------------------------------------


def exact(amount: Decimal | int, name: str) -> Decimal:
    """An amount in major units. Raises TypeError for a float: it cannot hold one; ValueError."""
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise TypeError(f"{name} must be a Decimal or an int, not {type(amount).__name__}")
    made = Decimal(amount)
    if not made.is_finite():
        raise ValueError(f"{name} must be a number, not {made}")
    return Decimal(format(made, "f"))


def instant(at: datetime, name: str) -> str:
    """2026-06-01T00:00:00.000000Z. Raises ValueError for a time that is nowhere in particular."""
    if at.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, for example datetime.UTC")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
