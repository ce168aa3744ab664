"""The HTTP connection: slow, oversized and ambiguous requests end here."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn

from conftest import TestDatabase
from earnest.app import build_app
from earnest.serving import server_config
from earnest.settings import read_settings
from earnest.store.db import Pool
from earnest.web import connection

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
async def port(database: TestDatabase) -> AsyncIterator[int]:
    """The port of a real server that stops with the test."""
    settings = read_settings({"EARNEST_SECRET_KEY": "k" * 32})
    config = server_config(settings, build_app(settings, Pool(database.app_dsn)))
    config.port = 0
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110  it has no event to wait for
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def say(port: int, *parts: bytes, pause_seconds: float = 0) -> bytes:
    """What the server answers to `parts`; b"" if it hung up while we were still speaking."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            if writer.is_closing() or reader.at_eof():
                break
            writer.write(part)
            await asyncio.sleep(pause_seconds)
        async with asyncio.timeout(15):
            return await reader.read(65536)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_it_answers_a_plain_request(port: int) -> None:
    assert (await say(port, GET + b"\r\n")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: localhost\r\n\r\n", 400),
        (b"GET /docs HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /docs HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", 421),
        (GET + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
        (GET + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"X-Fold: a\r\n b\r\n\r\n", 400),
        (GET.replace(b"\r\n", b"\n") + b"\n", 400),
        (GET + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (GET + b"X-Many: y\r\n" * 1000 + b"\r\n", 431),
        (GET.replace(b"healthz", b"x" * 17_000) + b"\r\n", 414),
    ],
)
async def test_it_refuses_what_can_be_read_in_two_ways_or_is_too_much(
    port: int, request_bytes: bytes, status: int
) -> None:
    answer = await say(port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"connection: close" in answer
    assert b'"status":%d' % status in answer


@pytest.mark.parametrize("host", [b"localhost:8000", b"127.0.0.1", b"[::1]:9", b"LOCALHOST"])
async def test_it_knows_its_own_names(port: int, host: bytes) -> None:
    answer = await say(port, b"GET /healthz2 HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


async def test_it_lets_a_probe_come_with_any_host(port: int) -> None:
    answer = await say(port, b"GET /readyz HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_it_reads_an_endless_head_only_so_far(port: int) -> None:
    answer = await say(port, GET, *([b"X-More: " + b"y" * 8000 + b"\r\n"] * 8), pause_seconds=0.01)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


async def test_it_does_not_take_a_body_for_headers_when_the_network_cuts_the_head(
    port: int,
) -> None:
    # Wherever the first segment ends: the rest of the head comes together with a large body.
    body = b'{"name":"' + b"x" * 60_000 + b'"}'
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    rest = b"Content-Length: %d\r\n\r\n" % len(body)
    answer = await say(port, head[:20], head[20:] + rest + body, pause_seconds=0.1)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"email is required" in answer


@pytest.mark.parametrize(
    "opening",
    [b"", b"GET /healthz HT", GET, b"\r\n"],
    ids=["silent", "within the first line", "within the headers", "before the first line"],
)
async def test_it_closes_a_connection_whose_head_does_not_come(port: int, opening: bytes) -> None:
    started = time.monotonic()
    answer = await say(port, opening)
    assert time.monotonic() - started < 5
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_trickle_does_not_buy_time(port: int) -> None:
    started = time.monotonic()
    answer = await say(port, GET, *[b"X: y\r\n"] * 30, pause_seconds=0.4)
    assert time.monotonic() - started < 6
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


async def test_it_closes_a_connection_whose_body_does_not_come(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BODY_SECONDS_MAX", 1)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = await say(port, head + b"Content-Length: 50\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")


async def test_it_keeps_a_connection_for_the_next_request(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(GET + b"\r\n")
        assert await reader.readuntil(b'{"status":"ok"}')
    writer.close()


async def test_it_refuses_in_the_form_of_the_face_that_was_asked(port: int) -> None:
    """Partners read an envelope (spec 1.1), and RFC 6749 at the token's endpoint."""

    def too_large(path: str) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: 999999\r\n\r\n".encode()

    answers = {}
    for path in ("/apps/api/contracts", "/connect/token", "/api/auth/login"):
        said = await say(port, too_large(path))
        assert said.startswith(b"HTTP/1.1 413")
        answers[path] = json.loads(said.partition(b"\r\n\r\n")[2])
    text = "The body is too large."
    assert answers["/apps/api/contracts"] == {
        "message": text,
        "status": 413,
        "validationErrors": [],
        "succeeded": False,
        "errors": [text],
    }
    assert answers["/connect/token"] == {"error": "invalid_request", "error_description": text}
    assert answers["/api/auth/login"]["code"] == "body_too_large"
