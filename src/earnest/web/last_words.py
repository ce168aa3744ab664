"""The **last words** on a connection, and the quickest: refusals of the server itself, as problems
(D9).

Invariant: whatever goes wrong before or around the application, the peer reads JSON of the same
shape that the application speaks at the path that was asked for, as far as that was understood.
"""

import functools
from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from earnest.errors import Busy
from earnest.partner.envelope import Failure
from earnest.partner.token import TokenRefused, error_of
from earnest.web.problems import MEDIA_TYPE, body_of

CLOSE = "connection: close\r\n"
METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


class Refusal(msgspec.Struct, frozen=True):
    """What is said before the connection closes. `headers` are whole lines; `code` is that of the
    status, if it has no other."""

    status: HTTPStatus
    text: str
    headers: str = ""
    code: str = ""

    def answer(
        self, around: Iterable[tuple[bytes, bytes]], url: bytes = b"", *, closes: bool = True
    ) -> bytes:
        """A whole HTTP answer with the headers `around`, after which the connection `closes`."""
        kind, body = self.spoken(url)
        line = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
        others = b"".join([b"%s: %s\r\n" % each for each in around])
        head = (
            f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"{self.headers}{CLOSE if closes else ''}"
        )
        return b"%b%b%b\r\n%b" % (line.encode(), others, head.encode(), body)

    def spoken(self, url: bytes) -> tuple[str, bytes]:
        """Media type and body, in the form of the face that `url` belongs to."""
        status = self.status.value
        code = self.code or _CODES.get(self.status, self.status.name.lower())
        if url.startswith(b"/apps/"):
            failure = Failure(self.text, status, [], succeeded=False, errors=[self.text])
            return JSON, msgspec.json.encode(failure)
        if url.startswith(b"/connect/"):
            word = error_of(status, Exception)
            return JSON, msgspec.json.encode(TokenRefused(word, self.text))
        return MEDIA_TYPE, msgspec.json.encode(body_of(status, code, self.text))


JSON = "application/json"

_REQUEST_ID = b"<the id of the request>"

# Python 3.13 gave these statuses other names; codes stay.
_CODES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "url_too_long",
}

NOT_HTTP = Refusal(HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1.")
NO_METHOD = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED, "This method is not allowed here.", f"allow: {METHODS}\r\n"
)
HEAD_TOO_LONG = Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too long.")
BODY_TOO_LARGE = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive.")
CUT_OFF = Refusal(HTTPStatus.BAD_REQUEST, "The request ended before all of it had come.")
FULL = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "There are too many connections. Try again.",
    "retry-after: 1\r\n",
)
STOPPING = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "The server is stopping. Try again.", "retry-after: 1\r\n"
)
BUSY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    Busy().message,
    f"retry-after: {Busy().retry_after_seconds}\r\n",
    Busy().code,
)
BROKEN = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")


@functools.lru_cache(maxsize=16)
def busy(around: tuple[tuple[bytes, bytes], ...], face: bytes, *, closes: bool) -> list[bytes]:
    """What whoever is too much is told, before and after the id of the request. `face` is how its
    URL begins. Said thousands of times, and made once a second, as the date in `around` is."""
    own = (b"x-request-id", _REQUEST_ID)
    return BUSY.answer((*around, own), face, closes=closes).split(_REQUEST_ID)
