"""Who may do what, when: every verb by everybody in every reachable state.

The cells are written down here by hand from the spec, so that the table of the product is
checked against a second opinion and not against itself.
"""

from datetime import datetime

import msgspec
import pytest

from earnest.domain.change import Change
from earnest.domain.contract import Contract, Money
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.rules import RULES, Verb, require
from earnest.domain.verbs import InvalidTransition
from earnest.errors import EarnestError, Forbidden, NotFound, Refused
from reachable import (
    ALICE,
    ATTEMPTS,
    BOB,
    CAST,
    FORTNIGHT,
    MALLET,
    MALLORY,
    NOW,
    OLGA,
    PARTNER,
    REACHABLE,
    Drawn,
    state,
)

# Rows: what has become of the contract. Columns: the verb, tried by whoever may at all.
# "ok", or the refusal. A contract that its client still has to claim differs in `claim` only.
STATES = {
    "new": ("pending", "not_started", "unfunded"),
    "new, paid": ("pending", "not_started", "held"),
    "started": ("accepted", "started", "unfunded"),
    "started, paid": ("accepted", "started", "held"),
    "ongoing": ("accepted", "ongoing", "held"),
    "completed": ("accepted", "completed", "held"),
    "requested": ("accepted", "completed", "release_requested"),
    "released": ("accepted", "completed", "released"),
    "cancelled new": ("cancelled", "not_started", "unfunded"),
    "cancelled started": ("cancelled", "started", "unfunded"),
    "pending new": ("cancelled", "not_started", "refund_pending"),
    "pending started": ("cancelled", "started", "refund_pending"),
    "pending ongoing": ("cancelled", "ongoing", "refund_pending"),
    "refunded new": ("cancelled", "not_started", "refunded"),
    "refunded started": ("cancelled", "started", "refunded"),
    "refunded ongoing": ("cancelled", "ongoing", "refunded"),
}
WORK = """
                   approve          work on             complete            cancel
new                ok               NotApproved         NotApproved         ok
new, paid          ok               NotApproved         NotApproved         ok
started            AlreadyApproved  NotFunded           NotInThisWorkState  ok
started, paid      AlreadyApproved  ok                  NotInThisWorkState  ok
ongoing            AlreadyApproved  NotInThisWorkState  ok                  ok
completed          AlreadyApproved  NotInThisWorkState  NotInThisWorkState  CompletedAndFunded
requested          AlreadyApproved  NotInThisWorkState  NotInThisWorkState  CompletedAndFunded
released           AlreadyApproved  NotInThisWorkState  NotInThisWorkState  CompletedAndFunded
cancelled new      AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
cancelled started  AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
pending new        AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
pending started    AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
pending ongoing    AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
refunded new       AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
refunded started   AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
refunded ongoing   AlreadyCanceled  AlreadyCanceled     AlreadyCanceled     AlreadyCanceled
"""
MONEY = """
                   fund           request release          approve release      refund
new                ok             NotCompleted             EscrowNotFound       EscrowNotFound
new, paid          AlreadyFunded  NotCompleted             ReleaseNotRequested  ok
started            ok             NotCompleted             EscrowNotFound       EscrowNotFound
started, paid      AlreadyFunded  NotCompleted             ReleaseNotRequested  ok
ongoing            AlreadyFunded  NotCompleted             ReleaseNotRequested  ok
completed          AlreadyFunded  ok                       ReleaseNotRequested  RefundOfFinished
requested          AlreadyFunded  ReleaseAlreadyRequested  ok                   RefundOfFinished
released           AlreadyFunded  AlreadyReleased          AlreadyReleased      RefundOfFinished
cancelled new      ok             AlreadyCanceled          EscrowNotFound       NothingHeld
cancelled started  ok             AlreadyCanceled          EscrowNotFound       NothingHeld
pending new        AlreadyFunded  AlreadyCanceled          RefundPending        ok
pending started    AlreadyFunded  AlreadyCanceled          RefundPending        ok
pending ongoing    AlreadyFunded  AlreadyCanceled          RefundPending        ok
refunded new       AlreadyFunded  AlreadyCanceled          AlreadyRefunded      AlreadyRefunded
refunded started   AlreadyFunded  AlreadyCanceled          AlreadyRefunded      AlreadyRefunded
refunded ongoing   AlreadyFunded  AlreadyCanceled          AlreadyRefunded      AlreadyRefunded
"""
# Who may try at all. Anybody else has the wrong role; the right role with another's contract is
# told that it is not theirs.
OWNERS: dict[str, tuple[Actor, ...]] = {
    "approve": (BOB,),
    "work on": (BOB,),
    "complete": (BOB,),
    "claim": (ALICE,),
    "cancel": (ALICE, BOB),
    "fund": (SYSTEM,),
    "request release": (ALICE,),
    "approve release": (OLGA,),
    "request refund": (ALICE,),
    "approve refund": (OLGA,),
}
STRANGER_OF = {ALICE: MALLORY, BOB: MALLET}
ROW_WIDTH = 19


def _cells() -> dict[tuple[str, str], str]:
    """(row, verb) -> "ok" or the name of the refusal."""
    cells: dict[tuple[str, str], str] = {}
    for table in (WORK, MONEY):
        head, *rows = table.strip("\n").splitlines()
        columns = [column.strip() for column in head.split("  ") if column.strip()]
        for row in rows:
            name = row[:ROW_WIDTH].strip()
            for column, cell in zip(columns, row[ROW_WIDTH:].split(), strict=True):
                verbs = ("request refund", "approve refund") if column == "refund" else (column,)
                cells.update({(name, verb): cell for verb in verbs})
    return cells


CELLS = _cells()
ROWS = {facets: row for row, facets in STATES.items()}


def expected(contract: Contract, verb: str, actor: Actor) -> str:
    """What the hand-written cells say about this attempt."""
    owners = OWNERS[verb]
    if actor == PARTNER and verb in ("approve", "cancel"):
        return "NotYourContract"  # a partner does these with contracts of its own
    if actor not in owners:
        strangers = [STRANGER_OF.get(owner) for owner in owners]
        return "NotYourContract" if actor in strangers else "WrongRole"
    if verb == "claim":
        return "ok" if state(contract)[3] == "unclaimed" else "NotClaimable"
    if verb == "request refund" and contract.refund_requested_at is not None:
        asked = CELLS[ROWS[state(contract)[:3]], verb]
        return "RefundAlreadyRequested" if asked == "ok" else asked
    return CELLS[ROWS[state(contract)[:3]], verb]


def attempted(contract: Contract, verb: str, actor: Actor, now: datetime = NOW) -> str:
    """Either "ok" or the refusal; a refusal must have changed nothing and drawn nothing."""
    before = msgspec.json.encode(contract)
    drawn = Drawn()
    change: Change | None = None
    uttered: EarnestError | None = None
    try:
        if verb == "fund":
            # Nobody funds by hand; the verb itself does not ask who brings the money.
            require(contract, Verb.FUND, actor)
        change = ATTEMPTS[verb](contract, actor, now, drawn.ids)
    except EarnestError as refused:
        uttered = refused
    assert msgspec.json.encode(contract) == before
    if uttered is not None:
        assert drawn.keys == 0
        assert isinstance(uttered, Refused | NotFound | Forbidden)
        return type(uttered).__name__
    assert change is not None
    assert change.contract is not None
    assert change.contract.version == contract.version + 1
    assert len(change.events) == change.contract.event_seq - contract.event_seq >= 1
    return "ok"


def label(contract: Contract) -> str:
    asked = "asked" if contract.refund_requested_at else ""
    return " ".join((ROWS[state(contract)[:3]], state(contract)[3], asked)).strip()


@pytest.mark.parametrize("verb", OWNERS)
@pytest.mark.parametrize("contract", REACHABLE, ids=label)
def test_it_lets_everybody_do_what_the_table_says_and_nothing_else(
    contract: Contract, verb: str
) -> None:
    found = {actor.name: attempted(contract, verb, actor) for actor in CAST}
    assert found == {actor.name: expected(contract, verb, actor) for actor in CAST}


def test_it_has_a_cell_for_every_reachable_state_and_every_verb() -> None:
    assert {state(contract)[:3] for contract in REACHABLE} == set(ROWS)
    of_partners = {verb for verb in Verb if RULES[verb].roles == {Role.PARTNER}}
    assert set(OWNERS) == {verb.value for verb in set(Verb) - of_partners}
    assert {verb for _, verb in CELLS} | {"claim"} == set(OWNERS)
    assert len(CELLS) == len(STATES) * (len(OWNERS) - 1)


@pytest.mark.parametrize("contract", REACHABLE, ids=label)
def test_it_lets_an_admin_release_unasked_after_a_fortnight_and_never_before(
    contract: Contract,
) -> None:
    waits = state(contract)[:3] == ("accepted", "completed", "held")
    for days, patient in ((13, False), (14, True), (15, True)):
        now = NOW + FORTNIGHT * days / 15
        if waits:
            wanted = "ok" if patient else "ReleaseNotRequested"
            assert attempted(contract, "approve release", OLGA, now) == wanted
        else:  # patience changes nothing else
            young = attempted(contract, "approve release", OLGA)
            assert attempted(contract, "approve release", OLGA, now) == young


# -- the status that a freelancer names (C10) ------------------------------------------------------

# From, to, and the verb that this is; every other pair is an invalid transition.
TRANSITIONS = {
    ("Pending", "Started"): "approve",
    ("Pending", "Canceled"): "cancel",
    ("Started", "Ongoing"): "work on",
    ("Started", "Canceled"): "cancel",
    ("Ongoing", "Completed"): "complete",
    ("Ongoing", "Canceled"): "cancel",
}
SHOWN = {"not_started": "Pending", "started": "Started", "ongoing": "Ongoing"}


@pytest.mark.parametrize("wanted", ["Pending", "Started", "Ongoing", "Completed", "Canceled"])
@pytest.mark.parametrize("contract", REACHABLE, ids=label)
def test_it_moves_the_status_along_the_arrows_only(contract: Contract, wanted: str) -> None:
    agreement, work, _, _ = state(contract)
    shown = "Canceled" if agreement == "cancelled" else SHOWN.get(work, "Completed")
    verb = TRANSITIONS.get((shown, wanted))
    for actor in CAST:
        if actor == BOB:
            arrow = CELLS[ROWS[state(contract)[:3]], verb] if verb else "InvalidTransition"
        else:
            arrow = "NotYourContract" if actor == MALLET else "WrongRole"
        assert attempted(contract, f"update status to {wanted}", actor) == arrow
    if verb is None:
        with pytest.raises(InvalidTransition, match=f"from {shown} to {wanted}$"):
            ATTEMPTS[f"update status to {wanted}"](contract, BOB, NOW, Drawn().ids)


@pytest.mark.parametrize("contract", REACHABLE, ids=label)
def test_it_keeps_held_money_held_until_an_admin_moves_it(contract: Contract) -> None:
    """Nobody but an admin empties a held tranche, whatever they call it."""
    holding = {Money.HELD, Money.RELEASE_REQUESTED, Money.REFUND_PENDING}
    for verb, attempt in ATTEMPTS.items():
        for actor in CAST:
            try:
                change = attempt(contract, actor, NOW + FORTNIGHT, Drawn().ids)
            except EarnestError:
                continue
            assert change.contract is not None
            emptied = contract.money in holding and change.contract.money not in holding
            assert emptied is (verb in {"approve release", "approve refund"})
            assert bool(change.movements) is (emptied or verb == "fund")
            assert not emptied or actor == OLGA
