"""Stripe's double, asked by Stripe's own SDK: what it takes, what it says, what it tells."""

import time
import typing
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from receiver import answering, receiving
from stripe_client import captured, listening, page, seller, speaking_to
from stripe_double import StripeDouble
from stripe_routes import ROUTES

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
    ({"expires_at": int(time.time()) + 90_000}, "expires_at"),
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


async def test_it_delivers_again_what_nobody_took(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    await captured(client, double)
    for status, told in ((503, 3), (200, 3), (200, 0)):
        async with receiving(answering(status)) as receiver:
            await double.deliver(f"http://127.0.0.1:{receiver.port}/webhook")
            assert len(receiver.heard) == told


async def test_it_tells_an_event_as_things_were_when_it_happened(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    session = await client.v1.checkout.sessions.create_async(page())
    (_, completed) = double.pay(session.id, "unpaid")
    later = double.pay(session.id, "succeeded_later")[-1]
    assert completed["data"]["object"]["payment_status"] == "unpaid"
    assert later["data"]["object"]["payment_status"] == "paid"


# -- words ----------------------------------------------------------------------------------


def allowed_words(hint: Any) -> set[Any]:
    """The texts of an enumeration in the SDK's types, none if it is not one."""
    if typing.get_origin(hint) is typing.Literal:
        return set(typing.get_args(hint))
    return {word for inner in typing.get_args(hint) for word in allowed_words(inner)}


def may_be_missing(name: str, hint: Any) -> bool:
    """A field that the SDK does not promise; what begins with _ is no field."""
    private = name.startswith("_") or typing.get_origin(hint) is typing.ClassVar
    return private or type(None) in typing.get_args(hint)


async def test_it_finds_and_lists_everything_that_it_made(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    """Every route that reads, for the platform and, where it has any, for a connected account."""
    intent = await captured(client, double)
    await client.v1.refunds.create_async({"payment_intent": intent, "amount": 10})
    bob = await seller(client, double)
    transfer = await client.v1.transfers.create_async(
        {"amount": 100, "currency": "inr", "destination": bob}
    )
    reversal = await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 50})
    await client.v1.payouts.create_async({"amount": 10, "currency": "inr"})
    double.dispute(intent)
    endpoint = await listening(client)
    listed = await client.v1.webhook_endpoints.list_async()
    assert [each.id for each in listed] == [endpoint.id]
    for kind, folder in (
        ("account", "accounts"),
        ("balance_transaction", "balance_transactions"),
        ("checkout.session", "checkout/sessions"),
        ("dispute", "disputes"),
        ("payout", "payouts"),
        ("refund", "refunds"),
        ("transfer", "transfers"),
        ("transfer_reversal", f"transfers/{transfer.id}/reversals"),
    ):
        listed = (await raw(double, "GET", f"/v1/{folder}", "limit=100")).json()
        mine = {id_ for id_, each in double.all(kind).items() if double.books.owner(each) is None}
        assert {each["id"] for each in listed["data"]} == mine != set()
        for id_ in mine:
            found = (await raw(double, "GET", f"/v1/{folder}/{id_}")).json()
            assert (found["id"], found["object"]) == (id_, kind)
    (charge, *_), (session,) = double.all("charge"), double.sessions
    for path, kind in (
        (f"charges/{charge}", "charge"),
        (f"payment_intents/{intent}", "payment_intent"),
        (f"checkout/sessions/{session}/line_items", "list"),
        ("account", "account"),
        ("balance", "balance"),
    ):
        assert (await raw(double, "GET", f"/v1/{path}")).json()["object"] == kind
    assert reversal.transfer == transfer.id
    asked = [each.path for each in double.requests if each.method == "GET"]
    for route in ROUTES:
        assert route.method != "GET" or any(map(route.path.fullmatch, asked)), route.path.pattern


async def test_it_says_what_the_sdk_knows_and_nothing_else(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    """Every field of every object is one of the SDK's, each that is always there is there, and
    each enumeration says a known word."""
    intent = await captured(client, double)
    refund = await client.v1.refunds.create_async({"payment_intent": intent, "amount": 10})
    double.settle_refund(refund.id, "failed")
    bob = await seller(client, double)
    transfer = await client.v1.transfers.create_async(
        {"amount": 100, "currency": "inr", "destination": bob}
    )
    await client.v1.payouts.create_async({"amount": 10, "currency": "inr"}, {"stripe_account": bob})
    await client.v1.transfers.reversals.create_async(transfer.id, {"amount": 50})
    double.settle_payout(next(iter(double.all("payout"))), "failed")
    double.charge_fee(1, "inr")
    double.dispute(await captured(client, double))
    endpoint = await listening(client)
    assert endpoint.secret is not None
    classes: dict[str, type] = {
        "account": stripe.Account,
        "balance_transaction": stripe.BalanceTransaction,
        "charge": stripe.Charge,
        "checkout.session": stripe.checkout.Session,
        "dispute": stripe.Dispute,
        "payment_intent": stripe.PaymentIntent,
        "payout": stripe.Payout,
        "refund": stripe.Refund,
        "transfer": stripe.Transfer,
        "transfer_reversal": stripe.TransferReversal,
        "webhook_endpoint": stripe.WebhookEndpoint,
    }
    objects = [*double.books.objects.values(), double.books.platform]
    assert {each["object"] for each in objects} == set(classes)
    for each in [*objects, *double.events]:
        known = classes.get(each["object"], stripe.Event).__annotations__
        always = {name for name, hint in known.items() if not may_be_missing(name, hint)}
        assert always <= each.keys(), f"{each['object']}: {always - each.keys()}"
        for name, value in each.items():
            assert name in known, f"{each['object']}.{name}"
            words = allowed_words(known[name]) if isinstance(value, str) else set()
            assert not words or value in words, f"{each['object']}.{name} is {value!r}"
