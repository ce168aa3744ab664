"""The **job** of a process of `earnest serve`: one line on its standard input."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from earnest.settings import Settings


class Job(msgspec.Struct, frozen=True):
    """What one process shall do. `socket_fd` is the bound socket that API processes share.

    `name` ("api 1") is its own as long as it runs; it counts into `metrics_dir` under it.
    """

    kind: Literal["api", "worker"]
    settings: Settings
    name: str
    metrics_dir: Path
    socket_fd: int = -1

    def encoded(self) -> bytes:
        """One line; only for the pipe to the process, for it holds every secret."""
        return msgspec.json.encode(self, enc_hook=str) + b"\n"


def decode(line: bytes) -> Job:
    """The inverse of `Job.encoded`."""
    return msgspec.json.decode(line, type=Job, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value
