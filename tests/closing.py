"""The day is closed: what the sandbox says of our balance, a fee and a payout to our own bank."""

from datetime import UTC, datetime, timedelta

import msgspec

from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile
from earnest.providers.base import BalanceKind
from ledgers import Books, line
from web import Cast


async def close_the_day(cast: Cast) -> None:
    core: Core = cast.app.state.core
    now = datetime.now(UTC)
    since, until = now - timedelta(days=2), now + timedelta(days=1)
    lines = [one async for one in core.provider.balance_transactions(since, until)]
    lines += [
        # Now, not at noon: in the morning that is still to come, and in nobody's books.
        msgspec.structs.replace(one, created_at=now)
        for one in (
            line("fee_of_the_day", -1_180, now.date(), kind=BalanceKind.FEE),
            line("po_of_the_day", -5_000, now.date(), kind=BalanceKind.BANK, fee_minor=25),
        )
    ]
    await reconcile(Books(lines).before(core), now.date())
