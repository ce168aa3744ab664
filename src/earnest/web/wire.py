"""How values leave: one JSON encoder, and answers that are bytes already."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import MediaType, Response

_ENCODER = msgspec.json.Encoder(decimal_format="number")

Header = tuple[bytes, bytes]
_DETOURS = ("cookies", "background", "encoded_headers", "is_head_response")

encode = _ENCODER.encode
"""A struct as JSON bytes; a Decimal becomes a JSON number."""


class Rendered:
    """An answer as it leaves: an ASGI application of two messages.

    A handler that returns `Response[...]` may return this instead.
    """

    __slots__ = ("_headers", "body", "status_code")

    def __init__(self, status_code: int, kind: bytes, body: bytes, *headers: Header) -> None:
        self.status_code = status_code
        self.body = body
        self._headers: list[Header] = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ]

    def to_asgi_response(self, app: Any, request: Any, **given: Any) -> "Rendered":  # noqa: ARG002
        """What Litestar asks of every answer; the headers of its route are added."""
        if more := given.get("headers"):
            self._headers += _encoded(more)
        return self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        """Send it."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self._headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class WireResponse(Response[Any]):
    """Litestar's response, with our encoder: what is bytes already leaves as it is."""

    def to_asgi_response(self, app: Any, request: Any, **given: Any) -> Any:
        """What Litestar sends. Its own way takes twice as long, for cookies and background tasks
        that next to none of our answers have: those go that way."""
        if self.cookies or self.background or any(map(given.get, _DETOURS)):
            return super().to_asgi_response(app, request, **given)
        status = self.status_code or given["status_code"]
        media_type = self.media_type or given.get("media_type") or MediaType.JSON
        kind = media_type.value if isinstance(media_type, MediaType) else media_type
        body = self.render(self.content, kind)
        if kind.startswith("text/"):
            kind = f"{kind}; charset=utf-8"
        headers = _encoded((given.get("headers") or {}) | self.headers)
        return Rendered(status, kind.encode(), body, *headers)

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:  # noqa: ARG002
        """The body."""
        if isinstance(content, bytes):
            return content
        if media_type.startswith("text/"):
            return str(content).encode() if content is not None else b""
        return encode(content)


def _encoded(headers: Mapping[str, str]) -> list[Header]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
