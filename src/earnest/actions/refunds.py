"""Refunds to the source, from the intent to the money: what the worker does, and what admins do.

The intent is committed before the provider is called, and the outcome after; in between nothing is
open. An outcome that nobody knows is looked up before the call is made again, with the same key
(invariant 14). Invariant: money is posted once, when the provider says that it has gone back.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from earnest.actions.core import ATTEMPTS_MAX, Core, carry_out
from earnest.domain import returning
from earnest.domain.change import Change
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.refund import DUE, Refund, RefundState
from earnest.errors import (
    Conflict,
    NotFound,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
)
from earnest.ids import Ids, PublicId
from earnest.ledger.movements import expand
from earnest.providers.base import ProviderRefund, ProviderRefundState, RefundRequest
from earnest.store import refunds
from earnest.store.commit import Commit
from earnest.store.idempotency import Once, Reply
from earnest.store.refunds import FoundRefund

log = logging.getLogger(__name__)

AT_ONCE_MAX = 20
LEASE_SECONDS = 60
BACKOFF_SECONDS_MAX = 3_600
ERROR_CHARACTERS_MAX = 300


class RefundNotFound(NotFound):
    """Refund not found"""


async def send_due(core: Core) -> int:
    """Take one step with each refund that is due, AT_ONCE_MAX at most; how many."""
    async with core.pool.connection() as conn:
        waiting = await refunds.due(conn, AT_ONCE_MAX)
    for refund in waiting:
        await _send(core, refund)
    return len(waiting)


async def _send(core: Core, public_id: PublicId) -> None:
    found = await refunds.load(core.pool, public_id, SYSTEM)
    refund, payment = found.refund, found.payment
    if refund is None or payment is None or refund.due_at is None or refund.due_at > found.now:
        return  # another worker has it, or has done it
    before = refund.state
    claimed = await _step(
        core,
        refund,
        "refund.sent",
        found.now,
        state=RefundState.SENT,
        attempts=refund.attempts + 1,
        due_at=found.now + timedelta(seconds=LEASE_SECONDS),
    )
    if claimed is None:
        return  # another worker was faster
    later = found.now + timedelta(seconds=min(10 * 2**claimed.attempts, BACKOFF_SECONDS_MAX))
    try:
        if payment.provider_account != core.provider_account:
            raise ProviderPermanent("The money came in at another account than the present one.")
        done = await _ask(core, claimed, payment.provider_payment_id or "", before)
    except ProviderPermanent as error:
        await _fail(core, claimed, error.message, found.now)
        return
    except ProviderError as error:
        # What an earlier call may have done is not known any better when this one did nothing.
        nothing_happened = isinstance(error, ProviderTransient) and before is RefundState.PLANNED
        await _step(
            core,
            claimed,
            "refund.delayed",
            found.now,
            state=RefundState.PLANNED if nothing_happened else RefundState.UNKNOWN,
            due_at=later,
            last_error=error.message[:ERROR_CHARACTERS_MAX],
        )
        return
    if done.state is ProviderRefundState.PENDING:
        await _step(core, claimed, "refund.accepted", found.now, due_at=later)
    elif done.state is ProviderRefundState.FAILED:
        await _fail(core, claimed, "The provider could not give the money back.", found.now)
    else:
        await _settle(core, public_id, done)


async def _ask(core: Core, refund: Refund, payment_id: str, before: RefundState) -> ProviderRefund:
    """What the provider says of it; asked anew only where it does not know the refund."""
    request = RefundRequest(
        idempotency_key=refund.public_id,
        reference=refund.public_id,
        payment_id=payment_id,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
    )
    if before is not RefundState.PLANNED:
        known = await core.provider.find_refund(request)
        if known is not None:
            return known
    return await core.provider.create_refund(request)


async def _fail(core: Core, refund: Refund, why: str, now: datetime) -> None:
    await _step(
        core,
        refund,
        "refund.failed",
        now,
        state=RefundState.FAILED,
        due_at=None,
        last_error=why[:ERROR_CHARACTERS_MAX],
    )
    log.error("a refund failed for good")


async def _settle(core: Core, public_id: PublicId, done: ProviderRefund) -> None:
    for _ in range(ATTEMPTS_MAX):
        found = await refunds.load(core.pool, public_id, SYSTEM)
        refund, contract, payment = found.refund, found.contract, found.payment
        assert refund is not None
        assert contract is not None
        assert payment is not None
        if refund.state not in DUE:
            return
        ids = await core.keys.ids()
        change = returning.settle(contract, refund, payment, done.id, found.now, ids)
        if await core.door.commit(Commit(change, expand(change, ids))):
            return
    raise Conflict


async def _step(
    core: Core, refund: Refund, happened: str, now: datetime, **changes: object
) -> Refund | None:
    """The refund one step on; None when somebody was faster."""
    ids = await core.keys.ids()
    change = returning.step_alone(refund, happened, SYSTEM, now, ids, **changes)
    return change.refund if await core.door.commit(Commit(change)) else None


# -- admins ---------------------------------------------------------------------------------------


async def approve(
    core: Core,
    actor: Actor,
    refund: PublicId,
    once: Once | None,
    render: Callable[[FoundRefund, Change], Reply],
) -> Reply:
    """An admin lets a refund go that waited for it (E6, `refund_approval`)."""

    def decide(found: FoundRefund, ids: Ids) -> Change:
        return returning.approve(_refund(found), actor, found.now, ids)

    return await carry_out(
        core, actor, once, lambda: refunds.load(core.pool, refund, actor, once), decide, render
    )


async def decline(
    core: Core,
    actor: Actor,
    refund: PublicId,
    reason: str,
    once: Once | None,
    render: Callable[[FoundRefund, Change], Reply],
) -> Reply:
    """An admin does not let it go: the money is in escrow as before."""

    def decide(found: FoundRefund, ids: Ids) -> Change:
        waiting = _refund(found)
        assert found.contract is not None
        return returning.decline(found.contract, waiting, actor, found.now, ids, reason)

    return await carry_out(
        core, actor, once, lambda: refunds.load(core.pool, refund, actor, once), decide, render
    )


async def retry(
    core: Core,
    actor: Actor,
    refund: PublicId,
    once: Once | None,
    render: Callable[[FoundRefund, Change], Reply],
) -> Reply:
    """An admin has the provider asked again about a refund that had failed for good."""

    def decide(found: FoundRefund, ids: Ids) -> Change:
        return returning.retry(_refund(found), actor, found.now, ids)

    return await carry_out(
        core, actor, once, lambda: refunds.load(core.pool, refund, actor, once), decide, render
    )


def _refund(found: FoundRefund) -> Refund:
    if found.refund is None:
        raise RefundNotFound
    return found.refund
