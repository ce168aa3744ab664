"""Stripe's double, asked by Stripe's own SDK: what it takes, what it remembers, how it fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from receiver import answering, receiving
from stripe_client import captured, page, speaking_to
from stripe_double import Fault, StripeDouble

# The SDK hands its bodies to httpx under an older name.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
async def double() -> AsyncIterator[StripeDouble]:
    async with StripeDouble() as server:
        yield server


@pytest.fixture
async def client(double: StripeDouble) -> AsyncIterator[stripe.StripeClient]:
    async with speaking_to(double) as speaker:
        yield speaker


async def raw(double: StripeDouble, method: str, path: str, form: str = "") -> httpx.Response:
    """A request as no SDK would write it."""
    headers = {
        "Authorization": f"Bearer {double.api_key}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx.AsyncClient(base_url=double.url, headers=headers, trust_env=False) as http:
        if method == "GET":
            return await http.get(f"{path}?{form}")
        return await http.post(path, content=form)


# -- what it takes --------------------------------------------------------------------------


async def test_it_opens_a_session_as_it_was_asked_to(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    asked = page()
    session = await client.v1.checkout.sessions.create_async(asked)
    assert session.object == "checkout.session"
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert (session.amount_total, session.currency) == (120_000, "inr")
    assert session.client_reference_id == "pay_1"
    assert session.metadata is not None
    assert session.metadata.to_dict() == {"paymentId": "pay_1"}
    assert session.expires_at == asked["expires_at"]
    assert session.livemode is False
    assert session.payment_intent is None  # nobody tried to pay yet
    assert session.url is not None
    assert session.url.startswith("https://")
    lines = await client.v1.checkout.sessions.line_items.list_async(session.id)
    assert [(line.description, line.quantity) for line in lines] == [("Logo for Alice", 1)]
    assert list(double.sessions) == [session.id]
    assert [(each.method, each.path) for each in double.requests] == [
        ("POST", "/v1/checkout/sessions"),
        ("GET", f"/v1/checkout/sessions/{session.id}/line_items"),
    ]
    assert double.requests[0].params["line_items[0][price_data][unit_amount]"] == "120000"


REFUSED = [
    ("amount=1&payment_intent=pi_1&colour=red", "parameter_unknown", "colour"),
    ("amount=1&payment_intent=pi_1&metadata[a][b]=1", None, "metadata[a]"),
    ("amount=ten&payment_intent=pi_1", "parameter_invalid_integer", "amount"),
    ("amount=1.5&payment_intent=pi_1", "parameter_invalid_integer", "amount"),
    ("amount=&payment_intent=pi_1", "parameter_invalid_empty", "amount"),
    ("amount[x]=1&payment_intent=pi_1", None, "amount"),
    ("payment_intent=pi_1&reason=why_not", None, "reason"),
    ("payment_intent=pi_1&refund_application_fee=true", None, "refund_application_fee"),
    ("payment_intent=pi_nobody", "resource_missing", "payment_intent"),
    ("reason=duplicate", "parameter_missing", None),
    ("payment_intent", None, None),
    ("a%5B=1", "parameter_unknown", "a["),
]


@pytest.mark.parametrize(("form", "code", "param"), REFUSED)
async def test_it_refuses_a_refund_that_stripe_would_refuse(
    double: StripeDouble, form: str, code: str | None, param: str | None
) -> None:
    answer = await raw(double, "POST", "/v1/refunds", form)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error.get("param")) == (code, param)
    assert double.books.objects == {}


WRONG_PAGES: list[tuple[dict[str, Any], str]] = [
    ({"mode": None}, "mode"),
    ({"mode": "subscription"}, "mode"),
    ({"mode": "gift"}, "mode"),
    ({"line_items": None}, "line_items"),
    ({"line_items": [{"quantity": 1, "price": "price_1"}]}, "line_items[0][price]"),
    ({"line_items": [{"quantity": 1, "colour": "red"}]}, "line_items[0][colour]"),
    (
        {"line_items": [{"quantity": 1, "price_data": {"unit_amount": 1}}]},
        "line_items[0][price_data][currency]",
    ),
    ({"expires_at": 1}, "expires_at"),
    ({"success_url": None}, "success_url"),
    # Of an earlier version of the API; and what it is called now, which the double does not do.
    ({"payment_method_types": ["card"]}, "payment_method_types"),
    ({"allowed_payment_method_types": ["card"]}, "allowed_payment_method_types[0]"),
    ({"metadata": {"k" * 41: "v"}}, "metadata[" + "k" * 41 + "]"),
    ({"metadata": {"k": "v" * 501}}, "metadata[k]"),
    ({"metadata": {f"k{n}": "v" for n in range(51)}}, "metadata"),
    (page(0), "line_items[0][price_data][unit_amount]"),
    (page(1_005, "kwd"), "line_items[0][price_data][unit_amount]"),
    (page(1_050, "isk"), "line_items[0][price_data][unit_amount]"),
    (page(10, "INR"), "line_items[0][price_data][currency]"),
]


@pytest.mark.parametrize(("other", "param"), WRONG_PAGES)
async def test_it_refuses_a_session_that_stripe_would_refuse(
    double: StripeDouble, client: stripe.StripeClient, other: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.checkout.sessions.create_async(page() | other)
    assert (caught.value.http_status, caught.value.param) == (400, param)
    assert double.sessions == {}


async def test_it_knows_every_parameter_that_the_sdk_knows(client: stripe.StripeClient) -> None:
    """And says so when it does not act on one: that is another refusal than an unknown one."""
    with pytest.raises(stripe.InvalidRequestError, match="Stripe knows") as caught:
        await client.v1.checkout.sessions.create_async(page(customer_creation="always"))
    assert caught.value.code is None


async def test_it_refuses_what_is_not_there_and_who_has_another_key(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.refunds.retrieve_async("re_nothing")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert (await raw(double, "GET", "/v1/customers")).status_code == 404
    assert (await raw(double, "POST", "/v1/balance")).status_code == 404
    async with speaking_to(double, "sk_test_other") as stranger:
        with pytest.raises(stripe.AuthenticationError):
            await stranger.v1.checkout.sessions.create_async(page())
    assert double.sessions == {}


# -- idempotency keys -----------------------------------------------------------------------


async def test_it_answers_the_same_key_with_the_same_session(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    asked = page()
    create = client.v1.checkout.sessions.create_async
    first = await create(asked, {"idempotency_key": "pay_1"})
    again = await create(asked, {"idempotency_key": "pay_1"})
    other = await create(asked, {"idempotency_key": "pay_2"})
    assert first.id == again.id != other.id
    assert "Idempotent-Replayed" not in first.last_response.headers  # type: ignore[union-attr]
    assert again.last_response.headers["Idempotent-Replayed"] == "true"  # type: ignore[union-attr]
    assert len(double.sessions) == 2
    double.pay(first.id)
    # What a key remembers is the first answer, not how the session stands now.
    assert (await create(asked, {"idempotency_key": "pay_1"})).status == "open"


async def test_it_refuses_the_same_key_with_another_request(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    asked = page()
    await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
    with pytest.raises(stripe.IdempotencyError) as caught:
        await client.v1.checkout.sessions.create_async(
            asked | {"metadata": {"paymentId": "pay_2"}}, {"idempotency_key": "pay_1"}
        )
    assert caught.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.refunds.create_async(
            {"payment_intent": "pi_1"}, {"idempotency_key": "pay_1"}
        )
    assert len(double.sessions) == 1
    assert double.refunds == {}


async def test_it_replays_a_500_for_its_key_and_for_no_other(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.fault("POST", "/v1/checkout/sessions", Fault.ERROR_500)
    asked = page()
    for replayed in (None, "true", "true"):
        with pytest.raises(stripe.APIError) as caught:
            await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
        assert caught.value.http_status == 500
        assert caught.value.headers is not None
        assert caught.value.headers.get("idempotent-replayed") == replayed
    assert double.sessions == {}
    await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_2"})
    double.forget_keys()
    await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
    assert len(double.sessions) == 2


async def test_it_remembers_a_refusal_only_when_the_work_had_begun(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    intent = await captured(client, double)
    full = await client.v1.refunds.create_async({"payment_intent": intent})
    more: Any = {"payment_intent": intent}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.refunds.create_async(more, {"idempotency_key": "begun"})
    assert caught.value.code == "charge_already_refunded"
    bad: Any = {"payment_intent": intent, "amount": "ten"}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async(bad, {"idempotency_key": "not_begun"})

    double.settle_refund(full.id, "failed")  # and so there is something to give back again
    with pytest.raises(stripe.InvalidRequestError) as again:
        await client.v1.refunds.create_async(more, {"idempotency_key": "begun"})
    assert again.value.code == "charge_already_refunded"
    await client.v1.refunds.create_async(more, {"idempotency_key": "not_begun"})
    assert len(double.refunds) == 2


async def test_it_says_409_while_the_same_key_is_at_work(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    armed = double.fault("POST", "/v1/checkout/sessions", Fault.SLOW)
    asked = page()
    create = client.v1.checkout.sessions.create_async
    slow = asyncio.create_task(create(asked, {"idempotency_key": "pay_1"}))
    await armed.begun.wait()
    with pytest.raises(stripe.APIError) as caught:
        await create(asked, {"idempotency_key": "pay_1"})
    assert caught.value.http_status == 409
    assert "idempotency_key_in_use" in str(caught.value.http_body)
    assert double.sessions == {}
    armed.over.set()
    session = await slow
    assert (await create(asked, {"idempotency_key": "pay_1"})).id == session.id
    assert list(double.sessions) == [session.id]


# -- faults ---------------------------------------------------------------------------------

# The error that the SDK raises, the refunds there are then, and after the same key came again;
# None: it was no error, or the second time is one, too.
STRIKES: list[tuple[Fault, type[stripe.StripeError] | None, int, int | None]] = [
    (Fault.TIMEOUT_AFTER_SUCCESS, stripe.APIConnectionError, 1, 1),
    (Fault.TIMEOUT_BEFORE, stripe.APIConnectionError, 0, 1),
    (Fault.RESET_AFTER_SUCCESS, stripe.APIConnectionError, 1, 1),
    (Fault.RESET_BEFORE, stripe.APIConnectionError, 0, 1),
    (Fault.ERROR_500, stripe.APIError, 0, None),
    (Fault.ERROR_500_AFTER_SUCCESS, stripe.APIError, 1, None),
    (Fault.ERROR_500_THEN_SUCCESS, stripe.APIError, 0, 1),
    (Fault.CONFLICT_409, stripe.APIError, 0, 1),
    (Fault.TOO_MANY_429, stripe.RateLimitError, 0, 1),
    (Fault.SLOW, None, 1, 1),
    (Fault.GARBAGE, stripe.APIError, 1, 1),
    (Fault.HALF, stripe.APIConnectionError, 1, 1),
]


def test_it_has_every_fault_in_this_table() -> None:
    assert {fault for fault, *_ in STRIKES} == set(Fault)


@pytest.mark.parametrize(("fault", "error", "then", "after_again"), STRIKES)
async def test_it_strikes_once_and_does_the_work_once(
    double: StripeDouble,
    client: stripe.StripeClient,
    fault: Fault,
    error: type[stripe.StripeError] | None,
    then: int,
    after_again: int | None,
) -> None:
    wanted: Any = {"payment_intent": await captured(client, double), "amount": 5_000}
    double.fault("POST", "/v1/refunds", fault, seconds=0.01)
    expected = contextlib.nullcontext() if error is None else pytest.raises(error)
    # Only what never answers is waited for with little patience.
    seconds = 1 if "timeout" in fault else 20
    async with speaking_to(double, timeout_seconds=seconds) as caller:
        with expected:
            await caller.v1.refunds.create_async(wanted, {"idempotency_key": "re_1"})
    assert len(double.refunds) == then
    if after_again is None:
        with pytest.raises(stripe.APIError):
            await client.v1.refunds.create_async(wanted, {"idempotency_key": "re_1"})
        assert len(double.refunds) == then
    else:
        refund = await client.v1.refunds.create_async(wanted, {"idempotency_key": "re_1"})
        assert list(double.refunds) == [refund.id]
        assert len(double.refunds) == after_again
    moved = [each["amount"] for each in double.all("balance_transaction").values()]
    assert moved == [120_000] + [-5_000] * len(double.refunds)


async def test_it_resets_and_breaks_off_on_the_wire(double: StripeDouble) -> None:
    """Seen without a client that would hide it: RST, and a body that is shorter than it said."""
    key = f"Authorization: Bearer {double.api_key}"
    ask = f"GET /v1/balance HTTP/1.1\r\nHost: double\r\n{key}\r\n\r\n".encode()
    port = int(double.url.rpartition(":")[2])
    double.fault("GET", "/v1/balance", Fault.RESET_AFTER_SUCCESS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    double.fault("GET", "/v1/balance", Fault.HALF)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask)
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
    assert 0 < len(body) < length
    writer.close()


async def test_it_strikes_only_what_a_fault_was_armed_for() -> None:
    async with (
        StripeDouble() as other,
        StripeDouble() as double,
        speaking_to(other) as elsewhere,
        speaking_to(double) as client,
    ):
        session = await client.v1.checkout.sessions.create_async(page())
        double.fault("POST", "/v1/checkout/sessions/*/expire", Fault.TOO_MANY_429, times=2)
        await client.v1.checkout.sessions.retrieve_async(session.id)
        await client.v1.checkout.sessions.create_async(page())
        theirs = await elsewhere.v1.checkout.sessions.create_async(page())
        await elsewhere.v1.checkout.sessions.expire_async(theirs.id)
        for _ in range(2):
            with pytest.raises(stripe.RateLimitError):
                await client.v1.checkout.sessions.expire_async(session.id)
        assert (await client.v1.checkout.sessions.expire_async(session.id)).status == "expired"
    async with StripeDouble() as fresh, speaking_to(fresh) as client:
        assert fresh.sessions == {}
        session = await client.v1.checkout.sessions.create_async(page())
        assert (await client.v1.checkout.sessions.expire_async(session.id)).status == "expired"


async def test_it_refuses_the_end_of_a_test_whose_fault_never_struck() -> None:
    async def armed_in_vain(then: Exception | None) -> None:
        async with StripeDouble() as double:
            double.fault("POST", "/v1/refundz", Fault.ERROR_500)
            if then is not None:
                raise then

    with pytest.raises(AssertionError, match="never struck"):
        await armed_in_vain(None)
    with pytest.raises(ZeroDivisionError):  # a test's own failure is not hidden by it
        await armed_in_vain(ZeroDivisionError())


# -- events ---------------------------------------------------------------------------------


async def test_it_signs_events_that_the_sdk_believes(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    assert [event["type"] for event in double.events] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    for event in double.events:
        body, headers = double.signed(event)
        header, secret = headers["Stripe-Signature"], double.webhook_secret
        believed = stripe.Webhook.construct_event(body, header, secret)
        assert (believed.id, believed.type) == (event["id"], event["type"])
        assert believed.data.object["id"] == event["data"]["object"]["id"]
        altered = body.replace(b"120000", b"990000")
        old = double.signed(event, at_seconds=1_600_000_000)[1]["Stripe-Signature"]
        foreign = double.signed(event, secret="whsec_mallory")[1]["Stripe-Signature"]
        assert altered != body
        for forged_body, forged_header in ((altered, header), (body, old), (body, foreign)):
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.Webhook.construct_event(forged_body, forged_header, secret)
    ids = [event["id"] for event in double.events]
    assert ids == sorted(set(ids))


async def test_it_delivers_what_and_when_a_test_likes(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    first, second, third = double.events
    async with receiving(answering(200)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/webhook"
        await double.deliver(url, third, first, order=[1, 0], times=2)
        answers = await double.deliver(url)  # what is left
        assert [answer.status_code for answer in answers] == [200]
        assert await double.deliver(url) == []
        heard = [
            stripe.Webhook.construct_event(
                each.body, each.headers["stripe-signature"], double.webhook_secret
            ).id
            for each in receiver.heard
        ]
    assert heard == [each["id"] for each in (first, first, third, third, second)]


async def test_it_tells_an_event_as_things_were_when_it_happened(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    session = await client.v1.checkout.sessions.create_async(page())
    (_, completed) = double.pay(session.id, "unpaid")
    later = double.pay(session.id, "succeeded_later")[-1]
    assert completed["data"]["object"]["payment_status"] == "unpaid"
    assert later["data"]["object"]["payment_status"] == "paid"
