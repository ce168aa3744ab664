"""No receiver can make the sender do, wait or read more.

Mallory's receivers redirect, hang, drip, hang up, speak no HTTP, or answer a gigabyte.
"""

import asyncio
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.outbound.answers import Failure, parse_retry_after
from earnest.outbound.sender import Limits, Sender
from office import BODY, HEADERS, OK, PUBLIC, SHOP, at, office
from receiver import (
    Request,
    answering,
    dripping,
    hanging,
    receiving,
    resetting,
    saying,
)

IMPATIENT = Limits(total_seconds=0.5)
NONSENSE = [
    *("", "soon", "-1", "+5", "1.5", "1e3", "0x10", "١٢", "12 34", "12,34", "nan", "inf", "\0"),
    "Thu, 99 May 2026 20:27:40 GMT",
    "Thu, 28 May 2026 20:27:40 +999999",
    "Thu, 28 May 99999999999999999999 20:27:40 GMT",
    "Thu, 28 May 2026 " + "20:" * 1000,
]


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
    async with office(answering(status, f"Location: {location}")) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        assert len(here.receiver.heard) == 1
    assert (answer.status, answer.failure) == (status, Failure.REDIRECT)
    assert here.dials.made == [(PUBLIC, 80)]


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

    async with office(hanging, limits=IMPATIENT) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert len(here.dials.made) == 1


@pytest.mark.abuse(116)
@pytest.mark.parametrize(
    ("head", "drop"),
    [(b"HTTP/1.1 200 OK\r\nX: ", b"a"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"HTTP", b"")],
    ids=["header", "interim", "status line"],
)
async def test_a_head_that_drips_is_cut(head: bytes, drop: bytes) -> None:
    async with office(dripping(head, drop), limits=IMPATIENT) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert len(here.dials.made) == 1


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
    async with office(dripping(head, b"a"), limits=Limits(drain_seconds=0.2)) as here:
        answers = [await here.sender.post(SHOP, BODY, HEADERS) for _ in range(2)]
    assert [(answer.status, answer.failure) for answer in answers] == [(200, None)] * 2
    assert len(here.dials.made) == 2, "the connection that drips is not used again"


@pytest.mark.abuse(116)
@pytest.mark.parametrize(("status", "failure"), [(200, None), (500, Failure.STATUS)])
async def test_a_gigabyte_is_cut_at_64_kib_and_its_status_counts(
    status: int, failure: Failure | None
) -> None:
    head = b"HTTP/1.1 %d Big\r\nContent-Length: 1000000000\r\n\r\n" % status
    async with office(dripping(head, b"a" * 1_000_000)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (status, failure)
    assert here.dials.read_bytes <= 65_536
    assert len(here.dials.made) == 1


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
    async with office(dripping(head, drop)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    if b"chunked" in head:
        assert (answer.status, answer.failure) == (200, None)
    else:
        assert (answer.status, answer.failure) == (None, Failure.PROTOCOL)
    assert here.dials.read_bytes <= 65_536
    assert len(here.dials.made) == 1


@pytest.mark.abuse(116)
async def test_a_gzip_bomb_stays_as_small_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    def inflating(*_: object, **__: object) -> None:
        raise AssertionError("somebody inflates it")

    bomb = gzip.compress(bytes(20_000_000))
    assert len(bomb) < 65_536
    monkeypatch.setattr("zlib.decompressobj", inflating)
    monkeypatch.setattr("zlib.decompress", inflating)
    async with office(answering(200, "Content-Encoding: gzip", body=bomb)) as here:
        answers = [await here.sender.post(SHOP, BODY, HEADERS) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(here.dials.made) == 1
    assert here.dials.read_bytes < 2 * 65_536


@pytest.mark.abuse(116)
async def test_a_reset_is_a_failure_and_is_not_tried_again_at_once() -> None:
    async with office(resetting) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
        assert len(here.receiver.heard) == 1
    assert (answer.status, answer.failure) == (None, Failure.CONNECTION_RESET)
    assert len(here.dials.made) == 1


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
    async with office(saying(said)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (None, failure)


async def test_a_body_that_breaks_off_does_not_undo_the_status() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with office(saying(said)) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.failure) == (200, None)


# -- Retry-After ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("0000000000000000000000120", 120),
        ("3600", 3600),
        ("3601", 3600),
        ("1000000000", 3600),
        ("9" * 5000, 3600),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Thu, 28 May 2026 20:27:40 GMT", 60),
        ("Thursday, 28-May-26 20:27:40 GMT", 60),
        ("Thu May 28 20:27:40 2026", 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        *((nonsense, None) for nonsense in NONSENSE),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_an_hour_at_most(
    said: str, seconds: int | None
) -> None:
    assert parse_retry_after(said, now_seconds=1_780_000_000) == seconds


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_what_a_receiver_asks_for_is_told(status: int) -> None:
    async with office(answering(status, "retry-AFTER: 7200")) as here:
        answer = await here.sender.post(SHOP, BODY, HEADERS)
    assert (answer.status, answer.retry_after_seconds) == (status, 3600)


@given(st.text())
def test_any_retry_after_is_a_time_or_nothing(said: str) -> None:
    seconds = parse_retry_after(said)
    assert seconds is None or 0 <= seconds <= 3600
