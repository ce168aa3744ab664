"""`earnest demo`: a server with a story in it, told through the public API.

Nothing here knows the inside: the story is made with the requests that any client would send,
so what it prints is what the product does. A data directory that has the story already is
served as it is.

Invariant: the story is told once. Two demos at once on a data directory take turns; after an
interruption the same requests are sent again, with the same idempotency keys.
"""

import asyncio
import fcntl
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec

from earnest.actions.accounts import create_admin
from earnest.database import pooled
from earnest.errors import Conflict
from earnest.settings import Settings
from earnest.supervisor import CannotServe, default_workers, serve

PASSWORD = "Demo@123"  # noqa: S105  known to everybody, for a sandbox on this machine
OLGA = "olga@example.com"
ALICE = "alice@example.com"
BOB = "bob@example.com"
LAST_TITLE = "Poster for a concert"


class StoryFailed(CannotServe):
    """The story could not be told."""


class Person(msgspec.Struct):
    """Somebody signed in; `id` is the public user id."""

    name: str
    email: str
    id: str
    client: httpx.Client

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """The JSON answer to one request, which must succeed; done once if it has a `key`."""
        headers = {"Idempotency-Key": key} if key else {}
        return _answer(self.client.request(method, path, json=body, headers=headers))


def run(settings: Settings, *, host: str, port: int) -> None:
    """Serve the story until Ctrl-C. Raises CannotServe in production."""
    if settings.is_production:
        raise CannotServe("The demo has accounts with a known password: not for production.")

    def tell(url: str, complete: Settings) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as anybody:
            with _one_at_a_time(settings.data_dir):
                asyncio.run(pooled(complete, _make_olga))
                lines = _story(anybody, url)
            for line in lines:
                print(line, flush=True)
            print(
                f"  # check the books, while it runs\n"
                f"  {shlex.quote(sys.executable)} -m earnest verify"
                f" --data {shlex.quote(str(settings.data_dir))}\n\n"
                f"The API: {url}/docs. Ctrl-C stops everything.",
                flush=True,
            )

    serve(
        # The story is what is to be read here.
        msgspec.structs.replace(settings, log_requests=False),
        host=host,
        port=port,
        workers=default_workers(),
        has_public_url=False,
        on_ready=tell,
    )


@contextmanager
def _one_at_a_time(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "story.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _make_olga(pool: Any) -> None:
    try:
        await create_admin(pool, OLGA, PASSWORD, "Olga")
    except Conflict:
        return  # she is from an earlier run


def _story(anybody: httpx.Client, url: str) -> list[str]:
    olga = _sign_in(anybody, OLGA)
    assert olga is not None
    alice = _sign_in(anybody, ALICE) or _sign_up(anybody, "Alice", ALICE, "client")
    bob = _sign_in(anybody, BOB) or _sign_up(anybody, "Bob", BOB, "freelancer")
    contracts = _contracts(alice)
    if not any(_is_last_chapter(contract) for contract in contracts):
        _make_history(alice, bob, olga)
        contracts = _contracts(alice)
    return [
        *_cast(alice, bob, olga),
        *_chapters(alice, bob, olga, contracts),
        *_to_try(url, alice, bob, contracts),
    ]


# -- making history ---------------------------------------------------------------------------


def _contracts(alice: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = alice.send("GET", f"/api/client/get-contracts/{alice.id}")["data"]
    return found


def _is_last_chapter(contract: dict[str, Any]) -> bool:
    is_it: bool = contract["jobId"]["title"] == LAST_TITLE
    return is_it and contract["releaseFundStatus"] != "NotRequested"


def _make_history(alice: Person, bob: Person, olga: Person) -> None:
    steps = count(1)

    def tell(person: Person, method: str, path: str, body: Any = None) -> Any:
        return person.send(method, path, body, key=f"story-{next(steps)}")

    category = tell(olga, "POST", "/api/admin/categories/add-category", {"name": "Design"})
    skill = tell(olga, "POST", "/api/admin/skills/add-skills", {"name": "Illustration"})

    def hire(title: str, rate: int) -> str:
        """A job that Bob applied for, a contract, paid for and approved; the contract's id."""
        job = tell(
            alice,
            "POST",
            "/api/client/job/create-job",
            {
                "title": title,
                "description": f"{title}, three drafts and the source files.",
                "rate": rate,
                "experienceLevel": "Intermediate",
                "location": "Pune",
                "category": category["data"]["_id"],
                "skills": [skill["data"]["_id"]],
            },
        )["job"]["_id"]
        tell(bob, "POST", f"/api/freelancer/jobs/apply-job/{job}")
        wanted = {"freelancerId": bob.id, "amount": rate}
        made = tell(alice, "POST", f"/api/client/create-contract/{job}", wanted)
        contract: str = made["contract"]["_id"]
        tell(bob, "POST", f"/api/freelancer/contract/approve-contract/{contract}/{bob.id}")
        payment = f"/api/client/job/payment/{job}"
        session = tell(alice, "POST", payment, {"freelancerId": bob.id})["id"]
        tell(alice, "POST", f"/sandbox/checkout/{session}/complete", {"outcome": "paid"})
        return contract

    def work(contract: str, *statuses: str) -> None:
        for status in statuses:
            path = f"/api/freelancer/contract/update-status/{contract}"
            tell(bob, "PUT", path, {"status": status})

    released = hire("Logo for a bakery", 50_000)
    work(released, "Ongoing", "Completed")
    tell(alice, "PATCH", f"/api/client/release-fund/{released}")
    tell(olga, "PUT", f"/api/admin/escrow/release-fund/{released}")
    opinion = {"rating": 5, "description": "Three good drafts, and on time."}
    review = {"contractId": released, "freelancerId": bob.id, **opinion}
    tell(alice, "POST", f"/api/client/review/rate-freelancer/{alice.id}", review)

    refunded = hire("Menu for a restaurant", 20_000)
    work(refunded, "Ongoing")
    tell(alice, "DELETE", f"/api/client/cancel-contract/{refunded}")
    reason = {"cancelReason": "The restaurant will not open after all."}
    tell(olga, "PUT", f"/api/admin/escrow/refund-client/{refunded}/{alice.id}", reason)

    waiting = hire(LAST_TITLE, 12_500)
    work(waiting, "Ongoing", "Completed")
    tell(alice, "PATCH", f"/api/client/release-fund/{waiting}")


def _sign_up(anybody: httpx.Client, name: str, email: str, role: str) -> Person:
    """Register, read the mailed code, verify it, sign in."""
    wanted = {"name": name, "email": email, "password": PASSWORD, "role": role}
    _answer(anybody.post("/api/auth/register", json=wanted))
    mail = _answer(anybody.get("/sandbox/mailbox", params={"to": email}))
    code = {"email": email, "otp": mail[0]["code"], "userData": wanted}
    _answer(anybody.post("/api/auth/verify-otp", json=code))
    person = _sign_in(anybody, email)
    assert person is not None
    return person


def _sign_in(anybody: httpx.Client, email: str) -> Person | None:
    """None when there is no such account yet."""
    answer = anybody.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    if answer.status_code == 404:
        return None
    signed_in = _answer(answer)
    user = signed_in["user"]
    headers = {"Authorization": f"Bearer {signed_in['accessToken']}"}
    client = httpx.Client(base_url=anybody.base_url, headers=headers, timeout=30, trust_env=False)
    return Person(user["name"], email, user["id"], client)


def _answer(answer: httpx.Response) -> Any:
    if not answer.is_success:
        request = answer.request
        raise StoryFailed(f"{request.method} {request.url.path}: {answer.text}")
    return answer.json()


# -- telling it -------------------------------------------------------------------------------


def _cast(alice: Person, bob: Person, olga: Person) -> list[str]:
    rows = [(alice, "client, buys"), (bob, "freelancer, sells"), (olga, "admin, approves")]
    return [
        "",
        f"Who is who (everybody's password is {PASSWORD}):",
        *(f"  {one.name:<6} {what:<18} {one.email:<19} {one.id}" for one, what in rows),
    ]


def _chapters(
    alice: Person, bob: Person, olga: Person, contracts: list[dict[str, Any]]
) -> list[str]:
    lines = ["", "What happened, and where the money is (INR):"]
    for contract in reversed(contracts):
        proof = olga.send("GET", f"/api/admin/escrow/proof/{contract['_id']}")
        verdict = "the ledger agrees" if proof["holds"] else "THE LEDGER DISAGREES"
        lines += [
            (
                f"  {contract['contractId']}  {contract['jobId']['title']}"
                f"  [{contract['status']}, release {contract['releaseFundStatus']}]"
            ),
            (
                f"    funded {_money(proof['funded'])} = Bob {_money(proof['toFreelancer'])}"
                f" + Alice {_money(proof['toClient'])} + fees {_money(proof['fees'])}"
                f" + held {_money(proof['held'])}   ({verdict})"
            ),
        ]
    wallets = [f"{one.name} {_money(_balance(one))}" for one in (alice, bob)]
    return [*lines, f"  Wallets: {', '.join(wallets)}"]


def _balance(person: Person) -> Any:
    wallet = person.send("GET", f"/api/freelancer/wallet/earnings/{person.id}")["data"]
    return 0 if wallet is None else wallet["balance"]


def _money(amount: Any) -> str:
    return f"{amount:,.2f}"


def _to_try(url: str, alice: Person, bob: Person, contracts: list[dict[str, Any]]) -> list[str]:
    def token(variable: str, email: str) -> str:
        """A line that signs in; only sed, so that it works wherever curl does."""
        return (
            f"  {variable}=$(curl -s {url}/api/auth/login -H 'Content-Type: application/json'"
            f""" -d '{{"email":"{email}","password":"{PASSWORD}"}}'"""
            """ | sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')"""
        )

    shown = contracts[-1]["_id"]
    lines = [
        "",
        "Try it (paste into another terminal):",
        "  # any contract, as anybody sees it: names and ids, nothing private",
        f"  curl -s {url}/api/freelancer/contract/view-contract/{shown}",
        "  # the same as Alice, who is a party to it",
        token("ALICE", ALICE),
        (
            f"  curl -s {url}/api/freelancer/contract/view-contract/{shown}"
            ' -H "Authorization: Bearer $ALICE"'
        ),
        "  # what Olga holds, and every escrow",
        token("OLGA", OLGA),
        f'  curl -s {url}/api/admin/escrow/balance -H "Authorization: Bearer $OLGA"',
        f'  curl -s {url}/api/admin/escrow/transactions -H "Authorization: Bearer $OLGA"',
    ]
    waiting = [one for one in contracts if one["releaseFundStatus"] == "Requested"]
    if waiting:
        lines += [
            "  # release what waits for her; repeat it with the same key: money moves once",
            (
                f"  curl -s -X PUT {url}/api/admin/escrow/release-fund/{waiting[0]['_id']}"
                ' -H "Authorization: Bearer $OLGA" -H "Idempotency-Key: demo-1"'
            ),
        ]
    return [
        *lines,
        "  # what Alice thought of Bob's work",
        f"  curl -s {url}/api/client/review/show-reviews/{bob.id}",
        "  # Alice's mail",
        f"  curl -s '{url}/sandbox/mailbox?to={alice.email}'",
    ]
