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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec

from earnest.actions.accounts import create_admin
from earnest.database import pooled
from earnest.demo_cast import PASSWORD, Person, money, sign_in, sign_up
from earnest.demo_partner import partner_story
from earnest.demo_receiver import Receiver
from earnest.errors import Conflict
from earnest.settings import Settings
from earnest.store.migrate import OtherVersion
from earnest.supervisor import CannotServe, default_workers, serve

OLGA = "olga@example.com"
ALICE = "alice@example.com"
BOB = "bob@example.com"
LAST_TITLE = "Poster for a concert"
WITHDRAW = "/api/freelancer/wallet/withdraw"
PAID_SECONDS_MAX = 15


def run(settings: Settings, *, host: str, port: int) -> None:
    """Serve the story until Ctrl-C. Raises CannotServe in production."""
    if settings.is_production:
        raise CannotServe("The demo has accounts with a known password: not for production.")

    receiver = Receiver()

    def say(line: str) -> None:
        print(line, flush=True)

    def tell(url: str, complete: Settings) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as anybody:
            with _one_at_a_time(settings.data_dir):
                asyncio.run(pooled(complete, _make_olga))
                lines = _story(anybody, url, receiver)
            for line in lines:
                say(line)
            say(
                f"  # check the books, while it runs\n"
                f"  {shlex.quote(sys.executable)} -m earnest verify"
                f" --data {shlex.quote(str(settings.data_dir))}\n\n"
                f"The API: {url}/docs. Ctrl-C stops everything."
            )
            receiver.tell(say)

    with receiver.listening():
        try:
            serve(
                # The story is what is to be read here; the receiver is on this machine.
                msgspec.structs.replace(settings, log_requests=False, webhook_allow_private=True),
                host=host,
                port=port,
                workers=default_workers(),
                has_public_url=False,
                on_ready=tell,
            )
        except OtherVersion as other:
            raise CannotServe(
                f"{other.message} This story was told by another version of Earnest: remove"
                f" {settings.data_dir} and start again, and it is told anew."
            ) from None


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


def _story(anybody: httpx.Client, url: str, receiver: Receiver) -> list[str]:
    olga = sign_in(anybody, OLGA)
    assert olga is not None
    alice = sign_in(anybody, ALICE) or sign_up(anybody, "Alice", ALICE, "client")
    bob = sign_in(anybody, BOB) or sign_up(anybody, "Bob", BOB, "freelancer")
    contracts = _contracts(alice)
    if not any(_is_last_chapter(contract) for contract in contracts):
        _make_history(alice, bob, olga)
        contracts = _contracts(alice)
    of_partner = partner_story(olga, anybody, url, receiver)  # meanwhile, Bob is paid
    return [
        *_cast(alice, bob, olga),
        *_chapters(alice, bob, olga, contracts),
        *_withdrawals(bob),
        *_to_try(url, alice, bob, contracts),
        *of_partner,
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
    tell(bob, "POST", WITHDRAW, {"amount": 20_000})

    refunded = hire("Menu for a restaurant", 20_000)
    work(refunded, "Ongoing")
    tell(alice, "DELETE", f"/api/client/cancel-contract/{refunded}")
    reason = {"cancelReason": "The restaurant will not open after all."}
    tell(olga, "PUT", f"/api/admin/escrow/refund-client/{refunded}/{alice.id}", reason)

    waiting = hire(LAST_TITLE, 12_500)
    work(waiting, "Ongoing", "Completed")
    tell(alice, "PATCH", f"/api/client/release-fund/{waiting}")


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
                f"    funded {money(proof['funded'])} = Bob {money(proof['toFreelancer'])}"
                f" + Alice {money(proof['toClient'])} + fees {money(proof['fees'])}"
                f" + held {money(proof['held'])}   ({verdict})"
            ),
        ]
    wallets = [f"{one.name} {money(_balance(one))}" for one in (alice, bob)]
    return [*lines, f"  Wallets: {', '.join(wallets)}"]


def _withdrawals(bob: Person) -> list[str]:
    """What Bob took out of his wallet, once the bank has it; not for ever."""
    until = time.monotonic() + PAID_SECONDS_MAX
    while True:
        found = bob.send("GET", WITHDRAW)["data"]
        if all(one["status"] != "pending" for one in found) or time.monotonic() > until:
            return [
                f"  Bob withdrew {money(one['amount'])}  [{one['status']}]"
                f"  {one['providerPayoutId'] or ''}".rstrip()
                for one in found
            ]
        time.sleep(0.2)


def _balance(person: Person) -> Any:
    wallet = person.send("GET", f"/api/freelancer/wallet/earnings/{person.id}")["data"]
    return 0 if wallet is None else wallet["balance"]


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
        "  # what Bob took out of his wallet, and what his bank says",
        token("BOB", BOB),
        f'  curl -s {url}{WITHDRAW} -H "Authorization: Bearer $BOB"',
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
