"""What the marketplace should do, written from its specification and from nothing else.

A **model** keeps jobs, contracts, payments and wallets as plain values. Every method is one
request or one event: it says which HTTP status the answer must have and does what must then be
true. Amounts are paise; `day` is business time. D1 to D21 are the decisions of the spec.
"""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from typing import Concatenate, ParamSpec

import msgspec

from model_values import Application, Contract, Event, Job, Payment, half_up

PATIENCE_DAYS = 14  # D20
SELLERS_PART = {  # spec 3.4, of what is left after the fee
    "Pending": Fraction(0),
    "Started": Fraction(15, 100),
    "Ongoing": Fraction(40, 100),
}
PAYABLE = ("open", "processing")
TAKEN = ("captured", "parked", "refunded")
Arguments = ParamSpec("Arguments")
Method = Callable[Concatenate["Model", str, Arguments], int]


def request(method: Method[Arguments]) -> Method[Arguments]:
    """A request of `who`. A blocked caller gets 403 at once, and nothing changes (spec 1.1)."""

    @wraps(method)
    def ask(
        model: "Model", who: str, /, *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> int:
        if who in model.blocked:
            model.seen[f"{method.__name__} blocked"] += 1
            return 403
        status = method(model, who, *arguments, **named)
        model.seen[f"{method.__name__} {status}"] += 1
        return status

    return ask


class Model(msgspec.Struct):
    """`seen` counts the requests by their name and what came of them."""

    seen: Counter[str]
    jobs: list[Job] = []
    applications: list[Application] = []
    contracts: list[Contract] = []
    payments: list[Payment] = []
    wallets: Counter[str] = msgspec.field(default_factory=Counter)
    revenue: int = 0
    suspense: int = 0
    day: int = 0
    inbox: set[str] = msgspec.field(default_factory=set)
    blocked: set[str] = msgspec.field(default_factory=set)
    refunds: str = "admin"

    # -- looking ------------------------------------------------------------------------------

    def live(self, job: int) -> int | None:
        """The job's live contract."""
        found = [i for i, c in enumerate(self.contracts) if c.job == job and c.live]
        assert len(found) <= 1
        return found[0] if found else None

    def applied(self, job: int) -> set[str]:
        """Whose applications for the job are live."""
        return {a.freelancer for a in self.applications if a.job == job and not a.withdrawn}

    def waiting(self, job: int, freelancer: str) -> Payment | None:
        """The job's payment that can still be paid, or was and found no contract; one for this
        freelancer before any other."""
        found = [p for p in self.payments if p.job == job and p.state in (*PAYABLE, "parked")]
        found.sort(key=lambda p: (p.freelancer != freelancer, p.state == "parked"))
        return found[0] if found else None

    def is_over(self, payment: Payment) -> bool:
        """A checkout nobody paid in 24 hours."""
        return payment.at_provider in ("open", "expired") and self.day > payment.opened_day

    # -- hiring -------------------------------------------------------------------------------

    @request
    def apply(self, freelancer: str, job: int) -> int:
        if self.live(job) is not None:
            return 400
        if freelancer in self.applied(job):
            return 409
        self.applications.append(Application(job, freelancer))
        return 201

    @request
    def withdraw(self, freelancer: str, application: int) -> int:
        """A contract or a checkout that came of it stays; new ones need an application."""
        of = self.applications[application]
        if of.withdrawn:
            return 404
        if of.freelancer != freelancer:
            return 403
        of.withdrawn = True
        return 200

    @request
    def change_rate(self, client: str, job: int, rate: int) -> int:
        """Spec 4.2: dropped without a word once people rely on it, which are applicants, and
        the freelancer who was hired. D2: frozen while a session is open or paid, and open it is
        until we hear that it is over."""
        of = self.jobs[job]
        if of.client != client:
            return 403
        if self.applied(job) or self.live(job) is not None or rate == of.rate:
            return 200
        if any(p.job == job and p.state in (*PAYABLE, "parked") for p in self.payments):
            return 409
        of.rate = rate
        return 200

    @request
    def create(self, client: str, job: int, freelancer: str, amount: int) -> int:
        of, live = self.jobs[job], self.live(job)
        if of.client != client:
            return 403
        if live is not None:
            contract = self.contracts[live]
            mine = contract.unclaimed and contract.freelancer == freelancer
            if not mine or amount != contract.amount:
                return 400
            contract.unclaimed = False
            return 201
        if freelancer not in self.applied(job) or amount != of.rate:
            return 400
        payment = self.waiting(job, freelancer)
        self.contracts.append(Contract(job, client, freelancer, amount))
        if payment is not None and (payment.freelancer, payment.amount) == (freelancer, amount):
            if payment.state == "parked":  # D2: attached
                self.suspense -= payment.amount
                self._fund(len(self.contracts) - 1, payment)
            else:
                payment.contract = len(self.contracts) - 1
        return 201

    @request
    def checkout(self, client: str, job: int, freelancer: str) -> int:
        """With a session that belongs to the job's `waiting` payment, which may be a new one."""
        of, live = self.jobs[job], self.live(job)
        amount = of.rate
        if of.client != client:
            return 403
        if live is not None:
            contract = self.contracts[live]
            if contract.freelancer != freelancer:
                return 409 if contract.paid else 400
            if contract.paid:
                return 400
            amount = contract.amount
        elif any(c.job == job and c.freelancer == freelancer for c in self.contracts):
            return 400  # canceled: create a new contract first
        payment = self.waiting(job, freelancer)
        while payment is not None and payment.freelancer == freelancer and self._lapsed(payment):
            payment = self.waiting(job, freelancer)
        if payment is not None:
            if payment.freelancer != freelancer:
                return 409
            return 400 if payment.state == "parked" else 200
        if live is None and freelancer not in self.applied(job):
            return 400
        self.payments.append(Payment(job, client, freelancer, amount, self.day, contract=live))
        return 200

    def _lapsed(self, payment: Payment) -> bool:
        if payment.state in PAYABLE and self.is_over(payment):
            payment.state = "expired"
            return True
        return False

    # -- the provider -------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """A signed event; the answer is always 200."""
        if event.id in self.inbox:
            return
        self.inbox.add(event.id)
        payment = self.payments[event.payment]
        if event.kind != "paid":
            if payment.state in PAYABLE:
                payment.state = {"unpaid": "processing"}.get(event.kind, event.kind)
            return
        if payment.state in TAKEN:
            return
        if event.amount is not None:  # D14: not what we asked for
            if not payment.quarantined:
                self.suspense += event.amount
            payment.quarantined = True
            return
        contract = self._contract_for(payment)
        if contract is None:
            payment.state = "parked"
            self.suspense += payment.amount
        else:
            self._fund(contract, payment)

    def _contract_for(self, payment: Payment) -> int | None:
        live = self.live(payment.job)
        for found in (live, payment.contract):
            if found is None:
                continue
            contract = self.contracts[found]
            if contract.paid:
                continue
            if (contract.freelancer, contract.amount) == (payment.freelancer, payment.amount):
                return found
        if live is not None or payment.contract is not None:
            return None
        if payment.freelancer not in self.applied(payment.job):
            return None
        if payment.amount != self.jobs[payment.job].rate:
            return None
        self.contracts.append(
            Contract(
                payment.job, payment.client, payment.freelancer, payment.amount, unclaimed=True
            )
        )
        return len(self.contracts) - 1

    def _fund(self, contract: int, payment: Payment) -> None:
        of = self.contracts[contract]
        assert not of.paid
        of.money = "held" if of.live else "pending"
        payment.state, payment.contract = "captured", contract

    # -- the work -----------------------------------------------------------------------------

    @request
    def approve(self, freelancer: str, contract: int) -> int:
        of = self.contracts[contract]
        if of.freelancer != freelancer:
            return 403
        if of.status != "Pending":
            return 400
        of.status = "Started"
        return 200

    @request
    def update_status(self, freelancer: str, contract: int, wanted: str) -> int:
        of = self.contracts[contract]
        if of.freelancer != freelancer:
            return 403
        match of.status, wanted:
            case "Pending", "Started":
                return self.approve(freelancer, contract)
            case "Started", "Ongoing":
                if not of.paid:
                    return 400
            case "Ongoing", "Completed":
                of.completed_day = self.day
            case (("Pending" | "Started" | "Ongoing"), "Canceled"):
                return self.cancel(freelancer, contract)
            case _:
                return 400
        of.status = wanted
        return 200

    @request
    def cancel(self, who: str, contract: int) -> int:
        of = self.contracts[contract]
        if who not in (of.client, of.freelancer):
            return 403
        if of.status in ("Canceled", "Completed"):
            return 400
        self._cancel(of, "Client" if who == of.client else "Freelancer")
        return 200

    def _cancel(self, of: Contract, by: str) -> None:
        of.canceled_by, of.canceled_at, of.status = by, of.status, "Canceled"
        of.money = "pending" if of.money == "held" else of.money
        of.unclaimed = False

    # -- release and refund -------------------------------------------------------------------

    @request
    def request_release(self, client: str, contract: int) -> int:
        of = self.contracts[contract]
        if of.client != client:
            return 403
        if of.status != "Completed" or of.money != "held":
            return 400
        of.money = "requested"
        return 200

    @request
    def release(self, who: str, contract: int) -> int:
        if who != "Olga":
            return 403
        of = self.contracts[contract]
        if not of.paid:
            return 404
        waited = of.money == "held" and self.day >= of.completed_day + PATIENCE_DAYS
        if of.status != "Completed" or not (of.money == "requested" or waited):
            return 400
        of.money = "released"
        self.revenue += of.fee
        self.wallets[of.freelancer] += of.amount - of.fee
        return 200

    @request
    def refund(self, who: str, contract: int) -> int:
        """By the client a request (D6), by an admin ("Olga") the money (D7, D13); where refunds
        are automatic, by the client the money too."""
        moves_money = who == "Olga" or self.refunds == "automatic"
        of = self.contracts[contract]
        if who not in ("Olga", of.client):
            return 403
        if not of.paid:
            return 404 if of.live else 400
        if of.status == "Completed" or of.money == "refunded":
            return 400
        if not moves_money and of.refund_asked:
            return 400
        if of.live:
            self._cancel(of, "Client")
        if not moves_money:
            of.refund_asked = True
            return 200
        part = half_up((of.amount - of.fee) * SELLERS_PART[of.canceled_at])
        of.money = "refunded"
        self.revenue += of.fee
        self.wallets[of.freelancer] += part
        self.wallets[of.client] += of.amount - of.fee - part
        return 200

    @request
    def refund_parked(self, who: str, payment: int) -> int:
        if who != "Olga":
            return 403
        of = self.payments[payment]
        if of.state != "parked":
            return 400
        of.state = "refunded"
        self.suspense -= of.amount
        self.wallets[of.client] += of.amount
        return 200
