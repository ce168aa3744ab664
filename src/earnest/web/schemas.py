"""**JSON Schemas** of what is sent and answered, from the structs that read and write it."""

from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"


def schemas_of(bodies: Iterable[Any], answers: Iterable[Any]) -> tuple[dict[Any, Schema], Schema]:
    """A schema for each type, and all components that they refer to, in order of their names.

    A struct is for bodies or for answers, never for both: a field with a default may be left out
    of a body, and is always there in an answer.
    """
    bodies, answers = list(dict.fromkeys(bodies)), list(dict.fromkeys(answers))
    _, in_bodies = msgspec.json.schema_components(bodies, ref_template=REFERENCE)
    types = [*bodies, *answers]
    found, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for name, schema in components.items():
        if name not in in_bodies:
            _always_there(schema)
    named = {_name(name): _tidied(components[name]) for name in sorted(components)}
    return dict(zip(types, map(_tidied, found), strict=True)), named


def _name(component: str) -> str:
    """Both faces have a NewContract: the partner's is called so here.

    >>> _name("earnest.partner.contracts.NewContract")
    'PartnerNewContract'
    """
    module, _, name = component.rpartition(".")
    return f"Partner{name}" if ".partner." in f"{module}." else name


def _always_there(schema: Schema) -> None:
    properties = schema.get("properties", {})
    given = set(schema.get("required", ()))
    for name, of in properties.items():
        if "default" in of:
            given.add(name)
            del of["default"]
    schema["required"] = [name for name in properties if name in given]


def _tidied(schema: Any) -> Any:
    """Without what JSON Schema has another word for: numbers, anchors of patterns."""
    if isinstance(schema, list):
        return [_tidied(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _tidied(of) for name, of in schema.items()}
    if "$ref" in made:
        made["$ref"] = REFERENCE.format(name=_name(made["$ref"].rpartition("/")[2]))
    # A Decimal is a JSON number on our wire.
    if any(one.get("format") == "decimal" for one in made.get("anyOf", ())):
        rest = [one for one in made.pop("anyOf") if one["type"] not in ("integer", "string")]
        made = {"type": ["number", *(one["type"] for one in rest)] if rest else "number"} | made
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if "default" in made and made["default"] is None:
        del made["default"]
    return made
