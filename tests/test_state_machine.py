"""Anything that people, admins, payers and the provider may do, in any order, against a model.

A schedule is a list of steps; each is a real request to the real application, and the model
(tests/model.py) says what the answer must be and what must then be true everywhere.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from canary import sound
from conftest import TestDatabase
from earnest.actions import core
from earnest.domain import verbs
from earnest.domain.change import Change
from earnest.domain.contract import Contract, Shares, Terms, Work, cancellation_shares
from earnest.domain.party import Actor
from earnest.domain.verbs import approve_refund
from earnest.store import applications, jobs
from house import House
from play import Play
from stage import CLIENTS, FREELANCERS

STEPS_MIN, STEPS_MAX = 10, 25
PLACES = (
    *("none", "held", "requested", "released", "pending", "refunded"),
    *("refunded Pending", "refunded Started", "refunded Ongoing"),
    *("created", "paid first", "claimed", "parked", "parked refunded", "quarantined"),
    *("withdraw 200", "withdraw 403", "withdraw 404"),
    *("rate new", "rate dropped", "rate frozen, open", "rate frozen, paid", "change_rate 403"),
    *("refund, admin: 200", "refund, admin: 400", "refund, admin: 403"),
    *("refund, automatic: 200", "refund, automatic: 400", "refund, automatic: 403"),
)
"""Where a run must have been, or it would say less than it seems to."""

BLOCKED = (
    *("apply", "withdraw", "change_rate", "create", "checkout", "approve", "update_status"),
    *("cancel", "request_release", "release", "refund", "refund_parked", "repeat"),
)
"""What somebody who is blocked must have tried in vain, and somebody who is not with success."""

STATUSES = ("Pending", "Started", "Ongoing", "Completed", "Canceled")
client = st.sampled_from(CLIENTS)
freelancer = st.sampled_from(FREELANCERS)
index = st.integers(0, 11)
shut_out = st.sampled_from([False, False, False, True])
rate = st.sampled_from([1, 9_999, 1_200_000, 99_999_999])
admin = st.sampled_from(["Olga", "Olga", "Olga", "Alice", "Bob"])

# What may be done and with what; and how often it is, against the others.
ACTIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "apply": (1, {"who": freelancer, "job": index}),
    "withdraw": (2, {"who": freelancer, "application": index}),
    "change_rate": (2, {"who": client, "job": index, "rate": rate}),
    "create": (
        2,
        {
            "who": client,
            "job": index,
            "whom": freelancer,
            "right": st.sampled_from([True, True, False]),
        },
    ),
    "checkout": (2, {"who": client, "job": index, "whom": freelancer}),
    "payer": (
        2,
        {"payment": index, "outcome": st.sampled_from(["paid", "paid", "unpaid", "failed"])},
    ),
    "deliver": (3, {"event": index, "newest": st.booleans()}),
    "deliver_wrong_amount": (
        2,
        {"payment": index, "amount": st.sampled_from([1, 777, 5_000_001])},
    ),
    "fortnight": (1, {}),
    "approve": (1, {"who": freelancer, "contract": index}),
    "update_status": (
        2,
        {"who": freelancer, "contract": index, "status": st.sampled_from(STATUSES)},
    ),
    "cancel": (1, {"who": st.sampled_from(CLIENTS + FREELANCERS), "contract": index}),
    "request_release": (1, {"who": client, "contract": index}),
    "release": (1, {"who": admin, "contract": index}),
    "refund": (1, {"who": st.sampled_from([*CLIENTS, "Olga"]), "contract": index}),
    "refund_parked": (1, {"who": admin, "payment": index, "shut_out": shut_out}),
    "hire": (
        6,
        {
            "job": index,
            "whom": freelancer,
            "how": st.sampled_from(["create", "pay", "switch", "withdraw", "wrong", "late"]),
            "shut_out": shut_out,
        },
    ),
    "go_on": (
        10,
        {
            "contract": index,
            "steps": st.sampled_from([1, 2, 2, 3, 3, 4, 5, 6]),
            "end": st.sampled_from(
                ["", "", "Client", "Freelancer", "Olga", "admin", "admin", "automatic"]
            ),
            "shut_out": shut_out,
        },
    ),
    "block": (1, {"who": st.sampled_from([*CLIENTS, *FREELANCERS, "Olga"])}),
    "unblock": (1, {}),
    "set_refunds": (2, {"approval": st.sampled_from(["admin", "automatic"])}),
    "repeat": (1, {"sent": index, "other": st.booleans(), "shut_out": shut_out}),
}
Step = tuple[str, dict[str, Any]]
step = st.one_of(
    [
        st.tuples(st.just(name), st.fixed_dictionaries(arguments))
        for name, (weight, arguments) in ACTIONS.items()
        for _ in range(weight)
    ]
)
schedules = st.lists(step, min_size=STEPS_MIN, max_size=STEPS_MAX)


def hire(job: int, whom: str, how: str, shut_out: bool = False) -> Step:
    return "hire", {"job": job, "whom": whom, "how": how, "shut_out": shut_out}


def go_on(steps: int, end: str = "", shut_out: bool = False) -> Step:
    return "go_on", {"contract": 0, "steps": steps, "end": end, "shut_out": shut_out}


# What luck alone would reach too seldom: each of PLACES and BLOCKED that needs many right steps.
STORY: list[Step] = [
    hire(0, "Bob", "create", shut_out=True),
    go_on(4, shut_out=True),
    go_on(1, shut_out=True),
    hire(1, "Bob", "withdraw", shut_out=True),
    ("withdraw", {"who": "Mallet", "application": 0}),
    ("withdraw", {"who": "Bob", "application": 1}),
    ("change_rate", {"who": "Mallory", "job": 1, "rate": 9_999}),
    ("refund_parked", {"who": "Olga", "payment": 1, "shut_out": True}),
    ("change_rate", {"who": "Alice", "job": 1, "rate": 1_200_000}),
    hire(1, "Bob", "create"),
    ("change_rate", {"who": "Alice", "job": 1, "rate": 9_999}),
    go_on(0, "Client", shut_out=True),
    hire(1, "Mallet", "pay"),
    go_on(2, "admin", shut_out=True),
    ("refund", {"who": "Alice", "contract": 2}),
    hire(2, "Mallet", "create"),
    go_on(2, "automatic", shut_out=True),
    ("refund", {"who": "Mallory", "contract": 3}),
    ("repeat", {"sent": 0, "other": False, "shut_out": True}),
    hire(2, "Bob", "wrong"),
    hire(1, "Bob", "late"),
    ("create", {"who": "Alice", "job": 1, "whom": "Mallet", "right": True}),
]


@pytest.fixture
def house(database: TestDatabase) -> Iterator[House]:
    opened = House(database)
    yield opened
    opened.close()


def perform(house: House, schedule: list[Step]) -> None:
    play = Play(house)
    try:
        play.begin()
        for name, arguments in schedule:
            getattr(play, name)(**arguments)
            play.look()
        play.end()
    finally:
        play.leave()


@pytest.mark.timeout(3_600)
def test_it_does_what_the_model_says_whatever_people_do(house: House) -> None:
    @settings(suppress_health_check=[HealthCheck.too_slow])
    @example(STORY)
    @given(schedules)
    def run(schedule: list[Step]) -> None:
        perform(house, schedule)

    run()
    assert set(PLACES) <= set(+house.seen)
    assert {f"{request} blocked" for request in BLOCKED} <= set(+house.seen)
    house.run(sound(house.database.superuser_dsn))


# -- canaries: every one of these defects must be found ----------------------------------------


def as_if_new(terms: Terms, tranche: int, _: Work) -> Shares:
    return cancellation_shares(terms, tranche, Work.NOT_STARTED)


def always_asks(contract: Contract, actor: Actor, *rest: Any, **why: Any) -> Change:
    if why.pop("by_policy"):
        return verbs.request_refund(contract, actor, *rest, **why)
    return approve_refund(contract, actor, *rest, **why)


CANARIES = {
    "a refund that ignores how far the work was": (verbs, "cancellation_shares", as_if_new),
    "a refund that always waits for an admin": (verbs, "approve_refund", always_asks),
    "a blocked party who carries on": (core, "require_active", lambda _: None),
    "an application that cannot be withdrawn": (
        applications,
        "WITHDRAW",
        "SELECT $1::bigint, $2::text, $3::bigint",
    ),
    "a rate that changes under a checkout": (jobs, "HAS_OPEN_PAYMENT", "SELECT $1::bigint < 0"),
}


@pytest.mark.parametrize("defect", CANARIES)
def test_it_finds(house: House, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    monkeypatch.setattr(*CANARIES[defect])

    @settings(phases=[Phase.generate], database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(schedules)
    def run(schedule: list[Step]) -> None:
        perform(house, schedule)

    with pytest.raises(AssertionError):
        run()
