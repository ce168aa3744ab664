"""Every refusal Earnest can utter, in one tree.

    EarnestError
    |-- Invalid            400  what was sent cannot be right
    |   |-- InvalidField        one named field
    |   `-- MalformedBody       not JSON, or not the JSON that was asked for
    |-- Refused            400  understood, but the rules say no
    |-- Unauthenticated    401
    |-- Forbidden          403  wrong role, not an owner, blocked: never a business rule
    |-- NotFound           404
    |-- Conflict           409  somebody was faster, or the key was used for something else
    |-- TooMany            429
    |-- Unavailable        503  the outcome is known to be "nothing happened": try again
    |   `-- OutcomeUnknown        ... or it could not be looked up
    `-- ProviderError           raised by providers; actions turn it into one of the above

The class is the wire code and the status; the class docstring is the message. Rules raise
them and never import HTTP; the faces render them.
"""

import re
from typing import ClassVar


class EarnestError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def code(self) -> str:
        """The wire code: the class name in snake_case."""
        return code_of(type(self))


def code_of(refusal: type[EarnestError]) -> str:
    """The wire code of a class.

    >>> code_of(InvalidField)
    'invalid_field'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", refusal.__name__).lower()


# -- 400: the input -------------------------------------------------------------------------


class Invalid(EarnestError):
    """The request is not valid."""

    status = 400


class InvalidField(Invalid):
    """A field is not valid."""

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field} {expected}")
        self.field = field
        self.expected = expected


class MalformedBody(Invalid):
    """The body is not the JSON that was asked for."""


class InvalidSignature(Invalid):
    """The signature of this event does not verify."""


# -- 400: the rules -------------------------------------------------------------------------


class Refused(EarnestError):
    """The rules do not allow this now."""

    status = 400


# -- 401, 403, 404, 409 ---------------------------------------------------------------------


class Unauthenticated(EarnestError):
    """Access denied. No token provided."""

    status = 401


class InvalidToken(Unauthenticated):
    """Invalid authentication token."""


class Forbidden(EarnestError):
    """Unauthorized Access"""

    status = 403


class NotFound(EarnestError):
    """There is nothing here."""

    status = 404


class Conflict(EarnestError):
    """Somebody else changed this at the same moment. Try again."""

    status = 409


class IdempotencyKeyReused(Conflict):
    """This Idempotency-Key was already used for a different request."""

    status = 422


# -- 429, 503 -------------------------------------------------------------------------------


class TooMany(EarnestError):
    """Too many requests. Wait before you try again."""

    status = 429

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class Unavailable(EarnestError):
    """The server cannot do this right now. Nothing was changed; try again."""

    status = 503
    retry_after_seconds = 1


class Busy(Unavailable):
    """The server is busy. Nothing was done: try again."""


class OutcomeUnknown(Unavailable):
    """The connection to the database broke and the outcome could not be looked up. Repeat the
    request with the same Idempotency-Key, or read what it was meant to change."""


# -- providers ------------------------------------------------------------------------------


class ProviderError(EarnestError):
    """The payment provider did not do what was asked."""

    status = 502
    key_is_spent = False
    """The provider would give this answer again for the same idempotency key, whatever has changed:
    a further attempt needs another key, once a lookup has shown that nothing happened."""
    was_repeated = False
    """The answer was not to this call, but to an earlier one with the same idempotency key."""


class ProviderPermanent(ProviderError):
    """The payment provider refused: repeating the same call will not help."""


class ProviderKeyReused(ProviderPermanent):
    """The provider was asked for something else with this idempotency key."""


class ProviderTransient(ProviderError):
    """The payment provider did nothing: repeating the same call may help."""


class ProviderUnknown(ProviderError):
    """The payment provider may or may not have acted: look the outcome up, never guess."""


class ProviderKeyInUse(ProviderUnknown):
    """A call with this idempotency key is still under way at the provider."""
