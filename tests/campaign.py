"""A **kill campaign**: a real `earnest serve` under load, and SIGKILL at random moments.

    report = await Campaign(directory, seed=1).run(kills=5)
    python tests/campaign.py --kills 40 --seed 7          the same, with the report on the screen

The server has its embedded PostgreSQL in a directory of its own, two API processes and a worker.
A **target** is what a kill hits (tests/standing.py). The clientele (tests/clientele.py) repeats
what it does not know the outcome of, and in the end its receipts are held against the tables
(tests/reckoning.py).
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from clientele import Clientele, Diary
from earnest.store.embedded import Embedded
from reckoning import Reckoning, books_at, books_of, reckon
from standing import COMES_BACK_SECONDS_MAX, Standing, a_place
from test_serve import COMMAND, earnest
from trades import Cast, Trader, gather

TARGETS = ("api", "worker", "backend", "PostgreSQL", "everything")
TWINS = {"PostgreSQL": "postmaster", "everything": "supervisor"}
"""Half of the time it is only the head that is hit."""

TRADERS = 12
QUIET_SECONDS = (0.3, 1.5)
"""How long after the last recovery the next kill comes."""
HURRIED = 0.2
"""How often it does not wait for that: what was hit is then still on its way back."""
SETTLED_SECONDS_MAX = 90
REPEATED_AFTER_EACH = 10
REPEATED_AT_THE_END = 300

OWED = """
SELECT (SELECT count(*) FROM sandbox.outbox WHERE delivered_at IS NULL)
    + (SELECT count(*) FROM refund WHERE state <> 'done')
    + (SELECT count(*) FROM payout WHERE state <> 'done')
"""


class Hit(msgspec.Struct, frozen=True):
    """A kill that is planned: when after the last recovery, and `which` of those that there are.
    The next one does not wait for a recovery if `is_hurried`."""

    target: str
    which: int
    quiet_seconds: float
    is_hurried: bool


class Kill(msgspec.Struct, frozen=True):
    """One of them. Seconds from the signal until /readyz said yes, and until a write that was
    begun after it was acknowledged; None when nobody waited for that before the next kill. `at` is
    the time of day, as in the server's log."""

    target: str
    at: str
    ready_seconds: float | None = None
    write_seconds: float | None = None


class Report(msgspec.Struct):
    """What came of it. Clean, when nothing is lost, doubled, unbalanced, astray or violated."""

    seed: int
    kills: list[Kill] = []
    seconds: float = 0.0
    acknowledged: int = 0
    unknown: int = 0
    retried: int = 0
    verbs: dict[str, int] = {}
    lost: list[str] = []
    doubled: list[str] = []
    imbalance: list[str] = []
    astray: list[str] = []
    violation: str = ""

    @property
    def is_clean(self) -> bool:
        found = (self.lost, self.doubled, self.imbalance, self.astray, self.violation)
        return not any(found)

    def summary(self) -> Any:
        """Counts and times, as JSON has them; of what is wrong, the first few."""
        wrong = ("lost", "doubled", "imbalance", "astray")
        by_target = {
            target: {
                "kills": len(hit),
                "ready_seconds": _spread([kill.ready_seconds for kill in hit]),
                "write_seconds": _spread([kill.write_seconds for kill in hit]),
            }
            for target, hit in self._by_target().items()
        }
        summary = {
            "seed": self.seed,
            "kills": len(self.kills),
            "hurried": sum(kill.ready_seconds is None for kill in self.kills),
            "seconds": round(self.seconds),
            "acknowledged": self.acknowledged,
            "unknown": self.unknown,
            "retried": self.retried,
            **{name: len(getattr(self, name)) for name in wrong},
            "verify": self.violation or "the books balance",
            "targets": by_target,
            "verbs": self.verbs,
            "timeline": self.kills,
            "examples": {name: found[:5] for name in wrong if (found := getattr(self, name))},
        }
        return msgspec.to_builtins(summary)

    def _by_target(self) -> dict[str, list[Kill]]:
        """The kills of each target, and all of them."""
        found: dict[str, list[Kill]] = {}
        for kill in self.kills:
            found.setdefault(kill.target, []).append(kill)
        return dict(sorted(found.items())) | {"any": self.kills}


def _spread(seconds: list[float | None]) -> dict[str, float] | None:
    """The median and the longest of those that were measured."""
    known = [one for one in seconds if one is not None]
    if not known:
        return None
    return {"median": round(statistics.median(known), 2), "max": round(max(known), 2)}


# -- the campaign ---------------------------------------------------------------------------------


class Campaign:
    """One campaign in an empty `directory`. `command` is what is served by; `plant` is called once
    the cast is there and before anybody trades."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        command: tuple[str, ...] = COMMAND,
        plant: Callable[[Embedded], Awaitable[None]] | None = None,
    ) -> None:
        # Those who sign in once may need longer than two hours, for 200 kills on a busy machine.
        self._standing = Standing(directory / "data", command, EARNEST_ACCESS_TOKEN_SECONDS="86400")
        self._diary = Diary(directory / "diary.jsonl")
        self._clientele = Clientele(self._standing.url, self._diary, random.Random(seed))
        self._plant = plant
        self._report = Report(seed)
        self._cast: Cast

    async def run(self, kills: int, targets: tuple[str, ...] = TARGETS) -> Report:
        """Trade, kill and recover so often, then let everything settle, and reckon."""
        begun = time.monotonic()
        try:
            await asyncio.to_thread(self._standing.start)
            self._cast = await gather(self._clientele.http, self._standing.data_dir)
            if self._plant is not None:
                await self._plant(self.embedded)
            await self._trade_and_kill(plan(self._report.seed, kills, targets))
            await self._reckon()
            self._report.seconds = time.monotonic() - begun
            assert await asyncio.to_thread(self._standing.stop) == 0
        finally:
            await self._clientele.http.aclose()
            self._diary.close()
            await asyncio.to_thread(self._standing.end)
        return self._report

    @property
    def embedded(self) -> Embedded:
        """The URLs of the database; nobody holds it by this."""
        return Embedded(self._standing.data_dir, lambda _: None)

    async def _trade_and_kill(self, hits: list[Hit]) -> None:
        traders = [Trader(self._clientele, self._cast, number) for number in range(TRADERS)]
        trading = [asyncio.ensure_future(trader.trade()) for trader in traders]
        try:
            await self._acknowledged_after(time.monotonic())
            for hit in hits:
                await asyncio.sleep(hit.quiet_seconds)
                self._report.kills.append(await self._kill(hit))
                if not hit.is_hurried:
                    await self._repeat(REPEATED_AFTER_EACH)
            self._clientele.is_over = True
            await asyncio.gather(*trading)
        finally:
            for one in trading:
                one.cancel()
            await asyncio.gather(*trading, return_exceptions=True)

    async def _kill(self, hit: Hit) -> Kill:
        await asyncio.to_thread(self._standing.kill, hit.target, hit.which)
        at, of_day = time.monotonic(), datetime.now(UTC).strftime("%H:%M:%S.%f")
        if not self._standing.is_up:
            await asyncio.to_thread(self._standing.start)
        elif hit.is_hurried:
            return Kill(hit.target, of_day)
        ready = round(await self._ready_after(at) - at, 3)
        return Kill(hit.target, of_day, ready, round(await self._acknowledged_after(at) - at, 3))

    async def _ready_after(self, at: float) -> float:
        while True:
            try:
                async with httpx.AsyncClient(timeout=10, trust_env=False) as prober:
                    answer = await prober.get(f"{self._standing.url}/readyz")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return time.monotonic()
            said = "" if answer is None else answer.text
            assert time.monotonic() < at + COMES_BACK_SECONDS_MAX, said + self._last_words()
            await asyncio.sleep(0.02)

    async def _acknowledged_after(self, at: float) -> float:
        """When a write that was begun after `at` was acknowledged."""
        while self._diary.newest_begun <= at:
            assert time.monotonic() < at + COMES_BACK_SECONDS_MAX, self._last_words()
            await asyncio.sleep(0.01)
        return time.monotonic()

    def _last_words(self) -> str:
        return "\n".join([*self._clientele.astray, self._standing.log.read_text()[-3_000:]])

    async def _repeat(self, newest: int) -> None:
        """What was acknowledged last is acknowledged again, in the same words."""
        keyed = [receipt for receipt in self._diary.receipts()[-newest:] if receipt.key]
        people = self._cast.people
        for receipt in keyed:
            wrong = await self._clientele.repeat(receipt, people[receipt.who])
            if wrong:
                self._report.lost.append(wrong)

    # -- the end --------------------------------------------------------------------------------

    async def _reckon(self) -> None:
        await self._settle()
        await self._repeat(REPEATED_AT_THE_END)
        receipts = self._diary.receipts()
        found: Reckoning = reckon(books_of(receipts), await books_at(self.embedded.superuser_dsn))
        verified = await asyncio.to_thread(earnest, "verify", "--data", self._standing.data_dir)
        report, diary = self._report, self._diary
        report.acknowledged, report.unknown, report.retried = (
            diary.acknowledged, diary.unknown, diary.retried,
        )  # fmt: skip
        report.verbs = dict(sorted(Counter(one.verb for one in receipts).items()))
        report.lost += found.lost
        report.doubled += found.doubled
        report.imbalance += found.imbalance
        report.astray += self._clientele.astray
        if verified.returncode != 0:
            report.violation = (verified.stdout + verified.stderr)[:2_000]

    async def _settle(self) -> None:
        """Until the provider has told everything, and refunds and payouts have arrived."""
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while (owed := await self._owed()) > 0:
            if time.monotonic() > deadline:
                self._clientele.astray.append(f"{owed} things are still not settled")
                return
            # Retries of the provider follow business time; its leases do not.
            await self._clientele.http.post("/sandbox/clock", json={"advance_seconds": 60})
            await asyncio.sleep(1)

    async def _owed(self) -> int:
        conn = await asyncpg.connect(self.embedded.superuser_dsn)
        try:
            owed: int = await conn.fetchval(OWED)
        finally:
            await conn.close()
        return owed


def plan(seed: int, kills: int, targets: tuple[str, ...] = TARGETS) -> list[Hit]:
    """What to hit and when: each target as often as the others, in an order of chance. The same
    again for the same seed; what the clientele is doing at that moment is not."""
    dice = random.Random(seed)
    dealt: list[str] = []
    while len(dealt) < kills:
        dealt += dice.sample(targets, len(targets))
    return [
        Hit(
            TWINS[target] if target in TWINS and dice.random() < 0.5 else target,
            dice.randrange(1_000),
            dice.uniform(*QUIET_SECONDS),
            dice.random() < HURRIED and number < kills,
        )
        for number, target in enumerate(dealt[:kills], start=1)
    ]


def main() -> None:
    """Run one and print its report; exit code 1 unless it is clean."""
    parser = argparse.ArgumentParser(description="SIGKILL a server under load, and reckon.")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    asked = parser.parse_args()
    sys.stdout.write(f"seed {asked.seed}\n")
    with a_place() as directory:
        report = asyncio.run(Campaign(directory, asked.seed).run(asked.kills))
        sys.stdout.write(json.dumps(report.summary(), indent=2) + "\n")
        if not report.is_clean:
            kept = tempfile.mkdtemp(prefix="earnest-campaign-")
            for left in ("diary.jsonl", "data.log"):
                shutil.copy(directory / left, kept)
            raise SystemExit(f"not clean; diary and log are in {kept}")


if __name__ == "__main__":
    main()
