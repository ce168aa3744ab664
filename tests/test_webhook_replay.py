"""Sending events again: one, or all that a filter means, and those that nobody ever heard of."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.settings import Settings
from earnest.store import webhooks
from hooked import WEBHOOKS, Hook, delivering, hooked, save, scripted, webhook_settings
from life import accepted
from partners import Broker
from receiver import answering
from test_webhook_endpoint import DISABLE, execute, refused

UNKNOWN = "0190a8c0-7e4c-7000-8000-000000000001"
ALL = {"from": "2000-01-01T00:00:00Z"}


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


async def replay(broker: Broker, **wanted: str) -> int:
    """Replay what is `wanted`; how many."""
    body = accepted(await broker.client.post(f"{WEBHOOKS}/replay", json=wanted))
    assert body["message"] == "Webhook replay started."
    count: int = body["data"]["replayed"]
    return count


async def replay_one(broker: Broker, id_: str) -> Any:
    return accepted(await broker.client.post(f"{WEBHOOKS}/deliveries/{id_}/replay"))["data"]


def bodies(hook: Hook) -> list[bytes]:
    return [request.body for request in hook.heard]


# -- one --------------------------------------------------------------------------------------


async def test_it_sends_one_again_with_the_same_id_and_bytes(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        await hook.contract()
        await hook.deliver()
        (delivery,) = await hook.deliveries()
        again = await replay_one(broker, delivery["id"])
        assert (again["id"], again["status"]) == (delivery["id"], "pending")
        assert (again["series"], again["attempts"]) == (2, 0)
        await hook.deliver()
        first, second = hook.heard
        assert first.body == second.body
        assert first.headers["x-wepay-webhook-id"] == second.headers["x-wepay-webhook-id"]
        attempts = [(one["series"], one["number"]) for one in await hook.attempts()]
        assert attempts == [(1, 1), (2, 1)]


async def test_it_begins_all_six_attempts_anew(broker: Broker) -> None:
    async with hooked(broker, answering(404)) as hook:
        await hook.test()
        await hook.deliver()
        (delivery,) = await hook.deliveries()
        assert delivery["failedFor"] == "refused"
        assert (await replay_one(broker, delivery["id"]))["failedFor"] is None
    async with hooked(broker, answering(503)) as hook:
        for seconds in (10, 30, 120, 600, 3600, 0):
            await hook.deliver()
            await hook.advance(seconds + 1)
        (delivery,) = await hook.deliveries()
        assert (delivery["attempts"], delivery["failedFor"]) == (6, "exhausted")
        assert len(hook.heard) == 6


async def test_it_does_not_wait_for_the_next_attempt_of_the_old_series(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(503), answering(200))) as hook:
        number = await hook.contract()
        await hook.approve(number)
        await hook.deliver()
        assert len(hook.heard) == 1
        waiting, behind = await hook.deliveries()
        await replay_one(broker, waiting["id"])
        await hook.deliver()
        assert hook.events == ["contract.created", "contract.created", "contract.approved"]
        assert (await hook.deliveries())[1]["id"] == behind["id"]


async def test_it_keeps_the_log_of_an_attempt_whose_series_was_replaced(broker: Broker) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(request: Any, writer: Any) -> None:
        asked.set()
        await answered.wait()
        await answering(200)(request, writer)

    async with hooked(broker, slowly) as hook:
        id_ = await hook.test()
        async with delivering(hook.settings):
            await asked.wait()
            # Its attempt is on the wire and counts for the first series; nothing is tried yet.
            await execute(broker, "UPDATE delivery SET series = 2")
            answered.set()
            await hook.until_ended()
        assert [(a["series"], a["number"]) for a in await hook.attempts()] == [(1, 1), (2, 1)]
        assert [request.headers["webhook-id"] for request in hook.heard] == [id_, id_]


async def test_it_replays_while_the_worker_records_what_became_of_it(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        for _ in range(3):
            await hook.approve(await hook.contract())
        await hook.deliver()
        ids = [delivery["id"] for delivery in await hook.deliveries()]
        async with delivering(hook.settings):
            for _ in range(3):
                asked = [f"deliveries/{id_}/replay" for id_ in ids * 5]
                answers = await asyncio.gather(
                    *(broker.client.post(f"{WEBHOOKS}/{path}") for path in asked),
                    *(broker.client.post(f"{WEBHOOKS}/replay", json=ALL) for _ in range(3)),
                )
                assert {answer.status_code for answer in answers} == {200}
            await hook.until_ended()
        assert {one["status"] for one in await hook.deliveries()} == {"succeeded"}


async def test_it_replays_to_where_the_webhook_is_now(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as first:
        await first.contract()
        await first.deliver()
        (delivery,) = await first.deliveries()
        accepted(await broker.client.delete(WEBHOOKS))
    async with hooked(broker, answering(200)) as second:
        await replay_one(broker, delivery["id"])
        await second.deliver()
        assert [json.loads(body)["id"] for body in bodies(second)] == [delivery["id"]]
        assert second.secret != first.secret


async def test_it_knows_only_its_own_deliveries(broker: Broker, rival: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        id_ = await hook.test()
        await save(rival, "https://hooks.example.com/")
        for somebody, wanted in ((rival, id_), (broker, UNKNOWN)):
            asked = somebody.client.post(f"{WEBHOOKS}/deliveries/{wanted}/replay")
            body = await refused(somebody, asked, 404)
            assert body["message"] == "Delivery not found"


@pytest.mark.parametrize("id_", ["1", "x" * 36, "0190a8c0-7e4c-7000-8000-00000000000g", "%00"])
async def test_it_refuses_ids_that_are_none(broker: Broker, id_: str) -> None:
    await save(broker, "https://hooks.example.com/")
    await refused(broker, broker.client.post(f"{WEBHOOKS}/deliveries/{id_}/replay"), 400)


async def test_it_replays_nothing_to_a_webhook_that_is_disabled(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        id_ = await hook.test()
        await execute(broker, DISABLE)
        for path, body in ((f"deliveries/{id_}/replay", None), ("replay", {"status": "failed"})):
            await refused(broker, broker.client.post(f"{WEBHOOKS}/{path}", json=body), 400)


# -- many -------------------------------------------------------------------------------------


async def test_it_replays_a_contract_from_its_beginning(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        number, other = await hook.contract(), await hook.contract()
        await hook.approve(number)
        await hook.approve(other)
        await hook.deliver()
        before = len(hook.heard)
        assert await replay(broker, contractId=number) == 2
        await hook.deliver()
        assert hook.events[before:] == ["contract.created", "contract.approved"]
        assert set(bodies(hook)[before:]) <= set(bodies(hook)[:before])


async def test_it_replays_by_event_and_status(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(404), answering(200))) as hook:
        first = await hook.contract()
        await hook.approve(first)
        await hook.deliver()
        assert await replay(broker, event="contract.approved", status="failed") == 0
        assert await replay(broker, event="contract.created", status="failed") == 1
        await hook.deliver()
        assert await replay(broker, status="failed") == 0
        assert await replay(broker, status="succeeded") == 2
        await hook.deliver()
        assert hook.events == [
            "contract.created",
            "contract.approved",
            "contract.created",
            "contract.created",
            "contract.approved",
        ]


async def test_it_replays_what_happened_between_two_instants(broker: Broker) -> None:
    def spelled(at: datetime) -> str:
        return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    async with hooked(broker, answering(200)) as hook:
        number = await hook.contract()
        await hook.advance(3600)
        between = await hook.value("SELECT business_now()") - timedelta(seconds=1800)
        await hook.approve(number)
        await hook.deliver()
        assert await replay(broker, **{"from": spelled(between)}) == 1
        assert await replay(broker, to=spelled(between)) == 1
        later = spelled(between + timedelta(days=1))
        assert await replay(broker, **{"from": later}) == 0
        assert await replay(broker, **{"from": "2026-01-01T00:00:00Z", "to": later}) == 2


async def test_it_sends_what_happened_while_nobody_listened(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        accepted(await broker.client.delete(WEBHOOKS))
        number = await hook.contract()
        await hook.approve(number)
        made = await save(broker, f"http://127.0.0.1:{hook.receiver.port}/hook")
        await hook.cancel(number)
        await hook.deliver()
        assert hook.events == ["contract.cancelled"]
        assert await replay(broker, status="missing") == 2
        assert await replay(broker, status="missing") == 0
        await hook.deliver()
        assert hook.events[1:] == ["contract.created", "contract.approved"]
        assert made["id"] != hook.id


async def test_it_sends_what_happened_while_the_webhook_was_disabled(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(410), answering(200))) as hook:
        number = await hook.contract()
        await hook.deliver()
        await hook.approve(number)
        await save(broker, f"http://127.0.0.1:{hook.receiver.port}/hook")
        assert await replay(broker, contractId=number) == 2
        await hook.deliver()
        assert hook.events[1:] == ["contract.created", "contract.approved"]


async def test_it_replays_once_however_often_one_request_is_repeated(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        number = await hook.contract()
        await hook.deliver()
        key = {"Idempotency-Key": "again"}
        body = {"contractId": number}
        asked = [broker.client.post(f"{WEBHOOKS}/replay", json=body, headers=key) for _ in range(5)]
        answers = await asyncio.gather(*asked)
        assert len({answer.content for answer in answers}) == 1
        await hook.deliver()
        late = await broker.client.post(f"{WEBHOOKS}/replay", json=body, headers=key)
        assert late.content == answers[0].content
        await hook.deliver()
        assert len(hook.heard) == 2


async def test_it_begins_one_series_of_requests_without_a_key_at_once(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        number = await hook.contract()
        await hook.deliver()
        await asyncio.gather(*(replay(broker, contractId=number) for _ in range(5)))
        await hook.deliver()
        assert len(hook.heard) == 2


async def test_it_replays_nobody_elses(broker: Broker, rival: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        number = await hook.contract()
        await hook.deliver()
        await save(rival, "https://hooks.example.com/")
        assert await replay(rival, contractId=number) == 0
        assert await replay(rival, event="contract.created") == 0
        await hook.deliver()
        assert len(hook.heard) == 1


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "from"),
        ({"event": "contract.blessed"}, "event"),
        ({"Event": "webhook.test"}, "Event"),
        ({"status": "lost"}, "status"),
        ({"contractId": "CON12345678"}, "contractId"),
        ({"contractId": "CNT-2605-0010000７"}, "contractId"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-05-01T09:00:00"}, "from"),
        ({"TO": "2026-13-01T09:00:00Z"}, "TO"),
        ({"to": 5}, "to"),
    ],
)
async def test_it_names_the_filter_that_is_none(
    broker: Broker, wanted: dict[str, Any], field: str
) -> None:
    await save(broker, "https://hooks.example.com/")
    body = await refused(broker, broker.client.post(f"{WEBHOOKS}/replay", json=wanted), 400)
    assert [one["field"] for one in body["validationErrors"]] == [field]


async def test_it_refuses_to_replay_more_than_it_can_at_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "REPLAYED_MAX", 2)
    async with hooked(broker, answering(200)) as hook:
        for _ in range(3):
            await hook.contract()
        asked = broker.client.post(f"{WEBHOOKS}/replay", json={"event": "contract.created"})
        body = await refused(broker, asked, 400)
        assert body["validationErrors"][0]["field"] == "from"


# -- the list ---------------------------------------------------------------------------------


async def test_it_lists_deliveries_by_what_is_asked_for(broker: Broker, rival: Broker) -> None:
    async with hooked(broker, scripted(answering(404), answering(200))) as hook:
        first = await hook.contract()
        second = await hook.contract()
        await hook.approve(second)
        await hook.deliver()
        await hook.test()
        count = len
        assert count(await hook.deliveries()) == 4
        assert count(await hook.deliveries(status="failed")) == 1
        assert count(await hook.deliveries(status="pending", event="webhook.test")) == 1
        assert count(await hook.deliveries(event="contract.created")) == 2
        assert count(await hook.deliveries(contractId=first)) == 1
        assert count(await hook.deliveries(contractId=second, status="succeeded")) >= 1
        assert count(await hook.deliveries(contractId="CNT-2605-00000001")) == 0
        paged = accepted(await broker.client.get(f"{WEBHOOKS}/deliveries?page=2&pageSize=3"))
        assert (paged["data"]["totalCount"], count(paged["data"]["deliveries"])) == (4, 1)
    theirs = accepted(await rival.client.get(f"{WEBHOOKS}/deliveries"))["data"]
    assert theirs["totalCount"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [("status=lost", "status"), ("event=x", "event"), ("contractId=7", "contractId")],
)
async def test_it_refuses_to_list_what_is_none(broker: Broker, query: str, field: str) -> None:
    body = await refused(broker, broker.client.get(f"{WEBHOOKS}/deliveries?{query}"), 400)
    assert [one["field"] for one in body["validationErrors"]] == [field]
