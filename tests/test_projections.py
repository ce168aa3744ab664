"""Every combination of facets has a status in both APIs; those that happen, the right one."""

from itertools import product
from typing import Any

import msgspec
import pytest

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.projection import (
    MARKETPLACE_STATUSES,
    PARTNER_STATUSES,
    escrow_status,
    marketplace_status,
    milestone_status,
    partner_status,
    release_fund_status,
    step,
)
from reachable import REACHABLE, beginnings, state

MARKETPLACE = {"Pending", "Started", "Ongoing", "Completed", "Canceled"}
PARTNER = {
    "draft",
    "pending",
    "accepted",
    "approved",
    "rejected",
    "expired",
    "completed",
    "cancelled",
    "waitingForBankPayment",
    "escrow",
    "dispute",
    "released",
    "refunded",
    "partiallyRefunded",
    "terminated",
    "refundInProgress",
}

# What each reachable (agreement, work, money) is called: status, releaseFundStatus, the escrow's
# status ("" before the money came), and the partner's word for it. By hand, from the two specs.
TABLE = """
pending    not_started  unfunded           Pending    NotRequested  -         pending
pending    not_started  held               Pending    NotRequested  funded    escrow
accepted   started      unfunded           Started    NotRequested  -         approved
accepted   started      held               Started    NotRequested  funded    escrow
accepted   ongoing      held               Ongoing    NotRequested  funded    escrow
accepted   completed    held               Completed  NotRequested  funded    escrow
accepted   completed    release_requested  Completed  Requested     funded    escrow
accepted   completed    released           Completed  Approved      released  completed
cancelled  not_started  unfunded           Canceled   NotRequested  -         cancelled
cancelled  started      unfunded           Canceled   NotRequested  -         cancelled
cancelled  not_started  refund_pending     Canceled   NotRequested  funded    refundInProgress
cancelled  started      refund_pending     Canceled   NotRequested  funded    refundInProgress
cancelled  ongoing      refund_pending     Canceled   NotRequested  funded    refundInProgress
cancelled  not_started  refunded           Canceled   Approved      refunded  refunded
cancelled  started      refunded           Canceled   Approved      refunded  refunded
cancelled  ongoing      refunded           Canceled   Approved      refunded  refunded
"""
NAMES = {tuple(row[:3]): tuple(row[3:]) for row in map(str.split, TABLE.strip().splitlines())}


def test_it_reaches_exactly_the_states_that_have_a_name() -> None:
    assert {state(contract)[:3] for contract in REACHABLE} == set(NAMES)


@pytest.mark.parametrize("contract", REACHABLE, ids=lambda c: " ".join(state(c)))
def test_it_names_every_reachable_state(contract: Contract) -> None:
    status, release, escrow, partner = NAMES[state(contract)[:3]]
    assert marketplace_status(contract) == status
    assert release_fund_status(contract) == release
    assert partner_status(contract) == partner
    assert contract.funded is (escrow != "-")
    if contract.funded:
        assert escrow_status(contract) == escrow


def test_it_names_every_combination_of_facets() -> None:
    """All of them with one and with two tranches, whether they can happen or not."""
    plain = next(beginnings())
    one_tranche = [(money,) for money in Money]
    seen: set[str] = set()
    combinations = list(product(Agreement, Work, [*one_tranche, *product(Money, Money)], Dispute))
    assert len(combinations) == 7 * 5 * (8 + 64) * 3
    for agreement, work, tranches, dispute in combinations:
        contract = msgspec.structs.replace(
            plain, agreement=agreement, work=work, tranches=tranches, dispute=dispute
        )
        assert marketplace_status(contract) in MARKETPLACE
        assert release_fund_status(contract) in {"NotRequested", "Requested", "Approved"}
        assert escrow_status(contract) in {"funded", "released", "refunded"}
        assert partner_status(contract) in PARTNER
        seen.add(partner_status(contract))
    # The partner's 1.5.0 folded "partially refunded" into "refunded" (partner spec 7).
    assert seen == PARTNER - {"partiallyRefunded"}


@pytest.mark.parametrize("dispute", Dispute)
@pytest.mark.parametrize("held", [Money.HELD, Money.RELEASE_REQUESTED, Money.REFUND_PENDING])
@pytest.mark.parametrize("other", Money)
def test_it_never_calls_a_contract_settled_while_money_is_held(
    dispute: Dispute, held: Money, other: Money
) -> None:
    plain = next(beginnings())
    for agreement, work in product(Agreement, Work):
        contract = msgspec.structs.replace(
            plain, agreement=agreement, work=work, tranches=(other, held), dispute=dispute
        )
        assert partner_status(contract) in {"dispute", "refundInProgress", "escrow"}


# -- each facet's words, reachable or not ---------------------------------------------------------

# What a tranche's money is called: releaseFundStatus, the escrow's status, and as a milestone.
MONEY = """
unfunded           NotRequested  funded    pending
awaiting_payment   NotRequested  funded    waitingForBankPayment
held               NotRequested  funded    escrow
release_requested  Requested     funded    escrow
released           Approved      released  released
refund_pending     NotRequested  funded    refundInProgress
refunded           Approved      refunded  refunded
split              Approved      refunded  refunded
"""
# What an agreement is called before the work and the money say more: to clients, to partners, and
# of a milestone that was never paid.
AGREEMENTS = """
draft       Pending   draft       pending
pending     Pending   pending     pending
accepted    Pending   accepted    pending
rejected    Canceled  rejected    rejected
expired     Canceled  expired     cancelled
cancelled   Canceled  cancelled   cancelled
terminated  Canceled  terminated  terminated
"""
WORK = """
not_started  Pending    accepted
started      Started    approved
ongoing      Ongoing    approved
delivered    Ongoing    approved
completed    Completed  approved
"""
PARTNERS = 6


def rows(table: str) -> list[list[str]]:
    return [row.split() for row in table.strip().splitlines()]


def but_for(**facets: object) -> Contract:
    """A partner's contract that is new, but for these."""
    return msgspec.structs.replace(next(beginnings()), business=PARTNERS, **facets)


def test_it_has_a_word_for_the_money_wherever_it_is() -> None:
    told = [
        [
            str(money),
            release_fund_status(contract),
            escrow_status(contract),
            milestone_status(contract, 1),
        ]
        for money in Money
        for contract in [but_for(tranches=(money, money))]
    ]
    assert told == rows(MONEY)


def test_it_has_a_word_for_what_was_agreed() -> None:
    told = [
        [
            str(agreement),
            marketplace_status(contract),
            partner_status(contract),
            milestone_status(contract, 0),
        ]
        for agreement in Agreement
        for contract in [but_for(agreement=agreement)]
    ]
    assert told == rows(AGREEMENTS)


def test_it_has_a_word_for_the_work() -> None:
    told = [
        [str(work), marketplace_status(contract), partner_status(contract)]
        for work in Work
        for contract in [but_for(agreement=Agreement.ACCEPTED, work=work)]
    ]
    assert told == rows(WORK)


@pytest.mark.parametrize(
    ("status", "facets"),
    [
        ("escrow", {"tranches": ("held",)}),
        ("escrow", {"tranches": ("held",), "dispute": "resolved"}),
        ("escrow", {"tranches": ("release_requested", "unfunded"), "agreement": "cancelled"}),
        ("dispute", {"tranches": ("held",), "dispute": "open"}),
        ("dispute", {"tranches": ("held",), "charged_back": True}),
        ("refundInProgress", {"tranches": ("held", "refund_pending"), "dispute": "open"}),
        ("rejected", {"tranches": ("released",), "agreement": "rejected"}),
        ("refunded", {"tranches": ("refunded",), "agreement": "rejected"}),
        ("refunded", {"tranches": ("refunded", "released"), "agreement": "cancelled"}),
        ("waitingForBankPayment", {"tranches": ("refunded", "awaiting_payment")}),
        ("waitingForBankPayment", {"tranches": ("awaiting_payment",), "dispute": "open"}),
        ("cancelled", {"tranches": ("awaiting_payment",), "agreement": "cancelled"}),
        ("completed", {"tranches": ("refunded", "released"), "work": "completed"}),
        ("released", {"tranches": ("released", "released"), "work": "delivered"}),
        ("refunded", {"tranches": ("refunded", "released"), "work": "delivered"}),
        ("refunded", {"tranches": ("split", "released")}),
        ("refunded", {"tranches": ("split",), "work": "completed"}),
        ("refunded", {"tranches": ("refunded",), "work": "completed"}),
        ("pending", {"tranches": ("released", "unfunded")}),
    ],
)
def test_money_says_more_than_what_was_agreed(status: str, facets: dict[str, Any]) -> None:
    made = {
        "tranches": tuple(Money(state) for state in facets["tranches"]),
        "agreement": Agreement(facets.get("agreement", "pending")),
        "work": Work(facets.get("work", "not_started")),
        "dispute": Dispute(facets.get("dispute", "none")),
        "charged_back": facets.get("charged_back", False),
    }
    assert partner_status(but_for(**made)) == status


def test_the_apis_list_their_statuses_in_the_order_of_the_specs() -> None:
    assert MARKETPLACE_STATUSES == ("Pending", "Started", "Ongoing", "Completed", "Canceled")
    assert " ".join(PARTNER_STATUSES) == (
        "draft pending accepted approved rejected expired completed cancelled "
        "waitingForBankPayment escrow dispute released refunded terminated refundInProgress"
    )


def test_an_event_of_a_partners_contract_tells_both_statuses_and_others_none() -> None:
    new, held = but_for(), but_for(tranches=(Money.HELD,))
    assert step(None, new) == {"status": "pending", "previousStatus": "draft"}
    assert step(new, held) == {"status": "escrow", "previousStatus": "pending"}
    assert step(next(beginnings()), next(beginnings())) == {}
