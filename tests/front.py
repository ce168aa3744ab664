"""A **front**: what stands between a client and the server, and fails as a test says.

    async with standing(counter.url) as front:
        front.plan("/apps/api", LOST, answering_status(503))

What it does with the requests whose paths begin so, one after the other: PASS them on, LOST (passed
on, but the answer never arrives), DROP (not even passed on), or an answer of its own. Afterwards
it passes everything on. `front.seen` is all that came in.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import msgspec

LOST, DROP, PASS = "lost", "drop", "pass"


class Seen(msgspec.Struct, frozen=True):
    """A request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


class Own(msgspec.Struct, frozen=True):
    """An answer of the front's own."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b"busy"


Deed = str | Own


class Front(msgspec.Struct):
    """See the module."""

    url: str
    seen: list[Seen] = []
    plans: list[tuple[str, list[Deed]]] = []

    def plan(self, prefix: str, *deeds: Deed) -> None:
        self.plans.append((prefix, list(deeds)))

    def at(self, prefix: str) -> list[Seen]:
        """What came in for paths that begin so."""
        return [one for one in self.seen if one.path.startswith(prefix)]

    def deed(self, path: str) -> Deed:
        """What becomes of the next request for this path."""
        for prefix, deeds in self.plans:
            if path.startswith(prefix) and deeds:
                return deeds.pop(0)
        return PASS


@contextlib.asynccontextmanager
async def standing(behind: str) -> AsyncIterator[Front]:
    """A front on 127.0.0.1 with the server `behind` it, until the block ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _answer(front, server, reader, writer)
        finally:
            writer.close()
            tasks.discard(task)

    async with httpx.AsyncClient(base_url=behind, trust_env=False) as server:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        front = Front(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        try:
            yield front
        finally:
            listening.close()
            await asyncio.gather(*tasks)


async def _answer(
    front: Front,
    server: httpx.AsyncClient,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One request, one answer, and then the end of the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")[:-2]
    method, path, _ = line.split(" ")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    front.seen.append(Seen(method, path, headers, body))
    deed = front.deed(path)
    if isinstance(deed, Own):
        told = httpx.Response(deed.status, headers=deed.headers, content=deed.body)
    elif deed == DROP:
        writer.transport.abort()
        return
    else:
        sent = {
            name: value for name, value in headers.items() if name not in ("host", "connection")
        }
        told = await server.request(method, path, content=body, headers=sent)
        if deed == LOST:
            writer.transport.abort()
            return
    writer.write(f"HTTP/1.1 {told.status_code} Said\r\nConnection: close\r\n".encode())
    passed = {**told.headers, "content-length": str(len(told.content))}
    passed = {name: value for name, value in passed.items() if name.lower() != "connection"}
    writer.write("".join(f"{name}: {value}\r\n" for name, value in passed.items()).encode())
    writer.write(b"\r\n" + told.content)
    await writer.drain()
