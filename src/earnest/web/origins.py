"""**Origins**: what pages of other origins may do in a browser that is signed in here.

Invariant: the client's origin (EARNEST_CLIENT_URL) may call everything and read every answer,
refusals included; no other origin reads anything, or spends a cookie that the browser sends
along. A cookie alone does nothing but refresh a session or end one.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.types import ASGIApp

from earnest.errors import Forbidden
from earnest.settings import Settings

METHODS = b"DELETE, GET, PATCH, POST, PUT"
REQUEST_HEADERS = b"Authorization, Content-Type, Idempotency-Key"
ANSWER_HEADERS = b"Idempotent-Replayed, Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = b"600"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ForeignPage(Forbidden):
    """A page of another origin may not do this."""


def origin_of(url: str) -> str:
    """The origin of a URL as browsers write it; "" without a URL.

    >>> origin_of("https://Shop.example:443/app/")
    'https://shop.example'

    Raises ValueError for a URL that cannot be read.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def require_own_page(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """For what a cookie alone may do. Raises ForeignPage if a browser says that the request
    comes from a page that is neither the client's nor ours (nor, in the sandbox, on loopback).

    Whoever is no browser sends no Origin, and no cookie that it was not told to send.
    """
    given = [value for name, value in connection.scope["headers"] if name == b"origin"]
    if not given:
        return
    settings: Settings = connection.app.state.settings
    own = (origin_of(settings.client_url), origin_of(settings.public_url))
    origin = given[0].decode("latin-1")
    if len(given) == 1 and origin in own:
        return
    if len(given) > 1 or settings.is_production or not _is_loopback(origin):
        raise ForeignPage


def _is_loopback(origin: str) -> bool:
    try:
        return origin_of(origin) == origin and urlsplit(origin).hostname in LOOPBACK
    except ValueError:
        return False  # not a URL at all


def readable_by(client_origin: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that the client's pages may read."""
    return [
        (b"access-control-allow-origin", client_origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", ANSWER_HEADERS),
        (b"vary", b"Origin"),
    ]


class Origins:
    """The application as browsers may use it from the client's pages (CORS)."""

    def __init__(self, app: ASGIApp, client_origin: str) -> None:
        self._app = app
        self._client = client_origin.encode()
        self._answer = readable_by(self._client)
        self._preflight = [
            (b"access-control-allow-origin", self._client),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
            (b"vary", b"Origin"),
            (b"content-length", b"0"),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a preflight; let the client's pages read what is answered otherwise."""
        names = {name: value for name, value in scope.get("headers", ()) if name in _ASKED}
        if names.get(b"origin") != self._client:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in names:
            await send({"type": "http.response.start", "status": 204, "headers": self._preflight})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

        async def send_readable(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._answer]
            await send(message)

        await self._app(scope, receive, send_readable)


_ASKED = frozenset({b"origin", b"access-control-request-method"})


def host_name(host: bytes) -> bytes:
    """The name in a Host header: b"Example.com:8000" -> b"example.com"."""
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()
