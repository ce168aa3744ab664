"""Load: requests over keep-alive connections, as many at once as there are connections.

The bytes of every request are made beforehand and answers are only counted, so that what is
measured is the server and not its caller.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

LENGTH = b"content-length:"
END_OF_HEAD = b"\r\n\r\n"
CARRIED_OUT = (200, 201)


class Answered(msgspec.Struct, frozen=True):
    """How long all answers took, wall clock, and each of them (`latencies`, in seconds)."""

    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class WrongAnswer(Exception):
    """The server did not answer as wanted: what was measured is not what was meant."""


async def send(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    wanted: Sequence[int] = CARRIED_OUT,
) -> Answered:
    """Send `requests` to 127.0.0.1 and wait for every answer, which must have a status in `wanted`.
    Raises WrongAnswer."""
    waiting = iter(requests)
    lines = tuple(f"HTTP/1.1 {status}".encode() for status in wanted)
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    callers = [
        (
            await loop.create_connection(
                lambda: _Caller(waiting, lines, latencies), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    begun = time.perf_counter()
    for caller in callers:
        caller.send_next()
    try:
        await asyncio.gather(*(caller.done for caller in callers))
        return Answered(time.perf_counter() - begun, latencies)
    finally:
        for caller in callers:
            caller.transport.close()


def is_whole(received: bytes) -> bool:
    """Whether this is a complete answer, whose length its head tells."""
    head, found, body = received.partition(END_OF_HEAD)
    length = head.lower().partition(LENGTH)[2].partition(b"\r")[0]
    return bool(found) and len(body) >= int(length)


class _Caller(asyncio.Protocol):
    """One connection: the next request leaves when the answer to the last one is complete."""

    transport: asyncio.Transport

    def __init__(
        self, waiting: Iterator[bytes], wanted: tuple[bytes, ...], latencies: list[float]
    ) -> None:
        self._waiting = waiting
        self._wanted = wanted
        self._latencies = latencies
        self._sent_at = 0.0
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("Any", transport)

    def send_next(self) -> None:
        request = next(self._waiting, None)
        if request is not None:
            self._sent_at = time.perf_counter()
            self.transport.write(request)
        elif not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        if not is_whole(received):
            self._received = received
        elif not received.startswith(self._wanted):
            self.done.set_exception(WrongAnswer(received[:400].decode(errors="replace")))
        else:
            self._received = b""
            self._latencies.append(time.perf_counter() - self._sent_at)
            self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(WrongAnswer(f"the server hung up: {exc}"))
