"""Who stands in the way of a connection that waits for a lock."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import msgspec

Result = TypeVar("Result")

LOOK_SECONDS = 0.05

# The server says when a database transaction began only to a role that may know of it: the same
# one, or one with pg_read_all_stats. Prepared transactions have no process: they go by 0.
HOLDERS = """
SELECT DISTINCT b.pid, a.usename, a.application_name, a.xact_start
FROM unnest(pg_catalog.pg_blocking_pids($1)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid
ORDER BY b.pid
"""


class Holder(msgspec.Struct, frozen=True):
    """A session that has a lock which excludes the one waited for, or is in the queue before it.

    `since` is when its database transaction began; when it was first seen, if that is not told.
    """

    pid: int
    user: str | None
    application: str | None
    since: datetime

    @property
    def is_autovacuum(self) -> bool:
        return self.pid > 0 and self.user is None

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (pg_prepared_xacts has it)"
        who = "autovacuum" if self.is_autovacuum else f"{self.application or '?'}, {self.user}"
        return f"pid {self.pid} ({who}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


class Watch:
    """Looks at a connection that may have to wait, `waiter`, through another one, `watcher`."""

    def __init__(self, watcher: asyncpg.Connection, waiter: asyncpg.Connection) -> None:
        self._watcher = watcher
        self._waiter_pid = waiter.get_server_pid()
        self._first_seen: dict[int, datetime] = {}
        self.holders: list[Holder] = []
        """Who was in the way when it waited last."""

    async def during(self, attempt: Coroutine[Any, Any, Result]) -> Result:
        """What `attempt` returns or raises; meanwhile note who holds it up."""
        task = asyncio.create_task(attempt)
        try:
            while not (await asyncio.wait([task], timeout=LOOK_SECONDS))[0]:
                await self._look()
            return task.result()
        finally:
            task.cancel()

    async def _look(self) -> None:
        now = datetime.now(UTC)
        found = await self._watcher.fetch(HOLDERS, self._waiter_pid)
        if found:
            self.holders = [
                Holder(
                    row["pid"],
                    row["usename"],
                    row["application_name"],
                    row["xact_start"] or self._first_seen.setdefault(row["pid"], now),
                )
                for row in found
            ]
