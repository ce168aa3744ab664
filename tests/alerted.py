"""What tests of alerts share: the worker's look, and what Olga reads then.

await look(cast.app); (alert,) = await open_alerts(cast)
await advance(cast.app, days=61)
"""

from typing import Any

from litestar import Litestar

from earnest.worker import alerts
from life import accepted
from web import Cast, caller

PATH = "/api/admin/alerts"


async def look(app: Litestar) -> int:
    """One turn of the worker's chore; how many alerts it raised."""
    return await alerts.look(app.state.core, app.state.settings.public_url)


async def open_alerts(cast: Cast) -> list[dict[str, Any]]:
    """What nobody has seen to, newest first."""
    data: list[dict[str, Any]] = accepted(await cast.olga.get(PATH, params={"open": "true"}))[
        "data"
    ]
    return data


async def kinds(cast: Cast) -> list[str]:
    """The kinds of the open alerts, newest first."""
    return [one["kind"] for one in await open_alerts(cast)]


async def advance(app: Litestar, *, days: float = 0, seconds: int = 0) -> None:
    """Business time goes on."""
    body = {"advance_seconds": int(days * 86_400) + seconds}
    async with caller(app) as anybody:
        accepted(await anybody.post("/sandbox/clock", json=body))


async def letters_to(cast: Cast, address: str) -> list[dict[str, Any]]:
    """The mailbox of somebody, newest first."""
    found: list[dict[str, Any]] = accepted(
        await cast.anybody.get("/sandbox/mailbox", params={"to": address})
    )
    return found


async def rows(app: Litestar, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async with app.state.pool.connection() as conn:
        return [tuple(found) for found in await conn.fetch(sql, *arguments)]
