"""/apps/api/webhooks: one URL per partner, a secret that is told once, a test, no more."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from conftest import TestDatabase
from digest import digest
from earnest.app import build_app
from earnest.sealing import SealBroken
from earnest.settings import Settings
from earnest.store.db import Pool
from hooked import WEBHOOKS, hooked, save, webhook_settings
from life import accepted
from partners import Broker, make_broker
from receiver import answering
from web import Caller, make_settings

URL = "https://hooks.example.com/earnest"
KEYS = (
    "id webhookUrl secretKey isActive consecutiveFailures lastSuccessAt lastFailureAt createdAt"
).split()
SECRET = re.compile(r"whsec_[A-Za-z0-9]{48}")
MASKED = re.compile(r"whsec_\*{8}[A-Za-z0-9]{4}")
STORED = "SELECT * FROM webhook_endpoint"
DISABLE = """
UPDATE webhook_endpoint SET is_active = FALSE, disabled_at = business_now(),
disabled_for = 'failures', consecutive_failures = 10, failed_attempts = 60
"""


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


async def stored(broker: Broker) -> list[dict[str, Any]]:
    pool: Pool = broker.app.state.pool
    async with pool.connection() as conn:
        return [dict(row) for row in await conn.fetch(STORED)]


async def execute(broker: Broker, sql: str) -> None:
    async with broker.app.state.pool.connection() as conn:
        await conn.execute(sql)


async def refused(broker: Broker, asked: Any, status: int) -> dict[str, Any]:
    """The body of a refusal that changed nothing."""
    before = await digest(broker.app.state.pool)
    answer: httpx.Response = await asked
    assert await digest(broker.app.state.pool) == before
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert "data" not in body
    assert (body["status"], body["succeeded"]) == (status, False)
    return body


# -- saving -----------------------------------------------------------------------------------


async def test_it_creates_a_webhook_and_tells_its_secret(broker: Broker) -> None:
    answer = await broker.client.post(WEBHOOKS, json={"webhookUrl": URL})
    body = accepted(answer)
    assert body["message"] == "Webhook created successfully."
    made = body["data"]
    assert list(made) == KEYS
    assert SECRET.fullmatch(made["secretKey"])
    assert (made["webhookUrl"], made["isActive"], made["consecutiveFailures"]) == (URL, True, 0)
    assert made["lastSuccessAt"] is made["lastFailureAt"] is None
    (row,) = await stored(broker)
    assert str(row["id"]) == made["id"]
    assert made["secretKey"].encode() not in row["secret"]


async def test_it_updates_the_url_and_keeps_the_secret_to_itself(broker: Broker) -> None:
    made = await save(broker, URL)
    await execute(broker, DISABLE)
    answer = await broker.client.post(WEBHOOKS, json={"WEBHOOKURL": "https://example.com:8443"})
    body = accepted(answer)
    assert body["message"] == "Webhook updated successfully."
    changed = body["data"]
    assert changed["id"] == made["id"]
    assert changed["webhookUrl"] == "https://example.com:8443/"
    assert (changed["isActive"], changed["consecutiveFailures"]) == (True, 0)
    assert MASKED.fullmatch(changed["secretKey"])
    assert changed["secretKey"][-4:] == made["secretKey"][-4:]
    (row,) = await stored(broker)
    assert (row["failed_attempts"], row["disabled_at"], row["disabled_for"]) == (0, None, "")


async def test_it_makes_one_webhook_of_many_requests_at_once(broker: Broker) -> None:
    answers = await asyncio.gather(
        *(broker.client.post(WEBHOOKS, json={"webhookUrl": f"{URL}/{n}"}) for n in range(10))
    )
    told = [accepted(answer)["data"] for answer in answers]
    assert len({one["id"] for one in told}) == 1
    assert sum(bool(SECRET.fullmatch(one["secretKey"])) for one in told) == 1
    assert len(await stored(broker)) == 1


async def test_it_keeps_the_secret_of_a_repeated_request_sealed(broker: Broker) -> None:
    key = {"Idempotency-Key": "hook"}
    first, again = [
        await broker.client.post(WEBHOOKS, json={"webhookUrl": URL}, headers=key) for _ in range(2)
    ]
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    secret = first.json()["data"]["secretKey"].encode()
    async with broker.app.state.pool.connection() as conn:
        (row,) = await conn.fetch("SELECT reply FROM idempotency_key")
    assert secret not in row["reply"]


async def test_each_partner_has_its_own(broker: Broker, rival: Broker) -> None:
    ours, theirs = await save(broker, URL), await save(rival, URL)
    assert ours["id"] != theirs["id"]
    assert ours["secretKey"] != theirs["secretKey"]
    rows = await stored(broker)
    sealer = broker.app.state.sealer
    with pytest.raises(SealBroken):
        sealer.open(rows[0]["secret"], f"webhook:{rows[1]['id']}")
    accepted(await rival.client.delete(WEBHOOKS))
    assert accepted(await broker.client.get(WEBHOOKS))["data"]["id"] == ours["id"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "URL must be a valid HTTP or HTTPS URL"),
        ("example.com", "URL must be a valid HTTP or HTTPS URL"),
        ("ftp://example.com/", "URL must be a valid HTTP or HTTPS URL"),
        ("javascript:alert(1)", "URL must be a valid HTTP or HTTPS URL"),
        ("https://good@127.0.0.1/", "URL must not contain a user name or password"),
        ("https://10.0.0.1/", "URL must not be a private, loopback or reserved address"),
        ("https://[::ffff:127.0.0.1]/", "URL must not be a private, loopback or reserved address"),
        ("https://metadata.internal/", "URL must name a public host"),
        ("https://example.com:22/", "URL must use port 443 or 8443"),
    ],
)
async def test_it_refuses_what_is_no_public_url(broker: Broker, url: str, said: str) -> None:
    body = await refused(broker, broker.client.post(WEBHOOKS, json={"webhookurl": url}), 400)
    assert body["message"] == "Invalid webhook URL"
    assert body["validationErrors"] == [{"field": "webhookurl", "message": said}]


async def test_it_refuses_in_arabic_to_who_reads_arabic(broker: Broker) -> None:
    headers = {"Accept-Language": "ar"}
    sent = {"webhookUrl": "https://10.0.0.1/"}
    asked = broker.client.post(WEBHOOKS, json=sent, headers=headers)
    body = await refused(broker, asked, 400)
    assert body["message"] == "رابط الإشعارات غير صالح"
    assert body["errors"] == ["URL يجب ألا يكون عنوانًا خاصًا أو محليًا أو محجوزًا"]
    body = await refused(broker, broker.client.get(WEBHOOKS, headers=headers), 404)
    assert body["message"] == "لا يوجد رابط إشعارات"


@pytest.mark.parametrize(
    "sent", [{}, {"webhookUrl": None}, {"webhookUrl": 5}, {"webhookUrl": [URL]}]
)
async def test_it_names_the_field_that_is_not_a_text(broker: Broker, sent: Any) -> None:
    body = await refused(broker, broker.client.post(WEBHOOKS, json=sent), 400)
    assert body["message"] == "Validation failed"
    assert [one["field"] for one in body["validationErrors"]] == ["webhookUrl"]


async def test_it_takes_loopback_only_where_it_is_told_to(database: TestDatabase) -> None:
    app = build_app(make_settings(database.app_dsn), Pool(database.app_dsn))
    async with app.lifespan():
        broker = await make_broker(app)
        asked = broker.client.post(WEBHOOKS, json={"webhookUrl": "http://127.0.0.1:8000/"})
        await refused(broker, asked, 400)
        await broker.client.aclose()


# -- reading, regenerating, deleting ----------------------------------------------------------


async def test_it_shows_the_webhook_but_for_the_secret(broker: Broker) -> None:
    made = await save(broker, URL)
    body = accepted(await broker.client.get(WEBHOOKS))
    assert body["message"] == ""
    shown = body["data"]
    assert MASKED.fullmatch(shown["secretKey"])
    assert {**shown, "secretKey": made["secretKey"]} == made


async def test_it_regenerates_the_secret_and_tells_it_once(broker: Broker) -> None:
    made = await save(broker, URL)
    body = accepted(await broker.client.post(f"{WEBHOOKS}/regenerate-secret"))
    assert body["message"] == "Webhook secret regenerated successfully."
    assert list(body["data"]) == ["secretKey"]
    secret = body["data"]["secretKey"]
    assert SECRET.fullmatch(secret)
    assert secret != made["secretKey"]
    shown = accepted(await broker.client.get(WEBHOOKS))["data"]
    assert shown["secretKey"][-4:] == secret[-4:]
    assert shown["id"] == made["id"]
    (row,) = await stored(broker)
    open_ = broker.app.state.sealer.open
    assert open_(row["secret"], f"webhook:{made['id']}").decode() == secret
    assert open_(row["old_secret"], f"webhook:{made['id']}").decode() == made["secretKey"]


async def test_it_regenerates_once_per_key(broker: Broker) -> None:
    await save(broker, URL)
    key = {"Idempotency-Key": "again"}
    answers = await asyncio.gather(
        *(broker.client.post(f"{WEBHOOKS}/regenerate-secret", headers=key) for _ in range(5))
    )
    assert len({answer.content for answer in answers}) == 1
    accepted(answers[0])


async def test_it_deletes_the_webhook(broker: Broker) -> None:
    made = await save(broker, URL)
    body = accepted(await broker.client.delete(WEBHOOKS))
    assert (body["data"], body["message"]) == (True, "Webhook deleted successfully.")
    await refused(broker, broker.client.get(WEBHOOKS), 404)
    other = await save(broker, URL)
    assert other["id"] != made["id"]
    assert SECRET.fullmatch(other["secretKey"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("POST", "/regenerate-secret"),
        ("POST", "/deliveries/0190a8c0-7e4c-7000-8000-000000000001/replay"),
    ],
)
async def test_it_does_not_know_a_webhook_that_is_not_there(
    broker: Broker, rival: Broker, method: str, path: str
) -> None:
    await save(rival, URL)
    body = await refused(broker, broker.client.request(method, WEBHOOKS + path), 404)
    assert body["message"] == "Webhook not found"


async def test_it_is_for_partners_only(broker: Broker, api: Caller) -> None:
    for path in ("", "/logs", "/deliveries"):
        await refused(broker, api.get(WEBHOOKS + path), 401)


# -- testing ----------------------------------------------------------------------------------


async def test_it_sends_a_test(broker: Broker) -> None:
    async with hooked(broker, answering(204)) as hook:
        body = accepted(await broker.client.post(f"{WEBHOOKS}/test"))
        assert body["message"] == "Test webhook sent."
        assert body["data"]["message"] == "Test webhook has been queued for delivery"
        await hook.deliver()
        (request,) = hook.heard
        assert request.headers["x-wepay-event"] == "webhook.test"
        assert request.headers["x-wepay-webhook-id"] == body["data"]["webhookId"]
        sent = json.loads(request.body)
        assert (sent["id"], sent["event"]) == (body["data"]["webhookId"], "webhook.test")
        (entry,) = await hook.logs()
        assert (entry["eventType"], entry["isSuccess"], entry["attemptNumber"]) == (
            "webhook.test",
            True,
            1,
        )
        assert entry["externalContractId"] is entry["contractId"] is None
        assert (await hook.shown())["lastSuccessAt"] is not None


async def test_it_tests_no_webhook_that_is_disabled(broker: Broker) -> None:
    await save(broker, URL)
    await execute(broker, DISABLE)
    body = await refused(broker, broker.client.post(f"{WEBHOOKS}/test"), 400)
    assert body["message"].startswith("The webhook is disabled.")


async def test_it_tells_no_log_a_secret(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0):
        async with hooked(broker, answering(500)) as hook:
            await hook.test()
            await hook.deliver()
    assert hook.secret not in caplog.text
    assert hook.secret[6:] not in caplog.text


# -- logs -------------------------------------------------------------------------------------


async def test_it_pages_through_the_log_newest_first(broker: Broker, rival: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        ids = [await hook.test() for _ in range(5)]
        await hook.deliver()
        pages = []
        for page in (1, 2, 3):
            query = {"page": page, "pageSize": 2}
            body = accepted(await broker.client.get(f"{WEBHOOKS}/logs", params=query))
            assert body["message"] == ""
            assert list(body["data"]) == ["logs", "totalCount", "page", "pageSize"]
            assert (body["data"]["totalCount"], body["data"]["page"]) == (5, page)
            pages.append([one["webhookId"] for one in body["data"]["logs"]])
        assert [len(page) for page in pages] == [2, 2, 1]
        assert sorted(one for page in pages for one in page) == sorted(ids)
        whole = accepted(await broker.client.get(f"{WEBHOOKS}/logs"))["data"]
        assert whole["pageSize"] == 20
        times = [one["createdAt"] for one in whole["logs"]]
        assert times == sorted(times, reverse=True)
    theirs = accepted(await rival.client.get(f"{WEBHOOKS}/logs"))["data"]
    assert (theirs["logs"], theirs["totalCount"]) == ([], 0)


@pytest.mark.parametrize("path", ["/logs", "/deliveries"])
@pytest.mark.parametrize(
    ("query", "field"),
    [("page=0", "page"), ("page=1e3", "page"), ("pageSize=-1", "pageSize"), ("page=x", "page")],
)
async def test_it_refuses_pages_that_are_none(
    broker: Broker, path: str, query: str, field: str
) -> None:
    body = await refused(broker, broker.client.get(f"{WEBHOOKS}{path}?{query}"), 400)
    assert [one["field"] for one in body["validationErrors"]] == [field]


async def test_it_gives_a_hundred_entries_at_most(broker: Broker) -> None:
    body = accepted(await broker.client.get(f"{WEBHOOKS}/logs?pageSize=5000"))
    assert body["data"]["pageSize"] == 100
