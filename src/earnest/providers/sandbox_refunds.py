"""The sandbox provider's **refunds**: done at once, and never more than was paid.

The row lock on the session makes the refunds of one payment follow each other.
"""

import hashlib
import secrets
from datetime import datetime
from typing import TypeAlias

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from earnest.errors import ProviderPermanent
from earnest.providers.base import ProviderRefund, ProviderRefundState, RefundRequest

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

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

INSERT = """
INSERT INTO sandbox.refund (
    id, idempotency_key, request_hash, payment_id, amount_minor, currency, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def create(connection: Connection, request: RefundRequest, now: datetime) -> ProviderRefund:
    """See `Provider.create_refund`."""
    request_hash = hashlib.sha256(msgspec.json.encode(request, order="sorted")).digest()
    async with connection.transaction():
        paid = await connection.fetchrow(LOCK_PAID, request.payment_id)
        known = await connection.fetchrow(FIND, request.idempotency_key)
        if known is not None:
            if known["request_hash"] != request_hash:
                raise ProviderPermanent("This idempotency key was used for another refund.")
            return _refund(known)
        if paid is None:
            raise ProviderPermanent("There is no such payment.")
        left_minor = paid["amount_minor"] - await connection.fetchval(REFUNDED, request.payment_id)
        if request.currency != paid["currency"] or not 0 < request.amount_minor <= left_minor:
            raise ProviderPermanent("This is more than is left of the payment.")
        await connection.execute(
            INSERT,
            f"re_test_{secrets.token_urlsafe(24)}",
            request.idempotency_key,
            request_hash,
            request.payment_id,
            request.amount_minor,
            request.currency,
            now,
        )
        made = await connection.fetchrow(FIND, request.idempotency_key)
        assert made is not None
        return _refund(made)


async def find(connection: Connection, idempotency_key: str) -> ProviderRefund | None:
    """See `Provider.find_refund`."""
    row = await connection.fetchrow(FIND, idempotency_key)
    return None if row is None else _refund(row)


def _refund(row: asyncpg.Record) -> ProviderRefund:
    return ProviderRefund(
        row["id"], ProviderRefundState.SUCCEEDED, row["amount_minor"], row["currency"]
    )
