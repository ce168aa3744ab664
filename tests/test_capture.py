"""What a provider's event does to a payment and its contract, in values alone (D2, D14)."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.domain.capture import Situation, take_capture
from earnest.domain.change import Change
from earnest.domain.contract import Agreement, Contract, Money
from earnest.domain.movement import Funded, Parked
from earnest.domain.payment import Capture, CaptureKind, Consumed, Outcome, Payment, PaymentState
from hired import LOGO, PROVIDER, payment
from reachable import ALICE, AMOUNT_MINOR, BOB, MALLET, NOW, PARTNER, SHOP, Drawn, beginnings

THEN = NOW + timedelta(hours=1)
NAMES = {"paymentId": "9" * 24, "jobId": "7" * 24, "clientId": "a", "freelancerId": "b"}
ASKED = payment(metadata=NAMES)


def event(kind: CaptureKind = CaptureKind.PAID, **changes: Any) -> Capture:
    """The provider says that Alice has paid what we asked for."""
    plain = Capture(
        provider="sandbox",
        provider_account=PROVIDER,
        event_id="evt_1",
        type="checkout.session.completed",
        kind=kind,
        ours=True,
        occurred_at=NOW,
        payload=b"{}",
        session_id="cs_1",
        provider_payment_id="pi_1",
        amount_minor=AMOUNT_MINOR,
        currency="INR",
        metadata=NAMES,
    )
    return msgspec.structs.replace(plain, **changes)


def contract(**changes: Any) -> Contract:
    """Alice's unpaid contract with Bob."""
    return msgspec.structs.replace(next(beginnings()), version=1, **changes)


def situation(**changes: Any) -> Situation:
    """Her payment is open, and there is no contract yet."""
    plain = Situation(ASKED, None, None, LOGO, applied=True, quarantined=False, counted=False)
    return msgspec.structs.replace(plain, **changes)


def take(capture: Capture, around: Situation | None = None) -> Change:
    return take_capture(capture, around or situation(), SHOP, THEN, Drawn().ids)


def consumed(change: Change) -> tuple[str, str]:
    """As what, and why; whatever it was, the event is known from now on."""
    assert change.consumed is not None
    assert change.occurred_at == NOW
    assert change.recorded_at == change.consumed.received_at == THEN
    assert change.consumed.took_money is bool(change.movements)
    return change.consumed.outcome, change.consumed.reason


def told(change: Change) -> list[tuple[str, str, dict[str, Any]]]:
    return [(one.subject, one.type, msgspec.json.decode(one.body)) for one in change.events]


def payment_of(change: Change) -> Payment:
    assert change.payment is not None
    return change.payment


# -- money that finds its contract ----------------------------------------------------------------


@pytest.mark.parametrize("where", ["bound", "live"])
def test_it_funds_the_contract_that_it_is_for(where: str) -> None:
    unpaid = contract()
    change = take(event(), situation(**{where: unpaid}))
    assert consumed(change) == ("applied", "funded its contract")
    assert change.contract is not None
    assert (change.contract.key, change.contract.money) == (unpaid.key, "held")
    assert change.movements == (Funded(unpaid.key, 0, "INR", AMOUNT_MINOR, PROVIDER),)
    after = payment_of(change)
    assert (after.state, after.contract) == ("captured", unpaid.key)
    assert (after.provider_payment_id, after.captured_at) == ("pi_1", NOW)
    assert change.refund is None


def test_the_live_contract_comes_before_the_one_that_it_was_opened_for() -> None:
    ended = contract(agreement=Agreement.CANCELLED)
    again = contract(key=ended.key + 50)
    change = take(event(), situation(bound=ended, live=again))
    assert payment_of(change).contract == again.key


def test_paid_first_it_makes_the_contract_that_its_client_then_claims() -> None:
    change = take(event())
    assert consumed(change) == ("applied", "funded its contract")
    made = change.contract
    assert made is not None
    assert (made.unclaimed, made.version, made.money) == (True, 1, "held")
    assert (made.buyer, made.seller, made.job) == (ALICE.key, BOB.key, LOGO.key)
    assert (made.terms.title, made.amount_minor, made.created_at) == ("Logo", AMOUNT_MINOR, THEN)


def test_it_goes_back_at_once_where_the_business_refunds_to_the_source() -> None:
    settings = msgspec.structs.replace(SHOP.settings, refund_to="source")
    business = msgspec.structs.replace(SHOP, settings=settings)
    around = situation(bound=contract(agreement=Agreement.CANCELLED))
    change = take_capture(event(), around, business, THEN, Drawn().ids)
    assert change.refund is not None
    assert take(event(), around).refund is None


# -- money that waits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "around",
    [
        situation(job=None),
        situation(job=msgspec.structs.replace(LOGO, listing="Closed")),
        situation(job=msgspec.structs.replace(LOGO, rate_minor=AMOUNT_MINOR + 1)),
        situation(applied=False),
        situation(bound=contract(seller=MALLET.key)),
        situation(live=contract(seller=MALLET.key)),
        situation(live=contract(tranches=(Money.HELD,))),
    ],
    ids=["no job", "closed", "rate changed", "withdrew", "other's", "hired other", "paid"],
)
def test_what_finds_no_contract_is_parked(around: Situation) -> None:
    change = take(event(), around)
    assert consumed(change) == ("parked", "no contract matches")
    assert change.movements == (Parked("INR", AMOUNT_MINOR, PROVIDER),)
    assert (payment_of(change).state, change.contract) == ("parked", None)
    assert payment_of(change).captured_at == NOW
    assert told(change) == [(f"payment:{'9' * 24}", "payment.parked", {})]


# -- money that is not what we asked for ----------------------------------------------------------


@pytest.mark.parametrize(
    ("capture", "around", "reason"),
    [
        (event(), situation(payment=None), "a session that we did not open"),
        (event(amount_minor=AMOUNT_MINOR - 1), situation(), "not the amount that we asked for"),
        (event(currency="SAR"), situation(), "not the amount that we asked for"),
        (event(provider_account=4), situation(), "not the amount that we asked for"),
        (event(metadata={}), situation(), "not for whom we asked"),
        (event(metadata=NAMES | {"clientId": "x"}), situation(), "not for whom we asked"),
        (event(metadata=NAMES | {"paymentId": "x"}), situation(), "not for whom we asked"),
    ],
)
def test_what_we_did_not_ask_for_is_quarantined_and_shown_as_what_it_is(
    capture: Capture, around: Situation, reason: str
) -> None:
    change = take(capture, around)
    assert consumed(change) == ("quarantined", reason)
    assert change.movements == (
        Parked(capture.currency, capture.amount_minor, capture.provider_account, quarantined=True),
    )
    assert (change.payment, change.contract) == (None, None)
    body = {
        "event": "evt_1",
        "amount_minor": capture.amount_minor,
        "currency": capture.currency,
        "reason": reason,
    }
    assert told(change) == [("provider_event:evt_1", "payment.quarantined", body)]
    assert change.events[0].key == change.commit_id


@pytest.mark.parametrize(
    ("capture", "around"),
    [
        (event(amount_minor=0), situation()),
        (event(amount_minor=-1), situation()),
        (event(currency="XXX"), situation()),
        (event(amount_minor=1), situation(quarantined=True)),
    ],
    ids=["nothing", "less than nothing", "no currency", "counted before"],
)
def test_what_proves_no_new_money_posts_none(capture: Capture, around: Situation) -> None:
    change = take(capture, around)
    assert consumed(change)[0] == "quarantined"
    assert change.movements == ()


def test_the_smallest_amount_is_money() -> None:
    (money,) = take(event(amount_minor=1)).movements
    assert money == Parked("INR", 1, PROVIDER, quarantined=True)


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        {key: value for key, value in NAMES.items() if key != "paymentId"},
        NAMES | {"relay": "more words"},
    ],
)
def test_a_relay_names_the_job_and_both_people_and_may_say_more(names: dict[str, str]) -> None:
    assert consumed(take(event(metadata=names)))[0] == "applied"


# -- events that bring no money -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capture", "around", "outcome", "reason"),
    [
        (event(CaptureKind.OTHER), situation(), "ignored", "not a kind we act on"),
        (event(ours=False), situation(), "quarantined", "another account or mode"),
        (
            event(),
            situation(counted=True),
            "quarantined",
            "money that was counted for another session",
        ),
        *(
            (
                event(),
                situation(payment=payment(PaymentState(state))),
                "ignored",
                f"already {state}",
            )
            for state in ("captured", "parked", "refunded", "charged_back")
        ),
        (
            event(CaptureKind.FAILED),
            situation(payment=None),
            "ignored",
            "the session is unknown",
        ),
        (
            event(CaptureKind.EXPIRED),
            situation(payment=payment(PaymentState.CAPTURED)),
            "ignored",
            "the session is captured",
        ),
    ],
)
def test_it_is_known_from_now_on_and_changes_nothing(
    capture: Capture, around: Situation, outcome: str, reason: str
) -> None:
    change = take(capture, around)
    assert consumed(change) == (outcome, reason)
    assert (change.payment, change.contract, change.movements) == (None, None, ())
    body = {"type": capture.type, "reason": reason}
    assert told(change) == [("provider_event:evt_1", f"provider_event.{outcome}", body)]
    assert change.consumed == Consumed(capture, Outcome(outcome), reason, THEN, took_money=False)
    assert change.events[0].key == change.commit_id


@pytest.mark.parametrize("kind", ["processing", "failed", "expired"])
def test_a_session_without_money_yet_or_for_ever_is_told(kind: str) -> None:
    change = take(event(CaptureKind(kind)), situation(bound=contract()))
    assert consumed(change) == ("applied", f"now {kind}")
    assert (payment_of(change).state, change.contract) == (kind, None)
    assert told(change) == [(f"payment:{'9' * 24}", f"payment.{kind}", {})]


def partners(**changes: Any) -> Situation:
    """The payment of a partner's contract, for which there is no job."""
    without = msgspec.structs.replace(ASKED, job=None)
    bound = contract(business=PARTNER.key, job=None, **changes)
    return situation(payment=without, bound=bound, job=None)


def test_a_partners_contract_shows_that_its_buyers_bank_is_at_work() -> None:
    waits = (Money.AWAITING_PAYMENT, Money.AWAITING_PAYMENT)
    change = take(event(CaptureKind.PROCESSING), partners(tranches=(Money.UNFUNDED,) * 2))
    assert consumed(change) == ("applied", "now processing")
    assert change.contract is not None
    assert change.contract.tranches == waits
    assert payment_of(change).state == "processing"
    assert payment_of(change).commit_id == change.contract.commit_id == change.commit_id
    ((_, type_, body),) = told(change)
    assert type_ == "payment.processing"
    assert body == {"status": "waitingForBankPayment", "previousStatus": "pending"}
    change = take(event(CaptureKind.FAILED), partners(tranches=waits))
    assert change.contract is not None
    assert change.contract.tranches == ("unfunded", "unfunded")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("processing", {"tranches": (Money.AWAITING_PAYMENT,)}),
        ("processing", {"agreement": Agreement.CANCELLED}),
        ("processing", {"tranches": (Money.HELD,)}),
        ("expired", {}),
    ],
)
def test_otherwise_a_partners_contract_stays_as_it_is(kind: str, changes: dict[str, Any]) -> None:
    change = take(event(CaptureKind(kind)), partners(**changes))
    assert change.contract is None
    assert payment_of(change).state == kind


def test_a_payment_whose_contract_is_not_known_is_told_alone() -> None:
    around = msgspec.structs.replace(partners(), bound=None)
    assert payment_of(take(event(CaptureKind.FAILED), around)).state == "failed"
