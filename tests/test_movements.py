"""Where the money goes: every movement as transfers, and the accounts they name."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disputed import disputed
from earnest.domain.change import Change
from earnest.domain.charging_back import step_alone
from earnest.domain.movement import (
    Attached,
    Booked,
    ChargebackCovered,
    ChargebackReturned,
    ChargedBack,
    Funded,
    Movement,
    PaidOut,
    Parked,
    ParkedCovered,
    ParkedRefunded,
    PayoutRefused,
    PayoutReturned,
    Refunded,
    RefundedToSource,
    RefundRepaid,
    RefundReturned,
    Released,
    Withdrawn,
)
from earnest.domain.party import SYSTEM
from earnest.domain.pricing import FeeRule, Line, LineType, Payee, Payer, price
from earnest.ids import Ids
from earnest.ledger.accounts import (
    Kind,
    held,
    pack,
    unpack,
    wallet,
)
from earnest.ledger.movements import MOVEMENT_NAME, Transfer, expand, postings
from earnest.ledger.proof import Proof, prove
from reachable import Drawn, beginnings, pay

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
ALICE, BOB, CONTRACT, SHOP, PROVIDER = 11, 22, 33, 1, 2


def named(movement: Movement) -> list[tuple[str, str, int]]:
    """(debit, credit, minor units) of each posting, accounts by name."""
    return [
        (unpack(one.debit).name, unpack(one.credit).name, one.amount_minor)
        for one in postings(movement)
    ]


def transfers_of(*movements: Movement) -> tuple[Transfer, ...]:
    keys = count(1)
    change = Change(commit_id=7, recorded_at=NOW, occurred_at=NOW, events=(), movements=movements)
    draw = keys.__next__
    return expand(change, Ids(draw, draw, draw, draw))


FEE = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, 5_000)
TAX = Line(LineType.PLATFORM_FEE_TAX, Payer.SELLER, Payee.TAX_PAYABLE, 750)
DUE = Line(LineType.ESCROW_FEE, Payer.BUYER, Payee.ESCROW_FEE_INCOME, 100)
OWED = Line(LineType.ESCROW_FEE_TAX, Payer.BUYER, Payee.PARTNER_PAYABLE, 15)


@pytest.mark.parametrize(
    ("movement", "expected"),
    [
        (
            Funded(CONTRACT, 0, "INR", 50_000, PROVIDER),
            [("provider_cash:INR:2", "held:33:0", 50_000)],
        ),
        (
            Funded(CONTRACT, 5, "INR", 50_000, PROVIDER),
            [("provider_cash:INR:2", "held:33:5", 50_000)],
        ),
        (Parked("USD", 700, PROVIDER), [("provider_cash:USD:2", "suspense:USD:2", 700)]),
        (
            Parked("USD", 700, PROVIDER, quarantined=True),
            [("provider_cash:USD:2", "suspense:USD:2", 700)],
        ),
        (
            Attached(CONTRACT, 0, "INR", 50_000, PROVIDER),
            [("suspense:INR:2", "held:33:0", 50_000)],
        ),
        (
            ParkedRefunded(ALICE, "INR", 50_000, PROVIDER),
            [("suspense:INR:2", "wallet:INR:11", 50_000)],
        ),
        (
            Released(SHOP, CONTRACT, 0, "INR", BOB, 44_250, (FEE, TAX, DUE, OWED)),
            [
                ("held:33:0", "wallet:INR:22", 44_250),
                ("held:33:0", "platform_fee_income:INR:1", 5_000),
                ("held:33:0", "tax_payable:INR:1", 750),
                ("held:33:0", "escrow_fee_income:INR:1", 100),
                ("held:33:0", "partner_payable:INR:1", 15),
            ],
        ),
        (
            Refunded(SHOP, CONTRACT, 0, "INR", ALICE, 38_250, BOB, 6_750, (FEE,)),
            [
                ("held:33:0", "wallet:INR:11", 38_250),
                ("held:33:0", "wallet:INR:22", 6_750),
                ("held:33:0", "platform_fee_income:INR:1", 5_000),
            ],
        ),
        (
            RefundedToSource(SHOP, CONTRACT, 1, "INR", PROVIDER, 38_250, BOB, 6_750, (FEE,)),
            [
                ("held:33:1", "refunds_in_transit:INR:2", 38_250),
                ("refunds_in_transit:INR:2", "provider_cash:INR:2", 38_250),
                ("held:33:1", "wallet:INR:22", 6_750),
                ("held:33:1", "platform_fee_income:INR:1", 5_000),
            ],
        ),
        (
            RefundReturned("INR", PROVIDER, 700),
            [("provider_cash:INR:2", "refunds_in_transit:INR:2", 700)],
        ),
        (
            RefundRepaid("INR", PROVIDER, 700),
            [("refunds_in_transit:INR:2", "provider_cash:INR:2", 700)],
        ),
        (
            Withdrawn(SHOP, BOB, "INR", 700, PROVIDER),
            [("wallet:INR:22", "payouts_in_transit:INR:2", 700)],
        ),
        (
            Withdrawn(SHOP, None, "INR", 700, PROVIDER),
            [("partner_payable:INR:1", "payouts_in_transit:INR:2", 700)],
        ),
        (
            PaidOut(SHOP, BOB, "INR", 700, PROVIDER),
            [("payouts_in_transit:INR:2", "provider_cash:INR:2", 700)],
        ),
        (
            PayoutRefused(SHOP, BOB, "INR", 700, PROVIDER),
            [("payouts_in_transit:INR:2", "wallet:INR:22", 700)],
        ),
        (
            PayoutReturned(SHOP, None, "INR", 700, PROVIDER),
            [
                ("provider_cash:INR:2", "payouts_in_transit:INR:2", 700),
                ("payouts_in_transit:INR:2", "partner_payable:INR:1", 700),
            ],
        ),
        (
            ChargedBack("INR", PROVIDER, 1_000, ALICE, 200, BOB, 300),
            [
                ("wallet:INR:11", "provider_cash:INR:2", 200),
                ("wallet:INR:22", "provider_cash:INR:2", 300),
                ("chargeback_loss:INR:2", "provider_cash:INR:2", 500),
            ],
        ),
        (
            ChargebackReturned("INR", PROVIDER, 1_000, ALICE, 200, BOB, 300),
            [
                ("provider_cash:INR:2", "wallet:INR:11", 200),
                ("provider_cash:INR:2", "wallet:INR:22", 300),
                ("provider_cash:INR:2", "chargeback_loss:INR:2", 500),
            ],
        ),
        (
            ChargebackCovered(CONTRACT, 4, "INR", 700, PROVIDER),
            [("held:33:4", "chargeback_loss:INR:2", 700)],
        ),
        (
            ParkedCovered("INR", 700, PROVIDER),
            [("suspense:INR:2", "chargeback_loss:INR:2", 700)],
        ),
        (
            Booked("fee", "INR", 700, PROVIDER),
            [("provider_fees:INR:2", "provider_cash:INR:2", 700)],
        ),
        (
            Booked("bank", "INR", 700, PROVIDER),
            [("own_bank:INR:2", "provider_cash:INR:2", 700)],
        ),
        (
            Booked("bank", "INR", -700, PROVIDER),
            [("provider_cash:INR:2", "own_bank:INR:2", 700)],
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_it_posts_each_movement_where_the_chart_says(
    movement: Movement, expected: list[tuple[str, str, int]]
) -> None:
    assert named(movement) == expected


def test_it_has_postings_and_a_name_for_every_movement_and_for_nothing_else() -> None:
    written = [MOVEMENT_NAME[kind] for kind in get_args(Movement)]
    assert written == [
        *("funded", "parked", "attached", "parked_refunded", "released", "refunded"),
        *("refunded_to_source", "refund_returned", "refund_repaid"),
        *("withdrawn", "paid_out", "payout_refused", "payout_returned"),
        *("charged_back", "chargeback_returned", "chargeback_covered", "parked_covered", "booked"),
    ]
    assert set(get_args(Movement)) < set(postings.registry)
    with pytest.raises(TypeError, match="no postings for 'gift'"):
        postings("gift")  # type: ignore[arg-type]


def test_it_posts_no_transfer_of_nothing() -> None:
    free = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, 0)
    moved = transfers_of(Refunded(SHOP, CONTRACT, 0, "INR", ALICE, 100, BOB, 0, (free,)))
    assert [(one.movement, one.amount_minor) for one in moved] == [("refunded", 100)]


def test_it_posts_the_smallest_unit() -> None:
    assert [one.amount_minor for one in transfers_of(Parked("USD", 1, PROVIDER))] == [1]


def test_it_writes_every_transfer_with_a_key_of_its_own_and_the_commits_name() -> None:
    moved = transfers_of(
        Funded(CONTRACT, 0, "INR", 50_000, PROVIDER),
        Released(SHOP, CONTRACT, 0, "INR", BOB, 45_000, (FEE,)),
    )
    assert [one.movement for one in moved] == ["funded", "released", "released"]
    assert len({one.key for one in moved}) == 3
    assert {one.commit_id for one in moved} == {7}
    assert {(one.occurred_at, one.recorded_at) for one in moved} == {(NOW, NOW)}


def test_it_writes_when_money_moved_beside_when_that_was_recorded() -> None:
    before = NOW - timedelta(days=1)
    change = Change(
        commit_id=7,
        recorded_at=NOW,
        occurred_at=before,
        events=(),
        movements=(Parked("USD", 700, PROVIDER),),
    )
    (moved,) = expand(change, Ids(count(1).__next__, *[count(1).__next__] * 3))
    assert (moved.occurred_at, moved.recorded_at) == (before, NOW)
    assert (moved.contract, moved.payment) == (None, None)


def test_it_writes_whose_money_it_was() -> None:
    new, _ = beginnings()
    ids = Drawn().ids
    funded = pay(new, SYSTEM, NOW, ids)
    (moved,) = expand(funded, ids)
    assert funded.payment is not None
    assert (moved.contract, moved.payment) == (new.key, funded.payment.key)
    chargeback = msgspec.structs.replace(disputed(), contract=33, payment=44)
    taken = step_alone(chargeback, "chargeback.taken", NOW, ids)
    taken = msgspec.structs.replace(taken, movements=(Parked("INR", 5, PROVIDER),))
    (moved,) = expand(taken, ids)
    assert (moved.contract, moved.payment) == (33, 44)


PLAN = (
    FeeRule(LineType.ESCROW_FEE, 250, Payer.BUYER, Payee.ESCROW_FEE_INCOME),
    FeeRule(LineType.ESCROW_FEE_TAX, 1500, Payer.BUYER, Payee.TAX_PAYABLE, of=LineType.ESCROW_FEE),
    FeeRule(LineType.PLATFORM_FEE, 1000, Payer.SELLER, Payee.PARTNER_PAYABLE),
)


@given(st.integers(1, 99_999_999), st.integers(0, 10_000), st.sampled_from(["INR", "JPY", "KWD"]))
def test_it_empties_exactly_what_was_paid_in_whichever_way_it_ends(
    base_minor: int, seller_bps: int, currency: str
) -> None:
    (priced,) = price((base_minor,), PLAN)
    paid_in = Funded(CONTRACT, 0, currency, priced.charge_minor, PROVIDER)
    released = Released(SHOP, CONTRACT, 0, currency, BOB, priced.net_minor, priced.lines)
    seller_minor = priced.net_minor * seller_bps // 10_000
    buyer_minor = priced.charge_minor - priced.fees_minor - seller_minor
    refunded = Refunded(
        SHOP, CONTRACT, 0, currency, ALICE, buyer_minor, BOB, seller_minor, priced.lines
    )
    for ending in (released, refunded):
        moved = transfers_of(paid_in, ending)
        balances: dict[int, int] = {}
        for one in moved:
            assert one.amount_minor > 0
            assert one.debit != one.credit
            assert unpack(one.debit).currency == unpack(one.credit).currency == currency
            balances[one.debit] = balances.get(one.debit, 0) - one.amount_minor
            balances[one.credit] = balances.get(one.credit, 0) + one.amount_minor
        assert sum(balances.values()) == 0
        assert balances[held(currency, CONTRACT, 0)] == 0
        proof = prove(moved, buyer=ALICE, seller=BOB, held_minor=0)
        assert proof.holds
        assert proof.funded_minor == priced.charge_minor
        assert proof.tax_minor == priced.lines[1].amount_minor
        assert proof.fees_minor == priced.fees_minor - proof.tax_minor
        assert proof.to_seller_minor == balances.get(wallet(currency, BOB), 0)
        assert proof.to_buyer_minor == balances.get(wallet(currency, ALICE), 0)


@given(st.data())
def test_it_proves_nothing_when_a_transfer_is_missing_doubled_or_changed(
    data: st.DataObject,
) -> None:
    (priced,) = price((data.draw(st.integers(100, 10**7)),), PLAN)
    moved = transfers_of(
        Funded(CONTRACT, 0, "INR", priced.charge_minor, PROVIDER),
        Released(SHOP, CONTRACT, 0, "INR", BOB, priced.net_minor, priced.lines),
    )
    at = data.draw(st.integers(0, len(moved) - 1))
    missing = moved[:at] + moved[at + 1 :]
    doubled = (*moved, moved[at])
    for wrong, held_minor in ((missing, 0), (doubled, 0), (moved, 1), (moved, -1)):
        assert not prove(wrong, buyer=ALICE, seller=BOB, held_minor=held_minor).holds


@pytest.mark.parametrize(
    ("credit", "counts_as"),
    [
        (held("INR", CONTRACT, 3), "funded_minor"),
        (wallet("INR", BOB), "to_seller_minor"),
        (wallet("INR", ALICE), "to_buyer_minor"),
        (pack(Kind.REFUNDS_IN_TRANSIT, "INR", PROVIDER), "to_buyer_minor"),
        (pack(Kind.CHARGEBACK_LOSS, "INR", PROVIDER), "to_buyer_minor"),
        (pack(Kind.TAX_PAYABLE, "INR", SHOP), "tax_minor"),
        (pack(Kind.ESCROW_FEE_INCOME, "INR", SHOP), "fees_minor"),
        (pack(Kind.PLATFORM_FEE_INCOME, "INR", SHOP), "fees_minor"),
        (pack(Kind.PARTNER_PAYABLE, "INR", SHOP), "fees_minor"),
    ],
    ids=lambda value: value if isinstance(value, str) else unpack(value).name,
)
def test_its_proof_counts_each_account_as_what_it_is(credit: int, counts_as: str) -> None:
    assert _proven(credit) == {counts_as: 5}


@pytest.mark.parametrize(
    "credit",
    [
        wallet("INR", 44),
        pack(Kind.SUSPENSE, "INR", PROVIDER),
        pack(Kind.PROVIDER_CASH, "INR", PROVIDER),
        # Another kind of account whose owner has the number of one of the two parties.
        pack(Kind.SUSPENSE, "INR", ALICE),
        pack(Kind.SUSPENSE, "INR", BOB),
        pack(Kind.OWN_BANK, "INR", ALICE),
    ],
    ids=lambda value: unpack(value).name,
)
def test_its_proof_counts_money_that_went_to_anybody_else_as_gone(credit: int) -> None:
    assert _proven(credit) == {}


def _proven(credit: int) -> dict[str, int]:
    """What a proof makes of 5 paise that went from the contract to this account."""
    moved = Transfer(
        *(1, 7, "moved", held("INR", CONTRACT, 0), credit, 5, CONTRACT, None), NOW, NOW
    )
    proof = prove((moved,), buyer=ALICE, seller=BOB, held_minor=0)
    return {name: minor for name, minor in msgspec.structs.asdict(proof).items() if minor}


def test_its_proof_does_not_hold_when_more_is_gone_than_came() -> None:
    assert Proof(100, 60, 20, 10, 5, 5).holds
    assert Proof(100, 60, 20, 10, 10, 0).holds
    assert not Proof(100, 60, 20, 15, 10, -5).holds
    assert not Proof(100, 60, 20, 10, 5, 6).holds
