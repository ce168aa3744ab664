"""Failpoints: a server stumbles before, in and after the commit, and is asked again.

Each verb that moves money meets all of them, at a real `earnest serve` of its own: an error that
is raised, and a process that is killed. Those outside the commit are planted in the server
(tests/planted.py), those in it in the database, as a trigger. The same request with the same key
then happens, exactly once in all, and the answer says so.

Whole networks that die, and servers that are started anew: tests/test_kill.py.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from canary import KEEP_REPLY, plant
from checkout_event import opened
from conftest import TestDatabase
from deal import Deal
from earnest.store.verify import verify
from life import Life, post_event
from mortal import Ask, until_waiting
from partners import TOKEN, Broker, make_broker
from paying_out import FREELANCER
from planted import planted
from repeats import REPLAYED, Request, creating, refunding, releasing
from standing import Standing
from test_kill import at, sending
from web import SECRET_KEY, Caller, Cast

LOCK = 7_313
HAPPENED = "SELECT count(*) FROM event WHERE type = $1"
MOVED = "SELECT count(DISTINCT commit_id) FROM transfer WHERE movement = $1"
STORED = "SELECT status, reply FROM idempotency_key WHERE key = $1"
BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'earnest api'
AND state <> 'idle' AND query LIKE '%commit_changes%'
"""
# What a trigger does while the commit is being made, for the one event that it waits for. The
# sequence is outside of every transaction: whoever is undone has used it all the same.
TRIGGER = """
CREATE SEQUENCE stumbles;
CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN {what} RETURN NEW; END $$;
CREATE TRIGGER stumble BEFORE INSERT ON event FOR EACH ROW
WHEN (NEW.type = '{event}') EXECUTE FUNCTION stumble();
"""
NO_TRIGGER = "DROP TRIGGER stumble ON event; DROP FUNCTION stumble(); DROP SEQUENCE stumbles"
RAISE = "RAISE EXCEPTION 'stumbled';"
TERMINATE = """
IF nextval('stumbles') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
"""
HOLD_STILL = f"PERFORM pg_advisory_xact_lock_shared({LOCK});"


class Verb(msgspec.Struct, frozen=True):
    """What is asked for. `prepare` makes what it is about and gives the request, under a key;
    `event` is what it leaves behind, and `movement` which money it moves at once, if any."""

    prepare: Callable[["Scene", str], Awaitable[Ask]]
    event: str
    movement: str = ""


class Scene(msgspec.Struct):
    """Where it plays. `armed` is the file that the planted server looks for."""

    app: Litestar
    cast: Cast
    database: TestDatabase
    surgeon: asyncpg.Connection
    standing: Standing
    armed: Path

    async def how_often(self, verb: Verb) -> tuple[int, int]:
        """How often it has happened, and has moved money."""
        return (
            await self.surgeon.fetchval(HAPPENED, verb.event),
            await self.surgeon.fetchval(MOVED, verb.movement),
        )

    @contextlib.asynccontextmanager
    async def trigger(self, verb: Verb, what: str) -> AsyncIterator[None]:
        """Commits of this verb meet `what` in the middle."""
        await self.surgeon.execute(TRIGGER.format(what=what, event=verb.event))
        try:
            yield
        finally:
            await self.surgeon.execute(NO_TRIGGER)


# -- verbs -----------------------------------------------------------------------------------------


def _keyed(request: Request, key: str) -> Ask:
    return sending(msgspec.structs.replace(request, key=key))


async def _hire(scene: Scene, key: str) -> Ask:
    return _keyed(creating(await Life.begin(scene.cast)), key)


async def _release(scene: Scene, key: str) -> Ask:
    return _keyed(releasing(await Life.at(scene.cast, "requested")), key)


async def _refund(scene: Scene, key: str) -> Ask:
    return _keyed(refunding(await Life.at(scene.cast, "canceled")), key)


async def _withdraw(scene: Scene, key: str) -> Ask:
    await Life.at(scene.cast, "released")
    return _keyed(Request(scene.cast.bob, "POST", FREELANCER, {"amount": 800}), key)


async def _hear_of_payment(scene: Scene, _key: str) -> Ask:
    """The provider's event, which is its own key."""
    _, event = await opened(scene.cast)

    async def ask(url: str) -> httpx.Response:
        async with at(url) as anybody:
            told = msgspec.structs.replace(scene.cast, anybody=anybody)
            return await post_event(told, event.body, at_seconds=int(time.time()))

    return ask


async def _release_by_partner(scene: Scene, key: str) -> Ask:
    broker = await make_broker(scene.app, f"Broker {key}")
    deal = await Deal.at(broker, "delivered")
    body = {"contractId": deal.number}
    who = await _signed_in(scene, broker)
    return _keyed(Request(who, "POST", "/apps/api/contracts/release", body), key)


async def _refund_by_partner(scene: Scene, key: str) -> Ask:
    broker = await make_broker(scene.app, f"Broker {key}")
    deal = await Deal.at(broker, "paid")
    body = {"type": "FULL", "reason": "The buyer changed her mind"}
    path = f"/apps/api/contracts/{deal.number}/refund"
    return _keyed(Request(await _signed_in(scene, broker), "POST", path, body), key)


async def _signed_in(scene: Scene, broker: Broker) -> Caller:
    """A partner's token names the server that it is for."""
    async with at(scene.standing.url) as anybody:
        answer = await anybody.post(TOKEN, data=broker.form())
    return Caller(headers={"Authorization": f"Bearer {answer.json()['access_token']}"})


VERBS = {
    "hire": Verb(_hire, "contract.created"),
    "payment event": Verb(_hear_of_payment, "payment.completed", "funded"),
    "release": Verb(_release, "contract.released", "released"),
    "refund": Verb(_refund, "contract.refunded", "refunded"),
    "payout": Verb(_withdraw, "payout.requested", "withdrawn"),
    "partner's release": Verb(_release_by_partner, "contract.released", "released"),
    "partner's refund": Verb(_refund_by_partner, "refund.full-initiated"),
}


# -- points ----------------------------------------------------------------------------------------


async def outside(scene: Scene, verb: Verb, ask: Ask, when: str, how: str) -> None:
    """Stumble before or after the commit: an error is a 500, a death is no answer at all."""
    scene.armed.write_text(f"{when} {how} {verb.event}")
    if how == "raise":
        assert (await ask(scene.standing.url)).status_code == 500
    else:
        with pytest.raises(httpx.TransportError):
            await ask(scene.standing.url)
    assert not scene.armed.exists(), "the failpoint was never reached"


async def raised_within(scene: Scene, verb: Verb, ask: Ask) -> None:
    """The statement fails in its middle."""
    async with scene.trigger(verb, RAISE):
        assert (await ask(scene.standing.url)).status_code == 500


async def backend_dies_within(scene: Scene, verb: Verb, ask: Ask) -> None:
    """The connection breaks in the middle: the door looks, finds nothing, and tries again."""
    async with scene.trigger(verb, TERMINATE):
        assert (await ask(scene.standing.url)).is_success
        assert await scene.surgeon.fetchval("SELECT last_value FROM stumbles") > 1


async def server_dies_within(scene: Scene, verb: Verb, ask: Ask) -> None:
    """The database is at work, the server is dead: it happens, and nobody hears of it."""
    async with scene.trigger(verb, HOLD_STILL):
        await scene.surgeon.execute("SELECT pg_advisory_lock($1)", LOCK)
        asking = asyncio.ensure_future(ask(scene.standing.url))
        await until_waiting(scene.surgeon, 1)
        await asyncio.to_thread(scene.standing.kill, "every api")
        with pytest.raises(httpx.TransportError):
            await asking
        await scene.surgeon.execute("SELECT pg_advisory_unlock($1)", LOCK)
        while await scene.surgeon.fetchval(BUSY):  # noqa: ASYNC110  another process is
            await asyncio.sleep(0.01)


class Point(msgspec.Struct, frozen=True):
    """Where it stumbles, and whether it has happened all the same."""

    name: str
    stumble: Callable[[Scene, Verb, Ask], Awaitable[None]]
    has_happened: bool


def _outside(when: str, how: str) -> Point:
    def stumble(scene: Scene, verb: Verb, ask: Ask) -> Awaitable[None]:
        return outside(scene, verb, ask, when, how)

    return Point(f"{how} {when}", stumble, has_happened=when == "after")


POINTS = (
    _outside("before", "raise"),
    _outside("before", "kill"),
    Point("raise within", raised_within, has_happened=False),
    Point("backend dies within", backend_dies_within, has_happened=True),
    Point("server dies within", server_dies_within, has_happened=True),
    _outside("after", "raise"),
    _outside("after", "kill"),
)


# -- tests -----------------------------------------------------------------------------------------


@pytest.fixture
async def scene(
    tmp_path: Path, app: Litestar, cast: Cast, database: TestDatabase
) -> AsyncIterator[Scene]:
    armed = tmp_path / "failpoint"
    standing = Standing(
        tmp_path / "data",
        planted("failpoint"),
        FAILPOINT=str(armed),
        EARNEST_DATABASE_URL=database.app_dsn,
        EARNEST_SECRET_KEY=SECRET_KEY.decode(),
    )
    surgeon = await asyncpg.connect(database.superuser_dsn)
    try:
        await asyncio.to_thread(standing.start)
        yield Scene(app, cast, database, surgeon, standing, armed)
    finally:
        await asyncio.to_thread(standing.end)
        await surgeon.close()


async def ask_until_it_answers(ask: Ask, url: str) -> httpx.Response:
    """Those who were killed are being replaced."""
    for _ in range(400):
        with contextlib.suppress(httpx.TransportError):
            return await ask(url)
        await asyncio.sleep(0.05)
    raise TimeoutError


async def stumble_and_ask_again(scene: Scene, name: str, point: Point) -> None:
    """It happens once in all, and is answered by what is kept under its key."""
    verb, key = VERBS[name], f"{name}, {point.name}"
    ask = await verb.prepare(scene, key)
    happened, moved = await scene.how_often(verb)
    once = (happened + 1, moved + bool(verb.movement))
    await point.stumble(scene, verb, ask)
    then = once if point.has_happened else (happened, moved)
    assert await scene.how_often(verb) == then, key

    again = await ask_until_it_answers(ask, scene.standing.url)
    assert again.is_success, f"{key}: {again.text}"
    assert await scene.how_often(verb) == once, key
    if name != "payment event":  # it has no key but its own id
        assert (REPLAYED in again.headers) is point.has_happened, key
        (stored,) = await scene.surgeon.fetch(STORED, key)
        assert (again.status_code, again.content) == tuple(stored), key


@pytest.mark.parametrize("name", VERBS)
async def test_it_happens_once_wherever_it_stumbled(scene: Scene, name: str) -> None:
    for point in POINTS:
        await stumble_and_ask_again(scene, name, point)
    assert (await verify(scene.database.superuser_dsn)).violations == ()


async def test_its_canary_an_answer_that_is_not_in_the_commit_would_be_missed(
    scene: Scene,
) -> None:
    await plant(scene.database.owner_dsn, KEEP_REPLY)
    with pytest.raises(AssertionError, match="already been released"):
        await stumble_and_ask_again(scene, "release", _outside("after", "raise"))
    with pytest.raises(AssertionError, match=re.escape("(2, 2) == (1, 1)")):
        await stumble_and_ask_again(scene, "payout", _outside("after", "kill"))
