"""The whole cast at play: every step is a real request, and the model says what comes of it.

A **play** is one run: two clients, two freelancers, three jobs, and whatever they do. Its public
methods are the steps; those that need a contract, a checkout or an event do nothing while there
is none. Plays share one **house**: the application on one database, and Olga.
"""

import json
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import httpx
import msgspec

from earnest.domain.party import Role
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import held, wallet
from earnest.providers import signature
from house import House
from model import Contract, Event, Job, Model
from web import Caller, sign_up

CLIENTS, FREELANCERS = ("Alice", "Mallory"), ("Bob", "Mallet")
RATES = (5_000_000, 9_999, 1)  # paise: of the first two Alice's, of the third Mallory's job
FORTNIGHT_SECONDS = 15 * 24 * 3600
FORTNIGHTS_MAX = 1_200  # the sandbox clock ends some day
EVENTS = "SELECT body FROM sandbox.outbox WHERE session_id = ANY($1) ORDER BY position"
PAYMENT = "SELECT public_id FROM payment WHERE session_id = $1"
BALANCES = "SELECT account, amount_minor FROM balance WHERE account = ANY($1)"


Method = TypeVar("Method", bound=Callable[..., None])


def needs(what: str) -> Callable[[Method], Method]:
    """A step that does nothing while the play has none of `what`."""

    def guarded(step: Method) -> Method:
        @wraps(step)
        def perform(play: "Play", *arguments: Any, **named: Any) -> None:
            if getattr(play, what):
                step(play, *arguments, **named)

        return cast("Method", perform)

    return guarded


class Sent(msgspec.Struct, frozen=True):
    """A request that was carried out, with its key and its answer."""

    who: Caller
    method: str
    path: str
    body: Any
    key: str
    answer: httpx.Response


class Play:
    """One example: two clients, two freelancers, three jobs, and whatever they do."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.model = Model()
        self.people: dict[str, Caller] = {"Olga": self.house.olga}
        self.jobs: list[str] = []
        self.contracts: list[str] = []
        self.sessions: list[str] = []
        self.events: list[tuple[Event, bytes]] = []
        self.heard: set[str] = set()
        self.sent: list[Sent] = []

    def begin(self) -> None:
        """Everybody signs up and every job is posted."""
        number = next(self.house.number)
        for name in CLIENTS + FREELANCERS:
            role = Role.CLIENT if name in CLIENTS else Role.FREELANCER
            self.people[name] = self.house.run(sign_up(self.house.app, f"{name}{number}", role))
        for name, rate in zip(("Alice", "Alice", "Mallory"), RATES, strict=True):
            body = {
                "title": "Logo",
                "description": "A logo.",
                "rate": rate / 100,
                "experienceLevel": "Beginner",
                "location": "Pune",
                "category": self.house.category,
                "skills": [self.house.skill],
            }
            answer = self.request(name, "POST", "/api/client/job/create-job", body)
            self.jobs.append(answer.json()["job"]["_id"])
            self.model.jobs.append(Job(name, rate, set()))

    def end(self) -> None:
        """Everybody looks into their wallet, and every contract's proof must hold."""
        self.wallets_are_right()
        for contract in self.contracts:
            proof = self.get("Olga", f"/api/admin/escrow/proof/{contract}")
            assert proof["holds"] is True

    def leave(self) -> None:
        for name, person in self.people.items():
            if name != "Olga":
                self.house.run(person.aclose())

    # -- hiring -------------------------------------------------------------------------------

    def apply(self, who: str, job: int) -> None:
        job %= len(self.jobs)
        wanted = self.model.apply(who, job)
        self.do(wanted, who, "POST", f"/api/freelancer/jobs/apply-job/{self.jobs[job]}")

    def create(self, who: str, job: int, whom: str, right: bool) -> None:
        job %= len(self.jobs)
        amount = self.model.jobs[job].rate + (not right)
        known = len(self.model.contracts)
        wanted = self.model.create(who, job, whom, amount)
        answer = self.do(
            wanted,
            who,
            "POST",
            f"/api/client/create-contract/{self.jobs[job]}",
            {"freelancerId": self.people[whom].id, "amount": amount / 100},
        )
        if len(self.model.contracts) > known:
            self.contracts.append(answer.json()["contract"]["_id"])
            self.house.seen["created"] += 1
        elif wanted == 201:
            live = self.model.live(job)
            assert live is not None
            assert answer.json()["contract"]["_id"] == self.contracts[live]
            self.house.seen["claimed"] += 1

    def checkout(self, who: str, job: int, whom: str) -> None:
        job %= len(self.jobs)
        known = len(self.model.payments)
        wanted, payment = self.model.checkout(who, job, whom)
        answer = self.do(
            wanted,
            who,
            "POST",
            f"/api/client/job/payment/{self.jobs[job]}",
            {"title": "x", "rate": 1, "freelancerId": self.people[whom].id},
        )
        if payment is not None:
            session = answer.json()["id"]
            if payment == known:
                assert session not in self.sessions
                self.sessions.append(session)
            assert session == self.sessions[payment]

    # -- the payer and the provider -----------------------------------------------------------

    @needs("sessions")
    def payer(self, payment: int, outcome: str) -> None:
        """The payer does something on the provider's page; we hear of it by an event, later."""
        payment %= len(self.sessions)
        of = self.model.payments[payment]
        steps = {"open": ("paid", "unpaid", "failed"), "processing": ("paid", "failed")}
        in_time = of.at_provider == "processing" or not self.model.is_over(of)
        if outcome not in steps.get(of.at_provider, ()) or not in_time:
            return
        of.at_provider = "processing" if outcome == "unpaid" else outcome
        provider = self.house.app.state.provider
        self.house.run(provider.complete(self.sessions[payment], outcome))
        self.hear()

    def hear(self) -> None:
        """Whatever the provider now wants to tell waits to be delivered."""
        kinds = {
            "checkout.session.async_payment_succeeded": "paid",
            "checkout.session.async_payment_failed": "failed",
            "checkout.session.expired": "expired",
        }
        for row in self.house.fetch(EVENTS, self.sessions):
            said = json.loads(row["body"])
            if said["id"] in self.heard:
                continue
            self.heard.add(said["id"])
            session = said["data"]["object"]
            kind = kinds.get(said["type"], session["payment_status"])
            payment = self.sessions.index(session["id"])
            if kind == "expired":
                self.model.payments[payment].at_provider = "expired"
            self.events.append((Event(said["id"], payment, kind), row["body"]))

    @needs("events")
    def deliver(self, event: int, newest: bool) -> None:
        """One of the events arrives: late, in any order, for the first or the tenth time."""
        self.arrive(*self.events[-1 if newest else event % len(self.events)])

    @needs("sessions")
    def deliver_wrong_amount(self, payment: int, amount: int) -> None:
        """Rightly signed, and not the money that we asked for."""
        payment %= len(self.sessions)
        if amount == self.model.payments[payment].amount:
            return
        number = next(self.house.number)
        session = {
            "id": self.sessions[payment],
            "object": "checkout.session",
            "amount_total": amount,
            "currency": "inr",
            "livemode": False,
            "payment_intent": f"pi_{number}",
            "payment_status": "paid",
        }
        said = {
            "id": f"evt_{number}",
            "object": "event",
            "type": "checkout.session.completed",
            "created": int(time.time()),
            "livemode": False,
            "data": {"object": session},
        }
        self.arrive(Event(f"evt_{number}", payment, "paid", amount), json.dumps(said).encode())

    def arrive(self, event: Event, body: bytes) -> None:
        known, parked = len(self.model.contracts), self.model.suspense
        self.model.take(event)
        secret = self.house.app.state.webhook_secrets[0]
        header = {"Stripe-Signature": signature.sign(body, secret, int(time.time()))}
        answer = self.house.run(self.house.anybody.post("/webhook", content=body, headers=header))
        assert answer.status_code == 200, answer.text
        if len(self.model.contracts) > known:  # paid first
            of = self.model.contracts[-1]
            path = f"/api/client/is-created/{self.jobs[of.job]}/{self.people[of.client].id}"
            self.contracts.append(self.get(of.client, path)["contract"]["_id"])
            self.house.seen["paid first"] += 1
        if self.model.suspense > parked:
            self.house.seen["quarantined" if event.amount else "parked"] += 1

    def fortnight(self) -> None:
        """Fifteen days pass: checkouts expire, admins need not be asked any more."""
        if self.house.fortnights == FORTNIGHTS_MAX:
            return
        self.house.fortnights += 1
        self.model.day += 15
        answer = self.house.run(
            self.house.anybody.post("/sandbox/clock", json={"advance_seconds": FORTNIGHT_SECONDS})
        )
        assert answer.status_code == 200
        while self.house.run(self.house.app.state.provider.expire_due()):
            pass
        self.hear()

    # -- the work -----------------------------------------------------------------------------

    @needs("contracts")
    def approve(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.approve(who, contract)
        path = f"/api/freelancer/contract/approve-contract/{self.contracts[contract]}"
        self.do(wanted, who, "POST", f"{path}/{self.people[who].id}")

    @needs("contracts")
    def update_status(self, who: str, contract: int, status: str) -> None:
        contract %= len(self.contracts)
        wanted = self.model.update_status(who, contract, status)
        path = f"/api/freelancer/contract/update-status/{self.contracts[contract]}"
        self.do(wanted, who, "PUT", path, {"status": status})

    @needs("contracts")
    def cancel(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.cancel(who, contract)
        path = f"/api/client/cancel-contract/{self.contracts[contract]}"
        self.do(wanted, who, "DELETE", path)

    @needs("contracts")
    def request_release(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.request_release(who, contract)
        path = f"/api/client/release-fund/{self.contracts[contract]}"
        self.do(wanted, who, "PATCH", path)

    @needs("contracts")
    def release(self, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.release(contract)
        path = f"/api/admin/escrow/release-fund/{self.contracts[contract]}"
        self.do(wanted, "Olga", "PUT", path)

    @needs("contracts")
    def refund(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.refund(who, contract)
        buyer = self.people[self.model.contracts[contract].client].id
        path = f"/api/admin/escrow/refund-client/{self.contracts[contract]}/{buyer}"
        self.do(wanted, who, "PUT", path, {"cancelReason": "late"})
        if wanted == 200 and who == "Olga":
            self.house.seen[f"refunded {self.model.contracts[contract].canceled_at}"] += 1

    @needs("sessions")
    def refund_parked(self, payment: int) -> None:
        payment %= len(self.sessions)
        wanted = self.model.refund_parked(payment)
        (row,) = self.house.fetch(PAYMENT, self.sessions[payment])
        path = f"/api/admin/escrow/refund-payment/{row['public_id']}"
        self.do(wanted, "Olga", "PUT", path)
        self.house.seen["parked refunded"] += wanted == 200

    # -- the natural way ----------------------------------------------------------------------

    def paid(self, job: int, whom: str) -> None:
        """A checkout, the payer pays, the event comes at once."""
        self.checkout(self.model.jobs[job].client, job, whom)
        if self.sessions:
            self.payer(len(self.sessions) - 1, "paid")
        if self.events:
            self.deliver(0, newest=True)

    def hire(self, job: int, whom: str, how: str) -> None:
        """What mostly happens, so that deep states are reached often: create and pay, or pay
        and create; and what rarely happens: somebody else is hired while the payment is under
        way, a wrong amount comes first, or the money comes when all is over."""
        job %= len(self.jobs)
        who = self.model.jobs[job].client
        self.apply(whom, job)
        if how in ("create", "late"):
            self.create(who, job, whom, right=True)
        elif how != "pay":
            self.checkout(who, job, whom)
        if how == "switch":
            other = FREELANCERS[whom == FREELANCERS[0]]
            self.apply(other, job)
            self.create(who, job, other, right=True)
        elif how == "wrong":
            self.deliver_wrong_amount(len(self.sessions) - 1, 777)
        elif how == "late":
            self.checkout(who, job, whom)
            self.cancel(who, len(self.contracts) - 1)
        self.paid(job, whom)

    @needs("contracts")
    def go_on(self, contract: int, steps: int, end: str) -> None:
        """The next steps on a contract's natural way, by whoever takes them; then perhaps
        one of them ends it, and it goes on from there."""
        contract %= len(self.contracts)
        for _ in range(steps):
            of = self.model.contracts[contract]
            match of.status, of.money:
                case _ if of.unclaimed:
                    self.create(of.client, of.job, of.freelancer, right=True)
                case "Pending", _:
                    self.approve(of.freelancer, contract)
                case "Started", "none":
                    self.paid(of.job, of.freelancer)
                case "Started", "held":
                    self.update_status(of.freelancer, contract, "Ongoing")
                case "Ongoing", _:
                    self.update_status(of.freelancer, contract, "Completed")
                case "Completed", "held":
                    self.request_release(of.client, contract)
                case "Completed", "requested":
                    self.release(contract)
        of = self.model.contracts[contract]
        if end == "Olga":
            self.refund(end, contract)
        elif end:
            self.cancel(of.client if end == "Client" else of.freelancer, contract)
            self.refund("Olga", contract)

    # -- the same again -----------------------------------------------------------------------

    @needs("sent")
    def repeat(self, sent: int, other: bool) -> None:
        """The same key again: the same answer and nothing more; for anything else, 422."""
        one = self.sent[-1 - sent % len(self.sent)]
        path = f"{one.path}?other=1" if other else one.path
        answer = self.send(one.who, one.method, path, one.body, one.key)
        if other:
            assert answer.status_code == 422, answer.text
        else:
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert (answer.status_code, answer.content) == (
                one.answer.status_code,
                one.answer.content,
            )

    # -- requests and what they must lead to --------------------------------------------------

    def request(self, name: str, method: str, path: str, body: Any = None) -> httpx.Response:
        who, key = self.people[name], f"key {next(self.house.number)}"
        answer = self.send(who, method, path, body, key)
        if answer.is_success:
            self.sent.append(Sent(who, method, path, body, key, answer))
        return answer

    def send(self, who: Caller, method: str, path: str, body: Any, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return self.house.run(who.request(method, path, json=body, headers=headers))

    def do(
        self, wanted: int, name: str, method: str, path: str, body: Any = None
    ) -> httpx.Response:
        """Send it; the answer must have the status that the model wants."""
        answer = self.request(name, method, path, body)
        assert answer.status_code == wanted, f"{wanted} wanted: {answer.text}"
        return answer

    def get(self, name: str, path: str) -> Any:
        answer = self.house.run(self.people[name].get(path))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def look(self) -> None:
        """Every contract, and every account of the people, is what the model says."""
        assert len(self.contracts) == len(self.model.contracts)
        for name in CLIENTS:
            path = f"/api/client/get-contracts/{self.people[name].id}"
            shown = {one["_id"]: one for one in self.get(name, path)["data"]}
            mine = [i for i, of in enumerate(self.model.contracts) if of.client == name]
            assert set(shown) == {self.contracts[i] for i in mine}
            for i in mine:
                _alike(shown[self.contracts[i]], self.model.contracts[i])
                self.house.seen[self.model.contracts[i].money] += 1
        keys = [key_of(PublicId(one)) for one in self.contracts]
        expected = {
            held("INR", key, 0): of.held for key, of in zip(keys, self.model.contracts, strict=True)
        }
        for name in CLIENTS + FREELANCERS:
            account = wallet("INR", key_of(PublicId(self.people[name].id)))
            expected[account] = self.model.wallets[name]
        rows = self.house.fetch(BALANCES, list(expected))
        assert {**dict.fromkeys(expected, 0), **dict(map(tuple, rows))} == expected

    def wallets_are_right(self) -> None:
        for name in CLIENTS + FREELANCERS:
            path = f"/api/freelancer/wallet/earnings/{self.people[name].id}"
            data = self.get(name, path)["data"]
            balance = 0 if data is None else data["balance"]
            assert round(balance * 100) == self.model.wallets[name]


def _alike(shown: dict[str, Any], of: Contract) -> None:
    assert (
        shown["status"],
        shown["escrowPaid"],
        shown["releaseFundStatus"],
        shown["canceledBy"],
        round(shown["amount"] * 100),
    ) == (of.status, of.paid, of.release_status, of.canceled_by, of.amount)
