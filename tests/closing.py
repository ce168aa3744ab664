"""The day is closed: what the sandbox says of our balance, a fee and a payout to our own bank."""

from datetime import UTC, datetime, timedelta

from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile
from earnest.providers.base import BalanceKind
from ledgers import Books, line, today
from web import Cast


async def close_the_day(cast: Cast) -> None:
    core: Core = cast.app.state.core
    now = datetime.now(UTC)
    since, until = now - timedelta(days=2), now + timedelta(days=1)
    lines = [one async for one in core.provider.balance_transactions(since, until)]
    lines += [
        line("fee_of_the_day", -1_180, today(), kind=BalanceKind.FEE),
        line("po_of_the_day", -5_000, today(), kind=BalanceKind.BANK, fee_minor=25),
    ]
    await reconcile(Books(lines).before(core), today())
