"""**Members**: the buyers and sellers of partners, by public id or by phone number.

Invariant: within a business a platform reference and a phone number each belong to one member
(`party_ref_unique`, `party_phone_unique`); whoever names a number that is known means the member
who is stored, whatever name is sent along (E23).
"""

import asyncpg

from earnest.domain.party import Member
from earnest.ids import PublicId, key_of, new_platform_ref
from earnest.store import keys
from earnest.store.rows import member_from

FIND_BY_PHONE = "SELECT p FROM party AS p WHERE p.business_id = $1 AND p.phone = $2"

FIND = """
SELECT p FROM party AS p
WHERE p.id = $1 AND p.public_id = $2 AND p.business_id = $3 AND p.platform_ref IS NOT NULL
"""

# Waits for whoever is inserting the same number or reference, and then does nothing.
INSERT = """
INSERT INTO party AS p (
    id, public_id, business_id, name, created_at, platform_ref, phone, first_name, last_name
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
RETURNING p
"""


async def find(conn: asyncpg.Connection, business: int, member: PublicId) -> Member | None:
    """The member of `business` with this public id."""
    row = await conn.fetchrow(FIND, key_of(member), member, business)
    return None if row is None else member_from(row[0])


async def find_by_phone(conn: asyncpg.Connection, business: int, phone: str) -> Member | None:
    """The member of `business` with this phone number."""
    row = await conn.fetchrow(FIND_BY_PHONE, business, phone)
    return None if row is None else member_from(row[0])


async def find_or_create(
    conn: asyncpg.Connection, business: int, phone: str, first_name: str, last_name: str
) -> Member:
    """The member with this phone number, a new one if nobody has it yet.

    Two calls at once come to the same member. Within the caller's database transaction.
    """
    while True:
        known = await find_by_phone(conn, business, phone)
        if known is not None:
            return known
        fresh = await keys.draw(conn)
        ref = new_platform_ref(fresh.key, fresh.at)
        made = await conn.fetchrow(
            INSERT,
            fresh.key,
            fresh.public_id,
            business,
            f"{first_name} {last_name}".strip(),
            fresh.at,
            ref,
            phone,
            first_name,
            last_name,
        )
        if made is not None:
            return member_from(made[0])
        # Somebody took the number meanwhile, or the reference: look again, with another key.
