"""The demo's webhook **receiver**, as a partner would run one: it believes what is signed.

It knows of Standard Webhooks only what a partner reads of them, and takes nothing from the
server's own code. Invariant: what it tells of was signed with its secret within five minutes, and
it tells of each event once.
"""

import hmac
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

TOLERANCE_SECONDS = 300
BODY_BYTES_MAX = 64 * 1024


class _Data(msgspec.Struct, rename="camel"):
    contract_id: str = ""
    status: str | None = None
    previous_status: str | None = None
    amount: Decimal = Decimal(0)
    currency: str = ""


class _Event(msgspec.Struct):
    event: str
    data: _Data


class Receiver:
    """Listens on a free port of 127.0.0.1. `secret` is that of the webhook; without one it asks
    to be told later."""

    def __init__(self) -> None:
        self.secret = ""
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._untold: list[str] = []
        self._tell: Callable[[str], None] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/webhooks"

    def heard(self) -> list[str]:
        """A line for each event that nobody was told of yet, in the order in which they came."""
        with self._lock:
            lines, self._untold = self._untold, []
            return lines

    def tell(self, tell: Callable[[str], None]) -> None:
        """From now on, `tell` of each event as it comes."""
        for line in self.heard():
            tell(line)
        self._tell = tell

    @contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def take(self, headers: Any, body: bytes) -> int:
        """The status to answer a request with."""
        if not self.secret:
            return 503
        if not is_genuine(headers, body, self.secret):
            return 401
        told = msgspec.json.decode(body, type=_Event)
        with self._lock:
            if headers["webhook-id"] in self._known:
                return 200
            self._known.add(headers["webhook-id"])
            self._untold.append(_line(told))
        if self._tell is not None:
            for line in self.heard():
                self._tell(line)
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > BODY_BYTES_MAX:
                    self.send_error(413)
                    return
                self.send_response(receiver.take(self.headers, self.rfile.read(int(length))))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                """Not a word: it tells of events only."""

        return Handler


def is_genuine(headers: Any, body: bytes, secret: str) -> bool:
    """Whether one of the signatures is HMAC-SHA256 of id, timestamp and body, made just now."""
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")
    expected = f"v1,{b64encode(signed).decode()}".encode()
    given = headers.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(one, expected) for one in given):
        return False
    return at.isdigit() and abs(time.time() - int(at)) <= TOLERANCE_SECONDS


def _line(told: _Event) -> str:
    data = told.data
    if not data.contract_id:
        return f"  webhook, verified: {told.event}"
    return (
        f"  webhook, verified: {told.event:<24} {data.contract_id}"
        f"  {data.previous_status} -> {data.status}  {data.amount:,.2f} {data.currency}"
    )
