"""/apps/api/webhooks: where a partner hears of its events (spec 6.1; E10, E19, E20).

Invariant: a secret is told when it is made and never again.
"""

import secrets
import string
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec
from asyncpg import Connection
from litestar import Response, Router, delete, get, post
from litestar.params import JSONBody

from earnest.errors import InvalidField, NotFound, Refused
from earnest.outbound.targets import check_url
from earnest.partner.answers import PARTNER
from earnest.partner.binding import PartnerRequest
from earnest.partner.envelope import Envelope, answer
from earnest.store import webhooks
from earnest.store.idempotency import Reply, ReplyGone
from earnest.store.webhooks import Endpoint
from earnest.web.auth import actor, signed_in
from earnest.web.idempotency import carry_out, once, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant
from earnest.worker.webhook_body import SECRET_PREFIX

SECRET_CHARACTERS = 48
_LETTERS = string.ascii_letters + string.digits


class InvalidWebhookUrl(InvalidField):
    """Invalid webhook URL"""

    noun: ClassVar[str] = "URL"  # what the guide calls it where it says what is wrong


class WebhookNotFound(NotFound):
    """Webhook not found"""


class WebhookDisabled(Refused):
    """The webhook is disabled. Send its URL again to enable it."""


class WebhookUrl(msgspec.Struct):
    """`webhookUrl`: https on port 443 or 8443 of a public host; the sandbox takes http, too."""

    webhookUrl: str  # noqa: N815


class Webhook(msgspec.Struct):
    """`secretKey` is shown when it is made, and later only how it ends. After ten deliveries in a
    row that failed, or one answered 410, `isActive` is false until the URL is sent again."""

    id: UUID
    webhookUrl: str  # noqa: N815
    secretKey: str  # noqa: N815
    isActive: bool  # noqa: N815
    consecutiveFailures: int  # noqa: N815
    lastSuccessAt: Instant | None  # noqa: N815
    lastFailureAt: Instant | None  # noqa: N815
    createdAt: Instant  # noqa: N815


class SecretMade(msgspec.Struct):
    """The new secret. For 24 hours `webhook-signature` is made with the old one, too."""

    secretKey: str  # noqa: N815


class TestQueued(msgspec.Struct):
    """`webhookId` is what the delivery will carry."""

    webhookId: UUID  # noqa: N815
    message: str


# -- the endpoint -----------------------------------------------------------------------------


@post("", status_code=200, refuses=(InvalidWebhookUrl, ReplyGone))
async def save_webhook(
    request: PartnerRequest, data: JSONBody[WebhookUrl]
) -> Response[Envelope[Webhook]]:
    """Your webhook's URL, the first one or another. Another one keeps the secret, forgets all
    failures and enables the webhook again."""
    caller = actor(request)
    settings = request.app.state.settings
    try:
        target = check_url(
            data.webhookUrl,
            allow_loopback=settings.webhook_allow_private,
            is_production=settings.is_production,
        )
    except InvalidField as error:
        expected = error.expected.replace("http or https", "HTTP or HTTPS")
        raise InvalidWebhookUrl(error.field, expected) from None
    sealer = request.app.state.sealer

    async def work(conn: Connection) -> Reply:
        new_id, secret = uuid4(), new_secret()
        sealed = sealer.seal(secret.encode(), about(new_id))
        saved = await webhooks.save(conn, caller.key, new_id, target.url, sealed)
        if saved.is_new:
            return answer(_shown(saved.endpoint, secret), "Webhook created successfully.")
        shown = _shown(saved.endpoint, _masked(request, saved.endpoint))
        return answer(shown, "Webhook updated successfully.")

    wanted = await once(request, caller)
    return respond(await carry_out(request.app.state.core, caller, wanted, work, seals=sealer))


@get("", refuses=(WebhookNotFound,))
async def show_webhook(request: PartnerRequest) -> Response[Envelope[Webhook]]:
    """Your webhook as it stands; of its secret, only how it ends."""
    caller = await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        found = await webhooks.find(conn, caller.key)
    if found is None:
        raise WebhookNotFound
    return respond(answer(_shown(found, _masked(request, found)), ""))


@post("/regenerate-secret", status_code=200, refuses=(WebhookNotFound, ReplyGone))
async def regenerate_secret(request: PartnerRequest) -> Response[Envelope[SecretMade]]:
    """Another secret, shown this once. `X-WePay-Signature` is made with it from now on."""
    secret = new_secret()
    sealer = request.app.state.sealer

    async def change(conn: Connection, endpoint: Endpoint) -> Reply:
        sealed = sealer.seal(secret.encode(), about(endpoint.id))
        await webhooks.replace_secret(conn, endpoint.id, sealed)
        return answer(SecretMade(secret), "Webhook secret regenerated successfully.")

    return await change_endpoint(request, change, is_secret=True)


@post("/test", status_code=200, refuses=(WebhookNotFound, WebhookDisabled))
async def send_test(request: PartnerRequest) -> Response[Envelope[TestQueued]]:
    """Let an event webhook.test be sent to you."""
    caller = actor(request)

    async def change(conn: Connection, endpoint: Endpoint) -> Reply:
        if not endpoint.is_active:
            raise WebhookDisabled
        queued = await webhooks.queue_test(conn, caller.key, endpoint.id)
        said = "Test webhook has been queued for delivery"
        return answer(TestQueued(queued, said), "Test webhook sent.")

    return await change_endpoint(request, change)


@delete("", status_code=200, refuses=(WebhookNotFound,))
async def delete_webhook(request: PartnerRequest) -> Response[Envelope[bool]]:
    """No webhook any more. What was not yet delivered fails; its log remains."""
    caller = actor(request)

    async def work(conn: Connection) -> Reply:
        if not await webhooks.delete(conn, caller.key):
            raise WebhookNotFound
        return answer(True, "Webhook deleted successfully.")

    wanted = await once(request, caller)
    return respond(await carry_out(request.app.state.core, caller, wanted, work))


async def change_endpoint(
    request: PartnerRequest,
    change: Callable[[Connection, Endpoint], Awaitable[Reply]],
    *,
    is_secret: bool = False,
) -> Response[Any]:
    """Let the caller change its endpoint, which nobody else changes meanwhile.

    Raises WebhookNotFound without one.
    """
    caller = actor(request)

    async def work(conn: Connection) -> Reply:
        endpoint = await webhooks.lock(conn, caller.key)
        if endpoint is None:
            raise WebhookNotFound
        return await change(conn, endpoint)

    wanted = await once(request, caller)
    seals = request.app.state.sealer if is_secret else None
    return respond(await carry_out(request.app.state.core, caller, wanted, work, seals=seals))


# -- secrets ----------------------------------------------------------------------------------


def new_secret() -> str:
    """`whsec_` and 48 random letters and digits, 285 bits (E19)."""
    return SECRET_PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(SECRET_CHARACTERS))


def about(endpoint: UUID) -> str:
    """What the secrets of an endpoint are sealed for."""
    return f"webhook:{endpoint}"


def _masked(request: PartnerRequest, endpoint: Endpoint) -> str:
    secret = request.app.state.sealer.open(endpoint.secret, about(endpoint.id)).decode()
    return f"{SECRET_PREFIX}{'*' * 8}{secret[-4:]}"


# -- shapes -----------------------------------------------------------------------------------


def _shown(endpoint: Endpoint, secret: str) -> Webhook:
    return Webhook(
        id=endpoint.id,
        webhookUrl=endpoint.url,
        secretKey=secret,
        isActive=endpoint.is_active,
        consecutiveFailures=endpoint.consecutive_failures,
        lastSuccessAt=instant_or_none(endpoint.last_success_at),
        lastFailureAt=instant_or_none(endpoint.last_failure_at),
        createdAt=instant(endpoint.created_at),
    )


def instant_or_none(at: datetime | None) -> str | None:
    return None if at is None else instant(at)


router = Router(
    "/apps/api/webhooks",
    route_handlers=[
        save_webhook,
        show_webhook,
        regenerate_secret,
        send_test,
        delete_webhook,
    ],
    request_class=PartnerRequest,
    opt={"access": PARTNER},
    tags=["Partner webhooks"],
)
