"""Reading contracts: C4, C5, C8, C9 and C11, and what each reader may see (D8, D10, D15).

C3 has a file of its own, test_is_created.py, and so have pages of lists, test_read_pages.py.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from digest import digest
from earnest.app import build_app
from earnest.store.db import Pool
from life import Life, accepted
from refusals import MALFORMED_IDS, refused, refuses_ids
from web import PASSWORD, UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

CLIENT = ("/api/client/get-contracts", "/api/client/contract/get-contracts")
ALL = ("/api/client/all-contracts", "/api/client/contract/all-contracts")
FREELANCER = "/api/freelancer/contract/get-contracts"
VIEW = "/api/freelancer/contract/view-contract"
COMPLETED = "/api/freelancer/contract/completed-works"

CONTRACT_KEYS = {
    "_id",
    "contractId",
    "jobId",
    "clientId",
    "freelancerId",
    "isApproved",
    "status",
    "amount",
    "escrowPaid",
    "canceledBy",
    "cancelReason",
    "cancelReasonDescription",
    "releaseFundStatus",
    "isDeleted",
    "statusHistory",
    "createdAt",
    "updatedAt",
    "__v",
}
JOB_KEYS = {
    "_id",
    "title",
    "description",
    "rate",
    "experienceLevel",
    "location",
    "clientId",
    "category",
    "skills",
    "hiredFreelancer",
    "applicants",
    "status",
    "createdAt",
    "updatedAt",
    "__v",
}
BRIEF_JOB_KEYS = {"_id", "title", "description", "rate"}
REASONS = {"cancelReason": "Too late", "cancelReasonDescription": "No draft in two weeks"}


class Story:
    """Three contracts of Alice and Bob, and one of Mallory and Mallet: newest first."""

    def __init__(self, cast: Cast, lives: list[Life], foreign: Life) -> None:
        self.cast = cast
        self.foreign = foreign
        self.canceled, self.completed, self.created = lives
        self.ids = [life.contract for life in (self.created, self.completed, self.canceled)]

    def reads(self) -> dict[str, str]:
        """Every read that shows Alice and Bob, by the number that the spec gives it."""
        alice, bob = self.cast.alice.id, self.cast.bob.id
        return {
            "C3": f"/api/client/is-created/{self.created.job}/{alice}",
            "C3 deployed": f"/api/client/contract/is-created/{self.created.job}/{alice}",
            "C4": f"{CLIENT[0]}/{alice}",
            "C4 deployed": f"{CLIENT[1]}/{alice}",
            "C5": ALL[0],
            "C5 deployed": ALL[1],
            "C8": f"{FREELANCER}/{bob}",
            "C9": f"{VIEW}/{self.canceled.contract}",
            "C11": f"{COMPLETED}/{bob}",
        }


@pytest.fixture
async def story(cast: Cast) -> Story:
    canceled = await Life.at(cast, "started", rate=99.99)
    asked = await cast.alice.put(
        f"/api/admin/escrow/refund-client/{canceled.contract}/{cast.alice.id}", json=REASONS
    )
    accepted(asked)
    foreign = await strangers_contract(cast)
    lives = [canceled, await Life.at(cast, "completed"), await Life.at(cast, "created")]
    return Story(cast, lives, foreign)


async def strangers_contract(cast: Cast) -> Life:
    """Mallory hires Mallet."""
    job = cast.job(userId=cast.mallory.id)
    made = accepted(await cast.mallory.post("/api/client/job/create-job", json=job))["job"]["_id"]
    accepted(await cast.mallet.post(f"/api/freelancer/jobs/apply-job/{made}"), 201)
    hired = await cast.mallory.post(
        f"/api/client/create-contract/{made}",
        json={"freelancerId": cast.mallet.id, "amount": 12000},
    )
    return Life(cast, made, accepted(hired, 201)["contract"]["_id"])


async def read(who: Caller, path: str) -> Any:
    return accepted(await who.get(path))


# -- shapes -----------------------------------------------------------------------------------


async def test_a_clients_contracts_have_whole_jobs_and_both_people(story: Story) -> None:
    cast = story.cast
    for path in CLIENT:
        body = await read(cast.alice, f"{path}/{cast.alice.id}")
        assert body.keys() == {"count", "data"}
        assert body["count"] == 3
        assert [one["_id"] for one in body["data"]] == story.ids
        for one in body["data"]:
            assert one.keys() == CONTRACT_KEYS
            assert one["jobId"].keys() >= JOB_KEYS
            assert one["jobId"]["title"] == "Logo for a bakery"
            assert one["clientId"] == person(cast.alice)
            assert one["freelancerId"] == person(cast.bob)


async def test_a_freelancers_contracts_have_whole_jobs_and_both_people(story: Story) -> None:
    cast = story.cast
    body = await read(cast.bob, f"{FREELANCER}/{cast.bob.id}")
    assert body.keys() == {"count", "contracts", "data"}
    assert body["count"] == 3
    assert body["contracts"] == body["data"]
    assert [one["_id"] for one in body["data"]] == story.ids
    for one in body["data"]:
        assert one.keys() == CONTRACT_KEYS
        assert one["jobId"].keys() >= JOB_KEYS
        assert one["clientId"] == person(cast.alice)


async def test_all_contracts_have_both_people_and_the_jobs_id(story: Story) -> None:
    cast = story.cast
    for path in ALL:
        body = await read(cast.olga, path)
        assert body.keys() == {"data"}
        newest_first = [story.created, story.completed, story.foreign, story.canceled]
        assert [one["_id"] for one in body["data"]] == [life.contract for life in newest_first]
        assert [one["jobId"] for one in body["data"]] == [life.job for life in newest_first]
        for one in body["data"]:
            assert one.keys() == CONTRACT_KEYS
        foreign = body["data"][2]
        assert foreign["clientId"] == person(cast.mallory)
        assert foreign["freelancerId"] == person(cast.mallet)


async def test_one_contract_is_its_fields_and_the_same_again(story: Story) -> None:
    cast = story.cast
    body = await read(cast.alice, f"{VIEW}/{story.canceled.contract}")
    contract = body.pop("contract")
    assert body == contract
    assert contract.keys() == CONTRACT_KEYS
    assert contract["jobId"] == {
        "_id": story.canceled.job,
        "title": "Logo for a bakery",
        "description": "A logo, three drafts.",
        "rate": 99.99,
    }
    assert contract["clientId"] == person(cast.alice)
    assert contract["freelancerId"] == person(cast.bob)
    assert (contract["amount"], contract["status"]) == (99.99, "Canceled")
    assert (contract["cancelReason"], contract["cancelReasonDescription"]) == tuple(
        REASONS.values()
    )
    assert (contract["isDeleted"], contract["__v"]) == (False, 0)


async def test_completed_works_are_the_completed_ones(story: Story) -> None:
    cast = story.cast
    body = await read(cast.bob, f"{COMPLETED}/{cast.bob.id}")
    assert body.keys() == {"count", "contracts", "data"}
    assert body["count"] == 1
    assert body["contracts"] == body["data"]
    [one] = body["data"]
    assert (one["_id"], one["status"]) == (story.completed.contract, "Completed")
    assert one.keys() == CONTRACT_KEYS
    assert one["jobId"].keys() == BRIEF_JOB_KEYS
    assert one["clientId"] == person(cast.alice)


async def test_completed_works_stay_after_the_release(cast: Cast) -> None:
    life = await Life.at(cast, "released")
    await Life.at(cast, "refunded")
    body = await read(cast.anybody, f"{COMPLETED}/{cast.bob.id}")
    assert [one["_id"] for one in body["data"]] == [life.contract]


async def test_every_figure_is_a_number(story: Story) -> None:
    cast = story.cast
    for path in (f"{CLIENT[0]}/{cast.alice.id}", ALL[0], f"{FREELANCER}/{cast.bob.id}"):
        for one in (await read(cast.anybody, path))["data"]:
            assert type(one["amount"]) in (int, float)
            assert type(one["__v"]) is int


async def test_nobody_without_contracts_has_an_empty_list(cast: Cast) -> None:
    await Life.at(cast, "created")
    for nobody in (cast.mallory.id, cast.bob.id, UNKNOWN_ID, "f" * 24):
        assert await read(cast.anybody, f"{CLIENT[0]}/{nobody}") == {"count": 0, "data": []}
    nothing: dict[str, Any] = {"count": 0, "contracts": [], "data": []}
    for nobody in (cast.mallet.id, cast.alice.id, UNKNOWN_ID):
        assert await read(cast.anybody, f"{FREELANCER}/{nobody}") == nothing
        assert await read(cast.anybody, f"{COMPLETED}/{nobody}") == nothing
    assert await read(cast.anybody, f"{COMPLETED}/{cast.bob.id}") == nothing


def person(who: Caller) -> dict[str, str]:
    """Somebody inside a document, for who may see everything."""
    return {"_id": who.id, "name": who.name, "email": who.email, "profilePic": ""}


# -- who sees what (D8) -----------------------------------------------------------------------

SECRETS = ("@example.com", "Too late", "No draft", "password", "argon2", "hash")


@pytest.mark.abuse(64, 65)
async def test_strangers_see_names_and_ids_only(story: Story, pool: Pool) -> None:
    cast = story.cast
    before = await digest(pool)
    for who in (cast.anybody, cast.mallory, cast.mallet):
        for number, path in story.reads().items():
            answer = await who.get(path)
            assert answer.status_code == 200, number
            text = answer.text.replace(cast.mallory.email, "").replace(cast.mallet.email, "")
            assert not [secret for secret in SECRETS if secret in text], (number, who)
            assert "phone" not in text
            if number not in ("C3", "C3 deployed"):
                assert "Alice" in text, number
    assert await digest(pool) == before


async def test_the_parties_and_admins_see_everything(story: Story) -> None:
    cast = story.cast
    for who in (cast.alice, cast.bob, cast.olga):
        for path in (CLIENT[0] + f"/{cast.alice.id}", FREELANCER + f"/{cast.bob.id}", ALL[0]):
            data = (await read(who, path))["data"]
            own = [one for one in data if one["_id"] in story.ids]
            assert len(own) == 3
            for one in own:
                assert one["clientId"]["email"] == cast.alice.email
                assert one["freelancerId"]["email"] == cast.bob.email
            assert own[-1]["cancelReason"] == "Too late"
        view = (await read(who, f"{VIEW}/{story.canceled.contract}"))["contract"]
        assert view["clientId"]["email"] == cast.alice.email
        assert view["cancelReasonDescription"] == REASONS["cancelReasonDescription"]


async def test_a_party_sees_no_more_than_a_stranger_of_other_contracts(story: Story) -> None:
    cast = story.cast
    for who in (cast.alice, cast.bob):
        foreign = [
            one for one in (await read(who, ALL[0]))["data"] if one["_id"] == story.foreign.contract
        ]
        assert foreign == [
            one
            for one in (await read(cast.anybody, ALL[0]))["data"]
            if one["_id"] == story.foreign.contract
        ]
        view = (await read(who, f"{VIEW}/{story.foreign.contract}"))["contract"]
        assert "email" not in view["clientId"]
        assert "email" not in view["freelancerId"]


async def test_the_refresh_cookie_names_the_reader_too(story: Story) -> None:
    cast = story.cast
    path = f"{VIEW}/{story.canceled.contract}"
    async with caller(cast.app) as browser:
        signed_in = await browser.post(
            "/api/auth/login", json={"email": cast.alice.email, "password": PASSWORD}
        )
        accepted(signed_in)
        view = (await read(browser, path))["contract"]
        assert view["clientId"]["email"] == cast.alice.email
        assert view["cancelReason"] == "Too late"
        accepted(await browser.post("/api/auth/logout"))
    async with caller(cast.app, Cookie="refreshToken=e30.e30.e30") as forger:
        view = (await read(forger, path))["contract"]
        assert "email" not in view["clientId"]


async def test_a_bad_token_is_not_an_anonymous_reader(story: Story) -> None:
    async with caller(story.cast.app, Authorization="Bearer e30.e30.e30") as forger:
        for path in story.reads().values():
            await refused(story.cast, forger.get(path), 401, "Invalid authentication token.")


# -- anonymous reads off ----------------------------------------------------------------------


@pytest.fixture
async def closed(story: Story, database: Any) -> AsyncIterator[Any]:
    """The same server with EARNEST_ANONYMOUS_READS=off."""
    settings = make_settings(database.app_dsn, anonymous_reads=False)
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan():
        yield made


@pytest.mark.abuse(64, 65)
async def test_it_answers_only_who_is_signed_in_where_that_is_wanted(
    story: Story, closed: Any, pool: Pool
) -> None:
    cast = story.cast
    async with caller(closed) as nobody:
        before = await digest(pool)
        for path in story.reads().values():
            body = problem(await nobody.get(path), 401)
            assert body["error"] == "Access denied. No token provided."
        for who in (cast.mallory, cast.mallet):
            token = {"Authorization": who.headers["Authorization"]}
            for path in story.reads().values():
                answer = await nobody.get(path, headers=token)
                assert answer.status_code == 200
                assert cast.alice.email not in answer.text
                assert cast.bob.email not in answer.text
        assert await digest(pool) == before
        for who in (cast.alice, cast.bob, cast.mallory, cast.olga):
            token = {"Authorization": who.headers["Authorization"]}
            for path in story.reads().values():
                assert (await nobody.get(path, headers=token)).status_code == 200
        accepted(
            await nobody.post(
                "/api/auth/login", json={"email": cast.bob.email, "password": PASSWORD}
            )
        )
        for path in story.reads().values():
            assert (await nobody.get(path)).status_code == 200


async def test_it_says_nothing_about_what_exists_to_nobody(story: Story, closed: Any) -> None:
    async with caller(closed) as nobody:
        for path in (f"{VIEW}/{UNKNOWN_ID}", f"{CLIENT[0]}/{UNKNOWN_ID}", f"{VIEW}/xyz"):
            problem(await nobody.get(path), 401)


# -- ids --------------------------------------------------------------------------------------


async def test_one_contract_wants_a_known_id(story: Story) -> None:
    cast = story.cast
    for who in (cast.anybody, cast.alice):
        await refuses_ids(
            cast,
            lambda contract, who=who: who.get(f"{VIEW}/{contract}"),  # type: ignore[misc]
            story.created.contract,
        )
    await refused(cast, cast.alice.get(f"{VIEW}/{story.created.job}"), 404, "Contract not found")


async def test_one_contract_is_found_in_capitals(story: Story) -> None:
    contract = story.created.contract
    body = await read(story.cast.anybody, f"{VIEW}/{contract.upper()}")
    assert body["_id"] == contract


async def test_lists_want_an_id(story: Story) -> None:
    cast = story.cast
    for path in (*CLIENT, FREELANCER, COMPLETED):
        for malformed in MALFORMED_IDS:
            await refused(cast, cast.anybody.get(f"{path}/{malformed}"), 400)


async def test_a_guessed_salt_finds_nothing(story: Story) -> None:
    cast = story.cast
    alice = cast.alice.id[:-1] + ("0" if cast.alice.id[-1] != "0" else "1")
    bob = cast.bob.id[:-1] + ("0" if cast.bob.id[-1] != "0" else "1")
    for path in (f"{CLIENT[0]}/{alice}", f"{FREELANCER}/{bob}", f"{COMPLETED}/{bob}"):
        assert (await read(cast.anybody, path))["data"] == []
