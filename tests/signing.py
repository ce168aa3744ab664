"""Signing in and out as browsers do: the access token, and the cookie that gets another one.

device = await sign_in(app, cast.bob)             a browser of Bob's
assert await device.works() and await device.refreshes()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from litestar import Litestar

from web import PASSWORD, Caller, caller, problem

AGE_LIMITS = "UPDATE rate_limit SET forgotten_at = forgotten_at - make_interval(secs => $1)"


class Device(msgspec.Struct):
    """Where somebody is signed in."""

    browser: Caller
    access_token: str

    async def works(self) -> bool:
        """Whether the access token still opens something."""
        answer = await self.browser.get(
            "/api/client/job/job-details/66aa00000000000000000a01",
            headers={"authorization": f"Bearer {self.access_token}"},
        )
        if answer.status_code == 404:
            return True
        problem(answer, 401)
        return False

    async def refreshes(self) -> bool:
        """Whether the refresh cookie still gets an access token, which then works."""
        answer = await self.browser.post("/api/auth/refresh-token", json={})
        if answer.status_code != 200:
            problem(answer, 401)
            return False
        self.access_token = answer.json()["accessToken"]
        return await self.works()


async def try_login(
    app: Litestar, email: str, password: str = PASSWORD, address: str = "127.0.0.1"
) -> httpx.Response:
    """One attempt to sign in from `address`, without a browser that remembers anything."""
    async with caller(app, address=address) as browser:
        return await browser.post("/api/auth/login", json={"email": email, "password": password})


async def sign_in(app: Litestar, email: str, password: str = PASSWORD) -> Device:
    """A device on which the owner of `email` is signed in."""
    browser = caller(app)
    answer = await browser.post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return Device(browser, answer.json()["accessToken"])


async def letters_to(api: httpx.AsyncClient, email: str) -> list[dict[str, Any]]:
    """What the mailbox of `email` shows, newest first."""
    found: list[dict[str, Any]] = (await api.get("/sandbox/mailbox", params={"to": email})).json()
    return found


class Hashing(msgspec.Struct):
    """How often argon2 ran."""

    hashed: int = 0
    verified: int = 0


@contextmanager
def counted_hashing() -> Iterator[Hashing]:
    """Counts the runs of argon2 while it is open."""
    found = Hashing()
    hash_, verify = PasswordHasher.hash, PasswordHasher.verify

    def counted_hash(self: PasswordHasher, password: str | bytes) -> str:
        found.hashed += 1
        return hash_(self, password)

    def counted_verify(self: PasswordHasher, known: str | bytes, password: str | bytes) -> bool:
        found.verified += 1
        return verify(self, known, password)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PasswordHasher, "hash", counted_hash)
        patch.setattr(PasswordHasher, "verify", counted_verify)
        yield found
