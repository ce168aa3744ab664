"""A byte now and a byte then buys nobody time, neither in a head nor in a body (row 17).

Each of these requests would post a job of Alice's if it were taken.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from digest import digest
from earnest.store.db import Pool
from earnest.web import connection
from test_transport_abuse import GOOD, IN_CHUNKS, filled
from web import Cast
from wire import Wire, refusal

DEADLINE_SECONDS = 0.5
PACE_SECONDS = 0.04
SENDERS = 5


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS_MAX", "BODY_SECONDS_MAX"):
        monkeypatch.setattr(connection, name, DEADLINE_SECONDS)


def test_a_head_has_less_than_five_seconds_and_a_body_ten() -> None:
    assert connection.HEAD_SECONDS_MAX < 5
    assert connection.BODY_SECONDS_MAX <= 10


@pytest.mark.abuse(17)
@pytest.mark.usefixtures("short_deadlines")
async def test_it_cuts_a_trickle_off_wherever_it_trickles(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    before = await digest(pool)
    trickles = []
    for request in (GOOD, IN_CHUNKS):
        whole = filled(cast, request)
        head = whole.index(b"\r\n\r\n") + 4
        for at_once in (1, 60, head - 1, head, head + 3, len(whole) - 1):
            trickles += [trickle(wire, whole[:at_once], whole[at_once:-1])] * SENDERS
    await asyncio.gather(*(each() for each in trickles))
    assert await digest(pool) == before
    assert await wire.is_healthy()


def trickle(wire: Wire, opening: bytes, rest: bytes) -> Callable[[], Awaitable[None]]:
    """Send `opening` at once and of `rest` a byte at a time, until the server has hung up."""

    async def send() -> None:
        line = await wire.open()
        await line.send(opening)
        hearing = asyncio.ensure_future(line.until_closed())
        sent = 0
        while sent < len(rest) and not hearing.done():
            await line.send(rest[sent : sent + 1])
            sent += 1
            await asyncio.sleep(PACE_SECONDS)
        assert sent < 100, "each byte bought some time"
        for heard in await hearing:
            refusal(heard, 408)
            assert heard.headers["connection"] == "close"
        line.close()

    return send
