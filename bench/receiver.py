"""A receiver of webhooks that costs as little as can be: `python -m bench.receiver` prints its port
and answers 200 to whatever comes, until its standard input closes.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection; `heard` is called with each body."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, rest = self._received.partition(END_OF_HEAD)
            length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
            if not found or len(rest) < int(length):
                return
            body, self._received = rest[: int(length)], rest[int(length) :]
            self._heard(body)
            assert self._transport is not None
            self._transport.write(ANSWER)


async def receiving(heard: Callable[[bytes], None]) -> tuple[asyncio.Server, int]:
    """A receiver on a free port of 127.0.0.1, and that port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(heard), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def main() -> None:
    """Answer until nobody wants answers."""
    server, port = await receiving(lambda _: None)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
