"""What every part of the sandbox provider works with: its **connections**, its clock, its outbox.

Invariant: an event is stored in the transaction of what it tells, and its bytes never change.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from earnest.errors import ProviderError, ProviderKeyReused
from earnest.providers import sandbox_rules as rules

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

INSERT_EVENT = """
INSERT INTO sandbox.outbox (
    id, session_id, type, body, attempts, next_attempt_at, leased_until, created_at, last_answer
)
VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7), $6, '')
"""


class Connections(Protocol):
    """Where database connections come from; each is back in the pool after the block."""

    def connection(
        self,
    ) -> AbstractAsyncContextManager[Connection]: ...


class Letter(msgspec.Struct, frozen=True):
    """An event leased to us for attempt number `attempts`."""

    id: str
    body: bytes
    attempts: int
    created_at: datetime


class SandboxMemory:
    """`clock` says the business time."""

    def __init__(
        self, pool: Connections, public_url: str, clock: Callable[[], Awaitable[datetime]]
    ) -> None:
        self._pool = pool
        self._public_url = public_url.rstrip("/")
        self.clock = clock


async def tell(
    connection: Connection,
    type_: str,
    subject: dict[str, Any],
    now: datetime,
    *,
    account_id: str | None = None,
    session_id: str | None = None,
    leased_seconds: int = 0,
) -> Letter:
    """Store an event about `subject`, inside the caller's transaction.

    It is the caller's to deliver for `leased_seconds`, if any; afterwards the worker's.
    """
    event_id = f"evt_test_{secrets.token_urlsafe(24)}"
    body = rules.event_body(event_id, type_, subject, now, account_id)
    letter = Letter(event_id, body, int(leased_seconds > 0), now)
    await connection.execute(
        INSERT_EVENT, event_id, session_id, type_, body, letter.attempts, now, leased_seconds
    )
    return letter


def new_id(prefix: str) -> str:
    """An id that nobody can guess: `tr` -> `tr_test_...`."""
    return f"{prefix}_test_{secrets.token_urlsafe(24)}"


def hash_of(request: msgspec.Struct) -> bytes:
    """SHA-256 of a request: the same key with another one is refused."""
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).digest()


def require_same(row: asyncpg.Record, request: msgspec.Struct) -> None:
    """Raise ProviderKeyReused when the key of `row` was used for another request."""
    if row["request_hash"] != hash_of(request):
        raise ProviderKeyReused("This idempotency key was used for another request.")


def spent(refusal: ProviderError) -> ProviderError:
    """`refusal`, which is what this idempotency key is answered with for ever."""
    refusal.key_is_spent = True
    return refusal
