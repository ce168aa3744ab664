"""The **terminal**: what every command line of ours has in common.

Invariant: an answer is the only thing that goes to standard output, whole, in JSON where that was
asked for; all that is said meanwhile goes to standard error.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from earnest.settings import Settings, read_settings

Data = Annotated[
    Path | None,
    Parameter(name="--data", help="data directory, above EARNEST_DATA_DIR [default: data]"),
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="answer in JSON")]


def settings_of(data: Path | None) -> Settings:
    """The settings, with the directory of `--data` above them. Raises BadSetting."""
    return read_settings() if data is None else read_settings(data_dir=data)


def answer(found: Any, as_json: bool, lines: list[str]) -> None:
    """`found` for programs, or `lines` for people."""
    print(json.dumps(found) if as_json else "\n".join(lines))


def say(text: str) -> None:
    """What goes on, for whoever watches."""
    print(f"earnest: {text}", file=sys.stderr, flush=True)


@contextmanager
def bar_of(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error while somebody watches: called with what, done, total."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(name, total=None)
        yield lambda what, done, total: progress.update(
            task, description=f"{name} {what}", completed=done, total=total or None
        )
