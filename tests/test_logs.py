"""What is logged, and above all what never is: nothing that anybody sent or was given.

The story here is full of canaries, each in a place where people's data goes. All of the output
of all processes is searched for them.
"""

import json
import logging
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from earnest import logs
from earnest.settings import read_settings
from test_envelope import lines, written
from test_serve import Serve, data_dir, earnest

__all__ = ["data_dir", "written"]

# No value of a row in an error's words: the message of a failed check repeats the whole row.
CAGE = "ALTER TABLE job ADD CONSTRAINT job_canary_cage CHECK (location <> 'Cage') NOT VALID"


class Story:
    """Carol registers, posts jobs and pays Dave, with a canary wherever one fits."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.canaries: list[str] = []

    def canary(self, where: str, shape: str = "{}") -> str:
        """A text that occurs nowhere else."""
        self.canaries.append(f"Kanarie{len(self.canaries)}x{where}")
        return shape.format(self.canaries[-1])

    def ask(self, method: str, path: str, status: int, **what: Any) -> httpx.Response:
        """One request, with canaries around it as well."""
        headers = what.pop("headers", {}) | {
            "User-Agent": self.canary("agent"),
            "X-Whatever": self.canary("header"),
            "X-Request-Id": self.canary("id"),
            "X-Forwarded-For": self.canary("forwarded"),
            "Idempotency-Key": self.canary("key"),
        }
        params = what.pop("params", {}) | {"canary": self.canary("query")}
        answer = self.client.request(method, path, headers=headers, params=params, **what)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        return answer

    def join(self, role: str) -> tuple[str, dict[str, str]]:
        """Somebody's id and headers, after every mistake on the way."""
        name, email = self.canary("name"), self.canary("mail", "{}@example.com").lower()
        self.canaries.append(email)
        password = self.canary("password", "{}$9aA")
        person = {"name": name, "email": email, "password": password, "role": role}
        self.ask("POST", "/api/auth/register", 400, json=person | {"email": name})
        self.ask("POST", "/api/auth/register", 200, json=person)
        letter = self.client.get("/sandbox/mailbox", params={"to": email}).json()[0]
        self.canaries.append(letter["code"])
        data = person | {"confirmPassword": password}
        confirm = {"email": email, "otp": self.canary("otp"), "userData": data}
        self.ask("POST", "/api/auth/verify-otp", 400, json=confirm)
        self.ask("POST", "/api/auth/verify-otp", 201, json=confirm | {"otp": letter["code"]})
        wrong = {"email": email, "password": self.canary("wrong")}
        self.ask("POST", "/api/auth/login", 404, json=wrong)
        answer = self.ask("POST", "/api/auth/login", 200, json=person)
        token = answer.json()["accessToken"]
        self.canaries += [token, token.split(".")[1], *answer.cookies.values()]
        fresh = self.ask("POST", "/api/auth/refresh-token", 200)
        self.canaries += fresh.cookies.values()
        self.ask("POST", "/api/auth/forgot-password", 200, json={"email": email})
        letters = self.client.get("/sandbox/mailbox", params={"to": email}).json()
        self.canaries += re.findall(r"token=(\w+)", letters[0]["link"] or "")
        self.client.cookies.clear()
        return answer.json()["user"]["id"], {"Authorization": f"Bearer {token}"}

    def live(self, olga: dict[str, str]) -> httpx.Response:
        """A contract from the job to the wallet; the answer to a mistake of ours on the way."""
        named = {"name": self.canary("label")}
        category = self.ask(
            "POST", "/api/admin/categories/add-category", 201, json=named, headers=olga
        ).json()["data"]["_id"]
        skill = self.ask(
            "POST", "/api/admin/skills/add-skills", 201, json=named, headers=olga
        ).json()["data"]["_id"]
        _, carol = self.join("client")
        dave_id, dave = self.join("freelancer")
        job = {
            "title": self.canary("title"),
            "description": self.canary("description"),
            "rate": 12000,
            "experienceLevel": "Beginner",
            "location": self.canary("place"),
            "category": category,
            "skills": [skill],
        }
        create = "/api/client/job/create-job"
        made = self.ask("POST", create, 200, json=job, headers=carol).json()["job"]["_id"]
        self.ask("POST", create, 400, json=job | {"rate": self.canary("rate")}, headers=carol)
        self.ask("POST", create, 401, content=b'{"a": "' + self.canary("torn").encode())
        failed = self.ask("POST", create, 500, json=job | {"location": "Cage"}, headers=carol)
        self.ask("POST", f"/api/freelancer/jobs/apply-job/{made}", 201, headers=dave)
        terms = {"freelancerId": dave_id, "amount": 12000}
        contract = self.ask(
            "POST", f"/api/client/create-contract/{made}", 201, json=terms, headers=carol
        ).json()["contract"]["_id"]
        self.pay(made, dave_id, carol)
        for method, path, who, body in (
            ("POST", f"/api/freelancer/contract/approve-contract/{contract}/{dave_id}", dave, None),
            ("PUT", f"/api/freelancer/contract/update-status/{contract}", dave, "Ongoing"),
            ("PUT", f"/api/freelancer/contract/update-status/{contract}", dave, "Completed"),
            ("PATCH", f"/api/client/release-fund/{contract}", carol, None),
            ("PUT", f"/api/admin/escrow/release-fund/{contract}", olga, None),
        ):
            self.ask(method, path, 200, headers=who, json={"status": body} if body else None)
        self.canaries += [made, contract, dave_id]
        return failed

    def pay(self, job: str, payee: str, payer: dict[str, str]) -> None:
        body = {"title": self.canary("bill"), "rate": 1, "freelancerId": payee}
        session = self.ask(
            "POST", f"/api/client/job/payment/{job}", 200, json=body, headers=payer
        ).json()["id"]
        self.canaries.append(session)
        card = {"number": "4000 0000 0000 0002", "expiry": "12/49", "cvc": "737"}
        self.canaries += [card["number"], card["number"].replace(" ", "")]
        self.ask("POST", f"/sandbox/pay/{session}", 402, data=card)
        paid = self.client.post(
            f"/sandbox/checkout/{session}/complete", json={"outcome": "paid"}
        ).json()
        assert paid["delivered"], paid

    def knock(self) -> None:
        """What strangers try."""
        forged = {"Authorization": self.canary("bearer", "Bearer {}")}
        self.ask("GET", "/api/freelancer/jobs/applied-jobs", 401, headers=forged)
        self.ask("GET", f"/api/{self.canary('path')}", 404)
        self.ask("GET", f"/api/client/job/job-details/{self.canary('id')}", 401)
        self.ask("GET", "/sandbox/mailbox", 200, params={"to": self.canary("to")})
        signed = {"Stripe-Signature": self.canary("signature", "t=1,v1={}")}
        self.ask("POST", "/webhook", 400, content=self.canary("event"), headers=signed)
        self.ask("GET", f"/sandbox/pay/{self.canary('session')}", 404)


def test_no_line_of_any_process_holds_what_anybody_sent(data_dir: Path) -> None:
    smtp = "smtp://geheimuser:geheimwort@127.0.0.1:9"  # where nobody takes letters
    serve = Serve(
        data_dir, "--workers", "2", EARNEST_LOG_FORMAT="json", EARNEST_SMTP_URL=smtp,
        EARNEST_METRICS_TOKEN="geheimer-zugang-zu-metriken",
    )  # fmt: skip
    url = serve.ready()
    with httpx.Client(base_url=url, timeout=30) as client:
        story = Story(client)
        story.canaries += ["geheim"]
        olga = {"email": "olga@example.com", "password": story.canary("olga", "{}$9aA")}
        made = earnest(
            "admin", "create", "--email", olga["email"], "--password", olga["password"],
            "--data", data_dir,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        caged = earnest("db", "psql", "--data", data_dir, "--", "-c", CAGE)
        assert caged.returncode == 0, caged.stderr
        token = story.ask("POST", "/api/auth/login", 200, json=olga).json()["accessToken"]
        client.cookies.clear()
        story.canaries.append(token)
        failed = story.live({"Authorization": f"Bearer {token}"})
        story.knock()
    deadline = time.monotonic() + 30
    while not all(f'"process":"api {number}"' in serve.log.read_text() for number in (1, 2)):
        assert time.monotonic() < deadline
        httpx.get(f"{url}/healthz")  # a new connection, which either process may take
    serve.family()[0].kill()
    while "ended with exit code" not in serve.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert serve.stop() == 0
    output = serve.log.read_text()

    told = [json.loads(line) for line in output.splitlines()]
    assert all(set(line) <= set(logs.FIELDS) for line in told)
    assert {line["process"] for line in told} >= {"api 1", "api 2", "supervisor"}
    (mistake,) = (line for line in told if line["level"] == "error" and "exceptions" in line)
    assert mistake["request_id"] == failed.headers["x-request-id"]
    error = mistake["exceptions"][0]
    assert error["type"] == "asyncpg.exceptions.CheckViolationError"
    assert (error["sqlstate"], error["constraint"]) == ("23514", "job_canary_cage")
    assert any(frame.startswith("earnest/marketplace/jobs.py:") for frame in error["frames"])

    everything = {"output": output}
    for path in (data_dir / "postgres" / "log").iterdir():
        everything[path.name] = path.read_text()
    assert len(story.canaries) > 250
    assert _stands_in(failed.headers["x-request-id"], output), "or nothing would be found"
    for name, text in everything.items():
        found = [one for one in story.canaries if _stands_in(one, text)]
        assert found == [], name
    assert "127.0.0.1" not in output, "addresses are told as keyed hashes"


def _stands_in(canary: str, text: str) -> bool:
    """A code of six digits also occurs in times and ids, where it means nothing."""
    if canary.isdigit():
        return re.search(rf"(?<![0-9a-f.]){canary}(?![0-9a-f])", text) is not None
    return canary.lower() in text.lower()


# -- the allow-list -------------------------------------------------------------------------


def test_it_drops_what_it_does_not_know_and_bounds_the_rest(written: Any) -> None:
    log = structlog.get_logger()
    log.warning("payment event refused", reason="r" * 5_000, email="alice@example.com", bytes=7)
    log.info("b" * 5_000, code={"nested": "alice@example.com"}, level="forged", time="forged")
    first, second = lines(written)
    assert first["reason"] == "r" * logs.FIELDS["reason"]
    assert (first["event"], first["bytes"], first["level"]) == (
        "payment event refused",
        7,
        "warning",
    )
    assert second["event"] == "b" * logs.FIELDS["event"]
    assert second["level"] == "info"
    assert second["time"].endswith("Z")
    assert set(second) == {"time", "level", "event", "process"}
    assert b"alice" not in written.getvalue()


def test_it_tells_of_an_exception_and_its_causes_without_their_words(written: Any) -> None:
    connection = sqlite3.connect(":memory:")
    try:
        try:
            connection.execute("SELECT canary")
        except sqlite3.OperationalError as error:
            raise RuntimeError("canary") from error
    except RuntimeError:
        logging.getLogger("earnest.test").exception("it failed")
        structlog.get_logger().exception("it failed again")
    finally:
        connection.close()
    for line in lines(written):
        types = [one["type"] for one in line["exceptions"]]
        assert types == ["builtins.RuntimeError", "sqlite3.OperationalError"]
        assert line["exceptions"][0]["frames"][0].startswith("test_logs.py:")
    assert b"canary" not in written.getvalue()


def test_it_says_where_a_library_spoke_but_not_what(written: Any) -> None:
    logging.getLogger("asyncio").error("future <canary> exception=%s", "canary")
    logging.getLogger("httpx").info("GET https://canary.example/")
    (line,) = lines(written)
    assert line["event"] == "a message of asyncio"
    assert re.fullmatch(r"test_logs\.py:\d+ test_it_says_where.*", line["said_at"])


def test_it_keeps_one_line_one_line_and_the_terminal_calm(tmp_path: Path) -> None:
    shown = logs._as_text(
        {"time": "t", "level": "info", "event": "a\nb\x1b[31m", "reason": "\u202ex\r"}
    )
    assert shown == rb"t info    a\nb\x1b[31m  reason=\u202ex\r" + b"\n"


def test_a_line_that_cannot_be_written_stops_nobody(written: Any) -> None:
    written.close()
    structlog.get_logger().warning("into the void")
    logging.getLogger("earnest.test").warning("into the void")


@pytest.mark.parametrize(
    ("environ", "form"), [({}, "text"), ({"EARNEST_ENV": "production"}, "json")]
)
def test_it_speaks_to_people_in_the_sandbox_and_to_machines_in_production(
    environ: dict[str, str], form: str
) -> None:
    assert read_settings({"EARNEST_SECRET_KEY": "k" * 32} | environ).log_format == form
    asked = {"EARNEST_SECRET_KEY": "k" * 32, "EARNEST_LOG_FORMAT": "text"} | environ
    assert read_settings(asked).log_format == "text"
