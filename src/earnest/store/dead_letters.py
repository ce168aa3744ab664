"""**Dead letters**: calls to a provider about which nobody does anything until an admin says so.

Each is an index entry of its own table (refund_by_state, payout_by_state); nothing is kept here.
"""

from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from earnest.ids import PublicId
from earnest.store.contracts import Page

LIST = """
SELECT d.kind, d.public_id, d.business, d.state, d.amount_minor, d.currency, d.said, d.since
FROM (
    SELECT
        'refund' AS kind, r.id, r.public_id, b.name AS business, r.state, r.amount_minor,
        r.currency, r.last_error AS said, r.updated_at AS since
    FROM refund AS r
    INNER JOIN business AS b ON b.id = r.business_id
    WHERE r.state IN ('failed', 'returned')
    UNION ALL
    SELECT
        'payout', p.id, p.public_id, b.name, p.state, p.amount_minor, p.currency, p.last_error,
        p.updated_at
    FROM payout AS p
    INNER JOIN business AS b ON b.id = p.business_id
    WHERE p.state = 'stuck'
) AS d
ORDER BY d.since DESC, d.id DESC
LIMIT $1 OFFSET $2
"""

COUNT = """
SELECT
    (SELECT count(*) FROM refund AS r WHERE r.state IN ('failed', 'returned'))
    + (SELECT count(*) FROM payout AS p WHERE p.state = 'stuck')
"""


class DeadLetter(msgspec.Struct, frozen=True):
    """A refund that failed or came back, or a payout that is stuck, `since` then; `said` is what
    the provider answered last."""

    kind: Literal["refund", "payout"]
    public_id: PublicId
    business: str
    state: str
    amount_minor: int
    currency: str
    said: str
    since: datetime

    @property
    def retry(self) -> str:
        """The path that a PUT makes the worker try again by."""
        return f"/api/admin/{self.kind}s/{self.public_id}/retry"


class Listed(msgspec.Struct, frozen=True):
    """Some dead letters of `total`."""

    letters: list[DeadLetter]
    total: int


async def listed(conn: asyncpg.Connection, page: Page) -> Listed:
    """All dead letters, the latest first."""
    rows = await conn.fetch(LIST, page.limit, page.offset)
    letters = [msgspec.convert(dict(row), DeadLetter) for row in rows]
    return Listed(letters, await conn.fetchval(COUNT))
