"""`earnest serve`: the **supervisor** opens the database and keeps the processes running.

Invariants: one ready line on standard output, once /readyz answers; a process that dies is
started again, ever more slowly; SIGTERM and SIGINT end everything within 30 seconds, the
embedded database included unless somebody else uses it, and with exit code 0.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import msgspec
import structlog

from earnest import logs
from earnest.database import Opened, opened
from earnest.errors import EarnestError
from earnest.job_line import Job
from earnest.settings import Settings
from earnest.store.db import DatabaseRefused

log = structlog.get_logger()

PROGRAMS = {"api": "earnest.serving", "worker": "earnest.working"}
READY_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 12  # with the 15 seconds the database may take, well within 30
BACKOFF_SECONDS_MAX = 30
STEADY_SECONDS = 60  # a process that lived this long starts its next life at once
DATABASE_CHECK_SECONDS = 1


class CannotServe(EarnestError):
    """The server could not be started."""


class Stop(BaseException):
    """SIGTERM or SIGINT arrived."""


def default_workers() -> int:
    """API processes: one core is left to the database and the worker."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int,
    has_public_url: bool = True,
    on_ready: Callable[[str, Settings], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one, which the ready line tells.

    Without `has_public_url` the server's own address is its public URL. `on_ready` is called with
    that address and the complete settings, after the ready line.
    Raises CannotServe, DatabaseRefused or BadSetting.
    """
    listener = _bind(host, port)
    url = _url_of(listener, host)
    if not has_public_url:
        settings = msgspec.structs.replace(settings, public_url=url)
    logs.start(settings.log_format, "supervisor")
    signals = _Signals()
    with (
        _metrics_dir() as metrics_dir,
        contextlib.suppress(Stop),
        signals.installed(),
        _spawned(_children(settings, listener, workers, metrics_dir)) as children,
        opened(settings, _report) as database,
    ):
        # The processes never learn the owner's URL: they have no business with it.
        theirs = msgspec.structs.replace(database.settings, migrate_database_url="")
        try:
            for child in children:
                child.start(theirs)
            _await_ready(url, database.settings, children)
            _warn_of_strangers(settings, listener)
            print(f"Earnest is ready on {url}", flush=True)
            if on_ready is not None:
                on_ready(url, database.settings)
            _watch(database, children)
        finally:
            signals.hold_back()
            listener.close()  # whoever comes now is refused at once, when the last child stops
            _end(children, DRAIN_SECONDS_MAX + settings.drain_seconds)


def _watch(database: Opened, children: list["Child"]) -> None:
    """Until Stop is raised."""
    next_check = backoff_seconds = 0.0
    while True:
        for child in children:
            child.restart_if_dead()
        if database.embedded is not None and time.monotonic() > next_check:
            next_check = time.monotonic() + DATABASE_CHECK_SECONDS
            try:
                database.embedded.ensure_running()
                backoff_seconds = 0.0
            except DatabaseRefused as error:
                # Whatever killed it as it started may be over; what is broken is not hammered at.
                backoff_seconds = min(BACKOFF_SECONDS_MAX, backoff_seconds * 2 or 1)
                _report(f"{error}\nNext start in {backoff_seconds:g} s.")
                next_check = time.monotonic() + backoff_seconds
        time.sleep(0.1)


# -- processes ------------------------------------------------------------------------------


class Child:
    """One process, through all its lives. Spawned, it imports what it needs and waits for its job;
    so the first one does that while the database is being opened."""

    def __init__(self, job: Job) -> None:
        self.name = job.name
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_again_at = 0.0
        self._backoff_seconds = 0.0

    def spawn(self) -> None:
        """In a session of its own, so that Ctrl-C reaches the supervisor only."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROGRAMS[self._job.kind]],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            pass_fds=() if self._job.socket_fd < 0 else (self._job.socket_fd,),
            start_new_session=True,
        )
        self._started_at = time.monotonic()

    def start(self, settings: Settings) -> None:
        """From now on it has its job, with `settings`."""
        self._job = msgspec.structs.replace(self._job, settings=settings)
        self._tell()

    def _tell(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already: see restart_if_dead
            self._process.stdin.write(self._job.encoded())
            self._process.stdin.flush()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def restart_if_dead(self) -> None:
        if self.is_running():
            return
        now = time.monotonic()
        if self._process is not None:
            if now - self._started_at > STEADY_SECONDS:
                self._backoff_seconds = 0.0
            _report(
                f"{self.name} ended with exit code {self._process.returncode},"
                f" next start in {self._backoff_seconds:g} s"
            )
            self._close()
            self._start_again_at = now + self._backoff_seconds
            self._backoff_seconds = min(BACKOFF_SECONDS_MAX, self._backoff_seconds * 2 or 0.5)
        if now >= self._start_again_at:
            self.spawn()
            self._tell()

    def terminate(self) -> None:
        if self._process is not None and self.is_running():
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Gone by `deadline`, by force if need be."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _report(f"{self.name} did not finish in time and is killed")
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process = None


def _children(
    settings: Settings, listener: socket.socket, workers: int, metrics_dir: Path
) -> list[Child]:
    api = Job("api", settings, "", metrics_dir, socket_fd=listener.fileno())
    jobs = [msgspec.structs.replace(api, name=f"api {number + 1}") for number in range(workers)]
    return [Child(job) for job in (*jobs, Job("worker", settings, "worker", metrics_dir))]


@contextlib.contextmanager
def _spawned(children: list[Child]) -> Iterator[list[Child]]:
    try:
        for child in children:
            child.spawn()
        yield children
    finally:
        _end(children, DRAIN_SECONDS_MAX)


@contextlib.contextmanager
def _metrics_dir() -> Iterator[Path]:
    """Where the processes count together, and nobody else; gone at the end.

    In memory if possible: a full disk kills whoever writes into a file that is mapped.
    """
    shared = Path("/dev/shm")  # noqa: S108  a directory of our own is made in it
    parent = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    # Containers may share this directory and not know each other's processes.
    family = f"earnest-metrics-{Path('/proc/self/ns/pid').stat().st_ino}-"
    for left in parent.glob(f"{family}*"):
        # One that was killed could not tidy up.
        pid = left.name.removeprefix(family).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    prefix = f"{family}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as made:
        yield Path(made)


def _end(children: list[Child], patience_seconds: int) -> None:
    deadline = time.monotonic() + patience_seconds
    for child in children:
        child.terminate()
    for child in children:
        child.join(deadline)


def _await_ready(url: str, settings: Settings, children: list[Child]) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not _is_ready(url, settings):
        for child in children:
            if not child.is_running():
                raise CannotServe(f"{child.name} ended while starting. Its reason is above.")
        if time.monotonic() > deadline:
            raise CannotServe(f"/readyz did not answer within {READY_SECONDS_MAX} s.")
        time.sleep(0.05)


def _is_ready(url: str, settings: Settings) -> bool:
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=5)
    try:
        connection.request("GET", "/readyz", headers={"Host": urlsplit(settings.public_url).netloc})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# -- signals, sockets, words ----------------------------------------------------------------


class _Signals:
    """SIGTERM and SIGINT raise Stop: once, and not while everything is being ended anyway."""

    def __init__(self) -> None:
        self._may_interrupt = True

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hold_back(self) -> None:
        self._may_interrupt = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._may_interrupt:
            self._may_interrupt = False
            raise Stop


def _bind(host: str, port: int) -> socket.socket:
    """Bound but not listening: until a process does, clients are refused and may try again."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise CannotServe(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Choose another with --port."
        ) from error
    return listener


def _url_of(listener: socket.socket, host: str) -> str:
    """Where this machine reaches `listener`: everywhere includes loopback."""
    address, port = listener.getsockname()[:2]
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound here
    name = wildcards.get(address, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _warn_of_strangers(settings: Settings, listener: socket.socket) -> None:
    """The mailbox of a sandbox holds every link that sets a password."""
    address = ip_address(listener.getsockname()[0])
    if not settings.is_production and not address.is_loopback:
        log.warning(
            "this is a sandbox that other machines reach: whoever does may read everybody's mail,"
            " move the clock and pay with test cards; EARNEST_ENV=production closes that"
        )


def _report(text: str) -> None:
    log.info(text)
