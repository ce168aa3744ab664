"""**Delivering** webhooks: what is due goes out, and no receiver keeps another partner waiting.

A worker takes endpoints, and has a **lane** for each: what is in hand for it, at most a few on the
wire at once. Attempts are tasks of their own; a turn of the chore records those that ended and
fetches what is due next, and waits for none. Invariants: an endpoint has at most IN_FLIGHT_MAX
attempts on the wire, one if its last ones failed or were slow, and those share a smaller part of
all connections; nothing is lost when this process dies, and what comes twice had been on the wire
or was not yet recorded (UNRECORDED_MAX at an endpoint), with the same webhook id.
"""

import asyncio
import functools
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from earnest.actions.core import Core
from earnest.domain.delivery import Verdict, judge
from earnest.errors import InvalidField
from earnest.outbound.answers import Answer, Failure
from earnest.outbound.sender import Sender
from earnest.outbound.targets import Target, check_url
from earnest.settings import Settings
from earnest.store import deliveries
from earnest.store.deliveries import LEASE_SECONDS, Attempt, Due
from earnest.worker.webhook_body import render, signed_headers

log = logging.getLogger(__name__)

TURN_SECONDS = 0.015
"""How often something new is looked for at endpoints that are taken."""
LOOK_SECONDS = 0.05
"""How often endpoints with something due are looked for; what is in hand never waits for that."""
RENEW_SECONDS = LEASE_SECONDS / 3
PATIENCE_SECONDS = 5
"""For what is on the wire when the worker is told to stop; the rest is sent again by another."""

IN_FLIGHT_MAX = 2
ALL_IN_FLIGHT_MAX = 256
SLOW_IN_FLIGHT_MAX = 32
FAILED_ATTEMPTS_MAX = 3
"""After so many attempts in a row that failed, an endpoint is slow."""
SLOW_SECONDS = 5
QUICK_SECONDS = 0.25
"""Only for an endpoint that answers so fast more is fetched than can be sent at once."""
IN_HAND_MAX = 32
UNRECORDED_MAX = 16
GATHER_SECONDS = 0.004
"""For so long the end of an attempt waits to be recorded together with others."""

Observe = Callable[[Verdict, float], None]
"""Is told what became of an attempt, and how many seconds it took."""


class Lane:
    """One endpoint's deliveries. `hand` are all that the database still has as due, `waiting`
    those that were not yet sent. Ours until `held_until` (monotonic); `seconds` is what the last
    attempt took."""

    __slots__ = ("failed_attempts", "hand", "held_until", "in_flight", "seconds", "waiting")

    def __init__(self) -> None:
        self.hand: dict[UUID, Due] = {}
        self.waiting: dict[UUID, Due] = {}
        self.held_until = 0.0
        self.in_flight = 0
        self.failed_attempts = 0
        self.seconds: float | None = None

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self.held_until

    @property
    def is_slow(self) -> bool:
        return self.failed_attempts >= FAILED_ATTEMPTS_MAX or (self.seconds or 0) > SLOW_SECONDS

    @property
    def room(self) -> int:
        """How many more are worth fetching."""
        if not self.is_held:
            return 0
        is_quick = self.seconds is not None and self.seconds < QUICK_SECONDS
        if not is_quick or self.failed_attempts:
            return max(0, self._width - len(self.hand))
        room = IN_HAND_MAX - len(self.hand)
        return room if room >= IN_HAND_MAX // 2 else 0  # seldom, and then many at once

    @property
    def _width(self) -> int:
        return 1 if self.is_slow else IN_FLIGHT_MAX

    def next(self) -> Due | None:
        """What may be sent now, if there is room on the wire."""
        unrecorded = len(self.hand) - len(self.waiting) - self.in_flight
        if not self.is_held or self.in_flight >= self._width or unrecorded >= UNRECORDED_MAX:
            return None
        for one in self.waiting.values():
            if one.before not in self.hand:
                return one
        return None

    def add(self, one: Due) -> bool:
        """Take `one` in hand, unless something must go before it that is not."""
        if not self.hand:
            self.failed_attempts = one.failed_attempts
        if one.before is not None and one.before not in self.hand:
            return False
        self.hand[one.id] = self.waiting[one.id] = one
        return True

    def drop(self, attempt: Attempt) -> None:
        """`attempt` is recorded. What follows a delivery that is tried again waits for that."""
        self.hand.pop(attempt.due.id, None)
        contract = attempt.due.contract
        if attempt.judged.verdict is Verdict.RETRY and contract is not None:
            self.put_back([one for one in self.waiting.values() if one.contract == contract])

    def put_back(self, unsent: Iterable[Due]) -> None:
        """Leave what is waiting to the database again."""
        for one in list(unsent):
            del self.hand[one.id], self.waiting[one.id]


class Deliveries:
    """The worker's deliveries. `turn` is the chore; `finish` ends it."""

    def __init__(
        self,
        core: Core,
        settings: Settings,
        *,
        sender: Sender | None = None,
        observe: Observe = lambda _verdict, _seconds: None,
    ) -> None:
        self._core = core
        self._settings = settings
        self._sender = sender or Sender()
        self._observe = observe
        self._worker = uuid.uuid4()
        self._lanes: dict[UUID, Lane] = {}
        self._ended: list[Attempt] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._slow_in_flight = 0
        self._news = asyncio.Event()
        self._looked_at = self._renewed_at = 0.0
        self._business = datetime.now(UTC), 0.0

    async def turn(self) -> int:
        """Record what ended, fetch what is due, send it; how much is under way or was done.

        With something on the wire, it first waits for an end of that, LOOK_SECONDS at most.
        """
        if self._sending:
            await self._wait_for_news()
        recorded = await self._record()
        await self._hold()
        fetched = await self._fetch()
        self._send()
        return recorded + fetched + len(self._sending)

    async def finish(self) -> None:
        """Give what is on the wire PATIENCE_SECONDS, record it, and let others have the rest."""
        for lane in self._lanes.values():
            lane.put_back(lane.waiting.values())
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=PATIENCE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._record()
            if self._lanes:
                async with self._core.pool.connection() as conn:
                    await deliveries.release(conn, self._worker, self._lanes)
                self._lanes.clear()
        finally:
            await self._sender.close()

    async def _wait_for_news(self) -> None:
        """Until an attempt has ended and others may have, too; LOOK_SECONDS at most."""
        if not self._ended:
            self._news.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return
        if self._sending:
            await asyncio.sleep(GATHER_SECONDS)

    # -- the database -----------------------------------------------------------------------

    async def _record(self) -> int:
        """Write what ended since the last time. If that fails, it stays to be written."""
        ended = list(self._ended)
        if not ended:
            return 0
        async with self._core.pool.connection() as conn:
            disabled = await deliveries.record(conn, ended)
        del self._ended[: len(ended)]
        for attempt in ended:
            lane = self._lanes.get(attempt.due.endpoint)
            if lane is not None:
                lane.drop(attempt)
        for one in disabled:
            log.warning("a webhook endpoint was disabled: %s", one.reason)
            lane = self._lanes[one.endpoint]
            lane.put_back(lane.waiting.values())
        return len(ended)

    async def _hold(self) -> None:
        """Take endpoints that have something due; follow what becomes of those that are held,
        renew those that are busy, let others go."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        async with self._core.pool.connection() as conn:
            await self._follow(conn)
            taken = await deliveries.take(conn, self._worker)
            for endpoint in taken:
                lane = self._lanes.setdefault(endpoint, Lane())
                lane.held_until = now + LEASE_SECONDS
            if now - self._renewed_at < RENEW_SECONDS:
                return
            self._renewed_at = now
            others = self._lanes.keys() - set(taken)
            busy = {endpoint for endpoint in others if self._lanes[endpoint].hand}
            if busy:
                kept = await deliveries.renew(conn, self._worker, busy)
                for endpoint in busy:
                    self._lanes[endpoint].held_until = (endpoint in kept) * (now + LEASE_SECONDS)
            if idle := others - busy:
                await deliveries.release(conn, self._worker, idle)
                for endpoint in idle:
                    del self._lanes[endpoint]

    async def _fetch(self) -> int:
        """Fill the hands of all lanes that have room; how many deliveries came."""
        rooms = {endpoint: lane.room for endpoint, lane in self._lanes.items() if lane.room}
        if not rooms:
            return 0
        in_hand = list(
            itertools.chain.from_iterable(self._lanes[endpoint].hand for endpoint in rooms)
        )
        async with self._core.pool.connection() as conn:
            found = await deliveries.due(conn, self._worker, rooms, in_hand)
            if found:
                self._business = found[0].now, time.monotonic()
            early = [one for one in found if not self._lanes[one.endpoint].add(one)]
            if early:
                await deliveries.park(conn, early)
        return len(found) - len(early)

    async def _follow(self, conn: asyncpg.Connection) -> None:
        """Put back what is in hand for a URL or with a secret that was replaced or given up."""
        waiting = [endpoint for endpoint, lane in self._lanes.items() if lane.waiting]
        wanted = await deliveries.wanted(conn, waiting) if waiting else {}
        for endpoint in waiting:
            lane, now = self._lanes[endpoint], wanted.get(endpoint)
            lane.put_back([one for one in lane.waiting.values() if (one.url, one.secret) != now])

    # -- the wire ---------------------------------------------------------------------------

    def _send(self) -> None:
        for lane in self._lanes.values():
            if lane.waiting:
                self._send_from(lane)

    def _send_from(self, lane: Lane) -> None:
        """Start what may be sent, as long as there are connections for it."""
        while (due := lane.next()) is not None:
            is_slow = lane.is_slow
            others = len(self._sending) - self._slow_in_flight
            if is_slow and self._slow_in_flight >= SLOW_IN_FLIGHT_MAX:
                return
            if not is_slow and others >= ALL_IN_FLIGHT_MAX - SLOW_IN_FLIGHT_MAX:
                return
            del lane.waiting[due.id]
            lane.in_flight += 1
            self._slow_in_flight += is_slow
            task = asyncio.create_task(self._attempt(lane, due, is_slow=is_slow))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _attempt(self, lane: Lane, due: Due, *, is_slow: bool) -> None:
        began, begun_at = time.monotonic(), self._business_now()
        try:
            body, answer = await self._post(due)
        finally:
            lane.in_flight -= 1
            self._slow_in_flight -= is_slow
        lane.seconds = time.monotonic() - began
        lane.failed_attempts = 0 if answer.failure is None else lane.failed_attempts + 1
        judged = judge(answer.status, due.attempts + 1, answer.retry_after_seconds)
        self._ended.append(
            Attempt(
                uuid.uuid4(),
                due,
                answer.status,
                answer.failure or "",
                answer.duration_ms,
                begun_at,
                judged,
                body,
            )
        )
        self._observe(judged.verdict, lane.seconds)
        self._news.set()
        self._send_from(lane)

    async def _post(self, due: Due) -> tuple[bytes | None, Answer]:
        """One attempt: the body that was sent, None if nothing could be, and the answer."""
        body = due.body
        try:
            body = body or render(due)
            target = _target(
                due.url, self._settings.webhook_allow_private, self._settings.is_production
            )
            headers = signed_headers(due, body, self._secrets(due), datetime.now(UTC))
            return body, await self._sender.post(target, body, headers)
        except InvalidField:  # what was allowed when it was given is so no more
            return body, Answer(None, Failure.FORBIDDEN_ADDRESS, 0)
        except Exception:
            log.exception("a webhook could not be sent")
            return body, Answer(None, Failure.UNSENT, 0)

    def _secrets(self, due: Due) -> list[str]:
        about = f"webhook:{due.endpoint}"
        sealed = [due.secret] if due.old_secret is None else [due.secret, due.old_secret]
        return [self._core.sealer.open(one, about).decode() for one in sealed]

    def _business_now(self) -> datetime:
        at, read_at = self._business
        return at + timedelta(seconds=time.monotonic() - read_at)


@functools.lru_cache(maxsize=4_096)
def _target(url: str, allow_loopback: bool, is_production: bool) -> Target:
    return check_url(url, allow_loopback=allow_loopback, is_production=is_production)
