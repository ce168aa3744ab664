"""Limits: so many at once, then one every so often, and the wait that a refusal tells is true."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar

from earnest.app import build_app
from earnest.errors import Refused, TooMany
from earnest.store.db import Pool
from earnest.store.limits import LETTER, LIMITS, LOGIN, Charge, Limit, Limits
from earnest.worker.chores import purge_limits
from signing import AGE_LIMITS, letters_to, try_login
from web import PASSWORD, Caller, Cast, caller, make_settings, problem

THREE = Limit("three", 3, 60, "", "")
WIDE = Limit("wide", 100, 60, "", "")
ROWS = "SELECT t::text FROM rate_limit AS t UNION ALL SELECT k::text FROM known_address AS k"
AGE_KNOWN = "UPDATE known_address SET seen_at = seen_at - make_interval(days => $1)"


@pytest.fixture
def limits(pool: Pool) -> Limits:
    return Limits(pool, b"a key for limits")


async def passes(limits: Limits, *charges: Charge) -> bool:
    try:
        await limits.charge(*charges)
    except TooMany:
        return False
    return True


async def pass_time(pool: Pool, seconds: float) -> None:
    async with pool.connection() as conn:
        await conn.execute(AGE_LIMITS, seconds)


async def test_it_lets_so_many_through_at_once_and_then_one_every_so_often(
    limits: Limits, pool: Pool
) -> None:
    somebody = Charge(THREE, ("somebody",))
    assert [await passes(limits, somebody) for _ in range(5)] == [True] * 3 + [False] * 2
    await pass_time(pool, 60)
    assert [await passes(limits, somebody) for _ in range(2)] == [True, False]
    await pass_time(pool, 10_000)
    assert [await passes(limits, somebody) for _ in range(4)] == [True] * 3 + [False]


async def test_it_tells_how_long_to_wait_to_the_second(limits: Limits, pool: Pool) -> None:
    somebody = Charge(THREE, ("somebody",))
    for _ in range(3):
        await limits.charge(somebody)
    with pytest.raises(TooMany) as refused:
        await limits.charge(somebody)
    wait_seconds = refused.value.retry_after_seconds
    assert 1 <= wait_seconds <= 60
    await pass_time(pool, wait_seconds)
    assert await passes(limits, somebody)


async def test_it_counts_a_hundred_at_once_one_after_the_other(limits: Limits) -> None:
    charges = Charge(THREE, ("somebody",)), Charge(WIDE, ("everybody",))
    answers = await asyncio.gather(*(passes(limits, *charges) for _ in range(100)))
    assert answers.count(True) == 3


async def test_it_does_not_lock_up_when_limits_come_in_any_order(limits: Limits) -> None:
    one, other = Charge(WIDE, ("one",)), Charge(WIDE, ("other",))

    async def back_and_forth(*charges: Charge) -> bool:
        passed = await passes(limits, *charges)
        await limits.give_back(*charges)
        return passed

    answers = await asyncio.gather(
        *(back_and_forth(*pair) for _ in range(50) for pair in ((one, other), (other, one)))
    )
    assert len(answers) == 100


async def test_it_charges_all_or_none(limits: Limits, pool: Pool) -> None:
    narrow, wide = Charge(THREE, ("somebody",)), Charge(Limit("four", 4, 60, "", ""), ("all",))
    assert [await passes(limits, narrow, wide) for _ in range(9)].count(True) == 3
    assert [await passes(limits, wide) for _ in range(2)] == [True, False]


async def test_it_counts_people_apart(limits: Limits) -> None:
    for whom in (("a", "b"), ("ab",), ("a", "c"), ("a\x00b",)):
        answers = [await passes(limits, Charge(THREE, whom)) for _ in range(4)]
        assert answers == [True] * 3 + [False]


async def test_it_gives_back_what_came_to_nothing(limits: Limits) -> None:
    somebody = Charge(THREE, ("somebody",))
    for _ in range(10):
        async with limits.counting((Refused,), somebody):
            pass
        with pytest.raises(ZeroDivisionError):
            async with limits.charged(somebody):
                raise ZeroDivisionError
    for _ in range(3):
        with pytest.raises(Refused):
            async with limits.counting((Refused,), somebody):
                raise Refused
    with pytest.raises(TooMany):
        async with limits.counting((Refused,), somebody):
            raise AssertionError("it was let in")


async def test_it_charges_who_hangs_up(limits: Limits) -> None:
    somebody = Charge(THREE, ("somebody",))
    charged = asyncio.Event()

    async def endless() -> None:
        async with limits.counting((Refused,), somebody):
            charged.set()
            await asyncio.Event().wait()

    for _ in range(3):
        charged.clear()
        waiting = asyncio.create_task(endless())
        await charged.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not await passes(limits, somebody)


async def test_it_knows_an_address_for_ninety_days(limits: Limits, pool: Pool) -> None:
    async with pool.connection() as conn:
        await limits.remember(conn, "bob@example.com", "192.0.2.1")
        assert await limits.is_known("bob@example.com", "192.0.2.1")
        assert not await limits.is_known("bob@example.com", "192.0.2.2")
        assert not await limits.is_known("alice@example.com", "192.0.2.1")
        await conn.execute(AGE_KNOWN, 89)
        assert await limits.is_known("bob@example.com", "192.0.2.1")
        await limits.remember(conn, "bob@example.com", "192.0.2.1")
        await conn.execute(AGE_KNOWN, 89)
        assert await limits.is_known("bob@example.com", "192.0.2.1")
        await conn.execute(AGE_KNOWN, 2)
        assert not await limits.is_known("bob@example.com", "192.0.2.1")
    assert await purge_limits(pool) == 1


async def test_the_worker_forgets_what_no_longer_counts(limits: Limits, pool: Pool) -> None:
    for at in range(5):
        await limits.charge(Charge(THREE, (f"early {at}",)))
    await pass_time(pool, 61)
    await limits.charge(Charge(THREE, ("late",)))
    assert await purge_limits(pool) == 5
    assert await purge_limits(pool) == 0
    await limits.charge(Charge(THREE, ("late",)))
    await limits.charge(Charge(THREE, ("late",)))
    assert not await passes(limits, Charge(THREE, ("late",)))


def test_every_limit_has_a_name_of_its_own_and_says_why() -> None:
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
    for limit in LIMITS:
        assert limit.burst >= 1
        assert limit.per_seconds >= 1
        assert limit.counts
        assert limit.why.endswith(".")


# -- over HTTP --------------------------------------------------------------------------------


async def test_it_tells_the_truth_in_retry_after(cast: Cast, pool: Pool) -> None:
    for _ in range(LOGIN.burst):
        problem(await try_login(cast.app, cast.bob.email, "wrong"), 404)
    refused = await try_login(cast.app, cast.bob.email)
    assert problem(refused, 429)["code"] == "too_many"
    await pass_time(pool, int(refused.headers["retry-after"]))
    assert (await try_login(cast.app, cast.bob.email)).status_code == 200


async def test_it_keeps_neither_addresses_nor_e_mail_addresses(cast: Cast, pool: Pool) -> None:
    await try_login(cast.app, cast.bob.email, address="192.0.2.77")
    await try_login(cast.app, cast.bob.email, "wrong", address="192.0.2.77")
    async with pool.connection() as conn:
        rows = [row[0] for row in await conn.fetch(ROWS)]
    assert len(rows) >= 3
    for row in rows:
        key = bytes.fromhex(row.split("\\x")[1][:64])
        assert len(key) == 32
        assert b"192.0.2" not in key
        assert b"bob" not in key


async def test_it_never_hits_sixty_people_behind_one_address(app: Litestar) -> None:
    """They register, confirm and sign in at the same time."""

    async def arrive(at: int) -> int:
        person = {
            "name": f"Person {at}",
            "email": f"person{at}@example.com",
            "password": PASSWORD,
            "role": "client",
        }
        async with caller(app) as browser:
            assert (await browser.post("/api/auth/register", json=person)).status_code == 200
            code = (await letters_to(browser, person["email"]))[0]["code"]
            sent = {"email": person["email"], "otp": code, "userData": person}
            assert (await browser.post("/api/auth/verify-otp", json=sent)).status_code == 201
        return (await try_login(app, person["email"])).status_code

    assert await asyncio.gather(*(arrive(at) for at in range(60))) == [200] * 60


async def test_it_never_hits_who_signs_in_again_and_again(cast: Cast) -> None:
    answers = [await try_login(cast.app, cast.bob.email) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20


async def test_it_sees_the_client_behind_a_trusted_proxy(cast: Cast, database: Any) -> None:
    settings = make_settings(database.app_dsn, trusted_proxies=("127.0.0.1",))
    behind_proxy = build_app(settings, Pool(database.app_dsn))
    async with behind_proxy.lifespan(), caller(behind_proxy) as proxy:

        async def ask(password: str, hops: str) -> int:
            wanted = {"email": cast.bob.email, "password": password}
            headers = {"x-forwarded-for": hops}
            return (await proxy.post("/api/auth/login", json=wanted, headers=headers)).status_code

        mallory = [await ask("wrong", f"192.0.2.{at}, 198.51.100.7") for at in range(7)]
        assert mallory == [404] * LOGIN.burst + [429] * 2
        assert await ask(PASSWORD, "198.51.100.7, 192.0.2.1") == 200


async def test_it_believes_no_client_that_names_its_own_address(cast: Cast, api: Caller) -> None:
    wrong = {"email": cast.bob.email, "password": "wrong"}
    answers = [
        await api.post("/api/auth/login", json=wrong, headers={"x-forwarded-for": f"192.0.2.{at}"})
        for at in range(LOGIN.burst + 1)
    ]
    assert [answer.status_code for answer in answers] == [404] * LOGIN.burst + [429]


async def test_it_limits_letters_to_everybody_alike(cast: Cast, api: Caller) -> None:
    """Whether the address has an account, waits for its code, or is nobody's."""
    waiting = {"name": "Carol", "email": "carol@example.com", "password": PASSWORD}
    await api.post("/api/auth/register", json=waiting | {"role": "client"})
    seen = []
    for email in (cast.alice.email, "nobody@example.com"):
        answers = [
            await api.post(f"/api/auth/{path}", json={"email": email})
            for path in ("resend-otp", "forgot-password") * LETTER.burst
        ]
        seen.append([(answer.status_code, answer.json()) for answer in answers])
        assert [answer.status_code for answer in answers].count(200) == LETTER.burst
        assert 150 < int(answers[-1].headers["retry-after"]) <= LETTER.per_seconds
    assert seen[0] == seen[1]
    again = [
        await api.post("/api/auth/resend-otp", json={"email": waiting["email"]})
        for _ in range(LETTER.burst)
    ]
    assert [answer.status_code for answer in again] == [200] * (LETTER.burst - 1) + [429]
