"""A **conversation** with the server about one call: token, attempts, waits, answer.

It is a generator that does nothing itself: it yields **steps** (send this request, wait, get a
token) and is told what came of them, so that one implementation serves threads and event loops.
Invariants: every attempt carries the same Idempotency-Key; attempts and waits are bounded; the
client's secret goes to `/connect/token` and nowhere else.
"""

import random
import time
from collections.abc import Callable, Generator
from typing import TypeVar

import httpx
import msgspec

from earnest_client.calls import Call, bare
from earnest_client.errors import (
    EarnestError,
    NotConnected,
    error_of,
    retry_after_seconds,
)

RETRYABLE = frozenset({429, 502, 503, 504})
RENEW_SECONDS = 60
"""A token is renewed so long before it ends."""
TOKEN_PATH = "/connect/token"  # noqa: S105

Answer = TypeVar("Answer")


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a request is sent at most, and how long is waited in between: `wait_seconds` at
    first, then twice as long each time, a random part of it less; never over `wait_seconds_max`,
    so that whoever asks for more patience with Retry-After gets an error instead."""

    attempts_max: int = 5
    wait_seconds: float = 0.5
    wait_seconds_max: float = 30.0


class Wait(msgspec.Struct, frozen=True):
    """Step: do nothing for so long."""

    seconds: float


class GetToken(msgspec.Struct, frozen=True):
    """Step: see that there is a token; one of all that ask at once fetches it."""


Step = httpx.Request | Wait | GetToken
Heard = httpx.Response | httpx.TransportError | None
Conversation = Generator[Step, Heard, Answer]


class _Token(msgspec.Struct, frozen=True):
    """`expires_in` counts minutes: this API's own unit, not RFC 6749's."""

    access_token: str
    expires_in: int


class _Held(msgspec.Struct, frozen=True):
    text: str
    until: float  # of time.monotonic()


_token = bare(_Token)


class Desk:
    """What all conversations of a client share: where the server is, who we are, the token."""

    def __init__(
        self, url: str, client_id: str, client_secret: str, retries: Retries, user_agent: str
    ) -> None:
        base = httpx.URL(url)
        if base.scheme not in ("http", "https") or not base.host:
            raise ValueError("the server's URL must be https://... (or http://...)")
        if retries.attempts_max < 1:
            raise ValueError("attempts_max must be at least 1")
        self._url = str(base.copy_with(query=None, fragment=None)).rstrip("/")
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._retries = retries
        self._user_agent = user_agent
        self._held: _Held | None = None

    @property
    def has_token(self) -> bool:
        """Whether there is a token that is good for a while."""
        held = self._held
        return held is not None and time.monotonic() < held.until

    def carry_out(self, call: Call[Answer]) -> Conversation[Answer]:
        """Returns what the call answers. Raises EarnestError."""
        if call.is_public:
            return self._read(call, (yield from self._ask(lambda: self._request(call), call.key)))
        held = yield from self._hold()
        answer = yield from self._ask(lambda: self._request(call, held), call.key)
        if answer.status_code == 401:
            # Its secret was rotated, or its key is gone: a token from now may be good.
            self._forget(held)
            renewed = yield from self._hold()
            answer = yield from self._ask(lambda: self._request(call, renewed), call.key)
        return self._read(call, answer)

    def fetch_token(self) -> Conversation[None]:
        """Hold a new token. Raises EarnestError."""
        form = {"grant_type": "client_credentials", **self._credentials}
        url = self._url + TOKEN_PATH
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        asked_at = time.monotonic()
        answer = yield from self._ask(
            lambda: httpx.Request("POST", url, data=form, headers=headers), None
        )
        if answer.status_code != 200:
            raise error_of(answer, None)
        made = _token(answer.content)
        lives_seconds = made.expires_in * 60
        self._held = _Held(
            made.access_token, asked_at + max(lives_seconds - RENEW_SECONDS, lives_seconds / 2)
        )

    def _hold(self) -> Generator[Step, Heard, _Held]:
        while (held := self._held) is None or time.monotonic() >= held.until:
            yield GetToken()
        return held

    def _forget(self, held: _Held) -> None:
        """Unless another conversation was faster and there is a newer one."""
        if self._held is held:
            self._held = None

    def _request(self, call: Call[Answer], held: _Held | None = None) -> httpx.Request:
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if held is not None:
            headers["Authorization"] = f"Bearer {held.text}"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        return httpx.Request(
            call.method,
            self._url + call.path,
            params=call.query or None,
            content=call.body,
            headers=headers,
        )

    def _read(self, call: Call[Answer], answer: httpx.Response) -> Answer:
        if answer.status_code not in (200, 202):
            raise error_of(answer, call.key)
        return call.read(answer.content)

    def _ask(
        self, make: Callable[[], httpx.Request], key: str | None
    ) -> Generator[Step, Heard, httpx.Response]:
        """The first answer that is not to be tried again, or the last one. Raises NotConnected."""
        attempt = 1
        while True:
            heard = yield make()
            assert heard is not None
            delay_seconds = self._delay_seconds(heard, attempt)
            if delay_seconds is None:
                break
            yield Wait(delay_seconds)
            attempt += 1
        if isinstance(heard, httpx.TransportError):
            raise _not_connected(heard, key) from heard
        return heard

    def _delay_seconds(
        self, heard: httpx.Response | httpx.TransportError, tried: int
    ) -> float | None:
        """How long to wait before the next attempt; None: there is to be none."""
        if isinstance(heard, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return None
        asked = None
        if isinstance(heard, httpx.Response):
            if heard.status_code not in RETRYABLE:
                return None
            asked = retry_after_seconds(heard)
        most = self._retries.wait_seconds_max
        if tried >= self._retries.attempts_max or (asked or 0) > most:
            return None
        backoff = min(self._retries.wait_seconds * 2.0 ** min(tried - 1, 32), most)
        # Not everybody who was turned away comes back at the same moment.
        return (asked or 0.0) + backoff * random.uniform(0.5, 1.0)  # noqa: S311


def _not_connected(error: httpx.TransportError, key: str | None) -> EarnestError:
    said = str(error) or type(error).__name__
    return NotConnected(f"The server did not answer: {said}", idempotency_key=key)
