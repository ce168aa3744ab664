"""The **provider objects** behind our money: sessions, payments, refunds, disputes, payouts.

Invariant: what stands here are the provider's ids as our own rows have them; nothing is asked of
the provider, and nothing is told of the people behind the objects.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import asyncpg
import msgspec

from earnest.ids import PublicId, key_of

# One statement, so one snapshot. A chargeback belongs to the contract that its payment belongs to,
# whether or not anybody has looked it up since that payment found its contract.
OF_CONTRACT = """
SELECT
    o.type, o.id, a.provider, a.livemode, o.amount_minor, o.currency, o.state, o.at
FROM (
    SELECT
        1 AS rank, 'checkout_session' AS type, p.session_id AS id, p.provider_account_id,
        p.amount_minor, p.currency, p.state, p.created_at AS at, p.created_at AS begun_at,
        p.id AS key
    FROM payment AS p
    WHERE p.contract_id = $1 AND p.session_id IS NOT NULL
    UNION ALL
    SELECT
        2, 'payment', p.provider_payment_id, p.provider_account_id,
        p.amount_minor, p.currency, p.state, coalesce(p.captured_at, p.created_at),
        p.created_at, p.id
    FROM payment AS p
    WHERE p.contract_id = $1 AND p.provider_payment_id IS NOT NULL
    UNION ALL
    SELECT
        3, 'refund', r.provider_refund_id, p.provider_account_id,
        r.amount_minor, r.currency, r.state, r.created_at, r.created_at, r.id
    FROM refund AS r
    INNER JOIN payment AS p ON p.id = r.payment_id
    WHERE r.contract_id = $1 AND r.provider_refund_id IS NOT NULL
    UNION ALL
    SELECT
        4, 'chargeback', b.provider_dispute_id, b.provider_account_id,
        CASE WHEN b.state <> 'noticed' THEN b.amount_minor END, b.currency, b.state,
        b.created_at, b.created_at, b.id
    FROM payment AS p
    INNER JOIN chargeback AS b ON b.payment_id = p.id
    WHERE p.contract_id = $1
) AS o
INNER JOIN provider_account AS a ON a.id = o.provider_account_id
ORDER BY o.begun_at, o.rank, o.key
"""

# What paid for a contract: one payment, unless the books are wrong.
CAPTURED = """
SELECT DISTINCT ON (p.contract_id) p.contract_id, p.session_id, p.provider_payment_id
FROM payment AS p
WHERE p.contract_id = ANY($1::bigint[]) AND p.state = 'captured'
ORDER BY p.contract_id, p.captured_at, p.id
"""

# The first event of a commit has the commit's id and names what it is about: in its subject or,
# where a chargeback changes its contract as well, in the body of the event of that contract's
# chain. The event of a refund stands somewhere in its contract's short chain.
ABOUT = """
SELECT
    t.id, p.provider_payment_id, e.subject,
    CASE WHEN e.contract_id IS NOT NULL THEN e.body::jsonb ->> 'chargeback' END AS chargeback,
    r.body::jsonb ->> 'providerRefund' AS refund
FROM transfer AS t
LEFT JOIN payment AS p ON p.id = t.payment_id
LEFT JOIN event AS e ON e.id = t.commit_id
LEFT JOIN event AS r
    ON t.movement = 'refunded_to_source' AND r.contract_id = t.contract_id
    AND r.commit_id = t.commit_id AND r.type = 'contract.refunded'
WHERE t.id = ANY($1::bigint[])
"""

# By what an event is about: the provider's object for the money, and for the bank's side of it.
NAMED = """
SELECT 'payout:' || p.public_id, p.provider_transfer_id, p.provider_payout_id
FROM payout AS p WHERE p.id = ANY($1::bigint[])
UNION ALL
SELECT 'refund:' || r.public_id, r.provider_refund_id, NULL
FROM refund AS r WHERE r.id = ANY($1::bigint[])
UNION ALL
SELECT 'chargeback:' || k.public_id, k.provider_dispute_id, NULL
FROM chargeback AS k WHERE k.id = ANY($1::bigint[])
"""

PROVIDERS = frozenset(
    {
        *("funded", "parked", "attached", "parked_refunded", "refunded_to_source"),
        *("refund_returned", "refund_repaid", "withdrawn", "paid_out", "payout_refused"),
        *("payout_returned", "charged_back", "chargeback_returned", "chargeback_covered"),
        "parked_covered",
    }
)
"""Movements that an object of the provider is behind; not what goes from escrow to wallets."""


class Transferred(Protocol):
    @property
    def key(self) -> int: ...
    @property
    def movement(self) -> str: ...


class ProviderObject(msgspec.Struct, frozen=True):
    """`type` is checkout_session, payment, refund or chargeback; `id` is the provider's; `state` is
    ours. `amount_minor` is None as long as the provider was not asked. `at`: when it was begun, of
    a payment when the money came."""

    type: str
    id: str
    provider: str
    livemode: bool
    amount_minor: int | None
    currency: str
    state: str
    at: datetime


class Captured(msgspec.Struct, frozen=True):
    """The provider's ids of what paid for a contract."""

    session_id: str | None
    payment_id: str | None


class Behind(msgspec.Struct, frozen=True):
    """What an entry of the ledger is at the provider: its id; and our payout, if it is of one."""

    reference: str | None = None
    payout: PublicId | None = None


async def of_contract(conn: asyncpg.Connection, contract: int) -> list[ProviderObject]:
    """The objects behind the money of the contract with this key, in the order of their beginnings:
    when a payment came is the provider's word, and may be before its session by our clock."""
    return [ProviderObject(*row) for row in await conn.fetch(OF_CONTRACT, contract)]


async def captured(conn: asyncpg.Connection, contracts: Sequence[int]) -> dict[int, Captured]:
    """What paid for the contracts with these keys; without those that nobody has paid for."""
    return {row[0]: Captured(row[1], row[2]) for row in await conn.fetch(CAPTURED, contracts)}


async def behind(conn: asyncpg.Connection, transfers: Iterable[Transferred]) -> dict[int, Behind]:
    """What is behind the transfers, by their keys; without those that nothing can be behind."""
    movements = {one.key: one.movement for one in transfers if one.movement in PROVIDERS}
    if not movements:
        return {}
    rows = await conn.fetch(ABOUT, list(movements))
    about = {row["id"]: _about(row) for row in rows}
    ours = [key_of(PublicId(one.partition(":")[2])) for one in about.values() if one]
    named = {row[0]: (row[1], row[2]) for row in await conn.fetch(NAMED, ours)} if ours else {}
    found: dict[int, Behind] = {}
    for row in rows:
        subject = about[row["id"]]
        ours_there, at_bank = named.get(subject, (None, None))
        kind, _, public_id = subject.partition(":")
        if movements[row["id"]] == "withdrawn":
            ours_there = at_bank or ours_there
        found[row["id"]] = Behind(
            row["refund"] or ours_there or row["provider_payment_id"],
            PublicId(public_id) if kind == "payout" else None,
        )
    return found


def _about(row: asyncpg.Record) -> str:
    """The payout, refund or chargeback that a commit is about, as events name it, or ""."""
    if row["chargeback"] is not None:
        return f"chargeback:{row['chargeback']}"
    subject: str = row["subject"] or ""
    return subject if subject.partition(":")[0] in ("payout", "refund", "chargeback") else ""
