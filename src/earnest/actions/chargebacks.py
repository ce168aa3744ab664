"""Chargebacks: asking the provider how a dispute stands, and doing what follows from that.

Events only say that there is something to ask about (`earnest.actions.hints`); what is booked is
what a lookup said. So an event that comes twice, late, or before another cannot matter.
"""

import logging
from datetime import datetime, timedelta

from earnest.actions.calls import AT_ONCE_MAX, ERROR_CHARACTERS_MAX, LEASE_SECONDS, backoff
from earnest.actions.core import ATTEMPTS_MAX, Core
from earnest.domain import charging_back
from earnest.domain.bearing import Dossier, Taken
from earnest.domain.chargeback import Chargeback, ChargebackState
from earnest.errors import ProviderError, ProviderUnknown
from earnest.ids import PublicId
from earnest.ledger.movements import expand
from earnest.providers.base import ProviderDispute
from earnest.store import chargebacks
from earnest.store.commit import Commit

log = logging.getLogger(__name__)

NEXT_LOOK_SECONDS = 6 * 3_600
"""How often an undecided dispute is looked up; its events come sooner."""


async def look_up_due(core: Core) -> int:
    """Ask about each dispute that is due, AT_ONCE_MAX at most; how many."""
    async with core.pool.connection() as conn:
        waiting = await chargebacks.due(conn, AT_ONCE_MAX)
    for chargeback in waiting:
        await _look_up(core, chargeback)
    return len(waiting)


async def _look_up(core: Core, public_id: PublicId) -> None:
    found = await chargebacks.load(core.pool, public_id)
    chargeback, now = found.chargeback, found.now
    if chargeback is None or chargeback.due_at is None or chargeback.due_at > now:
        return  # another worker has it, or has done it
    claimed = await _step(
        core,
        chargeback,
        "chargeback.asked",
        now,
        attempts=chargeback.attempts + 1,
        due_at=now + timedelta(seconds=LEASE_SECONDS),
    )
    if claimed is None:
        return  # another worker was faster
    try:
        if chargeback.provider_account != core.provider_account:
            raise ProviderUnknown("It is a dispute at another account than the present one.")
        dispute = await core.provider.find_dispute(chargeback.provider_dispute_id)
        if dispute is None:
            raise ProviderUnknown("The provider does not know this dispute.")
    except ProviderError as error:
        await _step(
            core,
            claimed,
            "chargeback.delayed",
            now,
            due_at=now + backoff(claimed.attempts),
            last_error=error.message[:ERROR_CHARACTERS_MAX],
        )
        return
    await _learn(core, claimed, _dossier(dispute))


async def _learn(core: Core, claimed: Chargeback, told: Dossier) -> None:
    for _ in range(ATTEMPTS_MAX):
        found = await chargebacks.load(core.pool, claimed.public_id)
        assert found.chargeback is not None
        assert found.exposure is not None
        if found.chargeback.version != claimed.version:
            return  # there is news: what we were told may be out of date
        ids = await core.keys.ids()
        change = charging_back.learn(
            found.chargeback,
            told,
            found.exposure,
            found.now,
            found.now + timedelta(seconds=NEXT_LOOK_SECONDS),
            ids,
        )
        if await core.door.commit(Commit(change, expand(change, ids))):
            if change.movements:
                log.error("a payer's bank has taken money back, or given it back")
            return
    # Its lease ends, and then it is looked up again.


def _dossier(dispute: ProviderDispute) -> Dossier:
    return Dossier(
        state=ChargebackState(dispute.state),
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        reason=dispute.reason,
        evidence_due_at=dispute.evidence_due_at,
        lines=tuple(Taken(line.id, line.amount_minor) for line in dispute.lines),
    )


async def _step(
    core: Core, chargeback: Chargeback, happened: str, now: datetime, **changes: object
) -> Chargeback | None:
    """The chargeback one step on; None when somebody was faster."""
    ids = await core.keys.ids()
    change = charging_back.step_alone(chargeback, happened, now, ids, **changes)
    return change.chargeback if await core.door.commit(Commit(change)) else None
