"""**Admission**: more requests than can be answered soon are refused at once, before anything is
done for them: reads first, money last.

How long a request would wait is known before it waits: those of its kind that are under way, times
the pace at which these are being finished (Little's law). Beyond its kind's limit the answer is 503
with Retry-After. Nothing has to be switched back: refused requests are not under way, so the wait
falls by itself. Invariants: FEW of each kind are always let in, so that one kind that waits for
somebody else (a provider, say) neither shuts out the others nor itself for good; and refusing does
not keep the server from what it has let in, see `Turns`.

A plain request to an API is refused by its connection (`web.connection`), for a quarter of what it
costs to get here; the others are here, in the form of their face.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from earnest.errors import Busy
from earnest.web import problems
from earnest.web.guard import EarnestRequest
from earnest.web.kinds import API, Kind, kind_of

WAIT_SECONDS_MAX = {Kind.READ: 0.25, Kind.CHANGE: 0.5, Kind.MONEY: 1.0}
"""Measured at 64 connections: reads take 10 ms, releases 30."""

FEW = 64
"""So many of each kind are let in whatever the pace."""

BEGIN_MAX = 64
"""So many begin in one turn of the event loop. Thousands that came at once would otherwise all take
their first step in the same one, for a second, with nobody read from and nobody answered."""

PACE_SECONDS = 0.1
"""The pace is that of about so long. It goes by time and not by count, because what is committed
together is finished together: a mean of the last so many would be that of one batch."""

ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Those who ask whether we live must not hear that we are busy."""

GLANCE_SECONDS = 0.1

TURNS, TURN_SECONDS = 30, 0.01
"""Refusals in so many seconds: 3,000 a second take an eighth of a process. Four times what can be
done, all of it refused at once, took a third."""

QUEUE = "earnest.queue"
"""In the scope of a request that has been let in: the queue that it is in. None: it was refused."""


class Queue:
    """Those of one kind that are under way, and how fast they are finished."""

    def __init__(self, wait_seconds_max: float) -> None:
        self._wait_seconds_max = wait_seconds_max
        self._under_way = 0
        self._busy_seconds = 0.0
        self._finished = 0.0
        self._last_finished = 0.0

    def has_room(self, now: float) -> bool:
        """Whether one more would be done with soon enough."""
        if self._under_way < FEW:
            return True
        stands_still_since = now - self._last_finished
        wait = max(self._under_way * self._pace_seconds, stands_still_since)
        return wait <= self._wait_seconds_max

    @property
    def _pace_seconds(self) -> float:
        return self._busy_seconds / self._finished if self._finished else 0.0

    def begin(self, now: float) -> None:
        if self._under_way < FEW:
            # Nobody waits: the time until the next one is finished says nothing of the pace.
            self._last_finished = now
        self._under_way += 1

    def finish(self, now: float) -> None:
        if self._under_way >= FEW:
            since = now - self._last_finished
            fades = math.exp(-since / PACE_SECONDS)
            self._busy_seconds = self._busy_seconds * fades + since
            self._finished = self._finished * fades + 1
        self._last_finished = now
        self._under_way -= 1


class Gate:
    """BEGIN_MAX begin in a turn of the event loop, the others in the next ones, in their order.

    Those that have begun are not counted: however long one of them waits for somebody else, for a
    provider or for a reader, it holds up nobody.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = BEGIN_MAX

    async def begin(self) -> None:
        """Return when it is time to."""
        loop = asyncio.get_running_loop()
        if self._left == BEGIN_MAX:
            loop.call_soon(self._turn)
        if self._left:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _turn(self) -> None:
        beginning = [self._waiting.popleft() for _ in range(min(BEGIN_MAX, len(self._waiting)))]
        self._left = BEGIN_MAX - len(beginning)
        if beginning:
            asyncio.get_running_loop().call_soon(self._turn)
        for turn in beginning:
            if not turn.done():
                turn.set_result(None)


class Turns:
    """Whoever has been refused may ask again at once, as long as few do; else in turn.

    What a connection sends next is not read until then, which costs nothing. A connection waits
    for a turn as long as there are others before it: 0.01 seconds for each TURNS.
    """

    def __init__(self) -> None:
        self._waiting: deque[FlowControl] = deque()
        self._left = TURNS

    def take(self, flow: FlowControl) -> None:
        """Somebody has been refused, whose connection `flow` is of."""
        if self._left == TURNS:
            asyncio.get_running_loop().call_later(TURN_SECONDS, self._pass)
        if self._left:
            self._left -= 1
        elif not flow.read_paused:
            flow.pause_reading()
            self._waiting.append(flow)

    def _pass(self) -> None:
        passing = [self._waiting.popleft() for _ in range(min(TURNS, len(self._waiting)))]
        self._left = TURNS - len(passing)
        if passing:
            asyncio.get_running_loop().call_later(TURN_SECONDS, self._pass)
        for flow in passing:
            flow.resume_reading()


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
        self._always = Queue(math.inf)
        self._refused_at = -math.inf
        self._gate = Gate()
        self.turns = Turns()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or refuse to."""
        if QUEUE not in scope:
            self.enter(scope)
        queue = scope[QUEUE]
        if queue is None:
            request = EarnestRequest(scope, receive, send)
            answer = problems.answer(request, Busy())
            await answer.to_asgi_response(None, request)(scope, receive, send)
            return
        try:
            await self._gate.begin()
            await self.app(scope, receive, send)
        finally:
            queue.finish(self._clock())

    def enter(self, scope: Any) -> bool:
        """Whether a request is let in. It is under way from now on, until `__call__` has answered
        it. Asked when a request is whole and not when its turn has come: thousands become whole in
        one turn of the loop, and all would see the same room."""
        queue = scope[QUEUE] = self._room(scope["method"], scope["path"])
        if queue is not None:
            queue.begin(self._clock())
        return queue is not None

    def refuses(self, method: str, path: str) -> bool:
        """Whether a request would wait for too long; then it is counted as refused."""
        return self._room(method, path) is None

    @property
    def is_refusing(self) -> bool:
        """Whether somebody has been refused just now, so that a glance at the next is worth it."""
        return self._clock() < self._refused_at + GLANCE_SECONDS

    def _room(self, method: str, path: str) -> Queue | None:
        """The queue that has room for a request; None, and it is counted, if there is none."""
        if path in ALWAYS:
            return self._always
        now, kind = self._clock(), kind_of(method, path)
        queue = self._queues[kind]
        if queue.has_room(now):
            return queue
        self._refused_at = now
        self._refused(kind)
        return None


def is_plain(scope: Any) -> bool:
    """Whether a request can be refused in two lines: one to an API, by who is no browser of another
    origin."""
    return (
        scope["path"].startswith(API)
        and scope["method"] != "HEAD"
        and not any(name == b"origin" for name, _ in scope["headers"])
    )
