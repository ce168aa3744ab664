"""Where the money goes: every movement as transfers, and the accounts they name."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import TestDatabase
from earnest.domain.change import Change
from earnest.domain.money import CURRENCIES
from earnest.domain.movement import (
    Attached,
    Funded,
    Movement,
    Parked,
    ParkedRefunded,
    Refunded,
    Released,
)
from earnest.domain.pricing import FeeRule, Line, LineType, Payee, Payer, price
from earnest.ids import Ids
from earnest.ledger.accounts import (
    DEBIT_SIDE,
    FLOORED,
    OWNER_MAX,
    SUB_MAX,
    Account,
    Kind,
    held,
    pack,
    unpack,
    wallet,
)
from earnest.ledger.movements import Transfer, expand, postings
from earnest.ledger.proof import prove
from earnest.store.db import Pool

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
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_it_posts_each_movement_where_the_chart_says(
    movement: Movement, expected: list[tuple[str, str, int]]
) -> None:
    assert named(movement) == expected


def test_it_posts_no_transfer_of_nothing() -> None:
    free = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, 0)
    moved = transfers_of(Refunded(SHOP, CONTRACT, 0, "INR", ALICE, 100, BOB, 0, (free,)))
    assert [(one.movement, one.amount_minor) for one in moved] == [("refunded", 100)]


def test_it_writes_every_transfer_with_a_key_of_its_own_and_the_commits_name() -> None:
    moved = transfers_of(
        Funded(CONTRACT, 0, "INR", 50_000, PROVIDER),
        Released(SHOP, CONTRACT, 0, "INR", BOB, 45_000, (FEE,)),
    )
    assert [one.movement for one in moved] == ["funded", "released", "released"]
    assert len({one.key for one in moved}) == 3
    assert {one.commit_id for one in moved} == {7}
    assert {(one.occurred_at, one.recorded_at) for one in moved} == {(NOW, NOW)}


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


# -- the chart ------------------------------------------------------------------------------------

account_parts = st.tuples(
    st.sampled_from(Kind),
    st.sampled_from(sorted(CURRENCIES)),
    st.integers(1, OWNER_MAX),
    st.integers(0, SUB_MAX),
)


@given(account_parts, account_parts)
def test_it_packs_every_account_into_a_number_of_its_own(
    one: tuple[Kind, str, int, int], other: tuple[Kind, str, int, int]
) -> None:
    assert unpack(pack(*one)) == Account(*one)
    assert 0 < pack(*one) < 2**63  # a bigint
    assert (pack(*one) == pack(*other)) is (one == other)


@pytest.mark.parametrize("owner", [0, -1, OWNER_MAX + 1])
def test_it_has_no_account_for_an_owner_that_does_not_fit(owner: int) -> None:
    with pytest.raises(ValueError, match="no such account"):
        pack(Kind.WALLET, "INR", owner)


@pytest.mark.parametrize("sub", [-1, SUB_MAX + 1])
def test_it_has_no_account_for_a_tranche_that_does_not_fit(sub: int) -> None:
    with pytest.raises(ValueError, match="no such account"):
        pack(Kind.HELD, "INR", 1, sub)


def test_it_keeps_a_floor_under_peoples_money_only() -> None:
    assert {Kind.HELD, Kind.WALLET} == FLOORED
    assert {
        Kind.PROVIDER_CASH,
        Kind.PROVIDER_FEES,
        Kind.CHARGEBACK_LOSS,
        Kind.OWN_BANK,
    } == DEBIT_SIDE
    # SQL asks "kind <= 2": see migrations/0009_commit.sql.
    assert max(FLOORED) < min(set(Kind) - FLOORED)


async def test_it_reads_accounts_the_same_way_in_the_database(
    pool: Pool, database: TestDatabase
) -> None:
    some = [(k, c, Fraction(OWNER_MAX, i)) for i, (k, c) in enumerate(_kinds(), start=1)]
    packed = [pack(kind, currency, int(owner), 1) for kind, currency, owner in some]
    async with pool.connection() as conn:
        rows = await conn.fetch(
            "SELECT account_kind(a), account_currency(a) FROM unnest($1::bigint[]) AS a", packed
        )
    assert [tuple(row) for row in rows] == [
        (kind, CURRENCIES[currency].numeric) for kind, currency, _ in some
    ]


def _kinds() -> list[tuple[Kind, str]]:
    return [(kind, currency) for kind in Kind for currency in ("ALL", "INR", "USN")]


WRONG_TRANSFER = """
INSERT INTO transfer (
    id, commit_id, movement, debit, credit, amount_minor, occurred_at, recorded_at, xid
) VALUES (1, 1, 'funded', $1, $2, $3, now(), now(), 1)
"""


@pytest.mark.parametrize(
    ("debit", "credit", "amount_minor", "constraint"),
    [
        (wallet("INR", ALICE), wallet("INR", BOB), 0, "transfer_amount_positive"),
        (wallet("INR", ALICE), wallet("INR", BOB), -5, "transfer_amount_positive"),
        (wallet("INR", ALICE), wallet("INR", ALICE), 5, "transfer_two_accounts"),
        (wallet("INR", ALICE), wallet("SAR", ALICE), 5, "transfer_one_currency"),
    ],
)
async def test_it_cannot_store_a_transfer_that_is_wrong(
    pool: Pool, debit: int, credit: int, amount_minor: int, constraint: str
) -> None:
    async with pool.connection() as conn:
        with pytest.raises(Exception, match=constraint):
            await conn.execute(WRONG_TRANSFER, debit, credit, amount_minor)
        await conn.execute(WRONG_TRANSFER, wallet("INR", ALICE), wallet("INR", BOB), 5)
