"""/readyz fails for every reason for which this server must not be asked, and says which."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from conftest import Server, TestDatabase
from earnest.app import build_app
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate
from test_serve import Serve, data_dir
from web import Caller, caller, make_settings, problem

__all__ = ["data_dir"]

SECONDS_MAX = 10
"""More than it may take, for a busy machine; much less than what hangs in these tests."""


@asynccontextmanager
async def asked(dsn: str, **pool: Any) -> AsyncIterator[Caller]:
    """Whoever asks an application on the database at `dsn`."""
    made = build_app(make_settings(dsn), Pool(dsn, **pool))
    async with made.lifespan(), caller(made) as nobody:
        yield nobody


async def refused(dsn: str, **pool: Any) -> str:
    """Why it is not ready; it lives all the same, and answers in time."""
    async with asked(dsn, **pool) as nobody:
        begun = time.monotonic()
        answer = await nobody.get("/readyz")
        assert time.monotonic() - begun < SECONDS_MAX
        assert (await nobody.get("/healthz")).status_code == 200
    body = problem(answer, 503)
    assert body["code"] == "not_ready"
    assert int(answer.headers["retry-after"]) >= 1
    assert "://" not in answer.text
    return str(body["detail"])


async def test_it_is_ready(database: TestDatabase) -> None:
    async with asked(database.app_dsn) as nobody:
        answer = await nobody.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ready"}


async def test_it_is_not_ready_when_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and not listening: refused
        dsn = f"postgresql://earnest_app:geheim@127.0.0.1:{closed.getsockname()[1]}/earnest"
        why = await refused(dsn)
    assert why == "database: The database cannot be reached. Try again."


async def test_it_does_not_hang_when_the_database_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        dsn = f"postgresql://earnest_app:geheim@127.0.0.1:{mute.getsockname()[1]}/earnest"
        why = await refused(dsn)
    assert why == "database: It did not answer within 4 seconds."


async def test_it_does_not_hang_when_a_statement_does(database: TestDatabase) -> None:
    surgeon = await asyncpg.connect(database.superuser_dsn)
    try:
        await surgeon.execute("BEGIN; LOCK TABLE schema_migration IN ACCESS EXCLUSIVE MODE")
        assert await refused(database.app_dsn) == "database: It did not answer within 4 seconds."
    finally:
        await surgeon.close()
    async with asked(database.app_dsn) as nobody:
        assert (await nobody.get("/readyz")).status_code == 200


async def test_it_is_not_ready_while_every_connection_is_busy(database: TestDatabase) -> None:
    made = build_app(make_settings(database.app_dsn), Pool(database.app_dsn, connections_max=2))
    async with made.lifespan(), caller(made) as nobody:
        pool: Pool = made.state.pool
        async with pool.connection(), pool.connection():
            problem(await nobody.get("/readyz"), 503)
        assert (await nobody.get("/readyz")).status_code == 200


async def test_it_is_not_ready_without_its_tables(empty_database: TestDatabase) -> None:
    why = await refused(empty_database.superuser_dsn)
    assert why.startswith("migrations: The database lacks ")
    assert "0001_core" in why


async def test_it_is_not_ready_without_the_last_migration(database: TestDatabase) -> None:
    await change(
        database,
        "DELETE FROM schema_migration WHERE number = (SELECT max(number) FROM schema_migration)",
    )
    assert (await refused(database.app_dsn)).startswith("migrations: The database lacks 1, first ")


async def test_it_is_not_ready_when_the_database_is_newer(database: TestDatabase) -> None:
    await change(
        database,
        "INSERT INTO schema_migration (number, name, sha256) VALUES (9999, 'tomorrow', 'x')",
    )
    why = await refused(database.app_dsn)
    assert why.startswith("database: The database is at migration 9999, this version")


async def test_it_is_not_ready_when_a_migration_was_another_one(database: TestDatabase) -> None:
    await change(database, "UPDATE schema_migration SET sha256 = 'x' WHERE number = 2")
    assert "is not the file that was applied" in await refused(database.app_dsn)


async def change(database: TestDatabase, sql: str) -> None:
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        assert (await conn.execute(sql)).endswith(" 1")
    finally:
        await conn.close()


async def test_it_is_not_ready_when_the_database_takes_no_writes(
    database: TestDatabase, server: Server
) -> None:
    server.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    assert "takes no writes: default_transaction_read_only" in await refused(database.app_dsn)


# -- a server of its own ----------------------------------------------------------------------


@contextlib.contextmanager
def held(directory: Path) -> Iterator[Embedded]:
    found = Embedded.start(directory)
    try:
        yield found
    finally:
        found.release()


def test_it_is_not_ready_when_the_server_forgets(data_dir: Path) -> None:
    with held(data_dir) as own:
        asyncio.run(migrate(own.owner_dsn))
        for name in ("fsync", "full_page_writes"):
            asyncio.run(set_for_all(own, f"ALTER SYSTEM SET {name} = off"))
            why = asyncio.run(refused(own.app_dsn))
            assert why.startswith(f"database: The database has {name} switched off")
            asyncio.run(set_for_all(own, f"ALTER SYSTEM RESET {name}"))
        asyncio.run(ready(own.app_dsn))


async def set_for_all(own: Embedded, sql: str) -> None:
    conn = await asyncpg.connect(own.superuser_dsn)
    try:
        before = await conn.fetchval("SELECT pg_conf_load_time()")
        await conn.execute(sql)
        await conn.execute("SELECT pg_reload_conf()")
        while await conn.fetchval("SELECT pg_conf_load_time()") == before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    finally:
        await conn.close()


async def ready(dsn: str) -> None:
    async with asked(dsn) as nobody:
        assert (await nobody.get("/readyz")).status_code == 200


def test_it_is_not_ready_on_a_standby(data_dir: Path) -> None:
    with held(data_dir) as own:
        asyncio.run(migrate(own.owner_dsn))
    # It now waits for a primary to follow, for ever.
    (data_dir / "postgres" / "standby.signal").touch()
    with held(data_dir) as own:
        why = asyncio.run(refused(own.app_dsn))
    assert why == "database: The database is a standby: it takes no writes until promoted."


# -- being stopped ----------------------------------------------------------------------------


def test_it_is_not_ready_but_serves_on_while_it_is_being_stopped(data_dir: Path) -> None:
    serve = Serve(data_dir, "--workers", "2", EARNEST_DRAIN_SECONDS="6")
    url = serve.ready()
    assert httpx.get(f"{url}/readyz").status_code == 200
    serve.process.terminate()
    statuses: list[int] = []
    with contextlib.suppress(httpx.TransportError):
        while 503 not in statuses[:-20]:
            answer = httpx.get(f"{url}/readyz", timeout=5)
            statuses.append(answer.status_code)
            assert httpx.get(f"{url}/api/admin/skills/get-skills", timeout=5).status_code == 200
            if answer.status_code == 503:
                assert problem(answer, 503)["detail"] == "draining: This process is being stopped."
    assert 503 in statuses
    # Two processes hear of it one after the other; after that none says that it is ready.
    assert set(statuses[-10:]) == {503}
    serve.process.communicate(timeout=40)
    assert serve.process.returncode == 0


@pytest.mark.parametrize("seconds", ["-1", "301", "soon"])
def test_it_refuses_to_drain_for(data_dir: Path, seconds: str) -> None:
    serve = Serve(data_dir, EARNEST_DRAIN_SECONDS=seconds)
    serve.process.communicate(timeout=60)
    assert serve.process.returncode == 1
    assert "EARNEST_DRAIN_SECONDS" in serve.log.read_text()
