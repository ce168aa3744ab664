"""Money arrives at the same moment as everything else: each payment funds once, none is lost.

The provider repeats itself, says one thing in two ways, and comes late; see test_races.py.
"""

import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from canary import (
    COMPARE_PAYMENT,
    COMPARE_PAYMENT_EARLY,
    COMPARE_VERSION,
    LOOK_INTO_INBOX,
    damaged,
    plant,
    sound,
)
from conftest import TestDatabase
from crowd import Crowd, only_one_app, statuses
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from life import Life, accepted, post_event, provider_events
from web import Cast

NO_VERSIONS = (COMPARE_VERSION, COMPARE_PAYMENT_EARLY, COMPARE_PAYMENT)


# -- provider events ------------------------------------------------------------------------------


async def paid_session(crowd: Crowd) -> tuple[Life, bytes]:
    """A contract whose money is on its way: the event that will bring it."""
    life = await Life.at(crowd.cast, "created")
    await life.checkout()
    await crowd.cast.app.state.provider.complete(life.session, "paid")
    (event,) = await provider_events(crowd.cast, life.session)
    return life, event


def altered(event: bytes, id_: str, type_: str = "", **of_session: Any) -> bytes:
    """The same event under another id, saying something else of its session."""
    body = json.loads(event)
    body["id"] = id_
    body["type"] = type_ or body["type"]
    body["data"]["object"].update(of_session)
    return json.dumps(body).encode()


async def deliver(crowd: Crowd, *events: bytes) -> None:
    cast = crowd.casts()
    answers = await crowd.at_once([post_event(cast(), event) for event in events])
    assert statuses(answers) == {200: len(events)}


SUSPENSE = """
SELECT coalesce(sum(amount_minor), 0) FROM transfer WHERE credit >> 57 = 12
"""


async def in_suspense(crowd: Crowd) -> int:
    pool: Pool = crowd.cast.app.state.pool
    async with pool.connection() as conn:
        return int(await conn.fetchval(SUSPENSE))


async def test_it_takes_an_event_once_that_comes_sixteen_times(
    crowd: Crowd, database: TestDatabase
) -> None:
    life, event = await paid_session(crowd)
    await deliver(crowd, *[event] * 16)
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12_000, 12_000, True)
    assert await in_suspense(crowd) == 0
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_an_event_without_an_inbox_funds_many_times(
    crowd: Crowd, database: TestDatabase
) -> None:
    life, event = await paid_session(crowd)
    await plant(
        database.owner_dsn,
        LOOK_INTO_INBOX,
        *NO_VERSIONS,
        without=("provider_event_once", "provider_event_money_once", "event_chain"),
    )
    await deliver(crowd, *[event] * 16)
    assert (await life.proof())["funded"] > 12_000
    assert {
        "a provider event was consumed twice",
        "a contract's held money is not what its state says",
        "a payment brought its money in more or less often than its state says",
    } <= await damaged(database.superuser_dsn)


async def test_it_quarantines_strange_money_once(crowd: Crowd, database: TestDatabase) -> None:
    """Nothing but the inbox stands behind an event that changes no contract and no payment."""
    life, event = await paid_session(crowd)
    strange = altered(event, "evt_strange", amount_total=777)
    again = altered(event, "evt_again", amount_total=777)
    await deliver(crowd, *[strange] * 8, *[again] * 8)
    assert await in_suspense(crowd) == 777
    await deliver(crowd, event)  # its own money still finds its contract
    assert (await life.proof())["held"] == 12_000
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_strange_money_without_an_inbox_piles_up(
    crowd: Crowd, database: TestDatabase
) -> None:
    _, event = await paid_session(crowd)
    await plant(
        database.owner_dsn,
        LOOK_INTO_INBOX,
        without=("provider_event_once", "provider_event_money_once"),
    )
    await deliver(crowd, *[altered(event, "evt_strange", amount_total=777)] * 16)
    assert await in_suspense(crowd) > 777
    assert "a session's strange money was taken more than once" in await damaged(
        database.superuser_dsn
    )


@pytest.mark.abuse(88)
async def test_it_funds_once_when_completed_and_succeeded_come_together(
    crowd: Crowd, database: TestDatabase
) -> None:
    life, completed = await paid_session(crowd)
    succeeded = altered(completed, "evt_slow_bank", "checkout.session.async_payment_succeeded")
    waiting = altered(completed, "evt_waiting", payment_status="unpaid")
    failed = altered(completed, "evt_failed", "checkout.session.async_payment_failed")
    await deliver(crowd, *[completed, succeeded, waiting, failed] * 4)
    proof = await life.proof()
    assert (proof["funded"], proof["held"], proof["holds"]) == (12_000, 12_000, True)
    assert await in_suspense(crowd) == 0
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_two_paid_events_without_defence_fund_twice(
    crowd: Crowd, database: TestDatabase
) -> None:
    life, completed = await paid_session(crowd)
    await plant(
        database.owner_dsn, *NO_VERSIONS, without=("provider_event_money_once", "event_chain")
    )
    succeeded = altered(completed, "evt_slow_bank", "checkout.session.async_payment_succeeded")
    await deliver(crowd, completed, succeeded)
    assert (await life.proof())["funded"] == 24_000
    assert "a contract was funded more or less often than its state says" in await damaged(
        database.superuser_dsn
    )


FIRST_EVENT = """
SELECT type FROM event WHERE contract_id = $1 AND type <> 'contract.created' ORDER BY seq LIMIT 1
"""


@pytest.mark.abuse(46)
async def test_it_loses_no_money_when_a_cancel_meets_the_payment(
    crowd: Crowd, database: TestDatabase
) -> None:
    orders: Counter[str] = Counter()
    rounds = [await paid_session(crowd) for _ in range(20)]
    for round_, (life, event) in enumerate(rounds):
        alice, cast = crowd.hands(crowd.cast.alice), crowd.casts()
        requests = [
            alice().delete(f"/api/client/cancel-contract/{life.contract}"),
            post_event(cast(), event),
        ]
        requests = requests[:: 1 if round_ % 2 else -1]
        assert statuses(await crowd.at_once(requests, in_turn=True)) == {200: 2}
        seen, proof = await life.seen(), await life.proof()
        assert (seen["status"], seen["escrowPaid"]) == ("Canceled", True)
        assert (proof["funded"], proof["held"], proof["holds"]) == (12_000, 12_000, True)
        kinds = [one["movement"] for one in proof["transfers"]]
        assert kinds == ["funded"]
        orders[await crowd.gatekeeper.fetchval(FIRST_EVENT, key_of(PublicId(life.contract)))] += 1
        if round_ % 5 == 0:  # and it can be given back
            escrow = await life.refund()
            assert escrow["status"] == "refunded"
            assert (await life.proof())["held"] == 0
    assert set(orders) == {"contract.cancelled", "payment.completed"}
    await sound(database.superuser_dsn)


async def test_it_gives_parked_money_to_a_contract_or_back_but_never_both(
    crowd: Crowd, database: TestDatabase
) -> None:
    cast = crowd.cast
    refunds = attached = 0
    for round_ in range(12):
        life, payment = await parked(cast)
        alice, olga = crowd.hands(cast.alice), crowd.hands(cast.olga)
        body = {"freelancerId": cast.bob.id, "amount": 12_000}
        requests = [
            *(alice().post(f"/api/client/create-contract/{life.job}", json=body) for _ in "ab"),
            *(olga().put(f"/api/admin/escrow/refund-payment/{payment}") for _ in "ab"),
        ]
        random.Random(round_).shuffle(requests)
        answers = await crowd.at_once(requests)
        refunded = [a for a in answers if "refund-payment" in str(a.request.url)]
        created = [a for a in answers if "create-contract" in str(a.request.url)]
        assert statuses(created) == {201: 1, 400: 1}
        (life.contract,) = [a.json()["contract"]["_id"] for a in created if a.status_code == 201]
        paid = (await life.seen())["escrowPaid"]
        assert statuses(refunded) == ({400: 2} if paid else {200: 1, 400: 1})
        refunds, attached = refunds + (not paid), attached + paid
    assert await Life(cast, job="").wallet(cast.alice) == 12_000 * refunds
    balance = accepted(await cast.olga.get("/api/admin/escrow/balance"))["data"]
    assert balance == 12_000 * attached
    await sound(database.superuser_dsn)


async def parked(cast: Cast) -> tuple[Life, str]:
    """Money for Bob that came while Alice had hired Mallet: a job, and the payment's id."""
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    await life.checkout()
    body = {"freelancerId": cast.mallet.id, "amount": 12_000}
    made = await cast.alice.post(f"/api/client/create-contract/{life.job}", json=body)
    mallets = accepted(made, 201)["contract"]["_id"]
    await cast.app.state.provider.complete(life.session, "paid")
    for event in await provider_events(cast, life.session):
        accepted_text(await post_event(cast, event))
    accepted(await cast.alice.delete(f"/api/client/cancel-contract/{mallets}"))
    waiting = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))
    return life, waiting["data"][0]["_id"]


def accepted_text(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text


async def test_it_binds_the_money_whichever_comes_first_the_contract_or_the_payment(
    crowd: Crowd, database: TestDatabase
) -> None:
    """Paid first: the event that would create the contract meets the request that does."""
    cast = crowd.cast
    for round_ in range(12):
        life = await Life.begin(cast)
        await life.checkout()
        await cast.app.state.provider.complete(life.session, "paid")
        (event,) = await provider_events(cast, life.session)
        alice, casts = crowd.hands(cast.alice), crowd.casts()
        body = {"freelancerId": cast.bob.id, "amount": 12_000}
        requests = [
            alice().post(f"/api/client/create-contract/{life.job}", json=body),
            post_event(casts(), event),
        ]
        random.Random(round_).shuffle(requests)
        assert statuses(await crowd.at_once(requests)) == {201: 1, 200: 1}
        path = f"/api/client/is-created/{life.job}/{cast.alice.id}"
        found = accepted(await cast.alice.get(path))["contract"]
        assert (found["status"], found["escrowPaid"]) == ("Pending", True)
    assert await in_suspense(crowd) == 0
    await sound(database.superuser_dsn)
