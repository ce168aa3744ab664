"""Who may do what: one row for each route, held against the application's own route table.

The letters of `who` are those whom a route does not send away: A Alice and B Bob, whose contract,
job, application or wallet it is; m Mallory, another client; t Mallet, another freelancer; O Olga,
an admin; - nobody in particular. Everybody else gets 401 or 403 and changes nothing.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from digest import digest
from earnest.app import build_app
from earnest.domain.party import Role
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from earnest.web.auth import access_of
from web import PASSWORD, Cast, caller, make_settings, problem
from world import LETTERS, World

EVERYBODY = LETTERS
SIGNED_IN = "ABmtO"
ROLE_OF = {
    "A": Role.CLIENT,
    "B": Role.FREELANCER,
    "m": Role.CLIENT,
    "t": Role.FREELANCER,
    "O": Role.ADMIN,
}
# Routes that ask nobody who they are; what they do ask for has tests of its own. So have the routes
# of partners (test_partner_authorisation.py).
PUBLIC = re.compile(
    r"/healthz|/readyz|/metrics|/openapi\.json|/docs.*|/static/.*|/webhook|/sandbox/.*"
    r"|/api/auth/.*|/checkout.*|/onboarding.*|/connect/token|/\.well-known/jwks\.json"
)


class Row(msgspec.Struct, frozen=True):
    """`ids` name people of the cast, for paths that the world's own ids do not fit. To those in
    `unknown` what the path names is not there, as if it were nobody's."""

    route: str
    who: str
    body: dict[str, Any] | None = None
    ids: dict[str, str] = {}
    unknown: str = ""


LABEL = {"name": "Writing"}
HIRE = {"freelancerId": "bob", "amount": 104}
OF_ALICE = {"user_id": "alice"}
ADMIN = {"name": "Otto", "email": "otto@example.com", "password": PASSWORD}
JOB = {"title": "A title"}
SOME = {"amount": 1}
OWN_WALLET = "/wallet/withdraw", "/wallet/onboarding"

ROWS = [
    Row("GET /api/admin/categories/get-categories", EVERYBODY),
    Row("POST /api/admin/categories/add-category", "O", LABEL),
    Row("PUT /api/admin/categories/edit-category/{label_id:str}", "O", LABEL),
    Row("PUT /api/admin/categories/list-category/{label_id:str}", "O"),
    Row("PUT /api/admin/categories/unlist-category/{label_id:str}", "O"),
    Row("GET /api/admin/skills/get-skills", EVERYBODY),
    Row("POST /api/admin/skills/add-skills", "O", LABEL),
    Row("PUT /api/admin/skills/edit-skills/{label_id:str}", "O", LABEL),
    Row("PUT /api/admin/skills/list-skills/{label_id:str}", "O"),
    Row("PUT /api/admin/skills/unlist-skills/{label_id:str}", "O"),
    Row("GET /api/admin/users/get-clients", "O"),
    Row("GET /api/admin/users/get-freelancers", "O"),
    Row("GET /api/admin/users/get-admins", "O"),
    Row("POST /api/admin/users/create-admin", "O", ADMIN),
    Row("PUT /api/admin/users/block-client/{user_id:str}", "O", ids=OF_ALICE),
    Row("PUT /api/admin/users/unblock-client/{user_id:str}", "O", ids=OF_ALICE),
    Row("PUT /api/admin/users/block-freelancer/{user_id:str}", "O"),
    Row("PUT /api/admin/users/unblock-freelancer/{user_id:str}", "O"),
    Row("PUT /api/admin/users/block-admin/{user_id:str}", "O"),
    Row("PUT /api/admin/users/unblock-admin/{user_id:str}", "O"),
    Row("GET /api/admin/businesses", "O"),
    Row("POST /api/admin/businesses", "O", {"name": "Another Broker"}),
    Row("GET /api/admin/businesses/{business_id:str}", "O"),
    Row("PATCH /api/admin/businesses/{business_id:str}", "O", {"taxBps": 0}),
    Row("POST /api/admin/businesses/{business_id:str}/rotate-secret", "O"),
    Row("PATCH /api/admin/businesses/{business_id:str}/block", "O"),
    Row("PATCH /api/admin/businesses/{business_id:str}/unblock", "O"),
    Row("GET /api/admin/refunds", "O"),
    Row("PUT /api/admin/refunds/{refund_id:str}/approve", "O"),
    Row("PUT /api/admin/refunds/{refund_id:str}/decline", "O", {"reason": "Not yet."}),
    Row("PUT /api/admin/refunds/{refund_id:str}/retry", "O"),
    Row("GET /api/admin/alerts", "O"),
    Row("PUT /api/admin/alerts/{alert_id:str}/close", "O"),
    Row("GET /api/admin/dead-letters", "O"),
    Row("GET /api/admin/holds", "O"),
    Row("GET /api/admin/payouts", "O"),
    Row("PUT /api/admin/payouts/{payout_id:str}/retry", "O"),
    Row("GET /api/admin/chargebacks", "O"),
    Row("GET /api/admin/reconciliations", "O"),
    Row("GET /api/admin/reconciliations/{date:str}", "O", unknown="O"),
    Row("GET /api/admin/escrow/balance", "O"),
    Row("GET /api/admin/escrow/total-revenue", "O"),
    Row("GET /api/admin/escrow/transactions", "O"),
    Row("GET /api/admin/escrow/sales-report", "O"),
    Row("GET /api/admin/escrow/parked-payments", "O"),
    Row("GET /api/admin/escrow/proof/{contract_id:str}", "O"),
    Row("PUT /api/admin/escrow/refund-payment/{payment_id:str}", "O"),
    Row("PUT /api/admin/escrow/refund-client/{contract_id:str}/{client_id:str}", "AO", {}),
    Row("PUT /api/admin/escrow/release-fund/{contract_id:str}", "O"),
    Row("GET /api/client/all-contracts", EVERYBODY),
    Row("GET /api/client/contract/all-contracts", EVERYBODY),
    Row("GET /api/client/get-contracts/{client_id:str}", EVERYBODY),
    Row("GET /api/client/contract/get-contracts/{client_id:str}", EVERYBODY),
    Row("GET /api/client/is-created/{job_id:str}/{client_id:str}", EVERYBODY),
    Row("GET /api/client/contract/is-created/{job_id:str}/{client_id:str}", EVERYBODY),
    Row("GET /api/client/contract/proof/{contract_id:str}", "A"),
    Row("POST /api/client/create-contract/{job_id:str}", "A", HIRE),
    Row("POST /api/client/contract/create-contract/{job_id:str}", "A", HIRE),
    Row("DELETE /api/client/cancel-contract/{contract_id:str}", "AB"),
    Row("DELETE /api/client/contract/cancel-contract/{contract_id:str}", "AB"),
    Row("PATCH /api/client/release-fund/{contract_id:str}", "A"),
    Row("PATCH /api/client/contract/release-fund/{contract_id:str}", "A"),
    Row("GET /api/client/job/get-jobs", EVERYBODY),
    Row("GET /api/client/job/my-jobs/{client_id:str}", EVERYBODY),
    Row("GET /api/client/job/job-details/{job_id:str}", SIGNED_IN),
    Row("GET /api/client/job/applicants/{job_id:str}/{client_id:str}", EVERYBODY),
    Row("POST /api/client/job/create-job", "Am", JOB),
    Row("PUT /api/client/job/update-job/{job_id:str}", "A", JOB),
    Row("POST /api/client/job/payment/{job_id:str}", "A", {"freelancerId": "bob"}),
    Row("GET /api/client/profile/get-profile/{user_id:str}", SIGNED_IN, ids=OF_ALICE),
    Row("PUT /api/client/profile/update-profile/{user_id:str}", "A", {"city": "Pune"}, OF_ALICE),
    Row(
        "POST /api/client/review/rate-freelancer/{client_id:str}",
        "A",
        {"contractId": "contract_id", "freelancerId": "bob", "rating": 5, "description": "Good."},
    ),
    Row("GET /api/client/review/show-reviews/{freelancer_id:str}", EVERYBODY),
    Row(
        "POST /api/freelancer/contract/approve-contract/{contract_id:str}/{freelancer_id:str}",
        "B",
    ),
    Row(
        "PUT /api/freelancer/contract/update-status/{contract_id:str}",
        "B",
        {"status": "Completed"},
    ),
    Row("GET /api/freelancer/contract/view-contract/{contract_id:str}", EVERYBODY),
    Row("GET /api/freelancer/contract/get-contracts/{freelancer_id:str}", EVERYBODY),
    Row("GET /api/freelancer/contract/completed-works/{freelancer_id:str}", EVERYBODY),
    Row("GET /api/freelancer/contract/proof/{contract_id:str}", "B"),
    Row("GET /api/freelancer/jobs/applied-jobs", "Bt"),
    Row("GET /api/freelancer/jobs/applied-status/{job_id:str}/{freelancer_id:str}", EVERYBODY),
    Row("POST /api/freelancer/jobs/apply-job/{job_id:str}", "Bt"),
    Row("DELETE /api/freelancer/jobs/cancel-application/{application_id:str}", "B"),
    Row("GET /api/freelancer/profile/get-profile/{user_id:str}", EVERYBODY),
    Row("PUT /api/freelancer/profile/update-profile/{user_id:str}", "B", {"city": "Pune"}),
    Row("POST /api/client/wallet/withdraw", "Am", SOME),
    Row("GET /api/client/wallet/withdraw", "Am"),
    Row("GET /api/client/wallet/withdraw/{payout_id:str}", "Am", unknown="Am"),
    Row("POST /api/client/wallet/onboarding", "Am"),
    Row("POST /api/freelancer/wallet/withdraw", "Bt", SOME),
    Row("GET /api/freelancer/wallet/withdraw", "Bt"),
    Row("GET /api/freelancer/wallet/withdraw/{payout_id:str}", "Bt", unknown="t"),
    Row("POST /api/freelancer/wallet/onboarding", "Bt"),
    Row("GET /api/freelancer/wallet/earnings/{user_id:str}", "BO"),
    Row("GET /api/freelancer/wallet/transactions/{id:str}", "BO"),
    Row("GET /api/freelancer/wallet/user-sales-report/{user_id:str}", "BO"),
]
BY_ROUTE = {row.route: row for row in ROWS}


def routes(app: Litestar) -> Iterator[tuple[str, Any]]:
    """`METHOD /path/template` of everything that asks who is calling, and its access."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        if PUBLIC.fullmatch(route.path):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                if Role.PARTNER not in access_of(handler).roles:
                    yield f"{method} {route.path}", access_of(handler)


@pytest.fixture
async def world(cast: Cast) -> World:
    return await World.make(cast)


def asked(world: World, row: Row) -> dict[str, Any]:
    """The arguments of a request that nothing but its caller can be wrong with."""
    method, template = row.route.split(" ")
    people = {name: getattr(world.cast, who).id for name, who in row.ids.items()}
    request: dict[str, Any] = {"method": method, "url": world.path(template, **people)}
    if row.body is not None:
        named = {"bob": world.cast.bob.id, "contract_id": world.ids["contract_id"]}
        full = world.cast.job() if row.body is JOB else row.body
        request["json"] = {
            name: named.get(value, value) if isinstance(value, str) else value
            for name, value in full.items()
        }
    return request


# -- the table --------------------------------------------------------------------------------


async def test_every_route_has_its_row(app: Litestar) -> None:
    declared = [route for route, _ in routes(app)]
    assert sorted(BY_ROUTE) == sorted(declared)
    assert len(BY_ROUTE) == len(ROWS)


async def test_the_rows_agree_with_what_the_routes_declare(app: Litestar) -> None:
    """Whoever may get past ownership has a role that the route lets in, and every such role is
    somebody's."""
    for route, access in routes(app):
        letters = BY_ROUTE[route].who
        if access.is_read:
            assert letters == EVERYBODY, route
        else:
            # Clients have wallets, too; this world's is Bob's.
            of_bob = "/wallet/" in route and not any(own in route for own in OWN_WALLET)
            others = {Role.CLIENT} if of_bob else set()
            assert {ROLE_OF[letter] for letter in letters} | others == access.roles, route


@pytest.mark.abuse(62)
async def test_what_is_the_admins_is_the_admins_alone(app: Litestar) -> None:
    """But for the labels that everybody may read, and the refund that a client may ask for."""
    for route, access in routes(app):
        if "/api/admin/" not in route:
            continue
        if route.startswith(("GET /api/admin/categories/", "GET /api/admin/skills/")):
            assert access.is_read, route
        elif "/refund-client/" in route:
            assert access.roles == {Role.ADMIN, Role.CLIENT}, route
        else:
            assert access.roles == {Role.ADMIN}, route


# -- the rows ---------------------------------------------------------------------------------


@pytest.mark.abuse(62)
async def test_whoever_a_route_is_not_for_is_sent_away_and_changes_nothing(world: World) -> None:
    pool: Pool = world.cast.app.state.pool
    before = await digest(pool)
    sent_away = 0
    for row in ROWS:
        for letter in set(LETTERS) - set(row.who):
            answer = await world.who(letter).request(**asked(world, row))
            status = 401 if letter == "-" else 403
            assert answer.status_code == status, f"{letter}: {row.route}: {answer.text}"
            problem(answer, status)
            sent_away += 1
        assert await digest(pool) == before, row.route
    assert sent_away > 180


async def test_whoever_a_route_is_for_gets_past_the_door(world: World) -> None:
    """What they are told then depends on the contract; but it is never 401 or 403. Blocking
    comes last, or nobody would be left."""
    rows = sorted(ROWS, key=lambda row: " /api/admin/users/block" in row.route)
    for row in rows:
        for letter in row.who:
            answer = await world.who(letter).request(**asked(world, row))
            assert answer.status_code not in (401, 403, 405), f"{letter}: {row.route}"
            assert answer.status_code < 500, f"{letter}: {row.route}: {answer.text}"


async def test_whoever_signed_out_everywhere_is_nobody_we_know(world: World) -> None:
    pool: Pool = world.cast.app.state.pool
    keys = [key_of(PublicId(world.who(letter).id)) for letter in SIGNED_IN]
    async with pool.connection() as conn:
        await conn.execute(
            "UPDATE login SET token_generation = token_generation + 1"
            " WHERE party_id = ANY($1::bigint[])",
            keys,
        )
    before = await digest(pool)
    for row in ROWS:
        for letter in set(row.who) - {"-"}:
            answer = await world.who(letter).request(**asked(world, row))
            assert answer.status_code == 401, f"{letter}: {row.route}: {answer.text}"
    assert await digest(pool) == before


# -- EARNEST_ANONYMOUS_READS=off --------------------------------------------------------------


@pytest.fixture
async def closed(world: World, database: Any) -> AsyncIterator[Litestar]:
    made = build_app(make_settings(database.app_dsn, anonymous_reads=False), Pool(database.app_dsn))
    async with made.lifespan():
        yield made


async def test_nobody_in_particular_reads_labels_only_where_that_is_wanted(
    world: World, closed: Litestar
) -> None:
    open_to_all = {"GET /api/admin/categories/get-categories", "GET /api/admin/skills/get-skills"}
    async with caller(closed) as nobody:
        for row in ROWS:
            answer = await nobody.request(**asked(world, row))
            expected = 200 if row.route in open_to_all else 401
            assert answer.status_code == expected, row.route
        for row in ROWS:
            if not row.route.startswith("GET"):
                continue
            for letter in set(row.who) - {"-"}:
                token = {"Authorization": world.who(letter).headers["Authorization"]}
                answer = await nobody.request(**asked(world, row), headers=token)
                expected = 404 if letter in row.unknown else 200
                assert answer.status_code == expected, f"{letter}: {row.route}: {answer.text}"
