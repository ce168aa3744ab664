"""The walk over all contracts in parts, by as many processes as there are cores, over one snapshot.

A **part** is a range of keys. Each process has a connection of its own, which sees what the
caller's database transaction sees (`pg_export_snapshot`). A process is told its parts on standard
input and answers each with a line on standard output; it ends when there are no more, or when who
asked is gone. Invariant: the parts together cover every key, so no row is left out, and what comes
out is what one walk would have found.
"""

import asyncio
import contextlib
import itertools
import os
import sys
from asyncio.subprocess import PIPE
from collections import deque

import asyncpg
import msgspec

from earnest.store.db import CONNECT_SECONDS_MAX, DatabaseRefused
from earnest.store.invariant import Violation
from earnest.store.verify_contracts import ALL_KEYS, Advance, Keys, walk_contracts

PART_MIN = 5_000
"""Contracts that a process is worth starting for."""

PARTS_PER_PROCESS = 4
"""So that nobody waits long for the last one. Each part looks through all transfers once."""

PROCESSES_MAX = 8
LINE_MAX = 1 << 20

FIRST_KEYS = """
SELECT numbered.id
FROM (SELECT c.id, row_number() OVER (ORDER BY c.id) AS number FROM contract AS c) AS numbered
WHERE numbered.number > 1 AND numbered.number % $1 = 1
ORDER BY numbered.id
"""


class Task(msgspec.Struct, frozen=True):
    """What a process hears first: which database, settings of its session, and which snapshot."""

    dsn: str
    session: dict[str, str]
    snapshot: str


class Answer(msgspec.Struct, frozen=True):
    """So many more contracts were walked; the last answer of a part has its violations."""

    contracts: int
    violations: list[Violation] | None = None


class Parts(msgspec.Struct, frozen=True):
    """What there is to walk over, and how to come at it."""

    task: Task
    keys: list[Keys]
    processes: int


async def divide(conn: asyncpg.Connection, dsn: str, session: dict[str, str]) -> Parts | None:
    """All contracts, as the database transaction of `conn` sees them; None if one process will do.

    `dsn` and `session` are those of `conn`, whose transaction has to stay open until the parts are
    done.
    """
    contracts = await conn.fetchval("SELECT count(*) FROM contract")
    cores = min(len(os.sched_getaffinity(0)), PROCESSES_MAX)
    part = max(PART_MIN, contracts // (cores * PARTS_PER_PROCESS) + 1)
    if cores == 1 or contracts <= part:
        return None
    firsts = [row[0] for row in await conn.fetch(FIRST_KEYS, part)]
    bounds = [ALL_KEYS.first, *firsts, ALL_KEYS.last + 1]
    keys = [Keys(first, end - 1) for first, end in itertools.pairwise(bounds)]
    snapshot = await conn.fetchval("SELECT pg_export_snapshot()")
    return Parts(Task(dsn, session, snapshot), keys, min(cores, len(keys)))


async def walk_parts(parts: Parts, advance: Advance) -> list[Violation]:
    """As `verify_contracts.walk_contracts`. Raises DatabaseRefused when a process ends early."""
    waiting = deque(enumerate(parts.keys))
    found: dict[int, list[Violation]] = {}
    asking = [
        asyncio.create_task(_ask(parts.task, waiting, found, advance))
        for _ in range(parts.processes)
    ]
    try:
        await asyncio.gather(*asking)
    finally:
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    first: dict[int, Violation] = {}
    for number in sorted(found):
        for violation in found[number]:
            first.setdefault(violation.invariant, violation)
    return list(first.values())


async def _ask(
    task: Task,
    waiting: deque[tuple[int, Keys]],
    found: dict[int, list[Violation]],
    advance: Advance,
) -> None:
    """One process, for as long as there are parts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, limit=LINE_MAX
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        while waiting:
            number, part = waiting.popleft()
            process.stdin.write(msgspec.json.encode(part) + b"\n")
            while number not in found:
                answer = _answer_from(await process.stdout.readline())
                advance(answer.contracts)
                if answer.violations is not None:
                    found[number] = answer.violations
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        process.stdin.close()
        await process.wait()


def _answer_from(line: bytes) -> Answer:
    if not line:
        raise DatabaseRefused("A process that walked over contracts ended early; see above.")
    return msgspec.json.decode(line, type=Answer)


async def _walk() -> None:
    """What such a process does: the parts that it is told, one after the other."""
    lines = sys.stdin.buffer
    task = msgspec.json.decode(lines.readline(), type=Task)
    conn = await asyncpg.connect(
        task.dsn, timeout=CONNECT_SECONDS_MAX, server_settings=task.session
    )
    try:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            await conn.execute(f"SET TRANSACTION SNAPSHOT '{task.snapshot}'")
            # Nothing else is to be done while the next line is awaited.
            while line := lines.readline():
                part = msgspec.json.decode(line, type=Keys)
                violations = await walk_contracts(conn, lambda rows: _say(Answer(rows)), part)
                _say(Answer(0, violations))
    finally:
        await conn.close()


def _say(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    # Whoever asked is gone, or hears of it from its own Ctrl-C.
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_walk())
