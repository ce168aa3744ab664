"""Refunds to the source: which are due, and one with its contract and payment."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from earnest.domain.contract import Contract
from earnest.domain.party import Actor
from earnest.domain.payment import Payment
from earnest.domain.refund import Refund
from earnest.ids import PublicId, key_of
from earnest.store.accounts import Account
from earnest.store.contracts import NO_SCOPE, Page, account_from, stored_from
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Stored
from earnest.store.rows import contract_from, payment_from, refund_from


class Origin(msgspec.Struct, frozen=True):
    """Whose contract a refund is of."""

    contract_number: str
    business_id: UUID
    business_name: str


class FoundRefund(msgspec.Struct, frozen=True):
    """A refund with what it is of; `refund` is None for an unknown id."""

    refund: Refund | None
    origin: Origin | None
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
    l.status, l.token_generation, k.request_hash, k.status, k.reply, business_now(),
    c.number, b.public_id, b.name
FROM (VALUES (1)) AS one (row)
LEFT JOIN refund AS r ON r.id = $1 AND r.public_id = $2
LEFT JOIN business AS b ON b.id = r.business_id
LEFT JOIN contract AS c ON c.id = r.contract_id
LEFT JOIN contract_terms AS t ON t.contract_id = c.id
LEFT JOIN payment AS p ON p.id = r.payment_id
LEFT JOIN party AS who ON who.id = $3 AND who.public_id = $4
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $5
"""

LIST = """
SELECT r AS refund, c.number, b.public_id, b.name
FROM refund AS r
INNER JOIN contract AS c ON c.id = r.contract_id
INNER JOIN business AS b ON b.id = r.business_id
WHERE r.state = ANY($1::text[])
ORDER BY r.id DESC
LIMIT $2 OFFSET $3
"""

COUNT = "SELECT count(*) FROM refund AS r WHERE r.state = ANY($1::text[])"


class Listed(msgspec.Struct, frozen=True):
    """Some refunds of `total`, as operators see them."""

    refunds: list[tuple[Refund, Origin]]
    total: int


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
        origin=Origin(row[10], row[11], row[12]) if row[0] is not None else None,
        contract=contract_from(row[1], row[2]) if row[1] is not None else None,
        payment=payment_from(row[3]) if row[3] is not None else None,
        caller=account_from(row, 4),
        stored=stored_from(row, 6),
        now=row[9],
    )


async def in_states(conn: asyncpg.Connection, states: Sequence[str], page: Page) -> Listed:
    """The refunds in one of `states`, newest first."""
    rows = await conn.fetch(LIST, states, page.limit, page.offset)
    found = [(refund_from(row[0]), Origin(row[1], row[2], row[3])) for row in rows]
    return Listed(found, await conn.fetchval(COUNT, states))
