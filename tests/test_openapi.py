"""The description itself: complete, the same every time, and in step with the router."""

import re
import subprocess
import sys
from typing import Any

import jsonschema_rs
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from earnest.domain.party import Role
from earnest.errors import code_of
from earnest.partner.token import error_of
from earnest.web.auth import access_of
from earnest.web.envelope import headers_around
from routes import PAGES
from truth import document, hold, resolved
from web import Caller

# Pages, files, and the description itself.
NOT_DESCRIBED = ("/docs", "/openapi.json", "/static", *PAGES)


@pytest.fixture
async def described(api: Caller) -> Any:
    return (await api.get("/openapi.json")).json()


def operations(described: Any) -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, one)
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    ]


async def test_it_describes_every_route(app: Litestar) -> None:
    routed = {
        f"{method} {route.path_format}"
        for route in app.routes
        if isinstance(route, HTTPRoute) and not route.path.startswith(NOT_DESCRIBED)
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    told = {f"{one.method} {one.route}" for one in app.state.described.operations}
    assert told == routed


async def test_it_serves_both_paths_of_a_contract(described: Any) -> None:
    """D1: the seed's path, and the deployed one as its alias."""
    for method, path, one in operations(described):
        if path.startswith("/api/client/contract/") and "/proof/" not in path:
            canonical = described["paths"][path.replace("/contract/", "/", 1)][method.lower()]
            assert one["operationId"] == f"{canonical['operationId']}Alias"
            assert one["responses"] == canonical["responses"]
            assert "deployed clients" in one["description"]


async def test_every_operation_has_a_name_of_its_own_and_a_tag(described: Any) -> None:
    found = operations(described)
    assert len({one["operationId"] for _, _, one in found}) == len(found) > 80
    tags = [tag["name"] for tag in described["tags"]]
    assert {tag for _, _, one in found for tag in one["tags"]} == set(tags)
    for _, _, one in found:
        assert len(one["tags"]) == 1
        assert one["summary"]
        assert one["description"]


async def test_every_reference_leads_somewhere_and_nothing_is_left_over(described: Any) -> None:
    used = {of["$ref"] for of in every_object(described) if "$ref" in of}
    for reference in used:
        assert resolved(described, {"$ref": reference})
    for kind, named in described["components"].items():
        if kind != "securitySchemes":
            assert {f"#/components/{kind}/{name}" for name in named} <= used


def every_object(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        for of in value.values():
            yield from every_object(of)
    elif isinstance(value, list):
        for of in value:
            yield from every_object(of)


async def test_every_schema_is_one_and_says_something(described: Any) -> None:
    for name, schema in described["components"]["schemas"].items():
        whole = schema | {"components": {"schemas": described["components"]["schemas"]}}
        jsonschema_rs.Draft202012Validator(whole)
        for field, of in schema.get("properties", {}).items():
            assert of.keys() & {"type", "$ref", "anyOf", "enum", "const"}, f"{name}.{field}: {of}"


async def test_money_is_a_number_and_an_id_is_24_digits(described: Any) -> None:
    schemas = described["components"]["schemas"]
    assert schemas["ContractDocument"]["properties"]["amount"]["type"] == "number"
    assert schemas["NewContract"]["properties"]["amount"]["type"] == "number"
    for name in ("ContractDocument", "JobDocument", "Person", "WalletDocument"):
        assert schemas[name]["properties"]["_id"]["pattern"] == "^[0-9a-f]{24}$"
    assert schemas["JobDocument"]["properties"]["createdAt"]["format"] == "date-time"
    assert "email" not in schemas["Person"]["required"]


async def test_it_says_who_may_call(described: Any, app: Litestar) -> None:
    for one in app.state.described.operations:
        told = described["paths"][one.path][one.method.lower()]
        roles = access_of(one.handler).roles
        assert ("401" in told["responses"]) >= bool(roles)
        if roles:
            token = "partnerToken" if Role.PARTNER in roles else "accessToken"
            assert told["security"] == [{token: []}]
            assert {"401", "403", "503"} <= told["responses"].keys()
            named = re.findall(r"Who: ([a-z, ]+)\.", told["description"])
            assert named == [", ".join(sorted(roles))]


async def test_it_names_exactly_the_codes_of_each_status(described: Any, app: Litestar) -> None:
    for one in app.state.described.operations:
        told = described["paths"][one.path][one.method.lower()]["responses"]
        for status, refusals in one.refusals.items():
            [content] = resolved(described, told[str(status)])["content"].values()
            [_, only] = content["schema"]["allOf"]
            codes = [code_of(each) for each in refusals]
            if one.form == "Token":
                errors = {error_of(status, each) for each in refusals}
                assert set(only["properties"]["error"]["enum"]) == errors
            else:
                assert only["properties"]["status"]["const"] == status
            if one.form:
                assert set(content["examples"]) >= set(codes)
                continue
            assert only["properties"]["code"]["enum"] == codes
            assert set(content["examples"]) == set(codes)


async def test_changes_take_a_key_but_for_signing_in(described: Any) -> None:
    for method, path, one in operations(described):
        takes = any(each["name"] == "Idempotency-Key" for each in one["parameters"])
        is_open = path.startswith(("/api/auth/", "/webhook", "/sandbox/", "/connect/"))
        assert takes == (method != "GET" and not is_open), path
        assert takes == ("422" in one["responses"])


MADE_ELSEWHERE = """
from earnest.app import build_app
from earnest.settings import Settings
from earnest.store.db import Pool
dsn = "postgresql://nobody@127.0.0.1:1/none"
app = build_app(Settings(database_url=dsn, secret_key=b"-" * 32), Pool(dsn))
described = app.state.described
print(described.json.etag, described.page.etag)
"""


async def test_it_names_the_headers_of_every_answer(described: Any) -> None:
    """Also those of a refusal by the connection, which has no request to give a name to."""
    said = described["info"]["description"].lower()
    assert all(f"`{name.decode()}`" in said for name, _ in headers_around(is_https=True))
    refused = described["components"]["responses"]["BodyTooLarge"]["headers"]
    assert list(refused) == ["Cache-Control"]


def test_it_is_the_same_bytes_in_every_process() -> None:
    made = {
        subprocess.run(
            [sys.executable, "-c", MADE_ELSEWHERE],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1


# -- the one who holds answers to it ----------------------------------------------------------

DRESSED = {
    "content-type": b"application/json",
    "x-request-id": b"0" * 32,
    "cache-control": b"no-store",
}
REFUSED = DRESSED | {"content-type": b"application/problem+json"}
LIES: list[tuple[int, dict[str, bytes], bytes, str]] = [
    (418, REFUSED, b"{}", "undocumented status"),
    (200, DRESSED, b'{"status":"ok","secret":1}', "secret"),
    (200, DRESSED, b"{}", "status"),
    (200, DRESSED, b'{"status":1}', "string"),
    (200, DRESSED | {"content-type": b"text/html"}, b"x", "undocumented text/html"),
    (200, {"content-type": b"application/json"}, b'{"status":"ok"}', "no X-Request-Id"),
    (200, DRESSED | {"set-cookie": b"a=b"}, b'{"status":"ok"}', "undocumented set-cookie"),
]


@pytest.mark.parametrize(("status", "headers", "body", "text"), LIES)
async def test_the_tests_notice_an_answer_that_is_not_described(
    app: Litestar, status: int, headers: dict[str, bytes], body: bytes, text: str
) -> None:
    hold(document(app), "GET", "/healthz", 200, DRESSED, b'{"status":"ok"}')
    with pytest.raises(AssertionError, match=text):
        hold(document(app), "GET", "/healthz", status, headers, body)
