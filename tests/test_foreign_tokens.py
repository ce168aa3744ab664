"""A token that is not for this API names nobody, on any route (D18), and changes nothing.

The routes come from the application's own table: a route is covered from the day it exists.
"""

import json
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from litestar.routes import HTTPRoute

from digest import digest
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store.db import Pool
from earnest.web.tokens import Tokens
from life import Life, accepted
from partners import Broker, make_broker
from web import PASSWORD, UNKNOWN_ID, Caller, Cast, caller, problem
from world import ids_of

# Routes that never ask who is calling. A stale token must keep nobody from signing in.
ASK_NOBODY = re.compile(
    r"/healthz|/readyz|/metrics|/openapi\.json|/docs.*|/static/.*|/webhook|/sandbox/.*"
    r"|/api/auth/.*|/checkout.*|/onboarding.*|/connect/token|/\.well-known/jwks\.json"
)
INVALID = "Invalid authentication token."
SESSIONS = """
SELECT
    (SELECT string_agg(r::text, '/' ORDER BY r::text) FROM refresh_token AS r) AS tokens,
    (SELECT string_agg(s::text, '/' ORDER BY s::text) FROM session AS s) AS sessions
"""


class World(msgspec.Struct):
    """A contract whose release is requested, an application, and real ids for every path.

    `refresh` holds a real refresh token of everybody in `callers`.
    """

    cast: Cast
    callers: tuple[Caller, ...]
    refresh: dict[str, str]
    ids: dict[str, str]
    broker: Broker

    def routes(self) -> Iterator[tuple[str, str]]:
        """Every method and path that asks who is calling."""
        for route in self.cast.app.routes:
            if not isinstance(route, HTTPRoute) or ASK_NOBODY.fullmatch(route.path):
                continue
            path = re.sub(r"\{(\w+):\w+\}", self._id, route.path)
            for method in sorted(set(route.methods) - {"OPTIONS", "HEAD"}):
                yield method, path

    def _id(self, found: re.Match[str]) -> str:
        return self.ids.get(found[1], self.ids["contract_id"])

    async def ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        """A request of somebody new, with all that such a request may bring."""
        body: dict[str, Any] | None = None if method == "GET" else {}
        if method != "GET":
            headers = {"Idempotency-Key": secrets.token_hex(8), **headers}
        async with caller(self.cast.app) as somebody:
            return await somebody.request(method, path, json=body, headers=headers)

    async def state(self) -> tuple[Any, ...]:
        """All business rows, and all sessions."""
        pool: Pool = self.cast.app.state.pool
        async with pool.connection() as conn:
            return await digest(pool), *map(tuple, await conn.fetch(SESSIONS))


@pytest.fixture
async def world(cast: Cast) -> World:
    life = await Life.at(cast, "requested")
    other = await Life.begin(cast)
    refresh = {}
    for who in (cast.alice, cast.bob, cast.olga):
        async with caller(cast.app) as browser:
            signed_in = await browser.post(
                "/api/auth/login", json={"email": who.email, "password": PASSWORD}
            )
            refresh[who.id] = signed_in.cookies["refreshToken"]
    return World(
        cast,
        (cast.alice, cast.bob, cast.olga),
        refresh,
        await ids_of(life, other),
        await make_broker(cast.app),
    )


# -- tokens that are not ours -----------------------------------------------------------------


def foreign(world: World, who: Caller) -> dict[str, str]:
    """Tokens that speak of `who` and are not access tokens of this API."""
    app = world.cast.app
    ours: Tokens = app.state.access_tokens
    token = who.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    now = int(time.time())
    partner = {  # RFC 9068, as an authorization server of ours would issue it
        "iss": "http://127.0.0.1",
        "aud": "http://127.0.0.1/api/v1",
        "sub": who.id,
        "client_id": who.id,
        "scope": "contracts:read contracts:write",
        "iat": now,
        "exp": now + 600,
        "jti": secrets.token_hex(16),
    }
    at_jwt = {"typ": "at+jwt"}
    elsewhere = Tokens(b"the secret of somebody else, 32 b", "access", 7200)
    return {
        "another secret": elsewhere.issue(claims["id"], who.actor.role, claims["gen"]),
        "RS256 at+jwt": _signed({"alg": "RS256", "kid": "1", **at_jwt}, partner, 256),
        "EdDSA at+jwt": _signed({"alg": "EdDSA", "kid": "1", **at_jwt}, partner, 64),
        "EdDSA at+jwt, our claims": _signed({"alg": "EdDSA", **at_jwt}, claims, 64),
        "HS256 at+jwt": jwt.encode(partner, ours._key, "HS256", headers=at_jwt),
        "HS256 at+jwt, our claims": jwt.encode(claims, ours._key, "HS256", headers=at_jwt),
        "HS256, for the other API": jwt.encode(partner, ours._key, "HS256"),
        "HS256, our claims for the other API": jwt.encode(
            {**claims, "aud": "earnest-partner"}, ours._key, "HS256"
        ),
        "refresh token": world.refresh[who.id],
        "a partner's": world.broker.token,
        "opaque": secrets.token_urlsafe(32),
    }


def _signed(header: dict[str, str], claims: dict[str, Any], signature_bytes: int) -> str:
    """A token whose signature has the length of its algorithm. We have no key to check it with,
    so to us it is as good as a right one."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode())
    encoded = (*parts, secrets.token_bytes(signature_bytes))
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in encoded)


@pytest.mark.abuse(62, 104)
async def test_it_names_nobody_on_any_route(world: World) -> None:
    tokens = [(who, foreign(world, who)) for who in world.callers]
    asked = 0
    for method, path in world.routes():
        before = await world.state()
        for who, kinds in tokens:
            for kind, token in kinds.items():
                if token == world.broker.token and path.startswith("/apps/"):
                    continue
                answer = await world.ask(method, path, {"Authorization": f"Bearer {token}"})
                assert answer.status_code == 401, f"{kind} of {who.name}: {method} {path}"
                assert problem(answer, 401)["error"] == INVALID
                asked += 1
        assert await world.state() == before, f"{method} {path}"
    of_partners = sum(path.startswith("/apps/") for _, path in world.routes())
    assert asked == (len(list(world.routes())) * 11 - of_partners) * 3 > 1_000


async def test_its_canary_our_own_tokens_get_in_everywhere(world: World) -> None:
    """The same requests with a token that is ours: whatever they are told, it is not 401."""
    let_in: dict[tuple[str, str], int] = {}
    for method, path in world.routes():
        of_partners = path.startswith("/apps/")
        for who in (world.broker.client,) if of_partners else world.callers:
            headers = {"Authorization": who.headers["authorization"]}
            answer = await world.ask(method, path, headers)
            assert answer.status_code not in (401, 405), f"{who.name}: {method} {path}"
            let_in[method, path] = let_in.get((method, path), 0) + (answer.status_code != 403)
    assert [route for route, count in let_in.items() if count == 0] == []


# -- in the cookie ----------------------------------------------------------------------------


@pytest.mark.abuse(103)
async def test_it_names_nobody_in_the_refresh_cookie_either(world: World) -> None:
    """Every route answers as it answers nobody; only a refresh token of ours is one."""
    for who in world.callers:
        kinds = foreign(world, who)
        del kinds["refresh token"]
        kinds["access token"] = who.headers["authorization"].removeprefix("Bearer ")
        before = await world.state()
        for method, path in world.routes():
            nobody = await world.ask(method, path, {})
            for kind, token in kinds.items():
                answer = await world.ask(method, path, {"Cookie": f"refreshToken={token}"})
                same = (answer.status_code, answer.json()) == (nobody.status_code, nobody.json())
                assert same, f"{kind} of {who.name}: {method} {path}"
            assert method == "GET" or nobody.status_code == 401, path
        assert await world.state() == before


async def test_it_is_exchanged_for_nothing(world: World) -> None:
    for who in world.callers:
        kinds = foreign(world, who)
        good = kinds.pop("refresh token")
        kinds["access token"] = who.headers["authorization"].removeprefix("Bearer ")
        before = await world.state()
        for token in kinds.values():
            cookie = {"Cookie": f"refreshToken={token}"}
            problem(await world.ask("POST", "/api/auth/refresh-token", cookie), 401)
        assert await world.state() == before
        cookie = {"Cookie": f"refreshToken={good}"}
        accepted(await world.ask("POST", "/api/auth/refresh-token", cookie))
        assert await world.state() != before


@pytest.mark.parametrize("id_", ["", "xyz", "6" * 23, "6" * 25, "G" * 24, f"{UNKNOWN_ID}\n"])
async def test_a_token_of_ours_without_a_proper_id_names_nobody(cast: Cast, id_: str) -> None:
    tokens: Tokens = cast.app.state.access_tokens
    token = tokens.issue(PublicId(id_), Role.ADMIN, 1)
    async with caller(cast.app, Authorization=f"Bearer {token}") as somebody:
        answer = await somebody.get("/api/admin/escrow/transactions")
    assert problem(answer, 401)["error"] == INVALID
