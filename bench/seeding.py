"""Contracts that are ready to be released, made in bulk.

They are made by the product's own functions and written through its own door: terms, a chain of
events, money held by one transfer. But each is born ready, by one event: the steps in between
(approved, started, ...) are left out, so that its version is 1; most have no job.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from earnest.domain.business import MARKETPLACE, Business, Settings
from earnest.domain.change import of_contract
from earnest.domain.contract import Agreement, Contract, Money, Work, record
from earnest.domain.movement import Funded
from earnest.domain.party import SYSTEM
from earnest.domain.verbs import created_body, new_contract
from earnest.ids import Ids
from earnest.ledger.movements import expand
from earnest.store.commit import Commit, Door
from earnest.store.db import Pool
from earnest.store.keys import Keys
from earnest.store.rows import contract_from

BUSINESS = Business(MARKETPLACE, "Marketplace", "INR", Settings())
AMOUNT_MINOR = 10_000
SANDBOX_ACCOUNT = 1
CHUNK = 2_000

ADD_PARTIES = """
INSERT INTO party (id, public_id, business_id, name, email)
SELECT p.id, p.public_id, 1, 'Party ' || p.id, 'p' || p.id || '@example.com'
FROM unnest($1::bigint[], $2::text[]) AS p (id, public_id)
"""
ADD_LOGINS = """
INSERT INTO login (party_id, role, email_canonical, password_hash)
SELECT
    p.id, CASE WHEN p.id = $1 THEN 'client' ELSE 'freelancer' END, 'p' || p.id || '@example.com', ''
FROM unnest($2::bigint[]) AS p (id)
"""
ADD_JOBS = """
INSERT INTO job (
    id, public_id, business_id, client_id, title, description, rate_minor, currency,
    experience_level
)
SELECT
    j.id, j.public_id, 1, $1, 'Logo for a bakery', repeat('A logo, three drafts. ', 5), $2, 'INR',
    'Beginner'
FROM unnest($3::bigint[], $4::text[]) AS j (id, public_id)
"""
READ = """
SELECT c AS contract, t.terms
FROM contract AS c INNER JOIN contract_terms AS t ON t.contract_id = c.id
WHERE c.id = ANY($1::bigint[])
ORDER BY c.id
"""


async def add_parties(pool: Pool, keys: Keys, count: int) -> list[int]:
    """The keys of `count` fresh parties."""
    now = datetime.now(UTC)
    made = dict([(await keys.ids()).new_object(now) for _ in range(count)])
    async with pool.connection() as conn:
        await conn.execute(ADD_PARTIES, list(made), list(made.values()))
    return list(made)


async def add_logins(pool: Pool, client: int, freelancers: Sequence[int]) -> None:
    """Let these parties be somebody to the API."""
    async with pool.connection() as conn:
        await conn.execute(ADD_LOGINS, client, [client, *freelancers])


async def add_jobs(pool: Pool, keys: Keys, count: int, *, client: int) -> list[int]:
    """The keys of `count` fresh jobs of `client`."""
    now = datetime.now(UTC)
    made = dict([(await keys.ids()).new_object(now) for _ in range(count)])
    async with pool.connection() as conn:
        await conn.execute(ADD_JOBS, client, AMOUNT_MINOR, list(made), list(made.values()))
    return list(made)


async def add_contracts(
    door: Door,
    keys: Keys,
    count: int,
    *,
    buyer: int,
    sellers: Sequence[int],
    jobs: Sequence[int] = (),
) -> list[int]:
    """The keys of `count` fresh contracts, ready for release, each with one of `sellers`, and
    with a job of its own where there are `jobs`.

    Sellers are drawn at random: in turns, pgbench's clients would all meet at the same one.
    """
    made: list[int] = []
    draw = random.Random(count)
    now = datetime.now(UTC) - timedelta(days=1)
    while len(made) < count:
        chunk = [
            _funded(await keys.ids(), buyer, draw.choice(sellers), now, jobs[at] if jobs else None)
            for at in range(len(made), min(len(made) + CHUNK, count))
        ]
        written = await asyncio.gather(*map(door.commit, chunk))
        assert all(written)
        made.extend(commit.change.contract.key for commit in chunk if commit.change.contract)
    return made


async def read_contracts(pool: Pool, wanted: Sequence[int]) -> list[Contract]:
    """These contracts as the product reads them, in key order."""
    async with pool.connection() as conn:
        rows = await conn.fetch(READ, wanted)
    return [contract_from(row[0], row[1]) for row in rows]


def _funded(ids: Ids, buyer: int, seller: int, now: datetime, job: int | None) -> Commit:
    draft = new_contract(
        BUSINESS,
        buyer=buyer,
        seller=seller,
        job=0,
        title="Logo for a bakery",
        amount_minor=AMOUNT_MINOR,
        now=now,
        ids=ids,
    )
    ready = msgspec.structs.replace(
        draft,
        job=job,
        agreement=Agreement.ACCEPTED,
        work=Work.COMPLETED,
        tranches=(Money.RELEASE_REQUESTED,),
        funded_at=now,
        started_at=now,
        ongoing_at=now,
        completed_at=now,
    )
    contract, events = record(ready, SYSTEM, now, ids, ("contract.created", created_body(ready)))
    paid = Funded(contract.key, 0, contract.currency, contract.charge_minor, SANDBOX_ACCOUNT)
    change = of_contract(contract, events, paid)
    return Commit(change, expand(change, ids))
