"""The database: a **pool** of connections, and what the server must promise.

Invariant: a connection in the pool is healthy, outside any database transaction and in the
session state that `_connect` gave it. There is no reset query between borrowers (it halves the
rate), so nobody may change session state: no SET without LOCAL, no LISTEN, no session-level
advisory lock, no temporary table.
"""

import asyncio
import contextlib
import functools
import struct
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType

import asyncpg

from earnest.errors import EarnestError, Unavailable

CONNECT_SECONDS_MAX = 10


class DatabaseRefused(EarnestError):
    """This database cannot be used as it is."""

    status = 503


UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
)
SHUTTING_DOWN = "The server is shutting down. Nothing was changed."


ONLY_PROBES = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""For statements that ask for a few rows by their keys. A plan is made once per connection, maybe
when a table was empty: walking all of it was the cheapest then, and remains the plan while it
grows, until its next ANALYZE. Measured: 1,300 releases a second after 60,000 on a new database,
2,500 with this. And `jit`, because what cannot be avoided then looks so expensive that it would be
compiled, which took the first calls half a second.
"""

PROBING_SHARE = 3


# -- the pool -------------------------------------------------------------------------------


class Pool:
    """At most `connections_max` connections, handed out last in, first out.

    The last one used is the one whose prepared statements, backend caches and CPU cache are
    warm. A caller waits its turn, `wait_seconds_max` at most, then gets Unavailable; so does
    one who finds the database unreachable. `observe_wait` hears for how many seconds one waited
    who did not get a connection at once. A connection comes back only if it is whole: after
    a cancelled task, a lost connection or an open database transaction it is closed instead.
    With `only_probes` its statements find rows by an index wherever there is one, see ONLY_PROBES.

        async with pool.connection() as conn:
            row = await conn.fetchrow(FIND, key)
    """

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int = 16,
        application_name: str = "earnest",
        statement_timeout_seconds: int = 30,
        wait_seconds_max: int = 10,
        observe_wait: Callable[[float], None] = lambda _seconds: None,
        only_probes: bool = False,
    ) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._statement_timeout_seconds = statement_timeout_seconds
        self._wait_seconds_max = wait_seconds_max
        self._observe_wait = observe_wait
        self._plans = ONLY_PROBES if only_probes else {}
        self._parts: list[Pool] = []
        self._idle: list[asyncpg.Connection] = []
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._free_slots = connections_max
        self._borrowed: set[asyncpg.Connection] = set()
        self._all_back = asyncio.Event()
        self._closed = False

    def connection(self) -> "_Lease":
        """A context manager that lends one connection for as long as it is open."""
        return _Lease(self)

    def probing(self) -> "Pool":
        """A third of these connections as a pool of their own, with `only_probes`; this one, if it
        has too few. Whoever borrows there never waits for lists and reports. It is closed with
        this one. To be asked for before any connection is lent."""
        share = self._free_slots // PROBING_SHARE
        if not share:
            return self
        self._free_slots -= share
        part = Pool(
            self._dsn,
            connections_max=share,
            application_name=self._application_name,
            statement_timeout_seconds=self._statement_timeout_seconds,
            wait_seconds_max=self._wait_seconds_max,
            observe_wait=self._observe_wait,
            only_probes=True,
        )
        self._parts.append(part)
        return part

    async def close(self, patience_seconds: int = 5) -> None:
        """Refuse new borrowers, give the present ones `patience_seconds`, close everything."""
        self._closed = True
        parts = asyncio.gather(*(part.close(patience_seconds) for part in self._parts))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(Unavailable(SHUTTING_DOWN))
        if self._borrowed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self._all_back.wait()
        for conn in self._borrowed:
            conn.terminate()
        while self._idle:
            await self._idle.pop().close(timeout=CONNECT_SECONDS_MAX)
        await parts

    async def acquire(self) -> asyncpg.Connection:
        """One connection, to be given back with `release`; Unavailable if none can be had."""
        if self._closed:
            raise Unavailable(SHUTTING_DOWN)
        conn = self._pop_idle()
        if conn is None:
            if self._free_slots > 0:
                self._free_slots -= 1
            else:
                conn = await self._wait_turn()
            if conn is None:
                conn = await self._open()
        self._borrowed.add(conn)
        return conn

    def release(self, conn: asyncpg.Connection, error: BaseException | None = None) -> None:
        """Take `conn` back; `error` is what its borrower was stopped by, if anything."""
        self._borrowed.discard(conn)
        if self._closed or not _is_whole(conn, error):
            conn.terminate()
            self._give(None)
        else:
            self._give(conn)
        if self._closed and not self._borrowed:
            self._all_back.set()

    def _pop_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            conn = self._idle.pop()
            if not conn.is_closed():
                return conn
            self._free_slots += 1  # the server closed it while it lay here
        return None

    async def _wait_turn(self) -> asyncpg.Connection | None:
        """The connection that somebody returns, or None: a slot to open one in."""
        waiter: asyncio.Future[asyncpg.Connection | None]
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give(waiter.result())  # served in the very instant it gave up: pass it on
            if isinstance(error, TimeoutError):
                raise Unavailable("All database connections are busy. Try again.") from None
            raise
        finally:
            self._observe_wait(time.perf_counter() - begun)

    async def _open(self) -> asyncpg.Connection:
        """A new connection in the slot that the caller holds; the slot is free if that fails."""
        try:
            return await self._connect()
        except BaseException as error:
            self._give(None)
            if isinstance(error, UNREACHABLE):
                raise Unavailable("The database cannot be reached. Try again.") from error
            raise

    async def _connect(self) -> asyncpg.Connection:
        conn = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_SECONDS_MAX,
            # A network that swallows packets must not hold a borrower for ever.
            command_timeout=self._statement_timeout_seconds + 5,
            statement_cache_size=512,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=64 * 1024,
            server_settings={
                "application_name": self._application_name,
                "statement_timeout": f"{self._statement_timeout_seconds}s",
                "idle_in_transaction_session_timeout": f"{self._statement_timeout_seconds}s",
                "default_transaction_isolation": "read committed",
                "synchronous_commit": "on",
                "TimeZone": "UTC",
                **self._plans,
            },
        )
        try:
            await conn.set_type_codec(
                "timestamptz",
                schema="pg_catalog",
                format="binary",
                encoder=_instant_sent,
                decoder=_instant_received,
            )
        except BaseException:
            conn.terminate()  # nobody else knows of it
            raise
        return conn

    def _give(self, conn: asyncpg.Connection | None) -> None:
        """A connection, or with None the slot of one that is gone, to whoever waits longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(conn)
                return
        if conn is None:
            self._free_slots += 1
        else:
            self._idle.append(conn)


class _Lease:
    __slots__ = ("_conn", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> asyncpg.Connection:
        self._conn = await self._pool.acquire()
        return self._conn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.release(self._conn, error)


# An array as one text, for statements that are sent many times a second: asyncpg asks every element
# of a list what it is, which takes it longer than all the rest of the element.
spaced = " ".join
"""What `string_to_array($1, ' ', '')` undoes; for texts without white space, "" stands for NULL."""


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIGNED = struct.Struct(">q").unpack


@functools.lru_cache(maxsize=1_024)
def _instant_sent(instant: datetime) -> bytes:
    """What timestamptz looks like on the wire: a commit says the same few instants many times."""
    return ((instant - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)


def _instant_received(sent: bytes) -> datetime:
    # The quickest of six spellings, by half: a contract has eight instants.
    microseconds: int = _SIGNED(sent)[0]
    return _EPOCH + _MICROSECOND * microseconds


def _is_whole(conn: asyncpg.Connection, error: BaseException | None) -> bool:
    """Whether the next borrower may have `conn` after `error`: cancelled ones are too unsure."""
    if conn.is_closed() or conn.is_in_transaction():
        return False
    if error is None:
        return True
    # InternalClientError: the server's farewell came while the connection lay idle.
    lost = (*UNREACHABLE, asyncpg.InterfaceError, asyncpg.InternalClientError)
    return isinstance(error, Exception) and not isinstance(error, lost)


# -- what the server must promise -----------------------------------------------------------

DURABILITY = """
SELECT name, setting
FROM pg_catalog.pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
ORDER BY name
"""


STANDING = """
SELECT
    pg_catalog.pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS is_read_only,
    ARRAY(
        SELECT s.name FROM pg_catalog.pg_settings AS s
        WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND s.setting = 'off'
        ORDER BY s.name
    ) AS durability_off
"""


async def check_standing(conn: asyncpg.Connection) -> None:
    """Raise DatabaseRefused if a connection of the pool could not write, or not durably."""
    standing = await conn.fetchrow(STANDING)
    assert standing is not None
    if standing["is_standby"]:
        raise DatabaseRefused("The database is a standby: it takes no writes until promoted.")
    if standing["is_read_only"]:
        raise DatabaseRefused("The database takes no writes: default_transaction_read_only is on.")
    if standing["durability_off"]:
        raise DatabaseRefused(
            f"The database has {', '.join(standing['durability_off'])} switched off: it may forget"
            " what it acknowledged."
        )


async def check_durability(conn: asyncpg.Connection) -> None:
    """Raise DatabaseRefused if this server may forget what it acknowledged.

    `conn` must be a bare connection of the application's role: the pool's own connections turn
    synchronous_commit on for themselves and would hide what others get.
    """
    off = [row["name"] for row in await conn.fetch(DURABILITY)]
    if off:
        fixes = " ".join(f"ALTER SYSTEM SET {name} = 'on';" for name in off)
        raise DatabaseRefused(
            f"This server has {', '.join(off)} switched off: after a crash, money that was"
            f" acknowledged would be gone. Fix it as a superuser: {fixes}"
            " SELECT pg_reload_conf(); and remove any ALTER ROLE or ALTER DATABASE that sets it."
        )
