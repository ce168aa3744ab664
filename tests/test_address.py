"""The address that limits count: the client's own, whatever it writes into X-Forwarded-For."""

import json
from collections.abc import AsyncIterator

import pytest
from litestar import Litestar, get
from litestar.datastructures import State

from earnest.settings import Settings
from earnest.web.address import address_of
from earnest.web.guard import EarnestRequest
from web import make_settings
from wire import Wire, listening

PROXIES = ("127.0.0.2", "10.0.0.0/8", "2001:db8:ff::/48")
ME, PROXY = "127.0.0.1", "127.0.0.2"


@get("/healthz")
async def tell(request: EarnestRequest) -> str:
    return address_of(request)


@pytest.fixture
async def town() -> AsyncIterator[Wire]:
    """A server behind proxies that says whom it would count."""
    settings = make_settings("", trusted_proxies=PROXIES)
    app = Litestar([tell], state=State({"settings": settings}), request_class=EarnestRequest)
    async with listening(app, settings) as wire:
        yield wire


async def told(wire: Wire, peer: str, *forwarded: str) -> str:
    lines = "".join(f"X-Forwarded-For: {each}\r\n" for each in forwarded)
    said = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
    [heard] = await wire.say(said.encode("latin-1"), from_address=peer)
    assert heard.status == 200
    return heard.body.decode()


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], PROXY),
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (["203.0.113.7,10.1.2.3 ,\t10.9.9.9"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["127.0.0.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["::ffff:10.1.2.3"], "10.1.2.3"),
        (["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (["[2001:db8:1:2:3:4:5:6]:443"], "2001:db8:1:2::/64"),
        (['"[2001:DB8:1:2::9]"'], "2001:db8:1:2::/64"),
        (["2001:db8:1:2::9, 2001:db8:ff::1"], "2001:db8:1:2::/64"),
        (["fe80::1%eth0"], "fe80::/64"),
        (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        # What a trusted hop cannot have seen: the hop itself is counted.
        (["unknown"], PROXY),
        (["203.0.113.7, unknown"], PROXY),
        (["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
        (["", ""], PROXY),
        ([","], PROXY),
        (["203.0.113.7,"], PROXY),
        (["1.2.3"], PROXY),
        (["0x7f.1"], PROXY),
        (["203.0.113.07"], PROXY),
        (["[2001:db8::1"], "2001:db8::/64"),
        (["[]:80"], PROXY),
        (["\xe9\xff"], PROXY),
        (["x" * 5000], PROXY),
        ([", ".join(["10.1.2.3"] * 900)], "10.1.2.3"),
        ([", ".join(["203.0.113.7"] + ["10.1.2.3"] * 900)], "10.1.2.3"),
    ],
)
async def test_it_is_the_last_hop_that_is_no_proxy(
    town: Wire, forwarded: list[str], address: str
) -> None:
    assert await told(town, PROXY, *forwarded) == address


async def test_nobody_else_is_believed(town: Wire) -> None:
    for peer in (ME, "127.0.0.3"):
        for forwarded in ("203.0.113.7", "127.0.0.2", "10.0.0.1", "unknown"):
            assert await told(town, peer, forwarded) == peer


async def test_without_proxies_it_is_the_peer() -> None:
    settings: Settings = make_settings("")
    app = Litestar([tell], state=State({"settings": settings}), request_class=EarnestRequest)
    async with listening(app, settings) as wire:
        for peer in (ME, PROXY):
            assert await told(wire, peer, "203.0.113.7") == peer


async def test_other_forwarded_headers_change_nothing(town: Wire) -> None:
    said = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    for header in (
        "Forwarded: for=203.0.113.7",
        "X-Real-IP: 203.0.113.7",
        "True-Client-IP: 203.0.113.7",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
    ):
        [heard] = await town.say(f"{said}{header}\r\n\r\n".encode(), from_address=PROXY)
        assert (heard.status, heard.body.decode()) == (200, PROXY), header


async def test_what_is_served_knows_no_forwarded_host_or_scheme(wire: Wire) -> None:
    said = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"
    [plain] = await wire.say(f"{said}\r\n".encode())
    extra = "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n"
    [forwarded] = await wire.say(f"{said}{extra}\r\n".encode())
    assert forwarded.body == plain.body
    assert json.loads(plain.body)["info"]["title"] == "Earnest"
