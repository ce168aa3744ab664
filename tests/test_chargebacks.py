"""Chargebacks: what a payer's bank takes, who bears it, and what the contract does meanwhile."""

import asyncio
from typing import Any

import msgspec
import pytest

from deal import Deal
from earnest.actions import chargebacks
from earnest.errors import ProviderUnknown
from hesitant import hesitant
from life import Life, accepted
from partners import Broker
from paying_out import FREELANCER, balance, bank, fetch, later, sound, withdrawn
from refusals import only_for, refused
from web import Cast

SUMS = """
SELECT account_kind(side.account), sum(side.amount)::bigint
FROM transfer AS t
CROSS JOIN LATERAL (
    VALUES (t.credit, t.amount_minor), (t.debit, -t.amount_minor)
) AS side (account, amount)
WHERE account_kind(side.account) IN (3, 11)
GROUP BY 1 ORDER BY 1
"""
CASH, LOSS = 3, 11
REFUND = "SELECT state, attempts, last_error FROM refund"
WAITS = "The payer's bank wants this money back, and that is undecided."
FROZEN = "The buyer's bank wants this money back: it stays where it is until that is decided."


async def sums(app: Any) -> dict[int, int]:
    """By kind of account: credits less debits, in minor units."""
    return {kind: int(minor) for kind, minor in await fetch(app, SUMS)}


# -- while the money is held ------------------------------------------------------------------


async def test_what_is_held_stays_until_the_bank_has_decided(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await bank(cast.app, "opened")
    assert await sums(cast.app) == {CASH: 0, LOSS: -1200000}
    await sound(cast.app)
    release = cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}")
    await refused(cast, release, 400, FROZEN)
    await bank(cast.app, "won")
    assert await sums(cast.app) == {CASH: -1200000, LOSS: 0}
    await life.release()
    assert await balance(cast.bob) == 10800
    await sound(cast.app)


async def test_a_lost_dispute_is_covered_by_what_was_held(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    await bank(cast.app, "opened")
    await bank(cast.app, "lost")
    assert await sums(cast.app) == {CASH: 0, LOSS: 0}
    seen = await life.seen()
    assert (seen["status"], seen["escrowPaid"]) == ("Canceled", True)
    proof = await life.proof()
    assert proof["held"] == 0
    assert await balance(cast.bob) is None
    await refused(cast, cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}"), 400)
    await sound(cast.app)
    # The job is free again.
    assert (await cast.alice.get(f"/api/client/job/get-job/{life.job}")).json() is not None


async def test_finished_work_that_is_charged_back_stays_finished(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await bank(cast.app, "opened")
    await bank(cast.app, "lost")
    assert (await life.seen())["status"] == "Completed"
    assert await sums(cast.app) == {CASH: 0, LOSS: 0}
    await sound(cast.app)


async def test_a_cancelled_contract_is_not_refunded_as_well(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    await life.cancel(cast.alice)
    await bank(cast.app, "opened")
    refund = cast.alice.put(f"/api/client/escrow/refund/{life.contract}", json={})
    assert (await refund).status_code in (400, 404)
    await bank(cast.app, "lost")
    assert await sums(cast.app) == {CASH: 0, LOSS: 0}
    assert await balance(cast.alice) is None
    await sound(cast.app)


# -- after it was released --------------------------------------------------------------------


async def test_after_a_release_the_seller_bears_what_the_seller_got(cast: Cast) -> None:
    await Life.at(cast, "released")
    await bank(cast.app, "opened")
    assert await balance(cast.bob) == 0
    assert await sums(cast.app) == {CASH: 0, LOSS: -120000}
    entries = (await cast.bob.get(f"/api/freelancer/wallet/earnings/{cast.bob.id}")).json()
    first = entries["data"]["transactions"][0]
    assert (first["description"], first["type"], first["amount"]) == ("Chargeback", "debit", 10800)
    assert first["contractId"].startswith("CON")
    await sound(cast.app)
    await bank(cast.app, "won")
    assert await balance(cast.bob) == 10800
    assert await sums(cast.app) == {CASH: -1200000, LOSS: 0}
    await sound(cast.app)


async def test_what_the_seller_has_taken_out_is_our_loss(cast: Cast) -> None:
    await Life.at(cast, "released")
    await withdrawn(cast.bob, 10000)
    await bank(cast.app, "opened")
    assert await balance(cast.bob) == 0
    assert (await sums(cast.app))[LOSS] == -(1200000 - 80000)
    await bank(cast.app, "lost")
    assert (await sums(cast.app))[LOSS] == -(1200000 - 80000)
    await sound(cast.app)


async def test_what_the_seller_earned_elsewhere_is_not_touched(cast: Cast) -> None:
    await Life.at(cast, "released", rate=5000)
    await Life.at(cast, "released", rate=100)
    assert await balance(cast.bob) == 4590
    await bank(cast.app, "opened")
    assert await balance(cast.bob) == 4500
    assert (await sums(cast.app))[LOSS] == -1000
    await sound(cast.app)


async def test_a_withdrawal_at_the_same_moment_is_paid_or_taken_never_both(cast: Cast) -> None:
    await Life.at(cast, "released")
    _, answer = await asyncio.gather(
        bank(cast.app, "opened"), cast.bob.post(FREELANCER, json={"amount": 10800})
    )
    got = 0 if answer.status_code == 202 else 1080000
    assert answer.status_code in (202, 400)
    assert await balance(cast.bob) == 0
    assert (await sums(cast.app))[LOSS] == -(1200000 - got)
    await sound(cast.app)


# -- a partner's contract ---------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_partners_contract_is_in_dispute_until_then(broker: Broker, outcome: str) -> None:
    deal = await Deal.at(broker, "paid")
    await bank(broker.app, "opened")
    assert await deal.status() == "dispute"
    assert "contract.disputed" in await deal.events()
    for asked in (await deal.release(), await deal.refund()):
        assert asked.status_code == 400
        assert asked.json()["message"]
    await sound(broker.app)
    await bank(broker.app, outcome)
    assert await deal.status() == ("escrow" if outcome == "won" else "refunded")
    if outcome == "won":
        assert (await deal.release()).status_code == 200
    await sound(broker.app)


async def test_a_refund_waits_for_the_bank_and_ends_when_it_has_given_the_money_back(
    broker: Broker,
) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    await bank(broker.app, "opened")
    assert await deal.settle() == 1
    assert await fetch(broker.app, REFUND) == [("planned", 0, WAITS)]
    assert await deal.status() == "refundInProgress"
    await sound(broker.app)
    await bank(broker.app, "lost")
    assert await fetch(broker.app, REFUND) == [("declined", 0, WAITS)]
    assert await deal.status() == "refunded"
    assert await sums(broker.app) == {CASH: 0, LOSS: 0}
    assert await deal.settle() == 0
    await sound(broker.app)


# -- looking it up ----------------------------------------------------------------------------


async def test_it_is_looked_up_until_the_provider_answers(cast: Cast) -> None:
    await Life.at(cast, "paid")
    silence = [ProviderUnknown("Nobody answered.")] * 3
    hesitant(cast.app, "find_dispute", *silence)
    await bank(cast.app, "opened")
    assert await sums(cast.app) == {CASH: -1200000}
    for _ in range(3):
        await later(cast.app, 600)
        await chargebacks.look_up_due(cast.app.state.core)
    assert (await sums(cast.app))[LOSS] == -1200000
    await sound(cast.app)


async def test_workers_at_once_book_it_once(cast: Cast) -> None:
    await Life.at(cast, "released")
    await bank(cast.app, "opened")
    await later(cast.app, 6 * 3600 + 1)
    core = cast.app.state.core
    await asyncio.gather(*(chargebacks.look_up_due(core) for _ in range(5)))
    assert (await sums(cast.app))[LOSS] == -120000
    await sound(cast.app)


async def test_of_another_account_of_ours_nothing_is_believed(cast: Cast) -> None:
    await Life.at(cast, "paid")
    core = cast.app.state.core
    cast.app.state.core = msgspec.structs.replace(core, provider_account=2)
    await bank(cast.app, "opened")
    assert LOSS not in await sums(cast.app)
    await sound(cast.app)


async def test_admins_see_what_it_costs_and_until_when_evidence_is_due(cast: Cast) -> None:
    await Life.at(cast, "released")
    await bank(cast.app, "opened")
    path = "/api/admin/chargebacks"
    (shown,) = accepted(await cast.olga.get(path, params={"status": "open"}))["data"]
    assert (shown["amount"], shown["taken"], shown["takenFromSeller"]) == (12000, 12000, 10800)
    assert shown["evidenceDueAt"]
    assert shown["contractNumber"].startswith("CON")
    await bank(cast.app, "lost")
    (shown,) = accepted(await cast.olga.get(path))["data"]
    assert (shown["status"], shown["evidenceDueAt"]) == ("lost", None)
    await only_for(cast, lambda who: who.get(path), cast.olga)
    await refused(cast, cast.olga.get(path, params={"status": "gone"}), 400)
