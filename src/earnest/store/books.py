"""The books: balances, statements and sums of the ledger, read from the database.

Floored accounts (held, wallet) have a running balance. All others are append-only and are
summed: a **rollup** over every transfer below a horizon, plus the tail above it. The horizon
is a transaction id below which nothing can still commit (`pg_snapshot_xmin`), so a rollup
never misses a transfer that was written early and committed late.
"""

from datetime import datetime
from decimal import Decimal

import asyncpg
import msgspec

from earnest.domain.contract import Contract
from earnest.ledger.accounts import DEBIT_SIDE, FLOORED, Account, held, unpack
from earnest.ledger.proof import Proof, prove
from earnest.store import provider_objects
from earnest.store.provider_objects import ProviderObject

# One statement, so one snapshot: the rollup with its horizon, and the tail beyond it.
BALANCE_OF_APPEND_ONLY = """
SELECT
    coalesce((SELECT r.credits_minor - r.debits_minor FROM rollup AS r WHERE r.account = $1), 0)
    + coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t, ledger_horizon AS h
        WHERE t.credit = $1 AND t.xid >= h.horizon_xid
    ), 0)
    - coalesce((
        SELECT sum(t.amount_minor) FROM transfer AS t, ledger_horizon AS h
        WHERE t.debit = $1 AND t.xid >= h.horizon_xid
    ), 0)
"""

BALANCE_OF_FLOORED = "SELECT amount_minor FROM balance WHERE account = $1"

SUM_OF_FLOORED = """
SELECT coalesce(sum(amount_minor), 0) FROM balance WHERE account >= $1 AND account < $2
"""

# Takes the row lock of the horizon first: one rollup at a time. What committed below the new
# horizon and not below the old one is added; nothing below it can still be in flight.
LOCK_HORIZON = "SELECT horizon_xid, xid_offset FROM ledger_horizon FOR UPDATE"

ADVANCE = """
WITH closed AS (
    SELECT $1::bigint AS old_xid, $2::bigint AS new_xid
), sums AS (
    SELECT side.account, sum(side.debit) AS debits_minor, sum(side.credit) AS credits_minor
    FROM closed
    INNER JOIN transfer AS t ON t.xid >= closed.old_xid AND t.xid < closed.new_xid
    CROSS JOIN LATERAL (
        VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
    ) AS side (account, debit, credit)
    WHERE side.account >> 57 > 2
    GROUP BY side.account
    ORDER BY side.account
)
INSERT INTO rollup (account, debits_minor, credits_minor)
SELECT s.account, s.debits_minor, s.credits_minor FROM sums AS s
ON CONFLICT (account) DO UPDATE SET
    debits_minor = rollup.debits_minor + excluded.debits_minor,
    credits_minor = rollup.credits_minor + excluded.credits_minor
"""

SNAPSHOT_XMIN = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

SET_HORIZON = "UPDATE ledger_horizon SET horizon_xid = $1, closed_at = business_now()"

HAS_TAIL = """
SELECT EXISTS (
    SELECT FROM transfer AS t
    WHERE t.xid >= (SELECT h.horizon_xid FROM ledger_horizon AS h)
)
"""

TRIAL_BALANCE = """
SELECT side.account, sum(side.debit) AS debits_minor, sum(side.credit) AS credits_minor
FROM transfer AS t
CROSS JOIN LATERAL (
    VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
) AS side (account, debit, credit)
WHERE t.recorded_at <= coalesce($1, 'infinity'::timestamptz)
GROUP BY side.account
ORDER BY side.account
"""

# People's accounts as one line for each kind and currency: the owner's and sub-account's bits
# are masked out, leaving 1 in place of the owner.
TRIAL_BALANCE_BY_KIND = """
SELECT
    ((side.account >> 47) << 47) | CASE WHEN side.account >> 57 <= 2 THEN 1
        ELSE side.account & ((1::bigint << 47) - 1) END AS account,
    sum(side.debit) AS debits_minor, sum(side.credit) AS credits_minor
FROM transfer AS t
CROSS JOIN LATERAL (
    VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)
) AS side (account, debit, credit)
WHERE t.recorded_at <= coalesce($1, 'infinity'::timestamptz)
GROUP BY 1
ORDER BY 1
"""

HORIZON = "SELECT horizon_xid, closed_at, business_now() AS now FROM ledger_horizon"

STATEMENT = """
SELECT
    t.id, t.movement, t.debit, t.credit, t.amount_minor, t.recorded_at, t.contract_id,
    c.number, buyer.name AS buyer_name, (c.buyer_id = ($1 & ((1::bigint << 40) - 1))) AS to_buyer
FROM (
    SELECT d.id, d.movement, d.debit, d.credit, d.amount_minor, d.recorded_at, d.contract_id
    FROM transfer AS d WHERE d.debit = $1
    UNION ALL
    SELECT d.id, d.movement, d.debit, d.credit, d.amount_minor, d.recorded_at, d.contract_id
    FROM transfer AS d WHERE d.credit = $1
) AS t
LEFT JOIN contract AS c ON c.id = t.contract_id
LEFT JOIN party AS buyer ON buyer.id = c.buyer_id
ORDER BY t.recorded_at DESC, t.id DESC
LIMIT $2
"""

# Every wallet begins with a credit, and transaction ids do not fall.
OPENED = """
SELECT t.recorded_at FROM transfer AS t
WHERE t.credit = $1
ORDER BY t.xid, t.id
LIMIT 1
"""

OF_ACCOUNTS = """
SELECT t.id, t.movement, t.debit, t.credit, t.amount_minor, t.recorded_at
FROM transfer AS t
WHERE t.debit = ANY($1::bigint[]) OR t.credit = ANY($1::bigint[])
ORDER BY t.id
"""

BALANCE_OF_ACCOUNTS = """
SELECT coalesce(sum(amount_minor), 0)::bigint FROM balance WHERE account = ANY($1::bigint[])
"""

# What comes back was not earned again.
EARNED_BY_MONTH = """
SELECT
    to_char(t.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
    sum(t.amount_minor)::bigint AS total_minor,
    count(*) AS transfers
FROM transfer AS t
WHERE t.credit = $1
AND t.movement NOT IN ('payout_refused', 'payout_returned', 'chargeback_returned')
GROUP BY 1
ORDER BY 1
"""


class Entry(msgspec.Struct, frozen=True):
    """One line of an account's statement. `amount_minor` > 0; `credit` says the direction."""

    key: int
    movement: str
    credit: bool
    amount_minor: int
    recorded_at: datetime
    contract: int | None
    contract_number: str | None
    buyer_name: str | None
    to_buyer: bool
    """Whether the account's owner is the buyer of that contract."""


class Moved(msgspec.Struct, frozen=True):
    """One transfer, as a proof lists it."""

    key: int
    movement: str
    debit: int
    credit: int
    amount_minor: int
    recorded_at: datetime


class Sums(msgspec.Struct, frozen=True):
    """One line of a trial balance, in minor units of the account's currency."""

    account: Account
    debits_minor: Decimal
    credits_minor: Decimal

    @property
    def balance_minor(self) -> Decimal:
        """Positive on the account's normal side."""
        surplus = self.credits_minor - self.debits_minor
        return -surplus if self.account.kind in DEBIT_SIDE else surplus


class TrialBalance(msgspec.Struct, frozen=True):
    """All accounts at an instant. Everything recorded below `closed_to_xid` is in it for good;
    what was recorded later may still gain transfers that are being committed."""

    at: datetime
    closed_to_xid: int
    closed_at: datetime | None
    accounts: list[Sums]


async def balance(conn: asyncpg.Connection, account: int) -> int:
    """What is in `account` now, in minor units, positive on its normal side."""
    kind = unpack(account).kind
    if kind in FLOORED:
        return await conn.fetchval(BALANCE_OF_FLOORED, account) or 0
    credit_side = int(await conn.fetchval(BALANCE_OF_APPEND_ONLY, account))
    return -credit_side if kind in DEBIT_SIDE else credit_side


async def total(conn: asyncpg.Connection, kind: int, currency_numeric: int) -> int:
    """The sum of all floored accounts of one kind and currency."""
    first = (kind << 57) | (currency_numeric << 47)
    return int(await conn.fetchval(SUM_OF_FLOORED, first, first + (1 << 47)))


async def has_tail(conn: asyncpg.Connection) -> bool:
    """Whether anything was posted beyond the horizon, so that a rollup would have work."""
    found: bool = await conn.fetchval(HAS_TAIL)
    return found


async def roll_up(conn: asyncpg.Connection) -> int:
    """Advance the horizon as far as it can go; the new horizon."""
    async with conn.transaction():
        row = await conn.fetchrow(LOCK_HORIZON)
        assert row is not None
        # A new statement, so a new snapshot: everything below its xmin has ended.
        horizon: int = await conn.fetchval(SNAPSHOT_XMIN) + row["xid_offset"]
        if horizon > row["horizon_xid"]:
            await conn.execute(ADVANCE, row["horizon_xid"], horizon)
            await conn.execute(SET_HORIZON, horizon)
        return horizon


async def opened_at(conn: asyncpg.Connection, account: int) -> datetime | None:
    """When the first money came into a wallet; None if none ever did."""
    first: datetime | None = await conn.fetchval(OPENED, account)
    return first


async def statement(conn: asyncpg.Connection, account: int, limit: int) -> list[Entry]:
    """The account's entries, newest first."""
    rows = await conn.fetch(STATEMENT, account, limit)
    return [
        Entry(
            row["id"],
            row["movement"],
            row["credit"] == account,
            row["amount_minor"],
            row["recorded_at"],
            row["contract_id"],
            row["number"],
            row["buyer_name"],
            bool(row["to_buyer"]),
        )
        for row in rows
    ]


async def trial_balance(
    conn: asyncpg.Connection, at: datetime | None = None, *, by_kind: bool = False
) -> TrialBalance:
    """Every account's sums, of transfers recorded up to `at` (None: now).

    `by_kind`: all held accounts of a currency as one, with owner 1, and all wallets.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        horizon = await conn.fetchrow(HORIZON)
        rows = await conn.fetch(TRIAL_BALANCE_BY_KIND if by_kind else TRIAL_BALANCE, at)
    assert horizon is not None
    return TrialBalance(
        at=at or horizon["now"],
        closed_to_xid=horizon["horizon_xid"],
        closed_at=horizon["closed_at"],
        accounts=[
            Sums(unpack(row["account"]), row["debits_minor"], row["credits_minor"]) for row in rows
        ],
    )


async def earned_by_month(conn: asyncpg.Connection, wallet: int) -> list[tuple[str, int, int]]:
    """(YYYY-MM, minor units credited, number of credits), oldest first."""
    rows = await conn.fetch(EARNED_BY_MONTH, wallet)
    return [(row["month"], row["total_minor"], row["transfers"]) for row in rows]


async def proof_of(
    conn: asyncpg.Connection, contract: Contract
) -> tuple[Proof, list[Moved], list[ProviderObject]]:
    """The money proof of a contract, every transfer that touches what it holds, in order, and what
    the provider has of its money, in order; all in one snapshot."""
    accounts = [
        held(contract.currency, contract.key, tranche) for tranche in range(len(contract.tranches))
    ]
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        rows = await conn.fetch(OF_ACCOUNTS, accounts)
        held_minor: int = await conn.fetchval(BALANCE_OF_ACCOUNTS, accounts)
        objects = await provider_objects.of_contract(conn, contract.key)
    moved = [Moved(*row) for row in rows]
    proof = prove(moved, buyer=contract.buyer, seller=contract.seller, held_minor=held_minor)
    return proof, moved, objects
