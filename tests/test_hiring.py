"""From a job to a contract and its payment, in whichever order they come (D2), in values alone."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from earnest.domain import hiring
from earnest.domain.change import Change
from earnest.domain.contract import Agreement, Contract, Money
from earnest.domain.hiring import (
    ContractExists,
    ContractWasCanceled,
    FreelancerNotFound,
    Hire,
    HireYourself,
    JobNotOpen,
    NotApplied,
    NotParked,
    NotYourJob,
    OtherFreelancerBeingPaid,
    PaidAlready,
    PaymentWaits,
)
from earnest.domain.movement import Attached, Funded, ParkedRefunded
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.refusals import AlreadyFunded, ChargedBackNow, WrongRole
from earnest.domain.verbs import created_body
from earnest.errors import EarnestError, InvalidField
from earnest.ids import PublicId
from hired import LOGO, PROVIDER, hire, payment
from reachable import (
    ALICE,
    AMOUNT_MINOR,
    BOB,
    MALLET,
    MALLORY,
    NOW,
    OLGA,
    PARTNER,
    SHOP,
    Drawn,
    beginnings,
)

THEN = NOW + timedelta(hours=1)


def created() -> Contract:
    """A contract that Alice made and has not paid."""
    return msgspec.structs.replace(next(beginnings()), version=1)


def paid_first() -> Contract:
    """One that her payment made, and that she has not asked for yet."""
    return list(beginnings())[1]


def create(situation: Hire, actor: Actor = ALICE, amount_minor: int = AMOUNT_MINOR) -> Change:
    return hiring.create_contract(situation, SHOP, actor, THEN, Drawn().ids, amount_minor)


def pay(situation: Hire, actor: Actor = ALICE) -> Payment | Change:
    return hiring.open_payment(situation, SHOP, PROVIDER, actor, THEN, Drawn().ids)


def told(change: Change) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, msgspec.json.decode(event.body)) for event in change.events]


def contract_of(change: Change) -> Contract:
    assert change.contract is not None
    return change.contract


# -- who may hire whom ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "actor", "refusal"),
    [
        (hire(), BOB, WrongRole),
        (hire(), OLGA, WrongRole),
        (hire(), MALLORY, NotYourJob),
        (hire(seller=None), ALICE, FreelancerNotFound),
        (hire(seller=ALICE.key), ALICE, HireYourself),
    ],
)
def test_only_the_jobs_client_hires_or_pays_and_only_somebody_else(
    situation: Hire, actor: Actor, refusal: type[EarnestError]
) -> None:
    with pytest.raises(refusal):
        create(situation, actor)
    with pytest.raises(refusal):
        pay(situation, actor)


@pytest.mark.parametrize(
    ("situation", "refusal"),
    [
        (hire(job=msgspec.structs.replace(LOGO, listing="Closed")), JobNotOpen),
        (hire(applied=False), NotApplied),
        (hire(contract=created()), ContractExists),
        (hire(contract=created(), seller=MALLET.key), JobNotOpen),
        (hire(contract=paid_first(), seller=MALLET.key), JobNotOpen),
    ],
)
def test_it_does_not_hire_where_there_is_nobody_to_hire(
    situation: Hire, refusal: type[EarnestError]
) -> None:
    with pytest.raises(refusal):
        create(situation)


@pytest.mark.parametrize("situation", [hire(), hire(contract=paid_first())])
def test_the_amount_is_the_jobs_rate(situation: Hire) -> None:
    for wrong in (AMOUNT_MINOR - 1, AMOUNT_MINOR + 1):
        with pytest.raises(InvalidField) as refused:
            create(situation, amount_minor=wrong)
        assert str(refused.value) == "amount must be the rate of the job"


# -- creating -------------------------------------------------------------------------------------


def test_hiring_makes_a_contract_at_the_jobs_rate() -> None:
    change = create(hire())
    contract = contract_of(change)
    assert (contract.buyer, contract.seller, contract.job) == (ALICE.key, BOB.key, LOGO.key)
    assert (contract.terms.title, contract.amount_minor) == ("Logo", AMOUNT_MINOR)
    assert (contract.version, contract.unclaimed, contract.money) == (1, False, "unfunded")
    assert contract.created_at == contract.updated_at == THEN
    body = msgspec.json.decode(msgspec.json.encode(created_body(contract)))
    assert told(change) == [("contract.created", body)]
    assert (change.payment, change.movements) == (None, ())


def test_hiring_after_paying_claims_the_contract_that_the_payment_made() -> None:
    change = create(hire(contract=paid_first()))
    assert contract_of(change).unclaimed is False
    assert [type_ for type_, _ in told(change)] == ["contract.claimed"]
    assert contract_of(change).key == paid_first().key


def test_an_open_payment_for_the_same_is_bound_to_the_contract() -> None:
    change = create(hire(payment=payment()))
    assert change.payment == msgspec.structs.replace(
        payment(),
        version=3,
        commit_id=change.commit_id,
        updated_at=THEN,
        contract=contract_of(change).key,
    )
    assert (contract_of(change).money, change.movements) == ("unfunded", ())
    assert [type_ for type_, _ in told(change)] == ["contract.created"]


@pytest.mark.parametrize(
    "other",
    [
        {"job": 8},
        {"buyer": MALLORY.key},
        {"seller": MALLET.key},
        {"amount_minor": AMOUNT_MINOR + 1},
        {"currency": "SAR"},
    ],
)
@pytest.mark.parametrize("state", [PaymentState.OPEN, PaymentState.PARKED])
def test_a_payment_for_anything_else_is_left_alone(
    other: dict[str, Any], state: PaymentState
) -> None:
    change = create(hire(payment=payment(state, **other)))
    assert (change.payment, change.movements) == (None, ())
    assert contract_of(change).money == "unfunded"


def test_a_parked_payment_funds_the_contract_as_it_is_made() -> None:
    parked = payment(PaymentState.PARKED, captured_at=NOW)
    change = create(hire(payment=parked))
    contract = contract_of(change)
    assert (contract.version, contract.money, contract.funded_at) == (1, "held", THEN)
    assert change.movements == (Attached(contract.key, 0, "INR", AMOUNT_MINOR, PROVIDER),)
    assert type(change.movements[0]) is Attached
    assert change.payment == msgspec.structs.replace(
        parked,
        version=3,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=PaymentState.CAPTURED,
        contract=contract.key,
    )
    assert [type_ for type_, _ in told(change)] == ["contract.created", "payment.completed"]
    assert told(change)[1][1] == {"payment": "9" * 24, "amount": 12_000}


def test_a_parked_payment_whose_bank_wants_it_back_funds_nothing() -> None:
    with pytest.raises(ChargedBackNow):
        create(hire(payment=payment(PaymentState.PARKED), charged_back=True))
    assert create(hire(payment=payment(), charged_back=True)).payment is not None


# -- opening a payment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "refusal"),
    [
        (hire(contract=created(), seller=MALLET.key), JobNotOpen),
        (hire(contract=paid_first(), seller=MALLET.key), OtherFreelancerBeingPaid),
        (hire(contract=paid_first()), PaidAlready),
        (hire(ended=True), ContractWasCanceled),
        (hire(payment=payment(seller=MALLET.key)), OtherFreelancerBeingPaid),
        (hire(payment=payment(PaymentState.PARKED)), PaymentWaits),
        (hire(applied=False), NotApplied),
        (hire(job=msgspec.structs.replace(LOGO, listing="Ongoing")), JobNotOpen),
    ],
)
def test_it_opens_no_payment_that_would_be_one_too_many(
    situation: Hire, refusal: type[EarnestError]
) -> None:
    with pytest.raises(refusal):
        pay(situation)


@pytest.mark.parametrize("state", ["opening", "open", "processing"])
def test_a_payment_that_is_open_is_used_again(state: str) -> None:
    there = payment(PaymentState(state))
    assert pay(hire(payment=there)) is there
    assert pay(hire(payment=there, contract=created())) is there


@pytest.mark.parametrize("contract", [None, created()], ids=["no contract yet", "a contract"])
def test_a_payment_asks_for_what_the_contract_or_the_job_says(contract: Contract | None) -> None:
    # With a contract, neither the listing nor the application matters any more.
    situation = hire(contract=contract, ended=contract is not None, applied=contract is None)
    alice = msgspec.structs.replace(ALICE, public_id=PublicId("a" * 24))
    change = pay(situation, alice)
    assert isinstance(change, Change)
    opened = change.payment
    assert opened is not None
    assert opened == Payment(
        key=opened.key,
        public_id=opened.public_id,
        business=SHOP.key,
        job=LOGO.key,
        buyer=ALICE.key,
        seller=BOB.key,
        provider_account=PROVIDER,
        amount_minor=AMOUNT_MINOR,
        currency="INR",
        metadata={
            "paymentId": opened.public_id,
            "jobId": "7" * 24,
            "clientId": "a" * 24,
            "freelancerId": "b" * 24,
        },
        created_at=THEN,
        version=1,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=PaymentState.OPENING,
        contract=contract.key if contract else None,
    )
    (event,) = change.events
    assert (event.type, event.subject) == ("payment.opening", f"payment:{opened.public_id}")
    assert (event.actor, event.body, event.key) == ("client:1", "{}", change.commit_id)
    assert (change.contract, change.movements) == (None, ())
    assert (change.recorded_at, change.occurred_at) == (THEN, THEN)


def test_a_payment_asks_for_the_contracts_amount_whatever_the_job_says_now() -> None:
    dearer = msgspec.structs.replace(LOGO, rate_minor=AMOUNT_MINOR + 1)
    for contract, amount_minor in ((created(), AMOUNT_MINOR), (None, AMOUNT_MINOR + 1)):
        change = pay(hire(job=dearer, contract=contract))
        assert isinstance(change, Change)
        assert change.payment is not None
        assert change.payment.amount_minor == amount_minor


# -- the money arrives ----------------------------------------------------------------------------


def fund(contract: Contract, *, captured_at: datetime | None = None, **more: Any) -> Change:
    paid = payment(amount_minor=contract.charge_minor, captured_at=captured_at)
    return hiring.fund(contract, paid, SYSTEM, THEN, Drawn().ids, **more)


def test_it_is_held_tranche_by_tranche() -> None:
    before = created()
    (priced,) = before.terms.tranches
    smaller = msgspec.structs.replace(priced, base_minor=5_000, lines=())
    two = msgspec.structs.replace(
        before,
        tranches=(Money.UNFUNDED, Money.UNFUNDED),
        terms=msgspec.structs.replace(before.terms, tranches=(priced, smaller)),
    )
    change = fund(two)
    assert contract_of(change).tranches == ("held", "held")
    assert contract_of(change).funded_at == THEN
    assert change.movements == (
        Funded(before.key, 0, "INR", AMOUNT_MINOR, PROVIDER),
        Funded(before.key, 1, "INR", 5_000, PROVIDER),
    )
    assert told(change) == [("payment.completed", {"payment": "9" * 24, "amount": 12_050})]
    assert (change.refund, contract_of(change).unclaimed) == (None, False)


def test_the_payment_is_captured_when_the_provider_said_so_first() -> None:
    contract = created()
    for before, captured_at in ((None, THEN), (NOW, NOW)):
        change = fund(contract, captured_at=before)
        assert change.payment == msgspec.structs.replace(
            payment(),
            version=3,
            commit_id=change.commit_id,
            updated_at=THEN,
            state=PaymentState.CAPTURED,
            contract=contract.key,
            captured_at=captured_at,
        )


def test_it_is_taken_once() -> None:
    with pytest.raises(AlreadyFunded):
        fund(paid_first())


def test_a_contract_that_had_ended_holds_it_with_a_refund_pending() -> None:
    ended = msgspec.structs.replace(created(), agreement=Agreement.CANCELLED)
    change = fund(ended)
    assert contract_of(change).tranches == ("refund_pending",)
    assert change.refund is None
    assert [type_ for type_, _ in told(change)] == ["payment.completed"]


def test_it_goes_back_to_its_source_at_once_where_the_business_wants_that() -> None:
    ended = msgspec.structs.replace(created(), agreement=Agreement.CANCELLED, business=PARTNER.key)
    change = fund(ended, to_source=True)
    refund = change.refund
    assert refund is not None
    assert (refund.kind, refund.state, refund.amount_minor) == ("late", "planned", AMOUNT_MINOR)
    assert (refund.version, refund.commit_id, refund.payment) == (1, change.commit_id, 99)
    assert [type_ for type_, _ in told(change)] == [
        "payment.completed",
        "refund.full-initiated",
    ]
    assert told(change)[0][1]["status"] == "refundInProgress"
    assert fund(msgspec.structs.replace(created()), to_source=True).refund is None


# -- parked, and given back -----------------------------------------------------------------------


def give_back(found: Payment, actor: Actor = OLGA, *, charged_back: bool = False) -> Change:
    return hiring.refund_parked(found, actor, THEN, Drawn().ids, charged_back=charged_back)


def test_an_admin_gives_a_parked_payment_back_to_its_buyers_wallet() -> None:
    parked = payment(PaymentState.PARKED)
    change = give_back(parked)
    assert change.payment == msgspec.structs.replace(
        parked,
        version=3,
        commit_id=change.commit_id,
        updated_at=THEN,
        state=PaymentState.REFUNDED,
    )
    assert change.movements == (ParkedRefunded(ALICE.key, "INR", AMOUNT_MINOR, PROVIDER),)
    assert told(change) == [("payment.refunded", {"amount": 12_000})]
    assert change.events[0].actor == "admin:5"


def test_nobody_else_gives_it_back_nor_what_is_not_parked_nor_what_the_bank_wants() -> None:
    with pytest.raises(WrongRole):
        give_back(payment(PaymentState.PARKED), ALICE)
    for state in PaymentState:
        if state is not PaymentState.PARKED:
            with pytest.raises(NotParked):
                give_back(payment(state))
    with pytest.raises(ChargedBackNow):
        give_back(payment(PaymentState.PARKED), charged_back=True)
