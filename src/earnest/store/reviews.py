"""**Reviews**: what clients say of completed contracts, one each (`review_once`)."""

import asyncpg
import msgspec

from earnest.domain.party import Party
from earnest.domain.people import AlreadyReviewed, Review
from earnest.ids import PublicId, key_of
from earnest.store import keys
from earnest.store.contracts import Documented, Page, documented_from

CONTRACT = """
SELECT d.*
FROM contract_document AS d
WHERE (d.contract).id = $1 AND (d.contract).public_id = $2
"""

INSERT = """
INSERT INTO review (
    id, public_id, contract_id, client_id, freelancer_id, rating, description, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

COUNT_OF_FREELANCER = """
SELECT count(*) FROM review AS r
INNER JOIN party AS f ON r.freelancer_id = f.id
WHERE r.freelancer_id = $1 AND f.public_id = $2
"""

OF_FREELANCER = """
SELECT
    r.id,
    r.public_id,
    c.public_id AS contract,
    p.id AS client_id,
    p.public_id AS client,
    p.name,
    p.email,
    p.picture,
    f.public_id AS freelancer,
    r.rating,
    r.description,
    r.created_at
FROM review AS r
INNER JOIN party AS f ON r.freelancer_id = f.id
INNER JOIN party AS p ON r.client_id = p.id
INNER JOIN contract AS c ON r.contract_id = c.id
WHERE r.freelancer_id = $1 AND f.public_id = $2
ORDER BY r.id DESC
LIMIT $3 OFFSET $4
"""


class Reviews(msgspec.Struct, frozen=True):
    """Some reviews of `total`."""

    reviews: list[Review]
    total: int


async def contract_to_review(conn: asyncpg.Connection, contract: PublicId) -> Documented | None:
    """The contract as it is now. Completed work stays completed, so no lock is needed."""
    row = await conn.fetchrow(CONTRACT, key_of(contract), contract)
    return None if row is None else documented_from(row)


async def add(
    conn: asyncpg.Connection, documented: Documented, rating: int, description: str
) -> Review:
    """A review by the contract's client. Raises AlreadyReviewed."""
    fresh = await keys.draw(conn)
    contract = documented.contract
    try:
        await conn.execute(
            INSERT,
            fresh.key,
            fresh.public_id,
            contract.key,
            contract.buyer,
            contract.seller,
            rating,
            description,
            fresh.at,
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "review_once":
            raise AlreadyReviewed from None
        raise
    return Review(
        fresh.key,
        fresh.public_id,
        contract.public_id,
        documented.buyer,
        documented.seller.public_id,
        rating,
        description,
        fresh.at,
    )


async def of_freelancer(conn: asyncpg.Connection, freelancer: PublicId, page: Page) -> Reviews:
    """What clients said of a freelancer, newest first."""
    key = key_of(freelancer)
    total = await conn.fetchval(COUNT_OF_FREELANCER, key, freelancer)
    rows = await conn.fetch(OF_FREELANCER, key, freelancer, page.limit, page.offset)
    return Reviews([_review(row) for row in rows], total)


def _review(row: asyncpg.Record) -> Review:
    return Review(
        key=row["id"],
        public_id=PublicId(row["public_id"]),
        contract=PublicId(row["contract"]),
        client=Party(
            row["client_id"], PublicId(row["client"]), row["name"], row["email"], row["picture"]
        ),
        freelancer=PublicId(row["freelancer"]),
        rating=row["rating"],
        description=row["description"],
        created_at=row["created_at"],
    )
