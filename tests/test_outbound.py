"""What is sent arrives whole, at an address that was checked, with the name that it was sent to.

Mallory's names resolve to what she likes, and to something else the next time.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from earnest.outbound.answers import Failure
from earnest.outbound.lookup import Lookup
from earnest.outbound.sender import DIALS_MAX, Limits, Sender
from office import BODY, HEADERS, PUBLIC, PUBLIC_V6, SAFE_SHOP, SHOP, at, listening, office
from receiver import (
    Dials,
    Names,
    answering,
    certificate,
    receiving,
    saying,
)

# -- what arrives ---------------------------------------------------------------------------


async def test_it_posts_these_very_bytes_to_the_path_and_host_of_the_url() -> None:
    async with office(answering(200)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        [request] = here.receiver.heard
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
    assert here.dials.made == [(PUBLIC, 80)]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_success(status: int) -> None:
    async with office(saying(b"HTTP/1.1 %d Yes\r\nConnection: close\r\n\r\n" % status)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (status, None)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 429, 500, 503, 599])
async def test_any_other_status_is_a_failure(status: int) -> None:
    async with office(answering(status)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        assert len(here.receiver.heard) == 1
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
    async with office(answering(200)) as here:
        await here.sender.post(at(url), BODY, HEADERS)
        [request] = here.receiver.heard
    assert request.headers["host"] == host
    assert [made[1] for made in here.dials.made] == [port]


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
    async with office(closing, [PUBLIC], ["127.0.0.1"], [PUBLIC]) as here:
        answers = [await here.sender.post(SHOP, BODY, HEADERS) for _ in range(3)]
    assert [answer.failure for answer in answers] == [None, Failure.FORBIDDEN_ADDRESS, None]
    assert here.names.asked == [("shop.example.com", 80)] * 3
    assert here.dials.made == [(PUBLIC, 80)] * 2


async def test_a_name_is_asked_for_once_per_connection() -> None:
    async with office(answering(200), [PUBLIC], ["127.0.0.1"]) as here:
        for _ in range(5):
            assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        assert here.receiver.connections == 1
    assert len(here.names.asked) == len(here.dials.made) == 1


async def test_a_connection_in_use_does_not_keep_an_old_address_for_ever() -> None:
    limits = Limits(line_seconds=-1)
    async with office(answering(200), [PUBLIC], ["10.0.0.1"], limits=limits) as here:
        assert (await here.sender.post(SHOP, BODY, HEADERS)).status == 200
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert answer.failure is Failure.FORBIDDEN_ADDRESS
    assert len(here.dials.made) == 1


@pytest.mark.parametrize("answer", [[], ["not an address"]])
async def test_a_name_without_addresses_is_dialled_nowhere(answer: list[str]) -> None:
    async with office(answering(200), answer) as here:
        sent = await here.sender.post(SHOP, BODY, HEADERS)
    assert sent.failure is (Failure.FORBIDDEN_ADDRESS if answer else Failure.DNS)
    assert here.dials.made == []


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
    async with office(answering(200), found) as here:
        here.dials.refusing = {"93.184.216.1", PUBLIC_V6}
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        assert answer.status == 200
        assert here.dials.made == [("93.184.216.1", 80), (PUBLIC_V6, 80), ("93.184.216.2", 80)]

        here.dials.made.clear()
        here.dials.refusing = set(found)
        other = at("http://other.example.com/")
        assert (await here.sender.post(other, BODY, {})).failure is Failure.CONNECTION_REFUSED
        assert len(here.dials.made) == DIALS_MAX


async def test_an_address_that_swallows_packets_leaves_time_for_the_next() -> None:
    async with office(answering(200), [PUBLIC_V6, PUBLIC]) as here:
        here.dials.swallowing = {PUBLIC_V6}
        sender = Sender(resolve=here.names, dial=here.dials, limits=Limits(connect_seconds=2))
        assert (await sender.post(SHOP, BODY, HEADERS)).status == 200
        await sender.close()
    assert here.dials.made == [(PUBLIC_V6, 80), (PUBLIC, 80)]


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
    async with receiving(answering(200)) as proxy, office(answering(200)) as here:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        sender = Sender(resolve=here.names, dial=here.dials)
        assert (await sender.post(SHOP, BODY, HEADERS)).status == 200
        await sender.close()
        [request] = here.receiver.heard
    assert proxy.heard == []
    assert "authorization" not in request.headers


# -- TLS ------------------------------------------------------------------------------------


async def test_the_certificate_and_sni_are_those_of_the_name_not_of_the_address(
    tmp_path: Path,
) -> None:
    theirs, ours = certificate(tmp_path, "shop.example.com")
    named: list[str | None] = []
    theirs.sni_callback = lambda _, name, __: named.append(name)
    async with office(answering(200), tls=(theirs, ours)) as here:
        for _ in range(2):
            answer = await here.sender.post(SAFE_SHOP, BODY, HEADERS)
            assert (answer.status, answer.failure) == (200, None)
        assert here.receiver.heard[0].headers["host"] == "shop.example.com"
        assert here.receiver.heard[0].body == BODY
    assert named == ["shop.example.com"]
    assert here.dials.made == [(PUBLIC, 443)]


@pytest.mark.abuse(116)
@pytest.mark.parametrize("case", ["self-signed", "another name", "the address's own"])
async def test_a_certificate_that_does_not_prove_the_name_is_refused(
    case: str, tmp_path: Path
) -> None:
    host = {"another name": "evil.example.com"}.get(case, "shop.example.com")
    theirs, trusting = certificate(tmp_path, host)
    ours = ssl.create_default_context() if case == "self-signed" else trusting
    target = at(f"https://{PUBLIC}/") if case == "the address's own" else SAFE_SHOP
    async with office(answering(200), tls=(theirs, ours)) as here:
        answer = await here.sender.post(target, BODY, HEADERS)
        assert here.receiver.heard == [], "not a byte was sent"
    assert (answer.status, answer.failure) == (None, Failure.TLS)
    assert here.dials.made == [(PUBLIC, 443)]


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
