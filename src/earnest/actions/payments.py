"""Payments: opening a checkout, taking the provider's word for it, giving parked money back."""

from collections.abc import Callable

from earnest.actions.checkout_sessions import OthersAsk, Urls, ask, give_way, is_over, opened
from earnest.actions.core import ATTEMPTS_MAX, Core, carry_out, keep_reply
from earnest.domain import hiring
from earnest.domain.capture import take_capture
from earnest.domain.change import Change
from earnest.domain.contract import Contract
from earnest.domain.hiring import JobNotFound
from earnest.domain.party import Actor
from earnest.domain.payment import Capture, CaptureKind, Payment, PaymentState
from earnest.errors import (
    Conflict,
    NotFound,
)
from earnest.ids import Ids, PublicId
from earnest.ledger.movements import expand
from earnest.providers.events import EventKind, ProviderEvent
from earnest.store.accounts import require_active
from earnest.store.captures import Told
from earnest.store.commit import Commit
from earnest.store.contracts import Documented
from earnest.store.hiring import (
    FoundJob,
    FoundPayment,
    load_job,
    load_payment,
)
from earnest.store.idempotency import Once, Reply, replay

CHECKOUT_SECONDS = 24 * 3600


class PaymentNotFound(NotFound):
    """Payment not found"""


# -- create-contract (C1) ---------------------------------------------------------------------


async def create_contract(
    core: Core,
    actor: Actor,
    job: PublicId,
    freelancer: PublicId,
    amount_minor: int,
    once: Once | None,
    render: Callable[[Documented], Reply],
) -> Reply:
    """The client hires a freelancer for a job; see `earnest.domain.hiring.create_contract`."""

    def decide(found: FoundJob, ids: Ids) -> Change:
        if found.hire is None or found.business is None:
            raise JobNotFound
        return hiring.create_contract(
            found.hire, found.business, actor, found.now, ids, amount_minor
        )

    def render_after(found: FoundJob, change: Change) -> Reply:
        return render(_documented(found, change.contract))

    return await carry_out(
        core,
        actor,
        once,
        lambda: load_job(core.pool, job, freelancer, actor, once),
        decide,
        render_after,
    )


def _documented(found: FoundJob, contract: Contract | None) -> Documented:
    assert contract is not None
    assert found.hire is not None
    assert found.buyer is not None
    assert found.seller is not None
    return Documented(contract, found.buyer, found.seller, found.hire.job)


# -- job payment ------------------------------------------------------------------------------


async def open_payment(
    core: Core,
    actor: Actor,
    job: PublicId,
    freelancer: PublicId,
    urls: Urls,
    once: Once | None,
    render: Callable[[Payment], Reply],
) -> Reply:
    """The job's open checkout session, or a new one: the same for everyone who asks meanwhile.

    The payment is stored before the provider is called, and its public id is the provider's
    idempotency key: a call that timed out, or ten at once, make one session. Raises what
    `hiring.open_payment` refuses, ProviderUnavailable and ProviderRefused.
    """
    for turn in range(ATTEMPTS_MAX):
        found = await load_job(core.pool, job, freelancer, actor, once)
        require_active(found.caller, actor)
        if once is not None and found.stored is not None:
            return replay(found.stored, once)
        if found.hire is None or found.business is None:
            raise JobNotFound
        ids = await core.keys.ids()
        wanted = hiring.open_payment(
            found.hire, found.business, core.provider_account, actor, found.now, ids
        )
        if isinstance(wanted, Payment):
            if await is_over(core, actor, wanted, found.now):
                continue
            if wanted.state is not PaymentState.OPENING:
                return await keep_reply(core, once, render(wanted))
            payment = wanted
        else:
            if not await core.door.commit(Commit(wanted)):
                continue
            assert wanted.payment is not None
            payment = wanted.payment
        try:
            session = await ask(
                core,
                actor,
                payment,
                found.now,
                title=found.hire.job.title,
                metadata=payment.metadata,
                urls=urls,
                expires_in_seconds=CHECKOUT_SECONDS,
            )
        except OthersAsk:
            await give_way(core, actor, payment, found.now, turn)
            continue
        change = opened(payment, session, actor, found.now, await core.keys.ids())
        assert change.payment is not None
        reply = render(change.payment)
        if await core.door.commit(Commit(change, once=once, reply=reply)):
            return reply
    raise Conflict


# -- provider events ----------------------------------------------------------------------------

_KIND = {
    EventKind.CHECKOUT_PAID: CaptureKind.PAID,
    EventKind.CHECKOUT_UNPAID: CaptureKind.PROCESSING,
    EventKind.CHECKOUT_FAILED: CaptureKind.FAILED,
    EventKind.CHECKOUT_EXPIRED: CaptureKind.EXPIRED,
    EventKind.OTHER: CaptureKind.OTHER,
}


async def take_event(core: Core, event: ProviderEvent, raw: bytes) -> None:
    """Do what a verified event says, exactly once; return when that is durable.

    Raises Conflict or Unavailable when it could not be done now: the provider will send the
    event again.
    """
    ours = (
        event.account is None
        and event.livemode is core.livemode
        and event.session_livemode in (None, core.livemode)
    )
    for _ in range(ATTEMPTS_MAX):
        found = await core.capture_loads.session(Told(event.id, event.session_id, event.payment_id))
        if found.known:
            return
        capture = Capture(
            provider=core.provider_name,
            provider_account=core.provider_account,
            event_id=event.id,
            type=event.type,
            kind=_KIND[event.kind],
            ours=ours,
            occurred_at=event.created_at or found.now,
            payload=raw,
            session_id=event.session_id,
            provider_payment_id=event.payment_id,
            amount_minor=event.amount_minor or 0,
            currency=event.currency or "",
            metadata=event.metadata,
        )
        ids = await core.keys.ids()
        change = take_capture(capture, found.situation, found.business, found.now, ids)
        if await core.door.commit(Commit(change, expand(change, ids))):
            return
    raise Conflict


# -- parked money -------------------------------------------------------------------------------


async def refund_parked(
    core: Core,
    actor: Actor,
    payment: PublicId,
    once: Once | None,
    render: Callable[[FoundPayment, Payment], Reply],
) -> Reply:
    """An admin gives a payment without a contract back to the client's wallet (D2)."""

    def decide(found: FoundPayment, ids: Ids) -> Change:
        if found.payment is None:
            raise PaymentNotFound
        return hiring.refund_parked(
            found.payment, actor, found.now, ids, charged_back=found.charged_back
        )

    def render_after(found: FoundPayment, change: Change) -> Reply:
        assert change.payment is not None
        return render(found, change.payment)

    return await carry_out(
        core,
        actor,
        once,
        lambda: load_payment(core.pool, payment, actor, once),
        decide,
        render_after,
    )
