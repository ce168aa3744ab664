"""The digest that refusals are held against: it notices."""

from digest import digest, rows_by_table
from earnest.store.db import Pool
from life import Life
from web import Cast

BUSINESS_TABLES = {
    "public.application",
    "public.balance",
    "public.business",
    "public.contract",
    "public.contract_terms",
    "public.event",
    "public.idempotency_key",
    "public.job",
    "public.party",
    "public.payment",
    "public.provider_event",
    "public.transfer",
    "sandbox.session",
}


async def test_it_covers_every_business_table(pool: Pool) -> None:
    assert set(await rows_by_table(pool)) >= BUSINESS_TABLES


async def test_it_stays_when_people_only_look(cast: Cast, pool: Pool) -> None:
    life = await Life.at(cast, "paid")
    before = await digest(pool)
    await life.seen()
    await life.proof()
    assert await digest(pool) == before


async def test_it_differs_after_every_step(cast: Cast, pool: Pool) -> None:
    life = await Life.begin(cast)
    seen = {await digest(pool)}
    steps = ("create", "checkout", "pay", "approve", "ongoing", "complete", "request", "release")
    for step in steps:
        await getattr(life, step)()
        seen.add(await digest(pool))
    assert len(seen) == 1 + len(steps)
