"""Hiring: what stands around a job and around a payment.

Each load is one statement, so one snapshot.
"""

from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.contract import Contract
from earnest.domain.hiring import Hire, Job
from earnest.domain.party import Actor, Party
from earnest.domain.payment import Payment
from earnest.ids import PublicId, key_of
from earnest.store.accounts import Account
from earnest.store.contracts import NO_SCOPE, account_from, business_from, stored_from
from earnest.store.db import Pool
from earnest.store.idempotency import Once, Stored
from earnest.store.rows import contract_from, payment_from


class FoundJob(msgspec.Struct, frozen=True):
    """A job with all that hiring for it depends on. `hire` is None for an unknown job."""

    hire: Hire | None
    seller: Party | None
    buyer: Party | None
    business: Business | None
    caller: Account | None
    stored: Stored | None
    now: datetime


LOAD_JOB = """
SELECT
    j.id, j.public_id, j.client_id, j.title, j.description, j.rate_minor, j.currency, j.listing,
    c AS contract, t.terms,
    p AS payment,
    seller.id, seller.public_id, seller.name, seller.email, seller.picture,
    buyer.id, buyer.public_id, buyer.name, buyer.email, buyer.picture,
    EXISTS (
        SELECT FROM application AS a WHERE a.job_id = j.id AND a.freelancer_id = seller.id
    ) AS applied,
    EXISTS (
        SELECT FROM contract AS o
        WHERE o.job_id = j.id AND o.seller_id = seller.id AND NOT o.live
    ) AS ended,
    b.id, b.name, b.currency, b.settings,
    l.status, l.token_generation, k.request_hash, k.status, k.reply, business_now(),
    EXISTS (
        SELECT FROM chargeback AS d WHERE d.payment_id = p.id AND d.due_at IS NOT NULL
    ) AS charged_back
FROM (VALUES (1)) AS one (row)
LEFT JOIN job AS j ON j.id = $1 AND j.public_id = $2
LEFT JOIN business AS b ON b.id = j.business_id
LEFT JOIN login AS seller_login ON seller_login.party_id = $3 AND seller_login.role = 'freelancer'
LEFT JOIN party AS seller ON seller.id = seller_login.party_id AND seller.public_id = $4
LEFT JOIN party AS buyer ON buyer.id = j.client_id
LEFT JOIN contract AS c ON c.job_id = j.id AND c.live
LEFT JOIN contract_terms AS t ON t.contract_id = c.id
-- The payment for this freelancer first, then one that can still be paid.
LEFT JOIN LATERAL (
    SELECT * FROM payment AS q
    WHERE q.job_id = j.id AND q.state IN ('opening', 'open', 'processing', 'parked')
    ORDER BY (q.seller_id = seller.id) DESC, (q.state = 'parked'), q.id
    LIMIT 1
) AS p ON TRUE
LEFT JOIN party AS who ON who.id = $5 AND who.public_id = $6
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $7
"""


async def load_job(
    pool: Pool, job: PublicId, freelancer: PublicId, caller: Actor, once: Once | None
) -> FoundJob:
    """What stands around `job` when `caller` wants to hire `freelancer` for it."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD_JOB,
            key_of(job),
            job,
            key_of(freelancer),
            freelancer,
            caller.key,
            caller.public_id,
            once.scope if once else NO_SCOPE,
        )
    assert row is not None
    hire = None
    if row[0] is not None:
        hire = Hire(
            job=Job(*row[0:8]),
            seller=row[11],
            seller_public_id=freelancer,
            applied=row["applied"],
            contract=_contract(row),
            payment=_payment(row),
            ended=row["ended"],
            charged_back=row["charged_back"],
        )
    return FoundJob(
        hire=hire,
        seller=Party(*row[11:16]) if row[11] is not None else None,
        buyer=Party(*row[16:21]) if row[16] is not None else None,
        business=business_from(row, 23),
        caller=account_from(row, 27),
        stored=stored_from(row, 29),
        now=row[32],
    )


class FoundPayment(msgspec.Struct, frozen=True):
    """A payment for a decision about it alone. `charged_back`: a dispute about it is not done
    with."""

    payment: Payment | None
    charged_back: bool
    buyer: Party | None
    caller: Account | None
    stored: Stored | None
    now: datetime


LOAD_PAYMENT = """
SELECT
    p AS payment,
    buyer.id, buyer.public_id, buyer.name, buyer.email, buyer.picture,
    l.status, l.token_generation, k.request_hash, k.status, k.reply, business_now(),
    EXISTS (
        SELECT FROM chargeback AS d WHERE d.payment_id = p.id AND d.due_at IS NOT NULL
    ) AS charged_back
FROM (VALUES (1)) AS one (row)
LEFT JOIN payment AS p ON p.id = $1 AND p.public_id = $2
LEFT JOIN party AS buyer ON buyer.id = p.buyer_id
LEFT JOIN party AS who ON who.id = $3 AND who.public_id = $4
LEFT JOIN login AS l ON l.party_id = who.id
LEFT JOIN idempotency_key AS k ON k.scope = $5
"""


async def load_payment(
    pool: Pool, payment: PublicId, caller: Actor, once: Once | None
) -> FoundPayment:
    """One payment by its public id."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD_PAYMENT,
            key_of(payment),
            payment,
            caller.key,
            caller.public_id,
            once.scope if once else NO_SCOPE,
        )
    assert row is not None
    return FoundPayment(
        payment=_payment(row),
        charged_back=row["charged_back"],
        buyer=Party(*row[1:6]) if row[1] is not None else None,
        caller=account_from(row, 6),
        stored=stored_from(row, 8),
        now=row[11],
    )


PARKED = """
SELECT p AS payment, buyer.public_id AS buyer
FROM payment AS p
INNER JOIN party AS buyer ON buyer.id = p.buyer_id
WHERE p.state = 'parked'
ORDER BY p.captured_at DESC, p.id DESC
LIMIT 1000
"""


async def parked(conn: asyncpg.Connection) -> list[tuple[Payment, PublicId]]:
    """Payments that wait for a contract, newest first, with their buyers' public ids."""
    return [(payment_from(row["payment"]), row["buyer"]) for row in await conn.fetch(PARKED)]


def _contract(row: asyncpg.Record) -> Contract | None:
    found = row["contract"]
    return contract_from(found, row["terms"]) if found is not None else None


def _payment(row: asyncpg.Record) -> Payment | None:
    found = row["payment"]
    return payment_from(found) if found is not None else None
