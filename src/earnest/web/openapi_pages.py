"""The description, arranged for the **page** at `/docs`: what a template needs to say it."""

import json
import re
import shlex
from typing import Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup, escape

from earnest.web.openapi import FORM
from earnest.web.openapi_texts import TAGS

Description = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_HEX_24 = "^[0-9a-f]{24}$"


class Field(msgspec.Struct):
    """A parameter, or a member of an object. `kind` is HTML."""

    name: str
    kind: Markup
    text: Markup
    required: bool


class Shown(msgspec.Struct):
    """An example: pretty-printed JSON, or text."""

    title: str
    text: str


class Refusal(msgspec.Struct):
    """One code, and what it says."""

    status: str
    code: str
    text: str


class Entry(msgspec.Struct):
    """One operation, with the paths where it is served, too."""

    id: str
    method: str
    path: str
    summary: Markup
    paragraphs: list[Markup]
    parameters: list[Field]
    body: Markup | None
    curl: str
    status: str
    answer: Markup
    examples: list[Shown]
    refusals: list[Refusal]
    also: list[str]


class Section(msgspec.Struct):
    """The operations of one tag."""

    anchor: str
    name: str
    text: str
    entries: list[Entry]


def sections_of(document: Description) -> list[Section]:
    """All operations by tag, in the order of the tags."""
    sections = {
        tag: Section(re.sub(r"\W+", "-", tag.lower()), tag, text, []) for tag, text in TAGS.items()
    }
    entries: dict[str, Entry] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            canonical = one["operationId"].removesuffix("Alias")
            if canonical in entries:
                entries[canonical].also.append(path)
                continue
            entries[canonical] = _entry(document, path, method.upper(), one)
            sections[one["tags"][0]].entries.append(entries[canonical])
    return [section for section in sections.values() if section.entries]


def schemas_shown(document: Description) -> dict[str, tuple[Markup, list[Field]]]:
    """Every schema by name: its text and its fields."""
    return {
        name: (markup(of.get("description", "")), _fields(of))
        for name, of in document["components"]["schemas"].items()
    }


def markup(text: str) -> Markup:
    """Plain text with `code` and **weight** in it."""
    made = str(escape(text))
    made = re.sub(r"`([^`]+)`", r"<code>\1</code>", made)
    made = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", made)
    return Markup(made)  # noqa: S704  escaped above


def kind_of(schema: Description) -> Markup:
    """A schema in a few words, with links to what it refers to."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(dict.fromkeys(kind_of(one) for one in schema["anyOf"]))
    if "enum" in schema:
        shown = [repr(one) if one == "" else one for one in schema["enum"]]
        return Markup("one of {}").format(", ".join(shown))
    if schema.get("type") == "array":
        return Markup("list of {}").format(kind_of(schema["items"]))
    if schema.get("pattern") == _HEX_24:
        return Markup("id")
    if schema.get("format") == "date-time":
        return Markup("instant")
    kinds = schema.get("type", "anything")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return Markup("{}{}").format(words, _bounds(schema))


# -- one operation --------------------------------------------------------------------------------


def _entry(document: Description, path: str, method: str, one: Description) -> Entry:
    success = next(status for status in one["responses"] if status.startswith("2"))
    [(media_type, content)] = one["responses"][success]["content"].items()
    body = next(iter(one.get("requestBody", {}).get("content", {}).values()), None)
    return Entry(
        id=one["operationId"],
        method=method,
        path=path,
        summary=markup(one["summary"]),
        paragraphs=[markup(part) for part in one["description"].split("\n\n")],
        parameters=[
            Field(
                f"{each['name']} ({each['in']})",
                kind_of(each["schema"]),
                markup(each.get("description", "")),
                each["required"],
            )
            for each in one["parameters"]
        ],
        body=None if body is None else kind_of(body["schema"]),
        curl=_curl(document, path, method, one),
        status=success,
        answer=Markup("{}, {}").format(media_type, kind_of(content["schema"])),
        examples=[
            Shown(each["summary"], _printed(each["value"]))
            for each in content.get("examples", {}).values()
        ],
        refusals=[
            refusal
            for status, answer in one["responses"].items()
            if not status.startswith("2")
            for refusal in _refusals(document, status, answer)
        ],
        also=[],
    )


def _refusals(document: Description, status: str, answer: Description) -> list[Refusal]:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    [content] = answer["content"].values()
    return [
        Refusal(status, code, _said(each["value"])) for code, each in content["examples"].items()
    ]


def _said(refusal: Description) -> str:
    """The sentence of a refusal, in whatever form."""
    words = ("detail", "message", "error_description")
    return next(str(refusal[word]) for word in words if word in refusal)


def _curl(document: Description, path: str, method: str, one: Description) -> str:
    """The first recorded example as a command."""
    url = document["servers"][0]["url"] + path
    for each in one["parameters"]:
        if each["in"] == "path" and "example" in each:
            url = url.replace(f"{{{each['name']}}}", each["example"])
    words = [f"curl {'' if method == 'GET' else f'-X {method} '}{shlex.quote(url)}"]
    tokens = {"accessToken", "partnerToken"}
    if any(tokens & each.keys() for each in one["security"]) and {} not in one["security"]:
        words.append('-H "Authorization: Bearer $TOKEN"')
    sent = one.get("requestBody", {}).get("content", {})
    forms = list(sent.get(FORM, {}).get("examples", {}).values())
    words += [f"-d {shlex.quote(urlencode(each['value']))}" for each in forms[:1]]
    for each in list(sent.get("application/json", {}).get("examples", {}).values())[:1]:
        words.append("-H 'Content-Type: application/json'")
        words.append(f"-d {shlex.quote(json.dumps(each['value'], ensure_ascii=False))}")
    return " \\\n  ".join(words)


def _fields(schema: Description) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(name, kind_of(of), markup(of.get("description", "")), name in required)
        for name, of in schema.get("properties", {}).items()
    ]


def _bounds(schema: Description) -> str:
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if {"minLength", "maxLength"} & schema.keys() else ""
    if least is None and most is None:
        return ""
    if least is None:
        return f", at most {most:,}{unit}"
    if most is None:
        return f", at least {least:,}{unit}"
    return f", {least:,} to {most:,}{unit}"


def _printed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
