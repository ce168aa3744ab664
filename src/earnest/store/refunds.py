"""Refunds to the source: which are due, and one with its contract and payment."""

from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.contract import Contract
from earnest.domain.party import Actor
from earnest.domain.payment import Payment
from earnest.domain.refund import Refund
from earnest.ids import PublicId, key_of
from earnest.store.accounts import Account
from earnest.store.contracts import NO_SCOPE, account_from, stored_from
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Stored
from earnest.store.rows import contract_from, payment_from, refund_from

LIST_MAX = 1_000


class FoundRefund(msgspec.Struct, frozen=True):
    """A refund with what it is of; `refund` is None for an unknown id."""

    refund: Refund | None
    contract: Contract | None
    payment: Payment | None
    caller: Account | None
    stored: Stored | None
    now: datetime


DUE = """
SELECT r.public_id FROM refund AS r
WHERE r.due_at <= business_now()
ORDER BY r.due_at
LIMIT $1
"""

LOAD = """
SELECT
    r AS refund, c AS contract, t.terms, p AS payment,
    l.status, l.token_generation, k.request_hash, k.status, k.reply, business_now()
FROM (VALUES (1)) AS one (row)
LEFT JOIN refund AS r ON r.id = $1 AND r.public_id = $2
LEFT JOIN contract AS c ON c.id = r.contract_id
LEFT JOIN contract_terms AS t ON t.contract_id = c.id
LEFT JOIN payment AS p ON p.id = r.payment_id
LEFT JOIN party AS who ON who.id = $3 AND who.public_id = $4
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $5
"""

LIST = """
SELECT r AS refund, c.number, b.name
FROM refund AS r
INNER JOIN contract AS c ON c.id = r.contract_id
INNER JOIN business AS b ON b.id = r.business_id
WHERE r.state = ANY($1::text[])
ORDER BY r.id DESC
LIMIT $2
"""


class Listed(msgspec.Struct, frozen=True):
    """A refund as operators see it."""

    refund: Refund
    contract_number: str
    business_name: str


async def due(conn: asyncpg.Connection, limit: int) -> list[PublicId]:
    """The refunds that the worker has to do something about, the longest due first."""
    return [row[0] for row in await conn.fetch(DUE, limit)]


async def load(
    pool: Pool, refund: PublicId, caller: Actor, once: Once | None = None
) -> FoundRefund:
    """One refund by its public id."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD,
            key_of(refund),
            refund,
            caller.key,
            caller.public_id,
            once.scope if once else NO_SCOPE,
        )
    assert row is not None
    return FoundRefund(
        refund=refund_from(row[0]) if row[0] is not None else None,
        contract=contract_from(row[1], row[2]) if row[1] is not None else None,
        payment=payment_from(row[3]) if row[3] is not None else None,
        caller=account_from(row, 4),
        stored=stored_from(row, 6),
        now=row[9],
    )


async def in_states(conn: asyncpg.Connection, *states: str) -> list[Listed]:
    """The refunds in one of `states`, newest first."""
    rows = await conn.fetch(LIST, states, LIST_MAX)
    return [Listed(refund_from(row[0]), row[1], row[2]) for row in rows]
