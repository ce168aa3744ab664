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


@post(
    "/webhook",
    status_code=200,
    media_type=MediaType.TEXT,
    request_max_body_size=EVENT_BYTES_MAX,
    access=PUBLIC,
    refuses=(InvalidSignature, MalformedBody, BodyTooLarge, *ANY_ACTION),
    signed=True,
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
        log.warning("payment event refused", reason=refused.code, bytes=len(raw))
        raise
    take = hints.hear if event.kind in HINTS else take_event
    await take(request.app.state.core, event, raw)
    return Response("received", media_type=MediaType.TEXT)
