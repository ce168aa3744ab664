"""The loop: **chores**, each done again and again until the worker is told to stop.

Invariant: a chore that raises is logged and tried again, ever more slowly, and never keeps the
others from theirs. A chore finds its work in the database each time, so nothing is lost when a
worker dies, and every chore is safe to be done by several workers at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

log = logging.getLogger(__name__)

BACKOFF_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 8  # the supervisor waits 12


async def nothing() -> None:
    """What most chores leave to be finished."""


class Chore(msgspec.Struct, frozen=True):
    """Something to do every so often. `do` returns how much it did: after anything, more may
    be waiting and it is called again at once; after nothing, `every_seconds` later. `finish` is
    called once, after the last time."""

    name: str
    every_seconds: float
    do: Callable[[], Awaitable[int]]
    finish: Callable[[], Awaitable[None]] = nothing


class Observe(Protocol):
    """Is told of each turn of a chore."""

    def __call__(self, name: str, *, failed: bool) -> None: ...


async def run(
    chores: Sequence[Chore], stopping: asyncio.Event, observe: Observe | None = None
) -> None:
    """Do `chores` until `stopping`, then let what runs finish, DRAIN_SECONDS_MAX at most."""
    tasks = [
        asyncio.create_task(_repeat(chore, stopping, observe), name=chore.name) for chore in chores
    ]
    try:
        await stopping.wait()
        _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS_MAX) if tasks else ((), ())
        for task in late:
            log.warning("%s did not finish in time and is cancelled", task.get_name())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(chore: Chore, stopping: asyncio.Event, observe: Observe | None) -> None:
    failures = 0
    while not stopping.is_set():
        pause_seconds = chore.every_seconds
        try:
            if await chore.do():
                pause_seconds = 0
            if observe is not None:
                observe(chore.name, failed=False)
            failures = 0
        except Exception:
            if observe is not None:
                observe(chore.name, failed=True)
            pause_seconds = min(BACKOFF_SECONDS_MAX, chore.every_seconds * 2**failures)
            failures = min(failures + 1, 16)
            log.exception("%s failed, next try in %g s", chore.name, pause_seconds)
        await _pause(pause_seconds, stopping)
    try:
        await chore.finish()
    except Exception:
        log.exception("%s did not end well", chore.name)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep, or wake up because it is time to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
