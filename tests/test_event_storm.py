"""Ten thousand events, shuffled, repeated and days late, do what they would have done in order.

What may depend on the order, by design (D2), and is not compared: which of a job's two sessions
funds its contract and which is parked; and what is only told (that a slow bank is at work, that an
event was ignored). What no provider does is left out: two amounts for one session.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar import Litestar

from conftest import Server, TestDatabase
from earnest.app import build_app
from earnest.domain.money import CURRENCIES
from earnest.providers import signature
from earnest.store.db import Pool
from partners import make_broker
from storm import Session, Telling, cash_minor, inbox, seed, what_is_left
from stripe_desk import sound
from web import Caller, caller, make_settings

EVENTS = 50_000 if os.environ.get("EARNEST_TEST_PROFILE") == "nightly" else 10_000
AT_ONCE = 32
REPEATS_MAX = 50
DAYS = 4


@pytest.mark.abuse(88)
async def test_it_makes_of_a_storm_what_it_makes_of_the_same_events_in_order(
    server: Server,
) -> None:
    seeded = server.create(server.template)
    async with opened(seeded) as app:
        broker = await make_broker(app)
        sessions = await seed(app, broker)
        await broker.client.aclose()
    in_order, in_storm = server.create(seeded.name), server.create(seeded.name)
    each = [telling for session in sessions for telling in session.told]

    async with opened(in_order) as app:
        await hear(app, each, at_once=1)
        expected = await what_is_left(app)
        await sound(app)

    many = each + random.Random(20_261_123).choices(each, k=EVENTS - len(each))
    random.Random(len(many)).shuffle(many)
    async with opened(in_storm) as app:
        for day in range(DAYS):
            await hear(app, many[day::DAYS], at_once=AT_ONCE)
            await a_day_later(app)
        assert await what_is_left(app) == expected
        # Missing 0, applied twice 0: each event is in the inbox, each session's money came once.
        assert await inbox(app) == sorted(telling.event_id for telling in each)
        assert await cash_minor(app) == _brought(sessions)
        await sound(app)
    for database in (seeded, in_order, in_storm):
        server.drop(database)


@asynccontextmanager
async def opened(database: TestDatabase) -> AsyncIterator[Litestar]:
    """The application on `database`."""
    app = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    async with app.lifespan():
        yield app


async def hear(app: Litestar, told: Sequence[Telling], *, at_once: int) -> None:
    """Post `told` as their provider does: again where the answer was to come again."""
    waiting = iter(told)

    async def tell() -> None:
        async with caller(app) as provider:
            for telling in waiting:
                answers = [await _post(app, provider, telling.body)]
                while answers[-1].status_code in (409, 503) and len(answers) < REPEATS_MAX:
                    answers.append(await _post(app, provider, telling.body))
                assert answers[-1].status_code == 200, f"{telling.event_id}: {answers[-1].text}"

    await asyncio.gather(*(tell() for _ in range(at_once)))


async def _post(app: Litestar, provider: Caller, body: bytes) -> httpx.Response:
    header = signature.sign(body, app.state.webhook_secrets[0], int(time.time()))
    return await provider.post("/webhook", content=body, headers={signature.HEADER: header})


async def a_day_later(app: Litestar) -> None:
    async with caller(app) as anybody:
        answer = await anybody.post("/sandbox/clock", json={"advance_seconds": 86_400})
        assert answer.status_code == 200, answer.text


def _brought(sessions: Sequence[Session]) -> dict[int, int]:
    """What all sessions bring together, by the number of the currency."""
    brought: Counter[int] = Counter()
    for session in sessions:
        if session.brings_minor:
            brought[CURRENCIES[session.currency].numeric] += session.brings_minor
    return dict(brought)
