"""Sending **mail**: letters that are due go to the SMTP server of `EARNEST_SMTP_URL`.

`smtp://user:password@host:587` speaks STARTTLS, `smtps://` TLS from the first byte; without
either, only a server on loopback is spoken to. `?from=` in the URL names the sender. A letter is
leased before it is sent, so two workers do not send it twice; a worker that dies between sending
and reporting does: a second copy of a code is better than none. A letter that is useful no more
is put aside, whether the server was away, was slow, or was only configured now.
"""

import asyncio
import ipaddress
import logging
import smtplib
import ssl
import time
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from earnest.settings import Settings
from earnest.store import mail
from earnest.store.db import Pool
from earnest.store.mail import Due

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20
ERROR_CHARACTERS_MAX = 500


class Server(msgspec.Struct, frozen=True):
    """Where mail goes and whom it comes from."""

    host: str
    port: int
    is_tls: bool
    user: str
    password: str
    sender: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of one letter; no error: the server took it."""

    letter: Due
    error: str = ""
    permanent: bool = False


def server_of(settings: Settings) -> Server | None:
    """The mail server of these settings; None without one."""
    if not settings.smtp_url:
        return None
    url = urlsplit(settings.smtp_url)
    is_tls = url.scheme == "smtps"
    user = unquote(url.username or "")
    sender = parse_qs(url.query).get("from", [""])[0]
    if not sender:
        sender = user if "@" in user else f"no-reply@{urlsplit(settings.public_url).hostname}"
    return Server(
        host=url.hostname or "localhost",
        port=url.port or (465 if is_tls else 587),
        is_tls=is_tls,
        user=user,
        password=unquote(url.password or ""),
        sender=sender,
    )


async def send_due(pool: Pool, settings: Settings) -> int:
    """Send what is due, at most one lease of letters; how many were tried or put aside.

    Without a mail server letters stay where they are: in the sandbox's mailbox.
    """
    server, forget = server_of(settings), settings.is_production
    async with pool.connection() as conn:
        outdated = await mail.give_up_outdated(conn, forget=forget)
        leased_at = time.monotonic()
        letters = [] if server is None else await mail.lease(conn)
    if outdated and (server is not None or forget):
        log.warning("letters not sent while they were useful: %d", outdated)
    if server is None or not letters:
        return outdated
    outcomes = await asyncio.to_thread(_send, server, letters, leased_at)
    async with pool.connection() as conn:
        for outcome in outcomes:
            if outcome.error:
                error = outcome.error[:ERROR_CHARACTERS_MAX]
                await mail.failed(
                    conn, outcome.letter, error, permanent=outcome.permanent, forget=forget
                )
            else:
                await mail.sent(conn, outcome.letter.key, forget=forget)
    return outdated + len(letters)


# -- in a thread ----------------------------------------------------------------------------


def _send(server: Server, letters: list[Due], leased_at: float) -> list[Outcome]:
    """One connection for all letters; what breaks it is the outcome of those that remain.

    `leased_at` is the monotonic time since which they lose their use.
    """
    outcomes: list[Outcome] = []
    try:
        with _connect(server) as connection:
            for letter in letters:
                if time.monotonic() - leased_at < letter.useful_seconds:
                    outcomes.append(_send_one(connection, server, letter))
                else:
                    outcomes.append(Outcome(letter, mail.OUTDATED, permanent=True))
    except (OSError, smtplib.SMTPException, ssl.SSLError) as error:
        told = len(outcomes)
        outcomes += [Outcome(letter, _words(error)) for letter in letters[told:]]
    return outcomes


def _connect(server: Server) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.is_tls:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.ehlo()
        if not server.is_tls and (connection.has_extn("starttls") or not _is_loopback(server)):
            connection.starttls(context=context)
            connection.ehlo()
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_loopback(server: Server) -> bool:
    if server.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(server.host).is_loopback
    except ValueError:
        return False


def _send_one(connection: smtplib.SMTP, server: Server, letter: Due) -> Outcome:
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = letter.recipient
    message["Subject"] = letter.subject
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    try:
        connection.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return Outcome(letter, f"{code} {text.decode(errors='replace')}", permanent=code >= 500)
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPResponseException as error:
        return Outcome(letter, _words(error), permanent=error.smtp_code >= 500)
    return Outcome(letter)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
