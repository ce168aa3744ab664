"""Payouts: what can be withdrawn, which of them are due, and their lists."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.party import Actor, Role
from earnest.domain.payout import Payout
from earnest.domain.withdrawing import Funds
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import Kind, pack, wallet
from earnest.store.accounts import Account
from earnest.store.contracts import NO_SCOPE, Page, account_from, business_from, stored_from
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Stored
from earnest.store.payout_accounts import Payee
from earnest.store.rows_out import payout_from


class FoundFunds(msgspec.Struct, frozen=True):
    """What somebody can withdraw, and by which rules; `funds` is None for nobody we know."""

    funds: Funds | None
    business: Business | None
    caller: Account | None
    stored: Stored | None
    now: datetime


class FoundPayout(msgspec.Struct, frozen=True):
    """A payout as it is now; None for an unknown id."""

    payout: Payout | None
    caller: Account | None
    stored: Stored | None
    now: datetime


LOAD_FUNDS = """
SELECT
    b.id, b.name, b.currency, b.settings,
    p.id AS party_id, coalesce(w.amount_minor, 0), a.external_account,
    coalesce(a.is_payable, FALSE),
    coalesce(l.status, c.status), coalesce(l.token_generation, c.token_generation),
    k.request_hash, k.status, k.reply, business_now()
FROM (VALUES (1)) AS one (row)
LEFT JOIN party AS p ON p.id = $1
LEFT JOIN business AS b ON b.id = p.business_id
LEFT JOIN balance AS w ON w.account = $2
LEFT JOIN payout_account AS a ON a.party_id = p.id AND a.provider_account_id = $3
LEFT JOIN party AS who ON who.id = $4 AND who.public_id = $5
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $6
LEFT JOIN api_client AS c ON c.business_id = $7
"""

# What a business is owed is summed: the rollup, and the tail beyond it.
LOAD_OWED = """
SELECT
    b.id, b.name, b.currency, b.settings,
    NULL::bigint AS party_id,
    coalesce((
        SELECT r.credits_minor - r.debits_minor FROM rollup AS r WHERE r.account = $2
    ), 0)
    + coalesce((
        SELECT sum(CASE WHEN t.credit = $2 THEN t.amount_minor ELSE -t.amount_minor END)
        FROM transfer AS t
        WHERE (t.credit = $2 OR t.debit = $2)
        AND t.xid >= (SELECT h.horizon_xid FROM ledger_horizon AS h)
    ), 0),
    a.external_account, coalesce(a.is_payable, FALSE),
    c.status, c.token_generation, k.request_hash, k.status, k.reply, business_now()
FROM business AS b
LEFT JOIN payout_account AS a
    ON a.business_id = b.id AND a.party_id IS NULL AND a.provider_account_id = $3
LEFT JOIN idempotency_key AS k ON k.scope = $4
LEFT JOIN api_client AS c ON c.business_id = $5
WHERE b.id = $1
"""

DUE = """
SELECT p.public_id FROM payout AS p
WHERE p.due_at <= business_now()
ORDER BY p.due_at
LIMIT $1
"""

LOAD = """
SELECT
    p AS payout, l.status, l.token_generation, k.request_hash, k.status, k.reply, business_now()
FROM (VALUES (1)) AS one (row)
LEFT JOIN payout AS p ON p.id = $1 AND p.public_id = $2
LEFT JOIN party AS who ON who.id = $3 AND who.public_id = $4
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $5
"""

OF_PARTY = """
SELECT p AS payout FROM payout AS p WHERE p.party_id = $1 ORDER BY p.id DESC LIMIT $2 OFFSET $3
"""
COUNT_OF_PARTY = "SELECT count(*) FROM payout AS p WHERE p.party_id = $1"

OF_BUSINESS = """
SELECT p AS payout, o.platform_ref, o.name
FROM payout AS p
LEFT JOIN party AS o ON o.id = p.party_id
WHERE p.business_id = $1
ORDER BY p.id DESC
LIMIT $2 OFFSET $3
"""
COUNT_OF_BUSINESS = "SELECT count(*) FROM payout AS p WHERE p.business_id = $1"

IN_STATES = """
SELECT p AS payout, b.name AS business_name, o.name AS owner_name
FROM payout AS p
INNER JOIN business AS b ON b.id = p.business_id
LEFT JOIN party AS o ON o.id = p.party_id
WHERE p.state = ANY($1::text[])
ORDER BY p.id DESC
LIMIT $2 OFFSET $3
"""
COUNT_IN_STATES = "SELECT count(*) FROM payout AS p WHERE p.state = ANY($1::text[])"


async def load_funds(
    pool: Pool,
    payee: Payee,
    currency: str,
    provider_account: int,
    caller: Actor,
    once: Once | None = None,
) -> FoundFunds:
    """What `payee` can be paid: a wallet in `currency`, or what a business is owed."""
    scope = once.scope if once else NO_SCOPE
    client = caller.key if caller.role is Role.PARTNER else 0
    async with pool.connection() as conn:
        if payee.party is None:
            owed = pack(Kind.PARTNER_PAYABLE, currency, payee.business)
            row = await conn.fetchrow(
                LOAD_OWED, payee.business, owed, provider_account, scope, client
            )
        else:
            row = await conn.fetchrow(
                LOAD_FUNDS,
                payee.party,
                wallet(currency, payee.party),
                provider_account,
                caller.key,
                caller.public_id,
                scope,
                client,
            )
    assert row is not None
    business = business_from(row, 0) if row[0] is not None else None
    funds = None
    if business is not None and business.key == payee.business and row[4] == payee.party:
        funds = Funds(business.key, row[4], currency, int(row[5]), provider_account, row[6], row[7])
    return FoundFunds(funds, business, account_from(row, 8), stored_from(row, 10), row[13])


async def due(conn: asyncpg.Connection, limit: int) -> list[PublicId]:
    """The payouts that the worker has to do something about, the longest due first."""
    return [row[0] for row in await conn.fetch(DUE, limit)]


async def load(
    pool: Pool, payout: PublicId, caller: Actor, once: Once | None = None
) -> FoundPayout:
    """One payout by its public id."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD,
            key_of(payout),
            payout,
            caller.key,
            caller.public_id,
            once.scope if once else NO_SCOPE,
        )
    assert row is not None
    found = payout_from(row[0]) if row[0] is not None else None
    return FoundPayout(found, account_from(row, 1), stored_from(row, 3), row[6])


class Listed(msgspec.Struct, frozen=True):
    """Some payouts of `total`, newest first, with the names of their businesses and owners where
    operators and partners look at them."""

    payouts: list[Payout]
    total: int
    names: list[tuple[str | None, str | None]] = []


async def of_party(conn: asyncpg.Connection, party: int, page: Page) -> Listed:
    """The payouts of one person."""
    rows = await conn.fetch(OF_PARTY, party, page.limit, page.offset)
    return Listed([payout_from(row[0]) for row in rows], await conn.fetchval(COUNT_OF_PARTY, party))


async def of_business(conn: asyncpg.Connection, business: int, page: Page) -> Listed:
    """The payouts of a business and of its people; names: (platform reference, name)."""
    rows = await conn.fetch(OF_BUSINESS, business, page.limit, page.offset)
    return Listed(
        [payout_from(row[0]) for row in rows],
        await conn.fetchval(COUNT_OF_BUSINESS, business),
        [(row[1], row[2]) for row in rows],
    )


async def in_states(conn: asyncpg.Connection, states: Sequence[str], page: Page) -> Listed:
    """The payouts in one of `states`; names: (business, owner)."""
    rows = await conn.fetch(IN_STATES, states, page.limit, page.offset)
    return Listed(
        [payout_from(row[0]) for row in rows],
        await conn.fetchval(COUNT_IN_STATES, states),
        [(row[1], row[2]) for row in rows],
    )
