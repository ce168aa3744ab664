"""`earnest verify` on partners' contracts: every way that one can go leaves the books in order."""

from decimal import Decimal

import asyncpg
import pytest
from litestar import Litestar

from deal import Deal
from earnest.store.db import Pool
from earnest.store.verify import verify
from life import accepted
from partners import Broker, make_broker
from web import Cast

MOVE_PAYMENT = """
UPDATE payment SET contract_id = (SELECT id FROM contract WHERE number = $1) WHERE job_id IS NULL
"""
MOVE_REFUND = "UPDATE refund SET contract_id = (SELECT id FROM contract WHERE number = $1)"


async def test_it_finds_nothing_wrong_however_a_contract_went(
    app: Litestar, broker: Broker
) -> None:
    plain = {"Milestones": None}
    deals = [
        await Deal.begin(broker),
        await Deal.at(broker, "paid"),
        await Deal.at(broker, "approved", **plain),
        await Deal.at(broker, "delivered"),
        await Deal.at(broker, "released"),
    ]
    for point, verb, body in (
        ("pending", "reject", None),
        ("pending", "cancel", {"by": "seller"}),
        ("delivered", "cancel", {"by": "buyer"}),
        ("paid", "dispute", {"by": "buyer"}),
        ("released", "receive", None),
        ("delivered", "receive", None),
    ):
        deal = await Deal.at(broker, point)
        assert (await deal.act(verb, body)).status_code == 200
        deals.append(deal)
    assert (await deals[-1].release()).status_code == 200
    assert (await deals[-3].act("resolve-dispute")).status_code == 200

    half = await Deal.at(broker, "paid")
    assert (await half.release(0)).status_code == 200
    assert (await half.refund("PARTIAL", milestone=1, amount=100.01)).status_code == 200
    part = await Deal.at(broker, "paid", **plain)
    assert (await part.refund("PARTIAL", amount=250)).status_code == 200
    whole = await Deal.at(broker, "paid")
    assert (await whole.act("dispute", {"by": "seller"})).status_code == 200
    assert (await whole.refund()).status_code == 200
    late = await Deal.begin(broker)
    await late.pay("unpaid")
    assert await late.status() == "waitingForBankPayment"
    assert (await late.act("cancel", {"by": "buyer"})).status_code == 200
    await late.pay()
    failed = await Deal.begin(broker)
    await failed.pay("unpaid")
    await failed.pay("failed")
    assert await failed.status() == "pending"

    await assert_in_order(app)  # with refunds under way
    while await late.settle():
        pass
    assert await late.status() == await whole.status() == await half.status() == "refunded"
    await assert_in_order(app)


async def test_it_finds_nothing_wrong_with_what_other_plans_and_policies_do(app: Litestar) -> None:
    broker = await make_broker(
        app,
        "Keeper",
        currency="KWD",
        escrow_fee_bps=333,
        escrow_fee_payer="split",
        platform_fee_bps=0,
        platform_fee_minimum=Decimal("0.25"),
        platform_fee_payer="seller",
        retention_bps=1234,
        cancellation_started_bps=2_500,
        cancellation_delivered_bps=10_000,
    )
    for point in ("approved", "delivered"):
        deal = await Deal.at(broker, point)
        assert (await deal.act("cancel", {"by": "buyer"})).status_code == 200
        await deal.settle()
        assert await deal.status() == "refunded"
    deal = await Deal.at(broker, "released")
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund("PARTIAL", milestone=0, amount=0.001)).status_code == 200
    await deal.settle()
    assert (await deal.refund("FULL", milestone=1)).status_code == 200
    await deal.settle()
    await assert_in_order(app)


async def assert_in_order(app: Litestar) -> None:
    report = await verify(app.state.settings.database_url)
    assert report.violation is None, report.lines()


async def test_it_follows_what_operators_do_with_a_partner(cast: Cast, broker: Broker) -> None:
    path = f"/api/admin/businesses/{broker.business_id}"
    for change in ({"retentionBps": 1}, {"name": "Other", "taxBps": 0}, {"retentionBps": 500}):
        accepted(await cast.olga.patch(path, json=change))
    for verb in ("block", "unblock", "block"):
        accepted(await cast.olga.patch(f"{path}/{verb}"))
    for _ in range(2):
        accepted(await cast.olga.post(f"{path}/rotate-secret"))
    await assert_in_order(cast.app)


async def test_the_database_keeps_money_within_its_business(broker: Broker, rival: Broker) -> None:
    """Invariant 23 is not for the checks alone."""
    deal, theirs = await Deal.at(broker, "paid"), await Deal.begin(rival)
    assert (await deal.refund()).status_code == 200
    pool: Pool = broker.app.state.pool
    async with pool.connection() as conn:
        for statement in (MOVE_PAYMENT, MOVE_REFUND):
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await conn.execute(statement, theirs.number)
