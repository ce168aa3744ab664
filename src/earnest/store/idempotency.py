"""Idempotency records: the reply of a request that was carried out, kept with its commit.

A record is written in the same database transaction as what the request did, so a key is
either unused or has its reply. Scope = SHA-256(principal, route, key); `request_hash` covers
method, concrete path, query and raw body, so the same key on another contract is refused.
Only 2xx replies are kept: a refusal changes nothing and may be asked again. Records of requests
that move money are kept for ever, all others for KEEP_DAYS. A reply that carries a secret is
sealed, and after SEALED_HOURS there is nothing left to open.
"""

import hashlib
from typing import Any

import asyncpg
import msgspec

from earnest.errors import Conflict, IdempotencyKeyReused
from earnest.sealing import SealBroken, Sealer

KEEP_DAYS = 7
SEALED_HOURS = 24
PURGE_MAX = 1_000


class ReplyGone(Conflict):
    """This was done, and its answer carried a secret, which is not kept longer than a day. Ask
    for a new secret under another Idempotency-Key."""


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
SELECT
    request_hash, status, reply, is_sealed,
    created_at < business_now() - make_interval(hours => $2) AS is_late
FROM idempotency_key
WHERE scope = $1
"""

INSERT = """
INSERT INTO idempotency_key (
    scope, commit_id, principal, route, key, request_hash, status, reply, moves_money, is_sealed,
    created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, business_now())
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

EMPTY = """
WITH emptied AS (
    UPDATE idempotency_key SET reply = ''
    WHERE scope = ANY(ARRAY(
        SELECT k.scope FROM idempotency_key AS k
        WHERE k.is_sealed AND k.reply <> ''
        AND k.created_at < business_now() - make_interval(hours => $1)
        ORDER BY k.created_at, k.scope
        LIMIT $2
    )) AND reply <> ''
    RETURNING scope
)
SELECT count(*) FROM emptied
"""


async def find(conn: asyncpg.Connection, once: Once, sealer: Sealer | None = None) -> Reply | None:
    """The stored reply of this request, if it was carried out before.

    Raises IdempotencyKeyReused; ReplyGone for a sealed reply that is a day old, or that no
    `sealer` of ours opens.
    """
    row = await conn.fetchrow(FIND, once.scope, SEALED_HOURS)
    if row is None:
        return None
    reply = replay(Stored(row["request_hash"], row["status"], row["reply"]), once)
    if not row["is_sealed"]:
        return reply
    if row["is_late"] or sealer is None:
        raise ReplyGone
    try:
        opened = sealer.open(reply.body, _about(once))
    except SealBroken:
        raise ReplyGone from None
    return msgspec.structs.replace(reply, body=opened)


async def keep(
    conn: asyncpg.Connection,
    once: Once,
    reply: Reply,
    commit_id: int = 0,
    sealer: Sealer | None = None,
) -> None:
    """Record `reply` within the caller's database transaction (plain records: commit_id 0).

    With a `sealer` nobody reads the reply in the database. Raises asyncpg.UniqueViolationError
    (`idempotency_key_once`) when the same request is being carried out at this moment: the caller
    rolls back and replays.
    """
    if sealer is not None:
        reply = msgspec.structs.replace(reply, body=sealer.seal(reply.body, _about(once)))
    row = reply_row(commit_id, once, reply, is_sealed=sealer is not None)
    await conn.execute(INSERT, *row)


def _about(once: Once) -> str:
    return f"reply:{once.scope.hex()}"


def reply_row(
    commit_id: int, once: Once, reply: Reply, *, is_sealed: bool = False
) -> tuple[Any, ...]:
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
        is_sealed,
    )


async def purge(conn: asyncpg.Connection, records_max: int = PURGE_MAX) -> int:
    """Forget the oldest records past KEEP_DAYS that moved no money, and what sealed replies past
    SEALED_HOURS said; how many."""
    forgotten: int = await conn.fetchval(PURGE, KEEP_DAYS, records_max)
    emptied: int = await conn.fetchval(EMPTY, SEALED_HOURS, records_max)
    return forgotten + emptied
