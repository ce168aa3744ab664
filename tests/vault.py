"""`earnest` as an operator runs it on a database: processes, with the settings of one place.

done = await External(database, tmp_path).earnest("backup", file, "--json")
"""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from conftest import TestDatabase
from earnest.store import dump
from earnest.store.client_programs import APPLICATION
from test_serve import clean_environ
from web import SECRET_KEY

COMMAND = (sys.executable, "-m", "earnest")
TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'sandbox') ORDER BY 1
"""
WAITING = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'
"""
# Rows in any order; the horizon alone is another one after a restore.
DIGEST = "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} AS t"


class Done(msgspec.Struct):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Place(msgspec.Struct):
    """Where a database is: the external `database`, or the embedded one of `data_dir`."""

    data_dir: Path
    database: TestDatabase | None = None
    secret_key: str = SECRET_KEY.decode()

    def environ(self) -> dict[str, str]:
        environ = clean_environ() | {"EARNEST_DATA_DIR": str(self.data_dir)}
        if self.secret_key:
            environ["EARNEST_SECRET_KEY"] = self.secret_key
        if self.database is not None:
            environ["EARNEST_DATABASE_URL"] = self.database.app_dsn
            environ["EARNEST_MIGRATE_DATABASE_URL"] = self.database.owner_dsn
        return environ

    async def start(self, *words: str | Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ(),
        )

    async def earnest(self, *words: str | Path) -> Done:
        """Run a command to its end."""
        return await ended(await self.start(*words))

    async def backup(self, file: Path) -> Any:
        """Take a backup that must succeed; what it says is in it."""
        done = await self.earnest("backup", file, "--json")
        assert done.code == 0, done.err
        return done.json

    async def restore(self, file: Path) -> Any:
        """Restore one that must hold."""
        done = await self.earnest("restore", file, "--json")
        assert done.code == 0, done.out + done.err
        return done.json


async def ended(process: asyncio.subprocess.Process) -> Done:
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def terminated(process: asyncio.subprocess.Process) -> Done:
    """Told to stop by SIGTERM."""
    process.send_signal(signal.SIGTERM)
    return await ended(process)


async def until_waiting(dsn: str, *, waiting: bool = True) -> None:
    """Until pg_dump or psql waits for a lock, or does so no more."""
    conn = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(30):
            while await conn.fetchval(WAITING, APPLICATION) is not waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await conn.close()


async def digests(dsn: str) -> dict[str, str]:
    """What stands in each table."""
    conn = await asyncpg.connect(dsn)
    try:
        names = [row[0] for row in await conn.fetch(TABLES)]
        return {name: await conn.fetchval(DIGEST.format(name)) for name in names}
    finally:
        await conn.close()


async def is_empty(database: TestDatabase) -> bool:
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        return await dump.relations(conn) == []
    finally:
        await conn.close()


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
