"""Nobody becomes somebody else, nor anybody an admin (rows 106 and 107 of the abuse cases).

What is refused leaves everything as it was that lets people in.
"""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from litestar import Litestar

from conftest import TestDatabase
from digest import doors
from earnest.store.db import Pool
from signing import letters_to, sign_in, try_login
from web import PASSWORD, UNKNOWN_ID, Caller, Cast, caller, problem

CAROL = {"name": "Carol", "email": "carol@example.com", "password": PASSWORD, "role": "client"}
DAVE = CAROL | {"name": "Dave", "email": "dave@example.com", "role": "freelancer"}
SET_STATUS = "UPDATE login SET status = $2 WHERE party_id = $1"
JOBS = "/api/client/job/get-jobs"


@pytest.fixture
async def operator(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Somebody at the database, as its owner."""
    conn = await asyncpg.connect(database.owner_dsn)
    yield conn
    await conn.close()


# -- row 106 ----------------------------------------------------------------------------------


@pytest.mark.abuse(106)
async def test_a_status_that_changes_in_the_database_counts_at_once(
    cast: Cast, pool: Pool, operator: asyncpg.Connection
) -> None:
    device = await sign_in(cast.app, cast.alice.email)
    token = {"authorization": f"Bearer {device.access_token}"}
    assert (await device.browser.get(JOBS, headers=token)).status_code == 200
    await operator.execute(SET_STATUS, cast.alice.actor.key, "Blocked")
    before = await doors(pool)
    for method, path in (
        ("GET", JOBS),
        ("GET", f"/api/client/job/my-jobs/{cast.alice.id}"),
        ("POST", "/api/client/job/create-job"),
        ("GET", f"/api/freelancer/wallet/earnings/{cast.alice.id}"),
    ):
        body = cast.job() if method == "POST" else None
        problem(await device.browser.request(method, path, headers=token, json=body), 403)
    refreshed = await device.browser.post("/api/auth/refresh-token", json={})
    problem(refreshed, 403 if refreshed.status_code == 403 else 401)
    problem(await try_login(cast.app, cast.alice.email), 403)
    assert await doors(pool) == before
    await operator.execute(SET_STATUS, cast.alice.actor.key, "Active")
    assert (await device.browser.get(JOBS, headers=token)).status_code == 200


@pytest.mark.abuse(106)
async def test_a_role_changes_for_nobody_not_even_for_the_owner_of_the_database(
    cast: Cast, pool: Pool, operator: asyncpg.Connection
) -> None:
    before = await doors(pool)
    bob = cast.bob.actor.key
    for change in ("role = 'admin'", "role = 'client'", f"party_id = {cast.olga.actor.key}"):
        statement = f"UPDATE login SET {change} WHERE party_id = {bob}"
        with pytest.raises(asyncpg.PostgresError):
            await operator.execute(statement)
        async with pool.connection() as conn:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)
    assert await doors(pool) == before
    assert (await cast.bob.get("/api/freelancer/jobs/applied-jobs")).status_code == 200
    problem(await cast.bob.get("/api/admin/escrow/balance"), 403)


@pytest.mark.abuse(106)
async def test_a_token_of_ours_opens_nothing_once_its_owner_left(cast: Cast, pool: Pool) -> None:
    """Signed by us, for a login that signed out everywhere since, or that there is not."""
    tokens = cast.app.state.access_tokens
    before = await doors(pool)
    for who, generation in ((cast.bob.id, 2), (cast.bob.id, 0), (UNKNOWN_ID, 1)):
        token = tokens.issue(who, "freelancer", generation)
        async with caller(cast.app, Authorization=f"Bearer {token}") as somebody:
            problem(await somebody.get("/api/freelancer/jobs/applied-jobs"), 401)
    assert await doors(pool) == before


# -- row 107 ----------------------------------------------------------------------------------


ROLES: tuple[tuple[Any, int], ...] = (
    ("admin", 403),
    ("Admin", 400),
    ("ADMIN", 400),
    ("admin ", 400),
    ("\uff41dmin", 400),
    ("\u0430dmin", 400),  # a Cyrillic a
    ("client,admin", 400),
    ("system", 400),
    ("partner", 400),
    ("", 400),
    (None, 400),
    (1, 400),
    (["admin"], 400),
    ({"$ne": "client"}, 400),
)


@pytest.mark.abuse(107)
async def test_nobody_registers_as_an_admin(api: Caller, pool: Pool) -> None:
    before = await doors(pool)
    for role, status in ROLES:
        problem(await api.post("/api/auth/register", json=CAROL | {"role": role}), status)
    for more in ({"userData": {"role": "admin"}}, {"roles": ["admin"], "isAdmin": True}):
        answer = await api.post("/api/auth/google-login", json=CAROL | more | {"token": "x"})
        problem(answer, 404)
    assert await doors(pool) == before
    assert await letters_to(api, CAROL["email"]) == []


@pytest.mark.abuse(107)
async def test_a_code_is_good_for_its_own_address_and_what_was_registered(
    app: Litestar, api: Caller, pool: Pool, operator: asyncpg.Connection
) -> None:
    codes = {}
    for person in (CAROL, DAVE):
        assert (await api.post("/api/auth/register", json=person)).status_code == 200
        codes[person["name"]] = (await letters_to(api, person["email"]))[0]["code"]
    before = await doors(pool)
    tried: list[dict[str, Any]] = [
        {"email": DAVE["email"], "userData": DAVE},
        {"email": DAVE["email"], "userData": CAROL},
        {"email": "nobody@example.com", "userData": CAROL | {"email": "nobody@example.com"}},
        {"userData": CAROL | {"email": DAVE["email"]}},
        {"userData": CAROL | {"role": "admin"}},
        {"userData": CAROL | {"role": "freelancer"}},
        {"userData": CAROL | {"name": "Olga"}},
        {"userData": CAROL | {"password": "Moon$hine9"}},
        {"email": [CAROL["email"], DAVE["email"]]},
        {"email": {"$ne": ""}},
        {"otp": int(codes["Carol"])},
        {"otp": [codes["Carol"]]},
        {"otp": {"$ne": ""}},
        {"otp": codes["Carol"][:-1]},
        {"otp": codes["Carol"].translate({48 + n: 0x660 + n for n in range(10)})},
    ]
    sent = {"email": CAROL["email"], "otp": codes["Carol"], "userData": CAROL}
    for number, change in enumerate(tried):
        async with caller(app, address=f"192.0.2.{number}") as somebody:
            answer = await somebody.post("/api/auth/verify-otp", json=sent | change)
        problem(answer, 400)
        assert await doors(pool) == before, change
        await operator.execute("UPDATE registration SET tries_left = 5")
    assert (await api.post("/api/auth/verify-otp", json=sent)).status_code == 201
    async with pool.connection() as conn:
        assert [row["role"] for row in await conn.fetch("SELECT role FROM login")] == ["client"]
