"""Somebody who withdraws: what tests of payouts do and look at.

payout = await withdrawn(cast.bob, 500); await work(cast.app); await seen(cast.bob, payout)
"""

from typing import Any

from litestar import Litestar

from balances import exact
from earnest.actions import chargebacks, payouts
from earnest.domain import charging_back
from earnest.store.commit import Commit
from earnest.store.rows import payment_from
from earnest.store.verify import check
from life import accepted
from web import Caller, caller

FREELANCER = "/api/freelancer/wallet/withdraw"
CLIENT = "/api/client/wallet/withdraw"

LATEST = """
SELECT p AS payment FROM payment AS p
WHERE p.state IN ('captured', 'parked', 'refunded', 'charged_back')
ORDER BY p.id DESC LIMIT 1
"""
DISPUTE = "SELECT id FROM sandbox.dispute WHERE payment_id = '{}'"


async def balance(of: Caller) -> Any:
    """What is in somebody's wallet; None as long as nothing ever was."""
    body = exact(await of.get(f"/api/freelancer/wallet/earnings/{of.id}"))
    return body["data"]["balance"] if body["data"] else None


async def withdrawn(of: Caller, amount: float = 10800, path: str = FREELANCER) -> Any:
    """A payout of theirs, asked for now."""
    return accepted(await of.post(path, json={"amount": amount}), 202)["data"]


async def later(app: Litestar, seconds: int) -> None:
    async with caller(app) as nobody:
        await nobody.post("/sandbox/clock", json={"advance_seconds": seconds})


async def work(app: Litestar, turns: int = 6, seconds: int = 3600) -> None:
    """What the worker does while the time goes by."""
    for _ in range(turns):
        await payouts.send_due(app.state.core)
        await later(app, seconds)


async def seen(of: Caller, payout: Any, path: str = FREELANCER) -> Any:
    """How a payout stands, as its owner sees it."""
    return exact(await of.get(f"{path}/{payout['_id']}"))["data"]


async def sound(app: Litestar) -> None:
    """The books balance (`earnest verify`)."""
    async with (
        app.state.pool.connection() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        report = await check(conn)
    assert report.violation is None, report.violation


async def fetch(app: Litestar, sql: str) -> list[tuple[Any, ...]]:
    async with app.state.pool.connection() as conn:
        return [tuple(row) for row in await conn.fetch(sql)]


async def bank(app: Any, outcome: str) -> None:
    """The buyer's bank opens a dispute about the last payment, or decides it; we hear of it."""
    async with app.state.pool.connection() as conn:
        payment = payment_from(await conn.fetchval(LATEST))
    async with caller(app) as anybody:
        answer = await anybody.post(
            "/sandbox/disputes", json={"session": payment.session_id, "outcome": outcome}
        )
    assert answer.status_code == 200, answer.text
    if outcome == "opened":
        ((dispute,),) = await fetch(app, DISPUTE.format(payment.provider_payment_id))
        core = app.state.core
        async with app.state.pool.connection() as conn:
            now = await conn.fetchval("SELECT business_now()")
        notice = charging_back.notice(dispute, payment, now, await core.keys.ids())
        assert await core.door.commit(Commit(notice))
    else:
        await later(app, 6 * 3600 + 1)
    await chargebacks.look_up_due(app.state.core)
