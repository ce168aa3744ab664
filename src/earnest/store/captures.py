"""What stands around a checkout session when a provider's event speaks of it.

Events come in bursts (a provider that was away, a sale), so they are loaded together.
"""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business
from earnest.domain.capture import Situation
from earnest.domain.hiring import Job
from earnest.store.contracts import business_from
from earnest.store.db import Pool, spaced
from earnest.store.grouping import Grouped
from earnest.store.rows import contract_from, payment_from

LOADS_MAX = 128


class Told(msgspec.Struct, frozen=True):
    """An event of our account at our provider, by its ids there."""

    event_id: str
    session_id: str | None
    provider_payment_id: str | None


class FoundSession(msgspec.Struct, frozen=True):
    """What a decision about an event needs. `known`: this very event was consumed before."""

    situation: Situation
    business: Business
    known: bool
    now: datetime


# `(SELECT $1)`: see store.contracts. A session that we did not open is the marketplace's.
#
# Everything is looked up by a unique key, one event at a time, and written so that it can only be
# planned so: a subquery that yields a value, or one row. As joins and EXISTS, while the statistics
# of a table were young, each event walked or hashed the whole of it.
#
# `other`: the job's live contract, where the payment is not bound to it. `j`, `applied`: what it
# takes to make a contract, where it is bound to none. Nearly always it is bound to a live one.
LOAD = """
SELECT
    asked.payment,
    bound.contract AS bound,
    (SELECT t.terms FROM contract_terms AS t WHERE t.contract_id = asked.contract_id)
        AS bound_terms,
    other.contract AS other,
    (SELECT t.terms FROM contract_terms AS t WHERE t.contract_id = other.id) AS other_terms,
    j.id, j.public_id, j.client_id, j.title, j.description, j.rate_minor, j.currency, j.listing,
    asked.contract_id IS NULL AND (
        SELECT TRUE FROM application AS a
        WHERE a.job_id = asked.job_id AND a.freelancer_id = asked.seller_id
    ) IS TRUE AS applied,
    (
        SELECT TRUE FROM provider_event AS e
        WHERE e.provider = $1 AND e.session_id = q.session_id AND e.took_money
        AND (e.outcome = 'quarantined')
    ) IS TRUE AS quarantined,
    (
        SELECT TRUE FROM payment AS p
        WHERE p.provider_account_id = $2 AND p.provider_payment_id = q.payment_id
        AND p.session_id IS DISTINCT FROM q.session_id
    ) IS TRUE AS counted,
    (
        SELECT TRUE FROM provider_event AS e
        WHERE e.provider = $1 AND e.event_id = q.event_id
    ) IS TRUE AS known,
    (SELECT business_now()) AS now,
    b.id, b.name, b.currency, b.settings
FROM unnest(
    (SELECT string_to_array($3, ' ', '')), (SELECT string_to_array($4, ' ', '')),
    (SELECT string_to_array($5, ' ', ''))
)
    WITH ORDINALITY AS q (event_id, session_id, payment_id, position)
LEFT JOIN LATERAL (
    SELECT p AS payment, p.business_id, p.contract_id, p.job_id, p.seller_id
    FROM payment AS p
    WHERE p.provider_account_id = $2 AND p.session_id = q.session_id
    LIMIT 1
) AS asked ON TRUE
LEFT JOIN LATERAL (
    SELECT c AS contract, c.live FROM contract AS c WHERE c.id = asked.contract_id LIMIT 1
) AS bound ON TRUE
LEFT JOIN LATERAL (
    SELECT c AS contract, c.id
    FROM contract AS c
    WHERE bound.live IS NOT TRUE AND c.job_id = asked.job_id AND c.live
    LIMIT 1
) AS other ON TRUE
LEFT JOIN LATERAL (
    SELECT
        j.id, j.public_id, j.client_id, j.title, j.description, j.rate_minor, j.currency,
        j.listing
    FROM job AS j
    WHERE asked.contract_id IS NULL AND j.id = asked.job_id
    LIMIT 1
) AS j ON TRUE
LEFT JOIN LATERAL (
    SELECT b.id, b.name, b.currency, b.settings
    FROM business AS b
    WHERE b.id = coalesce(asked.business_id, 1)
    LIMIT 1
) AS b ON TRUE
ORDER BY q.position
"""


class CaptureLoads:
    """Coalesced loads for the events of one account."""

    def __init__(self, pool: Pool, provider: str, provider_account: int) -> None:
        self._pool = pool
        self._provider = provider
        self._provider_account = provider_account
        self._together: Grouped[Told, FoundSession] = Grouped(self._load, members_max=LOADS_MAX)

    async def session(self, told: Told) -> FoundSession:
        """What stands around the session of this event."""
        return await self._together(told)

    async def _load(self, batch: Sequence[Told]) -> list[FoundSession]:
        async with self._pool.connection() as conn:
            rows = await conn.fetch(
                LOAD,
                self._provider,
                self._provider_account,
                spaced([told.event_id for told in batch]),
                spaced([told.session_id or "" for told in batch]),
                spaced([told.provider_payment_id or "" for told in batch]),
            )
        # One object for all of them: what is derived from it then is, too (hashes, wire format).
        now = rows[0][17]
        return [_found(row, now) for row in rows]


def _found(row: asyncpg.Record, now: datetime) -> FoundSession:
    payment = payment_from(row[0]) if row[0] is not None else None
    bound = contract_from(row[1], row[2]) if row[1] is not None else None
    live = bound if bound is not None and bound.live and bound.job is not None else None
    if row[3] is not None:
        live = contract_from(row[3], row[4])
    job = Job(*row[5:13]) if row[5] is not None else None
    business = business_from(row, 18)
    assert business is not None
    situation = Situation(
        payment=payment,
        bound=bound,
        live=live,
        job=job,
        applied=row[13],
        quarantined=row[14],
        counted=row[15],
    )
    return FoundSession(situation, business, row[16], now)
