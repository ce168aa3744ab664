"""Outgoing **mail**: a letter is a row, written in the database transaction that causes it.

The worker sends what is due; without an SMTP server (sandbox) the row in the mailbox is all
there is. Real time, not business time, decides when a letter is due. Business time decides until
when it is useful, for the codes and links in it live by that clock.

Invariant: a letter is sent while it is useful, or never; the mailbox shows it all the same.
"""

from datetime import datetime

import asyncpg
import msgspec

ATTEMPTS_MAX = 6
LEASE_SECONDS = 120
RETRY_SECONDS = (30, 120, 600, 3600, 6 * 3600)
OUTDATED_MAX = 1000
OUTDATED = "not sent while it was useful"


class Letter(msgspec.Struct, frozen=True):
    """What somebody gets to read. `code` and `link` repeat what stands in `body`.

    Its writer says for how many seconds of business time it is worth sending: while what it
    offers still works, or at least for longer than a mail server is down on a bad day.
    """

    recipient: str
    recipient_canonical: str
    subject: str
    body: str
    useful_seconds: int
    code: str | None = None
    link: str | None = None


class Due(msgspec.Struct, frozen=True):
    """A leased letter: `attempts` counts this one. `useful_seconds` are left of its use."""

    key: int
    recipient: str
    subject: str
    body: str
    attempts: int
    useful_seconds: float


class Received(msgspec.Struct, frozen=True):
    """A letter as the sandbox mailbox shows it."""

    recipient: str
    subject: str
    body: str
    code: str | None
    link: str | None
    sent_at: datetime


QUEUE = """
INSERT INTO mail (
    recipient, recipient_canonical, subject, body, code, link, created_at, useful_until
) VALUES (
    $1, $2, $3, $4, $5, $6, business_now(), business_now() + make_interval(secs => $7)
)
"""

# What a sandbox sends by other ways than mail is shown in the mailbox and due nowhere.
SHOW = """
INSERT INTO mail (
    recipient, recipient_canonical, subject, body, code, created_at, useful_until, sent_at
) VALUES ($1, $1, $2, $3, $4, business_now(), business_now(), now())
"""

MAILBOX = """
SELECT recipient, subject, body, code, link, created_at AS sent_at
FROM mail
WHERE recipient_canonical = $1
ORDER BY id DESC
LIMIT 100
"""

# Whoever takes a letter has LEASE_SECONDS to report; then it is due again.
LEASE = """
UPDATE mail SET attempts = attempts + 1, due_at = now() + make_interval(secs => $2)
WHERE id IN (
    SELECT id FROM mail
    WHERE sent_at IS NULL AND failed_at IS NULL AND due_at <= now()
    AND useful_until > business_now()
    ORDER BY due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING
    id AS key,
    recipient,
    subject,
    body,
    attempts,
    extract(EPOCH FROM useful_until - business_now())::double precision AS useful_seconds
"""

# A letter that is not due now is leased, or waits for its next try: its time will come.
GIVE_UP_OUTDATED = """
UPDATE mail SET
    failed_at = now(),
    last_error = concat_ws(': ', $2::text, nullif(last_error, '')),
    body = CASE WHEN $3 THEN '' ELSE body END,
    code = CASE WHEN $3 THEN NULL ELSE code END,
    link = CASE WHEN $3 THEN NULL ELSE link END
WHERE id IN (
    SELECT id FROM mail
    WHERE sent_at IS NULL AND failed_at IS NULL AND due_at <= now()
    AND useful_until <= business_now()
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING id
"""

# The mail server has it, whatever another worker made of it once the lease was over.
SENT = """
UPDATE mail SET
    sent_at = now(),
    failed_at = NULL,
    body = CASE WHEN $2 THEN '' ELSE body END,
    code = CASE WHEN $2 THEN NULL ELSE code END,
    link = CASE WHEN $2 THEN NULL ELSE link END
WHERE id = $1
"""

RETRY = """
UPDATE mail SET due_at = now() + make_interval(secs => $2), last_error = $3 WHERE id = $1
"""

GIVE_UP = """
UPDATE mail SET
    failed_at = now(),
    last_error = $2,
    body = CASE WHEN $3 THEN '' ELSE body END,
    code = CASE WHEN $3 THEN NULL ELSE code END,
    link = CASE WHEN $3 THEN NULL ELSE link END
WHERE id = $1
"""


async def queue(conn: asyncpg.Connection, letter: Letter) -> None:
    """Hand `letter` over to the worker, within the caller's database transaction."""
    await conn.execute(
        QUEUE,
        letter.recipient,
        letter.recipient_canonical,
        letter.subject,
        letter.body,
        letter.code,
        letter.link,
        letter.useful_seconds,
    )


async def show_text_message(
    conn: asyncpg.Connection, phone: str, subject: str, body: str, code: str
) -> None:
    """Sandbox: a text message to `phone`, to be read in the mailbox; no mail server gets it."""
    await conn.execute(SHOW, phone, subject, body, code)


async def mailbox(conn: asyncpg.Connection, recipient_canonical: str) -> list[Received]:
    """The last 100 letters to somebody, newest first."""
    rows = await conn.fetch(MAILBOX, recipient_canonical)
    return [Received(**row) for row in rows]


async def lease(conn: asyncpg.Connection, letters_max: int = 20) -> list[Due]:
    """Letters to send now, each for this caller alone until the lease ends, most pressing first."""
    rows = await conn.fetch(LEASE, letters_max, LEASE_SECONDS)
    return sorted((Due(**row) for row in rows), key=lambda letter: letter.useful_seconds)


async def give_up_outdated(conn: asyncpg.Connection, *, forget: bool) -> int:
    """Put aside letters that are useful no more, OUTDATED_MAX at most; how many.

    `forget` empties what they said (production).
    """
    return len(await conn.fetch(GIVE_UP_OUTDATED, OUTDATED_MAX, OUTDATED, forget))


async def sent(conn: asyncpg.Connection, key: int, *, forget: bool) -> None:
    """The mail server took it. `forget` empties what it said (production)."""
    await conn.execute(SENT, key, forget)


async def failed(
    conn: asyncpg.Connection, letter: Due, error: str, *, permanent: bool, forget: bool
) -> None:
    """The mail server did not get it or not take it: try again later, or give up.

    `forget` empties what it said once it is given up (production).
    """
    if permanent or letter.attempts >= ATTEMPTS_MAX:
        await conn.execute(GIVE_UP, letter.key, error, forget)
    else:
        await conn.execute(RETRY, letter.key, RETRY_SECONDS[letter.attempts - 1], error)
