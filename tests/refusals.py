"""What every refusal has in common: its shape, and that it changed nothing.

text = await refused(cast, cast.bob.post(...), 400)
await only_for(cast, lambda who: who.delete(...), cast.alice, cast.bob)
await refuses_ids(cast, lambda id: cast.alice.delete(...), life.contract)
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from digest import digest
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from web import UNKNOWN_ID, Caller, Cast, caller, problem

SET_STATUS = "UPDATE login SET status = $2 WHERE party_id = $1"

MALFORMED_IDS = (
    "xyz",
    "6" * 23,
    "6" * 25,
    "g" * 24,
    "%00",
    "6" * 24 + "%0A",
    "%20" + "6" * 24,
    "%EF%BC%96" * 24,  # full-width digits
    "[object%20Object]",
    "null",
    "undefined",
    "CON48120377",
)


async def refused(
    cast: Cast, asked: Awaitable[httpx.Response], status: int, text: str | None = None
) -> str:
    """The text of a refusal with this status (and this text), after which nothing has changed."""
    pool: Pool = cast.app.state.pool
    before = await digest(pool)
    body = problem(await asked, status)
    assert await digest(pool) == before
    if text is not None:
        assert body["error"] == text
    return str(body["error"])


async def only_for(
    cast: Cast, ask: Callable[[Caller], Awaitable[httpx.Response]], *allowed: Caller
) -> None:
    """Nobody but `allowed` may ask this, nor they once they are blocked."""
    everybody = (cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
    for somebody in everybody:
        if somebody not in allowed:
            await refused(cast, ask(somebody), 403)
    await refused(cast, ask(cast.anybody), 401, "Access denied. No token provided.")
    async with caller(cast.app, Authorization="Bearer e30.e30.e30") as forger:
        await refused(cast, ask(forger), 401, "Invalid authentication token.")
    for somebody in allowed:
        async with blocked(cast, somebody):
            await refused(cast, ask(somebody), 403)


async def refuses_ids(
    cast: Cast, ask: Callable[[str], Awaitable[httpx.Response]], known: str
) -> None:
    """`ask`, given anything but `known` as the id in its path, is 400 or 404."""
    for malformed in MALFORMED_IDS:
        await refused(cast, ask(malformed), 400)
    for unknown in (UNKNOWN_ID, "f" * 24, _guessed(known)):
        await refused(cast, ask(unknown), 404)
    for wandering in ("..%2Fx", "%2e%2e%2Fx", "..%5Cx"):
        answer = await ask(wandering)
        problem(answer, 404 if answer.status_code == 404 else 400)


def _guessed(known: str) -> str:
    """The id with the right time and key, and another salt."""
    return known[:-1] + ("0" if known[-1] != "0" else "1")


@contextlib.asynccontextmanager
async def blocked(cast: Cast, somebody: Caller) -> AsyncIterator[None]:
    """While an operator has blocked `somebody`."""
    pool: Pool = cast.app.state.pool
    key = key_of(PublicId(somebody.id))
    async with pool.connection() as conn:
        await conn.execute(SET_STATUS, key, "Blocked")
    yield
    async with pool.connection() as conn:
        await conn.execute(SET_STATUS, key, "Active")
