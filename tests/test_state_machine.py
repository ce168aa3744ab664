"""Anything that people, admins, payers and the provider may do, in any order, against a model.

A schedule is a list of steps; each is a real request to the real application, and the model
(tests/model.py) says what the answer must be and what must then be true everywhere.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from canary import sound
from conftest import TestDatabase
from earnest.domain import verbs
from earnest.domain.contract import Shares, Terms, Work, cancellation_shares
from house import House
from play import CLIENTS, FREELANCERS, Play

STEPS_MIN, STEPS_MAX = 12, 30
PLACES = (
    *("none", "held", "requested", "released", "pending", "refunded"),
    *("refunded Pending", "refunded Started", "refunded Ongoing"),
    *("created", "paid first", "claimed", "parked", "parked refunded", "quarantined"),
)
"""Where a run must have been, or it would say less than it seems to."""

STATUSES = ("Pending", "Started", "Ongoing", "Completed", "Canceled")
client = st.sampled_from(CLIENTS)
freelancer = st.sampled_from(FREELANCERS)
index = st.integers(0, 11)

# What may be done and with what; and how often it is, against the others.
ACTIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "apply": (1, {"who": freelancer, "job": index}),
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
    "release": (1, {"contract": index}),
    "refund": (1, {"who": st.sampled_from([*CLIENTS, "Olga"]), "contract": index}),
    "refund_parked": (1, {"payment": index}),
    "hire": (
        6,
        {
            "job": index,
            "whom": freelancer,
            "how": st.sampled_from(["create", "pay", "switch", "wrong", "late"]),
        },
    ),
    "go_on": (
        10,
        {
            "contract": index,
            "steps": st.integers(1, 6),
            "end": st.sampled_from(["", "", "Client", "Freelancer", "Olga"]),
        },
    ),
    "repeat": (1, {"sent": index, "other": st.booleans()}),
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
    @given(schedules)
    def run(schedule: list[Step]) -> None:
        perform(house, schedule)

    run()
    assert set(PLACES) <= set(+house.seen)
    house.run(sound(house.database.superuser_dsn))


def test_its_canary_a_refund_that_ignores_how_far_the_work_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_if_new(terms: Terms, tranche: int, _: Work) -> Shares:
        return cancellation_shares(terms, tranche, Work.NOT_STARTED)

    monkeypatch.setattr(verbs, "cancellation_shares", as_if_new)

    @settings(phases=[Phase.generate], database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(schedules)
    def run(schedule: list[Step]) -> None:
        perform(house, schedule)

    with pytest.raises(AssertionError):
        run()
