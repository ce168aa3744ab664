"""The books as an operator reads them: `earnest books`."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from earnest import reports
from earnest.errors import InvalidField
from life import Life
from web import Cast


async def test_it_balances_debits_and_credits_in_each_currency(cast: Cast) -> None:
    await Life.at(cast, "released", rate=50000)
    await Life.at(cast, "refunded", rate=99.99)
    await Life.at(cast, "paid", rate=1000)
    found = await reports.trial_balance(cast.app.state.pool, None, every_account=False)

    balances = {row["account"]: row["balance"] for row in found["accounts"]}
    assert balances == {
        "held (all)": "1000.00",
        "wallet (all)": "45089.99",
        "provider_cash:INR:1": "51099.99",
        "platform_fee_income:INR:1": "5010.00",
    }
    [total] = found["totals"]
    assert total["debits"] == total["credits"]
    table = reports.trial_balance_lines(found)
    assert any("platform_fee_income:INR:1" in line and "5010.00" in line for line in table)


async def test_it_shows_the_books_as_they_were_at_an_instant(cast: Cast) -> None:
    life = await Life.at(cast, "requested", rate=50000)
    pool = cast.app.state.pool
    before = datetime.fromisoformat(
        (await reports.trial_balance(pool, None, every_account=True))["at"]
    )
    await life.release()

    then = await reports.trial_balance(pool, before, every_account=True)
    now = await reports.trial_balance(pool, None, every_account=True)
    wallet = f"wallet:INR:{cast.bob.actor.key}"
    assert wallet not in {row["account"] for row in then["accounts"]}
    assert {row["account"]: row["balance"] for row in now["accounts"]}[wallet] == "45000.00"
    beginning = await reports.trial_balance(pool, before - timedelta(days=1), every_account=True)
    assert beginning["accounts"] == beginning["totals"] == []


async def test_it_lists_the_entries_of_an_account_newest_first(cast: Cast) -> None:
    await Life.at(cast, "released", rate=50000)
    await Life.at(cast, "released", rate=100)
    name = f"wallet:INR:{cast.bob.actor.key}"
    found = await reports.statement(cast.app.state.pool, name, "INR")

    assert found["balance"] == "45090.00"
    assert [row["amount"] for row in found["entries"]] == ["90.00", "45000.00"]
    assert sum(Decimal(row["amount"]) for row in found["entries"]) == Decimal(found["balance"])
    lines = reports.statement_lines(found)
    assert lines[0] == f"{name} (INR), balance 45090.00"
    assert len(lines) == 4


@pytest.mark.parametrize(
    "name",
    ["", "wallet", "wallet:INR", "wallet:XXX:1", "vault:INR:1", "wallet:INR:0", "held:1:900"],
)
async def test_it_refuses_a_name_that_is_no_account(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidField, match="account must be a name"):
        await reports.statement(cast.app.state.pool, name, "INR")
