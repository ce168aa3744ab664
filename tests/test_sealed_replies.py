"""Replies that carry a secret: sealed in the database, replayed for a day, then gone for good."""

import asyncio
from typing import Any

import httpx
import pytest

from digest import digest
from earnest.sealing import SealBroken, Sealer
from earnest.store import idempotency
from earnest.store.db import Pool
from earnest.worker import chores
from life import accepted
from partners import Broker
from refusals import blocked, refused
from web import Cast

PATH = "/api/admin/businesses"
KEY = {"Idempotency-Key": "the-only-one"}
HOURS = 3_600
ROWS = "SELECT key, reply, is_sealed, status, moves_money FROM idempotency_key ORDER BY key"


async def create(cast: Cast, name: str = "Demo Broker", key: str = "1") -> httpx.Response:
    return await cast.olga.post(PATH, json={"name": name}, headers={"Idempotency-Key": key})


async def rows(pool: Pool) -> list[Any]:
    async with pool.connection() as conn:
        return list(await conn.fetch(ROWS))


async def advance(cast: Cast, seconds: int) -> None:
    accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": seconds}))


async def test_a_repeated_request_gets_the_same_secret(cast: Cast, pool: Pool) -> None:
    first = await create(cast)
    again = await create(cast)
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM api_client") == 1


async def test_nobody_reads_it_in_the_database(cast: Cast, pool: Pool) -> None:
    secret = accepted(await create(cast), 201)["clientSecret"].encode()
    [row] = await rows(pool)
    assert row["is_sealed"]
    for piece in (secret, secret[3:], b"clientSecret", b"Demo Broker", b"success"):
        assert piece not in row["reply"]
    async with pool.connection() as conn:
        tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in tables:
            name = table["tablename"]
            for line in await conn.fetch(f"SELECT t::text AS text FROM {name} AS t"):
                assert secret.decode() not in line["text"], name
                assert secret.hex() not in line["text"], name


async def test_others_replies_are_kept_as_they_were(cast: Cast, broker: Broker, pool: Pool) -> None:
    url = f"{PATH}/{broker.business_id}"
    answer = await cast.olga.patch(url, json={"taxBps": 1}, headers=KEY)
    [row] = await rows(pool)
    assert (row["is_sealed"], row["reply"]) == (False, answer.content)


async def test_the_same_key_for_something_else_is_refused_as_ever(
    cast: Cast, broker: Broker, rival: Broker
) -> None:
    await create(cast)
    asked = cast.olga.post(PATH, json={"name": "X"}, headers={"Idempotency-Key": "1"})
    await refused(cast, asked, 422)
    url = f"{PATH}/{broker.business_id}/rotate-secret"
    first = accepted(await cast.olga.post(url, headers=KEY))
    assert accepted(await cast.olga.post(url, headers=KEY)) == first
    other = f"{PATH}/{rival.business_id}/rotate-secret"
    await refused(cast, cast.olga.post(other, headers=KEY), 422)


async def test_after_a_day_the_key_says_that_it_was_done_and_tells_nothing(
    cast: Cast, pool: Pool
) -> None:
    """Whether the worker has come by or not."""
    first = await create(cast)
    await advance(cast, 24 * HOURS - 60)
    assert (await create(cast)).content == first.content
    await advance(cast, 120)
    text = await refused(cast, create(cast), 409)
    assert text == " ".join((idempotency.ReplyGone.__doc__ or "").split())
    assert await chores.purge_replies(pool) == 1
    [row] = await rows(pool)
    assert (row["reply"], row["is_sealed"], row["status"]) == (b"", True, 201)
    assert await refused(cast, create(cast), 409) == text
    assert await chores.purge_replies(pool) == 0
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM api_client") == 1


async def test_only_sealed_replies_are_emptied_after_a_day(
    cast: Cast, broker: Broker, pool: Pool
) -> None:
    url = f"{PATH}/{broker.business_id}"
    answer = await cast.olga.patch(url, json={"taxBps": 1}, headers=KEY)
    await advance(cast, 48 * HOURS)
    assert await chores.purge_replies(pool) == 0
    again = await cast.olga.patch(url, json={"taxBps": 1}, headers=KEY)
    assert again.content == answer.content
    await advance(cast, 6 * 24 * HOURS)
    assert await chores.purge_replies(pool) == 1
    assert await rows(pool) == []


async def test_the_record_itself_goes_after_a_week(cast: Cast, pool: Pool) -> None:
    await create(cast)
    await advance(cast, 25 * HOURS)
    await chores.purge_replies(pool)
    await advance(cast, 7 * 24 * HOURS)
    assert await chores.purge_replies(pool) == 1
    assert await rows(pool) == []


async def test_two_workers_empty_each_reply_once(cast: Cast, pool: Pool) -> None:
    for number in range(20):
        await create(cast, key=str(number))
    await advance(cast, 25 * HOURS)
    counts = await asyncio.gather(*(chores.purge_replies(pool) for _ in range(4)))
    assert sum(counts) == 20
    assert {row["reply"] for row in await rows(pool)} == {b""}


async def test_a_reply_that_was_put_in_another_place_opens_nowhere(cast: Cast, pool: Pool) -> None:
    """Whoever may write the database cannot make one key tell the secret of another."""
    await create(cast, "One", "1")
    await create(cast, "Two", "2")
    first, second = await rows(pool)
    async with pool.connection() as conn:
        for mine, theirs in ((first, second), (second, first)):
            await conn.execute(
                "UPDATE idempotency_key SET reply = $2 WHERE key = $1", mine["key"], theirs["reply"]
            )
    await refused(cast, create(cast, "One", "1"), 409)
    await refused(cast, create(cast, "Two", "2"), 409)


async def test_another_secret_key_opens_none(cast: Cast, pool: Pool) -> None:
    answer = await create(cast)
    [row] = await rows(pool)
    async with pool.connection() as conn:
        scope = await conn.fetchval("SELECT scope FROM idempotency_key")
    about = f"reply:{scope.hex()}"
    assert cast.app.state.sealer.open(row["reply"], about) == answer.content
    with pytest.raises(SealBroken):
        Sealer(b"\x00" * 32).open(row["reply"], about)


async def test_a_refusal_leaves_no_record(cast: Cast, pool: Pool) -> None:
    await refused(cast, create(cast, ""), 400)
    assert await rows(pool) == []
    accepted(await create(cast), 201)


@pytest.mark.abuse(98)
async def test_nobody_elses_key_tells_a_secret(cast: Cast, broker: Broker, pool: Pool) -> None:
    """A key is its owner's: Mallory's and the partner's are other ones, and they may not ask."""
    first = await create(cast)
    before = await digest(pool)
    headers = {"Idempotency-Key": "1"}
    for who, status in ((cast.mallory, 403), (cast.anybody, 401), (broker.client, 401)):
        answer = await who.post(PATH, json={"name": "Demo Broker"}, headers=headers)
        assert answer.status_code == status
        assert first.json()["clientSecret"] not in answer.text
    async with blocked(cast, cast.olga):
        assert (await create(cast)).status_code == 403
    assert await digest(pool) == before


async def test_the_same_request_at_once_makes_one_secret(cast: Cast, broker: Broker) -> None:
    url = f"{PATH}/{broker.business_id}/rotate-secret"
    answers = await asyncio.gather(*(cast.olga.post(url, headers=KEY) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    secret = answers[0].json()["clientSecret"]
    assert (await broker.ask_token(client_secret=secret)).status_code == 200
