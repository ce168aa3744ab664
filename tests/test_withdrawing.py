"""Each step of a payout: what becomes of it, what is told, and where the money goes, in values."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.domain import withdrawing
from earnest.domain.business import Settings
from earnest.domain.change import Change
from earnest.domain.movement import PaidOut, PayoutRefused, PayoutReturned, Withdrawn
from earnest.domain.party import SYSTEM
from earnest.domain.payout import Cause, Leg, Payout, PayoutState
from earnest.domain.refusals import WrongRole
from earnest.domain.withdrawing import Funds, NotEnough, NotStuck, OnboardingFirst
from earnest.errors import InvalidField
from reachable import BOB, NOW, OLGA, Drawn

SHOP, PROVIDER = 1, 3
THEN = NOW + timedelta(hours=1)
WALLET = Funds(SHOP, BOB.key, "INR", 50_000, PROVIDER, "acct_bob", is_payable=True)
OF_BOB: dict[str, Any] = {
    "business": SHOP,
    "party": BOB.key,
    "currency": "INR",
    "amount_minor": 40_000,
    "provider_account": PROVIDER,
}


def withdraw(funds: Funds = WALLET, amount_minor: int = 40_000, **more: Any) -> Change:
    return withdrawing.withdraw(funds, Settings(), BOB, NOW, Drawn().ids, amount_minor, **more)


def payout_of(change: Change) -> Payout:
    assert change.payout is not None
    return change.payout


def a_payout(**changes: Any) -> Payout:
    """Bob's 400.00 on their way."""
    return msgspec.structs.replace(payout_of(withdraw()), attempts=4, **changes)


def what_became(before: Payout, change: Change) -> dict[str, Any]:
    """The facts of the payout that are others now; it is always one version on."""
    now = msgspec.structs.asdict(payout_of(change))
    assert now.pop("version") == before.version + 1
    assert now.pop("commit_id") == change.commit_id == change.events[0].key
    assert now.pop("updated_at") == change.recorded_at == change.occurred_at == THEN
    return {name: value for name, value in now.items() if getattr(before, name) != value}


def what_is_told(change: Change) -> tuple[str, dict[str, Any], str]:
    (event,) = change.events
    assert event.subject == f"payout:{payout_of(change).public_id}"
    return event.type, msgspec.json.decode(event.body), event.actor


# -- asked for ------------------------------------------------------------------------------------


def test_withdrawing_takes_the_money_out_of_the_wallet_at_once() -> None:
    change = withdraw()
    payout = payout_of(change)
    assert payout == Payout(
        key=payout.key,
        public_id=payout.public_id,
        business=SHOP,
        party=BOB.key,
        provider_account=PROVIDER,
        external_account="acct_bob",
        cause=Cause.ASKED,
        amount_minor=40_000,
        currency="INR",
        created_at=NOW,
        version=1,
        commit_id=change.commit_id,
        updated_at=NOW,
        state=PayoutState.PLANNED,
        leg=Leg.TRANSFER,
        due_at=NOW,
    )
    assert change.movements == (Withdrawn(**OF_BOB),)
    told = {"owner": "business:1/party:2", "amount_minor": 40_000, "currency": "INR"}
    assert what_is_told(change) == ("payout.requested", told, "freelancer:2")
    assert change.empties_an_account


def test_a_business_is_paid_what_it_is_owed_when_its_schedule_says_so() -> None:
    owed = msgspec.structs.replace(WALLET, party=None)
    change = withdraw(owed, cause=Cause.SCHEDULED)
    assert payout_of(change).cause == "scheduled"
    assert what_is_told(change)[1]["owner"] == "business:1"
    assert change.movements == (Withdrawn(**OF_BOB | {"party": None}),)


def test_the_whole_wallet_can_be_paid_out_and_not_a_paisa_more() -> None:
    assert payout_of(withdraw(amount_minor=50_000)).amount_minor == 50_000
    with pytest.raises(NotEnough):
        withdraw(amount_minor=50_001)


def test_the_minimum_can_be_paid_out_and_not_a_paisa_less() -> None:
    assert payout_of(withdraw(amount_minor=100)).amount_minor == 100
    with pytest.raises(InvalidField) as refused:
        withdraw(amount_minor=99)
    assert str(refused.value) == "amount must be at least 1"


@pytest.mark.parametrize("lack", [{"external_account": None}, {"is_payable": False}])
def test_whoever_has_not_said_where_to_is_sent_to_the_onboarding(lack: dict[str, Any]) -> None:
    with pytest.raises(OnboardingFirst):
        withdraw(msgspec.structs.replace(WALLET, **lack))


# -- what the worker finds out --------------------------------------------------------------------


def test_a_step_moves_no_money_and_no_time_backwards() -> None:
    before = a_payout(updated_at=THEN)
    change = withdrawing.step(before, "payout.sent", NOW, Drawn().ids, state=PayoutState.SENT)
    assert what_became(before, change) == {"state": "sent"}
    assert what_is_told(change) == ("payout.sent", {}, "system:0")
    assert change.movements == ()


def test_once_transferred_the_next_call_is_the_payout_to_the_bank() -> None:
    before = a_payout(state=PayoutState.SENT, calls=3)
    change = withdrawing.transferred(before, "tr_1", THEN, Drawn().ids)
    assert what_became(before, change) == {
        "provider_transfer_id": "tr_1",
        "leg": "payout",
        "state": "planned",
        "attempts": 0,
        "calls": 1,
        "due_at": THEN,
    }
    assert what_is_told(change)[:2] == ("payout.transferred", {"providerTransfer": "tr_1"})
    assert change.movements == (PaidOut(**OF_BOB),)
    assert type(change.movements[0]) is PaidOut


def test_once_the_bank_has_it_nothing_is_due_and_the_first_day_stands() -> None:
    before = a_payout(leg=Leg.PAYOUT, state=PayoutState.SENT, last_error="slow")
    change = withdrawing.completed(before, "po_1", THEN, Drawn().ids)
    done = {
        "state": "done",
        "due_at": None,
        "provider_payout_id": "po_1",
        "paid_at": THEN,
        "last_error": "",
    }
    assert what_became(before, change) == done
    assert what_is_told(change)[:2] == ("payout.completed", {"providerPayout": "po_1"})
    assert change.movements == ()
    before = msgspec.structs.replace(before, paid_at=NOW)
    again = withdrawing.completed(before, "po_1", THEN, Drawn().ids)
    assert payout_of(again).paid_at == NOW


@pytest.mark.parametrize("state", PayoutState)
def test_news_of_it_are_looked_up_unless_it_is_settled(state: PayoutState) -> None:
    before = a_payout(state=state)
    change = withdrawing.look_again(before, THEN, Drawn().ids)
    if state in (PayoutState.FAILED, PayoutState.STUCK):
        assert change is None
        return
    assert change is not None
    looked_at = {"due_at": THEN} | ({"state": "sent"} if state is PayoutState.DONE else {})
    assert what_became(before, change) == looked_at
    assert what_is_told(change) == ("payout.hinted", {}, "system:0")
    assert change.movements == ()


def test_a_refused_transfer_leaves_the_money_in_the_wallet() -> None:
    before = a_payout(state=PayoutState.SENT)
    change = withdrawing.refused(before, "closed", THEN, Drawn().ids)
    failed = {"state": "failed", "due_at": None, "last_error": "closed"}
    assert what_became(before, change) == failed
    assert what_is_told(change) == ("payout.refused", {"why": "closed"}, "system:0")
    assert change.movements == (PayoutRefused(**OF_BOB),)
    assert type(change.movements[0]) is PayoutRefused


def test_a_refused_payout_brings_the_transfer_back_first() -> None:
    before = a_payout(leg=Leg.PAYOUT, state=PayoutState.SENT, calls=2, paid_at=NOW)
    change = withdrawing.refused(before, "closed", THEN, Drawn().ids)
    assert what_became(before, change) == {
        "leg": "return",
        "state": "planned",
        "attempts": 0,
        "calls": 1,
        "due_at": THEN,
        "paid_at": None,
        "last_error": "closed",
    }
    assert what_is_told(change) == ("payout.bounced", {"why": "closed"}, "system:0")
    assert change.movements == ()


def test_a_return_that_is_refused_waits_for_an_operator() -> None:
    before = a_payout(leg=Leg.RETURN, state=PayoutState.SENT)
    change = withdrawing.refused(before, "gone", THEN, Drawn().ids)
    assert what_became(before, change) == {"state": "stuck", "due_at": None, "last_error": "gone"}
    assert what_is_told(change) == ("payout.stuck", {"why": "gone"}, "system:0")
    assert change.movements == ()


def test_what_came_back_is_in_the_wallet_and_says_why() -> None:
    before = a_payout(leg=Leg.RETURN, state=PayoutState.SENT, last_error="closed")
    change = withdrawing.returned(before, THEN, Drawn().ids)
    assert what_became(before, change) == {"state": "failed", "due_at": None}
    assert what_is_told(change) == ("payout.returned", {}, "system:0")
    assert change.movements == (PayoutReturned(**OF_BOB),)
    assert type(change.movements[0]) is PayoutReturned


def test_an_admin_has_a_stuck_return_asked_again_under_a_new_key() -> None:
    before = a_payout(leg=Leg.RETURN, state=PayoutState.STUCK, calls=2, due_at=None)
    change = withdrawing.retry(before, OLGA, THEN, Drawn().ids)
    assert what_became(before, change) == {"state": "unknown", "calls": 3, "due_at": THEN}
    assert what_is_told(change) == ("payout.retried", {}, "admin:5")
    for actor in (BOB, SYSTEM):
        with pytest.raises(WrongRole):
            withdrawing.retry(before, actor, THEN, Drawn().ids)


@pytest.mark.parametrize("state", [one for one in PayoutState if one is not PayoutState.STUCK])
def test_nothing_else_is_retried(state: PayoutState) -> None:
    with pytest.raises(NotStuck):
        withdrawing.retry(a_payout(state=state), OLGA, THEN, Drawn().ids)
