"""Everything that can go wrong, in one tree.

EarnestError
|-- Refused                 the server said no; nothing was changed
|   |-- ValidationFailed        400  `errors` names the fields
|   |-- NotAllowed              400  understood, but the rules say no now
|   |-- Unauthenticated         401  unknown client, wrong secret, blocked
|   |-- Forbidden               403
|   |-- NotFound                404  no such thing, or not yours
|   |-- Conflict                409  somebody was faster: read, decide, ask again
|   |   `-- KeyReused           422  this Idempotency-Key was for another request
|   `-- RateLimited             429
|-- Unfinished              it may have happened: repeat it with `idempotency_key`
|   |-- NotConnected            no answer, however often it was asked
|   `-- ServerFailed            5xx, however often it was asked
|-- UnexpectedAnswer        success, but in no form that is known here
|-- InvalidWebhook          a webhook that is not to be believed
|-- InvalidTrail            events that are not a whole chain
`-- InvalidReturn           a return from the checkout that is not to be believed
"""

from email.utils import parsedate_to_datetime
from time import time
from typing import NamedTuple

import httpx
import msgspec


class FieldError(NamedTuple):
    """What is wrong with one field, whose name is spelled as it was sent."""

    field: str
    message: str


class EarnestError(Exception):
    """Something went wrong."""


class Refused(EarnestError):
    """The server said no. `request_id` is what its logs know the request by."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        errors: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        said = "; ".join(one.message for one in errors)
        super().__init__(f"{message}: {said}" if said else message)
        self.message = message
        self.status = status
        self.errors = errors
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class ValidationFailed(Refused):
    """Fields are not valid: `errors` has each with its message."""


class NotAllowed(Refused):
    """The rules do not allow this now."""


class Unauthenticated(Refused):
    """The client is unknown or blocked, or its secret is wrong."""


class Forbidden(Refused):
    """Not for you."""


class NotFound(Refused):
    """There is no such thing, or it is somebody else's."""


class Conflict(Refused):
    """Somebody else changed it at the same moment, or a secret can be shown only once."""


class KeyReused(Conflict):
    """This idempotency key was used for a different request."""


class RateLimited(Refused):
    """Too many requests; `retry_after_seconds` is how long to wait."""


class Unfinished(EarnestError):
    """Nobody knows whether it was done. Call again with this `idempotency_key` and the same
    arguments: it is done once, and you get its answer. None: it was only a question."""

    def __init__(self, message: str, *, idempotency_key: str | None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class NotConnected(Unfinished):
    """No answer. `__cause__` is httpx's reason."""


class ServerFailed(Unfinished):
    """The server could not answer (5xx)."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        request_id: str | None,
        idempotency_key: str | None,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key)
        self.status = status
        self.request_id = request_id


class UnexpectedAnswer(EarnestError):
    """An answer that this version cannot read."""


class InvalidWebhook(EarnestError):
    """This webhook is not to be believed."""


class InvalidTrail(EarnestError):
    """These events are not what happened, or not all of it."""


class InvalidReturn(EarnestError):
    """This return from the checkout is not to be believed."""


# -- from answers -----------------------------------------------------------------------------


class _FieldTold(msgspec.Struct):
    field: str = ""
    message: str = ""


class _Told(msgspec.Struct):
    """A refusal in the envelope, or in RFC 6749's words."""

    message: str = ""
    error_description: str = ""
    errors: list[_FieldTold] = msgspec.field(name="validationErrors", default_factory=list)


_told = msgspec.json.Decoder(_Told)

_BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: KeyReused,
    429: RateLimited,
}


def error_of(answer: httpx.Response, idempotency_key: str | None) -> EarnestError:
    """The error that an answer without success stands for."""
    try:
        told = _told.decode(answer.content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = _Told()
    status = answer.status_code
    message = told.message or told.error_description or f"HTTP {status} {answer.reason_phrase}"
    request_id = answer.headers.get("X-Request-Id")
    if status >= 500:
        return ServerFailed(
            message, status=status, request_id=request_id, idempotency_key=idempotency_key
        )
    errors = tuple(FieldError(one.field, one.message) for one in told.errors)
    kind = _BY_STATUS.get(status, Refused)
    if status == 400:
        kind = ValidationFailed if errors else NotAllowed
    return kind(
        message,
        status=status,
        errors=errors,
        request_id=request_id,
        retry_after_seconds=retry_after_seconds(answer),
    )


def retry_after_seconds(answer: httpx.Response) -> float | None:
    """What Retry-After asks for: seconds, or until a date (RFC 9110, section 10.2.3)."""
    given = answer.headers.get("Retry-After", "").strip()
    if not given:
        return None
    if given.isascii() and given.isdigit():
        return min(float(given), 1e9)
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time())
    except (ValueError, OverflowError):
        return None
