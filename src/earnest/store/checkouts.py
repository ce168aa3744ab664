"""Checkouts: a partner's contract as its buyer comes to pay for it."""

from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.contract import Contract
from earnest.domain.party import Member
from earnest.domain.payment import Payment
from earnest.ids import PublicId, key_of
from earnest.store.contracts import business_from
from earnest.store.rows import contract_from, member_from, payment_from


class FoundCheckout(msgspec.Struct, frozen=True):
    """A contract and who it binds; `payment` is the latest, `client_id` the partner's."""

    contract: Contract
    business: Business
    buyer: Member
    seller: Member
    payment: Payment | None
    client_id: str
    buyer_verified: bool
    now: datetime


LOAD = """
SELECT
    c AS contract, t.terms, buyer AS buyer, seller AS seller, p AS payment, a.client_id,
    y.completed_at IS NOT NULL AS buyer_verified, business_now(),
    b.id, b.name, b.currency, b.settings
FROM contract AS c
INNER JOIN contract_terms AS t ON t.contract_id = c.id
INNER JOIN party AS buyer ON buyer.id = c.buyer_id
INNER JOIN party AS seller ON seller.id = c.seller_id
INNER JOIN business AS b ON b.id = c.business_id
INNER JOIN api_client AS a ON a.business_id = c.business_id
LEFT JOIN kyc AS y ON y.party_id = c.buyer_id
-- The money that came, else the one that can still come, else the last that did not.
LEFT JOIN LATERAL (
    SELECT * FROM payment AS q
    WHERE q.contract_id = c.id
    ORDER BY
        (q.state = 'captured') DESC, (q.state IN ('opening', 'open', 'processing')) DESC,
        q.id DESC
    LIMIT 1
) AS p ON TRUE
WHERE c.id = $1 AND c.public_id = $2 AND c.business_id = $3
"""


async def load(conn: asyncpg.Connection, business: int, contract: PublicId) -> FoundCheckout | None:
    """What stands around the checkout of a contract of `business`; None for an unknown one."""
    row = await conn.fetchrow(LOAD, key_of(contract), contract, business)
    if row is None:
        return None
    found = business_from(row, 8)
    assert found is not None
    return FoundCheckout(
        contract=contract_from(row[0], row[1]),
        business=found,
        buyer=member_from(row[2]),
        seller=member_from(row[3]),
        payment=payment_from(row[4]) if row[4] is not None else None,
        client_id=row[5],
        buyer_verified=row[6],
        now=row[7],
    )
