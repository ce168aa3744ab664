"""Where people are paid: a **payee**'s account at a payment provider, as far as we know it.

A payee is a person, or a business itself. Invariant: one account for each payee at each of our
provider accounts; it is planned here before the provider is asked for it, so that its public id,
the provider's idempotency key, is the same however often it is asked.
"""

from datetime import datetime

import asyncpg
import msgspec

from earnest.ids import PublicId
from earnest.store import keys


class Payee(msgspec.Struct, frozen=True):
    """Who is to be paid; `party` None: the business itself."""

    business: int
    party: int | None


class Standing(msgspec.Struct, frozen=True):
    """A payee's account. `external_account` is None until the provider has made it; `lacks` is what
    its owner still has to hand in, in the provider's words."""

    public_id: PublicId
    country: str
    external_account: str | None
    is_payable: bool
    lacks: tuple[str, ...]
    name: str
    email: str
    now: datetime


FIND = """
SELECT
    a.public_id, a.country, a.external_account, a.is_payable, a.lacks,
    coalesce(p.name, b.name) AS name, coalesce(p.email, '') AS email, business_now() AS now
FROM payout_account AS a
INNER JOIN business AS b ON b.id = a.business_id
LEFT JOIN party AS p ON p.id = a.party_id
WHERE a.business_id = $1 AND a.party_id IS NOT DISTINCT FROM $2 AND a.provider_account_id = $3
"""

PLAN = """
INSERT INTO payout_account (
    id, public_id, business_id, party_id, provider_account_id, country, created_at, checked_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT DO NOTHING
"""

# Another country is possible until the provider has made the account.
RECORD = """
UPDATE payout_account SET
    external_account = $2,
    is_payable = $3,
    lacks = $4,
    checked_at = business_now()
WHERE public_id = $1 AND (external_account IS NULL OR external_account = $2)
"""


async def find(conn: asyncpg.Connection, payee: Payee, provider_account: int) -> Standing | None:
    """The payee's account, if one was ever planned."""
    row = await conn.fetchrow(FIND, payee.business, payee.party, provider_account)
    if row is None:
        return None
    return Standing(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6], row[7])


async def plan(
    conn: asyncpg.Connection, payee: Payee, provider_account: int, country: str
) -> Standing:
    """The payee's account, planned now unless it was. `country` is ISO 3166-1 alpha-2."""
    fresh = await keys.draw(conn)
    await conn.execute(
        PLAN,
        fresh.key,
        fresh.public_id,
        payee.business,
        payee.party,
        provider_account,
        country,
        fresh.at,
    )
    planned = await find(conn, payee, provider_account)
    assert planned is not None
    return planned


async def record(
    conn: asyncpg.Connection,
    account: PublicId,
    external_account: str,
    *,
    is_payable: bool,
    lacks: tuple[str, ...],
) -> None:
    """Write down what the provider said of an account; it never becomes another one there."""
    await conn.execute(RECORD, account, external_account, is_payable, list(lacks))
