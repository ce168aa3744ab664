"""The chart of accounts. An account is a number that says what it is.

    bit  62..57  kind       which row of the chart
         56..47  currency   ISO 4217 numeric: one currency per account, in its key
         46..40  sub        tranche of a held account, else 0
         39..0   owner      contract, party, business or provider account

So an account needs no lookup and no row before its first transfer, "no transfer joins two
currencies" is a CHECK on one row, and accounts of one owner are neighbours. People read the
name: `held:1234:0`, `wallet:INR:77`.
"""

from enum import IntEnum

import msgspec

from earnest.domain.money import CURRENCIES, CURRENCY_BY_NUMERIC
from earnest.errors import InvalidField

SUB_MAX = 127
OWNER_MAX = (1 << 40) - 1


class Kind(IntEnum):
    """The chart. The number is part of every stored account: never renumber."""

    HELD = 1
    WALLET = 2
    PROVIDER_CASH = 3
    PARTNER_PAYABLE = 4
    ESCROW_FEE_INCOME = 5
    PLATFORM_FEE_INCOME = 6
    TAX_PAYABLE = 7
    PAYOUTS_IN_TRANSIT = 8
    REFUNDS_IN_TRANSIT = 9
    PROVIDER_FEES = 10
    CHARGEBACK_LOSS = 11
    SUSPENSE = 12
    OWN_BANK = 13


FLOORED = frozenset({Kind.HELD, Kind.WALLET})
"""Liabilities to people: a running balance row, never below zero. The rest is append-only."""

DEBIT_SIDE = frozenset(
    {Kind.PROVIDER_CASH, Kind.PROVIDER_FEES, Kind.CHARGEBACK_LOSS, Kind.OWN_BANK}
)
"""Assets and expenses: their balance is debits - credits; of all others credits - debits."""


class Account(msgspec.Struct, frozen=True):
    """An account, unpacked."""

    kind: Kind
    currency: str
    owner: int
    sub: int = 0

    @property
    def name(self) -> str:
        kind = self.kind.name.lower()
        if self.kind is Kind.HELD:
            return f"{kind}:{self.owner}:{self.sub}"
        return f"{kind}:{self.currency}:{self.owner}"


def pack(kind: Kind, currency: str, owner: int, sub: int = 0) -> int:
    """The number of an account.

    >>> pack(Kind.WALLET, "INR", 77)
    338332922006208589
    """
    if not (0 < owner <= OWNER_MAX and 0 <= sub <= SUB_MAX):
        raise ValueError(f"no such account: {kind.name} {currency} {owner} {sub}")
    return (kind << 57) | (CURRENCIES[currency].numeric << 47) | (sub << 40) | owner


def unpack(account: int) -> Account:
    """The inverse of pack.

    >>> unpack(pack(Kind.HELD, "SAR", 1234, 3)).name
    'held:1234:3'
    """
    currency = CURRENCY_BY_NUMERIC[(account >> 47) & 1023]
    return Account(
        Kind(account >> 57), currency.code, account & OWNER_MAX, (account >> 40) & SUB_MAX
    )


def parse_name(name: str, held_currency: str = "") -> int:
    """The account that `Account.name` writes; a held one also needs its contract's currency.

    >>> parse_name("wallet:INR:77") == pack(Kind.WALLET, "INR", 77)
    True

    Raises InvalidField.
    """
    parts = name.split(":")
    try:
        kind = Kind[parts[0].upper()]
        if kind is Kind.HELD:
            return pack(kind, held_currency, int(parts[1]), int(parts[2]))
        return pack(kind, parts[1], int(parts[2]))
    except (KeyError, ValueError, IndexError):
        raise InvalidField("account", "must be a name such as wallet:INR:77") from None


def held(currency: str, contract: int, tranche: int) -> int:
    """A tranche's money while it waits."""
    return pack(Kind.HELD, currency, contract, tranche)


def wallet(currency: str, party: int) -> int:
    """What a person may withdraw. A party belongs to one business, so to one wallet each."""
    return pack(Kind.WALLET, currency, party)


def provider_cash(currency: str, provider_account: int) -> int:
    """Money at a payment provider; reconciled with its balance transactions."""
    return pack(Kind.PROVIDER_CASH, currency, provider_account)


def suspense(currency: str, provider_account: int) -> int:
    """Captured money that belongs to no contract yet."""
    return pack(Kind.SUSPENSE, currency, provider_account)


def refunds_in_transit(currency: str, provider_account: int) -> int:
    """Money that has left its contract and has not yet left the provider."""
    return pack(Kind.REFUNDS_IN_TRANSIT, currency, provider_account)
