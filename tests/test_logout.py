"""Signing out: this device, or every device at once."""

import asyncio

import pytest

from earnest.errors import Conflict
from earnest.store import sessions
from earnest.store.db import Pool
from refusals import blocked
from signing import Device, sign_in
from web import Caller, Cast, problem

EVERYWHERE = "/api/auth/logout-all"


async def bearer(device: Device, path: str) -> int:
    answer = await device.browser.post(
        path, headers={"authorization": f"Bearer {device.access_token}"}
    )
    device.browser.cookies.clear()
    return answer.status_code


async def test_it_ends_this_session_only(cast: Cast) -> None:
    laptop, phone = [await sign_in(cast.app, cast.bob.email) for _ in range(2)]
    answer = await laptop.browser.post("/api/auth/logout")
    assert (answer.status_code, answer.json()) == (200, {"message": "Logout successful"})
    assert not await laptop.refreshes()
    assert await phone.works()
    assert await phone.refreshes()


async def test_it_works_without_a_session(api: Caller) -> None:
    for cookie in ("", "refreshToken=x", "refreshToken=a.b.c"):
        answer = await api.post("/api/auth/logout", headers={"cookie": cookie})
        assert answer.status_code == 200


async def test_it_ends_every_session_and_every_access_token_at_once(cast: Cast) -> None:
    laptop, phone = [await sign_in(cast.app, cast.bob.email) for _ in range(2)]
    mallet = await sign_in(cast.app, cast.mallet.email)
    answer = await phone.browser.post(
        EVERYWHERE, headers={"authorization": f"Bearer {phone.access_token}"}
    )
    assert (answer.status_code, answer.json()) == (200, {"message": "Logout successful"})
    assert "refreshToken" not in phone.browser.cookies
    for device in (laptop, phone):
        assert not await device.works()
        assert not await device.refreshes()
    assert await mallet.works()
    assert await mallet.refreshes()
    again = await sign_in(cast.app, cast.bob.email)
    assert await again.works()
    assert await again.refreshes()


async def test_it_knows_the_caller_by_the_refresh_cookie(cast: Cast) -> None:
    laptop, phone = [await sign_in(cast.app, cast.bob.email) for _ in range(2)]
    assert (await laptop.browser.post(EVERYWHERE)).status_code == 200
    assert not await phone.works()
    assert not await phone.refreshes()


async def test_it_signs_nobody_out_for_nobody(cast: Cast, api: Caller) -> None:
    device = await sign_in(cast.app, cast.bob.email)
    problem(await api.post(EVERYWHERE), 401)
    for headers in (
        {"authorization": "Bearer e30.e30.e30"},
        {"cookie": "refreshToken=x"},
        {"cookie": f"refreshToken={device.access_token}"},
        {"authorization": f"Bearer {device.browser.cookies['refreshToken']}"},
    ):
        problem(await api.post(EVERYWHERE, headers=headers), 401)
    async with blocked(cast, cast.bob):
        token = {"authorization": f"Bearer {device.access_token}"}
        problem(await api.post(EVERYWHERE, headers=token), 403)
    assert await device.works()
    assert await device.refreshes()


async def test_it_takes_a_token_that_is_signed_out_no_second_time(cast: Cast) -> None:
    device = await sign_in(cast.app, cast.bob.email)
    assert await bearer(device, EVERYWHERE) == 200
    fresh = await sign_in(cast.app, cast.bob.email)
    assert await bearer(device, EVERYWHERE) == 401
    assert await fresh.works()


async def test_it_leaves_nothing_of_a_refresh_at_the_same_moment(cast: Cast, pool: Pool) -> None:
    """Whichever comes first, what the refresh got is void afterwards."""
    for _ in range(5):
        phone = await sign_in(cast.app, cast.bob.email)
        laptops = [await sign_in(cast.app, cast.bob.email) for _ in range(3)]
        out = phone.browser.post(EVERYWHERE)
        refreshed, _ = await asyncio.gather(
            asyncio.gather(
                *(each.browser.post("/api/auth/refresh-token", json={}) for each in laptops)
            ),
            out,
        )
        for laptop, answer in zip(laptops, refreshed, strict=True):
            assert answer.status_code in (200, 401)
            if answer.status_code == 200:
                laptop.access_token = answer.json()["accessToken"]
            assert not await laptop.works()
            assert not await laptop.refreshes()
    async with pool.connection() as conn:
        alive = "SELECT count(*) FROM session WHERE party_id = $1 AND revoked_at IS NULL"
        assert await conn.fetchval(alive, cast.bob.actor.key) == 0


async def test_it_ends_sessions_when_somebody_is_blocked(cast: Cast, pool: Pool) -> None:
    """Their access token works again once they are unblocked, their refresh token never."""
    device = await sign_in(cast.app, cast.bob.email)
    blocking = await cast.olga.put(f"/api/admin/users/block-freelancer/{cast.bob.id}")
    assert blocking.status_code == 200, blocking.text
    answer = await device.browser.post("/api/auth/refresh-token", json={})
    assert answer.status_code in (401, 403)
    assert (
        await cast.olga.put(f"/api/admin/users/unblock-freelancer/{cast.bob.id}")
    ).status_code == 200
    assert await device.works()
    assert not await device.refreshes()


async def test_it_opens_no_session_with_what_was_just_signed_out(cast: Cast, pool: Pool) -> None:
    """A sign-in whose password was read before everything was signed out, or blocked."""
    async with pool.connection() as conn:
        async with conn.transaction():
            await sessions.sign_out_everywhere(conn, cast.bob.actor.key, "test")
        for generation, status in ((1, "Active"), (2, "Blocked")):
            await conn.execute(
                "UPDATE login SET status = $2 WHERE party_id = $1", cast.bob.actor.key, status
            )
            with pytest.raises(Conflict):
                await sessions.open_session(conn, cast.bob.actor.key, generation, 60)
        assert await conn.fetchval("SELECT count(*) FROM session") == 0
