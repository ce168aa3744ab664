"""What a partner does with its contract: its state, what is told, and where the money goes."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.domain import partner, returning
from earnest.domain.business import Business
from earnest.domain.change import Change
from earnest.domain.contract import Agreement, Money, Work
from earnest.domain.movement import RefundedToSource, Released
from earnest.domain.partner import (
    DUE_YEARS_MAX,
    MILESTONES_MAX,
    Draft,
    MilestoneNotFound,
    SamePerson,
    SellerNotApproved,
    SellerNotVerified,
    Stage,
)
from earnest.domain.pricing import FeesExceedAmount, Line, LineType, Payee, Payer, PricedTranche
from earnest.domain.refund import RefundKind
from earnest.errors import InvalidField
from till import BROKER, NOW, Till, a_business, member

THEN = NOW + timedelta(hours=1)
DUE = NOW + timedelta(days=30)


def stage(amount_minor: int, **changes: Any) -> Stage:
    plain = Stage("Part", "The part.", amount_minor, DUE.isoformat(), DUE)
    return msgspec.structs.replace(plain, **changes)


def draft(*stages: Stage, amount_minor: int = 100_000) -> Draft:
    """1,000.00 SAR for a logo, with everything that can be said of it."""
    return Draft(
        title="A logo",
        service_type="service",
        amount_minor=amount_minor,
        description="Round.",
        notes="Blue.",
        reference="R-1",
        metadata={"shop": "7"},
        callback_url="https://shop.example/back",
        stages=stages,
    )


def create(wanted: Draft, till: Till, seller: int = 2) -> Change:
    people = member(1), member(seller)
    return partner.create(wanted, till.business, *people, people, BROKER, THEN, till.ids)


def paid(*bases_minor: int, **settings: Any) -> Till:
    till = Till.open(a_business(**settings), bases_minor or (60_000, 40_000))
    assert till.fund() == "ok"
    return till


def told(change: Change) -> list[tuple[str, dict[str, Any]]]:
    """What is told, without the status, of which test_projections.py tells all."""
    said = [(event.type, msgspec.json.decode(event.body)) for event in change.events]
    for _, body in said:
        assert body.pop("status")
        assert body.pop("previousStatus")
    return said


# -- created --------------------------------------------------------------------------------------


def test_it_agrees_on_all_that_was_sent_at_the_terms_of_the_business() -> None:
    till = Till.open(a_business(), (100_000,))
    change = create(draft(stage(60_000), stage(40_000)), till)
    contract = change.contract
    assert contract is not None
    terms, settings = contract.terms, till.business.settings
    assert (terms.title, terms.service_type, terms.description) == ("A logo", "service", "Round.")
    assert (terms.notes, terms.reference, terms.metadata) == ("Blue.", "R-1", {"shop": "7"})
    assert terms.callback_url == "https://shop.example/back"
    assert terms.cancellation_policy == settings.cancellation_policy
    assert terms.retention_bps == settings.retention_bps == 500
    assert [one.base_minor for one in terms.tranches] == [60_000, 40_000]
    assert [(one.name, one.description, one.due_date) for one in terms.milestones] == [
        ("Part", "The part.", DUE.isoformat())
    ] * 2
    assert len({one.id for one in terms.milestones}) == 2
    assert (contract.amount_minor, contract.created_at, contract.version) == (100_000, THEN, 1)
    assert change.members == (member(1), member(2))
    assert [type_ for type_, _ in told(change)] == ["contract.created"]


def test_a_contract_is_between_two_people() -> None:
    with pytest.raises(SamePerson):
        create(draft(), Till.open(a_business(), (100_000,)), seller=1)


@pytest.mark.parametrize(
    ("stages", "refusal"),
    [
        (
            [stage(1)] * (MILESTONES_MAX + 1),
            "Milestones must have at most 100 entries",
        ),
        ([stage(100_000)], "Milestones[0].Amount must be less than the contract's amount"),
        (
            [stage(60_000), stage(39_999)],
            "Milestones must have amounts that sum to the contract's amount",
        ),
        (
            [stage(60_000), stage(40_000, due_at=NOW)],
            "Milestones[1].DueDate must be in the future, within 10 years",
        ),
        (
            [stage(60_000, due_at=NOW + timedelta(days=366 * DUE_YEARS_MAX)), stage(40_000)],
            "Milestones[0].DueDate must be in the future, within 10 years",
        ),
    ],
)
def test_milestones_make_up_the_contract(stages: list[Stage], refusal: str) -> None:
    with pytest.raises(InvalidField) as refused:
        partner.check_stages(100_000, stages, NOW)
    assert str(refused.value) == refusal


def test_it_makes_no_contract_of_milestones_that_do_not_fit() -> None:
    with pytest.raises(InvalidField):
        create(draft(stage(60_000), stage(39_999)), Till.open(a_business(), (100_000,)))


def test_as_many_milestones_as_may_be_are_taken_and_dates_up_to_the_last_moment() -> None:
    moment = timedelta(microseconds=1)
    last = NOW + timedelta(days=366 * DUE_YEARS_MAX) - moment
    most = [stage(2, due_at=NOW + moment), *[stage(2, due_at=last)] * (MILESTONES_MAX - 1)]
    partner.check_stages(2 * MILESTONES_MAX, most, NOW)
    partner.check_stages(5, [], NOW)


# -- its state ------------------------------------------------------------------------------------


def test_each_step_keeps_the_reason() -> None:
    unpaid = Till.open(a_business(), (100_000,))
    ids, held = unpaid.ids, paid().contract
    rejected = partner.reject(unpaid.contract, BROKER, THEN, ids, "dear")
    assert told(rejected) == [("contract.rejected", {"reason": "dear"})]
    delivered = partner.deliver(held, BROKER, THEN, ids, "done")
    assert told(delivered) == [("contract.delivered", {"reason": "done"})]
    received = partner.receive(held, BROKER, THEN, ids, "good")
    assert told(received) == [("contract.received", {"reason": "good"})]
    assert received.contract is not None
    assert (received.contract.work, received.contract.completed_at) == ("completed", THEN)
    disputed = partner.dispute(held, BROKER, THEN, ids, by="buyer", reason="bad")
    assert told(disputed) == [("contract.disputed", {"by": "buyer", "reason": "bad"})]
    assert disputed.contract is not None
    resolved = partner.resolve(disputed.contract, BROKER, THEN, ids, "good")
    assert told(resolved) == [("dispute.resolved", {"reason": "good"})]


# -- released -------------------------------------------------------------------------------------


def release(till: Till, milestone: int | None = None, *, verified: bool = True) -> Change:
    return partner.release(
        till.contract,
        till.business,
        BROKER,
        THEN,
        till.ids,
        milestone=milestone,
        seller_verified=verified,
    )


def test_one_milestone_is_released_and_named() -> None:
    till = paid()
    second = till.contract.terms.milestones[1].id
    change = release(till, second)
    assert change.contract is not None
    assert (change.contract.tranches, change.contract.settled_at) == (("held", "released"), None)
    body = {"tranches": [1], "amount": 400, "charge": 457.5, "seller": 400, "milestone": second}
    assert told(change) == [("contract.released", body)]
    lines = till.contract.terms.tranches[1].lines
    assert change.movements == (Released(7, till.contract.key, 1, "SAR", 2, 40_000, lines),)


def test_all_that_is_held_is_released_and_completes_what_was_received() -> None:
    till = paid()
    assert till.act("receive") == "ok"
    change = release(till)
    assert change.contract is not None
    assert (change.contract.tranches, change.contract.settled_at) == (("released",) * 2, THEN)
    assert change.contract.work == "completed"
    statuses = [msgspec.json.decode(event.body)["status"] for event in change.events]
    assert statuses == ["released", "completed"]
    assert [type_ for type_, _ in told(change)] == ["contract.released", "contract.completed"]
    assert "milestone" not in told(change)[0][1]
    assert [type_ for type_, _ in told(release(paid()))] == ["contract.released"]


def test_a_milestone_that_is_not_there_is_not_released() -> None:
    with pytest.raises(MilestoneNotFound):
        release(paid(), 12_345_678)


def with_settings(till: Till, **settings: Any) -> Till:
    changed = msgspec.structs.replace(till.business.settings, **settings)
    business: Business = msgspec.structs.replace(till.business, settings=changed)
    return msgspec.structs.replace(till, business=business)


def test_a_business_may_want_the_sellers_approval_or_identity_first() -> None:
    till = with_settings(paid(), release_needs_approval=True)
    with pytest.raises(SellerNotApproved):
        release(till)
    assert till.act("approve") == "ok"
    assert release(till).movements
    till = with_settings(paid(), require_kyc=True)
    with pytest.raises(SellerNotVerified):
        release(till, verified=False)
    assert release(till).movements
    assert release(paid(), verified=False).movements


# -- refunded -------------------------------------------------------------------------------------


def request(till: Till, kind: RefundKind, milestone: int | None, amount: int | None) -> Change:
    return returning.request(
        till.contract,
        till.business,
        till.payment,
        BROKER,
        THEN,
        till.ids,
        kind=kind,
        milestone=milestone,
        amount_minor=amount,
        reason="late",
    )


def test_a_partial_refund_says_of_which_milestone_and_is_less_than_its_base() -> None:
    till = paid()
    first = till.contract.terms.milestones[0].id
    with pytest.raises(InvalidField) as refused:
        request(till, RefundKind.PARTIAL, None, 1)
    assert str(refused.value) == "milestoneId is required: say of which milestone"
    with pytest.raises(InvalidField) as refused:
        request(till, RefundKind.PARTIAL, first, 60_000)
    less = "amount must be less than the base amount that it is part of"
    assert str(refused.value) == less
    assert request(till, RefundKind.PARTIAL, first, 59_999).refund
    assert request(paid(100_000), RefundKind.PARTIAL, None, 1).refund


def test_a_refund_that_is_asked_for_waits_with_its_parts() -> None:
    till = paid()
    first = till.contract.terms.milestones[0].id
    change = request(till, RefundKind.FULL, first, None)
    refund, contract = change.refund, change.contract
    assert refund is not None
    assert contract is not None
    assert contract.tranches == ("refund_pending", "held")
    assert (refund.state, refund.due_at, refund.amount_minor) == ("planned", THEN, 60_000)
    assert (refund.reason, refund.kind, refund.version) == ("late", "full", 1)
    ((type_, body),) = told(change)
    assert type_ == "refund.full-initiated"
    assert body == {
        "refund": refund.key,
        "kind": "full",
        "reason": "late",
        "amount": 600,
        "seller": 0,
        "parts": msgspec.json.decode(msgspec.json.encode(refund.parts)),
        "milestone": first,
    }


def test_it_waits_for_an_admin_where_the_business_wants_that() -> None:
    till = with_settings(paid(), refund_approval="admin")
    change = request(till, RefundKind.FULL, None, None)
    assert change.refund is not None
    assert (change.refund.state, change.refund.due_at) == ("requested", None)
    assert told(change)[0][1]["approval"] == "admin"


def test_once_given_back_it_is_done_and_posted() -> None:
    till = paid(100_000)
    assert till.act("receive") == "ok"
    assert till.act("refund", amount=25_000) == "ok"
    (refund,) = till.refunds
    change = returning.settle(till.contract, refund, till.payment, "re_1", THEN, till.ids)
    assert change.refund is not None
    assert (change.refund.state, change.refund.due_at) == ("done", None)
    assert (change.refund.provider_refund_id, change.refund.last_error) == ("re_1", "")
    contract = change.contract
    assert contract is not None
    assert (contract.tranches, contract.settled_at) == ((Money.SPLIT,), THEN)
    (movement,) = change.movements
    assert isinstance(movement, RefundedToSource)
    assert (movement.buyer_minor, movement.seller_minor) == (25_000, 71_250)
    types = [type_ for type_, _ in told(change)]
    assert types == ["refund.partial-succeeded", "contract.refunded"]
    assert told(change)[1][1]["providerRefund"] == "re_1"


def test_a_cancellation_keeps_the_tier_of_the_work_and_says_whether_money_was_held() -> None:
    till = paid(100_000, cancellation_delivered_bps=10_000)
    assert till.act("deliver") == "ok"
    change = returning.cancel(
        till.contract, till.payment, BROKER, THEN, till.ids, by="seller", reason="ill"
    )
    contract = change.contract
    assert contract is not None
    assert (contract.agreement, contract.cancelled_by) == (Agreement.CANCELLED, "seller")
    assert (contract.cancelled_at, contract.cancelled_work) == (THEN, Work.DELIVERED)
    # All of it is the seller's: nothing goes back, so no provider is asked.
    assert (contract.tranches, change.refund) == ((Money.REFUNDED,), None)
    body = {"by": "seller", "work": "delivered", "held": True, "reason": "ill"}
    assert told(change)[0] == ("contract.cancelled", body)
    assert [type_ for type_, _ in told(change)] == ["contract.cancelled", "contract.refunded"]


def test_a_partial_refund_leaves_the_seller_nothing_at_the_least() -> None:
    till = paid(100)
    fee = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PARTNER_PAYABLE, 10)
    terms = msgspec.structs.replace(
        till.contract.terms, tranches=(PricedTranche(100, (fee,)),), retention_bps=0
    )
    contract = msgspec.structs.replace(till.contract, terms=terms)
    part = returning.part_of(contract, RefundKind.PARTIAL, 0, 90)
    assert (part.buyer_minor, part.seller_minor, part.lines[0]) == (90, 0, fee)
    with pytest.raises(FeesExceedAmount):
        returning.part_of(contract, RefundKind.PARTIAL, 0, 91)
