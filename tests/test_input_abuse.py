"""Whatever is sent in the wrong way to any route is refused, names the field, and changes nothing
(abuse cases 1 to 35). Routes and fields come from the application itself.
"""

import json
import re
import time
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from digest import digest
from earnest.store.db import Pool
from life import Life, accepted
from routes import Route, World, kinds_of, routes, sound
from test_strict_json import NO_AMOUNT, NOT_JSON, UNCLEAN
from web import Cast, problem

JSON = {"content-type": "application/json"}
WRONG: dict[str, tuple[str, ...]] = {
    "string": ("true", "null", "[]", "{}", "7", "1.5", "-1", '["x"]', '{"$gt":""}'),
    "decimal": ("true", "null", "[]", "{}", '"x"', '"100"', '" 1 "', "[100]", '{"$gt":0}'),
    "number": ("true", "null", "[]", "{}", '"x"', '"1"', "1.5", "[1]", '{"$gt":0}'),
    "bool": ("null", "[]", "{}", '"x"', '"true"', "0", "1"),
    "list": ("true", "null", "{}", '"x"', "7", '{"0":"x"}', "[7]", "[null]", "[[]]", "[{}]"),
    "object": ("true", "null", "[]", '"x"', "7", "[{}]"),
}
HUGE = ("1e309", "-1e309", "1e999999", "9" * 5000, "NaN", "Infinity", "0." + "1" * 5000)
UNCLEAN_TEXTS = (
    r'"a\u0000b"',
    '"a\x00b"',
    r'"\ud800"',
    r'"\udfff\ud800"',
    r'"\u0085"',
    '"\u0085"',
    r'"\u009f"',
    r'"\u007f"',
    r'"a\u0008"',
    r'"\u202e"',
    '"\u202e"',
    r'"\u2066"',
    r'"a\u001bb"',
)
UNCLEAN_QUERIES = (
    "%00",
    "a%00b",
    "%C2%85",
    "%C2%9F",
    "%7F",
    "%0A",
    "%0D%0A",
    "%1B",
    "%E2%80%AE",
    "%E2%81%A6",
    "%ED%A0%80",
    "%FF",
    "%C0%AF",
    "%F4%90%80%80",
)
NO_PAGES = (
    "1e3",
    "1_0",
    "%D9%A1%D9%A2",  # Arabic digits
    "%EF%BC%91",  # a full-width one
    "-1",
    "0",
    "00",
    "1000000000",
    "9" * 5000,
    "1.0",
    "1.5",
    "%201",
    "1%20",
    "%2B1",
    "0x1",
    "NaN",
    "Infinity",
    "true",
    "[1]",
    "1;2",
    "None",
    "%C2%B2",  # superscript two: a digit to str.isdigit
)


async def changes_nothing(pool: Pool, before: str, where: str) -> None:
    assert await digest(pool) == before, where


def fields_of(route: Route) -> list[tuple[str, Any, bool]]:
    """The JSON names of a route's body, their types, and whether they must be there."""
    assert route.body is not None
    return [
        (field.encode_name, field.type, field.required)
        for field in msgspec.structs.fields(route.body)
    ]


def writing(world: World) -> list[Route]:
    """The routes that read a body of JSON."""
    found = [route for route in routes(world) if route.body is not None]
    assert len(found) > 15
    return found


def body_with(route: Route, name: str, literal: str) -> bytes:
    """A sound body in which one field is this."""
    body = {**sound(route.body), name: 424242424242}
    return json.dumps(body).replace("424242424242", literal).encode("utf-8", "surrogatepass")


# -- bodies -----------------------------------------------------------------------------------


@pytest.mark.abuse(1, 2, 7)
async def test_it_refuses_what_is_not_one_clean_json_text(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        for content in UNCLEAN:
            if content == b"null" and route.handler.parsed_data_field is not None:
                continue  # a body that may be left out may be null
            answer = await route.ask(content=content, headers=JSON)
            # The sandbox provider takes 8 KiB.
            is_long = len(content) > 8192 and route.template.startswith("/sandbox/checkout")
            status = 413 if is_long else 400
            assert answer.status_code == status, f"{route.name} {content[:40]!r}: {answer.text}"
            problem(answer, status)
        await changes_nothing(pool, before, route.name)


@pytest.mark.abuse(4, 5)
async def test_it_refuses_a_key_that_is_there_twice_in_any_spelling(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        text = json.dumps(sound(route.body))
        for name, kind, _ in fields_of(route):
            again = json.dumps(sound(kind))
            opening = text[:-1] + ("," if len(text) > 2 else "")
            escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
            for first, second in ((name, name), (name, escaped), (escaped, escaped)):
                content = f'{opening}"{first}":{again},"{second}":{again}}}'.encode()
                answer = await route.ask(content=content, headers=JSON)
                text_said = problem(answer, 400)["error"]
                assert text_said == "An object has the same key twice.", f"{route.name} {name}"
        await changes_nothing(pool, before, route.name)


@pytest.mark.abuse(8, 10)
async def test_it_wants_json_and_says_so(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        content = json.dumps(sound(route.body)).encode()
        for kind in (*NOT_JSON, "application/json; charset=utf-7", "application/xml"):
            answer = await route.ask(content=content, headers={"content-type": kind})
            assert answer.status_code == 415, f"{route.name} {kind}: {answer.text}"
            problem(answer, 415)
        for encoding in ("gzip", "deflate", "br", "identity, gzip"):
            answer = await route.ask(
                content=content, headers={**JSON, "content-encoding": encoding}
            )
            problem(answer, 415)
        doubled = [("content-type", "application/json"), ("content-type", "application/json")]
        problem(await route.ask(content=content, headers=doubled), 415)
        await changes_nothing(pool, before, route.name)


# -- fields -----------------------------------------------------------------------------------


@pytest.mark.abuse(23, 25)
async def test_it_names_the_field_of_the_wrong_type(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    asked = 0
    for route in writing(world):
        for name, kind, _ in fields_of(route):
            kinds = kinds_of(kind)
            lists = [set(WRONG[one]) for one in kinds - {"null"}]
            for literal in sorted(set.intersection(*lists)):
                if literal == "null" and "null" in kinds:
                    continue
                answer = await route.ask(content=body_with(route, name, literal), headers=JSON)
                where = f"{route.name} {name}={literal}: {answer.text}"
                assert answer.status_code == 400, where
                field = problem(answer, 400).get("field", "")
                assert re.match(rf"{name}(\[|\.|$)", field), where
                asked += 1
        await changes_nothing(pool, before, route.name)
    assert asked > 250


@pytest.mark.abuse(13)
async def test_it_names_the_field_that_is_missing(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        for name, _, is_required in fields_of(route):
            if is_required:
                body = {key: value for key, value in sound(route.body).items() if key != name}
                answer = await route.ask(json=body)
                assert problem(answer, 400)["error"] == f"{name} is required", route.name
        await changes_nothing(pool, before, route.name)


@pytest.mark.abuse(22, 29)
async def test_it_takes_no_number_that_is_none_or_too_large(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        for name, _, _ in fields_of(route):
            for literal in HUGE:
                answer = await route.ask(content=body_with(route, name, literal), headers=JSON)
                assert answer.status_code == 400, f"{route.name} {name}={literal[:20]}"
                problem(answer, 400)
        await changes_nothing(pool, before, route.name)


@pytest.mark.abuse(20, 119)
async def test_it_takes_no_unclean_text_in_any_field(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        for name, kind, _ in fields_of(route):
            for literal in UNCLEAN_TEXTS:
                wrapped = f"[{literal}]" if "list" in kinds_of(kind) else literal
                content = body_with(route, name, wrapped)
                answer = await route.ask(content=content, headers=JSON)
                where = f"{route.name} {name}={literal!r}: {answer.text}"
                assert answer.status_code == 400, where
                problem(answer, 400)
        await changes_nothing(pool, before, route.name)


async def test_it_takes_no_text_of_any_length(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    for route in writing(world):
        for name, kind, _ in fields_of(route):
            if "string" in kinds_of(kind):
                answer = await route.ask(json={**sound(route.body), name: "x" * 60_000})
                where = f"{route.name} {name}: {answer.status_code} {answer.text[:80]}"
                assert 400 <= answer.status_code < 500, where
                problem(answer, answer.status_code)
        await changes_nothing(pool, before, route.name)


# -- queries ----------------------------------------------------------------------------------


@pytest.mark.abuse(20)
async def test_it_takes_no_unclean_text_in_any_query(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    asked = 0
    for route in routes(world):
        for name in route.queries:
            for value in UNCLEAN_QUERIES:
                answer = await route.ask(f"?{name}={value}")
                assert answer.status_code == 400, f"{route.name} {name}={value}: {answer.text}"
                assert problem(answer, 400)["field"] == name
                asked += 1
    assert asked > 200
    assert await digest(pool) == before


@pytest.mark.abuse(19)
async def test_it_counts_pages_in_plain_digits(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    paged = 0
    for route in routes(world):
        for name in set(route.queries) & {"page", "limit"}:
            for value in NO_PAGES:
                answer = await route.ask(f"?{name}={value}")
                assert answer.status_code == 400, f"{route.name} {name}={value}: {answer.text}"
                assert problem(answer, 400)["field"] == name
            plain = await route.ask()
            if plain.status_code == 404:
                continue  # of a day that nobody has reconciled
            for absent in ("undefined", "null", ""):
                answer = await route.ask(f"?{name}={absent}")
                assert (answer.status_code, answer.text) == (200, plain.text), route.name
            for taken in ("1", "100", "101", "999999"):
                answer = await route.ask(f"?{name}={taken}")
                assert answer.status_code == 200, f"{route.name} {name}={taken}: {answer.text}"
            paged += 1
    assert paged >= 14


SEARCHES = ("(a+)+$", "%_\\", "' OR 1=1--", ".*", "[", "\\", "%", "_", "$where", "{{7*7}}")


async def test_it_searches_for_what_is_meant_literally(cast: Cast) -> None:
    world = await World.of(cast)
    searched = 0
    for route in routes(world):
        if "search" in route.queries:
            for text in SEARCHES:
                answer = await route.ask(f"?search={quote(text)}")
                found = accepted(answer)
                [shown] = [value for value in found.values() if isinstance(value, list)][:1]
                assert shown == [], f"{route.name} {text}"
            problem(await route.ask(f"?search={'x' * 10_000}"), 400)
            searched += 1
    assert searched >= 2


# -- money ------------------------------------------------------------------------------------


@pytest.mark.abuse(22, 23, 25, 26, 28, 29, 31)
@pytest.mark.parametrize("where", ["C1 amount", "rate of a new job", "rate of a job"])
async def test_it_takes_no_amount_that_is_none(cast: Cast, pool: Pool, where: str) -> None:
    life = await Life.begin(cast, rate=100)
    free = await cast.post_job(rate=100)

    async def send(literal: str) -> httpx.Response:
        contract: dict[str, Any] = {"freelancerId": cast.bob.id, "amount": 424242}
        method, path, body = {
            "C1 amount": ("POST", f"/api/client/create-contract/{life.job}", contract),
            "rate of a new job": ("POST", "/api/client/job/create-job", cast.job(rate=424242)),
            "rate of a job": ("PUT", f"/api/client/job/update-job/{free}", {"rate": 424242}),
        }[where]
        content = json.dumps(body).replace("424242", literal).encode()
        return await cast.alice.request(method, path, content=content, headers=JSON)

    before = await digest(pool)
    for literal in (*NO_AMOUNT, "NaN", "Infinity", "-Infinity", "1.", ".1", "1e", "0x64", "1,00"):
        answer = await send(literal)
        assert answer.status_code == 400, f"{literal[:40]}: {answer.text}"
        assert problem(answer, 400).get("field", "").startswith(("amount", "rate", "")), literal
    too_many = b'{"amount":' + b"9" * 2**20 + b"}"
    path = f"/api/client/create-contract/{life.job}"
    began = time.process_time()
    problem(await cast.alice.post(path, content=too_many, headers=JSON), 413)
    assert time.process_time() - began < 5
    assert await digest(pool) == before
    for literal in ("1e2", "100.00", "1E+2", "100", "1.0e2"):
        assert (await send(literal)).status_code in (200, 201), literal
        if where == "C1 amount":
            break


@pytest.mark.abuse(32)
async def test_an_amount_is_the_jobs_rate_or_nothing(cast: Cast, pool: Pool) -> None:
    life = await Life.begin(cast, rate=100)
    before = await digest(pool)
    for amount in (99, 101, 99.99, 100.01, 1, 10_000, 999_999.99):
        answer = await cast.alice.post(
            f"/api/client/create-contract/{life.job}",
            json={"freelancerId": cast.bob.id, "amount": amount},
        )
        problem(answer, 400)
    assert await digest(pool) == before
