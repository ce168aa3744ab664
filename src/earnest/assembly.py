"""The composition of the core: a pool and a provider become what actions work with.

Without anything of HTTP: a worker process is half as large for it.
"""

from datetime import datetime

from earnest.actions.core import Core
from earnest.providers.base import Provider
from earnest.providers.sandbox import SandboxProvider
from earnest.sealing import Sealer, derive_key
from earnest.settings import STRIPE_LIVE_KEYS, Settings
from earnest.store import clock
from earnest.store.captures import CaptureLoads
from earnest.store.commit import Door
from earnest.store.contracts import Loads
from earnest.store.db import Pool
from earnest.store.keys import Keys
from earnest.store.partners import PartnerLoads
from earnest.web.metrics import Metrics

SANDBOX_ACCOUNT, STRIPE_TEST_ACCOUNT, STRIPE_LIVE_ACCOUNT = 1, 2, 3
"""The rows of table provider_account."""


def build_core(settings: Settings, pool: Pool, metrics: Metrics | None = None) -> Core:
    """What actions work with, for the faces and for a worker process alike."""
    metrics = metrics or Metrics()
    if settings.provider == "stripe":
        livemode = settings.stripe_secret_key.startswith(STRIPE_LIVE_KEYS)
        account = STRIPE_LIVE_ACCOUNT if livemode else STRIPE_TEST_ACCOUNT
        provider: Provider = _stripe(settings, pool, livemode=livemode)
    else:
        provider, account, livemode = _sandbox(settings, pool), SANDBOX_ACCOUNT, False
    probing = pool.probing()
    return Core(
        pool=pool,
        door=Door(probing, observe=metrics.batch),
        loads=Loads(probing),
        partner_loads=PartnerLoads(probing),
        capture_loads=CaptureLoads(probing, settings.provider, account),
        keys=Keys(pool),
        provider=provider,
        provider_name=settings.provider,
        provider_account=account,
        livemode=livemode,
        sealer=Sealer(derive_key(settings.secret_key, "sealing")),
    )


def _sandbox(settings: Settings, pool: Pool) -> SandboxProvider:
    async def now() -> datetime:
        async with pool.connection() as conn:
            return await clock.now(conn)

    public_url = settings.public_url.rstrip("/")
    return SandboxProvider(
        pool,
        webhook_secret=sandbox_webhook_secret(settings),
        webhook_url=f"{public_url}/webhook",
        public_url=public_url,
        clock=now,
        needs_onboarding=settings.sandbox_onboarding,
    )


def _stripe(settings: Settings, pool: Pool, *, livemode: bool) -> Provider:
    # Here, because its library takes 60 ms and 7 MB of whoever does not need it.
    from earnest.providers.stripe import StripeProvider  # noqa: PLC0415

    async def clock_ahead_seconds() -> int:
        async with pool.connection() as conn:
            return await clock.offset_seconds(conn)

    return StripeProvider(
        settings.stripe_secret_key,
        livemode=livemode,
        clock_ahead_seconds=clock_ahead_seconds,
        api_base=settings.stripe_api_base,
    )


def webhook_secrets(settings: Settings) -> tuple[str, ...]:
    """Those that the webhook takes a signature under.

    EARNEST_STRIPE_WEBHOOK_SECRET where it is set, with the sandbox too, so that others can play
    the provider.
    """
    if settings.stripe_webhook_secret:
        return settings.stripe_webhook_secret
    return (f"whsec_{derive_key(settings.secret_key, 'sandbox-webhook').hex()}",)


def sandbox_webhook_secret(settings: Settings) -> str:
    """What the sandbox provider signs its events with, and the webhook verifies."""
    return webhook_secrets(settings)[0]
