"""The guide's receivers, typed anew in Python and in Node, believe what we send.

The one in Python signs the bytes that came; the one in Node signs what JSON.stringify makes of what
it parsed, as the guide's own sample does (partner spec 6.3).
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import shutil
from collections.abc import AsyncIterator

import pytest

from conftest import TestDatabase
from earnest.settings import Settings
from hooked import WEBHOOKS, Hook, hooked, save, webhook_settings
from life import accepted
from partners import Broker
from receiver import Receiver, Request, answering

NODE = shutil.which("node")
IN_NODE = """
const crypto = require('crypto')
const http = require('http')
const secret = process.argv[1]
http.createServer((req, res) => {
  const parts = []
  req.on('data', part => parts.push(part))
  req.on('end', () => {
    const body = JSON.parse(Buffer.concat(parts))
    const signed = crypto.createHmac('sha256', secret).update(JSON.stringify(body)).digest('hex')
    const expected = Buffer.from('sha256=' + signed)
    const given = Buffer.from(req.headers['x-wepay-signature'])
    const right = given.length === expected.length && crypto.timingSafeEqual(given, expected)
    res.writeHead(right ? 200 : 401).end()
  })
}).listen(Number(process.argv[2]), '127.0.0.1', function () { console.log(this.address().port) })
"""
TEXTS = {
    "metadata1": "عقد تصميم الشعار",
    "metadata2": "</script>\"'\\ & é e\u0301 😀",
    "metadata3": "\u2028\u2029\u00a0",
    "metadata4": "",
}
AMOUNTS = (1000, 600.0, 686.25, 457.50, 1.01, 999999.99, 100000)


@pytest.fixture
def settings(database: TestDatabase) -> Settings:
    return webhook_settings(database)


async def tell_something(hook: Hook) -> int:
    """Contracts of all amounts, with texts in Arabic, two events each, and a test."""
    for amount in AMOUNTS:
        number = await hook.contract(
            amount=amount, reference="طلب-88", title="شعار", metaData=TEXTS, description="—"
        )
        await hook.approve(number)
    await hook.test()
    return 2 * len(AMOUNTS) + 1


def believes(secret: str, request: Request) -> bool:
    """The guide's receiver in Python."""
    given = request.headers["x-wepay-signature"]
    expected = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given, expected)


def believes_by_the_standard(secret: str, request: Request) -> bool:
    """A receiver that follows Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    head = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
    signed = hmac.new(key, head.encode() + request.body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(signed).decode()
    given = request.headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(one, expected) for one in given)


async def test_the_receiver_in_python_believes_every_webhook(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        count = await tell_something(hook)
        await hook.deliver()
        assert len(hook.heard) == count
        assert all(believes(hook.secret, request) for request in hook.heard)
        assert all(believes_by_the_standard(hook.secret, request) for request in hook.heard)
        shown = [json.loads(request.body)["data"] for request in hook.heard]
        assert {one["metadata"]["metadata1"] for one in shown if "metadata" in one} == {
            TEXTS["metadata1"]
        }
        assert sorted({one["amount"] for one in shown if "amount" in one}) == sorted(AMOUNTS)


async def test_no_receiver_believes_what_was_changed(broker: Broker) -> None:
    async with hooked(broker, answering(200)) as hook:
        await hook.contract()
        await hook.deliver()
        (request,) = hook.heard
        forged = Request(request.line, request.headers, request.body.replace(b"1000", b"9000"))
        assert forged.body != request.body
        later = Request(request.line, {**request.headers, "webhook-timestamp": "1"}, request.body)
        other = "whsec_" + "A" * 48
        assert not believes(hook.secret, forged)
        assert not believes_by_the_standard(hook.secret, forged)
        assert not believes_by_the_standard(hook.secret, later)
        assert not believes(other, request)
        assert not believes_by_the_standard(other, request)


@contextlib.asynccontextmanager
async def node_receiver(secret: str, port: int) -> AsyncIterator[int]:
    """The guide's receiver in Node; its port."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, "-e", IN_NODE, secret, str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
async def test_the_receiver_in_node_believes_every_webhook(
    broker: Broker, settings: Settings
) -> None:
    made = await save(broker, "http://127.0.0.1:1/")
    async with node_receiver(made["secretKey"], 0) as port:
        await save(broker, f"http://127.0.0.1:{port}/")
        hook = Hook(broker, Receiver(port), made["secretKey"], made["id"], settings)
        count = await tell_something(hook)
        await hook.deliver()
        attempts = await hook.attempts()
        assert [one["http_status"] for one in attempts] == [200] * count


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
async def test_the_receiver_in_node_believes_no_other_secret(
    broker: Broker, settings: Settings
) -> None:
    made = await save(broker, "http://127.0.0.1:1/")
    async with node_receiver(made["secretKey"], 0) as port:
        await save(broker, f"http://127.0.0.1:{port}/")
        hook = Hook(broker, Receiver(port), made["secretKey"], made["id"], settings)
        accepted(await broker.client.post(f"{WEBHOOKS}/regenerate-secret"))
        await hook.test()
        await hook.deliver()
        assert [one["http_status"] for one in await hook.attempts()] == [401]
