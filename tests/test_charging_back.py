"""What a dispute at the payer's bank does to the contract and to its own record, in values."""

from datetime import timedelta

import msgspec
import pytest

from disputed import (
    CHARGE_MINOR,
    DEADLINE,
    LATER,
    TAKEN,
    THEN,
    about,
    chargeback_of,
    contract_of,
    contract_with,
    disputed,
    learn,
    paid,
    parked,
    told,
    waiting,
)
from earnest.domain import charging_back
from earnest.domain.bearing import Exposure, Purse, Taken
from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import Agreement, Dispute, Money, Work
from earnest.domain.movement import (
    ChargebackCovered,
    ChargedBack,
    ParkedCovered,
    ParkedRefunded,
)
from earnest.domain.payment import PaymentState
from earnest.domain.refund import RefundState
from hired import PROVIDER
from reachable import ALICE, BOB, NOW, Drawn

# -- first heard of ------------------------------------------------------------------------------


def test_a_dispute_is_noted_before_anything_is_known_of_it() -> None:
    payment = msgspec.structs.replace(paid(), contract=33)
    change = charging_back.notice("dp_1", payment, THEN, Drawn().ids)
    begun = chargeback_of(change)
    assert begun == Chargeback(
        key=begun.key,
        public_id=begun.public_id,
        business=payment.business,
        payment=99,
        contract=33,
        provider_account=PROVIDER,
        provider_dispute_id="dp_1",
        currency="INR",
        created_at=THEN,
        version=1,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=ChargebackState.NOTICED,
        due_at=THEN,
    )
    (event,) = change.events
    assert (event.subject, event.actor) == (f"chargeback:{begun.public_id}", "system:0")
    assert told(change) == {"chargeback.noticed": {"dispute": "dp_1", "payment": "0" * 24}}
    assert (change.recorded_at, change.occurred_at) == (THEN, THEN)
    assert (change.payment, change.contract, change.movements) == (None, None, ())


def test_a_parked_payment_is_one_version_on_so_that_nobody_gives_it_away() -> None:
    payment = msgspec.structs.replace(paid(PaymentState.PARKED), contract=33)
    change = charging_back.notice("dp_1", payment, THEN, Drawn().ids)
    assert chargeback_of(change).contract is None
    assert change.payment == msgspec.structs.replace(
        payment, version=payment.version + 1, commit_id=change.commit_id, updated_at=THEN
    )


def test_a_step_alone_changes_nothing_but_what_it_says() -> None:
    before = disputed()
    change = charging_back.step_alone(before, "chargeback.hinted", THEN, Drawn().ids, attempts=4)
    assert change.chargeback == msgspec.structs.replace(
        before, version=2, commit_id=change.commit_id, updated_at=THEN, attempts=4
    )
    assert told(change) == {"chargeback.hinted": {}}
    back = charging_back.step_alone(
        before, "chargeback.hinted", NOW - timedelta(hours=1), Drawn().ids
    )
    assert chargeback_of(back).updated_at == NOW


# -- what is known of it ---------------------------------------------------------------------------


def test_what_the_provider_says_is_kept_and_told() -> None:
    before = msgspec.structs.replace(disputed(), attempts=3, last_error="timeout")
    change = learn("review", about("released"), TAKEN, chargeback=before)
    after = chargeback_of(change)
    assert after == msgspec.structs.replace(
        before,
        version=2,
        commit_id=change.commit_id,
        updated_at=THEN,
        contract=contract_with("released").key,
        state=ChargebackState.REVIEW,
        amount_minor=CHARGE_MINOR,
        reason="fraudulent",
        evidence_due_at=DEADLINE,
        lines=(Line("txn_1", -CHARGE_MINOR, 0, 0),),
        attempts=0,
        due_at=LATER,
        last_error="",
    )
    line = {"id": "txn_1", "amount_minor": -CHARGE_MINOR, "buyer_minor": 0, "seller_minor": 0}
    assert told(change) == {
        "chargeback.looked_up": {
            "state": "review",
            "amount_minor": CHARGE_MINOR,
            "reason": "fraudulent",
        },
        "chargeback.taken": {"lines": [line]},
    }
    assert {event.subject for event in change.events} == {f"chargeback:{before.public_id}"}
    assert {event.commit_id for event in change.events} == {change.commit_id}
    assert len({event.key for event in change.events}) == 2
    assert change.movements == (
        ChargedBack("INR", PROVIDER, CHARGE_MINOR, ALICE.key, 0, BOB.key, 0),
    )


@pytest.mark.parametrize("state", ["won", "lost"])
def test_once_decided_there_is_nothing_to_look_up_and_no_evidence_to_give(state: str) -> None:
    after = chargeback_of(learn(state, about("released")))
    assert (after.state, after.due_at, after.evidence_due_at) == (state, None, None)


@pytest.mark.parametrize("state", ["warning", "open", "review", "noticed"])
def test_undecided_it_is_looked_up_again(state: str) -> None:
    after = chargeback_of(learn(state, about("released")))
    assert (after.due_at, after.evidence_due_at) == (LATER, DEADLINE)


def test_a_line_is_booked_once_and_one_of_nothing_never() -> None:
    booked = disputed(Line("txn_1", -CHARGE_MINOR, 0, 0))
    change = learn(
        "open", about("released"), TAKEN, Taken("txn_0", 0), Taken("txn_2", 7), chargeback=booked
    )
    assert chargeback_of(change).lines == (*booked.lines, Line("txn_2", 7, 0, 0))
    assert [one.amount_minor for one in change.movements] == [7]  # type: ignore[union-attr]
    assert set(told(change)) == {"chargeback.looked_up", "chargeback.given_back"}


@pytest.mark.parametrize(
    ("amount_minor", "type_"), [(1, "chargeback.given_back"), (-1, "chargeback.taken")]
)
def test_the_smallest_unit_is_told_too(amount_minor: int, type_: str) -> None:
    change = learn("open", about("released"), Taken("txn_1", amount_minor))
    assert set(told(change)) == {"chargeback.looked_up", type_}


# -- while it is undecided -------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["warning", "open", "review"])
@pytest.mark.parametrize("money", ["held", "release_requested", "refund_pending"])
def test_undecided_it_freezes_what_is_held(state: str, money: str) -> None:
    change = learn(state, about(money))
    after = contract_of(change)
    assert (after.charged_back, after.tranches, after.agreement) == (True, (money,), "pending")
    body = {"chargeback": "5" * 24, "reason": "fraudulent", "by": "bank"}
    assert told(change)["contract.disputed"] == body
    assert after.commit_id == chargeback_of(change).commit_id == change.events[0].key
    assert {event.commit_id for event in change.events} == {change.commit_id}
    assert change.events[0].seq == after.event_seq
    assert "chargeback.looked_up" in told(change)
    assert change.refund is None


@pytest.mark.parametrize("exposure", [about("held", charged_back=True), about("released")])
def test_what_is_frozen_or_gone_is_not_frozen_again(exposure: Exposure) -> None:
    assert learn("open", exposure).contract is None


def test_a_dispute_that_is_only_noticed_neither_freezes_nor_lets_go() -> None:
    assert learn("noticed", about("held")).contract is None
    assert learn("noticed", about("held", charged_back=True)).contract is None


# -- once it is decided ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["won", "lost"])
def test_decided_it_lets_go_of_what_it_does_not_cover(state: str) -> None:
    exposure = about("held", charged_back=True)
    change = learn(state, exposure, amount_minor=CHARGE_MINOR - 1)
    assert contract_of(change).charged_back is False
    assert contract_of(change).tranches == ("held",)
    body = {"chargeback": "5" * 24, "reason": "fraudulent", "outcome": state}
    assert told(change)["chargeback.closed"] == body
    assert change.movements == ()


def test_decided_it_keeps_frozen_what_another_dispute_is_about() -> None:
    exposure = msgspec.structs.replace(about("held", charged_back=True), others_open=True)
    assert learn("won", exposure).contract is None


def test_decided_it_has_nothing_to_say_of_a_contract_that_it_never_froze() -> None:
    assert learn("won", about("held")).contract is None


def test_lost_what_is_held_covers_it_and_the_contract_is_over() -> None:
    change = learn("lost", about("held", charged_back=True), TAKEN)
    after = contract_of(change)
    assert after.tranches == ("refunded",)
    assert (after.agreement, after.charged_back, after.settled_at) == ("terminated", False, THEN)
    assert change.movements == (
        ChargedBack("INR", PROVIDER, CHARGE_MINOR, ALICE.key, 0, BOB.key, 0),
        ChargebackCovered(after.key, 0, "INR", CHARGE_MINOR, PROVIDER),
    )
    assert told(change)["contract.charged_back"] == {
        "chargeback": "5" * 24,
        "reason": "fraudulent",
        "tranches": [0],
        "undecided": False,
    }
    assert told(change)["chargeback.covered"] == {"tranches": [0]}
    assert chargeback_of(change).due_at is None


def test_lost_it_ends_an_open_dispute_of_the_parties_and_no_other() -> None:
    for before, expected in (("open", "resolved"), ("none", "none"), ("resolved", "resolved")):
        change = learn("lost", about("held", dispute=Dispute(before)))
        assert contract_of(change).dispute == expected


@pytest.mark.parametrize(
    ("agreement", "work", "expected"),
    [
        ("accepted", "ongoing", "terminated"),
        ("accepted", "completed", "accepted"),
        ("cancelled", "started", "cancelled"),
    ],
)
def test_lost_it_terminates_what_was_neither_over_nor_done(
    agreement: str, work: str, expected: str
) -> None:
    exposure = about("held", agreement=Agreement(agreement), work=Work(work))
    assert contract_of(learn("lost", exposure)).agreement == expected


@pytest.mark.parametrize("money", ["held", "release_requested", "refund_pending"])
def test_lost_it_takes_what_is_held_and_what_waits_for_a_refund_to_a_wallet(money: str) -> None:
    assert contract_of(learn("lost", about(money))).tranches == ("refunded",)


@pytest.mark.parametrize("money", ["unfunded", "released", "refunded", "split"])
def test_lost_it_takes_nothing_of_what_is_not_there(money: str) -> None:
    assert learn("lost", about(money)).contract is None


def test_lost_it_leaves_a_partners_pending_refund_that_is_not_known() -> None:
    exposure = about("refund_pending", business=6)
    assert learn("lost", exposure).contract is None


def test_lost_it_declines_the_refund_that_it_makes_needless() -> None:
    refund = waiting(RefundState.FAILED, 0)
    exposure = msgspec.structs.replace(
        about("refund_pending", business=6, charged_back=True), refunds=(refund,)
    )
    change = learn("lost", exposure)
    assert change.refund == msgspec.structs.replace(
        refund,
        version=4,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=RefundState.DECLINED,
        due_at=None,
    )
    assert contract_of(change).tranches == ("refunded",)
    assert contract_of(change).charged_back is False
    assert told(change)["contract.charged_back"]["refund"] == 77
    assert chargeback_of(change).due_at is None


def test_lost_with_several_refunds_it_ends_one_and_looks_again() -> None:
    exposure = about(business=6, charged_back=True)
    assert exposure.contract is not None
    (priced,) = exposure.contract.terms.tranches
    two = msgspec.structs.replace(
        exposure.contract,
        tranches=(Money.REFUND_PENDING,) * 2,
        terms=msgspec.structs.replace(exposure.contract.terms, tranches=(priced, priced)),
    )
    refunds = (waiting(RefundState.FAILED, 1), waiting(RefundState.FAILED, 0))
    exposure = Exposure(paid(), two, refunds=refunds)
    change = learn("lost", exposure, amount_minor=2 * CHARGE_MINOR)
    after = contract_of(change)
    assert after.tranches == ("refund_pending", "refunded")
    assert (after.charged_back, after.settled_at) == (True, None)
    assert told(change)["contract.charged_back"]["undecided"] is True
    assert chargeback_of(change).due_at == LATER
    assert [type(one) for one in change.movements] == [ChargebackCovered]


@pytest.mark.parametrize("state", [RefundState.SENT, RefundState.UNKNOWN])
def test_lost_while_a_refund_may_be_happening_it_waits_for_that(state: RefundState) -> None:
    exposure = msgspec.structs.replace(
        about("refund_pending", charged_back=True), refunds=(waiting(state, 0),)
    )
    change = learn("lost", exposure)
    assert change.contract is None
    assert chargeback_of(change).due_at == LATER


def test_lost_for_less_than_was_paid_it_takes_nothing_that_is_held() -> None:
    assert learn("lost", about("held"), amount_minor=CHARGE_MINOR - 1).contract is None


def test_lost_with_another_dispute_open_what_covers_it_stays_frozen_as_far_as_it_goes() -> None:
    frozen = msgspec.structs.replace(about("held", charged_back=True), others_open=True)
    change = learn("lost", frozen)
    assert contract_of(change).charged_back is True
    assert told(change)["contract.charged_back"]["undecided"] is True
    never = msgspec.structs.replace(about("held"), others_open=True)
    assert contract_of(learn("lost", never)).charged_back is False


# -- a payment that found no contract --------------------------------------------------------------


def test_lost_what_is_parked_covers_it_and_the_rest_is_its_buyers() -> None:
    change = learn("lost", parked(), amount_minor=CHARGE_MINOR - 500)
    assert change.movements == (
        ParkedCovered("INR", CHARGE_MINOR - 500, PROVIDER),
        ParkedRefunded(ALICE.key, "INR", 500, PROVIDER),
    )
    assert change.payment == msgspec.structs.replace(
        paid(PaymentState.PARKED),
        version=3,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=PaymentState.CHARGED_BACK,
    )
    assert [(one.type, one.subject) for one in change.events] == [
        ("chargeback.looked_up", f"chargeback:{'5' * 24}"),
        ("chargeback.covered", f"chargeback:{'5' * 24}"),
        ("payment.refunded", f"payment:{'0' * 24}"),
    ]
    assert told(change)["chargeback.covered"] == {"amount_minor": CHARGE_MINOR - 500}
    assert told(change)["payment.refunded"] == {"amount": 5}
    assert chargeback_of(change).due_at is None
    assert chargeback_of(change).contract is None


def test_lost_together_with_others_it_never_covers_more_than_is_parked() -> None:
    change = learn("lost", parked(others_lost_minor=400), amount_minor=CHARGE_MINOR - 300)
    assert change.movements == (ParkedCovered("INR", CHARGE_MINOR, PROVIDER),)
    assert "payment.refunded" not in told(change)
    change = learn("lost", parked(others_lost_minor=200), amount_minor=CHARGE_MINOR - 300)
    assert [one.amount_minor for one in change.movements] == [CHARGE_MINOR - 100, 100]  # type: ignore[union-attr]


def test_lost_while_another_is_open_what_is_parked_waits() -> None:
    change = learn("lost", parked(others_open=True))
    assert (change.movements, change.payment) == ((), None)
    assert chargeback_of(change).due_at == LATER


@pytest.mark.parametrize(
    ("state", "exposure", "amount_minor"),
    [
        ("lost", parked(), 0),
        ("won", parked(), CHARGE_MINOR),
        ("open", parked(), CHARGE_MINOR),
        ("lost", Exposure(paid(PaymentState.REFUNDED), None), CHARGE_MINOR),
    ],
    ids=["lost for nothing", "won", "open", "not parked any more"],
)
def test_otherwise_a_payment_without_a_contract_stays_what_it_is(
    state: str, exposure: Exposure, amount_minor: int
) -> None:
    change = learn(state, exposure, amount_minor=amount_minor)
    assert (change.movements, change.payment) == ((), None)
    assert chargeback_of(change).due_at == (LATER if state == "open" else None)


def test_what_people_bear_is_taken_from_their_wallets() -> None:
    exposure = msgspec.structs.replace(
        about("released"), buyer=Purse(200, 200), seller=Purse(300, 300)
    )
    change = learn("open", exposure, Taken("txn_1", -1_000))
    assert change.movements == (ChargedBack("INR", PROVIDER, 1_000, ALICE.key, 200, BOB.key, 300),)
    assert change.empties_an_account
