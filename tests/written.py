"""The books that `earnest verify` is tried on: written once, over HTTP, and never changed.

A test that damages them does so in a database transaction of the **attacker**, a superuser, checks
within it, and rolls it back.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from story import everybody, tell_the_story


@pytest.fixture(scope="session")
def written(server: Any) -> Iterator[Any]:
    """The database with the whole story, which nobody touches."""
    made = server.create(server.template)
    asyncio.run(everybody(made.app_dsn, tell_the_story))
    yield made
    server.drop(made)


@pytest.fixture
async def attacker(written: Any) -> AsyncIterator[asyncpg.Connection]:
    """A superuser in a database transaction that will never be committed."""
    conn = await asyncpg.connect(written.superuser_dsn)
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute("SET LOCAL session_replication_role = replica")
    yield conn
    await transaction.rollback()
    await conn.close()
