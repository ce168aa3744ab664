"""Rate **limits** of our own: how often something may be tried, counted in the database.

A **limit** lets a few attempts through at once and then one every so many seconds (GCRA). A
**charge** is one attempt, counted for somebody: an account, an address, or both. Invariants: an
attempt is charged before it is made, so that a hundred at the same moment pass no more than one
after the other; the wait that a refusal tells is exact: whoever waits that long gets through,
unless somebody else was charged for meanwhile. Real time, not business time. An account that
does not exist is limited as one that does. What is kept are keyed hashes.
"""

import hmac
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from earnest.errors import EarnestError, TooMany
from earnest.store.db import Pool

KNOWN_DAYS = 90
PURGE_MAX = 1_000


class Limit(msgspec.Struct, frozen=True):
    """`burst` attempts at once, then one more every `per_seconds`.

    `counts` and `why` are for docs/reference/limits.md.
    """

    name: str
    burst: int
    per_seconds: int
    counts: str
    why: str


LOGIN = Limit(
    "login",
    5,
    60,
    "failed sign-ins and password changes of one account from one address",
    "Guessing one password. People mistype theirs less often; who signs in is not counted.",
)
LOGIN_ADDRESS = Limit(
    "login-address",
    100,
    10,
    "failed sign-ins and password changes from one address, whatever the account",
    "Trying stolen passwords of many accounts. A whole office behind one address fails less often.",
)
LOGIN_ACCOUNT = Limit(
    "login-account",
    100,
    36,
    "failed sign-ins and password changes of one account from addresses that are new to it",
    "Guessing from many addresses. Where somebody has signed in within 90 days this does not"
    " count, so nobody can lock the owner out.",
)
CODE = Limit(
    "code",
    10,
    10,
    "wrong codes for one account from one address",
    "A code has five tries in all; this spares the database the rest.",
)
CODE_ADDRESS = Limit(
    "code-address",
    100,
    10,
    "wrong codes from one address, whatever the account",
    "Five tries at each of many codes.",
)
LETTER = Limit(
    "letter",
    5,
    180,
    "letters with a code or a link asked for one e-mail address from one address",
    "Filling somebody's mailbox. A letter takes less than that to arrive.",
)
LETTER_ACCOUNT = Limit(
    "letter-account",
    10,
    90,
    "letters with a code or a link asked for one e-mail address from addresses that are new to it",
    "Filling somebody's mailbox from many addresses. No single one can use this up, and where"
    " somebody has signed in within 90 days it does not count: their letters come.",
)
LETTER_ADDRESS = Limit(
    "letter-address",
    300,
    2,
    "letters with a code or a link asked for from one address",
    "Using this server to send mail to many. A whole class may register at once.",
)
RESET = Limit(
    "reset",
    20,
    10,
    "passwords set anew with a token that is not good, from one address",
    "Guessing tokens is hopeless (256 bits); this spares the database the attempts.",
)
CLIENT = Limit(
    "client",
    100,
    10,
    "wrong secrets of one partner's client from one address",
    "Guessing a secret is hopeless (256 bits); this spares the database the attempts. Who knows"
    " theirs is not counted, even with as many processes starting at once.",
)
CLIENT_ADDRESS = Limit(
    "client-address",
    300,
    2,
    "wrong secrets from one address, whatever the client",
    "Looking for clients that exist.",
)
CLIENT_TOKEN = Limit(
    "client-token",
    1_000,
    1,
    "access tokens issued to one partner's client",
    "A token is good for a day, and signing one costs a millisecond. Asking for one before each"
    " request is slow, but does no harm up to this.",
)
IDENTITY = Limit(
    "identity",
    20,
    60,
    "people and bank accounts looked up for one member of a partner",
    "Trying out who has which national id or account. People mistype theirs less often.",
)
IDENTITY_CODE = Limit(
    "identity-code",
    5,
    600,
    "one-time codes sent to one member of a partner",
    "Guessing a code has five tries; this leaves few codes to guess, and spares a phone.",
)
LIMITS = (
    LOGIN,
    LOGIN_ADDRESS,
    LOGIN_ACCOUNT,
    CODE,
    CODE_ADDRESS,
    LETTER,
    LETTER_ACCOUNT,
    LETTER_ADDRESS,
    RESET,
    CLIENT,
    CLIENT_ADDRESS,
    CLIENT_TOKEN,
    IDENTITY,
    IDENTITY_CODE,
)


class Charge(msgspec.Struct, frozen=True):
    """One attempt under `limit`, counted for `whom`."""

    limit: Limit
    whom: tuple[str, ...]


CHARGE = "SELECT charge_limits($1, $2, $3)"

# In key order, as charging locks them.
GIVE_BACK = """
UPDATE rate_limit AS r SET forgotten_at = r.forgotten_at - make_interval(secs => c.seconds)
FROM (
    SELECT l.key, c.seconds
    FROM unnest($1::bytea[], $2::integer[]) AS c (key, seconds)
    INNER JOIN rate_limit AS l ON l.key = c.key
    ORDER BY l.key
    FOR UPDATE OF l
) AS c
WHERE r.key = c.key
"""

FORGIVE = "DELETE FROM rate_limit WHERE key = $1"

IS_KNOWN = """
SELECT EXISTS (
    SELECT FROM known_address
    WHERE key = $1 AND seen_at > clock_timestamp() - make_interval(days => $2)
)
"""

# Once a day is often enough: who signs in all the time writes nothing.
REMEMBER = """
INSERT INTO known_address (key, seen_at) VALUES ($1, clock_timestamp())
ON CONFLICT (key) DO UPDATE SET seen_at = excluded.seen_at
WHERE known_address.seen_at < excluded.seen_at - INTERVAL '1 day'
"""

PURGE = """
DELETE FROM rate_limit WHERE key IN (
    SELECT key FROM rate_limit WHERE forgotten_at < clock_timestamp()
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING TRUE
"""

PURGE_KNOWN = """
DELETE FROM known_address WHERE key IN (
    SELECT key FROM known_address
    WHERE seen_at < clock_timestamp() - make_interval(days => $2)
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING TRUE
"""


class Limits:
    """Charges attempts. `key` is secret and used for nothing else."""

    def __init__(self, pool: Pool, key: bytes) -> None:
        self._pool = pool
        self._key = key

    async def charge(self, *charges: Charge) -> None:
        """Count one attempt under each limit. Raises TooMany, and then none is counted."""
        async with self._pool.connection() as conn:
            wait_seconds = await conn.fetchval(
                CHARGE,
                self._keys(charges),
                [charge.limit.burst for charge in charges],
                [charge.limit.per_seconds for charge in charges],
            )
        if wait_seconds > 0:
            raise TooMany(math.ceil(wait_seconds))

    async def give_back(self, *charges: Charge) -> None:
        """As if these attempts had not been made."""
        async with self._pool.connection() as conn:
            await conn.execute(
                GIVE_BACK, self._keys(charges), [charge.limit.per_seconds for charge in charges]
            )

    @asynccontextmanager
    async def charged(self, *charges: Charge) -> AsyncIterator[None]:
        """Charge for what happens inside; given back if it raises.

        Somebody who hangs up in the middle is charged. Raises TooMany before anything happens.
        """
        await self.charge(*charges)
        try:
            yield
        except Exception:
            await self.give_back(*charges)
            raise

    @asynccontextmanager
    async def counting(
        self, failures: tuple[type[EarnestError], ...], *charges: Charge
    ) -> AsyncIterator[None]:
        """Charge for what happens inside; given back unless it ends in one of `failures`.

        As `charged` in all else.
        """
        await self.charge(*charges)
        try:
            yield
        except failures:
            raise
        except Exception:
            await self.give_back(*charges)
            raise
        await self.give_back(*charges)

    async def forgive(self, charge: Charge) -> None:
        """Forget every attempt of `charge.whom` under that limit."""
        async with self._pool.connection() as conn:
            await conn.execute(FORGIVE, self._hash(charge.limit.name, charge.whom))

    # -- addresses that an account is known by ------------------------------------------------

    async def is_known(self, account: str, address: str) -> bool:
        """Whether somebody signed in to `account` from `address` within KNOWN_DAYS."""
        async with self._pool.connection() as conn:
            known: bool = await conn.fetchval(IS_KNOWN, self._known(account, address), KNOWN_DAYS)
        return known

    async def remember(self, conn: asyncpg.Connection, account: str, address: str) -> None:
        """Somebody just signed in to `account` from `address`."""
        await conn.execute(REMEMBER, self._known(account, address))

    def _known(self, account: str, address: str) -> bytes:
        return self._hash("known", (account, address))

    def _keys(self, charges: Sequence[Charge]) -> list[bytes]:
        return [self._hash(charge.limit.name, charge.whom) for charge in charges]

    def _hash(self, name: str, whom: tuple[str, ...]) -> bytes:
        return hmac.digest(self._key, msgspec.json.encode((name, *whom)), "sha256")


async def purge(conn: asyncpg.Connection) -> int:
    """Forget PURGE_MAX rows that say nothing any more; how many."""
    rows = await conn.fetch(PURGE, PURGE_MAX)
    return len(rows) + len(await conn.fetch(PURGE_KNOWN, PURGE_MAX, KNOWN_DAYS))


def limits_reference() -> str:
    """All limits as a Markdown table, for docs/reference/limits.md."""
    rows = ["| limit | at once | then one every | counts | why |", "|---|---|---|---|---|"]
    rows += [
        f"| {limit.name} | {limit.burst} | {limit.per_seconds} s | {limit.counts} | {limit.why} |"
        for limit in LIMITS
    ]
    return "\n".join(rows) + "\n"
