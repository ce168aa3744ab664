"""Forgetting the password: a link in the mail sets a new one, once."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from earnest.app import build_app
from earnest.store.db import Pool
from earnest.store.limits import LETTER, LETTER_ACCOUNT, LOGIN_ACCOUNT, Charge
from refusals import SET_STATUS, blocked
from signing import Hashing, counted_hashing, letters_to, sign_in, try_login
from web import PASSWORD, Caller, Cast, caller, make_settings, problem

NEW = "Moon$hine42"
SENT = {"message": "If this address has an account, a link has been sent to it"}
STATED = "SELECT status, role FROM login WHERE party_id = $1"


async def forget(api: Caller, email: str) -> str:
    """Ask for a link; the token in the newest letter, empty without a letter."""
    answer = await api.post("/api/auth/forgot-password", json={"email": email})
    assert (answer.status_code, answer.json()) == (200, SENT)
    letters = await letters_to(api, email)
    return letters[0]["link"].partition("?token=")[2] if letters else ""


async def reset(api: httpx.AsyncClient, token: str, /, **other: Any) -> httpx.Response:
    body = {"token": token, "newPassword": NEW, "confirmPassword": NEW}
    return await api.post("/api/auth/update-new-password", json=body | other)


async def test_it_sets_a_new_password_with_the_mailed_link(cast: Cast, api: Caller) -> None:
    token = await forget(api, "BOB@example.com")
    letter = (await letters_to(api, cast.bob.email))[0]
    assert letter["to"] == cast.bob.email
    assert letter["link"] == f"http://localhost:5173/reset-password?token={token}"
    assert letter["link"] in letter["text"]
    assert len(bytes.fromhex(token)) == 32
    answer = await reset(api, token)
    assert (answer.status_code, answer.json()) == (200, {"message": "Password has been changed"})
    problem(await try_login(cast.app, cast.bob.email), 404)
    assert (await try_login(cast.app, cast.bob.email, NEW)).status_code == 200
    assert (await letters_to(api, cast.bob.email))[0]["subject"] == "Your password was changed"


async def test_it_leads_to_this_server_where_there_is_no_other_client(
    cast: Cast, database: Any
) -> None:
    settings = msgspec.structs.replace(make_settings(database.app_dsn), client_url="")
    other = build_app(settings, Pool(database.app_dsn))
    async with other.lifespan(), caller(other) as somebody:
        await forget(somebody, cast.bob.email)
        letter = (await letters_to(somebody, cast.bob.email))[0]
    assert letter["link"].startswith("http://127.0.0.1:8000/reset-password?token=")


async def test_it_signs_every_device_out(cast: Cast, api: Caller) -> None:
    device = await sign_in(cast.app, cast.bob.email)
    other = await sign_in(cast.app, cast.mallet.email)
    assert (await reset(device.browser, await forget(api, cast.bob.email))).status_code == 200
    assert not await device.works()
    assert not await device.refreshes()
    assert await other.works()


async def test_it_answers_the_same_for_every_address(cast: Cast, api: Caller) -> None:
    """Text, status and work: whether there is an account, a blocked one, or none."""
    seen: list[tuple[object, Hashing]] = []
    async with blocked(cast, cast.mallet):
        for email in (cast.bob.email, cast.mallet.email, "nobody@example.com"):
            with counted_hashing() as hashing:
                answer = await api.post("/api/auth/forgot-password", json={"email": email})
            headers = {name: value for name, value in answer.headers.items() if name != "date"}
            headers.pop("x-request-id", None)
            seen.append(((answer.status_code, answer.json(), headers), hashing))
    assert seen[0] == seen[1] == seen[2]
    assert await letters_to(api, "nobody@example.com") == []
    problem(await api.post("/api/auth/forgot-password", json={"email": "bob@"}), 400)


async def test_it_takes_a_link_once(cast: Cast, api: Caller) -> None:
    token = await forget(api, cast.bob.email)
    passwords = [f"Moon$hine4{at}" for at in range(4)]
    answers = await asyncio.gather(
        *(reset(api, token, newPassword=each, confirmPassword=each) for each in passwords)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    for password, answer in zip(passwords, answers, strict=True):
        signed_in = await try_login(cast.app, cast.bob.email, password)
        assert signed_in.status_code == (200 if answer.status_code == 200 else 404)
    problem(await reset(api, token), 400)


async def test_it_takes_only_the_newest_link(cast: Cast, api: Caller) -> None:
    first = await forget(api, cast.bob.email)
    second = await forget(api, cast.bob.email)
    assert first != second
    problem(await reset(api, first), 400)
    assert (await reset(api, second)).status_code == 200


async def test_it_forgets_a_link_after_fifteen_minutes(cast: Cast, api: Caller) -> None:
    token = await forget(api, cast.bob.email)
    await api.post("/sandbox/clock", json={"advance_seconds": 14 * 60})
    assert (await reset(api, token)).status_code == 200
    token = await forget(api, cast.bob.email)
    await api.post("/sandbox/clock", json={"advance_seconds": 15 * 60 + 1})
    text = problem(await reset(api, token, newPassword=PASSWORD, confirmPassword=PASSWORD), 400)
    assert text["error"] == "This link is not valid or has expired, ask for a new one"


async def test_it_takes_no_link_from_before_a_change(cast: Cast, api: Caller) -> None:
    token = await forget(api, cast.bob.email)
    body = {"email": cast.bob.email, "currentPassword": PASSWORD, "newPassword": NEW}
    changed = await api.post("/api/auth/reset-password", json=body | {"confirmPassword": NEW})
    assert changed.status_code == 200
    other = "Star$hine42"
    problem(await reset(api, token, newPassword=other, confirmPassword=other), 400)
    assert (await try_login(cast.app, cast.bob.email, NEW)).status_code == 200


async def test_it_is_kept_as_a_hash(cast: Cast, api: Caller, pool: Pool) -> None:
    token = await forget(api, cast.bob.email)
    async with pool.connection() as conn:
        row = await conn.fetchval("SELECT r::text FROM password_reset AS r")
    assert token not in row
    for stored in row.strip("()").split(","):
        problem(await reset(api, stored.strip('"').removeprefix("\\\\x")), 400)


async def test_it_neither_unblocks_nor_tells_who_is_blocked(
    cast: Cast, api: Caller, pool: Pool
) -> None:
    async with pool.connection() as conn:
        await conn.execute(SET_STATUS, cast.bob.actor.key, "Blocked")
    answer = await reset(api, await forget(api, cast.bob.email))
    assert (answer.status_code, answer.json()) == (200, {"message": "Password has been changed"})
    problem(await try_login(cast.app, cast.bob.email, NEW), 403)
    async with pool.connection() as conn:
        rows = await conn.fetch(STATED, cast.bob.actor.key)
    assert [tuple(row) for row in rows] == [("Blocked", "freelancer")]


async def test_it_lets_in_who_had_tried_in_vain(cast: Cast, api: Caller) -> None:
    for _ in range(6):
        await try_login(cast.app, cast.bob.email, "forgotten")
    problem(await try_login(cast.app, cast.bob.email, NEW), 429)
    assert (await reset(api, await forget(api, cast.bob.email))).status_code == 200
    assert (await try_login(cast.app, cast.bob.email, NEW)).status_code == 200


async def test_it_lets_the_owner_in_at_a_new_address_while_many_guess(cast: Cast) -> None:
    new, attacker = "192.0.2.1", "198.51.100.7"
    limits = cast.app.state.gate.limits
    for _ in range(LOGIN_ACCOUNT.burst):
        await limits.charge(Charge(LOGIN_ACCOUNT, (cast.bob.email,)))
    problem(await try_login(cast.app, cast.bob.email, address=new), 429)
    async with caller(cast.app, address=new) as bob:
        assert (await reset(bob, await forget(bob, cast.bob.email))).status_code == 200
    problem(await try_login(cast.app, cast.bob.email, NEW, address=attacker), 429)
    assert (await try_login(cast.app, cast.bob.email, NEW, address=new)).status_code == 200


async def test_it_mails_the_owner_while_others_ask_in_their_name(cast: Cast) -> None:
    home, new, attacker = "192.0.2.1", "192.0.2.2", "198.51.100.7"
    assert (await try_login(cast.app, cast.bob.email, address=home)).status_code == 200
    async with caller(cast.app, address=attacker) as somebody:
        asked = {"email": cast.bob.email}
        answers = [
            await somebody.post("/api/auth/forgot-password", json=asked)
            for _ in range(LETTER_ACCOUNT.burst)
        ]
    assert [answer.status_code for answer in answers].count(200) == LETTER.burst
    async with caller(cast.app, address=new) as bob:
        assert await forget(bob, cast.bob.email)
    limits = cast.app.state.gate.limits
    for _ in range(LETTER_ACCOUNT.burst - LETTER.burst - 1):
        await limits.charge(Charge(LETTER_ACCOUNT, (cast.bob.email,)))
    async with caller(cast.app, address=new) as bob:
        problem(await bob.post("/api/auth/forgot-password", json=asked), 429)
    async with caller(cast.app, address=home) as bob:
        assert (await reset(bob, await forget(bob, cast.bob.email))).status_code == 200


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"newPassword": "Ab1$", "confirmPassword": "Ab1$"}, "newPassword"),
        ({"newPassword": "P@ssw0rd1", "confirmPassword": "P@ssw0rd1"}, "newPassword"),
        ({"confirmPassword": "Moon$hine43"}, "confirmPassword"),
        ({"token": None}, "token"),
        ({"token": 7}, "token"),
    ],
)
async def test_it_names_what_cannot_be_right(
    cast: Cast, api: Caller, other: dict[str, object], field: str
) -> None:
    token = await forget(api, cast.bob.email)
    with counted_hashing() as hashing:
        assert problem(await reset(api, token, **other), 400)["field"] == field
    assert hashing.hashed == 0
    assert (await reset(api, token)).status_code == 200


async def test_it_limits_guesses_and_hashes_nothing_for_them(cast: Cast, api: Caller) -> None:
    token = await forget(api, cast.bob.email)
    with counted_hashing() as hashing:
        answers = await asyncio.gather(*(reset(api, f"{at:064x}") for at in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(400) == 20
    assert statuses.count(429) == 80
    assert (hashing.hashed, hashing.verified) == (0, 0)
    problem(await reset(api, token), 429)
    async with caller(cast.app, address="192.0.2.9") as elsewhere:
        assert (await reset(elsewhere, token)).status_code == 200
