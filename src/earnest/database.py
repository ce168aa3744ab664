"""Which database: the **embedded** one of the data directory, or an **external** one by its URL.

Invariant: inside `opened` the database is reachable, durable and at this code's migration, and
stays up; the settings it gives carry the URLs to use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
import msgspec

from earnest.settings import Settings, with_secret_key
from earnest.store.db import (
    CONNECT_SECONDS_MAX,
    UNREACHABLE,
    DatabaseRefused,
    Pool,
    check_durability,
)
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate, pending_migrations, read_migrations

Result = TypeVar("Result")


class Opened(msgspec.Struct, frozen=True):
    """`settings` with their URLs filled in; `embedded` unless external.

    With a secret key, too, unless it was opened for a look only (`create` off).
    """

    settings: Settings
    embedded: Embedded | None


@contextmanager
def opened(
    settings: Settings,
    report: Callable[[str], None] = lambda _: None,
    *,
    create: bool = True,
    migrated: bool = True,
    durable: bool = True,
) -> Iterator[Opened]:
    """Hold the database open, which starts the embedded one and at the end may stop it.

    With `create` off there must be one already; with `migrated` off it is taken as it is; with
    `durable` off so is what it may forget.
    Raises DatabaseRefused with the fix.
    """
    if settings.database_url:
        _prepare(settings, report, migrated=migrated, durable=durable)
        yield Opened(with_secret_key(settings) if create else settings, None)
        return
    if not create and not (settings.data_dir / "postgres").exists():
        raise DatabaseRefused(f"There is no database in {settings.data_dir}. Name another: --data")
    embedded = Embedded.start(settings.data_dir, report)
    try:
        settings = msgspec.structs.replace(
            settings, database_url=embedded.app_dsn, migrate_database_url=embedded.owner_dsn
        )
        _prepare(settings, report, migrated=migrated, durable=durable)
        yield Opened(with_secret_key(settings) if create else settings, embedded)
    finally:
        embedded.release()


def _prepare(
    settings: Settings, report: Callable[[str], None], *, migrated: bool, durable: bool
) -> None:
    try:
        asyncio.run(_check_and_migrate(settings, report, migrated=migrated, durable=durable))
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        # The URL itself is not repeated: it holds a password.
        raise DatabaseRefused(
            f"EARNEST_DATABASE_URL does not lead to a database: {error}"
        ) from error


async def _check_and_migrate(
    settings: Settings, report: Callable[[str], None], *, migrated: bool, durable: bool
) -> None:
    conn = await asyncpg.connect(settings.database_url, timeout=CONNECT_SECONDS_MAX)
    try:
        if durable:
            await check_durability(conn)
        pending = await pending_migrations(conn) if migrated else []
    finally:
        await conn.close()
    if pending:
        report(f"applying {len(pending)} migrations")
        await migrate(settings.migrate_database_url or settings.database_url)


async def migration_status(settings: Settings) -> dict[str, list[str]]:
    """The names of all migrations, as `applied` and `pending`."""
    conn = await asyncpg.connect(settings.database_url, timeout=CONNECT_SECONDS_MAX)
    try:
        pending = await pending_migrations(conn)
    finally:
        await conn.close()
    known = read_migrations()
    return {
        "applied": [str(migration) for migration in known[: len(known) - len(pending)]],
        "pending": [str(migration) for migration in pending],
    }


async def pooled(settings: Settings, use: Callable[[Pool], Awaitable[Result]]) -> Result:
    """What `use` returns, given a pool that lasts as long as it runs."""
    pool = Pool(settings.database_url, connections_max=2, application_name="earnest cli")
    try:
        return await use(pool)
    finally:
        await pool.close()
