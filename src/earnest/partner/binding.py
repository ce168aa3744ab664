"""**Binding** of bodies to what a handler wants, whatever case their names are in (E4).

The guide's samples mix `title`, `BuyerParty` and `callbackurl`, so a name binds when it is equal
but for case. Invariant: no object has two names that differ in nothing but case, however deep and
whether we know them or not, so nobody else can read another value than we do (abuse case 6).
"""

import functools
import re
from typing import Any

from litestar.types import Empty
from msgspec import inspect

from earnest.errors import InvalidField, MalformedBody
from earnest.web.guard import EarnestRequest, convert, read_json, require_json

_SEGMENT = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


class PartnerRequest(EarnestRequest):
    """A request whose body binds without regard to case; what is unknown is ignored."""

    __slots__ = ()

    async def json(self) -> Any:
        """The body as the type of the handler's `data`. Raises what EarnestRequest's does."""
        if self._json is Empty:
            require_json(self)
            plain = read_json(await self.body())
            self.scope["earnest.body"] = plain  # type: ignore[typeddict-unknown-key]
            refuse_twins(plain)
            field = self.route_handler.parsed_data_field
            self._json = plain if field is None else bind(plain, field.annotation)
        return self._json


def bind(plain: Any, wanted: Any) -> Any:
    """`plain` as `wanted`, a Struct. Raises InvalidField, MalformedBody."""
    if not isinstance(plain, dict):
        raise MalformedBody("The body must be an object.")
    return convert(_renamed(plain, _shape(wanted)), wanted)


def refuse_twins(value: Any, path: str = "") -> None:
    """Raises InvalidField for a name that stands twice in one object but for its case."""
    if isinstance(value, dict):
        seen: set[str] = set()
        for name, item in value.items():
            folded = name.casefold()
            where = f"{path}.{name}" if path else name
            if folded in seen:
                raise InvalidField(where, "is there twice, but for upper and lower case")
            seen.add(folded)
            refuse_twins(item, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_twins(item, f"{path}[{index}]")


def as_written(field: str, plain: Any) -> str:
    """The path `field` with each name as it stands in the body `plain`; ours where it is missing.

    >>> as_written("milestones[0].amount", {"Milestones": [{"AMOUNT": 0}]})
    'Milestones[0].AMOUNT'
    """
    path = ""
    for name, index in _SEGMENT.findall(field):
        if index:
            path += f"[{index}]"
            inside = isinstance(plain, list) and int(index) < len(plain)
            plain = plain[int(index)] if inside else None
            continue
        written = name
        if isinstance(plain, dict):
            if name not in plain:
                written = next((key for key in plain if _same(key, name)), name)
            plain = plain.get(written)
        else:
            plain = None
        path += f".{written}" if path else written
    return path


# -- shapes -----------------------------------------------------------------------------------

_Shape = dict[str, tuple[str, Any]] | None
"""By lower-case name: the name as msgspec wants it, and the shape of what is inside."""


@functools.cache
def _shape(wanted: Any) -> _Shape:
    return _shape_of(inspect.type_info(wanted))


def _shape_of(info: Any) -> _Shape:
    match info:
        case inspect.StructType(fields=fields):
            return {
                one.encode_name.lower(): (one.encode_name, _shape_of(one.type)) for one in fields
            }
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return _shape_of(item)
        case inspect.UnionType(types=types):
            return next((made for made in map(_shape_of, types) if made is not None), None)
    return None


def _renamed(value: Any, shape: _Shape) -> Any:
    if shape is None:
        return value
    if isinstance(value, list):
        return [_renamed(item, shape) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, item in value.items():
        known = shape.get(name.lower()) if name.isascii() else None
        if known is not None:
            made[known[0]] = _renamed(item, known[1])
    return made


def _same(written: str, name: str) -> bool:
    return written.isascii() and written.lower() == name.lower()
