"""Provider events made by hand, to say what a provider says and what a forger would.

    event = await told_of(cast, session)                the truth about a paid session
    event = await told_of(cast, session, amount_minor=1)     or anything else
    await tell(cast, event)                             signed, posted to /webhook

And what an event may move: `suspense_minor`, and `inbox`, which says what became of each.
"""

import itertools
import time
from typing import Any

import httpx
import msgspec

from earnest.ledger import accounts
from earnest.store import books
from earnest.store.db import Pool
from life import Life, post_event
from web import Cast

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"

SESSION = "SELECT amount_minor, currency, metadata FROM sandbox.session WHERE id = $1"
INBOX = "SELECT event_id, outcome FROM provider_event ORDER BY received_at, event_id"
SESSIONS = "SELECT id FROM sandbox.session ORDER BY created_at, id"

_numbers = itertools.count(1)


class CheckoutEvent(msgspec.Struct, frozen=True):
    """What an event says. `payment_id` is the provider's number of the captured money."""

    session: str
    amount_minor: int
    currency: str
    metadata: dict[str, str] | None
    type: str = COMPLETED
    payment_status: str = "paid"
    livemode: bool = False
    session_livemode: bool = False
    account: str | None = None
    id: str = msgspec.field(default_factory=lambda: f"evt_{next(_numbers):012d}")
    payment_id: str | None = msgspec.field(default_factory=lambda: f"pi_{next(_numbers):012d}")
    created: int = msgspec.field(default_factory=lambda: int(time.time()))

    def but(self, **other: Any) -> "CheckoutEvent":
        """The same with `other` words, under its own event id unless one is given."""
        other.setdefault("id", f"evt_{next(_numbers):012d}")
        return msgspec.structs.replace(self, **other)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self.id,
                "object": "event",
                "account": self.account,
                "created": self.created,
                "livemode": self.livemode,
                "type": self.type,
                "data": {
                    "object": {
                        "id": self.session,
                        "object": "checkout.session",
                        "amount_total": self.amount_minor,
                        "currency": self.currency,
                        "livemode": self.session_livemode,
                        "metadata": self.metadata,
                        "payment_intent": self.payment_id,
                        "payment_status": self.payment_status,
                    }
                },
            }
        )


async def told_of(cast: Cast, session: str, **other: Any) -> CheckoutEvent:
    """What the provider says once this session is paid, with `other` words."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        row = await conn.fetchrow(SESSION, session)
    assert row is not None
    truth = CheckoutEvent(
        session,
        row["amount_minor"],
        row["currency"].lower(),
        msgspec.json.decode(row["metadata"], type=dict[str, str]),
    )
    return msgspec.structs.replace(truth, **other)


async def opened(cast: Cast) -> tuple[Life, CheckoutEvent]:
    """A contract whose checkout is open, and the event that will say it is paid."""
    life = await Life.at(cast, "created")
    return life, await told_of(cast, await life.checkout())


async def tell(cast: Cast, event: CheckoutEvent) -> httpx.Response:
    """Post the event, signed as the provider signs; it must be taken."""
    answer = await post_event(cast, event.body)
    assert answer.status_code == 200, answer.text
    return answer


async def suspense_minor(cast: Cast, currency: str = "INR") -> int:
    """Captured money that belongs to no contract."""
    core = cast.app.state.core
    async with core.pool.connection() as conn:
        return await books.balance(conn, accounts.suspense(currency, core.provider_account))


async def cash_minor(cast: Cast, currency: str = "INR") -> int:
    """What the provider holds for us, as the events proved it."""
    core = cast.app.state.core
    async with core.pool.connection() as conn:
        return await books.balance(conn, accounts.provider_cash(currency, core.provider_account))


async def inbox(cast: Cast) -> dict[str, str]:
    """What each signed event led to, by its id."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        return {row["event_id"]: row["outcome"] for row in await conn.fetch(INBOX)}


async def sessions(cast: Cast) -> list[str]:
    """Every session that the provider was ever asked to open."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        return [row["id"] for row in await conn.fetch(SESSIONS)]


async def rows(cast: Cast, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        return [tuple(row) for row in await conn.fetch(sql)]


async def assert_unpaid(life: Life) -> None:
    """Nothing was booked, and the very event that was refused still works afterwards."""
    assert (await life.seen())["escrowPaid"] is False
    assert (await life.proof())["transfers"] == []
