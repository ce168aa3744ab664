"""Refusals: JSON of one shape, whatever went wrong, and never a word about the inside (D9)."""

import logging
from typing import Any

import httpx
import pytest
from litestar import Litestar, get

from earnest import app as composition
from earnest.app import build_app
from earnest.store.db import Pool
from earnest.web.auth import PUBLIC
from web import Caller, Cast, caller, make_settings, problem


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/nothing", "/api/client/job", "/api/client/job/get-jobs/x", "/..", "/%00"],
)
async def test_it_answers_an_unknown_route_in_json(api: Caller, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await api.request(method, path)
        assert problem(answer, 404)["code"] == "not_found"
    problem(await api.get("/docs/nothing"), 404)


async def test_it_names_the_allowed_methods(api: Caller) -> None:
    answer = await api.get("/api/auth/login")
    assert problem(answer, 405)["code"] == "method_not_allowed"
    assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}


async def test_it_ignores_a_method_override(cast: Cast) -> None:
    job = await cast.post_job()
    answer = await cast.alice.get(
        f"/api/client/job/update-job/{job}", headers={"X-HTTP-Method-Override": "PUT"}
    )
    problem(answer, 405)


async def test_it_names_the_field_and_what_was_expected(api: Caller) -> None:
    answer = await api.post("/api/auth/login", json={"email": 1, "password": "x"})
    body = problem(answer, 400)
    assert body["field"] == "email"
    assert body["error"] == "email must be a string, not a whole number"
    assert body["code"] == "invalid_field"


async def test_it_keeps_the_query_out_of_its_answer(api: Caller) -> None:
    answer = await api.get("/api/client/job/get-jobs", params={"page": "sesame-street"})
    problem(answer, 400)
    assert "sesame" not in answer.text


async def test_it_asks_for_a_bearer_token(api: Caller, cast: Cast) -> None:
    path = "/api/freelancer/jobs/applied-jobs"
    answer = await api.get(path)
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    token = cast.bob.headers["authorization"]
    for value in ("Basic Ym9iOmJvYg==", "Bearer", "Bearer  ", token.removeprefix("Bearer ")):
        problem(await api.get(path, headers={"authorization": value}), 401)
    doubled = [("authorization", token), ("authorization", token)]
    problem(await api.get(path, headers=doubled), 401)


@pytest.mark.usefixtures("own_faces")
async def test_it_says_nothing_about_a_mistake_of_ours(
    database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @get("/healthz", access=PUBLIC)
    async def broken() -> None:
        raise RuntimeError("the secret ingredient")

    monkeypatch.setattr(composition, "healthz", broken)
    made = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    with caplog.at_level(logging.ERROR):
        async with made.lifespan(), caller(made) as nobody:
            answer = await nobody.get("/healthz")
    assert problem(answer, 500)["error"] == "Internal server error"
    assert "ingredient" not in answer.text
    assert "the secret ingredient" in caplog.text


async def test_it_is_healthy_and_ready(api: Caller) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ready"}


async def test_it_is_not_ready_without_its_tables(empty_database: Any) -> None:
    made = build_app(
        make_settings(empty_database.superuser_dsn), Pool(empty_database.superuser_dsn)
    )
    async with made.lifespan(), caller(made) as nobody:
        answer = await nobody.get("/readyz")
        problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert (await nobody.get("/healthz")).status_code == 200


async def test_it_says_when_the_database_is_gone() -> None:
    nowhere = "postgresql://earnest_app:x@127.0.0.1:1/earnest"
    made = build_app(make_settings(nowhere), Pool(nowhere))
    async with made.lifespan(), caller(made) as nobody:
        answer = await nobody.get("/api/admin/skills/get-skills")
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


# -- browsers -------------------------------------------------------------------------------


async def test_it_lets_the_client_in_from_its_origin_only(api: Caller) -> None:
    ours = await api.get(
        "/api/admin/skills/get-skills", headers={"origin": "http://localhost:5173"}
    )
    assert ours.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert ours.headers["access-control-allow-credentials"] == "true"
    exposed = {name.strip() for name in ours.headers["access-control-expose-headers"].split(",")}
    assert exposed == {"Idempotent-Replayed", "Retry-After", "X-Request-Id"}
    foreign = await api.get(
        "/api/admin/skills/get-skills", headers={"origin": "http://evil.example"}
    )
    assert "access-control-allow-origin" not in foreign.headers


async def test_it_answers_a_preflight(api: Caller) -> None:
    asked = {
        "origin": "http://localhost:5173",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,content-type,idempotency-key",
    }
    answer = await api.options("/api/client/job/update-job/x", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"].lower()
    foreign = await api.options("/x", headers=asked | {"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


# -- the sandbox ----------------------------------------------------------------------------


async def test_it_has_no_sandbox_in_production(database: Any) -> None:
    settings = make_settings(database.app_dsn, env="production")
    made: Litestar = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        for path in ("/sandbox/mailbox?to=a@example.com", "/sandbox/clock"):
            problem(await nobody.get(path), 404)
        problem(await nobody.post("/sandbox/clock", json={"advance_seconds": 1}), 404)


async def test_it_moves_the_clock_forward_only(api: Caller) -> None:
    before = (await api.get("/sandbox/clock")).json()
    assert before["advance_seconds"] == 0
    after = (await api.post("/sandbox/clock", json={"advance_seconds": 86_400})).json()
    assert after["advance_seconds"] == 86_400
    assert after["now"] > before["now"]
    for bad in (-1, "1", 1.5, None, 10**15, 10**20, True):
        answer: httpx.Response = await api.post("/sandbox/clock", json={"advance_seconds": bad})
        assert problem(answer, 400)["field"] == "advance_seconds"
    assert (await api.get("/sandbox/clock")).json()["advance_seconds"] == 86_400


async def test_it_describes_itself(api: Caller) -> None:
    described = (await api.get("/openapi.json")).json()
    assert described["info"]["title"] == "Earnest"
    assert "/api/client/job/create-job" in described["paths"]


async def test_it_says_when_the_database_breaks_off(
    api: Caller, database: Any, server: Any
) -> None:
    await api.get("/readyz")
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
    server.execute(kill.format(database.name))
    answers = [await api.get("/api/admin/skills/get-skills") for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert answers[-1].status_code == 200


async def test_it_tells_strangers_so_before_it_reads_what_they_send(
    cast: Cast, api: Caller
) -> None:
    for method, path, stranger in (
        ("POST", "/api/client/job/create-job", cast.bob),
        ("PUT", "/api/client/job/update-job/x", cast.bob),
        ("POST", "/api/admin/skills/add-skills", cast.alice),
        ("PUT", "/api/admin/categories/edit-category/x", cast.alice),
        ("PUT", "/api/admin/skills/unlist-skills/x", cast.alice),
    ):
        for content in (b"", b"{", b"[" * 60_000):
            problem(await stranger.request(method, path, content=content), 403)
            problem(await api.request(method, path, content=content), 401)
