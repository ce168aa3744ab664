"""**Findings** about the account at Stripe, which only Stripe can tell (see `earnest.doctor`).

Invariant: nothing there is changed, no secret is repeated, and a Stripe that is away, slow or
closed to our key is a finding of its own that stops no other.
"""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

from earnest.diagnosis import Finding, error, note, warning
from earnest.providers.events import CONNECTED_EVENTS, OWN_EVENTS
from earnest.providers.stripe import StripeProvider
from earnest.providers.stripe_checkup import Look, OwnAccount, Unseen, WebhookEndpoint, Why
from earnest.providers.stripe_line import API_VERSION
from earnest.settings import STRIPE_LIVE_KEYS, Settings

_PORTS = {"http": 80, "https": 443}


def examine_stripe(settings: Settings) -> list[Finding]:
    """All findings about the account of EARNEST_STRIPE_SECRET_KEY, within CALL_SECONDS."""
    look = asyncio.run(_look(settings))
    unseen = {
        right: one
        for right, one in (
            ("Accounts (Connect)", look.account),
            ("Balance", look.livemode),
            ("Webhook Endpoints", look.endpoints),
        )
        if isinstance(one, Unseen)
    }
    return [*_of_unseen(unseen), *_of_look(look, settings)]


async def _look(settings: Settings) -> Look:
    async def no_seconds() -> int:
        return 0

    provider = StripeProvider(
        settings.stripe_secret_key,
        livemode=_is_live(settings),
        clock_ahead_seconds=no_seconds,
        api_base=settings.stripe_api_base,
    )
    try:
        return await provider.look()
    finally:
        await provider.close()


def _is_live(settings: Settings) -> bool:
    return settings.stripe_secret_key.startswith(STRIPE_LIVE_KEYS)


def _of_unseen(unseen: dict[str, Unseen]) -> Iterator[Finding]:
    """`unseen` by the right that a restricted key needs for it."""
    if any(one.why is Why.KEY for one in unseen.values()):
        yield error(
            "stripe_key",
            "Stripe does not know EARNEST_STRIPE_SECRET_KEY: nobody can pay or be paid.",
            "Copy the key from the dashboard, Developers, API keys; it may have been rolled.",
        )
    closed = [right for right, one in unseen.items() if one.why is Why.RIGHT]
    if closed:
        yield note(
            "stripe_permission",
            f"EARNEST_STRIPE_SECRET_KEY may not read all that doctor looks at: {_list(closed)}.",
            f"Allow the restricted key to read: {_list(closed)}. The dashboard's log of the request"
            " names what is lacking.",
        )
    failures = sorted({one.told for one in unseen.values() if one.why is Why.FAILURE})
    if failures:
        yield warning(
            "stripe_unanswered",
            f"Stripe did not say how its account stands: {' '.join(failures)}",
            "See whether this machine may connect to api.stripe.com, and Stripe's status page; then"
            " run doctor again.",
        )


def _of_look(look: Look, settings: Settings) -> Iterator[Finding]:
    is_live = _is_live(settings)
    if isinstance(look.livemode, bool) and look.livemode is not is_live:
        yield error(
            "stripe_mode",
            f"EARNEST_STRIPE_SECRET_KEY is a {_mode(is_live)} key by its name, and what answers is"
            f" in {_mode(look.livemode)} mode.",
            "Copy the key from the dashboard again, and see where EARNEST_STRIPE_API_BASE leads.",
        )
    if isinstance(look.account, OwnAccount):
        yield from _of_account(look.account, is_live=is_live)
    if not isinstance(look.endpoints, Unseen):
        yield from _of_endpoints(look.endpoints, settings)


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"


def _of_account(account: OwnAccount, *, is_live: bool) -> Iterator[Finding]:
    # An account that is not activated takes test payments all the same.
    severe = error if is_live else warning
    if account.payouts_interval is None:
        yield warning(
            "stripe_payouts_schedule",
            "Stripe does not say whether the payouts of your own account are manual.",
            "See in the dashboard, Settings, Payouts: they have to be.",
        )
    elif account.payouts_interval != "manual":
        yield error(
            "stripe_payouts_schedule",
            f"The payouts of your own account at Stripe are {account.payouts_interval}, not manual:"
            " what belongs to buyers and sellers goes to your bank.",
            "In the dashboard, Settings, Payouts: set them to manual, and bring back what was paid"
            " out.",
        )
    if not account.charges_enabled:
        yield severe(
            "stripe_charges",
            "Stripe does not let this account charge anybody.",
            "Give Stripe what the dashboard asks for, and activate the account.",
        )
    if not account.payouts_enabled:
        yield severe(
            "stripe_payouts",
            "Stripe lets no money out of this account.",
            "Give Stripe what the dashboard asks for, a bank account above all.",
        )
    if account.transfers != "active":
        yield warning(
            "stripe_transfers",
            f"Stripe calls this account's transfers {account.transfers or 'not requested'}: sellers"
            " cannot be paid.",
            "In the dashboard enable Connect, and complete its profile.",
        )


def _of_endpoints(endpoints: tuple[WebhookEndpoint, ...], settings: Settings) -> Iterator[Finding]:
    """Whether what happens at Stripe gets here, in full, as we understand it."""
    url = f"{settings.public_url.rstrip('/')}/webhook"
    severe = error if settings.is_production else warning
    here = [one for one in endpoints if _target(one.url) == _target(url)]
    enabled = [one for one in here if one.is_enabled]
    own = [one for one in enabled if not one.is_connected]
    connected = [one for one in enabled if one.is_connected]
    off = [one.id for one in here if not one.is_enabled]
    found = f" ({_list(off)}: disabled)" if off else ""
    listen = f" On a machine of your own: stripe listen --forward-to {url}"
    if not own:
        yield severe(
            "stripe_webhook",
            f"No enabled webhook endpoint at Stripe has the URL {url}{found}: payments are made,"
            " and not heard of.",
            "Add or enable one for events of your account: docs/stripe.md, step 3."
            + ("" if settings.is_production else listen),
        )
    if not connected:
        yield warning(
            "stripe_webhook_connected",
            f"No enabled webhook endpoint at Stripe hears of connected accounts at {url}{found}:"
            " payouts that fail are found out late.",
            "Add a second one with this URL, for events of connected accounts: docs/stripe.md, step"
            " 3. What an endpoint hears of is chosen when it is made.",
        )
    for group, wanted in ((own, OWN_EVENTS), (connected, CONNECTED_EVENTS)):
        heard = frozenset[str]().union(*(one.events for one in group))
        lacking = sorted(wanted - heard)
        if group and lacking and "*" not in heard:
            yield warning(
                "stripe_webhook_events",
                f"The webhook endpoint {_list([one.id for one in group])} does not hear of"
                f" {_list(lacking)}.",
                "Add these events to it in the dashboard.",
            )
    for one in enabled:
        if one.api_version != API_VERSION:
            yield warning(
                "stripe_webhook_version",
                f"The webhook endpoint {one.id} writes events as in API version"
                f" {one.api_version or 'that your account has'}, not {API_VERSION}.",
                f"Make a new one with {API_VERSION} and the same URL, set its secret, too, and then"
                " delete this one: the version of an endpoint never changes.",
            )
    secrets = len(settings.stripe_webhook_secret)
    if len(enabled) > secrets:
        yield severe(
            "stripe_webhook_secret_count",
            f"{len(enabled)} webhook endpoints have the URL {url}, each with a secret of its own,"
            f" and EARNEST_STRIPE_WEBHOOK_SECRET has {secrets}: the events of some are refused.",
            "Set the signing secrets of all of them, separated by commas.",
        )


def _target(url: str) -> tuple[str, str | None, int | None, str, str]:
    """What two spellings of one URL have in common."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", None, None, url, ""
    return parts.scheme, parts.hostname, port, parts.path, parts.query


def _list(words: list[str]) -> str:
    return ", ".join(words)
