"""The real HTTP server on a socket, and whatever bytes one cares to send it.

    answers = await wire.say(b"GET / HTTP/1.1\\r\\n...")     every answer until it hangs up

It runs as `earnest serve` runs it, over the application of `app` and `cast`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar

from earnest.serving import server_config
from earnest.settings import Settings
from earnest.web.connection import ServerConfig

PATIENCE_SECONDS = 60


class Heard(msgspec.Struct):
    """One answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Wire(msgspec.Struct):
    """A listening server. `config` is what its next connections go by."""

    port: int
    config: ServerConfig

    async def say(self, *parts: bytes, from_address: str = "127.0.0.1") -> list[Heard]:
        """Send `parts`, each when the one before has been read, and stop sending."""
        line = await self.open(from_address)
        try:
            for part in parts:
                await line.send(part)
            return await line.rest()
        finally:
            line.close()

    async def open(self, from_address: str = "127.0.0.1") -> "Line":
        """A new connection."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(from_address, 0)
        )
        return Line(reader, writer)

    async def is_healthy(self) -> bool:
        """A stranger gets an answer."""
        async with httpx.AsyncClient() as somebody:
            answer = await somebody.get(f"http://127.0.0.1:{self.port}/readyz")
        return answer.status_code == 200


class Line:
    """The client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, part: bytes) -> None:
        """Send, and give the server time to read it, unless it has hung up."""
        try:
            self.writer.write(part)
            await self.writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.01)

    async def answer(self) -> Heard | None:
        """The next answer; None where the server has hung up instead."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except ConnectionError:
                return None
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    raise
                return None
            line, *lines = head[:-4].decode("latin-1").split("\r\n")
            version, status, _ = line.split(" ", 2)
            assert version == "HTTP/1.1"
            headers = {}
            for each in lines:
                name, value = each.split(": ", 1)
                assert name.lower() not in headers or name.lower() == "set-cookie", each
                headers[name.lower()] = value
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return Heard(int(status), headers, body)

    async def status(self) -> int:
        """The next answer's status; 0 where the server has hung up instead."""
        heard = await self.answer()
        return 0 if heard is None else heard.status

    async def rest(self) -> list[Heard]:
        """Every answer until the server hangs up, after we have stopped sending."""
        if self.writer.can_write_eof() and not self.writer.is_closing():
            self.writer.write_eof()
        return await self.until_closed()

    async def until_closed(self) -> list[Heard]:
        """Every answer until the server hangs up, while we could still send."""
        heard = []
        while (answer := await self.answer()) is not None:
            heard.append(answer)
        return heard

    def close(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def listening(app: Litestar, settings: Settings) -> AsyncIterator[Wire]:
    """A server on a port of its own for an `app` that has been started."""
    config = server_config(settings, app)
    config.port = 0
    config.lifespan = "off"
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110  it has no event to wait for
        await asyncio.sleep(0.01)
    yield Wire(server.servers[0].sockets[0].getsockname()[1], config)
    server.should_exit = True
    await task


@pytest.fixture
async def wire(app: Litestar, settings: Settings) -> AsyncIterator[Wire]:
    """The server of `app` and `cast`."""
    async with listening(app, settings) as made:
        yield made


def refusal(heard: Heard, status: int) -> str:
    """The text of an answer that must be a problem (D9) with this status."""
    assert heard.status == status, heard
    assert heard.headers["content-type"].startswith("application/problem+json"), heard
    said = heard.json
    assert said["status"] == status
    assert said["error"] == said["message"] == said["detail"] != ""
    return str(said["error"])
