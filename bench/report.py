"""What a run says: one line per figure, on the screen and in results.json."""

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

HERE = Path(__file__).parent


class Figure(msgspec.Struct, frozen=True):
    """A ratio, measured once per round; higher is better, unless it is a cost. `must` and `goal`
    are budgets, 0 is none. Without rounds, `why_not` says why it could not be measured."""

    name: str
    rounds: Sequence[float]
    must: float
    goal: float
    is_cost: bool = False
    why_not: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.rounds)

    @property
    def missed(self) -> bool:
        """Whether the must is missed by more than noise: in three rounds of four."""
        missed = sum(not self._meets(ratio, self.must) for ratio in self.rounds)
        return not self.why_not and missed * 4 >= len(self.rounds) * 3

    @property
    def verdict(self) -> str:
        if not self.must:
            return "reported"
        if self.missed:
            return "MISSED"
        if not self._meets(self.value, self.must):
            return "must missed, within noise"
        return "goal" if self._meets(self.value, self.goal) else "must"

    def _meets(self, value: float, budget: float) -> bool:
        return value <= budget if self.is_cost else value >= budget

    @property
    def row(self) -> str:
        """Its line of the table."""
        if self.why_not:
            measured, verdict = "- | -", f"not measured: {self.why_not}"
        else:
            measured = f"**{self.value:.2f}** | {min(self.rounds):.2f} to {max(self.rounds):.2f}"
            verdict = self.verdict
        return f"| {self.name} | {measured} | {self.must} | {self.goal} | {verdict} |"

    def as_result(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "must": self.must,
            "goal": self.goal,
            "better": "lower" if self.is_cost else "higher",
        }


class Machine(msgspec.Struct, frozen=True):
    """Where and when it was measured, and what the ratios are ratios of."""

    measured_at: str
    commit: str
    cores: int
    cpu: str
    python: str
    postgresql: str
    others_share: list[float]
    """What other processes used of all cores meanwhile, 0 to 1, round by round."""
    per_second: dict[str, list[int]]
    """Releases, reads or webhooks per second of each series, round by round."""
    delays_ms: dict[str, int]
    """From an event to the arrival of its webhook's first attempt."""


def machine(
    postgresql: str,
    others_share: Sequence[float],
    per_second: Mapping[str, Sequence[float]],
    delays_ms: Mapping[str, float],
) -> Machine:
    """This machine, now."""
    return Machine(
        measured_at=datetime.now(UTC).isoformat(timespec="minutes"),
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu(),
        python=platform.python_version(),
        postgresql=postgresql,
        others_share=[round(share, 2) for share in others_share],
        per_second={name: [round(rate) for rate in rates] for name, rates in per_second.items()},
        delays_ms={name: round(delay) for name, delay in delays_ms.items()},
    )


def write(figures: Sequence[Figure], on: Machine, directory: Path = HERE) -> None:
    """results.json: the figures. machine.json: where they come from, and why which of them could
    not be measured."""
    not_measured = {figure.name: figure.why_not for figure in figures if figure.why_not}
    for name, content in (
        ("results.json", [figure.as_result() for figure in figures if not figure.why_not]),
        ("machine.json", msgspec.structs.asdict(on) | {"not_measured": not_measured}),
    ):
        text = msgspec.json.format(msgspec.json.encode(content), indent=2)
        (directory / name).write_bytes(text + b"\n")


def table(figures: Sequence[Figure], on: Machine) -> str:
    """Markdown, as docs/performance.md shows it."""
    where = f"{on.cores} cores ({on.cpu}), Python {on.python}, PostgreSQL {on.postgresql}"
    others = f"others used {statistics.median(on.others_share):.0%} of this machine"
    lines = [
        f"{on.measured_at}, commit {on.commit}, {where}, {others}",
        "",
        "| figure | value | rounds | must | goal | |",
        "|---|---|---|---|---|---|",
    ]
    lines.extend(figure.row for figure in figures)
    lines += ["", "| series | per second |", "|---|---|"]
    lines.extend(
        f"| {name} | {statistics.median(rates):,.0f} |" for name, rates in on.per_second.items()
    )
    if on.delays_ms:
        lines += ["", "| event to webhook | ms |", "|---|---|"]
    lines.extend(f"| {name} | {delay} |" for name, delay in on.delays_ms.items())
    return "\n".join(lines)


def _commit() -> str:
    if shutil.which("git") is None:
        return "unknown"
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
