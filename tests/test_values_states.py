"""The words of the small state machines around a contract: what the database takes for one, what a
new one begins with, and what people are told of each."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import earnest
from earnest.domain import payout as payouts
from earnest.domain import refund as refunds
from earnest.domain.chargeback import Chargeback, ChargebackState
from earnest.domain.contract import LIVE, Agreement, Dispute, Money, Work
from earnest.domain.job import Label, Level, Listing
from earnest.domain.movement import Parked
from earnest.domain.payment import (
    PAYABLE,
    TAKEN,
    Capture,
    CaptureKind,
    Outcome,
    Payment,
    PaymentState,
    checkout_metadata,
)
from earnest.domain.payout import STATUS, Cause, Leg, Payout, PayoutState
from earnest.domain.refund import Part, Refund, RefundKind, RefundState
from earnest.ids import PublicId

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
SCHEMA = (Path(earnest.__file__).parent / "migrations" / "schema.sql").read_text()


def words_of(constraint: str) -> set[str]:
    """The words that stand in a constraint of the schema."""
    (line,) = re.findall(rf"CONSTRAINT {constraint} CHECK (.*)", SCHEMA)
    return set(re.findall(r"'([A-Za-z_]+)'::text", line))


# -- in the database ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("contract_agreement_known", Agreement),
        ("contract_work_known", Work),
        ("contract_tranches_known", Money),
        ("contract_dispute_known", Dispute),
        ("payment_state_known", PaymentState),
        ("provider_event_outcome_known", Outcome),
        ("refund_kind_known", RefundKind),
        ("refund_state_known", RefundState),
        ("payout_state_known", PayoutState),
        ("payout_leg_known", Leg),
        ("payout_cause_known", Cause),
        ("chargeback_state_known", ChargebackState),
        ("job_level_known", Level),
        ("job_listing_known", Listing),
    ],
)
def test_the_database_knows_the_same_words(constraint: str, words: Iterable[str]) -> None:
    assert words_of(constraint) == {str(word) for word in words}


def test_the_database_knows_which_of_them_are_due() -> None:
    assert words_of("payout_due_while_open") == payouts.DUE
    # One that is done may be looked up again, and need not.
    assert words_of("refund_due_while_open") == refunds.DUE | {RefundState.DONE}


def test_the_database_knows_which_contracts_are_live() -> None:
    (line,) = re.findall(
        r"live boolean GENERATED ALWAYS AS \(\(agreement = (.*)\)\) STORED", SCHEMA
    )
    assert set(re.findall(r"'([a-z_]+)'::text", line)) == LIVE


# -- what each is ---------------------------------------------------------------------------------


def test_a_session_can_be_paid_until_it_ended_or_its_money_arrived() -> None:
    assert sorted(PAYABLE) == ["open", "opening", "processing"]
    assert sorted(TAKEN) == ["captured", "charged_back", "parked", "refunded"]
    assert set(PaymentState) - PAYABLE - TAKEN == {"expired", "failed"}


def test_an_admin_has_the_refunds_that_nobody_works_at_any_more() -> None:
    assert sorted(refunds.DEAD) == ["failed", "returned"]


def test_owners_see_a_payout_as_pending_paid_or_failed() -> None:
    assert {str(state): shown for state, shown in STATUS.items()} == {
        "planned": "pending",
        "sent": "pending",
        "unknown": "pending",
        "stuck": "pending",
        "done": "paid",
        "failed": "failed",
    }


# -- what a new one begins with -------------------------------------------------------------------

HEAD: dict[str, Any] = {
    "key": 9,
    "public_id": PublicId("0" * 24),
    "business": 1,
    "currency": "INR",
    "created_at": NOW,
    "version": 1,
    "commit_id": 7,
    "updated_at": NOW,
}
OF_PAYOUT: dict[str, Any] = HEAD | {
    "party": 2,
    "provider_account": 3,
    "external_account": "acct_bob",
    "cause": Cause.ASKED,
    "amount_minor": 40_000,
}
OF_REFUND: dict[str, Any] = HEAD | {
    "contract": 5,
    "payment": 6,
    "kind": RefundKind.FULL,
    "parts": (Part(0, 30_000, 400, ()), Part(1, 10_000, 21, ())),
    "amount_minor": 40_000,
    "reason": "late",
}


def beside(given: dict[str, Any], made: msgspec.Struct) -> dict[str, Any]:
    """What nobody said of it."""
    return {name: had for name, had in msgspec.structs.asdict(made).items() if name not in given}


def test_a_new_payment_waits_for_its_session() -> None:
    given = HEAD | {
        "job": 7,
        "buyer": 1,
        "seller": 2,
        "provider_account": 3,
        "amount_minor": 40_000,
        "metadata": {},
    }
    assert beside(given, Payment(**given)) == {
        "state": "opening",
        "contract": None,
        "session_id": None,
        "session_url": "",
        "session_expires_at": None,
        "provider_payment_id": None,
        "captured_at": None,
    }


def test_an_event_without_money_says_nothing_of_money() -> None:
    given: dict[str, Any] = {
        "provider": "sandbox",
        "provider_account": 3,
        "event_id": "evt_1",
        "type": "checkout.session.expired",
        "kind": CaptureKind.EXPIRED,
        "ours": True,
        "occurred_at": NOW,
        "payload": b"{}",
    }
    assert beside(given, Capture(**given)) == {
        "session_id": None,
        "provider_payment_id": None,
        "amount_minor": 0,
        "currency": "",
        "metadata": {},
    }


def test_a_new_payout_is_planned_and_begins_with_the_first_call_of_its_transfer() -> None:
    assert beside(OF_PAYOUT, Payout(**OF_PAYOUT)) == {
        "state": "planned",
        "leg": "transfer",
        "attempts": 0,
        "calls": 1,
        "due_at": None,
        "provider_transfer_id": None,
        "provider_payout_id": None,
        "paid_at": None,
        "last_error": "",
    }


def test_a_new_refund_is_planned_and_has_the_keys_of_its_first_call() -> None:
    assert beside(OF_REFUND, Refund(**OF_REFUND)) == {
        "state": "planned",
        "attempts": 0,
        "calls": 1,
        "due_at": None,
        "provider_refund_id": None,
        "last_error": "",
    }


def test_a_new_chargeback_is_noticed_before_anything_is_known_of_it() -> None:
    given = HEAD | {
        "payment": 6,
        "contract": None,
        "provider_account": 3,
        "provider_dispute_id": "dp_1",
    }
    assert beside(given, Chargeback(**given)) == {
        "state": "noticed",
        "amount_minor": 0,
        "reason": "",
        "evidence_due_at": None,
        "lines": (),
        "attempts": 0,
        "due_at": None,
        "last_error": "",
    }


def test_parked_money_is_in_quarantine_only_when_that_is_said() -> None:
    assert Parked("INR", 1, 3).quarantined is False


def test_a_label_is_offered_until_it_is_taken_off_the_list() -> None:
    assert Label(1, PublicId("0" * 24), "Design").is_listed is True


# -- what is told of it ---------------------------------------------------------------------------


def test_the_owner_of_a_payout_is_a_party_or_the_business_itself() -> None:
    assert Payout(**OF_PAYOUT).owner == "business:1/party:2"
    assert Payout(**OF_PAYOUT | {"party": None}).owner == "business:1"


def test_a_refund_leaves_the_seller_what_all_its_parts_do() -> None:
    assert Refund(**OF_REFUND).seller_minor == 421


def test_the_provider_is_told_whom_a_checkout_is_for() -> None:
    payment, buyer, seller = PublicId("p" * 24), PublicId("b" * 24), PublicId("s" * 24)
    assert checkout_metadata(payment, {"jobId": "j"}, buyer, seller) == {
        "paymentId": payment,
        "jobId": "j",
        "clientId": buyer,
        "freelancerId": seller,
    }
