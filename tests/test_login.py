"""Signing in and out."""

import asyncio
import base64
import json
import time

import jwt
import pytest
from litestar import Litestar

from earnest.actions.passwords import Passwords
from earnest.errors import TooMany
from earnest.store.db import Pool
from web import PASSWORD, Caller, Cast, caller, problem

BLOCK = "UPDATE login SET status = 'Blocked' WHERE party_id = $1"


async def test_it_answers_with_a_token_a_cookie_and_the_user(cast: Cast, api: Caller) -> None:
    answer = await api.post(
        "/api/auth/login", json={"email": "ALICE@example.com", "password": PASSWORD}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "Login successful"
    assert body["role"] == "client"
    assert body["user"] == {
        "id": cast.alice.id,
        "name": "Alice",
        "email": cast.alice.email,
        "status": "Active",
        "profilePic": "",
    }
    claims = jwt.decode(body["accessToken"], options={"verify_signature": False})
    assert claims["id"] == cast.alice.id
    assert claims["role"] == "client"
    assert claims["exp"] - claims["iat"] == 7200
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("refreshtoken=")
    for attribute in ("httponly", "path=/", "samesite=lax", "max-age=604800"):
        assert attribute in cookie
    assert "secure" not in cookie


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("alice@example.com", "x" * 5_000),
        ("' OR 1=1--", PASSWORD),
    ],
)
async def test_it_says_the_same_for_every_wrong_login(
    cast: Cast, api: Caller, email: str, password: str
) -> None:
    answer = await api.post("/api/auth/login", json={"email": email, "password": password})
    assert problem(answer, 404)["error"] == "Invalid password or email"
    assert "set-cookie" not in answer.headers


async def test_it_tells_a_blocked_user_only_after_the_password(
    cast: Cast, api: Caller, pool: Pool
) -> None:
    async with pool.connection() as conn:
        await conn.execute(BLOCK, cast.alice.actor.key)
    wrong = {"email": cast.alice.email, "password": "wrong"}
    problem(await api.post("/api/auth/login", json=wrong), 404)
    right = wrong | {"password": PASSWORD}
    problem(await api.post("/api/auth/login", json=right), 403)


async def test_it_keeps_a_blocked_user_out_at_once(cast: Cast, pool: Pool) -> None:
    """Also from a reply that an idempotency key would repeat."""
    headers = {"Idempotency-Key": "before"}
    before = await cast.alice.post("/api/client/job/create-job", json=cast.job(), headers=headers)
    assert before.status_code == 200
    async with pool.connection() as conn:
        await conn.execute(BLOCK, cast.alice.actor.key)
    answer = await cast.alice.post("/api/client/job/create-job", json=cast.job(), headers=headers)
    problem(answer, 403)
    problem(await cast.alice.post("/api/client/job/create-job", json=cast.job()), 403)


async def test_it_tells_a_full_queue_to_come_back(cast: Cast, app: Litestar, api: Caller) -> None:
    """... and counts nothing against who found it full."""
    app.state.passwords._waiting_max = 3
    right = {"email": cast.alice.email, "password": PASSWORD}
    wrong = [{"email": f"nobody{at}@example.com", "password": "wrong"} for at in range(60)]
    answers = await asyncio.gather(*(api.post("/api/auth/login", json=each) for each in wrong))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > 6
    assert {answer.status_code for answer in answers} == {404, 429}
    assert all(1 <= int(answer.headers["retry-after"]) <= 10 for answer in refused)
    app.state.passwords._waiting_max = 0
    for _ in range(10):
        problem(await api.post("/api/auth/login", json=right), 429)
    app.state.passwords._waiting_max = 3
    assert (await api.post("/api/auth/login", json=right)).status_code == 200


async def test_it_makes_nobody_wait_for_the_many_attempts_of_somebody_else(cast: Cast) -> None:
    """One client signs in to accounts of its own, again and again; Bob's turn comes next."""
    passwords: Passwords = cast.app.state.passwords
    done: list[str] = []

    async def ask(whom: str) -> None:
        await passwords.verify(None, "wrong", whom)
        done.append(whom)

    many = [asyncio.create_task(ask("192.0.2.1")) for _ in range(20)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(ask(whom)) for whom in ("192.0.2.2", "192.0.2.3") for _ in (1, 2)]
    await asyncio.gather(*many, *few)
    assert len(done) == 24
    # Ahead of them: what ran already, and one of the long line at each of their turns.
    assert max(at for at, whom in enumerate(done) if whom != "192.0.2.1") < 10
    assert (passwords._waiting, passwords._lines) == (0, {})


async def test_it_takes_places_in_a_full_queue_from_who_has_most(cast: Cast) -> None:
    passwords: Passwords = cast.app.state.passwords
    passwords._waiting_max = 10
    many = [asyncio.create_task(passwords.verify(None, "wrong", "192.0.2.1")) for _ in range(30)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(passwords.verify(None, "wrong", "192.0.2.2")) for _ in range(3)]
    await asyncio.sleep(0)
    few[2].cancel()
    heard = await asyncio.gather(*many, *few, return_exceptions=True)
    assert heard[30:32] == [False, False]
    assert isinstance(heard[32], asyncio.CancelledError)
    refused = [answer for answer in heard if isinstance(answer, TooMany)]
    assert len(refused) == 20 + 3  # at once, and those whose places were taken
    assert (passwords._waiting, passwords._lines) == (0, {})
    assert not await passwords.verify(None, "wrong", "192.0.2.1")


async def test_it_ends_the_session_at_logout(cast: Cast, api: Caller) -> None:
    await api.post("/api/auth/login", json={"email": cast.bob.email, "password": PASSWORD})
    cookie = api.cookies["refreshToken"]
    answer = await api.post(
        "/api/auth/logout", headers={"content-type": "application/json", "content-length": "0"}
    )
    assert (answer.status_code, answer.json()) == (200, {"message": "Logout successful"})
    assert "refreshToken" not in api.cookies
    again = await api.post("/api/auth/refresh-token", headers={"cookie": f"refreshToken={cookie}"})
    problem(again, 401)


# -- tokens ---------------------------------------------------------------------------------


async def status_with(app: Litestar, token: str) -> int:
    async with caller(app, Authorization=f"Bearer {token}") as somebody:
        answer = await somebody.get("/api/freelancer/jobs/applied-jobs")
    if answer.status_code == 401:
        assert problem(answer, 401)["error"] == "Invalid authentication token."
    return answer.status_code


def token_of(somebody: Caller) -> str:
    return somebody.headers["authorization"].removeprefix("Bearer ")


async def test_it_reads_what_the_library_reads(app: Litestar, cast: Cast) -> None:
    """The verifier is our own: PyJWT is the oracle of what a good token is."""
    key = app.state.access_tokens._key
    claims = jwt.decode(
        token_of(cast.bob), key, algorithms=["HS256"], audience="earnest-marketplace"
    )
    again = jwt.encode(claims, key, "HS256")
    assert await status_with(app, token_of(cast.bob)) == 200
    assert await status_with(app, again) == 200


async def test_it_wants_every_claim_right(app: Litestar, cast: Cast) -> None:
    key = app.state.access_tokens._key
    now = int(time.time())
    good = jwt.decode(token_of(cast.bob), options={"verify_signature": False})
    changes: list[dict[str, object]] = [
        {"exp": now - 1},
        {"exp": now + 10 * 365 * 86_400},
        {"exp": "9999999999"},
        {"exp": 1e308},
        {"exp": None},
        {"iat": now + 3_600},
        {"iat": True},
        {"jti": None},
        {"jti": ""},
        {"aud": None},
        {"aud": ["earnest-marketplace"]},
        {"aud": "earnest-partner"},
        {"iss": None},
        {"iss": "somebody"},
        {"typ": "refresh"},
        {"typ": None},
        {"role": "owner"},
        {"role": "partner"},
        {"id": 7},
        {"admin": True},
    ]
    for change in changes:
        claims = {name: value for name, value in (good | change).items() if value is not None}
        assert await status_with(app, jwt.encode(claims, key, "HS256")) == 401, change


async def test_it_takes_no_other_algorithm_or_header(app: Litestar, cast: Cast) -> None:
    key = app.state.access_tokens._key
    claims = jwt.decode(token_of(cast.bob), options={"verify_signature": False})
    _, payload, signature = token_of(cast.bob).split(".")

    def encoded(header: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()

    for token in (
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, key * 2, "HS384"),
        jwt.encode(claims, key, "HS256", headers={"kid": "../../dev/null"}),
        jwt.encode(claims, key, "HS256", headers={"jku": "http://127.0.0.1/keys"}),
        jwt.encode(claims, b"another key of thirty-two bytes!", "HS256"),
        f"{encoded({'alg': 'nOnE', 'typ': 'JWT'})}.{payload}.",
        f"{encoded({'alg': 'nOnE', 'typ': 'JWT'})}.{payload}.{signature}",
        "x" * 1_000_000,
        "..",
        "",
    ):
        assert await status_with(app, token) == 401


async def test_it_takes_no_altered_token(app: Litestar, cast: Cast) -> None:
    """Every character of a token, replaced: also the last, whose spare bits decode to nothing."""
    tokens = app.state.access_tokens
    token = token_of(cast.bob)
    tokens.read(token)
    accepted = []
    for at in range(len(token)):
        for other in "AB09-_.~":
            altered = token[:at] + other + token[at + 1 :]
            if altered == token:
                continue
            try:
                tokens.read(altered)
            except Exception as error:  # noqa: BLE001
                assert type(error).__name__ == "InvalidToken", error  # noqa: PT017
            else:
                accepted.append(altered)
    assert accepted == []


async def test_it_wants_a_token_and_the_right_role(cast: Cast, api: Caller) -> None:
    path = "/api/freelancer/jobs/applied-jobs"
    missing = problem(await api.get(path), 401)
    assert missing["error"] == "Access denied. No token provided."
    assert problem(await cast.alice.get(path), 403)["error"] == "Unauthorized Access"
    assert (await cast.bob.get(path)).status_code == 200


async def test_it_knows_nobody_by_a_token_of_a_removed_account(app: Litestar, cast: Cast) -> None:
    token = app.state.access_tokens.issue("66aa00000000ffff000d01aa", cast.bob.actor.role, 1)
    async with caller(app, Authorization=f"Bearer {token}") as ghost:
        answer = await ghost.get("/api/freelancer/jobs/applied-jobs")
    assert problem(answer, 401)["error"] == "User not found, try to signup"
