"""The embedded database that dies again while the supervisor starts it again."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

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


def until(words: str, standing: Standing) -> None:
    """Until its log says so."""
    deadline = time.monotonic() + 30
    while words not in standing.log.read_text():
        assert time.monotonic() < deadline, standing.log.read_text()[-2_000:]
        time.sleep(0.05)


def is_ready(standing: Standing) -> bool:
    return httpx.get(f"{standing.url}/readyz", timeout=10, trust_env=False).status_code == 200
