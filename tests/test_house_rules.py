"""The house rules, kept by a test instead of by memory."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from earnest import generated
from earnest.settings import Settings, variable_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "earnest"

# Who may import whom: a layer sees itself and those below it.
LAYERS = {
    "errors": 0,
    "ids": 0,
    "outbound": 0,
    "logs": 0,
    "sealing": 0,
    "anchors": 1,
    "domain": 1,
    "ledger": 2,
    "store": 3,
    "actions": 4,
} | dict.fromkeys(("web", "marketplace", "partner", "hooks", "console", "checkout", "worker"), 5)
COMPOSITION = {
    "__main__", "app", "assembly", "backup", "cli", "cli_backup", "cli_business", "database",
    "demo", "demo_cast", "demo_partner", "demo_receiver", "diagnosis", "doctor", "doctor_stripe",
    "generated", "job_line", "process", "reconciling", "recording", "reports", "restoring",
    "serving", "settings", "supervisor", "terminal", "verifying", "working",
}  # fmt: skip
PROVIDERS_SEE = ("earnest.domain.money", "earnest.errors", "earnest.providers")
# The actions call a provider through its interface, the worker and the faces of the sandbox too.
PROVIDERS_SEEN_BY = 4

PROGRAMS_THAT_SPEAK = {"terminal.py", "cli.py", "demo.py", "supervisor.py"}
LINES_MAX = 400


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent).with_suffix("")).replace("/", ".")


def layer_of(module: str) -> str:
    """earnest.store.db -> store"""
    return [*module.split("."), ""][1]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """The modules of ours that a module imports, however deep inside it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "earnest")


def breach(importer: str, imported: str) -> str | None:
    """Why `importer` may not import `imported`, or None."""
    source, target = layer_of(importer), layer_of(imported)
    if source in COMPOSITION or target in {"", "__version__"} or source == target:
        return None
    if source == "providers":
        return None if imported.startswith(PROVIDERS_SEE) else "providers know money and errors"
    if source not in LAYERS:
        return f"{source} has no layer"
    if target == "providers":
        return None if LAYERS[source] >= PROVIDERS_SEEN_BY else f"{source} knows no provider"
    if target == "settings":
        return None if LAYERS[source] == 5 else "settings are for the composition and the faces"
    if target not in LAYERS:
        return f"{target} is above everything"
    return None if LAYERS[target] <= LAYERS[source] else f"{target} is above {source}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_it_imports_only_from_its_own_layer_and_those_below(path: Path) -> None:
    breaches = [
        f"{imported}: {why}"
        for imported in imports_of(ast.parse(path.read_text()))
        if (why := breach(name_of(path), imported))
    ]
    assert breaches == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("earnest.domain.money", "earnest.store.db"),
        ("earnest.ledger.books", "earnest.store.contracts"),
        ("earnest.store.commit", "earnest.actions.core"),
        ("earnest.actions.contracts", "earnest.marketplace.shapes"),
        ("earnest.store.commit", "earnest.providers.base"),
        ("earnest.providers.sandbox", "earnest.store.db"),
        ("earnest.actions.contracts", "earnest.app"),
        ("earnest.store.db", "earnest.settings"),
        ("earnest.shared.things", "earnest.errors"),
    ],
)
def test_the_import_rule_catches_a_breach(importer: str, imported: str) -> None:
    assert breach(importer, imported)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_it_keeps_to_the_words_of_the_house(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    layer = layer_of(name_of(path))
    if layer in {"domain", "ledger"}:
        assert "float" not in called, "money is an int in minor units"
        constants = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        assert [value for value in constants if isinstance(value, float)] == []
    if path.name not in PROGRAMS_THAT_SPEAK:
        assert "print" not in called, "standard output belongs to the command line"
    assert not {"eval", "exec"} & called
    assert re.fullmatch(r"(?!.*(util|helper|common|misc))\w+", path.stem)
    assert len(path.relative_to(PACKAGE).parts) <= 2, "never deeper than two levels"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_it_is_short_and_says_what_it_is_about(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX
    assert ast.get_docstring(ast.parse(text)), "a module opens with its nouns and its invariant"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_its_sql_is_written_out_and_never_assembled(path: Path) -> None:
    """No f-string, no format and no sum whose text is a statement that reads or writes rows."""
    statement = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH)\s", re.ASCII)
    for node in ast.walk(ast.parse(path.read_text())):
        parts: list[ast.expr] = []
        if not isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.JoinedStr):
            parts = node.values[:1]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
            parts = [node.left]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = [node.func.value] if node.func.attr == "format" else []
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                assert not statement.match(part.value), f"line {node.lineno}"


def test_every_setting_is_documented() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for field in Settings.__struct_fields__:
        assert f"`{variable_of(field)}`" in reference


def test_every_variable_that_is_named_anywhere_exists() -> None:
    known = {variable_of(field) for field in Settings.__struct_fields__}
    for path in tracked():
        if path.suffix in {".py", ".md", ".sh"} or path.name == "Makefile":
            named = set(re.findall(r"\bEARNEST_(?!TEST_)[A-Z_]+[A-Z]\b", path.read_text()))
            # Tests of the refusal misspell some on purpose.
            assert path.name == "test_settings.py" or named <= known, path


def test_generated_files_are_fresh() -> None:
    for path, text in generated.texts().items():
        assert path.read_text() == text, f"{path} is stale: run `make docs`"


def test_migrations_are_numbered_without_a_gap() -> None:
    names = sorted(path.name[:4] for path in (PACKAGE / "migrations").glob("[0-9]*.sql"))
    assert names == [f"{number:04d}" for number in range(1, len(names) + 1)]


NOT_OURS = {
    ".venv",
    ".venv-peers",
    ".git",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
}
"""Folders that a checkout without git (an archive, a bare machine) may have besides ours."""
WRITTEN_HERE = {"__pycache__", "earnest.egg-info"}
WRITTEN_AT_THE_TOP = {"data", "demo-data", "build", "dist"}


def tracked() -> list[Path]:
    """Every file of the project: what git knows or, without git, what lies in our folders."""
    if shutil.which("git") is not None:
        done = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            names = done.stdout.split("\0")
            return [path for name in names if name and (path := ROOT / name).is_file()]
    found: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        left_out = NOT_OURS | WRITTEN_HERE | (WRITTEN_AT_THE_TOP if folder == str(ROOT) else set())
        folders[:] = [name for name in folders if name not in left_out]
        found += [Path(folder, name) for name in names]
    return found


def test_it_looks_at_the_same_files_with_and_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    with_git = set(tracked())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    without = set(tracked())
    assert with_git <= without
    assert Path(__file__) in without


def test_no_file_names_a_package_registry() -> None:
    """What is installed is pinned by hash; where it comes from is the operator's business."""
    hosts = re.compile(
        rb"(py"
        rb"pi\.org|python"
        rb"hosted|registry\.np"
        rb"mjs|proxy\.go"
        rb"lang|crates"
        rb"\.io)",
        re.IGNORECASE,
    )
    for path in tracked():
        assert not hosts.search(path.read_bytes()), path


def test_requirements_are_pinned_by_hash() -> None:
    for name in ("run.txt", "dev.txt", "peers.txt"):
        text = (ROOT / "requirements" / name).read_text()
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        for number, line in enumerate(lines):
            if not line.startswith(" "):
                assert re.fullmatch(r"[a-z0-9-]+==[^ ]+ \\", line), line
                assert lines[number + 1].lstrip().startswith("--hash=sha256:"), line


def test_requirements_name_what_the_package_depends_on() -> None:
    class Project(msgspec.Struct):
        dependencies: list[str]

    class PyProject(msgspec.Struct):
        project: Project

    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes(), type=PyProject).project
    wanted = (ROOT / "requirements" / "run.in").read_text().splitlines()
    assert [line for line in wanted if not line.startswith("#")] == project.dependencies
