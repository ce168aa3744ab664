"""POST /api/{client,freelancer}/wallet/withdraw: wallets are emptied to banks (D21)."""

import asyncio
from typing import Any

import pytest

from balances import exact
from earnest.actions import payouts
from earnest.store.verify import check
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import UNKNOWN_ID, Caller, Cast, problem

FREELANCER = "/api/freelancer/wallet/withdraw"
CLIENT = "/api/client/wallet/withdraw"
DOCUMENT_KEYS = {
    "_id",
    "amount",
    "currency",
    "status",
    "failure",
    "providerTransferId",
    "providerPayoutId",
    "createdAt",
    "updatedAt",
    "paidAt",
}


async def balance(of: Caller) -> Any:
    body = exact(await of.get(f"/api/freelancer/wallet/earnings/{of.id}"))
    return body["data"]["balance"] if body["data"] else None


async def withdrawn(of: Caller, amount: float = 10800, path: str = FREELANCER) -> Any:
    return accepted(await of.post(path, json={"amount": amount}), 202)["data"]


async def work(cast: Cast, turns: int = 6, seconds: int = 3600) -> None:
    """What the worker does, as the time goes by."""
    for _ in range(turns):
        await payouts.send_due(cast.app.state.core)
        await cast.anybody.post("/sandbox/clock", json={"advance_seconds": seconds})


async def seen(of: Caller, payout: Any, path: str = FREELANCER) -> Any:
    return exact(await of.get(f"{path}/{payout['_id']}"))["data"]


async def balances(cast: Cast) -> None:
    """The books balance (`earnest verify`)."""
    async with cast.app.state.pool.connection() as conn, conn.transaction(
        isolation="repeatable_read", readonly=True
    ):
        report = await check(conn)
    assert report.violation is None, report.violation


async def test_it_leaves_the_wallet_at_once_and_reaches_the_bank(cast: Cast) -> None:
    await Life.at(cast, "released")
    assert await balance(cast.bob) == 10800
    payout = await withdrawn(cast.bob, 10000.5)
    assert payout.keys() == DOCUMENT_KEYS
    assert (payout["amount"], payout["currency"], payout["status"]) == (10000.5, "INR", "pending")
    assert (payout["providerTransferId"], payout["paidAt"]) == (None, None)
    assert float(await balance(cast.bob)) == 799.5
    await work(cast)
    done = await seen(cast.bob, payout)
    assert (done["status"], done["failure"]) == ("paid", "")
    assert done["providerTransferId"]
    assert done["providerPayoutId"]
    assert done["paidAt"] >= done["createdAt"]
    await balances(cast)
