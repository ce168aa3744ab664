"""The embedded database: created, shared, killed, adopted, repaired, refused."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from earnest.store.db import DatabaseRefused, check_durability
from earnest.store.embedded import Embedded
from earnest.store.migrate import migrate

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")

USER = """
import sys
from pathlib import Path
from earnest.store.embedded import Embedded
held = Embedded.start(Path(sys.argv[1]))
print("in", flush=True)
sys.stdin.readline()
held.release()
print("out", flush=True)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A place the server's account can reach: pytest's own tmp_path is closed to others."""
    parent = Path(tempfile.mkdtemp(prefix="earnest-test-"))
    parent.chmod(0o711)
    yield parent / "data"
    for process in servers_in(parent):
        process.kill()
    shutil.rmtree(parent)


def servers_in(directory: Path) -> list[psutil.Process]:
    """The postmasters that run on a data directory below `directory`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if (
            process.info["status"] != psutil.STATUS_ZOMBIE
            and "-D" in line
            and line[line.index("-D") + 1].startswith(f"{directory}/")
        ):
            found.append(process)
    return found


def query(dsn: str, *statements: str) -> object:
    """The first column of the first row of the last statement."""

    async def run() -> object:
        conn = await asyncpg.connect(dsn)
        try:
            return [await conn.fetchval(statement) for statement in statements][-1]
        finally:
            await conn.close()

    return asyncio.run(run())


class User:
    """Another process that holds the database open."""

    def __init__(self, data_dir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER, data_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "in\n"

    def leave(self) -> None:
        output, _ = self._process.communicate("\n", timeout=60)
        assert output == "out\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


def kill_server(data_dir: Path) -> None:
    """SIGKILL the server and all its children, as a power cut would."""
    (server,) = servers_in(data_dir.parent)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    for process in processes:
        process.kill()
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
        time.sleep(0.01)


# -- a first start --------------------------------------------------------------------------


def test_it_makes_a_database_with_three_roles_and_durable_settings(data_dir: Path) -> None:
    said: list[str] = []
    held = Embedded.start(data_dir, said.append)
    assert said == ["creating the database (once, some seconds)"]
    assert query(held.app_dsn, "SELECT current_user") == "earnest_app"
    assert query(held.owner_dsn, "SELECT current_user") == "earnest_owner"
    assert query(held.superuser_dsn, "SELECT current_user") == "postgres"
    assert (
        query(held.app_dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    )
    assert query(held.app_dsn, "SHOW listen_addresses") == ""
    assert query(held.app_dsn, "SHOW server_encoding") == "UTF8"

    async def durable() -> None:
        conn = await asyncpg.connect(held.app_dsn)
        await check_durability(conn)
        await conn.close()

    asyncio.run(durable())
    held.release()


def test_it_wants_a_password_and_shows_it_to_nobody(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(held.dsn("earnest_app", "guess"), "SELECT 1")
    modes = {
        name: stat.S_IMODE((data_dir / name).stat().st_mode)
        for name in ("database_passwords.json", "run", "postgres")
    }
    assert modes == {"database_passwords.json": 0o600, "run": 0o700, "postgres": 0o700}
    log = "".join(path.read_text() for path in (data_dir / "postgres" / "log").iterdir())
    for dsn in (held.app_dsn, held.owner_dsn, held.superuser_dsn):
        assert dsn.split(":")[2].split("@")[0] not in log
    held.release()


def test_it_starts_once_when_many_start_together(data_dir: Path) -> None:
    starting = [
        subprocess.Popen([sys.executable, "-c", USER, data_dir], stdin=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    held = Embedded.start(data_dir)
    assert len(servers_in(data_dir.parent)) == 1
    for process in starting:
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    assert servers_in(data_dir.parent) == []


def test_it_begins_again_after_a_first_start_that_was_interrupted(data_dir: Path) -> None:
    (data_dir / "postgres.new" / "base").mkdir(parents=True)
    (data_dir / "postgres.new" / "PG_VERSION").write_text("18")
    held = Embedded.start(data_dir)
    assert query(held.app_dsn, "SELECT 1") == 1
    assert not (data_dir / "postgres.new").exists()
    held.release()


@pytest.mark.parametrize("after_seconds", [0.0, 0.1, 0.3])
def test_it_begins_again_while_what_the_killed_one_had_begun_still_runs(
    data_dir: Path, after_seconds: float
) -> None:
    """Its initdb outlives it, writes on, and clears up when it fails."""
    first = subprocess.Popen([sys.executable, "-c", USER, data_dir], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not list(data_dir.glob("postgres.new*/*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(after_seconds)
    first.kill()
    first.communicate()
    held = Embedded.start(data_dir)
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    again = Embedded.start(data_dir)
    assert query(again.app_dsn, "SELECT 1") == 1
    assert list(data_dir.glob("postgres.new*")) == []
    again.release()


@pytest.mark.parametrize("name", ["with a blank", "it's, 100% #1", "long/" + "x" * 120])
def test_it_lives_under_any_path(data_dir: Path, name: str) -> None:
    held = Embedded.start(data_dir / name)
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    again = Embedded.start(data_dir / name)
    assert query(again.app_dsn, "SELECT 1") == 1
    socket_dir = Path(str(query(again.superuser_dsn, "SHOW unix_socket_directories")).strip('"'))
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    again.release()
    assert socket_dir.parent == data_dir / name or not socket_dir.exists()


# -- sharing --------------------------------------------------------------------------------


def test_the_last_one_out_stops_it(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    other = User(data_dir)
    held.release()
    assert len(servers_in(data_dir.parent)) == 1
    other.leave()
    assert servers_in(data_dir.parent) == []


def test_one_who_leaves_does_not_stop_it_for_the_others(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    User(data_dir).leave()
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    held.release()
    assert servers_in(data_dir.parent) == []


# -- kill -9 --------------------------------------------------------------------------------


def test_it_adopts_the_server_of_a_user_that_was_killed(data_dir: Path) -> None:
    User(data_dir).kill()
    (orphan,) = servers_in(data_dir.parent)
    held = Embedded.start(data_dir)
    assert [process.pid for process in servers_in(data_dir.parent)] == [orphan.pid]
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    assert servers_in(data_dir.parent) == []


def test_it_recovers_when_everything_was_killed_and_has_what_was_committed(data_dir: Path) -> None:
    user = User(data_dir)
    held = Embedded.start(data_dir)
    query(held.owner_dsn, "CREATE TABLE jar (coins integer)", "INSERT INTO jar VALUES (7)")
    kill_server(data_dir)
    user.kill()
    held.release()
    again = Embedded.start(data_dir)
    assert query(again.owner_dsn, "SELECT coins FROM jar") == 7
    again.release()


def test_it_can_be_started_again_under_its_users(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    held.ensure_running()
    kill_server(data_dir)
    held.ensure_running()
    assert query(held.app_dsn, "SELECT 1") == 1
    held.release()
    assert servers_in(data_dir.parent) == []


def test_it_is_not_misled_by_a_stale_pid_file_that_names_another_process(data_dir: Path) -> None:
    Embedded.start(data_dir).release()
    owner = (data_dir / "postgres").stat()
    bystander = subprocess.Popen(["sleep", "60"], user=owner.st_uid, group=owner.st_gid)
    try:
        write_pid_file(data_dir, bystander.pid)
        held = Embedded.start(data_dir)
        assert query(held.app_dsn, "SELECT 1") == 1
        held.release()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_it_is_not_misled_by_a_stale_pid_file_that_names_another_server(data_dir: Path) -> None:
    Embedded.start(data_dir).release()
    neighbour = Embedded.start(data_dir.with_name("neighbour"))
    (process,) = servers_in(data_dir.parent)
    write_pid_file(data_dir, process.pid)
    held = Embedded.start(data_dir)
    found = query(held.superuser_dsn, "SELECT current_setting('data_directory')")
    assert found == str(data_dir / "postgres")
    held.release()
    assert query(neighbour.app_dsn, "SELECT 1") == 1
    neighbour.release()


def write_pid_file(data_dir: Path, pid: int) -> None:
    lines = (pid, data_dir / "postgres", 1, 5432, data_dir / "run", "", "  1  2", "ready   ")
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join(map(str, lines)) + "\n")
    (data_dir / "run" / ".s.PGSQL.5432").touch()
    (data_dir / "run" / ".s.PGSQL.5432.lock").write_text(f"{pid}\n")


def test_it_starts_a_server_anew_that_has_lost_its_socket(data_dir: Path) -> None:
    User(data_dir).kill()
    (orphan,) = servers_in(data_dir.parent)
    for path in (data_dir / "run").iterdir():
        path.unlink()
    held = Embedded.start(data_dir)
    assert query(held.app_dsn, "SELECT 1") == 1
    assert [process.pid for process in servers_in(data_dir.parent)] != [orphan.pid]
    held.release()


# -- refusals -------------------------------------------------------------------------------


def test_it_refuses_data_of_another_major_version_with_the_way_out(data_dir: Path) -> None:
    Embedded.start(data_dir).release()
    (data_dir / "postgres" / "PG_VERSION").write_text("14\n")
    way_out = r"(?s)made by PostgreSQL 14.*earnest backup.*mv .*earnest restore"
    with pytest.raises(DatabaseRefused, match=way_out):
        Embedded.start(data_dir)
    assert servers_in(data_dir.parent) == []


@pytest.mark.parametrize("name", ['"quoted"', "$(id)", "`id`", "back\\slash"])
def test_it_refuses_a_path_that_a_shell_would_read_otherwise(data_dir: Path, name: str) -> None:
    with pytest.raises(DatabaseRefused, match="cannot be started in a directory with"):
        Embedded.start(data_dir / name)


def test_it_says_why_the_server_does_not_start(data_dir: Path) -> None:
    Embedded.start(data_dir).release()
    (data_dir / "postgres" / "postgresql.auto.conf").write_text("port = many\n")
    with pytest.raises(DatabaseRefused, match="port"):
        Embedded.start(data_dir)


def test_migrations_are_refused_without_the_application_role(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    query(held.superuser_dsn, "DROP OWNED BY earnest_app", "DROP ROLE earnest_app")
    with pytest.raises(DatabaseRefused, match=r"no role earnest_app.*CREATE ROLE earnest_app"):
        asyncio.run(migrate(held.owner_dsn))
    held.release()


# -- root and others ------------------------------------------------------------------------


@AS_ROOT
def test_for_root_it_runs_as_another_user_from_programs_of_its_own(data_dir: Path) -> None:
    held = Embedded.start(data_dir)
    (server,) = servers_in(data_dir.parent)
    assert server.uids().real != 0
    assert (data_dir / "postgres").stat().st_uid == server.uids().real
    assert not Path(server.exe()).is_relative_to(sys.prefix)
    assert stat.S_IMODE(Path(server.exe()).stat().st_mode) == 0o755
    held.release()


@AS_ROOT
def test_for_root_it_refuses_a_place_that_the_other_user_cannot_reach(data_dir: Path) -> None:
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DatabaseRefused, match=f"cannot enter {closed}. Fix: chmod o\\+x"):
        Embedded.start(closed / "data")
    closed.chmod(0o711)
    Embedded.start(closed / "data").release()


@AS_ROOT
def test_for_root_it_opens_a_data_directory_of_its_own_to_that_user_only(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    Embedded.start(data_dir).release()
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o710


@AS_ROOT
def test_for_root_it_can_be_reached_whatever_the_umask(data_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        Embedded.start(data_dir / "of" / "ours").release()
    finally:
        os.umask(before)


@AS_ROOT
def test_for_an_ordinary_user_it_runs_as_that_user(data_dir: Path) -> None:
    python = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin")
    packages = [path for path in sys.path if path.endswith(("site-packages", "/src"))]
    folders = {folder for path in map(Path, packages) for folder in (path, *path.parents)}
    if python is None or not all(folder.stat().st_mode & stat.S_IXOTH for folder in folders):
        pytest.skip("an ordinary user needs a Python and packages that are not root's alone")
    program = textwrap.dedent("""
        import os, sys, psutil
        from pathlib import Path
        from earnest.store.embedded import Embedded
        held = Embedded.start(Path(sys.argv[1]))
        pid = int((Path(sys.argv[1]) / "postgres" / "postmaster.pid").read_text().split()[0])
        assert psutil.Process(pid).uids().real == os.getuid() != 0
        held.release()
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    """)
    data_dir.mkdir()
    nobody = 65534
    os.chown(data_dir, nobody, nobody)
    subprocess.run(
        [python, "-c", program, data_dir],
        user=nobody,
        group=nobody,
        extra_groups=[],
        env={"PYTHONPATH": ":".join(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        check=True,
    )
    # Root finds it as it is, and leaves it to its owner.
    Embedded.start(data_dir).release()
    assert (data_dir / "postgres").stat().st_uid == nobody
