"""The composition of an API: a core (`earnest.assembly`) and the faces become one application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from earnest.actions.accounts import Gate
from earnest.actions.core import Core
from earnest.actions.onboarding import Desk
from earnest.actions.passwords import Passwords
from earnest.assembly import build_core, webhook_secrets
from earnest.checkout import onboarding, order, pages
from earnest.checkout.payer import session_behind
from earnest.hooks.payments import webhook
from earnest.marketplace import (
    alerts,
    applications,
    auth,
    businesses,
    catalog,
    chargebacks,
    contracts,
    escrow,
    jobs,
    payments,
    payouts,
    profiles,
    proof,
    reconciliations,
    refunds,
    reviews,
    users,
    wallet,
)
from earnest.partner import contracts as partner_contracts
from earnest.partner import envelope, token, trail, webhook_history, webhooks
from earnest.partner import money as partner_money
from earnest.partner import payouts as partner_payouts
from earnest.partner import users as partner_users
from earnest.partner.tokens import PartnerTokens, jwks
from earnest.providers.kyc import SandboxKyc
from earnest.sealing import derive_key
from earnest.settings import Settings
from earnest.store import mail
from earnest.store.db import Pool
from earnest.store.limits import Limits
from earnest.web import docs_page, problems, sandbox_api, sandbox_pages, sandbox_people
from earnest.web.admission import Admission
from earnest.web.auth import admit, require_declared
from earnest.web.envelope import Envelope
from earnest.web.guard import BODY_BYTES_MAX, EarnestRequest
from earnest.web.health import healthz, readyz, show_metrics
from earnest.web.links import Links
from earnest.web.metrics import Metrics
from earnest.web.origins import Origins, origin_of
from earnest.web.straight import Straight
from earnest.web.tokens import REFRESH_SECONDS, Tokens
from earnest.web.wire import WireResponse

FORMS = (
    ("/apps/", envelope.refuse),
    ("/connect/", token.refuse),
    ("/onboarding", pages.refuse),
    ("/checkout", pages.refuse),
)
"""Which faces say in a form of their own what they refuse, by the beginning of their paths."""


def build_app(settings: Settings, pool: Pool, metrics: Metrics | None = None) -> Envelope:
    """The application. It closes `pool` when it stops.

    `metrics` counts for all processes of the server; without it, what this one does is counted.
    """
    metrics = metrics or Metrics()
    core = build_core(settings, pool, metrics)
    app = build_faces(settings)
    app.state = _state(settings, core, Passwords(), metrics)
    app.state["described"] = docs_page.Described(app, settings.public_url)
    app.asgi_handler = app.admission = Admission(Straight(app), metrics.shed)
    if settings.client_url:
        app.asgi_handler = Origins(app.asgi_handler, origin_of(settings.client_url))
    app.open_envelope(
        metrics,
        derive_key(settings.secret_key, "log-client"),
        is_https=settings.public_url.startswith("https://"),
        trusted_proxies=settings.trusted_proxies,
        tells_requests=settings.log_requests,
    )
    return app


def build_faces(settings: Settings) -> Envelope:
    """All routes that these settings have. They know nothing of a database yet: what handlers work
    with, they find in `request.app.state`."""
    handlers: list[ControllerRouterHandler] = [
        healthz,
        readyz,
        show_metrics,
        docs_page.openapi_json,
        docs_page.docs,
        auth.router,
        jobs.router,
        applications.client_router,
        applications.freelancer_router,
        catalog.categories_router,
        catalog.skills_router,
        contracts.client_router,
        contracts.freelancer_router,
        payments.router,
        escrow.router,
        proof.router,
        wallet.router,
        payouts.client_router,
        payouts.freelancer_router,
        payouts.admin_router,
        chargebacks.router,
        users.router,
        businesses.router,
        refunds.router,
        reconciliations.router,
        alerts.router,
        reviews.router,
        profiles.client_router,
        profiles.freelancer_router,
        partner_contracts.router,
        partner_money.router,
        partner_payouts.router,
        trail.router,
        webhook,
        token.connect_token,
        jwks,
        partner_users.router,
        webhooks.router,
        webhook_history.router,
        onboarding.router,
        order.router,
        sandbox_pages.static_router(),
    ]
    if not settings.is_production:
        handlers.append(sandbox_api.router)
        if settings.provider == "sandbox":
            handlers += [sandbox_pages.sandbox_router(), sandbox_people.people_router()]
    app = Envelope(
        handlers,
        before_request=admit,
        lifespan=[_life],
        request_class=EarnestRequest,
        response_class=WireResponse,
        exception_handlers=problems.HANDLERS,
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,  # see earnest.web.openapi
        logging_config=None,
        debug=False,
    )
    require_declared(app.routes)
    return app


@asynccontextmanager
async def _life(app: Litestar) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await app.state.core.door.drain()
        app.state.passwords.close()
        await app.state.provider.close()
        await app.state.pool.close()


def build_desk(settings: Settings, core: Core, limits: Limits) -> Desk:
    """What the onboarding works with. Production has no KYC provider as long as there is none but
    the sandbox's: nobody is verified by a provider that believes everybody."""
    if settings.is_production:
        return Desk(core.pool, limits, core.sealer, None)

    async def deliver(phone: str, code: str) -> None:
        async with core.pool.connection() as conn:
            text = f"Your code is {code}. Nobody will ever ask you for it."
            await mail.show_text_message(conn, phone, "Text message", text, code)

    kyc = SandboxKyc(derive_key(settings.secret_key, "sandbox-kyc"), deliver)
    return Desk(core.pool, limits, core.sealer, kyc)


def _state(settings: Settings, core: Core, passwords: Passwords, metrics: Metrics) -> State:
    """What handlers find in `request.app.state`."""
    code_key = derive_key(settings.secret_key, "one-time-code")
    links = Links(derive_key(settings.secret_key, "links"))
    limits = Limits(core.pool, derive_key(settings.secret_key, "limits"))
    return State(
        {
            "settings": settings,
            "metrics": metrics,
            "is_draining": False,
            "core": core,
            "pool": core.pool,
            "provider": core.provider,
            "sealer": core.sealer,
            "links": links,
            "session_behind": partial(session_behind, core, links, settings.public_url),
            "forms": FORMS,
            "webhook_secrets": webhook_secrets(settings),
            "passwords": passwords,
            "code_key": code_key,
            "gate": Gate(core.pool, passwords, limits, code_key),
            "desk": build_desk(settings, core, limits),
            "access_tokens": access_tokens(settings),
            "refresh_tokens": Tokens(
                derive_key(settings.secret_key, "marketplace-refresh-token"),
                "refresh",
                REFRESH_SECONDS,
            ),
            "partner_tokens": PartnerTokens(core.pool, core.sealer, settings.public_url),
            "is_https": settings.public_url.startswith("https://"),
        },
        deep_copy=False,
    )


def access_tokens(settings: Settings) -> Tokens:
    """Who issues and verifies the access tokens of the marketplace."""
    key = derive_key(settings.secret_key, "marketplace-access-token")
    return Tokens(key, "access", settings.access_token_seconds)
