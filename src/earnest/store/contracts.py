"""Contracts: one load for each decision and for each page that shows them.

A load is one round trip and one snapshot: the aggregate at its version, the people and the job
it names, the caller's account status, a stored reply for the caller's idempotency key, and
business time. Loads of single contracts that arrive together travel together.
"""

import functools
from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from earnest.domain.business import Business, Settings
from earnest.domain.contract import Contract
from earnest.domain.hiring import Job
from earnest.domain.party import Actor, Party, Role
from earnest.ids import PublicId, key_of
from earnest.store.accounts import Account
from earnest.store.db import Pool
from earnest.store.grouping import Grouped
from earnest.store.idempotency import Once, Stored
from earnest.store.provider_objects import Captured
from earnest.store.rows import contract_from

LOADS_MAX = 128


class Documented(msgspec.Struct, frozen=True):
    """A contract with what its documents name: both people and the job."""

    contract: Contract
    buyer: Party
    seller: Party
    job: Job | None


class Asked(msgspec.Struct, frozen=True):
    """One contract, asked for by `caller` (None for nobody in particular), maybe once.

    Without a contract: only where the caller's login stands.
    """

    contract: PublicId | None
    caller: Actor | None = None
    once: Once | None = None


class Found(msgspec.Struct, frozen=True):
    """What a decision about one contract needs. `documented` is None for an unknown id."""

    documented: Documented | None
    business: Business | None
    caller: Account | None
    stored: Stored | None
    now: datetime
    paid: Captured | None = None
    """What paid for it, where that was asked for, too."""


# `(SELECT business_now())`: once, where a plain call is made for every row (3 us each).
#
# `(SELECT $1)`: how many are asked for must stay unknown to the planner. Where it can see that
# it is one, it plans every call anew (2.6 ms instead of 0.26).
#
# Business 1: partners' contracts are not the marketplace's to see, see store.partners.
#
# `LATERAL (... LIMIT 1)`: each row is looked up by itself, which is done by its key. A plain join
# may walk the whole table, or its index, if it was planned when there was next to nothing.
#
# `d.*`: the view is the one list of columns; `documented_from` takes them by position. They travel
# as columns, not as the view's row: a row within a row costs the long lists some 6 % more.
_LOAD = """
SELECT
    d.*,
    b.id, b.name, b.currency, b.settings,
    l.status, l.token_generation, k.request_hash, k.status, k.reply, (SELECT business_now())
    {columns}
FROM unnest(
    (SELECT $1::bigint[]), (SELECT $2::text[]),
    (SELECT $3::bigint[]), (SELECT $4::text[]),
    (SELECT $5::bytea[])
)
    WITH ORDINALITY AS q (id, public_id, caller_id, caller_public_id, scope, position)
LEFT JOIN LATERAL (
    SELECT * FROM contract_document AS one
    WHERE (one.contract).id = q.id AND (one.contract).public_id = q.public_id
        AND (one.contract).business_id = 1
    LIMIT 1
) AS d ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM business AS one WHERE one.id = (d.contract).business_id LIMIT 1
) AS b ON TRUE
LEFT JOIN LATERAL (
    SELECT one.status, one.token_generation
    FROM party AS who
    INNER JOIN login AS one ON one.party_id = who.id
    WHERE who.id = q.caller_id AND who.public_id = q.caller_public_id
    LIMIT 1
) AS l ON TRUE
LEFT JOIN LATERAL (
    SELECT * FROM idempotency_key AS one WHERE one.scope = q.scope LIMIT 1
) AS k ON TRUE
{join}
ORDER BY q.position
"""
LOAD = _LOAD.format(columns="", join="")
# In the same snapshot: whoever sees that the money came sees the payment that brought it.
LOAD_PAID = _LOAD.format(
    columns=", paid.contract_id, paid.session_id, paid.provider_payment_id",
    join="""
LEFT JOIN LATERAL (
    SELECT p.contract_id, p.session_id, p.provider_payment_id
    FROM payment AS p
    WHERE p.contract_id = q.id AND p.state = 'captured'
    ORDER BY p.captured_at, p.id
    LIMIT 1
) AS paid ON TRUE
""",
)

CLIENTS = """
SELECT a.status, a.token_generation
FROM unnest((SELECT $1::integer[])) WITH ORDINALITY AS q (business_id, position)
LEFT JOIN LATERAL (
    SELECT * FROM api_client AS one WHERE one.business_id = q.business_id LIMIT 1
) AS a ON TRUE
ORDER BY q.position
"""

NO_SCOPE = b""


def documented_from(row: asyncpg.Record) -> Documented | None:
    """The columns of contract_document, which `row` begins with; None where there is none."""
    if row[0] is None:
        return None
    contract = contract_from(row[0], row[1])
    return Documented(
        contract,
        Party(contract.buyer, *row[2:6]),
        Party(contract.seller, *row[6:10]),
        Job(contract.job, *row[10:17]) if contract.job is not None else None,
    )


class Loads:
    """Coalesced loads of single contracts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._together: Grouped[Asked, Found] = Grouped(self._load, members_max=LOADS_MAX, lanes=2)
        self._paid: Grouped[Asked, Found] = Grouped(self._load_paid, members_max=LOADS_MAX, lanes=2)
        self._clients: Grouped[int, Account | None] = Grouped(
            self._load_clients, members_max=LOADS_MAX, lanes=2
        )

    async def contract(self, asked: Asked) -> Found:
        """One contract as it is now, with everything a decision about it needs."""
        return await self._together(asked)

    async def paid_contract(self, asked: Asked) -> Found:
        """The same with what paid for it."""
        return await self._paid(asked)

    async def account(self, caller: Actor) -> Account | None:
        """Where the login of `caller` stands now; loaded together with what others ask for."""
        if caller.role is Role.PARTNER:
            return await self._clients(caller.key)
        return (await self._together(Asked(None, caller))).caller

    async def _load_clients(self, businesses: Sequence[int]) -> list[Account | None]:
        async with self._pool.connection() as conn:
            rows = await conn.fetch(CLIENTS, businesses)
        return [account_from(row, 0) for row in rows]

    async def _load(self, batch: Sequence[Asked]) -> list[Found]:
        return [_found(row) for row in await self._rows(LOAD, batch)]

    async def _load_paid(self, batch: Sequence[Asked]) -> list[Found]:
        rows = await self._rows(LOAD_PAID, batch)
        return [_found(row, None if row[27] is None else Captured(*row[28:30])) for row in rows]

    async def _rows(self, load: str, batch: Sequence[Asked]) -> list[asyncpg.Record]:
        async with self._pool.connection() as conn:
            return await conn.fetch(
                load,
                [key_of(asked.contract) if asked.contract else 0 for asked in batch],
                [asked.contract for asked in batch],
                [asked.caller.key if asked.caller else 0 for asked in batch],
                [asked.caller.public_id if asked.caller else "" for asked in batch],
                [asked.once.scope if asked.once else NO_SCOPE for asked in batch],
            )


def _found(row: asyncpg.Record, paid: Captured | None = None) -> Found:
    return Found(
        documented=documented_from(row),
        business=business_from(row, 17),
        caller=account_from(row, 21),
        stored=stored_from(row, 23),
        now=row[26],
        paid=paid,
    )


def business_from(row: asyncpg.Record, at: int) -> Business | None:
    """id, name, currency, settings in `row` from `at`."""
    return None if row[at] is None else _business(*row[at : at + 4])


@functools.lru_cache(maxsize=1_024)
def _business(key: int, name: str, currency: str, settings: str) -> Business:
    return Business(key, name, currency, msgspec.json.decode(settings, type=Settings))


def account_from(row: asyncpg.Record, at: int) -> Account | None:
    """status, token_generation in `row` from `at`."""
    return None if row[at] is None else Account(row[at], row[at + 1])


def stored_from(row: asyncpg.Record, at: int) -> Stored | None:
    """request_hash, status, reply in `row` from `at`."""
    return None if row[at] is None else Stored(row[at], row[at + 1], row[at + 2])


# -- lists ------------------------------------------------------------------------------------

LIST_MAX = 1_000
"""What a list without paging parameters returns at most (D15)."""

# Newest first by time: keys come from blocks, one for each process.

OF_BUYER = """
SELECT d.*
FROM contract_document AS d
WHERE (d.contract).buyer_id = $1 AND d.buyer_public_id = $2 AND (d.contract).business_id = 1
ORDER BY (d.contract).created_at DESC, (d.contract).id DESC
LIMIT $3 OFFSET $4
"""

# $5: only those that are completed (C11).
OF_SELLER = """
SELECT d.*
FROM contract_document AS d
WHERE
    (d.contract).seller_id = $1 AND d.seller_public_id = $2 AND (d.contract).business_id = 1
    AND (NOT $5 OR ((d.contract).work = 'completed' AND (d.contract).agreement = 'accepted'))
ORDER BY (d.contract).created_at DESC, (d.contract).id DESC
LIMIT $3 OFFSET $4
"""

# $4: only those whose money arrived, as the escrow reports want them.
OF_BUSINESS = """
SELECT d.*
FROM contract_document AS d
WHERE (d.contract).business_id = $1 AND (NOT $4 OR (d.contract).funded_at IS NOT NULL)
ORDER BY (d.contract).created_at DESC, (d.contract).id DESC
LIMIT $2 OFFSET $3
"""

# The live contract of a job, when this client is its buyer (C3).
OF_JOB = """
SELECT d.*
FROM contract_document AS d
WHERE
    (d.contract).job_id = $1 AND d.job_public_id = $2 AND (d.contract).live
    AND (d.contract).buyer_id = $3 AND d.buyer_public_id = $4
"""


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is wanted."""

    limit: int = LIST_MAX
    offset: int = 0


async def of_buyer(conn: asyncpg.Connection, buyer: PublicId, page: Page) -> list[Documented]:
    """A client's contracts, newest first."""
    rows = await conn.fetch(OF_BUYER, key_of(buyer), buyer, page.limit, page.offset)
    return [_listed(row) for row in rows]


async def of_seller(
    conn: asyncpg.Connection, seller: PublicId, page: Page, *, completed: bool = False
) -> list[Documented]:
    """A freelancer's contracts, newest first."""
    rows = await conn.fetch(OF_SELLER, key_of(seller), seller, page.limit, page.offset, completed)
    return [_listed(row) for row in rows]


async def of_business(
    conn: asyncpg.Connection, business: int, page: Page, *, funded: bool = False
) -> list[Documented]:
    """All contracts of a business, newest first."""
    rows = await conn.fetch(OF_BUSINESS, business, page.limit, page.offset, funded)
    return [_listed(row) for row in rows]


async def of_job(conn: asyncpg.Connection, job: PublicId, buyer: PublicId) -> Documented | None:
    """The job's live contract, if it is this client's."""
    row = await conn.fetchrow(OF_JOB, key_of(job), job, key_of(buyer), buyer)
    return None if row is None else _listed(row)


def _listed(row: asyncpg.Record) -> Documented:
    documented = documented_from(row)
    assert documented is not None
    return documented
