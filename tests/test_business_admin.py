"""/api/admin/businesses: Olga makes partners, sets their rules, rotates and blocks."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from digest import digest
from earnest.domain.business import Settings, partner_settings
from earnest.domain.money import CURRENCIES
from earnest.domain.pricing import price
from earnest.store import businesses
from earnest.store.db import Pool
from life import accepted
from partners import TOKEN, Broker
from refusals import blocked, only_for, refused
from web import UNKNOWN_ID, Cast, caller, problem

PATH = "/api/admin/businesses"
UNKNOWN = "0190a1b2-c3d4-7e5f-8a9b-000000000000"
EVENTS = """
SELECT type, actor, subject, body, contract_id, hash FROM event
WHERE subject LIKE 'business:%' ORDER BY id
"""
DEFAULTS = {
    "currency": "SAR",
    "status": "Active",
    "escrowFeeBps": 250,
    "escrowFeePayer": "buyer",
    "escrowFeeMinimum": 0,
    "escrowFeeMaximum": None,
    "platformFeeBps": 1_000,
    "platformFeePayer": "buyer",
    "platformFeeMinimum": 0,
    "platformFeeMaximum": None,
    "taxBps": 1_500,
    "cancellationNotStartedBps": 0,
    "cancellationStartedBps": 0,
    "cancellationOngoingBps": 0,
    "cancellationDeliveredBps": 0,
    "retentionBps": 500,
    "requireKyc": False,
    "refundApproval": "automatic",
    "releaseNeedsApproval": False,
    "callbackHosts": [],
    "amountMaximum": 999_999.99,
    "payoutMinimum": 1,
    "payoutSchedule": "daily",
}
OTHERS = {
    "name": "Other Broker",
    "escrowFeeBps": 300,
    "escrowFeePayer": "split",
    "escrowFeeMinimum": 1.5,
    "escrowFeeMaximum": 250,
    "platformFeeBps": 0,
    "platformFeePayer": "seller",
    "platformFeeMinimum": 0.01,
    "platformFeeMaximum": 10,
    "taxBps": 0,
    "cancellationNotStartedBps": 100,
    "cancellationStartedBps": 1_500,
    "cancellationOngoingBps": 4_000,
    "cancellationDeliveredBps": 10_000,
    "retentionBps": 0,
    "requireKyc": True,
    "refundApproval": "admin",
    "releaseNeedsApproval": True,
    "callbackHosts": ["shop.example.com", "xn--mgbh0fb.example"],
    "amountMaximum": 5_000,
    "payoutMinimum": 12.5,
    "payoutSchedule": "monthly",
}


async def create(cast: Cast, **body: Any) -> dict[str, Any]:
    """The answer that shows a new partner and its secret."""
    made: dict[str, Any] = accepted(
        await cast.olga.post(PATH, json={"name": "Demo Broker", **body}), 201
    )
    return made


async def events(pool: Pool) -> list[dict[str, Any]]:
    async with pool.connection() as conn:
        rows = await conn.fetch(EVENTS)
    assert all(row["contract_id"] is None and row["hash"] is None for row in rows)
    return [dict(row) | {"body": json.loads(row["body"])} for row in rows]


async def settings_of(pool: Pool, business_id: str) -> Settings:
    async with pool.connection() as conn:
        return (await businesses.get(conn, UUID(business_id))).business.settings


async def ask_token(app: Litestar, client_id: str, secret: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret,
    }
    async with caller(app) as nobody:
        return await nobody.post(TOKEN, data=form)


# -- create -----------------------------------------------------------------------------------


async def test_it_makes_a_partner_with_the_defaults_of_the_guide(cast: Cast, pool: Pool) -> None:
    made = await create(cast)
    shown = made["data"]
    assert {name: shown[name] for name in DEFAULTS} == DEFAULTS
    assert shown["name"] == "Demo Broker"
    assert shown["clientId"] == made["clientId"]
    assert made["clientId"].startswith("ec_")
    assert len(made["clientId"]) == 27
    assert made["clientSecret"].startswith("es_")
    assert len(made["clientSecret"]) == 46
    settings = await settings_of(pool, shown["businessId"])
    assert settings == partner_settings(CURRENCIES["SAR"])
    [priced] = price((100_000,), settings.fee_plan)
    assert priced.charge_minor == 114_375
    [event] = await events(pool)
    assert (event["type"], event["actor"]) == ("business.created", cast.olga.actor.name)
    assert event["subject"] == f"business:{shown['businessId']}"
    assert event["body"]["clientId"] == made["clientId"]
    assert made["clientSecret"] not in json.dumps(event, default=str)


async def test_it_signs_in_at_once(cast: Cast) -> None:
    made = await create(cast)
    answer = await ask_token(cast.app, made["clientId"], made["clientSecret"])
    assert answer.status_code == 200


async def test_it_takes_every_setting(cast: Cast, pool: Pool) -> None:
    shown = (await create(cast, **OTHERS))["data"]
    assert {name: shown[name] for name in OTHERS} == OTHERS
    settings = await settings_of(pool, shown["businessId"])
    assert (settings.refund_to, settings.amount_minor_max) == ("source", 500_000)
    assert (settings.payout_minimum_minor, settings.payout_schedule) == (1_250, "monthly")
    [priced] = price((100_000,), settings.fee_plan)
    # 3 % split, and a platform fee of nothing that is at least 1 halala of the seller's.
    assert (priced.charge_minor, priced.net_minor) == (101_500, 98_499)


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("JPY", 900, 900), ("KWD", 1.125, 1_125), ("UYW", 1.0625, 10_625)],
)
async def test_its_amounts_have_the_decimals_of_its_currency(
    cast: Cast, pool: Pool, currency: str, amount: float, minor: int
) -> None:
    shown = (await create(cast, currency=currency, escrowFeeMinimum=amount))["data"]
    assert (shown["currency"], shown["escrowFeeMinimum"]) == (currency, amount)
    settings = await settings_of(pool, shown["businessId"])
    assert settings.fee_plan[0].minor_min == minor
    assert settings.amount_minor_max == 10 ** (6 + CURRENCIES[currency].exponent) - 1
    finer = amount + 0.5 / 10 ** CURRENCIES[currency].exponent
    ask = cast.olga.post(PATH, json={"name": "X", "currency": currency, "escrowFeeMinimum": finer})
    await refused(cast, ask, 400)


async def test_a_key_makes_one_partner_and_tells_its_secret_again(cast: Cast, pool: Pool) -> None:
    headers = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(cast.olga.post(PATH, json={"name": "Demo"}, headers=headers) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(await events(pool)) == 1


async def test_two_partners_may_have_one_name(cast: Cast) -> None:
    one, two = await create(cast), await create(cast)
    assert one["clientId"] != two["clientId"]
    assert one["data"]["businessId"] != two["data"]["businessId"]


# -- read -------------------------------------------------------------------------------------


async def test_it_lists_partners_newest_first_without_the_marketplace(cast: Cast) -> None:
    assert accepted(await cast.olga.get(PATH))["data"] == []
    for name in ("One", "Two", "Three"):
        await create(cast, name=name)
    found = accepted(await cast.olga.get(PATH))
    assert [one["name"] for one in found["data"]] == ["Three", "Two", "One"]
    assert (found["total"], found["currentPage"], found["totalPages"]) == (3, 1, 1)
    page = accepted(await cast.olga.get(PATH, params={"page": 2, "limit": 2}))
    assert [one["name"] for one in page["data"]] == ["One"]
    assert (page["total"], page["currentPage"], page["totalPages"]) == (3, 2, 2)
    for query in ({"page": "0"}, {"limit": "x"}, {"page": "1e1"}):
        await refused(cast, cast.olga.get(PATH, params=query), 400)


async def test_it_shows_one_and_never_what_signs_it_in(cast: Cast, pool: Pool) -> None:
    made = await create(cast)
    url = f"{PATH}/{made['data']['businessId']}"
    assert accepted(await cast.olga.get(url))["data"] == made["data"]
    async with pool.connection() as conn:
        kept = await conn.fetchval("SELECT encode(secret_hash, 'hex') FROM api_client")
    for answer in (await cast.olga.get(url), await cast.olga.get(PATH)):
        assert made["clientSecret"] not in answer.text
        assert kept not in answer.text
        assert "ecret" not in answer.text.replace("secretRotatedAt", "")


@pytest.mark.abuse(43)
async def test_ids_that_are_none_or_nobodys_are_refused(cast: Cast, pool: Pool) -> None:
    await create(cast)
    async with pool.connection() as conn:
        marketplace = await conn.fetchval("SELECT public_id::text FROM business WHERE id = 1")
    for business_id, status in (
        ("x", 400),
        ("1", 400),
        ("2", 400),
        (UNKNOWN_ID, 400),
        (UNKNOWN.upper(), 400),
        (UNKNOWN + "%0A", 400),
        ("{" + UNKNOWN + "}", 400),
        (UNKNOWN.replace("-", ""), 400),
        (UNKNOWN, 404),
        (marketplace, 404),
    ):
        url = f"{PATH}/{business_id}"
        for ask in (
            cast.olga.get(url),
            cast.olga.patch(url, json={"taxBps": 1}),
            cast.olga.post(f"{url}/rotate-secret"),
            cast.olga.patch(f"{url}/block"),
            cast.olga.patch(f"{url}/unblock"),
        ):
            await refused(cast, ask, status)


# -- change -----------------------------------------------------------------------------------


async def test_it_changes_what_is_sent_and_nothing_else(cast: Cast, pool: Pool) -> None:
    before = (await create(cast))["data"]
    url = f"{PATH}/{before['businessId']}"
    for field, value in OTHERS.items():
        shown = accepted(await cast.olga.patch(url, json={field: value}))["data"]
        assert shown == before | {field: value}, field
        event = (await events(pool))[-1]
        assert (event["type"], event["actor"]) == ("business.changed", cast.olga.actor.name)
        assert event["body"] == {"before": {field: before[field]}, "after": {field: value}}
        before = shown
    assert accepted(await cast.olga.get(url))["data"] == before


async def test_what_stays_the_same_is_not_written(cast: Cast, pool: Pool) -> None:
    shown = (await create(cast))["data"]
    before = await digest(pool)
    for body in ({}, DEFAULTS | {"name": "Demo Broker"}, {"unknown": 1, "status": "Blocked"}):
        again = accepted(await cast.olga.patch(f"{PATH}/{shown['businessId']}", json=body))
        assert again["data"] == shown
    assert await digest(pool) == before


async def test_a_currency_is_for_ever(cast: Cast) -> None:
    shown = (await create(cast))["data"]
    url = f"{PATH}/{shown['businessId']}"
    said = await refused(cast, cast.olga.patch(url, json={"currency": "USD"}), 400)
    assert said == "currency stays SAR: create another business"


async def test_changes_at_once_are_all_kept(cast: Cast) -> None:
    shown = (await create(cast))["data"]
    url = f"{PATH}/{shown['businessId']}"
    await asyncio.gather(
        *(cast.olga.patch(url, json={field: value}) for field, value in OTHERS.items())
    )
    now = accepted(await cast.olga.get(url))["data"]
    assert {field: now[field] for field in OTHERS} == OTHERS


async def test_the_next_contract_sees_the_change_and_the_version_counts(
    cast: Cast, broker: Broker, pool: Pool
) -> None:
    async with pool.connection() as conn:
        old = await conn.fetchval("SELECT version FROM business WHERE id = $1", broker.key)
    url = f"{PATH}/{broker.business_id}"
    accepted(await cast.olga.patch(url, json={"amountMaximum": 10}))
    async with pool.connection() as conn:
        new = await conn.fetchval("SELECT version FROM business WHERE id = $1", broker.key)
        found = await businesses.find(conn, broker.key)
    assert new == old + 1
    assert found is not None
    assert found.settings.amount_minor_max == 1_000


# -- rotate, block ----------------------------------------------------------------------------


async def test_a_new_secret_voids_the_old_one_and_its_tokens(
    cast: Cast, broker: Broker, rival: Broker, pool: Pool
) -> None:
    made = accepted(await cast.olga.post(f"{PATH}/{broker.business_id}/rotate-secret"))
    assert made["clientId"] == broker.client_id
    assert made["clientSecret"] != broker.secret
    assert (await broker.ask_token()).status_code == 401
    assert (await broker.ask_token(client_secret=made["clientSecret"])).status_code == 200
    assert (await broker.client.get("/apps/api/contracts")).status_code == 401
    assert (await rival.client.get("/apps/api/contracts")).status_code == 200
    event = (await events(pool))[-1]
    assert (event["type"], event["body"]) == (
        "business.secret-rotated",
        {"clientId": broker.client_id},
    )


async def test_a_blocked_partner_is_out_until_it_is_let_in_again(
    cast: Cast, broker: Broker, pool: Pool
) -> None:
    url = f"{PATH}/{broker.business_id}"
    for verb, status, api, token in (
        ("block", "Blocked", 403, 401),
        ("block", "Blocked", 403, 401),
        ("unblock", "Active", 200, 200),
        ("unblock", "Active", 200, 200),
    ):
        shown = accepted(await cast.olga.patch(f"{url}/{verb}"))["data"]
        assert shown["status"] == status
        assert (await broker.client.get("/apps/api/contracts")).status_code == api
        assert (await broker.ask_token()).status_code == token
    told = [event["type"] for event in await events(pool)]
    assert told == ["business.created", "business.blocked", "business.unblocked"]


# -- who --------------------------------------------------------------------------------------


@pytest.mark.abuse(62)
async def test_only_admins_see_and_change_partners(cast: Cast, broker: Broker) -> None:
    url = f"{PATH}/{broker.business_id}"
    for method, path, body in (
        ("GET", PATH, None),
        ("POST", PATH, {"name": "X"}),
        ("GET", url, None),
        ("PATCH", url, {"taxBps": 0}),
        ("POST", f"{url}/rotate-secret", None),
        ("PATCH", f"{url}/block", None),
        ("PATCH", f"{url}/unblock", None),
    ):
        await only_for(
            cast,
            lambda who, m=method, p=path, b=body: who.request(m, p, json=b),  # type: ignore[misc]
            cast.olga,
        )
        problem(await broker.client.request(method, path, json=body), 401)
    async with blocked(cast, cast.olga):
        await refused(cast, cast.olga.get(url), 403)
