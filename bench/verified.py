"""`earnest verify` of whole lives (`bench.lives`) by all its processes, as the command runs it."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import books, lives
from bench.report import Figure
from earnest.assembly import build_core
from earnest.providers.events import amount_minor_of
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate
from earnest.store.verify import verify

SECRET = b"the secret of this bench, 32 byte"
SECONDS_OF_A_MILLION = (60, 20)
"""Must and goal."""


class Verified:
    """One run in a database of its own."""

    def __init__(self, *, events: int, rounds: int) -> None:
        self._lives = -(-events // lives.EVENTS_PER_LIFE)
        self._rounds = rounds
        self.rates: dict[str, list[float]] = {"events verified": []}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Live, verify, some times over. Raises BooksAreWrong for what verify finds."""
        events = self._lives * lives.EVENTS_PER_LIFE
        say(f"verify: making {events:,} events of {self._lives:,} lives")
        directory = Path(tempfile.mkdtemp(prefix="earnest-bench-"))
        server = Embedded.start(directory)
        pool = Pool(server.app_dsn, application_name="earnest bench", statement_timeout_seconds=300)
        try:
            await migrate(server.owner_dsn)
            await lives.live(build_core(Settings(secret_key=SECRET), pool), self._lives, say)
            await books.vacuum(server.owner_dsn)
            seconds = [await _seconds(server.app_dsn) for _ in range(self._rounds)]
        finally:
            await pool.close()
            server.release()
            shutil.rmtree(directory, ignore_errors=True)
        self.rates["events verified"] = [events / one for one in seconds]
        of_a_million = [one * 1_000_000 / events for one in seconds]
        return [
            Figure("seconds_to_verify_a_million_events", of_a_million, *SECONDS_OF_A_MILLION, True)
        ]


async def _seconds(dsn: str) -> float:
    begun = time.perf_counter()
    found = await verify(dsn, minor_of=amount_minor_of)
    if found.violation is not None:
        raise books.BooksAreWrong(str(found.violation))
    return time.perf_counter() - begun
