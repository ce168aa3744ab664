"""Where mutants are tried: tests are imported once, each mutant lives in a fork of its own.

A mutant within a function is planted by giving the living function the code of its mutant; so a
try costs a fork and the tests that call this function, quickest first, up to the first that
fails. A mutant on a module's own level (a table, a default), or in a function that already ran
while modules were imported, needs an interpreter that has not imported it yet: that one is forked
from a process that has only the libraries.
"""

import ast
import functools
import gc
import hashlib
import importlib.util
import os
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import msgspec
import pytest

from mutants.forks import BROKEN
from mutants.report import replace
from mutants.sites import PACKAGES, ROOT, Module, Mutant

Place = tuple[str, str]
"""A function: its module's name and its own, as in `Contract.live`."""

OPTIONS = ["-q", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "timeout=0"]
LIBRARIES = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
"""Libraries with pytest plugins are imported before pytest can rewrite their asserts."""

SLOWER_MAX, GRACE_SECONDS = 8, 15

_FORK = get_context("fork")


class Baseline(NamedTuple):
    """What the tests do when nothing is wrong: their seconds, and the functions that each calls.

    `early`: the functions that run while modules are imported; `mentions`: the test files that name
    a module.
    """

    seconds: dict[str, float]
    calls: dict[str, set[Place]]
    early: set[Place]
    mentions: dict[str, set[str]]

    def tests(self, module: Module, mutant: Mutant, after: float, until: float) -> list[str]:
        """Those that call the mutant's function, or for a module's own level any function of the
        module, or that stand in a file that imports from it; quickest first, of that row what lies
        between `after` and `until` seconds."""
        place = (module.name, mutant.function)
        found = [
            (self.seconds[test], test)
            for test, places in self.calls.items()
            if place in places or (mutant.line == 0 and self._knows(test, places, module))
        ]
        found.sort()
        begins = accumulate((seconds for seconds, _ in found), initial=0.0)
        return [test for (_, test), at in zip(found, begins, strict=False) if after <= at < until]

    def _knows(self, test: str, places: set[Place], module: Module) -> bool:
        named = test.split("::", maxsplit=1)[0] in self.mentions.get(module.name, ())
        return named or any(name == module.name for name, _ in places)

    def is_early(self, module: Module, mutant: Mutant) -> bool:
        """Whether it has to be there before anything is imported."""
        return mutant.line == 0 or (module.name, mutant.function) in self.early

    def seconds_at_most(self, tests: Iterable[str]) -> float:
        """A mutant that takes longer for its tests than that hangs."""
        return GRACE_SECONDS + SLOWER_MAX * sum(self.seconds[test] for test in tests)


# -- in the process that has imported the tests ---------------------------------------------------


class Calls:
    """Which functions of ours are called, while it is on."""

    def __init__(self) -> None:
        self.seen: set[Place] = set()
        folders = [str(ROOT / "src" / "earnest" / name) for name in PACKAGES]
        self._ours: dict[CodeType, Place | None] = {}
        self._folders = tuple(f"{folder}/" for folder in folders)

    def _trace(self, frame: FrameType, _event: str, _arg: object) -> None:
        place = self._ours.get(frame.f_code, ())
        if place == ():
            place = self._ours[frame.f_code] = self.place(frame.f_code)
        if place:
            self.seen.add(place)

    def place(self, code: CodeType) -> Place | None:
        if not code.co_filename.startswith(self._folders):
            return None
        return name_of(code.co_filename), code.co_qualname

    def on(self) -> None:
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def off(self) -> None:
        sys.settrace(None)
        threading.settrace(None)


def name_of(path: str) -> str:
    return f"{Path(path).parent.name}.{Path(path).stem}"


class Field:
    """The pytest plugin that tries mutants of functions instead of running the tests."""

    def __init__(
        self,
        work: "Callable[[Field], None]",
        early: set[Place],
        *,
        without_database: bool,
    ) -> None:
        self._work, self._early, self._without_database = work, early, without_database
        self._failed = False
        self.items: dict[str, pytest.Item] = {}
        self.calls = Calls()
        self._functions: dict[Place, list[FunctionType]] = defaultdict(list)
        self._caches: list[Any] = []
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_configure(self) -> None:
        quick_to_fail()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be imported")
        self.session = session
        self.items = {
            item.nodeid: item
            for item in session.items
            if not (self._without_database and "server" in getattr(item, "fixturenames", ()))
        }
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and (place := self.calls.place(found.__code__)):
                self._functions[place].append(found)
            elif isinstance(found, functools._lru_cache_wrapper):
                self._caches.append(found)
        gc.collect()
        gc.freeze()
        self._work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed
        self._seconds[report.nodeid] += report.duration

    def baseline(self, known: Path) -> Baseline:
        """Every test once, in a fork; what `known` tells of tests that have not changed since, is
        believed. A test that fails without any mutant is left out, and named."""
        seconds, calls = _remembered(known)
        fresh = [name for name in self.items if name not in seconds]
        if fresh:
            ours, theirs = _FORK.Pipe()
            process = _FORK.Process(target=self._observe, args=(fresh, theirs))
            process.start()
            theirs.close()
            more = ours.recv()
            process.join()
            seconds, calls = seconds | more[0], calls | more[1]
            replace(known, msgspec.json.encode((_fingerprints(), seconds, calls)))
        passing = {name: places for name, places in calls.items() if name in self.items}
        return Baseline(seconds, passing, self._early, _mentions())

    def _observe(self, order: list[str], answer: Connection) -> None:
        calls: dict[str, set[Place]] = {}
        for name, after in zip(order, [*order[1:], None], strict=True):
            self.calls.seen = set()
            self._forget()
            self.calls.on()
            passed = self._passes(name, after)
            self.calls.off()
            if passed:
                calls[name] = self.calls.seen
            else:
                print(f"fails without any mutant: {name}", flush=True)
        answer.send((dict(self._seconds), calls))
        answer.close()
        sys.stdout.flush()
        os._exit(0)

    def _forget(self) -> None:
        """Whoever asks for what was asked before calls nothing, and would notice nothing."""
        for cache in self._caches:
            cache.cache_clear()

    def _passes(self, name: str, after: str | None) -> bool:
        self._failed = False
        item = self.items[name]
        following = self.items[after] if after else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self._failed

    def attempt(self, module: Module, mutant: Mutant, tests: list[str]) -> int:
        """In a fork: 1 as soon as a test fails with the mutant in place."""
        mutant.plant()
        code = next(
            one for one in _functions_in(module.compiled()) if one.co_firstlineno == mutant.line
        )
        living = self._functions[module.name, mutant.function]
        for function in living:
            if function.__code__.co_firstlineno == mutant.line:
                function.__code__ = code
        assert code in [function.__code__ for function in living]
        self._forget()
        for name, after in zip(tests, [*tests[1:], None], strict=True):
            if not self._passes(name, after):
                # Databases are dropped and the like, as far as that still works.
                self.session._setupstate.teardown_exact(None)
                return 1
        return 0


def _functions_in(code: CodeType) -> Iterator[CodeType]:
    """The functions and methods of a module, not what is inside of them."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if one.co_flags & 0x02:  # CO_NEWLOCALS: a class body has none
                yield one
            else:
                yield from _functions_in(one)


def _fingerprints() -> dict[str, str]:
    """Of the names of our functions, under "", and of each file of the tests."""
    functions = [
        (path.name, node.name)
        for name in PACKAGES
        for path in sorted((ROOT / "src" / "earnest" / name).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    tests = (ROOT / "tests").glob("test_*.py")
    return {"": hashlib.sha256(repr(functions).encode()).hexdigest()} | {
        f"tests/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in tests
    }


def _mentions() -> dict[str, set[str]]:
    """Module -> the test files that import from it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").glob("test_*.py"):
        for name in re.findall(r"^from earnest\.(\w+\.\w+) import", path.read_text(), re.MULTILINE):
            found[name].add(f"tests/{path.name}")
    return found


_Known = tuple[dict[str, str], dict[str, float], dict[str, set[Place]]]


def _remembered(known: Path) -> tuple[dict[str, float], dict[str, set[Place]]]:
    if not known.exists():
        return {}, {}
    prints, seconds, calls = msgspec.json.decode(known.read_bytes(), type=_Known)
    now = _fingerprints()
    if prints[""] != now[""]:
        return {}, {}
    same = {name for name, found in prints.items() if found == now.get(name)}
    return (
        {test: spent for test, spent in seconds.items() if test.split("::")[0] in same},
        {test: places for test, places in calls.items() if test.split("::")[0] in same},
    )


# -- in a process that has imported nothing of ours -----------------------------------------------


class _Loader(SourceFileLoader):
    def __init__(self, module: Module) -> None:
        super().__init__(f"earnest.{module.name}", str(module.path))
        self._module = module

    def get_code(self, fullname: str) -> CodeType:
        assert fullname == self.name
        return self._module.compiled()


class _Finder:
    def __init__(self, module: Module) -> None:
        self._module = module

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != f"earnest.{self._module.name}":
            return None
        loader = _Loader(self._module)
        return importlib.util.spec_from_file_location(name, self._module.path, loader=loader)


class Chosen:
    """The pytest plugin that runs `tests` in this order."""

    def __init__(self, tests: list[str]) -> None:
        self._order = {test: i for i, test in enumerate(tests)}

    def pytest_configure(self, config: pytest.Config) -> None:
        quick_to_fail()
        vars(config)["workerinput"] = {}  # the server is not ours to stop

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._order]
        items.sort(key=lambda item: self._order[item.nodeid])


def attempt_anew(module: Module, mutant: Mutant, tests: list[str]) -> int:
    """In a fork of a process without anything of ours: import the mutant, run `tests`. What cannot
    even be imported any more is killed by that."""
    mutant.plant()
    sys.meta_path.insert(0, _Finder(module))
    files = list(dict.fromkeys(test.split("::")[0] for test in tests))
    done = pytest.main([*OPTIONS, *LIBRARIES, "-x", *files], plugins=[Chosen(tests)])
    return BROKEN if done == pytest.ExitCode.NO_TESTS_COLLECTED else int(done != 0)


def quick_to_fail() -> None:
    """The usual examples, the same every time; the first that fails is enough."""
    import hypothesis  # noqa: PLC0415  # only after pytest has had a chance to prepare it

    hypothesis.settings.register_profile(
        "mutants",
        parent=hypothesis.settings.get_profile("ci"),
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
        database=None,
    )
    hypothesis.settings.load_profile("mutants")
