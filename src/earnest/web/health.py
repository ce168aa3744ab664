"""**Health**, **readiness** and **metrics**: what those who run this server ask it.

Invariant: /readyz answers within about five seconds, whatever hangs, and 200 only while this
process may do work that lasts: it is not being stopped, and its database is there, takes writes,
keeps what it acknowledged and is at this code's migration.
"""

import asyncio
import hmac

import asyncpg
import msgspec
from litestar import Response, get

from earnest.errors import EarnestError, InvalidToken, Unauthenticated, Unavailable
from earnest.store.db import UNREACHABLE, DatabaseRefused, check_standing
from earnest.store.migrate import pending_migrations
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.metrics import MEDIA_TYPE

READY_SECONDS_MAX = 4


class NotReady(Unavailable):
    """This server is not ready."""

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")


class Health(msgspec.Struct):
    status: str


@get("/healthz", access=PUBLIC, offline=True, tags=["Operating"])
async def healthz() -> Health:
    """The process answers."""
    return Health("ok")


@get("/readyz", access=PUBLIC, refuses=(NotReady,), tags=["Operating"])
async def readyz(request: EarnestRequest) -> Health:
    """This process is not being stopped; its database answers, takes writes, keeps them, and has
    every migration."""
    if request.app.state.is_draining:
        raise NotReady("draining", "This process is being stopped.")
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await _check_database(request)
    except TimeoutError:
        raise NotReady(
            "database", f"It did not answer within {READY_SECONDS_MAX} seconds."
        ) from None
    return Health("ready")


async def _check_database(request: EarnestRequest) -> None:
    try:
        async with request.app.state.pool.connection() as conn:
            await check_standing(conn)
            pending = await pending_migrations(conn)
    except DatabaseRefused as error:
        raise NotReady("database", str(error)) from error
    except EarnestError as error:
        raise NotReady("database", error.message) from error
    except (*UNREACHABLE, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotReady("database", "It cannot be reached, or gave up.") from error
    if pending:
        raise NotReady("migrations", f"The database lacks {len(pending)}, first {pending[0]}.")


@get(
    "/metrics",
    access=PUBLIC,
    refuses=(Unauthenticated, InvalidToken),
    media_type=MEDIA_TYPE,
    tags=["Operating"],
)
async def show_metrics(request: EarnestRequest) -> Response[bytes]:
    """Counts of all processes and the database's figures, for Prometheus.

    With EARNEST_METRICS_TOKEN, and always in production, only for whoever sends it as a bearer
    token: how much money is held is nobody else's business.
    """
    settings = request.app.state.settings
    if settings.metrics_token or settings.is_production:
        given = request.headers.get("authorization", "")
        if not given:
            raise Unauthenticated
        wanted = f"Bearer {settings.metrics_token}".encode()
        if not settings.metrics_token or not hmac.compare_digest(given.encode(), wanted):
            raise InvalidToken
    text = await request.app.state.metrics.text(request.app.state.pool)
    return Response(text, media_type=MEDIA_TYPE)
