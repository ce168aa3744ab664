"""Reviews: one per completed contract, by its client, for everybody to read."""

import asyncio
import json
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.app import build_app
from earnest.store.db import Pool
from earnest.store.verify import verify
from life import Life, accepted
from refusals import only_for, refused
from web import UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

NOT_COMPLETED = "You can review a contract only after its work is completed."


def review(life: Life, **other: Any) -> dict[str, Any]:
    """What Alice says of Bob's work."""
    return {
        "contractId": life.contract,
        "freelancerId": life.cast.bob.id,
        "rating": 4,
        "description": "Three drafts, as agreed.",
        **other,
    }


async def rate(who: Caller, client: str, body: dict[str, Any], **headers: str) -> Any:
    return await who.post(
        f"/api/client/review/rate-freelancer/{client}",
        content=json.dumps(body),
        headers={"Content-Type": "application/json", **headers},
    )


async def shown(who: Caller, freelancer: str, **query: Any) -> Any:
    return accepted(await who.get(f"/api/client/review/show-reviews/{freelancer}", params=query))


# -- rate-freelancer --------------------------------------------------------------------------


async def test_it_answers_with_the_review_and_shows_it_to_everybody(cast: Cast) -> None:
    life = await Life.at(cast, "released")
    answer = accepted(await rate(cast.alice, cast.alice.id, review(life)), 201)
    assert answer["message"] == "Review has been added"
    made = answer["data"]
    assert made == {
        "_id": made["_id"],
        "rating": 4,
        "description": "Three drafts, as agreed.",
        "createdAt": made["createdAt"],
        "clientId": cast.alice.id,
        "freelancerId": cast.bob.id,
        "contractId": life.contract,
        "__v": 0,
    }
    seen = await shown(cast.anybody, cast.bob.id)
    assert (seen["count"], seen["total"]) == (1, 1)
    client = {"_id": cast.alice.id, "name": "Alice", "profilePic": ""}
    assert seen["data"] == [made | {"clientId": client}]


async def test_it_is_stored_tidied(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    sent = review(life, description="  Cafe\u0301 <script>alert(1)</script>\nsecond line ")
    made = accepted(await rate(cast.alice, cast.alice.id, sent), 201)["data"]
    assert made["description"] == "Caf\u00e9 <script>alert(1)</script>\nsecond line"


@pytest.mark.parametrize("point", ["created", "paid", "started", "ongoing", "canceled", "refunded"])
async def test_it_waits_for_the_work_to_be_completed(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    asked = rate(cast.alice, cast.alice.id, review(life))
    await refused(cast, asked, 400, NOT_COMPLETED)


@pytest.mark.parametrize("point", ["completed", "requested", "released"])
async def test_it_is_taken_once_the_work_is_completed(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    accepted(await rate(cast.alice, cast.alice.id, review(life)), 201)
    asked = rate(cast.alice, cast.alice.id, review(life, rating=1))
    await refused(cast, asked, 400, "You have already reviewed this contract")


async def test_it_is_one_of_many_that_are_sent_at_once(cast: Cast, database: TestDatabase) -> None:
    life = await Life.at(cast, "completed")
    answers = await asyncio.gather(
        *(rate(cast.alice, cast.alice.id, review(life, rating=1 + n % 5)) for n in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 11
    assert (await shown(cast.anybody, cast.bob.id))["total"] == 1
    assert (await verify(database.app_dsn)).violation is None


async def test_it_is_done_once_for_one_key(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    key = {"Idempotency-Key": "stars"}
    first = await rate(cast.alice, cast.alice.id, review(life), **key)
    second = await rate(cast.alice, cast.alice.id, review(life), **key)
    assert accepted(first, 201) == accepted(second, 201)
    assert second.headers["Idempotent-Replayed"] == "true"
    problem(await rate(cast.alice, cast.alice.id, review(life, rating=1), **key), 422)


async def test_it_is_for_the_client_of_the_contract(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    await only_for(
        cast,
        lambda who: rate(who, who.id if hasattr(who, "id") else UNKNOWN_ID, review(life)),
        cast.alice,
    )
    # Another's id in the path, whoever's the token is.
    await refused(cast, rate(cast.mallory, cast.alice.id, review(life)), 403)
    await refused(cast, rate(cast.alice, cast.mallory.id, review(life)), 403)
    await refused(cast, rate(cast.alice, UNKNOWN_ID, review(life)), 403)


async def test_it_must_name_the_freelancer_of_the_contract(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    for freelancer in (cast.mallet.id, cast.alice.id, UNKNOWN_ID):
        asked = rate(cast.alice, cast.alice.id, review(life, freelancerId=freelancer))
        assert "freelancerId" in await refused(cast, asked, 400)


async def test_it_refuses_ids_of_no_contract(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    for unknown in (UNKNOWN_ID, "f" * 24, life.job):
        asked = rate(cast.alice, cast.alice.id, review(life, contractId=unknown))
        await refused(cast, asked, 404)
    for malformed in ("xyz", life.contract[:-1], "CON48120377", "", " " * 24):
        asked = rate(cast.alice, cast.alice.id, review(life, contractId=malformed))
        await refused(cast, asked, 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rating", 0),
        ("rating", 6),
        ("rating", -1),
        ("rating", 4.5),
        ("rating", "4"),
        ("rating", True),
        ("rating", None),
        ("rating", [4]),
        ("rating", 10**30),
        ("description", ""),
        ("description", " \n "),
        ("description", 7),
        ("description", None),
        ("description", "x" * 2_001),
        ("description", "nul\x00"),
        ("description", "moc.live\u202e"),
        ("description", "\u2066x"),
        ("description", "\ud800"),
        ("contractId", {"$ne": ""}),
        ("freelancerId", None),
    ],
)
async def test_it_refuses(cast: Cast, field: str, value: Any) -> None:
    life = await Life.at(cast, "completed")
    await refused(cast, rate(cast.alice, cast.alice.id, review(life, **{field: value})), 400)
    body = review(life)
    del body[field]
    assert field in await refused(cast, rate(cast.alice, cast.alice.id, body), 400)
    accepted(await rate(cast.alice, cast.alice.id, review(life)), 201)


async def test_it_takes_nothing_but_what_a_review_is(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    body = review(life, clientId=cast.mallory.id, _id=UNKNOWN_ID, createdAt="2020-01-01")
    made = accepted(await rate(cast.alice, cast.alice.id, body), 201)["data"]
    assert made["clientId"] == cast.alice.id
    assert made["_id"] != UNKNOWN_ID
    assert not made["createdAt"].startswith("2020")


# -- show-reviews -----------------------------------------------------------------------------


async def test_it_shows_the_address_to_both_parties_and_to_admins(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    accepted(await rate(cast.alice, cast.alice.id, review(life)), 201)
    for who in (cast.alice, cast.bob, cast.olga):
        (seen,) = (await shown(who, cast.bob.id))["data"]
        assert seen["clientId"]["email"] == cast.alice.email
    for who in (cast.mallory, cast.mallet, cast.anybody):
        (seen,) = (await shown(who, cast.bob.id))["data"]
        assert "@" not in str(seen)


async def test_it_lists_newest_first_and_by_page(cast: Cast) -> None:
    for rating in (1, 2, 3):
        life = await Life.at(cast, "completed")
        accepted(await rate(cast.alice, cast.alice.id, review(life, rating=rating)), 201)

    async def ratings(**query: Any) -> list[int]:
        return [one["rating"] for one in (await shown(cast.anybody, cast.bob.id, **query))["data"]]

    assert await ratings() == [3, 2, 1]
    assert await ratings(page="undefined", limit="undefined") == [3, 2, 1]
    assert await ratings(page=1, limit=2) == [3, 2]
    assert await ratings(page=2, limit=2) == [1]
    page = await shown(cast.anybody, cast.bob.id, page=2, limit=2)
    assert (page["count"], page["total"]) == (1, 3)
    for query in ({"page": 0}, {"limit": "x"}):
        path = f"/api/client/review/show-reviews/{cast.bob.id}"
        await refused(cast, cast.anybody.get(path, params=query), 400)


async def test_it_shows_nothing_of_who_was_not_reviewed(cast: Cast) -> None:
    life = await Life.at(cast, "completed")
    accepted(await rate(cast.alice, cast.alice.id, review(life)), 201)
    guessed = cast.bob.id[:-1] + ("0" if cast.bob.id[-1] != "0" else "1")
    for nobody in (cast.mallet.id, cast.alice.id, UNKNOWN_ID, guessed):
        assert await shown(cast.anybody, nobody) == {"count": 0, "total": 0, "data": []}
    for malformed in ("xyz", "6" * 23, "%00"):
        asked = cast.anybody.get(f"/api/client/review/show-reviews/{malformed}")
        await refused(cast, asked, 400)


async def test_it_is_for_who_signs_in_where_anonymous_reads_are_off(
    cast: Cast, database: TestDatabase
) -> None:
    settings = make_settings(database.app_dsn, anonymous_reads=False)
    closed = build_app(settings, Pool(database.app_dsn))
    path = f"/api/client/review/show-reviews/{cast.bob.id}"
    async with closed.lifespan():
        async with caller(closed) as nobody:
            problem(await nobody.get(path), 401)
        token = cast.mallet.headers["Authorization"]
        async with caller(closed, Authorization=token) as mallet:
            assert accepted(await mallet.get(path))["data"] == []
