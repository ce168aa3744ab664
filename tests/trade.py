"""Partners' contracts at every point, and every way that money of theirs can go, over HTTP.

    await trade(app, olga)

Each contract has its point as its `reference`, by which damages find it. Refunds are left in every
state that they can be in; what is settled is settled by the worker's own step.
"""

import contextlib
from typing import Any

from litestar import Litestar

from deal import Deal
from earnest.domain.party import SYSTEM
from earnest.domain.refund_returned import hint
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.providers.base import ProviderRefundState
from earnest.store.commit import Commit
from earnest.store.refunds import load
from life import accepted
from partners import Broker, make_broker
from reluctant import reluctantly, returning
from web import Caller

PLAIN: dict[str, Any] = {"Milestones": None}
BUYER, SELLER = {"by": "buyer"}, {"by": "seller"}


async def trade(app: Litestar, olga: Caller) -> None:
    """Three partners: one by the defaults, one with rules and a currency of its own, and one whose
    refunds wait for Olga."""
    broker = await make_broker(app)
    keeper = await make_broker(
        app,
        "Keeper",
        currency="KWD",
        escrow_fee_bps=333,
        escrow_fee_payer="split",
        platform_fee_payer="seller",
        retention_bps=1234,
        cancellation_not_started_bps=500,
        cancellation_started_bps=2_500,
        cancellation_delivered_bps=10_000,
    )
    careful = await make_broker(app, "Careful Broker", refund_approval="admin")
    for one in (broker, keeper):
        await points(one)
        await endings(one)
        await settled_refunds(one)
    await decided(careful, olga)
    await came_back(broker, olga)
    await under_way(broker, olga)
    for one in (broker, keeper, careful):
        await one.client.aclose()


async def deal(broker: Broker, point: str, reference: str = "", **terms: Any) -> Deal:
    return await Deal.at(broker, point, reference=reference or point, **terms)


async def done(answered: Any) -> None:
    accepted(await answered)


async def points(broker: Broker) -> None:
    """The way of a contract that goes well, without milestones and with two."""
    for point in ("pending", "paid", "approved", "delivered", "released"):
        await deal(broker, point)
        await deal(broker, point, f"{point} plain", **PLAIN)
    waiting = await deal(broker, "pending", "waiting for the bank")
    await waiting.pay("unpaid")
    assert await waiting.status() == "waitingForBankPayment"
    half = await deal(broker, "delivered", "half released")
    await done(half.release(0))
    assert await half.status() == "escrow"
    for point in ("delivered", "released"):
        completed = await deal(broker, point, f"received when {point}")
        await done(completed.act("receive"))
        if point == "delivered":
            await done(completed.release())
        assert await completed.status() == "completed"


async def endings(broker: Broker) -> None:
    """Contracts that end without money, or are in dispute."""
    await done((await deal(broker, "pending", "rejected")).act("reject"))
    await done((await deal(broker, "pending", "cancelled unpaid")).act("cancel", SELLER))
    failed = await deal(broker, "pending", "failed payment")
    await failed.pay("unpaid")
    await failed.pay("failed")
    assert await failed.status() == "pending"
    await done((await deal(broker, "paid", "disputed")).act("dispute", BUYER))
    resolved = await deal(broker, "delivered", "resolved")
    await done(resolved.act("dispute", SELLER))
    await done(resolved.act("resolve-dispute"))


async def settled_refunds(broker: Broker) -> None:
    """Money that has gone back to its source."""
    for point in ("paid", "approved", "delivered"):
        await done((await deal(broker, point, f"cancelled {point}")).act("cancel", BUYER))
    partial = await deal(broker, "delivered", "partial", **PLAIN)
    await done(partial.refund("PARTIAL", amount=250))
    full = await deal(broker, "paid", "full", **PLAIN)
    await done(full.refund())
    both = await deal(broker, "approved", "partial and full")
    await done(both.refund("PARTIAL", milestone=0, amount=100.01))
    await done(both.refund("FULL", milestone=1))
    mixed = await deal(broker, "delivered", "released and partial")
    await done(mixed.release(1))
    await done(mixed.act("receive"))
    await done(mixed.refund("PARTIAL", milestone=0, amount=1))
    quarrel = await deal(broker, "delivered", "full in dispute")
    await done(quarrel.act("dispute", BUYER))
    await done(quarrel.refund())
    late = await deal(broker, "pending", "late money")
    await late.pay("unpaid")
    await done(late.act("cancel", BUYER))
    await late.pay()
    await settle(broker)
    for ended in (full, both, quarrel, late):
        assert await ended.status() == "refunded"
    assert await mixed.status() == "completed"


async def decided(careful: Broker, olga: Caller) -> None:
    """Refunds about which Olga has decided, and one that still waits for her."""
    approved = await deal(careful, "paid", "approved by Olga")
    await done(approved.refund())
    await decide(olga, "approve")
    await settle(careful)
    declined = await deal(careful, "paid", "declined")
    await done(declined.refund("FULL", milestone=0))
    await decide(olga, "decline", {"reason": "The first half was delivered."})
    again = await deal(careful, "paid", "declined and released", **PLAIN)
    await done(again.refund())
    await decide(olga, "decline", {"reason": "It was delivered."})
    await done(again.release())
    retried = await deal(careful, "paid", "tried again")
    await done(retried.refund())
    await decide(olga, "approve")
    with reluctantly(careful.app, ProviderPermanent("Too little money.")):
        assert await step(careful) == 1
    await decide(olga, "retry")
    await settle(careful)
    assert await retried.status() == "refunded"
    await done((await deal(careful, "paid", "requested")).refund())


async def came_back(broker: Broker, olga: Caller) -> None:
    """Refunds that were done, and that the payer's bank sent back; one was sent again."""
    for reference in ("sent again", "returned"):
        one = await deal(broker, "paid", reference)
        await done(one.refund("PARTIAL", milestone=0, amount=60))
        await settle(broker)
        await tell_of_last(broker)
        with returning(broker.app):
            await settle(broker)
            if reference == "sent again":
                await decide(olga, "retry", status="returned")
                await settle(broker)


async def tell_of_last(broker: Broker) -> None:
    """The provider has something to tell of the newest refund."""
    core = broker.app.state.core
    async with core.pool.connection() as conn:
        newest = await conn.fetchval("SELECT public_id FROM refund ORDER BY id DESC LIMIT 1")
    found = await load(core.pool, newest, SYSTEM)
    assert found.refund is not None
    told = hint(found.refund, found.now, await core.keys.ids())
    assert told is not None
    assert await core.door.commit(Commit(told))


async def under_way(broker: Broker, olga: Caller) -> None:
    """Refunds that are not done: the provider has not answered yet, has refused, was not heard;
    or the worker died. All in one step of the worker's, which would take what is due again."""
    words: dict[str, Exception | ProviderRefundState] = {
        "sent": ProviderRefundState.PENDING,
        "unknown": ProviderUnknown("timed out"),
        "failed": ProviderPermanent("No such card any more."),
        "delayed": ProviderTransient("down"),
        "to be looked up": ProviderPermanent("No."),
        "being sent": RuntimeError("The worker died."),
    }
    for reference in words:
        one = await deal(broker, "paid", reference)
        await done(one.refund("PARTIAL", milestone=0, amount=60))
    with reluctantly(broker.app, *words.values()), contextlib.suppress(RuntimeError):
        await step(broker)
    await decide(olga, "retry")  # the newest of those that failed
    await done((await deal(broker, "paid", "planned")).refund())
    await done((await deal(broker, "approved", "cancelled and planned")).act("cancel", SELLER))


async def step(broker: Broker) -> int:
    """The worker's, with all refunds that are due."""
    return await Deal(broker, None).settle()


async def settle(broker: Broker) -> None:
    while await step(broker):
        pass


async def decide(olga: Caller, verb: str, body: Any = None, status: str = "") -> None:
    """What Olga does about the newest refund that waits for her (or failed, for a retry)."""
    status = status or ("failed" if verb == "retry" else "requested")
    found = accepted(await olga.get("/api/admin/refunds", params={"status": status}))["data"]
    await done(olga.put(f"/api/admin/refunds/{found[0]['_id']}/{verb}", json=body))
