"""Every example in the API's description has just been run, and fits what it is an example of."""

import json
from typing import Any

import jsonschema_rs
import pytest

from earnest.generated import record_examples
from earnest.partner.token import CHALLENGE
from earnest.web.openapi import EXAMPLES, recorded
from earnest.web.openapi_pages import sections_of
from truth import document, hold, resolved
from web import Caller

DRESSED = {
    "content-type": b"",
    "x-request-id": b"0" * 32,
    "cache-control": b"no-store",
    "retry-after": b"1",
    "www-authenticate": b"Bearer",
    "set-cookie": b"refreshToken=header.claims.signature",
}
"""The headers that answers have; examples show bodies."""


async def test_the_scenario_ends_as_it_was_recorded(database: Any) -> None:
    told = json.loads(await record_examples(database.app_dsn))
    kept = json.loads(EXAMPLES.read_bytes())
    assert [(one["of"], one["title"]) for one in told] == [
        (one["of"], one["title"]) for one in kept
    ]
    for now, then in zip(told, kept, strict=True):
        assert now == then, f"{now['of']}, {now['title']}: run `make docs`"


async def test_every_operation_has_an_example_of_its_success(api: Caller) -> None:
    described = (await api.get("/openapi.json")).json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            [success] = [status for status in operation["responses"] if status.startswith("2")]
            [content] = operation["responses"][success]["content"].values()
            assert content.get("examples"), f"{method} {path}: no example of {success}"
            if "requestBody" in operation and operation["requestBody"]["required"]:
                [sent] = operation["requestBody"]["content"].values()
                assert sent["examples"], f"{method} {path}: no example of its body"


async def test_every_example_fits_its_schema(api: Caller) -> None:
    described = (await api.get("/openapi.json")).json()
    components = {"components": {"schemas": described["components"]["schemas"]}}
    count = 0
    for schema, value in every_example(described):
        problem = next(
            jsonschema_rs.Draft202012Validator(schema | components).iter_errors(value), None
        )
        assert problem is None, f"{problem}: {value}"
        count += 1
    assert count > 700


def every_example(described: Any) -> Any:
    """Each example beside the schema that it is an example of."""
    for methods in described["paths"].values():
        for operation in methods.values():
            for each in operation["parameters"]:
                if "example" in each:
                    yield each["schema"], each["example"]
            contents = list(operation.get("requestBody", {}).get("content", {}).values())
            for answer in operation["responses"].values():
                contents += resolved(described, answer)["content"].values()
            for content in contents:
                for each in content.get("examples", {}).values():
                    yield content["schema"], each["value"]


async def test_every_recorded_answer_is_a_documented_one(api: Caller, app: Any) -> None:
    described = document(app)
    operations = {one.id: one for one in app.state.described.operations}
    for one in recorded():
        operation = operations[one.of]
        is_json = operation.media_type == "application/json"
        refused = "application/json" if operation.form else "application/problem+json"
        media_type = operation.media_type if one.status < 300 else refused
        body = json.dumps(one.answer).encode() if is_json or one.status >= 400 else b""
        documented = described["x-by-route"][f"{operation.method} {operation.route}"]
        answer = resolved(described, documented["responses"].get(str(one.status), {"headers": {}}))
        headers = {
            name: value
            for name, value in DRESSED.items()
            if name in {"content-type", *map(str.lower, answer["headers"])}
        }
        if operation.route.startswith("/connect/") and one.status == 401:
            headers["www-authenticate"] = CHALLENGE.encode()
        headers["content-type"] = media_type.encode()
        hold(described, operation.method, operation.route, one.status, headers, body)


@pytest.mark.parametrize("accident", ["eyJ", "127.0.0.1", "Cobalt!Kite7\\u0000"])
def test_no_example_shows_what_differs_from_run_to_run(accident: str) -> None:
    assert accident not in EXAMPLES.read_text()


async def test_the_page_shows_every_operation(api: Caller) -> None:
    described = (await api.get("/openapi.json")).json()
    shown = [entry for section in sections_of(described) for entry in section.entries]
    paths = [path for entry in shown for path in (entry.path, *entry.also)]
    assert sorted(paths) == sorted(
        path for path, methods in described["paths"].items() for _ in methods
    )
