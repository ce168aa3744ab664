"""Natural batching: calls that arrive while one is under way travel together in the next.

No timer: a call that finds nothing under way leaves at once, with those made in the same turn
of the event loop; under load the batch grows to what arrived during the last round trip. A
**lane** is one batch under way; each further lane waits for a batch that is worth one.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Grouped(Generic[Asked, Answer]):
    """Calls `run` with batches of what was asked and hands each caller its own answer.

    `run` returns one answer per member, in order; an exception as an answer is raised to that
    caller alone, an exception out of `run` to every member. `claims` names what a member needs
    for itself: members that share a claim never travel together, the later one waits for a
    later batch. A caller that is cancelled does not stop the batch that it is in.

    With several lanes a batch takes at most its lane's share of all who wait or travel, but
    `worth_a_lane` if so many wait, and never more than `members_max`: two batches of 64 at once
    are faster than one of 128, for one is prepared while the other is written.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | BaseException]]],
        *,
        members_max: int,
        lanes: int = 1,
        worth_a_lane: int = 1,
        claims: Callable[[Asked], Sequence[Hashable]] = lambda _: (),
    ) -> None:
        self._run = run
        self._members_max = members_max
        self._lanes = self._lanes_free = lanes
        self._worth_a_lane = min(worth_a_lane, members_max)
        self._claims = claims
        self._claimed: set[Hashable] = set()
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._travellers = 0
        self._departure_called = False

    async def __call__(self, asked: Asked) -> Answer:
        """The answer to `asked`; raises what `run` said for this member."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, future))
        # Not yet: of callers who were woken together the first would leave without the others.
        if not self._departure_called:
            self._departure_called = True
            loop.call_soon(self._depart)
        return await future

    async def drain(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._waiting or self._under_way:
            await asyncio.wait(self._under_way) if self._under_way else await asyncio.sleep(0)

    def _depart(self) -> None:
        self._departure_called = False
        while self._waiting and self._lanes_free:
            if self._travellers and len(self._waiting) < self._worth_a_lane:
                return
            batch, claimed = self._board()
            if not batch:
                return
            self._lanes_free -= 1
            self._travellers += len(batch)
            task = asyncio.create_task(self._travel(batch, claimed))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def _board(self) -> tuple[list[tuple[Asked, asyncio.Future[Answer]]], list[Hashable]]:
        """The next batch, in order of arrival, with what it claims until it is back."""
        share = math.ceil((len(self._waiting) + self._travellers) / self._lanes)
        seats = min(max(share, self._worth_a_lane), self._members_max)
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        stay: list[tuple[Asked, asyncio.Future[Answer]]] = []
        taken: list[Hashable] = []
        while self._waiting and len(batch) < seats:
            member = self._waiting.popleft()
            claims = self._claims(member[0])
            if self._claimed.isdisjoint(claims):
                self._claimed.update(claims)
                taken.extend(claims)
                batch.append(member)
            else:
                stay.append(member)
        self._waiting.extendleft(reversed(stay))
        return batch, taken

    async def _travel(
        self, batch: list[tuple[Asked, asyncio.Future[Answer]]], claimed: list[Hashable]
    ) -> None:
        try:
            answers = await self._run([asked for asked, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers for a batch of {len(batch)}")
        except BaseException as error:  # noqa: BLE001 - every caller must hear of it
            answers = [error] * len(batch)
        self._claimed.difference_update(claimed)
        self._lanes_free += 1
        self._travellers -= len(batch)
        # First, so that the next batch is on its way while those who get answers go on.
        self._depart()
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
