"""Connections are used again by the same URL only, and never in a way that a receiver notices."""

import asyncio
import contextlib

import pytest

from earnest.outbound.answers import Failure
from earnest.outbound.sender import Limits
from office import BODY, HEADERS, OK, PUBLIC, SHOP, at, office
from receiver import (
    Conduct,
    Request,
    answering,
    saying,
)


async def test_a_connection_is_shared_by_nobody_but_the_same_url() -> None:
    async with office(answering(200)) as here:
        for url in (SHOP.url, SHOP.url, "http://shop.example.com/other"):
            await here.sender.post(at(url), BODY, HEADERS)
        assert here.receiver.connections == 2


async def test_parallel_posts_have_a_connection_each_and_then_share_them() -> None:
    async with office(answering(200)) as here:
        for _ in range(3):
            posts = (here.sender.post(SHOP, BODY, HEADERS) for _ in range(8))
            assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        assert here.receiver.connections <= 8
        assert len(here.receiver.heard) == 24


async def test_cookies_are_not_kept() -> None:
    async with office(answering(200, "Set-Cookie: a=b")) as here:
        for _ in range(2):
            await here.sender.post(SHOP, BODY, HEADERS)
        assert [request.headers.get("cookie") for request in here.receiver.heard] == [None] * 2


async def test_a_connection_that_was_closed_meanwhile_costs_no_failure() -> None:
    """A receiver restarts between two events."""
    async with office(saying(OK)) as here:
        for _ in range(3):
            assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
            await asyncio.sleep(0.01)
        assert len(here.receiver.heard) == 3


def once_per_connection(then: bytes = b"") -> Conduct:
    """A good answer to the first request of a connection; to the second, `then` and the end."""
    served: list[asyncio.StreamWriter] = []

    async def conduct(_: Request, writer: asyncio.StreamWriter) -> None:
        if writer not in served:
            served.append(writer)
            writer.write(OK)
            return
        writer.write(then)
        await writer.drain()
        raise ConnectionError

    return conduct


async def test_a_connection_that_breaks_on_its_second_request_is_opened_anew_once() -> None:
    """A receiver closed it while the request was on its way."""
    async with office(once_per_connection()) as here:
        for _ in range(2):
            assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert [request.body for request in here.receiver.heard] == [BODY] * 3
    assert len(here.dials.made) == len(here.names.asked) == 2


async def test_what_began_to_be_answered_is_not_sent_again() -> None:
    async with office(once_per_connection(then=b"HTTP/1.1 200")) as here:
        assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        assert len(here.receiver.heard) == 2
    assert (answer.status, answer.failure) == (None, Failure.CONNECTION_RESET)
    assert len(here.dials.made) == 1


async def test_a_second_connection_is_checked_like_the_first() -> None:
    async with office(once_per_connection(), [PUBLIC], ["127.0.0.1"]) as here:
        assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert answer.failure is Failure.FORBIDDEN_ADDRESS
    assert here.dials.made == [(PUBLIC, 80)]


@pytest.mark.parametrize("limit", ["IDLE_LINES_PER_TARGET_MAX", "IDLE_LINES_MAX"])
async def test_no_more_than_so_many_idle_connections_are_kept(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"earnest.outbound.sender.{limit}", 2)
    everybody, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def together(_: Request, writer: asyncio.StreamWriter) -> None:
        waiting.release()
        await everybody.wait()
        writer.write(OK)

    async with office(together) as here:
        posts = [asyncio.create_task(here.sender.post(SHOP, BODY, HEADERS)) for _ in range(5)]
        for _ in posts:
            await waiting.acquire()
        everybody.set()
        assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        assert here.receiver.connections == 5
        assert sum(map(len, here.sender._idle.values())) == 2


async def test_idle_connections_are_closed() -> None:
    hung_up = asyncio.Event()

    async def watched(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

        async def watch() -> None:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            hung_up.set()

        watching.append(asyncio.create_task(watch()))

    watching: list[asyncio.Task[None]] = []
    async with office(watched, limits=Limits(idle_seconds=0.05)) as here:
        assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        await hung_up.wait()


async def test_a_post_that_is_cancelled_hangs_up_and_leaves_the_sender_whole() -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def first_hangs(_: Request, writer: asyncio.StreamWriter) -> None:
        if asked.is_set():
            writer.write(OK)
            return
        asked.set()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        hung_up.set()

    async with office(first_hangs) as here:
        post = asyncio.create_task(here.sender.post(SHOP, BODY, HEADERS))
        await asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert here.receiver.connections == 2


async def test_a_closed_sender_keeps_no_connection() -> None:
    async with office(answering(200)) as here:
        await here.sender.post(SHOP, BODY, HEADERS)
        await here.sender.close()
        await here.sender.post(SHOP, BODY, HEADERS)
        await here.sender.post(SHOP, BODY, HEADERS)
        assert here.receiver.connections == 3
