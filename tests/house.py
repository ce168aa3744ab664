"""The **house**: the application on one database for a whole run, and Olga who operates it.

It has an event loop of its own, so that plain functions (hypothesis calls no others) can send
requests.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
from litestar import Litestar

from conftest import TestDatabase
from earnest.app import build_app
from earnest.domain.party import Role
from earnest.store import catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.store.db import Pool
from web import Caller, caller, make_settings, sign_up

Result = TypeVar("Result")


class House:
    """The application and what outlives an example."""

    def __init__(self, database: TestDatabase) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.database = database
        self.number = itertools.count(1)
        self.seen: Counter[str] = Counter()
        self.fortnights = 0
        self.app: Litestar
        self.olga: Caller
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def _open(self) -> None:
        pool = Pool(self.database.app_dsn)
        # Events leave this house by hand only: nobody listens there.
        self.app = build_app(
            make_settings(self.database.app_dsn, public_url="http://127.0.0.1:9"), pool
        )
        open_, self._over = asyncio.Event(), asyncio.Event()
        self._life = asyncio.create_task(self._live(open_))
        await open_.wait()
        async with pool.connection() as conn, conn.transaction():
            self.category = (await catalog.add(conn, CATEGORY, "Design")).public_id
            self.skill = (await catalog.add(conn, SKILL, "Drawing")).public_id
        self.olga = await sign_up(self.app, "Olga", Role.ADMIN)
        self.anybody = caller(self.app)

    def close(self) -> None:
        self.run(self.olga.aclose())
        self.run(self.anybody.aclose())
        self._over.set()
        self.run(asyncio.wait_for(self._life, 30))
        self.runner.close()

    async def _live(self, open_: asyncio.Event) -> None:
        async with self.app.lifespan():
            open_.set()
            await self._over.wait()

    def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        async def rows() -> list[Any]:
            async with self.app.state.pool.connection() as conn:
                return list(await conn.fetch(sql, *arguments))

        return self.run(rows())
