"""**Admission**: more requests than can be answered soon are refused at once, before anything is
done for them: reads first, money last.

How long a request would wait is known before it waits: those of its kind that are under way, times
the pace at which these are being finished (Little's law). Beyond its kind's limit the answer is 503
with Retry-After. Nothing has to be switched back: refused requests are not under way, so the wait
falls by itself. Invariant: FEW of each kind are always let in, so that one kind that waits for
somebody else (a provider, say) neither shuts out the others nor itself for good.

A plain request to an API is refused by its connection (`web.connection`), for a quarter of what it
costs to get here; the others are here, in the form of their face.
"""

import re
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from earnest.errors import Busy
from earnest.web import problems
from earnest.web.guard import EarnestRequest


class Kind(StrEnum):
    """What is refused first, comes first."""

    READ = "read"
    CHANGE = "change"
    MONEY = "money"


WAIT_SECONDS_MAX = {Kind.READ: 0.25, Kind.CHANGE: 0.5, Kind.MONEY: 1.0}
"""Measured at 64 connections: reads take 10 ms, releases 30."""

FEW = 64
"""So many of each kind are let in whatever the pace."""

PACE_WEIGHT = 1 / 64

ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Those who ask whether we live must not hear that we are busy."""

API = ("/api/", "/apps/", "/connect/", "/webhook")
"""Where refusals are JSON. The others are pages."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_MONEY = re.compile(
    r"^/webhook$"
    r"|/(?:release|refund|payment|checkout|create-contract|cancel|withdraw|payout)[^/]*(?:/|$)"
)


def kind_of(method: str, path: str) -> Kind:
    """Of a request, by its line alone.

    >>> kind_of("GET", "/api/freelancer/contract/view-contract/6b0490390000000101794925").value
    'read'
    >>> kind_of("PUT", "/api/admin/escrow/release-fund/6b0490390000000101794925").value
    'money'
    >>> kind_of("POST", "/api/auth/login").value
    'change'
    """
    if method in _READS:
        return Kind.READ
    return Kind.MONEY if _MONEY.search(path) else Kind.CHANGE


class Queue:
    """Those of one kind that are under way, and how fast they are finished."""

    def __init__(self, wait_seconds_max: float) -> None:
        self._wait_seconds_max = wait_seconds_max
        self._under_way = 0
        self._pace_seconds = 0.0
        self._last_finished = 0.0

    def has_room(self, now: float) -> bool:
        """Whether one more would be done with soon enough."""
        if self._under_way < FEW:
            return True
        stands_still_since = now - self._last_finished
        wait = max(self._under_way * self._pace_seconds, stands_still_since)
        return wait <= self._wait_seconds_max

    def begin(self, now: float) -> None:
        if self._under_way < FEW:
            # Nobody waits: the time until the next one is finished says nothing of the pace.
            self._last_finished = now
        self._under_way += 1

    def finish(self, now: float) -> None:
        if self._under_way >= FEW:
            since = now - self._last_finished
            self._pace_seconds += (since - self._pace_seconds) * PACE_WEIGHT
        self._last_finished = now
        self._under_way -= 1


class Admission:
    """The ASGI application in front of `app`. `refused` is told of each kind that was."""

    def __init__(
        self,
        app: Any,
        refused: Callable[[Kind], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self._refused = refused
        self._clock = clock
        self._queues = {kind: Queue(WAIT_SECONDS_MAX[kind]) for kind in Kind}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or refuse to."""
        path = scope["path"]
        if path in ALWAYS:
            await self.app(scope, receive, send)
            return
        if self.refuses(scope["method"], path):
            request = EarnestRequest(scope, receive, send)
            answer = problems.answer(request, Busy())
            await answer.to_asgi_response(None, request)(scope, receive, send)
            return
        queue = self._queues[kind_of(scope["method"], path)]
        queue.begin(self._clock())
        try:
            await self.app(scope, receive, send)
        finally:
            queue.finish(self._clock())

    def refuses_plain(self, scope: Any) -> bool:
        """As `refuses`, of a request that can be refused in two lines: one to an API, by who is
        no browser of another origin. Never of any other."""
        return (
            scope["path"].startswith(API)
            and scope["method"] != "HEAD"
            and not any(name == b"origin" for name, _ in scope["headers"])
            and self.refuses(scope["method"], scope["path"])
        )

    def refuses(self, method: str, path: str) -> bool:
        """Whether a request would wait for too long; then it is counted as refused."""
        kind = kind_of(method, path)
        if path in ALWAYS or self._queues[kind].has_room(self._clock()):
            return False
        self._refused(kind)
        return True
