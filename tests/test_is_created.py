"""C3: GET /api/client/is-created/{jobId}/{clientId}, which keeps clients from hiring twice."""

from typing import Any

import pytest

from earnest.app import build_app
from earnest.store.db import Pool
from life import Life, accepted
from refusals import MALFORMED_IDS, refused
from web import UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

PATHS = ("/api/client/is-created", "/api/client/contract/is-created")


async def asked(who: Caller, job: str, client: str, path: str = PATHS[0]) -> Any:
    body = accepted(await who.get(f"{path}/{job}/{client}"))
    assert body.keys() == {"contract"}
    return body["contract"]


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_null_and_then_the_contract(cast: Cast, path: str) -> None:
    life = await Life.begin(cast)
    assert await asked(cast.alice, life.job, cast.alice.id, path) is None
    made = await cast.alice.post(
        f"/api/client/create-contract/{life.job}",
        json={"freelancerId": cast.bob.id, "amount": 12000},
    )
    contract = accepted(made, 201)["contract"]
    for who in (cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga, cast.anybody):
        assert await asked(who, life.job, cast.alice.id, path) == contract


async def test_it_names_people_by_plain_ids(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    contract = await asked(cast.anybody, life.job, cast.alice.id)
    assert contract["freelancerId"] == cast.bob.id
    assert (contract["clientId"], contract["jobId"]) == (cast.alice.id, life.job)
    assert contract["escrowPaid"] is True


async def test_it_stays_while_the_contract_lives(cast: Cast) -> None:
    for point in ("paid", "ongoing", "completed", "requested", "released"):
        life = await Life.at(cast, point)
        assert (await asked(cast.alice, life.job, cast.alice.id))["_id"] == life.contract


async def test_it_is_null_once_the_contract_ended(cast: Cast) -> None:
    for point in ("canceled", "refunded"):
        life = await Life.at(cast, point)
        for who in (cast.alice, cast.bob, cast.olga, cast.anybody):
            assert await asked(who, life.job, cast.alice.id) is None


async def test_it_is_the_new_contract_after_hiring_again(cast: Cast) -> None:
    life = await Life.at(cast, "canceled")
    ended = life.contract
    await life.create()
    assert life.contract != ended
    assert (await asked(cast.alice, life.job, cast.alice.id))["_id"] == life.contract


async def test_it_is_null_for_other_clients_and_unknown_ids(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    for job, client in (
        (life.job, cast.mallory.id),
        (life.job, cast.bob.id),
        (life.job, UNKNOWN_ID),
        (UNKNOWN_ID, cast.alice.id),
        (life.contract, cast.alice.id),
        (life.job[:-1] + ("0" if life.job[-1] != "0" else "1"), cast.alice.id),
        (life.job, cast.alice.id[:-1] + ("0" if cast.alice.id[-1] != "0" else "1")),
    ):
        assert await asked(cast.alice, job, client) is None


async def test_it_wants_two_ids(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    for malformed in MALFORMED_IDS:
        for path in PATHS:
            await refused(cast, cast.alice.get(f"{path}/{malformed}/{cast.alice.id}"), 400)
            await refused(cast, cast.alice.get(f"{path}/{life.job}/{malformed}"), 400)


async def test_it_answers_nobody_where_anonymous_reads_are_off(cast: Cast, database: Any) -> None:
    life = await Life.at(cast, "created")
    closed = build_app(
        make_settings(database.app_dsn, anonymous_reads=False), Pool(database.app_dsn)
    )
    async with closed.lifespan(), caller(closed) as nobody:
        for path in PATHS:
            problem(await nobody.get(f"{path}/{life.job}/{cast.alice.id}"), 401)
            token = {"Authorization": cast.bob.headers["Authorization"]}
            seen = await nobody.get(f"{path}/{life.job}/{cast.alice.id}", headers=token)
            assert accepted(seen)["contract"]["_id"] == life.contract
