"""Which part of Stripe's API the double speaks: methods, paths, parameters, who does the work.

A **route** knows the SDK's type of its parameters and which of them the double acts on.
"""

import re
from collections.abc import Callable

import msgspec
from stripe import params as known
from stripe.params import checkout

import stripe_payments as payments
from stripe_books import Books, Call
from stripe_wire import Object

PAGING = "limit starting_after ending_before expand"
_SESSION = """
mode success_url cancel_url client_reference_id customer_email expires_at metadata expand
line_items.quantity line_items.price_data.currency line_items.price_data.unit_amount
line_items.price_data.product_data.name
payment_intent_data.metadata payment_intent_data.description
"""


class Route(msgspec.Struct, frozen=True):
    method: str
    path: re.Pattern[str]
    known: type
    spoken: frozenset[str]
    work: Callable[[Books, Call], Object]


def _route(line: str, known: type, spoken: str, work: Callable[[Books, Call], Object]) -> Route:
    method, path = line.split(" ")
    pattern = re.compile(path.replace("{id}", "([^/]+)"))
    return Route(method, pattern, known, frozenset(spoken.split()), work)


ROUTES = [
    _route(
        "POST /v1/checkout/sessions",
        checkout.SessionCreateParams,
        _SESSION,
        payments.create_session,
    ),
    _route(
        "GET /v1/checkout/sessions",
        checkout.SessionListParams,
        f"{PAGING} payment_intent status created created.gt created.gte created.lt created.lte",
        payments.list_sessions,
    ),
    _route(
        "GET /v1/checkout/sessions/{id}",
        checkout.SessionRetrieveParams,
        "expand",
        payments.find_session,
    ),
    _route(
        "POST /v1/checkout/sessions/{id}/expire",
        checkout.SessionExpireParams,
        "expand",
        payments.expire_session,
    ),
    _route(
        "GET /v1/checkout/sessions/{id}/line_items",
        checkout.SessionListLineItemsParams,
        PAGING,
        payments.list_lines,
    ),
    _route(
        "GET /v1/payment_intents/{id}",
        known.PaymentIntentRetrieveParams,
        "expand",
        payments.find_intent,
    ),
    _route("GET /v1/charges/{id}", known.ChargeRetrieveParams, "expand", payments.find_charge),
    _route(
        "POST /v1/refunds",
        known.RefundCreateParams,
        "payment_intent charge amount reason metadata expand",
        payments.create_refund,
    ),
    _route(
        "GET /v1/refunds",
        known.RefundListParams,
        f"{PAGING} payment_intent charge created created.gt created.gte created.lt created.lte",
        payments.list_refunds,
    ),
    _route("GET /v1/refunds/{id}", known.RefundRetrieveParams, "expand", payments.find_refund),
    _route("GET /v1/account", known.AccountRetrieveCurrentParams, "expand", payments.find_account),
]
