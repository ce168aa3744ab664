"""The books as people read them: the trial balance and an account's statement, as lines."""

from datetime import datetime
from typing import Any

from earnest.domain.money import CURRENCIES, to_major
from earnest.ledger.accounts import FLOORED, parse_name, unpack
from earnest.store import books, provider_objects
from earnest.store.books import Entry, TrialBalance
from earnest.store.db import Pool
from earnest.store.provider_objects import Behind

ENTRIES_MAX = 10_000


async def trial_balance(pool: Pool, at: datetime | None, *, every_account: bool) -> dict[str, Any]:
    """All accounts at an instant; people's accounts as one sum each unless `every_account`."""
    async with pool.connection() as conn:
        found = await books.trial_balance(conn, at, by_kind=not every_account)
    return shown(found, every_account=every_account)


def shown(found: TrialBalance, *, every_account: bool) -> dict[str, Any]:
    """A trial balance in major units, with its totals by currency."""
    return {
        "at": found.at.isoformat(),
        "closed_to_xid": found.closed_to_xid,
        "closed_at": found.closed_at.isoformat() if found.closed_at else None,
        "accounts": [
            {
                "account": _title(sums, every_account=every_account),
                "currency": sums.account.currency,
                "debits": _major(sums.debits_minor, sums.account.currency),
                "credits": _major(sums.credits_minor, sums.account.currency),
                "balance": _major(sums.balance_minor, sums.account.currency),
            }
            for sums in found.accounts
        ],
        "totals": _totals(found),
    }


def trial_balance_lines(found: dict[str, Any]) -> list[str]:
    """The same as a table. Debits equal credits for each currency, or the books are wrong."""
    wide = "{:<34} {:>4} {:>20} {:>20} {:>20}"
    lines = [
        f"Trial balance at {found['at']}, closed to transaction {found['closed_to_xid']}",
        wide.format("account", "", "debits", "credits", "balance"),
    ]
    lines += [
        wide.format(row["account"], row["currency"], row["debits"], row["credits"], row["balance"])
        for row in found["accounts"]
    ]
    return lines + [
        wide.format("total", row["currency"], row["debits"], row["credits"], "")
        for row in found["totals"]
    ]


async def statement(pool: Pool, name: str, held_currency: str) -> dict[str, Any]:
    """One account's entries, newest first, and its balance. Raises InvalidField."""
    account = parse_name(name, held_currency)
    async with pool.connection() as conn:
        entries = await books.statement(conn, account, ENTRIES_MAX)
        balance_minor = await books.balance(conn, account)
        behind = await provider_objects.behind(conn, entries)
    currency = unpack(account).currency
    return {
        "account": name,
        "currency": currency,
        "balance": _major(balance_minor, currency),
        "entries": [_entry(entry, currency, behind.get(entry.key, Behind())) for entry in entries],
    }


def statement_lines(found: dict[str, Any]) -> list[str]:
    """The same as a table."""
    wide = "{:<27} {:<19} {:<17} {:>18}  {}"
    lines = [
        f"{found['account']} ({found['currency']}), balance {found['balance']}",
        wide.format("recorded", "movement", "contract", "amount", "at the provider"),
    ]
    return lines + [
        wide.format(
            row["recorded_at"][:26],
            row["movement"],
            row["contract"] or "",
            ("" if row["direction"] == "credit" else "-") + row["amount"],
            row["reference"] or "",
        ).rstrip()
        for row in found["entries"]
    ]


def _entry(entry: Entry, currency: str, behind: Behind) -> dict[str, Any]:
    return {
        "id": entry.key,
        "recorded_at": entry.recorded_at.isoformat(),
        "movement": entry.movement,
        "contract": entry.contract_number,
        "direction": "credit" if entry.credit else "debit",
        "amount": _major(entry.amount_minor, currency),
        "reference": behind.reference,
        "payout": behind.payout,
    }


def _title(sums: books.Sums, *, every_account: bool) -> str:
    if sums.account.kind in FLOORED and not every_account:
        return f"{sums.account.kind.name.lower()} (all)"
    return sums.account.name


def _totals(found: TrialBalance) -> list[dict[str, str]]:
    totals: dict[str, list[int]] = {}
    for sums in found.accounts:
        total = totals.setdefault(sums.account.currency, [0, 0])
        total[0] += int(sums.debits_minor)
        total[1] += int(sums.credits_minor)
    return [
        {"currency": code, "debits": _major(debits, code), "credits": _major(credit_side, code)}
        for code, (debits, credit_side) in sorted(totals.items())
    ]


def _major(minor: Any, currency: str) -> str:
    return str(to_major(int(minor), CURRENCIES[currency]))
