"""An **office**: a sender in front of one receiver, and a record of what went between them.

    async with office(answering(200), [PUBLIC], ["127.0.0.1"]) as here:
        await here.sender.post(SHOP, BODY, HEADERS)
        ...                     here.receiver.heard, here.dials.made, here.names.asked

Names resolve to what the test says, and every dial ends at the receiver, whatever was dialled.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from earnest.outbound.sender import Limits, Sender
from earnest.outbound.targets import Target, check_url
from receiver import Conduct, Dials, Names, Receiver, receiving

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"
BODY = '{"event":"contract.released","note":"عقد"}'.encode()
HEADERS = {"Content-Type": "application/json", "X-WePay-Event": "contract.released"}
TRUSTING_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Office(msgspec.Struct):
    """A sender in front of one receiver, and what went between them."""

    sender: Sender
    receiver: Receiver
    dials: Dials
    names: Names


@contextlib.asynccontextmanager
async def office(
    conduct: Conduct,
    *answers: list[str],
    limits: Limits | None = None,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[Office]:
    """`answers` are what the resolver says, one lookup after the other: a public address if not
    given. `tls` are the receiver's context and ours."""
    async with receiving(conduct, tls=tls and tls[0]) as receiver:
        dials, names = Dials(receiver.port), Names(*(answers or [[PUBLIC]]))
        ours = tls[1] if tls else TRUSTING_NOBODY
        sender = Sender(resolve=names, dial=dials, tls=ours, limits=limits)
        try:
            yield Office(sender, receiver, dials, names)
        finally:
            await sender.close()


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """The port of somebody who speaks no HTTP."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def at(url: str) -> Target:
    return check_url(url, allow_loopback=True, is_production=False)


SHOP = at("http://shop.example.com/hooks?id=7")
SAFE_SHOP = at("https://shop.example.com/hooks")
