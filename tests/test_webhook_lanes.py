"""Many receivers at once: nobody waits for another's, nobody is asked too much, workers may die."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.settings import Settings
from hooked import Hook, delivering, hooked, webhook_settings
from partners import Broker, make_broker
from receiver import Conduct, answering, hanging, resetting
from web import SECRET_KEY

IN_FLIGHT_MAX = 2
NOT_SUCCEEDED = "SELECT count(*) FROM delivery WHERE state <> 'succeeded'"
ATTEMPTED = "SELECT count(*) FROM delivery_attempt"


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


class Crowd:
    """Answers with `status` after a moment; how many it was asked at once, at most."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.now = self.most = 0

    async def __call__(self, request: Any, writer: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        await answering(self.status)(request, writer)


async def until(hook: Hook, count: int, seconds: float = 30) -> None:
    """Wait until so many requests have been heard."""
    async with asyncio.timeout(seconds):
        while len(hook.heard) < count:  # noqa: ASYNC110  the receiver cannot tell us
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "conduct", [hanging, resetting, answering(503)], ids=["hangs", "resets", "fails"]
)
async def test_a_dead_receiver_keeps_nobody_elses_events_waiting(
    broker: Broker, rival: Broker, conduct: Conduct
) -> None:
    async with hooked(rival, conduct) as dead, hooked(broker, answering(200)) as alive:
        for _ in range(40):
            await dead.test()
        async with delivering(alive.settings):
            await until(dead, 1)
            for _ in range(3):
                await alive.approve(await alive.contract())
            await until(alive, 6)
            assert sorted(alive.events) == ["contract.approved"] * 3 + ["contract.created"] * 3
        if conduct is hanging:
            assert len(dead.heard) <= IN_FLIGHT_MAX
            assert await dead.value(ATTEMPTED) == 6, "it still hangs"


async def test_it_asks_one_receiver_two_things_at_once_at_most(broker: Broker) -> None:
    crowd = Crowd()
    async with hooked(broker, crowd) as hook:
        for _ in range(30):
            await hook.test()
        await hook.deliver()
        assert len(hook.heard) == 30
        assert crowd.most == IN_FLIGHT_MAX


async def test_it_asks_a_receiver_that_fails_one_thing_at_a_time(broker: Broker) -> None:
    crowd = Crowd(503)
    async with hooked(broker, crowd) as hook:
        await hook.test()
        for seconds in (10, 30, 120):
            await hook.deliver()
            await hook.advance(seconds + 1)
        assert len(hook.heard) == 3
        for _ in range(9):
            await hook.test()
        crowd.most = 0
        await hook.deliver()
        assert len(hook.heard) == 13
        assert crowd.most == 1


async def test_several_workers_send_each_webhook_once(broker: Broker) -> None:
    crowd = Crowd()
    async with hooked(broker, crowd) as hook:
        numbers = [await hook.contract() for _ in range(10)]
        async with delivering(hook.settings), delivering(hook.settings), delivering(hook.settings):
            for number in numbers:
                await hook.approve(number)
            await hook.until_ended()
        ids = Counter(request.headers["webhook-id"] for request in hook.heard)
        assert len(ids) == 20
        assert set(ids.values()) == {1}
        assert crowd.most <= IN_FLIGHT_MAX


async def test_several_workers_share_the_endpoints(app: Any) -> None:
    brokers = [await make_broker(app, f"Broker {number}") for number in range(4)]
    async with (
        hooked(brokers[0], Crowd()) as first,
        hooked(brokers[1], Crowd()) as second,
        hooked(brokers[2], Crowd()) as third,
        hooked(brokers[3], Crowd()) as fourth,
    ):
        hooks = (first, second, third, fourth)
        for hook in hooks:
            for _ in range(5):
                await hook.test()
        async with delivering(first.settings), delivering(first.settings):
            await first.until_ended()
        assert [len(hook.heard) for hook in hooks] == [5, 5, 5, 5]
    for broker in brokers:
        await broker.client.aclose()


async def test_it_finishes_what_is_on_the_wire_when_it_is_told_to_stop(broker: Broker) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(request: Any, writer: Any) -> None:
        asked.set()
        await answered.wait()
        await answering(200)(request, writer)

    async with hooked(broker, slowly) as hook:
        for _ in range(5):
            await hook.test()
        async with delivering(hook.settings):
            await asked.wait()
            asyncio.get_running_loop().call_later(0.3, answered.set)
        assert len(hook.heard) == IN_FLIGHT_MAX
        assert await hook.value(ATTEMPTED) == IN_FLIGHT_MAX
        # What it gave back, the next one takes at once.
        await hook.deliver()
        assert len(hook.heard) == 5


# -- killed -----------------------------------------------------------------------------------


def start_worker(database: TestDatabase, folder: Path) -> subprocess.Popen[bytes]:
    """A worker as an operator starts it."""
    environment = os.environ | {
        "EARNEST_DATABASE_URL": database.app_dsn,
        "EARNEST_MIGRATE_DATABASE_URL": database.owner_dsn,
        "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
        "EARNEST_DATA_DIR": str(folder),
        "EARNEST_WEBHOOK_ALLOW_PRIVATE": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "earnest", "worker"], env=environment, stderr=subprocess.DEVNULL
    )


async def test_a_worker_that_is_killed_loses_nothing(
    broker: Broker, database: TestDatabase, tmp_path: Path
) -> None:
    """It dies with two webhooks on the wire, which come again, with the same ids and bytes."""
    is_stuck, is_free = asyncio.Event(), asyncio.Event()
    told = 0

    async def conduct(request: Any, writer: Any) -> None:
        nonlocal told
        told += 1
        if told > 20:
            if told == 22:
                is_stuck.set()
            await is_free.wait()
        await answering(200)(request, writer)

    async with hooked(broker, conduct) as hook:
        numbers = [await hook.contract() for _ in range(20)]
        for number in numbers:
            await hook.approve(number)
        worker = start_worker(database, tmp_path)
        try:
            async with asyncio.timeout(60):
                await is_stuck.wait()
        finally:
            worker.kill()
            worker.wait()
        heard_before = list(hook.heard)
        recorded = await hook.value(ATTEMPTED)
        assert len(heard_before) == 22
        is_free.set()
        worker = start_worker(database, tmp_path)
        try:
            async with asyncio.timeout(60):
                while await hook.value(NOT_SUCCEEDED):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            worker.terminate()
            worker.wait()
        times = Counter(request.headers["webhook-id"] for request in hook.heard)
        assert len(times) == 40, "each event of each contract"
        assert sum(times.values()) - 40 == len(heard_before) - recorded
        assert {request.headers["webhook-id"] for request in heard_before[20:]} <= {
            id_ for id_, count in times.items() if count == 2
        }
        bodies = {(request.headers["webhook-id"], request.body) for request in hook.heard}
        assert len(bodies) == 40, "whatever came twice was the same"
        for number in numbers:
            bodies_of = [json.loads(request.body) for request in hook.heard]
            events = [one["event"] for one in bodies_of if one["data"]["contractId"] == number]
            assert list(dict.fromkeys(events)) == ["contract.created", "contract.approved"]
