"""The Python client against the description: nothing is missing, nothing drifts."""

import inspect
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import unquote
from uuid import uuid4

import msgspec

import earnest_client
from counter import Counter
from earnest_client import (
    AsyncEarnestClient,
    EarnestClient,
    Kyc,
    Metadata,
    contracts,
)
from earnest_client import payouts as payout_calls
from earnest_client import webhooks as webhook_calls
from earnest_client.calls import Call
from test_client import DUE, HALVES, HUDA, OMAR

GIVEN: dict[str, Any] = {
    "buyer": HUDA,
    "seller": OMAR,
    "seller_kyc": Kyc("1", "2", "3", date(1990, 2, 3)),
    "amount": 1,
    "milestones": HALVES,
    "metadata": Metadata(),
    "by": "buyer",
    "date_of_birth": date(1990, 2, 3),
    "since": DUE,
    "until": DUE,
    "milestone_id": 1,
}


def described(module: Any) -> Iterator[tuple[str, Call[Any]]]:
    """Every call that a module describes, by name, with everything that it takes."""
    for name, make in vars(module).items():
        if inspect.isfunction(make) and make.__module__ == module.__name__ and name[0] != "_":
            takes = set(inspect.signature(make).parameters) - {"idempotency_key"}
            yield name, make(**{one: GIVEN.get(one, f"{{{one}}}") for one in takes})


MODULES = (contracts, payout_calls, webhook_calls)
CALLS = {name: call for module in MODULES for name, call in described(module)}


async def test_it_has_a_call_for_every_route_of_the_partner_api(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    wanted = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/apps/api") or path == "/.well-known/jwks.json"
    }
    anything = re.compile(r"\{[^}]*\}")
    assert {(call.method, anything.sub("{}", unquote(call.path))) for call in CALLS.values()} == {
        (method, anything.sub("{}", path)) for method, path in wanted
    }


def test_both_clients_have_every_call_and_the_same_iterators() -> None:
    both = [
        {name: inspect.signature(value) for name, value in vars(kind).items() if name[0] != "_"}
        for kind in (EarnestClient, AsyncEarnestClient)
    ]
    for names in both:
        assert set(CALLS) <= set(names)
        for name in ("close", "aclose", "send"):
            names.pop(name, None)
    assert both[0] == both[1]
    assert EarnestClient.get_proof.__doc__ == contracts.get_proof.__doc__


def test_whatever_changes_something_has_a_key_of_its_own() -> None:
    for name, call in CALLS.items():
        assert (call.key is not None) == (call.method in ("POST", "DELETE")), name
    assert len({call.key for call in CALLS.values() if call.key}) > 15
    key = str(uuid4())
    assert contracts.release("CNT-2601-00000001", idempotency_key=key).key == key


async def test_it_knows_all_that_the_server_answers_and_nothing_else(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    for name, call in CALLS.items():
        [answer] = [
            next(iter(methods[call.method.lower()]["responses"].values()))["content"][
                "application/json"
            ]
            for path, methods in document["paths"].items()
            if re.sub(r"\{[^}]*\}", "{}", path) == re.sub(r"\{[^}]*\}", "{}", unquote(call.path))
        ]
        told = members(answer["schema"], document)
        [make] = [getattr(module, name) for module in MODULES if hasattr(module, name)]
        kind = get_type_hints(make)
        ours = msgspec.json.schema(get_args(kind["return"])[0])
        told = told if call.is_public else told["data"]
        if name == "get_keys":  # of a key, what verifying takes
            assert set(members(ours, ours)["keys"]) < set(told["keys"])
        else:
            assert members(ours, ours) == told, name


ALIASES = {"start_checkout": {"contractId", "phoneNumber"}}
"""Second names of the guide's for what has a name already."""


async def test_it_can_send_all_that_the_server_takes_and_nothing_else(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    for name, call in CALLS.items():
        [operation] = [
            methods[call.method.lower()]
            for path, methods in document["paths"].items()
            if re.sub(r"\{[^}]*\}", "{}", path) == re.sub(r"\{[^}]*\}", "{}", unquote(call.path))
        ]
        asked = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert asked == set(call.query), name
        body = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
        takes = members(body["content"]["application/json"]["schema"], document)
        for alias in ALIASES.get(name, ()):
            takes.pop(alias)
        if name == "create_contract":  # a party that is a text is sent as this
            for party in ("BuyerParty", "SellerParty"):
                takes[party].pop("platformRefId")
        assert sent(None if call.body is None else msgspec.json.decode(call.body)) == takes, name


def sent(value: Any) -> Any:
    """The names in what is sent, as `members` has them."""
    if isinstance(value, list):
        return sent(value[0])
    if isinstance(value, dict):
        return {name: sent(one) for name, one in value.items()}
    return None


def members(schema: Any, document: Any) -> Any:
    """The names in a schema, and the names in those; None for what has none."""
    if "$ref" in schema:
        found = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return members(found, document)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            branches = [members(one, document) for one in schema[several]]
            return next((one for one in branches if one is not None), None)
    if "items" in schema:
        return members(schema["items"], document)
    if "properties" in schema:
        return {name: members(one, document) for name, one in schema["properties"].items()}
    return None


def test_it_is_one_version_and_knows_nothing_of_the_server() -> None:
    class Project(msgspec.Struct):
        version: str

    class PyProject(msgspec.Struct):
        project: Project

    root = Path(__file__).parent.parent / "clients" / "python"
    project = msgspec.toml.decode((root / "pyproject.toml").read_bytes(), type=PyProject).project
    assert project.version == earnest_client.__version__
    for path in (root / "src").rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) earnest\b", text, re.MULTILINE), path
        assert text.count("\n") <= 400
        assert text.startswith('"""')
