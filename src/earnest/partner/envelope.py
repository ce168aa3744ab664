"""The **envelope** around every answer of the partner API, refusals included (spec 1.1, E1).

The keys of the guide's samples come first and in their order, then `succeeded` and `errors` of the
seed's field table. Invariant: a refusal has no `data`; `status` repeats the HTTP status.
"""

from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request, Response

from earnest.errors import InvalidField
from earnest.partner.binding import as_written
from earnest.partner.languages import in_language_of
from earnest.store.idempotency import Reply
from earnest.web.problems import Told
from earnest.web.wire import WireResponse, encode

VALIDATION_FAILED = "Validation failed"

Data = TypeVar("Data")


class ValidationError(msgspec.Struct):
    """`field` is spelled as the caller spelled it; `milestones[1].amount` is inside a list."""

    field: str
    message: str


class Envelope(msgspec.Struct, Generic[Data]):
    """A success."""

    data: Data
    message: str
    status: int = 200
    validationErrors: list[ValidationError] = []  # noqa: N815
    succeeded: bool = True
    errors: list[str] = []


class Failure(msgspec.Struct):
    """A refusal."""

    message: str
    status: int
    validationErrors: list[ValidationError]  # noqa: N815
    succeeded: bool
    errors: list[str]


def answer(data: Any, message: str) -> Reply:
    """A success, rendered. Creation answers 200, too (E4)."""
    return Reply(200, encode(Envelope(data, message)))


def refuse(request: Request[Any, Any, Any], told: Told) -> Response[Failure]:
    """A refusal, in the language that the caller reads."""
    error = told.error
    if isinstance(error, InvalidField):
        field = as_written(error.field, request.scope.get("earnest.body"))
        expected = in_language_of(request, error.expected)
        headline = VALIDATION_FAILED if type(error) is InvalidField else _docstring(error)
        found = [ValidationError(field, f"{getattr(error, 'noun', field)} {expected}")]
    else:
        headline, found = told.text, []
    message = in_language_of(request, headline)
    errors = [one.message for one in found] or [message]
    body = Failure(message, told.status, found, succeeded=False, errors=errors)
    return WireResponse(
        body, status_code=told.status, media_type="application/json", headers=told.headers
    )


def _docstring(error: InvalidField) -> str:
    return " ".join((type(error).__doc__ or "").split())
