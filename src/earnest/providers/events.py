"""What a payment provider tells us of its own accord, in Stripe's event format.

A **provider event** is the provider's signed word about what happened to money. Invariant: no
money is booked because a call returned or a browser came back; only an event, or an object that was
looked up, says so. What is told of refunds, payouts, disputes and accounts is a **hint**: it says
where to look, and nothing more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from earnest.providers.base import AMOUNT_MINOR_MAX
from earnest.providers.strict import (
    read_currency,
    read_flag,
    read_id,
    read_integer,
    read_metadata,
    read_optional_id,
    refuse,
    strict_object,
)
from earnest.providers.stripe_units import from_stripe

_CREATED_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z, where datetime ends


class EventKind(StrEnum):
    """What an event means to us, whatever the provider calls it."""

    CHECKOUT_PAID = "checkout_paid"
    CHECKOUT_UNPAID = "checkout_unpaid"
    CHECKOUT_FAILED = "checkout_failed"
    CHECKOUT_EXPIRED = "checkout_expired"
    REFUND = "refund"
    PAYOUT = "payout"
    DISPUTE = "dispute"
    ACCOUNT = "account"
    OTHER = "other"


_COMPLETED = "checkout.session.completed"
_SUCCEEDED = "checkout.session.async_payment_succeeded"
_CAPABILITY = "capability.updated"
_OLD_REFUND = "charge.refund.updated"
_KINDS = {
    _COMPLETED: EventKind.CHECKOUT_UNPAID,
    _SUCCEEDED: EventKind.CHECKOUT_UNPAID,
    "checkout.session.async_payment_failed": EventKind.CHECKOUT_FAILED,
    "checkout.session.expired": EventKind.CHECKOUT_EXPIRED,
    "refund.created": EventKind.REFUND,
    "refund.updated": EventKind.REFUND,
    "refund.failed": EventKind.REFUND,
    _OLD_REFUND: EventKind.REFUND,
    "payout.updated": EventKind.PAYOUT,
    "payout.paid": EventKind.PAYOUT,
    "payout.failed": EventKind.PAYOUT,
    "payout.canceled": EventKind.PAYOUT,
    "charge.dispute.created": EventKind.DISPUTE,
    "charge.dispute.updated": EventKind.DISPUTE,
    "charge.dispute.closed": EventKind.DISPUTE,
    "charge.dispute.funds_withdrawn": EventKind.DISPUTE,
    "charge.dispute.funds_reinstated": EventKind.DISPUTE,
    "account.updated": EventKind.ACCOUNT,
    _CAPABILITY: EventKind.ACCOUNT,
}
_OBJECTS = {
    EventKind.REFUND: "refund",
    EventKind.PAYOUT: "payout",
    EventKind.DISPUTE: "dispute",
    EventKind.ACCOUNT: "account",
}
_REFERENCES = {EventKind.REFUND: "refundId", EventKind.PAYOUT: "payoutId"}
_UNDONE = frozenset({"failed", "canceled"})

HINTS = frozenset(_OBJECTS)
"""The kinds that say where to look, and nothing more."""

CONNECTED_EVENTS = frozenset(
    type_ for type_, kind in _KINDS.items() if kind in (EventKind.PAYOUT, EventKind.ACCOUNT)
)
"""The types that an endpoint for connected accounts has to be subscribed to."""

OWN_EVENTS = frozenset(_KINDS) - CONNECTED_EVENTS - {_OLD_REFUND}
"""The types for an endpoint of our own account. Refunds are told under one name nowadays."""


class ProviderEvent(msgspec.Struct, frozen=True):
    """A provider's event, read but not yet believed: compare amount, currency, both
    livemodes and account with what was asked (spec/marketplace-api.md D14).

    `paid` is true exactly for the kind checkout_paid: money was captured. An event that
    names no livemode counts as a test. `account` is the connected account that the event
    belongs to, None for our own. Everything from `session_id` on is empty in kind other;
    a paid event always has a session, an amount in minor units and a currency.

    A hint has an `object_id`, the provider's id of the refund, payout, dispute or account, and
    perhaps our `reference` and the `payment_id`; `undone`: what was done is not so any more.
    """

    id: str
    type: str
    kind: EventKind
    created_at: datetime | None
    livemode: bool
    account: str | None
    session_id: str | None = None
    session_livemode: bool | None = None
    payment_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    paid: bool = False
    metadata: dict[str, str] = {}
    object_id: str | None = None
    reference: str | None = None
    undone: bool = False


def amount_minor_of(provider: str, amount: int, currency: str) -> int:
    """Minor units of ISO 4217 of an `amount` as an event of `provider` tells it.

    Raises ValueError for a fraction that ISO 4217 has no unit for.
    """
    return from_stripe(amount, currency) if provider == "stripe" else amount


def parse_event(raw: bytes, provider: str = "sandbox") -> ProviderEvent:
    """The event in a body whose signature was verified, in Stripe's event format.

    Amounts are what `provider` means by them. Raises MalformedBody for everything that Stripe
    would not send: see `strict_object`, and for a field that is missing or of another type.
    """
    event = strict_object(raw)
    if event.get("object") != "event":
        refuse('object must be "event"')
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    if not isinstance(subject, dict):
        refuse("data.object must be an object")
    type_ = read_id(event, "type")
    common = ProviderEvent(
        id=read_id(event, "id"),
        type=type_,
        kind=_KINDS.get(type_, EventKind.OTHER),
        created_at=_created_at(event),
        livemode=read_flag(event, "livemode") or False,
        account=read_optional_id(event, "account"),
    )
    if common.kind is EventKind.OTHER:
        return common
    if common.kind in HINTS:
        return _hint(common, subject)
    return _checkout_event(common, subject, provider)


def _checkout_event(
    common: ProviderEvent, session: Mapping[str, object], provider: str
) -> ProviderEvent:
    if session.get("object") != "checkout.session":
        refuse('data.object.object must be "checkout.session"')
    kind = common.kind
    paid = False
    if common.type in (_COMPLETED, _SUCCEEDED):
        paid = read_id(session, "payment_status") == "paid"
        kind = EventKind.CHECKOUT_PAID if paid else EventKind.CHECKOUT_UNPAID
    amount_minor = _amount_minor(session)
    currency = read_currency(session)
    if paid and (amount_minor is None or currency is None):
        refuse("a paid session needs amount_total and currency")
    if amount_minor is not None and currency is not None:
        try:
            amount_minor = amount_minor_of(provider, amount_minor, currency)
        except ValueError:
            refuse("amount_total must be a whole number of the currency's units")
    return msgspec.structs.replace(
        common,
        kind=kind,
        session_id=read_id(session, "id"),
        session_livemode=read_flag(session, "livemode"),
        payment_id=_payment_id(session),
        amount_minor=amount_minor,
        currency=currency,
        paid=paid,
        metadata=read_metadata(session),
    )


def _hint(common: ProviderEvent, subject: Mapping[str, object]) -> ProviderEvent:
    is_capability = common.type == _CAPABILITY
    wanted = "capability" if is_capability else _OBJECTS[common.kind]
    if subject.get("object") != wanted:
        refuse(f'data.object.object must be "{wanted}"')
    reference = read_metadata(subject).get(_REFERENCES.get(common.kind, ""))
    return msgspec.structs.replace(
        common,
        object_id=read_id(subject, "account" if is_capability else "id"),
        reference=reference,
        payment_id=_payment_id(subject),
        undone=read_optional_id(subject, "status") in _UNDONE,
    )


def _payment_id(of: Mapping[str, object]) -> str | None:
    intent = of.get("payment_intent")
    # Stripe sends the id, or the whole object where expansion was asked for.
    if isinstance(intent, dict):
        return read_id(intent, "id")
    return read_optional_id(of, "payment_intent")


def _amount_minor(session: Mapping[str, object]) -> int | None:
    return read_integer(session, "amount_total", AMOUNT_MINOR_MAX)


def _created_at(event: Mapping[str, object]) -> datetime | None:
    seconds = read_integer(event, "created", _CREATED_SECONDS_MAX)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
