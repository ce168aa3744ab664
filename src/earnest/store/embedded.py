"""The **embedded database**: a PostgreSQL server of Earnest's own, under its data directory.

    DIR/postgres/                 the server's data, owned by the user it runs as
    DIR/run/                      its socket, mode 0700 (elsewhere if that path is too long)
    DIR/database_passwords.json   mode 0600
    DIR/postgres.users            every user of the database holds a shared lock on it
    DIR/postgres.guard            held while somebody starts or stops the server

Invariants: at most one server runs on a data directory; it runs while anybody uses it and the
last one out stops it; it speaks through its socket only, to those who know a password.
A user that is killed loses its lock with its life: its server goes on, and whoever comes next
adopts it. The locks are flock(2), which the kernel releases and no server process inherits.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgspec
import psutil

from earnest.store import binaries, server_settings
from earnest.store.db import DatabaseRefused
from earnest.store.server_account import ServerAccount
from earnest.store.server_processes import all_in, read_pid_file, wait_until, works_in

START_SECONDS_MAX = 120
UNFINISHED = "postgres.new"
PORT = 5432  # only names the socket: nothing listens on TCP

INITDB: tuple[str, ...] = (
    "--username=postgres",
    "--auth=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
)
SINGLE = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres")
# The server is not running yet: its single-user mode makes what it needs before it opens.
BOOTSTRAP = """\
ALTER ROLE postgres PASSWORD '{superuser}';
CREATE ROLE earnest_owner LOGIN PASSWORD '{owner}';
CREATE ROLE earnest_app LOGIN PASSWORD '{app}';
CREATE DATABASE earnest OWNER earnest_owner;
REVOKE CONNECT, TEMPORARY ON DATABASE earnest FROM PUBLIC;
GRANT CONNECT ON DATABASE earnest TO earnest_app;
"""

OTHER_MAJOR = """\
{pgdata} was made by PostgreSQL {found}; this version of Earnest brings PostgreSQL {shipped}.
With the version of Earnest that made it, write a backup:
  earnest backup earnest-{found}.dump --data '{data_dir}'
Then with this one make a new database, and restore into it:
  mv '{pgdata}' '{pgdata}-{found}'
  earnest restore earnest-{found}.dump --data '{data_dir}'"""


class Passwords(msgspec.Struct, frozen=True):
    """Of the three roles that can connect."""

    superuser: str
    owner: str
    app: str


class Embedded:
    """One user's hold on the embedded database; `Embedded.start` makes it, `release` ends it."""

    _account: ServerAccount

    def __init__(self, data_dir: Path, report: Callable[[str], None]) -> None:
        self.data_dir = data_dir.absolute()
        self.pgdata = self.data_dir / "postgres"
        self._report = report
        self._users_lock = -1

    @classmethod
    def start(cls, data_dir: Path, report: Callable[[str], None] = lambda _: None) -> Self:
        """Join the server of `data_dir`, starting, repairing or creating it as needed.

        Returns when it accepts connections. `report` is told what takes long.
        Raises DatabaseRefused, with the fix, if this cannot be.
        """
        self = cls(data_dir, report)
        try:
            self._check_path()
            _make(self.data_dir)
            with self._guard():
                self._account = ServerAccount.of(self.data_dir, self.pgdata)
                self._users_lock = _open_lock(self.data_dir / "postgres.users")
                fcntl.flock(self._users_lock, fcntl.LOCK_SH)
                try:
                    self._ensure_running()
                except BaseException:
                    self._leave()
                    raise
        except PermissionError as error:
            raise DatabaseRefused(
                f"{error.filename or self.data_dir}: {error.strerror or error}. Run Earnest as"
                " the user who owns the data directory, or choose another with --data."
            ) from error
        return self

    def ensure_running(self) -> None:
        """Start the server again if it has died; returns at once when it runs."""
        if self._pid_of_server() is None:
            with self._guard():
                self._ensure_running()

    def release(self) -> None:
        """Give up this hold; the last one out stops the server. Harmless when repeated."""
        if self._users_lock >= 0:
            with self._guard():
                self._leave()

    @property
    def app_dsn(self) -> str:
        """For the application: owns nothing, cannot rewrite the books."""
        return self.dsn("earnest_app", self._passwords().app)

    @property
    def owner_dsn(self) -> str:
        """For migrations."""
        return self.dsn("earnest_owner", self._passwords().owner)

    @property
    def superuser_dsn(self) -> str:
        """For tests and tools."""
        return self.dsn("postgres", self._passwords().superuser)

    def dsn(self, role: str, password: str, database: str = "earnest") -> str:
        """A URL that both libpq and asyncpg read."""
        host = quote(str(self._socket_dir()), safe="/")
        return f"postgresql://{role}:{password}@/{database}?host={host}&port={PORT}"

    # -- locks ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        lock = _open_lock(self.data_dir / "postgres.guard")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _leave(self) -> None:
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody else is still in
        else:
            socket_dir = self._socket_dir()
            self._stop()
            if socket_dir.parent != self.data_dir:  # then it was a makeshift
                with contextlib.suppress(OSError):
                    socket_dir.rmdir()
        finally:
            os.close(self._users_lock)
            self._users_lock = -1

    # -- creating -------------------------------------------------------------------------

    def _create(self) -> None:
        """A complete new cluster in `pgdata`, which appears by one rename or not at all."""
        self._report("creating the database (once, some seconds)")
        fresh = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}-", dir=self.data_dir))
        self._account.own(fresh)
        self._account.run("initdb", "--pgdata", fresh, *INITDB)
        self._account.write(fresh / "pg_hba.conf", "local all all scram-sha-256\n")
        settings = (fresh / "postgresql.conf").read_text("utf-8")
        settings += "\ninclude_if_exists 'earnest.conf'\n"
        self._account.write(fresh / "postgresql.conf", settings)
        statements = BOOTSTRAP.format_map(msgspec.structs.asdict(self._passwords()))
        self._account.run("postgres", "--single", "-D", fresh, *SINGLE, stdin=statements)
        fresh.rename(self.pgdata)
        _sync(self.data_dir)

    def _passwords(self) -> Passwords:
        path = self.data_dir / "database_passwords.json"
        if not path.exists():
            fresh = {name: secrets.token_urlsafe(24) for name in Passwords.__struct_fields__}
            partial = path.with_suffix(".new")
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            with partial.open("w") as file:
                json.dump(fresh, file)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            _sync(self.data_dir)
        return msgspec.json.decode(path.read_bytes(), type=Passwords)

    def _check_path(self) -> None:
        """pg_ctl hands the path to a shell between double quotes, and escapes nothing."""
        if re.search(r'["$`\\\n]', str(self.data_dir)):
            raise DatabaseRefused(
                f"{self.data_dir}: PostgreSQL cannot be started in a directory with a double"
                " quote, dollar, backquote, backslash or line break in its path."
            )

    # -- running --------------------------------------------------------------------------

    def _ensure_running(self) -> None:
        """Under the guard: a server that accepts connections, adopted or started."""
        for left in self.data_dir.glob(f"{UNFINISHED}*"):
            # Whoever made it was killed. Its initdb may still be at work there and dies of what it
            # misses, clearing up as it does: so the next one has a directory of another name.
            shutil.rmtree(left, ignore_errors=True)
        if not self.pgdata.exists():
            self._create()
        self._check_major()
        deadline = time.monotonic() + START_SECONDS_MAX
        next_report = time.monotonic() + 3
        while (pid := self._pid_of_server()) is not None:
            running = read_pid_file(self.pgdata)
            is_ready = running is not None and running.status == "ready"
            if is_ready and not (self._socket_dir() / f".s.PGSQL.{PORT}").exists():
                self._report("the database has lost its socket, starting it again")
                self._stop()
            elif is_ready and self._takes_connections():
                return
            elif time.monotonic() > deadline:
                raise DatabaseRefused(
                    f"The database (process {pid}) is still not ready after {START_SECONDS_MAX} s."
                    f" Its log is in {self.pgdata}/log. Nothing is lost: try again later."
                )
            elif time.monotonic() > next_report:
                next_report += 10
                self._report("the database is recovering, waiting for it")
            time.sleep(0.05)
        if self._answers():
            return  # it runs in another container on the same data: not ours to see or stop
        self._sweep()
        self._launch()

    def _check_major(self) -> None:
        found = (self.pgdata / "PG_VERSION").read_text().strip()
        if found != str(binaries.major()):
            raise DatabaseRefused(
                OTHER_MAJOR.format(
                    pgdata=self.pgdata,
                    found=found,
                    shipped=binaries.major(),
                    data_dir=self.data_dir,
                )
            )

    def _launch(self) -> None:
        socket_dir = self._make_socket_dir()
        self._account.write(self.pgdata / "earnest.conf", server_settings.render(socket_dir, PORT))
        log = self.pgdata / "startup.log"
        log.unlink(missing_ok=True)
        started = subprocess.Popen(
            [
                self._account.program("pg_ctl"), "start", "--pgdata", self.pgdata, "--silent",
                "--wait", f"--timeout={START_SECONDS_MAX}", "--log", log,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._account.spawn(),
        )  # fmt: skip
        try:
            for patience_seconds in (3, *[10] * (START_SECONDS_MAX // 10)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(patience_seconds)
                    break
                self._report("the database is recovering, waiting for it")
        except BaseException:
            # Interrupted: whoever stops the server next must be able to find it.
            while started.poll() is None and self._pid_of_server() is None:
                time.sleep(0.02)
            raise
        if started.wait() != 0:
            raise DatabaseRefused(
                f"The database did not start ({START_SECONDS_MAX} s at most):\n{_tail(log)}"
                f"\nIts log is in {self.pgdata}/log."
            )

    def _stop(self) -> None:
        """Fast, that is with a checkpoint; immediately, if that takes too long (it recovers)."""
        pid = self._pid_of_server()
        for mode, seconds_max in (("fast", 10), ("immediate", 5)):
            if pid is None or not works_in(pid, self.pgdata):
                return
            with contextlib.suppress(DatabaseRefused):
                self._account.run(
                    "pg_ctl", "stop", "--pgdata", self.pgdata, "--silent", "--wait",
                    f"--mode={mode}", f"--timeout={seconds_max}",
                )  # fmt: skip
            wait_until(lambda: not works_in(pid, self.pgdata), 1)  # the file went before it

    def _pid_of_server(self) -> int | None:
        """The server's process id, if postmaster.pid names a live server of this very directory.

        After a crash that id may belong to anybody: a server works in its data directory.
        """
        written = read_pid_file(self.pgdata)
        if written is not None and works_in(written.pid, self.pgdata):
            return written.pid
        return None

    def _takes_connections(self) -> bool:
        """Its pid file says ready also while it recovers from the death of one of its processes."""
        ask = ("--host", str(self._socket_dir()), "--port", str(PORT), "--timeout=3", "--quiet")
        with contextlib.suppress(DatabaseRefused):
            self._account.run("pg_isready", *ask)
            return True
        return False

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(f"{self._socket_dir()}/.s.PGSQL.{PORT}")
            return True
        return False

    def _sweep(self) -> None:
        """Remove what a dead server left: its children first, for they may still be writing."""
        if not wait_until(lambda: not all_in(self.pgdata), 10):
            for process in all_in(self.pgdata):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_until(lambda: not all_in(self.pgdata), 10)
        opening = self._socket_dir() / f".s.PGSQL.{PORT}"
        for path in (self.pgdata / "postmaster.pid", opening, Path(f"{opening}.lock")):
            path.unlink(missing_ok=True)

    def _socket_dir(self) -> Path:
        """Where the running server has its socket, or where the next one will."""
        written = read_pid_file(self.pgdata)
        if written is not None and str(written.socket_dir) != ".":
            return written.socket_dir
        return server_settings.socket_dir(self.data_dir, PORT)

    def _make_socket_dir(self) -> Path:
        path = server_settings.socket_dir(self.data_dir, PORT)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if path.is_symlink() or found.st_uid not in (self._account.uid, os.geteuid()):
            raise DatabaseRefused(f"{path} belongs to somebody else. Fix: remove it.")
        self._account.own(path)
        return path


def _make(data_dir: Path) -> None:
    """What is missing of `data_dir`. What root makes above it, PostgreSQL's user can pass.

    Whatever the umask: a hardened machine has 077.
    """
    for parent in reversed(data_dir.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                parent.chmod(0o755)
    data_dir.mkdir(mode=0o700, exist_ok=True)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    except OSError:
        return ""


def _sync(directory: Path) -> None:
    """Make a rename within `directory` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
