"""HTTP fixtures: the real application on a real database, and the cast that uses it.

    async def test_it_...(cast): answer = await cast.alice.post("/api/...", json={...})

Alice buys, Bob sells, Mallory is another client, Mallet another freelancer, Olga operates.
`api` is nobody: a client without a token. `served` is the application behind a real socket.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from argon2 import PasswordHasher
from litestar import Litestar

from earnest.app import build_app
from earnest.domain.party import Actor, Role
from earnest.ids import key_of
from earnest.settings import Settings
from earnest.store import accounts, catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.store.db import Pool
from truth import truthful

PASSWORD = "Sun$hine9"
# Cheap on purpose: the product's own cost is for tests that register and sign in.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
SECRET_KEY = b"a secret of the tests, 32 bytes!"
UNKNOWN_ID = "66aa00000000000000000a01"


class Caller(httpx.AsyncClient):
    """An HTTP client with somebody's access token."""

    name: str
    email: str
    id: str
    actor: Actor


class Cast(msgspec.Struct, frozen=True):
    """Everybody, signed in; the labels that a job needs."""

    alice: Caller
    bob: Caller
    mallory: Caller
    mallet: Caller
    olga: Caller
    anybody: Caller
    app: Litestar
    category: str
    skill: str

    def job(self, **other: Any) -> dict[str, Any]:
        """The body of a job as a client sends it."""
        return {
            "userId": self.alice.id,
            "title": "Logo for a bakery",
            "description": "A logo, three drafts.",
            "rate": 12000,
            "experienceLevel": "Beginner",
            "location": "Pune",
            "category": self.category,
            "skills": [self.skill],
            **other,
        }

    async def post_job(self, **other: Any) -> str:
        """Alice's new job; its id."""
        made = await self.alice.post("/api/client/job/create-job", json=self.job(**other))
        assert made.status_code == 200, made.text
        return str(made.json()["job"]["_id"])


@pytest.fixture
def settings(database: Any) -> Settings:
    """Sandbox settings on this test's database."""
    return make_settings(database.app_dsn)


def make_settings(dsn: str, **other: Any) -> Settings:
    """Settings as `serve` would read them, with `other` switches."""
    return Settings(
        database_url=dsn,
        secret_key=SECRET_KEY,
        client_url="http://localhost:5173",
        **{"anchor_seconds": 0} | other,
    )


@pytest.fixture
async def app(settings: Settings, pool: Pool) -> AsyncIterator[Litestar]:
    """The application, started."""
    made = build_app(settings, pool)
    async with made.lifespan():
        yield made


def caller(app: Litestar, *, address: str = "127.0.0.1", **headers: str) -> Caller:
    """A client of `app` in this process, which takes it to be at `address`."""
    return Caller(
        transport=httpx.ASGITransport(truthful(app), client=(address, 40_000)),
        base_url="http://127.0.0.1",
        headers=headers,
    )


@pytest.fixture
async def api(app: Litestar) -> AsyncIterator[Caller]:
    """Nobody in particular."""
    async with caller(app) as nobody:
        yield nobody


async def sign_up(app: Litestar, name: str, role: Role) -> Caller:
    """An account with PASSWORD, and a client with its token."""
    email = f"{name.lower()}@example.com"
    pool: Pool = app.state.pool
    async with pool.connection() as conn, conn.transaction():
        party = await accounts.create(
            conn,
            name=name,
            email=email,
            email_canonical=email,
            role=role,
            password_hash=PASSWORD_HASH,
        )
    token = app.state.access_tokens.issue(party, role, 1)
    signed_in = caller(app, Authorization=f"Bearer {token}")
    signed_in.name, signed_in.email, signed_in.id = name, email, party
    signed_in.actor = Actor(role, key_of(party), party, 1)
    return signed_in


async def gather_cast(app: Litestar) -> Cast:
    """Everybody signed up at `app`, with a category and a skill to post jobs under."""
    pool: Pool = app.state.pool
    async with pool.connection() as conn, conn.transaction():
        design = await catalog.add(conn, CATEGORY, "Design")
        drawing = await catalog.add(conn, SKILL, "Drawing")
    return Cast(
        alice=await sign_up(app, "Alice", Role.CLIENT),
        bob=await sign_up(app, "Bob", Role.FREELANCER),
        mallory=await sign_up(app, "Mallory", Role.CLIENT),
        mallet=await sign_up(app, "Mallet", Role.FREELANCER),
        olga=await sign_up(app, "Olga", Role.ADMIN),
        anybody=caller(app),
        app=app,
        category=design.public_id,
        skill=drawing.public_id,
    )


@pytest.fixture
async def cast(app: Litestar) -> AsyncIterator[Cast]:
    """The people of every test."""
    everybody = await gather_cast(app)
    yield everybody
    for one in (
        everybody.alice,
        everybody.bob,
        everybody.mallory,
        everybody.mallet,
        everybody.olga,
        everybody.anybody,
    ):
        await one.aclose()


class _Server(uvicorn.Server):
    """uvicorn in a test: the signals stay with the test run."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


@pytest.fixture
async def served(database: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The application behind a socket on 127.0.0.1, which it knows as its public URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = build_app(make_settings(database.app_dsn, public_url=url), Pool(database.app_dsn))
    server = _Server(uvicorn.Config(app, log_level="warning"))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    async with httpx.AsyncClient(base_url=url) as client:
        yield client
    server.should_exit = True
    await running


# What a refusal must not tell: where in the program it came from, and what stands behind that.
INSIDES = re.compile(
    r"Traceback|, line \d+, in |asyncpg|msgspec|litestar|argon2|Error\b.*\(|\bat 0x[0-9a-f]{6}"
    r"|\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b|\$\d\b|relation \"|constraint \""
)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a refusal, which must have the shape of every refusal (D9), or that of its face.

    Whichever it is, `error` is what it says to people.
    """
    assert not INSIDES.search(answer.text), answer.text
    assert answer.status_code == status, answer.text
    path = answer.request.url.path
    # Without a route there is no face: /apps/nothing is refused as /nothing is.
    if path.startswith("/apps/api/"):
        return _failure(answer)
    if path == "/connect/token":
        return _token_refused(answer)
    assert answer.headers["content-type"].startswith("application/problem+json")
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["error"] == body["message"] == body["detail"] != ""
    assert body["title"]
    assert body["type"].startswith("urn:earnest:problem:")
    return body


def _failure(answer: httpx.Response) -> dict[str, Any]:
    """The partner API's envelope (partner spec 1.1)."""
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert list(body) == ["message", "status", "validationErrors", "succeeded", "errors"]
    assert body["status"] == answer.status_code
    assert body["succeeded"] is False
    assert body["message"]
    found = [one["message"] for one in body["validationErrors"]]
    assert body["errors"] == (found or [body["message"]])
    assert all(one["field"] for one in body["validationErrors"])
    fields = [one["field"] for one in body["validationErrors"][:1]]
    return body | {"error": body["errors"][0]} | ({"field": fields[0]} if fields else {})


def _token_refused(answer: httpx.Response) -> dict[str, Any]:
    """RFC 6749, section 5.2."""
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert list(body) == ["error", "error_description"]
    assert re.fullmatch("[a-z_]+", body["error"])
    return body | {"error": body["error_description"]}
