"""Blocking: effective on the next request, on record, and never without an admin left."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from conftest import TestDatabase
from earnest.domain.party import Role
from earnest.store.db import Pool
from earnest.store.verify import verify
from earnest.web.auth import access_of
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import PASSWORD, UNKNOWN_ID, Caller, Cast, caller, problem, sign_up

BLOCKED = "Your account is blocked"
EVENTS = """
SELECT subject, type, actor, body FROM event
WHERE type IN ('user.blocked', 'user.unblocked') ORDER BY id
"""
ROLES = (Role.CLIENT, Role.FREELANCER, Role.ADMIN)
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
ACTIVE_ADMINS = "SELECT count(*) FROM login WHERE role = 'admin' AND status = 'Active'"

# A sound body for each route that reads one, so that nothing else is refused first.
BODIES: dict[str, dict[str, Any]] = {
    "/api/admin/categories/add-category": {"name": "Writing"},
    "/api/admin/categories/edit-category/{label_id:str}": {"name": "Writing"},
    "/api/admin/skills/add-skills": {"name": "Writing"},
    "/api/admin/skills/edit-skills/{label_id:str}": {"name": "Writing"},
    "/api/admin/businesses": {"name": "Another Broker"},
    "/api/admin/refunds/{refund_id:str}/decline": {"reason": "No"},
    "/api/admin/users/create-admin": {"name": "O", "email": "o@example.com", "password": PASSWORD},
    "/api/client/create-contract/{job_id:str}": {"freelancerId": UNKNOWN_ID, "amount": 1},
    "/api/client/contract/create-contract/{job_id:str}": {"freelancerId": UNKNOWN_ID, "amount": 1},
    "/api/client/job/payment/{job_id:str}": {"freelancerId": UNKNOWN_ID},
    "/api/client/review/rate-freelancer/{client_id:str}": {
        "contractId": UNKNOWN_ID,
        "freelancerId": UNKNOWN_ID,
        "rating": 5,
        "description": "Good.",
    },
    "/api/client/wallet/withdraw": {"amount": 1},
    "/api/freelancer/contract/update-status/{contract_id:str}": {"status": "Started"},
    "/api/freelancer/wallet/withdraw": {"amount": 1},
}


def path_of(who: Caller, user: str, verb: str = "block", kind: str | None = None) -> str:
    """`verb` for a user of the role that `who` has, or of `kind`."""
    return f"/api/admin/users/{verb}-{kind or who.actor.role}/{user}"


def wanted_routes(app: Litestar) -> Iterator[tuple[str, str, Role]]:
    """Path template, method and role of everything that looks at which person is calling; a
    partner's client is blocked in tests/test_business_admin.py."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                access = access_of(handler)
                for role in ROLES if access.is_read else access.roles & set(ROLES):
                    yield route.path, method, role


async def ask(who: Caller, cast: Cast, template: str, method: str) -> httpx.Response:
    """One request of a route; ids in its path are of nothing, but the first is the caller's where
    it should be."""
    path = "/".join(
        who.id
        if part in ("{client_id:str}", "{user_id:str}")
        else str(UUID(int=0))
        if part == "{business_id:str}"
        else UNKNOWN_ID
        if part.startswith("{")
        else part
        for part in template.split("/")
    )
    body = BODIES.get(template)
    if template == "/api/client/job/create-job":
        body = cast.job()
    elif body is None and method in ("POST", "PUT", "PATCH"):
        body = {}
    return await who.request(method, path, json=body)


async def events(cast: Cast) -> list[tuple[str, str, str, str]]:
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        return [tuple(row) for row in await conn.fetch(EVENTS)]


# -- what a block does ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_it_blocks_and_unblocks_on_record(
    cast: Cast, name: str, database: TestDatabase
) -> None:
    somebody: Caller = getattr(cast, name)
    role = somebody.actor.role
    blocked = accepted(await cast.olga.put(path_of(somebody, somebody.id)))
    assert (blocked["success"], blocked["data"]["status"]) == (True, "Blocked")
    assert blocked["message"] == f"{role.title()} has been blocked"
    assert blocked["data"]["_id"] == somebody.id
    assert blocked["data"]["updatedAt"] >= blocked["data"]["createdAt"]
    problem(await somebody.get("/api/client/job/get-jobs"), 403)
    assert (await verify(database.app_dsn)).violation is None

    unblocked = accepted(await cast.olga.put(path_of(somebody, somebody.id, "unblock")))
    assert (unblocked["data"]["status"], unblocked["success"]) == ("Active", True)
    assert unblocked["message"] == f"{role.title()} has been unblocked"
    accepted(await somebody.get("/api/client/job/get-jobs"))
    subject, by = f"party:{somebody.id}", cast.olga.actor.name
    about = json.dumps({"role": role}, separators=(",", ":"))
    assert await events(cast) == [
        (subject, "user.blocked", by, about),
        (subject, "user.unblocked", by, about),
    ]
    assert (await verify(database.app_dsn)).violation is None


async def test_it_shows_in_the_lists(cast: Cast) -> None:
    accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id)))
    listed = accepted(await cast.olga.get("/api/admin/users/get-clients"))["data"]
    assert {one["name"]: one["status"] for one in listed} == {
        "Alice": "Blocked",
        "Mallory": "Active",
    }


async def test_it_changes_nothing_the_second_time(cast: Cast) -> None:
    first = accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id)))
    again = accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id)))
    assert again == first
    assert len(await events(cast)) == 1
    accepted(await cast.olga.put(path_of(cast.bob, cast.bob.id, "unblock")))
    assert len(await events(cast)) == 1


async def test_it_takes_an_empty_body_that_says_it_is_json(cast: Cast) -> None:
    """As old clients send it."""
    empty = {"Content-Type": "application/json", "Content-Length": "0"}
    accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id), headers=empty))
    accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id, "unblock"), headers=empty))


async def test_it_is_done_once_for_one_key(cast: Cast) -> None:
    key = {"Idempotency-Key": "block-alice"}
    first = await cast.olga.put(path_of(cast.alice, cast.alice.id), headers=key)
    accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id, "unblock")))
    second = await cast.olga.put(path_of(cast.alice, cast.alice.id), headers=key)
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")
    accepted(await cast.alice.get("/api/client/job/get-jobs"))
    other = await cast.olga.put(path_of(cast.mallory, cast.mallory.id), headers=key)
    problem(other, 422)


@pytest.mark.abuse(106)
async def test_it_keeps_a_blocked_person_out_of_every_route(cast: Cast) -> None:
    """Generated from the route table: a route that forgets to ask for the account fails here."""
    people = {Role.CLIENT: cast.mallory, Role.FREELANCER: cast.mallet}
    people[Role.ADMIN] = await sign_up(cast.app, "Oscar", Role.ADMIN)
    for somebody in people.values():
        accepted(await cast.olga.put(path_of(somebody, somebody.id)))
    asked: Counter[Role] = Counter()
    for template, method, role in wanted_routes(cast.app):
        answer = await ask(people[role], cast, template, method)
        assert answer.status_code == 403, f"{role}: {method} {template}: {answer.text}"
        assert answer.json()["error"] == BLOCKED, f"{role}: {method} {template}"
        asked[role] += 1
    assert min(asked.values()) >= 15
    # The same requests pass this gate when nobody is blocked: it is the block that stopped them.
    people = {Role.CLIENT: cast.alice, Role.FREELANCER: cast.bob, Role.ADMIN: cast.olga}
    for template, method, role in wanted_routes(cast.app):
        answer = await ask(people[role], cast, template, method)
        assert BLOCKED not in answer.text, f"{role}: {method} {template}"


@pytest.mark.abuse(106)
async def test_it_ends_every_session(cast: Cast) -> None:
    credentials = {"email": cast.alice.email, "password": PASSWORD}
    async with caller(cast.app) as laptop, caller(cast.app) as phone:
        for device in (laptop, phone):
            accepted(await device.post("/api/auth/login", json=credentials))
        accepted(await laptop.post("/api/auth/refresh-token"))
        accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id)))
        for device in (laptop, phone):
            assert (await device.post("/api/auth/refresh-token")).status_code in (401, 403)
        again = await laptop.post("/api/auth/login", json=credentials)
        assert problem(again, 403)["error"] == BLOCKED
        accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id, "unblock")))
        problem(await phone.post("/api/auth/refresh-token"), 401)
        accepted(await laptop.post("/api/auth/login", json=credentials))
        accepted(await laptop.post("/api/auth/refresh-token"))


async def test_it_names_nobody_by_the_cookie_of_who_is_blocked(cast: Cast) -> None:
    """The refresh cookie shows its owner their own address, until they are blocked."""
    job = await cast.post_job()
    async with caller(cast.app) as browser:
        credentials = {"email": cast.alice.email, "password": PASSWORD}
        accepted(await browser.post("/api/auth/login", json=credentials))
        path = f"/api/client/job/my-jobs/{cast.alice.id}"
        (seen,) = accepted(await browser.get(path))["jobs"]
        assert (seen["_id"], seen["clientId"]["email"]) == (job, cast.alice.email)
        accepted(await cast.olga.put(path_of(cast.alice, cast.alice.id)))
        (seen,) = accepted(await browser.get(path))["jobs"]
        assert "email" not in seen["clientId"]


async def test_it_leaves_money_where_it_is(cast: Cast, database: TestDatabase) -> None:
    """What is held stays held, an admin may still release it, the wallet keeps it."""
    life = await Life.at(cast, "requested")
    for somebody in (cast.alice, cast.bob):
        accepted(await cast.olga.put(path_of(somebody, somebody.id)))
    escrow = await life.release()
    assert (escrow["status"], escrow["freelancerEarning"]) == ("released", 10800)
    accepted(await cast.olga.put(path_of(cast.bob, cast.bob.id, "unblock")))
    assert await life.wallet(cast.bob) == 10800
    assert (await verify(database.app_dsn)).violation is None


# -- who can be blocked, by whom --------------------------------------------------------------


@pytest.mark.parametrize("verb", ["block", "unblock"])
@pytest.mark.parametrize("kind", ROLES)
async def test_it_is_for_admins_and_for_ids_of_that_kind(cast: Cast, verb: str, kind: Role) -> None:
    oscar = await sign_up(cast.app, "Oscar", Role.ADMIN)
    target = {Role.CLIENT: cast.alice, Role.FREELANCER: cast.bob, Role.ADMIN: oscar}
    path = f"/api/admin/users/{verb}-{kind}"
    await only_for(cast, lambda who: who.put(f"{path}/{target[kind].id}"), cast.olga)
    await refuses_ids(cast, lambda user: cast.olga.put(f"{path}/{user}"), target[kind].id)
    for other in set(ROLES) - {kind}:
        asked = cast.olga.put(f"{path}/{target[other].id}")
        await refused(cast, asked, 404, "User not found")
    assert await events(cast) == []
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM login WHERE status = 'Active'") == 6


async def test_an_admin_cannot_block_themselves(cast: Cast) -> None:
    await refused(cast, cast.olga.put(path_of(cast.olga, cast.olga.id)), 400)
    accepted(await cast.olga.put(path_of(cast.olga, cast.olga.id, "unblock")))
    assert await events(cast) == []


async def test_a_blocked_admin_can_do_nothing_until_another_unblocks_them(cast: Cast) -> None:
    oscar = await sign_up(cast.app, "Oscar", Role.ADMIN)
    accepted(await cast.olga.put(path_of(oscar, oscar.id)))
    await refused(cast, oscar.put(path_of(oscar, oscar.id, "unblock")), 403, BLOCKED)
    await refused(cast, oscar.put(path_of(cast.olga, cast.olga.id)), 403, BLOCKED)
    accepted(await cast.olga.put(path_of(oscar, oscar.id, "unblock")))
    accepted(await oscar.put(path_of(cast.olga, cast.olga.id)))


@pytest.mark.parametrize("several", [2, 3, 5])
async def test_it_leaves_an_admin_when_all_block_each_other_at_once(
    cast: Cast, database: TestDatabase, several: int
) -> None:
    """Each blocks the next one in the ring. Nobody commits before all are inside."""
    ring = [cast.olga]
    ring += [await sign_up(cast.app, f"Oscar{number}", Role.ADMIN) for number in range(1, several)]
    gatekeeper = await asyncpg.connect(database.superuser_dsn)
    gate = gatekeeper.transaction()
    await gate.start()
    await gatekeeper.execute("LOCK TABLE event IN SHARE MODE")
    tasks = [
        asyncio.create_task(one.put(path_of(other, other.id)))
        for one, other in zip(ring, ring[1:] + ring[:1], strict=True)
    ]
    async with asyncio.timeout(60):
        while await gatekeeper.fetchval(WAITING) < several:
            await asyncio.sleep(0.02)
            await gatekeeper.execute("SELECT pg_stat_clear_snapshot()")
    await gate.rollback()
    answers = Counter(answer.status_code for answer in await asyncio.gather(*tasks))
    left = await gatekeeper.fetchval(ACTIVE_ADMINS)
    await gatekeeper.close()
    assert answers.keys() <= {200, 403}
    assert left == several - answers[200] >= 1
    assert answers[200] >= 1
    assert (await verify(database.app_dsn)).violation is None


async def test_it_writes_one_event_of_many_blocks_at_once(cast: Cast) -> None:
    answers = await asyncio.gather(
        *(cast.olga.put(path_of(cast.alice, cast.alice.id)) for _ in range(16))
    )
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({answer.content for answer in answers}) == 1
    assert [event[1] for event in await events(cast)] == ["user.blocked"]


async def test_verify_sees_a_block_by_nobody_and_one_by_somebody_else(
    cast: Cast, database: TestDatabase
) -> None:
    attacker = await asyncpg.connect(database.superuser_dsn)
    try:
        await attacker.execute(
            "UPDATE login SET status = 'Blocked' WHERE party_id = $1", cast.alice.actor.key
        )
        found = (await verify(database.app_dsn)).violation
        assert found is not None
        assert (found.invariant, found.table, found.public_id) == (26, "login", cast.alice.id)
        assert (found.expected, found.found) == ("Active after no event", "Blocked")
        await attacker.execute(
            "INSERT INTO event (id, commit_id, subject, type, actor, recorded_at, body)"
            " SELECT max(id) + 1, max(id) + 1, $1, 'user.blocked', $2, now(), '{}' FROM event",
            f"party:{cast.alice.id}",
            cast.mallory.actor.name,
        )
        found = (await verify(database.app_dsn)).violation
        assert found is not None
        assert (found.invariant, found.table) == (26, "event")
        assert found.found == cast.mallory.actor.name
    finally:
        await attacker.close()
