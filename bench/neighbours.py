"""The neighbours: how much of this machine others used while we measured.

Rounds among busy neighbours scatter widely, to either side: they are shown and not judged.
"""

import asyncio
import os
import time
from pathlib import Path

import msgspec
import psutil

SHARE_MAX = 0.25
"""Above this share of all cores a round is noise."""

QUIET_CORES = 0.1
QUIET_SECONDS, QUIET_SECONDS_MAX = 0.5, 120


async def quiet(postmaster: Path, serving: int) -> None:
    """Return when the server that has just been started has settled: a worker's first chores (it
    reconciles yesterday) are no part of what is measured.

    Raises TimeoutError when it does not.
    """
    until = time.monotonic() + QUIET_SECONDS_MAX
    while time.monotonic() < until:
        begun = Clock.read(postmaster, serving)
        await asyncio.sleep(QUIET_SECONDS)
        if Clock.read(postmaster, serving).ours - begun.ours < QUIET_CORES * QUIET_SECONDS:
            return
    raise TimeoutError(f"still at work after {QUIET_SECONDS_MAX} seconds")


class Clock(msgspec.Struct, frozen=True):
    """CPU seconds so far: of everybody, and of this run with its database server."""

    elapsed: float
    everybody: float
    ours: float

    @classmethod
    def read(cls, postmaster: Path, *also: int) -> "Clock":
        """`postmaster` is the server's pid file, `also` processes that are ours with all that they
        started."""
        cpu = psutil.cpu_times()
        idle = cpu.idle + cpu.iowait
        total = sum(cpu[:8])  # the last two, guest times, are part of the first two
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        server = psutil.Process(int(postmaster.read_text().splitlines()[0]))
        for process in (server, *server.children()):
            try:
                spent = process.cpu_times()
            except psutil.NoSuchProcess:  # now it counts among the server's dead children
                continue
            ours += spent.user + spent.system
            if process == server:
                ours += spent.children_user + spent.children_system
        for pid in also:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                spent = process.cpu_times()
                ours += spent.user + spent.system
        return cls(total, total - idle, ours)

    def share_of_others(self, since: "Clock") -> float:
        """The share of all cores, 0 to 1, that others used between `since` and this."""
        others = (self.everybody - since.everybody) - (self.ours - since.ours)
        return max(0.0, others / (self.elapsed - since.elapsed))
