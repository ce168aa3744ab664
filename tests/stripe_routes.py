"""Which part of Stripe's API the double speaks: methods, paths, parameters, who does the work.

A **route** knows the SDK's type of its parameters and which of them the double acts on.
"""

import re
from collections.abc import Callable

import msgspec
from stripe import params as known
from stripe.params import checkout

import stripe_dashboard as dashboard
import stripe_disputes as disputes
import stripe_ledger as ledger
import stripe_payments as payments
from stripe_books import Books, Call
from stripe_wire import Object

PAGING = "limit starting_after ending_before expand"
_CREATED = f"{PAGING} created created.gt created.gte created.lt created.lte"
_SESSION = """
mode success_url cancel_url client_reference_id customer_email expires_at metadata expand
line_items.quantity line_items.price_data.currency line_items.price_data.unit_amount
line_items.price_data.product_data.name
payment_intent_data.metadata payment_intent_data.description adaptive_pricing.enabled
"""
_ACCOUNT = """
email business_type metadata expand
business_profile.name business_profile.url business_profile.mcc
business_profile.product_description settings.payouts.schedule.interval
"""
_NEW_ACCOUNT = """
type country default_currency
capabilities.transfers.requested capabilities.card_payments.requested
controller.fees.payer controller.losses.payments controller.requirement_collection
controller.stripe_dashboard.type
"""
_TRANSFER = """
amount currency destination description metadata source_transaction transfer_group expand
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
        f"{_CREATED} payment_intent status",
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
        f"{_CREATED} payment_intent charge",
        payments.list_refunds,
    ),
    _route("GET /v1/refunds/{id}", known.RefundRetrieveParams, "expand", payments.find_refund),
    _route("GET /v1/disputes/{id}", known.DisputeRetrieveParams, "expand", disputes.find_dispute),
    _route(
        "GET /v1/disputes",
        known.DisputeListParams,
        f"{_CREATED} charge payment_intent",
        disputes.list_disputes,
    ),
    _route(
        "GET /v1/account", known.AccountRetrieveCurrentParams, "expand", ledger.find_own_account
    ),
    _route(
        "POST /v1/accounts",
        known.AccountCreateParams,
        f"{_ACCOUNT} {_NEW_ACCOUNT}",
        ledger.create_account,
    ),
    _route("GET /v1/accounts", known.AccountListParams, _CREATED, ledger.list_accounts),
    _route("GET /v1/accounts/{id}", known.AccountRetrieveParams, "expand", ledger.find_account),
    _route("POST /v1/accounts/{id}", known.AccountUpdateParams, _ACCOUNT, ledger.update_account),
    _route(
        "POST /v1/account_links",
        known.AccountLinkCreateParams,
        "account type refresh_url return_url collect collection_options.fields expand",
        ledger.create_account_link,
    ),
    _route("POST /v1/transfers", known.TransferCreateParams, _TRANSFER, ledger.create_transfer),
    _route(
        "GET /v1/transfers",
        known.TransferListParams,
        f"{_CREATED} destination transfer_group",
        ledger.list_transfers,
    ),
    _route("GET /v1/transfers/{id}", known.TransferRetrieveParams, "expand", ledger.find_transfer),
    _route(
        "POST /v1/transfers/{id}/reversals",
        known.TransferCreateReversalParams,
        "amount metadata expand",
        ledger.create_reversal,
    ),
    _route(
        "GET /v1/transfers/{id}/reversals",
        known.TransferListReversalsParams,
        PAGING,
        ledger.list_reversals,
    ),
    _route(
        "GET /v1/transfers/{id}/reversals/{id}",
        known.TransferRetrieveReversalParams,
        "expand",
        ledger.find_reversal,
    ),
    _route(
        "POST /v1/payouts",
        known.PayoutCreateParams,
        "amount currency description metadata method statement_descriptor expand",
        ledger.create_payout,
    ),
    _route("GET /v1/payouts", known.PayoutListParams, f"{_CREATED} status", ledger.list_payouts),
    _route("GET /v1/payouts/{id}", known.PayoutRetrieveParams, "expand", ledger.find_payout),
    _route(
        "POST /v1/payouts/{id}/cancel", known.PayoutCancelParams, "expand", ledger.cancel_payout
    ),
    _route("GET /v1/balance", known.BalanceRetrieveParams, "expand", ledger.find_balance),
    _route(
        "GET /v1/balance_transactions",
        known.BalanceTransactionListParams,
        f"{_CREATED} type currency source",
        ledger.list_balance_transactions,
    ),
    _route(
        "GET /v1/balance_transactions/{id}",
        known.BalanceTransactionRetrieveParams,
        "expand",
        ledger.find_balance_transaction,
    ),
    _route(
        "POST /v1/webhook_endpoints",
        known.WebhookEndpointCreateParams,
        "url enabled_events api_version connect description metadata expand",
        dashboard.create_endpoint,
    ),
    _route(
        "GET /v1/webhook_endpoints",
        known.WebhookEndpointListParams,
        PAGING,
        dashboard.list_endpoints,
    ),
]
