"""Who may call the partner API: partners, each with a token of its own client, and nobody else.

Every route that is for partners is asked, from the application's own table, from the day it exists.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from digest import digest
from earnest.domain.party import Role
from earnest.store.db import Pool
from earnest.web.auth import access_of
from partners import Broker
from web import UNKNOWN_ID, Caller, Cast, caller

PARTNERS = frozenset({Role.PARTNER})


def partner_routes(app: Litestar) -> Iterator[tuple[str, str]]:
    """Method and path, with something in the place of each path parameter."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                if access_of(handler).roles == PARTNERS:
                    yield method, re.sub(r"\{\w+:\w+\}", UNKNOWN_ID, route.path)


async def ask_all(app: Litestar, who: Caller) -> list[httpx.Response]:
    return [await who.request(method, path, json={}) for method, path in partner_routes(app)]


async def test_partners_have_the_routes_under_apps_and_no_others(app: Litestar) -> None:
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            if handler.http_methods != {"OPTIONS"}:
                of_partners = access_of(handler).roles == PARTNERS
                assert of_partners == route.path.startswith("/apps/api/"), route.path
                assert of_partners or Role.PARTNER not in access_of(handler).roles


@pytest.mark.abuse(62)
async def test_whoever_is_no_partner_is_sent_away_in_the_envelope(
    cast: Cast, broker: Broker
) -> None:
    pool: Pool = cast.app.state.pool
    before = await digest(pool)
    async with caller(cast.app, Authorization="Bearer e30.e30.e30") as forger:
        for who in (cast.anybody, cast.alice, cast.bob, cast.olga, forger):
            answers = await ask_all(cast.app, who)
            assert len(answers) >= 10
            for answer in answers:
                assert answer.status_code == 401, f"{answer.request.url}: {answer.text}"
                body = answer.json()
                assert list(body) == [
                    "message",
                    "status",
                    "validationErrors",
                    "succeeded",
                    "errors",
                ]
                assert body["message"]
    assert await digest(pool) == before


async def test_a_partner_is_nobody_on_the_marketplace(cast: Cast, broker: Broker) -> None:
    for path in ("/api/freelancer/jobs/applied-jobs", "/api/admin/users/get-clients"):
        assert (await broker.client.get(path)).status_code == 401


async def test_a_token_from_before_a_new_secret_opens_nothing(
    app: Litestar, broker: Broker
) -> None:
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        await conn.execute("UPDATE api_client SET token_generation = token_generation + 1")
    before = await digest(pool)
    answers = [
        await broker.client.get(
            "/apps/api/user/onboarding", params={"phoneNumber": "966500000001"}
        ),
        await broker.client.post(
            "/apps/api/user",
            json={"phoneNumber": "966500000001", "firstName": "Huda", "lastName": ""},
        ),
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert await digest(pool) == before
