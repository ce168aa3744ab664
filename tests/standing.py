"""A server that is **standing**: `earnest serve`, killed in part or whole, and standing again.

    standing = Standing(data_dir)
    standing.start()
    standing.kill("PostgreSQL")

What dies comes back by itself, but for the supervisor, which is started again as systemd would.
"""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from earnest.store.server_processes import all_in, read_pid_file
from mortal import family, kill_together
from test_serve import COMMAND, PROCESSES, clean_environ, processes_of

COMES_BACK_SECONDS_MAX = 60


@contextlib.contextmanager
def a_place() -> Iterator[Path]:
    """An empty directory on a disk, which PostgreSQL's own user may pass; nothing is left of it."""
    made = Path(tempfile.mkdtemp(prefix="earnest-standing-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        for process in processes_of(made):
            process.kill()
            process.wait(10)
        shutil.rmtree(made)


class Standing:
    """`earnest serve` on a port that it keeps, started again whenever it is gone."""

    def __init__(self, data_dir: Path, command: tuple[str, ...] = COMMAND, **environ: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command, self._environ = command, environ
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, again and again as systemd would, until its ready line."""
        deadline = time.monotonic() + COMES_BACK_SECONDS_MAX
        options = ("--port", str(self.port), "--workers", "2", "--data", str(self.data_dir))
        while True:
            with self.log.open("a") as log:
                self._process = subprocess.Popen(
                    [*self._command, "serve", *options],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=clean_environ() | self._environ,
                )
            assert self._process.stdout is not None
            if self._process.stdout.readline().startswith("Earnest is ready on"):
                return
            self._process.communicate()
            assert time.monotonic() < deadline, self.log.read_text()[-2_000:]
            time.sleep(0.2)

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        self._process.communicate(timeout=30)
        return self._process.returncode

    def end(self) -> None:
        """Whatever is left of it."""
        if self.is_up:
            self.kill("everything")
        kill_together(all_in(self.pgdata))

    # -- targets --------------------------------------------------------------------------------

    def kill(self, target: str, which: int = 0) -> None:
        """SIGKILL `target`, wherever it is in its work; `which` of them, if there are several."""
        assert self._process is not None
        kill_together(self._hit(target, which))
        if target in ("supervisor", "everything"):
            self._process.communicate()

    def _hit(self, target: str, which: int) -> list[psutil.Process]:
        assert self._process is not None
        match target:
            case "api" | "worker":
                found = self._children(is_api=target == "api")
                return [found[which % len(found)]]
            case "every api":
                return self._children(is_api=True)
            case "backend":
                found = _until_found(self._backends)
                return [found[which % len(found)]]
            case "postmaster":
                return _until_found(self._postmaster)
            case "PostgreSQL":
                return _until_found(lambda: all_in(self.pgdata))
            case "supervisor":
                return family(self._process)[:1]
            case "everything":
                return [*family(self._process), *all_in(self.pgdata)]
            case _:
                raise ValueError(target)

    @property
    def pgdata(self) -> Path:
        return self.data_dir / "postgres"

    def _children(self, *, is_api: bool) -> list[psutil.Process]:
        """The processes that have the port are the API's; the worker is the other one."""
        assert self._process is not None
        supervisor = psutil.Process(self._process.pid)

        def serving() -> list[psutil.Process]:
            return [
                child
                for child in supervisor.children()
                if PROCESSES.intersection(child.cmdline()) and self._has_port(child) is is_api
            ]

        return _until_found(serving)

    def _has_port(self, process: psutil.Process) -> bool:
        return any(
            line.laddr and line.laddr.port == self.port
            for line in process.net_connections(kind="tcp")
        )

    def _backends(self) -> list[psutil.Process]:
        return [one for one in all_in(self.pgdata) if "earnest_app" in " ".join(one.cmdline())]

    def _postmaster(self) -> list[psutil.Process]:
        found = read_pid_file(self.pgdata)
        return [] if found is None else [psutil.Process(found.pid)]


def _until_found(look: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """What is found, once something is: it may just have died for another reason."""
    deadline = time.monotonic() + COMES_BACK_SECONDS_MAX
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            if found := look():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.02)
