"""Reading what an outsider signed: one JSON object, in the only way that it can be read.

Every reader raises MalformedBody for a field that is missing or of another type. Invariant: what
was verified and what is read are the same bytes, and no two readers can understand them otherwise.
"""

import json
import re
from collections.abc import Mapping
from typing import Never

import msgspec

from earnest.errors import MalformedBody

DEPTH_MAX = 32

_ID = re.compile(r"[!-~]{1,255}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def strict_object(raw: bytes) -> dict[str, object]:
    """`raw` as one JSON object, when there is only one way to read it.

    Raises MalformedBody for bytes that are not UTF-8, a byte order mark, a key that occurs
    twice, NaN or Infinity, nesting deeper than 32, or another value than an object.
    """
    plain = _read_plain(raw)
    return _read_thoroughly(raw) if plain is None else plain


def _read_plain(raw: bytes) -> dict[str, object] | None:
    """The same for little more than half the price, None where only the thorough way can say.

    It keeps the last of two equal keys, so keys are counted. Without white space every key ends in
    a quote and a colon. These are at least as many as the keys, or more where texts have them, too;
    if they are as many as the keys that were kept, then none was lost.
    """
    try:
        parsed = _decode_plain(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    keys_at_most = raw.translate(None, _WHITE_SPACE).count(b'":')
    return parsed if _count_keys(parsed, DEPTH_MAX) == keys_at_most else None


def _count_keys(of: dict[str, object] | list[object], levels: int) -> int:
    if not levels:
        refuse(f"the body is nested deeper than {DEPTH_MAX}")
    count, values = (len(of), of.values()) if isinstance(of, dict) else (0, of)
    for value in values:
        if isinstance(value, _NESTED):
            count += _count_keys(value, levels - 1)
    return count


def _read_thoroughly(raw: bytes) -> dict[str, object]:
    try:
        parsed = _decode(raw.decode())
    except UnicodeDecodeError:
        refuse("the body is not UTF-8")
    except RecursionError:
        refuse(f"the body is nested deeper than {DEPTH_MAX}")
    except ValueError:
        # Not JSON, or a number of more than 4,300 digits.
        refuse("the body is not JSON")
    if not isinstance(parsed, dict):
        refuse("the body must be an object")
    _count_keys(parsed, DEPTH_MAX)
    return parsed


def refuse(why: str) -> Never:
    """Raise MalformedBody."""
    raise MalformedBody(f"Malformed: {why}.")


def _refuse_constant(name: str) -> Never:
    refuse(f"{name} is not a JSON number")


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        refuse("a key occurs twice in one object")
    return unique


# Made once: `json.loads` makes one for every call that has hooks.
_decode = json.JSONDecoder(object_pairs_hook=_unique_pairs, parse_constant=_refuse_constant).decode
_decode_plain = msgspec.json.Decoder().decode
_NESTED = (dict, list)
_WHITE_SPACE = b" \t\r\n"


def read_id(of: Mapping[str, object], name: str) -> str:
    """A text of 1 to 255 printable ASCII characters."""
    value = of.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        refuse(f"{name} must be 1 to 255 printable ASCII characters")
    return value


def read_optional_id(of: Mapping[str, object], name: str) -> str | None:
    """The same, or None where it is null or missing."""
    return None if of.get(name) is None else read_id(of, name)


def read_flag(of: Mapping[str, object], name: str) -> bool | None:
    """True or false, or None."""
    value = of.get(name)
    if value is not None and not isinstance(value, bool):
        refuse(f"{name} must be true or false")
    return value


def read_integer(of: Mapping[str, object], name: str, maximum: int) -> int | None:
    """A whole number from 0 to `maximum`, or None."""
    value = of.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        refuse(f"{name} must be a whole number from 0 to {maximum}")
    return value


def read_currency(session: Mapping[str, object]) -> str | None:
    """An ISO 4217 code in upper case, or None."""
    value = session.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        refuse("currency must be three letters")
    return value.upper()


def read_metadata(session: Mapping[str, object]) -> dict[str, str]:
    """Texts by name; {} where there are none."""
    given = session.get("metadata")
    if given is None:
        return {}
    if not isinstance(given, dict):
        refuse("metadata must be an object")
    metadata: dict[str, str] = {}
    for key, value in given.items():
        if not isinstance(value, str) or not storable(key) or not storable(value):
            refuse("metadata must map texts to texts")
        metadata[key] = value
    return metadata


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: no NUL, no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or _HALF_A_PAIR.search(text) is None)
