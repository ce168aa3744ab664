"""**Problems**: every error as JSON, in the shape that both old and new clients read (D9).

`application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, plus `error` and
`message` with the same text as `detail`, the wire `code`, and `field` where one is to blame.
Whatever is not a known refusal is logged and answered 500 without a word about its cause.
"""

import logging
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from earnest.errors import Busy, EarnestError, InvalidField, MalformedBody, TooMany, Unavailable
from earnest.web.guard import BodyTooLarge, convert
from earnest.web.wire import WireResponse, encode

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class DatabaseLost(Unavailable):
    """The database did not answer. If you do not know whether this was done, ask again with
    the same Idempotency-Key, or look."""


class Told(msgspec.Struct, frozen=True):
    """A refusal, before it has the form of a face. `error` is None for one of the framework."""

    status: int
    code: str
    text: str
    headers: dict[str, str]
    error: EarnestError | None = None


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of every answer that is not a success."""

    title: str
    status: int
    detail: str
    error: str
    message: str
    code: str
    type: str
    field: str | None = None


_LITESTAR = {
    400: "The request is not valid.",
    401: "Access denied. No token provided.",
    404: "There is nothing here.",
    405: "This method is not allowed here.",
    415: "Send JSON: Content-Type application/json, UTF-8, without Content-Encoding.",
}


def render(request: Request[Any, Any, Any], error: EarnestError) -> Response[Problem]:
    """A refusal of our own."""
    if error.status >= 500 and not isinstance(error, Busy):  # thousands a second; these are counted
        log.warning("%s refused: %s", _route(request), error.code)
    headers = {}
    if isinstance(error, (TooMany, Unavailable)):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _in_form(request, Told(error.status, error.code, error.message, headers, error))


def render_litestar(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """A refusal of the framework: its own texts may quote the request, so ours are used."""
    if isinstance(error, ValidationException):
        return render(request, _explain(request, error))
    status = error.status_code
    if status >= 500:
        return render_unexpected(request, error)
    if status == BodyTooLarge.status:
        return render(request, BodyTooLarge())
    headers = {}
    if status == 405 and error.headers:
        headers["Allow"] = error.headers["allow"]
    code = HTTPStatus(status).name.lower()
    text = _LITESTAR.get(status, HTTPStatus(status).phrase)
    return _in_form(request, Told(status, code, text, headers))


def render_database(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The database went away or gave up in the middle: what was asked may have happened."""
    log.warning("%s lost the database: %s", _route(request), type(error).__name__)
    return render(request, DatabaseLost())


def render_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A mistake of ours: the log has it, the answer has nothing."""
    log.error("%s failed", _route(request), exc_info=error)
    return _in_form(request, Told(500, "internal_error", "Internal server error", {}))


def _in_form(request: Request[Any, Any, Any], told: Told) -> Response[Any]:
    """The answer, in the form of the face whose path was asked for (`app.state.forms`)."""
    path = request.scope["path"]
    for prefix, form in request.app.state.get("forms", ()):
        if path.startswith(prefix):
            answer: Response[Any] = form(request, told)
            return answer
    field = told.error.field if isinstance(told.error, InvalidField) else None
    return problem(told.status, told.code, told.text, field, told.headers)


def unexpected_bytes() -> tuple[bytes, bytes]:
    """The same 500 as a body and its media type, for where no renderer can run."""
    unexpected = problem(500, "internal_error", "Internal server error", None, {})
    return encode(unexpected.content), MEDIA_TYPE.encode()


def problem(
    status: int, code: str, text: str, field: str | None, headers: dict[str, str]
) -> Response[Problem]:
    """The answer itself."""
    body = body_of(status, code, text, field)
    return WireResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def body_of(status: int, code: str, text: str, field: str | None = None) -> Problem:
    """The body of an answer with this text."""
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=text,
        error=text,
        message=text,
        code=code,
        type=f"urn:earnest:problem:{code}",
        field=field,
    )


def _route(request: Request[Any, Any, Any]) -> str:
    """Method and route template: the concrete path may hold what is not for a log."""
    return f"{request.scope['method']} {request.scope.get('path_template', '(no route)')}"


def _explain(request: Request[Any, Any, Any], error: ValidationException) -> EarnestError:
    """What Litestar found missing or malformed outside a body that `guard` has read."""
    found = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    name = str(found.get("key", ""))
    field = request.route_handler.parsed_data_field
    if name == "data" and field is not None:
        try:
            convert({}, field.annotation)  # no body at all: name the first field it should have
        except EarnestError as missing:
            return missing
        return MalformedBody("Send a JSON object.")
    return InvalidField(name or "request", "is not valid")


HANDLERS: ExceptionHandlersMap = {
    EarnestError: render,
    asyncpg.PostgresConnectionError: render_database,
    asyncpg.OperatorInterventionError: render_database,
    asyncpg.TransactionRollbackError: render_database,
    asyncpg.InterfaceError: render_database,
    asyncpg.InternalClientError: render_database,
    ConnectionError: render_database,
    TimeoutError: render_database,
    HTTPException: render_litestar,
    Exception: render_unexpected,
}


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """What HANDLERS make of an error, as Litestar chooses among them."""
    for kind in type(error).__mro__:
        if kind in HANDLERS:
            rendered: Response[Problem] = HANDLERS[kind](request, error)
            return rendered
    raise error
