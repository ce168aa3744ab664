"""The calls about webhooks: where you hear of events, and what became of those sent."""

from datetime import datetime
from typing import Literal

from earnest_client.calls import Call, ask, instant, segment, tell
from earnest_client.documents import (
    AttemptPage,
    Delivery,
    DeliveryPage,
    Replayed,
    Webhook,
    WebhookSecret,
    WebhookTest,
)

WEBHOOKS = "/apps/api/webhooks"
PAGE_ENTRIES = 100

DeliveryStatus = Literal["pending", "succeeded", "failed"]
ReplayStatus = Literal["pending", "succeeded", "failed", "missing"]


def save_webhook(webhook_url: str, *, idempotency_key: str | None = None) -> Call[Webhook]:
    """Your webhook's URL, the first one or another. The first answer has the secret, whole; later
    ones keep it, forget all failures and enable the webhook again."""
    return tell(WEBHOOKS, Webhook, {"webhookUrl": webhook_url}, idempotency_key)


def get_webhook() -> Call[Webhook]:
    """Your webhook as it stands."""
    return ask(WEBHOOKS, Webhook)


def regenerate_webhook_secret(*, idempotency_key: str | None = None) -> Call[WebhookSecret]:
    """Another secret. For a day `verify_webhook` succeeds with the old one, too."""
    return tell(f"{WEBHOOKS}/regenerate-secret", WebhookSecret, None, idempotency_key)


def send_test_webhook(*, idempotency_key: str | None = None) -> Call[WebhookTest]:
    """Let an event webhook.test be sent to you."""
    return tell(f"{WEBHOOKS}/test", WebhookTest, None, idempotency_key)


def delete_webhook(*, idempotency_key: str | None = None) -> Call[bool]:
    """No webhook any more."""
    return tell(WEBHOOKS, bool, None, idempotency_key, method="DELETE")


def list_attempts(*, page: int = 1, page_size: int = PAGE_ENTRIES) -> Call[AttemptPage]:
    """Every attempt to reach you, newest first."""
    return ask(f"{WEBHOOKS}/logs", AttemptPage, page=page, pageSize=page_size)


def list_deliveries(
    *,
    status: DeliveryStatus | None = None,
    event: str | None = None,
    contract_id: str | None = None,
    page: int = 1,
    page_size: int = PAGE_ENTRIES,
) -> Call[DeliveryPage]:
    """What is or was to be sent to you, newest first."""
    return ask(
        f"{WEBHOOKS}/deliveries",
        DeliveryPage,
        status=status,
        event=event,
        contractId=contract_id,
        page=page,
        pageSize=page_size,
    )


def replay_delivery(delivery_id: str, *, idempotency_key: str | None = None) -> Call[Delivery]:
    """Send one event again, with the same webhook id."""
    path = f"{WEBHOOKS}/deliveries/{segment(delivery_id)}/replay"
    return tell(path, Delivery, None, idempotency_key)


def replay_events(
    *,
    event: str | None = None,
    contract_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    status: ReplayStatus | None = None,
    idempotency_key: str | None = None,
) -> Call[Replayed]:
    """Send again all events that match what is given, of which there must be something. `missing`
    are those that were never sent because no webhook was enabled."""
    body = {
        "event": event,
        "contractId": contract_id,
        "from": None if since is None else instant(since, "since"),
        "to": None if until is None else instant(until, "until"),
        "status": status,
    }
    return tell(f"{WEBHOOKS}/replay", Replayed, body, idempotency_key)
