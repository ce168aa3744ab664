"""What operators see of webhooks: attempts by outcome, what waits, and no word of what was sent."""

import logging

import pytest

from conftest import TestDatabase
from earnest.settings import Settings
from hooked import delivering, hooked, scripted, webhook_settings
from partners import Broker
from receiver import answering
from test_metrics import scrape
from web import Caller


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


async def test_it_counts_attempts_by_what_became_of_them(broker: Broker, api: Caller) -> None:
    conduct = scripted(answering(503), answering(200), answering(404), answering(410))
    metrics = broker.app.state.metrics
    async with (
        hooked(broker, conduct) as hook,
        delivering(hook.settings, metrics=metrics),
    ):
        await hook.test()
        await hook.until_ended()
        await hook.advance(11)
        await hook.until_ended()
        for _ in range(2):
            await hook.test()
            await hook.until_ended()
    found = await scrape(api)
    for outcome, count in (("retry", 1), ("succeeded", 1), ("refused", 1), ("gone", 1)):
        assert found("earnest_webhook_attempts_total", outcome=outcome) == count
    assert found("earnest_webhook_attempts_total", outcome="exhausted") == 0
    assert found("earnest_webhook_attempt_duration_seconds_count") == 4


async def test_it_knows_which_webhooks_wait_and_for_how_long(broker: Broker, api: Caller) -> None:
    async def waiting() -> tuple[float, float]:
        found = await scrape(api)
        return (
            found("earnest_queue_due", queue="webhooks"),
            found("earnest_queue_oldest_due_seconds", queue="webhooks"),
        )

    async with hooked(broker, scripted(answering(410), answering(200))) as hook:
        assert await waiting() == (0, 0)
        number = await hook.contract()
        await hook.approve(number)
        await hook.advance(100)
        due, seconds = await waiting()
        assert due == 2
        assert 100 <= seconds < 160
        await hook.deliver()
        assert await waiting() == (0, 0), "nobody waits for a webhook that is disabled"


async def test_it_logs_nothing_of_what_it_sends_and_to_whom(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with hooked(broker, answering(410)) as hook:
            number = await hook.contract(reference="ord-secret-88")
            await hook.deliver()
    said = [record.getMessage() for record in caplog.records]
    assert "a webhook endpoint was disabled: gone" in said
    for word in (hook.secret, hook.secret[6:], number, "ord-secret-88", "/hook"):
        assert word not in "\n".join(said)
