"""The two **clients**: one for threads, one for event loops (asyncio or trio).

They differ in how they wait, and in nothing else: what can be asked for is described once, in
`contracts`, `payouts` and `webhooks`, and how in `conversation`.
"""

import functools
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import anyio
import httpx

from earnest_client import contracts, payouts, webhooks
from earnest_client.calls import Call, turned
from earnest_client.conversation import Conversation, Desk, GetToken, Heard, Retries, Wait
from earnest_client.pages import Entry, Page

VERSION = "0.1.0"
TIMEOUT_SECONDS = 30.0

P = ParamSpec("P")
Answer = TypeVar("Answer")
AnEntry = TypeVar("AnEntry", bound=Entry)


def _pose(method: Callable[..., Any], describe: Callable[..., Any]) -> None:
    """Give `method` the name, the words and the parameters of the call that it carries out."""
    functools.update_wrapper(method, describe)
    del method.__wrapped__  # type: ignore[attr-defined]
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    wanted = inspect.signature(describe)
    made = inspect.Signature([me, *wanted.parameters.values()])
    method.__signature__ = made  # type: ignore[attr-defined]


# -- for threads ------------------------------------------------------------------------------


def _now(describe: Callable[P, Call[Answer]]) -> Callable[Concatenate["EarnestClient", P], Answer]:
    def method(self: "EarnestClient", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self.send(describe(*args, **kwargs))

    _pose(method, describe)
    return method


def _each(
    describe: Callable[P, Call[Page[AnEntry]]],
) -> Callable[Concatenate["EarnestClient", P], Iterator[AnEntry]]:
    def method(self: "EarnestClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[AnEntry]:
        call, seen = describe(*args, **kwargs), set[object]()
        while True:
            page = self.send(call)
            yield from _unseen(page, seen)
            if _is_last(page):
                return
            call = turned(call, page.page + 1)

    _pose(method, describe)
    return method


class EarnestClient:
    """A partner's client, for threads.

        with EarnestClient("https://escrow.example", client_id, client_secret) as escrow:
            contract = escrow.get_contract("CNT-2601-00100002")

    `http` is an httpx.Client of your own, for proxies or certificates; you close it. May be used
    by many threads at once.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        retries: Retries = Retries(),  # noqa: B008  frozen
        timeout_seconds: float = TIMEOUT_SECONDS,
        http: httpx.Client | None = None,
    ) -> None:
        agent = f"earnest-client/{VERSION}"
        self.client_id = client_id
        self._desk = Desk(url, client_id, client_secret, retries, agent)
        self._own = httpx.Client(timeout=timeout_seconds) if http is None else None
        self._http = http or self._own
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own is not None:
            self._own.close()

    def send(self, call: Call[Answer]) -> Answer:
        """Carry a call out. Raises EarnestError."""
        return self._hold(self._desk.carry_out(call))

    def _hold(self, conversation: Conversation[Answer]) -> Answer:
        assert self._http is not None
        heard: Heard = None
        while True:
            try:
                step = conversation.send(heard)
            except StopIteration as over:
                answer: Answer = over.value
                return answer
            heard = None
            match step:
                case Wait(seconds):
                    time.sleep(seconds)
                case GetToken():
                    with self._lock:
                        if not self._desk.has_token:
                            self._hold(self._desk.fetch_token())
                case httpx.Request():
                    try:
                        heard = self._http.send(step, follow_redirects=False)
                    except httpx.TransportError as error:
                        heard = error

    create_contract = _now(contracts.create_contract)
    get_contract = _now(contracts.get_contract)
    list_contracts = _now(contracts.list_contracts)
    each_contract = _each(contracts.list_contracts)
    list_events = _now(contracts.list_events)
    each_event = _each(contracts.list_events)
    get_proof = _now(contracts.get_proof)
    approve = _now(contracts.approve)
    reject = _now(contracts.reject)
    deliver = _now(contracts.deliver)
    receive = _now(contracts.receive)
    dispute = _now(contracts.dispute)
    resolve_dispute = _now(contracts.resolve_dispute)
    cancel = _now(contracts.cancel)
    start_checkout = _now(contracts.start_checkout)
    release = _now(contracts.release)
    refund = _now(contracts.refund)
    create_user = _now(contracts.create_user)
    get_onboarding = _now(contracts.get_onboarding)
    get_keys = _now(contracts.get_keys)
    start_payout_onboarding = _now(payouts.start_payout_onboarding)
    pay_out = _now(payouts.pay_out)
    list_payouts = _now(payouts.list_payouts)
    each_payout = _each(payouts.list_payouts)
    get_payout = _now(payouts.get_payout)
    save_webhook = _now(webhooks.save_webhook)
    get_webhook = _now(webhooks.get_webhook)
    regenerate_webhook_secret = _now(webhooks.regenerate_webhook_secret)
    send_test_webhook = _now(webhooks.send_test_webhook)
    delete_webhook = _now(webhooks.delete_webhook)
    list_attempts = _now(webhooks.list_attempts)
    each_attempt = _each(webhooks.list_attempts)
    list_deliveries = _now(webhooks.list_deliveries)
    each_delivery = _each(webhooks.list_deliveries)
    replay_delivery = _now(webhooks.replay_delivery)
    replay_events = _now(webhooks.replay_events)


# -- for event loops --------------------------------------------------------------------------


def _soon(
    describe: Callable[P, Call[Answer]],
) -> Callable[Concatenate["AsyncEarnestClient", P], Coroutine[Any, Any, Answer]]:
    async def method(self: "AsyncEarnestClient", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self.send(describe(*args, **kwargs))

    _pose(method, describe)
    return method


def _each_soon(
    describe: Callable[P, Call[Page[AnEntry]]],
) -> Callable[Concatenate["AsyncEarnestClient", P], AsyncIterator[AnEntry]]:
    async def method(
        self: "AsyncEarnestClient", /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[AnEntry]:
        call, seen = describe(*args, **kwargs), set[object]()
        while True:
            page = await self.send(call)
            for entry in _unseen(page, seen):
                yield entry
            if _is_last(page):
                return
            call = turned(call, page.page + 1)

    _pose(method, describe)
    return method


class AsyncEarnestClient:
    """A partner's client, for event loops: asyncio or trio.

        async with AsyncEarnestClient(url, client_id, client_secret) as escrow:
            contract = await escrow.get_contract("CNT-2601-00100002")

    `http` is an httpx.AsyncClient of your own; you close it. May be used by many tasks at once.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        retries: Retries = Retries(),  # noqa: B008  frozen
        timeout_seconds: float = TIMEOUT_SECONDS,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        agent = f"earnest-client/{VERSION} (async)"
        self.client_id = client_id
        self._desk = Desk(url, client_id, client_secret, retries, agent)
        self._own = httpx.AsyncClient(timeout=timeout_seconds) if http is None else None
        self._http = http or self._own
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._own is not None:
            await self._own.aclose()

    async def send(self, call: Call[Answer]) -> Answer:
        """Carry a call out. Raises EarnestError."""
        return await self._hold(self._desk.carry_out(call))

    async def _hold(self, conversation: Conversation[Answer]) -> Answer:
        assert self._http is not None
        heard: Heard = None
        while True:
            try:
                step = conversation.send(heard)
            except StopIteration as over:
                answer: Answer = over.value
                return answer
            heard = None
            match step:
                case Wait(seconds):
                    await anyio.sleep(seconds)
                case GetToken():
                    async with self._lock:
                        if not self._desk.has_token:
                            await self._hold(self._desk.fetch_token())
                case httpx.Request():
                    try:
                        heard = await self._http.send(step, follow_redirects=False)
                    except httpx.TransportError as error:
                        heard = error

    create_contract = _soon(contracts.create_contract)
    get_contract = _soon(contracts.get_contract)
    list_contracts = _soon(contracts.list_contracts)
    each_contract = _each_soon(contracts.list_contracts)
    list_events = _soon(contracts.list_events)
    each_event = _each_soon(contracts.list_events)
    get_proof = _soon(contracts.get_proof)
    approve = _soon(contracts.approve)
    reject = _soon(contracts.reject)
    deliver = _soon(contracts.deliver)
    receive = _soon(contracts.receive)
    dispute = _soon(contracts.dispute)
    resolve_dispute = _soon(contracts.resolve_dispute)
    cancel = _soon(contracts.cancel)
    start_checkout = _soon(contracts.start_checkout)
    release = _soon(contracts.release)
    refund = _soon(contracts.refund)
    create_user = _soon(contracts.create_user)
    get_onboarding = _soon(contracts.get_onboarding)
    get_keys = _soon(contracts.get_keys)
    start_payout_onboarding = _soon(payouts.start_payout_onboarding)
    pay_out = _soon(payouts.pay_out)
    list_payouts = _soon(payouts.list_payouts)
    each_payout = _each_soon(payouts.list_payouts)
    get_payout = _soon(payouts.get_payout)
    save_webhook = _soon(webhooks.save_webhook)
    get_webhook = _soon(webhooks.get_webhook)
    regenerate_webhook_secret = _soon(webhooks.regenerate_webhook_secret)
    send_test_webhook = _soon(webhooks.send_test_webhook)
    delete_webhook = _soon(webhooks.delete_webhook)
    list_attempts = _soon(webhooks.list_attempts)
    each_attempt = _each_soon(webhooks.list_attempts)
    list_deliveries = _soon(webhooks.list_deliveries)
    each_delivery = _each_soon(webhooks.list_deliveries)
    replay_delivery = _soon(webhooks.replay_delivery)
    replay_events = _soon(webhooks.replay_events)


# -- pages ------------------------------------------------------------------------------------


def _unseen(page: Page[AnEntry], seen: set[object]) -> Iterator[AnEntry]:
    """What is on `page` and was not on those before: new entries push old ones down a page."""
    for entry in page.entries:
        if entry.id not in seen:
            seen.add(entry.id)
            yield entry


def _is_last(page: Page[AnEntry]) -> bool:
    return len(page.entries) < page.page_size
