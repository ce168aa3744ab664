"""The **sender**: posts bytes to targets that others chose, and comes to no harm.

Invariant: a name is resolved once per connection, every address it has is checked, and one of
those very addresses is dialled, with the Host header, SNI and certificate of the name. There are
no redirects, proxies, cookies, credentials or decompression, whatever the environment says, and
all of it ends after `total_seconds` (docs/decisions/0019-outbound-dials-what-it-checked.md).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest

import httpcore
import msgspec

from earnest import __version__
from earnest.outbound.addresses import Address, is_forbidden, is_loopback
from earnest.outbound.answers import Answer, Failure, failure_of, parse_retry_after
from earnest.outbound.lines import Failed, Line
from earnest.outbound.lookup import Lookup
from earnest.outbound.targets import Target

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host as text, best first; raises OSError or UnicodeError."""
Dial = Callable[[str, int], Awaitable[httpcore.AsyncNetworkStream]]
"""A TCP connection to an address and port; raises OSError or an error of httpcore."""

DIALS_MAX = 4
IDLE_LINES_PER_TARGET_MAX = 32
IDLE_LINES_MAX = 512
USER_AGENT = f"Earnest/{__version__}"


class Limits(msgspec.Struct, frozen=True):
    """What one answer may cost. An answer's body is read only to use the connection again, so
    `drain_seconds` is all that it gets once the head has come."""

    connect_seconds: float = 5  # lookup, dials and TLS together
    total_seconds: float = 30
    drain_seconds: float = 1
    answer_bytes_max: int = 65_536
    idle_seconds: float = 4  # many receivers close after 5
    line_seconds: float = 60  # then the name is resolved and checked anew


async def dial_tcp(address: str, port: int) -> httpcore.AsyncNetworkStream:
    """The Dial of the real world. `address` is one, so nothing is resolved here."""
    return await httpcore.AnyIOBackend().connect_tcp(address, port)


class Sender:
    """Keeps lines to where it sent, within one event loop. Close it when done."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        dial: Dial = dial_tcp,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._lookup = Lookup() if resolve is None else None
        self._resolve: Resolve = resolve or self._lookup  # type: ignore[assignment]
        self._dial = dial
        self._tls = httpcore.default_ssl_context() if tls is None else tls
        self._tls.set_alpn_protocols(["http/1.1"])
        self._limits = limits or Limits()
        self._idle: dict[Target, list[Line]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._is_closed = False

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `body`. Whatever the network and the receiver do is an Answer, never an exception.

        The head of the answer decides: what comes after it is cut at 64 KiB or a second, and a
        2xx stays one. If a connection that was used before turns out to be closed, the same bytes
        are sent once more on a new one, so the receiver must know them by an id in `headers`.
        Raises httpcore.LocalProtocolError or UnicodeError for headers that are none.
        """
        clock = asyncio.get_running_loop()
        started_at = clock.time()
        deadline = started_at + self._limits.total_seconds
        wire = self._headers(target, body, headers)
        try:
            async with asyncio.timeout_at(deadline):
                line, response = await self._ask(target, wire, body)
        except Failed as failed:
            return Answer(None, failed.failure, _milliseconds(clock.time() - started_at))
        except TimeoutError:
            return Answer(None, Failure.TIMEOUT, _milliseconds(clock.time() - started_at))
        answer = Answer(
            response.status,
            failure_of(response.status),
            _milliseconds(clock.time() - started_at),
            _retry_after(response),
        )
        await self._drain(response, min(deadline, clock.time() + self._limits.drain_seconds))
        await self._put_away(target, line)
        return answer

    async def close(self) -> None:
        """Close every idle line; those in use are closed when their answer has come."""
        self._is_closed = True
        if self._lookup is not None:
            self._lookup.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        idle, self._idle = self._idle, {}
        for line in chain.from_iterable(idle.values()):
            await line.close()

    # -- one exchange -----------------------------------------------------------------------

    def _headers(
        self, target: Target, body: bytes, headers: Mapping[str, str]
    ) -> list[tuple[bytes, bytes]]:
        return [
            (b"Host", target.authority.encode()),
            (b"User-Agent", USER_AGENT.encode()),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()),
            (b"Content-Length", b"%d" % len(body)),
        ]

    async def _ask(
        self, target: Target, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[Line, httpcore.Response]:
        line = await self._take(target)
        if line is not None:
            try:
                return line, await line.ask(headers, body)
            except Failed:
                if not line.is_unheard:
                    raise
                # It was closed while we were writing: that says nothing about the receiver.
        line = await self._open(target)
        return line, await line.ask(headers, body)

    async def _drain(self, response: httpcore.Response, deadline: float) -> None:
        """Read what is left of an answer, so that its line can be used again, or give it up."""
        try:
            async with asyncio.timeout_at(deadline):
                async for _ in response.aiter_stream():
                    pass
        except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
            pass
        finally:
            await response.aclose()

    # -- connecting -------------------------------------------------------------------------

    async def _open(self, target: Target) -> Line:
        try:
            async with asyncio.timeout(self._limits.connect_seconds) as connecting:
                addresses = await self._checked(target)
                stream = await self._dial_one(addresses, target.port, connecting)
                if target.scheme == "https":
                    stream = await self._secure(stream, target.host)
        except TimeoutError:
            raise Failed(Failure.TIMEOUT) from None
        return Line(target, stream, self._limits.answer_bytes_max, self._limits.idle_seconds)

    async def _checked(self, target: Target) -> list[Address]:
        """All addresses of the target, if every one of them may be dialled. Raises Failed."""
        if target.address is not None:
            found = [str(target.address)]
        else:
            try:
                found = list(await self._resolve(target.host, target.port))
            except (OSError, UnicodeError):  # gaierror is an OSError
                raise Failed(Failure.DNS) from None
        addresses: dict[Address, None] = {}
        for text in found:
            try:
                address = ip_address(text)
            except ValueError:
                raise Failed(Failure.FORBIDDEN_ADDRESS) from None
            if not is_loopback(address) if target.is_loopback else is_forbidden(address):
                raise Failed(Failure.FORBIDDEN_ADDRESS)
            addresses[address] = None
        if not addresses:
            raise Failed(Failure.DNS)
        return _in_turns(list(addresses))

    async def _dial_one(
        self, addresses: list[Address], port: int, connecting: asyncio.Timeout
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one, each with its share of the time."""
        clock = asyncio.get_running_loop()
        failure = Failure.UNREACHABLE
        tries = addresses[:DIALS_MAX]
        deadline = connecting.when() or clock.time()
        for position, address in enumerate(tries):
            share_seconds = (deadline - clock.time()) / (len(tries) - position)
            try:
                async with asyncio.timeout(share_seconds):
                    return await self._dial(str(address), port)
            except (OSError, httpcore.NetworkError, httpcore.TimeoutException) as error:
                failure = _why_unconnected(error)
        raise Failed(failure)

    async def _secure(
        self, stream: httpcore.AsyncNetworkStream, host: str
    ) -> httpcore.AsyncNetworkStream:
        secured = None
        try:
            secured = await stream.start_tls(self._tls, server_hostname=host)
        except (OSError, httpcore.NetworkError):
            raise Failed(Failure.TLS) from None
        finally:
            if secured is None:  # also when the time is over
                await stream.aclose()
        return secured

    # -- idle lines -------------------------------------------------------------------------

    async def _take(self, target: Target) -> Line | None:
        """An idle line to `target` that looks alive."""
        while lines := self._idle.get(target):
            line = lines.pop()
            if not lines:
                del self._idle[target]
            if not self._is_over(line):
                return line
            await line.close()
        return None

    async def _put_away(self, target: Target, line: Line) -> None:
        if (
            not line.is_idle
            or self._is_closed
            or self._is_over(line)
            or len(self._idle.get(target, ())) >= IDLE_LINES_PER_TARGET_MAX
            or sum(map(len, self._idle.values())) >= IDLE_LINES_MAX
        ):
            await line.close()
            return
        self._idle.setdefault(target, []).append(line)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="close idle lines")

    def _is_over(self, line: Line) -> bool:
        return line.is_stale or line.age_seconds > self._limits.line_seconds

    async def _sweep(self) -> None:
        """Close lines that nobody takes, until there are none."""
        while self._idle:
            await asyncio.sleep(self._limits.idle_seconds)
            over = [
                line for line in chain.from_iterable(self._idle.values()) if self._is_over(line)
            ]
            kept = {
                target: [line for line in lines if line not in over]
                for target, lines in self._idle.items()
            }
            self._idle = {target: lines for target, lines in kept.items() if lines}
            for line in over:
                await line.close()


def _in_turns(addresses: list[Address]) -> list[Address]:
    """In their order, but with the families taking turns, as one of them may lead nowhere."""
    is_v6 = isinstance(addresses[0], IPv6Address)
    first = [each for each in addresses if isinstance(each, IPv6Address) == is_v6]
    second = [each for each in addresses if isinstance(each, IPv6Address) != is_v6]
    pairs = zip_longest(first, second)
    return [each for each in chain.from_iterable(pairs) if each is not None]


def _why_unconnected(error: BaseException) -> Failure:
    """The word for an error of a dial, or for the one that it came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return Failure.CONNECTION_REFUSED
        if isinstance(cause, ConnectionResetError):
            return Failure.CONNECTION_RESET
        if isinstance(cause, (TimeoutError, httpcore.TimeoutException)):
            return Failure.TIMEOUT
        cause = cause.__cause__ or cause.__context__
    return Failure.UNREACHABLE


def _retry_after(response: httpcore.Response) -> int | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after":
            return parse_retry_after(value.decode("latin-1"))
    return None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
