"""What is an amount and what is not: the rate of a job, the amount of a contract.

Rows 22 to 32 of spec/abuse-cases.md and their neighbours; D16 and D20 of the marketplace spec.
"""

import json
import time
from typing import Any

import httpx
import pytest

from checkout_event import rows
from digest import digest
from life import Life, accepted
from web import Caller, Cast, problem

RATES = "SELECT rate_minor FROM job ORDER BY id DESC LIMIT 1"
AMOUNTS = "SELECT amount_minor FROM contract"
QUICK_MS = 50
MARK = "@@"

NUMBERS = {
    # literal: why it is no amount of INR
    "1e309": "beyond every double",
    "1e999999": "an exponent that nobody should compute",
    "1e-999999": "and its other end",
    "1e31": "beyond every amount",
    "-1e309": "below",
    "0": "nothing",
    "-0": "nothing",
    "0.0": "nothing",
    "-0.0": "nothing",
    "0e0": "nothing",
    "0e999": "nothing, at length",
    "-0.01": "less than nothing",
    "-12000": "less than nothing",
    "0.30000000000000004": "a sum of binary fractions",
    "0.001": "less than a paisa",
    "12000.005": "half a paisa",
    "119999.99999999999": "a sum of binary fractions",
    "1e-3": "less than a paisa",
    "99999999999999999999999999999999999999": "more than there is",
    "9" * 41: "more digits than an amount has",
    "9" * 4301: "more digits than Python reads",
    "9" * 5000: "more digits than Python reads",
    "1." + "0" * 5000: "zeros at length",
    "0." + "0" * 5000 + "1": "zeros at length",
    "1" + "0" * 5000 + "e-5000": "one, at length",
}
NOT_NUMBERS = {
    '"100"': "text",
    '"12000"': "text",
    '" 1 "': "text",
    '"1_000"': "text",
    '"NaN"': "text",
    '""': "text",
    "true": "a truth",
    "false": "a truth",
    "null": "nothing",
    "[100]": "a list",
    "[]": "a list",
    '{"$gt":0}': "a query",
    "{}": "an object",
}
NOT_JSON = {
    "NaN": "not a number",
    "Infinity": "not JSON",
    "-Infinity": "not JSON",
    "1_000": "Python",
    "012000": "octal",
    "0x2EE0": "hexadecimal",
    "+12000": "a sign too many",
    ".5": "no whole part",
    "12000.": "no fraction",
    "1e": "no exponent",
    "१२०००": "digits, but not ours",
    "12 000": "two numbers",
    "": "nothing",
    "12000,": "a comma too many",
}


def bodies(cast: Cast, life: Life) -> list[tuple[Caller, str, str, str, dict[str, Any]]]:
    """Where amounts are taken: method, URL, field and the rest of the body."""
    alice = cast.alice
    hire = {"freelancerId": cast.bob.id}
    job = {key: value for key, value in cast.job().items() if key != "rate"}
    return [
        (alice, "POST", f"/api/client/create-contract/{life.job}", "amount", hire),
        (alice, "POST", "/api/client/job/create-job", "rate", job),
        (alice, "PUT", f"/api/client/job/update-job/{life.job}", "rate", job),
    ]


async def send(
    who: Caller, method: str, url: str, field: str, rest: dict[str, Any], literal: str
) -> httpx.Response:
    """Send the body with this very literal in the field."""
    body = json.dumps({**rest, field: MARK}).replace(f'"{MARK}"', literal)
    return await who.request(
        method, url, content=body.encode(), headers={"Content-Type": "application/json"}
    )


async def bare_job(cast: Cast) -> Life:
    """A job that nobody applied for, so that its rate may still change."""
    return Life(cast, await cast.post_job())


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.abuse(22, 23, 25, 26, 28, 29)
@pytest.mark.parametrize(
    "literals", [NUMBERS, NOT_NUMBERS, NOT_JSON], ids=["numbers", "others", "not JSON"]
)
async def test_it_refuses_what_is_no_amount(cast: Cast, literals: dict[str, str]) -> None:
    life = await bare_job(cast)
    before = await digest(cast.app.state.pool)
    for who, method, url, field, rest in bodies(cast, life):
        for literal, why in literals.items():
            answer = await send(who, method, url, field, rest, literal)
            assert answer.status_code == 400, (field, literal[:40], why, answer.text)
            refused = problem(answer, 400)
            assert len(answer.content) < 2000, literal[:40]
            if literals is NOT_NUMBERS:
                assert refused["field"] == field, literal
    assert await digest(cast.app.state.pool) == before


async def test_it_says_what_is_wrong_with_an_amount(cast: Cast) -> None:
    life = await Life.begin(cast)
    (contract, *_) = bodies(cast, life)
    said = {
        "0": "amount must be greater than 0",
        "-0.01": "amount must be greater than 0",
        "0.30000000000000004": "amount must have at most 2 decimals in INR",
        '"12000"': "amount must be a number, not a string",
        "null": "amount must be a number, not null",
        "true": "amount must be a number, not true or false",
        "11999.99": "amount must be the rate of the job",
        "1e309": "A number is out of range.",
    }
    for literal, text in said.items():
        assert problem(await send(*contract, literal), 400)["error"] == text


@pytest.mark.abuse(13)
async def test_it_needs_an_amount(cast: Cast) -> None:
    life = await Life.begin(cast)
    url = f"/api/client/create-contract/{life.job}"
    before = await digest(cast.app.state.pool)
    missing = await cast.alice.post(url, json={"freelancerId": cast.bob.id})
    assert problem(missing, 400)["field"] == "amount"
    empty = await cast.alice.post(url, headers={"Content-Type": "application/json"})
    problem(empty, 400)
    named_otherwise = {"freelancerId": cast.bob.id, "Amount": 12000, "AMOUNT": 12000}
    problem(await cast.alice.post(url, json=named_otherwise), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(4, 5)
async def test_it_refuses_an_amount_that_is_said_twice(cast: Cast) -> None:
    life = await Life.begin(cast)
    (contract, *_) = bodies(cast, life)
    before = await digest(cast.app.state.pool)
    for twice in ('12000,"amount":1', '1,"amount":12000', '12000,"\\u0061mount":12000'):
        refused = problem(await send(*contract, twice), 400)
        assert "twice" in refused["error"]
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(32)
async def test_it_refuses_an_amount_that_is_not_the_rate(cast: Cast) -> None:
    life = await Life.begin(cast, rate=12000)
    (contract, *_) = bodies(cast, life)
    before = await digest(cast.app.state.pool)
    for literal in ("11999.99", "12000.01", "1", "0.01", "120", "1200000", "999999.99", "1e12"):
        refused = problem(await send(*contract, literal), 400)
        assert refused["field"] == "amount", literal
    assert await digest(cast.app.state.pool) == before


# -- how long it takes ------------------------------------------------------------------------


@pytest.mark.abuse(29)
@pytest.mark.parametrize(
    ("literal", "status"),
    [
        ("9" * 5000, 400),
        ("1e999999", 400),
        ("1e-999999", 400),
        ("9" * 60_000, 400),
        ("0." + "9" * 60_000, 400),
        ("9" * 1_000_000, 413),  # more than a body may have, whatever is in it
    ],
    ids=["5,000 digits", "1e999999", "1e-999999", "60,000 digits", "60,000 places", "1 MB"],
)
async def test_it_refuses_a_monster_at_once(cast: Cast, literal: str, status: int) -> None:
    life = await bare_job(cast)
    before = await digest(cast.app.state.pool)
    for body in bodies(cast, life):
        spent_ms = []
        for _ in range(4):  # the quickest: the machine may be busy with something else
            begun = time.perf_counter()
            answer = await send(*body, literal)
            spent_ms.append((time.perf_counter() - begun) * 1000)
            problem(answer, status)
        assert min(spent_ms) < QUICK_MS, spent_ms
    assert await digest(cast.app.state.pool) == before


# -- what is an amount ------------------------------------------------------------------------

TAKEN = {
    "0.01": 1,
    "1": 100,
    "1.0": 100,
    "1.000": 100,
    "99.99": 9999,
    "1e2": 10000,
    "1E+2": 10000,
    "100e-2": 100,
    "12.5e1": 12500,
    "4999.99": 499999,
    "999999.99": 99999999,
}


@pytest.mark.abuse(31)
async def test_it_takes_every_spelling_of_a_number(cast: Cast) -> None:
    for literal, minor in TAKEN.items():
        _, job, _ = bodies(cast, Life(cast, ""))
        life = Life(cast, accepted(await send(*job, literal))["job"]["_id"])
        assert await rows(cast, RATES) == [(minor,)], literal
        accepted(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
        (contract, *_) = bodies(cast, life)
        made = accepted(await send(*contract, literal), 201)["contract"]
        assert made["amount"] == float(literal), literal
    assert sorted(await rows(cast, AMOUNTS)) == sorted((minor,) for minor in TAKEN.values())


async def test_it_takes_the_rate_in_another_spelling(cast: Cast) -> None:
    life = await Life.begin(cast, rate=100)
    (contract, *_) = bodies(cast, life)
    made = await send(*contract, "1e2")
    assert accepted(made, 201)["contract"]["amount"] == 100
    assert b'"amount":100,' in made.content


async def test_it_refuses_a_rate_beyond_the_largest_amount(cast: Cast) -> None:
    (_, job, _) = bodies(cast, Life(cast, ""))
    before = await digest(cast.app.state.pool)
    for literal in ("1000000", "1000000.00", "999999.999", "1e6", "1e12", "99999999999999999999"):
        refused = problem(await send(*job, literal), 400)
        assert refused["field"] == "rate", literal
    assert await digest(cast.app.state.pool) == before


async def test_it_shows_amounts_as_numbers_without_a_trace_of_binary_fractions(cast: Cast) -> None:
    for rate, text in ((0.1, b"0.1"), (4999.99, b"4999.99"), (686.5, b"686.5"), (100, b"100")):
        life = await Life.at(cast, "created", rate=rate)
        answer = await cast.alice.get(f"/api/freelancer/contract/view-contract/{life.contract}")
        assert b'"amount":' + text + b"," in answer.content
