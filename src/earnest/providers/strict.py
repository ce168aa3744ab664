"""Reading what an outsider signed: one JSON object, in the only way that it can be read.

Every reader raises MalformedBody for a field that is missing or of another type. Invariant: what
was verified and what is read are the same bytes, and no two readers can understand them otherwise.
"""

import json
import re
from collections.abc import Mapping
from typing import Never

from earnest.errors import MalformedBody

DEPTH_MAX = 32

_ID = re.compile(r"[!-~]{1,255}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def strict_object(raw: bytes) -> dict[str, object]:
    """`raw` as one JSON object, when there is only one way to read it.

    Raises MalformedBody for bytes that are not UTF-8, a byte order mark, a key that occurs
    twice, NaN or Infinity, nesting deeper than 32, or another value than an object.
    """
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
    # Every level needs a bracket: where there are few, none can be too deep.
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX:
        _refuse_depth(parsed)
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


def _refuse_depth(root: dict[str, object]) -> None:
    level: list[object] = [root]
    for _ in range(DEPTH_MAX):
        inside: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
        level = [value for value in inside if isinstance(value, dict | list)]
        if not level:
            return
    refuse(f"the body is nested deeper than {DEPTH_MAX}")


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
    return _UNSTORABLE.search(text) is None
