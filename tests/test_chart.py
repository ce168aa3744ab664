"""The chart of accounts: each has one number, one name, and an owner who fits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import TestDatabase
from earnest.domain.money import CURRENCIES
from earnest.errors import InvalidField
from earnest.ledger.accounts import (
    DEBIT_SIDE,
    FLOORED,
    OWNER_MAX,
    SUB_MAX,
    Account,
    Kind,
    pack,
    parse_name,
    unpack,
    wallet,
)
from earnest.store.db import Pool

ALICE, BOB = 11, 22


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


@pytest.mark.parametrize("kind", Kind)
def test_it_reads_the_name_that_it_writes(kind: Kind) -> None:
    account = Account(kind, "SAR", 1234, 5 if kind is Kind.HELD else 0)
    assert parse_name(account.name, held_currency="SAR") == pack(
        kind, "SAR", account.owner, account.sub
    )


@pytest.mark.parametrize(
    ("account", "number"),
    [
        (Account(Kind.HELD, "SAR", 1, 127), (1 << 57) + (682 << 47) + (127 << 40) + 1),
        (Account(Kind.WALLET, "INR", 77), (2 << 57) + (356 << 47) + 77),
        (Account(Kind.OWN_BANK, "USN", OWNER_MAX), (13 << 57) + (997 << 47) + (1 << 40) - 1),
    ],
    ids=lambda value: value.name if isinstance(value, Account) else "",
)
def test_it_keeps_every_stored_account_where_it_was(account: Account, number: int) -> None:
    """The rows of a ledger from years ago have these numbers."""
    assert pack(account.kind, account.currency, account.owner, account.sub) == number
    assert unpack(number) == account


def test_it_never_renumbers_a_kind() -> None:
    assert [kind.name for kind in Kind] == [
        *("HELD", "WALLET", "PROVIDER_CASH", "PARTNER_PAYABLE", "ESCROW_FEE_INCOME"),
        *("PLATFORM_FEE_INCOME", "TAX_PAYABLE", "PAYOUTS_IN_TRANSIT", "REFUNDS_IN_TRANSIT"),
        *("PROVIDER_FEES", "CHARGEBACK_LOSS", "SUSPENSE", "OWN_BANK"),
    ]
    assert list(Kind) == list(range(1, 14))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "wallet",
            "wallet:INR",
            "wallet:INR:",
            "wallet:INR:x",
            "wallet:XXX:77",
            "purse:INR:77",
        ),
        *("wallet:INR:0", "held:77", "held:x:0", "held:77:128", "wallet INR 77"),
    ],
)
def test_it_knows_no_account_by_another_name(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_name(name, held_currency="INR")
    assert str(refused.value) == "account must be a name such as wallet:INR:77"


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
