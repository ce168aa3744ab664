"""Idempotency records: the reply of a request that was carried out, kept with its commit.

A record is written in the same database transaction as what the request did, so a key is
either unused or has its reply. Scope = SHA-256(principal, route, key); `request_hash` covers
method, concrete path, query and raw body, so the same key on another contract is refused.
Only 2xx replies are kept: a refusal changes nothing and may be asked again. Records of requests
that move money are kept for ever, all others for KEEP_DAYS.
"""

import hashlib
from typing import Any

import asyncpg
import msgspec

from earnest.errors import IdempotencyKeyReused

KEEP_DAYS = 7
PURGE_MAX = 1_000


class Once(msgspec.Struct, frozen=True):
    """One request that asked to be carried out at most once."""

    principal: str
    route: str
    key: str
    request_hash: bytes
    moves_money: bool

    @property
    def scope(self) -> bytes:
        parts = (self.principal, self.route, self.key)
        return hashlib.sha256("\x00".join(parts).encode()).digest()


class Reply(msgspec.Struct, frozen=True):
    """A rendered answer: what leaves, and what a repeated request gets again."""

    status: int
    body: bytes
    replayed: bool = False


class Stored(msgspec.Struct, frozen=True):
    """A record as loaded."""

    request_hash: bytes
    status: int
    body: bytes


def replay(stored: Stored, once: Once) -> Reply:
    """The stored reply again; IdempotencyKeyReused when the request is not the same one."""
    if stored.request_hash != once.request_hash:
        raise IdempotencyKeyReused
    return Reply(stored.status, stored.body, replayed=True)


FIND = """
SELECT request_hash, status, reply FROM idempotency_key WHERE scope = $1
"""

INSERT = """
INSERT INTO idempotency_key (
    scope, commit_id, principal, route, key, request_hash, status, reply, moves_money, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, business_now())
"""

# Business time. Oldest first, so that two workers meet on the same rows and the second one,
# having waited, finds them gone.
PURGE = """
WITH purged AS (
    DELETE FROM idempotency_key
    WHERE scope = ANY(ARRAY(
        SELECT k.scope FROM idempotency_key AS k
        WHERE NOT k.moves_money AND k.created_at < business_now() - make_interval(days => $1)
        ORDER BY k.created_at, k.scope
        LIMIT $2
    ))
    RETURNING scope
)
SELECT count(*) FROM purged
"""


async def find(conn: asyncpg.Connection, once: Once) -> Reply | None:
    """The stored reply of this request, if it was carried out before."""
    row = await conn.fetchrow(FIND, once.scope)
    if row is None:
        return None
    return replay(Stored(row["request_hash"], row["status"], row["reply"]), once)


async def keep(conn: asyncpg.Connection, once: Once, reply: Reply, commit_id: int = 0) -> None:
    """Record `reply` within the caller's database transaction (plain records: commit_id 0).

    Raises asyncpg.UniqueViolationError (`idempotency_key_once`) when the same request is being
    carried out at this moment: the caller rolls back and replays.
    """
    await conn.execute(INSERT, *reply_row(commit_id, once, reply))


def reply_row(commit_id: int, once: Once, reply: Reply) -> tuple[Any, ...]:
    """A row of idempotency_key without its last column, `created_at`."""
    return (
        once.scope,
        commit_id,
        once.principal,
        once.route,
        once.key,
        once.request_hash,
        reply.status,
        reply.body,
        once.moves_money,
    )


async def purge(conn: asyncpg.Connection, records_max: int = PURGE_MAX) -> int:
    """Forget the oldest records past KEEP_DAYS that moved no money; how many."""
    count: int = await conn.fetchval(PURGE, KEEP_DAYS, records_max)
    return count
