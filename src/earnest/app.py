"""The only composition root: a pool, a provider and the faces become one ASGI application."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from litestar import Litestar, get
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from earnest import __version__
from earnest.actions.passwords import Passwords
from earnest.errors import Unavailable
from earnest.marketplace import applications, auth, catalog, jobs
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.store.migrate import pending_migrations
from earnest.web import problems, sandbox_api
from earnest.web.auth import REFRESH_SECONDS, Tokens
from earnest.web.guard import BODY_BYTES_MAX, EarnestRequest
from earnest.web.wire import WireResponse


class Health(msgspec.Struct):
    status: str


@get("/healthz", tags=["Operating"])
async def healthz() -> Health:
    """The process answers."""
    return Health("ok")


@get("/readyz", tags=["Operating"])
async def readyz(request: EarnestRequest) -> Health:
    """The database answers and has every migration."""
    async with request.app.state.pool.connection() as conn:
        if await pending_migrations(conn):
            raise Unavailable("The database lacks migrations.")
    return Health("ready")


def build_app(settings: Settings, pool: Pool) -> Litestar:
    """The application. It closes `pool` when it stops."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            app.state.passwords.close()
            await pool.close()

    handlers: list[ControllerRouterHandler] = [
        healthz,
        readyz,
        auth.router,
        jobs.router,
        applications.client_router,
        applications.freelancer_router,
        catalog.categories_router,
        catalog.skills_router,
    ]
    if not settings.is_production:
        handlers.append(sandbox_api.router)
    return Litestar(
        handlers,
        state=_state(settings, pool),
        lifespan=[lifespan],
        request_class=EarnestRequest,
        response_class=WireResponse,
        exception_handlers=problems.HANDLERS,
        request_max_body_size=BODY_BYTES_MAX,
        cors_config=_cors(settings),
        openapi_config=OpenAPIConfig("Earnest", __version__, path="/docs"),
        logging_config=None,
        debug=False,
    )


def _state(settings: Settings, pool: Pool) -> State:
    """What handlers find in `request.app.state`."""
    return State(
        {
            "settings": settings,
            "pool": pool,
            "passwords": Passwords(),
            "code_key": derive_key(settings.secret_key, "one-time-code"),
            "access_tokens": Tokens(
                derive_key(settings.secret_key, "marketplace-access-token"),
                "access",
                settings.access_token_seconds,
            ),
            "refresh_tokens": Tokens(
                derive_key(settings.secret_key, "marketplace-refresh-token"),
                "refresh",
                REFRESH_SECONDS,
            ),
            "is_https": settings.public_url.startswith("https://"),
        },
        deep_copy=False,
    )


def derive_key(secret_key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that no signature is good for another one."""
    return hmac.digest(secret_key, f"earnest/{purpose}".encode(), "sha256")


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.client_url:
        return None
    return CORSConfig(
        allow_origins=[settings.client_url.rstrip("/")],
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
        expose_headers=["Idempotent-Replayed", "Retry-After"],
        allow_credentials=True,
        max_age=600,
    )
