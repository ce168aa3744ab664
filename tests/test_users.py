"""Users for admins: lists of one role, and admins who make admins."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from conftest import TestDatabase
from digest import digest
from earnest.domain.party import Role
from earnest.store.db import Pool
from earnest.store.verify import verify
from refusals import only_for, refused
from web import PASSWORD, Caller, Cast, problem, sign_up

LISTS = ("get-clients", "get-freelancers", "get-admins")
NEW_ADMIN = {"name": "Oscar", "email": "Oscar@Example.com", "password": PASSWORD}
MADE = """
SELECT
    (SELECT count(*) FROM login WHERE role = 'admin') AS admins,
    (SELECT count(*) FROM event WHERE type = 'admin.created') AS events
"""
CROWD_OF_PARTIES = """
INSERT INTO party (id, public_id, business_id, name, email)
SELECT n, '68c1a2b3' || lpad(to_hex(n), 10, '0') || '9f3a71', 1, 'Person ' || n,
    n || '@example.com'
FROM generate_series(1000001, 1001200) AS n
"""
CROWD_OF_LOGINS = """
INSERT INTO login (party_id, role, email_canonical, password_hash)
SELECT id, 'client', email, 'x' FROM party WHERE name LIKE 'Person %'
"""
SECRETS = (
    "SELECT password_hash FROM login UNION ALL SELECT encode(code_hash, 'hex') FROM registration"
)


async def users(who: Caller, path: str, **query: Any) -> list[Any]:
    answer = await who.get(f"/api/admin/users/{path}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"] is True
    data: list[Any] = answer.json()["data"]
    return data


async def names(who: Caller, path: str, **query: Any) -> list[str]:
    return [one["name"] for one in await users(who, path, **query)]


async def admins_made(cast: Cast) -> tuple[int, int]:
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        row = await conn.fetchrow(MADE)
    assert row is not None
    return tuple(row)


# -- lists ------------------------------------------------------------------------------------


async def test_it_lists_each_role_newest_first(cast: Cast) -> None:
    assert await names(cast.olga, "get-clients") == ["Mallory", "Alice"]
    assert await names(cast.olga, "get-freelancers") == ["Mallet", "Bob"]
    assert await names(cast.olga, "get-admins") == ["Olga"]


@pytest.mark.abuse(67)
async def test_it_shows_what_an_operator_needs_and_nothing_that_signs_in(cast: Cast) -> None:
    for path, role in zip(LISTS, ("client", "freelancer", "admin"), strict=True):
        for user in await users(cast.olga, path):
            created, updated = user.pop("createdAt"), user.pop("updatedAt")
            assert created == updated
            assert created.endswith("Z")
            assert user == {
                "_id": user["_id"],
                "name": user["name"],
                "email": f"{user['name'].lower()}@example.com",
                "role": role,
                "status": "Active",
                "profilePic": "",
                "__v": 0,
            }


@pytest.mark.abuse(67)
async def test_it_never_shows_a_hash_or_a_code(cast: Cast) -> None:
    registered = {"name": "Ann", "email": "ann@example.com", "password": PASSWORD, "role": "client"}
    answer = await cast.anybody.post("/api/auth/register", json=registered)
    assert answer.status_code == 200, answer.text
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        secrets = [row[0] for row in await conn.fetch(SECRETS)]
    assert len(secrets) == 6
    before = await digest(pool)
    for path in LISTS:
        for query in ("", "?search=example&page=1&limit=100", "?search=undefined"):
            text = (await cast.olga.get(f"/api/admin/users/{path}{query}")).text
            assert "@example.com" in text
            assert [secret for secret in secrets if secret in text] == []
            assert "argon2" not in text
        for secret in ("$argon2", *(secret[:60] for secret in secrets)):
            assert await users(cast.olga, path, search=secret) == [], "it was looked for in secrets"
    assert await digest(pool) == before


async def test_it_pages(cast: Cast) -> None:
    for name in ("Ann", "Ben", "Cid"):
        await sign_up(cast.app, name, Role.CLIENT)
    answer = await cast.olga.get("/api/admin/users/get-clients?page=2&limit=2")
    body = answer.json()
    assert [one["name"] for one in body["data"]] == ["Ann", "Mallory"]
    assert (body["total"], body["currentPage"], body["totalPages"]) == (5, 2, 3)
    assert await names(cast.olga, "get-clients", page=3, limit=2) == ["Alice"]
    assert await names(cast.olga, "get-clients", page=4, limit=2) == []
    everything = (await cast.olga.get("/api/admin/users/get-clients")).json()
    assert (everything["total"], len(everything["data"])) == (5, 5)
    assert (everything["currentPage"], everything["totalPages"]) == (1, 1)


async def test_it_pages_what_it_has_found(cast: Cast) -> None:
    for name in ("Ann", "Anna", "Hannah", "Ben"):
        await sign_up(cast.app, name, Role.CLIENT)
    for page, shown in ((1, ["Hannah", "Anna"]), (2, ["Ann"]), (3, [])):
        query: dict[str, Any] = {"search": "ANN", "page": page, "limit": 2}
        body = (await cast.olga.get("/api/admin/users/get-clients", params=query)).json()
        assert [one["name"] for one in body["data"]] == shown
        assert (body["total"], body["currentPage"], body["totalPages"]) == (3, page, 2)


async def test_it_lists_1000_at_most_if_not_asked_by_page(cast: Cast) -> None:
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        await conn.execute(CROWD_OF_PARTIES)
        await conn.execute(CROWD_OF_LOGINS)
    for query in ({}, {"search": "person"}):
        body = (await cast.olga.get("/api/admin/users/get-clients", params=query)).json()
        assert len(body["data"]) == 1_000
        assert body["total"] == 1_200 + (0 if query else 2)
        assert body["totalPages"] == 2
    assert len(await users(cast.olga, "get-clients", page=1, limit=100_000)) == 100


async def test_it_takes_the_literal_undefined_for_absent(cast: Cast) -> None:
    absent = {"page": "undefined", "limit": "undefined", "search": "undefined"}
    assert await names(cast.olga, "get-clients", **absent) == ["Mallory", "Alice"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ALI", ["Alice"]),
        ("mallory@", ["Mallory"]),
        ("@EXAMPLE.com", ["Mallory", "Alice"]),
        ("l", ["Mallory", "Alice"]),
        ("olga", []),
        ("%", []),
        ("_", []),
        ("\\", []),
        (".*", []),
        ("(a+)+$", []),
        ("' OR 1=1--", []),
    ],
)
async def test_it_searches_literally_in_names_and_addresses(
    cast: Cast, search: str, found: list[str]
) -> None:
    assert await names(cast.olga, "get-clients", search=search) == found


async def test_it_finds_a_name_with_signs_of_a_pattern(cast: Cast) -> None:
    await sign_up(cast.app, "50%_\\off", Role.CLIENT)
    for search in ("50%_", "%_\\", "\\off"):
        assert await names(cast.olga, "get-clients", search=search) == ["50%_\\off"]
    assert await names(cast.olga, "get-clients", search="50_%") == []


@pytest.mark.abuse(19)
@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "-1"},
        {"limit": "abc"},
        {"limit": "1e3"},
        {"search": "x" * 101},
        {"search": "a\x00b"},
        {"search": "a\u202eb"},
    ],
)
async def test_it_refuses_a_malformed_query(cast: Cast, query: dict[str, str]) -> None:
    for path in LISTS:
        await refused(cast, cast.olga.get(f"/api/admin/users/{path}", params=query), 400)


@pytest.mark.abuse(62)
@pytest.mark.parametrize("path", LISTS)
async def test_it_lists_for_admins_only(cast: Cast, path: str) -> None:
    await only_for(cast, lambda who: who.get(f"/api/admin/users/{path}"), cast.olga)


# -- create-admin -----------------------------------------------------------------------------


async def test_it_makes_an_admin_on_record_as_made_by_the_caller(
    cast: Cast, database: TestDatabase
) -> None:
    answer = await cast.olga.post("/api/admin/users/create-admin", json=NEW_ADMIN)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["success"], body["message"]) == (True, "Admin has been created")
    made = body["data"]
    assert (made["name"], made["email"]) == ("Oscar", "Oscar@Example.com")
    assert (made["role"], made["status"]) == ("admin", "Active")
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        event = await conn.fetchrow(
            "SELECT type, actor, body FROM event WHERE subject = $1", f"party:{made['_id']}"
        )
    assert event is not None
    assert (event["type"], event["actor"]) == ("admin.created", cast.olga.actor.name)
    assert json.loads(event["body"]) == {"email": "oscar@example.com"}
    assert (await verify(database.app_dsn)).violation is None

    login = {"email": "oscar@example.com", "password": PASSWORD}
    signed_in = (await cast.anybody.post("/api/auth/login", json=login)).json()
    assert signed_in["role"] == "admin"
    token = {"Authorization": f"Bearer {signed_in['accessToken']}"}
    listed = await cast.anybody.get("/api/admin/users/get-admins", headers=token)
    assert [one["name"] for one in listed.json()["data"]] == ["Oscar", "Olga"]


async def test_it_makes_an_admin_whose_admin_is_on_record_too(
    cast: Cast, database: TestDatabase
) -> None:
    """A chain of admins is on record from end to end."""
    maker = cast.olga
    for name in ("Oscar", "Otto"):
        body = {"name": name, "email": f"{name.lower()}@example.com", "password": PASSWORD}
        made = await maker.post("/api/admin/users/create-admin", json=body)
        assert made.status_code == 201, made.text
        login = {"email": body["email"], "password": PASSWORD}
        token = (await cast.anybody.post("/api/auth/login", json=login)).json()["accessToken"]
        maker.headers["Authorization"] = f"Bearer {token}"
    assert (await verify(database.app_dsn)).violation is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": None}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"email": "oscar"}, "email"),
        ({"email": "öscar@example.com"}, "email"),
        ({"email": 7}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "sun$hine9"}, "password"),
        ({"password": "Sun$hine9" * 15}, "password"),
        ({"password": None}, "password"),
    ],
)
async def test_it_makes_no_admin_of(cast: Cast, change: dict[str, Any], field: str) -> None:
    path = "/api/admin/users/create-admin"
    text = await refused(cast, cast.olga.post(path, json=NEW_ADMIN | change), 400)
    assert field in text
    left = {name: value for name, value in NEW_ADMIN.items() if name not in change}
    assert field in await refused(cast, cast.olga.post(path, json=left), 400)
    assert await admins_made(cast) == (1, 1)


@pytest.mark.parametrize("email", ["olga@example.com", "ALICE@example.com"])
async def test_it_makes_no_second_account_of_an_address(cast: Cast, email: str) -> None:
    asked = cast.olga.post("/api/admin/users/create-admin", json=NEW_ADMIN | {"email": email})
    await refused(cast, asked, 409, "User already exist")


async def test_it_makes_one_of_many_who_are_asked_for_at_once(cast: Cast) -> None:
    answers = await asyncio.gather(
        *(cast.olga.post("/api/admin/users/create-admin", json=NEW_ADMIN) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert await admins_made(cast) == (2, 2)


async def test_it_makes_one_admin_for_one_key_and_keeps_no_trace_of_the_password(
    cast: Cast,
) -> None:
    async def make(**change: str) -> Any:
        return await cast.olga.post(
            "/api/admin/users/create-admin",
            json=NEW_ADMIN | change,
            headers={"Idempotency-Key": "oscar"},
        )

    first, second = await make(), await make()
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second.headers["Idempotent-Replayed"] == "true"
    problem(await make(password="Moon$hine9"), 422)
    assert await admins_made(cast) == (2, 2)
    plain = hashlib.sha256()
    for part in (b"POST", b"/api/admin/users/create-admin", b"", first.request.content):
        plain.update(len(part).to_bytes(8, "big") + part)
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        (kept,) = await conn.fetch("SELECT request_hash, reply FROM idempotency_key")
    assert kept["request_hash"] != plain.digest(), "a hash to try passwords on"
    assert PASSWORD.encode() not in kept["reply"]


async def test_it_makes_admins_for_admins_only(cast: Cast) -> None:
    await only_for(
        cast, lambda who: who.post("/api/admin/users/create-admin", json=NEW_ADMIN), cast.olga
    )


async def test_it_makes_only_admins_whatever_else_is_sent(cast: Cast) -> None:
    body = NEW_ADMIN | {"role": "client", "status": "Blocked", "_id": cast.bob.id}
    made = (await cast.olga.post("/api/admin/users/create-admin", json=body)).json()["data"]
    assert (made["role"], made["status"]) == ("admin", "Active")
    assert made["_id"] != cast.bob.id
