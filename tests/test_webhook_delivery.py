"""Webhooks out: every event reaches the partner's receiver, in order, as often as it must."""

import json
from itertools import pairwise
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.domain.delivery import RETRY_SECONDS
from earnest.settings import Settings
from hooked import WEBHOOKS, Hook, delivering, hooked, save, scripted, webhook_settings
from life import accepted
from partners import Broker
from receiver import Conduct, answering, dripping, hanging, receiving, resetting, saying

WEEK_SECONDS = 7 * 24 * 3600
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
PENDING = "SELECT count(*) FROM delivery WHERE state = 'pending'"


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


async def exhaust(hook: Hook) -> None:
    """Let all six attempts of what is due be made."""
    for seconds in (*RETRY_SECONDS, 0):
        await hook.deliver()
        await hook.advance(seconds + 1)


# -- what arrives -----------------------------------------------------------------------------


async def test_it_tells_of_a_contract_in_the_order_of_its_events(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        number = await hook.contract(reference="ord-88", metaData={"metadata1": "عقد"})
        await hook.approve(number)
        await hook.cancel(number)
        await hook.deliver()
        assert hook.events == ["contract.created", "contract.approved", "contract.cancelled"]
        told = [json.loads(request.body) for request in hook.heard]
        statuses = [(one["data"]["previousStatus"], one["data"]["status"]) for one in told]
        assert statuses == [
            ("Draft", "Pending"),
            ("Pending", "Approved"),
            ("Approved", "Cancelled"),
        ]
        for one, request in zip(told, hook.heard, strict=True):
            assert one["data"]["contractId"] == number
            assert one["data"]["amount"] == 1000
            assert one["data"]["metadata"]["metadata1"] == "عقد"
            assert request.headers["x-wepay-event"] == one["event"]
            assert request.headers["x-wepay-webhook-id"] == one["id"]
            assert request.line == "POST /hook HTTP/1.1"
        assert len({one["id"] for one in told}) == 3
        listed = await hook.deliveries(contractId=number)
        assert [one["event"] for one in listed] == hook.events
        assert {one["status"] for one in listed} == {"succeeded"}


async def test_it_tells_each_partner_of_its_own(broker: Broker, rival: Broker) -> None:
    async with hooked(broker, answering(200)) as ours, hooked(rival, answering(200)) as theirs:
        number = await ours.contract()
        await theirs.test()
        await ours.deliver()
        assert ours.events == ["contract.created"]
        assert theirs.events == ["webhook.test"]
        assert await theirs.deliveries(contractId=number) == []


async def test_it_makes_no_delivery_where_nobody_listens(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        accepted(await broker.client.delete(WEBHOOKS))
        await hook.contract()
        assert await hook.value("SELECT count(*) FROM delivery") == 0


# -- trying again -----------------------------------------------------------------------------


async def test_it_tries_six_times_by_the_schedule_and_gives_up(broker: Broker) -> None:
    async with hooked(broker, answering(500)) as hook:
        await hook.contract()
        await exhaust(hook)
        await hook.advance(WEEK_SECONDS)
        await hook.deliver()
        attempts = await hook.attempts()
        assert [one["number"] for one in attempts] == [1, 2, 3, 4, 5, 6]
        times = [one["created_at"] for one in attempts]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        for gap, published in zip(gaps, RETRY_SECONDS, strict=True):
            assert gap >= published
        (delivery,) = await hook.deliveries()
        assert (delivery["status"], delivery["failedFor"]) == ("failed", "exhausted")
        assert (delivery["attempts"], delivery["nextAttemptAt"]) == (6, None)
        assert len({request.body for request in hook.heard}) == 1
        assert len({request.headers["x-wepay-webhook-id"] for request in hook.heard}) == 1
        shown = await hook.shown()
        assert (shown["consecutiveFailures"], shown["isActive"]) == (1, True)
        assert shown["lastFailureAt"] is not None
        logs = await hook.logs()
        assert [one["attemptNumber"] for one in logs] == [1, 2, 3, 4, 5, 6]
        assert {(one["httpStatusCode"], one["errorMessage"]) for one in logs} == {(500, "status")}


@pytest.mark.parametrize("seconds", RETRY_SECONDS)
async def test_it_does_not_try_before_its_time(broker: Broker, seconds: int) -> None:
    async with hooked(broker, answering(503)) as hook:
        await hook.test()
        for earlier in RETRY_SECONDS[: RETRY_SECONDS.index(seconds)]:
            await hook.deliver()
            await hook.advance(earlier + 1)
        await hook.deliver()
        tried = len(hook.heard)
        (waiting,) = await hook.deliveries()
        assert (waiting["status"], waiting["attempts"]) == ("pending", tried)
        await hook.advance(seconds - 5)
        await hook.deliver()
        assert len(hook.heard) == tried
        await hook.advance(6)
        await hook.deliver()
        assert len(hook.heard) == tried + 1


async def test_it_succeeds_when_the_receiver_is_well_again(broker: Broker) -> None:
    conduct = scripted(answering(503), answering(429), answering(200))
    async with hooked(broker, conduct) as hook:
        await hook.contract()
        await exhaust(hook)
        assert len(hook.heard) == 3
        (delivery,) = await hook.deliveries()
        assert (delivery["status"], delivery["attempts"]) == ("succeeded", 3)
        assert (await hook.shown())["consecutiveFailures"] == 0


async def test_it_waits_as_long_as_the_receiver_asks(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(429, "Retry-After: 300"), answering(200))) as hook:
        await hook.test()
        await hook.deliver()
        await hook.advance(290)
        await hook.deliver()
        assert len(hook.heard) == 1
        await hook.advance(12)
        await hook.deliver()
        assert len(hook.heard) == 2


async def test_it_waits_an_hour_at_most_whatever_the_receiver_asks(broker: Broker) -> None:
    conduct = scripted(answering(503, "Retry-After: 1000000000"), answering(200))
    async with hooked(broker, conduct) as hook:
        await hook.test()
        await hook.deliver()
        await hook.advance(3601)
        await hook.deliver()
        assert len(hook.heard) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 501, 505])
async def test_it_believes_a_refusal(broker: Broker, status: int) -> None:
    async with hooked(broker, answering(status)) as hook:
        await hook.test()
        await exhaust(hook)
        assert len(hook.heard) == 1
        (delivery,) = await hook.deliveries()
        assert (delivery["status"], delivery["failedFor"]) == ("failed", "refused")
        (entry,) = await hook.logs()
        assert (entry["httpStatusCode"], entry["isSuccess"]) == (status, False)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_it_follows_nobody(broker: Broker, status: int) -> None:
    async with receiving(answering(200)) as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/"
        async with hooked(broker, answering(status, location)) as hook:
            await hook.test()
            await hook.deliver()
            (entry,) = await hook.logs()
            assert (entry["httpStatusCode"], entry["errorMessage"]) == (status, "redirect")
            assert (await hook.deliveries())[0]["failedFor"] == "refused"
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("conduct", "error"),
    [
        (resetting, "connection_reset"),
        (saying(b""), "connection_reset"),
        (saying(b"SMTP ready\r\n\r\n"), "protocol"),
        (hanging, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 8_000 + b"\r\n"), "protocol"),
    ],
    ids=["reset", "hang up", "no http", "hang", "endless head"],
)
async def test_it_tries_again_when_nothing_came_back(
    broker: Broker, conduct: Conduct, error: str
) -> None:
    async with hooked(broker, scripted(conduct, answering(200))) as hook:
        await hook.test()
        await hook.deliver(total_seconds=1)
        (entry,) = await hook.logs()
        assert (entry["httpStatusCode"], entry["errorMessage"]) == (None, error)
        assert entry["durationMs"] <= 2_000
        await hook.advance(11)
        await hook.deliver(total_seconds=5)
        assert (await hook.deliveries())[0]["status"] == "succeeded"


async def test_it_tries_again_when_nobody_is_there(broker: Broker) -> None:
    async with receiving(answering(200)) as receiver:
        port = receiver.port
    await save(broker, f"http://127.0.0.1:{port}/")
    async with hooked(broker, answering(200)) as hook:
        await save(broker, f"http://127.0.0.1:{port}/")
        await hook.test()
        await hook.deliver()
        (entry,) = await hook.logs()
        assert (entry["httpStatusCode"], entry["errorMessage"]) == (None, "connection_refused")


async def test_it_needs_no_more_than_the_head_of_a_huge_answer(broker: Broker) -> None:
    async with hooked(broker, dripping(HUGE, b"x" * 4096)) as hook:
        await hook.test()
        await hook.deliver()
        assert (await hook.deliveries())[0]["status"] == "succeeded"


# -- order ------------------------------------------------------------------------------------


async def test_it_holds_a_contracts_later_events_back_but_no_other_contracts(
    broker: Broker,
) -> None:
    async with hooked(broker, scripted(answering(500), answering(200))) as hook:
        first = await hook.contract()
        await hook.approve(first)
        await hook.deliver()
        assert hook.events == ["contract.created"]
        second = await hook.contract(title="Another")
        await hook.approve(second)
        await hook.cancel(first)
        await hook.deliver()
        assert hook.events[1:] == ["contract.created", "contract.approved"]
        assert {json.loads(r.body)["data"]["contractId"] for r in hook.heard[1:]} == {second}
        await hook.advance(11)
        await hook.deliver()
        assert hook.events[3:] == ["contract.created", "contract.approved", "contract.cancelled"]


async def test_it_goes_on_with_a_contract_when_an_event_failed_for_good(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(400), answering(200))) as hook:
        number = await hook.contract()
        await hook.approve(number)
        await hook.deliver()
        assert hook.events == ["contract.created", "contract.approved"]
        assert [one["status"] for one in await hook.deliveries()] == ["failed", "succeeded"]


async def test_it_keeps_the_order_of_many_contracts_at_once(broker: Broker) -> None:
    failing = iter(range(1_000))

    async def sometimes(request: Any, writer: Any) -> None:
        await answering(500 if next(failing) % 3 == 0 else 200)(request, writer)

    async with hooked(broker, sometimes) as hook:
        numbers = [await hook.contract() for _ in range(12)]
        for number in numbers:
            await hook.approve(number)
        async with delivering(hook.settings):
            await hook.until_ended()
            for number in numbers:
                await hook.cancel(number)
            while await hook.value(PENDING):
                await hook.until_ended()
                await hook.advance(3601)
        for number in numbers:
            told = [json.loads(request.body) for request in hook.heard]
            heard = [one["event"] for one in told if one["data"]["contractId"] == number]
            assert list(dict.fromkeys(heard)) == [
                "contract.created",
                "contract.approved",
                "contract.cancelled",
            ]
            assert heard == sorted(heard, key=list(dict.fromkeys(heard)).index), "no going back"
