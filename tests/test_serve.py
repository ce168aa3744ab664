"""`earnest serve`, as an operator meets it: started, stopped, killed, crashed."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from conftest import Server, TestDatabase
from earnest.supervisor import PROGRAMS

COMMAND = (sys.executable, "-m", "earnest")
PROCESSES = frozenset(PROGRAMS.values())


class Serve:
    """One `earnest serve` on a port of its own."""

    def __init__(self, data_dir: Path, *options: str, **environ: str) -> None:
        self.log = data_dir.with_suffix(".log")
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", "--data", data_dir, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=clean_environ() | environ,
            )

    def ready(self) -> str:
        """The URL of the ready line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Earnest is ready on http://"), self.log.read_text()
        return line.split()[-1]

    def family(self) -> list[psutil.Process]:
        """Its API and worker processes."""
        return [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if PROCESSES.intersection(process.cmdline())
        ]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=30)
        assert rest == "", "one ready line and nothing else"
        return self.process.returncode


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EARNEST_")}


def earnest(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environ() | environ,
    )


def processes_of(directory: Path) -> list[psutil.Process]:
    """Everything that has `directory` in its command line or works below it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        places = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if process.info["status"] != "zombie" and any(str(directory) in each for each in places):
            found.append(process)
    return found


@pytest.fixture
def data_dir() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="earnest-test-"))
    parent.chmod(0o711)
    yield parent / "data"
    for process in processes_of(parent):
        process.kill()
        process.wait(10)
    shutil.rmtree(parent)


def test_it_starts_from_nothing_and_leaves_nothing_behind(data_dir: Path) -> None:
    serve = Serve(data_dir)
    url = serve.ready()
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
    family = serve.family()
    assert family
    started = time.monotonic()
    assert serve.stop() == 0
    assert time.monotonic() - started < 30
    assert processes_of(data_dir) == []
    assert not any(process.is_running() for process in family)
    assert "other machines" not in serve.log.read_text()


def test_it_warns_of_a_sandbox_that_other_machines_reach(data_dir: Path) -> None:
    serve = Serve(data_dir, "--host", "0.0.0.0")
    assert httpx.get(f"{serve.ready()}/sandbox/mailbox?to=bob@example.com").json() == []
    assert serve.stop() == 0
    assert "a sandbox that other machines reach" in serve.log.read_text()


def test_it_ends_well_when_it_is_told_to_stop_while_it_starts(data_dir: Path) -> None:
    for patience_seconds in (0.3, 0.7, 1.1, 1.5, 2.0):
        serve = Serve(data_dir)
        time.sleep(patience_seconds)
        serve.process.terminate()
        serve.process.communicate(timeout=30)
        assert processes_of(data_dir) == []
    serve = Serve(data_dir)
    serve.ready()
    assert serve.stop() == 0


def test_its_children_die_with_it_and_the_next_start_adopts_the_database(data_dir: Path) -> None:
    serve = Serve(data_dir)
    serve.ready()
    family = serve.family()
    serve.process.kill()
    serve.process.communicate(timeout=10)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    again = Serve(data_dir)
    again.ready()
    assert again.stop() == 0
    assert processes_of(data_dir) == []


def test_it_comes_back_after_everything_was_killed(data_dir: Path) -> None:
    serve = Serve(data_dir)
    serve.ready()
    for process in [psutil.Process(serve.process.pid), *processes_of(data_dir)]:
        process.kill()
    serve.process.communicate(timeout=10)
    again = Serve(data_dir)
    again.ready()
    assert again.stop() == 0


def test_it_replaces_a_process_that_died(data_dir: Path) -> None:
    serve = Serve(data_dir, "--workers", "2")
    url = serve.ready()
    for process in serve.family():
        process.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert serve.stop() == 0


def test_it_starts_its_database_again_when_that_died(data_dir: Path) -> None:
    serve = Serve(data_dir)
    url = serve.ready()
    pid = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    psutil.Process(pid).kill()
    deadline = time.monotonic() + 30
    statuses: list[int] = []
    while time.monotonic() < deadline and statuses[-3:] != [200, 200, 200]:
        time.sleep(0.3)
        statuses.append(httpx.get(f"{url}/readyz", timeout=15).status_code)
    assert statuses[-3:] == [200, 200, 200]
    assert set(statuses) <= {200, 503}
    assert serve.stop() == 0


def test_other_commands_share_its_database_and_do_not_stop_it(data_dir: Path) -> None:
    serve = Serve(data_dir)
    url = serve.ready()
    status = earnest("db", "status", "--json", "--data", data_dir)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["pending"] == []
    psql = earnest("db", "psql", "--data", data_dir, "--", "-XAtc", "SELECT current_user")
    assert psql.stdout == "earnest_owner\n"
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert serve.stop() == 0


def test_it_serves_an_external_database_without_touching_the_owner_in_its_processes(
    data_dir: Path, empty_database: TestDatabase
) -> None:
    serve = Serve(
        data_dir,
        EARNEST_DATABASE_URL=empty_database.app_dsn,
        EARNEST_MIGRATE_DATABASE_URL=empty_database.owner_dsn,
    )
    url = serve.ready()
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert not (data_dir / "postgres").exists()
    assert serve.stop() == 0
    # Migrated now: the next start needs no owner.
    again = Serve(data_dir, EARNEST_DATABASE_URL=empty_database.app_dsn)
    again.ready()
    assert again.stop() == 0


def test_it_refuses_a_database_that_forgets(
    data_dir: Path, database: TestDatabase, server: Server
) -> None:
    server.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = 'off'")
    refused = earnest("serve", "--port", "0", EARNEST_DATABASE_URL=database.app_dsn)
    assert refused.returncode == 1
    assert "synchronous_commit switched off" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "70000"), ("--port", "-1"), ("--workers", "0")]
)
def test_it_refuses_a_number_that_would_mean_another(
    data_dir: Path, option: str, value: str
) -> None:
    refused = earnest("serve", "--data", data_dir, option, value)
    assert refused.returncode == 2
    assert f'Invalid value "{value}" for {option}' in refused.stdout + refused.stderr
    assert not data_dir.exists()


def test_its_processes_wait_for_the_database_and_end_if_it_cannot_be_opened(
    data_dir: Path,
) -> None:
    """They are spawned before it is opened, so that neither waits for the other."""
    dsn = "postgresql://earnest_app:geheim@127.0.0.1:1/earnest"
    refused = earnest("serve", "--data", data_dir, EARNEST_DATABASE_URL=dsn, PROBE=str(data_dir))
    assert refused.returncode == 1
    assert "does not lead to a database" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert probed(data_dir) == []
    serve = Serve(data_dir, PROBE=str(data_dir))
    time.sleep(0.5)
    serve.process.kill()  # while they wait
    serve.process.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while left := [one for one in probed(data_dir) if any(each in one for each in PROCESSES)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    again = Serve(data_dir)
    again.ready()
    assert again.stop() == 0


def probed(data_dir: Path) -> list[str]:
    """The command lines of all processes whose environment has this directory as PROBE."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PROBE") == str(data_dir):
                found.append(" ".join(process.cmdline()))
    return found


def test_it_says_in_one_line_what_keeps_it_from_starting(data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = earnest("serve", "--port", port, "--data", data_dir)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"earnest: Cannot listen on 127.0.0.1, port {port}")
    assert refused.stderr.count("\n") == 1

    refused = earnest("serve", "--data", data_dir, EARNEST_ENV="production")
    assert refused.returncode == 1
    assert refused.stderr.startswith("earnest: EARNEST_SECRET_KEY: production needs")

    dsn = "postgresql://earnest_app:geheim@127.0.0.1:1/earnest"
    refused = earnest("db", "status", "--data", data_dir, EARNEST_DATABASE_URL=dsn)
    assert refused.returncode == 1
    assert "EARNEST_DATABASE_URL does not lead to a database" in refused.stderr
    assert "geheim" not in refused.stderr

    refused = earnest("db", "status", "--data", data_dir)
    assert refused.returncode == 1
    assert "There is no database in" in refused.stderr
    assert not data_dir.exists()
