"""**Passwords**: argon2id in a few threads behind a short queue.

One hash costs 19 MiB and about 50 ms of a core. Without a bound on the queue, logging in would
be the cheapest way to stop the server; a caller who finds it full is told to come back when what
waits in it will be done. Without turns, one client with a few accounts of their own would make
everybody else wait.
"""

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from earnest.actions.guessable import is_guessable
from earnest.errors import InvalidField, TooMany

BYTES_MAX = 128
CHARACTERS_MIN = 6
SPECIAL = "@$!%*?&"
Done = TypeVar("Done")
# A real hash of nothing anybody knows: an unknown address costs what a wrong password costs.
_NOBODY_PASSWORD = os.urandom(16).hex()
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def check_rule(password: str, field: str = "password") -> None:
    """The rule that clients show (spec 4.1), and not what everybody tries first.

    Raises InvalidField naming `field`. Costs no hash.
    """
    if len(password.encode()) > BYTES_MAX:
        raise InvalidField(field, f"must be at most {BYTES_MAX} bytes long")
    if len(password) < CHARACTERS_MIN:
        raise InvalidField(field, f"must be at least {CHARACTERS_MIN} characters long")
    if not any(c.islower() for c in password) or not any(c.isupper() for c in password):
        raise InvalidField(field, "must contain an upper-case and a lower-case letter")
    if not any(c.isdigit() for c in password) or not any(c in SPECIAL for c in password):
        raise InvalidField(field, f"must contain a digit and one of {SPECIAL}")
    if is_guessable(password):
        raise InvalidField(field, "is one that everybody tries first: choose another")


@cache
def _nobodys() -> tuple[str, float]:
    """A hash that is nobody's, and the seconds that it took; once a process."""
    began = time.monotonic()
    return _HASHER.hash(_NOBODY_PASSWORD), time.monotonic() - began


class Passwords:
    """Hashes and verifies, `threads` at a time, with at most `waiting_max` in the queue.

    Whoever asks (`whom`, a client's address) has a line of their own, and the lines take turns:
    one that is full of somebody's attempts makes nobody else wait. Invariant: `_lines` holds no
    empty line, and the one whose turn is next comes first.
    """

    def __init__(self, threads: int = max(1, (os.cpu_count() or 2) - 1), waiting_max: int = 64):
        self._hasher = _HASHER
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._threads_free = self._threads_count = threads
        self._lines: dict[str, deque[_Turn]] = {}
        self._waiting = 0
        self._waiting_max = waiting_max
        self._nobody, self._run_seconds = _nobodys()

    async def hash(self, password: str, whom: str) -> str:
        """The encoded argon2id hash. Raises TooMany when the queue is full."""
        return await self._queue(whom, lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str, whom: str) -> bool:
        """Whether `password` fits; without a hash the same work for a certain False.

        Raises TooMany when the queue is full.
        """

        def check() -> bool:
            try:
                self._hasher.verify(password_hash or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
            return password_hash is not None

        if len(password.encode()) > BYTES_MAX:
            return False
        return await self._queue(whom, check)

    def close(self) -> None:
        """Let the threads go; whoever still waits is cancelled."""
        for line in self._lines.values():
            for turn in line:
                turn.answer.cancel()
        self._lines.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _queue(self, whom: str, work: Callable[[], Done]) -> Done:
        if self._waiting >= self._waiting_max and not self._take_place_from_longest(whom):
            raise self._too_many()
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(whom, deque()).append(_Turn(work, answer))
        self._waiting += 1
        self._begin()
        return await answer

    def _take_place_from_longest(self, whom: str) -> bool:
        """Refuse the last of the longest line for `whom`; False if theirs is as long already."""
        longest = max(self._lines.values(), key=len, default=deque())
        if len(longest) <= len(self._lines.get(whom, ())) + 1:
            return False
        last = longest.pop()
        self._waiting -= 1
        if not last.answer.done():
            last.answer.set_exception(self._too_many())
        return True

    def _too_many(self) -> TooMany:
        wait_seconds = self._waiting * self._run_seconds / self._threads_count
        return TooMany(max(1, math.ceil(wait_seconds)))

    def _begin(self) -> None:
        """The first of each line in turn, while there are threads."""
        while self._threads_free and self._lines:
            whom = next(iter(self._lines))
            line = self._lines.pop(whom)
            turn = line.popleft()
            if line:
                self._lines[whom] = line
            if turn.answer.done():  # its caller has gone
                self._waiting -= 1
                continue
            self._threads_free -= 1
            running = asyncio.get_running_loop().run_in_executor(
                self._threads, self._timed, turn.work
            )
            running.add_done_callback(partial(self._end, turn))

    def _end(self, turn: "_Turn", ran: asyncio.Future[Any]) -> None:
        self._threads_free += 1
        self._waiting -= 1
        error = None if ran.cancelled() else ran.exception()
        if turn.answer.done():
            pass
        elif ran.cancelled():
            turn.answer.cancel()
        elif error is not None:
            turn.answer.set_exception(error)
        else:
            turn.answer.set_result(ran.result())
        self._begin()

    def _timed(self, work: Callable[[], Done]) -> Done:
        began = time.monotonic()
        try:
            return work()
        finally:
            self._run_seconds += (time.monotonic() - began - self._run_seconds) / 8


class _Turn(NamedTuple):
    """What somebody waits for."""

    work: Callable[[], Any]
    answer: asyncio.Future[Any]
