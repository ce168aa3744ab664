"""`python -m bench`: what an operation costs, against what it could cost at least.

    make bench             everything, in about ten minutes
    make bench QUICK=1     the door, reading and releasing over HTTP, starting: two minutes
    make bench FULL=1      everything, and growth to 1,000,000 contracts, 1,000,000 events verified

Every figure is measured in rounds, in turns with what it is compared to. Exit code 1 if the books
are wrong, or if a must is missed by more than noise: below it in three rounds of four, on a machine
whose other processes left us three quarters of its cores. bench/results.json has the figures,
bench/machine.json where they come from. With PUBLISH=1 the table and the plot in docs/ are those of
this run.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import uvloop

from bench import books, report, yardstick
from bench.changes import Changes
from bench.commits import Commits
from bench.costs import costs
from bench.events import Events
from bench.growth import Growth
from bench.neighbours import SHARE_MAX
from bench.overload import Overload
from bench.partners import Partners
from bench.peers import Peers
from bench.publish import publish
from bench.reads import Reads
from bench.servers import Servers
from bench.startup import Startup
from bench.verified import Verified
from bench.webhooks import Webhooks
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate

BEGUN = time.perf_counter()


class Stage(Protocol):
    """One part of a run. Afterwards `rates` are what was done per second, `others` what others used
    of this machine, both round by round."""

    rates: dict[str, list[float]]
    others: list[float]

    async def run(self, say: Callable[[str], None]) -> list[report.Figure]: ...


def quick(pool: Pool, server: Embedded) -> list[Stage]:
    """What an evening's change is judged by."""
    return [
        Commits(pool, server, rounds=5, count=1_920, seconds_max=60),
        Reads(pool, server, rounds=5, count=6_400),
        Changes(pool, server, rounds=5, count=1_920),
        Startup(rounds=2),
    ]


def whole(pool: Pool, server: Embedded, sizes: tuple[int, ...], events: int) -> list[Stage]:
    """Every figure."""
    return [
        Commits(pool, server, rounds=7, count=3_840, seconds_max=180),
        Reads(pool, server, rounds=7, count=12_800),
        Changes(pool, server, rounds=7, count=1_920),
        *costs(rounds=5, requests=6_400),
        Partners(pool, server, rounds=5, count=3_200),
        Webhooks(pool, server, rounds=5, count=1_600),
        Events(pool, server, rounds=15, count=960),
        Peers(pool, server, rounds=5, count=1_280),
        Servers(pool, server, rounds=5, count=1_280),
        Overload(pool, server, rounds=3, seconds=4.0),
        Growth(sizes, rounds=7, count=1_200),
        Startup(rounds=3),
        Verified(events=events, rounds=3),
    ]


async def measure(
    server: Embedded, stages_of: Callable[[Pool, Embedded], Sequence[Stage]]
) -> tuple[list[report.Figure], report.Machine]:
    """The figures of one run on the empty database of `server`."""
    await migrate(server.owner_dsn)
    await yardstick.install(server.owner_dsn)
    pool = Pool(server.app_dsn, application_name="earnest bench", statement_timeout_seconds=300)
    figures: list[report.Figure] = []
    rates: dict[str, list[float]] = {}
    others: list[float] = []
    delays_ms: dict[str, float] = {}
    try:
        for stage in stages_of(pool, server):
            found = await stage.run(say)
            for figure in found:
                say(figure.row)
            figures += found
            rates |= stage.rates
            others += stage.others
            if isinstance(stage, Webhooks):
                delays_ms = stage.delays_ms
        async with pool.connection() as conn:
            postgresql = await conn.fetchval("SELECT current_setting('server_version')")
    finally:
        await pool.close()
    return figures, report.machine(postgresql, others, rates, delays_ms)


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGUN:6.1f} s  {text}", file=sys.stderr, flush=True)


def stages_wanted() -> Callable[[Pool, Embedded], Sequence[Stage]]:
    """By QUICK and FULL in the environment."""
    if _is_on("QUICK"):
        return quick
    if _is_on("FULL"):
        return lambda pool, server: whole(pool, server, (10_000, 100_000, 1_000_000), 1_000_000)
    return lambda pool, server: whole(pool, server, (10_000, 100_000), 100_000)


def _is_on(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="earnest-bench-"))
    try:
        server = Embedded.start(directory, say)
        try:
            figures, machine = uvloop.run(measure(server, stages_wanted()))
        finally:
            server.release()
    except books.BooksAreWrong as wrong:
        print(f"bench: THE BOOKS ARE WRONG: {wrong}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report.write(figures, machine)
    if _is_on("PUBLISH"):
        publish(figures, machine)
    print(report.table(figures, machine))
    missed = [figure.name for figure in figures if figure.missed]
    if not missed:
        return 0
    print(f"bench: below the must in three rounds of four: {', '.join(missed)}", file=sys.stderr)
    others_share = statistics.median(machine.others_share)
    if others_share > SHARE_MAX:
        print(
            f"bench: not counted: others used {others_share:.0%} of this machine."
            " Repeat when it is idle.",
            file=sys.stderr,
        )
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
