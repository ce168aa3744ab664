"""**Operations**: the route table, read as what each request needs and what it can come to.

Invariant: everything here follows from what the router itself obeys (path, method, `access`, the
types of a handler's `data` and answer) and from the `refuses` beside it; the order is that of
registration, whatever the hash seed.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute

from earnest.errors import (
    EarnestError,
    Forbidden,
    IdempotencyKeyReused,
    InvalidField,
    InvalidToken,
    MalformedBody,
    Unauthenticated,
    Unavailable,
)
from earnest.web.auth import Access, access_of
from earnest.web.guard import BodyTooLarge, UnsupportedMediaType
from earnest.web.problems import DatabaseLost

Refusals = tuple[type[EarnestError], ...]

PARTNER_PATHS = "/apps/"
"""What the partner API begins with; it says in an envelope what it refuses."""
TOKEN_PATHS = "/connect/"  # noqa: S105
"""Where partners get their tokens; it refuses as RFC 6749 says."""

Form = Literal["", "Partner", "Token"]
"""The form of a refusal; "" is a problem, as everywhere else."""

_NO_QUERY = frozenset({"request", "data", "state"})
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `route` is the path as the router knows it, `path` as clients do;
    `alias_of` is the id of the operation that the same handler has at its first path (D1)."""

    id: str
    method: str
    route: str
    path: str
    handler: HTTPRouteHandler
    alias_of: str | None = None

    @property
    def access(self) -> Access:
        return access_of(self.handler)

    @property
    def form(self) -> Form:
        """In what form it refuses, as `app.FORMS` has it by the beginning of its path."""
        if self.route.startswith(PARTNER_PATHS):
            return "Partner"
        return "Token" if self.route.startswith(TOKEN_PATHS) else ""

    @property
    def status(self) -> int:
        """Of a success."""
        return int(self.handler.status_code)

    @property
    def media_type(self) -> str:
        """Of a success, without parameters."""
        given = str(getattr(self.handler.media_type, "value", self.handler.media_type))
        return given.partition(";")[0] or "application/json"

    @property
    def answer(self) -> Any:
        """The type of a success's body."""
        found = self.handler.parsed_fn_signature.return_type.annotation
        return get_args(found)[0] if get_origin(found) is Response else found

    @property
    def body(self) -> Any:
        """The type of the body, None without one."""
        field = self.handler.parsed_data_field
        return None if field is None else field.annotation

    @property
    def form_body(self) -> Any:
        """The type of a body that is a form, None without one."""
        return self.handler.opt.get("form")

    @property
    def needs_body(self) -> bool:
        field = self.handler.parsed_data_field
        return field is not None and field.is_required

    @property
    def in_path(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def in_query(self) -> tuple[str, ...]:
        """Names of query parameters; all may be left out but those without a default."""
        in_route = set(re.findall(r"{(\w+)", self.route))
        names = self.handler.parsed_fn_signature.parameters
        return tuple(name for name in names if name not in in_route | _NO_QUERY)

    @property
    def tags(self) -> tuple[str, ...]:
        layers = self.handler.ownership_layers
        return tuple(dict.fromkeys(tag for layer in layers for tag in layer.tags or ()))

    @property
    def takes_key(self) -> bool:
        """Whether an Idempotency-Key is listened to: by all changes but those of `/api/auth`."""
        return self.method in _CHANGES and bool(self.access.roles)

    @property
    def uses_database(self) -> bool:
        return not self.handler.opt.get("offline", False)

    @property
    def refusals(self) -> dict[int, Refusals]:
        """Every refusal by status, the statuses in order."""
        by_status: dict[int, dict[type[EarnestError], None]] = {}
        for refusal in self._refusals():
            by_status.setdefault(refusal.status, {})[refusal] = None
        return {status: tuple(by_status[status]) for status in sorted(by_status)}

    def _refusals(self) -> Iterator[type[EarnestError]]:
        if self.in_path or self.in_query or self.takes_key or self.body is not None:
            yield InvalidField
        if self.body is not None:
            yield from (MalformedBody, UnsupportedMediaType)
        if self.body is not None or self.takes_key:
            yield BodyTooLarge
        if self.access.roles or (self.access.is_read and not self.access.is_open):
            yield Unauthenticated
        if self.access.roles or self.access.is_read:
            yield from (InvalidToken, Forbidden)
        if self.takes_key:
            yield IdempotencyKeyReused
        yield from self.handler.opt.get("refuses", ())
        if self.uses_database:
            yield from (Unavailable, DatabaseLost)


def operations(routes: Iterable[BaseRoute]) -> list[Operation]:
    """The operations that clients may rely on, each handler's own path before its aliases."""
    found: dict[int, list[HTTPRoute]] = {}
    handlers: dict[int, HTTPRouteHandler] = {}
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in sorted(route.route_handlers, key=_method):
            if handler.resolve_include_in_schema() and handler.http_methods != {"OPTIONS"}:
                # A path that two handlers share is one route; a handler has one method.
                handlers.setdefault(id(handler.fn), handler)
                found.setdefault(id(handler.fn), []).append(route)
    return [one for key, where in found.items() for one in _of_handler(handlers[key], where)]


def _method(handler: HTTPRouteHandler) -> str:
    (method,) = handler.http_methods
    return str(method)


def _of_handler(handler: HTTPRouteHandler, routes: list[HTTPRoute]) -> Iterator[Operation]:
    name = str(handler.operation_id or handler.fn.__name__)
    if routes[0].path.startswith(PARTNER_PATHS):
        name = f"partner_{name}"  # two faces, one list of names
    ending = name.replace("_", "-")
    routes = sorted(
        routes, key=lambda one: (not one.path.endswith(ending), len(one.path), one.path)
    )
    for index, route in enumerate(routes):
        yield Operation(
            id=camel(name) if index == 0 else f"{camel(name)}Alias",
            method=_method(handler),
            route=route.path_format,
            path=re.sub(r"{(\w+)}", lambda found: f"{{{camel(found[1])}}}", route.path_format),
            handler=handler,
            alias_of=camel(name) if index else None,
        )


def camel(name: str) -> str:
    """
    >>> camel("create_contract")
    'createContract'
    """
    head, *tail = name.split("_")
    return head + "".join(map(str.title, tail))
