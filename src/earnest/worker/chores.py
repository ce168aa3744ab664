"""What the worker does: one **chore** each for the provider, the mail, the ledger and the broom.

Invariant: what is due is read from the database with the clock it belongs to, at every turn; no
chore decides by a time that it remembers, so all follow the sandbox clock within a second or so.
"""

from collections.abc import Callable

from earnest.actions import chargebacks, hints, payout_schedule, payouts, refunds
from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile_due
from earnest.anchors import Signer
from earnest.partner.signing import SigningKeys
from earnest.providers.sandbox import SandboxProvider
from earnest.sealing import derive_key
from earnest.settings import Settings
from earnest.store import (
    accounts,
    books,
    deliveries,
    idempotency,
    limits,
    password_resets,
    sessions,
)
from earnest.store.db import Pool
from earnest.worker import alerts
from earnest.worker.anchoring import write_anchor
from earnest.worker.deliveries import TURN_SECONDS, Deliveries, Observe
from earnest.worker.loop import Chore
from earnest.worker.mail import send_due

DUE_SECONDS = 1
ROLL_UP_SECONDS = 5
ROUND_SECONDS = 5
ALERT_SECONDS = 2
PURGE_SECONDS = 60
RECONCILE_SECONDS = 60
ROTATE_SECONDS = 600


def chores_of(
    settings: Settings,
    core: Core,
    observe_attempt: Observe = lambda _verdict, _seconds: None,
    observe_alert: Callable[[str], None] = lambda _kind: None,
) -> list[Chore]:
    """All chores of one worker with these settings. `observe_attempt` hears of webhooks out,
    `observe_alert` of what operators have to see."""
    pool, provider = core.pool, core.provider
    webhooks = Deliveries(core, settings, observe=observe_attempt)
    chores = [
        Chore("deliver webhooks", TURN_SECONDS, webhooks.turn, webhooks.finish),
        Chore("expire webhooks", DUE_SECONDS, lambda: expire_webhooks(pool)),
        Chore("send refunds", DUE_SECONDS, lambda: refunds.send_due(core)),
        Chore("send payouts", DUE_SECONDS, lambda: payouts.send_due(core)),
        Chore("notice disputes", DUE_SECONDS, lambda: hints.notice_waiting(core)),
        Chore("look up disputes", DUE_SECONDS, lambda: chargebacks.look_up_due(core)),
        Chore("begin payout rounds", ROUND_SECONDS, lambda: payout_schedule.begin_rounds(core)),
        Chore("pay by schedule", DUE_SECONDS, lambda: payout_schedule.take_turn(core)),
        Chore(
            "alert", ALERT_SECONDS, lambda: alerts.look(core, settings.public_url, observe_alert)
        ),
        Chore("send mail", DUE_SECONDS, lambda: send_due(pool, settings)),
        Chore("reconcile", RECONCILE_SECONDS, lambda: reconcile_due(core)),
        Chore("roll the ledger up", ROLL_UP_SECONDS, lambda: roll_up(pool)),
        Chore("purge replies", PURGE_SECONDS, lambda: purge_replies(pool)),
        Chore("purge sign-ins", PURGE_SECONDS, lambda: purge_sign_ins(pool)),
        Chore("purge limits", PURGE_SECONDS, lambda: purge_limits(pool)),
        Chore("rotate signing keys", ROTATE_SECONDS, SigningKeys(pool, core.sealer).rotate),
    ]
    if settings.anchor_seconds:
        directory, seconds = settings.anchors_path, settings.anchor_seconds
        signer = Signer(derive_key(settings.secret_key, "anchors"))
        chores.append(
            Chore("write anchors", seconds, lambda: write_anchor(pool, directory, signer))
        )
    if isinstance(provider, SandboxProvider):
        chores += [
            Chore("expire checkout sessions", DUE_SECONDS, provider.expire_due),
            Chore("let sandbox payouts arrive", DUE_SECONDS, provider.arrive_due),
            Chore("deliver provider events", DUE_SECONDS, provider.deliver_due),
        ]
    return chores


async def roll_up(pool: Pool) -> int:
    """Advance the ledger's horizon, if anything was posted beyond it; 0: it can wait."""
    async with pool.connection() as conn:
        if await books.has_tail(conn):
            await books.roll_up(conn)
    return 0


async def expire_webhooks(pool: Pool) -> int:
    """Fail one batch of deliveries that nobody will receive any more; how many."""
    async with pool.connection() as conn:
        return await deliveries.expire(conn)


async def purge_replies(pool: Pool) -> int:
    """Forget one batch of replies that are seven days old and moved no money; how many."""
    async with pool.connection() as conn:
        return await idempotency.purge(conn)


async def purge_sign_ins(pool: Pool) -> int:
    """Forget registrations that nobody confirmed, tokens that nobody used and login sessions that
    are over."""
    async with pool.connection() as conn:
        await accounts.purge(conn)
        await password_resets.purge(conn)
        await sessions.purge(conn)
    return 0


async def purge_limits(pool: Pool) -> int:
    """Forget one batch of attempts that no longer count; how many."""
    async with pool.connection() as conn:
        return await limits.purge(conn)
