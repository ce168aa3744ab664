"""The sandbox provider's **refunds**: done at once, and never more than was paid.

The row lock on the session makes the refunds of one payment follow each other.
"""

from datetime import datetime

import asyncpg

from earnest.errors import ProviderPermanent
from earnest.providers.base import ProviderRefund, ProviderRefundState, RefundRequest
from earnest.providers.sandbox_memory import Connection, hash_of, new_id, require_same

LOCK_PAID = """
SELECT amount_minor, currency
FROM sandbox.session
WHERE payment_id = $1 AND state = 'paid'
FOR UPDATE
"""

REFUNDED = """
SELECT coalesce(sum(amount_minor), 0)::bigint FROM sandbox.refund WHERE payment_id = $1
"""

FIND = """
SELECT id, request_hash, amount_minor, currency FROM sandbox.refund WHERE idempotency_key = $1
"""

FIND_BY_REFERENCE = """
SELECT id, amount_minor, currency
FROM sandbox.refund
WHERE reference = $1 AND payment_id = $2
ORDER BY recorded_at DESC
LIMIT 1
"""

# What a payer's bank took back, or may, is not ours to give.
DISPUTED = "SELECT TRUE FROM sandbox.dispute WHERE payment_id = $1 AND state <> 'won'"

INSERT = """
INSERT INTO sandbox.refund (
    id, idempotency_key, request_hash, reference, payment_id, amount_minor, currency, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def create(connection: Connection, request: RefundRequest, now: datetime) -> ProviderRefund:
    """See `Provider.create_refund`."""
    async with connection.transaction():
        paid = await connection.fetchrow(LOCK_PAID, request.payment_id)
        known = await connection.fetchrow(FIND, request.idempotency_key)
        if known is not None:
            require_same(known, request)
            return _refund(known)
        if paid is None:
            raise ProviderPermanent("There is no such payment.")
        if await connection.fetchval(DISPUTED, request.payment_id):
            raise ProviderPermanent("The payer's bank wants this payment back, or has it.")
        left_minor = paid["amount_minor"] - await connection.fetchval(REFUNDED, request.payment_id)
        if request.currency != paid["currency"] or not 0 < request.amount_minor <= left_minor:
            raise ProviderPermanent("This is more than is left of the payment.")
        await connection.execute(
            INSERT,
            new_id("re"),
            request.idempotency_key,
            hash_of(request),
            request.reference,
            request.payment_id,
            request.amount_minor,
            request.currency,
            now,
        )
        made = await connection.fetchrow(FIND, request.idempotency_key)
        assert made is not None
        return _refund(made)


async def find(connection: Connection, request: RefundRequest) -> ProviderRefund | None:
    """See `Provider.find_refund`."""
    row = await connection.fetchrow(FIND_BY_REFERENCE, request.reference, request.payment_id)
    return None if row is None else _refund(row)


def _refund(row: asyncpg.Record) -> ProviderRefund:
    return ProviderRefund(
        row["id"], ProviderRefundState.SUCCEEDED, row["amount_minor"], row["currency"]
    )
