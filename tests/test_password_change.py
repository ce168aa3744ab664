"""Changing the password with the one that is known."""

import asyncio
from typing import Any

import httpx
import pytest
from litestar import Litestar

from refusals import blocked
from signing import counted_hashing, letters_to, sign_in, try_login
from web import PASSWORD, Caller, Cast, caller, problem

NEW = "Moon$hine42"


def wanted(email: str, /, **other: Any) -> dict[str, Any]:
    return {
        "email": email,
        "currentPassword": PASSWORD,
        "newPassword": NEW,
        "confirmPassword": NEW,
    } | other


async def change(somebody: httpx.AsyncClient, email: str, /, **other: Any) -> httpx.Response:
    return await somebody.post("/api/auth/reset-password", json=wanted(email, **other))


async def test_it_changes_the_password_and_tells_the_owner(cast: Cast, api: Caller) -> None:
    answer = await change(api, "BOB@example.com")
    assert (answer.status_code, answer.json()) == (200, {"message": "Password has been changed"})
    assert answer.headers["cache-control"] == "no-store"
    problem(await try_login(cast.app, cast.bob.email), 404)
    assert (await try_login(cast.app, cast.bob.email, NEW)).status_code == 200
    assert (await try_login(cast.app, cast.mallet.email)).status_code == 200
    letter = (await letters_to(api, cast.bob.email))[0]
    assert letter["subject"] == "Your password was changed"
    assert letter["code"] is None
    assert letter["link"] is None
    assert NEW not in letter["text"]


async def test_it_signs_every_other_device_out(cast: Cast) -> None:
    laptop, phone = [await sign_in(cast.app, cast.bob.email) for _ in range(2)]
    mallet = await sign_in(cast.app, cast.mallet.email)
    assert (await change(laptop.browser, cast.bob.email)).status_code == 200
    assert not await phone.works()
    assert not await phone.refreshes()
    assert await laptop.refreshes()
    assert await mallet.works()
    assert await mallet.refreshes()


async def test_it_spares_no_session_of_somebody_else(cast: Cast) -> None:
    """Mallet knows Bob's password: his own cookie keeps none of Bob's devices signed in."""
    bob = await sign_in(cast.app, cast.bob.email)
    mallet = await sign_in(cast.app, cast.mallet.email)
    assert (await change(mallet.browser, cast.bob.email)).status_code == 200
    assert not await bob.refreshes()
    assert await mallet.refreshes()


IMPOSSIBLE: list[tuple[dict[str, object], str]] = [
    ({"newPassword": "Ab1$", "confirmPassword": "Ab1$"}, "newPassword"),
    ({"newPassword": "moon$hine42", "confirmPassword": "moon$hine42"}, "newPassword"),
    ({"newPassword": "Aa1$" * 33, "confirmPassword": "Aa1$" * 33}, "newPassword"),
    ({"newPassword": "Password1!", "confirmPassword": "Password1!"}, "newPassword"),
    ({"newPassword": PASSWORD, "confirmPassword": PASSWORD}, "newPassword"),
    ({"newPassword": 7}, "newPassword"),
    ({"confirmPassword": NEW + " "}, "confirmPassword"),
    ({"confirmPassword": ""}, "confirmPassword"),
    ({"currentPassword": None}, "currentPassword"),
    ({"email": ["bob@example.com"]}, "email"),
]


async def test_it_names_what_cannot_be_right_without_hashing(cast: Cast, api: Caller) -> None:
    with counted_hashing() as hashing:
        for other, field in IMPOSSIBLE:
            answer = await change(api, cast.bob.email, **other)
            assert problem(answer, 400)["field"] == field
    assert (hashing.hashed, hashing.verified) == (0, 0)
    assert (await try_login(cast.app, cast.bob.email)).status_code == 200


@pytest.mark.parametrize("email", ["bob@example.com", "nobody@example.com", "not an address"])
async def test_it_says_the_same_of_every_wrong_password(
    cast: Cast, api: Caller, email: str
) -> None:
    with counted_hashing() as hashing:
        answer = await change(api, email, currentPassword="wrong")
    assert problem(answer, 404)["error"] == "Invalid password or email"
    assert (hashing.hashed, hashing.verified) == (0, 1)
    assert await letters_to(api, "bob@example.com") == []


async def test_it_counts_as_an_attempt_to_sign_in(cast: Cast, api: Caller) -> None:
    for email in (cast.bob.email, "nobody@example.com"):
        tries = [await change(api, email, currentPassword=f"wrong {at}") for at in range(7)]
        assert [answer.status_code for answer in tries] == [404] * 5 + [429] * 2
        problem(await try_login(cast.app, email), 429)
    async with caller(cast.app, address="192.0.2.9") as elsewhere:
        assert (await change(elsewhere, cast.bob.email)).status_code == 200


async def test_it_tells_a_blocked_user_only_after_the_password(cast: Cast, api: Caller) -> None:
    async with blocked(cast, cast.bob):
        problem(await change(api, cast.bob.email, currentPassword="wrong"), 404)
        problem(await change(api, cast.bob.email), 403)
    assert (await try_login(cast.app, cast.bob.email)).status_code == 200


async def test_it_is_done_once_of_two_at_once(cast: Cast, app: Litestar) -> None:
    async def change_to(new: str) -> tuple[int, str]:
        async with caller(app) as somebody:
            answer = await change(somebody, cast.bob.email, newPassword=new, confirmPassword=new)
        return answer.status_code, new

    answers = await asyncio.gather(*(change_to(f"Moon$hine4{at}") for at in range(4)))
    assert sorted(status for status, _ in answers) == [200, 404, 404, 404]
    for status, password in answers:
        assert ((await try_login(app, cast.bob.email, password)).status_code == 200) == (
            status == 200
        )
