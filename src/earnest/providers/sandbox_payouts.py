"""The sandbox provider's **transfers**, their **returns**, and **payouts** to banks.

A balance, ours or an account's, is what the tables say: there is no other memory of it. Invariant:
no transfer, return or payout takes more from a balance than is in it, since they follow each other
(BALANCE_LOCK); a call that was refused for want of money is refused for ever under its key.

A payout is on its way for PAYOUT_SECONDS of business time. A bank that sends it back, also after it
has arrived, is played by `fail_payout`.
"""

from datetime import datetime, timedelta
from typing import Any

import asyncpg

from earnest.domain import money
from earnest.errors import InvalidField, NotFound, ProviderPermanent, ProviderTransient
from earnest.providers.base import (
    AMOUNT_MINOR_MAX,
    PayoutRequest,
    ProviderPayout,
    ProviderPayoutState,
    ProviderTransfer,
    ReturnRequest,
    TransferRequest,
)
from earnest.providers.sandbox_accounts import SandboxAccounts
from earnest.providers.sandbox_memory import (
    Connection,
    hash_of,
    new_id,
    require_same,
    spent,
    tell,
)
from earnest.providers.strict import storable

PAYOUT_SECONDS = 5
ARRIVALS_MAX = 100
SENT_BACK = "account_closed"
"""What a bank says that is made to send a payout back."""

BALANCE_LOCK = "SELECT pg_advisory_xact_lock(6020311884727710021)"

OUR_BALANCE = """
SELECT (
    (
        SELECT coalesce(sum(s.amount_minor), 0)
        FROM sandbox.session AS s
        WHERE s.state = 'paid' AND s.currency = $1
    ) - (
        SELECT coalesce(sum(r.amount_minor), 0)
        FROM sandbox.refund AS r
        WHERE r.currency = $1
    ) - (
        SELECT coalesce(sum(t.amount_minor), 0)
        FROM sandbox.transfer AS t
        LEFT JOIN sandbox.transfer_return AS b ON b.transfer_id = t.id
        WHERE t.currency = $1 AND b.id IS NULL
    ) + (
        SELECT coalesce(sum(d.amount_minor), 0)
        FROM sandbox.dispute_line AS d
        WHERE d.currency = $1
    )
)::bigint
"""

BALANCE_OF = """
SELECT (
    (
        SELECT coalesce(sum(t.amount_minor), 0)
        FROM sandbox.transfer AS t
        LEFT JOIN sandbox.transfer_return AS b ON b.transfer_id = t.id
        WHERE t.account_id = $1 AND t.currency = $2 AND b.id IS NULL
    ) - (
        SELECT coalesce(sum(p.amount_minor), 0)
        FROM sandbox.payout AS p
        WHERE p.account_id = $1 AND p.currency = $2 AND p.state <> 'failed'
    )
)::bigint
"""

FIND_SPENT = "SELECT request_hash FROM sandbox.spent_key WHERE idempotency_key = $1"

SPEND = "INSERT INTO sandbox.spent_key (idempotency_key, request_hash) VALUES ($1, $2)"

INSERT_TRANSFER = """
INSERT INTO sandbox.transfer (
    id, idempotency_key, request_hash, reference, account_id, amount_minor, currency
) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

FIND_TRANSFER_BY_KEY = """
SELECT id, request_hash FROM sandbox.transfer WHERE idempotency_key = $1
"""

FIND_TRANSFER_BY_REFERENCE = """
SELECT id FROM sandbox.transfer WHERE reference = $1 ORDER BY recorded_at DESC LIMIT 1
"""

READ_TRANSFER = """
SELECT
    t.id, t.account_id, t.amount_minor, t.currency,
    CASE WHEN b.id IS NULL THEN 0 ELSE t.amount_minor END AS returned_minor
FROM sandbox.transfer AS t
LEFT JOIN sandbox.transfer_return AS b ON b.transfer_id = t.id
WHERE t.id = $1
"""

FIND_RETURN_BY_KEY = """
SELECT transfer_id, request_hash FROM sandbox.transfer_return WHERE idempotency_key = $1
"""

INSERT_RETURN = """
INSERT INTO sandbox.transfer_return (id, idempotency_key, request_hash, transfer_id)
VALUES ($1, $2, $3, $4)
"""

INSERT_PAYOUT = """
INSERT INTO sandbox.payout (
    id, idempotency_key, request_hash, reference, account_id, amount_minor, currency, state,
    failure, created_at, arrives_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', '', $8, $9)
"""

FIND_PAYOUT_BY_KEY = """
SELECT id, reference, account_id, amount_minor, currency, state, failure, arrives_at, request_hash
FROM sandbox.payout
WHERE idempotency_key = $1
"""

FIND_PAYOUT = """
SELECT id, reference, account_id, amount_minor, currency, state, failure, arrives_at
FROM sandbox.payout
WHERE reference = $1
ORDER BY position DESC
LIMIT 1
"""

LOCK_PAYOUT = """
SELECT id, reference, account_id, amount_minor, currency, state, failure, arrives_at
FROM sandbox.payout
WHERE reference = $1
ORDER BY position DESC
LIMIT 1
FOR UPDATE
"""

LOCK_ARRIVED = """
SELECT id, reference, account_id, amount_minor, currency, state, failure, arrives_at
FROM sandbox.payout
WHERE state = 'pending' AND arrives_at <= $1
ORDER BY arrives_at
LIMIT $2
FOR UPDATE SKIP LOCKED
"""

STEP_PAYOUT = """
UPDATE sandbox.payout
SET state = $2, failure = $3
WHERE id = $1
RETURNING id, reference, account_id, amount_minor, currency, state, failure, arrives_at
"""

Request = TransferRequest | ReturnRequest | PayoutRequest


class SandboxPayouts(SandboxAccounts):
    """The part of the provider that pays people."""

    async def create_transfer(self, request: TransferRequest) -> ProviderTransfer:
        """See `Provider.create_transfer`."""
        _refuse_unusable(request)
        key = f"transfer/{request.idempotency_key}"
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(BALANCE_LOCK)
            known = await connection.fetchrow(FIND_TRANSFER_BY_KEY, request.idempotency_key)
            if known is not None:
                require_same(known, request)
                return await _transfer(connection, known["id"])
            await self._require_payable(connection, request.account_id)
            balance_minor = await connection.fetchval(OUR_BALANCE, request.currency)
            is_covered = await _is_covered(connection, key, request, balance_minor)
            if is_covered:
                transfer_id = new_id("tr")
                await connection.execute(
                    INSERT_TRANSFER,
                    transfer_id,
                    request.idempotency_key,
                    hash_of(request),
                    request.reference,
                    request.account_id,
                    request.amount_minor,
                    request.currency,
                )
                return await _transfer(connection, transfer_id)
        raise spent(ProviderTransient("There is less in our balance than that."))

    async def find_transfer(self, request: TransferRequest) -> ProviderTransfer | None:
        """See `Provider.find_transfer`."""
        if not storable(request.reference):
            return None
        async with self._pool.connection() as connection:
            found = await connection.fetchval(FIND_TRANSFER_BY_REFERENCE, request.reference)
            return None if found is None else await _transfer(connection, found)

    async def return_transfer(self, request: ReturnRequest) -> ProviderTransfer:
        """See `Provider.return_transfer`."""
        _refuse_unusable(request)
        key = f"return/{request.idempotency_key}"
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(BALANCE_LOCK)
            known = await connection.fetchrow(FIND_RETURN_BY_KEY, request.idempotency_key)
            if known is not None:
                require_same(known, request)
                return await _transfer(connection, known["transfer_id"])
            made = None
            if storable(request.transfer_id):
                made = await connection.fetchrow(READ_TRANSFER, request.transfer_id)
            if made is None:
                raise spent(ProviderPermanent("There is no such transfer."))
            wanted = (request.amount_minor, request.currency)
            if (made["amount_minor"], made["currency"]) != wanted:
                raise spent(ProviderPermanent("This transfer is of another amount."))
            if made["returned_minor"]:
                return await _transfer(connection, made["id"])
            balance_minor = await connection.fetchval(
                BALANCE_OF, made["account_id"], request.currency
            )
            if await _is_covered(connection, key, request, balance_minor):
                await connection.execute(
                    INSERT_RETURN,
                    new_id("trr"),
                    request.idempotency_key,
                    hash_of(request),
                    made["id"],
                )
                return await _transfer(connection, made["id"])
        raise spent(ProviderTransient("There is less in the account's balance than that."))

    async def create_payout(self, request: PayoutRequest) -> ProviderPayout:
        """See `Provider.create_payout`."""
        _refuse_unusable(request)
        key = f"payout/{request.idempotency_key}"
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(BALANCE_LOCK)
            known = await connection.fetchrow(FIND_PAYOUT_BY_KEY, request.idempotency_key)
            if known is not None:
                require_same(known, request)
                return _payout(known, now)
            await self._require_payable(connection, request.account_id)
            balance_minor = await connection.fetchval(
                BALANCE_OF, request.account_id, request.currency
            )
            if await _is_covered(connection, key, request, balance_minor):
                await connection.execute(
                    INSERT_PAYOUT,
                    new_id("po"),
                    request.idempotency_key,
                    hash_of(request),
                    request.reference,
                    request.account_id,
                    request.amount_minor,
                    request.currency,
                    now,
                    now + timedelta(seconds=PAYOUT_SECONDS),
                )
                made = await connection.fetchrow(FIND_PAYOUT_BY_KEY, request.idempotency_key)
                assert made is not None
                return _payout(made, now)
        raise spent(ProviderTransient("There is less in the account's balance than that."))

    async def find_payout(self, request: PayoutRequest) -> ProviderPayout | None:
        """See `Provider.find_payout`."""
        if not storable(request.reference):
            return None
        now = await self.clock()
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(FIND_PAYOUT, request.reference)
        return None if row is None else _payout(row, now)

    async def arrive_due(self) -> int:
        """Payouts whose time has come are paid, at most 100 a call. Returns how many."""
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            rows = await connection.fetch(LOCK_ARRIVED, now, ARRIVALS_MAX)
            for row in rows:
                await _step(connection, row["id"], ProviderPayoutState.PAID, "", now)
        return len(rows)

    async def fail_payout(self, reference: str) -> ProviderPayout:
        """A bank sends a payout back, even one that has arrived: the money is in the account
        again. Once is enough, twice is harmless. Raises NotFound."""
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            # Before the row: whoever pays out holds this one first, too.
            await connection.execute(BALANCE_LOCK)
            row = None
            if storable(reference):
                row = await connection.fetchrow(LOCK_PAYOUT, reference)
            if row is None:
                raise NotFound("There is no such payout.")
            if row["state"] != ProviderPayoutState.FAILED:
                row = await _step(connection, row["id"], ProviderPayoutState.FAILED, SENT_BACK, now)
            return _payout(row, now)

    async def _require_payable(self, connection: Connection, account_id: str) -> None:
        account = await self._find_account(connection, account_id)
        if account is None or not account.is_payable:
            raise spent(ProviderPermanent("There is no such account, or it may not be paid yet."))


async def _is_covered(
    connection: Connection, key: str, request: Request, balance_minor: int
) -> bool:
    """Whether a balance suffices; if not, the key is spent, which the caller has to commit."""
    known = await connection.fetchrow(FIND_SPENT, key)
    if known is not None:
        require_same(known, request)
        return False
    if request.amount_minor <= balance_minor:
        return True
    await connection.execute(SPEND, key, hash_of(request))
    return False


async def _transfer(connection: Connection, transfer_id: str) -> ProviderTransfer:
    row = await connection.fetchrow(READ_TRANSFER, transfer_id)
    assert row is not None
    return ProviderTransfer(row["id"], row["amount_minor"], row["currency"], row["returned_minor"])


async def _step(
    connection: Connection,
    payout_id: str,
    state: ProviderPayoutState,
    failure: str,
    now: datetime,
) -> asyncpg.Record:
    """A payout's next state and its event, inside the caller's transaction."""
    row = await connection.fetchrow(STEP_PAYOUT, payout_id, state, failure)
    assert row is not None
    await tell(
        connection, f"payout.{state}", _as_stripe(row, now), now, account_id=row["account_id"]
    )
    return row


def _payout(row: asyncpg.Record, now: datetime) -> ProviderPayout:
    state = ProviderPayoutState(row["state"])
    if state is ProviderPayoutState.PENDING and row["arrives_at"] <= now:
        state = ProviderPayoutState.PAID  # arrive_due has not come by yet
    return ProviderPayout(row["id"], state, row["amount_minor"], row["currency"], row["failure"])


def _as_stripe(row: asyncpg.Record, now: datetime) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "payout",
        "amount": row["amount_minor"],
        "arrival_date": int(row["arrives_at"].timestamp()),
        "automatic": False,
        "created": int(now.timestamp()),
        "currency": row["currency"].lower(),
        "failure_code": row["failure"] or None,
        "livemode": False,
        "metadata": {"payoutId": row["reference"]},
        "status": row["state"],
    }


def _refuse_unusable(request: Request) -> None:
    try:
        money.currency(request.currency)
    except InvalidField as error:
        raise ProviderPermanent(error.message) from None
    if not 0 < request.amount_minor <= AMOUNT_MINOR_MAX:
        raise ProviderPermanent("amount_minor is out of range.")
    for text in (request.idempotency_key, request.reference):
        if not 0 < len(text) <= 255 or not storable(text):
            raise ProviderPermanent("A reference or a key must have 1 to 255 characters.")
