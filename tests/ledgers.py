"""A provider's books that say what a test has them say, and a ledger that is a day older.

core = Books([line("pi_1", 500, yesterday())]).before(core)
await take(core, captured("pi_1", 500))          money that nobody asked for: into suspense
await age(database)                              and all of that was yesterday
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from checkout_event import CheckoutEvent
from earnest.actions.core import Core
from earnest.actions.payments import take_event
from earnest.providers.base import (
    BalanceKind,
    BalanceTransaction,
    DisputeLine,
    DisputeState,
    ProviderDispute,
)
from earnest.providers.events import parse_event

AT_ONCE = 200

AGE = (
    "UPDATE transfer SET recorded_at = recorded_at - interval '1 day'",
    "UPDATE transfer SET occurred_at = occurred_at - interval '1 day'",
    "UPDATE event SET recorded_at = recorded_at - interval '1 day'",
    "UPDATE provider_event SET received_at = received_at - interval '1 day'",
    "UPDATE payment SET created_at = created_at - interval '1 day'",
)


def today() -> date:
    return datetime.now(UTC).date()


def yesterday() -> date:
    return today() - timedelta(days=1)


def noon(day: date) -> datetime:
    """Or midnight, in the morning of that day: what is still to come is in nobody's books."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return at if at < datetime.now(UTC) else at - timedelta(hours=12)


def line(
    source: str,
    amount_minor: int,
    day: date,
    *,
    fee_minor: int = 0,
    kind: BalanceKind = BalanceKind.CHARGE,
    currency: str = "INR",
    id_: str = "",
) -> BalanceTransaction:
    """A line of `day`, at noon."""
    at = noon(day)
    return BalanceTransaction(
        id_ or f"txn_{source}", kind, str(kind), amount_minor, fee_minor, currency, source, at, at
    )


def captured(source: str, amount_minor: int) -> CheckoutEvent:
    """The event of a payment that nobody asked for."""
    return CheckoutEvent(f"cs_of_{source}", amount_minor, "inr", {}, payment_id=source)


async def take(core: Core, *events: CheckoutEvent) -> None:
    """Have them told, many at once."""
    bodies = [event.body for event in events]
    for at in range(0, len(bodies), AT_ONCE):
        chunk = bodies[at : at + AT_ONCE]
        await asyncio.gather(*(take_event(core, parse_event(body), body) for body in chunk))


async def age(database: Any) -> None:
    """What the ledger has was recorded a day earlier. For books without contracts: the hashes of
    their histories say when they were written."""
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        async with conn.transaction():
            await conn.execute("SET LOCAL session_replication_role = replica")
            for statement in AGE:
                await conn.execute(statement)
    finally:
        await conn.close()


def disputed(source: str, amount_minor: int, payment_id: str) -> ProviderDispute:
    """A dispute that took `amount_minor` with the line txn_`source`."""
    taken = DisputeLine(f"txn_{source}", -amount_minor, 0)
    return ProviderDispute(
        source, payment_id, DisputeState.OPEN, amount_minor, "INR", "fraudulent", None, (taken,)
    )


class Books(msgspec.Struct):
    """A provider that has these lines; `failing` is raised after half of them, once. What it says
    of `disputes` by their ids, or raises; `asked_about` are those that it was asked about."""

    lines: list[BalanceTransaction]
    failing: Exception | None = None
    asked: int = 0
    disputes: dict[str, ProviderDispute | Exception] = {}
    asked_about: list[str] = []

    async def balance_transactions(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[BalanceTransaction]:
        self.asked += 1
        told = [one for one in self.lines if since <= one.created_at < until]
        for at, one in enumerate(told):
            if self.failing is not None and at >= len(told) // 2:
                failing, self.failing = self.failing, None
                raise failing
            yield one

    async def find_dispute(self, dispute_id: str) -> ProviderDispute | None:
        self.asked_about.append(dispute_id)
        found = self.disputes.get(dispute_id)
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        """Nothing is open."""

    def before(self, core: Core) -> Core:
        """The core whose provider has these books."""
        return msgspec.structs.replace(core, provider=self)


async def fetch(core: Core, sql: str, *arguments: Any) -> Sequence[tuple[Any, ...]]:
    async with core.pool.connection() as conn:
        return [tuple(row) for row in await conn.fetch(sql, *arguments)]
