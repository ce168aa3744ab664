"""A **connection** of the HTTP server: what is refused before any request reaches a handler.

Invariant: nobody holds a connection by sending slowly, and every request that gets through has
one reading only: one Host, which is ours, and one statement of its body's length.
"""

import asyncio
from http import HTTPStatus
from typing import Literal, NoReturn
from urllib.parse import urlsplit

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from earnest.settings import Settings
from earnest.web.problems import MEDIA_TYPE, Problem

HEAD_SECONDS_MAX = 4  # a client that needs longer is refused within five
BODY_SECONDS_MAX = 10
HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
HEAD_TOO_LONG = "The headers are too long."
URL_BYTES_MAX = 16 * 1024
# Probes of an orchestrator come with whatever Host they like.
ANY_HOST = (b"/healthz", b"/readyz")
LOOPBACK = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration, with the `hosts` that requests may be for."""

    hosts: frozenset[bytes] = LOOPBACK


def hosts_of(settings: Settings) -> frozenset[bytes]:
    """The host of the public URL; in the sandbox the names of loopback, too."""
    name = urlsplit(settings.public_url).hostname or ""
    own = frozenset({f"[{name}]".encode() if ":" in name else name.encode("idna")})
    return own if settings.is_production else own | LOOPBACK


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's fast protocol with deadlines, limits and one reading of a request.

    A request that arrives in one piece, as they usually do, costs no timer.
    """

    config: ServerConfig
    _phase: Literal["idle", "head", "body"] = "idle"
    _timed: Literal["idle", "head", "body"] = "idle"
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _refusal: tuple[HTTPStatus, str] = (HTTPStatus.BAD_REQUEST, "This is not HTTP.")

    # -- deadlines --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._time("idle")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began_before = self._phase == "head"
        super().data_received(data)
        phase = self._phase
        if began_before and phase == "head":
            # Still not its end, so all of `data` is head. A piece that ends the head may hold
            # a body as well: `_check_head` has counted the headers alone.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG)
                return
        if phase == "idle" and (self.cycle is None or self.cycle.response_complete):
            phase = "head"  # empty lines before a request: its head is still to come
        if phase != self._timed:
            self._time(phase)

    def on_message_begin(self) -> None:
        self._phase = "head"
        self._head_bytes = 0
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._phase = "idle"
        super().on_message_complete()

    def _time(self, phase: Literal["idle", "head", "body"]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._timed = phase
        if phase != "idle":
            seconds = HEAD_SECONDS_MAX if phase == "head" else BODY_SECONDS_MAX
            self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self.cycle is not None and self.cycle.response_started and self._phase == "body":
            self.transport.close()  # it has its answer already
        else:
            self._answer(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive.")

    # -- one reading ------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        self._phase = "body"
        self._check_head()
        super().on_headers_complete()

    def _check_head(self) -> None:
        hosts: list[bytes] = []
        lengths = encodings = total_bytes = 0
        for name, value in self.headers:
            total_bytes += len(name) + len(value)
            if name == b"host":
                hosts.append(value)
            elif name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                encodings += 1
        if len(self.url) > URL_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "The URL is too long.")
        if total_bytes > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG)
        if lengths + encodings > 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "The length of the body is stated twice.")
        if len(hosts) != 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "A request needs one Host header.")
        if _name_of(hosts[0]) not in self.config.hosts and not self.url.startswith(ANY_HOST):
            self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server is not known by that Host; its operator sets EARNEST_PUBLIC_URL.",
            )

    def _refuse(self, status: HTTPStatus, text: str) -> NoReturn:
        """Out of the parser's callback; it then reports, and `send_400_response` answers."""
        self._refusal = (status, text)
        raise ValueError(text)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words, not ours
        self._answer(*self._refusal)

    def _answer(self, status: HTTPStatus, text: str) -> None:
        """The last words on this connection."""
        self._time("idle")
        if self.transport.is_closing():
            return
        code = status.name.lower()
        body = msgspec.json.encode(
            Problem(
                status.phrase, status.value, text, text, text, code, f"urn:earnest:problem:{code}"
            )
        )
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _name_of(host: bytes) -> bytes:
    """The name in a Host header: b"Example.com:8000" -> b"example.com"."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
