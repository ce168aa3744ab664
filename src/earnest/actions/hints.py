"""Hints of a provider: what they are about is looked up at once, exactly once for each event."""

import msgspec

from earnest.actions.calls import AT_ONCE_MAX
from earnest.actions.core import ATTEMPTS_MAX, Core
from earnest.domain import charging_back
from earnest.domain.hint import take_hint
from earnest.domain.payment import Capture, CaptureKind
from earnest.errors import Conflict
from earnest.providers.events import EventKind, ProviderEvent
from earnest.store import hints
from earnest.store.commit import Commit
from earnest.store.hints import About

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
