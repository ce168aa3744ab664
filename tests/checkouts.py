"""Asking for a checkout, now and later.

    answer = await pay(cast.alice, life.job, cast.bob.id)
    await later(cast, DAY_SECONDS + 1)           when no session is open any more

STATES reads what became of the payments.
"""

from typing import Any

import httpx

from life import accepted
from web import Caller, Cast

STATES = "SELECT state FROM payment ORDER BY id"
DAY_SECONDS = 24 * 3600


async def pay(who: Caller, job: str, freelancer: Any, **other: Any) -> httpx.Response:
    headers = other.pop("headers", {})
    return await who.post(
        f"/api/client/job/payment/{job}",
        json={"freelancerId": freelancer, **other},
        headers=headers,
    )


async def later(cast: Cast, seconds: int) -> None:
    accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": seconds}))
