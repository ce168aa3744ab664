"""Receivers: HTTP servers on 127.0.0.1 that answer as a test says, however badly.

    async with receiving(answering(200)) as receiver:
        ...                                     receiver.port, receiver.heard

A **conduct** is what a receiver does with one request. **Dials** stands between a sender and the
network: it writes down who was dialled and leads every dial to one port of 127.0.0.1, or nowhere.
"""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpcore
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from earnest.outbound.sender import dial_tcp


class Request(msgspec.Struct, frozen=True):
    """What came in, byte for byte; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


Conduct = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class Receiver(msgspec.Struct):
    """`connections` counts those that sent at least a byte, or shook hands."""

    port: int
    heard: list[Request] = []
    connections: int = 0


@contextlib.asynccontextmanager
async def receiving(
    conduct: Conduct, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """A receiver that serves `conduct` on a free port until the block ends."""
    receiver = Receiver(0)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        receiver.connections += 1
        try:
            while True:
                request = await _read(reader)
                receiver.heard.append(request)
                await conduct(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        except asyncio.CancelledError:
            pass  # the block ended
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")[:-2]
    pairs = [each.partition(": ") for each in lines]
    headers = {name.lower(): value for name, _, value in pairs}
    assert len(headers) == len(lines), "a header came twice"
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))


def answering(status: int, *headers: str, body: bytes = b"") -> Conduct:
    """Always this answer, on a connection that stays open unless a header says close."""
    lines = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Said", *headers))
    said = f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def conduct(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    return conduct


def saying(*parts: bytes, then_close: bool = True) -> Conduct:
    """These very bytes, and then the end of the connection."""

    async def conduct(_: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            raise ConnectionError

    return conduct


def dripping(head: bytes, drop: bytes) -> Conduct:
    """`head` at once, and then `drop` again and again, for ever."""

    async def conduct(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.005)
        raise ConnectionError

    return conduct


async def hanging(_: Request, writer: asyncio.StreamWriter) -> None:
    """Not a byte, ever."""
    await asyncio.Event().wait()


async def resetting(_: Request, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    writer.transport.abort()
    raise ConnectionError


# -- between a sender and the network -------------------------------------------------------


class Dials:
    """A Dial. `made` are the addresses and ports that were asked for; `read_bytes` is all that
    was read from any of them. Without a port, everybody refuses; `refusing` and `swallowing` are
    addresses that do so, or never answer at all."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.made: list[tuple[str, int]] = []
        self.read_bytes = 0
        self.refusing: set[str] = set()
        self.swallowing: set[str] = set()

    async def __call__(self, address: str, port: int) -> httpcore.AsyncNetworkStream:
        self.made.append((address, port))
        if address in self.swallowing:
            await asyncio.Event().wait()
        if self.port is None or address in self.refusing:
            raise ConnectionRefusedError
        return _Counted(await dial_tcp("127.0.0.1", self.port), self)


class _Counted(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, dials: Dials) -> None:
        self._stream, self._dials = stream, dials

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        data = await self._stream.read(max_bytes, timeout)
        self._dials.read_bytes += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return await self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Names:
    """A Resolve that gives these answers, one after the other, and the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


# -- certificates ---------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for `host` that it signed itself, and the context of
    a client that trusts this certificate and no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
