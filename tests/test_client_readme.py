"""The client's README: its example runs as it stands, and the server's README shows the same."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from anyio.to_thread import run_sync

from counter import Counter

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients" / "python"


def example(readme: Path) -> str:
    """The first block of Python in it."""
    found = re.search(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert found
    return found[1]


async def test_its_example_runs(counter: Counter) -> None:
    code = example(CLIENT / "README.md")
    assert code.count("\n") <= 15
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CLIENT / "src"),
        "ESCROW_URL": counter.url,
        "ESCROW_CLIENT_ID": counter.broker.client_id,
        "ESCROW_CLIENT_SECRET": counter.broker.secret,
    }

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environ,
        )

    done = await run_sync(run)
    assert (done.returncode, done.stderr) == (0, "")
    told = re.fullmatch(r"(CNT-[0-9]{4}-[0-9]{8}) is to be paid at (http\S+)\n", done.stdout)
    assert told
    page = await counter.http.get(told[2])
    assert page.status_code == 200
    assert "Logo" in page.text
    listed = await counter.broker.client.get("/apps/api/contracts")
    assert [one["contractId"] for one in listed.json()["data"]["contracts"]] == [told[1]]


def test_the_servers_readme_shows_the_same_example() -> None:
    assert example(ROOT / "README.md") == example(CLIENT / "README.md")


def test_every_name_in_its_readme_exists() -> None:
    code = "from earnest_client import *\nfrom earnest_client import EarnestClient as escrow\n"
    text = (CLIENT / "README.md").read_text()
    named = re.findall(r"`([A-Z][A-Za-z]+)`", text) + re.findall(r"(escrow\.[a-z_]+)", text)
    named = [name for name in named if name not in ("Decimal", "Status", "TypeError")]
    named.remove("escrow.client_id")  # of an instance
    assert len(named) > 15
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENT / "src")}
    subprocess.run([sys.executable, "-c", code + "\n".join(named)], check=True, env=environ)


def test_it_is_packed_with_its_types_and_its_licence(tmp_path: Path) -> None:
    build = f"import flit_core.buildapi as b; print(b.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=CLIENT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
        [licence] = [name for name in names if name.endswith("/LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    ours = {f"earnest_client/{path.name}" for path in (CLIENT / "src/earnest_client").glob("*.*")}
    assert {name for name in names if name.startswith("earnest_client/")} == ours
    assert "earnest_client/py.typed" in names
