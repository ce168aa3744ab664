"""`earnest demo`: a server with a story in it, told through the public API.

Nothing here knows the inside: the story is made with the requests that any client would send,
so what it prints is what the product does. A data directory that has the story already is
served as it is.
"""

import asyncio
import shlex
import sys
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


class StoryFailed(CannotServe):
    """The story could not be told."""


class Person(msgspec.Struct):
    """Somebody signed in; `id` is the public user id."""

    name: str
    email: str
    id: str
    client: httpx.Client

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to one request, which must succeed."""
        return _answer(self.client.request(method, path, json=body))


def run(settings: Settings, *, host: str, port: int) -> None:
    """Serve the story until Ctrl-C. Raises CannotServe in production."""
    if settings.is_production:
        raise CannotServe("The demo has accounts with a known password: not for production.")

    def tell(url: str, complete: Settings) -> None:
        asyncio.run(pooled(complete, _make_olga))
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as anybody:
            for line in _story(anybody, url):
                print(line, flush=True)
            print(
                f"  # check the books, while it runs\n"
                f"  {shlex.quote(sys.executable)} -m earnest verify"
                f" --data {shlex.quote(str(settings.data_dir))}\n\n"
                f"The API: {url}/openapi.json. Ctrl-C stops everything.",
                flush=True,
            )

    serve(
        settings,
        host=host,
        port=port,
        workers=default_workers(),
        has_public_url=False,
        on_ready=tell,
    )


async def _make_olga(pool: Any) -> None:
    try:
        await create_admin(pool, OLGA, PASSWORD, "Olga")
    except Conflict:
        return  # she is from an earlier run


def _story(anybody: httpx.Client, url: str) -> list[str]:
    olga = _sign_in(anybody, OLGA)
    assert olga is not None
    alice, bob = _sign_in(anybody, ALICE), _sign_in(anybody, BOB)
    if alice is None or bob is None:
        alice = _sign_up(anybody, "Alice", ALICE, "client")
        bob = _sign_up(anybody, "Bob", BOB, "freelancer")
        _make_history(alice, bob, olga)
    contracts = alice.send("GET", f"/api/client/get-contracts/{alice.id}")["data"]
    return [
        *_cast(alice, bob, olga),
        *_chapters(alice, bob, olga, contracts),
        *_to_try(url, alice, contracts),
    ]


# -- making history ---------------------------------------------------------------------------


def _make_history(alice: Person, bob: Person, olga: Person) -> None:
    labels = {
        "category": olga.send("POST", "/api/admin/categories/add-category", {"name": "Design"}),
        "skill": olga.send("POST", "/api/admin/skills/add-skills", {"name": "Illustration"}),
    }
    ids = {name: made["data"]["_id"] for name, made in labels.items()}

    def hire(title: str, rate: int) -> str:
        """A job that Bob applied for, a contract, paid for and approved; the contract's id."""
        job = alice.send(
            "POST",
            "/api/client/job/create-job",
            {
                "title": title,
                "description": f"{title}, three drafts and the source files.",
                "rate": rate,
                "experienceLevel": "Intermediate",
                "location": "Pune",
                "category": ids["category"],
                "skills": [ids["skill"]],
            },
        )["job"]["_id"]
        bob.send("POST", f"/api/freelancer/jobs/apply-job/{job}")
        contract: str = alice.send(
            "POST",
            f"/api/client/create-contract/{job}",
            {"freelancerId": bob.id, "amount": rate},
        )["contract"]["_id"]
        bob.send("POST", f"/api/freelancer/contract/approve-contract/{contract}/{bob.id}")
        session = alice.send("POST", f"/api/client/job/payment/{job}", {"freelancerId": bob.id})[
            "id"
        ]
        alice.send("POST", f"/sandbox/checkout/{session}/complete", {"outcome": "paid"})
        return contract

    def work(contract: str, *statuses: str) -> None:
        for status in statuses:
            path = f"/api/freelancer/contract/update-status/{contract}"
            bob.send("PUT", path, {"status": status})

    released = hire("Logo for a bakery", 50_000)
    work(released, "Ongoing", "Completed")
    alice.send("PATCH", f"/api/client/release-fund/{released}")
    olga.send("PUT", f"/api/admin/escrow/release-fund/{released}")

    refunded = hire("Menu for a restaurant", 20_000)
    work(refunded, "Ongoing")
    alice.send("DELETE", f"/api/client/cancel-contract/{refunded}")
    olga.send(
        "PUT",
        f"/api/admin/escrow/refund-client/{refunded}/{alice.id}",
        {"cancelReason": "The restaurant will not open after all."},
    )

    waiting = hire("Poster for a concert", 12_500)
    work(waiting, "Ongoing", "Completed")
    alice.send("PATCH", f"/api/client/release-fund/{waiting}")


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


def _to_try(url: str, alice: Person, contracts: list[dict[str, Any]]) -> list[str]:
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
        "  # Alice's mail",
        f"  curl -s '{url}/sandbox/mailbox?to={alice.email}'",
    ]
