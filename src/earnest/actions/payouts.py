"""Payouts, from the wallet to the bank: asking for one, and what the worker and admins do.

Each leg of a payout is one call to the provider, planned in a commit before it is made, its outcome
committed after; in between nothing is open. An outcome that nobody knows is looked up before the
call is made again, with the same key (invariant 14).
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from earnest.actions import payout_accounts
from earnest.actions.calls import (
    AT_ONCE_MAX,
    ERROR_CHARACTERS_MAX,
    LEASE_SECONDS,
    key_of_call,
    looks_up_first,
    wait_after,
)
from earnest.actions.core import Core, carry_out
from earnest.domain import withdrawing
from earnest.domain.change import Change
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.payout import Cause, Leg, Payout, PayoutState
from earnest.domain.withdrawing import OnboardingFirst
from earnest.errors import (
    NotFound,
    ProviderError,
    ProviderPermanent,
)
from earnest.ids import Ids, PublicId
from earnest.ledger.movements import expand
from earnest.providers.base import (
    PayoutRequest,
    ProviderPayout,
    ProviderPayoutState,
    ProviderTransfer,
    ReturnRequest,
    TransferRequest,
)
from earnest.store import payouts
from earnest.store.commit import Commit
from earnest.store.idempotency import Once, Reply
from earnest.store.payout_accounts import Payee
from earnest.store.payouts import FoundFunds, FoundPayout

log = logging.getLogger(__name__)

PENDING_SECONDS = 3_600
"""How often a payout that is on its way to a bank is looked up; its events come sooner."""


class PayoutNotFound(NotFound):
    """Payout not found"""


class PayeeNotFound(NotFound):
    """User not found"""


def country_of(currency: str) -> str | None:
    """Where people with this currency are, unless they say otherwise: ISO 4217 codes begin with
    ISO 3166's. None for a currency of several countries."""
    return None if currency.startswith("X") or currency == "EUR" else currency[:2]


async def withdraw(
    core: Core,
    actor: Actor,
    payee: Payee,
    currency: str,
    amount_of: Callable[[FoundFunds], int],
    once: Once | None,
    render: Callable[[Payout], Reply],
    cause: Cause = Cause.ASKED,
) -> Reply:
    """Money leaves the payee's wallet, to be paid out; see `earnest.domain.withdrawing.withdraw`.

    Raises what that refuses, PayeeNotFound, and ProviderUnavailable where the provider has to be
    asked first whether it can pay them.
    """

    def decide(found: FoundFunds, ids: Ids) -> Change:
        if found.funds is None or found.business is None:
            raise PayeeNotFound
        return withdrawing.withdraw(
            found.funds,
            found.business.settings,
            actor,
            found.now,
            ids,
            amount_of(found),
            cause,
        )

    async def carry() -> Reply:
        return await carry_out(
            core,
            actor,
            once,
            lambda: payouts.load_funds(
                core.pool, payee, currency, core.provider_account, actor, once
            ),
            decide,
            lambda _, change: _of(change, render),
        )

    try:
        return await carry()
    except OnboardingFirst:
        # As far as we know. They may have come back from there a moment ago.
        if not await payout_accounts.look(core, payee, country_of(currency)):
            raise
        return await carry()


def _of(change: Change, render: Callable[[Payout], Reply]) -> Reply:
    assert change.payout is not None
    return render(change.payout)


async def retry(
    core: Core,
    actor: Actor,
    payout: PublicId,
    once: Once | None,
    render: Callable[[Payout], Reply],
) -> Reply:
    """An admin has the provider asked again about a payout that is stuck."""

    def decide(found: FoundPayout, ids: Ids) -> Change:
        if found.payout is None:
            raise PayoutNotFound
        return withdrawing.retry(found.payout, actor, found.now, ids)

    return await carry_out(
        core,
        actor,
        once,
        lambda: payouts.load(core.pool, payout, actor, once),
        decide,
        lambda _, change: _of(change, render),
    )


# -- the worker -----------------------------------------------------------------------------------


async def send_due(core: Core) -> int:
    """Take one step with each payout that is due, AT_ONCE_MAX at most; how many."""
    async with core.pool.connection() as conn:
        waiting = await payouts.due(conn, AT_ONCE_MAX)
    for payout in waiting:
        await _send(core, payout)
    return len(waiting)


async def _send(core: Core, public_id: PublicId) -> None:
    found = await payouts.load(core.pool, public_id, SYSTEM)
    payout, now = found.payout, found.now
    if payout is None or payout.due_at is None or payout.due_at > now:
        return  # another worker has it, or has done it
    claimed = await _step(
        core,
        payout,
        "payout.sent",
        now,
        state=PayoutState.SENT,
        attempts=payout.attempts + 1,
        due_at=now + timedelta(seconds=LEASE_SECONDS),
    )
    if claimed is None:
        return  # another worker was faster
    try:
        if payout.provider_account != core.provider_account:
            raise ProviderPermanent("It was planned at another account than the present one.")
        after = await _ask(core, claimed, payout.state, now)
    except ProviderPermanent as error:
        after = withdrawing.refused(
            claimed, error.message[:ERROR_CHARACTERS_MAX], now, await core.keys.ids()
        )
    except ProviderError as error:
        looks_up = looks_up_first(error, was_planned=payout.state is PayoutState.PLANNED)
        await _step(
            core,
            claimed,
            "payout.delayed",
            now,
            state=PayoutState.UNKNOWN if looks_up else PayoutState.PLANNED,
            due_at=now + wait_after(error, claimed.attempts),
            calls=claimed.calls + error.key_is_spent,
            last_error=error.message[:ERROR_CHARACTERS_MAX],
        )
        return
    if after.payout is not None and after.payout.state is PayoutState.STUCK:
        log.error("a payout is stuck: it was not paid, and the provider does not give it back")
    await core.door.commit(Commit(after, expand(after, await core.keys.ids())))


async def _ask(core: Core, payout: Payout, before: PayoutState, now: datetime) -> Change:
    """Make the call of this leg, or find what it did, and say where that leads."""
    look_first = before is not PayoutState.PLANNED
    match payout.leg:
        case Leg.TRANSFER:
            transfer = await _transfer(core, payout, look_first)
            return withdrawing.transferred(payout, transfer.id, now, await core.keys.ids())
        case Leg.PAYOUT:
            paid = await _pay(core, payout, look_first)
            return _went(payout, paid, now, await core.keys.ids())
        case Leg.RETURN:
            await _return(core, payout, look_first)
            return withdrawing.returned(payout, now, await core.keys.ids())


async def _transfer(core: Core, payout: Payout, look_first: bool) -> ProviderTransfer:
    request = TransferRequest(
        idempotency_key=key_of_call(payout.public_id, payout.calls),
        reference=payout.public_id,
        account_id=payout.external_account,
        amount_minor=payout.amount_minor,
        currency=payout.currency,
    )
    known = await core.provider.find_transfer(request) if look_first else None
    return known or await core.provider.create_transfer(request)


async def _pay(core: Core, payout: Payout, look_first: bool) -> ProviderPayout:
    request = PayoutRequest(
        idempotency_key=key_of_call(payout.public_id, payout.calls),
        reference=payout.public_id,
        account_id=payout.external_account,
        amount_minor=payout.amount_minor,
        currency=payout.currency,
    )
    known = await core.provider.find_payout(request) if look_first else None
    return known or await core.provider.create_payout(request)


def _went(payout: Payout, paid: ProviderPayout, now: datetime, ids: Ids) -> Change:
    match paid.state:
        case ProviderPayoutState.PAID:
            return withdrawing.completed(payout, paid.id, now, ids)
        case ProviderPayoutState.FAILED:
            why = f"The bank did not take the money{f' ({paid.failure})' if paid.failure else ''}."
            return withdrawing.refused(payout, why, now, ids)
        case ProviderPayoutState.PENDING:
            return withdrawing.step(
                payout,
                "payout.accepted",
                now,
                ids,
                provider_payout_id=paid.id,
                due_at=now + timedelta(seconds=PENDING_SECONDS),
                last_error="",
            )


async def _return(core: Core, payout: Payout, look_first: bool) -> None:
    request = ReturnRequest(
        idempotency_key=key_of_call(payout.public_id, payout.calls),
        reference=payout.public_id,
        transfer_id=payout.provider_transfer_id or "",
        amount_minor=payout.amount_minor,
        currency=payout.currency,
    )
    if look_first:
        known = await core.provider.find_transfer(
            TransferRequest(
                idempotency_key=payout.public_id,
                reference=payout.public_id,
                account_id=payout.external_account,
                amount_minor=payout.amount_minor,
                currency=payout.currency,
            )
        )
        if known is not None and known.returned_minor >= payout.amount_minor:
            return
    await core.provider.return_transfer(request)


async def _step(
    core: Core, payout: Payout, happened: str, now: datetime, **changes: object
) -> Payout | None:
    """The payout one step on; None when somebody was faster."""
    change = withdrawing.step(payout, happened, now, await core.keys.ids(), **changes)
    return change.payout if await core.door.commit(Commit(change)) else None
