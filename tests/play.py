"""The whole cast at play: every step is a real request, and the model says what comes of it.

A **play** is one run: its public methods are the steps. Those that need an application, a
contract, a checkout or an event do nothing while there is none.
"""

import json
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

from earnest.providers import signature
from model_values import Event
from stage import CLIENTS, FREELANCERS, Sent, Stage

FORTNIGHT_SECONDS = 15 * 24 * 3600
FORTNIGHTS_MAX = 1_200  # the sandbox clock ends some day
EVENTS = "SELECT body FROM sandbox.outbox WHERE session_id = ANY($1) ORDER BY position"
PAYMENT = "SELECT public_id FROM payment WHERE session_id = $1"

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


def _another(rate: int) -> int:
    """A rate that is allowed, but not `rate`; 99,999,999 minor units are the most (D16)."""
    return rate - 1 if rate == 99_999_999 else rate + 1


class Play(Stage):
    """A stage, and what people do on it."""

    # -- hiring -------------------------------------------------------------------------------

    def apply(self, who: str, job: int) -> None:
        job %= len(self.jobs)
        wanted = self.model.apply(who, job)
        answer = self.do(wanted, who, "POST", f"/api/freelancer/jobs/apply-job/{self.jobs[job]}")
        if wanted == 201:
            self.applications.append(answer.json()["application"]["_id"])

    @needs("applications")
    def withdraw(self, who: str, application: int) -> None:
        application %= len(self.applications)
        wanted = self.model.withdraw(who, application)
        path = f"/api/freelancer/jobs/cancel-application/{self.applications[application]}"
        self.do(wanted, who, "DELETE", path)

    def change_rate(self, who: str, job: int, rate: int) -> None:
        job %= len(self.jobs)
        of = self.model.jobs[job]
        before = of.rate
        wanted = self.model.change_rate(who, job, rate)
        path = f"/api/client/job/update-job/{self.jobs[job]}"
        answer = self.do(wanted, who, "PUT", path, {"rate": rate / 100})
        if wanted == 200:
            assert round(answer.json()["job"]["rate"] * 100) == of.rate
            became = "as it was" if rate == before else "dropped" if of.rate == before else "new"
            self.house.seen[f"rate {became}"] += 1
        elif wanted == 409:
            self.house.seen[f"rate frozen, {self._paid_or_open(job)}"] += 1

    def _paid_or_open(self, job: int) -> str:
        states = {of.state for of in self.model.payments if of.job == job}
        return "paid" if "parked" in states else "open"

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
        wanted = self.model.checkout(who, job, whom)
        answer = self.do(
            wanted,
            who,
            "POST",
            f"/api/client/job/payment/{self.jobs[job]}",
            {"title": "x", "rate": 1, "freelancerId": self.people[whom].id},
        )
        if wanted != 200:
            return
        payment = self.model.waiting(job, whom)
        assert payment is not None
        session = answer.json()["id"]
        if len(self.model.payments) > known:
            assert session not in self.sessions
            self.sessions.append(session)
        assert session == self.sessions[self.model.payments.index(payment)]

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
    def release(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.release(who, contract)
        path = f"/api/admin/escrow/release-fund/{self.contracts[contract]}"
        self.do(wanted, who, "PUT", path)

    @needs("contracts")
    def refund(self, who: str, contract: int) -> None:
        contract %= len(self.contracts)
        wanted = self.model.refund(who, contract)
        buyer = self.people[self.model.contracts[contract].client].id
        path = f"/api/admin/escrow/refund-client/{self.contracts[contract]}/{buyer}"
        self.do(wanted, who, "PUT", path, {"cancelReason": "late"})
        of = self.model.contracts[contract]
        if wanted == 200 and of.money == "refunded":
            self.house.seen[f"refunded {of.canceled_at}"] += 1
        if who != "Olga" and who not in self.model.blocked:
            self.house.seen[f"refund, {self.model.refunds}: {wanted}"] += 1

    @needs("sessions")
    def refund_parked(self, who: str, payment: int, shut_out: bool) -> None:
        self._take(shut_out, who, self._refund_parked, who, payment % len(self.sessions))

    def _refund_parked(self, who: str, payment: int) -> None:
        wanted = self.model.refund_parked(who, payment)
        (row,) = self.house.fetch(PAYMENT, self.sessions[payment])
        path = f"/api/admin/escrow/refund-payment/{row['public_id']}"
        self.do(wanted, who, "PUT", path)
        self.house.seen["parked refunded"] += wanted == 200

    # -- the natural way ----------------------------------------------------------------------

    def paid(self, job: int, whom: str) -> None:
        """A checkout, the payer pays, the event comes at once."""
        self.checkout(self.model.jobs[job].client, job, whom)
        if self.sessions:
            self.payer(len(self.sessions) - 1, "paid")
        if self.events:
            self.deliver(0, newest=True)

    def hire(self, job: int, whom: str, how: str, shut_out: bool) -> None:
        """What mostly happens, so that deep states are reached often: create and pay, or pay
        and create; and what rarely happens: somebody else is hired while the payment is under
        way, the freelancer withdraws, a wrong amount comes first, or the money comes when all
        is over."""
        job %= len(self.jobs)
        of = self.model.jobs[job]
        take = partial(self._take, shut_out)
        take(whom, self.apply, whom, job)
        if how in ("create", "late"):
            take(of.client, self.create, of.client, job, whom, True)
        elif how != "pay":
            take(of.client, self.checkout, of.client, job, whom)
        if how == "switch":
            other = FREELANCERS[whom == FREELANCERS[0]]
            self.apply(other, job)
            self.create(of.client, job, other, right=True)
        elif how == "withdraw":
            for number, one in enumerate(self.model.applications):
                if one.job == job and not one.withdrawn:
                    take(one.freelancer, self.withdraw, one.freelancer, number)
            take(of.client, self.change_rate, of.client, job, _another(of.rate))
        elif how == "wrong":
            self.deliver_wrong_amount(len(self.sessions) - 1, 777)
        elif how == "late":
            self.checkout(of.client, job, whom)
            self.cancel(of.client, len(self.contracts) - 1)
        self.paid(job, whom)
        if how == "withdraw":
            take(of.client, self.change_rate, of.client, job, _another(of.rate))

    @needs("contracts")
    def go_on(self, contract: int, steps: int, end: str, shut_out: bool) -> None:
        """The next steps on the natural way of a contract that is under way, if one is, by
        whoever takes them; then perhaps one of them ends it, and it goes on from there."""
        known = list(enumerate(self.model.contracts))
        under_way = [one for one in known if one[1].live and one[1].money != "released"] or known
        contract, of = under_way[contract % len(under_way)]
        take = partial(self._take, shut_out)
        for _ in range(steps):
            natural = self._natural(contract)
            if natural and not (end and of.status == "Ongoing"):
                take(*natural)
        if end and not of.paid:
            self.paid(of.job, of.freelancer)
        if end in ("Client", "Freelancer"):
            party = of.client if end == "Client" else of.freelancer
            take(party, self.cancel, party, contract)
        if end in ("admin", "automatic"):
            self.set_refunds(end)
            self.refund(CLIENTS[of.client == CLIENTS[0]], contract)
            take(of.client, self.refund, of.client, contract)
        if end:
            take("Olga", self.refund, "Olga", contract)

    def _natural(self, contract: int) -> tuple[Any, ...] | None:
        """Who takes the next step on a contract's way, the step, and its arguments."""
        of = self.model.contracts[contract]
        seller, buyer = of.freelancer, of.client
        match of.status, of.money:
            case _ if of.unclaimed:
                return buyer, self.create, buyer, of.job, seller, True
            case "Pending", _:
                return seller, self.approve, seller, contract
            case "Started", "none":
                return buyer, self.paid, of.job, seller
            case "Started", "held":
                return seller, self.update_status, seller, contract, "Ongoing"
            case "Ongoing", _:
                return seller, self.update_status, seller, contract, "Completed"
            case "Completed", "held":
                return buyer, self.request_release, buyer, contract
            case "Completed", "requested":
                return "Olga", self.release, "Olga", contract
        return None

    def _take(self, shut_out: bool, who: str, step: Callable[..., None], *arguments: Any) -> None:
        """Let `who` take a step; in vain first, where an operator has `shut_out` them."""
        if shut_out:
            self.block(who)
            step(*arguments)
        self.unblock()
        step(*arguments)

    # -- the same again -----------------------------------------------------------------------

    @needs("sent")
    def repeat(self, sent: int, other: bool, shut_out: bool) -> None:
        """The same key again: the same answer and nothing more; for anything else, 422."""
        one = self.sent[-1 - sent % len(self.sent)]
        self._take(shut_out, one.who, self._repeat, one, other)

    def _repeat(self, one: Sent, other: bool) -> None:
        path = f"{one.path}?other=1" if other else one.path
        answer = self.send(one.who, one.method, path, one.body, one.key)
        if one.who in self.model.blocked:
            self.house.seen["repeat blocked"] += 1
        elif other:
            assert answer.status_code == 422, answer.text
        else:
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert (answer.status_code, answer.content) == (
                one.answer.status_code,
                one.answer.content,
            )
