"""The sandbox provider's rules, pure: which step a session may take, how Stripe would word
it, when to try again, and which requests the real provider would refuse."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from earnest.domain import money
from earnest.errors import Conflict, InvalidField, ProviderPermanent, Refused
from earnest.providers.base import (
    AMOUNT_MINOR_MAX,
    EXPIRES_IN_SECONDS_MAX,
    EXPIRES_IN_SECONDS_MIN,
    CheckoutRequest,
    CheckoutState,
)
from earnest.providers.strict import storable

RETRY_DELAYS_SECONDS = (1, 5, 30, 120, 600, 3600)
"""Waits after the first failed attempts to deliver; the last one repeats."""

RETRY_FOR_SECONDS = 3 * 24 * 3600
METADATA_KEYS_MAX = 50

_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-fA-F:.]+")


class Outcome(StrEnum):
    """What the payer, their bank or time did. Unpaid: a slow bank has yet to answer."""

    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    UNPAID = "unpaid"


class Session(msgspec.Struct, frozen=True):
    """A row of sandbox.session."""

    id: str
    title: str
    amount_minor: int
    currency: str
    metadata: dict[str, str]
    success_url: str
    cancel_url: str
    state: CheckoutState
    payment_id: str | None
    created_at: datetime
    expires_at: datetime


_COMPLETED = "checkout.session.completed"
_STEPS = {
    (CheckoutState.OPEN, Outcome.PAID): (CheckoutState.PAID, _COMPLETED),
    (CheckoutState.OPEN, Outcome.UNPAID): (CheckoutState.PROCESSING, _COMPLETED),
    (CheckoutState.OPEN, Outcome.FAILED): (
        CheckoutState.FAILED,
        "checkout.session.async_payment_failed",
    ),
    (CheckoutState.OPEN, Outcome.EXPIRED): (CheckoutState.EXPIRED, "checkout.session.expired"),
    (CheckoutState.PROCESSING, Outcome.PAID): (
        CheckoutState.PAID,
        "checkout.session.async_payment_succeeded",
    ),
    (CheckoutState.PROCESSING, Outcome.FAILED): (
        CheckoutState.FAILED,
        "checkout.session.async_payment_failed",
    ),
}
AFTER = {
    Outcome.PAID: CheckoutState.PAID,
    Outcome.UNPAID: CheckoutState.PROCESSING,
    Outcome.FAILED: CheckoutState.FAILED,
    Outcome.EXPIRED: CheckoutState.EXPIRED,
}


def step(session: Session, outcome: Outcome, now: datetime) -> tuple[CheckoutState, str]:
    """The state after `outcome` and the type of its event; Conflict or Refused if not now."""
    found = _STEPS.get((session.state, outcome))
    if found is None:
        raise Conflict(f"This checkout session is {session.state}: it cannot become {outcome}.")
    if (
        session.state is CheckoutState.OPEN
        and outcome is not Outcome.EXPIRED
        and session.expires_at <= now
    ):
        raise Refused("This checkout session has expired.")
    return found


def next_attempt_at(attempts: int, created_at: datetime, now: datetime) -> datetime | None:
    """When to try again after `attempts` failed ones; None once three days have passed."""
    delay_seconds = RETRY_DELAYS_SECONDS[min(attempts, len(RETRY_DELAYS_SECONDS)) - 1]
    at = now + timedelta(seconds=delay_seconds)
    return at if at <= created_at + timedelta(seconds=RETRY_FOR_SECONDS) else None


def refuse_unusable(request: CheckoutRequest) -> None:
    """Refuse what the real provider refuses, so that nobody learns of it in production."""
    try:
        money.currency(request.currency)
    except InvalidField as error:
        raise ProviderPermanent(error.message) from error
    texts = [request.idempotency_key, request.title, *request.metadata, *request.metadata.values()]
    rules = {
        "amount_minor is out of range": 0 < request.amount_minor <= AMOUNT_MINOR_MAX,
        "idempotency_key must have 1 to 255 characters": 0 < len(request.idempotency_key) <= 255,
        "title must not be empty": bool(request.title.strip()),
        "a text cannot be stored": all(map(storable, texts)),
        "metadata has too many keys": len(request.metadata) <= METADATA_KEYS_MAX,
        "metadata keys must have 1 to 40 characters": all(
            0 < len(k) <= 40 for k in request.metadata
        ),
        "metadata values must have at most 500 characters": all(
            len(value) <= 500 for value in request.metadata.values()
        ),
        "success_url must be an http or https URL": origin(request.success_url) is not None,
        "cancel_url must be an http or https URL": origin(request.cancel_url) is not None,
        "expires_in_seconds must be from 30 minutes to 24 hours": (
            EXPIRES_IN_SECONDS_MIN <= request.expires_in_seconds <= EXPIRES_IN_SECONDS_MAX
        ),
    }
    for broken, holds in rules.items():
        if not holds:
            raise ProviderPermanent(f"The checkout session was refused: {broken}.")


def origin(url: str) -> str | None:
    """scheme://host[:port] of an absolute http(s) URL without user or control characters.

    >>> origin("https://shop.example:8443/done?x=1"), origin("javascript:alert(1)")
    ('https://shop.example:8443', None)
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not plain or not _HOST.fullmatch(host):
        return None
    bracketed = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{bracketed}" + (f":{port}" if port is not None else "")


def event_body(
    event_id: str, type_: str, subject: dict[str, Any], at: datetime, account_id: str | None = None
) -> bytes:
    """An event about `subject` as Stripe words it; `account_id` is whose it is, None if ours."""
    return msgspec.json.encode(
        {
            "id": event_id,
            "object": "event",
            "account": account_id,
            "api_version": None,
            "created": int(at.timestamp()),
            "data": {"object": subject},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }
    )


def as_stripe(session: Session) -> dict[str, Any]:
    """A session as Stripe words it in events."""
    statuses = {CheckoutState.OPEN: "open", CheckoutState.EXPIRED: "expired"}
    return {
        "id": session.id,
        "object": "checkout.session",
        "amount_subtotal": session.amount_minor,
        "amount_total": session.amount_minor,
        "cancel_url": session.cancel_url,
        "created": int(session.created_at.timestamp()),
        "currency": session.currency.lower(),
        "expires_at": int(session.expires_at.timestamp()),
        "livemode": False,
        "metadata": session.metadata,
        "mode": "payment",
        "payment_intent": session.payment_id,
        "payment_method_types": ["card"],
        "payment_status": "paid" if session.state is CheckoutState.PAID else "unpaid",
        "status": statuses.get(session.state, "complete"),
        "success_url": session.success_url,
        "url": None,
    }
