"""Hints of a provider: what they are about is looked up at once, exactly once for each event. And
disputes whose events never came: the provider's books are a hint, too.
"""

import logging
from datetime import date

import msgspec

from earnest.actions.calls import AT_ONCE_MAX
from earnest.actions.core import ATTEMPTS_MAX, Core
from earnest.domain import charging_back
from earnest.domain.hint import take_hint
from earnest.domain.payment import Capture, CaptureKind
from earnest.errors import Conflict, ProviderError, ProviderPermanent
from earnest.providers.events import EventKind, ProviderEvent
from earnest.store import hints
from earnest.store.commit import Commit
from earnest.store.hints import About

log = logging.getLogger(__name__)

ASKED_MAX = 100
"""How many disputes one reconciliation asks about; the next one goes on."""

UNANSWERED_MAX = 3
"""After so many calls that came to nothing, a reconciliation leaves the provider alone."""

_OF_ACCOUNTS = frozenset({EventKind.PAYOUT, EventKind.ACCOUNT})
"""What connected accounts tell of themselves; everything else is told by our own."""


async def hear(core: Core, event: ProviderEvent, raw: bytes) -> None:
    """Consume a verified event of a kind in HINTS; return when that is durable.

    Raises Conflict or Unavailable when it could not be done now: the provider will send the
    event again.
    """
    about = _about(event)
    for _ in range(ATTEMPTS_MAX):
        found = await hints.load(core.pool, core.provider_name, core.provider_account, about)
        if found.known:
            return
        told_by_ours = event.account is None or (event.kind in _OF_ACCOUNTS and found.knows_account)
        capture = Capture(
            provider=core.provider_name,
            provider_account=core.provider_account,
            event_id=event.id,
            type=event.type,
            kind=CaptureKind.OTHER,
            ours=told_by_ours and event.livemode is core.livemode,
            occurred_at=event.created_at or found.now,
            payload=raw,
            session_id=about.payment_id if about.dispute_id else None,
        )
        hinted = msgspec.structs.replace(
            found.hinted, account=event.kind is EventKind.ACCOUNT and found.knows_account
        )
        change = take_hint(
            capture,
            hinted,
            found.now,
            await core.keys.ids(),
            dispute_id=about.dispute_id or "",
            undone=event.undone,
        )
        if await core.door.commit(Commit(change)):
            return
    raise Conflict


async def notice_waiting(core: Core) -> int:
    """Begin the chargebacks of disputes that were told of before their payments; how many."""
    found = await hints.waiting(core.pool, core.provider_name, core.provider_account, AT_ONCE_MAX)
    begun = 0
    for dispute_id, payment, now in found:
        change = charging_back.notice(dispute_id, payment, now, await core.keys.ids())
        begun += await core.door.commit(Commit(change))  # False: another worker was faster
    return begun


async def notice_unheard(core: Core, since: date, asked: set[str]) -> None:
    """Begin the chargebacks of disputes that only the provider's books tell of, from day `since` on
    or still missing from before; the worker looks them up as any other. It looks again at those
    that were over, and have lines since that day which they did not have.

    `asked` are those that this reconciliation has asked about; it grows. What the provider does not
    answer, or answers with a payment that is not ours, is left as it is, for the next one.
    """
    for chargeback, now in await hints.unbooked(core.pool, core.provider_account, since, ASKED_MAX):
        ids = await core.keys.ids()
        again = charging_back.step_alone(chargeback, "chargeback.hinted", now, ids, due_at=now)
        await core.door.commit(Commit(again))  # False: an event or another run was faster
    limit = ASKED_MAX - len(asked)
    begun = unanswered = 0
    for dispute_id in await hints.unheard(core.pool, core.provider_account, since, asked, limit):
        asked.add(dispute_id)
        try:
            begun += await _notice_unheard(core, dispute_id)
        except ProviderError as error:
            log.warning("the provider does not say what a dispute is about: %s", error.code)
            # A refusal is about this dispute, anything else about the provider.
            unanswered += not isinstance(error, ProviderPermanent)
            if unanswered == UNANSWERED_MAX:
                break
    if begun:
        log.warning("%d disputes were found in the provider's books: no event came", begun)


async def _notice_unheard(core: Core, dispute_id: str) -> bool:
    """Whether it began a chargeback. Raises ProviderError."""
    # The books name the dispute, and not the payment.
    dispute = await core.provider.find_dispute(dispute_id)
    if dispute is None:
        log.warning("the provider does not know a dispute that is in its books")
        return False
    payment, now = await hints.payment_of(core.pool, core.provider_account, dispute.payment_id)
    if payment is None:
        log.warning("a dispute in the provider's books is about no payment of ours")
        return False
    change = charging_back.notice(dispute_id, payment, now, await core.keys.ids())
    return await core.door.commit(Commit(change))  # False: an event or another run was faster


def _about(event: ProviderEvent) -> About:
    def if_it_is(kind: EventKind) -> str | None:
        return event.object_id if event.kind is kind else None

    return About(
        event_id=event.id,
        account=event.account,
        refund_id=if_it_is(EventKind.REFUND),
        payout_id=if_it_is(EventKind.PAYOUT),
        dispute_id=if_it_is(EventKind.DISPUTE),
        payment_id=event.payment_id,
        reference=event.reference or "",
    )
