"""Checkout sessions at the provider: asking for one, closing one that is over.

The payment is stored before the provider is called and its public id is the provider's
idempotency key, so a call that timed out, or ten at once, make one session. The first of those who
ask at once in different words, with another link or in another language, has it opened; the others
wait for that.
"""

import asyncio
from datetime import datetime

import msgspec

from earnest.actions.core import Core
from earnest.domain.change import Change
from earnest.domain.hiring import payment_change
from earnest.domain.party import Actor
from earnest.domain.payment import Payment, PaymentState
from earnest.errors import (
    ProviderError,
    ProviderKeyInUse,
    ProviderKeyReused,
    ProviderPermanent,
    Unavailable,
)
from earnest.ids import Ids
from earnest.providers.base import CheckoutRequest, CheckoutSession, CheckoutState
from earnest.store.commit import Commit

PATIENT_TURNS, TURN_SECONDS = 6, 0.1
"""How often, and for how much longer each time, one waits for whoever was faster."""


class ProviderUnavailable(Unavailable):
    """The payment provider cannot be reached right now. Nothing was charged; try again."""


class ProviderRefused(Unavailable):
    """The payment provider did not accept this payment. Nothing was charged; try again."""


class OthersAsk(Exception):
    """Somebody else has asked for the session of a payment, in other words or just now."""


class Urls(msgspec.Struct, frozen=True):
    """Where the provider's page sends the payer back to."""

    success: str
    cancel: str


async def ask(
    core: Core,
    actor: Actor,
    payment: Payment,
    now: datetime,
    *,
    title: str,
    metadata: dict[str, str],
    urls: Urls,
    expires_in_seconds: int,
) -> CheckoutSession:
    """The provider's session for `payment`; asking again with the same payment is the same.

    Raises ProviderUnavailable; OthersAsk, and then it is time to `give_way`; ProviderRefused, and
    then the payment is closed: asking again with it would be refused again, so the next request
    starts a new one.
    """
    request = CheckoutRequest(
        idempotency_key=payment.public_id,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        title=title,
        metadata=metadata,
        success_url=urls.success,
        cancel_url=urls.cancel,
        asked_at=payment.created_at,
        expires_in_seconds=expires_in_seconds,
    )
    try:
        return await core.provider.create_checkout(request)
    except (ProviderKeyReused, ProviderKeyInUse) as error:
        raise OthersAsk from error
    except ProviderPermanent as error:
        await close(core, actor, payment, now, PaymentState.FAILED)
        raise ProviderRefused from error
    except ProviderError as error:
        raise ProviderUnavailable from error


async def give_way(core: Core, actor: Actor, payment: Payment, now: datetime, turn: int) -> None:
    """Let others finish who have asked for the session of `payment`, before the next look at it.

    `turn` counts from 0. Who has not finished after PATIENT_TURNS never will, or too late: an
    answer was lost and the title has changed since, its link is not known any more, or the provider
    takes its time. The payment is closed then, and a new one may begin.
    """
    if turn < PATIENT_TURNS:
        await asyncio.sleep(TURN_SECONDS * (turn + 1))
    else:
        await close(core, actor, payment, now, PaymentState.FAILED)


def opened(
    payment: Payment, session: CheckoutSession, actor: Actor, now: datetime, ids: Ids
) -> Change:
    """The payment can be paid at `session`."""
    return payment_change(
        payment,
        "payment.opened",
        actor,
        now,
        ids,
        {"session": session.id, "amount_minor": payment.amount_minor},
        state=PaymentState.OPEN,
        session_id=session.id,
        session_url=session.url,
        session_expires_at=session.expires_at,
    )


async def is_over(core: Core, actor: Actor, payment: Payment, now: datetime) -> bool:
    """Whether the session is over, as the provider says; then the payment is closed.

    Its event may be late or lost. A session that was paid after all is left to its event. One at
    another account of ours, from before the provider or its mode was changed, is over, too: what
    is paid there is not believed here.
    """
    elsewhere = payment.provider_account != core.provider_account
    if elsewhere and payment.state is not PaymentState.PROCESSING:
        await close(core, actor, payment, now, PaymentState.FAILED)
        return True
    ends_at = payment.session_expires_at
    if payment.session_id is None or ends_at is None or now < ends_at:
        return False
    try:
        status = await core.provider.find_checkout(payment.session_id)
    except ProviderError as error:
        raise ProviderUnavailable from error
    if status is None or status.state is not CheckoutState.EXPIRED:
        return False
    await close(core, actor, payment, now, PaymentState.EXPIRED)
    return True


async def close(
    core: Core, actor: Actor, payment: Payment, now: datetime, state: PaymentState
) -> None:
    """`payment` is not payable any more, unless somebody was faster to say what became of it."""
    ids = await core.keys.ids()
    over = payment_change(payment, f"payment.{state}", actor, now, ids, {}, state=state)
    await core.door.commit(Commit(over))
