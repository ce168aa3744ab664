"""Connections are counted, per process and per address, and none is held by doing nothing."""

import asyncio
from typing import Any

from earnest.web import connection
from web import Cast
from wire import Wire, refusal

HOST = b"Host: localhost\r\n"


async def test_it_takes_so_many_connections_and_says_so_to_the_next(wire: Wire, cast: Cast) -> None:
    wire.config.connections_max = 20
    lines = [await wire.open(f"127.0.0.{2 + n % 2}") for n in range(20)]
    for line in lines:
        await line.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await line.status() == 200
    one_more = await wire.open("127.0.0.4")
    [heard] = await one_more.until_closed()
    assert "too many" in refusal(heard, 503)
    assert int(heard.headers["retry-after"]) >= 1
    one_more.close()
    for line in lines[:10]:
        line.close()
    await until(lambda: len(lines) - 10 == sum(wire.config.peers.values()))
    assert await wire.is_healthy()
    for line in lines[10:]:
        line.close()
    await until(lambda: not wire.config.peers)


async def test_one_address_gets_half_of_the_connections_unless_it_is_a_proxy(
    wire: Wire,
) -> None:
    wire.config.connections_max = 20
    lines = [await wire.open("127.0.0.2") for _ in range(10)]
    await until(lambda: wire.config.peers["127.0.0.2"] == 10)
    eleventh = await wire.open("127.0.0.2")
    [heard] = await eleventh.until_closed()
    refusal(heard, 503)
    eleventh.close()
    assert await wire.is_healthy(), "others still get in"
    wire.config.proxies = ("127.0.0.0/30",)
    await until(lambda: wire.config.peers["127.0.0.2"] == 10)
    lines += [await wire.open("127.0.0.2") for _ in range(8)]
    for line in lines[-8:]:
        await line.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await line.status() == 200
    for line in lines:
        line.close()


async def test_an_idle_connection_is_closed(wire: Wire) -> None:
    wire.config.timeout_keep_alive = 1
    line = await wire.open()
    await line.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
    [heard] = await line.until_closed()
    assert heard.status == 200
    line.close()


async def test_it_cuts_off_who_does_not_read_the_answer(wire: Wire, monkeypatch: Any) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS_MAX", 0.2)
    line = await wire.open()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]
    many = (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 400
    line.writer.write(many)
    await until(lambda: sum(wire.config.peers.values()) == 1)
    await until(lambda: not wire.config.peers)
    line.close()
    assert await wire.is_healthy()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110  it has no event to wait for
            await asyncio.sleep(0.02)
