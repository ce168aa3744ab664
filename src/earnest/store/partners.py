"""Partners' contracts: what stands around a new one, and one with all that it shows.

Everything here is asked for in the name of one business, and finds nothing of another's: an id of
somebody else's contract is as unknown as one that was never given (decision E13).
"""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.contract import Contract
from earnest.domain.party import Actor, Member
from earnest.domain.payment import Payment
from earnest.store.accounts import Account
from earnest.store.contracts import NO_SCOPE, account_from, business_from, stored_from
from earnest.store.db import Pool
from earnest.store.grouping import Grouped
from earnest.store.idempotency import Once, Stored
from earnest.store.rows import contract_from, member_from, payment_from

LOADS_MAX = 128


class Moved(msgspec.Struct, frozen=True):
    """An event that moved a contract's money; `body` is JSON."""

    key: int
    type: str
    recorded_at: datetime
    body: str


class Brokered(msgspec.Struct, frozen=True):
    """A partner's contract with what its documents name, and where its money went.

    `payment` is the one whose money it holds or held; `moved` are the events of its money, in
    order; `seller_verified` whether the seller's identity is (E12).
    """

    contract: Contract
    business: Business
    buyer: Member
    seller: Member
    payment: Payment | None
    seller_verified: bool
    moved: tuple[Moved, ...]


class Wanted(msgspec.Struct, frozen=True):
    """One contract of the caller's business by its number, asked for maybe once."""

    number: str
    caller: Actor
    once: Once | None = None


class FoundBrokered(msgspec.Struct, frozen=True):
    """What a decision about one contract needs; `brokered` is None for an unknown number."""

    brokered: Brokered | None
    caller: Account | None
    stored: Stored | None
    now: datetime


MONEY_MOVED = ("payment.completed", "contract.released", "contract.refunded")

# `(SELECT $1)`, `LATERAL (... LIMIT 1)`: see store.contracts. People come as columns, in the order
# of Member.
LOAD = """
SELECT
    c.contract, t.terms, p.payment, y.completed_at IS NOT NULL AS seller_verified,
    m.keys, m.types, m.moments, m.bodies,
    b.id, b.name, b.currency, b.settings,
    a.status, a.token_generation, k.request_hash, k.status, k.reply, (SELECT business_now()),
    buyer.id, buyer.public_id, buyer.business_id, buyer.platform_ref, buyer.phone,
    buyer.first_name, buyer.last_name, buyer.created_at,
    seller.id, seller.public_id, seller.business_id, seller.platform_ref, seller.phone,
    seller.first_name, seller.last_name, seller.created_at
FROM unnest((SELECT $1::integer[]), (SELECT $2::text[]), (SELECT $3::bytea[]))
    WITH ORDINALITY AS q (business_id, number, scope, position)
LEFT JOIN LATERAL (SELECT * FROM business AS one WHERE one.id = q.business_id LIMIT 1) AS b ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM api_client AS one WHERE one.business_id = q.business_id LIMIT 1
) AS a ON TRUE
LEFT JOIN LATERAL (
    SELECT one AS contract, one.id, one.buyer_id, one.seller_id, one.funded_at
    FROM contract AS one
    WHERE one.business_id = q.business_id AND one.number = q.number
    LIMIT 1
) AS c ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM contract_terms AS one WHERE one.contract_id = c.id LIMIT 1
) AS t ON TRUE
LEFT JOIN LATERAL (SELECT * FROM party AS one WHERE one.id = c.buyer_id LIMIT 1) AS buyer ON TRUE
LEFT JOIN LATERAL (SELECT * FROM party AS one WHERE one.id = c.seller_id LIMIT 1) AS seller ON TRUE
LEFT JOIN LATERAL (
    SELECT one AS payment FROM payment AS one
    WHERE one.contract_id = c.id AND one.state = 'captured'
    LIMIT 1
) AS p ON TRUE
LEFT JOIN LATERAL (SELECT * FROM kyc AS one WHERE one.party_id = c.seller_id LIMIT 1) AS y ON TRUE
LEFT JOIN LATERAL (
    SELECT
        array_agg(e.id ORDER BY e.seq) AS keys,
        array_agg(e.type ORDER BY e.seq) AS types,
        array_agg(e.recorded_at ORDER BY e.seq) AS moments,
        array_agg(e.body ORDER BY e.seq) AS bodies
    FROM event AS e
    WHERE c.funded_at IS NOT NULL AND e.contract_id = c.id
        AND e.type IN ('payment.completed', 'contract.released', 'contract.refunded')
) AS m ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM idempotency_key AS one WHERE one.scope = q.scope LIMIT 1
) AS k ON TRUE
ORDER BY q.position
"""


class PartnerLoads:
    """Coalesced loads of partners' contracts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._together: Grouped[Wanted, FoundBrokered] = Grouped(
            self._load, members_max=LOADS_MAX, lanes=2
        )

    async def contract(self, wanted: Wanted) -> FoundBrokered:
        """One contract as it is now, with everything a decision about it needs."""
        return await self._together(wanted)

    async def _load(self, batch: Sequence[Wanted]) -> list[FoundBrokered]:
        async with self._pool.connection() as conn:
            rows = await conn.fetch(
                LOAD,
                [wanted.caller.key for wanted in batch],
                [wanted.number for wanted in batch],
                [wanted.once.scope if wanted.once else NO_SCOPE for wanted in batch],
            )
        return [
            FoundBrokered(_brokered(row), account_from(row, 12), stored_from(row, 14), row[17])
            for row in rows
        ]


def _brokered(row: asyncpg.Record) -> Brokered | None:
    business = business_from(row, 8)
    if row[0] is None or business is None:
        return None
    return Brokered(
        contract=contract_from(row[0], row[1]),
        business=business,
        buyer=Member(*row[18:26]),
        seller=Member(*row[26:34]),
        payment=payment_from(row[2]) if row[2] is not None else None,
        seller_verified=row[3],
        moved=tuple(map(Moved, *row[4:8])) if row[4] is not None else (),
    )


# -- a new contract -----------------------------------------------------------------------------


class FoundDraft(msgspec.Struct, frozen=True):
    """What stands around a new contract: for each of two people, whom the business knows by the
    reference and by the phone number that were sent."""

    business: Business | None
    buyer_by_ref: Member | None
    buyer_by_phone: Member | None
    seller_by_ref: Member | None
    seller_by_phone: Member | None
    caller: Account | None
    stored: Stored | None
    now: datetime


LOAD_DRAFT = """
SELECT
    br AS buyer_by_ref, bp AS buyer_by_phone, sr AS seller_by_ref, sp AS seller_by_phone,
    b.id, b.name, b.currency, b.settings,
    a.status, a.token_generation, k.request_hash, k.status, k.reply, business_now()
FROM (VALUES (1)) AS one (row)
LEFT JOIN business AS b ON b.id = $1
LEFT JOIN api_client AS a ON a.business_id = $1
LEFT JOIN party AS br ON br.business_id = $1 AND br.platform_ref = $2
LEFT JOIN party AS bp ON bp.business_id = $1 AND bp.phone = $3
LEFT JOIN party AS sr ON sr.business_id = $1 AND sr.platform_ref = $4
LEFT JOIN party AS sp ON sp.business_id = $1 AND sp.phone = $5
LEFT JOIN idempotency_key AS k ON k.scope = $6
"""


class Name(msgspec.Struct, frozen=True):
    """By what a person may be known."""

    platform_ref: str | None
    phone: str | None


async def load_draft(
    pool: Pool, caller: Actor, buyer: Name, seller: Name, once: Once | None
) -> FoundDraft:
    """What stands around a contract that `caller` wants between these two."""
    async with pool.connection() as conn:
        row = await conn.fetchrow(
            LOAD_DRAFT,
            caller.key,
            buyer.platform_ref,
            buyer.phone,
            seller.platform_ref,
            seller.phone,
            once.scope if once else NO_SCOPE,
        )
    assert row is not None
    by_buyer_ref, by_buyer_phone, by_seller_ref, by_seller_phone = (
        None if found is None else member_from(found) for found in row[0:4]
    )
    return FoundDraft(
        business=business_from(row, 4),
        buyer_by_ref=by_buyer_ref,
        buyer_by_phone=by_buyer_phone,
        seller_by_ref=by_seller_ref,
        seller_by_phone=by_seller_phone,
        caller=account_from(row, 8),
        stored=stored_from(row, 10),
        now=row[13],
    )


# -- lists --------------------------------------------------------------------------------------


class Listed(msgspec.Struct, frozen=True):
    """A contract in a list."""

    contract: Contract
    buyer: Member
    seller: Member


# Newest first; $2 is a partner's status or null.
LIST = """
SELECT c AS contract, t.terms, buyer AS buyer, seller AS seller
FROM contract AS c
INNER JOIN contract_terms AS t ON t.contract_id = c.id
INNER JOIN party AS buyer ON buyer.id = c.buyer_id
INNER JOIN party AS seller ON seller.id = c.seller_id
WHERE c.business_id = $1 AND ($2::text IS NULL OR partner_status(c) = $2)
ORDER BY c.created_at DESC, c.id DESC
LIMIT $3 OFFSET $4
"""

COUNT = """
SELECT count(*) FROM (
    SELECT FROM contract AS c
    WHERE c.business_id = $1 AND ($2::text IS NULL OR partner_status(c) = $2)
    LIMIT $3
) AS counted
"""

COUNT_MAX = 10_000


async def of_business(
    conn: asyncpg.Connection, business: int, status: str | None, limit: int, offset: int
) -> list[Listed]:
    """The contracts of a business, newest first; with `status` only those."""
    rows = await conn.fetch(LIST, business, status, limit, offset)
    return [
        Listed(contract_from(row[0], row[1]), member_from(row[2]), member_from(row[3]))
        for row in rows
    ]


async def count(conn: asyncpg.Connection, business: int, status: str | None) -> int:
    """How many there are; COUNT_MAX stands for as many or more."""
    found: int = await conn.fetchval(COUNT, business, status, COUNT_MAX)
    return found


# -- the trail ----------------------------------------------------------------------------------


class Told(msgspec.Struct, frozen=True):
    """One event of a contract's chain; `hash_before` is None for the first."""

    seq: int
    type: str
    actor: str
    recorded_at: datetime
    body: str
    hash: bytes
    hash_before: bytes | None


EVENTS = """
SELECT
    e.seq, e.type, e.actor, e.recorded_at, e.body, e.hash,
    lag(e.hash) OVER (ORDER BY e.seq) AS hash_before
FROM event AS e
WHERE e.contract_id = $1
ORDER BY e.seq
LIMIT $2 OFFSET $3
"""


async def events(conn: asyncpg.Connection, contract: int, limit: int, offset: int) -> list[Told]:
    """The events of a contract, oldest first."""
    return [Told(*row) for row in await conn.fetch(EVENTS, contract, limit, offset)]
