"""Every combination of facets has a status in both APIs; those that happen, the right one."""

from itertools import product

import msgspec
import pytest

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.projection import (
    escrow_status,
    marketplace_status,
    partner_status,
    release_fund_status,
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
