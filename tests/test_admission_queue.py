"""Who is let in, who is worked at and who asks again in turn: admission without a server."""

import asyncio
from itertools import pairwise
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from earnest.web.admission import BEGIN_MAX, FEW, TURN_SECONDS, TURNS, Admission, Queue, Turns
from earnest.web.kinds import Kind

# -- the wait that is foreseen ----------------------------------------------------------------


def steady(queue: Queue, *, per_second: float, size: int, seconds: float, at: float) -> float:
    """Keep `size` under way while so many per second are finished; what time it is then."""
    for _ in range(size - queue._under_way):
        queue.begin(at)
    for _ in range(round(per_second * seconds)):
        at += 1 / per_second
        queue.finish(at)
        queue.begin(at)
    return at


def test_a_burst_that_finds_nobody_is_let_in_whole() -> None:
    queue = Queue(0.25)
    for n in range(1_000):
        assert queue.has_room(10 + n / 10_000)
        queue.begin(10 + n / 10_000)


def test_what_would_wait_for_longer_than_the_limit_is_refused() -> None:
    queue = Queue(0.25)
    now = steady(queue, per_second=1_000, size=200, seconds=1, at=10)
    assert queue.has_room(now), "200 at 1,000 a second wait for 0.2 seconds"
    now = steady(queue, per_second=1_000, size=300, seconds=1, at=now)
    assert not queue.has_room(now)
    for _ in range(60):
        now += 0.001
        queue.finish(now)
    assert queue.has_room(now), "240 do not wait for too long"


def test_a_slow_kind_still_has_its_few() -> None:
    """They wait for somebody else: a provider that takes ten seconds for each."""
    queue = Queue(1.0)
    now = steady(queue, per_second=6, size=FEW, seconds=30, at=10)
    assert not queue.has_room(now)
    queue.finish(now)
    assert queue.has_room(now)


def test_it_forgets_that_it_was_slow() -> None:
    queue = Queue(0.25)
    now = steady(queue, per_second=100, size=100, seconds=3, at=10)
    assert not queue.has_room(now)
    while queue._under_way >= FEW:
        now += 0.001
        queue.finish(now)
    now = steady(queue, per_second=2_000, size=FEW, seconds=0.2, at=now)
    for _ in range(300):
        assert queue.has_room(now)
        queue.begin(now)


# -- what has been let in ---------------------------------------------------------------------


class Work:
    """An application whose requests are finished when told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None:
        self.begun += 1
        await self.go_on.wait()


def scope(path: str = "/api/jobs", method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": []}


def test_those_that_become_whole_at_once_do_not_all_see_the_same_room() -> None:
    """None of them has begun when the next one asks."""
    refused: list[Kind] = []
    admission = Admission(Work(), refused.append, clock=lambda: 10.0)
    queue = admission._queues[Kind.READ]
    steady(queue, per_second=1_000, size=200, seconds=1, at=8.0)
    queue._last_finished = 10.0
    let_in = [admission.enter(scope()) for _ in range(1_000)]
    assert let_in == [True] * 51 + [False] * 949, "250 of 1,000 a second wait for 0.25 seconds"
    assert len(refused) == 949


async def test_those_that_come_at_once_begin_in_turns_and_nobody_who_waits_holds_one_up() -> None:
    work = Work()
    admission = Admission(work, lambda _kind: None)
    all_of_them = [
        asyncio.create_task(admission(scope(method="POST"), None, None))
        for _ in range(3 * BEGIN_MAX + 9)
    ]
    seen = [0]
    while seen[-1] < len(all_of_them):
        await asyncio.sleep(0)
        if work.begun > seen[-1]:
            seen.append(work.begun)
    steps = [after - before for before, after in pairwise(seen)]
    assert steps == [BEGIN_MAX] * 3 + [9], "none of them has been finished meanwhile"
    late = asyncio.create_task(
        admission(scope("/api/admin/escrow/release-fund/x", "PUT"), None, None)
    )
    await asyncio.sleep(0.01)
    assert work.begun == len(all_of_them) + 1
    work.go_on.set()
    await asyncio.gather(*all_of_them, late)
    assert all(queue._under_way == 0 for queue in admission._queues.values())


async def test_who_gives_up_before_it_has_begun_leaves_nothing_behind() -> None:
    work = Work()
    admission = Admission(work, lambda _kind: None)
    waiting = [asyncio.create_task(admission(scope(), None, None)) for _ in range(2 * BEGIN_MAX)]
    await asyncio.sleep(0)
    for task in waiting[BEGIN_MAX:]:
        task.cancel()
    await asyncio.sleep(0.01)
    assert work.begun == BEGIN_MAX
    work.go_on.set()
    await asyncio.gather(*waiting[:BEGIN_MAX], admission(scope(), None, None))
    assert admission._queues[Kind.READ]._under_way == 0


class Pipe(asyncio.Transport):
    """Tells when it is read again."""

    def __init__(self, number: int, read: list[int]) -> None:
        super().__init__()
        self._number, self._read = number, read

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        self._read.append(self._number)


async def test_whoever_is_refused_when_many_are_asks_again_in_turn() -> None:
    turns, read = Turns(), list[int]()
    flows = [FlowControl(Pipe(number, read)) for number in range(3 * TURNS)]
    for flow in (*flows, flows[-1]):
        turns.take(flow)
    assert [flow.read_paused for flow in flows] == [False] * TURNS + [True] * 2 * TURNS
    flows[TURNS].read_paused = False  # as of a connection that was lost
    rounds = [len(read)]
    while len(read) < 2 * TURNS - 1:
        await asyncio.sleep(TURN_SECONDS / 3)
        if len(read) > rounds[-1]:
            rounds.append(len(read))
    assert rounds == [0, TURNS - 1, 2 * TURNS - 1]
    assert read == [*range(TURNS + 1, 3 * TURNS)], "in the order in which they were refused"
    await asyncio.sleep(3 * TURN_SECONDS)
    turns.take(flows[0])
    assert not flows[0].read_paused, "nobody waits any more"
