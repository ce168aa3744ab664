"""What the server **signed**, or chained: webhooks, the checkout's word when it sends a buyer back,
and the events of a contract.

Invariant: what is returned from here was signed by the server, whole, as you read it; everything
is verified before anything of it is read.
"""

import hashlib
import hmac
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from earnest_client.documents import Document, Jwk, JwkSet, TrailEvent
from earnest_client.errors import InvalidReturn, InvalidTrail, InvalidWebhook

SECRET_PREFIX = "whsec_"  # noqa: S105
SIGNATURES_MAX = 16
RESULT_TYPE = "checkout-result+jwt"
LEEWAY_SECONDS = 30


class ContractEvent(Document, frozen=True):
    """What happened to a contract. Statuses are spelled as in the API: `escrow`, not `Escrow`.
    Ids are None where the event has none of that kind; `metadata` has `milestoneId` where the
    event is about one milestone."""

    contract_id: str
    reference: str | None
    status: str | None
    previous_status: str | None
    amount: Decimal
    currency: str
    timestamp: datetime
    payment_id: str | None = None
    transaction_id: str | None = None
    invoice_id: str | None = None
    metadata: dict[str, str | None] = msgspec.field(default_factory=dict)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. The same `id` may come more than once: act on it once. `type` is such as
    payment.completed; `contract` is None for webhook.test."""

    id: str
    type: str
    created_at: datetime
    contract: ContractEvent | None


class CheckoutResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a payment: `status` is success or failed."""

    status: str
    payment_id: str
    contract_id: str


# -- webhooks ---------------------------------------------------------------------------------


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str,
    tolerance_seconds: float = 300,
    *,
    accept_wepay: bool = False,
) -> Event:
    """The event in a webhook that the owner of `secret` sent, `tolerance_seconds` ago at most.

    `body` is the bytes that came, not what was parsed from them. Headers are those of Standard
    Webhooks; with `accept_wepay`, a webhook without their signature may have X-WePay-Signature
    instead, which says nothing of when it was sent: remember the ids of events.

    Raises InvalidWebhook; ValueError for a secret that is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if "webhook-signature" in given or not accept_wepay:
        _check_standard(body, given, secret, tolerance_seconds)
    else:
        _check_wepay(body, given.get("x-wepay-signature", ""), secret)
    return _event(body)


def _check_standard(
    body: bytes, given: Mapping[str, str], secret: str, tolerance_seconds: float
) -> None:
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if name not in given:
            raise InvalidWebhook(f"The header {name} is missing.")
    id_, timestamp = given["webhook-id"], given["webhook-timestamp"]
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("the secret must be whsec_ and base64")
    mac = hmac.digest(key, _bytes(f"{id_}.{timestamp}.") + body, "sha256")
    expected = b"v1," + b64encode(mac)
    signatures = given["webhook-signature"].split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]
    if not any(hmac.compare_digest(_bytes(one), expected) for one in signatures):
        raise InvalidWebhook("No signature fits the secret and the body.")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise InvalidWebhook("webhook-timestamp is not a time.")
    age_seconds = time.time() - int(timestamp)
    if abs(age_seconds) > tolerance_seconds:
        word = "old" if age_seconds > 0 else "early"
        raise InvalidWebhook(f"It is {abs(age_seconds):.0f} seconds {word}.")


def _check_wepay(body: bytes, signature: str, secret: str) -> None:
    expected = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
    if not hmac.compare_digest(_bytes(signature), expected.encode()):
        raise InvalidWebhook("X-WePay-Signature does not fit the secret and the body.")


def _bytes(header: str) -> bytes:
    """What somebody sent, which need not be text."""
    return header.encode(errors="replace")


class _Body(Document, frozen=True):
    id: str
    event: str
    created_at: datetime
    data: msgspec.Raw


class _Named(Document, frozen=True):
    contract_id: str | None = None


def _event(body: bytes) -> Event:
    try:
        told = msgspec.json.decode(body, type=_Body)
        contract = None
        if msgspec.json.decode(told.data, type=_Named).contract_id is not None:
            contract = msgspec.json.decode(told.data, type=ContractEvent)
            contract = msgspec.structs.replace(
                contract,
                status=_camel(contract.status),
                previous_status=_camel(contract.previous_status),
            )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidWebhook(f"It is signed, but cannot be read: {error}") from error
    return Event(id=told.id, type=told.event, created_at=told.created_at, contract=contract)


def _camel(status: str | None) -> str | None:
    """WaitingForBankPayment -> waitingForBankPayment"""
    return None if status is None else status[:1].lower() + status[1:]


# -- returns from the checkout ----------------------------------------------------------------


class _Header(msgspec.Struct):
    alg: str
    kid: str
    typ: str


class _Claims(Document, frozen=True):
    iss: str
    aud: str
    iat: int
    exp: int
    contract_id: str
    payment_id: str
    status: str


def verify_return(
    url: str, keys: JwkSet, *, client_id: str, issuer: str | None = None
) -> CheckoutResult:
    """What the checkout says that it came of, in the URL with which a buyer came back.

    `url` may be absolute, or only path and query. `keys` are the server's (`get_keys`);
    `client_id` is yours: what was signed for others is refused. `issuer` is the server's public
    URL, if you care. A buyer may come back twice, and a result is good for ten minutes.

    Raises InvalidReturn; ImportError without the extra `returns`.
    """
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    said = {name: [value for other, value in query if other == name] for name, _ in query}
    for name in ("Status", "paymentId", "contractId", "signature"):
        if len(said.get(name, ())) != 1:
            raise InvalidReturn(f"The URL must have {name} once.")
    claims = _verified(said["signature"][0], keys)
    now = time.time()
    if claims.exp + LEEWAY_SECONDS <= now or claims.iat - LEEWAY_SECONDS > now:
        raise InvalidReturn("It is over, or not yet good.")
    if claims.aud != client_id or (issuer is not None and claims.iss != issuer.rstrip("/")):
        raise InvalidReturn("It is from or for somebody else.")
    result = CheckoutResult(
        status=claims.status, payment_id=claims.payment_id, contract_id=claims.contract_id
    )
    if [said["Status"][0], said["paymentId"][0], said["contractId"][0]] != [
        result.status,
        result.payment_id,
        result.contract_id,
    ]:
        raise InvalidReturn("The URL does not say what was signed.")
    return result


def _verified(token: str, keys: JwkSet) -> _Claims:
    """The claims of a JWT that one of `keys` has signed (RFC 7515, RS256 and nothing else)."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidReturn("The signature is not a JWT.")
    try:
        header = msgspec.json.decode(_raw(parts[0]), type=_Header)
        payload, signature = _raw(parts[1]), _raw(parts[2])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidReturn("The signature is not a JWT.") from None
    key = next((one for one in keys.keys if one.kid == header.kid and one.kty == "RSA"), None)
    if header.alg != "RS256" or header.typ != RESULT_TYPE or key is None:
        raise InvalidReturn("It is not signed with one of the server's keys.")
    _check_rsa(key, signature, f"{parts[0]}.{parts[1]}".encode())
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidReturn(f"It is signed, but cannot be read: {error}") from error


def _check_rsa(key: Jwk, signature: bytes, text: bytes) -> None:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("verify_return needs: pip install earnest-client[returns]") from error
    e, n = (int.from_bytes(_raw(part), "big") for part in (key.e, key.n))
    try:
        public: Any = rsa.RSAPublicNumbers(e, n).public_key()
        public.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise InvalidReturn("The signature does not fit.") from None


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- events -----------------------------------------------------------------------------------


def verify_events(
    events: Iterable[TrailEvent], after: TrailEvent | None = None
) -> TrailEvent | None:
    """The last of `events`, which are a contract's from the first on, or those `after` one that you
    have kept: none missing, none changed. Keep the last one: who rewrites the past cannot make
    another past that leads to its hash. None: there is no event.

    Raises InvalidTrail.
    """
    for event in events:
        sequence = 1 if after is None else after.sequence + 1
        if event.sequence != sequence:
            raise InvalidTrail(f"Event {sequence} is missing.")
        if after is not None and event.previous_hash != after.hash:
            raise InvalidTrail(f"Event {sequence} does not follow from the one before it.")
        if event.hash != _hash_of(event):
            raise InvalidTrail(f"Event {sequence} is not what was recorded.")
        after = event
    return after


def _hash_of(event: TrailEvent) -> str:
    """SHA-256 over all that the event says, each part with its length before it."""
    try:
        before = bytes.fromhex(event.previous_hash)
    except ValueError:
        return ""
    at = event.recorded_date.astimezone(UTC).isoformat(timespec="microseconds")
    texts = (str(event.sequence), at, event.type, event.actor, event.body)
    digest = hashlib.sha256()
    for part in (before, *(text.encode() for text in texts)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
