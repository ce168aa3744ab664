"""What became of the mutants: kept between runs, shown as a table, held against
`mutants/explained.txt`.

That file names mutants that no test can notice, one or more lines, then their indented reason.
Several runs may go on at once: each adds what it has found to what the others have written.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mutants.sites import Module

KEEP_SECONDS = 10
EXPLAINED = Path(__file__).parent / "explained.txt"

Outcomes = dict[str, dict[str, str]]
"""Module -> mutant -> "killed", "hung" (killed by that) or "survived"."""


class Results:
    """The outcomes that are known, those of other runs among them."""

    def __init__(self, path: Path) -> None:
        self.of = _read(path)
        self._found: Outcomes = {}
        self._kept_at = time.monotonic()

    def keep(self, path: Path) -> None:
        """Write it now and then: a run takes long, and may be ended."""
        if time.monotonic() - self._kept_at > KEEP_SECONDS:
            self.write(path)

    def write(self, path: Path) -> None:
        """Only what was found since the last time replaces what is there by now."""
        with _alone_in(path.parent):
            self.of = _read(path)
            for module, outcomes in self._found.items():
                self.of.setdefault(module, {}).update(outcomes)
            replace(path, msgspec.json.format(msgspec.json.encode(self.of), indent=1))
        self._found = {}
        self._kept_at = time.monotonic()

    def is_dead(self, module: str, mutant: str) -> bool:
        return self.of.get(module, {}).get(mutant) in {"killed", "hung"}

    def add(self, module: str, mutant: str, outcome: str) -> None:
        for outcomes in (self.of, self._found):
            outcomes.setdefault(module, {})[mutant] = outcome


def _read(path: Path) -> Outcomes:
    return msgspec.json.decode(path.read_bytes() if path.exists() else b"{}", type=Outcomes)


def replace(path: Path, content: bytes) -> None:
    """Whoever reads `path` meanwhile finds the old content or the new one, never a part."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """The lock is the folder's: the file itself is another one after each write."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def explained() -> dict[str, str]:
    """ "module mutant" -> why no test can notice it."""
    reasons: dict[str, str] = {}
    names: list[str] = []
    for line in EXPLAINED.read_text().splitlines():
        if line.startswith(" "):
            reasons |= {name: f"{reasons[name]} {line.strip()}".strip() for name in names}
        elif not line:
            names = []
        elif not line.startswith("#"):
            names.append(line)
            reasons[line] = ""
    return reasons


def show(results: Results, wanted: list[Module]) -> int:
    """Print the table and every survivor that is not explained; 1 if there is one."""
    reasons = explained()
    rows: list[tuple[str, int, int, int, int]] = []
    survivors: list[str] = []
    for module in wanted:
        told = results.of.get(module.name, {})
        outcomes = {one.name: told[one.name] for one in module.mutants if one.name in told}
        lost = [f"{module.name} {name}" for name, what in outcomes.items() if what == "survived"]
        unexplained = [name for name in lost if name not in reasons]
        survivors += unexplained
        killed, equal = len(outcomes) - len(lost), len(lost) - len(unexplained)
        rows.append((module.name, len(module.mutants), len(outcomes), killed, equal))
    sums = [sum(counts) for counts in zip(*(row[1:] for row in rows), strict=True)]
    rows.append(("together", sums[0], sums[1], sums[2], sums[3]))
    print("| module | mutants | tried | killed | explained | survived | killed of what can be |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, count, tried, killed, equal in rows:
        can_be = tried - equal
        share = f"{100 * killed / can_be:.1f} %" if can_be else "-"
        print(f"| {name} | {count} | {tried} | {killed} | {equal} | {can_be - killed} | {share} |")
    print()
    for name in survivors:
        print(f"survived: {name}")
    known = {f"{module.name} {one.name}" for module in wanted for one in module.mutants}
    modules = {module.name for module in wanted}
    stale = [name for name in reasons if name.split(" ")[0] in modules and name not in known]
    for name in stale:
        print(f"explained, but there is no such mutant: {name}")
    return int(bool(survivors or stale))
