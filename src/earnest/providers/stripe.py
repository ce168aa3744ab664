"""Stripe as a `Provider`: Checkout takes the money in, refunds give it back to who paid it; people
are paid in `stripe_payouts`, `stripe_books` reads what Stripe's own books say, and `stripe_checkup`
how our account there is set.

An **answer** is one of Stripe's objects, read strictly: what is not as documented counts as not
read. Invariant: our id is the idempotency key, and the parameters that are sent with it follow from
the request alone; the SDK repeats nothing by itself. What goes wrong is told by `stripe_line`.
"""

import logging
import re
from datetime import UTC, datetime, timedelta

import msgspec
import stripe
from stripe.params.checkout import SessionCreateParams

from earnest.errors import ProviderPermanent
from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutState,
    CheckoutStatus,
    ProviderRefund,
    ProviderRefundState,
    RefundRequest,
)
from earnest.providers.sandbox_rules import refuse_unusable
from earnest.providers.stripe_books import StripeBooks
from earnest.providers.stripe_checkup import StripeCheckup
from earnest.providers.stripe_line import answered, read
from earnest.providers.stripe_payouts import StripePayouts
from earnest.providers.stripe_units import from_stripe, to_stripe

PAGE_REFUNDS = 100

OPEN_SECONDS_MIN = 45 * 60
OPEN_SECONDS_MAX = 24 * 60 * 60 - 60
"""Stripe takes 30 minutes to 24 hours from when the call arrives: room for another clock, and for
a repetition a quarter of an hour later."""

log = logging.getLogger(__name__)

_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,250}")


class _Intent(msgspec.Struct, frozen=True):
    id: str
    status: str


class _Session(msgspec.Struct, frozen=True):
    """The parts of a Checkout Session that we act upon; amounts in Stripe's units."""

    id: str
    livemode: bool
    status: str
    payment_status: str
    amount_total: int
    currency: str
    expires_at: int
    url: str | None
    payment_intent: _Intent | str | None
    metadata: dict[str, str] | None


class _Refund(msgspec.Struct, frozen=True):
    id: str
    status: str | None
    amount: int
    currency: str
    metadata: dict[str, str] | None


class StripeProvider(StripePayouts, StripeBooks, StripeCheckup):
    """A `Provider`. `livemode`: whether `api_key` is for real money. `clock_ahead_seconds` is how
    far business time is ahead of real time, which Stripe knows nothing of: 0, but for a sandbox
    whose clock was moved. `api_base` is another address than Stripe's, for tests."""

    # -- taking money in ------------------------------------------------------------------------

    def can_collect(self, amount_minor: int, currency: str) -> bool:
        """See `Provider.can_collect`. Its least amounts are not looked at: they change."""
        try:
            return to_stripe(amount_minor, currency) > 0
        except ProviderPermanent:
            return False

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """See `Provider.create_checkout`. `{CHECKOUT_SESSION_ID}` in success_url is replaced.

        A failure of Stripe's own that it will repeat for this key for a day counts as a refusal:
        nobody has the address of a session that may have been made.
        """
        refuse_unusable(request)
        ahead = timedelta(seconds=await self._clock_ahead_seconds())
        params = _checkout_params(request, request.asked_at - ahead)
        async with answered(remembered_is_final=True):
            answer = await self._client.v1.checkout.sessions.create_async(
                params, {"idempotency_key": request.idempotency_key}
            )
            made = read(answer, _Session)
        self._require_mode(made.livemode)
        asked = (to_stripe(request.amount_minor, request.currency), request.currency)
        if (made.amount_total, made.currency.upper()) != asked:
            log.error("Stripe would collect another amount than it was asked for")
            raise ProviderPermanent("Stripe would collect another amount.")
        return _session(made, ahead)

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        """See `Provider.find_checkout`."""
        if not _SESSION_ID.fullmatch(session_id):
            return None
        ahead = timedelta(seconds=await self._clock_ahead_seconds())
        async with answered():
            try:
                answer = await self._client.v1.checkout.sessions.retrieve_async(
                    session_id, {"expand": ["payment_intent"]}
                )
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    return None
                raise
            found = read(answer, _Session)
            state = _state(found)
            currency = found.currency.upper()
            amount_minor = from_stripe(found.amount_total, currency)
        self._require_mode(found.livemode)
        intent = found.payment_intent
        payment_id = intent.id if isinstance(intent, _Intent) else intent
        return CheckoutStatus(
            _session(found, ahead),
            state,
            amount_minor,
            currency,
            None if state is CheckoutState.OPEN else payment_id,
            found.metadata or {},
        )

    async def expire_checkout(self, session_id: str) -> None:
        """See `Provider.expire_checkout`."""
        if not _SESSION_ID.fullmatch(session_id):
            raise ProviderPermanent("There is no such checkout session.")
        try:
            async with answered():
                await self._client.v1.checkout.sessions.expire_async(session_id)
        except ProviderPermanent:
            # Stripe refuses to close what is closed: twice is harmless only here.
            found = await self.find_checkout(session_id)
            if found is None or found.state is not CheckoutState.EXPIRED:
                raise

    # -- giving it back -------------------------------------------------------------------------

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        """See `Provider.create_refund`."""
        amount = to_stripe(request.amount_minor, request.currency)
        if not request.payment_id or amount <= 0:
            raise ProviderPermanent("There is nothing to give back.")
        async with answered():
            answer = await self._client.v1.refunds.create_async(
                {
                    "payment_intent": request.payment_id,
                    "amount": amount,
                    "metadata": {"refundId": request.reference},
                },
                {"idempotency_key": request.idempotency_key},
            )
            return _refund(read(answer, _Refund), request)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """See `Provider.find_refund`: every refund of the payment is looked at."""
        if not request.payment_id:
            return None
        async with answered():
            try:
                page = await self._client.v1.refunds.list_async(
                    {"payment_intent": request.payment_id, "limit": PAGE_REFUNDS}
                )
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    return None
                raise
            async for answer in page.auto_paging_iter():
                found = read(answer, _Refund)
                if (found.metadata or {}).get("refundId") == request.reference:
                    return _refund(found, request)
        return None


# -- asking ---------------------------------------------------------------------------------------


def _checkout_params(request: CheckoutRequest, asked_at: datetime) -> SessionCreateParams:
    """The same for the same request, to the byte: Stripe compares them."""
    metadata = dict(sorted(request.metadata.items()))
    open_seconds = min(max(request.expires_in_seconds, OPEN_SECONDS_MIN), OPEN_SECONDS_MAX)
    return {
        "mode": "payment",
        "client_reference_id": request.idempotency_key,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": request.currency.lower(),
                    "unit_amount": to_stripe(request.amount_minor, request.currency),
                    "product_data": {"name": request.title},
                },
            }
        ],
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        # The payer sees, and is charged, what the contract says, in its currency.
        "adaptive_pricing": {"enabled": False},
        "success_url": request.success_url,
        "cancel_url": request.cancel_url,
        "expires_at": int(asked_at.timestamp()) + open_seconds,
    }


# -- being answered -------------------------------------------------------------------------------


def _session(session: _Session, ahead: timedelta) -> CheckoutSession:
    expires_at = datetime.fromtimestamp(session.expires_at, UTC) + ahead
    return CheckoutSession(session.id, session.url or "", expires_at)


def _state(session: _Session) -> CheckoutState:
    if session.status in ("open", "expired"):
        return CheckoutState(session.status)
    if session.status != "complete":
        raise ValueError(session.status)
    if session.payment_status in ("paid", "no_payment_required"):
        return CheckoutState.PAID
    intent = session.payment_intent
    over = isinstance(intent, _Intent) and intent.status in ("requires_payment_method", "canceled")
    return CheckoutState.FAILED if over else CheckoutState.PROCESSING


_REFUND_STATES = {
    "pending": ProviderRefundState.PENDING,
    "requires_action": ProviderRefundState.PENDING,
    "succeeded": ProviderRefundState.SUCCEEDED,
    "failed": ProviderRefundState.FAILED,
    "canceled": ProviderRefundState.FAILED,
}


def _refund(refund: _Refund, request: RefundRequest) -> ProviderRefund:
    """Raises KeyError for a status that is none, ProviderPermanent if it is of another amount."""
    state = _REFUND_STATES[refund.status or ""]
    currency = refund.currency.upper()
    amount_minor = from_stripe(refund.amount, currency)
    if (amount_minor, currency) != (request.amount_minor, request.currency):
        log.error("a refund at Stripe has another amount than what was asked for")
        raise ProviderPermanent("The refund at Stripe has another amount than this one.")
    return ProviderRefund(refund.id, state, amount_minor, currency)
