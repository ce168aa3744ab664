"""Stripe's double: a small server that speaks the used part of Stripe's API, and fails as told.

    async with StripeDouble() as stripe:        real sockets on 127.0.0.1; stripe.url, .api_key
        stripe.fault("POST", "/v1/refunds", Fault.TIMEOUT_AFTER_SUCCESS)
        stripe.pay(session_id)                  what a payer does on the page
        await stripe.deliver(url)               signed events, when and in the order a test likes

What payers, banks and account holders do is a method here; it changes the books and returns the
**events** that Stripe has to tell. Invariant: nobody is told anything unless a test delivers it.
"""

import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Literal

import httpx
import msgspec

import stripe_disputes as disputes
import stripe_ledger as ledger
import stripe_payments as payments
from stripe_disputes import Verdict
from stripe_server import Fault, StripeServer
from stripe_wire import Object

__all__ = ["Fault", "Outcome", "StripeDouble"]

Outcome = Literal["paid", "unpaid", "succeeded_later", "failed", "declined"]


class StripeDouble(StripeServer):
    """One Stripe account, its payers and their banks. `books` holds all objects and says how
    Stripe behaves (fees, when money is available, what new refunds are); see `stripe_books.Books`.
    """

    webhook_secret = "whsec_double"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._delivered: set[str] = set()

    # -- what is there ----------------------------------------------------------------------

    @property
    def events(self) -> list[Object]:
        """Everything there is to tell, in the order in which it happened."""
        return self.books.events

    @property
    def sessions(self) -> dict[str, Object]:
        return self.all("checkout.session")

    @property
    def payment_intents(self) -> dict[str, Object]:
        return self.all("payment_intent")

    @property
    def refunds(self) -> dict[str, Object]:
        return self.all("refund")

    def all(self, kind: str) -> dict[str, Object]:
        """Every object of a kind by its id, whoever owns it: "transfer", "payout", ..."""
        return self.books.all(kind)

    # -- what people and banks do -----------------------------------------------------------

    def pay(
        self,
        session_id: str,
        outcome: Outcome = "paid",
        *,
        amount: int | None = None,
        currency: str | None = None,
    ) -> list[Object]:
        """What a payer does on the page; the events of it. `amount` and `currency`: what came in
        is not what was asked for.

        unpaid: a delayed method, the bank will tell. succeeded_later and failed: it told (and a
        session that is still open is unpaid first). declined: the card was refused, and the page
        stays open. Raises ValueError for what a page does not allow.
        """
        books, session = self.books, self.sessions[session_id]
        payments.lapse(books, session)
        told = len(books.events)
        status: str = session["status"]
        if status == "expired" or session["payment_status"] == "paid":
            raise ValueError(f"nobody can pay on a session that is {status}")
        if status == "complete" and outcome not in ("succeeded_later", "failed"):
            raise ValueError(f"a session that waits for the bank is not {outcome}")
        if status == "complete" and payments.intent_of(books, session)["status"] != "processing":
            raise ValueError("the bank of this session has spoken")
        session["amount_total"] = session["amount_total"] if amount is None else amount
        session["currency"] = currency or session["currency"]
        if status == "open" and outcome in ("unpaid", "succeeded_later", "failed"):
            payments.complete(books, session)
        if outcome in ("paid", "succeeded_later"):
            payments.capture(books, session)
        elif outcome in ("failed", "declined"):
            payments.decline(books, session)
        return books.events[told:]

    def expire(self, session_id: str) -> list[Object]:
        """The session's time is over; the events of it."""
        told = len(self.events)
        session = self.sessions[session_id]
        if session["status"] != "open":
            raise ValueError(f"a session that is {session['status']} does not expire")
        payments.expire(self.books, session)
        return self.events[told:]

    def settle_refund(self, refund_id: str, status: str) -> list[Object]:
        """The payer's bank took the refund ("succeeded") or sent it back ("failed")."""
        told = len(self.events)
        payments.settle_refund(self.books, self.refunds[refund_id], status)
        return self.events[told:]

    def onboard(self, account_id: str, *, complete: bool = True) -> list[Object]:
        """The holder of a connected account told Stripe what it wants to know; or not enough."""
        told = len(self.events)
        ledger.onboard(self.books, self.all("account")[account_id], complete=complete)
        return self.events[told:]

    def settle_payout(
        self, payout_id: str, status: str, *, failure_code: str = "account_closed"
    ) -> list[Object]:
        """The bank has it on its way ("in_transit"), took it ("paid") or sent it back ("failed",
        which may come after "paid")."""
        told = len(self.events)
        payout = self.all("payout")[payout_id]
        ledger.settle_payout(self.books, payout, status, failure_code)
        return self.events[told:]

    def dispute(
        self,
        intent_id: str,
        *,
        amount: int | None = None,
        fee: int = 1_500,
        reason: str = "fraudulent",
        warning: bool = False,
    ) -> list[Object]:
        """The bank of a payment's payer takes it back, all of it or `amount`, and Stripe a fee; or
        it only warns. The events of it."""
        told = len(self.events)
        charge = self.all("charge")[self.payment_intents[intent_id]["latest_charge"]]
        disputes.open_dispute(
            self.books,
            charge,
            amount=charge["amount"] if amount is None else amount,
            fee=fee,
            reason=reason,
            warning=warning,
        )
        return self.events[told:]

    def settle_dispute(
        self, dispute_id: str, verdict: Verdict, *, returned_fee: int = 0
    ) -> list[Object]:
        """Evidence was handed in ("review"), or the bank decides for the platform ("won", which
        ends a warning, too) or the payer ("lost")."""
        told = len(self.events)
        dispute = self.all("dispute")[dispute_id]
        disputes.settle_dispute(self.books, dispute, verdict, returned_fee)
        return self.events[told:]

    def charge_fee(self, amount: int, currency: str) -> str:
        """Stripe bills the platform for its services; the id of the balance transaction."""
        return self.books.book("stripe_fee", -amount, currency, None)

    # -- telling ----------------------------------------------------------------------------

    def signed(
        self, event: Object, *, at_seconds: int | None = None, secret: str | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """The event's bytes and headers, as Stripe sends them."""
        body = msgspec.json.encode(event)
        at = int(time.time()) if at_seconds is None else at_seconds
        key = (secret or self.webhook_secret).encode()
        digest = hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        # v0 is a signature of Stripe's that proves nothing; it is there in test mode.
        header = f"t={at},v1={digest},v0={hashlib.sha256(body).hexdigest()}"
        return body, {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}

    async def deliver(
        self,
        to: str | httpx.AsyncClient,
        *events: Object,
        order: Sequence[int] | None = None,
        times: int = 1,
        at_seconds: int | None = None,
        secret: str | None = None,
    ) -> list[httpx.Response]:
        """Post events to a URL, or to /webhook of a client's server; the answers.

        Without events: all that nobody has answered with 2xx yet. `order` are positions among
        them, so that some come later, or never; `times` is how often each is posted in a row.
        """
        chosen = list(events or (each for each in self.events if each["id"] not in self._delivered))
        answers = []
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(to, str):
                client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
                url = to
            else:
                client, url = to, "/webhook"
            for position in range(len(chosen)) if order is None else order:
                event = chosen[position]
                for _ in range(times):
                    body, headers = self.signed(event, at_seconds=at_seconds, secret=secret)
                    answer = await client.post(url, content=body, headers=headers)
                    answers.append(answer)
                    if answer.is_success:
                        self._delivered.add(event["id"])
        return answers
