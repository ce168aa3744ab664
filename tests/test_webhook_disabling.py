"""Endpoints change under way: other secrets, other URLs, disabled, enabled again, deleted."""

import asyncio
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.assembly import build_core
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.worker.deliveries import Deliveries
from earnest.worker.webhook_body import standard_signature, wepay_signature
from hooked import WEBHOOKS, delivering, hooked, save, scripted, webhook_settings
from life import accepted
from partners import Broker
from receiver import Request, answering, receiving

WEEK_SECONDS = 7 * 24 * 3600


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


# -- regeneration -----------------------------------------------------------------------------


async def test_it_signs_with_the_new_secret_at_once_and_with_both_for_a_day(
    broker: Broker,
) -> None:
    async with hooked(broker, answering(200)) as hook:
        path = f"{WEBHOOKS}/regenerate-secret"
        new = accepted(await broker.client.post(path))["data"]["secretKey"]
        await hook.test()
        await hook.deliver()
        await hook.advance(24 * 3600 + 60)
        await hook.test()
        await hook.deliver()
        for request, secrets in zip(hook.heard, ([new, hook.secret], [new]), strict=True):
            headers = request.headers
            assert headers["x-wepay-signature"] == wepay_signature(request.body, new)
            signed = (headers["webhook-id"], headers["webhook-timestamp"], request.body)
            assert headers["webhook-signature"].split() == [
                standard_signature(*signed, secret) for secret in secrets
            ]


async def test_it_uses_a_new_secret_for_what_waits(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(500), answering(200))) as hook:
        await hook.test()
        async with delivering(hook.settings):
            await hook.until_ended()
            path = f"{WEBHOOKS}/regenerate-secret"
            new = accepted(await broker.client.post(path))["data"]["secretKey"]
            await hook.advance(11)
            await hook.until_ended()
        first, second = hook.heard
        assert first.body == second.body
        assert first.headers["x-wepay-signature"] == wepay_signature(first.body, hook.secret)
        assert second.headers["x-wepay-signature"] == wepay_signature(first.body, new)


@pytest.mark.parametrize("change", ["secret", "url", "deletion"])
async def test_what_a_worker_has_in_hand_follows_what_its_business_changes(
    broker: Broker, change: str
) -> None:
    """A receiver that answered at once has many in hand; with two on the wire, something changes,
    and all that leave later leave as it is then."""
    quick, resume = 4, asyncio.Event()

    async def conduct(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(hook.heard) > quick:
            await resume.wait()
        await answering(200)(request, writer)

    async with hooked(broker, conduct) as hook:
        for _ in range(20):
            await hook.test()
        core = build_core(hook.settings, Pool(hook.settings.database_url))
        worker = Deliveries(core, hook.settings)
        try:
            while len(hook.heard) < quick + 2:
                await worker.turn()
            secret = hook.secret
            match change:
                case "secret":
                    path = f"{WEBHOOKS}/regenerate-secret"
                    secret = accepted(await broker.client.post(path))["data"]["secretKey"]
                case "url":
                    await save(broker, f"http://127.0.0.1:{hook.receiver.port}/other")
                case "deletion":
                    accepted(await broker.client.delete(WEBHOOKS))
            for _ in range(3):  # with something on the wire, each takes as long as a look
                await worker.turn()
            resume.set()
            while await worker.turn():
                pass
        finally:
            await worker.finish()
            await core.pool.close()
        later = hook.heard[quick + 2 :]
        assert len(later) == (0 if change == "deletion" else 20 - quick - 2)
        for request in later:
            assert request.headers["x-wepay-signature"] == wepay_signature(request.body, secret)
            assert ("/other" in request.line) == (change == "url")
        assert len({request.headers["webhook-id"] for request in hook.heard}) == len(hook.heard)


# -- disabling --------------------------------------------------------------------------------


async def test_it_disables_a_webhook_that_is_gone_at_once(broker: Broker) -> None:
    async with hooked(broker, answering(410)) as hook:
        number = await hook.contract()
        await hook.approve(number)
        await hook.deliver()
        assert len(hook.heard) == 1
        shown = await hook.shown()
        assert (shown["isActive"], shown["consecutiveFailures"]) == (False, 1)
        first, second = await hook.deliveries()
        assert (first["status"], first["failedFor"]) == ("failed", "refused")
        assert second["status"] == "pending"
        await hook.cancel(number)
        assert len(await hook.deliveries()) == 2, "nobody listens any more"


async def test_it_disables_a_webhook_after_ten_failed_deliveries_in_a_row(broker: Broker) -> None:
    refuse = [answering(404)] * 9
    conduct = scripted(*refuse, answering(200), *[answering(404)] * 10, answering(200))
    async with hooked(broker, conduct) as hook:
        for _ in range(10):
            await hook.test()
            await hook.deliver()
        assert (await hook.shown())["isActive"] is True
        assert (await hook.shown())["consecutiveFailures"] == 0
        for count in range(1, 11):
            await hook.test()
            await hook.deliver()
            assert (await hook.shown())["consecutiveFailures"] == count
        shown = await hook.shown()
        assert shown["isActive"] is False
        assert shown["lastSuccessAt"] < shown["lastFailureAt"]


async def test_it_counts_failures_that_come_at_once(broker: Broker) -> None:
    async with hooked(broker, answering(404)) as hook:
        for _ in range(12):
            await hook.test()
        await hook.deliver()
        shown = await hook.shown()
        assert shown["isActive"] is False
        assert shown["consecutiveFailures"] >= 10
        assert len(hook.heard) <= 12


async def test_it_keeps_what_waits_until_the_webhook_is_enabled_again(broker: Broker) -> None:
    async with hooked(broker, scripted(answering(410), answering(200))) as hook:
        number = await hook.contract()
        await hook.approve(number)
        await hook.deliver()
        await hook.advance(WEEK_SECONDS - 3600)
        await hook.expire()
        await hook.deliver()
        assert len(hook.heard) == 1
        await save(broker, f"http://127.0.0.1:{hook.receiver.port}/other")
        await hook.deliver()
        assert hook.heard[-1].line == "POST /other HTTP/1.1"
        assert hook.events == ["contract.created", "contract.approved"]


async def test_it_gives_up_what_waited_for_a_week(broker: Broker) -> None:
    async with hooked(broker, answering(410)) as hook:
        number = await hook.contract()
        await hook.approve(number)
        await hook.deliver()
        await hook.advance(WEEK_SECONDS + 60)
        await hook.expire()
        assert [one["failedFor"] for one in await hook.deliveries()] == ["refused", "disabled"]
        await save(broker, f"http://127.0.0.1:{hook.receiver.port}/hook")
        await hook.deliver()
        assert len(hook.heard) == 1


async def test_it_gives_up_what_waits_for_a_webhook_that_was_deleted(broker: Broker) -> None:
    async with hooked(broker, answering(503)) as hook:
        await hook.contract()
        await hook.deliver()
        accepted(await broker.client.delete(WEBHOOKS))
        await hook.expire()
        (delivery,) = await hook.deliveries()
        assert (delivery["status"], delivery["failedFor"]) == ("failed", "deleted")
        await hook.advance(11)
        await hook.deliver()
        assert len(hook.heard) == 1


async def test_it_does_not_hold_an_old_url_against_a_new_one(broker: Broker) -> None:
    """The answer of the old receiver comes when the partner has already moved."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(request: Any, writer: Any) -> None:
        asked.set()
        await answered.wait()
        await answering(410)(request, writer)

    async with receiving(slowly) as old, hooked(broker, answering(200)) as hook:
        await save(broker, f"http://127.0.0.1:{old.port}/")
        await hook.test()
        async with delivering(hook.settings):
            await asked.wait()
            await save(broker, f"http://127.0.0.1:{hook.receiver.port}/")
            answered.set()
            await hook.until_ended()
        shown = await hook.shown()
        assert (shown["isActive"], shown["consecutiveFailures"]) == (True, 0)
        assert len(old.heard) == 1
