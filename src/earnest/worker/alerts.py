"""Telling operators: what they must see becomes an **alert**, a line in the log and a letter.

One letter to each active admin bundles what is new; what comes up soon after it waits for the next
one. Letters name rows and amounts and say what to do, and nothing that people wrote.
"""

from collections.abc import Callable
from datetime import timedelta

import asyncpg
import structlog

from earnest.actions.core import Core
from earnest.domain.alert import WHAT, Alert
from earnest.domain.money import CURRENCIES, to_major
from earnest.store import alerts, mail
from earnest.store.mail import Letter

log = structlog.get_logger()

LETTER_PAUSE = timedelta(minutes=5)
LETTER_ALERTS_MAX = 50
LETTER_USEFUL_SECONDS = 7 * 24 * 60 * 60


async def look(
    core: Core, public_url: str, observe: Callable[[str], None] = lambda _kind: None
) -> int:
    """Raise, close and tell what there is; how many alerts were raised. `observe` hears of each.

    Letters lead to `public_url`, which is where this server is.
    """
    ids = await core.keys.ids()
    async with core.pool.connection() as conn, conn.transaction():
        if not await alerts.is_alone(conn):
            return 0
        raised = await alerts.raise_new(conn, ids)
        await alerts.close_over(conn)
        await _write(conn, public_url)
    for alert in raised:
        observe(alert.kind)
        log.error("an operator has to look", reason=alert.kind, code=alert.public_id)
    return len(raised)


async def _write(conn: asyncpg.Connection, public_url: str) -> None:
    new = await alerts.take_to_mail(conn, LETTER_PAUSE)
    if not new:
        return
    many = f"{len(new)} things" if len(new) > 1 else "one thing"
    for address, canonical in await alerts.admins(conn):
        letter = Letter(
            recipient=address,
            recipient_canonical=canonical,
            subject=f"Earnest: {many} to look at",
            body=text_of(new, public_url),
            useful_seconds=LETTER_USEFUL_SECONDS,
        )
        await mail.queue(conn, letter)


def text_of(new: list[Alert], public_url: str) -> str:
    """What the letter says, LETTER_ALERTS_MAX alerts at most."""
    parts = [_part(alert) for alert in new[:LETTER_ALERTS_MAX]]
    if len(new) > LETTER_ALERTS_MAX:
        parts.append(f"And {len(new) - LETTER_ALERTS_MAX} more.\n")
    where = f"{public_url.rstrip('/')}/api/admin/alerts"
    parts.append(
        f"All that are open: GET {where}?open=true\n"
        f"Seen to: PUT {where}/ID/close. One whose cause is gone closes by itself.\n"
    )
    return "\n".join(parts)


def _part(alert: Alert) -> str:
    lines = [f"{WHAT[alert.kind]}: {alert.subject}"]
    if alert.amount_minor is not None and alert.currency is not None:
        major = to_major(alert.amount_minor, CURRENCIES[alert.currency])
        lines.append(f"  Amount: {major} {alert.currency}")
    if alert.stage and alert.kind == "hold_limit":
        lines.append(f"  Held for {alert.stage} days or more")
    if alert.detail:
        lines.append(f"  Said of it: {alert.detail}")
    lines.append(f"  What to do: {alert.advice}")
    lines.append(f"  Alert: {alert.public_id}")
    return "\n".join(lines) + "\n"
