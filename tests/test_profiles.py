"""Profiles: everybody has one, its owner changes it, and who looks decides what is shown."""

import asyncio
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.domain.people import profile_id
from earnest.store.db import Pool
from earnest.store.verify import verify
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import UNKNOWN_ID, Caller, Cast, problem

ROWS = """
SELECT
    (SELECT count(*) FROM client_profile)
    + (SELECT count(*) FROM freelancer_profile)
    + (SELECT count(*) FROM freelancer_skill)
"""
ABOUT_BOB: dict[str, Any] = {
    "firstName": "Robert",
    "lastName": "Baker",
    "title": "Logo designer",
    "bio": "Ten years of logos.\nAnd some posters.",
    "experienceLevel": "Expert",
    "language": ["English", "हिन्दी"],
    "portfolio": ["https://bob.example/logos", "https://bob.example:8443/a?b=c#d"],
    "country": "India",
    "city": "Pune",
}
LISTS = ("language", "portfolio")
ABOUT_ALICE = {
    "firstName": "Alice",
    "lastName": "Zuhair",
    "companyName": "Zuhair's Bakery",
    "description": "We bake.",
    "website": "https://bakery.example",
    "country": "India",
    "city": "Mumbai",
}


def face(who: Caller) -> str:
    return f"/api/{who.actor.role}/profile"


async def look(viewer: Caller, of: Caller, id_: str = "") -> Any:
    """The profile of `of` as `viewer` sees it."""
    answer = accepted(await viewer.get(f"{face(of)}/get-profile/{id_ or of.id}"))
    assert answer.keys() == {"data"}
    return answer["data"]


async def update(who: Caller, /, **fields: Any) -> Any:
    """Ask to change one's own profile."""
    return await who.put(f"{face(who)}/update-profile/{who.id}", json=fields)


# -- from the start ---------------------------------------------------------------------------


async def test_a_freelancer_has_an_empty_one_from_the_start(cast: Cast) -> None:
    seen = await look(cast.bob, cast.bob)
    assert seen.pop("createdAt") == seen.pop("updatedAt")
    assert seen == {
        "_id": profile_id(cast.bob.actor.public_id),
        "userId": {"_id": cast.bob.id, "email": cast.bob.email},
        "firstName": "Bob",
        "lastName": "",
        "title": "",
        "bio": "",
        "experienceLevel": "",
        "jobCategory": None,
        "skills": [],
        "language": [],
        "portfolio": [],
        "country": "",
        "city": "",
        "profilePic": "",
        "__v": 0,
    }


async def test_a_client_has_an_empty_one_from_the_start(cast: Cast) -> None:
    seen = await look(cast.alice, cast.alice)
    assert seen.pop("createdAt") == seen.pop("updatedAt")
    assert seen == {
        "_id": profile_id(cast.alice.actor.public_id),
        "userId": {"_id": cast.alice.id, "email": cast.alice.email},
        "firstName": "Alice",
        "lastName": "",
        "companyName": "",
        "description": "",
        "website": "",
        "country": "",
        "city": "",
        "profilePic": "",
        "__v": 0,
    }


async def test_looking_writes_nothing(cast: Cast) -> None:
    for who in (cast.alice, cast.bob):
        await look(cast.olga, who)
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        assert await conn.fetchval(ROWS) == 0


# -- updating ---------------------------------------------------------------------------------


async def test_a_freelancer_says_everything(cast: Cast) -> None:
    labels = {"jobCategory": cast.category, "skills": [cast.skill]}
    answer = accepted(await update(cast.bob, **ABOUT_BOB, **labels))
    assert answer["message"] == "Profile has been updated"
    seen = answer["data"]
    assert seen == await look(cast.bob, cast.bob)
    assert {name: seen[name] for name in ABOUT_BOB} == ABOUT_BOB
    assert seen["jobCategory"] == {"_id": cast.category, "name": "Design"}
    assert seen["skills"] == [{"_id": cast.skill, "name": "Drawing"}]
    assert seen["userId"] == {"_id": cast.bob.id, "email": cast.bob.email}
    assert seen["updatedAt"] > seen["createdAt"]


async def test_a_client_says_everything(cast: Cast) -> None:
    seen = accepted(await update(cast.alice, **ABOUT_ALICE))["data"]
    assert seen == await look(cast.alice, cast.alice)
    assert {name: seen[name] for name in ABOUT_ALICE} == ABOUT_ALICE


async def test_what_is_not_sent_stays_as_it_is(cast: Cast) -> None:
    labels = {"jobCategory": cast.category, "skills": [cast.skill]}
    before = accepted(await update(cast.bob, **ABOUT_BOB, **labels))["data"]
    for body in ({}, dict.fromkeys([*ABOUT_BOB, *labels]), {"unknown": 7}):
        after = accepted(await update(cast.bob, **body))["data"]
        assert after | {"updatedAt": ""} == before | {"updatedAt": ""}
    after = accepted(await update(cast.bob, title="Painter"))["data"]
    assert after | {"updatedAt": ""} == before | {"updatedAt": "", "title": "Painter"}
    before = accepted(await update(cast.alice, **ABOUT_ALICE))["data"]
    after = accepted(await update(cast.alice, city="Delhi"))["data"]
    assert after | {"updatedAt": ""} == before | {"updatedAt": "", "city": "Delhi"}


async def test_an_empty_text_empties_its_field(cast: Cast) -> None:
    labels = {"jobCategory": cast.category, "skills": [cast.skill]}
    accepted(await update(cast.bob, **ABOUT_BOB, **labels))
    empty = {"lastName": "", "title": " ", "bio": "", "country": "", "city": ""}
    lists: dict[str, Any] = {"skills": [], "language": [], "portfolio": []}
    choices = {"experienceLevel": "", "jobCategory": ""}
    seen = accepted(await update(cast.bob, **empty, **lists, **choices))["data"]
    assert {seen[name] for name in (*empty, "experienceLevel")} == {""}
    assert all(seen[name] == [] for name in lists)
    assert seen["jobCategory"] is None
    assert seen["firstName"] == "Robert"


async def test_it_takes_back_what_it_has_shown(cast: Cast) -> None:
    """Clients change one field of the document and send all of it."""
    labels = {"jobCategory": cast.category, "skills": [cast.skill]}
    before = accepted(await update(cast.bob, **ABOUT_BOB, **labels))["data"]
    after = accepted(await update(cast.bob, **before))["data"]
    assert after | {"updatedAt": ""} == before | {"updatedAt": ""}
    before = accepted(await update(cast.alice, **ABOUT_ALICE))["data"]
    after = accepted(await update(cast.alice, **before))["data"]
    assert after | {"updatedAt": ""} == before | {"updatedAt": ""}


async def test_it_changes_only_what_a_profile_has(cast: Cast) -> None:
    other = {
        "_id": UNKNOWN_ID,
        "userId": cast.mallet.id,
        "email": "mallet@example.com",
        "role": "admin",
        "status": "Blocked",
        "profilePic": "https://mallet.example/tracker.png",
        "createdAt": "2020-01-01T00:00:00.000Z",
        "password": "x",
    }
    before = await look(cast.bob, cast.bob)
    after = accepted(await update(cast.bob, **other))["data"]
    assert after | {"updatedAt": ""} == before | {"updatedAt": ""}
    assert (await look(cast.mallet, cast.mallet))["firstName"] == "Mallet"


async def test_it_leaves_the_name_that_contracts_show(cast: Cast) -> None:
    """A profile is an introduction; contracts, lists and the trail name the account."""
    life = await Life.at(cast, "created")
    accepted(await update(cast.bob, firstName="The Best"))
    accepted(await update(cast.alice, firstName="Somebody Else"))
    seen = await life.seen()
    assert (seen["freelancerId"]["name"], seen["clientId"]["name"]) == ("Bob", "Alice")
    listed = accepted(await cast.olga.get("/api/admin/users/get-freelancers"))["data"]
    assert {one["name"] for one in listed} == {"Bob", "Mallet"}


async def test_it_is_done_once_for_one_key(cast: Cast) -> None:
    path, key = f"{face(cast.bob)}/update-profile/{cast.bob.id}", {"Idempotency-Key": "one"}
    first = await cast.bob.put(path, json={"title": "Painter"}, headers=key)
    accepted(await update(cast.bob, title="Sculptor"))
    second = await cast.bob.put(path, json={"title": "Painter"}, headers=key)
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert (await look(cast.bob, cast.bob))["title"] == "Sculptor"
    problem(await cast.bob.put(path, json={"title": "Potter"}, headers=key), 422)


async def test_updates_at_once_lose_nothing_of_each_other(
    cast: Cast, database: TestDatabase
) -> None:
    fields: list[dict[str, Any]] = [{name: value} for name, value in ABOUT_BOB.items()]
    fields += [{"jobCategory": cast.category}, {"skills": [cast.skill]}]
    answers = await asyncio.gather(*(update(cast.bob, **one) for one in fields))
    assert {answer.status_code for answer in answers} == {200}
    seen = await look(cast.bob, cast.bob)
    assert {name: seen[name] for name in ABOUT_BOB} == ABOUT_BOB
    assert (seen["jobCategory"]["name"], len(seen["skills"])) == ("Design", 1)
    assert (await verify(database.app_dsn)).violation is None


BAD_LINKS = (
    "http://bob.example",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "//bob.example",
    "bob.example",
    "https://user:pass@bob.example",
    "https://bob.example:99999",
    "https://bob.example:0",
    "https://bob.example/a b",
    "https://bob.example/a\nb",
    "https://bob.example/\u200b",
    "https://[::1",
    "https://bob.example/" + "x" * 500,
    " data:text/html,x",
)
BAD_TEXTS = (7, True, ["x"], {"$ne": ""}, "moc.live\u202e", "nul\x00", "\u2069")


@pytest.mark.parametrize("link", BAD_LINKS)
async def test_it_takes_https_links_only(cast: Cast, link: str) -> None:
    text = await refused(cast, update(cast.bob, portfolio=["https://bob.example", link]), 400)
    assert "portfolio" in text
    assert "website" in await refused(cast, update(cast.alice, website=link), 400)


@pytest.mark.parametrize("name", [name for name in ABOUT_BOB if name not in LISTS])
async def test_a_freelancers_texts_are_clean(cast: Cast, name: str) -> None:
    for value in (*BAD_TEXTS, "x" * 5_001):
        await refused(cast, update(cast.bob, **{name: value}), 400)


@pytest.mark.parametrize("name", list(ABOUT_ALICE))
async def test_a_clients_texts_are_clean(cast: Cast, name: str) -> None:
    for value in (*BAD_TEXTS, "x" * 5_001):
        await refused(cast, update(cast.alice, **{name: value}), 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("firstName", ""),
        ("firstName", " "),
        ("title", "two\nlines"),
        ("title", "x" * 201),
        ("experienceLevel", "expert"),
        ("experienceLevel", "Guru"),
        ("jobCategory", "Design"),
        ("jobCategory", UNKNOWN_ID),
        ("jobCategory", {"_id": UNKNOWN_ID}),
        ("jobCategory", {"name": "Design"}),
        ("skills", "Drawing"),
        ("skills", [UNKNOWN_ID]),
        ("skills", [{"_id": "x"}]),
        ("skills", [7]),
        ("skills", [UNKNOWN_ID] * 31),
        ("language", "English"),
        ("language", [7]),
        ("language", [f"language {number}" for number in range(21)]),
        ("portfolio", "https://bob.example"),
        ("portfolio", [f"https://bob.example/{number}" for number in range(21)]),
        ("portfolio", [{"url": "https://bob.example"}]),
    ],
)
async def test_it_refuses(cast: Cast, field: str, value: Any) -> None:
    assert field in await refused(cast, update(cast.bob, **{field: value}), 400)


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_only_its_owner_changes_it(cast: Cast, name: str) -> None:
    owner: Caller = getattr(cast, name)
    path = f"{face(owner)}/update-profile/{owner.id}"
    await only_for(cast, lambda who: who.put(path, json={"city": "Delhi"}), owner)


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_it_refuses_ids_of_nobody(cast: Cast, name: str) -> None:
    owner: Caller = getattr(cast, name)
    at = face(owner)
    await refuses_ids(cast, lambda id_: owner.put(f"{at}/update-profile/{id_}", json={}), owner.id)
    await refuses_ids(cast, lambda id_: cast.olga.get(f"{at}/get-profile/{id_}"), owner.id)


# -- looking ----------------------------------------------------------------------------------


async def test_it_is_found_by_its_own_id_too(cast: Cast) -> None:
    for owner in (cast.alice, cast.bob):
        own = profile_id(owner.actor.public_id)
        assert await look(cast.olga, owner, own) == await look(cast.olga, owner)
        answer = await owner.put(f"{face(owner)}/update-profile/{own}", json={"city": "Delhi"})
        assert accepted(answer)["data"]["city"] == "Delhi"


async def test_a_client_is_no_freelancer(cast: Cast) -> None:
    for path in (
        f"freelancer/profile/get-profile/{cast.alice.id}",
        f"client/profile/get-profile/{cast.bob.id}",
        f"client/profile/get-profile/{cast.olga.id}",
        f"freelancer/profile/get-profile/{cast.olga.id}",
    ):
        await refused(cast, cast.olga.get(f"/api/{path}"), 404, "Profile not found")


async def test_it_shows_the_address_to_who_may_see_it(cast: Cast) -> None:
    """The owner, admins, and who has a contract with the owner (D8)."""

    async def seen_by(owner: Caller, *viewers: Caller) -> list[bool]:
        return [
            (await look(viewer, owner))["userId"] == {"_id": owner.id, "email": owner.email}
            for viewer in viewers
        ]

    everybody = (cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
    assert await seen_by(cast.alice, *everybody) == [True, False, False, False, True]
    assert await seen_by(cast.bob, *everybody) == [False, True, False, False, True]
    await Life.at(cast, "created")
    assert await seen_by(cast.alice, *everybody) == [True, True, False, False, True]
    assert await seen_by(cast.bob, *everybody) == [True, True, False, False, True]
    assert (await look(cast.anybody, cast.bob))["userId"] == {"_id": cast.bob.id}
    assert "@" not in str(await look(cast.mallory, cast.bob))


async def test_a_clients_is_for_who_is_signed_in(cast: Cast) -> None:
    everybody = (cast.alice, cast.bob, cast.mallory, cast.mallet, cast.olga)
    path = f"{face(cast.alice)}/get-profile/{cast.alice.id}"
    await only_for(cast, lambda who: who.get(path), *everybody)


async def test_applicants_show_their_profiles(cast: Cast) -> None:
    accepted(await update(cast.bob, firstName="Robert", title="Painter", experienceLevel="Expert"))
    life = await Life.begin(cast)
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{life.job}"), 201)
    path = f"/api/client/job/applicants/{life.job}/{cast.alice.id}"
    mallet, bob = (
        one["freelancerId"] for one in accepted(await cast.anybody.get(path))["applicants"]
    )
    assert bob == {
        "_id": profile_id(cast.bob.actor.public_id),
        "userId": cast.bob.id,
        "firstName": "Robert",
        "title": "Painter",
        "profilePic": "",
        "experienceLevel": "Expert",
    }
    assert (mallet["userId"], mallet["firstName"]) == (cast.mallet.id, "Mallet")
    assert (mallet["title"], mallet["experienceLevel"]) == ("", "")
    found = await look(cast.alice, cast.bob, bob["_id"])
    assert found["title"] == "Painter"
