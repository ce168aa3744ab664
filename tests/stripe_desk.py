"""A server with EARNEST_PROVIDER=stripe whose Stripe is the double: what tests do there.

await checkout(life); stripe.pay(life.session); await heard(stripe, app)      a client pays
await paid(stripe, deal)                                       a partner's buyer does
await sound(app)                                               and the books still balance
"""

from typing import Any

import httpx
from litestar import Litestar

from deal import Deal
from earnest.providers.events import amount_minor_of
from earnest.settings import Settings
from earnest.store.verify import verify
from life import Life, accepted
from stripe_double import StripeDouble
from web import caller, make_settings

REFUNDS = "SELECT public_id, state, last_error FROM refund ORDER BY id"


def settings_with(stripe: StripeDouble, dsn: str) -> Settings:
    """Two secrets: one of them is being exchanged."""
    return make_settings(
        dsn,
        provider="stripe",
        stripe_secret_key=stripe.api_key,
        stripe_webhook_secret=("whsec_of_last_week", stripe.webhook_secret),
        stripe_api_base=stripe.url,
    )


async def checkout(life: Life) -> None:
    """Alice asks for the page where she pays; `life.session` is its id at Stripe."""
    answer = await life.cast.alice.post(
        f"/api/client/job/payment/{life.job}", json={"freelancerId": life.cast.bob.id}
    )
    life.session = accepted(answer)["id"]


async def heard(stripe: StripeDouble, app: Litestar, *events: Any, **how: Any) -> None:
    """Stripe tells what it has to tell, and is believed."""
    async with caller(app) as anybody:
        for answer in await stripe.deliver(anybody, *events, **how):
            assert answer.status_code == 200, answer.text


async def press_pay(deal: Deal) -> httpx.Response:
    """Huda follows the partner's link and presses the button."""
    async with caller(deal.broker.app) as huda:
        page = await huda.get("/checkout", params={"token": deal.token})
        assert page.status_code == 200
        assert "form-action 'self' https:;" in page.headers["Content-Security-Policy"]
        return await huda.post("/checkout", params={"token": deal.token})


async def paid(stripe: StripeDouble, deal: Deal) -> str:
    """Huda pays; the session at Stripe."""
    pressed = await press_pay(deal)
    assert pressed.status_code == 303
    session = next(reversed(stripe.sessions.values()))
    assert pressed.headers["Location"] == session["url"]
    stripe.pay(session["id"])
    await heard(stripe, deal.broker.app)
    return str(session["id"])


async def sound(app: Litestar) -> None:
    """Nothing is wrong in the whole database."""
    dsn = app.state.settings.database_url
    report = await verify(dsn, minor_of=amount_minor_of)
    assert report.violations == (), report.lines()


async def fetch(app: Litestar, sql: str) -> list[tuple[Any, ...]]:
    async with app.state.pool.connection() as conn:
        return [tuple(found) for found in await conn.fetch(sql)]
