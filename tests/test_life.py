"""A contract's whole life over HTTP, from the job to the wallet."""

from life import Life, accepted
from web import Cast


async def test_it_goes_from_a_job_to_a_wallet(cast: Cast) -> None:
    life = await Life.begin(cast, rate=50000)
    await life.create()
    assert (await life.seen())["status"] == "Pending"
    await life.approve()
    await life.pay()
    assert (await life.seen())["escrowPaid"] is True
    await life.ongoing()
    await life.complete()
    await life.request()
    assert (await life.seen())["releaseFundStatus"] == "Requested"
    escrow = await life.release()

    assert escrow["status"] == "released"
    assert (escrow["amount"], escrow["platformFee"], escrow["freelancerEarning"]) == (
        50000,
        5000,
        45000,
    )
    assert (await life.seen())["releaseFundStatus"] == "Approved"
    assert await life.wallet(cast.bob) == 45000
    assert await life.wallet(cast.alice) == 0
    proof = await life.proof()
    assert proof["holds"] is True
    assert (proof["funded"], proof["toFreelancer"], proof["fees"], proof["held"]) == (
        50000,
        45000,
        5000,
        0,
    )
    revenue = accepted(await cast.olga.get("/api/admin/escrow/total-revenue"))
    balance = accepted(await cast.olga.get("/api/admin/escrow/balance"))
    assert (revenue, balance) == ({"data": 5000}, {"data": 0})


async def test_it_pays_first_and_creates_the_contract_then(cast: Cast) -> None:
    life = await Life.begin(cast)
    await life.pay()
    await life.create()
    seen = await life.seen()
    assert (seen["status"], seen["escrowPaid"]) == ("Pending", True)


async def test_it_cancels_mid_way_and_refunds_by_the_policy(cast: Cast) -> None:
    life = await Life.at(cast, "started", rate=50000)
    await life.cancel(cast.alice)
    assert (await life.seen())["status"] == "Canceled"
    escrow = await life.refund()
    assert escrow["status"] == "refunded"
    assert await life.wallet(cast.bob) == 6750
    assert await life.wallet(cast.alice) == 38250
