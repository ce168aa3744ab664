"""`earnest demo` and the tutorial: what is printed is true, and what can be pasted works."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from earnest_client import EarnestClient, Person
from test_client_readme import CLIENT, example
from test_serve import COMMAND, clean_environ, earnest, processes_of

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
LAST_LINE = "Ctrl-C stops everything."

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


class Demo(msgspec.Struct, frozen=True):
    """A demo that runs, and what it printed."""

    url: str
    data_dir: Path
    lines: list[str]


@contextmanager
def _room() -> Iterator[Path]:
    """A data directory to be, which nobody may use any more at the end."""
    parent = Path(tempfile.mkdtemp(prefix="earnest-demo-"))
    parent.chmod(0o711)  # PostgreSQL runs as another user when we are root
    yield parent / "data"
    assert processes_of(parent / "data") == []
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with _room() as data_dir:
        process, lines = _start(data_dir)
        yield Demo(lines[0].split()[-1], data_dir, lines)
        _stop(process)


@pytest.fixture
def new_data_dir() -> Iterator[Path]:
    with _room() as data_dir:
        yield data_dir


def _launch(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "demo", "--port", "0", "--data", data_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environ(),
    )


def _start(data_dir: Path) -> tuple[subprocess.Popen[str], list[str]]:
    process = _launch(data_dir)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.rstrip().endswith(LAST_LINE):
            break
    return process, lines


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def paste(lines: list[str], shown: str = "") -> list[str]:
    """Each line's output when all are pasted into one shell, `shown` being typed last."""
    script = "\n".join(f"{line}\nprintf '\\0'" for line in [*lines, *([shown] if shown else [])])
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.split("\0")


def test_it_tells_who_is_who_and_where_the_money_is(demo: Demo) -> None:
    text = "\n".join(demo.lines)
    for name in ("Alice", "Bob", "Olga"):
        assert re.search(rf"{name} .*@example\.com +[0-9a-f]{{24}}", text)
    assert len(re.findall(r"^  CON\d{8}  ", text, re.MULTILINE)) == 3
    assert "funded 50,000.00 = Bob 45,000.00 + Alice 0.00 + fees 5,000.00 + held 0.00" in text
    assert "funded 20,000.00 = Bob 7,200.00 + Alice 10,800.00 + fees 2,000.00" in text
    assert "[Completed, release Requested]" in text
    assert text.count("(the ledger agrees)") == 3
    assert "Wallets: Alice 10,800.00, Bob 32,200.00" in text
    assert re.search(r"^  Bob withdrew 20,000\.00  \[paid\]  po_", text, re.MULTILINE)


@needs_curl
def test_its_curl_lines_work_when_pasted(demo: Demo) -> None:
    lines = [line.strip() for line in demo.lines if re.match(r"  (curl|[A-Z]+=\$\(curl)", line)]
    assert len(lines) >= 8
    answers = [json.loads(text) for text in paste(lines) if text]
    assert len(answers) == len([line for line in lines if line.startswith("curl")])
    for answer in answers:
        assert isinstance(answer, list) or "error" not in answer, answer
    assert {"data": 12500} in answers
    [released] = [
        one for one in answers if "message" in one and "data" in one and "succeeded" not in one
    ]
    assert released["data"]["status"] == "released"
    told = {one["message"]: one["data"] for one in answers if "succeeded" in one}
    assert told["ExternalContractReleasedSuccessfully"]["amount"] == 600
    assert told["RefundCreatedSuccessfully"]["refundedAmount"] == 400
    assert told["ContractCheckoutStartedSuccessfully"]["checkout"]["url"].startswith(demo.url)
    assert told["ProofRetrievedSuccessfully"]["holds"] is True
    assert any(one["isSuccess"] for one in told[""]["logs"])
    assert told["PayoutsRetrievedSuccessfully"]["totalCount"] >= 2


def test_it_tells_of_a_partner_whose_receiver_verifies_webhooks(demo: Demo) -> None:
    text = "\n".join(demo.lines)
    assert re.search(r"^  CNT-\d{4}-\d{8}  A kitchen  \[escrow\]$", text, re.MULTILINE)
    assert "funded 1,143.75 = Omar 600.00 + Huda 0.00 + fees 84.00 + tax 2.25 + held 457.50" in text
    assert text.count("(its proof holds)") == 1
    paid = re.findall(r"  paid out by the schedule: (.+)  \[(?:pending|paid)\]\n", text)
    assert sorted(paid) == ["Demo Broker 69.00", "Omar 600.00"]
    heard = re.findall(r"^  webhook, verified: (\S+) +(CNT-\S+)", text, re.MULTILINE)
    assert [event for event, _ in heard if event != "contract.created"] == [
        "payment.completed",
        "contract.released",
    ]
    assert len({number for event, number in heard if event == "contract.created"}) == 2


def test_its_checkout_link_opens(demo: Demo) -> None:
    [link] = [line.strip() for line in demo.lines if "/checkout?token=" in line]
    page = httpx.get(link, trust_env=False)
    assert page.status_code == 200
    assert "A website" in page.text


def test_the_clients_example_runs_with_its_credentials(demo: Demo) -> None:
    credentials = exported(demo.lines)
    done = subprocess.run(
        [sys.executable, "-c", example(CLIENT / "README.md")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environ() | credentials | {"PYTHONPATH": str(CLIENT / "src")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"is to be paid at {demo.url}/checkout?token=" in done.stdout


def test_its_worker_gives_a_refund_back_to_its_source(demo: Demo) -> None:
    credentials = exported(demo.lines)
    url, client_id, secret = (
        credentials[f"ESCROW_{name}"] for name in ("URL", "CLIENT_ID", "CLIENT_SECRET")
    )
    with EarnestClient(url, client_id, secret) as escrow:
        buyer, seller = Person("966500000001", "Huda"), Person("966500000002", "Omar")
        contract = escrow.create_contract(
            title="A poster", service_type="service", buyer=buyer, seller=seller, amount=100
        )
        paid = f"{url}/sandbox/checkout/{contract.checkout.token}/complete"
        httpx.post(paid, json={"outcome": "paid"}, trust_env=False).raise_for_status()
        escrow.refund(contract.contract_id, reason="The concert is off")
        until = time.monotonic() + 60
        while (found := escrow.get_contract(contract.contract_id)).status == "refundInProgress":
            assert time.monotonic() < until
            time.sleep(0.2)
    assert found.status == "refunded"
    assert found.settlement.refunded_to_buyer == Decimal(100)
    assert found.settlement.held == Decimal(0)


def exported(lines: list[str]) -> dict[str, str]:
    """The variables that it prints for a shell."""
    return dict(line.removeprefix("  export ").split("=", 1) for line in lines if "export " in line)


@needs_curl
def test_the_tutorial_works_when_pasted(demo: Demo) -> None:
    blocks = re.findall(r"(?:^    .*\n)+", TUTORIAL.read_text(), re.MULTILINE)
    typed = [
        re.sub(r"^    ", "", block.rstrip("\n"), flags=re.MULTILINE).replace(
            "http://127.0.0.1:8000", demo.url
        )
        for block in blocks
        if "make demo" not in block
    ]
    assert len(typed) >= 9
    output = paste(typed)
    proof, wallet = _json_lines(output[-4])
    figures = {name: proof[name] for name in ("funded", "fees", "toFreelancer", "held")}
    assert figures == {"funded": 999.5, "fees": 99.95, "toFreelancer": 899.55, "held": 0}
    assert proof["holds"] is True
    assert wallet["data"]["transactions"][0]["amount"] == 899.55
    assert '"error"' not in "".join(output)


def _json_lines(text: str) -> list[dict[str, Any]]:
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def test_verify_agrees_while_it_runs(demo: Demo) -> None:
    checked = earnest("verify", "--data", demo.data_dir)
    assert checked.returncode == 0, checked.stderr + checked.stdout


def test_it_serves_the_story_that_is_there_when_started_again(demo: Demo) -> None:
    again, lines = _start(demo.data_dir)
    try:
        assert [line for line in lines if "@example.com " in line] == [
            line for line in demo.lines if "@example.com " in line
        ]
        assert [line for line in lines if re.search(r"CNT-.*  \[", line)] == [
            line for line in demo.lines if re.search(r"CNT-.*  \[", line)
        ]
        assert "the last is void" in "\n".join(lines)
        assert _answers_to(exported(lines) | {"ESCROW_CLIENT_SECRET": "es_none"}) == 401
        assert _answers_to(exported(lines)) == 200
        assert _answers_to(exported(demo.lines)) == 401
        assert again.stdout is not None
        with _client(exported(lines)) as broker:
            assert broker.post("/apps/api/webhooks/test").status_code == 200
        assert any("webhook, verified: webhook.test" in line for line in again.stdout)
    finally:
        _stop(again)


@contextmanager
def _client(credentials: dict[str, str]) -> Iterator[httpx.Client]:
    """Demo Broker's, or that of whoever has these credentials."""
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials["ESCROW_CLIENT_ID"],
        "client_secret": credentials["ESCROW_CLIENT_SECRET"],
    }
    with httpx.Client(base_url=credentials["ESCROW_URL"], trust_env=False) as client:
        token = client.post("/connect/token", data=form).json().get("access_token")
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def _answers_to(credentials: dict[str, str]) -> int:
    """What somebody with these credentials is answered."""
    with _client(credentials) as client:
        return client.get("/apps/api/contracts").status_code


def test_it_goes_on_with_a_story_that_was_interrupted(new_data_dir: Path) -> None:
    process = _launch(new_data_dir)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    while not httpx.get(f"{url}/api/client/all-contracts", trust_env=False).json()["data"]:
        time.sleep(0.01)
    _stop(process)
    again, lines = _start(new_data_dir)
    _stop(again)
    assert "\n".join(lines).count("(the ledger agrees)") == 3
    assert "Wallets: Alice 10,800.00, Bob 32,200.00" in "\n".join(lines)


def test_two_at_once_tell_one_story(new_data_dir: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(_start, [new_data_dir] * 2))
    for process, _ in both:
        _stop(process)
    one, other = (
        [line for line in lines if re.match(r"  (CON\d|CNT-)", line)] for _, lines in both
    )
    assert len(one) == 5
    assert one == other


def test_it_refuses_production(tmp_path: Path) -> None:
    refused = earnest(
        "demo", "--data", tmp_path / "data", EARNEST_ENV="production", EARNEST_SECRET_KEY="k" * 40
    )
    assert refused.returncode == 1
    assert "not for production" in refused.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_it_says_what_to_do_about_a_story_of_another_version(new_data_dir: Path) -> None:
    assert earnest("db", "migrate", "--data", new_data_dir).returncode == 0
    changed = "UPDATE schema_migration SET sha256 = 'another' WHERE number = 1"
    assert earnest("db", "psql", "--data", new_data_dir, "--", "-c", changed).returncode == 0
    told = earnest("demo", "--port", "0", "--data", new_data_dir)
    assert told.returncode == 1
    assert f"remove {new_data_dir} and start again" in told.stderr
