"""A **lookup**: the addresses of a name, asked of the system's resolver in threads of our own.

Invariant: one name occupies one thread at most, however often it is asked for at the same time. A
name server that never answers keeps its own receivers waiting, and nobody else's.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

THREADS_MAX = 32


class Lookup:
    """`await lookup(host, port)` is the addresses as text, in the order to try them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS_MAX, "lookup")
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Raises OSError (socket.gaierror) or UnicodeError if there are none."""
        asked = self._asked.get((host, port))
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, _addresses, host, port)
            self._asked[host, port] = asked
            asked.add_done_callback(lambda done: self._forget((host, port), done))
        return await asyncio.shield(asked)  # a call that gives up leaves the others theirs

    def close(self) -> None:
        """Start no more lookups; those that run end when the system's resolver gives up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, name: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        del self._asked[name]
        if not done.cancelled():
            done.exception()  # if nobody waits any more, nobody needs to be told


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]
