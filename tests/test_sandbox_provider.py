"""The sandbox provider plays an outside payment company: real database, real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State

from earnest.errors import Conflict, InvalidField, NotFound, ProviderPermanent, Refused
from earnest.providers import signature
from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutState,
    EventKind,
    Provider,
    ProviderEvent,
    parse_event,
)
from earnest.providers.sandbox import SandboxProvider
from earnest.providers.sandbox_rules import (
    RETRY_FOR_SECONDS,
    next_attempt_at,
    origin,
    refuse_unusable,
)
from earnest.store.db import Pool
from earnest.web.problems import HANDLERS
from earnest.web.sandbox_pages import CARDS, passes_luhn, read_card, sandbox_router, static_router

SECRET = "whsec_sandbox"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UNKNOWN = "cs_test_" + "x" * 43
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self' https://shop.example; base-uri 'none'; frame-ancestors 'none'"
)


class Clock:
    """Business time: stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    async def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Town:
    """A running server with the provider's pages and, beside them, the shop's webhook."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = Clock()
        self.received: list[tuple[str, bytes]] = []
        self.webhook_status = 200
        self.webhook_delay_seconds = 0.0
        self.url = ""
        self.provider = SandboxProvider(
            pool, SECRET, "http://127.0.0.1:9/", "http://127.0.0.1:9", self.clock
        )
        self.http = httpx.AsyncClient(trust_env=False)

    def open_provider(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.provider = self.another_provider()
        self.http = httpx.AsyncClient(base_url=self.url, trust_env=False)

    def another_provider(self) -> SandboxProvider:
        """Another provider that shares nothing with the first but the database."""
        return SandboxProvider(self.pool, SECRET, f"{self.url}/webhook", f"{self.url}/", self.clock)

    def events(self, session: CheckoutSession) -> list[ProviderEvent]:
        """What the shop was told about `session`, every signature checked."""
        events = []
        for header, body in self.received:
            signature.verify(body, header, (SECRET,), int(time.time()), tolerance_seconds=5)
            event = parse_event(body)
            if event.session_id == session.id:
                events.append(event)
        return events

    def bodies(self, session: CheckoutSession) -> list[bytes]:
        return [body for _, body in self.received if session.id.encode() in body]

    async def outbox(self, session: CheckoutSession) -> list[dict[str, Any]]:
        async with self.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT type, attempts, next_attempt_at, delivered_at, last_answer"
                " FROM sandbox.outbox WHERE session_id = $1 ORDER BY position",
                session.id,
            )
        return [dict(row) for row in rows]

    async def deliver_everything(self) -> None:
        while await self.provider.deliver_due():
            pass


@pytest.fixture
async def town(pool: Pool) -> AsyncIterator[Town]:
    town = Town(pool)

    @post("/webhook", status_code=200)
    async def webhook(request: Request[object, object, State]) -> Response[None]:
        await asyncio.sleep(town.webhook_delay_seconds)
        town.received.append((request.headers["Stripe-Signature"], await request.body()))
        return Response(None, status_code=town.webhook_status)

    app = Litestar(
        [webhook, sandbox_router(), static_router()],
        exception_handlers=HANDLERS,
        openapi_config=None,
    )
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", lifespan="off", access_log=False)
    )
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    town.open_provider(server.servers[0].sockets[0].getsockname()[1])
    app.state.provider = town.provider
    yield town
    await town.http.aclose()
    await town.provider.close()
    server.should_exit = True
    await running


def a_request(**changes: Any) -> CheckoutRequest:
    request = CheckoutRequest(
        idempotency_key=f"payment-{time.monotonic_ns()}",
        amount_minor=1_200_000,
        currency="INR",
        title="Logo & <brand> book",
        metadata={"jobId": "66aa00000000000000000a01", "note": "₹"},
        success_url="https://shop.example/paid?session={CHECKOUT_SESSION_ID}",
        cancel_url="https://shop.example/jobs?cancelled=true",
        expires_in_seconds=3600,
    )
    return msgspec.structs.replace(request, **changes)


async def open_session(town: Town, **changes: Any) -> CheckoutSession:
    return await town.provider.create_checkout(a_request(**changes))


# -- sessions -------------------------------------------------------------------------------


async def test_opens_a_session_that_can_be_looked_up(town: Town) -> None:
    provider: Provider = town.provider
    session = await provider.create_checkout(a_request())
    assert session.url == f"{town.url}/sandbox/pay/{session.id}"
    assert session.expires_at == NOON + timedelta(hours=1)
    found = await provider.find_checkout(session.id)
    assert found is not None
    assert found.session == session
    assert (found.state, found.amount_minor, found.currency, found.payment_id) == (
        CheckoutState.OPEN,
        1_200_000,
        "INR",
        None,
    )
    assert found.metadata == {"jobId": "66aa00000000000000000a01", "note": "₹"}


async def test_answers_the_same_key_with_the_same_session(town: Town) -> None:
    request = a_request()
    first = await town.provider.create_checkout(request)
    town.clock.advance(7200)
    again = msgspec.structs.replace(request, metadata=dict(reversed(request.metadata.items())))
    assert await town.another_provider().create_checkout(again) == first


async def test_opens_one_session_when_sixteen_ask_at_once(town: Town) -> None:
    request = a_request()
    sessions = await asyncio.gather(*(town.provider.create_checkout(request) for _ in range(16)))
    assert len({session.id for session in sessions}) == 1


OTHER_REQUESTS: list[dict[str, Any]] = [
    {"amount_minor": 1},
    {"currency": "SAR"},
    {"title": "Another"},
    {"metadata": {}},
    {"success_url": "https://shop.example/"},
    {"cancel_url": "https://shop.example/"},
    {"expires_in_seconds": 1801},
]


async def test_refuses_the_same_key_for_another_request(town: Town) -> None:
    for changes in OTHER_REQUESTS:
        request = a_request()
        await town.provider.create_checkout(request)
        with pytest.raises(ProviderPermanent):
            await town.provider.create_checkout(msgspec.structs.replace(request, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 2**53 + 1},
        {"currency": "inr"},
        {"currency": "ZZZ"},
        {"title": " "},
        {"title": "a\0b"},
        {"title": "\ud800"},
        {"idempotency_key": "k" * 256},
        {"metadata": {"k" * 41: "v"}},
        {"metadata": {"k": "v" * 501}},
        {"metadata": {f"k{n}": "v" for n in range(51)}},
        {"success_url": "javascript:alert(1)"},
        {"success_url": "/paid"},
        {"success_url": "https://shop.example/\r\nSet-Cookie: a=b"},
        {"cancel_url": "https://alice@shop.example/"},
        {"cancel_url": "https:///x"},
        {"cancel_url": "https://shop.example:port/"},
        {"cancel_url": "https://shop.example;script-src/"},
        {"expires_in_seconds": 1799},
        {"expires_in_seconds": 86_401},
    ],
)
def test_refuses_what_the_real_provider_would_refuse(changes: dict[str, Any]) -> None:
    refuse_unusable(a_request())
    with pytest.raises(ProviderPermanent):
        refuse_unusable(a_request(**changes))


async def test_opens_nothing_for_a_refused_request(town: Town) -> None:
    with pytest.raises(ProviderPermanent):
        await open_session(town, idempotency_key="payment-7", amount_minor=0)
    async with town.pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM sandbox.session") == 0
    await open_session(town, idempotency_key="payment-7")


NO_SESSIONS = [UNKNOWN, "", "cs_test_", "x" * 5000, "cs_test_\0", "é"]


async def test_knows_no_session_that_it_did_not_open(town: Town) -> None:
    for session_id in NO_SESSIONS:
        assert await town.provider.find_checkout(session_id) is None
        with pytest.raises(ProviderPermanent):
            await town.provider.expire_checkout(session_id)
        with pytest.raises(NotFound):
            await town.provider.complete(session_id, "paid")


async def test_expires_a_session_once_and_says_so_later(town: Town) -> None:
    session = await open_session(town)
    await town.provider.expire_checkout(session.id)
    await town.provider.expire_checkout(session.id)
    assert town.events(session) == []
    await town.deliver_everything()
    assert [event.kind for event in town.events(session)] == [EventKind.CHECKOUT_EXPIRED]
    with pytest.raises(Conflict):
        await town.provider.complete(session.id, "paid")


async def test_cannot_expire_a_paid_session(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "paid")
    with pytest.raises(ProviderPermanent):
        await town.provider.expire_checkout(session.id)


async def test_expires_what_is_past_its_time_and_nothing_else(town: Town) -> None:
    short = await open_session(town, expires_in_seconds=1800)
    long = await open_session(town)
    town.clock.advance(1799)
    await town.provider.expire_due()
    assert await town.outbox(short) == []
    town.clock.advance(1)
    with pytest.raises(Refused):
        await town.provider.complete(short.id, "paid")
    found = await town.provider.find_checkout(short.id)
    assert found is not None
    assert found.state is CheckoutState.EXPIRED
    # Two workers at once tell it once.
    await asyncio.gather(town.provider.expire_due(), town.another_provider().expire_due())
    assert [row["type"] for row in await town.outbox(short)] == ["checkout.session.expired"]
    assert await town.outbox(long) == []


# -- outcomes -------------------------------------------------------------------------------


async def test_tells_the_shop_that_it_was_paid(town: Town) -> None:
    session = await open_session(town)
    completion = await town.provider.complete(session.id, "paid")
    assert (completion.id, completion.outcome, completion.delivered) == (session.id, "paid", True)
    (event,) = town.events(session)
    found = await town.provider.find_checkout(session.id)
    assert found is not None
    assert found.state is CheckoutState.PAID
    assert event.id.startswith("evt_test_")
    assert event.payment_id == found.payment_id
    assert event.payment_id is not None
    assert event.payment_id.startswith("pi_test_")
    assert msgspec.structs.replace(event, id="", payment_id=None) == ProviderEvent(
        id="",
        type="checkout.session.completed",
        kind=EventKind.CHECKOUT_PAID,
        created_at=NOON,
        livemode=False,
        account=None,
        session_id=session.id,
        session_livemode=False,
        amount_minor=1_200_000,
        currency="INR",
        paid=True,
        metadata={"jobId": "66aa00000000000000000a01", "note": "₹"},
    )


@pytest.mark.parametrize(
    ("outcomes", "kinds"),
    [
        (["paid"], ["checkout_paid"]),
        (["failed"], ["checkout_failed"]),
        (["expired"], ["checkout_expired"]),
        (["unpaid"], ["checkout_unpaid"]),
        (["unpaid", "paid"], ["checkout_unpaid", "checkout_paid"]),
        (["unpaid", "failed"], ["checkout_unpaid", "checkout_failed"]),
    ],
)
async def test_sends_one_event_per_step_however_often_it_is_asked(
    town: Town, outcomes: list[str], kinds: list[str]
) -> None:
    session = await open_session(town)
    for outcome in outcomes:
        for _ in range(2):
            assert (await town.provider.complete(session.id, outcome)).delivered
    events = town.events(session)
    assert [event.kind for event in events] == kinds
    assert len({event.id for event in events}) == len(events)
    assert len({event.payment_id for event in events}) == 1


SECOND_OUTCOMES = [
    ("paid", "failed"),
    ("paid", "expired"),
    ("paid", "unpaid"),
    ("failed", "paid"),
    ("failed", "unpaid"),
    ("failed", "expired"),
    ("expired", "paid"),
    ("expired", "failed"),
    ("expired", "unpaid"),
    ("unpaid", "expired"),
]


async def test_refuses_another_outcome_afterwards(town: Town) -> None:
    for first, second in SECOND_OUTCOMES:
        session = await open_session(town)
        await town.provider.complete(session.id, first)
        with pytest.raises(Conflict):
            await town.provider.complete(session.id, second)
        assert len(town.events(session)) == 1


async def test_lets_a_slow_bank_pay_after_the_page_has_expired(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "unpaid")
    town.clock.advance(7200)
    await town.provider.expire_due()
    await town.provider.complete(session.id, "paid")
    assert [event.paid for event in town.events(session)] == [False, True]


async def test_pays_once_when_sixteen_pay_at_once(town: Town) -> None:
    session = await open_session(town)
    await asyncio.gather(*(town.provider.complete(session.id, "paid") for _ in range(16)))
    assert len(town.bodies(session)) == 1


async def test_ends_in_one_way_when_two_outcomes_race(town: Town) -> None:
    for _ in range(8):
        session = await open_session(town)
        results = await asyncio.gather(
            *(town.provider.complete(session.id, word) for word in ("paid", "expired", "failed")),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Conflict) for result in results) == 2
        assert len(town.bodies(session)) == 1


async def test_refuses_an_outcome_that_is_none(town: Town) -> None:
    session = await open_session(town)
    with pytest.raises(InvalidField, match="outcome"):
        await town.provider.complete(session.id, "refunded")


# -- deliveries -----------------------------------------------------------------------------


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


# -- the payer as one call ------------------------------------------------------------------


async def test_acts_as_the_payer_over_http(town: Town) -> None:
    session = await open_session(town)
    for _ in range(2):
        answer = await town.http.post(
            f"/sandbox/checkout/{session.id}/complete", json={"outcome": "paid"}
        )
        assert answer.status_code == 200
        assert answer.json() == {"id": session.id, "outcome": "paid", "delivered": True}
    assert len(town.bodies(session)) == 1
    answer = await town.http.post(
        f"/sandbox/checkout/{session.id}/complete", json={"outcome": "failed"}
    )
    assert answer.status_code == 409
    assert answer.json()["message"] == "This checkout session is paid: it cannot become failed."


BAD_OUTCOMES: list[tuple[bytes, str | None]] = [
    (b'{"outcome":"refunded"}', "outcome"),
    (b'{"outcome":""}', "outcome"),
    (b'{"outcome":7}', "outcome"),
    (b'{"outcome":null}', "outcome"),
    (b"{}", "outcome"),
    (b'{"outcome":"paid","outcome":"failed"}', None),
    (b"[]", None),
    (b"\xff\xfe", None),
    (b"", None),
]


async def test_refuses_a_bad_outcome_and_names_the_field(town: Town) -> None:
    for body, field in BAD_OUTCOMES:
        session = await open_session(town)
        answer = await town.http.post(
            f"/sandbox/checkout/{session.id}/complete",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400
        if field:
            assert answer.json()["field"] == field
        assert await town.outbox(session) == []


UNKNOWN_PATHS = [UNKNOWN, "nonsense", "%00", "a" * 3000]


async def test_knows_no_payer_of_an_unknown_session(town: Town) -> None:
    for session_id in UNKNOWN_PATHS:
        answer = await town.http.post(
            f"/sandbox/checkout/{session_id}/complete", json={"outcome": "paid"}
        )
        assert answer.status_code == 404


# -- the card page --------------------------------------------------------------------------

GOOD_CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123"}
PAID_URL = "https://shop.example/paid?session="


async def submit(town: Town, session: CheckoutSession, **changes: str) -> httpx.Response:
    return await town.http.post(f"/sandbox/pay/{session.id}", data=GOOD_CARD | changes)


async def test_shows_the_amount_the_notice_and_the_test_cards(town: Town) -> None:
    session = await open_session(town)
    page = await town.http.get(session.url)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Logo &amp; &lt;brand&gt; book" in page.text
    assert "INR 12,000.00" in page.text
    assert "no real money" in page.text
    assert "<script" not in page.text
    assert 'href="https://shop.example/jobs?cancelled=true"' in page.text
    for card in CARDS:
        assert card.number in page.text
        assert passes_luhn(card.number.replace(" ", ""))
    style = await town.http.get("/static/sandbox.css")
    assert style.status_code == 200
    assert style.headers["Content-Type"].startswith("text/css")


AMOUNTS = [
    (1, "INR", "INR 0.01"),
    (99_999_999, "SAR", "SAR 999,999.99"),
    (1_234, "JPY", "JPY 1,234"),
    (1_234, "KWD", "KWD 1.234"),
]


async def test_shows_each_currency_with_its_own_decimals(town: Town) -> None:
    for amount_minor, currency, shown in AMOUNTS:
        session = await open_session(town, amount_minor=amount_minor, currency=currency)
        assert f'<p class="amount">{shown}</p>' in (await town.http.get(session.url)).text


async def test_pays_with_the_good_card_and_leads_back(town: Town) -> None:
    session = await open_session(town)
    # A double click: both submits end at the shop, one event leaves.
    answers = await asyncio.gather(submit(town, session), submit(town, session))
    for answer in [*answers, await submit(town, session)]:
        assert answer.status_code == 303
        assert answer.headers["Location"] == PAID_URL + session.id
    assert [event.paid for event in town.events(session)] == [True]
    page = await town.http.get(session.url)
    assert "This is paid" in page.text
    assert "<form" not in page.text


async def test_lets_a_declined_payer_try_again(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000000000000002")
    assert answer.status_code == 402
    assert "The bank declined this card" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert town.received == []
    assert (await submit(town, session)).status_code == 303


async def test_asks_for_confirmation_before_it_pays(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000-0025-0000-3155")
    assert answer.status_code == 303
    confirmation = answer.headers["Location"]
    assert "is it you?" in (await town.http.get(confirmation)).text
    assert town.received == []
    failed = await town.http.post(confirmation, data={"answer": "fail"})
    assert failed.status_code == 402
    assert "could not confirm" in failed.text
    assert town.received == []
    confirmed = await town.http.post(confirmation, data={"answer": "confirm"})
    assert confirmed.headers["Location"] == PAID_URL + session.id
    assert [event.paid for event in town.events(session)] == [True]
    assert "This is paid" in (await town.http.get(confirmation)).text


async def test_accepts_the_slow_bank_without_calling_it_paid(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000 0000 0000 0077")
    assert answer.headers["Location"] == PAID_URL + session.id
    assert [event.kind for event in town.events(session)] == [EventKind.CHECKOUT_UNPAID]
    assert "The bank is working on it" in (await town.http.get(session.url)).text


WRONG_FIELDS: list[tuple[dict[str, str], str]] = [
    ({"number": ""}, "Enter a card number."),
    ({"number": "4242 4242 4242 4241"}, "This is not a card number"),
    ({"number": "4242"}, "This is not a card number"),
    ({"number": "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢"}, "This is not a card number"),
    ({"number": "5555 5555 5555 4444"}, "only the test cards"),
    ({"expiry": ""}, "as MM / YY"),
    ({"expiry": "13/34"}, "as MM / YY"),
    ({"expiry": "00/34"}, "as MM / YY"),
    ({"expiry": "04/26"}, "must be in the future"),
    ({"expiry": "01/99"}, "must be in the future"),
    ({"cvc": "12"}, "Enter the 3 digits"),
    ({"cvc": "12a"}, "Enter the 3 digits"),
]


async def test_refuses_a_wrong_field_and_says_which(town: Town) -> None:
    for changes, text in WRONG_FIELDS:
        session = await open_session(town)
        answer = await submit(town, session, **changes)
        assert answer.status_code == 400
        assert text in answer.text
        assert await town.outbox(session) == []


UNREADABLE_FORMS = [b"", b"\xff", b"number=%FF&expiry=%00", b"&" * 100, b"a=1&" * 99]


async def test_answers_any_form_with_the_form(town: Town) -> None:
    for body in UNREADABLE_FORMS:
        session = await open_session(town)
        answer = await town.http.post(
            f"/sandbox/pay/{session.id}",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 400
        assert "Enter a card number." in answer.text or "This is not a card number" in answer.text


async def test_refuses_a_form_that_is_too_large(town: Town) -> None:
    session = await open_session(town)
    assert (await submit(town, session, number="4" * 9000)).status_code == 413


@pytest.mark.parametrize("field", ["number", "expiry", "cvc"])
async def test_never_repeats_or_stores_a_card_number(town: Town, field: str) -> None:
    session = await open_session(town)
    someones = "5555555555554444"
    answer = await submit(town, session, **{field: someones})
    assert answer.status_code == 400
    assert someones not in answer.text
    await submit(town, session)
    async with town.pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT s::text AS row FROM sandbox.session AS s WHERE s.id = $1"
            " UNION ALL SELECT o::text || convert_from(o.body, 'UTF8') FROM sandbox.outbox AS o"
            " WHERE o.session_id = $1",
            session.id,
        )
    assert len(rows) == 2
    for row in rows:
        assert someones not in row["row"]
        assert "4242424242424242" not in row["row"]


def test_takes_a_card_until_the_end_of_its_month() -> None:
    last_moment = datetime(2026, 5, 31, 23, 59, tzinfo=UTC)
    for expiry in ("05/26", "5/26", "05 / 26", "0526", "05/2026", "05-26"):
        assert read_card(GOOD_CARD | {"expiry": expiry}, last_moment) == ("paid", {})
        answer, errors = read_card(GOOD_CARD | {"expiry": expiry}, last_moment + timedelta(hours=1))
        assert answer is None
        assert list(errors) == ["expiry"]


async def test_says_that_a_session_has_expired(town: Town) -> None:
    session = await open_session(town)
    town.clock.advance(3600)
    page = await town.http.get(session.url)
    assert "has expired" in page.text
    assert "<form" not in page.text
    answer = await submit(town, session)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/sandbox/pay/{session.id}",
    )
    assert town.received == []


async def test_says_that_a_payment_failed(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "failed")
    assert "The payment failed" in (await town.http.get(session.url)).text
    assert (await submit(town, session)).headers["Location"].endswith(session.id)


UNKNOWN_PAGES = [UNKNOWN, "nonsense", "%00", "a" * 3000, "%F0%9F%92%B8"]


async def test_has_a_clean_page_for_an_unknown_session(town: Town) -> None:
    for path in UNKNOWN_PAGES:
        for answer in (
            await town.http.get(f"/sandbox/pay/{path}"),
            await town.http.post(f"/sandbox/pay/{path}", data=GOOD_CARD),
            await town.http.get(f"/sandbox/pay/{path}/confirm"),
            await town.http.post(f"/sandbox/pay/{path}/confirm", data={"answer": "confirm"}),
        ):
            assert answer.status_code == 404
            assert "There is no such payment page" in answer.text
            assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example/a?b#c", "https://shop.example"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/x", "http://[::1]:3000"),
        ("HTTPS://Shop.Example/", "https://shop.example"),
        ("ftp://shop.example/", None),
        ("//shop.example/", None),
        ("https://shop.example' *;x/", None),
        ("https://[::1/", None),
        ("https://bücher.example/", None),
    ],
)
def test_names_the_origin_of_a_url(url: str, expected: str | None) -> None:
    assert origin(url) == expected
