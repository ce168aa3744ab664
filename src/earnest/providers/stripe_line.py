"""The line to Stripe: what goes out over it, what comes back, and what it means when it breaks.

A **refusal** is our ProviderError for what went wrong: permanent, transient or unknown. Invariant:
only what cannot have reached Stripe, or what Stripe says it did not begin, is told as "nothing
happened". No refusal repeats Stripe's words, which may hold a key or a name; its codes are enough.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
import stripe

from earnest.errors import (
    ProviderError,
    ProviderKeyInUse,
    ProviderKeyReused,
    ProviderPermanent,
    ProviderTransient,
    ProviderUnknown,
)
from earnest.providers.http import open_client

API_VERSION = "2026-10-28.endive"
"""What our requests and the webhook endpoint at Stripe are written for."""

CONNECT_SECONDS = 5
CALL_SECONDS = 20

# The SDK would report how long calls took, and keep a name for this machine in a file for it.
stripe.enable_telemetry = False

log = logging.getLogger(__name__)

_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}")
# Stripe, or a connected account, has too little money: nothing happened, and later it may work.
_POOR = {"balance_insufficient", "insufficient_funds"}
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


class Line(stripe.HTTPClient):
    """The SDK's way out: no proxies and no netrc from the environment, and what broke is told by
    whether anything can have been sent."""

    name = "httpx"

    def __init__(self) -> None:
        super().__init__()
        timeout = httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        self._http = open_client(timeout)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """The body, the status and the headers of the answer.

        Raises ProviderTransient if no connection came about, ProviderUnknown if one broke.
        """
        try:
            answer = await self._http.request(
                method, url, headers=dict(headers), content=post_data or None
            )
        except _NOTHING_SENT as error:
            raise ProviderTransient("Stripe cannot be reached.") from error
        except httpx.HTTPError as error:
            raise ProviderUnknown(f"The line to Stripe broke: {type(error).__name__}.") from error
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        """Close all connections."""
        await self._http.aclose()


class StripeCaller:
    """What every part of the provider calls with: the SDK's client over a line of our own."""

    def __init__(
        self,
        api_key: str,
        *,
        livemode: bool,
        clock_ahead_seconds: Callable[[], Awaitable[int]],
        api_base: str = "",
    ) -> None:
        self._livemode = livemode
        self._clock_ahead_seconds = clock_ahead_seconds
        self._line = Line()
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base.rstrip("/")} if api_base else None,
            max_network_retries=0,
            http_client=self._line,
        )

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._line.close_async()

    def _require_mode(self, livemode: bool) -> None:
        """Raise ProviderPermanent for what is of the other mode than our key."""
        if livemode is not self._livemode:
            log.error("Stripe answered about the other mode, live or test, than that of our key")
            raise ProviderPermanent("This is not of the mode of our key.")


@asynccontextmanager
async def answered(*, remembered_is_final: bool = False) -> AsyncIterator[None]:
    """The block talks to Stripe, CALL_SECONDS at most; whatever goes wrong is a ProviderError.

    `remembered_is_final`: a failure of its own that Stripe remembers for the idempotency key, and
    will repeat for a day, is told as a refusal.
    """
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except TimeoutError:
        raise ProviderUnknown(f"Stripe did not answer within {CALL_SECONDS} s.") from None
    except stripe.StripeError as error:
        refusal = refusal_of(error)
        if remembered_is_final and refusal.was_repeated and isinstance(refusal, ProviderUnknown):
            refusal = ProviderPermanent(refusal.message)
        # Not `from error`: the SDK puts the whole body of the answer into its exceptions.
        raise refusal from None
    except (msgspec.ValidationError, AttributeError, KeyError, TypeError, ValueError) as error:
        # The SDK does not look at what it was sent: an array or a number breaks it here and there.
        log.warning("an answer of Stripe's could not be read", exc_info=True)
        told = f"Stripe's answer could not be read: {type(error).__name__}."
        raise ProviderUnknown(told) from None


def refusal_of(error: stripe.StripeError) -> ProviderError:
    """Our word for an error of the SDK, by docs.stripe.com/error-low-level.

    Stripe keeps to whatever it answered once it had begun, and says so when it repeats it. It does
    not keep refusals of what it never began: to take another key after one does no harm either.
    """
    refusal = _meant(error)
    refusal.was_repeated = _header(error, "idempotent-replayed") == "true"
    begun = isinstance(error, stripe.InvalidRequestError | stripe.CardError)
    refusal.key_is_spent = refusal.was_repeated or (begun and error.http_status != 409)
    return refusal


def _meant(error: stripe.StripeError) -> ProviderError:
    status, code, parameter = error.http_status, code_of(error), _word(error, "param")
    # Stripe's number of the request, by which its dashboard finds it.
    request_id = _header(error, "request-id")
    request_id = request_id if _WORD.fullmatch(request_id) else ""
    about = " ".join(filter(None, (code, parameter, request_id)))
    told = f"Stripe answered {status}{f' ({about})' if about else ''}."
    if isinstance(error, stripe.IdempotencyError):
        return ProviderKeyReused(told)
    if status == 401:
        log.error("Stripe does not know our key: see EARNEST_STRIPE_SECRET_KEY")
        return ProviderTransient(told)
    if isinstance(error, stripe.RateLimitError):
        return ProviderTransient(told)
    if status == 409:
        in_use = code == "idempotency_key_in_use"
        return ProviderKeyInUse(told) if in_use else ProviderTransient(told)
    if code in _POOR:
        return ProviderTransient(told)
    refused = (stripe.InvalidRequestError, stripe.CardError, stripe.PermissionError)
    return ProviderPermanent(told) if isinstance(error, refused) else ProviderUnknown(told)


def code_of(error: stripe.StripeError) -> str:
    """Stripe's code in an answer; the SDK's own `code` is None for some classes of errors."""
    return _word(error, "code")


def _word(error: stripe.StripeError, name: str) -> str:
    """A machine's word in an error; anything longer or freer may be about a person."""
    body = error.json_body
    inside = body.get("error") if isinstance(body, dict) else None
    word = inside.get(name) if isinstance(inside, dict) else None
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""


def _header(error: stripe.StripeError, name: str) -> str:
    return (error.headers or {}).get(name, "")


def read(answer: stripe.StripeObject, kind: type[T]) -> T:
    """The parts of an answer that `kind` has; within `answered` what is wrong in it is unknown."""
    return msgspec.convert(answer.to_dict(), kind)
