"""Partners' **payouts**: those of a business and of its people, and which of them can be paid.

Everything here is asked for in the name of one business, and finds nothing of another's (E13).
"""

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.payout import Payout
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import wallet
from earnest.store.rows_out import payout_from


class PaidOut(msgspec.Struct, frozen=True):
    """A payout; `platform_ref` says whose, None: the business's own."""

    payout: Payout
    platform_ref: str | None


class Owner(msgspec.Struct, frozen=True):
    """One of a business's people. `has_wallet`: something was paid to them once, or may be: they
    sell."""

    key: int
    has_wallet: bool


OWNER = """
SELECT
    p.id,
    EXISTS (SELECT FROM balance AS w WHERE w.account = $3 + p.id)
    OR EXISTS (SELECT FROM contract AS c WHERE c.seller_id = p.id) AS has_wallet
FROM party AS p
WHERE p.business_id = $1 AND p.platform_ref = $2
"""

FIND = """
SELECT p AS payout, o.platform_ref
FROM payout AS p
LEFT JOIN party AS o ON o.id = p.party_id
WHERE p.id = $1 AND p.public_id = $2 AND p.business_id = $3
"""


async def owner(conn: asyncpg.Connection, business: Business, platform_ref: str) -> Owner | None:
    """The person with this reference."""
    base = wallet(business.currency, 1) - 1
    row = await conn.fetchrow(OWNER, business.key, platform_ref, base)
    return None if row is None else Owner(*row)


async def find(conn: asyncpg.Connection, business: int, payout: PublicId) -> PaidOut | None:
    """The payout with this id."""
    row = await conn.fetchrow(FIND, key_of(payout), payout, business)
    return None if row is None else PaidOut(payout_from(row[0]), row[1])
