"""How an action runs: load, decide, render, commit; and again when somebody was faster.

Every action that moves money or changes a contract goes through `carry_out`. Nothing but the
load and the commit waits for anything, so no provider is called in between, and the reply that
leaves is the one that was committed.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

import asyncpg
import msgspec

from earnest.domain.change import Change
from earnest.domain.party import Actor, Role
from earnest.errors import Conflict, OutcomeUnknown
from earnest.ids import Ids
from earnest.ledger.movements import expand
from earnest.providers.base import Provider
from earnest.sealing import Sealer
from earnest.store import idempotency
from earnest.store.accounts import Account, require_active
from earnest.store.captures import CaptureLoads
from earnest.store.commit import Commit, Door
from earnest.store.contracts import Loads
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Reply, Stored, replay
from earnest.store.keys import Keys
from earnest.store.partners import PartnerLoads

ATTEMPTS_MAX = 12
ANY_ACTION = (Conflict, OutcomeUnknown)
"""What every action may come to, whatever it does: others were faster every time, or the
connection broke."""


class Core(msgspec.Struct, frozen=True):
    """What actions work with; built once per process by `earnest.app`.

    `provider_account` is our account there (table provider_account), `livemode` its mode.
    """

    pool: Pool
    door: Door
    loads: Loads
    partner_loads: PartnerLoads
    capture_loads: CaptureLoads
    keys: Keys
    provider: Provider
    provider_name: str
    provider_account: int
    livemode: bool
    sealer: Sealer


class Found(Protocol):
    """What every load brings besides its subject."""

    @property
    def caller(self) -> Account | None: ...
    @property
    def stored(self) -> Stored | None: ...
    @property
    def now(self) -> datetime: ...


Loaded = TypeVar("Loaded", bound=Found)


async def carry_out(
    core: Core,
    actor: Actor,
    once: Once | None,
    load: Callable[[], Awaitable[Loaded]],
    decide: Callable[[Loaded, Ids], Change],
    render: Callable[[Loaded, Change], Reply],
) -> Reply:
    """Carry one action out, at most once per idempotency key, and return its reply.

    Raises what `decide` refuses; Unauthenticated or Forbidden for an account that is gone or
    blocked; IdempotencyKeyReused; Conflict when others were faster every time.
    """
    for _ in range(ATTEMPTS_MAX):
        found = await load()
        if actor.role is not Role.SYSTEM:
            require_active(found.caller, actor)
        if once is not None and found.stored is not None:
            return replay(found.stored, once)
        ids = await core.keys.ids()
        change = decide(found, ids)
        reply = render(found, change)
        if await core.door.commit(Commit(change, expand(change, ids), once, reply)):
            return reply
    raise Conflict


async def keep_reply(
    core: Core, once: Once | None, reply: Reply, sealer: Sealer | None = None
) -> Reply:
    """`reply`, which needed no commit, kept under the caller's key all the same; with a `sealer` so
    that nobody reads it in the database."""
    if once is None:
        return reply
    async with core.pool.connection() as conn:
        try:
            await idempotency.keep(conn, once, reply, sealer=sealer)
        except asyncpg.UniqueViolationError:
            stored = await idempotency.find(conn, once, sealer)
            if stored is None:
                raise Conflict from None
            return stored
    return reply
