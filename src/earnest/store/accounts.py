"""**Accounts**: who may sign in, and registrations that wait for their code.

Invariant: one login per canonical e-mail address (`login_email_unique`); a login is made from a
registration row, or by the operator, never from what a caller sends. No administrator without
an audit event (invariant 26). A code is compared at most TRIES_MAX times: a try is taken before
the comparison, in a statement of its own.
"""

import asyncpg
import msgspec

from earnest.domain.audit import canonical
from earnest.domain.business import MARKETPLACE
from earnest.domain.party import Actor, Role
from earnest.errors import Conflict, Forbidden, InvalidToken, Unauthenticated
from earnest.ids import PublicId
from earnest.store import keys

CODE_SECONDS = 5 * 60
TRIES_MAX = 5
ADMIN_CREATED = "admin.created"
SETUP = "setup"
"""The actor of what the operator does on the command line: nobody with an account."""


class Registration(msgspec.Struct, frozen=True):
    """Who wants an account. `role` is client or freelancer."""

    email: str
    email_canonical: str
    name: str
    role: Role
    password_hash: str
    code_hash: bytes


class Account(msgspec.Struct, frozen=True):
    """Where a login stands now: every load for a caller brings it."""

    status: str
    token_generation: int


class Login(msgspec.Struct, frozen=True):
    """An account, as the one who signs in needs it."""

    key: int
    public_id: PublicId
    role: Role
    status: str
    token_generation: int
    name: str
    email: str
    picture: str
    password_hash: str


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
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
WHERE l.email_canonical = $1
"""

FIND_PARTY = "SELECT public_id FROM party WHERE id = $1"

EXISTS = "SELECT EXISTS (SELECT 1 FROM login WHERE email_canonical = $1)"

# A second registration for the same address replaces the first, code and all.
REGISTER = """
INSERT INTO registration (
    email_canonical, email, name, role, password_hash, code_hash, code_expires_at, tries_left,
    created_at
) VALUES (
    $1, $2, $3, $4, $5, $6, business_now() + make_interval(secs => $7), $8, business_now()
)
ON CONFLICT (email_canonical) DO UPDATE SET
    email = excluded.email,
    name = excluded.name,
    role = excluded.role,
    password_hash = excluded.password_hash,
    code_hash = excluded.code_hash,
    code_expires_at = excluded.code_expires_at,
    tries_left = excluded.tries_left,
    created_at = excluded.created_at
"""

NEW_CODE = """
UPDATE registration SET
    code_hash = $2,
    code_expires_at = business_now() + make_interval(secs => $3),
    tries_left = $4
WHERE email_canonical = $1
RETURNING email
"""

TAKE_A_TRY = """
UPDATE registration SET tries_left = tries_left - 1
WHERE email_canonical = $1 AND tries_left > 0 AND code_expires_at > business_now()
RETURNING email, email_canonical, name, role, password_hash, code_hash
"""

USE_UP = "DELETE FROM registration WHERE email_canonical = $1 AND code_hash = $2 RETURNING 1"

GIVE_TRY_BACK = """
UPDATE registration SET tries_left = tries_left + 1
WHERE email_canonical = $1 AND code_hash = $2 AND tries_left < $3
"""

# The hash is compared: of two changes at once, the second was asked for with a password that is
# no longer the right one.
SET_PASSWORD = """
UPDATE login SET password_hash = $3, updated_at = business_now()
WHERE party_id = $1 AND password_hash = $2
RETURNING TRUE
"""

PURGE = "DELETE FROM registration WHERE created_at < business_now() - INTERVAL '1 day'"

INSERT_PARTY = """
INSERT INTO party (id, public_id, business_id, name, email, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""

INSERT_LOGIN = """
INSERT INTO login (party_id, role, email_canonical, password_hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
"""

# The only event of its commit, so its id is the commit's id; it belongs to no contract's chain.
INSERT_EVENT = """
WITH drawn AS (SELECT nextval('entry_key') AS id)
INSERT INTO event (
    id, commit_id, contract_id, seq, subject, type, actor, recorded_at, body, hash
)
SELECT drawn.id, drawn.id, NULL, NULL, $1, $2, $3, $4, $5, NULL FROM drawn
"""


def require_active(account: Account | None, actor: Actor) -> None:
    """Let `actor`, whose login is `account`, go on.

    Raises Unauthenticated for a login that is gone, Forbidden for one that is blocked, and
    InvalidToken for a token from before its owner signed out everywhere.
    """
    if account is None:
        raise Unauthenticated("User not found, try to signup")
    refuse_blocked(account.status)
    if account.token_generation != actor.token_generation:
        raise InvalidToken


def refuse_blocked(status: str) -> None:
    """Raises Forbidden unless `status` is Active."""
    if status != "Active":
        raise Forbidden("Your account is blocked")


async def find_party(conn: asyncpg.Connection, key: int) -> PublicId | None:
    """The public id of the party with this key."""
    found: PublicId | None = await conn.fetchval(FIND_PARTY, key)
    return found


async def find(conn: asyncpg.Connection, email_canonical: str) -> Login | None:
    """The account with this address."""
    row = await conn.fetchrow(FIND, email_canonical)
    return None if row is None else msgspec.convert(dict(row), Login)


async def exists(conn: asyncpg.Connection, email_canonical: str) -> bool:
    """Whether somebody has an account with this address."""
    found: bool = await conn.fetchval(EXISTS, email_canonical)
    return found


async def register(conn: asyncpg.Connection, wanted: Registration) -> None:
    """Remember `wanted` until its code is typed."""
    await conn.execute(
        REGISTER,
        wanted.email_canonical,
        wanted.email,
        wanted.name,
        wanted.role,
        wanted.password_hash,
        wanted.code_hash,
        CODE_SECONDS,
        TRIES_MAX,
    )


async def replace_code(
    conn: asyncpg.Connection, email_canonical: str, code_hash: bytes
) -> str | None:
    """A new code with new tries; the address to mail it to, None without a registration."""
    email: str | None = await conn.fetchval(
        NEW_CODE, email_canonical, code_hash, CODE_SECONDS, TRIES_MAX
    )
    return email


async def take_a_try(conn: asyncpg.Connection, email_canonical: str) -> Registration | None:
    """Use up one try of the code; None when it expired, is used up or never was."""
    row = await conn.fetchrow(TAKE_A_TRY, email_canonical)
    return None if row is None else msgspec.convert(dict(row), Registration)


async def use_up(conn: asyncpg.Connection, registration: Registration) -> bool:
    """Remove the registration that this code belongs to; False if somebody else just did."""
    found = await conn.fetchval(USE_UP, registration.email_canonical, registration.code_hash)
    return found is not None


async def give_try_back(conn: asyncpg.Connection, registration: Registration) -> None:
    """The try that `take_a_try` took did not come to anything."""
    await conn.execute(
        GIVE_TRY_BACK, registration.email_canonical, registration.code_hash, TRIES_MAX
    )


async def set_password(conn: asyncpg.Connection, login: Login, password_hash: str) -> bool:
    """Another password for `login`; False if it has changed since `login` was read."""
    return await conn.fetchval(SET_PASSWORD, login.key, login.password_hash, password_hash) is True


async def create(
    conn: asyncpg.Connection,
    *,
    name: str,
    email: str,
    email_canonical: str,
    role: Role,
    password_hash: str,
    made_by: str = SETUP,
) -> PublicId:
    """A party of the marketplace that can sign in, within the caller's database transaction.

    The audit trail tells of an administrator: event `admin.created` by `made_by` (the name of an
    admin as actor), whose subject is `party:PUBLIC_ID` and whose body is `{"email": ...}`. Raises
    Conflict for a taken address; then, as after any error, the caller rolls back and nothing of
    it stays.
    """
    fresh = await keys.draw(conn)
    try:
        await conn.execute(
            INSERT_PARTY, fresh.key, fresh.public_id, MARKETPLACE, name, email, fresh.at
        )
        await conn.execute(INSERT_LOGIN, fresh.key, role, email_canonical, password_hash, fresh.at)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "login_email_unique":
            raise Conflict("User already exist") from None
        raise
    if role == Role.ADMIN:
        subject, body = f"party:{fresh.public_id}", canonical({"email": email_canonical})
        await conn.execute(INSERT_EVENT, subject, ADMIN_CREATED, made_by, fresh.at, body)
    return fresh.public_id


async def purge(conn: asyncpg.Connection) -> None:
    """Forget registrations that nobody confirmed within a day."""
    await conn.execute(PURGE)
