"""Chargebacks of money that nobody has: parked, given back, or paid twice for one contract."""

import asyncio

import pytest

from checkout_event import EXPIRED, suspense_minor, tell, told_of
from court import Court, paid_for_nobody
from earnest.actions import chargebacks
from earnest.domain import charging_back
from earnest.providers.base import DisputeLine, DisputeState, ProviderDispute
from earnest.store.commit import Commit
from earnest.store.rows import payment_from
from life import Life, accepted
from paying_out import CLIENT, LATEST, balance, bank, fetch, later, sound, withdrawn
from refusals import refused
from test_chargebacks import CASH, FROZEN, LOSS, sums
from test_pay_first import apply, create, parked, refund
from web import Cast

NOT_PARKED = "Only a payment that waits for a contract can be refunded here."
STATE = "SELECT state FROM payment ORDER BY id DESC LIMIT 1"


# -- parked money -----------------------------------------------------------------------------


async def test_it_stays_parked_until_the_bank_has_decided(cast: Cast) -> None:
    life, payment = await paid_for_nobody(cast)
    await apply(cast.bob, life)
    await bank(cast.app, "opened")
    assert await sums(cast.app) == {CASH: 0, LOSS: -1200000}
    await refused(cast, refund(cast.olga, payment), 400, FROZEN)
    await refused(cast, create(cast.alice, life), 400, FROZEN)
    assert await suspense_minor(cast) == 1200000
    await sound(cast.app)


@pytest.mark.parametrize("way", ["given back", "attached"])
async def test_won_it_is_free_again(cast: Cast, way: str) -> None:
    life, payment = await paid_for_nobody(cast)
    await apply(cast.bob, life)
    await bank(cast.app, "opened")
    await bank(cast.app, "won")
    if way == "given back":
        accepted(await refund(cast.olga, payment))
        assert await balance(cast.alice) == 12000
    else:
        life.contract = accepted(await create(cast.alice, life), 201)["contract"]["_id"]
        assert (await life.proof())["held"] == 12000
    assert await suspense_minor(cast) == 0
    assert await sums(cast.app) == {CASH: -1200000, LOSS: 0}
    await sound(cast.app)


async def test_lost_it_covers_the_loss_and_the_job_can_be_paid_for_again(cast: Cast) -> None:
    life, payment = await paid_for_nobody(cast)
    await bank(cast.app, "opened")
    await bank(cast.app, "lost")
    assert await sums(cast.app) == {CASH: 0, LOSS: 0}
    assert await suspense_minor(cast) == 0
    assert await fetch(cast.app, STATE) == [("charged_back",)]
    assert await parked(cast) == []
    await refused(cast, refund(cast.olga, payment), 400, NOT_PARKED)
    assert await balance(cast.alice) is None
    await sound(cast.app)
    await apply(cast.bob, life)
    life.contract = accepted(await create(cast.alice, life), 201)["contract"]["_id"]
    await life.pay()
    assert (await life.proof())["held"] == 12000
    await sound(cast.app)


async def test_the_rest_of_a_payment_that_is_lost_in_part_is_the_buyers(cast: Cast) -> None:
    _, payment = await paid_for_nobody(cast)
    court = Court(cast)
    await court.says("du_1", DisputeState.OPEN, 500000)
    await refused(cast, refund(cast.olga, payment), 400, FROZEN)
    await court.says("du_1", DisputeState.LOST, 500000)
    assert await balance(cast.alice) == 7000
    assert await suspense_minor(cast) == 0
    assert await sums(cast.app) == {CASH: -700000, LOSS: 0}
    await sound(cast.app)
    # What she was given back of it is hers as long as no bank wants that, too.
    await court.says("du_2", DisputeState.OPEN, 600000)
    assert await balance(cast.alice) == 1000
    assert await sums(cast.app) == {CASH: -100000, LOSS: 0}
    await sound(cast.app)


@pytest.mark.parametrize(
    ("verdict", "alices", "cash"),
    [(DisputeState.LOST, 4000, -400000), (DisputeState.WON, 7000, -700000)],
)
async def test_nothing_of_it_leaves_while_another_dispute_is_open(
    cast: Cast, verdict: DisputeState, alices: int, cash: int
) -> None:
    _, payment = await paid_for_nobody(cast)
    court = Court(cast)
    await court.says("du_1", DisputeState.OPEN, 500000)
    async with cast.app.state.pool.connection() as conn:
        now = payment_from(await conn.fetchval(LATEST))
    await court.says("du_2", DisputeState.OPEN, 300000, now)
    await court.says("du_1", DisputeState.LOST, 500000)
    assert await suspense_minor(cast) == 1200000
    await refused(cast, refund(cast.olga, payment), 400, FROZEN)
    await sound(cast.app)
    await court.says("du_2", verdict, 300000)
    await later(cast.app, 6 * 3600 + 1)
    await chargebacks.look_up_due(cast.app.state.core)
    assert await suspense_minor(cast) == 0
    assert await balance(cast.alice) == alices
    assert await sums(cast.app) == {CASH: cash, LOSS: 0}
    assert await fetch(cast.app, "SELECT count(*) FROM chargeback WHERE due_at IS NOT NULL") == [
        (0,)
    ]
    await sound(cast.app)


async def test_a_refund_at_the_same_moment_is_given_or_the_money_covers_never_both(
    cast: Cast,
) -> None:
    """Whichever is first: what Alice was given back she bears, as long as she has it."""
    for _ in range(6):
        _, payment = await paid_for_nobody(cast)
        before = await balance(cast.alice) or 0
        async with cast.app.state.pool.connection() as conn:
            seen = payment_from(await conn.fetchval(LATEST))
            now = await conn.fetchval("SELECT business_now()")
        core = cast.app.state.core
        notice = charging_back.notice(f"du_{payment}", seen, now, await core.keys.ids())
        back, began = await asyncio.gather(
            refund(cast.olga, payment), core.door.commit(Commit(notice))
        )
        assert (back.status_code, began) in ((200, False), (400, True))
        assert (await balance(cast.alice) or 0) - before == (12000 if back.is_success else 0)
        if began:
            ((state,),) = await fetch(cast.app, STATE)
            assert state == "parked"
            court = Court(cast)
            lost = ProviderDispute(
                f"du_{payment}", "", DisputeState.LOST, 1200000, "INR", "fraudulent", None,
                (DisputeLine(f"txn_{payment}", -1200000, 0),),
            )  # fmt: skip
            court.disputes[lost.id] = lost
            await chargebacks.look_up_due(cast.app.state.core)
        assert await suspense_minor(cast) == 0
        await sound(cast.app)


# -- money that was given back ----------------------------------------------------------------


async def test_a_buyer_who_was_given_parked_money_back_does_not_get_it_twice(cast: Cast) -> None:
    _, payment = await paid_for_nobody(cast)
    accepted(await refund(cast.olga, payment))
    await bank(cast.app, "opened")
    assert await balance(cast.alice) == 0
    assert await sums(cast.app) == {CASH: 0}
    (shown,) = accepted(await cast.olga.get("/api/admin/chargebacks"))["data"]
    assert (shown["takenFromBuyer"], shown["takenFromSeller"]) == (12000, 0)
    await sound(cast.app)
    await bank(cast.app, "won")
    assert await balance(cast.alice) == 12000
    assert await sums(cast.app) == {CASH: -1200000}
    await sound(cast.app)


async def test_a_refunded_buyer_who_asks_the_bank_as_well_does_not_get_it_twice(
    cast: Cast,
) -> None:
    await Life.at(cast, "refunded")
    given_back = await balance(cast.alice)
    assert given_back is not None
    assert given_back > 0
    await bank(cast.app, "opened")
    assert await balance(cast.alice) == 0
    entries = accepted(await cast.alice.get(f"/api/freelancer/wallet/earnings/{cast.alice.id}"))
    first = entries["data"]["transactions"][0]
    assert (first["description"], first["type"]) == ("Chargeback", "debit")
    assert first["amount"] == given_back
    await sound(cast.app)
    await bank(cast.app, "won")
    assert await balance(cast.alice) == given_back
    await sound(cast.app)


async def test_of_a_shared_contract_the_buyer_bears_before_the_seller(cast: Cast) -> None:
    """Bob had begun when Alice cancelled: both got a part."""
    life = await Life.at(cast, "ongoing")
    await life.cancel(cast.alice)
    accepted(
        await cast.olga.put(f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}")
    )
    alices, bobs = await balance(cast.alice), await balance(cast.bob)
    assert alices > 0
    assert bobs > 0
    court = Court(cast)
    await court.says("du_1", DisputeState.OPEN, round(alices * 100) + 500)
    assert (await balance(cast.alice), await balance(cast.bob)) == (0, bobs - 5)
    await sound(cast.app)
    await court.says("du_1", DisputeState.WON, round(alices * 100) + 500)
    assert (await balance(cast.alice), await balance(cast.bob)) == (alices, bobs)
    assert LOSS not in await sums(cast.app)
    await sound(cast.app)


async def test_what_a_buyer_has_taken_out_or_has_from_elsewhere_is_not_touched(cast: Cast) -> None:
    _, elsewhere = await paid_for_nobody(cast)
    accepted(await refund(cast.olga, elsewhere))
    _, payment = await paid_for_nobody(cast)
    accepted(await refund(cast.olga, payment))
    await withdrawn(cast.alice, 20000, CLIENT)
    await bank(cast.app, "opened")
    assert await balance(cast.alice) == 0
    assert (await sums(cast.app))[LOSS] == -(1200000 - 400000)
    await sound(cast.app)


# -- a contract that was paid twice -----------------------------------------------------------


async def test_a_dispute_of_the_second_payment_leaves_the_contract_alone(cast: Cast) -> None:
    """The first session expired and was paid after all, when another one had funded the work."""
    life = await Life.at(cast, "created")
    late = await told_of(cast, await life.checkout())
    await tell(cast, late.but(type=EXPIRED, payment_status="unpaid"))
    await life.pay()
    await tell(cast, late)
    assert await suspense_minor(cast) == 1200000
    async with cast.app.state.pool.connection() as conn:
        found = await conn.fetchval("SELECT p FROM payment AS p WHERE p.state = 'parked'")
    court = Court(cast)
    await court.says("du_1", DisputeState.OPEN, 1200000, payment_from(found))
    await sound(cast.app)
    await court.says("du_1", DisputeState.LOST, 1200000)
    assert await suspense_minor(cast) == 0
    assert (await life.proof())["held"] == 12000
    assert (await life.seen())["status"] != "Canceled"
    assert await sums(cast.app) == {CASH: -1200000, LOSS: 0}
    await sound(cast.app)
