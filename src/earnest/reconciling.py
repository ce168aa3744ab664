"""`earnest reconcile`: a day is reconciled, maybe with a bank file, and told as lines or as JSON.

Invariant: money is told in major units as text; the exit code is 0 where nothing differs.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from earnest.actions.reconciliation import Report, reconcile
from earnest.assembly import build_core
from earnest.domain.bank_file import (
    DAYS_APART_MAX,
    BankDifference,
    Row,
    compare_bank,
    read_bank_file,
)
from earnest.domain.money import CURRENCIES, to_major
from earnest.domain.reconciliation import Difference, Kind, Result
from earnest.errors import InvalidField
from earnest.settings import Settings
from earnest.store import balance_lines
from earnest.store.db import Pool

CONNECTIONS_MAX = 4


def rows_of(path: Path) -> list[Row]:
    """The rows of a bank file. Raises InvalidField naming bank."""
    try:
        return read_bank_file(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidField("bank", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidField("bank", "must be UTF-8") from None


async def reconciled(
    settings: Settings, day: date, rows: Sequence[Row] | None, report: Report
) -> dict[str, Any]:
    """The day, reconciled, as JSON shows it; `bank` is null without a file.

    Raises InvalidField naming date, ProviderError.
    """
    pool = Pool(
        settings.database_url, connections_max=CONNECTIONS_MAX, application_name="earnest cli"
    )
    core = build_core(settings, pool)
    try:
        results = await reconcile(core, day, report)
        bank = None
        if rows:
            first = min(row.day for row in rows) - timedelta(days=DAYS_APART_MAX)
            last = max(row.day for row in rows)
            async with pool.connection() as conn:
                lines = await balance_lines.of_days(conn, core.provider_account, first, last)
            bank = compare_bank(rows, [line for line in lines if line.kind is Kind.BANK])
    finally:
        await core.provider.close()
        await pool.close()
    return {
        "date": day.isoformat(),
        "provider": core.provider_name,
        "livemode": core.livemode,
        "clean": not (bank or any(result.differences for result in results)),
        "balances": [_balances(result) for result in results],
        "differences": [_shown(one) for result in results for one in result.differences],
        "bank": None if rows is None else [_in_bank(one) for one in bank or ()],
    }


def lines_of(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"{found['date']} at {found['provider']}"]
    lines += [
        f"{one['currency']}  provider {one['provider']['closing']}, ledger"
        f" {one['ledger']['closing']}, drift {one['drift']}; {one['lines']} lines,"
        f" {one['entries']} entries, {one['differences']} differences"
        for one in found["balances"]
    ]
    lines += [
        f"{one['cause']:<13} {one['kind']:<19} {one['source']:<30} provider {one['provider']},"
        f" ledger {one['ledger']} {one['currency']}  {one['of']}".rstrip()
        for one in found["differences"]
    ]
    lines += [
        f"{one['cause']:<13} bank {one['date']}  provider {one['provider']}, bank {one['bank']}"
        f" {one['currency']}  {one['line'] or 'line ' + str(one['row'])}"
        for one in found["bank"] or ()
    ]
    return [*lines, "Nothing differs." if found["clean"] else "They differ."]


def _balances(result: Result) -> dict[str, Any]:
    def both(opening_minor: int, closing_minor: int) -> dict[str, str]:
        opening, closing = _major(opening_minor, result), _major(closing_minor, result)
        return {"opening": opening, "closing": closing}

    return {
        "currency": result.currency,
        "provider": both(result.opening.there_minor, result.closing.there_minor),
        "ledger": both(result.opening.here_minor, result.closing.here_minor),
        "drift": _major(result.closing.drift_minor, result),
        "lines": result.lines,
        "entries": result.entries,
        "differences": len(result.differences),
    }


def _shown(one: Difference) -> dict[str, Any]:
    return {
        "cause": str(one.cause),
        "kind": str(one.kind),
        "source": one.source_id,
        "currency": one.currency,
        "provider": _major(one.there_minor, one),
        "ledger": _major(one.here_minor, one),
        "of": one.of,
    }


def _in_bank(one: BankDifference) -> dict[str, Any]:
    return {
        "cause": str(one.cause),
        "date": one.day.isoformat(),
        "line": one.line_id,
        "row": one.row,
        "currency": one.currency,
        "provider": _major(one.there_minor, one),
        "bank": _major(one.here_minor, one),
    }


def _major(minor: int, of: Result | Difference | BankDifference) -> str:
    """In minor units where ISO 4217 has no such currency."""
    known = CURRENCIES.get(of.currency)
    return str(to_major(minor, known) if known is not None else minor)
