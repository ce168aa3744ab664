"""A **line**: one HTTP/1.1 connection to an address that was checked, and how much it may say.

Invariant: of each answer at most `answer_bytes_max` bytes are read, its head and interim answers
included, and nothing is decoded. A line is used for one target, by one sender at a time.
"""

import time
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore

from earnest.outbound.answers import Failure
from earnest.outbound.targets import Target


class Failed(Exception):
    """Nothing came back that could be an answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class TooLong(httpcore.ProtocolError):
    """The answer is longer than what we read of one."""


class Line:
    """A connection over `stream`, which is open, and is TLS already if it has to be."""

    def __init__(
        self,
        target: Target,
        stream: httpcore.AsyncNetworkStream,
        answer_bytes_max: int,
        idle_seconds: float,
    ) -> None:
        self._metered = _Metered(stream, answer_bytes_max)
        self._url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        self._connection = httpcore.AsyncHTTP11Connection(
            self._url.origin, self._metered, keepalive_expiry=idle_seconds
        )
        self._opened_at = time.monotonic()

    @property
    def is_unheard(self) -> bool:
        """Whether not a byte has come since the last request."""
        return self._metered.left_bytes == self._metered.bytes_max

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self._opened_at

    @property
    def is_idle(self) -> bool:
        """Whether it may take another request."""
        return self._connection.is_idle()

    @property
    def is_stale(self) -> bool:
        """Whether an idle line was idle for too long, or the other side has hung up."""
        return self._connection.has_expired()

    async def ask(self, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> httpcore.Response:
        """POST, and the head of the answer; its stream is still to be read. Raises Failed.

        After a failure or a cancellation the connection is closed.
        """
        request = httpcore.Request("POST", self._url, headers=list(headers), content=body)
        self._metered.start_over()
        try:
            return await self._connection.handle_async_request(request)
        except (httpcore.NetworkError, anyio.EndOfStream):
            raise Failed(Failure.CONNECTION_RESET) from None
        except (httpcore.RemoteProtocolError, TooLong):
            ended = self._metered.has_ended
            raise Failed(Failure.CONNECTION_RESET if ended else Failure.PROTOCOL) from None

    async def close(self) -> None:
        await self._connection.aclose()


class _Metered(httpcore.AsyncNetworkStream):
    """A stream that yields so many bytes per answer and then refuses to go on. What is written
    leaves together when the answer is asked for: head and body are one packet, if they fit."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, bytes_max: int) -> None:
        self._stream = stream
        self.bytes_max = self.left_bytes = bytes_max
        self.has_ended = False
        self._written = b""

    def start_over(self) -> None:
        self.left_bytes = self.bytes_max
        self._written = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self.left_bytes:
            raise TooLong
        if self._written:
            written, self._written = self._written, b""
            await self._stream.write(written, timeout)
        data = await self._stream.read(min(max_bytes, self.left_bytes), timeout)
        self.left_bytes -= len(data)
        self.has_ended = not data
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> None:
        self._written += buffer

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
