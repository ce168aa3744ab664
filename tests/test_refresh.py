"""Refreshing: the token is exchanged at every use, and a stolen one gives itself away."""

import asyncio
import logging

import pytest

import signing
from earnest.store.db import Pool
from web import PASSWORD, Caller, Cast, problem

AGE = """
UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => $1)
WHERE rotated_at IS NOT NULL
"""
EXPIRE = "UPDATE refresh_token SET expires_at = now()"
BLOCK = "UPDATE login SET status = 'Blocked' WHERE party_id = $1"


async def sign_in(api: Caller, somebody: Caller) -> str:
    answer = await api.post("/api/auth/login", json={"email": somebody.email, "password": PASSWORD})
    assert answer.status_code == 200
    api.cookies.clear()
    return str(answer.cookies["refreshToken"])


async def refresh(api: Caller, token: str) -> tuple[int, str]:
    """Status, and the token that follows."""
    answer = await api.post(
        "/api/auth/refresh-token", json={}, headers={"cookie": f"refreshToken={token}"}
    )
    api.cookies.clear()
    if answer.status_code != 200:
        problem(answer, answer.status_code)
        return answer.status_code, ""
    assert list(answer.json()) == ["accessToken"]
    return 200, str(answer.cookies["refreshToken"])


async def test_it_gives_a_token_that_works(cast: Cast, api: Caller) -> None:
    token = await sign_in(api, cast.bob)
    answer = await api.post(
        "/api/auth/refresh-token", json={}, headers={"cookie": f"refreshToken={token}"}
    )
    access = answer.json()["accessToken"]
    applied = await api.get(
        "/api/freelancer/jobs/applied-jobs", headers={"authorization": f"Bearer {access}"}
    )
    assert applied.json() == {"applications": []}


async def test_it_rotates(cast: Cast, api: Caller) -> None:
    first = await sign_in(api, cast.bob)
    _, second = await refresh(api, first)
    _, third = await refresh(api, second)
    assert len({first, second, third}) == 3


async def test_it_forgives_parallel_refreshes(cast: Cast, api: Caller, pool: Pool) -> None:
    token = await sign_in(api, cast.bob)
    answers = await asyncio.gather(*(refresh(api, token) for _ in range(8)))
    assert [status for status, _ in answers] == [200] * 8
    async with pool.connection() as conn:
        await conn.execute(AGE, 29)
    assert (await refresh(api, token))[0] == 200


async def test_it_ends_the_family_when_an_old_token_returns(
    cast: Cast, api: Caller, pool: Pool
) -> None:
    stolen = await sign_in(api, cast.bob)
    _, current = await refresh(api, stolen)
    elsewhere = await sign_in(api, cast.bob)
    async with pool.connection() as conn:
        await conn.execute(AGE, 31)
    assert (await refresh(api, stolen))[0] == 401
    assert (await refresh(api, current))[0] == 401
    assert (await refresh(api, elsewhere))[0] == 200


async def test_it_refuses_what_is_no_refresh_token(cast: Cast, api: Caller) -> None:
    access = cast.bob.headers["authorization"].removeprefix("Bearer ")
    for token in (access, "x", "a.b.c"):
        assert (await refresh(api, token))[0] == 401
    problem(await api.post("/api/auth/refresh-token", json={}), 401)
    token = await sign_in(api, cast.bob)
    answer = await api.get(
        "/api/freelancer/jobs/applied-jobs", headers={"authorization": f"Bearer {token}"}
    )
    problem(answer, 401)


async def test_it_refuses_an_expired_token(cast: Cast, api: Caller, pool: Pool) -> None:
    token = await sign_in(api, cast.bob)
    async with pool.connection() as conn:
        await conn.execute(EXPIRE)
    assert (await refresh(api, token))[0] == 401


async def test_it_refuses_a_blocked_user(cast: Cast, api: Caller, pool: Pool) -> None:
    token = await sign_in(api, cast.bob)
    async with pool.connection() as conn:
        await conn.execute(BLOCK, cast.bob.actor.key)
    assert (await refresh(api, token))[0] == 403


async def test_it_is_not_bound_to_business_time(cast: Cast, api: Caller) -> None:
    token = await sign_in(api, cast.bob)
    await api.post("/sandbox/clock", json={"advance_seconds": 30 * 86_400})
    assert (await refresh(api, token))[0] == 200


async def test_it_ends_the_access_tokens_of_the_family_too(
    cast: Cast, api: Caller, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever stole the refresh token may hold an access token; other devices get another one."""
    device = await signing.sign_in(cast.app, cast.bob.email)
    elsewhere = await signing.sign_in(cast.app, cast.bob.email)
    stolen = device.browser.cookies["refreshToken"]
    assert await device.refreshes()
    async with pool.connection() as conn:
        await conn.execute(AGE, 31)
    with caplog.at_level(logging.WARNING):
        assert (await refresh(api, stolen))[0] == 401
    told = [record for record in caplog.records if "used again" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"]
    assert stolen not in caplog.text
    assert not await device.works()
    assert not await device.refreshes()
    assert not await elsewhere.works()
    assert await elsewhere.refreshes()


async def test_it_names_nobody_by_a_token_that_was_exchanged_long_ago(
    cast: Cast, api: Caller, pool: Pool
) -> None:
    """A cookie alone reads and signs out everywhere; an old one does neither."""
    old = await sign_in(api, cast.bob)
    _, current = await refresh(api, old)
    profile = f"/api/freelancer/profile/get-profile/{cast.bob.id}"
    seen = []
    for seconds, token in ((29, old), (2, old), (0, current)):
        async with pool.connection() as conn:
            await conn.execute(AGE, seconds)
        answer = await api.get(profile, headers={"cookie": f"refreshToken={token}"})
        assert answer.status_code == 200
        seen.append(cast.bob.email in answer.text)
    assert seen == [True, False, True]
    everywhere = "/api/auth/logout-all"
    problem(await api.post(everywhere, headers={"cookie": f"refreshToken={old}"}), 401)
    answer = await api.post(everywhere, headers={"cookie": f"refreshToken={current}"})
    assert answer.status_code == 200


async def test_it_notices_reuse_once_however_often_it_happens(
    cast: Cast, api: Caller, pool: Pool
) -> None:
    stolen = await sign_in(api, cast.bob)
    await refresh(api, stolen)
    elsewhere = await signing.sign_in(cast.app, cast.bob.email)
    async with pool.connection() as conn:
        await conn.execute(AGE, 31)
    answers = await asyncio.gather(*(refresh(api, stolen) for _ in range(8)))
    assert [status for status, _ in answers] == [401] * 8
    assert await elsewhere.refreshes()
    assert (await refresh(api, stolen))[0] == 401
    assert await elsewhere.works()


async def test_it_gives_nothing_that_outlives_a_block_at_the_same_moment(
    cast: Cast, pool: Pool
) -> None:
    devices = [await signing.sign_in(cast.app, cast.bob.email) for _ in range(4)]
    block = cast.olga.put(f"/api/admin/users/block-freelancer/{cast.bob.id}")
    refreshed = asyncio.gather(
        *(each.browser.post("/api/auth/refresh-token", json={}) for each in devices)
    )
    blocked, answers = await asyncio.gather(block, refreshed)
    assert blocked.status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 401, 403}
    for device in devices:
        again = await device.browser.post("/api/auth/refresh-token", json={})
        assert again.status_code in (401, 403)
    async with pool.connection() as conn:
        alive = "SELECT count(*) FROM session WHERE party_id = $1 AND revoked_at IS NULL"
        assert await conn.fetchval(alive, cast.bob.actor.key) == 0
