"""A **middleman** between a server of ours and PostgreSQL: he lets everything pass, but can keep
one call of the door from the database, or the database's answer to it from the server.

    async with open_middleman(database.app_dsn) as middleman:
        ...                                         a server runs on `middleman.dsn`
        middleman.keep_next(Keep.ANSWER)            its next commit will happen, unheard
        ...                                         it is asked for something
        await middleman.has_kept()                  now it has committed, and does not know

He reads the protocol's frames (one byte of kind, four of length) on real sockets, so what he
cuts is what a death or a broken network would cut. When one side hangs up he hangs up on the
other, as the kernel would.
"""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import msgspec

LENGTH_BYTES = 4
BIND, PARSE, READY_FOR_QUERY = b"B", b"P", b"Z"
DOOR = b"commit_changes("


class Keep(enum.Enum):
    """What the middleman keeps to himself, with whatever follows on that connection."""

    CALL = "the call"  # it never reaches the database
    ANSWER = "the answer"  # the database is done with the call


class Middleman:
    """See the module. One call is kept for each `keep_next`; all others pass."""

    def __init__(self, dsn: str) -> None:
        self._url = urlsplit(dsn)
        self._keep: Keep | None = None
        self._let_pass = 0
        self._kept = asyncio.Event()
        self._is_away = False
        self._wires: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server

    @property
    def dsn(self) -> str:
        """The URL of the same role and database, by way of the middleman."""
        host, port = self._server.sockets[0].getsockname()
        who = f"{self._url.username}:{self._url.password}"
        return f"postgresql://{who}@{host}:{port}{self._url.path}?sslmode=disable"

    def keep_next(self, keep: Keep, let_pass: int = 0) -> None:
        """Keep the door's next call or its answer, or that of the call after `let_pass` others."""
        self._keep, self._let_pass = keep, let_pass
        self._kept.clear()

    async def has_kept(self) -> None:
        """Wait until he has: the call has come to him, or the answer has."""
        async with asyncio.timeout(20):
            await self._kept.wait()

    def leave(self) -> None:
        """Cut every connection and take no other, like a network that is down."""
        self._is_away = True
        for back in self._wires.values():
            back.transport.abort()

    def come_back(self) -> None:
        """Take connections again."""
        self._is_away = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        self._server.close()
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)
        await self._server.wait_closed()

    # -- what the wires ask ---------------------------------------------------------------------

    def is_to_keep(self) -> Keep | None:
        """What to keep of the door's call that just came."""
        if self._keep is None:
            return None
        if self._let_pass > 0:
            self._let_pass -= 1
            return None
        keep, self._keep = self._keep, None
        return keep

    def keeps(self) -> None:
        self._kept.set()

    # -- connections ----------------------------------------------------------------------------

    async def _serve(self, caller: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._wires[this] = back
        try:
            if not self._is_away:
                await self._connect(caller, back)
        finally:
            del self._wires[this]
            back.transport.abort()

    async def _connect(self, caller: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        place = parse_qs(self._url.query)
        path = f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}"
        database, on = await asyncio.open_unix_connection(path)
        wire = Wire(self)
        pumps = [
            asyncio.create_task(wire.carry_calls(caller, on)),
            asyncio.create_task(wire.carry_answers(database, back)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            on.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


class Wire(msgspec.Struct):
    """One connection: `doors` are its prepared statements that call the door, `kept` is what
    is being kept on it."""

    middleman: Middleman
    doors: set[bytes] = msgspec.field(default_factory=set)
    kept: Keep | None = None

    async def carry_calls(self, caller: asyncio.StreamReader, on: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            on.write(await read_frame(caller, kind_bytes=0))  # the first one has no kind
            while True:
                frame = await read_frame(caller)
                self._look_at(frame)
                if self.kept is not Keep.CALL:
                    on.write(frame)
                    await on.drain()

    def _look_at(self, frame: bytes) -> None:
        first, second, _ = (frame[1 + LENGTH_BYTES :] + b"\0\0").split(b"\0", 2)
        if frame.startswith(PARSE) and DOOR in second:
            self.doors.add(first)
        elif frame.startswith(BIND) and second in self.doors and self.kept is None:
            self.kept = self.middleman.is_to_keep()
            if self.kept is Keep.CALL:
                self.middleman.keeps()

    async def carry_answers(
        self, database: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await read_frame(database)
                if self.kept is None:
                    back.write(frame)
                    await back.drain()
                elif frame.startswith(READY_FOR_QUERY):  # the database transaction is over
                    self.middleman.keeps()


async def read_frame(reader: asyncio.StreamReader, kind_bytes: int = 1) -> bytes:
    """The next frame, its head included; asyncio.IncompleteReadError when there is none."""
    head = await reader.readexactly(kind_bytes + LENGTH_BYTES)
    length_bytes = int.from_bytes(head[kind_bytes:], "big") - LENGTH_BYTES
    return head + await reader.readexactly(length_bytes)


@contextlib.asynccontextmanager
async def open_middleman(dsn: str) -> AsyncIterator[Middleman]:
    """A middleman on a port of his own; `dsn` leads to a server on a unix socket."""
    middleman = Middleman(dsn)
    await middleman.open()
    try:
        yield middleman
    finally:
        await middleman.close()
