"""The **description** of this API: OpenAPI 3.1, made once from what the code declares.

Invariant: nothing is said here by hand that the code could say. Paths, parameters, statuses and
error codes come from `earnest.web.operations`, schemas from the structs that read and write the
wire, examples from `examples.json`, which is recorded from a running server (`make docs`).
"""

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from earnest.domain.party import Role
from earnest.errors import EarnestError, TooMany, Unavailable, code_of
from earnest.partner.token import error_of
from earnest.web import openapi_texts as texts
from earnest.web.auth import PUBLIC
from earnest.web.guard import BodyTooLarge
from earnest.web.idempotency import HEADER as KEY_HEADER
from earnest.web.operations import Form, Operation, Refusals
from earnest.web.problems import MEDIA_TYPE, Problem, body_of
from earnest.web.schemas import schemas_of

Description = dict[str, Any]

EXAMPLES = Path(__file__).parent / "examples.json"
ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
UUID = {"type": "string", "format": "uuid"}
FORM = "application/x-www-form-urlencoded"
_SHARED_MIN = 4  # as many operations make an answer worth a name of its own


class Example(msgspec.Struct):
    """One recorded request and its answer; `of` is the operation's id. Texts that differ from run
    to run (ids, instants, tokens) are replaced by fixed ones of the same shape."""

    of: str
    title: str
    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int
    answer: Any


def describe(
    operations: list[Operation], version: str, server_url: str, mentioned: Iterable[type]
) -> Description:
    """The whole document. `mentioned`: structs that others refer to by name only; the partner
    API's `Failure` is among them."""
    bodies = [of for one in operations for of in (one.body, one.form_body) if of is not None]
    answers = [one.answer for one in operations if one.media_type == "application/json"]
    schemas, components = schemas_of(bodies, [*answers, *mentioned, Problem])
    components["Problem"] = texts.PROBLEM | {
        "properties": {
            name: of | {"description": texts.PROBLEM_FIELDS[name]}
            for name, of in components["Problem"]["properties"].items()
        },
        "required": [name for name in texts.PROBLEM_FIELDS if name != "field"],
    }
    shared = _shared(operations)
    paths: Description = {}
    for one in operations:
        described = _operation(one, schemas, shared)
        paths.setdefault(one.path, {})[one.method.lower()] = described
    used = {tag for one in operations for tag in one.tags}
    return {
        "openapi": "3.1.0",
        "info": texts.INFO | {"version": version},
        "servers": [{"url": server_url}],
        "tags": [
            {"name": name, "description": text} for name, text in texts.TAGS.items() if name in used
        ],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                name: _FORMS[form](status, refusals)
                for (status, refusals, form), name in shared.items()
            },
            "headers": texts.HEADERS,
            "securitySchemes": texts.SECURITY,
        },
    }


@cache
def recorded() -> tuple[Example, ...]:
    """The examples, in the order in which they happened."""
    return msgspec.json.decode(EXAMPLES.read_bytes(), type=tuple[Example, ...])


# -- one operation ------------------------------------------------------------------------------

_Shared = dict[tuple[int, Refusals, Form], str]
"""By status, codes, and the form in which they are told."""


def _operation(one: Operation, schemas: dict[Any, Any], shared: _Shared) -> Description:
    summary, text = texts.summary_of(one)
    examples = [each for each in recorded() if each.of == (one.alias_of or one.id)]
    made: Description = {
        "operationId": one.id,
        "tags": list(one.tags),
        "summary": summary,
        "description": text,
        "parameters": [*_in_path(one, examples), *_in_query(one, examples), *_key(one)],
    }
    if one.handler.opt.get("signed"):
        made["parameters"].append(texts.SIGNATURE)
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": _with_examples(texts.EVENT, _sent(examples))},
        }
    if one.body is not None:
        made["requestBody"] = {
            "required": one.needs_body,
            "content": {"application/json": _with_examples(schemas[one.body], _sent(examples))},
        }
    if one.form_body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {FORM: _with_examples(schemas[one.form_body], _sent(examples))},
        }
    made["responses"] = {str(one.status): _success(one, schemas, examples)}
    for status, refusals in one.refusals.items():
        made["responses"][str(status)] = (
            {"$ref": f"#/components/responses/{shared[status, refusals, one.form]}"}
            if (status, refusals, one.form) in shared
            else _FORMS[one.form](status, refusals, examples)
        )
    made["security"] = _security(one)
    return made


def _in_path(one: Operation, examples: list[Example]) -> list[Description]:
    success = next((each for each in examples if each.status == one.status), None)
    found = []
    for name in one.in_path:
        is_id = name.lower().endswith("id") or name == "reference"
        is_hex = is_id and name != "sessionId" and not one.form
        of = UUID if name == "businessId" else ID if is_hex else {"type": "string"}
        made = {"name": name, "in": "path", "required": True, "schema": of}
        if success is not None:
            made["example"] = success.path[name]
        found.append(made)
    return found


def _in_query(one: Operation, examples: list[Example]) -> list[Description]:
    found = []
    for name in one.in_query:
        made = {"name": name, "in": "query", "required": False} | texts.QUERY[name]
        accepted = (each.query for each in examples if each.status == one.status)
        shown = next((query[name] for query in accepted if name in query), None)
        if shown is not None:
            number = made["schema"].get("type") == "integer"
            made["example"] = int(shown) if number and shown.isdigit() else shown
        found.append(made)
    return found


def _key(one: Operation) -> list[Description]:
    if not one.takes_key:
        return []
    return [{"name": KEY_HEADER, "in": "header", "required": False} | texts.KEY]


def _security(one: Operation) -> list[Description]:
    """One of these is enough; {} is nobody."""
    cookie = one.handler.opt.get("cookie")
    if one.handler.fn.__name__ == "show_metrics":
        return [{}, {"metricsToken": []}]
    if cookie is not None:
        return [{"refreshCookie": []}] if cookie == "needed" else [{"refreshCookie": []}, {}]
    if one.access == PUBLIC:
        return []
    if Role.PARTNER in one.access.roles:
        return [{"partnerToken": []}]
    if one.access.roles:
        return [{"accessToken": []}]
    return [{"accessToken": []}, {"refreshCookie": []}, {}]


# -- answers --------------------------------------------------------------------------------------


def _success(one: Operation, schemas: dict[Any, Any], examples: list[Example]) -> Description:
    headers = ["X-Request-Id", "Cache-Control"]
    if one.takes_key:
        headers.append("Idempotent-Replayed")
    if one.handler.opt.get("sets_cookie"):
        headers.append("Set-Cookie")
    of = schemas[one.answer] if one.media_type == "application/json" else {"type": "string"}
    shown = {
        each.title: {"summary": each.title, "value": each.answer}
        for each in examples
        if each.status == one.status
    }
    return {
        "description": texts.answer_of(one),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {one.media_type: _with_examples(of, _named(shown))},
    }


def _failure(status: int, refusals: Refusals, examples: Iterable[Example] = ()) -> Description:
    """The partner API's answer with this status, in its envelope."""
    shown = {}
    for one in refusals:
        text = " ".join((one.__doc__ or "").split())
        told = {
            "message": text,
            "status": status,
            "validationErrors": [],
            "succeeded": False,
            "errors": [text],
        }
        shown[code_of(one)] = {"summary": text, "value": told}
    shown |= {
        f"recorded{number}": {"summary": each.title, "value": each.answer}
        for number, each in enumerate(examples, start=1)
        if each.status == status
    }
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Failure"},
            {"properties": {"status": {"const": status}}},
        ]
    }
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(map(code_of, refusals))}.",
        "headers": _headers_of(status, refusals),
        "content": {"application/json": _with_examples(schema, shown)},
    }


def _token_refused(
    status: int, refusals: Refusals, examples: Iterable[Example] = ()
) -> Description:
    """The answer of `/connect/token` with this status (RFC 6749, section 5.2)."""
    shown = {}
    for one in refusals:
        text = " ".join((one.__doc__ or "").split())
        told = {"error": error_of(one.status, one), "error_description": text}
        shown[code_of(one)] = {"summary": text, "value": told}
    shown |= {
        f"recorded{number}": {"summary": each.title, "value": each.answer}
        for number, each in enumerate(examples, start=1)
        if each.status == status
    }
    errors = sorted({error_of(one.status, one) for one in refusals})
    only = {"properties": {"error": {"enum": errors}}}
    headers = _headers_of(status, refusals)
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate-Basic"}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(errors)}.",
        "headers": headers,
        "content": {
            "application/json": _with_examples(
                {"allOf": [{"$ref": "#/components/schemas/TokenRefused"}, only]}, shown
            )
        },
    }


def _headers_of(status: int, refusals: Refusals) -> Description:
    headers = ["Cache-Control"]
    # Who announces too large a body is refused by the connection, before there is a request.
    if status != BodyTooLarge.status:
        headers.append("X-Request-Id")
    if status == 401:
        headers.append("WWW-Authenticate")
    if any(issubclass(one, (TooMany, Unavailable)) for one in refusals):
        headers.append("Retry-After")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _problem(status: int, refusals: Refusals, examples: Iterable[Example] = ()) -> Description:
    """The answer with this status: the shape of every problem, and exactly these codes."""
    codes = [code_of(one) for one in refusals]
    only = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    shown = {code_of(one): _refusal(one, examples) for one in refusals}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}.",
        "headers": _headers_of(status, refusals),
        "content": {
            MEDIA_TYPE: _with_examples(
                {"allOf": [{"$ref": "#/components/schemas/Problem"}, only]}, shown
            )
        },
    }


_FORMS = {"": _problem, "Partner": _failure, "Token": _token_refused}


def _refusal(refusal: type[EarnestError], examples: Iterable[Example]) -> Description:
    """What was recorded of this operation, of any other one, or what the renderer would say."""
    code = code_of(refusal)
    for each in (*examples, *recorded()):
        if each.status == refusal.status and each.answer.get("code") == code:
            return {"summary": each.title, "value": each.answer}
    text = " ".join((refusal.__doc__ or "").split())
    body = body_of(refusal.status, code, text)
    return {"summary": text, "value": msgspec.to_builtins(body)}


def _shared(operations: list[Operation]) -> _Shared:
    """Names for the refusals that many operations have in common."""
    counts: dict[tuple[int, Refusals, Form], int] = {}
    for one in operations:
        for status, refusals in one.refusals.items():
            key = (status, refusals, one.form)
            counts[key] = counts.get(key, 0) + 1
    return {
        (status, refusals, form): form + "".join(refusal.__name__ for refusal in refusals)
        for (status, refusals, form), count in counts.items()
        # What is wrong with a field or found is each operation's own example.
        if count >= _SHARED_MIN and status not in (400, 404)
    }


def _sent(examples: list[Example]) -> Description:
    shown = {
        each.title: {"summary": each.title, "value": each.body}
        for each in examples
        if each.body is not None and each.status < 300
    }
    return _named(shown)


def _named(shown: Description) -> Description:
    """Keys of a map of examples are names, not sentences."""
    return {f"example{index}": each for index, each in enumerate(shown.values(), start=1)}


def _with_examples(schema: Description, examples: Description) -> Description:
    return {"schema": schema, "examples": examples} if examples else {"schema": schema}
