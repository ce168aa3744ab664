"""**Passwords**: argon2id in a few threads behind a short queue.

One hash costs 19 MiB and about 50 ms of a core. Without a bound on the queue, logging in would
be the cheapest way to stop the server; a caller who finds it full is told to come back when what
waits in it will be done.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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


class Passwords:
    """Hashes and verifies, `threads` at a time, with at most `waiting_max` in the queue."""

    def __init__(self, threads: int = max(1, (os.cpu_count() or 2) - 1), waiting_max: int = 64):
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._threads_count = threads
        self._waiting = 0
        self._waiting_max = waiting_max
        began = time.monotonic()
        self._nobody = self._hasher.hash(_NOBODY_PASSWORD)
        self._run_seconds = time.monotonic() - began

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash. Raises TooMany when the queue is full."""
        return await self._queue(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` fits; without a hash the same work for a certain False."""

        def check() -> bool:
            try:
                self._hasher.verify(password_hash or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
            return password_hash is not None

        if len(password.encode()) > BYTES_MAX:
            return False
        return await self._queue(check)

    def close(self) -> None:
        """Let the threads go; whoever still waits is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _queue(self, work: Callable[[], Done]) -> Done:
        if self._waiting >= self._waiting_max:
            wait_seconds = self._waiting * self._run_seconds / self._threads_count
            raise TooMany(max(1, math.ceil(wait_seconds)))

        def timed() -> Done:
            began = time.monotonic()
            try:
                return work()
            finally:
                self._run_seconds += (time.monotonic() - began - self._run_seconds) / 8

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, timed)
        finally:
            self._waiting -= 1
