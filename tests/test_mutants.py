"""The mistakes that `make mutants` makes: each in its place, one at a time, every time the same."""

from pathlib import Path

import msgspec
import pytest
from mutants import report
from mutants.forks import Try, outcomes
from mutants.sites import ROOT, Module, modules

ENUMS = {"Money": ["HELD", "RELEASED"]}


def names(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "some.py").write_text(text)
    return [one.name for one in Module(tmp_path / "some.py", ENUMS).mutants]


@pytest.mark.parametrize(
    ("line", "mistakes"),
    [
        ("return a < b", ["return a < b -> return None", "a < b -> a <= b", "a < b -> a >= b"]),
        ("return a is b", ["return a is b -> return None", "a is b -> a is not b"]),
        ("a -= b", ["a -= b -> a += b"]),
        (
            "return a and b",
            ["return a and b -> return None", "a and b -> a or b", "a and b -> b", "a and b -> a"],
        ),
        ("a = not b", ["not b -> b"]),
        ("a = Money.HELD", ["Money.HELD in a = Money.HELD -> Money.RELEASED"]),
        ("a = Other.HELD", []),
        ("a = b(c=d)", ["b(c=d) -> b()"]),
        ("a = max(b, c)", ["max(b, c) -> min(b, c)"]),
        ("a = {b: c, d: e}", ["{b: c, d: e} -> {d: e}", "{b: c, d: e} -> {b: c}"]),
        ("a = 7", ["7 in a = 7 -> 8"]),
        ("a = 'x'", ["'x' in a = 'x' -> 'xX'"]),
        ("a: Literal['x'] = b", []),
        ("assert a < b", []),
        ("raise ValueError(f'no {a}')", ["raise ValueError(f'no {a}') -> pass"]),
        ("a = zip(b, c, strict=True)", []),
        ("'''Says a < b.'''", []),
    ],
)
def test_it_makes_every_mistake_that_a_line_allows(
    tmp_path: Path, line: str, mistakes: list[str]
) -> None:
    found = names(tmp_path, f"def f(a, b):\n    {line}\n")
    assert found == [f"f: {mistake}" for mistake in mistakes]


def test_the_same_mistake_in_two_places_has_two_names(tmp_path: Path) -> None:
    assert names(tmp_path, "def f(a):\n    a += 1\n    a += 1\n") == [
        *("f: a += 1 -> a -= 1", "f: 1 in a += 1 -> 2"),
        *("f: a += 1 -> a -= 1 #2", "f: 1 in a += 1 -> 2 #2"),
    ]


def test_a_mutant_is_the_module_with_one_mistake_in_it(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("LIMIT = 3\n\ndef f(a):\n    return a < LIMIT\n")
    module = Module(tmp_path / "some.py", {})
    answers = []
    for position in range(len(module.mutants)):
        module = Module(tmp_path / "some.py", {})
        module.mutants[position].plant()
        made: dict[str, object] = {}
        exec(module.compiled(), made)
        function = made["f"]
        assert callable(function)
        answers.append([function(n) for n in (2, 3, 4)])
    assert [one.name for one in module.mutants] == [
        "module: 3 in LIMIT = 3 -> 4",
        "f: return a < LIMIT -> return None",
        "f: a < LIMIT -> a <= LIMIT",
        "f: a < LIMIT -> a >= LIMIT",
    ]
    assert answers == [
        [True, True, False],
        [None, None, None],
        [True, True, False],
        [False, True, True],
    ]
    assert [one.line for one in module.mutants] == [0, 3, 3, 3]


def test_it_says_what_became_of_each_try() -> None:
    def hang() -> int:
        while True:
            pass

    tries = [Try("kills", 60, lambda: 1), Try("lives", 60, lambda: 0), Try("hangs", 0.2, hang)]
    assert dict(outcomes(tries, jobs=2)) == {
        "kills": "killed",
        "lives": "survived",
        "hangs": "hung",
    }


def test_it_ends_when_something_cannot_be_tried() -> None:
    with pytest.raises(SystemExit, match="could not be tried: broken"):
        list(outcomes([Try("broken", 60, lambda: int("x"))], jobs=1))


def test_the_control_is_the_module_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("LIMIT = 3\n")
    module = Module(tmp_path / "some.py", {})
    module.mutants[0].control().plant()
    made: dict[str, object] = {}
    exec(module.compiled(), made)
    assert made["LIMIT"] == 3


def test_runs_at_the_same_time_keep_each_others_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    one, other = report.Results(path), report.Results(path)
    one.add("money", "a", "survived")
    one.add("money", "b", "killed")
    one.write(path)
    other.add("money", "a", "killed")
    other.add("pricing", "c", "hung")
    other.write(path)
    one.add("rules", "d", "killed")
    one.write(path)
    assert report.Results(path).of == {
        "money": {"a": "killed", "b": "killed"},
        "pricing": {"c": "hung"},
        "rules": {"d": "killed"},
    }
    assert one.is_dead("pricing", "c")
    assert [found.name for found in tmp_path.iterdir()] == ["results.json"]


def test_it_explains_only_mutants_that_there_are_and_each_with_a_reason() -> None:
    known = {f"{module.name} {one.name}" for module in modules() for one in module.mutants}
    assert {name for name in report.explained() if name not in known} == set()
    assert all(report.explained().values())


def test_it_runs_only_test_files_that_there_are() -> None:
    lists = msgspec.toml.decode(
        (ROOT / "mutants" / "tests.toml").read_bytes(), type=dict[str, list[str]]
    )
    assert set(lists) == {"without_database", "with_database"}
    for name in (name for files in lists.values() for name in files):
        assert (ROOT / "tests" / f"test_{name}.py").exists(), name
