"""Browsers: the client's origin reads every answer, no other reads any, and no page of another
origin does anything with the cookie that the browser sends along."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar

from conftest import TestDatabase
from digest import digest
from earnest.app import build_app
from earnest.domain.party import Role
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.web.envelope import HEADERS
from earnest.web.origins import origin_of
from life import accepted
from web import PASSWORD, Caller, Cast, caller, make_settings, problem, sign_up
from wire import Wire

CLIENT = "http://localhost:5173"
FOREIGN = (
    "null",
    "https://localhost:5173",
    "http://localhost:5174",
    "http://localhost",
    "http://127.0.0.1:5173",
    "http://localhost:5173.evil.example",
    "http://evil.localhost:5173",
    "http://evil.example",
    "http://LOCALHOST:5173",
    "http://localhost:5173/",
    "http://localhost:5173 http://evil.example",
    "http://user@localhost:5173",
    "file://",
    "*",
    "",
    "x" * 4000,
    "http://[",
    "\xe9",
)
# Neither the client's nor ours, nor on loopback.
HOSTILE = (
    "null",
    "http://evil.example",
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost:5173.evil.example",
    "http://evil.localhost:5173",
    "http://127.0.0.1.nip.io",
    "http://127.0.0.2",
    "file://",
    "",
    "http://[",
    "javascript:localhost",
    "\xe9",
)
SESSIONS = """
SELECT
    (SELECT string_agg(r::text, '/' ORDER BY r::text) FROM refresh_token AS r) AS tokens,
    (SELECT string_agg(s::text, '/' ORDER BY s::text) FROM session AS s) AS sessions,
    (SELECT string_agg(l::text, '/' ORDER BY l::text) FROM login AS l) AS logins
"""


def is_readable(answer: httpx.Response) -> bool:
    """Whether a page of CLIENT may read it, with credentials; every doubt is an error."""
    headers = answer.headers
    origins = headers.get_list("access-control-allow-origin")
    if not origins:
        assert not [name for name in headers if name.startswith("access-control-")]
        return False
    assert origins == [CLIENT]
    assert headers.get_list("access-control-allow-credentials") == ["true"]
    assert "origin" in headers["vary"].lower()
    exposed = {name.strip() for name in headers["access-control-expose-headers"].split(",")}
    assert exposed == {"Idempotent-Replayed", "Retry-After", "X-Request-Id"}
    return True


async def answers(cast: Cast, origin: str) -> AsyncIterator[httpx.Response]:
    """One answer of every kind, asked for by a page of `origin`."""
    job = await cast.post_job()
    for who, method, path, status, more in (
        (cast.alice, "GET", "/api/client/job/get-jobs", 200, {}),
        (cast.alice, "POST", "/api/client/job/create-job", 200, {"json": cast.job()}),
        (cast.bob, "POST", f"/api/freelancer/jobs/apply-job/{job}", 201, {}),
        (cast.bob, "POST", f"/api/freelancer/jobs/apply-job/{job}", 409, {}),
        (cast.alice, "POST", "/api/client/job/create-job", 400, {"content": b"{"}),
        (cast.alice, "POST", "/api/client/job/create-job", 415, {"content": b"{}", "type": "x/y"}),
        (cast.alice, "POST", "/api/client/job/create-job", 413, {"content": b" " * 70_000}),
        (cast.anybody, "GET", "/api/freelancer/jobs/applied-jobs", 401, {}),
        (cast.alice, "GET", "/api/freelancer/jobs/applied-jobs", 403, {}),
        (cast.alice, "GET", f"/api/client/job/job-details/{'6' * 24}", 404, {}),
        (cast.alice, "GET", "/api/nothing", 404, {}),
        (cast.alice, "GET", "/docs/nothing", 404, {}),
        (cast.alice, "GET", "/static/nothing", 404, {}),
        (cast.alice, "GET", "/api/auth/login", 405, {}),
        (cast.alice, "TRACE", "/api/client/job/get-jobs", 405, {}),
        (cast.alice, "HEAD", "/api/client/job/get-jobs", 200, {}),
        (cast.alice, "OPTIONS", "/api/client/job/get-jobs", 204, {}),
        (cast.anybody, "GET", "/openapi.json", 200, {}),
        (cast.anybody, "GET", "/healthz", 200, {}),
    ):
        sent: dict[str, Any] = dict(more)
        kind = {"content-type": sent.pop("type", "application/json")}
        headers = [("origin", origin.encode("latin-1"))]
        if "content" in sent:
            headers += [("content-type", kind["content-type"].encode())]
        answer = await who.request(
            method, path, headers=[(name.encode(), value) for name, value in headers], **sent
        )
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        if status >= 400 and method != "HEAD":
            problem(answer, status)
        yield answer


async def test_the_client_reads_every_answer(cast: Cast) -> None:
    async for answer in answers(cast, CLIENT):
        assert is_readable(answer), f"{answer.request.method} {answer.request.url}"


async def test_no_other_origin_reads_any(cast: Cast) -> None:
    async for answer in answers(cast, "http://evil.example"):
        assert not is_readable(answer), f"{answer.request.method} {answer.request.url}"
    for origin in FOREIGN:
        header = (b"origin", origin.encode("latin-1"))
        for path in ("/api/client/job/get-jobs", "/api/nothing", "/api/auth/login"):
            assert not is_readable(await cast.alice.get(path, headers=[header])), origin
    assert not is_readable(await cast.alice.get("/api/client/job/get-jobs"))


async def test_the_client_reads_mistakes_of_ours_and_the_loss_of_the_database() -> None:
    nowhere = "postgresql://earnest_app:x@127.0.0.1:1/earnest"
    made = build_app(make_settings(nowhere), Pool(nowhere))
    async with made.lifespan(), caller(made) as nobody:
        answer = await nobody.get("/api/admin/skills/get-skills", headers={"origin": CLIENT})
    problem(answer, 503)
    assert is_readable(answer)


async def test_a_preflight_is_granted_to_the_client_alone(api: Caller) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for path in ("/api/client/job/create-job", f"/api/client/release-fund/{'6' * 24}", "/x"):
            asked = {
                "access-control-request-method": method,
                "access-control-request-headers": "authorization,content-type,idempotency-key",
            }
            granted = await api.options(path, headers={"origin": CLIENT, **asked})
            assert (granted.status_code, granted.content) == (204, b"")
            headers = granted.headers
            assert headers["access-control-allow-origin"] == CLIENT
            assert headers["access-control-allow-credentials"] == "true"
            assert method in headers["access-control-allow-methods"].split(", ")
            assert "*" not in headers["access-control-allow-headers"]
            allowed = set(headers["access-control-allow-headers"].lower().split(", "))
            assert allowed == {"authorization", "content-type", "idempotency-key"}
            assert headers["vary"].lower() == "origin"
            for origin in FOREIGN:
                given = [(b"origin", origin.encode("latin-1"))]
                given += [(name.encode(), value.encode()) for name, value in asked.items()]
                refused = await api.options(path, headers=given)
                assert not [name for name in refused.headers if name.startswith("access-control-")]
                assert "text/" not in refused.headers.get("content-type", "")


async def test_it_grants_nothing_to_anybody_without_a_client(database: TestDatabase) -> None:
    settings = make_settings(database.app_dsn)
    settings = Settings(database_url=settings.database_url, secret_key=settings.secret_key)
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        for origin in (CLIENT, "null", "http://127.0.0.1:8000"):
            assert not is_readable(await nobody.get("/healthz", headers={"origin": origin}))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://LocalHost:5173/", "http://localhost:5173"),
        ("https://shop.example/app?x#y", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80/", "http://shop.example"),
        ("http://shop.example:443/", "http://shop.example:443"),
        ("http://[::1]:5173/", "http://[::1]:5173"),
        ("", ""),
    ],
)
def test_an_origin_is_what_browsers_make_of_a_url(url: str, origin: str) -> None:
    assert origin_of(url) == origin


# -- cookies ----------------------------------------------------------------------------------


async def logged_in(who: Caller, app: Litestar, **headers: str) -> Caller:
    """A browser in which somebody has signed in."""
    browser = caller(app, **headers)
    accepted(await browser.post("/api/auth/login", json={"email": who.email, "password": PASSWORD}))
    return browser


def attributes(answer: httpx.Response) -> dict[str, str]:
    """The one cookie that an answer sets."""
    [line] = answer.headers.get_list("set-cookie")
    parts = [part.strip().partition("=") for part in line.split(";")]
    return {name.lower(): value for name, _, value in parts}


@pytest.mark.parametrize(
    ("public_url", "secure", "same_site"),
    [("http://127.0.0.1", False, "lax"), ("https://127.0.0.1", True, "none")],
)
async def test_its_cookie_is_for_the_server_alone(
    database: TestDatabase, public_url: str, secure: bool, same_site: str
) -> None:
    settings = make_settings(database.app_dsn, public_url=public_url)
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as browser:
        browser.base_url = httpx.URL(public_url)
        alice = await sign_up(made, "Alice", Role.CLIENT)
        credentials = {"email": alice.email, "password": PASSWORD}
        asked = (
            await browser.post("/api/auth/login", json=credentials),
            await browser.post("/api/auth/refresh-token"),
            await browser.post("/api/auth/logout"),
        )
        for answer in asked:
            cookie = attributes(answer)
            assert set(cookie) - {"expires"} == {
                "refreshtoken",
                "httponly",
                "path",
                "samesite",
                "max-age",
            } | ({"secure"} if secure else set())
            assert (cookie["path"], cookie["samesite"].lower()) == ("/", same_site)
        lifetimes = [int(attributes(answer)["max-age"]) for answer in asked]
        assert lifetimes == [7 * 86_400, 7 * 86_400, 0]
        assert attributes(asked[2])["refreshtoken"].strip('"') == ""
        assert "refreshToken" not in browser.cookies
        await alice.aclose()


async def test_a_cookie_alone_authorises_no_write(cast: Cast, pool: Pool) -> None:
    job = await cast.post_job()
    browser = await logged_in(cast.alice, cast.app)
    before = await state(pool)
    for method, path, body in (
        ("POST", "/api/client/job/create-job", cast.job()),
        ("PUT", f"/api/client/job/update-job/{job}", {"title": "Mine now"}),
        ("POST", f"/api/client/create-contract/{job}", {"freelancerId": cast.bob.id, "amount": 1}),
        ("DELETE", f"/api/client/cancel-contract/{job}", None),
        ("PATCH", f"/api/client/release-fund/{job}", None),
        ("PUT", f"/api/admin/escrow/refund-client/{job}/{cast.alice.id}", {}),
        ("PUT", f"/api/client/profile/update-profile/{cast.alice.id}", {"name": "X"}),
    ):
        for origin in (CLIENT, "http://evil.example", None):
            headers = {} if origin is None else {"origin": origin}
            answer = await browser.request(method, path, json=body, headers=headers)
            problem(answer, 401)
    assert await state(pool) == before
    await browser.aclose()


CROSS_SITE = ("/api/auth/refresh-token", "/api/auth/logout", "/api/auth/logout-all")


async def test_no_foreign_page_spends_the_cookie(cast: Cast, pool: Pool) -> None:
    browser = await logged_in(cast.alice, cast.app)
    before = await state(pool)
    for path in CROSS_SITE:
        for origin in HOSTILE:
            # What a form or a script can send without asking first.
            for kind in (b"text/plain", b"application/x-www-form-urlencoded", b""):
                answer = await browser.post(
                    path,
                    content=b"x=1",
                    headers=[(b"origin", origin.encode("latin-1")), (b"content-type", kind)],
                )
                problem(answer, 403)
                assert "set-cookie" not in answer.headers
        doubled = [("origin", CLIENT), ("origin", "http://evil.example")]
        problem(await browser.post(path, headers=doubled), 403)
    assert await state(pool) == before
    accepted(await browser.post("/api/auth/refresh-token", headers={"origin": CLIENT}))
    await browser.aclose()


async def test_our_own_pages_and_those_who_are_no_browser_do(cast: Cast, app: Litestar) -> None:
    for origin in (CLIENT, "http://127.0.0.1:8000", "http://localhost:3000", "http://[::1]", None):
        headers = {} if origin is None else {"origin": origin}
        browser = await logged_in(cast.alice, app)
        accepted(await browser.post("/api/auth/refresh-token", headers=headers))
        accepted(await browser.post("/api/auth/logout", headers=headers))
        await browser.aclose()


async def test_in_production_other_pages_on_loopback_are_foreign(database: TestDatabase) -> None:
    settings = make_settings(database.app_dsn, env="production", public_url="https://pay.example")
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan():
        alice = await sign_up(made, "Alice", Role.CLIENT)
        browser = await logged_in(alice, made)
        cookie = {"cookie": f"refreshToken={browser.cookies.get('refreshToken')}"}
        for origin, status in (
            ("http://localhost:3000", 403),
            ("http://pay.example", 403),
            ("https://pay.example:8443", 403),
            ("https://pay.example", 200),
        ):
            answer = await browser.post(
                "/api/auth/refresh-token", headers={"origin": origin, **cookie}
            )
            assert answer.status_code == status, origin
        await alice.aclose()
        await browser.aclose()


async def test_no_foreign_page_signs_anybody_in(cast: Cast, pool: Pool) -> None:
    """A form can send no JSON, and a script must ask first, in vain."""
    before = await state(pool)
    body = f'{{"email":"{cast.mallory.email}","password":"{PASSWORD}"}}'.encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"origin": "http://evil.example", "content-type": kind}
        answer = await cast.anybody.post("/api/auth/login", content=body, headers=headers)
        problem(answer, 415)
        assert "set-cookie" not in answer.headers
    assert await state(pool) == before


async def test_it_is_so_on_a_real_socket_too(wire: Wire) -> None:
    said = f"GET /nothing HTTP/1.1\r\nHost: localhost\r\nOrigin: {CLIENT}\r\n\r\n"
    [heard] = await wire.say(said.encode())
    assert heard.status == 404
    assert heard.headers["access-control-allow-origin"] == CLIENT
    said = f"OPTIONS /nothing HTTP/1.1\r\nHost: localhost\r\nOrigin: {CLIENT}\r\n"
    [heard] = await wire.say(f"{said}Access-Control-Request-Method: PUT\r\n\r\n".encode())
    assert (heard.status, heard.headers["access-control-allow-origin"]) == (204, CLIENT)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("Content-Length: 70000", 413),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("X-Long: " + "x" * 20_000, 431),
    ],
)
async def test_the_client_reads_what_the_connection_refuses(
    wire: Wire, more: str, status: int
) -> None:
    for origin in (CLIENT, "http://evil.example", None):
        line = "" if origin is None else f"Origin: {origin}\r\n"
        said = f"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n{line}{more}\r\n\r\n"
        [heard] = await wire.say(said.encode())
        assert heard.status == status
        readable_by = heard.headers.get("access-control-allow-origin")
        assert readable_by == (CLIENT if origin == CLIENT else None)
        for name, value in HEADERS:
            assert heard.headers[name.decode()] == value.decode()


async def state(pool: Pool) -> tuple[Any, ...]:
    """All business rows, and all that says who may come in."""
    async with pool.connection() as conn:
        return await digest(pool), *map(tuple, await conn.fetch(SESSIONS))
