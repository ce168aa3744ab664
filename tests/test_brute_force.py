"""Guessing codes and passwords: a handful is looked at, and the owner still gets in."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from litestar import Litestar

from digest import doors
from earnest.store.db import Pool
from earnest.store.limits import CODE, LETTER_ACCOUNT, LOGIN, LOGIN_ACCOUNT, LOGIN_ADDRESS, Charge
from refusals import blocked
from signing import counted_hashing, letters_to, try_login
from web import PASSWORD, Caller, Cast, caller, problem

CAROL = {"name": "Carol", "email": "carol@example.com", "password": PASSWORD, "role": "client"}
TRIES_LEFT = "SELECT tries_left FROM registration WHERE email_canonical = $1"
WRONG_CODE = "The code is not correct"
NO_CODE = "The code has expired, ask for a new one"


@pytest.fixture
async def code(api: Caller) -> str:
    """The code that was mailed to Carol."""
    assert (await api.post("/api/auth/register", json=CAROL)).status_code == 200
    return str((await letters_to(api, CAROL["email"]))[0]["code"])


async def confirm(app: Litestar, code: str, address: str = "127.0.0.1") -> httpx.Response:
    """Type `code` as Carol, from `address`."""
    async with caller(app, address=address) as somebody:
        body = {"email": CAROL["email"], "otp": code, "userData": CAROL}
        return await somebody.post("/api/auth/verify-otp", json=body)


async def new_code(app: Litestar, address: str) -> str:
    async with caller(app, address=address) as carol:
        answer = await carol.post("/api/auth/resend-otp", json={"email": CAROL["email"]})
        assert answer.status_code == 200
        return str((await letters_to(carol, CAROL["email"]))[0]["code"])


def others(code: str, count: int) -> list[str]:
    """`count` codes spread over all there are, without the right one."""
    spread = (f"{at * (1_000_000 // count):06d}" for at in range(count))
    return [each if each != code else f"{(int(code) + 1) % 1_000_000:06d}" for each in spread]


# -- codes ------------------------------------------------------------------------------------


@pytest.mark.abuse(110)
async def test_it_looks_at_five_codes_of_a_hundred_at_once(
    app: Litestar, pool: Pool, code: str
) -> None:
    before = await doors(pool)
    answers = await asyncio.gather(*(confirm(app, each) for each in others(code, 100)))
    assert await doors(pool) == before
    assert {answer.status_code for answer in answers} == {400, 429}
    texts = Counter(answer.json()["error"] for answer in answers)
    assert texts[WRONG_CODE] == 5
    assert texts[NO_CODE] == CODE.burst - 5
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= CODE.per_seconds
    async with pool.connection() as conn:
        assert await conn.fetchval(TRIES_LEFT, CAROL["email"]) == 0
    # The right one comes too late now, and the owner gets in with another from elsewhere.
    problem(await confirm(app, code, "192.0.2.1"), 400)
    fresh = await new_code(app, "192.0.2.2")
    assert (await confirm(app, fresh, "192.0.2.2")).status_code == 201
    assert (await try_login(app, CAROL["email"])).status_code == 200


@pytest.mark.abuse(110)
async def test_it_looks_at_five_codes_from_any_number_of_addresses(
    app: Litestar, code: str
) -> None:
    """The right one is among the guesses, and is not looked at."""
    guesses = [*others(code, 999), code]
    found: Counter[tuple[int, str]] = Counter()
    for at in range(0, 1_000, 10):
        ten = (confirm(app, each, f"2001:db8:{at}::1") for each in guesses[at : at + 10])
        for answer in await asyncio.gather(*ten):
            found[answer.status_code, answer.json()["error"]] += 1
    assert found == {(400, WRONG_CODE): 5, (400, NO_CODE): 995}


async def test_it_looks_at_five_more_for_each_new_code_and_no_more(
    app: Litestar, code: str
) -> None:
    wrong = 0
    for at in range(4):
        answers = [await confirm(app, each, f"192.0.2.{at}") for each in others(code, 8)]
        wrong += [answer.json()["error"] for answer in answers].count(WRONG_CODE)
        code = await new_code(app, "192.0.2.200")
    assert wrong == 4 * 5
    refused = 0
    for at in range(LETTER_ACCOUNT.burst):
        async with caller(app, address=f"192.0.2.{201 + at}") as carol:
            answer = await carol.post("/api/auth/resend-otp", json={"email": CAROL["email"]})
        refused += answer.status_code == 429
    assert refused == 4 + 1  # as many as were mailed, the first included


async def test_it_limits_codes_of_nobody_as_those_of_somebody(
    app: Litestar, api: Caller, code: str
) -> None:
    def body(email: str) -> dict[str, Any]:
        return {"email": email, "otp": "x", "userData": CAROL | {"email": email}}

    seen = []
    for email in (CAROL["email"], "nobody@example.com"):
        answers = [await api.post("/api/auth/verify-otp", json=body(email)) for _ in range(12)]
        seen.append([answer.status_code for answer in answers])
    assert seen[0] == seen[1] == [400] * CODE.burst + [429] * 2


async def test_it_counts_no_try_when_the_queue_for_hashing_is_full(
    app: Litestar, pool: Pool, code: str
) -> None:
    app.state.passwords._waiting_max = 0
    for _ in range(20):
        problem(await confirm(app, code), 429)
    app.state.passwords._waiting_max = 64
    async with pool.connection() as conn:
        assert await conn.fetchval(TRIES_LEFT, CAROL["email"]) == 5
    assert (await confirm(app, code)).status_code == 201


# -- passwords --------------------------------------------------------------------------------


@pytest.mark.abuse(110)
async def test_it_looks_at_a_handful_of_a_thousand_passwords(cast: Cast, pool: Pool) -> None:
    before = await doors(pool)
    with counted_hashing() as hashing:
        found: Counter[int] = Counter()
        for at in range(0, 1_000, 50):
            guesses = (f"Guess$number{at + more}" for more in range(50))
            answers = await asyncio.gather(
                *(try_login(cast.app, cast.bob.email, guess) for guess in guesses)
            )
            found.update(answer.status_code for answer in answers)
            refused = [answer for answer in answers if answer.status_code == 429]
            assert all(
                1 <= int(answer.headers["retry-after"]) <= LOGIN.per_seconds for answer in refused
            )
    # One more for every minute that this took.
    assert LOGIN.burst <= hashing.verified <= LOGIN.burst + 3
    assert found == {404: hashing.verified, 429: 1_000 - hashing.verified}
    assert await doors(pool) == before
    right = await try_login(cast.app, cast.bob.email, address="192.0.2.1")
    assert right.status_code == 200


async def test_it_lets_the_owner_in_where_they_are_known_while_many_guess(cast: Cast) -> None:
    """The account is guessed at from everywhere: new addresses wait, the owner does not."""
    home, attacker = "192.0.2.1", "198.51.100.7"
    assert (await try_login(cast.app, cast.bob.email, address=home)).status_code == 200
    limits = cast.app.state.gate.limits
    for _ in range(LOGIN_ACCOUNT.burst):
        await limits.charge(Charge(LOGIN_ACCOUNT, (cast.bob.email,)))
    refused = await try_login(cast.app, cast.bob.email, "wrong", address=attacker)
    assert 1 <= int(refused.headers["retry-after"]) <= LOGIN_ACCOUNT.per_seconds
    problem(refused, 429)
    assert (await try_login(cast.app, cast.bob.email, address=home)).status_code == 200
    assert (await try_login(cast.app, cast.mallet.email, address=attacker)).status_code == 200


async def test_it_counts_failures_of_many_accounts_from_one_address(cast: Cast) -> None:
    limits = cast.app.state.gate.limits
    for _ in range(LOGIN_ADDRESS.burst - 1):
        await limits.charge(Charge(LOGIN_ADDRESS, ("192.0.2.1",)))
    problem(await try_login(cast.app, cast.bob.email, "wrong", address="192.0.2.1"), 404)
    refused = await try_login(cast.app, cast.mallet.email, address="192.0.2.1")
    assert 1 <= int(refused.headers["retry-after"]) <= LOGIN_ADDRESS.per_seconds
    assert (await try_login(cast.app, cast.mallet.email, address="192.0.2.2")).status_code == 200


async def test_it_limits_unknown_accounts_as_known_ones(cast: Cast) -> None:
    seen = []
    for email in (cast.bob.email, "nobody@example.com", "not an address"):
        answers = [await try_login(cast.app, email, "wrong") for _ in range(8)]
        seen.append([(answer.status_code, answer.json()) for answer in answers])
        assert [answer.status_code for answer in answers] == [404] * 5 + [429] * 3
    assert seen[0] == seen[1] == seen[2]


async def test_it_takes_one_argon2_run_whoever_signs_in(cast: Cast) -> None:
    async with blocked(cast, cast.mallory):
        for email, password, status in (
            (cast.bob.email, PASSWORD, 200),
            (cast.bob.email, "wrong", 404),
            ("nobody@example.com", PASSWORD, 404),
            ("not an address", PASSWORD, 404),
            (cast.mallory.email, "wrong", 404),
            (cast.mallory.email, PASSWORD, 403),
        ):
            with counted_hashing() as hashing:
                answer = await try_login(cast.app, email, password)
            assert answer.status_code == status
            assert (hashing.hashed, hashing.verified) == (0, 1), email


async def test_it_takes_one_argon2_run_whoever_registers(cast: Cast, api: Caller) -> None:
    seen = []
    for email in (cast.bob.email, "nobody@example.com"):
        with counted_hashing() as hashing:
            answer = await api.post("/api/auth/register", json=CAROL | {"email": email})
        assert (hashing.hashed, hashing.verified) == (1, 0)
        assert len(await letters_to(api, email)) == 1
        seen.append((answer.status_code, answer.json(), answer.headers.get("set-cookie")))
    assert seen[0] == seen[1]


@pytest.mark.abuse(110)
@pytest.mark.parametrize(
    "password",
    ["Ab1$x", "A" * 1_000_000, "Aa1$" * 33, "Password1!", "P@$$w0rd", "Welcome@2026", "1qaz@WSX"],
    ids=["five characters", "a million", "over 128 bytes", "common", "cased", "dated", "keys"],
)
async def test_it_hashes_no_password_that_cannot_be(
    cast: Cast, api: Caller, pool: Pool, password: str
) -> None:
    before = await doors(pool)
    with counted_hashing() as hashing:
        answer = await api.post("/api/auth/register", json=CAROL | {"password": password})
    problem(answer, 413 if len(password) > 64 * 1024 else 400)
    assert (hashing.hashed, hashing.verified) == (0, 0)
    assert await doors(pool) == before
    assert await letters_to(api, CAROL["email"]) == []
