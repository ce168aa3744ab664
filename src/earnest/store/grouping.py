"""Natural batching: calls that arrive while one is under way travel together in the next.

No timer: a call that finds a free lane leaves at once, alone; under load the batch grows to
what arrived during the last round trip. A **lane** is one batch under way.
"""

import asyncio
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
    """

    def __init__(
        self,
        run: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | BaseException]]],
        *,
        members_max: int,
        lanes: int = 1,
        claims: Callable[[Asked], Sequence[Hashable]] = lambda _: (),
    ) -> None:
        self._run = run
        self._members_max = members_max
        self._lanes_free = lanes
        self._claims = claims
        self._claimed: set[Hashable] = set()
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def __call__(self, asked: Asked) -> Answer:
        """The answer to `asked`; raises what `run` said for this member."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        self._depart()
        return await future

    async def drain(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _depart(self) -> None:
        while self._lanes_free and self._waiting:
            batch, claimed = self._board()
            if not batch:
                return
            self._lanes_free -= 1
            task = asyncio.create_task(self._travel(batch, claimed))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def _board(self) -> tuple[list[tuple[Asked, asyncio.Future[Answer]]], list[Hashable]]:
        """The next batch, in order of arrival, with what it claims until it is back."""
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        stay: list[tuple[Asked, asyncio.Future[Answer]]] = []
        taken: list[Hashable] = []
        while self._waiting and len(batch) < self._members_max:
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
        # First, so that the next batch is on its way while those who get answers go on.
        self._depart()
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
