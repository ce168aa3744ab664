"""What a partner's receiver gets: the **body** of a webhook, and the headers that sign it.

Invariant: a body's bytes are what JavaScript's JSON.stringify makes of the same value, so that the
guide's receivers verify them whether they hash what came or what they parsed (decision E9, partner
spec 6.3): UTF-8 unescaped, no spaces, whole amounts as integers, no trailing zeros.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from earnest.domain.delivery import TEST_EVENT
from earnest.domain.money import CURRENCIES, to_number
from earnest.ids import PublicId, key_of
from earnest.store.deliveries import Due, Told
from earnest.web.instants import instant

SECRET_PREFIX = "whsec_"  # noqa: S105  the beginning of all of them
MOVES_MONEY = frozenset({"payment.completed", "contract.released"})
METADATA = ("metadata1", "metadata2", "metadata3", "metadata4")

_encoder = msgspec.json.Encoder(decimal_format="number")


class _Happened(msgspec.Struct):
    """What a webhook tells of an event: statuses in their API spelling, `amount` in major units
    where it is a part of the contract's, `payment` a public id, the others keys."""

    status: str | None = None
    previousStatus: str | None = None  # noqa: N815
    amount: int | Decimal | None = None
    payment: str | None = None
    milestone: int | None = None
    refund: int | None = None


class _Agreed(msgspec.Struct):
    """What it tells of a contract's terms."""

    reference: str | None = None
    metadata: dict[str, str] | None = None


_happened = msgspec.json.Decoder(_Happened)
_agreed = msgspec.json.Decoder(_Agreed)


def render(due: Due) -> bytes:
    """The body of a delivery that has none yet (partner spec 6.2)."""
    body: dict[str, Any] = {
        "id": str(due.id),
        "event": due.type,
        "createdAt": instant(due.created_at),
        "data": _test(due) if due.told is None else _data(due.told),
    }
    return json_bytes(body)


def json_bytes(value: Any) -> bytes:
    """`value` as JSON.stringify writes it; Decimals must be `plain`.

    >>> json_bytes({"amount": Decimal("686.5"), "title": "عقد"}).decode()
    '{"amount":686.5,"title":"عقد"}'
    """
    return _encoder.encode(value)


def plain(amount: int | Decimal) -> int | Decimal:
    """The same number as an int if it is whole, else without trailing zeros.

    >>> plain(Decimal("600.00")), plain(Decimal("686.50"))
    (600, Decimal('686.5'))
    """
    return int(amount) if amount == int(amount) else Decimal(amount).normalize()


def _test(due: Due) -> dict[str, Any]:
    assert due.type == TEST_EVENT
    return {"message": "This is a test webhook.", "timestamp": instant(due.created_at)}


def _data(told: Told) -> dict[str, Any]:
    happened, agreed = _happened.decode(told.body), _agreed.decode(told.terms)
    amount = happened.amount
    if amount is None or told.type == "payment.completed":  # which says what the buyer paid
        amount = to_number(told.amount_minor, CURRENCIES[told.currency])
    return {
        "contractId": told.number,
        "reference": agreed.reference,
        "status": _pascal(happened.status),
        "previousStatus": _pascal(happened.previousStatus),
        "amount": plain(amount),
        "currency": told.currency,
        **_identifiers(told, happened),
        "timestamp": instant(told.recorded_at),
        "metadata": _metadata(happened, agreed),
    }


def _identifiers(told: Told, happened: _Happened) -> dict[str, str]:
    """Those that this event has; the others are absent. A transaction is called as in the
    contract's list of them, and that of a refund by the refund (partner spec 1.2)."""
    found = {}
    if happened.payment is not None:
        found["paymentId"] = f"PAY-{key_of(PublicId(happened.payment))}"
    if happened.refund is not None:
        found["transactionId"] = str(happened.refund)
    elif told.type in MOVES_MONEY:
        found["transactionId"] = f"TXN-{told.event_key}"
    if told.type == "payment.completed":
        found["invoiceId"] = f"INV-{told.event_key}"
    return found


def _metadata(happened: _Happened, agreed: _Agreed) -> dict[str, Any]:
    sent = agreed.metadata or {}
    made: dict[str, Any] = {name: sent.get(name, "") for name in METADATA}
    made["reference"] = agreed.reference
    if happened.milestone is not None:
        made["milestoneId"] = str(happened.milestone)
    return made


def _pascal(status: str | None) -> str | None:
    """waitingForBankPayment -> WaitingForBankPayment"""
    return None if status is None else status[:1].upper() + status[1:]


# -- headers ----------------------------------------------------------------------------------


def signed_headers(due: Due, body: bytes, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """All headers of one attempt, made `at` (real time). `secrets`: the present one, then the one
    before it while that is still used (decisions E8, E19)."""
    seconds = str(int(at.timestamp()))
    return {
        "Content-Type": "application/json",
        "X-WePay-Signature": wepay_signature(body, secrets[0]),
        "X-WePay-Event": due.type,
        "X-WePay-Webhook-Id": str(due.id),
        "X-WePay-Timestamp": instant(at),
        "webhook-id": str(due.id),
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(
            standard_signature(str(due.id), seconds, body, secret) for secret in secrets
        ),
    }


def wepay_signature(body: bytes, secret: str) -> str:
    """`sha256=` and the hex HMAC of the body; the key is the whole secret (partner spec 6.3)."""
    return f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"


def standard_signature(id_: str, timestamp: str, body: bytes, secret: str) -> str:
    """One signature of Standard Webhooks: the key is the decoded part after the prefix."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{b64encode(signed).decode()}"
