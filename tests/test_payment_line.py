"""Opening a payment when the provider cannot be reached, or is not heard (D2)."""

import asyncio

import msgspec
import pytest

from checkout_event import rows, sessions
from checkouts import DAY_SECONDS, STATES, later, pay
from conftest import TestDatabase
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.providers.base import CheckoutRequest, CheckoutSession, CheckoutStatus, Provider
from earnest.store.verify import verify
from life import Life, accepted
from web import Cast, problem


class Unreachable(msgspec.Struct):
    """The sandbox provider behind a bad line: `faults` are raised first, one per call; with
    `deaf` the provider did what it was asked, but nobody heard its answer."""

    behind: Provider
    faults: list[Exception]
    deaf: bool = False
    calls: int = 0

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        self.calls += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.deaf:
            raise fault
        session = await self.behind.create_checkout(request)
        if fault is not None:
            raise fault
        return session

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        if self.faults:
            raise self.faults.pop(0)
        return await self.behind.find_checkout(session_id)

    async def expire_checkout(self, session_id: str) -> None:
        await self.behind.expire_checkout(session_id)


def cut_off(cast: Cast, *faults: Exception, deaf: bool = False) -> Unreachable:
    """Put the provider behind a bad line."""
    core = cast.app.state.core
    line = Unreachable(core.provider, list(faults), deaf)
    cast.app.state.core = msgspec.structs.replace(core, provider=line)
    return line


FAULTS = [
    pytest.param(ProviderTransient("down"), False, id="refused"),
    pytest.param(ProviderUnknown("timed out"), False, id="lost on the way there"),
    pytest.param(ProviderUnknown("timed out"), True, id="lost on the way back"),
]


@pytest.mark.abuse(76)
@pytest.mark.parametrize(("fault", "deaf"), FAULTS)
async def test_it_says_unavailable_and_a_retry_makes_one_session(
    cast: Cast, fault: Exception, deaf: bool
) -> None:
    life = await Life.at(cast, "created")
    line = cut_off(cast, fault, deaf=deaf)
    headers = {"Idempotency-Key": "pay once"}
    answer = await pay(cast.alice, life.job, cast.bob.id, headers=headers)
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert len(await sessions(cast)) == int(deaf)
    again = accepted(await pay(cast.alice, life.job, cast.bob.id, headers=headers))
    assert await sessions(cast) == [again["id"]]
    assert await rows(cast, STATES) == [("open",)]
    assert line.calls == 2
    await life.pay()
    assert life.session == again["id"]
    assert (await life.proof())["held"] == 12000


async def test_it_makes_one_session_though_the_job_was_renamed_before_the_retry(
    cast: Cast,
) -> None:
    life = await Life.begin(cast)
    cut_off(cast, ProviderUnknown("timed out"), deaf=True)
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    url = f"/api/client/job/update-job/{life.job}"
    accepted(await cast.alice.put(url, json=cast.job(title="Another name")))
    await pay(cast.alice, life.job, cast.bob.id)
    await life.pay()
    assert [one for (one,) in await rows(cast, STATES)].count("captured") == 1


async def test_it_starts_anew_after_the_provider_refused_for_good(
    cast: Cast, database: TestDatabase
) -> None:
    life = await Life.at(cast, "created")
    cut_off(cast, ProviderPermanent("no such currency here"))
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    assert await sessions(cast) == []
    accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert await rows(cast, STATES) == [("failed",), ("open",)]
    report = await verify(database.app_dsn)
    assert report.violation is None, str(report.violation)


async def test_it_says_unavailable_while_an_old_session_cannot_be_looked_up(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.checkout()
    await later(cast, DAY_SECONDS + 1)
    cut_off(cast, ProviderTransient("down"))
    problem(await pay(cast.alice, life.job, cast.bob.id), 503)
    assert len(await sessions(cast)) == 1
    accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert len(await sessions(cast)) == 2


async def test_it_answers_ten_at_once_over_a_line_that_breaks(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    cut_off(cast, *(ProviderUnknown("timed out") for _ in range(5)), deaf=True)
    answers = await asyncio.gather(*(pay(cast.alice, life.job, cast.bob.id) for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    again = accepted(await pay(cast.alice, life.job, cast.bob.id))
    assert {answer.json()["id"] for answer in answers if answer.is_success} <= {again["id"]}
    assert await sessions(cast) == [again["id"]]
