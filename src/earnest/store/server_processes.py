"""The **server's processes**, told from those of anybody else.

Invariant: a process id that stands in a file proves nothing, for after a crash it may belong to
anybody; a process is the server's if it is PostgreSQL and works in that very data directory.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil


class PidFile(msgspec.Struct, frozen=True):
    """What a server says of itself in postmaster.pid; `status` is "" until it has written one."""

    pid: int
    socket_dir: Path
    status: str


def read_pid_file(pgdata: Path) -> PidFile | None:
    """The pid file of `pgdata`, or None if there is none or it is not complete yet."""
    try:
        lines = (pgdata / "postmaster.pid").read_text().splitlines()
        return PidFile(
            pid=int(lines[0]),
            socket_dir=Path(lines[4]),
            status=lines[7].strip() if len(lines) > 7 else "",
        )
    except (FileNotFoundError, IndexError, ValueError):
        return None


def works_in(pid: int, pgdata: Path) -> bool:
    """Whether `pid` is a live PostgreSQL process whose working directory is `pgdata`."""
    try:
        process = psutil.Process(pid)
        return (
            process.name().startswith("postgres")
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()).samefile(pgdata)
        )
    except (psutil.Error, OSError):
        return False


def all_in(pgdata: Path) -> list[psutil.Process]:
    """Every PostgreSQL process that works in `pgdata`, with or without a server above it."""
    return [process for process in psutil.process_iter() if works_in(process.pid, pgdata)]


def wait_until(condition: Callable[[], bool], seconds_max: int) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds_max
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met
