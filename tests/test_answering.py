"""An answer that leaves in one piece is the answer that uvicorn would have sent in two."""

import asyncio
import contextlib
import gc
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from earnest.web.connection import BoundedProtocol, ServerConfig
from web import _Server

ASK = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """What answers can look like, by path."""
    path = scope["path"]
    body = path.encode() * 3
    headers = [(b"content-type", b"text/plain"), (b"x-two", b"1"), (b"x-two", b"2")]
    length = (b"content-length", str(len(body)).encode())
    status = {"/empty": 204, "/not-modified": 304, "/refused": 404}.get(path, 200)
    if path in ("/broken-line", "/broken-line-feed", "/broken-nul"):
        evil = {"/broken-line": b"a\r\nset-cookie: b", "/broken-line-feed": b"a\nb: c"}
        headers.append((b"x-evil", evil.get(path, b"a\0b")))
    if path not in ("/stream", "/empty", "/not-modified"):
        headers.append((b"content-length", b"2") if path == "/too-short" else length)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/gives-up":
        raise ValueError("after the head")
    if path == "/forgets":
        return
    if path in ("/stream", "/pieces"):
        await send({"type": "http.response.body", "body": body[:4], "more_body": True})
        await asyncio.sleep(0)
        body = body[4:]
    if path in ("/empty", "/not-modified"):
        body = b""
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serve(protocol: Any, config_class: Any) -> AsyncIterator[int]:
    """The port of a server of `application`."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = config_class(application, http=protocol, log_config=None, access_log=False)
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    await running


@pytest.fixture
async def ours() -> AsyncIterator[int]:
    async with serve(BoundedProtocol, ServerConfig) as port:
        yield port


@pytest.fixture
async def uvicorns() -> AsyncIterator[int]:
    async with serve(HttpToolsProtocol, uvicorn.Config) as port:
        yield port


async def hear(port: int, *requests: bytes) -> bytes:
    """All bytes of the answers, without the date."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    heard = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return re.sub(rb"date: [^\r]+", b"date: now", heard)


LAST = b"Connection: close\r\n"


@pytest.mark.parametrize(
    "path", ["/whole", "/refused", "/stream", "/pieces", "/empty", "/not-modified"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_it_is_the_same_byte_for_byte(
    ours: int, uvicorns: int, method: str, path: str
) -> None:
    last = ASK % (method.encode(), path.encode(), LAST)
    for requests in ((last,), (ASK % (method.encode(), path.encode(), b""), last)):
        heard = await hear(ours, *requests)
        assert heard == await hear(uvicorns, *requests)
        assert heard.count(b"HTTP/1.1 ") == len(requests)


async def test_it_is_the_same_for_an_old_client(ours: int, uvicorns: int) -> None:
    asked = b"GET /whole HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
    heard = await hear(ours, asked)
    assert heard == await hear(uvicorns, asked)
    assert heard.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in heard


class Counted:
    """A transport that remembers what was written to it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        self._transport.write(data)


@pytest.mark.parametrize(("path", "writes"), [("/whole", 1), ("/refused", 1), ("/pieces", 3)])
async def test_a_whole_answer_is_one_write(path: str, writes: int) -> None:
    seen: list[Counted] = []

    class Watched(BoundedProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.transport: Any = Counted(transport)
            seen.append(self.transport)

    async with serve(Watched, ServerConfig) as port:
        heard = await hear(port, ASK % (b"GET", path.encode(), LAST))
    assert len(seen[0].written) == writes
    assert re.sub(rb"date: [^\r]+", b"date: now", b"".join(seen[0].written)) == heard


@pytest.mark.parametrize(
    "path", ["/broken-line", "/broken-line-feed", "/broken-nul", "/gives-up", "/forgets"]
)
async def test_an_answer_that_cannot_be_sent_is_a_problem(ours: int, path: str) -> None:
    heard = await hear(ours, ASK % (b"GET", path.encode(), LAST))
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"application/problem+json" in head
    assert b"x-evil" not in head
    assert b"set-cookie" not in head
    assert b"Internal server error" in body


async def test_a_body_that_is_not_as_long_as_it_says_is_cut_off(ours: int) -> None:
    heard = await hear(ours, ASK % (b"GET", b"/too-short", LAST))
    assert not heard.endswith(b"/too-short")


async def test_a_request_that_was_answered_is_gone_without_the_garbage_collector(
    ours: int,
) -> None:
    """What it has to look for halts everything else: a second at a time, under load."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ours)

    async def ask() -> None:
        writer.write(ASK % (b"GET", b"/plain", b""))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))

    await ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await ask()
        assert gc.collect() < 50
    finally:
        gc.enable()
        writer.close()
