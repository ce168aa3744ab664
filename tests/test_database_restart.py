"""The embedded database dies, and before it is back something else does."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from earnest.store.server_processes import all_in
from standing import Standing, a_place


@pytest.fixture
def directory() -> Iterator[Path]:
    with a_place() as made:
        yield made


def test_it_tries_again_soon_when_its_database_died_while_it_started(directory: Path) -> None:
    standing = Standing(directory / "data")
    try:
        standing.start()
        standing.pgdata.chmod(0o777)  # PostgreSQL does not start in a directory that all may read
        standing.kill("PostgreSQL")
        until("Next start in 2 s", standing)
        standing.pgdata.chmod(0o700)
        mended = time.monotonic()
        while not is_ready(standing):
            assert time.monotonic() < mended + 20
            time.sleep(0.05)
        assert standing.stop() == 0
    finally:
        standing.end()


def test_it_waits_for_a_database_that_is_still_recovering_when_it_starts(directory: Path) -> None:
    standing = Standing(directory / "data")
    try:
        standing.start()
        database = head_of(standing)
        recovering = kill_and_hold_recovery(standing)
        standing.kill("supervisor")
        log_before = standing.log.read_text()
        starting = threading.Thread(target=standing.start)
        starting.start()
        until("the database is recovering, waiting for it", standing)
        recovering.resume()
        starting.join(30)
        assert is_ready(standing)
        assert head_of(standing) == database, "nobody has stopped it in the middle"
        assert "earnest:" not in standing.log.read_text().removeprefix(log_before)
        assert standing.stop() == 0
    finally:
        standing.end()


def head_of(standing: Standing) -> int:
    """The process id of its PostgreSQL."""
    return int((standing.pgdata / "postmaster.pid").read_text().split()[0])


def kill_and_hold_recovery(standing: Standing) -> psutil.Process:
    """Kill a backend, so that PostgreSQL recovers, and hold the process that does so still."""
    for _ in range(10):  # it may be through with it before it is seen
        while not is_ready(standing):
            time.sleep(0.05)
        standing.kill("backend")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            for process in all_in(standing.pgdata):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "startup" in " ".join(process.cmdline()):
                        process.suspend()
                        return process
    raise TimeoutError


def until(words: str, standing: Standing) -> None:
    """Until its log says so."""
    deadline = time.monotonic() + 30
    while words not in standing.log.read_text():
        assert time.monotonic() < deadline, standing.log.read_text()[-2_000:]
        time.sleep(0.05)


def is_ready(standing: Standing) -> bool:
    return httpx.get(f"{standing.url}/readyz", timeout=10, trust_env=False).status_code == 200
