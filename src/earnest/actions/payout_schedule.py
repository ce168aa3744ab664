"""Payouts by **schedule**: once a period, everything of a business that can be paid out is (E24).

A worker takes turns at rounds (`earnest.store.payout_rounds`), each of them some people of one
business. Invariants: a turn that was cut short is taken again, and whoever was paid in this period
is left out then; what two workers want to pay at once is in the wallet once. The provider is asked
about somebody who cannot be paid at most once a period, unless it cannot be reached.
"""

import asyncio
import logging
from collections.abc import Sequence

from earnest.actions import payouts
from earnest.actions.core import Core
from earnest.actions.payouts import PayeeNotFound
from earnest.domain.party import SYSTEM
from earnest.domain.payout import Cause
from earnest.errors import Conflict, InvalidField, Refused, Unavailable
from earnest.store import payout_rounds
from earnest.store.idempotency import Reply
from earnest.store.payout_accounts import Payee
from earnest.store.payout_rounds import Looked, Turn
from earnest.store.payouts import FoundFunds

log = logging.getLogger(__name__)

PEOPLE_MAX = 100
AT_ONCE = 5
LEASE_SECONDS = 900
AGAIN_SECONDS = 600
TRIES_MAX = 3


async def begin_rounds(core: Core) -> int:
    """Begin a round of every business whose period has none yet; 0: it can wait."""
    async with core.pool.connection() as conn:
        await payout_rounds.begin(conn)
    return 0


async def take_turn(core: Core) -> int:
    """One turn of the round that has waited longest; 0 when none is due.

    Those whom the provider did not answer about are looked at again in ten minutes, twice; then it
    is the others' turn, and theirs in the next period.
    """
    async with core.pool.connection() as conn:
        turn = await payout_rounds.take(conn, LEASE_SECONDS)
        if turn is None:
            return 0
        looked = await payout_rounds.look(
            conn,
            turn,
            PEOPLE_MAX,
            provider_account=core.provider_account,
            needs_onboarding=core.provider.needs_onboarding,
        )
    missed = await _pay_all(core, turn, [one for one in looked if one.is_wanted])
    async with core.pool.connection() as conn:
        if missed and turn.tries + 1 < TRIES_MAX:
            await payout_rounds.finish(
                conn,
                turn,
                turn.looked_to,
                tries=turn.tries + 1,
                again_after_seconds=AGAIN_SECONDS,
            )
            return 1
        if missed:
            log.warning("%d payouts by schedule wait for the next period", missed)
        people = [one.party for one in looked if one.party is not None]
        await payout_rounds.finish(
            conn,
            turn,
            people[-1] if people else max(turn.looked_to, 0),
            again_after_seconds=0 if len(people) == PEOPLE_MAX else None,
        )
    return 1


async def _pay_all(core: Core, turn: Turn, wanted: Sequence[Looked]) -> int:
    """Pay them, first those about whom nobody has to be asked; about how many we do not know."""
    missed = 0
    in_order = sorted(wanted, key=lambda one: one.must_ask)
    for first in range(0, len(in_order), AT_ONCE):
        some = in_order[first : first + AT_ONCE]
        outcomes = await asyncio.gather(
            *(_pay(core, turn, one.party) for one in some), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, Unavailable | Conflict):
                missed += 1
            elif isinstance(outcome, BaseException):
                raise outcome
    return missed


async def _pay(core: Core, turn: Turn, party: int | None) -> None:
    """All that this one has, if it can be paid out. Raises Unavailable, Conflict."""

    def everything(found: FoundFunds) -> int:
        assert found.funds is not None
        return found.funds.balance_minor

    try:
        await payouts.withdraw(
            core,
            SYSTEM,
            Payee(turn.business.key, party),
            turn.business.currency,
            everything,
            None,
            lambda _: NOBODY_READS_IT,
            Cause.SCHEDULED,
        )
    except (Refused, InvalidField, PayeeNotFound):
        return  # nothing to pay, or nowhere to pay it to: the next round looks again


NOBODY_READS_IT = Reply(202, b"")
