"""How values leave: one JSON encoder, one spelling of an instant."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
from litestar import Response

_ENCODER = msgspec.json.Encoder(decimal_format="number")

encode = _ENCODER.encode
"""A struct as JSON bytes; a Decimal becomes a JSON number."""


class WireResponse(Response[Any]):
    """Litestar's response, with our encoder: what is bytes already leaves as it is."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:  # noqa: ARG002
        """The body."""
        if isinstance(content, bytes):
            return content
        if media_type.startswith("text/"):
            return str(content).encode() if content is not None else b""
        return encode(content)


def instant(at: datetime) -> str:
    """2026-05-01T09:00:00.000Z"""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def midnight(day: date) -> str:
    """A day as the instant with which it begins: 2026-05-01T00:00:00.000Z"""
    return f"{day.isoformat()}T00:00:00.000Z"
