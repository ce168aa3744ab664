"""Calls that arrive while one is under way travel together in the next."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.store.grouping import Grouped


class Refusal(Exception):
    """What one member is told."""


class Train:
    """A `run` under a test's control: each batch waits at the station until it may go."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gates: list[asyncio.Event] = []

    async def run(self, batch: Sequence[Any]) -> list[Any]:
        gate = asyncio.Event()
        self.batches.append(list(batch))
        self.gates.append(gate)
        await gate.wait()
        return [Refusal(one) if one == "bad" else f"did {one}" for one in batch]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def ask(grouped: Grouped[Any, Any], *turns: str) -> list[asyncio.Future[Any]]:
    """One call for each letter; those of one string in the same turn of the event loop."""
    calls: list[asyncio.Future[Any]] = []
    for turn in turns:
        calls += [asyncio.ensure_future(grouped(one)) for one in turn]
        await settle()
    return calls


async def go(train: Train, number: int) -> None:
    train.gates[number].set()
    await settle()


async def test_it_leaves_at_once_and_alone_when_nothing_is_under_way() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)
    first = asyncio.ensure_future(grouped("a"))
    await settle()
    assert train.batches == [["a"]]
    await go(train, 0)
    assert await first == "did a"


async def test_it_takes_together_in_order_what_arrived_meanwhile() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)
    calls = await ask(grouped, "a", "b", "cd")
    assert train.batches == [["a"]]
    await go(train, 0)
    assert train.batches == [["a"], ["b", "c", "d"]]
    await go(train, 1)
    assert await asyncio.gather(*calls) == ["did a", "did b", "did c", "did d"]


async def test_those_who_call_in_the_same_turn_leave_together() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)
    calls = await ask(grouped, "abc")
    assert train.batches == [["a", "b", "c"]]
    await go(train, 0)
    assert await asyncio.gather(*calls) == ["did a", "did b", "did c"]


async def test_those_who_are_answered_together_come_back_together() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)

    async def twice(one: str) -> None:
        await grouped(one)
        await grouped(one.upper())

    callers = [asyncio.ensure_future(twice(one)) for one in "abc"]
    await settle()
    await go(train, 0)
    assert train.batches == [["a", "b", "c"], ["A", "B", "C"]]
    await go(train, 1)
    await asyncio.gather(*callers)


async def test_it_never_takes_more_than_fit() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=2)
    calls = await ask(grouped, "a", "bcdef")
    for number in range(4):
        await go(train, number)
    assert train.batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]
    assert len(await asyncio.gather(*calls)) == 6


async def test_it_runs_as_many_batches_at_once_as_it_has_lanes() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8, lanes=2)
    calls = await ask(grouped, "a", "b", "c", "d")
    assert train.batches == [["a"], ["b"]]
    await go(train, 1)
    assert train.batches == [["a"], ["b"], ["c", "d"]]
    await go(train, 0)
    await go(train, 2)
    assert await asyncio.gather(*calls) == ["did a", "did b", "did c", "did d"]


async def test_its_lanes_share_the_crowd() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8, lanes=2)
    calls = await ask(grouped, "abcdef")
    assert train.batches == [["a", "b", "c"], ["d", "e", "f"]]
    for number in range(2):
        await go(train, number)
    assert len(await asyncio.gather(*calls)) == 6


async def test_a_second_lane_waits_for_a_batch_that_is_worth_one() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8, lanes=2, worth_a_lane=3)
    calls = await ask(grouped, "a", "b", "c")
    assert train.batches == [["a"]]
    calls += await ask(grouped, "d")
    assert train.batches == [["a"], ["b", "c", "d"]]
    calls += await ask(grouped, "e")
    await go(train, 0)
    assert len(train.batches) == 2  # one waits for the only batch under way
    await go(train, 1)
    assert train.batches[2] == ["e"]
    await go(train, 2)
    assert len(await asyncio.gather(*calls)) == 5


async def test_it_keeps_members_that_claim_the_same_apart_across_lanes() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8, lanes=3, claims=lambda one: one[0])
    calls = []
    for one in ("a1", "a2", "b1", "a3", "b2"):
        calls.append(asyncio.ensure_future(grouped(one)))
        await settle()
    assert train.batches == [["a1"], ["b1"]]
    await go(train, 1)
    assert train.batches == [["a1"], ["b1"], ["b2"]]
    await go(train, 0)
    assert train.batches == [["a1"], ["b1"], ["b2"], ["a2"]]
    for number in (2, 3):
        await go(train, number)
    await go(train, 4)
    assert train.batches[4] == ["a3"]
    assert len(await asyncio.gather(*calls)) == 5


async def test_it_tells_one_member_and_not_the_others() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)
    calls = [asyncio.ensure_future(grouped(one)) for one in ("a", "b", "bad", "c")]
    await settle()
    assert train.batches == [["a", "b", "bad", "c"]]
    await go(train, 0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["did a", "did b", "bad", "did c"]
    assert isinstance(answers[2], Refusal)


async def test_it_tells_every_member_when_the_whole_batch_fails() -> None:
    async def run(batch: Sequence[str]) -> list[str]:
        await asyncio.sleep(0)
        if "bad" in batch:
            raise Refusal
        return list(batch)

    grouped = Grouped(run, members_max=8)
    calls = [asyncio.ensure_future(grouped(one)) for one in ("a", "bad")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Refusal, Refusal]
    assert await grouped("c") == "c"  # and goes on


@pytest.mark.parametrize("answers", [0, 1, 3])
async def test_it_leaves_nobody_waiting_when_the_answers_do_not_fit(answers: int) -> None:
    async def run(batch: Sequence[str]) -> list[str]:
        await asyncio.sleep(0)
        return ["done"] * answers

    grouped = Grouped(run, members_max=8)
    calls = [asyncio.ensure_future(grouped(one)) for one in ("b", "c")]
    async with asyncio.timeout(2):
        told = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, Exception) for one in told)


async def test_it_carries_on_without_a_caller_who_gave_up() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=8)
    calls = await ask(grouped, "a", "b", "c")
    calls[0].cancel()  # under way
    calls[1].cancel()  # still waiting
    await go(train, 0)
    await go(train, 1)
    assert await calls[2] == "did c"
    assert train.batches[0] == ["a"]
    assert all(call.cancelled() for call in calls[:2])


async def test_it_drains_until_nothing_waits() -> None:
    train = Train()
    grouped = Grouped(train.run, members_max=1)
    calls = [asyncio.ensure_future(grouped(one)) for one in "ab"]
    await asyncio.sleep(0)  # both wait, neither is under way
    draining = asyncio.ensure_future(grouped.drain())
    await settle()
    await go(train, 0)
    assert not draining.done()
    await go(train, 1)
    async with asyncio.timeout(2):
        await draining
    assert [call.result() for call in calls] == ["did a", "did b"]


# -- any schedule ---------------------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True):
    number: int
    claims: tuple[int, ...]
    fails: bool


members = st.builds(
    Member,
    number=st.just(0),
    claims=st.lists(st.integers(0, 3), max_size=2, unique=True).map(tuple),
    fails=st.booleans(),
)
steps = st.lists(
    st.one_of(
        members,
        st.tuples(st.just("arrive"), st.integers(0, 9)),
        st.tuples(st.just("give up"), st.integers(0, 9)),
        st.just("wait"),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_it_answers_everybody_once_and_keeps_its_rules_in_any_schedule(
    schedule: list[Any], members_max: int, lanes: int, worth_a_lane: int
) -> None:
    asyncio.run(_schedule(schedule, members_max, lanes, worth_a_lane))


async def _schedule(schedule: list[Any], members_max: int, lanes: int, worth_a_lane: int) -> None:
    under_way: list[list[Member]] = []
    gates: list[asyncio.Event] = []
    ran: list[int] = []

    async def run(batch: Sequence[Member]) -> list[Any]:
        mine, gate = list(batch), asyncio.Event()
        under_way.append(mine)
        gates.append(gate)
        assert 1 <= len(mine) <= members_max
        assert len(under_way) <= lanes
        claimed = [claim for one in under_way for member in one for claim in member.claims]
        assert len(claimed) == len(set(claimed))  # nobody shares a claim with anybody under way
        ran.extend(member.number for member in mine)
        await gate.wait()
        under_way.remove(mine)
        gates.remove(gate)
        return [Refusal(m.number) if m.fails else m.number for m in mine]

    grouped = Grouped(
        run,
        members_max=members_max,
        lanes=lanes,
        worth_a_lane=worth_a_lane,
        claims=lambda m: m.claims,
    )
    asked: list[tuple[Member, asyncio.Future[Any]]] = []
    for step in schedule:
        if isinstance(step, Member):
            member = msgspec.structs.replace(step, number=len(asked))
            asked.append((member, asyncio.ensure_future(grouped(member))))
        elif step == "wait":
            await settle()
        elif step[0] == "arrive" and gates:
            gates[step[1] % len(gates)].set()
        elif step[0] == "give up" and asked:
            asked[step[1] % len(asked)][1].cancel()
    await settle()
    while gates:
        gates[0].set()
        await settle()
    async with asyncio.timeout(2):
        await grouped.drain()
    given_up = {member.number for member, future in asked if future.cancelled()}
    assert len(ran) == len(set(ran))  # never twice
    assert {member.number for member, _ in asked} - given_up <= set(ran)  # never lost
    for member, future in asked:
        assert future.done()
        if member.number in given_up:
            continue
        if member.fails:
            assert isinstance(future.exception(), Refusal)
        else:
            assert future.result() == member.number
    for claim in range(4):
        in_order = [n for n in ran if claim in asked[n][0].claims]
        alone = [n for n in in_order if asked[n][0].claims == (claim,)]
        assert alone == sorted(alone)  # first come, first served
