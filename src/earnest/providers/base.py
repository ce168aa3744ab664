"""What Earnest asks of a payment provider, and what a provider tells Earnest.

A **checkout session** is a page of the provider's where a payer pays one amount once. A
**provider event** is the provider's signed word about what happened to it. Invariant: no
money is booked because a call returned or a browser came back; only an event, or a
session that was looked up, says "paid".

The interface holds what the product uses today: taking money in and giving it back. Payouts join
it together with the code that calls them.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Never, Protocol

import msgspec

from earnest.errors import MalformedBody
from earnest.providers.stripe_units import from_stripe

AMOUNT_MINOR_MAX = 2**53
DEPTH_MAX = 32
EXPIRES_IN_SECONDS_MIN = 30 * 60
EXPIRES_IN_SECONDS_MAX = 24 * 60 * 60
_CREATED_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z, where datetime ends

_ID = re.compile(r"[!-~]{1,255}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")


# -- taking money in ------------------------------------------------------------------------


class CheckoutRequest(msgspec.Struct, frozen=True):
    """One amount to collect. `expires_in_seconds` is from 30 minutes to 24 hours.

    `idempotency_key` is our own id of the operation: the same key with the same request is
    the same session, however often it is sent; `asked_at`, in business time, is when the operation
    began, and not when it is repeated. `metadata` comes back in every event.
    """

    idempotency_key: str
    amount_minor: int
    currency: str
    title: str
    metadata: dict[str, str]
    success_url: str
    cancel_url: str
    asked_at: datetime
    expires_in_seconds: int


class CheckoutSession(msgspec.Struct, frozen=True):
    """An open page: send the payer to `url` before `expires_at`, in business time."""

    id: str
    url: str
    expires_at: datetime


class CheckoutState(StrEnum):
    """Where a session stands: open, or processing (the payer is done, their bank is not),
    or for ever paid, failed or expired."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class CheckoutStatus(msgspec.Struct, frozen=True):
    """A session as the provider knows it now; `payment_id` is None until the payer is done."""

    session: CheckoutSession
    state: CheckoutState
    amount_minor: int
    currency: str
    payment_id: str | None
    metadata: dict[str, str]


class RefundRequest(msgspec.Struct, frozen=True):
    """Money of one captured payment to give back to who paid it. `payment_id` is the provider's.

    `idempotency_key` is our own id of the refund: the same key is the same refund.
    """

    idempotency_key: str
    payment_id: str
    amount_minor: int
    currency: str
    metadata: dict[str, str]


class ProviderRefundState(StrEnum):
    """PENDING: accepted, and not yet done; for ever succeeded or failed."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ProviderRefund(msgspec.Struct, frozen=True):
    """A refund as the provider knows it now."""

    id: str
    state: ProviderRefundState
    amount_minor: int
    currency: str


class Provider(Protocol):
    """A payment provider. Every method raises ProviderTransient when nothing happened and a
    repetition may help, ProviderUnknown when it may have happened: look it up."""

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """The session of `request.idempotency_key`, opened now unless it exists.

        Raises ProviderPermanent when the request is refused, ProviderKeyReused when the key was
        used for another request, ProviderKeyInUse while another call with it is under way.
        """
        ...

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        """How the session stands, None if the provider does not know it."""
        ...

    async def expire_checkout(self, session_id: str) -> None:
        """Close an open session: nobody can pay on it afterwards. Once is enough, twice is
        harmless. Raises ProviderPermanent if it is not open any more, or unknown."""
        ...

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        """The refund of `request.idempotency_key`, begun now unless it exists.

        Raises ProviderPermanent when the request is refused (an unknown payment, more than is left
        of it), or when the key was used for another request.
        """
        ...

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """How the refund of this request stands, None if the provider does not know it.

        It is known by the metadata `refundId`, which is its idempotency key.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections; nothing is asked of it afterwards."""
        ...


# -- being told -----------------------------------------------------------------------------


class EventKind(StrEnum):
    """What an event means to us, whatever the provider calls it."""

    CHECKOUT_PAID = "checkout_paid"
    CHECKOUT_UNPAID = "checkout_unpaid"
    CHECKOUT_FAILED = "checkout_failed"
    CHECKOUT_EXPIRED = "checkout_expired"
    OTHER = "other"


_COMPLETED = "checkout.session.completed"
_SUCCEEDED = "checkout.session.async_payment_succeeded"
_KINDS = {
    _COMPLETED: EventKind.CHECKOUT_UNPAID,
    _SUCCEEDED: EventKind.CHECKOUT_UNPAID,
    "checkout.session.async_payment_failed": EventKind.CHECKOUT_FAILED,
    "checkout.session.expired": EventKind.CHECKOUT_EXPIRED,
}


class ProviderEvent(msgspec.Struct, frozen=True):
    """A provider's event, read but not yet believed: compare amount, currency, both
    livemodes and account with what was asked (spec/marketplace-api.md D14).

    `paid` is true exactly for the kind checkout_paid: money was captured. An event that
    names no livemode counts as a test. `account` is the connected account that the event
    belongs to, None for our own. Everything from `session_id` on is empty in kind other;
    a paid event always has a session, an amount in minor units and a currency.
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
        _refuse('object must be "event"')
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    if not isinstance(subject, dict):
        _refuse("data.object must be an object")
    type_ = _id(event, "type")
    common = ProviderEvent(
        id=_id(event, "id"),
        type=type_,
        kind=_KINDS.get(type_, EventKind.OTHER),
        created_at=_created_at(event),
        livemode=_flag(event, "livemode") or False,
        account=_optional_id(event, "account"),
    )
    if common.kind is EventKind.OTHER:
        return common
    return _checkout_event(common, subject, provider)


def _checkout_event(
    common: ProviderEvent, session: Mapping[str, object], provider: str
) -> ProviderEvent:
    if session.get("object") != "checkout.session":
        _refuse('data.object.object must be "checkout.session"')
    kind = common.kind
    paid = False
    if common.type in (_COMPLETED, _SUCCEEDED):
        paid = _id(session, "payment_status") == "paid"
        kind = EventKind.CHECKOUT_PAID if paid else EventKind.CHECKOUT_UNPAID
    amount_minor = _amount_minor(session)
    currency = _currency(session)
    if paid and (amount_minor is None or currency is None):
        _refuse("a paid session needs amount_total and currency")
    if amount_minor is not None and currency is not None:
        try:
            amount_minor = amount_minor_of(provider, amount_minor, currency)
        except ValueError:
            _refuse("amount_total must be a whole number of the currency's units")
    return msgspec.structs.replace(
        common,
        kind=kind,
        session_id=_id(session, "id"),
        session_livemode=_flag(session, "livemode"),
        payment_id=_payment_id(session),
        amount_minor=amount_minor,
        currency=currency,
        paid=paid,
        metadata=_metadata(session),
    )


# -- strict reading -------------------------------------------------------------------------


def strict_object(raw: bytes) -> dict[str, object]:
    """`raw` as one JSON object, when there is only one way to read it.

    Raises MalformedBody for bytes that are not UTF-8, a byte order mark, a key that occurs
    twice, NaN or Infinity, nesting deeper than 32, or another value than an object.
    """
    try:
        parsed = json.loads(
            raw.decode(), object_pairs_hook=_unique_pairs, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        _refuse("the body is not UTF-8")
    except RecursionError:
        _refuse(f"the body is nested deeper than {DEPTH_MAX}")
    except ValueError:
        # Not JSON, or a number of more than 4,300 digits.
        _refuse("the body is not JSON")
    if not isinstance(parsed, dict):
        _refuse("the body must be an object")
    _refuse_depth(parsed)
    return parsed


def _refuse(why: str) -> Never:
    raise MalformedBody(f"Malformed: {why}.")


def _refuse_constant(name: str) -> Never:
    _refuse(f"{name} is not a JSON number")


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        _refuse("a key occurs twice in one object")
    return unique


def _refuse_depth(root: dict[str, object]) -> None:
    level: list[object] = [root]
    for _ in range(DEPTH_MAX):
        inside: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
        level = [value for value in inside if isinstance(value, dict | list)]
        if not level:
            return
    _refuse(f"the body is nested deeper than {DEPTH_MAX}")


def _id(of: Mapping[str, object], name: str) -> str:
    value = of.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        _refuse(f"{name} must be 1 to 255 printable ASCII characters")
    return value


def _optional_id(of: Mapping[str, object], name: str) -> str | None:
    return None if of.get(name) is None else _id(of, name)


def _payment_id(session: Mapping[str, object]) -> str | None:
    intent = session.get("payment_intent")
    # Stripe sends the id, or the whole object where expansion was asked for.
    return (
        _id(intent, "id") if isinstance(intent, dict) else _optional_id(session, "payment_intent")
    )


def _flag(of: Mapping[str, object], name: str) -> bool | None:
    value = of.get(name)
    if value is not None and not isinstance(value, bool):
        _refuse(f"{name} must be true or false")
    return value


def _integer(of: Mapping[str, object], name: str, maximum: int) -> int | None:
    value = of.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        _refuse(f"{name} must be a whole number from 0 to {maximum}")
    return value


def _amount_minor(session: Mapping[str, object]) -> int | None:
    return _integer(session, "amount_total", AMOUNT_MINOR_MAX)


def _created_at(event: Mapping[str, object]) -> datetime | None:
    seconds = _integer(event, "created", _CREATED_SECONDS_MAX)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _currency(session: Mapping[str, object]) -> str | None:
    value = session.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        _refuse("currency must be three letters")
    return value.upper()


def _metadata(session: Mapping[str, object]) -> dict[str, str]:
    given = session.get("metadata")
    if given is None:
        return {}
    if not isinstance(given, dict):
        _refuse("metadata must be an object")
    metadata: dict[str, str] = {}
    for key, value in given.items():
        if not isinstance(value, str) or not storable(key) or not storable(value):
            _refuse("metadata must map texts to texts")
        metadata[key] = value
    return metadata


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
