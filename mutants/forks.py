"""Attempts in forks, several at once, each for so long at most."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

BROKEN = 3
_OUTCOME = {0: "survived", 1: "killed"}


class Try(NamedTuple):
    """`run` says 0 when every test passed, 1 when one failed."""

    name: str
    seconds_max: float
    run: Callable[[], int]


class _Running(NamedTuple):
    name: str
    deadline: float


def outcomes(tries: Iterable[Try], jobs: int) -> Iterator[tuple[str, str]]:
    """(name, "survived", "killed" or "hung") of each try, `jobs` of them at once.

    Raises SystemExit for one that could not be tried: that would look like one that was killed.
    """
    running: dict[int, _Running] = {}
    for one in tries:
        deadline = time.monotonic() + one.seconds_max
        running[_forked(one.run)] = _Running(one.name, deadline)
        while len(running) >= jobs:
            yield from _ended(running)
    while running:
        yield from _ended(running)


def _forked(run: Callable[[], int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = BROKEN
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        status = run()
    finally:
        # Whatever went wrong in here: nothing of the parent's must be ended or cleaned up.
        os._exit(status)


def _ended(running: dict[int, _Running]) -> Iterator[tuple[str, str]]:
    time.sleep(0.004)
    for pid, one in list(running.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            del running[pid]
            if os.waitstatus_to_exitcode(status) not in _OUTCOME:
                raise SystemExit(f"mutants: this could not be tried: {one.name}")
            yield one.name, _OUTCOME[os.waitstatus_to_exitcode(status)]
        elif time.monotonic() > one.deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del running[pid]
            yield one.name, "hung"
