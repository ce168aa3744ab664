"""Registering: a code goes to the mailbox, and the account is made from what was registered."""

import asyncio
from typing import Any

import httpx
import pytest

from earnest.actions.accounts import create_admin
from earnest.store.db import Pool
from web import PASSWORD, Caller, Cast, problem

CAROL = {"name": "Carol", "email": "Carol@Example.com", "password": PASSWORD, "role": "client"}


async def mailed_code(api: httpx.AsyncClient, email: str) -> str:
    letters = (await api.get("/sandbox/mailbox", params={"to": email})).json()
    return str(letters[0]["code"])


async def register(api: httpx.AsyncClient, **other: Any) -> dict[str, Any]:
    """Register Carol; what she then sends with the code."""
    wanted = CAROL | other
    answer = await api.post("/api/auth/register", json=wanted)
    assert (answer.status_code, answer.json()) == (200, {"message": "OTP has been sent"})
    code = await mailed_code(api, wanted["email"])
    return {
        "email": wanted["email"],
        "otp": code,
        "userData": wanted | {"confirmPassword": wanted["password"]},
    }


async def signed_up(api: httpx.AsyncClient, name: str, role: str) -> dict[str, str]:
    """The headers of somebody who took the whole way over HTTP."""
    email = f"{name}@example.com"
    confirmed = await api.post(
        "/api/auth/verify-otp", json=await register(api, name=name, email=email, role=role)
    )
    assert (confirmed.status_code, confirmed.json()) == (201, {"message": "Signup successful"})
    return await signed_in(api, email)


async def signed_in(api: httpx.AsyncClient, email: str) -> dict[str, str]:
    answer = await api.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['accessToken']}"}


async def test_it_leads_from_the_mailed_code_to_a_job_and_an_application(
    served: httpx.AsyncClient, pool: Pool
) -> None:
    """The whole way over a real socket: register, verify, sign in, post a job, apply."""
    await create_admin(pool, "Olga@example.com", PASSWORD)
    olga = await signed_in(served, "olga@example.com")
    carol = await signed_up(served, "Carol", "client")
    dave = await signed_up(served, "Dave", "freelancer")
    labels = [
        (await served.post(path, json={"name": "Design"}, headers=olga)).json()["data"]["_id"]
        for path in ("/api/admin/categories/add-category", "/api/admin/skills/add-skills")
    ]
    job = {
        "title": "Logo",
        "description": "A logo",
        "rate": 50000,
        "experienceLevel": "Expert",
        "location": "Goa",
        "category": labels[0],
        "skills": labels[1:],
    }
    made = await served.post("/api/client/job/create-job", json=job, headers=carol)
    assert made.status_code == 200, made.text
    path = f"/api/freelancer/jobs/apply-job/{made.json()['job']['_id']}"
    assert (await served.post(path, headers=dave)).status_code == 201


async def test_it_tells_only_the_mailbox_that_an_address_is_taken(cast: Cast, api: Caller) -> None:
    answer = await api.post("/api/auth/register", json=CAROL | {"email": cast.alice.email})
    assert (answer.status_code, answer.json()) == (200, {"message": "OTP has been sent"})
    letters = (await api.get("/sandbox/mailbox", params={"to": cast.alice.email})).json()
    assert letters[0]["subject"] == "You already have an account"
    assert letters[0]["code"] is None


async def test_it_takes_wrong_codes_for_a_taken_address_as_for_a_free_one(
    cast: Cast, api: Caller
) -> None:
    """Otherwise whoever registers with somebody's address could tell by typing a code."""
    heard = []
    for email in (cast.alice.email, "free@example.com"):
        registered = CAROL | {"email": email}
        assert (await api.post("/api/auth/register", json=registered)).status_code == 200
        again = await api.post("/api/auth/resend-otp", json={"email": email})
        assert (again.status_code, again.json()) == (200, {"message": "OTP has been sent"})
        sent = {"email": email, "otp": "12345x", "userData": registered}
        answers = [await api.post("/api/auth/verify-otp", json=sent) for _ in range(6)]
        heard.append([(answer.status_code, answer.text) for answer in answers])
    assert heard[0] == heard[1]
    assert len(set(heard[0])) == 2, "five wrong codes, and then none is taken"
    letters = (await api.get("/sandbox/mailbox", params={"to": cast.alice.email})).json()
    assert [letter["subject"] for letter in letters] == ["You already have an account"] * 2
    assert (await api.post("/api/auth/login", json=CAROL | {"email": cast.alice.email})).is_success


@pytest.mark.abuse(107)
async def test_it_makes_no_administrators(api: Caller, pool: Pool) -> None:
    """Whatever is sent, wherever (row 107): there is no admin, nor a registration of one."""
    for role in ("admin", "Admin", "ADMIN", "admin ", "\uff41dmin", "partner", "system", ""):
        refused = await api.post("/api/auth/register", json=CAROL | {"role": role})
        problem(refused, 403 if role == "admin" else 400)
    sent = await register(api)
    others: list[object] = ["admin", "client,admin", ["client", "admin"], {"$ne": "client"}]
    for other in others:
        stated = sent | {"role": other, "userData": sent["userData"] | {"role": other}}
        problem(await api.post("/api/auth/verify-otp", json=stated), 400)
    more = sent | {"role": "admin", "status": "Active", "isAdmin": True}
    assert (await api.post("/api/auth/verify-otp", json=more)).status_code == 201
    async with pool.connection() as conn:
        assert [row["role"] for row in await conn.fetch("SELECT role FROM login")] == ["client"]
        assert await conn.fetchval("SELECT count(*) FROM registration") == 0


@pytest.mark.abuse(107)
async def test_it_has_no_sign_in_with_google(api: Caller) -> None:
    """Out of scope, so no way around the rules above either."""
    for role in ("client", "admin"):
        answer = await api.post("/api/auth/google-login", json={"token": "x", "role": role})
        problem(answer, 404)


IMPOSSIBLE: list[tuple[str, object]] = [
    ("email", "carol"),
    ("email", "carol@"),
    ("email", "carol@example..com"),
    ("email", "c\u212aarol@example.com"),
    ("email", "carol\uff20example.com"),
    ("email", 7),
    ("password", "Ab1$"),
    ("password", "sunshine$9"),
    ("password", "SUNSHINE$9"),
    ("password", "Sunshine$"),
    ("password", "Sunshine9"),
    ("password", "Aa1$" * 40),
    ("password", "Password1!"),
    ("password", "P@ssw0rd2026"),
    ("password", "Qwerty@123"),
    ("role", "owner"),
    ("name", " "),
    ("name", None),
]


async def test_it_refuses_what_cannot_be_right(api: Caller) -> None:
    for field, value in IMPOSSIBLE:
        answer = await api.post("/api/auth/register", json=CAROL | {field: value})
        assert problem(answer, 400)["field"] == field
    assert (await api.get("/sandbox/mailbox", params={"to": CAROL["email"]})).json() == []


@pytest.mark.abuse(107)
@pytest.mark.parametrize(
    "stated",
    [
        {"role": "admin"},
        {"role": "freelancer"},
        {"name": "Mallory"},
        {"email": "mallory@example.com"},
        {"password": "Moon$hine9"},
    ],
)
async def test_it_refuses_user_data_that_differs(api: Caller, stated: dict[str, str]) -> None:
    sent = await register(api)
    sent["userData"] |= stated
    problem(await api.post("/api/auth/verify-otp", json=sent), 400)
    answer = await api.post(
        "/api/auth/login", json={"email": CAROL["email"], "password": CAROL["password"]}
    )
    problem(answer, 404)


async def test_it_takes_a_code_once(api: Caller) -> None:
    sent = await register(api)
    answers = await asyncio.gather(*(api.post("/api/auth/verify-otp", json=sent) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]


async def test_it_lets_the_owner_in_with_a_new_code(api: Caller) -> None:
    sent = await register(api)
    for _ in range(5):
        await api.post("/api/auth/verify-otp", json=sent | {"otp": "x"})
    assert (await api.post("/api/auth/resend-otp", json={"email": CAROL["email"]})).json() == {
        "message": "OTP has been sent"
    }
    sent["otp"] = await mailed_code(api, CAROL["email"])
    assert (await api.post("/api/auth/verify-otp", json=sent)).status_code == 201


async def test_it_forgets_a_code_after_five_minutes(api: Caller) -> None:
    sent = await register(api)
    moved = await api.post("/sandbox/clock", json={"advance_seconds": 301})
    assert moved.json()["advance_seconds"] == 301
    assert problem(await api.post("/api/auth/verify-otp", json=sent), 400)["error"] == (
        "The code has expired, ask for a new one"
    )


async def test_it_mails_nothing_to_an_address_that_did_not_register(api: Caller) -> None:
    answer = await api.post("/api/auth/resend-otp", json={"email": "nobody@example.com"})
    assert answer.status_code == 200
    mailbox = await api.get("/sandbox/mailbox", params={"to": "nobody@example.com"})
    assert mailbox.json() == []


async def test_it_names_the_missing_password(api: Caller) -> None:
    sent = await register(api)
    del sent["userData"]["password"]
    answer = await api.post("/api/auth/verify-otp", json=sent)
    assert problem(answer, 400)["field"] == "userData.password"
