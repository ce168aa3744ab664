"""What each verb makes of a contract: its state, what is told of it, and where the money goes."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from earnest.domain import verbs
from earnest.domain.audit import canonical, genesis, link
from earnest.domain.change import Change
from earnest.domain.contract import Agreement, Contract, Money, Work, record
from earnest.domain.movement import Refunded, Released
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.pricing import Line, LineType, Payee, Payer
from earnest.domain.refusals import NotFunded, NothingHeld, ReleaseNotRequested, WrongRole
from reachable import ALICE, ATTEMPTS, BOB, NOW, OLGA, SHOP, Drawn, beginnings

THEN = NOW + timedelta(hours=1)
FEE = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, 120_000)
WORK_DONE = (("approve", BOB), ("work on", BOB), ("complete", BOB))


def contract_after(*steps: tuple[str, Actor], paid_first: bool = False) -> Contract:
    """A contract of 12,000.00 for which Alice hired Bob, after these verbs at NOW."""
    new, paid = beginnings()
    contract = paid if paid_first else new
    ids = Drawn().ids
    for verb, actor in steps:
        contract = after(ATTEMPTS[verb](contract, actor, NOW, ids))
    return contract


def after(change: Change) -> Contract:
    assert change.contract is not None
    return change.contract


BOOKKEEPING = {"version", "commit_id", "updated_at", "event_seq", "event_head"}


def what_became(before: Contract, change: Change) -> dict[str, Any]:
    """The facts of the contract that are others now."""
    now = msgspec.structs.asdict(after(change))
    return {
        name: now[name]
        for name, was in msgspec.structs.asdict(before).items()
        if now[name] != was and name not in BOOKKEEPING
    }


def what_is_told(change: Change) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, msgspec.json.decode(event.body)) for event in change.events]


def attempt(verb: str, contract: Contract, actor: Actor, now: datetime = THEN) -> Change:
    return ATTEMPTS[verb](contract, actor, now, Drawn().ids)


# -- the work -----------------------------------------------------------------------------------


def test_a_new_contract_is_pending_unfunded_and_priced_by_the_plan() -> None:
    new, _ = beginnings()
    (tranche,) = new.terms.tranches
    assert (tranche.base_minor, tranche.lines) == (1_200_000, (FEE,))
    assert new.terms.cancellation_policy == SHOP.settings.cancellation_policy
    assert (new.terms.title, new.job, new.unclaimed) == ("Logo", 7, False)
    assert (new.business, new.currency, new.amount_minor) == (SHOP.key, "INR", 1_200_000)
    assert (new.buyer, new.seller) == (ALICE.key, BOB.key)
    assert (new.agreement, new.work, new.dispute) == ("pending", "not_started", "none")
    assert new.tranches == ("unfunded",)
    assert (new.version, new.commit_id, new.event_seq) == (0, 0, 0)
    assert new.created_at == new.updated_at == NOW


def test_a_contract_has_a_tranche_for_each_that_its_terms_have() -> None:
    new, _ = beginnings()
    terms = msgspec.structs.replace(new.terms, tranches=new.terms.tranches * 3)
    several = verbs.begin(SHOP, terms, number="CON1", buyer=1, seller=2, now=NOW, ids=Drawn().ids)
    assert several.tranches == ("unfunded",) * 3
    assert several.amount_minor == 3 * 1_200_000


def test_the_first_event_says_what_was_agreed() -> None:
    new, _ = beginnings()
    assert verbs.created_body(new) == {
        "amount": 12_000,
        "currency": "INR",
        "number": new.number,
        "buyer": ALICE.key,
        "seller": BOB.key,
        "job": 7,
        "terms": msgspec.to_builtins(new.terms),
    }


def test_approving_starts_the_work() -> None:
    before = contract_after()
    change = attempt("approve", before, BOB)
    assert what_became(before, change) == {
        "agreement": "accepted",
        "work": "started",
        "started_at": THEN,
    }
    assert what_is_told(change) == [("contract.approved", {})]
    assert change.movements == ()


def test_approving_may_need_the_money_and_may_have_a_reason() -> None:
    business = msgspec.structs.replace(
        SHOP, settings=msgspec.structs.replace(SHOP.settings, require_funding_before_start=True)
    )
    with pytest.raises(NotFunded):
        verbs.approve(contract_after(), business, BOB, THEN, Drawn().ids)
    paid = contract_after(("fund", SYSTEM))
    change = verbs.approve(paid, business, BOB, THEN, Drawn().ids, reason="fine")
    assert what_is_told(change) == [("contract.approved", {"reason": "fine"})]


def test_work_that_was_delivered_before_it_was_approved_stays_delivered() -> None:
    delivered = msgspec.structs.replace(contract_after(), work=Work.DELIVERED)
    assert after(attempt("approve", delivered, BOB)).work == "delivered"


def test_working_on_it_and_completing_it_are_told_as_steps() -> None:
    started = contract_after(("fund", SYSTEM), ("approve", BOB))
    change = attempt("work on", started, BOB)
    assert what_became(started, change) == {"work": "ongoing", "ongoing_at": THEN}
    step = {"from": "started", "to": "ongoing"}
    assert what_is_told(change) == [("contract.work_updated", step)]
    ongoing = after(change)
    change = attempt("complete", ongoing, BOB)
    assert what_became(ongoing, change) == {"work": "completed", "completed_at": THEN}
    step = {"from": "ongoing", "to": "completed"}
    assert what_is_told(change) == [("contract.work_updated", step)]


@pytest.mark.parametrize(("actor", "by"), [(ALICE, "Client"), (BOB, "Freelancer")])
def test_cancelling_an_unpaid_contract_ends_it(actor: Actor, by: str) -> None:
    before = contract_after(("approve", BOB))
    change = attempt("cancel", before, actor)
    assert what_became(before, change) == {
        "agreement": "cancelled",
        "cancelled_at": THEN,
        "cancelled_by": by,
        "cancelled_work": "started",
    }
    told = {"by": by, "work": "started", "held": False}
    assert what_is_told(change) == [("contract.cancelled", told)]


def test_cancelling_a_paid_contract_leaves_its_refund_to_an_admin() -> None:
    before = contract_after(paid_first=True)
    change = attempt("cancel", before, ALICE)
    assert what_became(before, change) == {
        "agreement": "cancelled",
        "tranches": ("refund_pending",),
        "cancelled_at": THEN,
        "cancelled_by": "Client",
        "cancelled_work": "not_started",
        "unclaimed": False,
    }
    told = {"by": "Client", "work": "not_started", "held": True}
    assert what_is_told(change) == [("contract.cancelled", told)]
    assert change.movements == ()


def test_claiming_is_all_that_is_left_of_hiring_after_paying() -> None:
    before = contract_after(paid_first=True)
    change = attempt("claim", before, ALICE)
    assert what_became(before, change) == {"unclaimed": False}
    assert what_is_told(change) == [("contract.claimed", {})]


def test_a_status_that_no_verb_leads_to_is_named_in_the_refusal() -> None:
    with pytest.raises(verbs.InvalidTransition) as refused:
        attempt("update status to Completed", contract_after(), BOB)
    assert str(refused.value) == "Invalid status transition from Pending to Completed"


@pytest.mark.parametrize(
    ("agreement", "tranches", "payable"),
    [
        ("pending", ("unfunded",), True),
        ("draft", ("unfunded", "unfunded"), True),
        ("accepted", ("unfunded",), True),
        ("accepted", ("unfunded", "held"), False),
        ("pending", ("awaiting_payment",), False),
        ("pending", ("held",), False),
        *((ended, ("unfunded",), False) for ended in ("rejected", "expired", "cancelled")),
        ("terminated", ("unfunded",), False),
    ],
)
def test_a_contract_can_be_paid_while_it_lives_and_nothing_was_paid(
    agreement: str, tranches: tuple[str, ...], payable: bool
) -> None:
    contract = msgspec.structs.replace(
        contract_after(),
        agreement=Agreement(agreement),
        tranches=tuple(Money(one) for one in tranches),
    )
    assert contract.payable is payable


def test_one_tranche_changes_and_the_others_stay() -> None:
    several = msgspec.structs.replace(contract_after(), tranches=(Money.HELD,) * 4)
    assert several.with_tranche(1, Money.RELEASED) == ("held", "released", "held", "held")
    assert several.with_tranches((0, 3), Money.SPLIT) == ("split", "held", "held", "split")


# -- its money ------------------------------------------------------------------------------------


def test_asking_for_the_release_moves_nothing() -> None:
    before = contract_after(("fund", SYSTEM), *WORK_DONE)
    change = attempt("request release", before, ALICE)
    assert what_became(before, change) == {"tranches": ("release_requested",)}
    assert what_is_told(change) == [("release.requested", {})]
    assert change.movements == ()


def test_a_release_leaves_the_seller_what_is_left_of_the_base() -> None:
    before = contract_after(("fund", SYSTEM), *WORK_DONE, ("request release", ALICE))
    change = attempt("approve release", before, OLGA)
    assert what_became(before, change) == {"tranches": ("released",), "settled_at": THEN}
    assert what_is_told(change) == [("contract.released", {"amount": 12_000, "seller": 10_800})]
    assert change.movements == (
        Released(SHOP.key, before.key, 0, "INR", BOB.key, 1_080_000, (FEE,)),
    )


def test_a_release_that_nobody_asked_for_waits_for_a_fortnight_to_the_microsecond() -> None:
    before = contract_after(("fund", SYSTEM), *WORK_DONE)
    fortnight = NOW + timedelta(days=14)
    with pytest.raises(ReleaseNotRequested):
        attempt("approve release", before, OLGA, fortnight - timedelta(microseconds=1))
    assert after(attempt("approve release", before, OLGA, fortnight)).money == "released"


def test_a_release_of_work_that_was_never_dated_waits_for_the_request() -> None:
    before = contract_after(("fund", SYSTEM), *WORK_DONE)
    undated = msgspec.structs.replace(before, completed_at=None)
    with pytest.raises(ReleaseNotRequested):
        attempt("approve release", undated, OLGA, NOW + timedelta(days=365))


def test_asking_for_a_refund_ends_a_live_contract() -> None:
    before = contract_after(("fund", SYSTEM), ("approve", BOB))
    change = attempt("request refund", before, ALICE)
    assert what_became(before, change) == {
        "agreement": "cancelled",
        "tranches": ("refund_pending",),
        "cancelled_at": THEN,
        "cancelled_by": "Client",
        "cancelled_work": "started",
        "cancel_reason": "late",
        "cancel_reason_description": "very",
        "refund_requested_at": THEN,
    }
    assert what_is_told(change) == [
        ("contract.cancelled", {"by": "Client", "work": "started", "held": True}),
        ("refund.requested", {"reason": "late", "description": "very"}),
    ]
    assert change.movements == ()


def test_asking_for_a_refund_of_what_was_cancelled_only_asks_and_only_once() -> None:
    before = contract_after(("fund", SYSTEM), ("cancel", BOB))
    change = attempt("request refund", before, ALICE)
    assert what_became(before, change) == {
        "cancel_reason": "late",
        "cancel_reason_description": "very",
        "refund_requested_at": THEN,
    }
    assert what_is_told(change) == [("refund.requested", {"reason": "late", "description": "very"})]
    with pytest.raises(verbs.RefundAlreadyRequested):
        attempt("request refund", after(change), ALICE)


def refund(contract: Contract, actor: Actor, **more: Any) -> Change:
    return verbs.approve_refund(contract, actor, THEN, Drawn().ids, **more)


def test_a_refund_of_live_work_cancels_it_at_the_tier_of_this_moment() -> None:
    before = contract_after(("fund", SYSTEM), ("approve", BOB))
    change = refund(before, OLGA, reason="agreed", description="both")
    assert what_became(before, change) == {
        "agreement": "cancelled",
        "tranches": ("refunded",),
        "settled_at": THEN,
        "cancelled_at": THEN,
        "cancelled_by": "Client",
        "cancelled_work": "started",
        "cancel_reason": "agreed",
        "cancel_reason_description": "both",
    }
    assert what_is_told(change) == [
        ("contract.cancelled", {"by": "Client", "work": "started", "held": True}),
        ("contract.refunded", {"buyer": 9_180, "seller": 1_620, "work": "started"}),
    ]
    assert change.movements == (
        Refunded(SHOP.key, before.key, 0, "INR", ALICE.key, 918_000, BOB.key, 162_000, (FEE,)),
    )


def test_a_refund_keeps_the_tier_and_the_reason_of_the_day_it_was_asked_for() -> None:
    asked = contract_after(
        ("fund", SYSTEM), ("approve", BOB), ("work on", BOB), ("request refund", ALICE)
    )
    change = refund(asked, OLGA, reason="other", description="words")
    assert what_became(asked, change) == {"tranches": ("refunded",), "settled_at": THEN}
    assert what_is_told(change) == [
        ("contract.refunded", {"buyer": 6_480, "seller": 4_320, "work": "ongoing"})
    ]


def test_there_is_no_refund_of_a_contract_that_ended_without_being_cancelled() -> None:
    ended = msgspec.structs.replace(
        contract_after(("fund", SYSTEM)), agreement=Agreement.TERMINATED
    )
    with pytest.raises(NothingHeld):
        refund(ended, OLGA)


def test_a_client_refunds_where_the_policy_lets_them() -> None:
    before = contract_after(("fund", SYSTEM))
    refunded = after(refund(before, ALICE, by_policy=True))
    assert refunded.money == "refunded"
    assert (refunded.cancel_reason, refunded.cancel_reason_description) == ("", "")
    with pytest.raises(WrongRole):
        refund(before, ALICE)
    with pytest.raises(WrongRole):
        refund(before, OLGA, by_policy=True)


# -- what every verb leaves behind ----------------------------------------------------------------


VERBS: list[tuple[str, Actor, tuple[tuple[str, Actor], ...]]] = [
    ("approve", BOB, ()),
    ("cancel", ALICE, (("fund", SYSTEM),)),
    ("request refund", ALICE, (("fund", SYSTEM), ("approve", BOB))),
    ("approve refund", OLGA, (("fund", SYSTEM), ("approve", BOB))),
    ("approve release", OLGA, (("fund", SYSTEM), *WORK_DONE, ("request release", ALICE))),
]


@pytest.mark.parametrize(("verb", "actor", "steps"), VERBS, ids=[row[0] for row in VERBS])
def test_it_is_one_version_on_with_its_chain_longer_by_what_is_told(
    verb: str, actor: Actor, steps: tuple[tuple[str, Actor], ...]
) -> None:
    before = contract_after(*steps)
    drawn = Drawn()
    change = ATTEMPTS[verb](before, actor, THEN, drawn.ids)
    now = after(change)
    assert now.version == before.version + 1
    assert now.commit_id == change.commit_id == change.events[0].key
    assert now.updated_at == change.recorded_at == change.occurred_at == THEN
    seq, head = before.event_seq, before.event_head or genesis(before.public_id)
    for event in change.events:
        seq += 1
        head = link(head, seq, THEN, event.type, actor.name, event.body)
        assert (event.seq, event.hash) == (seq, head)
        assert (event.commit_id, event.contract) == (change.commit_id, before.key)
        assert (event.subject, event.actor) == (f"contract:{before.public_id}", actor.name)
        assert event.recorded_at == THEN
    assert (now.event_seq, now.event_head) == (seq, head)
    assert len({event.key for event in change.events}) == len(change.events) == drawn.keys


def test_its_times_never_go_back() -> None:
    before = contract_after(("fund", SYSTEM))
    earlier = NOW - timedelta(minutes=5)
    now, events = record(before, BOB, earlier, Drawn().ids, ("something.happened", {}))
    assert now.updated_at == events[0].recorded_at == NOW


def test_hashes_of_a_chain_are_what_they_have_always_been() -> None:
    """Whoever verifies an old chain computes them anew: every part, its length in front."""
    new, _ = beginnings()

    def digest(*parts: bytes) -> bytes:
        return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()

    head = genesis(new.public_id)
    assert head == digest(b"earnest.contract.v1", new.public_id.encode())
    body = '{"amount":12000,"title":"Übung"}'
    at = b"2026-05-01T09:00:00.000000+00:00"
    first = digest(head, b"1", at, b"contract.created", b"client:1", body.encode())
    assert link(head, 1, NOW, "contract.created", "client:1", body) == first
    in_india = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert link(head, 1, in_india, "contract.created", "client:1", body) == first


def test_what_is_told_has_one_spelling() -> None:
    told = canonical({"b": "Übung", "a": {"d": Decimal("10.50"), "c": 1}})
    assert told == '{"a":{"c":1,"d":10.50},"b":"Übung"}'
