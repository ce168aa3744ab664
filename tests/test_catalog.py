"""Categories and skills."""

import pytest

from web import UNKNOWN_ID, Caller, Cast, problem

SHELVES = [
    ("/api/admin/categories", "category", "get-categories", "add-category", "Design"),
    ("/api/admin/skills", "skills", "get-skills", "add-skills", "Drawing"),
]
shelves = pytest.mark.parametrize(("base", "noun", "every", "add", "present"), SHELVES)


@shelves
async def test_it_grows_and_changes_by_admins(
    cast: Cast, api: Caller, base: str, noun: str, every: str, add: str, present: str
) -> None:
    answer = await cast.olga.post(f"{base}/{add}", json={"name": " Writing "})
    assert answer.status_code == 201
    made = answer.json()
    assert made["success"] is True
    label = made["data"]["_id"]
    assert made["data"] == {"_id": label, "name": "Writing", "isListed": True}
    for change, body, name, is_listed in (
        (f"edit-{noun}", {"name": "Copywriting"}, "Copywriting", True),
        (f"unlist-{noun}", None, "Copywriting", False),
        (f"list-{noun}", None, "Copywriting", True),
    ):
        answer = await cast.olga.put(f"{base}/{change}/{label}", json=body)
        assert answer.status_code == 200, answer.text
        shown = {"_id": label, "name": name, "isListed": is_listed}
        assert (answer.json()["success"], answer.json()["data"]) == (True, shown)
        listed = (await api.get(f"{base}/{every}")).json()
        assert listed["success"] is True
        assert [one["name"] for one in listed["data"]] == [present, name]
        assert listed["data"][1] == shown


@shelves
async def test_it_knows_a_name_in_any_case(
    cast: Cast, base: str, noun: str, every: str, add: str, present: str
) -> None:
    problem(await cast.olga.post(f"{base}/{add}", json={"name": present.upper()}), 409)
    made = (await cast.olga.post(f"{base}/{add}", json={"name": "Other"})).json()["data"]
    answer = await cast.olga.put(
        f"{base}/edit-{noun}/{made['_id']}", json={"name": present.lower()}
    )
    problem(answer, 409)


@shelves
async def test_it_is_for_admins(
    cast: Cast, api: Caller, base: str, noun: str, every: str, add: str, present: str
) -> None:
    writes = (
        ("POST", f"{base}/{add}"),
        ("PUT", f"{base}/edit-{noun}/{UNKNOWN_ID}"),
        ("PUT", f"{base}/list-{noun}/{UNKNOWN_ID}"),
        ("PUT", f"{base}/unlist-{noun}/{UNKNOWN_ID}"),
    )
    for method, path in writes:
        problem(await api.request(method, path, json={"name": "Writing"}), 401)
        for other in (cast.alice, cast.bob):
            problem(await other.request(method, path, json={"name": "Writing"}), 403)
        if method == "PUT":
            problem(await cast.olga.request(method, path, json={"name": "Writing"}), 404)
            bad = path.replace(UNKNOWN_ID, "xyz")
            problem(await cast.olga.request(method, bad, json={"name": "Writing"}), 400)


async def test_it_wants_a_name(cast: Cast) -> None:
    for name in ("", " ", "x" * 101, "two\nlines", 7, None, ["a"]):
        answer = await cast.olga.post("/api/admin/skills/add-skills", json={"name": name})
        assert problem(answer, 400)["field"] == "name"


async def test_it_counts_blanks_inside_a_name_as_one(cast: Cast) -> None:
    add = "/api/admin/skills/add-skills"
    made = await cast.olga.post(add, json={"name": " Copy   writing "})
    assert made.json()["data"]["name"] == "Copy writing"
    problem(await cast.olga.post(add, json={"name": "copy  writing"}), 409)


async def test_it_offers_an_unlisted_label_no_longer(cast: Cast) -> None:
    job = await cast.post_job()
    await cast.olga.put(f"/api/admin/categories/unlist-category/{cast.category}")
    await cast.olga.put(f"/api/admin/skills/unlist-skills/{cast.skill}")
    write = cast.olga.post
    writing = (await write("/api/admin/categories/add-category", json={"name": "Writing"})).json()
    prose = (await write("/api/admin/skills/add-skills", json={"name": "Prose"})).json()
    other = {"category": writing["data"]["_id"], "skills": [prose["data"]["_id"]]}
    for field, unlisted in (("category", cast.category), ("skills", [cast.skill])):
        body = cast.job(**{**other, field: unlisted})
        answer = await cast.alice.post("/api/client/job/create-job", json=body)
        assert problem(answer, 400)["field"] == field
    for field, unlisted in (("jobCategory", cast.category), ("skills", [cast.skill])):
        answer = await cast.bob.put(
            f"/api/freelancer/profile/update-profile/{cast.bob.id}", json={field: unlisted}
        )
        assert problem(answer, 400)["field"] == field

    path = f"/api/client/job/update-job/{job}"
    kept = await cast.alice.put(path, json=cast.job(title="It keeps what it had"))
    assert (kept.status_code, kept.json()["job"]["category"]) == (200, cast.category)
    assert kept.json()["job"]["skills"] == [cast.skill]
    assert (await cast.alice.put(path, json=other)).status_code == 200
    assert problem(await cast.alice.put(path, json=cast.job()), 400)["field"] == "category"
