"""The **envelope** around every request: its id, its headers, its line in the log, its counts.

It is Litestar's own entry point, replaced: nothing wraps it, so it costs no coroutine of its own
and nothing answers outside it (but the connection's refusals, `earnest.web.connection`). Measured
with a line written and everything counted: 12 microseconds for a request.

- `X-Request-Id` is on every answer and on every line that the request causes. One that comes in
  is taken over only from a trusted proxy. Bodies do not repeat it: two refusals for the same
  reason are the same bytes, whoever asks.
- HEAD is answered as GET, without the body (RFC 9110, 9.3.2).
- Headers that tell browsers to make nothing more of an answer; what a handler has set wins.
"""

import logging
import random
import re
import time
from datetime import UTC, datetime
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.routes import HTTPRoute
from litestar.types import Message, Send

from earnest import logs
from earnest.logs import REQUEST_ID, ClientNames, RequestLine
from earnest.web.address import address_of, is_trusted, parse_address
from earnest.web.admission import Admission
from earnest.web.metrics import Metrics
from earnest.web.problems import unexpected_bytes

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_METHOD = "OTHER"
NO_ROUTE = "(none)"
"""In lines and counts, for whatever a client makes up."""

HEADERS: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
STRICT_TRANSPORT: Header = (b"strict-transport-security", b"max-age=31536000")


def headers_around(*, is_https: bool) -> tuple[Header, ...]:
    """What is on every answer, the connection's refusals included."""
    return (*HEADERS, STRICT_TRANSPORT) if is_https else HEADERS


_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class Envelope(Litestar):
    """The application. `open_envelope` completes it; `admission` says who may come in."""

    _headers: tuple[Header, ...]
    _header_names: frozenset[bytes]
    _metrics: Metrics
    _tells_requests: bool
    _client_names: ClientNames
    _trusted_proxies: tuple[str, ...]
    admission: Admission
    _methods: dict[str, bytes]
    """By path. The framework's own answer to OPTIONS names the first handler of a path only."""

    def open_envelope(
        self,
        metrics: Metrics,
        client_key: bytes,
        *,
        is_https: bool,
        trusted_proxies: tuple[str, ...],
        tells_requests: bool,
    ) -> None:
        """Before the first request. `client_key` makes names for addresses in the log."""
        self._metrics = metrics
        self._tells_requests = tells_requests
        self._client_names = ClientNames(client_key)
        self._trusted_proxies = trusted_proxies
        self._headers = headers_around(is_https=is_https)
        self._header_names = frozenset(name for name, _ in self._headers)
        self._methods = {
            route.path_format: ", ".join(route.methods).encode()
            for route in self.routes
            if isinstance(route, HTTPRoute)
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; or run through a life, which is Litestar's."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = new_request_id()
        if self._trusted_proxies:
            request_id = self._given_id(scope) or request_id
        REQUEST_ID.set(request_id)
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}
        scope["app"] = scope["litestar_app"] = self
        scope.setdefault("state", {})
        status = 0

        async def send_dressed(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._dressed(message["headers"], request_id)
                if status == 405 or scope["method"] == "OPTIONS":
                    methods = self._methods.get(scope.get("path_template", ""))
                    message["headers"] = _with_head(message["headers"], methods)
            elif is_head:
                if message.get("more_body"):
                    return
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self.asgi_handler(scope, receive, send_dressed)
        except Exception as error:
            # Where even the error renderers failed. A body that was begun stays a torso, upon
            # which the server closes the connection.
            log.error("nobody handled this", exc_info=error)
            if not status:
                await _send_unexpected(send_dressed)
        finally:
            self._tell(
                "HEAD" if is_head else scope["method"], scope, request_id, status or 500, begun
            )

    def _given_id(self, scope: dict[str, Any]) -> str | None:
        """The one well-formed X-Request-Id that a trusted proxy has sent along."""
        peer = parse_address(scope["client"][0]) if scope.get("client") else None
        if peer is None or not is_trusted(peer, self._trusted_proxies):
            return None
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        if len(given) == 1 and _GIVEN_ID.fullmatch(given[0]):
            return str(given[0], "ascii")
        return None

    def _client(self, scope: Any) -> str:
        """Who asks, in eight hex digits."""
        if self._trusted_proxies:
            return self._client_names(address_of(ASGIConnection(scope)))
        client = scope.get("client")
        return self._client_names(client[0]) if client else ""

    def _dressed(self, given: Any, request_id: str) -> list[Header]:
        names = {name for name, _ in given}
        own = (b"x-request-id", request_id.encode())
        if names.isdisjoint(self._header_names):
            return [*given, own, *self._headers]
        return [*given, own, *(one for one in self._headers if one[0] not in names)]

    def _tell(
        self, method: str, scope: dict[str, Any], request_id: str, status: int, begun: float
    ) -> None:
        seconds = time.perf_counter() - begun
        route = scope.get("path_template") or NO_ROUTE
        if method not in METHODS:
            method = NO_METHOD
        self._metrics.request(method, route, status, seconds)
        if self._tells_requests and logs.is_started():
            logs.tell_request(
                RequestLine(
                    time=datetime.now(UTC),
                    request_id=request_id,
                    method=method,
                    route=route,
                    status=status,
                    seconds=round(seconds, 6),
                    client=self._client(scope),
                )
            )


def new_request_id() -> str:
    """32 hex digits."""
    return f"{_random_bits(128):032x}"


def _with_head(headers: list[Header], methods: bytes | None) -> list[Header]:
    """Allow names `methods` where they are known, and HEAD wherever GET is allowed. In
    alphabetical order: the framework's is accidental."""
    return [
        (name, _allowed(methods or value) if name == b"allow" else value) for name, value in headers
    ]


def _allowed(value: bytes) -> bytes:
    methods = set(value.split(b", "))
    return b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))


async def _send_unexpected(send: Send) -> None:
    body, content_type = unexpected_bytes()
    start: Message = {
        "type": "http.response.start",
        "status": 500,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


# Told apart, not kept secret: no need for the operating system's randomness at each request.
_random_bits = random.Random(random.SystemRandom().getrandbits(256)).getrandbits  # noqa: S311
