"""**Users**, as operators see them: lists of one role, blocked and unblocked.

Invariant: a change of status comes with its event (`user.blocked`, `user.unblocked`, subject
`party:PUBLIC_ID`) in the same database transaction; a blocked login has no open session. Whoever
blocks an admin is an active admin at that moment and holds their own login locked, so that
however many admins block each other at once, one is left.
"""

from typing import Literal

import asyncpg
import msgspec

from earnest.domain.audit import canonical
from earnest.domain.party import Actor, Role
from earnest.domain.people import CannotBlockYourself, User, UserNotFound
from earnest.ids import PublicId, key_of
from earnest.store import accounts, sessions
from earnest.store.contracts import Page
from earnest.store.jobs import literal_pattern

Status = Literal["Active", "Blocked"]
EVENTS: dict[Status, str] = {"Active": "user.unblocked", "Blocked": "user.blocked"}

COUNT_OF_ROLE = "SELECT count(*) FROM login WHERE role = $1"

OF_ROLE = """
SELECT
    p.id AS key,
    p.public_id,
    l.role,
    l.status,
    p.name,
    p.email,
    p.picture,
    l.created_at,
    l.updated_at
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.role = $1
ORDER BY l.party_id DESC
LIMIT $2 OFFSET $3
"""

# A search reads every name, so it counts what it finds on the way.
SEARCH = """
SELECT
    p.id AS key,
    p.public_id,
    l.role,
    l.status,
    p.name,
    p.email,
    p.picture,
    l.created_at,
    l.updated_at,
    count(*) OVER () AS total
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.role = $1 AND (p.name ILIKE $4 OR p.email ILIKE $4)
ORDER BY l.party_id DESC
LIMIT $2 OFFSET $3
"""

# For a page after the last one, where SEARCH returns no row to read the count from.
COUNT_SEARCHED = """
SELECT count(*) FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.role = $1 AND (p.name ILIKE $2 OR p.email ILIKE $2)
"""

# In the order of their keys, so that two who lock each other do not wait for each other.
LOCK = """
SELECT
    p.id AS key,
    p.public_id,
    l.role,
    l.status,
    p.name,
    p.email,
    p.picture,
    l.created_at,
    l.updated_at
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.party_id = ANY($1::bigint [])
ORDER BY l.party_id
FOR NO KEY UPDATE OF l
"""

SET_STATUS = """
UPDATE login SET status = $2, updated_at = business_now() WHERE party_id = $1
RETURNING updated_at
"""

FIND = """
SELECT
    p.id AS key,
    p.public_id,
    l.role,
    l.status,
    p.name,
    p.email,
    p.picture,
    l.created_at,
    l.updated_at
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.party_id = $1 AND p.public_id = $2
"""


class Users(msgspec.Struct, frozen=True):
    """Some users of `total`."""

    users: list[User]
    total: int


async def of_role(conn: asyncpg.Connection, role: Role, search: str, page: Page) -> Users:
    """Users of one role, newest first. `search` is literal text in name or address, "" finds
    all."""
    if not search:
        total = await conn.fetchval(COUNT_OF_ROLE, role)
        rows = await conn.fetch(OF_ROLE, role, page.limit, page.offset)
        return Users([_user(row) for row in rows], total)
    pattern = literal_pattern(search)
    rows = await conn.fetch(SEARCH, role, page.limit, page.offset, pattern)
    if rows:
        return Users([_user(row) for row in rows], rows[0]["total"])
    total = await conn.fetchval(COUNT_SEARCHED, role, pattern) if page.offset else 0
    return Users([], total)


async def get(conn: asyncpg.Connection, user: PublicId) -> User:
    """Raises UserNotFound."""
    row = await conn.fetchrow(FIND, key_of(user), user)
    if row is None:
        raise UserNotFound
    return _user(row)


async def set_status(
    conn: asyncpg.Connection, admin: Actor, role: Role, user: PublicId, status: Status
) -> User:
    """Block or unblock a user of `role`, within the caller's database transaction.

    Who has that status already keeps it, and nothing is written. Raises UserNotFound, also for a
    user of another role; CannotBlockYourself; Forbidden for an admin who was blocked meanwhile.
    """
    wanted = {key_of(user)} | ({admin.key} if role is Role.ADMIN else set())
    locked = {one.key: one for one in map(_user, await conn.fetch(LOCK, list(wanted)))}
    found = locked.get(key_of(user))
    if found is None or found.public_id != user or found.role is not role:
        raise UserNotFound
    if role is Role.ADMIN:
        accounts.refuse_blocked(locked[admin.key].status)
        if status == "Blocked" and found.key == admin.key:
            raise CannotBlockYourself
    if found.status == status:
        return found
    at = await conn.fetchval(SET_STATUS, found.key, status)
    await conn.execute(
        accounts.INSERT_EVENT,
        f"party:{user}",
        EVENTS[status],
        admin.name,
        at,
        canonical({"role": role}),
    )
    if status == "Blocked":
        await sessions.revoke_all(conn, found.key, "blocked")
    return msgspec.structs.replace(found, status=status, updated_at=at)


def _user(row: asyncpg.Record) -> User:
    return msgspec.convert(dict(row), User)
