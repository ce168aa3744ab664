"""The cast at one application or at two, and many requests at the same moment.

    async def test_it_...(crowd): answers = await crowd.at_once([...])

Two applications have two pools and two doors on one database, as two processes would.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from conftest import TestDatabase
from earnest.app import build_app
from earnest.settings import Settings
from earnest.store.db import Pool
from web import Caller, Cast, caller

Requests = Coroutine[Any, Any, httpx.Response]
CLOSE_GATE = "LOCK TABLE event IN SHARE MODE"  # reads pass, commits wait
only_one_app = pytest.mark.parametrize("crowd", [1], indirect=True)


class Crowd(msgspec.Struct):
    """The cast at one application or at two: `hands` deals a person's requests out to them."""

    cast: Cast
    apps: list[Litestar]
    gatekeeper: asyncpg.Connection
    opened: list[Caller] = []

    async def at_once(
        self, requests: list[Requests], *, in_turn: bool = False
    ) -> list[httpx.Response]:
        """Their answers; nothing is committed before all have loaded and decided, so that
        whoever can be decided on an old state is. `in_turn`: they come to the door in this
        order."""
        gate = self.gatekeeper.transaction()
        await gate.start()
        await self.gatekeeper.execute(CLOSE_GATE)
        tasks: list[asyncio.Task[httpx.Response]] = []
        try:
            for request in requests:
                tasks.append(asyncio.create_task(request))
                if in_turn:
                    await self._have_come(tasks)
            await self._have_come(tasks)
        finally:
            await gate.rollback()
        return await asyncio.gather(*tasks)

    async def _have_come(self, tasks: list[asyncio.Task[httpx.Response]]) -> None:
        for _ in range(10_000):
            if sum(task.done() for task in tasks) + self._at_the_doors() >= len(tasks):
                return
            await asyncio.sleep(0.002)
        raise TimeoutError

    def _at_the_doors(self) -> int:
        """How many commits wait for the gate or for a later batch."""
        doors = [app.state.core.door for app in self.apps]
        ways = [way for door in doors for way in (door._together, door._one_by_one)]
        return sum(len(way._waiting) + way._travellers for way in ways)

    def hands(self, person: Caller) -> Callable[[], Caller]:
        """Each call is the same person at the next application."""
        mine = [caller(app, **dict(person.headers)) for app in self.apps]
        self.opened += mine
        return itertools.cycle(mine).__next__

    def casts(self) -> Callable[[], Cast]:
        """Each call is the cast at the next application, for `post_event`."""
        mine = [
            msgspec.structs.replace(self.cast, app=app, anybody=caller(app)) for app in self.apps
        ]
        self.opened += [one.anybody for one in mine]
        return itertools.cycle(mine).__next__


@pytest.fixture(params=[1, 2], ids=["one app", "two apps"])
async def crowd(
    request: pytest.FixtureRequest, cast: Cast, settings: Settings, database: TestDatabase
) -> AsyncIterator[Crowd]:
    gatekeeper = await asyncpg.connect(database.superuser_dsn)
    more = build_app(settings, Pool(database.app_dsn))
    async with more.lifespan():
        made = Crowd(cast, [cast.app, more][: request.param], gatekeeper)
        yield made
        for one in made.opened:
            await one.aclose()
    await gatekeeper.close()


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)
