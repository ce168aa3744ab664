"""**Signing keys**, as rows: what partners' tokens and checkout results are signed with.

Invariant: a row's private half is sealed with a key that is not in the database. Real time, not
business time: tokens are for other people's clocks.
"""

from datetime import datetime

import asyncpg
import msgspec


class SealedKey(msgspec.Struct, frozen=True):
    """A row. It signs until `retires_at` and verifies until `expires_at`."""

    kid: str
    private_key: bytes
    retires_at: datetime
    expires_at: datetime


LIVE = """
SELECT kid, private_key, retires_at, expires_at FROM signing_key
WHERE expires_at > clock_timestamp()
ORDER BY retires_at, kid
"""

INSERT = """
INSERT INTO signing_key (kid, private_key, created_at, retires_at, expires_at)
VALUES (
    $1, $2, statement_timestamp(), statement_timestamp() + make_interval(secs => $3),
    statement_timestamp() + make_interval(secs => $4)
)
"""

PURGE = "DELETE FROM signing_key WHERE expires_at <= clock_timestamp() RETURNING TRUE"

# Ends with the transaction. The number stands for this table and for nothing else.
LOCK = "SELECT pg_advisory_xact_lock(5291700316420715593)"


async def lock(conn: asyncpg.Connection) -> None:
    """Be the only one who makes keys, within the caller's database transaction."""
    await conn.execute(LOCK)


async def live(conn: asyncpg.Connection) -> list[SealedKey]:
    """All keys that have not expired; who retires first comes first."""
    return [SealedKey(*row) for row in await conn.fetch(LIVE)]


async def insert(
    conn: asyncpg.Connection,
    kid: str,
    private_key: bytes,
    *,
    signs_seconds: float,
    verifies_seconds: float,
) -> None:
    """A new key; both times from now."""
    await conn.execute(INSERT, kid, private_key, signs_seconds, verifies_seconds)


async def purge(conn: asyncpg.Connection) -> int:
    """Forget keys that nothing verifies with any more; how many."""
    return len(await conn.fetch(PURGE))
