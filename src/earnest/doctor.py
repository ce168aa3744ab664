"""`earnest doctor`: **findings** about an installation, each with its fix.

A finding is an error (money, secrets or people are at risk, or nothing works), a warning (it will
hurt one day) or a note. Invariant: it looks and changes nothing, and repeats no secret; one check
that cannot be made is a finding of its own and stops no other.
"""

import asyncio
import os
import platform
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from earnest.database import opened
from earnest.diagnosis import (
    Finding,
    error,
    note,
    of_alerts,
    of_clock,
    of_connections,
    of_roles,
    of_server,
    warning,
)
from earnest.doctor_stripe import examine_stripe
from earnest.process import OTHER_FILES_MAX
from earnest.settings import STRIPE_TEST_KEYS, Settings
from earnest.store import alerts
from earnest.store.checkup import check_up
from earnest.store.db import CONNECT_SECONDS_MAX, UNREACHABLE, DatabaseRefused
from earnest.store.migrate import pending_migrations

PYTHONS = ((3, 11), (3, 13))
FREE_BYTES_ERROR, FREE_BYTES_WARNING = 256 << 20, 2 << 30
FREE_INODES_ERROR, FREE_INODES_WARNING = 1_000, 20_000
KEY_VARIETY_MIN = 12
PROXIES_MAX = 1 << 16


def examine(settings: Settings, workers: int, report: Callable[[str], None]) -> list[Finding]:
    """All findings, the worst first. `workers` is how many API processes `serve` is to run.

    An embedded database that is down is started for it, and stopped again.
    """
    found = [*of_settings(settings), *of_machine(settings), *of_data_directory(settings.data_dir)]
    if settings.provider == "stripe":
        found += examine_stripe(settings)
    try:
        with opened(settings, report, create=False, migrated=False, durable=False) as database:
            found += asyncio.run(_of_database(database.settings, workers))
    except DatabaseRefused as refused:
        found.append(error("database", str(refused), "See the message; then run doctor again."))
    order = ("error", "warning", "note")
    return sorted(found, key=lambda one: order.index(one.severity))


def lines(findings: list[Finding]) -> list[str]:
    """For people."""
    told = [
        line
        for one in findings
        for line in (f"{one.severity:<8} {one.name}: {one.what}", f"{'':<8} fix: {one.fix}")
    ]
    counts = {kind: sum(f.severity == kind for f in findings) for kind in ("error", "warning")}
    return [*told, f"{counts['error']} errors, {counts['warning']} warnings."]


# -- settings -------------------------------------------------------------------------------


def of_settings(settings: Settings) -> Iterator[Finding]:
    """What no start refuses, and yet nobody should serve with."""
    public = urlsplit(settings.public_url)
    is_local = public.hostname in {"localhost", "127.0.0.1", "::1"}
    if not settings.is_production:
        yield (note if is_local else warning)(
            "sandbox",
            "This is a sandbox: anybody may read the mailbox, move the clock and pay with test"
            " cards.",
            "For real money set EARNEST_ENV=production.",
        )
    else:
        yield from _of_production(settings, is_https=public.scheme == "https", is_local=is_local)
    if not settings.client_url:
        yield warning(
            "client_url",
            "No browser may call this server from another origin, and letters lead to its own.",
            "Set EARNEST_CLIENT_URL to the origin of the web client.",
        )
    elif not settings.is_production and _loses_cookies(settings):
        yield warning(
            "client_url_host",
            "Without https browsers keep no session for pages of another host (localhost is not"
            " 127.0.0.1): people land on the login page when their access token has run out.",
            "Use one host in EARNEST_CLIENT_URL and EARNEST_PUBLIC_URL, or https.",
        )
    if settings.secret_key and len(set(settings.secret_key)) < KEY_VARIETY_MIN:
        yield error(
            "secret_key",
            "EARNEST_SECRET_KEY repeats a few characters: whoever guesses it is an administrator.",
            "Take the output of: openssl rand -base64 48 (everybody signs in again).",
        )
    for proxy in settings.trusted_proxies:
        network = ip_network(proxy, strict=False)
        if network.prefixlen == 0:
            yield error(
                "trusted_proxies",
                f"EARNEST_TRUSTED_PROXIES has {proxy}, which is everybody: all may choose the"
                " address that limits count.",
                "Name the addresses of your proxies only.",
            )
        elif network.is_global and network.num_addresses > PROXIES_MAX:
            yield warning(
                "trusted_proxies",
                f"EARNEST_TRUSTED_PROXIES has {proxy}, a large part of the public internet.",
                "Name the addresses of your proxies only.",
            )


def _loses_cookies(settings: Settings) -> bool:
    """The refresh cookie is SameSite=Lax where it cannot be Secure."""
    public, client = urlsplit(settings.public_url), urlsplit(settings.client_url)
    return public.scheme != "https" and public.hostname != client.hostname


def _of_production(settings: Settings, *, is_https: bool, is_local: bool) -> Iterator[Finding]:
    if not is_https:
        yield error(
            "public_url",
            "EARNEST_PUBLIC_URL is not https: passwords, tokens and cookies travel in clear.",
            "Put a proxy with a certificate in front, and set EARNEST_PUBLIC_URL=https://...",
        )
    if is_local:
        yield error(
            "public_url_local",
            "EARNEST_PUBLIC_URL is this machine itself: no provider's event and no link in a"
            " letter will find it.",
            "Set EARNEST_PUBLIC_URL to the address that the world uses.",
        )
    if settings.provider == "sandbox":
        yield error(
            "provider",
            "EARNEST_PROVIDER is sandbox: no payment is of real money.",
            "Take no real orders with this installation.",
        )
    else:
        yield from _of_stripe(settings)
    if not settings.smtp_url:
        yield error(
            "smtp_url",
            "No letter is ever sent: nobody can register or reset a password.",
            "Set EARNEST_SMTP_URL.",
        )
    if settings.client_url.startswith("http://"):
        yield warning(
            "client_url_http",
            "EARNEST_CLIENT_URL is not https: whoever sits in between changes what people see.",
            "Serve the web client over https.",
        )
    if settings.anonymous_reads:
        yield note(
            "anonymous_reads",
            "Lists answer without a token.",
            "Unset EARNEST_ANONYMOUS_READS unless that is meant.",
        )
    if not settings.metrics_token:
        yield note(
            "metrics_token",
            "GET /metrics is closed to everybody.",
            "Set EARNEST_METRICS_TOKEN, and give it to Prometheus.",
        )


def _of_stripe(settings: Settings) -> Iterator[Finding]:
    if settings.stripe_secret_key.startswith(STRIPE_TEST_KEYS):
        yield warning(
            "stripe_test_key",
            "EARNEST_STRIPE_SECRET_KEY is a test key: no payment is of real money.",
            "Take the live key, and the secret of the live webhook endpoint.",
        )
    if settings.stripe_api_base:
        yield warning(
            "stripe_api_base",
            "EARNEST_STRIPE_API_BASE is set: the key and all payments go there, not to Stripe.",
            "Unset it unless that is a gateway of your own to Stripe.",
        )
    if not all(secret.startswith("whsec_") for secret in settings.stripe_webhook_secret):
        yield error(
            "stripe_webhook_secret",
            "EARNEST_STRIPE_WEBHOOK_SECRET has one that is none of Stripe's: they begin with"
            " whsec_. Whoever guesses it can say that something was paid.",
            "Copy the signing secret from the webhook endpoint's page at Stripe.",
        )
    if len(settings.stripe_webhook_secret) > 1:
        yield note(
            "stripe_webhook_secrets",
            "EARNEST_STRIPE_WEBHOOK_SECRET has several: events signed with any are believed.",
            "One for each webhook endpoint is right; when Stripe has dropped an old one, drop it"
            " here, too.",
        )


# -- the machine ----------------------------------------------------------------------------


def of_machine(settings: Settings) -> Iterator[Finding]:
    """The interpreter, and what this user is allowed."""
    version = sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        yield warning(
            "python",
            f"Python {platform.python_version()} is not one that this version was tested with.",
            f"Use Python {'.'.join(map(str, PYTHONS[0]))} to {'.'.join(map(str, PYTHONS[1]))}.",
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections_max + OTHER_FILES_MAX
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield warning(
            "open_files",
            f"A process may open {hard} files, and EARNEST_CONNECTIONS_MAX needs {wanted}.",
            f"Raise the limit (ulimit -Hn {wanted}, LimitNOFILE= in systemd), or lower the"
            " setting.",
        )


def of_data_directory(data_dir: Path) -> Iterator[Finding]:
    """Who may read the secrets in it, and whether there is room left."""
    for name in ("secret_key", "database_passwords.json"):
        path = data_dir / name
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield error(
                f"{name.partition('.')[0]}_file",
                f"{path} has mode {mode:04o}: others on this machine can read a secret.",
                f"chmod 600 '{path}', and think about who may have read it.",
            )
    if not data_dir.exists():
        return
    if stat.S_IMODE(data_dir.stat().st_mode) & 0o002:
        yield error(
            "data_dir",
            f"Anybody on this machine can replace what is in {data_dir}.",
            f"chmod o-w '{data_dir}'",
        )
    room = os.statvfs(data_dir)
    for name, free, least, little in (
        ("disk", room.f_bavail * room.f_frsize, FREE_BYTES_ERROR, FREE_BYTES_WARNING),
        ("inodes", room.f_favail, FREE_INODES_ERROR, FREE_INODES_WARNING),
    ):
        if name == "inodes" and room.f_files == 0:
            continue  # a file system without a fixed number of them
        if free < little:
            shown = f"{free >> 20} MiB" if name == "disk" else f"{free} inodes"
            yield (error if free < least else warning)(
                name,
                f"{shown} are left for {data_dir}; a database that cannot write stops.",
                "Make room, or move the data directory to a larger file system.",
            )


# -- the database ---------------------------------------------------------------------------


async def _of_database(settings: Settings, workers: int) -> list[Finding]:
    try:
        conn = await asyncpg.connect(settings.database_url, timeout=CONNECT_SECONDS_MAX)
    except (*UNREACHABLE, asyncpg.PostgresError) as refused:
        return [error("database", f"It does not answer: {type(refused).__name__}.", "Start it.")]
    try:
        checkup = await check_up(conn)
        found = [
            *of_server(checkup.server),
            *of_roles(checkup.roles),
            *of_clock(checkup, is_production=settings.is_production),
            *of_connections(checkup.server, settings, workers),
        ]
        return found + await _of_migrations(conn)
    finally:
        await conn.close()


async def _of_migrations(conn: asyncpg.Connection) -> list[Finding]:
    try:
        pending = await pending_migrations(conn)
    except DatabaseRefused as refused:
        return [error("migrations", str(refused), "See the message.")]
    if not pending:
        return of_alerts(await alerts.open_by_kind(conn))
    names = ", ".join(map(str, pending))
    return [error("migrations", f"The database lacks {names}.", "earnest db migrate")]
