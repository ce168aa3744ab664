"""**Holds**: money that waits in a contract or in suspense, by for how long it has waited.

Read from view `hold`, whose parts have an index by time each, so that only what is old is looked
at. Days are of 24 hours, in business time.
"""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.alert import HOLD_DAYS, stage_of
from earnest.ids import PublicId
from earnest.ledger import accounts
from earnest.store.contracts import Page

PAST_LIMITS = """
SELECT
    h.kind, h.id AS key, h.public_id, h.number, h.currency, h.tranches, h.amount_minor,
    h.held_since, h.proposal, s.days AS stage,
    floor(extract(EPOCH FROM business_now() - h.held_since) / 86400)::integer AS days
FROM unnest($1::integer[]) AS s (days)
CROSS JOIN LATERAL (
    SELECT i.* FROM hold AS i
    WHERE i.held_since <= business_now() - make_interval(hours => 24 * s.days)
) AS h
WHERE NOT EXISTS (
    SELECT FROM alert AS a
    WHERE a.kind = 'hold_limit' AND a.stage = s.days
    AND a.subject = format('%s:%s', h.kind, h.public_id)
)
ORDER BY h.held_since, s.days
LIMIT $2
"""

OLDER_THAN = """
SELECT
    h.kind, h.id AS key, h.public_id, h.number, h.currency, h.tranches, h.amount_minor,
    h.held_since, h.proposal, 0 AS stage,
    floor(extract(EPOCH FROM business_now() - h.held_since) / 86400)::integer AS days
FROM hold AS h
WHERE h.held_since <= business_now() - make_interval(hours => 24 * $1)
ORDER BY h.held_since, h.id
LIMIT $2 OFFSET $3
"""

COUNT_OLDER_THAN = """
SELECT count(*) FROM hold AS h
WHERE h.held_since <= business_now() - make_interval(hours => 24 * $1)
"""

BALANCES = "SELECT b.account, b.amount_minor FROM balance AS b WHERE b.account = ANY($1::bigint[])"


class Hold(msgspec.Struct, frozen=True):
    """Money of one contract or payment (`kind`). `number` is the contract's, None for a payment;
    `stage` the limit that it is past, in days; `amount_minor` what is still held of it."""

    kind: str
    key: int
    public_id: PublicId
    number: str | None
    currency: str
    amount_minor: int
    held_since: datetime
    days: int
    stage: int
    proposal: str

    @property
    def subject(self) -> str:
        """As audit events name it."""
        return f"{self.kind}:{self.public_id}"


class Listed(msgspec.Struct, frozen=True):
    """Some holds of `total`."""

    holds: list[Hold]
    total: int


async def past_limits(conn: asyncpg.Connection, days: Sequence[int], holds_max: int) -> list[Hold]:
    """Holds past one of these limits about which there is no alert yet, once for each limit."""
    return await _holds(conn, await conn.fetch(PAST_LIMITS, list(days), holds_max))


async def too_long(conn: asyncpg.Connection, page: Page) -> Listed:
    """Holds past the first limit, the oldest first."""
    rows = await conn.fetch(OLDER_THAN, HOLD_DAYS[0], page.limit, page.offset)
    return Listed(await _holds(conn, rows), await conn.fetchval(COUNT_OLDER_THAN, HOLD_DAYS[0]))


async def _holds(conn: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> list[Hold]:
    wanted = [account for row in rows for account in _accounts(row)]
    found = await conn.fetch(BALANCES, wanted)
    held_minor = {row["account"]: row["amount_minor"] for row in found}
    return [
        Hold(
            kind=row["kind"],
            key=row["key"],
            public_id=row["public_id"],
            number=row["number"],
            currency=row["currency"],
            amount_minor=row["amount_minor"]
            if row["amount_minor"] is not None
            else sum(held_minor.get(account, 0) for account in _accounts(row)),
            held_since=row["held_since"],
            days=row["days"],
            stage=row["stage"] or stage_of(row["days"]),
            proposal=row["proposal"],
        )
        for row in rows
    ]


def _accounts(row: asyncpg.Record) -> list[int]:
    """Where a contract's money is; nothing for a payment."""
    return [
        accounts.held(row["currency"], row["key"], index)
        for index in range(len(row["tranches"] or ()))
    ]
