"""What the owner of the account sets at Stripe, as its double has it: webhook endpoints.

An **endpoint** is an address for the events of the account itself, or, made with `connect`, for
those of connected accounts; which of both it never says, but for the Connect application it names.
"""

import secrets

from stripe_books import Books, Call
from stripe_wire import Object, Refused

APPLICATION = "ca_double"


def create_endpoint(books: Books, call: Call) -> Object:
    params = call.params
    if not params["url"].startswith(("https://", "http://")):
        raise Refused("This is no URL.", code="url_invalid", param="url", begun=True)
    made = books.add(
        "we",
        "webhook_endpoint",
        call.account,
        api_version=params.get("api_version"),
        application=APPLICATION if params.get("connect") else None,
        description=params.get("description"),
        enabled_events=params["enabled_events"],
        livemode=False,
        metadata=params.get("metadata", {}),
        status="enabled",
        url=params["url"],
    )
    # Said once, to whoever made it.
    return made | {"secret": f"whsec_{secrets.token_hex(16)}"}


def list_endpoints(books: Books, call: Call) -> Object:
    return books.page(books.of("webhook_endpoint", call.account), call)
