"""A **connection** of the HTTP server: what is refused before any request reaches a handler.

Invariant: nobody holds a connection by sending or reading slowly, nobody takes all connections,
and a request that reaches a handler has come whole and has one reading only: one Host, which is
ours, and one statement of its body's length. What is refused here has done nothing.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal, NoReturn

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from earnest.web.address import is_trusted, parse_address
from earnest.web.admission import Admission, is_plain
from earnest.web.answering import Answering
from earnest.web.envelope import new_request_id
from earnest.web.glance import glance
from earnest.web.guard import BODY_BYTES_MAX
from earnest.web.last_words import (
    BODY_TOO_LARGE,
    CUT_OFF,
    FULL,
    HEAD_TOO_LONG,
    NO_METHOD,
    NOT_HTTP,
    STOPPING,
    TOO_SLOW,
    Refusal,
    busy,
)
from earnest.web.origins import host_name, readable_by

HEAD_SECONDS_MAX = 4  # a client that needs longer is refused within five
BODY_SECONDS_MAX = 10
READ_SECONDS_MAX = 30  # for an answer to leave, once the network takes no more of it
LINGER_SECONDS = 1  # after our last words, so that a client that still sends can read them
LINGERING_MAX = 64
HEAD_BYTES_MAX = 16 * 1024
URL_BYTES_MAX = 8 * 1024
HEADERS_MAX = 100
# A body that comes in tiny chunks is larger on the wire.
WIRE_BYTES_PER_BODY_BYTE_MAX = 8
# Probes of an orchestrator and Prometheus come with whatever Host they like.
ANY_HOST = (b"/healthz", b"/readyz", b"/metrics")
LOOPBACK = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})

_REQUEST_LINE = re.compile(rb"[A-Za-z!#$%&'*+.^_`|~0-9-]{1,40} [!-~]+ HTTP/1\.[01]\r\n")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)/")


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration, with what the protocol below needs to know.

    `hosts` are the names that requests may be for; `larger_bodies` are the paths that take more
    than `BODY_BYTES_MAX`; `proxies` may hold more than their half of `connections_max`. Refusals
    have `around` them what all answers have, and pages of `client_origin` may read them. Who would
    wait for too long is for `admission` to say.
    """

    hosts: frozenset[bytes] = LOOPBACK
    larger_bodies: Mapping[bytes, int] = {}
    connections_max: int = 1000
    proxies: tuple[str, ...] = ()
    around: tuple[tuple[bytes, bytes], ...] = ()
    client_origin: bytes = b""
    admission: Admission | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peers: Counter[str] = Counter()


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's fast protocol with deadlines, limits and one reading of a request.

    A request that arrives in one piece, as they usually do, costs no timer. A handler starts
    when its request is complete, so that one that turns out to be broken never started.
    """

    config: ServerConfig
    _phase: Literal["idle", "head", "body"] = "idle"
    _timed: Literal["idle", "head", "body"] = "idle"
    _deadline: asyncio.TimerHandle | None = None
    _closing: asyncio.TimerHandle | None = None
    _piece_began_request = False
    _wire_bytes = 0
    _header_count = 0
    _body_bytes_max = BODY_BYTES_MAX
    _refusal = NOT_HTTP
    _ended = False  # what still arrives is thrown away
    _peer_is_done = False
    _held: RequestResponseCycle | None = None  # its body is still coming
    _running: RequestResponseCycle | None = None

    # -- connections --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.config.peers[self._peer] += 1
        if len(self.connections) > self.config.connections_max + LINGERING_MAX:
            self._ended = True
            transport.abort()
        elif self._has_room():
            self._time("head")
        else:
            self._end(FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        self._time("idle")
        self._close_after(None)
        self.config.peers[self._peer] -= 1
        if not self.config.peers[self._peer]:
            del self.config.peers[self._peer]
        self.flow.read_paused = False  # nobody is to go on reading
        super().connection_lost(exc)

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _has_room(self) -> bool:
        """One address gets half of the connections at most, unless it speaks for many."""
        most = self.config.connections_max
        if len(self.connections) > most:
            return False
        if self.config.peers[self._peer] <= most // 2:
            return True
        address = parse_address(self._peer)
        return address is not None and is_trusted(address, self.config.proxies)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The peer sends no more; it may still wait for an answer."""
        self._peer_is_done = True
        if self._phase != "idle" and not self._ended:
            self._end(CUT_OFF)
        if self.cycle is None or self.cycle.response_complete or self._held is not None:
            return False
        self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        if self._held is not None and not self._ended:
            self._end(STOPPING)
        else:
            super().shutdown()

    # -- deadlines ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._ended or self._refuses_at_a_glance(data):
            return
        phase_before, self._piece_began_request = self._phase, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ended = True  # answered like any other request, and it was the last
        except httptools.HttpParserInvalidMethodError:
            self._end(NO_METHOD if _REQUEST_LINE.match(data) else NOT_HTTP)
            return
        except httptools.HttpParserError:
            self._end(self._refusal)
            return
        phase = self._phase
        if phase == phase_before != "idle" and not self._piece_began_request:
            self._wire_bytes += len(data)
            if phase == "head" and self._wire_bytes > HEAD_BYTES_MAX:
                self._end(HEAD_TOO_LONG)
                return
            if self._wire_bytes > self._body_bytes_max * WIRE_BYTES_PER_BODY_BYTE_MAX:
                self._end(BODY_TOO_LARGE)
                return
        if phase_before == "idle" and not self._piece_began_request and self._awaits_request():
            phase = "head"  # empty lines before a request: its head is still to come
        if phase != self._timed:
            self._time(phase)

    def _time(self, phase: Literal["idle", "head", "body"]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._timed = phase
        if phase != "idle":
            seconds = HEAD_SECONDS_MAX if phase == "head" else BODY_SECONDS_MAX
            self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self.flow.read_paused:
            self._time(self._timed)  # it is us who do not read: an earlier answer is due first
        else:
            self._end(TOO_SLOW)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._close_after(READ_SECONDS_MAX)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._close_after(None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close_after(READ_SECONDS_MAX)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # it never read its answer
        else:
            super().timeout_keep_alive_handler()

    def _close_after(self, seconds: float | None) -> None:
        """Cut the connection then, whatever is still to be sent; None: not any more."""
        if self._closing is not None:
            self._closing.cancel()
        abort = self.transport.abort
        self._closing = None if seconds is None else self.loop.call_later(seconds, abort)

    # -- one reading --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._phase, self._piece_began_request, self._wire_bytes = "head", True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._check_target()
        self._check_headers()
        self._wire_bytes, self._header_count = 0, len(self.headers)
        super().on_headers_complete()
        self._phase = "body"
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self.cycle.body += body
        if len(self.cycle.body) > self._body_bytes_max:
            self._refuse(BODY_TOO_LARGE.status, BODY_TOO_LARGE.text)

    def on_message_complete(self) -> None:
        if len(self.headers) != self._header_count:
            # They came after the last chunk, and would be taken for the request's own.
            self._refuse(HTTPStatus.BAD_REQUEST, "Headers come before the body.")
        self._phase = "idle"
        super().on_message_complete()
        if self._held is not None and self._held is self.cycle:
            self._start_asgi_task(self._held, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if cycle.more_body:
            self._held = cycle
            if cycle.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                cycle.waiting_for_100_continue = False
            return
        self._held = None
        admission = self.config.admission
        may_run = admission is None or admission.enter(cycle.scope)
        if admission is not None and not (may_run or self.pipeline) and is_plain(cycle.scope):
            cycle.response_started = cycle.response_complete = True
            self._say_busy(admission, self.url, closes=not cycle.keep_alive)
            return
        super()._start_asgi_task(Answering.of(cycle, self.config.around), app)

    def _refuses_at_a_glance(self, data: bytes) -> bool:
        admission = self.config.admission
        if admission is None or not admission.is_refusing:
            return False
        if self._timed != "idle" or not self._awaits_request():
            return False
        seen = glance(data)
        if seen is None or not admission.refuses(*seen):
            return False
        self._say_busy(admission, seen[1].encode(), closes=False)
        return True

    def _awaits_request(self) -> bool:
        """Whether nothing of a request has come yet, and all before it have been answered."""
        return self._phase == "idle" and (self.cycle is None or self.cycle.response_complete)

    def _say_busy(self, admission: Admission, url: bytes, *, closes: bool) -> None:
        around = (*self.server_state.default_headers, *self.config.around)
        parts = busy(around, url[: url.find(b"/", 1) + 1], closes=closes)
        self.transport.write(new_request_id().encode().join(parts))
        if closes:
            self.transport.close()
        self.on_response_complete()
        if not closes:
            admission.turns.take(self.flow)

    def _check_target(self) -> None:
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            self._refuse(NOT_HTTP.status, NOT_HTTP.text)
        if len(self.url) > URL_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "The URL is too long.")

    def _check_headers(self) -> None:
        hosts: list[bytes] = []
        length = encoding = None
        total_bytes = len(self.url)
        for name, value in self.headers:
            total_bytes += len(name) + len(value) + 4
            if name == b"host":
                hosts.append(value)
            elif name == b"content-length":
                length = self._only(length, value)
            elif name == b"transfer-encoding":
                encoding = self._only(encoding, value)
        if total_bytes > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refuse(HEAD_TOO_LONG.status, HEAD_TOO_LONG.text)
        path = self._check_host(hosts)
        if length is not None or encoding is not None:
            self._check_length(length, encoding, path)

    def _only(self, before: bytes | None, value: bytes) -> bytes:
        if before is not None:
            self._refuse(HTTPStatus.BAD_REQUEST, "The length of the body is stated twice.")
        return value

    def _check_host(self, hosts: list[bytes]) -> bytes:
        """The path of the request, which is for us."""
        if len(hosts) != 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "A request needs one Host header.")
        target = self.url
        if target[:1] != b"/":
            if self.parser.get_method() == b"CONNECT":
                self._refuse(NO_METHOD.status, NO_METHOD.text, NO_METHOD.headers)
            found = _ABSOLUTE.match(target)
            if found is None or found[1].lower() != hosts[0].lower():
                self._refuse(HTTPStatus.BAD_REQUEST, "The target of a request is a path.")
            target = target[found.end() - 1 :]
        path = target.partition(b"?")[0]
        if host_name(hosts[0]) not in self.config.hosts and path not in ANY_HOST:
            self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server is not known by that Host; its operator sets EARNEST_PUBLIC_URL.",
            )
        return path

    def _check_length(self, length: bytes | None, encoding: bytes | None, path: bytes) -> None:
        if length is not None and encoding is not None:
            self._refuse(HTTPStatus.BAD_REQUEST, "The length of the body is stated twice.")
        if encoding is not None and (
            encoding.lower() != b"chunked" or self.parser.get_http_version() == "1.0"
        ):
            self._refuse(HTTPStatus.BAD_REQUEST, "The only Transfer-Encoding is chunked.")
        if self.parser.should_upgrade():
            # The parser would leave the body to the other protocol.
            self._refuse(HTTPStatus.BAD_REQUEST, "A request to upgrade has no body.")
        self._body_bytes_max = self.config.larger_bodies.get(path, BODY_BYTES_MAX)
        if length is not None and int(length) > self._body_bytes_max:
            self._refuse(BODY_TOO_LARGE.status, BODY_TOO_LARGE.text)

    # -- last words ---------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus, text: str, headers: str = "") -> NoReturn:
        """Out of the parser's callback; `data_received` then answers."""
        self._refusal = Refusal(status, text, headers)
        raise ValueError(text)

    def _end(self, refusal: Refusal) -> None:
        """Answer with `refusal` and close; or, if earlier requests still wait for their answers,
        close after those, because ours would be taken for theirs."""
        self._time("idle")
        self._ended = True
        if self.transport.is_closing():
            return
        unanswered = self._last_unanswered()
        if unanswered is not None:
            unanswered.keep_alive = False
            return
        around = [*self.server_state.default_headers, *self.config.around]
        origin = self.config.client_origin
        if origin and (b"origin", origin) in (self.headers or ()):
            around += readable_by(origin)
        self.transport.write(refusal.answer(around, getattr(self, "url", None) or b""))
        if self._peer_is_done or refusal is TOO_SLOW:
            self.transport.close()
        else:
            self.transport.write_eof()
        self._close_after(LINGER_SECONDS)

    def _last_unanswered(self) -> RequestResponseCycle | None:
        """The newest complete request that has no answer yet."""
        if self._phase != "body":
            done = self.cycle is None or self.cycle.response_complete
            return None if done else self.cycle
        if not self.pipeline:
            return None  # the broken one is held, so nothing runs
        self.pipeline.popleft()
        return self.pipeline[0][0] if self.pipeline else self._running
