"""Stripe's double, asked by Stripe's own SDK: which keys it remembers, and how it fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

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


async def test_it_is_away_for_a_while_and_knows_everything_afterwards(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    asked, heard = page(), len(double.requests)
    async with double.away():
        with pytest.raises(stripe.APIConnectionError, match="ConnectError"):
            await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
    assert len(double.requests) == heard
    session = await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
    async with double.away():
        pass
    again = await client.v1.checkout.sessions.create_async(asked, {"idempotency_key": "pay_1"})
    assert again.id == session.id


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
