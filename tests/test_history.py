"""Do the events of a contract tell how it came to be as it is? In values alone: true stories are
believed, and each lie is named."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from chronicle import CANCELLED, CREATED, DONE, ONGOING, PAID, RELEASED, Steps, Story, story
from earnest.domain import hiring
from earnest.domain.audit import canonical
from earnest.domain.contract import Agreement, Dispute, Money, Work
from earnest.domain.history import Finding
from earnest.domain.party import SYSTEM
from earnest.domain.payment import PaymentState
from earnest.domain.refusals import AlreadyFunded, AlreadyRefunded, NotYourContract, WrongRole
from hired import hire, payment
from reachable import ALICE, BOB, NOW, OLGA, SHOP, Drawn

STORIES: dict[str, Steps] = {
    "created": CREATED,
    "paid": PAID,
    "ongoing": ONGOING,
    "released": RELEASED,
    "released without a request": (*DONE, ("approve release", OLGA)),
    "cancelled unpaid": (("cancel", ALICE),),
    "cancelled paid": CANCELLED,
    "paid after it was cancelled": (("cancel", BOB), ("fund", SYSTEM)),
    "refund asked for": (*PAID, ("approve", BOB), ("request refund", ALICE)),
    "refunded on request": (*CANCELLED, ("request refund", ALICE), ("approve refund", OLGA)),
    "refunded while live": (*ONGOING, ("approve refund", OLGA)),
}


# -- what is true ---------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES)
def test_a_true_story_is_believed(steps: Steps) -> None:
    true = story(*steps)
    assert (true.chain, true.steps) == (None, None)
    again = true.forged()
    assert again == true


@pytest.mark.parametrize("steps", [(), (("claim", ALICE),), (("cancel", BOB),)])
def test_a_contract_that_its_payment_made_is_believed(steps: Steps) -> None:
    true = story(*steps, paid_first=True)
    assert (true.chain, true.steps) == (None, None)


def test_a_contract_that_took_what_was_parked_is_believed() -> None:
    parked = payment(PaymentState.PARKED)
    change = hiring.create_contract(hire(payment=parked), SHOP, ALICE, NOW, Drawn().ids, 1_200_000)
    assert change.contract is not None
    true = Story(change.contract, list(change.events))
    assert (true.chain, true.steps) == (None, None)
    by_mallory = true.with_event(1, actor="client:3").forged()
    assert by_mallory.steps is not None
    assert by_mallory.steps.invariant == 10


# -- the chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected", "found"),
    [
        ({"event_seq": 3}, "event_seq 2", "3"),
        ({"commit_id": 99}, "commit_id {commit}", "99"),
        ({"version": 3}, "version (a commit each) 2", "3"),
        ({"updated_at": NOW}, "updated_at 2026-05-21 09:00:00+00:00", "2026-05-01 09:00:00+00:00"),
        ({"amount_minor": 1}, "amount 12000", "0.01"),
        ({"currency": "SAR"}, 'currency "INR"', '"SAR"'),
        ({"number": "CON1"}, 'number "{number}"', '"CON1"'),
        ({"buyer": 3}, "buyer 1", "3"),
        ({"seller": 4}, "seller 2", "4"),
        ({"job": 8}, "job 7", "8"),
    ],
)
def test_the_row_says_what_the_chain_says(
    changes: dict[str, Any], expected: str, found: str
) -> None:
    lie = story(*PAID).changed(**changes)
    true = story(*PAID).contract
    expected = expected.format(number=true.number, commit=true.commit_id)
    assert lie.chain == Finding(19, None, expected, found)


def test_the_head_on_the_row_is_the_chains() -> None:
    true = story(*PAID)
    head = true.contract.event_head
    assert true.changed(event_head=b"\x01").chain == Finding(
        19, None, f"event_head {head.hex()}", "01"
    )


def test_terms_are_what_was_agreed() -> None:
    true = story()
    terms = msgspec.structs.replace(true.contract.terms, title="Gold")
    found = true.changed(terms=terms).chain
    assert found is not None
    assert (found.invariant, found.event) == (19, None)
    assert found.expected == f"terms {msgspec.json.encode(true.contract.terms).decode()}"
    assert found.found == msgspec.json.encode(terms).decode()


def test_a_contract_without_events_has_no_history() -> None:
    true = story()
    assert Story(true.contract, []).chain == Finding(19, None, "an event for each step", "no event")


def test_every_event_is_where_it_was_and_says_what_it_said() -> None:
    true = story(*PAID)
    first, second = true.events
    assert true.with_event(1, seq=3).chain == Finding(19, second.key, "seq 2", "3")
    of = f"contract:{true.contract.public_id}"
    assert true.with_event(0, subject="contract:x").chain == Finding(
        19, first.key, f"subject {of}", "contract:x"
    )
    assert first.hash is not None
    assert true.with_event(0, hash=None).chain == Finding(
        19, first.key, f"hash {first.hash.hex()}", ""
    )
    assert true.with_event(0, hash=b"\x01").chain == Finding(
        19, first.key, f"hash {first.hash.hex()}", "01"
    )
    for lie in ({"type": "x"}, {"actor": "admin:5"}, {"body": "{}"}, {"recorded_at": NOW}):
        found = true.with_event(1, **lie).chain
        assert found is not None
        assert (found.invariant, found.event) == (19, second.key)
        assert found.expected.startswith("hash ")
    assert true.with_event(1, commit_id=first.commit_id).chain is not None


def test_no_event_is_older_than_the_one_before() -> None:
    true = story(*PAID)
    earlier = NOW - timedelta(microseconds=1)
    lie = true.with_event(1, recorded_at=earlier).forged().changed(updated_at=earlier)
    assert lie.chain == Finding(19, lie.events[1].key, f"recorded at {NOW} or later", f"{earlier}")
    same = true.with_event(1, recorded_at=NOW).forged().changed(updated_at=NOW)
    assert same.chain is None
    first = story().with_event(0, recorded_at=earlier).forged().changed(updated_at=earlier)
    assert first.chain is not None
    assert first.chain.expected == f"recorded at {NOW} or later"


def test_the_first_event_is_the_creation_and_names_everything() -> None:
    true = story(*PAID)
    other = true.with_event(0, type="contract.made").forged()
    assert other.chain == Finding(
        19, other.events[0].key, "type of the first event contract.created", "contract.made"
    )
    silent = true.with_event(0, body="{}").forged()
    assert silent.chain == Finding(19, None, "amount ", "12000")


@pytest.mark.parametrize("body", ["", "[]", '{"amount":12000', "{}"])
def test_a_first_event_that_cannot_be_read_is_a_finding(body: str) -> None:
    true = story()
    said = msgspec.json.decode(true.events[0].body)
    del said["terms"]
    lie = true.with_event(0, body=body if body != "{}" else canonical(said)).forged()
    found = lie.chain
    assert found is not None
    assert (found.invariant, found.event) == (19, None)
    assert found.expected == "a first event that can be read"
    assert found.found


def test_a_creation_without_terms_says_what_of_them_is_missing() -> None:
    true = story()
    said = msgspec.json.decode(true.events[0].body)
    lie = true.with_event(0, body=canonical(said | {"terms": {}})).forged()
    why = "Object missing required field `title`"
    assert lie.chain == Finding(19, None, "a first event that can be read", why)


# -- the steps ------------------------------------------------------------------------------------

FACTS: list[tuple[dict[str, Any], str, str]] = [
    ({"agreement": Agreement.CANCELLED}, "agreement accepted", "cancelled"),
    ({"work": Work.STARTED}, "work ongoing", "started"),
    ({"dispute": Dispute.OPEN}, "dispute none", "open"),
    ({"tranches": (Money.RELEASED,)}, "tranches held", "released"),
    ({"cancelled_by": "Client"}, "cancelled_by None", "Client"),
    ({"cancelled_work": Work.STARTED}, "cancelled_work None", "started"),
    ({"unclaimed": True}, "unclaimed False", "True"),
    ({"charged_back": True}, "charged_back False", "True"),
    ({"settled_at": NOW}, "settled_at not set", "the contrary"),
    ({"completed_at": NOW}, "completed_at not set", "the contrary"),
    ({"cancelled_at": NOW}, "cancelled_at not set", "the contrary"),
    ({"refund_requested_at": NOW}, "refund_requested_at not set", "the contrary"),
    ({"funded_at": None}, "funded_at set", "the contrary"),
    ({"started_at": None}, "started_at set", "the contrary"),
    ({"ongoing_at": None}, "ongoing_at set", "the contrary"),
]


@pytest.mark.parametrize(
    ("changes", "expected", "found"), FACTS, ids=[str(row[1]) for row in FACTS]
)
def test_the_row_is_where_the_steps_lead(
    changes: dict[str, Any], expected: str, found: str
) -> None:
    assert story(*ONGOING).changed(**changes).steps == Finding(10, None, expected, found)


def test_a_step_that_was_skipped_is_missed_by_the_next() -> None:
    lie = story(*ONGOING).without("contract.approved").forged()
    found = lie.steps
    assert found is not None
    assert (found.invariant, found.expected) == (10, "work before not_started")
    lie = story(*RELEASED).without("payment.completed").forged()
    found = lie.steps
    assert found is not None
    assert (found.invariant, found.event) == (10, lie.events[2].key)
    assert found.expected == "a step that freelancer may take here"
    assert found.found.startswith("contract.work_updated by freelancer:2: ")


def test_a_release_or_refund_that_nobody_could_have_granted_breaks_the_rule_of_approval() -> None:
    unfinished = story(*RELEASED)
    events = [event for event in unfinished.events if "completed" not in event.body]
    events = [event for event in events if event.type != "release.requested"]
    found = Story(unfinished.contract, events).forged().steps
    assert found is not None
    assert (found.invariant, found.expected) == (11, "a step that admin may take here")
    assert found.found.startswith("contract.released by admin:5: ")
    true = story(*STORIES["refunded on request"])
    twice = Story(true.contract, [*true.events, true.events[-1]]).forged()
    assert twice.steps == Finding(
        *(11, twice.events[-1].key, "a step that admin may take here"),
        f"contract.refunded by admin:5: {AlreadyRefunded().message}",
    )


STRANGERS: list[tuple[str, Steps, int, str, int, str]] = [
    ("approved", ONGOING, 2, "freelancer:4", 10, "a step that freelancer or partner may take here"),
    ("funded", PAID, 1, "client:3", 10, "a step that system may take here"),
    ("worked on", ONGOING, 3, "freelancer:4", 10, "a step that freelancer may take here"),
    ("asked for", (*DONE, ("request release", ALICE)), 5, "client:3", 10,
     "a step that client may take here"),
    ("released", RELEASED, 6, "client:1", 11, "a step that admin may take here"),
    ("refunded", STORIES["refunded on request"], 5, "client:3", 11,
     "a step that client may take here"),
    ("refund asked for", STORIES["refund asked for"], 4, "client:3", 10,
     "a step that client may take here"),
    ("cancelled", CANCELLED, 3, "client:3", 10,
     "a step that client or freelancer or partner may take here"),
    ("cancelled by an admin", CANCELLED, 3, "admin:5", 10,
     "a step that client or freelancer or partner may take here"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "index", "actor", "invariant", "expected"),
    [row[1:] for row in STRANGERS],
    ids=[row[0] for row in STRANGERS],
)
def test_a_step_by_somebody_else_is_named(
    steps: Steps, index: int, actor: str, invariant: int, expected: str
) -> None:
    lie = story(*steps).with_event(index, actor=actor).forged()
    found = lie.steps
    assert found is not None
    assert (found.invariant, found.event, found.expected) == (
        invariant,
        lie.events[index].key,
        expected,
    )
    why = {NotYourContract().message, WrongRole().message}
    assert found.found in {f"{lie.events[index].type} by {actor}: {one}" for one in why}


def test_an_admin_cancels_only_in_the_commit_that_refunds() -> None:
    true = story(*STORIES["refunded while live"])
    assert [event.type for event in true.events][-2:] == ["contract.cancelled", "contract.refunded"]
    apart = true.with_event(-1, commit_id=999).forged()
    assert apart.steps is not None
    assert apart.steps.found.startswith("contract.cancelled by admin:5: ")


def test_only_the_client_takes_what_was_parked() -> None:
    true = story(*PAID)
    for actor in ("partner:1", "freelancer:1"):
        lie = true.with_event(1, actor=actor).forged()
        assert lie.steps is not None
        assert lie.steps.expected == "a step that system may take here"


def test_in_the_commit_of_a_refund_only_its_admin_cancels() -> None:
    true = story(*STORIES["refunded while live"])
    lie = true.with_event(-2, actor="client:3").forged()
    assert lie.steps is not None
    assert lie.steps.found.startswith("contract.cancelled by client:3: ")


def test_in_the_commit_of_a_refund_an_admin_takes_no_other_step() -> None:
    true = story(*PAID, ("approve", BOB), ("approve refund", OLGA))
    granted = true.events[-1].commit_id
    lie = true.with_event(2, actor="admin:5", commit_id=granted).forged()
    assert lie.steps is not None
    assert lie.steps.expected == "a step that freelancer or partner may take here"


def test_whoever_cancels_is_named_by_a_word() -> None:
    true = story(("cancel", ALICE))
    body = msgspec.json.decode(true.events[1].body) | {"by": 5}
    lie = true.with_event(1, body=canonical(body)).forged()
    assert lie.steps is not None
    assert lie.steps.expected == "events that can be read"


def test_a_request_changes_the_state_before_a_release_does() -> None:
    true = story(*DONE, ("request release", ALICE))
    assert true.changed(tranches=(Money.HELD,)).steps == Finding(
        10, None, "tranches release_requested", "held"
    )


def test_work_is_completed_by_whoever_completes_it_at_the_right_time() -> None:
    true = story(*DONE)
    lie = Story(true.contract, true.events[:2] + true.events[3:]).forged()
    assert lie.steps is not None
    assert (lie.steps.invariant, lie.steps.event) == (10, lie.events[2].key)
    by_alice = true.with_event(4, actor="client:1").forged()
    assert by_alice.steps is not None
    assert by_alice.steps.expected == "a step that freelancer may take here"


def test_a_second_funding_by_the_client_is_no_step_of_the_table() -> None:
    true = story(*PAID)
    twice = Story(true.contract, [*true.events, true.events[1]])
    twice = twice.with_event(1, actor="client:1").with_event(2, actor="client:1").forged()
    found = twice.steps
    assert found is not None
    assert (found.invariant, found.expected) == (10, "a step of the table")
    assert found.found == f"payment.completed: {AlreadyFunded().message}"


@pytest.mark.parametrize("actor", ["client:3", "freelancer:1", "admin:5", "partner:1", "system:1"])
def test_a_contract_is_made_by_its_client_or_by_a_payment(actor: str) -> None:
    lie = story().with_event(0, actor=actor).forged()
    assert lie.steps == Finding(
        10, lie.events[0].key, "a creation by the client or a payment", actor
    )


def test_there_is_one_creation() -> None:
    true = story()
    twice = Story(true.contract, [true.events[0], true.events[0]]).forged()
    assert twice.steps == Finding(10, twice.events[1].key, "one creation", "another one, event 2")


def test_an_event_of_an_unknown_type_is_no_step() -> None:
    lie = story(*PAID).with_event(1, type="payment.imagined").forged()
    assert lie.steps == Finding(10, lie.events[1].key, "a known type of event", "payment.imagined")


@pytest.mark.parametrize(
    ("body", "invariant_10_expects", "found"),
    [
        ({"from": "completed", "to": "ongoing"}, "work before started", "completed"),
        ({"from": "started", "to": "started"}, "work after completed", "started"),
        ({"from": "started", "to": "asleep"}, "events that can be read", "ValueError: 'asleep' is"),
        ({"to": "ongoing"}, "events that can be read", "KeyError: "),
        ({"from": 1, "to": "ongoing"}, "events that can be read", "ValidationError: "),
    ],
)
def test_work_goes_on_from_where_it_was(
    body: dict[str, Any], invariant_10_expects: str, found: str
) -> None:
    lie = story(*ONGOING).with_event(3, body=canonical(body)).forged()
    finding = lie.steps
    assert finding is not None
    assert (finding.invariant, finding.expected) == (10, invariant_10_expects)
    assert finding.found.startswith(found)


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        ("nobody:1", "'nobody' is not a valid Role"),
        ("client", "invalid literal for int() with base 10: ''"),
        ("client:x", "invalid literal for int() with base 10: 'x'"),
        ("", "'' is not a valid Role"),
    ],
)
def test_an_actor_that_cannot_be_read_is_a_finding(actor: str, why: str) -> None:
    found = story().with_event(0, actor=actor).forged().steps
    assert found == Finding(10, None, "events that can be read", f"ValueError: {why}")
