"""Money in and back, as Stripe's double does it: checkout sessions, payments, refunds.

A **session** is the page where somebody pays; its **payment intent** appears when they try to, and
the **charge** when they did. Invariant: the refunds of a charge that did not fail are never more
than its amount, and each charge and refund has exactly one balance transaction of its own.
"""

from typing import Any

from stripe_books import Books, Call
from stripe_disputes import refuse_disputed
from stripe_wire import Object, Refused

SESSION_SECONDS_MIN, DAY_SECONDS = 30 * 60, 24 * 60 * 60
AMOUNT_MAX = 99_999_999_999
# Stripe takes these with two or three decimals, and the last ones must be 0.
MULTIPLES = {"isk": 100, "ugx": 100} | dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10)
NEVER_REFUNDED = {"failed", "canceled"}


# -- sessions -------------------------------------------------------------------------------


def create_session(books: Books, call: Call) -> Object:
    params = call.params
    for name in ("mode", "line_items", "success_url"):
        if name not in params:
            raise Refused(f"A parameter is required: {name}.", code="parameter_missing", param=name)
    if params["mode"] != "payment":
        raise Refused("This double takes payments, and nothing else.", param="mode")
    lines = [_line(books, each, f"line_items[{n}]") for n, each in enumerate(params["line_items"])]
    currencies = {line["currency"] for line in lines}
    if len(currencies) != 1:
        raise Refused("All lines must have the same currency.", param="line_items")
    amount = sum(line["amount_total"] for line in lines)
    if amount > AMOUNT_MAX:
        raise Refused("This is too much.", code="amount_too_large", param="line_items")
    expires_at = params.get("expires_at", books.now + DAY_SECONDS)
    # Without one it is a whole day; with one it must be less.
    open_seconds = expires_at - books.now
    given = "expires_at" in params
    if given and not SESSION_SECONDS_MIN <= open_seconds < DAY_SECONDS:
        raise Refused("expires_at is from 30 minutes to less than a day.", param="expires_at")
    session = books.add(
        "cs_test",
        "checkout.session",
        call.account,
        adaptive_pricing={"enabled": True} | params.get("adaptive_pricing", {}),
        amount_subtotal=amount,
        amount_total=amount,
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None},
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        currency=currencies.pop(),
        custom_fields=[],
        custom_text={},
        customer=None,
        customer_details=None,
        customer_email=params.get("customer_email"),
        expires_at=expires_at,
        livemode=False,
        metadata=params.get("metadata", {}),
        mode="payment",
        payment_intent=None,
        payment_method_types=["card"],
        payment_status="unpaid",
        shipping_options=[],
        status="open",
        success_url=params["success_url"],
        ui_mode="hosted_page",
    )
    session["url"] = f"https://checkout.stripe.com/c/pay/{session['id']}"
    books.lines[session["id"]] = lines
    books.intent_data[session["id"]] = params.get("payment_intent_data", {})
    return session


def _line(books: Books, line: Object, param: str) -> Object:
    price = line.get("price_data")
    if price is None or "quantity" not in line:
        raise Refused(f"{param} needs price_data and a quantity.", param=param)
    if "name" not in price.get("product_data", {}) or "unit_amount" not in price:
        raise Refused(f"{param} needs a unit_amount and a name.", param=f"{param}[price_data]")
    currency, unit, quantity = price["currency"], price["unit_amount"], line["quantity"]
    if currency != currency.lower() or len(currency) != 3 or not currency.isalpha():
        raise Refused("No such currency.", param=f"{param}[price_data][currency]")
    if unit < 1 or quantity < 1 or unit % MULTIPLES.get(currency, 1):
        raise Refused("No such amount.", param=f"{param}[price_data][unit_amount]")
    return {
        "id": books.number("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": unit * quantity,
        "amount_tax": 0,
        "amount_total": unit * quantity,
        "currency": currency,
        "description": price["product_data"]["name"],
        "price": {
            "id": books.number("price"),
            "object": "price",
            "currency": currency,
            "unit_amount": unit,
            "type": "one_time",
        },
        "quantity": quantity,
    }


def find_session(books: Books, call: Call) -> Object:
    session = books.find("checkout.session", call.ids[0], call.account)
    lapse(books, session)
    return session


def lapse(books: Books, session: Object) -> None:
    """Nobody can pay on a page after its time."""
    if session["status"] == "open" and session["expires_at"] <= books.now:
        expire(books, session)


def list_sessions(books: Books, call: Call) -> Object:
    wanted = {
        name: call.params[name] for name in ("payment_intent", "status") if name in call.params
    }
    return books.page(books.of("checkout.session", call.account, **wanted), call)


def list_lines(books: Books, call: Call) -> Object:
    session = find_session(books, call)
    return books.page(books.lines[session["id"]][::-1], call)


def expire_session(books: Books, call: Call) -> Object:
    session = find_session(books, call)
    if session["status"] != "open":
        raise Refused(f"This session is {session['status']}.", begun=True)
    return expire(books, session)


def expire(books: Books, session: Object) -> Object:
    """The session's time is over, or the merchant closed it."""
    session |= {"status": "expired", "url": None}
    books.tell("checkout.session.expired", session)
    return session


# -- payments -------------------------------------------------------------------------------


def attempt(books: Books, session: Object, status: str) -> Object:
    """The payer tries: the session's payment intent, in this state from now on."""
    if session["payment_intent"] is None:
        given = books.intent_data[session["id"]]
        intent = books.add(
            "pi",
            "payment_intent",
            amount=session["amount_total"],
            amount_capturable=0,
            amount_received=0,
            capture_method="automatic_async",
            confirmation_method="automatic",
            currency=session["currency"],
            description=given.get("description"),
            last_payment_error=None,
            latest_charge=None,
            livemode=False,
            metadata=given.get("metadata", {}),
            payment_method_types=["card"],
        )
        session["payment_intent"] = intent["id"]
    intent = intent_of(books, session)
    intent |= {"status": status, "amount": session["amount_total"], "currency": session["currency"]}
    return intent


def intent_of(books: Books, session: Object) -> Object:
    return books.all("payment_intent")[session["payment_intent"]]


def complete(books: Books, session: Object) -> None:
    """The payer is done; their bank is not."""
    intent = attempt(books, session, "processing")
    session |= {"status": "complete", "url": None}
    books.tell("payment_intent.processing", intent)
    books.tell("checkout.session.completed", session)


def capture(books: Books, session: Object) -> None:
    """The money came: at once, or after the session was complete."""
    at_once = session["status"] == "open"
    intent = attempt(books, session, "succeeded")
    amount, currency = session["amount_total"], session["currency"]
    charge = add_charge(
        books, "ch", amount, currency, metadata=intent["metadata"], payment_intent=intent["id"]
    )
    charge["balance_transaction"] = books.book(
        "charge",
        amount,
        currency,
        charge["id"],
        fee=amount * books.fee_bps // 10_000 + books.fee_minor,
        available_on=books.now + books.settles_after_seconds,
    )
    intent |= {"amount_received": amount, "latest_charge": charge["id"], "last_payment_error": None}
    session |= {"status": "complete", "url": None, "payment_status": "paid"}
    books.tell("charge.succeeded", charge)
    books.tell("payment_intent.succeeded", intent)
    name = "completed" if at_once else "async_payment_succeeded"
    books.tell(f"checkout.session.{name}", session)


def add_charge(
    books: Books, prefix: str, amount: int, currency: str, owner: str | None = None, **fields: Any
) -> Object:
    """Money that came to the owner: of a card (ch), or from the platform (py)."""
    unknown = dict.fromkeys(("address", "email", "name", "phone", "tax_id"))
    given = {"metadata": {}, "payment_intent": None, "source_transfer": None} | fields
    return books.add(
        prefix,
        "charge",
        owner,
        amount=amount,
        amount_captured=amount,
        amount_refunded=0,
        billing_details=unknown,
        captured=True,
        currency=currency,
        disputed=False,
        livemode=False,
        paid=True,
        refunded=False,
        status="succeeded",
        **given,
    )


def decline(books: Books, session: Object) -> None:
    """The card or the bank said no. An open session stays open for another try."""
    intent = attempt(books, session, "requires_payment_method")
    intent["last_payment_error"] = {"type": "card_error", "code": "card_declined"}
    books.tell("payment_intent.payment_failed", intent)
    if session["status"] == "complete":
        books.tell("checkout.session.async_payment_failed", session)


def find_intent(books: Books, call: Call) -> Object:
    return books.find("payment_intent", call.ids[0], call.account)


def find_charge(books: Books, call: Call) -> Object:
    return books.find("charge", call.ids[0], call.account)


# -- refunds --------------------------------------------------------------------------------


def create_refund(books: Books, call: Call) -> Object:
    params = call.params
    named = [name for name in ("payment_intent", "charge") if name in params]
    if len(named) != 1:
        raise Refused("One of payment_intent and charge.", code="parameter_missing")
    charge_id = params.get("charge")
    if charge_id is None:
        intent = books.find("payment_intent", params["payment_intent"], call.account, named[0])
        charge_id = intent["latest_charge"]
        if charge_id is None:
            raise Refused("This payment was not captured.", param="payment_intent", begun=True)
    charge = books.find("charge", charge_id, call.account, named[0])
    refuse_disputed(books, charge)
    left = charge["amount"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left == 0:
        raise Refused("Nothing is left.", code="charge_already_refunded", begun=True)
    if not 0 < amount <= left:
        raise Refused(f"There are {left} left.", param="amount", begun=True)
    refund = books.add(
        "re",
        "refund",
        call.account,
        amount=amount,
        charge=charge_id,
        currency=charge["currency"],
        metadata=params.get("metadata", {}),
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
        status=books.refund_status,
    )
    refund["balance_transaction"] = books.book("refund", -amount, charge["currency"], refund["id"])
    _refunded(charge, amount)
    books.tell("charge.refunded", charge)
    books.tell("refund.created", refund)
    if books.refund_status == "failed":
        _give_back(books, refund)
    return refund


def settle_refund(books: Books, refund: Object, status: str) -> None:
    """The payer's bank took the money, or sent it back."""
    if refund["status"] in NEVER_REFUNDED or status not in ("succeeded", "failed"):
        raise ValueError(f"a refund that is {refund['status']} does not become {status}")
    refund["status"] = status
    books.tell("refund.updated", refund)
    books.tell("charge.refund.updated", refund)
    if status == "failed":
        _give_back(books, refund)


def _give_back(books: Books, refund: Object) -> None:
    refund["failure_reason"] = "lost_or_stolen_card"
    refund["failure_balance_transaction"] = books.book(
        "refund_failure", refund["amount"], refund["currency"], refund["id"]
    )
    _refunded(books.objects[refund["charge"]], -refund["amount"])
    books.tell("refund.failed", refund)


def _refunded(charge: Object, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]


def find_refund(books: Books, call: Call) -> Object:
    return books.find("refund", call.ids[0], call.account)


def list_refunds(books: Books, call: Call) -> Object:
    wanted = {
        name: call.params[name] for name in ("payment_intent", "charge") if name in call.params
    }
    return books.page(books.of("refund", call.account, **wanted), call)
