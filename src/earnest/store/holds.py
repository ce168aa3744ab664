"""**Holds**: money that waits in a contract or in suspense, by for how long it has waited.

Read from view `hold`. For each limit only what passed it since the last look is looked at (table
`hold_watch`), so that it does not matter how many contracts ever were. Days are of 24 hours, in
business time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from earnest.domain.alert import stage_of
from earnest.ids import PublicId
from earnest.ledger import accounts
from earnest.store.contracts import Page

SEEN_TO = "SELECT w.days, w.seen_to FROM hold_watch AS w WHERE w.days = ANY($1::integer[])"

# The moments are parameters, so that the planner sees how little lies between them.
PAST_LIMIT = """
SELECT
    h.kind, h.id AS key, h.public_id, h.number, h.currency, h.tranches, h.amount_minor,
    h.held_since, h.proposal, $1::integer AS stage,
    floor(extract(EPOCH FROM business_now() - h.held_since) / 86400)::integer AS days
FROM hold AS h
WHERE h.held_since > $2 AND h.held_since <= $3 AND NOT EXISTS (
    SELECT FROM alert AS a
    WHERE a.kind = 'hold_limit' AND a.stage = $1
    AND a.subject = format('%s:%s', h.kind, h.public_id)
)
ORDER BY h.held_since
LIMIT $4
"""

# A day is looked at again and again, for commits that took their time.
SEEN = """
INSERT INTO hold_watch (days, seen_to)
VALUES ($1, $2::timestamptz - make_interval(hours => 24))
ON CONFLICT (days) DO UPDATE SET seen_to = greatest(hold_watch.seen_to, excluded.seen_to)
"""

# The limit of one keeps the planner from anything but a look at each by its key.
TOLD_OF = """
SELECT
    h.kind, h.id AS key, h.public_id, h.number, h.currency, h.tranches, h.amount_minor,
    h.held_since, h.proposal, 0 AS stage,
    floor(extract(EPOCH FROM business_now() - h.held_since) / 86400)::integer AS days
FROM (
    SELECT DISTINCT a.object_id, a.subject FROM alert AS a WHERE a.kind = 'hold_limit'
) AS told
CROSS JOIN LATERAL (
    SELECT i.* FROM hold AS i
    WHERE i.id = told.object_id AND told.subject = format('%s:%s', i.kind, i.public_id)
    LIMIT 1
) AS h
ORDER BY h.held_since, h.id
LIMIT $1 OFFSET $2
"""

COUNT_TOLD_OF = """
SELECT count(*)
FROM (
    SELECT DISTINCT a.object_id, a.subject FROM alert AS a WHERE a.kind = 'hold_limit'
) AS told
CROSS JOIN LATERAL (
    SELECT i.* FROM hold AS i
    WHERE i.id = told.object_id AND told.subject = format('%s:%s', i.kind, i.public_id)
    LIMIT 1
) AS h
"""

SEEN_AGAIN = timedelta(hours=25)
"""The day that is looked at again, and the hour until that is written down."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

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


async def past_limits(
    conn: asyncpg.Connection, days: Sequence[int], holds_max: int, now: datetime
) -> list[Hold]:
    """Holds past one of these limits about which there is no alert yet, once for each limit.

    Whoever asks raises the alerts in the same database transaction: what was looked at by `now`
    is not looked at again.
    """
    seen_to = {row["days"]: row["seen_to"] for row in await conn.fetch(SEEN_TO, list(days))}
    found: list[asyncpg.Record] = []
    for stage in days:
        until, room = now - timedelta(days=stage), holds_max - len(found)
        since = seen_to.get(stage, _LONG_AGO)
        past = await conn.fetch(PAST_LIMIT, stage, since, until, room)
        found += past
        if len(past) < room and until - since > SEEN_AGAIN:
            await conn.execute(SEEN, stage, until)
    return sorted(await _holds(conn, found), key=lambda hold: (hold.held_since, hold.stage))


async def too_long(conn: asyncpg.Connection, page: Page) -> Listed:
    """Holds past the first limit, the oldest first: those that there was ever an alert about."""
    rows = await conn.fetch(TOLD_OF, page.limit, page.offset)
    return Listed(await _holds(conn, rows), await conn.fetchval(COUNT_TOLD_OF))


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
