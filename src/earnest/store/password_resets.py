"""**Resets**: a password set anew by whoever reads the mail of the account's stored address.

Invariant: an address has one token at most, used once at most, gone when its account's password
changes. Only its hash is kept. Business time, as all codes and links.
"""

import asyncpg
import msgspec

from earnest.store.accounts import Login

TOKEN_SECONDS = 15 * 60

ASK = """
INSERT INTO password_reset (email_canonical, token_hash, expires_at)
VALUES ($1, $2, business_now() + make_interval(secs => $3))
ON CONFLICT (email_canonical) DO UPDATE SET
    token_hash = excluded.token_hash,
    expires_at = excluded.expires_at
"""

FIND = """
SELECT
    p.id AS key,
    p.public_id,
    l.role,
    l.status,
    l.token_generation,
    p.name,
    p.email,
    p.picture,
    l.password_hash
FROM password_reset AS r
INNER JOIN login AS l ON l.email_canonical = r.email_canonical
INNER JOIN party AS p ON l.party_id = p.id
WHERE r.token_hash = $1 AND r.expires_at > business_now()
"""

USE_UP = """
DELETE FROM password_reset WHERE token_hash = $1 AND expires_at > business_now() RETURNING TRUE
"""

SET_VOID = "DELETE FROM password_reset WHERE email_canonical = $1"

PURGE = "DELETE FROM password_reset WHERE expires_at < business_now()"


async def ask(conn: asyncpg.Connection, email_canonical: str, token_hash: bytes) -> None:
    """A token for this address, in place of the one before; whether it has an account or not."""
    await conn.execute(ASK, email_canonical, token_hash, TOKEN_SECONDS)


async def find(conn: asyncpg.Connection, token_hash: bytes) -> Login | None:
    """The account that this token is good for."""
    row = await conn.fetchrow(FIND, token_hash)
    return None if row is None else msgspec.convert(dict(row), Login)


async def use_up(conn: asyncpg.Connection, token_hash: bytes) -> bool:
    """Take the token away; False if it is no longer good or somebody else just did."""
    return await conn.fetchval(USE_UP, token_hash) is not None


async def set_void(conn: asyncpg.Connection, email_canonical: str) -> None:
    """The address's token, if there is one, is good no more."""
    await conn.execute(SET_VOID, email_canonical)


async def purge(conn: asyncpg.Connection) -> None:
    """Forget tokens that expired."""
    await conn.execute(PURGE)
