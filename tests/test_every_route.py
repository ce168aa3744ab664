"""Whatever is asked wrongly of any route is refused in JSON of one shape, never 5xx (D9)."""

import re
from typing import Any

import msgspec
import pytest
from litestar.routes import HTTPRoute

from digest import digest
from earnest.store.db import Pool
from refusals import MALFORMED_IDS
from routes import PATH_PARAMETER, World, paths, routes
from web import UNKNOWN_ID, Cast, problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "FOO")
STRANGE_IDS = (
    *MALFORMED_IDS,
    "6" * 24 + "%00",
    "6" * 23 + "%C3%A9",
    "6" * 12 + "%ED%A0%80" * 4,
    "%FF" * 24,
    "-" + "6" * 23,
    "%2B" + "6" * 23,
    "0x" + "6" * 22,
    "6" * 5000,
    "{id}",
    "$ne",
    "' OR 1=1--",
    "%3Cscript%3E",
    "6" * 24 + ";x=1",
    "6" * 24 + ".json",
    "..%2Fx",
    "%2e%2e%2fx",
    "..%5Cx",
    "..%252fx",
    "%E2%80%AE" + "6" * 23,
)
UNKNOWN = (
    "/",
    "//",
    "/api",
    "/api/",
    "/api/v1/nothing",
    "/api/client",
    "/api/client/job",
    "/api/client/job/get-jobs/more",
    "/api/client/job/GET-JOBS",
    "/api/client/job/get%2Djobs%2Fx",
    "/api/client/job%2Fget-jobs%2Fmore",
    "/api%252Fclient%252Fjob%252Fget-jobs",
    "/api/../metrics2",
    "/api/client/job/%2e%2e/%2e%2e/nothing",
    "/..%2f..%2fetc/passwd",
    "/%00",
    "/%ff",
    "/%c0%af",
    "/%ed%a0%80",
    "/%",
    "/%zz",
    "/;x",
    "/~",
    "/api/" + "x" * 5000,
    "/" + "a/" * 2000,
    "/docs/nothing",
    "/docs/../nothing",
    "/docs/%2e%2e%2fsecret_key",
    "/docs/openapi.yaml",
    "/docs/swagger",
    "/docs/redoc",
    "/schema",
    "/static",
    "/static/",
    "/static/nothing.css",
    "/static/../guard.py",
    "/static/%2e%2e/guard.py",
    "/static/..%2f..%2fguard.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/%00",
    "/static/" + "x" * 5000,
    "/sandbox",
    "/sandbox/nothing",
    "/favicon.ico",
    "/robots.txt",
    "/.env",
    "/.git/config",
    "/api/chat/messages",
    "/api/media/upload",
    "/api/auth/google-login",
)


async def test_it_answers_an_unknown_route_in_json(cast: Cast, pool: Pool) -> None:
    before = await digest(pool)
    for path in UNKNOWN:
        for method in ("GET", "POST", "PUT", "DELETE", "PROPFIND"):
            for who in (cast.anybody, cast.olga):
                answer = await who.request(method, path, content=b"{")
                # A file's path has a route, which has its methods.
                status = answer.status_code if path.startswith(("/static/", "/docs/")) else 404
                assert status in (404, 405), f"{method} {path}"
                assert answer.status_code == status, f"{method} {path}"
                text = problem(answer, status)["error"]
                assert "etc" not in text
                assert "secret" not in text
    assert await digest(pool) == before


async def test_it_names_the_methods_of_every_route(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    other_forms = tuple(prefix for prefix, _ in cast.app.state.forms)
    before = await digest(pool)
    for route in paths(cast):
        allowed = set(route.methods) | ({"HEAD"} if "GET" in route.methods else set())
        path = PATH_PARAMETER.sub(lambda found: world.ids.get(found[1], UNKNOWN_ID), route.path)
        for method in set(METHODS) - allowed - elsewhere(cast, route, path):
            for who in (cast.anybody, cast.olga):
                answer = await who.request(method, path, content=b"{")
                assert answer.status_code == 405
                if not route.path.startswith(other_forms):
                    problem(answer, 405)
                named = {each.strip() for each in answer.headers["allow"].split(",")}
                assert named == allowed, f"{method} {route.path}"
        if "GET" not in allowed | elsewhere(cast, route, path):
            answer = await cast.anybody.head(path)
            assert (answer.status_code, answer.content) == (405, b""), route.path
    assert await digest(pool) == before


_PARAMETER = re.compile(r"\{\w+:\w+\}")


def elsewhere(cast: Cast, route: HTTPRoute, path: str) -> set[str]:
    """Methods that another route has at this path: GET .../checkout asks for a contract of that
    name."""
    return {
        str(method)
        for other in paths(cast)
        if other is not route
        and re.fullmatch("[^/]+".join(map(re.escape, _PARAMETER.split(other.path))), path)
        for method in other.methods
    }


@pytest.mark.abuse(43)
async def test_it_refuses_a_strange_id_in_every_place(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    asked = 0
    for route in routes(world):
        for parameter in route.parameters:
            for strange in STRANGE_IDS:
                answer = await route.ask(ids={parameter: strange}, json={})
                where = f"{route.name} {parameter}={strange[:40]}"
                assert answer.status_code in (400, 404), f"{where}: {answer.text}"
                said = problem(answer, answer.status_code)
                assert not re.search(r"script|OR 1=1|\$ne", answer.text), where
                if answer.status_code == 400 and route.body is None and "code" in said:
                    assert said["code"] in ("invalid_field", "malformed_body"), where
                asked += 1
    assert asked > 1_000
    assert await digest(pool) == before


@pytest.mark.abuse(43)
async def test_it_says_so_of_an_id_that_nobody_has(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in routes(world):
        for parameter in route.parameters:
            for unknown in (UNKNOWN_ID, "f" * 24, "0" * 24):
                answer = await route.ask(ids={parameter: unknown}, json={})
                where = f"{route.name} {parameter}: {answer.status_code}"
                assert answer.status_code < 500, where
                if answer.status_code >= 400:
                    problem(answer, answer.status_code)
                else:
                    assert route.method == "GET", where
    assert await digest(pool) == before


@pytest.mark.parametrize("query", ["?%00", "?%ff=%ff", "?=", "?&&&", "?" + "x=1&" * 1500, "?a[]=1"])
async def test_it_minds_no_query_that_it_did_not_ask_for(cast: Cast, query: str) -> None:
    world = await World.of(cast)
    for route in routes(world):
        if route.method != "GET":
            continue
        plain, odd = await route.ask(), await route.ask(query)
        assert odd.status_code == plain.status_code, f"{route.name}: {odd.text}"


# -- ids in bodies ----------------------------------------------------------------------------

WRONG_IDS: tuple[Any, ...] = (
    "xyz",
    "6" * 23,
    "6" * 25,
    "g" * 24,
    "6" * 5000,
    "../" + "6" * 21,
    "%00",
    " " + "6" * 24,
    "6" * 24 + "\n",
    "\uff16" * 24,
    "0x" + "6" * 22,
    "[object Object]",
    "CON48120377",
    "' OR 1=1--",
    7,
    6.5e23,
    True,
    ["6" * 24],
    {"$ne": None},
    {"$oid": "6" * 24},
)


NOBODYS = (UNKNOWN_ID, "f" * 24, "0" * 24)


class InBody(msgspec.Struct, frozen=True):
    """A field of a body that names something: where it is sent, and the rest of that body."""

    who: str
    method: str
    path: str
    field: str
    rest: dict[str, Any]
    is_list: bool = False


def ids_in_bodies(world: World) -> list[InBody]:
    cast, ids = world.cast, world.ids
    alice, bob = cast.alice.id, cast.bob.id
    review = {
        "contractId": ids["contract_id"],
        "freelancerId": bob,
        "rating": 5,
        "description": "Good.",
    }
    profile = f"/api/freelancer/profile/update-profile/{bob}"
    rate = f"/api/client/review/rate-freelancer/{alice}"
    hire = {"freelancerId": bob, "amount": 12000}
    create, pay = (
        f"/api/client/{verb}/{ids['job_id']}" for verb in ("create-contract", "job/payment")
    )
    return [
        InBody("alice", "POST", create, "freelancerId", hire),
        InBody("alice", "POST", pay, "freelancerId", {}),
        InBody("alice", "POST", rate, "contractId", review),
        InBody("alice", "POST", rate, "freelancerId", review),
        InBody("alice", "POST", "/api/client/job/create-job", "category", cast.job()),
        InBody("alice", "POST", "/api/client/job/create-job", "skills", cast.job(), is_list=True),
        InBody("bob", "PUT", profile, "jobCategory", {}),
        InBody("bob", "PUT", profile, "skills", {}, is_list=True),
    ]


@pytest.mark.abuse(43)
async def test_it_refuses_a_strange_id_in_every_body(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for place in ids_in_bodies(world):
        who = getattr(cast, place.who)
        for wrong in (*WRONG_IDS, *NOBODYS):
            body = place.rest | {place.field: [wrong] if place.is_list else wrong}
            answer = await who.request(place.method, place.path, json=body)
            where = f"{place.method} {place.path} {place.field}={wrong!a:.40}: {answer.text}"
            status = 404 if wrong in NOBODYS and answer.status_code == 404 else 400
            assert answer.status_code == status, where
            said = problem(answer, status)
            if wrong not in NOBODYS:
                assert re.split(r"[.\[]", said["field"])[0] == place.field, where
    assert await digest(pool) == before
