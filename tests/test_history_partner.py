"""Do the events of a partner's contract tell how it came to be? In values alone."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chronicle import Story
from earnest.domain.audit import canonical
from earnest.domain.contract import Money
from earnest.domain.history import Finding
from earnest.domain.partner_history import Step, step
from earnest.domain.party import Role
from earnest.domain.payment import CaptureKind
from earnest.domain.refund import Part
from till import Till, a_business


def delivered(till: Till) -> None:
    till.fund()
    assert till.act("approve") == till.act("deliver") == "ok"


def released(till: Till) -> None:
    delivered(till)
    assert till.act("receive") == till.act("release") == "ok"


def disputed(till: Till) -> None:
    delivered(till)
    assert till.act("dispute") == till.act("resolve dispute") == "ok"


def rejected(till: Till) -> None:
    assert till.act("reject") == "ok"


def cancelled(till: Till) -> None:
    assert till.act("cancel", by="seller") == "ok"


def refunded(till: Till) -> None:
    till.fund()
    assert till.act("refund", milestone=0) == "ok"
    assert till.settle() == 1


def partly_refunded(till: Till) -> None:
    till.fund()
    assert till.act("refund", milestone=1, amount=10_000) == "ok"
    assert till.settle() == 1
    assert till.act("release", milestone=0) == "ok"


def cancelled_paid(till: Till) -> None:
    till.fund()
    assert till.act("cancel") == "ok"
    assert till.settle() == 1


def paid_too_late(till: Till) -> None:
    cancelled(till)
    till.fund()
    assert till.settle() == 1


def declined(till: Till) -> None:
    till.fund()
    assert till.act("refund", milestone=0) == "ok"
    till.rule("decline")


def cancelled_for_nothing(till: Till) -> None:
    """Her policy leaves everything to the seller."""
    till.fund()
    assert till.act("cancel") == "ok"
    assert till.contract.settled


def waited_for(till: Till) -> None:
    till.hear(CaptureKind.PROCESSING)


def paid_by_bank(till: Till) -> None:
    waited_for(till)
    till.fund()


def failed(till: Till) -> None:
    waited_for(till)
    till.hear(CaptureKind.FAILED)


def expired(till: Till) -> None:
    waited_for(till)
    till.hear(CaptureKind.EXPIRED)


def tell(happened: Callable[[Till], None], **settings: Any) -> Story:
    """Two milestones of 600.00 and 400.00, and what happened to them."""
    till = Till.open(a_business(**settings), (60_000, 40_000))
    happened(till)
    return Story(till.contract, till.events)


def index_of(story: Story, type_: str) -> int:
    return [event.type for event in story.events].index(type_)


def saying(story: Story, type_: str, **said: Any) -> Story:
    """One event says something else, and the chain is made right again."""
    index = index_of(story, type_)
    body = msgspec.json.decode(story.events[index].body) | said
    return story.with_event(index, body=canonical(body)).forged()


ALL_TO_SELLER = {"cancellation_not_started_bps": 10_000}
TRUE: list[tuple[Callable[[Till], None], dict[str, Any]]] = [
    (delivered, {}),
    (released, {}),
    (disputed, {}),
    (rejected, {}),
    (cancelled, {}),
    (refunded, {}),
    (partly_refunded, {}),
    (cancelled_paid, {}),
    (paid_too_late, {}),
    (declined, {"refund_approval": "admin"}),
    (cancelled_for_nothing, ALL_TO_SELLER),
    (waited_for, {}),
    (failed, {}),
    (expired, {}),
    (paid_by_bank, {}),
]


@pytest.mark.parametrize(("happened", "settings"), TRUE, ids=[row[0].__name__ for row in TRUE])
def test_a_true_story_is_believed(
    happened: Callable[[Till], None], settings: dict[str, Any]
) -> None:
    true = tell(happened, **settings)
    assert (true.chain, true.steps) == (None, None)


@pytest.mark.parametrize("actor", ["partner:8", "client:7", "system:0"])
def test_it_is_made_by_its_partner(actor: str) -> None:
    lie = tell(delivered).with_event(0, actor=actor).forged()
    assert lie.steps == Finding(10, lie.events[0].key, "a creation by the partner", actor)


@pytest.mark.parametrize(
    ("happened", "type_", "invariant", "expected"),
    [
        (delivered, "contract.delivered", 10, "a step of deliver"),
        (rejected, "contract.rejected", 10, "a step of reject"),
        (disputed, "contract.disputed", 10, "a step of dispute"),
        (disputed, "dispute.resolved", 10, "a step of resolve dispute"),
        (released, "contract.received", 10, "a step of receive"),
        (released, "contract.released", 11, "a step of release"),
        (refunded, "refund.full-initiated", 11, "a step of refund"),
        (partly_refunded, "refund.partial-initiated", 11, "a step of refund"),
        (cancelled, "contract.cancelled", 10, "a step of cancel"),
    ],
)
def test_another_partner_takes_none_of_its_steps(
    happened: Callable[[Till], None], type_: str, invariant: int, expected: str
) -> None:
    true = tell(happened)
    index = index_of(true, type_)
    lie = true.with_event(index, actor="partner:8").forged()
    found = f"{type_} by partner:8: This contract is not yours."
    assert lie.steps == Finding(invariant, lie.events[index].key, expected, found)


@pytest.mark.parametrize(
    ("happened", "type_", "by"),
    [
        (released, "contract.completed", "partner or system"),
        (refunded, "refund.full-succeeded", "system"),
        (refunded, "contract.refunded", "system"),
        (cancelled_paid, "refund.full-initiated", "partner"),
        (paid_too_late, "refund.full-initiated", "system"),
    ],
)
def test_an_admin_takes_none_of_the_steps_that_the_system_takes(
    happened: Callable[[Till], None], type_: str, by: str
) -> None:
    true = tell(happened)
    index = index_of(true, type_)
    lie = true.with_event(index, actor="admin:5").forged()
    expected, found = f"a step that {by} may take here", f"{type_} by admin:5"
    assert lie.steps == Finding(10, lie.events[index].key, expected, found)


def test_only_who_cancels_settles_a_cancellation_that_leaves_the_buyer_nothing() -> None:
    true = tell(cancelled_for_nothing, **ALL_TO_SELLER)
    lie = true.with_event(-1, actor="system:0").forged()
    expected, found = "a step that partner may take here", "contract.refunded by system:0"
    assert lie.steps == Finding(10, lie.events[-1].key, expected, found)


@pytest.mark.parametrize(
    ("kind", "buyers_minor", "by"),
    [
        ("cancellation", (0, 0), "partner"),
        ("cancellation", (0, 1), "system"),
        ("cancellation", (1, 1), "system"),
        ("full", (0, 0), "system"),
        ("late", (0, 0), "system"),
    ],
)
def test_only_a_cancellation_without_anything_for_the_buyer_asks_no_provider(
    kind: str, buyers_minor: tuple[int, ...], by: str
) -> None:
    true = tell(cancelled_for_nothing, **ALL_TO_SELLER)
    parts = [Part(index, minor, 0, ()) for index, minor in enumerate(buyers_minor)]
    body = canonical({"kind": kind, "parts": msgspec.to_builtins(parts)})
    told = step(true.contract, msgspec.structs.replace(true.events[-1], body=body))
    assert told is not None
    assert (told.verb, told.tranches, sorted(told.by)) == (None, (0, 1), [by])
    assert sorted(told.states) == (["held"] if by == "partner" else ["refund_pending"])


def test_money_that_came_too_late_is_on_its_way_back_when_it_is_told() -> None:
    true = tell(paid_too_late)
    (event,) = (one for one in true.events if one.type == "refund.full-initiated")
    told = step(true.contract, event)
    pending = (Money.REFUND_PENDING, Money.REFUND_PENDING)
    assert told == Step(
        effect={"tranches": pending},
        verb=None,
        tranches=(0, 1),
        by=frozenset({Role.SYSTEM}),
        states=frozenset({Money.REFUND_PENDING}),
        says={"amount": true.contract.major(true.contract.charge_minor), "seller": 0},
    )


def test_a_refund_succeeds_after_it_was_begun() -> None:
    early = tell(refunded).without("refund.full-initiated").forged()
    index = index_of(early, "refund.full-succeeded")
    assert early.steps == Finding(10, early.events[index].key, "tranche 0 refund_pending", "held")


def test_only_an_admin_declines_a_refund() -> None:
    true = tell(declined, refund_approval="admin")
    index = index_of(true, "refund.declined")
    lie = true.with_event(index, actor="system:0").forged()
    expected, found = "a step that admin may take here", "refund.declined by system:0"
    assert lie.steps == Finding(10, lie.events[index].key, expected, found)


def test_a_step_is_about_some_tranche() -> None:
    lie = saying(tell(declined, refund_approval="admin"), "refund.declined", tranches=[])
    index = index_of(lie, "refund.declined")
    expected, found = "a step that admin may take here", "refund.declined by admin:5"
    assert lie.steps == Finding(10, lie.events[index].key, expected, found)


def test_a_step_is_about_tranches_that_are_where_it_takes_them_from() -> None:
    lie = saying(tell(declined, refund_approval="admin"), "refund.declined", tranches=[0, 1])
    index = index_of(lie, "refund.declined")
    expected = "tranche 1 refund_pending"
    assert lie.steps == Finding(10, lie.events[index].key, expected, "held")
    early = tell(released)
    early = early.without("contract.released").forged()
    index = index_of(early, "contract.completed")
    expected = "tranche 0 refunded or released or split"
    assert early.steps == Finding(10, early.events[index].key, expected, "held")


@pytest.mark.parametrize(
    ("happened", "type_", "name", "right"),
    [
        (released, "contract.released", "amount", "1000"),
        (released, "contract.released", "seller", "1000"),
        (released, "contract.released", "charge", "1143.75"),
        (refunded, "refund.full-initiated", "amount", "600"),
        (refunded, "refund.full-succeeded", "seller", "0"),
        (refunded, "contract.refunded", "amount", "600"),
    ],
)
def test_what_is_told_of_money_is_what_was_posted(
    happened: Callable[[Till], None], type_: str, name: str, right: str
) -> None:
    true = tell(happened)
    index = index_of(true, type_)
    key = true.events[index].key
    assert saying(true, type_, **{name: 1}).steps == Finding(11, key, f"{name} {right}", "1")
    body = msgspec.json.decode(true.events[index].body)
    del body[name]
    silent = true.with_event(index, body=canonical(body)).forged()
    assert silent.steps == Finding(11, key, f"{name} {right}", "nothing")


def test_who_does_not_say_for_whom_it_ends_ends_it_for_nobody() -> None:
    true = tell(cancelled)
    index = index_of(true, "contract.cancelled")
    body = msgspec.json.decode(true.events[index].body)
    del body["by"]
    silent = true.with_event(index, body=canonical(body)).forged()
    assert silent.steps == Finding(10, None, "cancelled_by ", "seller")


@pytest.mark.parametrize(
    ("type_", "milestone"),
    [("contract.released", 0), ("refund.partial-initiated", 1), ("contract.refunded", 1)],
)
def test_who_names_a_milestone_names_the_one_that_the_money_left(
    type_: str, milestone: int
) -> None:
    true = tell(partly_refunded)
    key = true.events[index_of(true, type_)].key
    right = true.contract.terms.milestones[milestone].id
    assert saying(true, type_, milestone=5).steps == Finding(11, key, f"milestone {right}", "5")


def test_money_of_two_milestones_has_not_left_one() -> None:
    true = tell(released)
    event = true.events[index_of(true, "contract.released")]
    ids = [one.id for one in true.contract.terms.milestones]
    lie = saying(true, event.type, milestone=ids[0])
    both = canonical({"ids": ids}).partition(":")[2].rstrip("}")
    assert lie.steps == Finding(11, event.key, f"milestone {both}", f"{ids[0]}")


def test_the_last_word_on_the_status_is_the_status() -> None:
    true = tell(delivered)
    last = true.events[-1]
    assert saying(true, last.type, status="released").steps == Finding(
        10, last.key, "status escrow", "released"
    )
    body = msgspec.json.decode(last.body)
    del body["status"]
    silent = true.with_event(-1, body=canonical(body)).forged()
    assert silent.steps == Finding(10, last.key, "status escrow", "None")


def test_several_tranches_are_named_in_a_row() -> None:
    true = tell(delivered)
    money = type(true.contract.tranches[0])
    lie = true.changed(tranches=(money.HELD, money.RELEASED))
    assert lie.steps == Finding(10, None, "tranches held, held", "held, released")
