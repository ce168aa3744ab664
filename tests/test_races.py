"""Many requests at the same moment, over HTTP: exactly one of them moves the money.

Each race runs against one application and against two on one database, and ends with every eye
on the books. Each has a canary: the same race with a defence taken away, which must leave
damage.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from typing import cast as typed

import asyncpg
import httpx
import pytest

from canary import (
    COMPARE_PAYMENT,
    COMPARE_PAYMENT_EARLY,
    COMPARE_VERSION,
    KEEP_REPLY,
    LOOK_FOR_KEY,
    damaged,
    plant,
    sound,
)
from conftest import TestDatabase
from crowd import Crowd, only_one_app, statuses
from desk import Breaking, Fault, killed_after, killed_before, reply_lost
from earnest.store.db import Pool
from life import Life
from web import Caller

NO_VERSIONS = (COMPARE_VERSION, COMPARE_PAYMENT_EARLY, COMPARE_PAYMENT)
ROUNDS = 50


# -- releases -------------------------------------------------------------------------------------


async def release_sixteen_times(crowd: Crowd, life: Life) -> list[httpx.Response]:
    olga = crowd.hands(crowd.cast.olga)
    path = f"/api/admin/escrow/release-fund/{life.contract}"
    return await crowd.at_once([olga().put(path) for _ in range(16)])


async def test_it_releases_once_when_sixteen_admins_approve(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.at(crowd.cast, "requested")
    answers = await release_sixteen_times(crowd, life)
    assert statuses(answers) == {200: 1, 400: 15}
    assert await life.wallet(crowd.cast.bob) == 10_800
    assert (await life.proof())["holds"] is True
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_releases_without_versions_pay_many_times(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.at(crowd.cast, "requested")
    await plant(database.owner_dsn, *NO_VERSIONS, without=("event_chain", "balance_floor"))
    await release_sixteen_times(crowd, life)
    assert await life.wallet(crowd.cast.bob) > 10_800
    assert {
        "a person's account is below zero",
        "a contract was settled more or less often than its state says",
    } <= await damaged(database.superuser_dsn)


async def scuffle(crowd: Crowd, life: Life, dice: random.Random) -> list[httpx.Response]:
    """Everything that could end a contract, or keep it from ending, at the same moment."""
    cast = crowd.cast
    alice, bob, olga = map(crowd.hands, (cast.alice, cast.bob, cast.olga))
    refund = f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}"
    cancel = f"/api/client/cancel-contract/{life.contract}"
    status = f"/api/freelancer/contract/update-status/{life.contract}"
    requests = [
        olga().put(f"/api/admin/escrow/release-fund/{life.contract}"),
        olga().put(f"/api/admin/escrow/release-fund/{life.contract}"),
        olga().put(refund),
        olga().put(refund),
        alice().put(refund),
        alice().delete(cancel),
        bob().delete(cancel),
        bob().put(status, json={"status": "Completed"}),
        alice().patch(f"/api/client/release-fund/{life.contract}"),
    ]
    dice.shuffle(requests)
    if dice.random() < 0.5:  # as it comes
        return await asyncio.gather(*requests)
    return await crowd.at_once(requests)


@pytest.mark.abuse(58)
async def test_it_settles_once_when_release_refund_and_cancel_meet(
    crowd: Crowd, database: TestDatabase
) -> None:
    ends: Counter[str] = Counter()
    rounds = ROUNDS // len(crowd.apps)
    points = itertools.cycle(["requested", "ongoing", "canceled", "completed", "started"])
    for round_, point in zip(range(rounds), points, strict=False):
        life = await Life.at(crowd.cast, point)
        answers = await scuffle(crowd, life, random.Random(round_))
        assert set(statuses(answers)) <= {200, 400}
        moved = [
            answer
            for answer in answers
            if answer.status_code == 200
            and answer.request.url.path.startswith("/api/admin")
            and answer.json()["data"]["status"] != "funded"
        ]
        proof = await life.proof()
        assert proof["holds"] is True
        assert len(moved) == (proof["held"] == 0)
        ends[moved[0].json()["data"]["status"] if moved else "held"] += 1
    assert ends["released"] >= rounds // 5  # those that were asked for
    assert ends["refunded"] >= rounds // 5  # those that were canceled already
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_a_scuffle_without_versions_pays_both(
    crowd: Crowd, database: TestDatabase
) -> None:
    lives = [await Life.at(crowd.cast, "canceled") for _ in range(3)]
    await plant(database.owner_dsn, *NO_VERSIONS, without=("event_chain", "balance_floor"))
    for round_, life in enumerate(lives):
        await scuffle(crowd, life, random.Random(round_))
    assert "a contract was settled more or less often than its state says" in await damaged(
        database.superuser_dsn
    )


# -- hiring ---------------------------------------------------------------------------------------


async def open_ten_checkouts(crowd: Crowd, life: Life) -> list[httpx.Response]:
    alice = crowd.hands(crowd.cast.alice)
    body = {"title": "x", "rate": 1, "freelancerId": crowd.cast.bob.id}
    return await crowd.at_once(
        [alice().post(f"/api/client/job/payment/{life.job}", json=body) for _ in range(10)]
    )


@pytest.mark.abuse(74)
@pytest.mark.parametrize("first", ["the job", "the contract"])
async def test_it_opens_one_checkout_for_ten_requests(
    crowd: Crowd, database: TestDatabase, first: str
) -> None:
    life = await Life.begin(crowd.cast)
    if first == "the contract":
        await life.create()
    answers = await open_ten_checkouts(crowd, life)
    assert statuses(answers) == {200: 10}
    assert len({answer.json()["id"] for answer in answers}) == 1
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_checkouts_without_the_index_open_several(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    await plant(database.owner_dsn, without=("payment_one_open_per_job",))
    answers = await open_ten_checkouts(crowd, life)
    assert len({answer.json()["id"] for answer in answers}) > 1
    assert "a job has two open checkouts" in await damaged(database.superuser_dsn)


async def create_sixteen_times(crowd: Crowd, life: Life) -> list[httpx.Response]:
    alice = crowd.hands(crowd.cast.alice)
    body = {"freelancerId": crowd.cast.bob.id, "amount": 12_000}
    path = f"/api/client/create-contract/{life.job}"
    return await crowd.at_once([alice().post(path, json=body) for _ in range(16)])


async def test_it_creates_one_contract_for_sixteen_requests(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    assert statuses(await create_sixteen_times(crowd, life)) == {201: 1, 400: 15}
    await sound(database.superuser_dsn)


async def test_it_hands_over_a_contract_that_was_paid_first_to_one_of_sixteen_requests(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    await life.pay()
    answers = await create_sixteen_times(crowd, life)
    assert statuses(answers) == {201: 1, 400: 15}
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_contracts_without_the_index_are_several(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    await plant(database.owner_dsn, without=("contract_one_live_per_job",))
    assert statuses(await create_sixteen_times(crowd, life))[201] > 1
    assert "a job has two live contracts" in await damaged(database.superuser_dsn)


async def test_it_ends_right_when_an_approval_meets_a_cancel(
    crowd: Crowd, database: TestDatabase
) -> None:
    approvals: Counter[int] = Counter()
    cast = crowd.cast
    for round_ in range(20):
        life = await Life.at(cast, "paid")
        alice, bob = crowd.hands(cast.alice), crowd.hands(cast.bob)
        approval = bob().post(
            f"/api/freelancer/contract/approve-contract/{life.contract}/{cast.bob.id}"
        )
        cancel = alice().delete(f"/api/client/cancel-contract/{life.contract}")
        if round_ % 2:
            approved, cancelled = await crowd.at_once([approval, cancel], in_turn=True)
        else:
            cancelled, approved = await crowd.at_once([cancel, approval], in_turn=True)
        assert cancelled.status_code == 200
        assert approved.status_code in (200, 400)
        approvals[approved.status_code] += 1
        seen = await life.seen()
        assert seen["status"] == "Canceled"
        # Who was first decides what the freelancer keeps (D7).
        escrow = await life.refund()
        assert escrow["freelancerEarning"] == (1_620 if approved.status_code == 200 else 0)
    assert len(approvals) == 2
    await sound(database.superuser_dsn)


# -- the same key ---------------------------------------------------------------------------------


def with_key(person: Callable[[], Caller], key: str) -> Callable[[], Caller]:
    def next_one() -> Caller:
        one = person()
        one.headers["Idempotency-Key"] = key
        return one

    return next_one


async def create_with_one_key(crowd: Crowd, life: Life) -> list[httpx.Response]:
    alice = with_key(crowd.hands(crowd.cast.alice), "one and the same")
    body = {"freelancerId": crowd.cast.bob.id, "amount": 12_000}
    path = f"/api/client/create-contract/{life.job}"
    return await crowd.at_once([alice().post(path, json=body) for _ in range(50)])


@pytest.mark.abuse(97)
async def test_it_answers_fifty_requests_with_one_key_alike(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    answers = await create_with_one_key(crowd, life)
    assert statuses(answers) == {201: 50}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer for answer in answers if "Idempotent-Replayed" in answer.headers]
    assert len(replayed) == 49
    await sound(database.superuser_dsn)


@pytest.mark.abuse(97)
@pytest.mark.parametrize("verb", ["release", "refund"])
async def test_it_moves_money_once_for_fifty_requests_with_one_key(
    crowd: Crowd, database: TestDatabase, verb: str
) -> None:
    cast = crowd.cast
    life = await Life.at(cast, "requested" if verb == "release" else "canceled")
    olga = with_key(crowd.hands(cast.olga), "one and the same")
    path = {
        "release": f"/api/admin/escrow/release-fund/{life.contract}",
        "refund": f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}",
    }[verb]
    answers = await crowd.at_once([olga().put(path) for _ in range(50)])
    assert statuses(answers) == {200: 50}
    assert len({answer.content for answer in answers}) == 1
    assert await life.wallet(cast.bob if verb == "release" else cast.alice) == 10_800
    await sound(database.superuser_dsn)


@only_one_app
async def test_its_canary_without_records_one_key_gets_many_answers(
    crowd: Crowd, database: TestDatabase
) -> None:
    life = await Life.begin(crowd.cast)
    await plant(database.owner_dsn, LOOK_FOR_KEY, KEEP_REPLY)
    answers = await create_with_one_key(crowd, life)
    assert statuses(answers) == {201: 1, 400: 49}


@only_one_app
async def test_its_canary_without_the_lookup_and_the_primary_key_one_key_works_twice(
    crowd: Crowd, database: TestDatabase
) -> None:
    """The reply written apart from what it answers: the first of two requests is forgotten."""
    life = await Life.at(crowd.cast, "requested")
    await plant(
        database.owner_dsn,
        LOOK_FOR_KEY,
        *NO_VERSIONS,
        without=("idempotency_key_once", "event_chain", "balance_floor"),
    )
    olga = with_key(crowd.hands(crowd.cast.olga), "one and the same")
    path = f"/api/admin/escrow/release-fund/{life.contract}"
    await crowd.at_once([olga().put(path) for _ in range(50)])
    assert "an idempotency key was used twice" in await damaged(database.superuser_dsn)


# -- broken connections ---------------------------------------------------------------------------


class Shaky(Breaking):
    """Every third commit meets a fault; the others go through."""

    def __init__(self, whole: Pool, surgeon: asyncpg.Connection, faults: list[Fault]) -> None:
        super().__init__(whole, surgeon, 0, faults[0])
        self._faults = itertools.cycle(faults)
        self._count = itertools.count()
        self.broke = 0

    async def acquire(self) -> Any:
        if next(self._count) % 3:
            return await self._whole.acquire()
        self.broke += 1
        self._fault = next(self._faults)
        return await super().acquire()

    def release(self, conn: Any, error: BaseException | None = None) -> None:
        if isinstance(conn, asyncpg.Connection):
            self._whole.release(conn, error)
        else:
            super().release(conn, error)


async def test_it_neither_doubles_nor_loses_anything_when_connections_break(
    crowd: Crowd, database: TestDatabase
) -> None:
    surgeon = await asyncpg.connect(database.superuser_dsn)
    faults = [killed_before, killed_after, reply_lost(OSError), reply_lost(TimeoutError)]
    pools = []
    for app in crowd.apps:
        shaky = Shaky(app.state.pool, surgeon, faults)
        app.state.core.door._pool = typed("Pool", shaky)
        pools.append(shaky)
    lives = [await Life.at(crowd.cast, "requested") for _ in range(6)]
    assert [(await release_once(crowd, life)).status_code for life in lives] == [200] * 6
    assert await lives[0].wallet(crowd.cast.bob) == 6 * 10_800
    assert sum(pool.broke for pool in pools) > 10
    await surgeon.close()
    await sound(database.superuser_dsn)


async def release_once(crowd: Crowd, life: Life) -> httpx.Response:
    return await crowd.hands(crowd.cast.olga)().put(
        f"/api/admin/escrow/release-fund/{life.contract}"
    )
