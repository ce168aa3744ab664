"""Lists of contracts in pages, and how long they get without (D15)."""

from typing import Any

import msgspec
import pytest

from conftest import TestDatabase
from earnest.app import build_app
from earnest.settings import Settings
from earnest.store import contracts
from earnest.store.db import Pool
from life import Life, accepted
from refusals import refused
from web import Caller, Cast, caller

CLIENT = ("/api/client/get-contracts", "/api/client/contract/get-contracts")
ALL = ("/api/client/all-contracts", "/api/client/contract/all-contracts")
FREELANCER = "/api/freelancer/contract/get-contracts"
COMPLETED = "/api/freelancer/contract/completed-works"


class Lives(msgspec.Struct):
    """Contracts of Alice and Bob; `ids` newest first."""

    cast: Cast
    ids: list[str]


@pytest.fixture
async def lives(cast: Cast) -> Lives:
    """A canceled, a completed and a new contract."""
    made = [await Life.at(cast, point) for point in ("canceled", "completed", "created")]
    return Lives(cast, [life.contract for life in reversed(made)])


async def read(who: Caller, path: str) -> Any:
    return accepted(await who.get(path))


async def test_lists_come_in_pages_on_request(lives: Lives) -> None:
    cast = lives.cast
    for base in (
        f"{CLIENT[0]}/{cast.alice.id}",
        f"{CLIENT[1]}/{cast.alice.id}",
        f"{FREELANCER}/{cast.bob.id}",
    ):
        pages = [
            [one["_id"] for one in (await read(cast.alice, f"{base}?limit=2&page={page}"))["data"]]
            for page in (1, 2, 3)
        ]
        assert pages == [lives.ids[:2], lives.ids[2:], []]
        assert (await read(cast.alice, f"{base}?limit=2&page=2"))["count"] == 1
        assert len((await read(cast.alice, f"{base}?limit=1"))["data"]) == 1
        assert len((await read(cast.alice, f"{base}?page=1"))["data"]) == 3
    everything = (await read(cast.olga, ALL[0]))["data"]
    for path in ALL:
        paged = [
            (await read(cast.olga, f"{path}?limit=1&page={page}"))["data"] for page in range(1, 6)
        ]
        assert [one for page in paged for one in page] == everything


ABSENT = ("page=undefined&limit=undefined", "page=&limit=", "search=x", "page=undefined")
NOT_PAGES = ("1e3", "1_0", "-1", "0", "1.5", "%20", "x", "9" * 30, "%D9%A1%D9%A2", "1%00", "+1")


async def test_it_takes_undefined_as_absent(lives: Lives) -> None:
    cast = lives.cast
    for query in ABSENT:
        body = await read(cast.alice, f"{CLIENT[0]}/{cast.alice.id}?{query}")
        assert body["count"] == 3


@pytest.mark.abuse(19)
async def test_it_wants_pages_as_whole_numbers(lives: Lives) -> None:
    cast = lives.cast
    lists = [
        f"{CLIENT[0]}/{cast.alice.id}",
        ALL[1],
        f"{FREELANCER}/{cast.bob.id}",
        f"{COMPLETED}/{cast.bob.id}",
    ]
    for path in lists:
        for value in NOT_PAGES:
            await refused(cast, cast.alice.get(f"{path}?page={value}"), 400)
            await refused(cast, cast.alice.get(f"{path}?limit={value}"), 400)


# Copies of one contract, each without a job (a job has one live contract).
COPY = """
INSERT INTO contract (
    id, public_id, business_id, number, buyer_id, seller_id, currency, amount_minor, created_at,
    version, commit_id, updated_at, agreement, work, dispute, tranches, cancel_reason,
    cancel_reason_description, unclaimed, event_seq, event_head
)
SELECT
    c.id + n, substr(c.public_id, 1, 8) || lpad(to_hex(c.id + n), 10, '0') || '000000',
    c.business_id, 'CON' || 10000000 + n, c.buyer_id, c.seller_id, c.currency, c.amount_minor,
    c.created_at,
    c.version, c.commit_id, c.updated_at, c.agreement, c.work, c.dispute, c.tranches, '', '',
    FALSE, c.event_seq, c.event_head
FROM contract AS c CROSS JOIN generate_series(1, $1) AS n
"""
COPY_TERMS = """
INSERT INTO contract_terms (contract_id, commit_id, terms)
SELECT c.id, c.commit_id, t.terms FROM contract AS c CROSS JOIN contract_terms AS t
WHERE c.number LIKE 'CON1000%'
"""


async def test_a_page_has_at_most_100_and_a_list_its_cap(cast: Cast, pool: Pool) -> None:
    await Life.at(cast, "created")
    async with pool.connection() as conn:
        await conn.execute(COPY, contracts.LIST_MAX + 4)
        await conn.execute(COPY_TERMS)
    for path in (f"{CLIENT[0]}/{cast.alice.id}", f"{FREELANCER}/{cast.bob.id}", ALL[0]):
        assert len((await read(cast.alice, path))["data"]) == contracts.LIST_MAX == 1_000
        assert len((await read(cast.alice, f"{path}?limit=1000"))["data"]) == 100
        assert len((await read(cast.alice, f"{path}?limit=100&page=10"))["data"]) == 100
        assert len((await read(cast.alice, f"{path}?limit=100&page=11"))["data"]) == 5


async def test_lists_are_newest_first_whichever_process_made_the_contracts(
    cast: Cast, settings: Settings, database: TestDatabase
) -> None:
    """Each process has keys of its own, so a newer contract may have a smaller one."""
    made = []
    other = build_app(settings, Pool(database.app_dsn))
    async with other.lifespan(), caller(other, **dict(cast.alice.headers)) as alice:
        there = msgspec.structs.replace(cast, alice=alice)
        for one in (there, cast, there, cast):
            life = await Life.begin(cast)
            life.cast = one
            await life.create()
            made.append(life.contract)
    keys = [contract[8:18] for contract in made]
    assert keys != sorted(keys)
    newest_first = made[::-1]
    for who, path in (
        (cast.alice, f"{CLIENT[0]}/{cast.alice.id}"),
        (cast.olga, ALL[0]),
        (cast.bob, f"{FREELANCER}/{cast.bob.id}"),
    ):
        assert [one["_id"] for one in (await read(who, path))["data"]] == newest_first


PLANS = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"


async def test_a_contract_is_looked_up_without_planning_anew(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    for _ in range(20):
        await life.seen()
    pool: Pool = cast.app.state.core.loads._pool
    async with pool.connection() as conn:
        [(generic, custom)] = await conn.fetch(PLANS, contracts.LOAD)
    assert generic >= 15
    assert custom <= 5
