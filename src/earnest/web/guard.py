"""The **guard**: what a request must look like before a handler sees it.

Invariant: a handler's `data` is an instance of its Struct, made from one unambiguous JSON text
in UTF-8. No key occurs twice, no number is a float, nothing was coerced ("100" is no number),
and no string carries a control character, a lone surrogate or a bidirectional override.
"""

import json
import re
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.types import Empty

from earnest.errors import EarnestError, InvalidField, MalformedBody

BODY_BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
NUMBER_DIGITS_MAX = 40
EXPONENT_MAX = 30

Amount = Annotated[
    int | Decimal,
    msgspec.Meta(description="A JSON number in major units, at most two decimals for INR."),
]
"""Money on the wire: a JSON number, never a string. `domain.money.parse_major` reads it."""

Wire = TypeVar("Wire")


class BodyTooLarge(EarnestError):
    """The body is too large."""

    status = 413


class UnsupportedMediaType(EarnestError):
    """Send JSON: Content-Type application/json, UTF-8, without Content-Encoding."""

    status = 415


# -- reading --------------------------------------------------------------------------------


class EarnestRequest(Request[Any, Any, State]):
    """Litestar's request with a strict body: `json()` gives the handler's Struct, ready made.

    Litestar alone would take `text/plain`, keep the last of two equal keys and read "100" as a
    number. It leaves an instance of the right Struct as it is, which is what we hand it.
    """

    __slots__ = ()

    async def json(self) -> Any:
        """The body as the type of the handler's `data`, or as plain objects without one.

        Raises UnsupportedMediaType, BodyTooLarge, MalformedBody or InvalidField.
        """
        if self._json is Empty:
            require_json(self)
            field = self.route_handler.parsed_data_field
            plain = read_json(await self.body())
            self._json = plain if field is None else convert(plain, field.annotation)
        return self._json


def require_json(request: Request[Any, Any, Any]) -> None:
    """UnsupportedMediaType unless the headers announce plain UTF-8 JSON."""
    content_type = None
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            if content_type is not None:
                raise UnsupportedMediaType
            content_type = value
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedMediaType
    if content_type == b"application/json":
        return
    media, _, parameters = (content_type or b"").partition(b";")
    if media.strip().lower() != b"application/json":
        raise UnsupportedMediaType
    if _CHARSET_NOT_UTF8.search(parameters.lower()):
        raise UnsupportedMediaType


def read_json(body: bytes) -> Any:
    """One JSON text as plain objects; ints stay ints, all other numbers become Decimal.

    >>> read_json(b'{"amount": 12.50}')
    {'amount': Decimal('12.50')}

    Raises MalformedBody, or InvalidField for a text with characters that cannot be seen.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    if text.startswith("\ufeff"):
        raise MalformedBody("The body starts with a byte order mark.")
    brackets = text.count("{") + text.count("[")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise MalformedBody("The body is nested too deeply.") from None
    except ValueError as error:
        raise MalformedBody(_where(error)) from None
    if brackets > DEPTH_MAX and _deeper_than(value, DEPTH_MAX):
        raise MalformedBody("The body is nested too deeply.")
    if _SUSPECT.search(text):
        _check_strings(value)
    return value


def convert(plain: Any, wanted: Any) -> Any:
    """Plain objects as `wanted`, without coercion. Raises InvalidField or MalformedBody."""
    try:
        return msgspec.convert(plain, wanted, strict=True, builtin_types=(Decimal,))
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None


def clean_text(text: str, field: str, length_max: int = 100) -> str:
    """One line of text from a query or a path. Raises InvalidField naming `field`."""
    if len(text) > length_max:
        raise InvalidField(field, f"must be at most {length_max} characters long")
    if _FORBIDDEN_LINE.search(text):
        raise InvalidField(field, "must not contain control characters")
    return text


# -- numbers, keys, strings -----------------------------------------------------------------

_CHARSET_NOT_UTF8 = re.compile(rb"charset\s*=\s*(?!\"?utf-?8\"?\s*(;|\Z))")
_BIDI = "\u202a-\u202e\u2066-\u2069"
# Either the character itself, or an escape that may stand for one.
_SUSPECT = re.compile(f"[\x7f-\x9f{_BIDI}]|\\\\[ubf]")
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
_FORBIDDEN_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff\ufffd]")


def _integer(digits: str) -> int:
    if len(digits) > NUMBER_DIGITS_MAX:
        raise ValueError("A number has too many digits.")
    return int(digits)


def _decimal(literal: str) -> Decimal:
    mantissa, _, exponent = literal.lower().partition("e")
    if len(mantissa) > NUMBER_DIGITS_MAX:
        raise ValueError("A number has too many digits.")
    if exponent and (len(exponent) > 4 or abs(int(exponent)) > EXPONENT_MAX):
        raise ValueError("A number is out of range.")
    return Decimal(literal)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("An object has the same key twice.")
    return made


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
    strict=True,
)


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"The body is not valid JSON (line {error.lineno}, column {error.colno})."
    return str(error)


def _deeper_than(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)
    return False


def _check_strings(value: Any, path: str = "") -> None:
    if isinstance(value, str):
        if not _FORBIDDEN.search(value):
            return
        if path:
            raise InvalidField(path, "must not contain control or invisible characters")
        raise MalformedBody("A text contains characters that are not allowed.")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_strings(name)  # one that cannot be shown names nothing
            _check_strings(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_strings(item, f"{path}[{index}]")


# -- saying what was expected ---------------------------------------------------------------

_MISSING = re.compile(r"Object missing required field `(\w+)`(?: - at `\$\.?(.*)`)?")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?(.*)`)?")
_WRONG_VALUE = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "decimal": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _explain(message: str) -> EarnestError:
    """msgspec's message as a refusal that names the field and what was expected."""
    if found := _MISSING.fullmatch(message):
        name, parent = found.groups()
        return InvalidField(f"{parent}.{name}" if parent else name, "is required")
    if found := _WRONG_TYPE.fullmatch(message):
        expected, got, field = found.groups()
        if not field:
            return MalformedBody(f"The body must be {_words(expected)}.")
        return InvalidField(field, f"must be {_words(expected)}, not {_WORDS.get(got, got)}")
    found = _WRONG_VALUE.fullmatch(message)
    assert found is not None
    what, field = found.groups()
    return InvalidField(field or "body", _constraint(what))


def _words(expected: str) -> str:
    kinds = (
        ["decimal" if kind == "int" else kind for kind in expected.split(" | ")]
        if ("decimal" in expected)
        else expected.split(" | ")
    )
    return " or ".join(dict.fromkeys(_WORDS.get(kind, kind) for kind in kinds))


def _constraint(what: str) -> str:
    if found := re.fullmatch(r"Expected `str` of length (<=|>=) (\d+)", what):
        bound = "at most" if found[1] == "<=" else "at least"
        return f"must be {bound} {found[2]} characters long"
    if found := re.fullmatch(r"Expected `array` of length (<=|>=) (\d+)", what):
        bound = "at most" if found[1] == "<=" else "at least"
        return f"must have {bound} {found[2]} entries"
    if what.startswith("Expected `str` matching regex"):
        return "must be one line of text"
    if what.startswith("Invalid enum value"):
        return "is not one of the allowed values"
    if found := re.fullmatch(r"Expected `int` (<=|>=) (-?\d+)", what):
        return f"must be {'at most' if found[1] == '<=' else 'at least'} {found[2]}"
    return "is not valid"
