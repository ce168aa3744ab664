"""Chargebacks: which are to be looked up, what stands around one, and their list."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.bearing import Exposure, Purse
from earnest.domain.chargeback import Chargeback
from earnest.domain.refund import Refund
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import wallet
from earnest.store.contracts import Page
from earnest.store.db import Pool
from earnest.store.rows import contract_from, payment_from, refund_from
from earnest.store.rows_out import chargeback_from


class FoundChargeback(msgspec.Struct, frozen=True):
    """A chargeback with who can bear its loss; both None for an unknown id."""

    chargeback: Chargeback | None
    exposure: Exposure | None
    now: datetime


class Listed(msgspec.Struct, frozen=True):
    """Some chargebacks of `total`, newest first; names: (business, contract number)."""

    chargebacks: list[Chargeback]
    names: list[tuple[str, str | None]]
    total: int


DUE = """
SELECT c.public_id FROM chargeback AS c
WHERE c.due_at <= business_now()
ORDER BY c.due_at
LIMIT $1
"""

LOAD = """
SELECT
    b AS chargeback, p AS payment, c AS contract, t.terms,
    coalesce(o.open, FALSE), coalesce(o.lost_minor, 0)::bigint, coalesce(o.by_buyer, 0)::bigint,
    business_now()
FROM (VALUES (1)) AS one (row)
LEFT JOIN chargeback AS b ON b.id = $1 AND b.public_id = $2
LEFT JOIN payment AS p ON p.id = b.payment_id
-- One that it was bound to, but that others paid for, has nothing to do with it.
LEFT JOIN contract AS c ON c.id = p.contract_id AND p.state = 'captured'
LEFT JOIN contract_terms AS t ON t.contract_id = c.id
LEFT JOIN LATERAL (
    SELECT
        bool_or(a.id <> b.id AND a.state IN ('noticed', 'warning', 'open', 'review')) AS open,
        sum(a.amount_minor) FILTER (WHERE a.id <> b.id AND a.state = 'lost') AS lost_minor,
        sum((
            SELECT -sum((l.value ->> 'buyer_minor')::bigint)
            FROM jsonb_array_elements(a.lines::jsonb) AS l (value)
        )) AS by_buyer
    FROM chargeback AS a
    WHERE a.payment_id = b.payment_id
) AS o ON TRUE
"""

# Kind 2 is a wallet, 1 what is held: what came from there to the seller is what the seller got.
SELLER = """
SELECT
    coalesce((SELECT w.amount_minor FROM balance AS w WHERE w.account = $1), 0)::bigint,
    coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t
        WHERE t.credit = $1 AND t.contract_id = $2 AND t.debit >> 57 IN (1, 3)
    ), 0)::bigint - coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t
        WHERE t.debit = $1 AND t.contract_id = $2 AND t.movement = 'charged_back'
    ), 0)::bigint
"""

# To the wallet, out of the contract or out of suspense (kind 12).
BUYER = """
SELECT
    coalesce((SELECT w.amount_minor FROM balance AS w WHERE w.account = $1), 0)::bigint,
    coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t
        WHERE t.credit = $1 AND (
            (t.contract_id = $2 AND t.debit >> 57 = 1)
            OR (t.payment_id = $3 AND t.debit >> 57 = 12)
        )
    ), 0)::bigint
"""

WAITING_REFUNDS = """
SELECT r AS refund FROM refund AS r
WHERE r.contract_id = $1 AND r.state NOT IN ('done', 'declined', 'returned')
ORDER BY r.id
"""

LIST = """
SELECT b AS chargeback, s.name, c.number
FROM chargeback AS b
INNER JOIN business AS s ON s.id = b.business_id
LEFT JOIN contract AS c ON c.id = b.contract_id
WHERE b.state = ANY($1::text[])
ORDER BY b.id DESC
LIMIT $2 OFFSET $3
"""

COUNT = "SELECT count(*) FROM chargeback AS b WHERE b.state = ANY($1::text[])"


async def due(conn: asyncpg.Connection, limit: int) -> list[PublicId]:
    """The chargebacks that the provider is to be asked about, the longest due first."""
    return [row[0] for row in await conn.fetch(DUE, limit)]


async def load(pool: Pool, chargeback: PublicId) -> FoundChargeback:
    """One chargeback by its public id, with its payment's contract and seller as they are now."""
    async with (
        pool.connection() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await conn.fetchrow(LOAD, key_of(chargeback), chargeback)
        assert row is not None
        if row[0] is None:
            return FoundChargeback(None, None, row[7])
        payment = payment_from(row[1])
        contract = contract_from(row[2], row[3]) if row[2] is not None else None
        contract_key = contract.key if contract is not None else None
        account = wallet(payment.currency, payment.buyer)
        found = await conn.fetchrow(BUYER, account, contract_key, payment.key)
        assert found is not None
        buyer = Purse(found[0], found[1] - row[6])
        seller, waiting = Purse(), list[Refund]()
        if contract is not None:
            account = wallet(contract.currency, contract.seller)
            found = await conn.fetchrow(SELLER, account, contract_key)
            assert found is not None
            seller = Purse(*found)
            rows = await conn.fetch(WAITING_REFUNDS, contract_key)
            waiting = [refund_from(refund[0]) for refund in rows]
    exposure = Exposure(
        payment,
        contract,
        buyer,
        seller,
        others_lost_minor=row[5],
        others_open=row[4],
        refunds=tuple(waiting),
    )
    return FoundChargeback(chargeback_from(row[0]), exposure, row[7])


async def in_states(conn: asyncpg.Connection, states: Sequence[str], page: Page) -> Listed:
    """The chargebacks in one of `states`."""
    rows = await conn.fetch(LIST, states, page.limit, page.offset)
    return Listed(
        [chargeback_from(row[0]) for row in rows],
        [(row[1], row[2]) for row in rows],
        await conn.fetchval(COUNT, states),
    )
