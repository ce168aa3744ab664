"""`python -m mutants [MODULE...]`: make every small mistake that can be made in these modules
(domain.money; ledger: all of them; none: domain and ledger), one at a time, and say which of them
no test notices. docs/mutants.md tells what for, and why there is a program of our own for it.

Exit code 1 if a mutant survived that mutants/explained.txt does not explain. Results are kept from
run to run in .mutants.json, and what each test calls in .mutants.tests.
"""

import contextlib
import importlib
import io
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest

from mutants import report
from mutants.field import LIBRARIES, OPTIONS, Baseline, Calls, Chosen, Field, attempt_anew
from mutants.forks import Try, outcomes
from mutants.sites import CONTROL, ROOT, Module, Mutant, modules

Planned = tuple[Module, Mutant]
ROUNDS = ((0.0, 2.0), (2.0, 12.0), (12.0, 40.0))
"""Seconds of tests: what a round leaves alive is tried with the tests of the next. What forty
seconds of tests do not notice is called a survivor."""

RESULTS, KNOWN = ROOT / ".mutants.json", ROOT / ".mutants.tests"
RUN_DIR = "EARNEST_TEST_RUN_DIR"
_TESTS = msgspec.toml.decode(
    (ROOT / "mutants" / "tests.toml").read_bytes(), type=dict[str, list[str]]
)
_FORK = get_context("fork")


def main() -> int:
    options = ArgumentParser(prog="python -m mutants", description="Mutation testing.")
    options.add_argument("modules", nargs="*", help="domain.money, or ledger; none: both packages")
    options.add_argument("-j", type=int, default=1, help="how many mutants at once (1)")
    options.add_argument("-n", type=int, help="so many of each module, the same every time")
    options.add_argument("-s", action="store_true", help="only those that no run has killed yet")
    options.add_argument("-q", action="store_true", help="only by tests without a database")
    options.add_argument("-r", action="store_true", help="only report what is known")
    given = options.parse_args()
    wanted = [
        one
        for one in modules()
        if not given.modules or {one.name, one.name.split(".")[0]} & set(given.modules)
    ]
    results = report.Results(RESULTS)
    if not given.r:
        planned = [
            (module, mutant)
            for module in wanted
            for mutant in _sample(module, given.n)
            if not (given.s and results.is_dead(module.name, mutant.name))
        ]
        print(f"{len(planned)} mutants of {len(wanted)} modules", flush=True)
        _try(planned, results, given.j, quick=given.q)
    return report.show(results, wanted)


def _sample(module: Module, most: int | None) -> list[Mutant]:
    """Any `most` of them, by the digest of their names."""
    return sorted(module.mutants, key=lambda one: sha256(one.name.encode()).digest())[:most]


def _try(
    planned: list[Planned], results: report.Results, jobs: int, *, quick: bool = False
) -> None:
    """Mutants of functions in a process that has imported everything; then, while that one keeps
    PostgreSQL running, the others from this one, which has imported the libraries only."""
    files = _files(quick=quick)
    for name in _libraries(files):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    os.environ[RUN_DIR] = tempfile.mkdtemp(prefix="earnest-mutants-", dir=_roomy())
    ours, theirs = _FORK.Pipe()
    field = _FORK.Process(target=_plant_in_the_living, args=(theirs, planned, jobs, quick))
    field.start()
    theirs.close()
    try:
        while not isinstance(told := ours.recv(), Baseline):
            results.add(*told)
            results.keep(RESULTS)
        early = [one for one in planned if told.is_early(*one)]
        for found in _rounds(early, told, lambda *one: partial(attempt_anew, *one), jobs):
            results.add(*found)
            results.keep(RESULTS)
    except EOFError:
        raise SystemExit("mutants: the tests could not be run; their reason is above") from None
    finally:
        results.write(RESULTS)
        with contextlib.suppress(OSError):
            ours.send("done")
        ours.close()
        field.join()


def _files(*, quick: bool) -> list[str]:
    lists = ("without_database",) if quick else ("without_database", "with_database")
    return [f"tests/test_{name}.py" for kind in lists for name in _TESTS[kind]]


def _plant_in_the_living(
    answer: Connection, planned: list[Planned], jobs: int, quick: bool
) -> None:
    """In a fork. It ends when it is told that the others are done."""

    def work(field: Field) -> None:
        with contextlib.nullcontext() if quick else _postgres():
            baseline = field.baseline(KNOWN)
            living = [one for one in planned if not baseline.is_early(*one)]
            for found in _rounds(living, baseline, lambda *one: partial(field.attempt, *one), jobs):
                answer.send(found)
            answer.send(baseline)
            answer.recv()  # the others are done, too

    early = Calls()
    early.on()
    importlib.import_module("earnest.app")
    for module in modules():
        importlib.import_module(f"earnest.{module.name}")
    early.off()
    field = Field(work, early.seen, without_database=quick)
    sys.exit(pytest.main([*OPTIONS, *LIBRARIES, *_files(quick=quick)], plugins=[field]))


@contextlib.contextmanager
def _postgres() -> Iterator[None]:
    """The server that the tests of all forks share, for as long as this lasts."""
    from conftest import Server, _make_template  # noqa: PLC0415  # pytest has to come first
    from earnest.store.embedded import Embedded  # noqa: PLC0415

    held = Server(Embedded.start(Path(os.environ[RUN_DIR])), template="migrated")
    try:
        _make_template(held)
        yield
    finally:
        held.embedded.release()


def _rounds(
    planned: list[Planned],
    baseline: Baseline,
    attempt: Callable[[Module, Mutant, list[str]], Callable[[], int]],
    jobs: int,
) -> Iterator[tuple[str, str, str]]:
    """Module, mutant, outcome; of a mutant that lives on, one in each round. First of all, the
    tests of each module's first mutant have to pass without it."""
    controlled: set[Module] = set()
    for after, until in ROUNDS:
        began, tries, alive = time.monotonic(), list[Try](), dict[str, Planned]()
        for module, mutant in planned:
            name = f"{module.name} {mutant.name}"
            alive[name] = module, mutant
            if tests := baseline.tests(module, mutant, after, until):
                if after == 0 and module not in controlled:
                    controlled.add(module)
                    control = f"{module.name} {CONTROL}"
                    run = attempt(module, mutant.control(), tests)
                    tries.append(Try(control, baseline.seconds_at_most(tests), run))
                run = attempt(module, mutant, tests)
                tries.append(Try(name, baseline.seconds_at_most(tests), run))
            elif after == 0:
                yield module.name, mutant.name, "survived"
        for name, outcome in outcomes(tries, jobs):
            if name.endswith(CONTROL):
                if outcome != "survived":
                    raise SystemExit(f"mutants: tests fail in another order: {name}")
                continue
            module, mutant = alive[name]
            if outcome != "survived":
                del alive[name]
            yield module.name, mutant.name, outcome
        spent = time.monotonic() - began
        print(f"{len(planned)} tried, {len(alive)} alive after {spent:.0f} s", flush=True)
        planned = list(alive.values())


def _libraries(files: list[str]) -> list[str]:
    """What pytest, the application and the tests import that is not ours."""
    ours, theirs = _FORK.Pipe()
    _FORK.Process(target=_tell_libraries, args=(theirs, files)).start()
    theirs.close()
    names: list[str] = ours.recv()
    return names


def _tell_libraries(answer: Connection, files: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*OPTIONS, "--collect-only", *files], plugins=[Chosen([])])
    own = tuple(str(ROOT / name) for name in ("src", "tests", "mutants", "clients"))
    paths = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    answer.send([name for name, path in paths.items() if path and not path.startswith(own)])


def _roomy() -> str | None:
    """In memory, where that can be: databases are made and dropped by the thousand."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
