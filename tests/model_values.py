"""What the model (tests/model.py) keeps: jobs, applications, contracts, payments, and events.

People are names; a job, a contract or a payment is known by its place in the model's list.
"""

from fractions import Fraction
from math import floor

import msgspec


def half_up(exact: Fraction) -> int:
    return floor(exact + Fraction(1, 2))


class Job(msgspec.Struct):
    client: str
    rate: int


class Application(msgspec.Struct):
    job: int
    freelancer: str
    withdrawn: bool = False


class Contract(msgspec.Struct):
    """`money`: none, held, requested, released, pending (a refund) or refunded."""

    job: int
    client: str
    freelancer: str
    amount: int
    status: str = "Pending"
    money: str = "none"
    canceled_by: str | None = None
    canceled_at: str = ""
    completed_day: int = 0
    refund_asked: bool = False
    unclaimed: bool = False

    @property
    def live(self) -> bool:
        return self.status != "Canceled"

    @property
    def paid(self) -> bool:
        return self.money != "none"

    @property
    def held(self) -> int:
        return self.amount if self.money in ("held", "requested", "pending") else 0

    @property
    def release_status(self) -> str:
        if self.money in ("released", "refunded"):
            return "Approved"
        return "Requested" if self.money == "requested" else "NotRequested"

    @property
    def fee(self) -> int:
        return half_up(Fraction(self.amount, 10))


class Payment(msgspec.Struct):
    """A checkout. `at_provider` is the payer's side of it, which we hear of by events only."""

    job: int
    client: str
    freelancer: str
    amount: int
    opened_day: int
    state: str = "open"
    at_provider: str = "open"
    contract: int | None = None
    quarantined: bool = False


class Event(msgspec.Struct, frozen=True):
    """What the provider says of a payment. `amount` is None where it is the right one."""

    id: str
    payment: int
    kind: str
    amount: int | None = None
