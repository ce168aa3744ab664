"""What is sent arrives whole, and no receiver can make the sender do, wait or read more.

Mallory's receivers redirect, hang, drip, hang up, or answer a gigabyte; her names resolve to what
she likes. `Dials` leads every connection to a receiver of the test, whatever address was dialled.
"""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from earnest.outbound.answers import Failure
from earnest.outbound.lookup import Lookup
from earnest.outbound.sender import DIALS_MAX, Limits, Sender
from earnest.outbound.targets import Target, check_url
from receiver import (
    Conduct,
    Dials,
    Names,
    Receiver,
    Request,
    answering,
    certificate,
    dripping,
    hanging,
    receiving,
    resetting,
    saying,
)

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"
BODY = '{"event":"contract.released","note":"عقد"}'.encode()
HEADERS = {"Content-Type": "application/json", "X-WePay-Event": "contract.released"}
IMPATIENT = Limits(total_seconds=0.5)
TRUSTING_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Desk(msgspec.Struct):
    """A sender in front of one receiver, and what went between them."""

    sender: Sender
    receiver: Receiver
    dials: Dials
    names: Names


@contextlib.asynccontextmanager
async def desk(
    conduct: Conduct,
    *answers: list[str],
    limits: Limits | None = None,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[Desk]:
    """`answers` are what the resolver says, one lookup after the other: a public address if not
    given. `tls` are the receiver's context and ours."""
    async with receiving(conduct, tls=tls and tls[0]) as receiver:
        dials, names = Dials(receiver.port), Names(*(answers or [[PUBLIC]]))
        ours = tls[1] if tls else TRUSTING_NOBODY
        sender = Sender(resolve=names, dial=dials, tls=ours, limits=limits)
        try:
            yield Desk(sender, receiver, dials, names)
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


# -- what arrives ---------------------------------------------------------------------------


async def test_it_posts_these_very_bytes_to_the_path_and_host_of_the_url() -> None:
    async with desk(answering(200)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
        [request] = at_work.receiver.heard
    assert (answer.status, answer.failure, answer.retry_after_seconds) == (200, None, None)
    assert answer.duration_ms >= 0
    assert request.line == "POST /hooks?id=7 HTTP/1.1"
    assert request.body == BODY
    assert request.headers.pop("user-agent").startswith("Earnest/")
    assert request.headers == {
        "host": "shop.example.com",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "x-wepay-event": "contract.released",
        "content-length": str(len(BODY)),
    }
    assert at_work.dials.made == [(PUBLIC, 80)]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_success(status: int) -> None:
    async with desk(saying(b"HTTP/1.1 %d Yes\r\nConnection: close\r\n\r\n" % status)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (status, None)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 429, 500, 503, 599])
async def test_any_other_status_is_a_failure(status: int) -> None:
    async with desk(answering(status)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
        assert len(at_work.receiver.heard) == 1
    assert (answer.status, answer.failure) == (status, Failure.STATUS)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://shop.example.com:8443/", "shop.example.com:8443", 8443),
        ("http://shop.example.com:80/", "shop.example.com", 80),
        (f"http://{PUBLIC}/", PUBLIC, 80),
        (f"http://[{PUBLIC_V6}]:443/", f"[{PUBLIC_V6}]:443", 443),
        ("http://دكان.السعودية/", "xn--mgbp4dn.xn--mgberp4a5d4ar", 80),
    ],
)
async def test_the_host_header_is_that_of_the_url(url: str, host: str, port: int) -> None:
    async with desk(answering(200)) as at_work:
        await at_work.sender.post(at(url), BODY, HEADERS)
        [request] = at_work.receiver.heard
    assert request.headers["host"] == host
    assert [made[1] for made in at_work.dials.made] == [port]


async def test_it_reaches_a_receiver_on_loopback_through_the_real_resolver_and_network() -> None:
    async with receiving(answering(200)) as receiver:
        sender = Sender()
        for host in ("localhost", "127.0.0.1"):
            target = at(f"http://{host}:{receiver.port}/")
            assert (await sender.post(target, BODY, HEADERS)).status == 200
        await sender.close()
    assert [request.headers["host"] for request in receiver.heard] == [
        f"localhost:{receiver.port}",
        f"127.0.0.1:{receiver.port}",
    ]


# -- who is dialled -------------------------------------------------------------------------


@pytest.mark.abuse(112)
async def test_a_name_that_changes_is_checked_each_time_and_only_the_checked_is_dialled() -> None:
    closing = answering(200, "Connection: close")
    async with desk(closing, [PUBLIC], ["127.0.0.1"], [PUBLIC]) as at_work:
        answers = [await at_work.sender.post(SHOP, BODY, HEADERS) for _ in range(3)]
    assert [answer.failure for answer in answers] == [None, Failure.FORBIDDEN_ADDRESS, None]
    assert at_work.names.asked == [("shop.example.com", 80)] * 3
    assert at_work.dials.made == [(PUBLIC, 80)] * 2


async def test_a_name_is_asked_for_once_per_connection() -> None:
    async with desk(answering(200), [PUBLIC], ["127.0.0.1"]) as at_work:
        for _ in range(5):
            assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert at_work.receiver.connections == 1
    assert len(at_work.names.asked) == len(at_work.dials.made) == 1


async def test_a_connection_in_use_does_not_keep_an_old_address_for_ever() -> None:
    limits = Limits(line_seconds=-1)
    async with desk(answering(200), [PUBLIC], ["10.0.0.1"], limits=limits) as at_work:
        assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert answer.failure is Failure.FORBIDDEN_ADDRESS
    assert len(at_work.dials.made) == 1


@pytest.mark.parametrize("answer", [[], ["not an address"]])
async def test_a_name_without_addresses_is_dialled_nowhere(answer: list[str]) -> None:
    async with desk(answering(200), answer) as at_work:
        sent = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert sent.failure is (Failure.FORBIDDEN_ADDRESS if answer else Failure.DNS)
    assert at_work.dials.made == []


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("no name")])
async def test_a_resolver_that_knows_no_such_name_is_dns(error: Exception) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise error

    dials = Dials()
    sender = Sender(resolve=unknown, dial=dials)
    assert (await sender.post(SHOP, BODY, HEADERS)).failure is Failure.DNS
    await sender.close()
    assert dials.made == []


async def test_a_resolver_that_never_answers_is_a_timeout() -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    sender = Sender(resolve=silent, dial=Dials(), limits=Limits(connect_seconds=0.05))
    assert (await sender.post(SHOP, BODY, HEADERS)).failure is Failure.TIMEOUT
    await sender.close()


async def test_it_tries_the_next_address_and_the_other_family_before_the_rest() -> None:
    found = [f"93.184.216.{last}" for last in range(1, 10)] + [PUBLIC_V6]
    async with desk(answering(200), found) as at_work:
        at_work.dials.refusing = {"93.184.216.1", PUBLIC_V6}
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
        assert answer.status == 200
        assert at_work.dials.made == [("93.184.216.1", 80), (PUBLIC_V6, 80), ("93.184.216.2", 80)]

        at_work.dials.made.clear()
        at_work.dials.refusing = set(found)
        other = at("http://other.example.com/")
        assert (await at_work.sender.post(other, BODY, {})).failure is Failure.CONNECTION_REFUSED
        assert len(at_work.dials.made) == DIALS_MAX


async def test_an_address_that_swallows_packets_leaves_time_for_the_next() -> None:
    async with desk(answering(200), [PUBLIC_V6, PUBLIC]) as at_work:
        at_work.dials.swallowing = {PUBLIC_V6}
        sender = Sender(resolve=at_work.names, dial=at_work.dials, limits=Limits(connect_seconds=2))
        assert (await sender.post(SHOP, BODY, HEADERS)).status == 200
        await sender.close()
    assert at_work.dials.made == [(PUBLIC_V6, 80), (PUBLIC, 80)]


async def test_nobody_there_is_a_timeout() -> None:
    dials = Dials()
    dials.swallowing = {PUBLIC}
    sender = Sender(resolve=Names([PUBLIC]), dial=dials, limits=Limits(connect_seconds=0.05))
    assert (await sender.post(SHOP, BODY, HEADERS)).failure is Failure.TIMEOUT
    await sender.close()


async def test_a_closed_port_is_refused() -> None:
    async with receiving(answering(200)) as receiver:
        pass
    sender = Sender()
    answer = await sender.post(at(f"http://127.0.0.1:{receiver.port}/"), BODY, HEADERS)
    await sender.close()
    assert (answer.status, answer.failure) == (None, Failure.CONNECTION_REFUSED)


async def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = "default login alice password secret\n"
    (tmp_path / ".netrc").write_text(netrc)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with receiving(answering(200)) as proxy, desk(answering(200)) as at_work:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        sender = Sender(resolve=at_work.names, dial=at_work.dials)
        assert (await sender.post(SHOP, BODY, HEADERS)).status == 200
        await sender.close()
        [request] = at_work.receiver.heard
    assert proxy.heard == []
    assert "authorization" not in request.headers


# -- what a receiver may do to us -----------------------------------------------------------


@pytest.mark.abuse(115)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://shop.example.com/hooks?id=7",
        "https://shop.example.com/hooks",
        "//[::1]/",
        "/elsewhere",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int, location: str) -> None:
    async with desk(answering(status, f"Location: {location}")) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
        assert len(at_work.receiver.heard) == 1
    assert (answer.status, answer.failure) == (status, Failure.REDIRECT)
    assert at_work.dials.made == [(PUBLIC, 80)]


@pytest.mark.abuse(116)
async def test_a_receiver_that_hangs_is_cut_and_keeps_nobody_else_waiting() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await may_answer.wait()
        writer.write(OK)

    async with receiving(slow) as mallory, receiving(answering(200)) as alice:
        sender = Sender()
        hung = asyncio.create_task(
            sender.post(at(f"http://127.0.0.1:{mallory.port}/"), BODY, HEADERS)
        )
        await asked.wait()
        for _ in range(20):
            answer = await sender.post(at(f"http://127.0.0.1:{alice.port}/"), BODY, HEADERS)
            assert answer.status == 200
        assert not hung.done()
        may_answer.set()
        assert (await hung).status == 200
        await sender.close()

    async with desk(hanging, limits=IMPATIENT) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert len(at_work.dials.made) == 1


@pytest.mark.abuse(116)
@pytest.mark.parametrize(
    ("head", "drop"),
    [(b"HTTP/1.1 200 OK\r\nX: ", b"a"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"HTTP", b"")],
    ids=["header", "interim", "status line"],
)
async def test_a_head_that_drips_is_cut(head: bytes, drop: bytes) -> None:
    async with desk(dripping(head, drop), limits=IMPATIENT) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert len(at_work.dials.made) == 1


@pytest.mark.abuse(116)
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
)
async def test_a_body_that_drips_is_cut_and_its_status_counts(head: bytes) -> None:
    async with desk(dripping(head, b"a"), limits=Limits(drain_seconds=0.2)) as at_work:
        answers = [await at_work.sender.post(SHOP, BODY, HEADERS) for _ in range(2)]
    assert [(answer.status, answer.failure) for answer in answers] == [(200, None)] * 2
    assert len(at_work.dials.made) == 2, "the connection that drips is not used again"


@pytest.mark.abuse(116)
@pytest.mark.parametrize(("status", "failure"), [(200, None), (500, Failure.STATUS)])
async def test_a_gigabyte_is_cut_at_64_kib_and_its_status_counts(
    status: int, failure: Failure | None
) -> None:
    head = b"HTTP/1.1 %d Big\r\nContent-Length: 1000000000\r\n\r\n" % status
    async with desk(dripping(head, b"a" * 1_000_000)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (status, failure)
    assert at_work.dials.read_bytes <= 65_536
    assert len(at_work.dials.made) == 1


@pytest.mark.abuse(116)
@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536),
        (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"f" * 65_536),
    ],
    ids=["one header", "many headers", "interim answers", "chunk size"],
)
async def test_a_head_of_more_than_64_kib_is_no_http(head: bytes, drop: bytes) -> None:
    async with desk(dripping(head, drop)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    if b"chunked" in head:
        assert (answer.status, answer.failure) == (200, None)
    else:
        assert (answer.status, answer.failure) == (None, Failure.PROTOCOL)
    assert at_work.dials.read_bytes <= 65_536
    assert len(at_work.dials.made) == 1


@pytest.mark.abuse(116)
async def test_a_gzip_bomb_stays_as_small_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def inflating(*_: object, **__: object) -> None:
        raise AssertionError("somebody inflates it")

    bomb = gzip.compress(bytes(20_000_000))
    assert len(bomb) < 65_536
    monkeypatch.setattr("zlib.decompressobj", inflating)
    monkeypatch.setattr("zlib.decompress", inflating)
    async with desk(answering(200, "Content-Encoding: gzip", body=bomb)) as at_work:
        answers = [await at_work.sender.post(SHOP, BODY, HEADERS) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(at_work.dials.made) == 1
    assert at_work.dials.read_bytes < 2 * 65_536


@pytest.mark.abuse(116)
async def test_a_reset_is_a_failure_and_is_not_tried_again_at_once() -> None:
    async with desk(resetting) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
        assert len(at_work.receiver.heard) == 1
    assert (answer.status, answer.failure) == (None, Failure.CONNECTION_RESET)
    assert len(at_work.dials.made) == 1


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (b"", Failure.CONNECTION_RESET),
        (b"HTTP/1.1 200 OK\r\nX: ", Failure.CONNECTION_RESET),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Failure.PROTOCOL),
        (b"\x00\x01\x02\r\n\r\n", Failure.PROTOCOL),
        (b"HTTP/1.1 abc OK\r\n\r\n", Failure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Failure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Failure.PROTOCOL),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n",
         Failure.PROTOCOL),
        (b"HTTP/2 200\r\n\r\n", Failure.PROTOCOL),
        (b"+PONG\r\n\r\n", Failure.PROTOCOL),
    ],
)  # fmt: skip
async def test_what_is_not_http_is_one_word(said: bytes, failure: Failure) -> None:
    async with desk(saying(said)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, failure)


async def test_a_body_that_breaks_off_does_not_undo_the_status() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with desk(saying(said)) as at_work:
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (200, None)


# -- TLS ------------------------------------------------------------------------------------


async def test_the_certificate_and_sni_are_those_of_the_name_not_of_the_address(
    tmp_path: Path,
) -> None:
    theirs, ours = certificate(tmp_path, "shop.example.com")
    named: list[str | None] = []
    theirs.sni_callback = lambda _, name, __: named.append(name)
    async with desk(answering(200), tls=(theirs, ours)) as at_work:
        for _ in range(2):
            answer = await at_work.sender.post(SAFE_SHOP, BODY, HEADERS)
            assert (answer.status, answer.failure) == (200, None)
        assert at_work.receiver.heard[0].headers["host"] == "shop.example.com"
        assert at_work.receiver.heard[0].body == BODY
    assert named == ["shop.example.com"]
    assert at_work.dials.made == [(PUBLIC, 443)]


@pytest.mark.abuse(116)
@pytest.mark.parametrize("case", ["self-signed", "another name", "the address's own"])
async def test_a_certificate_that_does_not_prove_the_name_is_refused(
    case: str, tmp_path: Path
) -> None:
    host = {"another name": "evil.example.com"}.get(case, "shop.example.com")
    theirs, trusting = certificate(tmp_path, host)
    ours = ssl.create_default_context() if case == "self-signed" else trusting
    target = at(f"https://{PUBLIC}/") if case == "the address's own" else SAFE_SHOP
    async with desk(answering(200), tls=(theirs, ours)) as at_work:
        answer = await at_work.sender.post(target, BODY, HEADERS)
        assert at_work.receiver.heard == [], "not a byte was sent"
    assert (answer.status, answer.failure) == (None, Failure.TLS)
    assert at_work.dials.made == [(PUBLIC, 443)]


async def test_a_receiver_without_tls_is_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with listening(plain) as port:
        sender = Sender(resolve=Names([PUBLIC]), dial=Dials(port))
        answer = await sender.post(SAFE_SHOP, BODY, HEADERS)
        await sender.close()
    assert (answer.status, answer.failure) == (None, Failure.TLS)


async def test_a_handshake_that_hangs_is_cut_with_the_time_to_connect() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the sender hangs up
        hung_up.set()
        writer.close()

    hung_up = asyncio.Event()
    async with listening(mute) as port:
        limits = Limits(connect_seconds=1)
        sender = Sender(resolve=Names([PUBLIC]), dial=Dials(port), limits=limits)
        answer = await sender.post(SAFE_SHOP, BODY, HEADERS)
        assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
        await hung_up.wait()
        await sender.close()


# -- connections that are used again --------------------------------------------------------


async def test_a_connection_is_shared_by_nobody_but_the_same_url() -> None:
    async with desk(answering(200)) as at_work:
        for url in (SHOP.url, SHOP.url, "http://shop.example.com/other"):
            await at_work.sender.post(at(url), BODY, HEADERS)
        assert at_work.receiver.connections == 2


async def test_parallel_posts_have_a_connection_each_and_then_share_them() -> None:
    async with desk(answering(200)) as at_work:
        for _ in range(3):
            posts = (at_work.sender.post(SHOP, BODY, HEADERS) for _ in range(8))
            assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        assert at_work.receiver.connections <= 8
        assert len(at_work.receiver.heard) == 24


async def test_cookies_are_not_kept() -> None:
    async with desk(answering(200, "Set-Cookie: a=b")) as at_work:
        for _ in range(2):
            await at_work.sender.post(SHOP, BODY, HEADERS)
        assert [request.headers.get("cookie") for request in at_work.receiver.heard] == [None] * 2


async def test_a_connection_that_was_closed_meanwhile_costs_no_failure() -> None:
    """A receiver restarts between two events."""
    async with desk(saying(OK)) as at_work:
        for _ in range(3):
            assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
            await asyncio.sleep(0.01)
        assert len(at_work.receiver.heard) == 3


async def test_a_connection_that_breaks_on_its_second_request_is_opened_anew_once() -> None:
    """A receiver closed it while the request was on its way."""

    async def once_each(_: Request, writer: asyncio.StreamWriter) -> None:
        if writer in served:
            raise ConnectionError
        served.append(writer)
        writer.write(OK)

    served: list[asyncio.StreamWriter] = []
    async with desk(once_each) as at_work:
        for _ in range(2):
            assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert [request.body for request in at_work.receiver.heard] == [BODY] * 3
    assert len(at_work.dials.made) == len(at_work.names.asked) == 2


async def test_a_second_connection_is_checked_like_the_first() -> None:
    async def once_each(_: Request, writer: asyncio.StreamWriter) -> None:
        if writer in served:
            raise ConnectionError
        served.append(writer)
        writer.write(OK)

    served: list[asyncio.StreamWriter] = []
    async with desk(once_each, [PUBLIC], ["127.0.0.1"]) as at_work:
        assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
        answer = await at_work.sender.post(SHOP, BODY, HEADERS)
    assert answer.failure is Failure.FORBIDDEN_ADDRESS
    assert at_work.dials.made == [(PUBLIC, 80)]


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
    async with desk(watched, limits=Limits(idle_seconds=0.05)) as at_work:
        assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
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

    async with desk(first_hangs) as at_work:
        post = asyncio.create_task(at_work.sender.post(SHOP, BODY, HEADERS))
        await asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        assert (await at_work.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert at_work.receiver.connections == 2


async def test_a_closed_sender_keeps_no_connection() -> None:
    async with desk(answering(200)) as at_work:
        await at_work.sender.post(SHOP, BODY, HEADERS)
        await at_work.sender.close()
        await at_work.sender.post(SHOP, BODY, HEADERS)
        await at_work.sender.post(SHOP, BODY, HEADERS)
        assert at_work.receiver.connections == 3


# -- lookups --------------------------------------------------------------------------------


async def test_one_name_is_looked_up_by_one_thread_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    loop, may_answer = asyncio.get_running_loop(), asyncio.Event()

    def slow(host: str, port: int) -> list[str]:
        asked.append(host)
        if host == "slow.example.com":
            asyncio.run_coroutine_threadsafe(may_answer.wait(), loop).result()
        return [PUBLIC]

    monkeypatch.setattr("earnest.outbound.lookup._addresses", slow)
    lookup = Lookup()
    waiting = [asyncio.create_task(lookup("slow.example.com", 443)) for _ in range(100)]
    assert await lookup("fast.example.com", 443) == [PUBLIC]
    waiting.pop().cancel()
    may_answer.set()
    assert await asyncio.gather(*waiting) == [[PUBLIC]] * 99
    assert sorted(asked) == ["fast.example.com", "slow.example.com"]
    assert await lookup("slow.example.com", 443) == [PUBLIC]
    assert len(asked) == 3, "an answer is not kept"
    lookup.close()
