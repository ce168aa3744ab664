"""The sandbox provider tells the shop: signed, repeated until answered, each event once."""

import asyncio
from datetime import timedelta

import pytest

from earnest.providers.sandbox import SandboxProvider
from earnest.providers.sandbox_rules import (
    RETRY_FOR_SECONDS,
    next_attempt_at,
)
from town import NOON, SECRET, Town, a_request, open_session


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_keeps_what_was_not_answered_2xx_and_repeats_the_same_bytes(
    town: Town, status: int
) -> None:
    town.webhook_status = status
    session = await open_session(town)
    assert not (await town.provider.complete(session.id, "paid")).delivered
    (row,) = await town.outbox(session)
    assert (row["attempts"], row["last_answer"]) == (1, f"HTTP {status}")
    assert row["next_attempt_at"] == NOON + timedelta(seconds=1)

    await town.deliver_everything()
    assert len(town.bodies(session)) == 1, "it is not due yet"
    town.clock.advance(1)
    await town.deliver_everything()
    town.webhook_status = 200
    town.clock.advance(5)
    await town.another_provider().deliver_due()
    await town.deliver_everything()

    bodies = town.bodies(session)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    (row,) = await town.outbox(session)
    assert (row["attempts"], row["next_attempt_at"]) == (3, None)
    assert row["delivered_at"] == NOON + timedelta(seconds=6)


async def test_repeats_a_delivery_that_is_still_owed_when_asked_again(town: Town) -> None:
    town.webhook_status = 500
    session = await open_session(town)
    assert not (await town.provider.complete(session.id, "paid")).delivered
    town.webhook_status = 200
    assert (await town.provider.complete(session.id, "paid")).delivered
    assert len(set(town.bodies(session))) == 1


async def test_survives_a_webhook_that_is_down(town: Town) -> None:
    nowhere = SandboxProvider(town.pool, SECRET, "http://127.0.0.1:9/webhook", town.url, town.clock)
    session = await nowhere.create_checkout(a_request())
    assert not (await nowhere.complete(session.id, "paid")).delivered
    await nowhere.close()
    (row,) = await town.outbox(session)
    assert row["last_answer"] == "ConnectError"
    # The restarted process finds both the session and the debt in the database.
    town.clock.advance(1)
    await town.deliver_everything()
    assert [event.paid for event in town.events(session)] == [True]


async def test_delivers_once_when_four_workers_race(town: Town) -> None:
    town.webhook_status = 500
    sessions = [await open_session(town) for _ in range(10)]
    for session in sessions:
        await town.provider.complete(session.id, "paid")
    town.webhook_status = 200
    town.webhook_delay_seconds = 0.05
    town.clock.advance(1)
    workers = [town.another_provider() for _ in range(4)]
    await asyncio.gather(*(worker.deliver_due() for worker in workers))
    for session in sessions:
        assert len(town.bodies(session)) == 2, "the failed attempt and exactly one more"


async def test_holds_no_transaction_open_while_it_waits_for_the_webhook(town: Town) -> None:
    town.webhook_delay_seconds = 0.5
    session = await open_session(town)
    paying = asyncio.create_task(town.provider.complete(session.id, "paid"))
    await asyncio.sleep(0.25)
    async with town.pool.connection() as connection:
        state = await connection.fetchval(
            "SELECT state FROM sandbox.session WHERE id = $1 FOR UPDATE NOWAIT", session.id
        )
        open_transactions = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE usename = current_user AND datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )
    assert (state, open_transactions) == ("paid", 0)
    assert (await paying).delivered


async def test_publishes_its_retry_schedule() -> None:
    at, waits = NOON, []
    for attempts in range(1, 9):
        following = next_attempt_at(attempts, NOON, at)
        assert following is not None
        waits.append((following - at).total_seconds())
        at = following
    assert waits == [1, 5, 30, 120, 600, 3600, 3600, 3600]


async def test_gives_up_after_three_days(town: Town) -> None:
    town.webhook_status = 500
    session = await open_session(town)
    await town.provider.complete(session.id, "paid")
    town.clock.advance(RETRY_FOR_SECONDS - 3600)
    await town.deliver_everything()
    (row,) = await town.outbox(session)
    assert row["next_attempt_at"] is not None
    town.clock.advance(5)
    await town.deliver_everything()
    for _ in range(2):
        town.clock.advance(3600)
        await town.deliver_everything()
    (row,) = await town.outbox(session)
    assert (row["attempts"], row["next_attempt_at"], row["delivered_at"]) == (4, None, None)
