"""Money on and out, as Stripe's double does it: connected accounts, transfers, payouts, balances.

A **transfer** moves the platform's money to a connected account, a **payout** moves an account's
money to its bank. Invariant: nothing leaves a balance that does not have it, and what failed or was
reversed came back by a balance transaction of its own.
"""

from stripe_books import Books, Call, told
from stripe_payments import add_charge
from stripe_wire import Object, Refused

LINK_SECONDS = 300
TRANSIT_SECONDS = 2 * 24 * 60 * 60
# Charged with decimals, paid out without.
WHOLE_PAYOUTS = {"huf", "isk", "twd", "ugx"}
_DUE = ["business_profile.url", "external_account", "tos_acceptance.date"]
# Where Stripe has no accounts.
_NOWHERE = {"CU", "IR", "KP", "SY"}
# A bank may send back what it had taken: paid is not for ever.
_PAYOUT_STEPS = {
    "pending": {"in_transit", "paid", "failed"},
    "in_transit": {"paid", "failed"},
    "paid": {"failed"},
}


# -- connected accounts ---------------------------------------------------------------------


def create_account(books: Books, call: Call) -> Object:
    params = dict(call.params)
    country = params.get("country", "US")
    if not (len(country) == 2 and country.isupper()) or country in _NOWHERE:
        raise Refused("No such country.", code="country_unsupported", param="country", begun=True)
    requested = dict.fromkeys(params.pop("capabilities", {}), "inactive")
    given = {"country": "US", "default_currency": "usd", "metadata": {}, "settings": {}} | params
    account = books.add(
        "acct",
        "account",
        call.account,
        **given,
        capabilities=requested,
        charges_enabled=False,
        details_submitted=False,
        payouts_enabled=False,
        requirements=_requirements(_DUE),
    )
    books.tell("account.updated", account, account["id"])
    return account


def _requirements(due: list[str]) -> Object:
    return {
        "currently_due": due,
        "eventually_due": due,
        "past_due": [],
        "pending_verification": [],
        "disabled_reason": "requirements.past_due" if due else None,
    }


def onboard(books: Books, account: Object, *, complete: bool) -> None:
    """The account's holder gave Stripe what it wants to know; or Stripe wants more again."""
    capabilities = dict.fromkeys(account["capabilities"], "active" if complete else "inactive")
    account |= {
        "capabilities": capabilities,
        "charges_enabled": capabilities.get("card_payments") == "active",
        "details_submitted": True,
        "payouts_enabled": complete,
        "requirements": _requirements([] if complete else ["individual.verification.document"]),
    }
    books.tell("account.updated", account, account["id"])


def find_account(books: Books, call: Call) -> Object:
    return books.find("account", call.ids[0])


def find_own_account(books: Books, call: Call) -> Object:
    """The platform itself, or the connected account that a request is about."""
    if call.account is not None:
        return books.find("account", call.account)
    return books.platform


def update_account(books: Books, call: Call) -> Object:
    account = find_account(books, call)
    given = call.params.get("metadata", {})
    metadata = told(account["metadata"] | given if isinstance(given, dict) else given)
    account |= call.params | {"metadata": metadata}
    books.tell("account.updated", account, account["id"])
    return account


def list_accounts(books: Books, call: Call) -> Object:
    return books.page(books.of("account"), call)


def create_account_link(books: Books, call: Call) -> Object:
    for name in ("refresh_url", "return_url"):
        if name not in call.params:
            raise Refused(f"A parameter is required: {name}.", code="parameter_missing", param=name)
    account = books.find("account", call.params["account"], None, "account")
    return {
        "object": "account_link",
        "created": books.now,
        "expires_at": books.now + LINK_SECONDS,
        "url": f"https://connect.stripe.com/setup/s/{account['id']}/{books.number('link')}",
    }


# -- transfers ------------------------------------------------------------------------------


def create_transfer(books: Books, call: Call) -> Object:
    params = call.params
    amount, currency = _amount(params), params["currency"]
    account = books.find("account", params["destination"], None, "destination")
    if account["capabilities"].get("transfers") != "active":
        raise Refused(
            "This account cannot take transfers yet.",
            code="insufficient_capabilities_for_transfer",
            begun=True,
        )
    available_on = books.now
    source = params.get("source_transaction")
    if source is None:
        _need(books, amount, currency, call.account)
    else:
        charge = books.find("charge", source, call.account, "source_transaction")
        sent = sum(each["amount"] for each in books.of("transfer", source_transaction=source))
        if charge["currency"] != currency or amount > charge["amount"] - sent:
            raise Refused("The charge does not have this.", param="amount", begun=True)
        available_on = books.objects[charge["balance_transaction"]]["available_on"]
    transfer = books.add(
        "tr",
        "transfer",
        call.account,
        amount=amount,
        amount_reversed=0,
        currency=currency,
        description=params.get("description"),
        destination=account["id"],
        livemode=False,
        metadata=params.get("metadata", {}),
        reversed=False,
        source_transaction=source,
        source_type="card",
        transfer_group=params.get("transfer_group"),
    )
    path = f"{call.path}/{transfer['id']}/reversals"
    transfer["reversals"] = {"object": "list", "data": [], "has_more": False, "url": path}
    payment = add_charge(
        books, "py", amount, currency, account["id"], source_transfer=transfer["id"]
    )
    payment["balance_transaction"] = books.book(
        "payment",
        amount,
        currency,
        payment["id"],
        owner=account["id"],
        available_on=available_on,
    )
    transfer["balance_transaction"] = books.book(
        "transfer", -amount, currency, transfer["id"], available_on=available_on
    )
    transfer["destination_payment"] = payment["id"]
    books.tell("transfer.created", transfer)
    return transfer


def _amount(params: Object) -> int:
    if "amount" not in params:
        raise Refused("A parameter is required: amount.", code="parameter_missing", param="amount")
    amount: int = params["amount"]
    if amount < 1:
        raise Refused("amount is at least 1.", code="parameter_invalid_integer", param="amount")
    return amount


def _need(books: Books, amount: int, currency: str, owner: str | None) -> None:
    if books.balance("available", owner).get(currency, 0) < amount:
        raise Refused("The balance does not have this.", code="balance_insufficient", begun=True)


def find_transfer(books: Books, call: Call) -> Object:
    return books.find("transfer", call.ids[0], call.account)


def list_transfers(books: Books, call: Call) -> Object:
    names = ("destination", "transfer_group")
    wanted = {name: call.params[name] for name in names if name in call.params}
    return books.page(books.of("transfer", call.account, **wanted), call)


def create_reversal(books: Books, call: Call) -> Object:
    transfer = find_transfer(books, call)
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = call.params.get("amount", left)
    if not 0 < amount <= left:
        raise Refused(f"There are {left} left.", param="amount", begun=True)
    currency, account = transfer["currency"], transfer["destination"]
    _need(books, amount, currency, account)
    reversal = books.add(
        "trr",
        "transfer_reversal",
        call.account,
        amount=amount,
        currency=currency,
        metadata=call.params.get("metadata", {}),
        transfer=transfer["id"],
    )
    books.book("payment_refund", -amount, currency, transfer["destination_payment"], owner=account)
    reversal["balance_transaction"] = books.book(
        "transfer_refund", amount, currency, reversal["id"]
    )
    transfer["reversals"]["data"].insert(0, reversal)
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    books.tell("transfer.reversed", transfer)
    return reversal


def find_reversal(books: Books, call: Call) -> Object:
    return books.find("transfer_reversal", call.ids[1], call.account)


def list_reversals(books: Books, call: Call) -> Object:
    rows = books.of("transfer_reversal", call.account, transfer=find_transfer(books, call)["id"])
    return books.page(rows, call)


# -- payouts --------------------------------------------------------------------------------


def create_payout(books: Books, call: Call) -> Object:
    params, owner = call.params, call.account
    amount, currency = _amount(params), params["currency"]
    if currency in WHOLE_PAYOUTS and amount % 100:
        raise Refused(f"{currency} is paid out in whole units.", param="amount")
    if not find_own_account(books, call)["payouts_enabled"]:
        raise Refused("No payouts yet.", code="payouts_not_allowed", begun=True)
    _need(books, amount, currency, owner)
    payout = books.add(
        "po",
        "payout",
        owner,
        amount=amount,
        arrival_date=books.now + TRANSIT_SECONDS,
        automatic=False,
        currency=currency,
        description=params.get("description"),
        destination=None,
        failure_balance_transaction=None,
        failure_code=None,
        failure_message=None,
        livemode=False,
        metadata=params.get("metadata", {}),
        method=params.get("method", "standard"),
        reconciliation_status="not_applicable",
        source_type="card",
        statement_descriptor=params.get("statement_descriptor"),
        status="pending",
        type="bank_account",
    )
    payout["balance_transaction"] = books.book(
        "payout", -amount, currency, payout["id"], owner=owner
    )
    books.tell("payout.created", payout, owner)
    return payout


def settle_payout(books: Books, payout: Object, status: str, failure_code: str) -> None:
    """The bank took the money on its way, took it, or sent it back."""
    if status not in _PAYOUT_STEPS.get(payout["status"], ()):
        raise ValueError(f"a payout that is {payout['status']} does not become {status}")
    payout["status"] = status
    owner = books.owner(payout)
    if status == "failed":
        payout |= {"failure_code": failure_code, "failure_message": "The bank sent it back."}
        _give_back(books, payout, "payout_failure")
    books.tell("payout.updated" if status == "in_transit" else f"payout.{status}", payout, owner)


def cancel_payout(books: Books, call: Call) -> Object:
    payout = find_payout(books, call)
    if payout["status"] != "pending":
        raise Refused(f"This payout is {payout['status']}.", begun=True)
    payout["status"] = "canceled"
    _give_back(books, payout, "payout_cancel")
    books.tell("payout.canceled", payout, call.account)
    return payout


def _give_back(books: Books, payout: Object, type_: str) -> None:
    payout["failure_balance_transaction"] = books.book(
        type_, payout["amount"], payout["currency"], payout["id"], owner=books.owner(payout)
    )


def find_payout(books: Books, call: Call) -> Object:
    return books.find("payout", call.ids[0], call.account)


def list_payouts(books: Books, call: Call) -> Object:
    wanted = {name: call.params[name] for name in ("status",) if name in call.params}
    return books.page(books.of("payout", call.account, **wanted), call)


# -- balances -------------------------------------------------------------------------------


def find_balance(books: Books, call: Call) -> Object:
    sums = {status: books.balance(status, call.account) for status in ("available", "pending")}
    listed = {
        status: [
            {"amount": amount, "currency": currency, "source_types": {"card": amount}}
            for currency, amount in sorted(each.items())
        ]
        for status, each in sums.items()
    }
    return {"object": "balance", "livemode": False, **listed}


def find_balance_transaction(books: Books, call: Call) -> Object:
    return books.find("balance_transaction", call.ids[0], call.account)


def list_balance_transactions(books: Books, call: Call) -> Object:
    names = ("type", "currency", "source")
    wanted = {name: call.params[name] for name in names if name in call.params}
    return books.page(books.of("balance_transaction", call.account, **wanted), call)
