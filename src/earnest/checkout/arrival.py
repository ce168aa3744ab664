"""`/checkout/return?token=...`: the buyer **arrives** from the payment provider's page.

What came of the payment is looked up, here and at the provider, and never guessed from the fact
that a browser came by. Invariants: a buyer is sent back to the partner only with a success that is
on the ledger or a failure that is final; what they carry is signed, so that nobody can make up a
result (spec 9).
"""

import re
import time
from datetime import timedelta
from urllib.parse import urlencode

from litestar import Response, get

from earnest.actions.checkout_sessions import Urls
from earnest.actions.core import Core
from earnest.checkout.pages import go
from earnest.checkout.view import Result, result_of
from earnest.checkout.visit import (
    AnyRequest,
    Visit,
    callback_of,
    expired,
    here,
    notice,
    visit_of,
)
from earnest.domain.payment import Payment
from earnest.errors import ProviderError
from earnest.partner.callbacks import with_query
from earnest.partner.tokens import PartnerTokens
from earnest.providers.base import CheckoutState

PATH = "/checkout/return"
RESULT_TYPE = "checkout-result+jwt"
RESULT_SECONDS = 600
ARRIVALS_SECONDS = 2 * 24 * 3600
"""How long after a link has ended its buyer may still come back: a session lasts for a day, and
so may a bank. All that the page tells by then is what came of the payment."""

QUICK_TRIES, TRIES_MAX = 5, 12
QUICK_SECONDS, SLOW_SECONDS = 2, 5


def urls(public_url: str, token: str, **query: str) -> Urls:
    """Where the provider's page leads to: its success to the page that looks what came of it."""
    base = f"{public_url.rstrip('/')}/checkout"
    return Urls(
        f"{base}/return?{urlencode({'token': token, **query, 'arrived': '1'})}",
        f"{base}?{urlencode({'token': token, **query})}",
    )


@get("/return")
async def come_back(request: AnyRequest) -> Response[str]:
    """303 to the partner with what came of it; until that is known, a page that waits for it."""
    visit = await visit_of(request)
    if visit.found.now >= visit.link.expires_at + timedelta(seconds=ARRIVALS_SECONDS):
        return expired(request, visit)
    if "arrived" in request.query_params:
        # Browsers hold a chain of redirects that a form began to the form's policy, and that of
        # the provider's page does not know the partner: this page begins a new chain.
        onwards = here(request, visit, PATH)
        return notice(request, visit, "waiting", check=onwards, refresh=f"0; url={onwards}")
    payment = visit.found.payment
    result = result_of(visit.found.contract, payment)
    if result is Result.OPEN and payment is not None:
        result = await _ask_provider(request.app.state.core, payment)
    match result:
        case Result.SUCCESS | Result.FAILED if payment is not None:
            return await _tell(request, visit, result, payment)
        case Result.PROCESSING:
            return notice(request, visit, "processing", check=here(request, visit, PATH))
        case Result.ARRIVING:
            return _wait(request, visit)
    return go(here(request, visit))  # nobody has paid


async def _ask_provider(core: Core, payment: Payment) -> Result:
    """What the provider knows of a session that we have had no word of."""
    if payment.session_id is None:
        return Result.OPEN
    try:
        status = await core.provider.find_checkout(payment.session_id)
    except ProviderError:
        return Result.ARRIVING
    match status.state if status else None:
        case CheckoutState.PAID | CheckoutState.PROCESSING:
            return Result.ARRIVING
        case CheckoutState.FAILED | CheckoutState.EXPIRED:
            return Result.FAILED
    return Result.OPEN


def _wait(request: AnyRequest, visit: Visit) -> Response[str]:
    """A page that looks again by itself, soon at first, and after a minute not any more."""
    given = request.query_params.get("tries", "0")
    tries = int(given) if re.fullmatch(r"[0-9]{1,2}", given) else TRIES_MAX
    again = here(request, visit, PATH)
    if tries >= TRIES_MAX:
        return notice(request, visit, "waiting", check=again, is_long=True)
    seconds = QUICK_SECONDS if tries < QUICK_TRIES else SLOW_SECONDS
    following = here(request, visit, PATH, tries=str(tries + 1))
    return notice(request, visit, "waiting", check=again, refresh=f"{seconds}; url={following}")


async def _tell(
    request: AnyRequest, visit: Visit, result: Result, payment: Payment
) -> Response[str]:
    """To the partner, or to the buyer where the partner wants nobody back."""
    callback = callback_of(request, visit)
    if callback is None:
        can_retry = result is Result.FAILED and not visit.is_over
        return notice(request, visit, result, again=here(request, visit) if can_retry else None)
    said = {
        "Status": result.value,
        "paymentId": f"PAY-{payment.key}",
        "contractId": visit.found.contract.number,
    }
    return go(with_query(callback, **said, signature=await _signed(request, visit, said)))


async def _signed(request: AnyRequest, visit: Visit, said: dict[str, str]) -> str:
    """What is said, as a JWT that the published keys verify (/.well-known/jwks.json)."""
    tokens: PartnerTokens = request.app.state.partner_tokens
    now = int(time.time())
    claims = {
        "iss": request.app.state.settings.public_url.rstrip("/"),
        "aud": visit.found.client_id,
        "iat": now,
        "exp": now + RESULT_SECONDS,
        "contractId": said["contractId"],
        "paymentId": said["paymentId"],
        "status": said["Status"],
    }
    return await tokens.sign(claims, RESULT_TYPE)
