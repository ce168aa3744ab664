"""A life at every point, and something of everything that can happen to money, over HTTP.

The marketplace's first, then partners': what was first is what most damages are done to.
"""

from collections.abc import Awaitable, Callable

from checkout_event import EXPIRED, opened, tell, told_of
from closing import close_the_day
from court import paid_for_nobody
from earnest.app import build_app
from earnest.domain.delivery import RETRY_SECONDS
from earnest.errors import ProviderPermanent
from earnest.store.db import Pool
from hesitant import hesitant
from hooked import WEBHOOKS, hooked, scripted
from horizon import roll_up_everything
from life import Life, accepted
from partners import make_broker
from paying_out import bank, seen, withdrawn, work
from receiver import answering
from trade import trade
from web import Cast, gather_cast, make_settings

POINTS = "created paid started ongoing completed requested released canceled refunded".split()
APPLICATIONS = "SELECT public_id FROM application WHERE job_id = (SELECT max(id) FROM job)"


async def tell_the_story(cast: Cast) -> None:
    """Something of everything that can happen."""
    pool: Pool = cast.app.state.pool
    lives = {point: await Life.at(cast, point, rate=99.99) for point in POINTS}
    async with pool.connection() as conn:
        await roll_up_everything(conn)
    await cancel_half_way(cast)
    await pay_first(cast)
    for _ in range(2):
        await park(cast)
    attached = await park(cast)
    accepted(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{attached.job}"), 201)
    await attached.create()
    parked = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))["data"]
    accepted(
        await cast.olga.put(
            f"/api/admin/escrow/refund-payment/{parked[0]['_id']}",
            headers={"Idempotency-Key": "give back"},
        )
    )
    _, event = await opened(cast)
    await tell(cast, event.but(amount_minor=1))
    _, event = await opened(cast)
    await tell(cast, event.but(type=EXPIRED, payment_status="unpaid"))
    await tell(cast, event.but(type="invoice.paid"))
    accepted(
        await cast.olga.put(
            f"/api/admin/escrow/release-fund/{lives['requested'].contract}",
            headers={"Idempotency-Key": "release"},
        )
    )
    accepted(
        await cast.olga.post(
            "/api/admin/skills/add-skills",
            json={"name": "Forging"},
            headers={"Idempotency-Key": "label"},
        ),
        201,
    )
    lives["requested"] = await Life.at(cast, "requested", rate=99.99)
    job = await cast.post_job()
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{job}"), 201)
    await hear_of_it(cast)
    await trade(cast.app, cast.olga)
    await close_the_day(cast)
    await pay_out(cast)
    await charge_back(cast)


async def cancel_half_way(cast: Cast) -> None:
    life = await Life.at(cast, "ongoing", rate=333.33)
    await life.cancel(cast.bob)
    await life.refund()
    unpaid = await Life.at(cast, "created")
    await unpaid.cancel(cast.alice)
    direct = await Life.at(cast, "started", rate=0.01)
    await direct.refund()
    asked = await Life.at(cast, "paid")
    body = {"cancelReason": "late", "cancelReasonDescription": "three weeks"}
    path = f"/api/admin/escrow/refund-client/{asked.contract}/{cast.alice.id}"
    accepted(await cast.alice.put(path, json=body))


async def pay_first(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.pay()
    await life.create()
    unclaimed = await Life.begin(cast)
    await unclaimed.pay()
    late = await Life.at(cast, "created")
    event = await told_of(cast, await late.checkout())
    await late.cancel(cast.alice)
    await tell(cast, event)


async def park(cast: Cast) -> Life:
    """Alice pays for a job for which nobody applies any more."""
    pool: Pool = cast.app.state.pool
    life = await Life.begin(cast)
    event = await told_of(cast, await life.checkout())
    async with pool.connection() as conn:
        application = await conn.fetchval(APPLICATIONS)
    accepted(await cast.bob.delete(f"/api/freelancer/jobs/cancel-application/{application}"))
    await tell(cast, event)
    return life


async def hear_of_it(cast: Cast) -> None:
    """A partner whose receiver answers in every way, while hours pass."""
    broker = await make_broker(cast.app, "Hearing Broker")
    conduct = scripted(answering(204), *[answering(503)] * 6, answering(404), answering(200))
    async with hooked(broker, conduct) as hook:
        heard = await hook.contract()
        await hook.deliver()
        await hook.contract(title="Exhausted")
        for seconds in (*RETRY_SECONDS, 0):
            await hook.deliver()
            await hook.advance(seconds + 1)
        await hook.contract(title="Refused")
        await hook.deliver()
        again = f"{WEBHOOKS}/replay"
        accepted(await broker.client.post(again, json={"contractId": heard}))
        await hook.approve(heard)
        await hook.test()
        await hook.deliver()
    async with hooked(broker, answering(500)) as hook:
        await hook.advance(300)
        await hook.contract(title="Waiting")
        await hook.deliver()
    await broker.client.aclose()


async def pay_out(cast: Cast) -> None:
    """Withdrawals that arrive, that are refused, that a bank sends back, that wait, and one about
    which an operator has to do something."""
    await Life.at(cast, "released", rate=5000)
    arrives = await withdrawn(cast.bob, 10)
    await work(cast.app, turns=3)
    hesitant(cast.app, "create_transfer", ProviderPermanent("This account may not be paid."))
    await withdrawn(cast.bob, 20)
    await work(cast.app, turns=1)
    hesitant(cast.app, "create_payout", *[ProviderPermanent("There is no bank account.")] * 2)
    await withdrawn(cast.bob, 30)
    await work(cast.app, turns=3, seconds=0)
    await withdrawn(cast.bob, 40)
    await work(cast.app, turns=2, seconds=0)
    hesitant(cast.app, "return_transfer", ProviderPermanent("It is gone."))
    await work(cast.app, turns=1)
    assert (await seen(cast.bob, arrives))["status"] == "paid"
    await withdrawn(cast.bob, 50)


async def charge_back(cast: Cast) -> None:
    """Banks want money back: that is held, that is gone, that they give back again."""
    for point, outcomes in (
        ("paid", ("opened", "lost")),
        ("requested", ("opened", "won")),
        ("released", ("opened", "lost")),
        ("released", ("opened",)),
    ):
        await Life.at(cast, point, rate=250)
        for outcome in outcomes:
            await bank(cast.app, outcome)
    await paid_for_nobody(cast)
    for outcome in ("opened", "lost"):
        await bank(cast.app, outcome)
    _, payment = await paid_for_nobody(cast)
    accepted(await cast.olga.put(f"/api/admin/escrow/refund-payment/{payment}"))
    await bank(cast.app, "opened")
    await paid_for_nobody(cast)
    await bank(cast.app, "opened")


async def everybody(dsn: str, do: Callable[[Cast], Awaitable[None]]) -> None:
    """`do` something with the whole cast and an application over this database."""
    pool = Pool(dsn)
    app = build_app(make_settings(dsn, webhook_allow_private=True), pool)
    async with app.lifespan():
        await do(await gather_cast(app))
