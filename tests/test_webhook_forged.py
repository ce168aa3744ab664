"""POST /webhook: signatures that do not verify and bodies that are no event.

Rows 79 to 86 of spec/abuse-cases.md. What genuine events do stands in test_webhook.py.
"""

import hmac
import io
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from checkout_event import CheckoutEvent, opened, tell
from digest import digest
from earnest.hooks import payments
from earnest.hooks.payments import EVENT_BYTES_MAX
from earnest.providers import signature
from life import post_event
from test_envelope import lines, written
from web import Cast, problem

__all__ = ["written"]

OTHER_SECRET = "whsec_live_0123456789abcdef"


def secret_of(cast: Cast) -> str:
    secret: str = cast.app.state.webhook_secrets[0]
    return secret


async def post(cast: Cast, body: bytes, *headers: tuple[bytes, bytes]) -> httpx.Response:
    return await cast.anybody.post("/webhook", content=body, headers=list(headers))


async def post_signed(cast: Cast, body: bytes, header: str | bytes) -> httpx.Response:
    raw = header if isinstance(header, bytes) else header.encode()
    return await post(cast, body, (b"Stripe-Signature", raw))


def digest_of(cast: Cast, body: bytes, at: str) -> str:
    """The hex digits that sign `body` at the written time `at`, whatever that says."""
    return hmac.digest(secret_of(cast).encode(), at.encode() + b"." + body, "sha256").hex()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_it_reads_the_body_whatever_it_is_called(cast: Cast, content_type: str) -> None:
    life, event = await opened(cast)
    header = signature.sign(event.body, secret_of(cast), int(time.time()))
    headers = {"Stripe-Signature": header, "Content-Type": content_type}
    answer = await cast.anybody.post("/webhook", content=event.body, headers=headers)
    assert answer.status_code == 200
    assert (await life.proof())["held"] == 12000


# -- signatures -------------------------------------------------------------------------------

Forge = Callable[[Cast, bytes], str | bytes]
NOW = int(time.time())


def at(offset_seconds: int) -> Forge:
    return lambda cast, body: signature.sign(
        body, secret_of(cast), int(time.time()) + offset_seconds
    )


def composed(pattern: str) -> Forge:
    """`pattern` with {t} for now and {v} for what signs exactly this spelling of the time."""

    def forge(cast: Cast, body: bytes) -> str:
        now = str(int(time.time()))
        return pattern.replace("{v}", digest_of(cast, body, now)).replace("{t}", now)

    return forge


def spelled(spell: Callable[[str], str]) -> Forge:
    """A time in another spelling, genuinely signed as it is spelled."""

    def forge(cast: Cast, body: bytes) -> bytes:
        now = spell(str(int(time.time())))
        return f"t={now},v1={digest_of(cast, body, now)}".encode()

    return forge


FORGED: dict[str, Forge] = {
    "empty": lambda *_: "",
    "garbage": lambda *_: "garbage",
    "only commas": lambda *_: ",,,,",
    "only v0": composed("t={t},v0={v}"),
    "no v1": composed("t={t}"),
    "empty v1": composed("t={t},v1="),
    "half of v1": lambda cast, body: at(0)(cast, body)[:-1],
    "upper case v1": lambda cast, body: str(at(0)(cast, body)).replace("t=", "T="),
    "wrong secret": lambda _, body: signature.sign(body, OTHER_SECRET, int(time.time())),
    "empty secret": lambda _, body: signature.sign(body, "", int(time.time())),
    "another body": lambda cast, body: signature.sign(
        body.replace(b"1200000", b"1"), secret_of(cast), int(time.time())
    ),
    "301 s old": at(-302),
    "301 s ahead": at(302),
    "10 years ahead": at(10 * 365 * 24 * 3600),
    "10 years old": at(-10 * 365 * 24 * 3600),
    "time 0": lambda cast, body: signature.sign(body, secret_of(cast), 0),
    "no t": composed("v1={v}"),
    "empty t": composed("t=,v1={v}"),
    "t twice": composed("t={t},t={t},v1={v}"),
    "t twice, other first": composed("t=1,t={t},v1={v}"),
    "signed for another time": composed("t=1{t},v1={v}"),
    "Arabic digits": spelled(lambda t: t.translate({48 + n: 0x660 + n for n in range(10)})),
    "spaces in t": spelled(lambda t: f" {t}"),
    "a plus in t": spelled(lambda t: f"+{t}"),
    "an underscore in t": spelled(lambda t: f"{t[:4]}_{t[4:]}"),
    "zeros before t": spelled(lambda t: f"0{t}"),
    "t with a fraction": spelled(lambda t: f"{t}.0"),
    "non-ASCII": lambda cast, body: "t={},v1=ÿ{}".format(NOW, "0" * 63).encode("latin-1"),
    "non-ASCII beside a good one": lambda cast, body: f"{at(0)(cast, body)!s},v1=é".encode(),
    "a newline": lambda cast, body: f"{at(0)(cast, body)!s}\n".encode(),
    "very long": lambda cast, body: "v1=00," * 2000 + str(at(0)(cast, body)),
}


@pytest.mark.abuse(79, 80, 82, 85)
async def test_it_refuses_every_forged_signature(cast: Cast) -> None:
    life, event = await opened(cast)
    before = await digest(cast.app.state.pool)
    taken = {}
    for how, forge in FORGED.items():
        answer = await post_signed(cast, event.body, forge(cast, event.body))
        if answer.status_code != 400 or problem(answer, 400)["code"] != "invalid_signature":
            taken[how] = answer.text
        assert secret_of(cast) not in answer.text
    assert taken == {}
    assert await digest(cast.app.state.pool) == before
    await tell(cast, event)
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(79)
async def test_it_refuses_an_event_without_a_signature_or_with_two_headers(cast: Cast) -> None:
    _, event = await opened(cast)
    before = await digest(cast.app.state.pool)
    problem(await post(cast, event.body), 400)
    good = at(0)(cast, event.body)
    raw = good if isinstance(good, bytes) else good.encode()
    headers = ((b"Stripe-Signature", raw), (b"stripe-signature", b"t=1,v1=00"))
    problem(await post(cast, event.body, *headers), 400)
    problem(await post(cast, event.body, *reversed(headers)), 400)
    assert await digest(cast.app.state.pool) == before


async def test_it_refuses_a_body_that_was_touched(cast: Cast) -> None:
    _, event = await opened(cast)
    header = at(0)(cast, event.body)
    before = await digest(cast.app.state.pool)
    for touched in (
        event.body + b" ",
        event.body[:-1],
        b"",
        event.body.replace(b"1200000", b"1200001"),
        event.body.replace(b"inr", b"INR"),
    ):
        problem(await post_signed(cast, touched, header), 400)
    assert await digest(cast.app.state.pool) == before


@pytest.mark.abuse(83)
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(at(-298), id="298 s old"),
        pytest.param(at(298), id="298 s ahead"),
        pytest.param(composed("t={t},v1=%s,v1={v}" % ("0" * 64)), id="second of two v1"),
        pytest.param(composed("v0=x,v1={v},t={t},v2="), id="among others"),
    ],
)
async def test_it_takes_a_good_signature(cast: Cast, forge: Forge) -> None:
    life, event = await opened(cast)
    answer = await post_signed(cast, event.body, forge(cast, event.body))
    assert answer.status_code == 200
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(83)
async def test_it_takes_either_secret_while_one_replaces_the_other(cast: Cast) -> None:
    life, event = await opened(cast)
    cast.app.state.webhook_secrets = (OTHER_SECRET, secret_of(cast))
    header = signature.sign(event.body, secret_of(cast), int(time.time()))
    assert (await post_signed(cast, event.body, header)).status_code == 200
    old = signature.sign(event.body, cast.app.state.webhook_secrets[1], int(time.time()))
    assert (await post_signed(cast, event.body, old)).status_code == 200
    assert (await life.proof())["held"] == 12000


# -- bodies that are signed and still no event ------------------------------------------------


def changed(event: CheckoutEvent, where: str, value: Any) -> bytes:
    """The event's body with another value (... removes it) at a dotted path."""
    whole = json.loads(event.body)
    *path, last = where.split(".")
    inner = whole
    for name in path:
        inner = inner[name]
    inner.pop(last) if value is ... else inner.update({last: value})
    return json.dumps(whole).encode()


NO_EVENTS: dict[str, Callable[[CheckoutEvent], bytes]] = {
    "not UTF-8": lambda e: e.body.replace(b"inr", b"\xff\xfe"),
    "overlong UTF-8": lambda e: e.body.replace(b"inr", b"\xc0\xaf"),
    "a byte order mark": lambda e: b"\xef\xbb\xbf" + e.body,
    "UTF-16": lambda e: e.body.decode().encode("utf-16"),
    "a list": lambda e: b"[]",
    "a list of one": lambda e: b"[" + e.body + b"]",
    "null": lambda e: b"null",
    "empty": lambda e: b"",
    "two objects": lambda e: e.body + e.body,
    "trailing garbage": lambda e: e.body + b"x",
    "no object": lambda e: changed(e, "object", ...),
    "another object": lambda e: changed(e, "object", "charge"),
    "no data": lambda e: changed(e, "data", ...),
    "data that is null": lambda e: changed(e, "data", None),
    "no session": lambda e: changed(e, "data.object", ...),
    "a session that is a list": lambda e: changed(e, "data.object", []),
    "another kind of session": lambda e: changed(e, "data.object.object", "charge"),
    "no id": lambda e: changed(e, "id", ...),
    "an id that is a number": lambda e: changed(e, "id", 7),
    "an id with NUL": lambda e: changed(e, "id", "evt\0"),
    "no type": lambda e: changed(e, "type", ...),
    "no session id": lambda e: changed(e, "data.object.id", ...),
    "NaN": lambda e: e.body.replace(b"1200000", b"NaN"),
    "Infinity": lambda e: e.body.replace(b"1200000", b"Infinity"),
    "an amount that is text": lambda e: changed(e, "data.object.amount_total", "1200000"),
    "an amount that is true": lambda e: changed(e, "data.object.amount_total", True),
    "an amount with a fraction": lambda e: e.body.replace(b"1200000", b"1200000.0"),
    "an amount with an exponent": lambda e: e.body.replace(b"1200000", b"12e5"),
    "a negative amount": lambda e: changed(e, "data.object.amount_total", -1200000),
    "an amount beyond all amounts": lambda e: changed(e, "data.object.amount_total", 10**30),
    "an amount of 5,000 digits": lambda e: e.body.replace(b"1200000", b"9" * 5000),
    "no amount": lambda e: changed(e, "data.object.amount_total", ...),
    "no currency": lambda e: changed(e, "data.object.currency", ...),
    "a currency of four letters": lambda e: changed(e, "data.object.currency", "inrx"),
    "no payment status": lambda e: changed(e, "data.object.payment_status", ...),
    "livemode that is text": lambda e: changed(e, "livemode", "false"),
    "metadata that is a list": lambda e: changed(e, "data.object.metadata", []),
    "metadata that is nested": lambda e: changed(e, "data.object.metadata.jobId", {"$ne": ""}),
    "metadata with NUL": lambda e: changed(e, "data.object.metadata.jobId", "\0"),
    "a key twice": lambda e: e.body.replace(
        b'"amount_total":1200000', b'"amount_total":1200000,"amount_total":1200000'
    ),
    "a key twice, escaped": lambda e: e.body.replace(
        b'"amount_total":1200000', b'"amount_total":1,"\\u0061mount_total":1200000'
    ),
    "a depth of 10,000": lambda e: b'{"object":"event","data":' + b"[" * 10_000,
    "a closed depth of 10,000": lambda e: (
        e.body[:-1] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    ),
}


@pytest.mark.abuse(86)
async def test_it_refuses_every_signed_body_that_is_no_event(cast: Cast) -> None:
    life, event = await opened(cast)
    before = await digest(cast.app.state.pool)
    taken = {}
    for what, spoil in NO_EVENTS.items():
        body = spoil(event)
        assert body != event.body, what
        answer = await post_event(cast, body)
        if answer.status_code != 400 or problem(answer, 400)["code"] != "malformed_body":
            taken[what] = answer.text
    assert taken == {}
    assert await digest(cast.app.state.pool) == before
    await tell(cast, event)
    assert (await life.proof())["held"] == 12000


@pytest.mark.abuse(79, 80, 86)
async def test_it_warns_of_each_event_that_it_refuses_and_repeats_nothing_of_it(
    cast: Cast, written: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "_refusals", payments._Refusals())
    _, event = await opened(cast)
    forged = signature.sign(event.body, OTHER_SECRET, int(time.time()))
    problem(await post_signed(cast, event.body, forged), 400)
    problem(await post(cast, event.body), 400)
    twice = event.body[:-1] + b',"canary":1,"canary":2}'
    for body in (b"[]", b"\xff\xfe", changed(event, "object", "canary"), twice):
        problem(await post_event(cast, body), 400)
    warnings = [line for line in lines(written) if line["level"] == "warning"]
    reasons = [line["reason"] for line in warnings if line["event"] == "payment event refused"]
    assert reasons == ["invalid_signature"] * 2 + ["malformed_body"] * 4
    logged = written.getvalue()
    for secret in (secret_of(cast), OTHER_SECRET, forged, event.session, "canary", "v1="):
        assert secret.encode() not in logged
    counted = await cast.anybody.get("/metrics")
    route = 'method="POST",route="/webhook",status="400"'
    assert f"earnest_http_requests_total{{{route}}} 6.0" in counted.text


async def test_it_warns_of_thousands_a_few_times_and_says_how_many_there_were(
    cast: Cast, written: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "_refusals", payments._Refusals())
    seconds = iter([7.1] * 60 + [8.2])
    monkeypatch.setattr("earnest.hooks.payments.time.monotonic", lambda: next(seconds, 8.3))
    for _ in range(61):
        problem(await post(cast, b"{}"), 400)
    told = [one for one in lines(written) if one["event"] == "payment event refused"]
    assert len(told) == payments.WARNINGS_A_SECOND + 1
    assert told[-1]["count"] == 60 - payments.WARNINGS_A_SECOND
    assert all("count" not in one for one in told[:-1])


async def test_it_takes_256_kib_and_not_one_byte_more(cast: Cast) -> None:
    life, event = await opened(cast)
    room = EVENT_BYTES_MAX - len(changed(event, "more", ""))
    before = await digest(cast.app.state.pool)
    too_large = changed(event, "more", "x" * (room + 1))
    assert len(too_large) == 256 * 1024 + 1
    problem(await post_event(cast, too_large), 413)
    assert await digest(cast.app.state.pool) == before
    assert (await post_event(cast, changed(event, "more", "x" * room))).status_code == 200
    assert (await life.proof())["held"] == 12000
