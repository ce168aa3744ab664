"""One PostgreSQL per test run, one fresh database per test that asks for it.

    async def test_it_...(pool): ...        a connection pool of the application's role
    def test_it_...(database): ...          the URLs, for a test that starts its own processes

The server is the product's own embedded one, shared by all xdist workers through the product's
own locks. `--pg15` or EARNEST_TEST_PG15=1 runs the same tests on Debian's PostgreSQL 15.
"""

import asyncio
import fcntl
import gc
import os
import shutil
import subprocess
import tempfile
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import msgspec
import pytest

from earnest.store import binaries, embedded
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate

pytest_plugins = [
    "faces", "web", "crowd", "town", "wire", "storefront", "partners", "counter", "people",
    "written", "shop",
]  # fmt: skip

RUN_DIR = "EARNEST_TEST_RUN_DIR"
DEBIAN_PG15 = Path("/usr/lib/postgresql/15/bin")

# The gate must not depend on luck: the same examples every time. New ones are for the night.
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("EARNEST_TEST_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg15",
        action="store_true",
        default=os.environ.get("EARNEST_TEST_PG15") == "1",
        help="run on Debian's PostgreSQL 15 instead of the embedded PostgreSQL",
    )


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: tests wait for PostgreSQL and for clocks nearly as long as they
    compute. Many more would starve the calls that tests give half a second."""
    return 1 + (os.cpu_count() or 1)


@pytest.fixture(autouse=True, scope="module")
def nothing_old_is_collected() -> Iterator[None]:
    """What a module leaves behind (routes, descriptions, what pytest tells of it) stays: to look
    through all of it again and again takes half a second, in the middle of some other test."""
    yield
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    # The workers of xdist inherit it: one directory, and so one server, for the whole run.
    os.environ.setdefault(RUN_DIR, f"{_roomy()}/earnest-tests-{os.getpid()}")
    if config.getoption("--pg15"):
        _use_debian_pg15()


def _roomy() -> str:
    """Memory, where there is enough: thousands of databases are made and dropped, and each waits
    for the disk. Tests of crashes and of durability have servers and directories of their own."""
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free >= MEMORY_BYTES_MIN
    return str(memory) if enough else tempfile.gettempdir()


MEMORY_BYTES_MIN = 6 * 1024**3


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    run_dir = Path(os.environ.pop(RUN_DIR))
    if (run_dir / "postgres" / "postmaster.pid").exists():
        Embedded.start(run_dir).release()  # a worker was killed and left its server behind
    shutil.rmtree(run_dir, ignore_errors=True)


def _use_debian_pg15() -> None:
    if not DEBIAN_PG15.exists():
        raise pytest.UsageError(f"--pg15: there is no {DEBIAN_PG15}; apt-get install postgresql-15")
    binaries.program = lambda name, tree=None: DEBIAN_PG15 / name
    binaries.shared_tree = lambda beside: DEBIAN_PG15
    binaries.version = lambda: "15"
    # PostgreSQL 15 has no built-in locale provider.
    embedded.INITDB = tuple(option for option in embedded.INITDB if "builtin" not in option)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


class TestDatabase(msgspec.Struct, frozen=True):
    """A migrated database of one test, with nothing in it, as each of the three roles."""

    __test__ = False

    name: str
    app_dsn: str
    owner_dsn: str
    superuser_dsn: str


class Server(msgspec.Struct, frozen=True):
    """The test run's PostgreSQL."""

    embedded: Embedded
    template: str

    def dsn(self, role: str, database: str) -> str:
        """The URL of `database` for app, owner or superuser."""
        url: str = getattr(self.embedded, f"{role}_dsn")
        return url.replace("/earnest?", f"/{database}?")

    def execute(self, sql: str, database: str = "postgres") -> str:
        """What psql prints for one statement of the superuser."""
        done = subprocess.run(
            [binaries.program("psql"), "-XqAt", "-c", sql, self.dsn("superuser", database)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self, template: str) -> TestDatabase:
        name = f"test_{uuid.uuid4().hex}"
        # Copying files is cheaper than writing every page to the log, as CREATE DATABASE would.
        self.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} OWNER earnest_owner STRATEGY FILE_COPY"
        )
        return TestDatabase(
            name,
            app_dsn=self.dsn("app", name),
            owner_dsn=self.dsn("owner", name),
            superuser_dsn=self.dsn("superuser", name),
        )

    def drop(self, database: TestDatabase) -> None:
        """Begin to drop it: that waits for a checkpoint, and the next test need not."""
        while len(_DROPPING) >= DROPPING_MAX:
            _finish(_DROPPING.popleft())
        sql = f"DROP DATABASE {database.name} WITH (FORCE)"
        psql = str(binaries.program("psql"))
        command = [psql, "-Xq", "-c", sql, self.dsn("superuser", "postgres")]
        _DROPPING.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))


DROPPING_MAX = 8
_DROPPING: deque["subprocess.Popen[str]"] = deque()


def _finish(dropping: "subprocess.Popen[str]") -> None:
    _, said = dropping.communicate()
    assert dropping.returncode == 0, said


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The run's server, with a migrated template that the first worker makes."""
    run_dir = Path(os.environ[RUN_DIR])
    held = Server(Embedded.start(run_dir), template="migrated")
    try:
        with (run_dir / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make_template(held)
        yield held
    finally:
        while _DROPPING:
            _finish(_DROPPING.popleft())
        held.embedded.release()


def _make_template(server: Server) -> None:
    if server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{server.template}'"):
        return
    made = server.create("template0")
    asyncio.run(migrate(made.owner_dsn))
    server.execute(f"ALTER DATABASE {made.name} RENAME TO {server.template}")


@pytest.fixture
def database(server: Server) -> Iterator[TestDatabase]:
    """A fresh migrated database."""
    made = server.create(server.template)
    yield made
    server.drop(made)


@pytest.fixture
def empty_database(server: Server) -> Iterator[TestDatabase]:
    """A fresh database without any table."""
    made = server.create("template0")
    yield made
    server.drop(made)


@pytest.fixture
async def pool(database: TestDatabase) -> AsyncIterator[Pool]:
    """A pool of the application's role on a fresh migrated database."""
    made = Pool(database.app_dsn)
    yield made
    await made.close()
