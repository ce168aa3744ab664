"""`POST /webhook`: signed payment events, from Stripe and from the sandbox alike."""

import time

import structlog
from litestar import Response, post
from litestar.enums import MediaType

from earnest.actions import hints
from earnest.actions.core import ANY_ACTION
from earnest.actions.payments import take_event
from earnest.errors import InvalidSignature, MalformedBody
from earnest.providers import signature
from earnest.providers.events import HINTS, parse_event
from earnest.web.auth import PUBLIC
from earnest.web.guard import BodyTooLarge, EarnestRequest

EVENT_BYTES_MAX = 256 * 1024

log = structlog.get_logger()


WARNINGS_A_SECOND = 20


class _Refusals:
    """Warns of refused events, WARNINGS_A_SECOND at most: whoever sends thousands shall not fill
    the log, nor keep this process busy writing it. Those in between are counted."""

    def __init__(self) -> None:
        self._second = self._lines = self._silent = 0

    def warn(self, reason: str, size_bytes: int) -> None:
        """One event was refused, for this reason."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines == WARNINGS_A_SECOND:
            self._silent += 1
            return
        self._lines += 1
        told, self._silent = self._silent, 0
        more = {"count": told} if told else {}
        log.warning("payment event refused", reason=reason, bytes=size_bytes, **more)


_refusals = _Refusals()


@post(
    "/webhook",
    status_code=200,
    media_type=MediaType.TEXT,
    request_max_body_size=EVENT_BYTES_MAX,
    access=PUBLIC,
    refuses=(InvalidSignature, MalformedBody, BodyTooLarge, *ANY_ACTION),
    signed=True,
    straight=True,
    tags=["Payments"],
)
async def webhook(request: EarnestRequest) -> Response[str]:
    """Take a signed event. 200 means: stored and acted upon, do not send it again."""
    raw = await request.body()
    headers = [
        value
        for name, value in request.scope["headers"]
        if name == signature.HEADER.lower().encode()
    ]
    if len(headers) > 1:
        raise InvalidSignature
    header = headers[0].decode("latin-1") if headers else None
    try:
        signature.verify(raw, header, request.app.state.webhook_secrets, int(time.time()))
        event = parse_event(raw, request.app.state.core.provider_name)
    except (InvalidSignature, MalformedBody) as refused:
        _refusals.warn(refused.code, len(raw))
        raise
    take = hints.hear if event.kind in HINTS else take_event
    await take(request.app.state.core, event, raw)
    return Response("received", media_type=MediaType.TEXT)
