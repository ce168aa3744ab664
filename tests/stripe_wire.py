"""What goes over the wire to Stripe's double and back: parameters in, objects and errors out.

**Parameters** are a form whose names have brackets; what Stripe knows of them (names, types, which
are required) is read from the official SDK, which is generated from Stripe's own description of its
API. A **Refused** is an error as Stripe words it: type, code and param are Stripe's, the message is
not. Invariant: what the double does not do, it refuses loudly; nothing is taken and then ignored.
"""

import asyncio
import functools
import re
import types
import typing
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import typing_extensions
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

Object = dict[str, Any]

_OPTIONS = frozenset(RequestOptions.__annotations__)
_NAME = re.compile(r"[a-z0-9_]+(\[[^\[\]]*\])*", re.IGNORECASE)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
INVALID = "invalid_request_error"


class Refused(Exception):
    """An error answer. `begun`: the work had begun, so an idempotency key remembers it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type_: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        begun: bool = False,
    ) -> None:
        super().__init__(message)
        named = {"type": type_, "code": code, "message": message, "param": param}
        self.answer = Answer(status, {"error": {k: v for k, v in named.items() if v is not None}})
        self.begun = begun


def missing(kind: str, id_: str, param: str = "id") -> Refused:
    """404: no such object, or not of this account."""
    return Refused(
        f"There is no {kind} {id_!r} here.",
        status=404 if param == "id" else 400,
        code="resource_missing",
        param=param,
        begun=True,
    )


class Answer(msgspec.Struct, frozen=True):
    """A status and what the body says in JSON."""

    status: int
    body: Object
    headers: dict[str, str] = {}

    def but(self, headers: dict[str, str]) -> "Answer":
        """The same under these headers."""
        return msgspec.structs.replace(self, headers=headers)

    def written(self) -> bytes:
        return self.framed(msgspec.json.encode(self.body))

    def framed(self, body: bytes) -> bytes:
        """The bytes of this answer with another body in its place."""
        lines = [
            f"HTTP/1.1 {self.status} Said",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Request(msgspec.Struct, frozen=True):
    """One request as it came in; header names in lower case, `form` as it was sent."""

    method: str
    path: str
    form: str
    headers: dict[str, str]

    @property
    def params(self) -> dict[str, str]:
        """The sent names and values, brackets and all."""
        return dict(urllib.parse.parse_qsl(self.form, keep_blank_values=True))

    @property
    def key(self) -> str | None:
        """The idempotency key: Stripe reads it of a POST, and of nothing else."""
        return self.headers.get("idempotency-key") if self.method == "POST" else None

    @property
    def account(self) -> str | None:
        """The connected account on whose behalf the platform speaks."""
        return self.headers.get("stripe-account")


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request of a connection; IncompleteReadError when there is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")[:-2]
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (e.partition(":") for e in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    path, _, query = target.partition("?")
    return Request(method, path, body.decode() if method == "POST" else query, headers)


# -- parameters -----------------------------------------------------------------------------


def parameters(form: str, known: type, spoken: frozenset[str]) -> Object:
    """The form as nested values of the types that `known`, a TypedDict of the SDK, declares.

    `spoken` are the parameters that the double acts on, such as `line_items.price_data.currency`.
    """
    taken = _typed(_nested(form), known, "")
    for name, param in _paths(taken, "", ""):
        if name not in spoken:
            raise Refused(f"Stripe knows {param}, and this double does not.", param=param)
    return taken


def _nested(form: str) -> Object:
    tree: Object = {}
    try:
        pairs = urllib.parse.parse_qsl(form, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise Refused("This is no form.") from error
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} is no name.", code="parameter_unknown", param=name)
        *outer, last = [part.rstrip("]") for part in name.split("[")]
        branch: Any = tree
        for part in outer:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise Refused(f"{name} is given as a value, too.", param=name)
        branch[last or str(len(branch))] = value
    return tree


@functools.cache
def fields_of(known: type) -> dict[str, Any]:
    """The names and types of a TypedDict of the SDK's, its options apart."""
    # Two names of the options are unknown where the parameters are; options are not parameters.
    hints = typing.get_type_hints(known, localns={"StripeContext": object, "Mapping": Mapping})
    return {name: hint for name, hint in hints.items() if name not in _OPTIONS}


def _typed(given: Object, known: type, inside: str) -> Object:
    fields = fields_of(known)
    full = {name: f"{inside}[{name}]" if inside else name for name in (*given, *fields)}
    for name in given:
        if name not in fields:
            raise Refused(
                f"Unknown parameter: {full[name]}.", code="parameter_unknown", param=full[name]
            )
    required: frozenset[str] = getattr(known, "__required_keys__", frozenset())
    for name in sorted(required & fields.keys()):
        if name not in given:
            raise Refused(
                f"A parameter is required: {full[name]}.",
                code="parameter_missing",
                param=full[name],
            )
    return {name: _value(value, fields[name], full[name]) for name, value in given.items()}


def _value(given: Any, hint: Any, param: str) -> Any:
    hints = list(alternatives(hint))
    if isinstance(given, dict):
        return _inner(given, hints, param)
    literals = [word for each in hints for word in typing.get_args(each) if _is_literal(each)]
    if given in literals:
        return given
    if not given:
        raise Refused(f"{param} is empty.", code="parameter_invalid_empty", param=param)
    if int in hints and _INTEGER.fullmatch(given):
        return int(given)
    if bool in hints and given in ("true", "false"):
        return given == "true"
    # The SDK writes an enumeration as "one of these, or any text": Stripe means one of these.
    if str in hints and not any(literals):
        return given
    code = "parameter_invalid_integer" if int in hints else None
    raise Refused(f"{param} cannot be {given!r}.", code=code, param=param)


def alternatives(hint: Any) -> Iterator[Any]:
    """Each type that a parameter may have."""
    if typing.get_origin(hint) in (typing.NotRequired, typing_extensions.NotRequired):
        yield from alternatives(typing.get_args(hint)[0])
    elif typing.get_origin(hint) not in (typing.Union, types.UnionType):
        yield hint
    else:
        for each in typing.get_args(hint):
            yield from alternatives(each)


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _inner(given: Object, hints: list[Any], param: str) -> Any:
    for hint in hints:
        origin = typing.get_origin(hint)
        if typing.is_typeddict(hint) or typing_extensions.is_typeddict(hint):
            return _typed(given, hint, param)
        if origin is list:
            (item,) = typing.get_args(hint)
            if sorted(given, key=_position) != [str(n) for n in range(len(given))]:
                raise Refused(f"{param} is not a list.", param=param)
            return [_value(given[n], item, f"{param}[{n}]") for n in sorted(given, key=_position)]
        if origin in (dict, UntypedStripeObject):
            return _metadata(given, param)
    raise Refused(f"{param} is not an object.", param=param)


def _position(index: str) -> int:
    return int(index) if _INTEGER.fullmatch(index) else -1


def _metadata(given: Object, param: str) -> dict[str, str]:
    if len(given) > 50:
        raise Refused(f"{param} has more than 50 keys.", param=param)
    for key, value in given.items():
        if not isinstance(value, str) or not 0 < len(key) <= 40 or len(value) > 500:
            raise Refused(f"{param}[{key}] is too long, or no text.", param=f"{param}[{key}]")
    return dict(given)


def _paths(value: Any, name: str, param: str) -> Iterator[tuple[str, str]]:
    """Each given leaf as (a.b, a[0][b]); what is below metadata is the client's own."""
    if isinstance(value, dict) and not name.endswith("metadata"):
        for key, each in value.items():
            yield from _paths(
                each, f"{name}.{key}" if name else key, f"{param}[{key}]" if param else key
            )
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield from _paths(each, name, f"{param}[{n}]")
    else:
        yield name, param
