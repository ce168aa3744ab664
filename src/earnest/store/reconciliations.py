"""**Reconciliations**: what each day's comparison came to, and whose turn it is to make the next.

Invariant: a day has the results of its last run; a difference that a later run or a later day has
no more stays, with the time when that was found.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import asyncpg
import msgspec

from earnest.domain.reconciliation import (
    SETTLED_LATER,
    Balances,
    Cause,
    Difference,
    Fact,
    Kind,
    Result,
    When,
)
from earnest.store.contracts import Page

# Two runs may be under way at once: they save one after the other.
LOCK = "SELECT pg_advisory_xact_lock(7305803, $1)"

NOW = "SELECT statement_timestamp()"

LAST_DAY = "SELECT max(day) FROM reconciliation WHERE provider_account_id = $1"

UNSETTLED_SINCE = """
SELECT min(d.day) FROM reconciliation_difference AS d
WHERE d.provider_account_id = $1 AND d.day >= $2 AND d.resolved_at IS NULL
    AND d.cause = ANY($3::text[])
"""

# A day that has lines which it was not compared with, or does not begin where the one before ended.
STALE_SINCE = """
SELECT least((
    SELECT min(l.day) FROM balance_line AS l
    LEFT JOIN reconciliation AS r
        ON r.provider_account_id = l.provider_account_id AND r.day = l.day
        AND r.currency = l.currency
    WHERE l.provider_account_id = $1 AND l.day >= $2
        AND (r.ran_at IS NULL OR r.ran_at < l.imported_at)
), (
    SELECT min(d.day) FROM (
        SELECT r.day, r.there_opening_minor, r.here_opening_minor,
            coalesce(lag(r.there_closing_minor) OVER days, 0) AS there_minor,
            coalesce(lag(r.here_closing_minor) OVER days, 0) AS here_minor
        FROM reconciliation AS r
        WHERE r.provider_account_id = $1
        WINDOW days AS (PARTITION BY r.currency ORDER BY r.day)
    ) AS d
    WHERE (d.there_opening_minor, d.here_opening_minor) <> (d.there_minor, d.here_minor)
))
"""

OPENINGS = """
SELECT DISTINCT ON (r.currency) r.currency, r.there_closing_minor, r.here_closing_minor
FROM reconciliation AS r
WHERE r.provider_account_id = $1 AND r.day < $2
ORDER BY r.currency, r.day DESC
"""

# What the last day before $2 of each currency had left, in its last run.
LEFT = """
SELECT d.kind, d.source_id, d.currency, d.there_minor, d.here_minor, d.of
FROM (
    SELECT DISTINCT ON (r.currency) r.currency, r.day, r.ran_at
    FROM reconciliation AS r
    WHERE r.provider_account_id = $1 AND r.day < $2
    ORDER BY r.currency, r.day DESC
) AS r
INNER JOIN reconciliation_difference AS d
    ON d.provider_account_id = $1 AND d.day = r.day AND d.currency = r.currency
    AND d.last_seen = r.ran_at AND d.cause <> 'altered'
"""

SAVE = """
INSERT INTO reconciliation (
    provider_account_id, day, currency, state, ran_at, there_opening_minor, there_closing_minor,
    here_opening_minor, here_closing_minor, drift_minor, lines, entries, differences
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7::bigint - $9::bigint, $10, $11, $12)
ON CONFLICT (provider_account_id, day, currency) DO UPDATE SET
    state = excluded.state,
    ran_at = excluded.ran_at,
    there_opening_minor = excluded.there_opening_minor,
    there_closing_minor = excluded.there_closing_minor,
    here_opening_minor = excluded.here_opening_minor,
    here_closing_minor = excluded.here_closing_minor,
    drift_minor = excluded.drift_minor,
    lines = excluded.lines,
    entries = excluded.entries,
    differences = excluded.differences
"""

SAVE_DIFFERENCES = """
INSERT INTO reconciliation_difference (
    provider_account_id, day, currency, kind, source_id, cause, there_minor, here_minor, of, since,
    first_seen, last_seen
)
SELECT
    $1, $2, $3, n.kind, n.source_id, n.cause, n.there_minor, n.here_minor, n.of,
    coalesce(p.since, $2), $4, $4
FROM unnest(
    $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::text[]
) AS n (kind, source_id, cause, there_minor, here_minor, of)
LEFT JOIN (
    SELECT r.day, r.ran_at FROM reconciliation AS r
    WHERE r.provider_account_id = $1 AND r.currency = $3 AND r.day < $2
    ORDER BY r.day DESC
    LIMIT 1
) AS before ON TRUE
LEFT JOIN reconciliation_difference AS p
    ON p.provider_account_id = $1 AND p.day = before.day AND p.currency = $3 AND p.kind = n.kind
    AND p.source_id = n.source_id AND p.last_seen = before.ran_at
ON CONFLICT (provider_account_id, day, currency, kind, source_id) DO UPDATE SET
    cause = excluded.cause,
    there_minor = excluded.there_minor,
    here_minor = excluded.here_minor,
    of = excluded.of,
    since = excluded.since,
    last_seen = excluded.last_seen,
    resolved_at = NULL
"""

# Of this day: what this run did not find any more.
RESOLVE_OF_DAY = """
UPDATE reconciliation_difference SET resolved_at = $4
WHERE provider_account_id = $1 AND day = $2 AND currency = $3 AND last_seen < $4
    AND resolved_at IS NULL
"""

# Of the days before: what this day has no more.
RESOLVE_BEFORE = """
UPDATE reconciliation_difference AS d SET resolved_at = $4
FROM unnest($5::text[], $6::text[]) AS n (kind, source_id)
WHERE d.provider_account_id = $1 AND d.day < $2 AND d.currency = $3 AND d.kind = n.kind
    AND d.source_id = n.source_id AND d.resolved_at IS NULL
"""

TAKE_TURN = """
INSERT INTO reconciliation_turn (provider_account_id, next_try_at)
VALUES ($1, now() + make_interval(secs => $3))
ON CONFLICT (provider_account_id) DO UPDATE SET next_try_at = excluded.next_try_at
WHERE reconciliation_turn.next_try_at <= now()
    AND reconciliation_turn.done_day IS DISTINCT FROM $2
RETURNING TRUE
"""

END_TURN = """
UPDATE reconciliation_turn SET done_day = $2, next_try_at = now() WHERE provider_account_id = $1
"""

LIST = """
SELECT
    r.day, r.currency, r.state, r.ran_at, r.there_opening_minor, r.there_closing_minor,
    r.here_opening_minor, r.here_closing_minor, r.drift_minor, r.lines, r.entries, r.differences
FROM reconciliation AS r
WHERE r.provider_account_id = $1
ORDER BY r.day DESC, r.currency
LIMIT $2 OFFSET $3
"""

COUNT = "SELECT count(*) FROM reconciliation AS r WHERE r.provider_account_id = $1"

OF_DAY = """
SELECT
    r.day, r.currency, r.state, r.ran_at, r.there_opening_minor, r.there_closing_minor,
    r.here_opening_minor, r.here_closing_minor, r.drift_minor, r.lines, r.entries, r.differences
FROM reconciliation AS r
WHERE r.provider_account_id = $1 AND r.day = $2
ORDER BY r.currency
"""

DIFFERENCES_OF_DAY = """
SELECT
    d.cause, d.kind, d.source_id, d.currency, d.there_minor, d.here_minor, d.of, d.since,
    d.first_seen, d.resolved_at
FROM reconciliation_difference AS d
WHERE d.provider_account_id = $1 AND d.day = $2
ORDER BY d.resolved_at IS NOT NULL, d.currency, d.cause, d.kind, d.source_id
LIMIT $3 OFFSET $4
"""

COUNT_DIFFERENCES = """
SELECT count(*) FROM reconciliation_difference AS d
WHERE d.provider_account_id = $1 AND d.day = $2
"""


class Kept(msgspec.Struct, frozen=True):
    """One day of one currency, as it is stored."""

    day: date
    currency: str
    state: str
    ran_at: datetime
    there_opening_minor: int
    there_closing_minor: int
    here_opening_minor: int
    here_closing_minor: int
    drift_minor: int
    lines: int
    entries: int
    differences: int


class KeptDifference(msgspec.Struct, frozen=True):
    """A difference of a stored day, which there is `since` that day or an earlier one;
    `resolved_at` once it is none any more."""

    difference: Difference
    since: date
    first_seen: datetime
    resolved_at: datetime | None


async def real_now(conn: asyncpg.Connection) -> datetime:
    """The database's own clock, which the sandbox does not move."""
    found: datetime = await conn.fetchval(NOW)
    return found


async def last_day(conn: asyncpg.Connection, account: int) -> date | None:
    """The last day that was reconciled."""
    found: date | None = await conn.fetchval(LAST_DAY, account)
    return found


async def unsettled_since(conn: asyncpg.Connection, account: int, since: date) -> date | None:
    """The first day from `since` on with a difference that later days may explain."""
    found: date | None = await conn.fetchval(UNSETTLED_SINCE, account, since, list(SETTLED_LATER))
    return found


async def stale_since(conn: asyncpg.Connection, account: int, since: date) -> date | None:
    """The first day that has to be compared again, from `since` on for new lines."""
    found: date | None = await conn.fetchval(STALE_SINCE, account, since)
    return found


async def lock(conn: asyncpg.Connection, account: int) -> None:
    """Until the end of the caller's database transaction, nobody else saves results."""
    await conn.execute(LOCK, account)


async def openings(conn: asyncpg.Connection, account: int, day: date) -> dict[str, Balances]:
    """What each currency closed with on its last day before `day`."""
    return {row[0]: Balances(row[1], row[2]) for row in await conn.fetch(OPENINGS, account, day)}


async def left(conn: asyncpg.Connection, account: int, day: date) -> list[Fact]:
    """What the days before `day` have left unexplained."""
    return [
        Fact(When.BEFORE, Kind(row[0]), *row[1:]) for row in await conn.fetch(LEFT, account, day)
    ]


async def save(
    conn: asyncpg.Connection,
    account: int,
    result: Result,
    left: Iterable[Fact],
    ran_at: datetime,
    *,
    is_over: bool,
) -> None:
    """Keep the result of a run at `ran_at` instead of that of the last one, within the caller's
    database transaction. `left` is what the day began with."""
    of_day = (account, result.day, result.currency)
    state = "different" if result.differences else "clean"
    await conn.execute(
        SAVE, *of_day, state if is_over else "open", ran_at,
        result.opening.there_minor, result.closing.there_minor,
        result.opening.here_minor, result.closing.here_minor,
        result.lines, result.entries, len(result.differences),
    )  # fmt: skip
    found = result.differences
    await conn.execute(
        SAVE_DIFFERENCES, *of_day, ran_at,
        [str(one.kind) for one in found], [one.source_id for one in found],
        [str(one.cause) for one in found], [one.there_minor for one in found],
        [one.here_minor for one in found], [one.of for one in found],
    )  # fmt: skip
    await conn.execute(RESOLVE_OF_DAY, *of_day, ran_at)
    still = {(one.kind, one.source_id) for one in found}
    gone = [
        (fact.kind, fact.source_id)
        for fact in left
        if fact.currency == result.currency and (fact.kind, fact.source_id) not in still
    ]
    if gone:
        kinds, sources = zip(*gone, strict=True)
        await conn.execute(
            RESOLVE_BEFORE, *of_day, ran_at, [str(kind) for kind in kinds], list(sources)
        )


async def take_turn(conn: asyncpg.Connection, account: int, day: date, lease_seconds: int) -> bool:
    """Whether the caller is to reconcile `day`: nobody has done so, or has begun to within
    `lease_seconds`."""
    return bool(await conn.fetchval(TAKE_TURN, account, day, lease_seconds))


async def end_turn(conn: asyncpg.Connection, account: int, day: date) -> None:
    """It is done."""
    await conn.execute(END_TURN, account, day)


async def listed(conn: asyncpg.Connection, account: int, page: Page) -> tuple[list[Kept], int]:
    """The stored days, the newest first, and how many there are."""
    rows = await conn.fetch(LIST, account, page.limit, page.offset)
    return [Kept(*row) for row in rows], await conn.fetchval(COUNT, account)


async def of_day(conn: asyncpg.Connection, account: int, day: date) -> Sequence[Kept]:
    """The stored results of one day, by currency."""
    return [Kept(*row) for row in await conn.fetch(OF_DAY, account, day)]


async def differences_of_day(
    conn: asyncpg.Connection, account: int, day: date, page: Page
) -> tuple[list[KeptDifference], int]:
    """What is stored as a difference of one day, the unresolved first, and how many there are."""
    rows = await conn.fetch(DIFFERENCES_OF_DAY, account, day, page.limit, page.offset)
    found = [
        KeptDifference(Difference(Cause(row[0]), Kind(row[1]), *row[2:7]), *row[7:]) for row in rows
    ]
    return found, await conn.fetchval(COUNT_DIFFERENCES, account, day)
