"""The sandbox provider's **disputes**, and what its books say about our balance.

A payer's bank is played by `dispute`. Invariant: opening a dispute takes what is left of the
payment from our balance, winning it gives all of that back, and each happens at most once.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from earnest.errors import Conflict, InvalidField, NotFound, Refused
from earnest.providers.base import (
    BalanceKind,
    BalanceTransaction,
    DisputeLine,
    DisputeState,
    ProviderDispute,
)
from earnest.providers.sandbox_memory import Connection, SandboxMemory, new_id, tell
from earnest.providers.strict import storable

EVIDENCE_SECONDS = 7 * 24 * 3600
PAGE_LINES = 500
REASON = "fraudulent"

LOCK_SESSION = """
SELECT state, payment_id, amount_minor, currency
FROM sandbox.session
WHERE id = $1 OR payment_id = $1
FOR UPDATE
"""

REFUNDED = """
SELECT coalesce(sum(amount_minor), 0)::bigint FROM sandbox.refund WHERE payment_id = $1
"""

INSERT_DISPUTE = """
INSERT INTO sandbox.dispute (
    id, payment_id, amount_minor, currency, state, evidence_due_at, created_at
) VALUES ($1, $2, $3, $4, 'open', $5, $6)
"""

FIND_DISPUTE = """
SELECT id, payment_id, amount_minor, currency, state, evidence_due_at
FROM sandbox.dispute
WHERE id = $1
"""

FIND_BY_PAYMENT = """
SELECT id, payment_id, amount_minor, currency, state, evidence_due_at
FROM sandbox.dispute
WHERE payment_id = $1
"""

STEP_DISPUTE = "UPDATE sandbox.dispute SET state = $2 WHERE id = $1"

INSERT_LINE = """
INSERT INTO sandbox.dispute_line (id, dispute_id, amount_minor, currency) VALUES ($1, $2, $3, $4)
"""

FIND_LINES = """
SELECT id, amount_minor FROM sandbox.dispute_line WHERE dispute_id = $1 ORDER BY position
"""

# After a line (its time, its id): the next PAGE_LINES ones.
BALANCE_LINES = """
SELECT line.id, line.type, line.amount_minor, line.currency, line.source_id, line.at
FROM (
    SELECT
        'txn_' || s.payment_id AS id, 'charge' AS type, s.amount_minor, s.currency,
        s.payment_id AS source_id, s.paid_at AS at
    FROM sandbox.session AS s
    WHERE s.state = 'paid'
    UNION ALL
    SELECT 'txn_' || r.id, 'refund', -r.amount_minor, r.currency, r.id, r.recorded_at
    FROM sandbox.refund AS r
    UNION ALL
    SELECT 'txn_' || t.id, 'transfer', -t.amount_minor, t.currency, t.id, t.recorded_at
    FROM sandbox.transfer AS t
    UNION ALL
    SELECT 'txn_' || b.id, 'transfer_refund', t.amount_minor, t.currency, b.id, b.recorded_at
    FROM sandbox.transfer_return AS b
    INNER JOIN sandbox.transfer AS t ON t.id = b.transfer_id
    UNION ALL
    SELECT d.id, 'adjustment', d.amount_minor, d.currency, d.dispute_id, d.recorded_at
    FROM sandbox.dispute_line AS d
) AS line
WHERE line.at >= $1 AND line.at < $2 AND (line.at, line.id) > ($3, $4)
ORDER BY line.at, line.id
LIMIT $5
"""

_KINDS = {
    "charge": BalanceKind.CHARGE,
    "refund": BalanceKind.REFUND,
    "transfer": BalanceKind.TRANSFER,
    "transfer_refund": BalanceKind.TRANSFER_RETURNED,
}
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_STATES = {"opened": DisputeState.OPEN, "won": DisputeState.WON, "lost": DisputeState.LOST}


class SandboxBooks(SandboxMemory):
    """The part of the provider that has disputes and books."""

    async def find_dispute(self, dispute_id: str) -> ProviderDispute | None:
        """See `Provider.find_dispute`."""
        if not storable(dispute_id):
            return None
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(FIND_DISPUTE, dispute_id)
            return None if row is None else await _dispute(connection, row)

    async def dispute(self, paid_id: str, outcome: str) -> ProviderDispute:
        """A payer's bank disputes a payment, or the one of a session, and later decides.

        The same outcome again changes nothing. Raises InvalidField for another outcome than opened,
        won or lost, NotFound, Refused for what is not paid or was given back, and Conflict for a
        decision without a dispute, or after another one.
        """
        wanted = _STATES.get(outcome)
        if wanted is None:
            raise InvalidField("outcome", "must be opened, won or lost")
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            session = None
            if storable(paid_id):
                session = await connection.fetchrow(LOCK_SESSION, paid_id)
            if session is None:
                raise NotFound("There is no such checkout session.")
            if session["state"] != "paid":
                raise Refused("Only what was paid can be disputed.")
            row = await connection.fetchrow(FIND_BY_PAYMENT, session["payment_id"])
            if wanted is DisputeState.OPEN:
                row = row or await _open(connection, session, now)
            elif row is None:
                raise Conflict("There is no dispute of this payment.")
            elif row["state"] == DisputeState.OPEN:
                row = await _close(connection, row, wanted, now)
            elif row["state"] != wanted:
                raise Conflict(f"This dispute is {row['state']}: it cannot become {wanted}.")
            return await _dispute(connection, row)

    async def balance_transactions(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[BalanceTransaction]:
        """See `Provider.balance_transactions`; oldest first, and nothing has a fee."""
        at, after = _LONG_AGO, ""
        while True:
            async with self._pool.connection() as connection:
                rows = await connection.fetch(BALANCE_LINES, since, until, at, after, PAGE_LINES)
            for row in rows:
                yield _line(row)
            if len(rows) < PAGE_LINES:
                return
            at, after = rows[-1]["at"], rows[-1]["id"]


async def _open(connection: Connection, session: asyncpg.Record, now: datetime) -> asyncpg.Record:
    payment_id, currency = session["payment_id"], session["currency"]
    left_minor = session["amount_minor"] - await connection.fetchval(REFUNDED, payment_id)
    if left_minor <= 0:
        raise Refused("All of this payment was given back.")
    dispute_id = new_id("du")
    due_at = datetime.now(UTC) + timedelta(seconds=EVIDENCE_SECONDS)
    await connection.execute(
        INSERT_DISPUTE, dispute_id, payment_id, left_minor, currency, due_at, now
    )
    await connection.execute(INSERT_LINE, new_id("txn"), dispute_id, -left_minor, currency)
    row = await connection.fetchrow(FIND_DISPUTE, dispute_id)
    assert row is not None
    await tell(connection, "charge.dispute.created", _as_stripe(row, now), now)
    await tell(connection, "charge.dispute.funds_withdrawn", _as_stripe(row, now), now)
    return row


async def _close(
    connection: Connection, row: asyncpg.Record, state: DisputeState, now: datetime
) -> asyncpg.Record:
    await connection.execute(STEP_DISPUTE, row["id"], state)
    closed = await connection.fetchrow(FIND_DISPUTE, row["id"])
    assert closed is not None
    await tell(connection, "charge.dispute.closed", _as_stripe(closed, now), now)
    if state is DisputeState.WON:
        await connection.execute(
            INSERT_LINE, new_id("txn"), row["id"], row["amount_minor"], row["currency"]
        )
        await tell(connection, "charge.dispute.funds_reinstated", _as_stripe(closed, now), now)
    return closed


async def _dispute(connection: Connection, row: asyncpg.Record) -> ProviderDispute:
    lines = await connection.fetch(FIND_LINES, row["id"])
    state = DisputeState(row["state"])
    return ProviderDispute(
        id=row["id"],
        payment_id=row["payment_id"],
        state=state,
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reason=REASON,
        evidence_due_at=row["evidence_due_at"] if state is DisputeState.OPEN else None,
        lines=tuple(DisputeLine(line["id"], line["amount_minor"], 0) for line in lines),
    )


def _line(row: asyncpg.Record) -> BalanceTransaction:
    returned = BalanceKind.CHARGEBACK_RETURNED
    adjusted = BalanceKind.CHARGEBACK if row["amount_minor"] < 0 else returned
    return BalanceTransaction(
        id=row["id"],
        kind=_KINDS.get(row["type"], adjusted),
        type=row["type"],
        amount_minor=row["amount_minor"],
        fee_minor=0,
        currency=row["currency"],
        source_id=row["source_id"],
        created_at=row["at"],
        available_at=row["at"],
    )


def _as_stripe(row: asyncpg.Record, now: datetime) -> dict[str, Any]:
    statuses = {DisputeState.OPEN: "needs_response"}
    return {
        "id": row["id"],
        "object": "dispute",
        "amount": row["amount_minor"],
        "created": int(now.timestamp()),
        "currency": row["currency"].lower(),
        "evidence_details": {"due_by": int(row["evidence_due_at"].timestamp())},
        "livemode": False,
        "metadata": {},
        "payment_intent": row["payment_id"],
        "reason": REASON,
        "status": statuses.get(row["state"], row["state"]),
    }
