"""Login **sessions**: families of refresh tokens, rotated at every use.

Invariant: a token is good while its session is not revoked, its login is Active and it is not
expired; once rotated it is good for GRACE_SECONDS more (browsers refresh in parallel, D19).
Using it after that means that two people hold it, and revokes the whole family. A session is
opened and revoked under the lock of its login's row, so that none is opened with what a password
change, a sign-out or a block has just made void.
Real time, not business time: a sandbox clock logs nobody out.
"""

import logging
import uuid

import asyncpg
import msgspec

from earnest.domain.party import Role
from earnest.errors import Conflict, InvalidToken
from earnest.ids import PublicId
from earnest.store.accounts import refuse_blocked

log = logging.getLogger(__name__)

GRACE_SECONDS = 30


class Rotated(msgspec.Struct, frozen=True):
    """The owner of a session, the generation of tokens that is good, and the id of the token
    that follows."""

    party: PublicId
    role: Role
    token_generation: int
    token_id: str


OPEN = """
WITH allowed AS (
    SELECT party_id FROM login
    WHERE party_id = $2 AND token_generation = $5 AND status = 'Active'
    FOR SHARE
),
opened AS (
    INSERT INTO session (id, party_id) SELECT $1, party_id FROM allowed RETURNING id
)
INSERT INTO refresh_token (id, session_id, expires_at)
SELECT $3, id, now() + make_interval(secs => $4) FROM opened
RETURNING TRUE
"""

# Both rows are locked: a rotation waits for a revocation and the other way round.
FIND = """
SELECT
    t.session_id,
    s.party_id,
    s.revoked_at IS NOT NULL AS is_revoked,
    t.expires_at <= now() AS is_expired,
    coalesce(t.rotated_at < now() - make_interval(secs => $2), FALSE) AS is_reused,
    l.status,
    l.role,
    l.token_generation,
    p.public_id AS party
FROM refresh_token AS t
INNER JOIN session AS s ON t.session_id = s.id
INNER JOIN login AS l ON s.party_id = l.party_id
INNER JOIN party AS p ON l.party_id = p.id
WHERE t.id = $1
FOR UPDATE OF t, s
"""

ROTATE = """
WITH rotated AS (
    UPDATE refresh_token SET rotated_at = coalesce(rotated_at, now()) WHERE id = $1
    RETURNING session_id
)
INSERT INTO refresh_token (id, session_id, expires_at)
SELECT $2, session_id, now() + make_interval(secs => $3) FROM rotated
"""

REVOKE = """
UPDATE session SET revoked_at = now(), revoked_for = $2 WHERE id = $1 AND revoked_at IS NULL
"""

# Every session but the one of token $3.
REVOKE_ALL = """
UPDATE session SET revoked_at = now(), revoked_for = $2
WHERE party_id = $1 AND revoked_at IS NULL
AND id IS DISTINCT FROM (SELECT session_id FROM refresh_token WHERE id = $3)
"""

# The login first: whoever else changes it waits there, before any session is locked.
LOCK_LOGIN = "SELECT FROM login WHERE party_id = $1 FOR NO KEY UPDATE"

# Access tokens of the generation before are refused from now on.
NEXT_GENERATION = "UPDATE login SET token_generation = token_generation + 1 WHERE party_id = $1"

REVOKE_BY_TOKEN = """
UPDATE session SET revoked_at = now(), revoked_for = $2
WHERE revoked_at IS NULL AND id = (SELECT session_id FROM refresh_token WHERE id = $1)
"""

ALIVE = """
SELECT l.token_generation
FROM refresh_token AS t
INNER JOIN session AS s ON t.session_id = s.id
INNER JOIN login AS l ON s.party_id = l.party_id
WHERE t.id = $1 AND s.revoked_at IS NULL AND t.expires_at > now() AND l.status = 'Active'
AND (t.rotated_at IS NULL OR t.rotated_at >= now() - make_interval(secs => $2))
"""

PURGE = "DELETE FROM refresh_token WHERE expires_at < now() - INTERVAL '1 day'"
PURGE_EMPTY = """
DELETE FROM session
WHERE created_at < now() - INTERVAL '1 day'
AND NOT EXISTS (SELECT 1 FROM refresh_token WHERE refresh_token.session_id = session.id)
"""


async def open_session(
    conn: asyncpg.Connection, party_key: int, token_generation: int, refresh_seconds: int
) -> str:
    """A new session; the id of its first refresh token.

    `token_generation` is that of the login when its password was read. Raises Conflict when it
    was signed out everywhere, changed its password or was blocked since then.
    """
    token_id = uuid.uuid4()
    opened = await conn.fetchval(
        OPEN, uuid.uuid4(), party_key, token_id, refresh_seconds, token_generation
    )
    if opened is None:
        raise Conflict
    return token_id.hex


async def rotate(conn: asyncpg.Connection, token_id: str, refresh_seconds: int) -> Rotated:
    """Exchange a refresh token for its successor.

    Raises InvalidToken, also after it revoked the session of a token that was used again, and
    Forbidden when the owner is blocked.
    """
    async with conn.transaction():
        row = await conn.fetchrow(FIND, _uuid(token_id), GRACE_SECONDS)
        if row is None or row["is_revoked"] or row["is_expired"]:
            raise InvalidToken
        refuse_blocked(row["status"])
        if not row["is_reused"]:
            successor = uuid.uuid4()
            await conn.execute(ROTATE, _uuid(token_id), successor, refresh_seconds)
            return Rotated(
                PublicId(row["party"]), Role(row["role"]), row["token_generation"], successor.hex
            )
    # A thief may hold an access token of the family, too. The login is locked before the session,
    # as everywhere; a token that was used again stays one, whatever happens in between.
    async with conn.transaction():
        await conn.execute(NEXT_GENERATION, row["party_id"])
        await conn.execute(REVOKE, row["session_id"], "a refresh token was used again")
    log.warning("a refresh token was used again: its session is revoked")
    raise InvalidToken


async def revoke_all(conn: asyncpg.Connection, party_key: int, reason: str) -> None:
    """End every session of a login, within the caller's database transaction.

    Its access tokens are left alone: of a blocked login they open nothing, and work again on the
    next request after it was unblocked.
    """
    await conn.execute(LOCK_LOGIN, party_key)
    await conn.execute(REVOKE_ALL, party_key, reason, None)


async def sign_out_everywhere(
    conn: asyncpg.Connection, party_key: int, reason: str, but_token_id: str | None = None
) -> None:
    """End every session and every access token of a login, within the caller's transaction.

    The session of the refresh token `but_token_id` goes on; it gets new access tokens.
    """
    await conn.execute(NEXT_GENERATION, party_key)
    spared = None if but_token_id is None else _uuid(but_token_id)
    await conn.execute(REVOKE_ALL, party_key, reason, spared)


async def close(conn: asyncpg.Connection, token_id: str) -> None:
    """Log out: the session of this token ends, if it is still open."""
    await conn.execute(REVOKE_BY_TOKEN, _uuid(token_id), "logout")


async def generation(conn: asyncpg.Connection, token_id: str) -> int | None:
    """The generation of its owner's tokens while this one may name its owner, who must not be
    blocked; None afterwards, and once it has been exchanged for longer than the grace."""
    found: int | None = await conn.fetchval(ALIVE, _uuid(token_id), GRACE_SECONDS)
    return found


async def purge(conn: asyncpg.Connection) -> None:
    """Forget tokens that expired a day ago and the sessions that have none left."""
    await conn.execute(PURGE)
    await conn.execute(PURGE_EMPTY)


def _uuid(token_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(hex=token_id)
    except ValueError:
        raise InvalidToken from None
