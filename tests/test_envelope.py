"""What every answer has around it: an id, headers for browsers; HEAD wherever there is GET."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from litestar import Litestar, Response, get
from litestar.routes import HTTPRoute

from earnest import app as composition
from earnest import logs
from earnest.app import build_app
from earnest.store.db import Pool
from earnest.web.auth import PUBLIC
from web import UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def paths(app: Litestar, method: str) -> Iterator[str]:
    """A path for every route that has `method`."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and method in route.methods:
            yield re.sub(r"\{[^}]+\}", UNKNOWN_ID, route.path)


async def each_kind(cast: Cast) -> list[httpx.Response]:
    """Answers of every kind that there is: JSON, pages, styles, refusals by each layer."""
    api = cast.anybody
    return [
        await api.get("/healthz"),
        await api.get("/metrics"),
        await api.get("/openapi.json"),
        await api.get("/docs"),
        await api.get("/static/sandbox.css"),
        await api.get(f"/sandbox/pay/{UNKNOWN_ID}"),
        await api.get("/nothing/here"),
        await api.post("/healthz"),
        await api.options("/healthz"),
        await api.post("/api/auth/login", content=b"x"),
        await api.post("/api/auth/login", content=b"{", headers={"content-type": "text/plain"}),
        await api.post("/api/auth/login", json={}),
        await api.get("/api/freelancer/jobs/applied-jobs"),
        await cast.alice.get("/api/admin/users/get-clients"),
        await api.get("/api/admin/skills/get-skills", headers={"origin": "http://localhost:5173"}),
        await api.post("/webhook", content=b"{}"),
        await cast.alice.post("/api/client/job/create-job", json=cast.job()),
    ]


# -- headers --------------------------------------------------------------------------------


async def test_it_tells_browsers_to_make_nothing_more_of_any_answer(cast: Cast) -> None:
    answers = await each_kind(cast)
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 403, 404, 405, 415}
    for answer in answers:
        told = f"{answer.request.method} {answer.request.url} {answer.status_code}"
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], told
        (policy,) = answer.headers.get_list("content-security-policy")
        assert "default-src 'none'" in policy, told
        assert "frame-ancestors 'none'" in policy, told
        assert len(answer.headers.get_list("cache-control")) == 1, told
        assert "server" not in answer.headers, told


async def test_it_keeps_what_a_page_says_of_itself(cast: Cast) -> None:
    page = await cast.anybody.get(f"/sandbox/pay/{UNKNOWN_ID}")
    assert "style-src 'self'" in page.headers["content-security-policy"]
    style = await cast.anybody.get("/static/sandbox.css")
    assert style.headers["cache-control"] == "max-age=3600"
    api = await cast.anybody.get("/api/admin/skills/get-skills")
    assert api.headers["cache-control"] == "no-store"


async def test_it_insists_on_https_only_where_there_is_https(database: Any, api: Caller) -> None:
    assert "strict-transport-security" not in (await api.get("/healthz")).headers
    settings = make_settings(database.app_dsn, public_url="https://pay.example.com")
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        for path in ("/healthz", "/nothing"):
            told = (await nobody.get(path)).headers["strict-transport-security"]
            assert told == "max-age=31536000"


# -- HEAD -----------------------------------------------------------------------------------


async def test_it_answers_head_as_get_without_the_body_everywhere(cast: Cast) -> None:
    varying = {"x-request-id", "content-length", "date"}
    for path in paths(cast.app, "GET"):
        for who in (cast.anybody, cast.alice):
            got, head = await who.get(path), await who.head(path)
            assert head.status_code == got.status_code, path
            assert head.content == b"", path
            assert set(head.headers) == set(got.headers), path
            if path not in {"/metrics", "/sandbox/clock"}:  # which change by being looked at
                assert head.headers.get("content-length") == got.headers.get("content-length")
            for name in set(got.headers) - varying:
                assert head.headers[name] == got.headers[name], path
    refused = await cast.anybody.head("/api/auth/login")
    assert refused.status_code == 405
    assert refused.content == b""


async def test_it_lists_head_among_the_allowed_methods_where_get_is(cast: Cast) -> None:
    with_get = set(paths(cast.app, "GET"))
    for path in with_get | set(paths(cast.app, "POST")) | set(paths(cast.app, "PUT")):
        asked = [await cast.anybody.request("TRACE", path), await cast.anybody.options(path)]
        assert asked[0].status_code == 405, path
        for answer in asked:
            allowed = answer.headers["allow"].split(", ")
            assert ("HEAD" in allowed) == ("GET" in allowed) == (path in with_get), path
            assert len(set(allowed)) == len(allowed)


# -- the id ---------------------------------------------------------------------------------


async def test_each_answer_has_an_id_of_its_own(cast: Cast) -> None:
    ids = [answer.headers["x-request-id"] for answer in await each_kind(cast)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


async def test_two_refusals_for_the_same_reason_are_the_same_bytes(api: Caller) -> None:
    first, second = await api.get("/nothing"), await api.get("/nothing")
    assert first.content == second.content
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_it_takes_an_id_over_from_a_trusted_proxy_only(database: Any) -> None:
    settings = make_settings(database.app_dsn, trusted_proxies=("10.0.0.0/8",))
    made = build_app(settings, Pool(database.app_dsn))
    given = {"x-request-id": "edge-0123456789.abc_DEF"}
    async with (
        made.lifespan(),
        caller(made, address="10.1.2.3") as proxy,
        caller(made, address="203.0.113.7") as stranger,
    ):
        taken = await proxy.get("/healthz", headers=given)
        assert taken.headers["x-request-id"] == given["x-request-id"]
        refused = await stranger.get("/healthz", headers=given)
        assert refused.headers["x-request-id"] != given["x-request-id"]
        for bad in ("short", "x" * 65, "with blank here", 'quote"quote', "", "\xe9" * 9):
            headers = [(b"x-request-id", bad.encode("latin-1"))]
            answer = await proxy.get("/healthz", headers=headers)
            assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"]), bad
        doubled = [("x-request-id", "aaaaaaaa"), ("x-request-id", "bbbbbbbb")]
        answer = await proxy.get("/healthz", headers=doubled)
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_browser_may_read_the_id(api: Caller) -> None:
    answer = await api.get("/nothing", headers={"origin": "http://localhost:5173"})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert "X-Request-Id" in exposed


# -- the line -------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[io.BytesIO]:
    """What this process logs, as JSON lines, while a test runs."""
    before = (logs._Out.write, logs._Out.process, logs._Out.is_json)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        for module, hook in (("sys", "excepthook"), ("sys", "unraisablehook")):
            patch.setattr(f"{module}.{hook}", getattr(__import__(module), hook))
        patch.setattr("threading.excepthook", __import__("threading").excepthook)
        logs.start("json", "test", stream)
        yield stream
    logs._Out.write, logs._Out.process, logs._Out.is_json = before
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(written: io.BytesIO) -> list[dict[str, Any]]:
    logs.flush()
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def test_it_writes_one_line_per_request_with_the_route_and_not_the_path(
    cast: Cast, written: io.BytesIO
) -> None:
    path = f"/api/client/job/job-details/{UNKNOWN_ID}"
    asked = [
        await cast.alice.get(path, params={"canary": "tweet"}),
        await cast.anybody.get("/nothing/canary"),
        await cast.anybody.request("CANARY", "/healthz"),
        await cast.anybody.head("/healthz"),
    ]
    told = [line for line in lines(written) if line["event"] == "request"]
    assert [(one["method"], one["route"], one["status"]) for one in told] == [
        ("GET", "/api/client/job/job-details/{job_id}", 404),
        ("GET", "(none)", 404),
        ("OTHER", "(none)", 405),
        ("HEAD", "/healthz", 200),
    ]
    assert [one["request_id"] for one in told] == [one.headers["x-request-id"] for one in asked]
    assert all(re.fullmatch("[0-9a-f]{8}", one["client"]) for one in told)
    assert all(0 < one["seconds"] < 60 for one in told)
    everything = written.getvalue().decode().lower()
    assert "canary" not in everything
    assert UNKNOWN_ID not in everything


async def test_it_tells_clients_apart_without_naming_them(
    app: Litestar, written: io.BytesIO
) -> None:
    for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
        async with caller(app, address=address) as one:
            await one.get("/healthz")
    first, second, third = (line["client"] for line in lines(written))
    assert first == third != second
    assert b"203.0.113" not in written.getvalue()


# -- the last resort ------------------------------------------------------------------------


@pytest.mark.usefixtures("own_faces")
async def test_it_answers_even_where_the_error_renderer_fails(
    database: Any, monkeypatch: pytest.MonkeyPatch, written: io.BytesIO
) -> None:
    def worse(*_: Any) -> Response[None]:
        raise RuntimeError("a canary in the renderer")

    @get("/healthz", access=PUBLIC, exception_handlers={Exception: worse})
    async def broken() -> None:
        raise RuntimeError("a canary in the handler")

    monkeypatch.setattr(composition, "healthz", broken)
    made = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        answer = await nobody.get("/healthz")
        assert problem(answer, 500)["code"] == "internal_error"
        assert answer.headers["x-content-type-options"] == "nosniff"
        head = await nobody.head("/healthz")
        assert (head.status_code, head.content) == (500, b"")
    failed = [line for line in lines(written) if line["level"] == "error"]
    assert failed[0]["request_id"] == answer.headers["x-request-id"]
    assert failed[0]["exceptions"][0]["type"] == "builtins.RuntimeError"
    assert any("worse" in frame for frame in failed[0]["exceptions"][0]["frames"])
    assert b"canary" not in written.getvalue()
