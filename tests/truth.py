"""The **truth** of the description: whatever any test is answered, the description has said so.

`truthful(app)` is `app`, and holds every answer to the document that the same `app` serves: the
status and the code are there for this operation, the media type, the headers and the body are as
described, and the body has no member that is not. So the document is true by the whole suite.
"""

import json
from functools import cache
from typing import Any

import jsonschema_rs
from litestar import Litestar

from earnest.web.docs_page import Described

Answer = dict[str, Any]

NEVER_PROMISED = frozenset({405, 500})
"""A wrong method is of no operation; tests that break the server on purpose look at its 500."""

_KNOWN: dict[tuple[object, ...], Answer] = {}


def truthful(app: Litestar) -> Any:
    """`app` as an ASGI application whose answers are held to its description."""
    promised: Answer = {}

    async def told(scope: Any, receive: Any, send: Any) -> None:
        status, headers, body = 0, {}, b""

        async def heard(message: Any) -> None:
            nonlocal status, headers, body
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {name.decode().lower(): value for name, value in message["headers"]}
            else:
                body += message.get("body", b"")
            await send(message)

        await app(scope, receive, heard)
        if scope["type"] == "http" and scope.get("path_template"):
            if not promised:
                promised.update(document(app))
            hold(promised, scope["method"], scope["path_template"], status, headers, body)

    return told


def document(app: Litestar) -> Answer:
    """What `app` says of itself; made once for all applications with the same routes."""
    routes = tuple(
        (route.path, *(handler.fn for handler in getattr(route, "route_handlers", ())))
        for route in app.routes
    )
    if routes not in _KNOWN:
        described: Described = app.state.described
        known = json.loads(described.json.body)
        _KNOWN[routes] = known | {"x-by-route": by_route(described), "x-closed": closed(known)}
    return _KNOWN[routes]


def by_route(described: Described) -> dict[str, Answer]:
    """`GET /api/x/{job_id}` -> its operation, under the names that the router uses."""
    return {
        f"{one.method} {one.route}": described.document["paths"][one.path][one.method.lower()]
        for one in described.operations
    }


def hold(
    described: Answer,
    method: str,
    route: str,
    status: int,
    headers: dict[str, bytes],
    body: bytes,
) -> None:
    """AssertionError unless this answer is one that the description promises."""
    operation = described["x-by-route"].get(f"{method} {route}")
    if operation is None or status in NEVER_PROMISED:
        return
    who = f"{method} {route} -> {status} {body[:300]!r}"
    assert str(status) in operation["responses"], f"undocumented status: {who}"
    answer = resolved(described, operation["responses"][str(status)])
    for name, reference in answer["headers"].items():
        of = resolved(described, reference)
        given = headers.get(name.lower())
        assert given is not None or not of.get("required"), f"no {name}: {who}"
        if given is not None:
            value: Any = given.decode()
            if of["schema"].get("type") == "integer":
                value = int(value)
            assert jsonschema_rs.is_valid(of["schema"], value), f"{name}: {value}: {who}"
    for name in ("set-cookie", "retry-after", "www-authenticate", "idempotent-replayed"):
        documented = name in map(str.lower, answer["headers"])
        assert documented or name not in headers, f"undocumented {name}: {who}"
    media_type = headers["content-type"].decode().partition(";")[0]
    assert media_type in answer["content"], f"undocumented {media_type}: {who}"
    if media_type.endswith("json"):
        schema = answer["content"][media_type]["schema"]
        problem = next(
            validator(described["x-closed"], key(schema)).iter_errors(json.loads(body)), None
        )
        assert problem is None, f"{problem}: {who}"


def resolved(described: Answer, found: Answer) -> Answer:
    """What a reference refers to."""
    while "$ref" in found:
        at: Any = described
        for part in found["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        found = at
    return found


def key(schema: Answer) -> str:
    return json.dumps(schema, sort_keys=True)


def closed(described: Answer) -> str:
    """The components, where no object has members beyond those described."""
    schemas = {
        name: of | ({"additionalProperties": False} if "properties" in of else {})
        for name, of in described["components"]["schemas"].items()
    }
    return key(schemas)


@cache
def validator(components: str, schema: str) -> Any:
    """A validator for `schema`; compiled once."""
    whole = json.loads(schema) | {"components": {"schemas": json.loads(components)}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
