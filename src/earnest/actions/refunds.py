"""Refunds to the source, from the intent to the money: what the worker does, and what admins do.

The intent is committed before the provider is called, and the outcome after; in between nothing is
open. An outcome that nobody knows is looked up before the call is made again, with the same key,
or with the next one where the provider has spent that (invariant 14). Invariant: money is posted
once, when the provider says that it has gone back.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from earnest.actions.calls import (
    AT_ONCE_MAX,
    BACKOFF_SECONDS_MAX,
    ERROR_CHARACTERS_MAX,
    LEASE_SECONDS,
    key_of_call,
    looks_up_first,
    wait_after,
)
from earnest.actions.core import ATTEMPTS_MAX, Core, carry_out
from earnest.domain import refund_returned, returning
from earnest.domain.change import Change
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.payment import Payment
from earnest.domain.refund import DUE, Refund, RefundState
from earnest.errors import (
    Conflict,
    NotFound,
    ProviderError,
    ProviderPermanent,
)
from earnest.ids import Ids, PublicId
from earnest.ledger.movements import expand
from earnest.providers.base import ProviderRefund, ProviderRefundState, RefundRequest
from earnest.store import refunds
from earnest.store.commit import Commit
from earnest.store.idempotency import Once, Reply
from earnest.store.refunds import FoundRefund

log = logging.getLogger(__name__)

BANK_SECONDS = 3_600
PENDING_SECONDS_MAX = 3_600
"""How often a refund is looked up that a bank takes days for; events tell of it sooner."""

NOT_GIVEN_BACK = "The provider could not give the money back."
CAME_BACK = "The payer's bank sent the money back."


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
    refund, payment, now = found.refund, found.payment, found.now
    if refund is None or payment is None or refund.due_at is None or refund.due_at > now:
        return  # another worker has it, or has done it
    if refund.state is RefundState.DONE:
        await _look_again(core, refund, payment, now)
        return
    if found.contract is not None and found.contract.charged_back:
        await _wait_for_the_bank(core, refund, payment, now)
        return
    claimed = await _step(
        core,
        refund,
        "refund.sent",
        now,
        state=RefundState.SENT,
        attempts=refund.attempts + 1,
        due_at=now + timedelta(seconds=LEASE_SECONDS),
    )
    if claimed is None:
        return  # another worker was faster
    try:
        done = await _ask(core, claimed, payment, refund.state)
    except ProviderPermanent as error:
        await _fail(core, found, claimed, error.message)
        return
    except ProviderError as error:
        await _delay(core, claimed, refund.state, error, now)
        return
    if done.state is ProviderRefundState.PENDING:
        wait = min(2**claimed.attempts * 10, PENDING_SECONDS_MAX)
        later = now + timedelta(seconds=wait)
        await _step(core, claimed, "refund.accepted", now, due_at=later, last_error="")
    elif done.state is ProviderRefundState.FAILED:
        await _fail(core, found, claimed, NOT_GIVEN_BACK, provider_refund_id=done.id)
    else:
        await _settle(core, public_id, done)


async def _wait_for_the_bank(core: Core, refund: Refund, payment: Payment, now: datetime) -> None:
    """The payer's bank wants this money back: nothing is asked for until that is decided, lest the
    payer gets it twice. What an earlier call did is still found out."""
    state = refund.state
    if state is not RefundState.PLANNED:
        try:
            known = await core.provider.find_refund(_request(refund, payment))
        except ProviderError:
            state = RefundState.UNKNOWN
        else:
            if known is not None and known.state is ProviderRefundState.SUCCEEDED:
                await _settle(core, refund.public_id, known)
                return
            state = RefundState.PLANNED if known is None else RefundState.UNKNOWN
    await _step(
        core,
        refund,
        "refund.delayed",
        now,
        state=state,
        due_at=now + timedelta(seconds=BANK_SECONDS),
        last_error="The payer's bank wants this money back, and that is undecided.",
    )


async def _ask(core: Core, refund: Refund, payment: Payment, before: RefundState) -> ProviderRefund:
    """What the provider says of it; asked anew only where it does not know the refund, or knows of
    one that has failed and was told of as that."""
    if payment.provider_account != core.provider_account:
        raise ProviderPermanent("The money came in at another account than the present one.")
    request = _request(refund, payment)
    if before is not RefundState.PLANNED:
        known = await core.provider.find_refund(request)
        if known is not None and not _has_failed(known, refund):
            return known
    return await core.provider.create_refund(request)


def _request(refund: Refund, payment: Payment) -> RefundRequest:
    return RefundRequest(
        idempotency_key=key_of_call(refund.public_id, refund.calls),
        reference=refund.public_id,
        payment_id=payment.provider_payment_id or "",
        amount_minor=refund.amount_minor,
        currency=refund.currency,
    )


def _has_failed(known: ProviderRefund, refund: Refund) -> bool:
    return known.state is ProviderRefundState.FAILED and known.id == refund.provider_refund_id


async def _delay(
    core: Core, refund: Refund, before: RefundState, error: ProviderError, now: datetime
) -> None:
    """It is asked again later: by the next key if this one is spent, once a lookup has shown that
    nothing happened."""
    looks_up = looks_up_first(error, was_planned=before is RefundState.PLANNED)
    await _step(
        core,
        refund,
        "refund.delayed",
        now,
        state=RefundState.UNKNOWN if looks_up else RefundState.PLANNED,
        calls=refund.calls + error.key_is_spent,
        due_at=now + wait_after(error, refund.attempts),
        last_error=error.message[:ERROR_CHARACTERS_MAX],
    )


async def _fail(
    core: Core, found: FoundRefund, refund: Refund, why: str, **changes: object
) -> None:
    """For good: an admin has to look. Money that had come back before stays in transit."""
    assert found.contract is not None
    again = refund_returned.is_settled(found.contract, refund)
    await _step(
        core,
        refund,
        "refund.failed",
        found.now,
        state=RefundState.RETURNED if again else RefundState.FAILED,
        due_at=None,
        last_error=why[:ERROR_CHARACTERS_MAX],
        **changes,
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
        if refund_returned.is_settled(contract, refund):
            change = refund_returned.repay(refund, payment, done.id, found.now, ids)
        else:
            change = returning.settle(contract, refund, payment, done.id, found.now, ids)
        if refund.due_at is not None and refund.due_at <= found.now and change.refund is not None:
            # There was news since the provider was asked: it is looked up once more.
            hinted = msgspec.structs.replace(change.refund, due_at=found.now)
            change = msgspec.structs.replace(change, refund=hinted)
        if await core.door.commit(Commit(change, expand(change, ids))):
            return
    raise Conflict


async def _look_again(core: Core, refund: Refund, payment: Payment, now: datetime) -> None:
    """A refund that is done, of which the provider has something to tell: is it still?"""
    try:
        known = await core.provider.find_refund(_request(refund, payment))
    except ProviderError as error:
        later = now + timedelta(seconds=BACKOFF_SECONDS_MAX)
        why = error.message[:ERROR_CHARACTERS_MAX]
        await _step(core, refund, "refund.delayed", now, due_at=later, last_error=why)
        return
    ids = await core.keys.ids()
    if known is not None and _has_failed(known, refund):
        change = refund_returned.came_back(refund, payment, now, ids, CAME_BACK)
        log.error("a refund came back")
    else:
        change = refund_returned.confirm(refund, now, ids)
    await core.door.commit(Commit(change, expand(change, ids)))


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
