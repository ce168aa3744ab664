"""Raw bytes on a socket: what cannot be read in one way only is refused and changes nothing.

Every request of a table would, but for its one oddity, post a job of Alice's.
"""

import gzip
import json
import time

import psutil
import pytest

from digest import digest
from earnest.providers import signature
from earnest.store.db import Pool
from earnest.web.guard import BODY_BYTES_MAX
from web import Cast
from wire import Heard, Wire, refusal

TARGET = b"/api/client/job/create-job"
FIRST = b"POST " + TARGET + b" HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
# $TOKEN, $BODY and $N (its length in bytes) are filled in.
MINE = b"Authorization: Bearer $TOKEN\r\nContent-Type: application/json\r\n"
HEAD = FIRST + HOST + MINE
SIZED = b"Content-Length: $N\r\n"
END = b"\r\n$BODY"
GOOD = HEAD + SIZED + END
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
IN_CHUNKS = CHUNKED + b"$X\r\n$BODY\r\n0\r\n\r\n"

LENGTHS = {
    "length and chunked": HEAD + SIZED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"Transfer-Encoding: chunked\r\n" + SIZED + b"\r\n0\r\n\r\n",
    "two lengths": HEAD + SIZED + b"Content-Length: 3\r\n" + END,
    "the same length twice": HEAD + SIZED + SIZED + END,
    "length -1": HEAD + b"Content-Length: -1\r\n" + END,
    "length +1": HEAD + b"Content-Length: +$N\r\n" + END,
    "length in a list": HEAD + b"Content-Length: $N,$N\r\n" + END,
    "length in hex": HEAD + b"Content-Length: 0x$X\r\n" + END,
    "length with a blank": HEAD + b"Content-Length: 1 1\r\n" + END,
    "length of nothing": HEAD + b"Content-Length:\r\n" + END,
    "length in words": HEAD + b"Content-Length: many\r\n" + END,
    "length beyond 64 bits": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n" + END,
    "length in 5,000 digits": HEAD + b"Content-Length: " + b"0" * 5000 + b"$N\r\n" + END,
    "gzip as coding": HEAD + b"Transfer-Encoding: gzip\r\n" + END,
    "gzip, then chunked": HEAD
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n$X\r\n$BODY\r\n0\r\n\r\n",
    "chunked, then gzip": HEAD
    + b"Transfer-Encoding: chunked, gzip\r\n\r\n$X\r\n$BODY\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n$X\r\n$BODY\r\n0\r\n\r\n",
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n$X\r\n$BODY\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n" + SIZED + END,
    "a tab before chunked": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": IN_CHUNKS.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a body for another protocol": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + SIZED + END,
}
CHUNKS = {
    "size in no digits": CHUNKED + b"zz\r\n$BODY\r\n0\r\n\r\n",
    "size -1": CHUNKED + b"-1\r\n$BODY\r\n0\r\n\r\n",
    "size with 0x": CHUNKED + b"0x$X\r\n$BODY\r\n0\r\n\r\n",
    "size beyond 64 bits": CHUNKED + b"f" * 17 + b"\r\n$BODY\r\n0\r\n\r\n",
    "size too small": CHUNKED + b"1\r\n$BODY\r\n0\r\n\r\n",
    "size after a blank": CHUNKED + b" $X\r\n$BODY\r\n0\r\n\r\n",
    "LF only": CHUNKED + b"$X\n$BODY\n0\n\n",
    "a header after the body": CHUNKED + b"$X\r\n$BODY\r\n0\r\nX-Late: 1\r\n\r\n",
    "a token after the body": CHUNKED.replace(b"Authorization: Bearer $TOKEN\r\n", b"")
    + b"$X\r\n$BODY\r\n0\r\nAuthorization: Bearer $TOKEN\r\n\r\n",
}
HEADERS = {
    "a folded line": HEAD + b"X-Fold: a\r\n b\r\n" + SIZED + END,
    "a folded line with a tab": HEAD + b"X-Fold: a\r\n\tb\r\n" + SIZED + END,
    "LF only": GOOD.replace(b"\r\n", b"\n"),
    "one LF only": HEAD + b"X-Line: a\n" + SIZED + END,
    "a bare CR": HEAD + b"X-Line: a\rb\r\n" + SIZED + END,
    "a CR at the end": HEAD + b"X-Line: a\r\r\n" + SIZED + END,
    "NUL in a value": HEAD + b"X-Zero: a\x00b\r\n" + SIZED + END,
    "NUL in a name": HEAD + b"X\x00Zero: a\r\n" + SIZED + END,
    "a control character": HEAD + b"X-Bell: \x07\r\n" + SIZED + END,
    "a name with a blank": HEAD + b"X Name: a\r\n" + SIZED + END,
    "a name in another script": HEAD + b"X-\xc3\xa9: a\r\n" + SIZED + END,
    "no name": HEAD + b": a\r\n" + SIZED + END,
    "no colon": HEAD + b"Nothing\r\n" + SIZED + END,
    "a blank before the first": FIRST + b" " + HOST + MINE + SIZED + END,
}
LINES = {
    "two blanks in the target": GOOD.replace(TARGET, TARGET + b" x"),
    "bytes in the target": GOOD.replace(TARGET, b"/\xc3\xa9"),
    "NUL in the target": GOOD.replace(TARGET, TARGET + b"\x00"),
    "a tab for a blank": GOOD.replace(b"POST ", b"POST\t"),
    "a relative target": GOOD.replace(TARGET, TARGET[1:]),
    "an asterisk": GOOD.replace(TARGET, b"*"),
    "HTTP/0.9": GOOD.replace(b" HTTP/1.1", b""),
    "HTTP/0.9, as said": GOOD.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/1.2": GOOD.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/11": GOOD.replace(b"HTTP/1.1", b"HTTP/11"),
    "http/1.1": GOOD.replace(b"HTTP/1.1", b"http/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a greeting": b"EHLO localhost\r\n\r\n",
    "no Host": GOOD.replace(HOST, b""),
    "no Host in HTTP/1.0": GOOD.replace(HOST, b"").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two Hosts": GOOD.replace(HOST, HOST + b"Host: evil.example\r\n"),
    "the same Host twice": GOOD.replace(HOST, HOST + HOST),
    "a target elsewhere": GOOD.replace(TARGET, b"http://evil.example" + TARGET),
    "a target of somebody": GOOD.replace(TARGET, b"http://admin@localhost" + TARGET),
    "a target without a path": GOOD.replace(TARGET, b"http://localhost"),
    "a target of another kind": GOOD.replace(TARGET, b"ftp://localhost" + TARGET),
    "another port in the target": GOOD.replace(TARGET, b"http://localhost:81" + TARGET),
}
HOSTS = (
    b"evil.example",
    b"localhost.evil.example",
    b"evil.example:8000",
    b"user@localhost",
    b"localhost.",
    b"localhost:",
    b"localhost:80:80",
    b"localhost:8000x",
    b"localhost, evil.example",
    b"localhost/",
    b"http://localhost",
    b"127.0.0.2",
    b"127.1",
    b"2130706433",
    b"[::1",
    b"::1",
    b"[::ffff:127.0.0.1]",
    b"",
)
OURS = (b"localhost", b"LocalHost", b"localhost:8000", b"127.0.0.1:1", b"[::1]", b"[::1]:65535")


def filled(cast: Cast, template: bytes, body: bytes | None = None) -> bytes:
    """The bytes of a request of Alice's."""
    if body is None:
        body = json.dumps(cast.job()).encode()
    token = cast.alice.headers["authorization"].removeprefix("Bearer ").encode()
    for mark, value in (
        (b"$TOKEN", token),
        (b"$N", b"%d" % len(body)),
        (b"$X", b"%x" % len(body)),
        (b"$BODY", body),
    ):
        template = template.replace(mark, value)
    return template


async def refused(cast: Cast, pool: Pool, wire: Wire, name: str, said: bytes, status: int) -> str:
    """The text of the one answer to `said`, after which the server hangs up. Nothing changed."""
    before = await digest(pool)
    heard = await wire.say(said)
    assert [each.status for each in heard] == [status], f"{name}: {heard}"
    text = refusal(heard[0], status)
    assert heard[0].headers["connection"] == "close", name
    assert await digest(pool) == before, name
    return text


async def test_its_canary_the_same_requests_without_their_oddity_post_a_job(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    absolute = GOOD.replace(TARGET, b"http://localhost" + TARGET)
    slow = HEAD + b"Connection: close\r\n" + SIZED + END
    for template in (GOOD, IN_CHUNKS, absolute, slow, GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")):
        before = await digest(pool)
        heard = await wire.say(filled(cast, template))
        assert [each.status for each in heard] == [200], template
        assert await digest(pool) != before


@pytest.mark.abuse(14)
async def test_it_refuses_a_body_of_doubtful_length(cast: Cast, pool: Pool, wire: Wire) -> None:
    for name, template in LENGTHS.items():
        await refused(cast, pool, wire, name, filled(cast, template), 400)
    assert await wire.is_healthy()


async def test_it_refuses_broken_chunks_and_does_nothing_of_what_they_began(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    for name, template in CHUNKS.items():
        await refused(cast, pool, wire, name, filled(cast, template), 400)
    # Nor where the handler would never look at the body.
    job = await cast.post_job()
    apply = b"POST /api/freelancer/jobs/apply-job/" + job.encode() + b" HTTP/1.1\r\n" + HOST
    apply += b"Authorization: " + cast.bob.headers["authorization"].encode() + b"\r\n"
    for name, rest in (
        ("broken", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("cut off", b"Content-Length: 5\r\n\r\n{"),
        ("short", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
    ):
        await refused(cast, pool, wire, name, apply + rest, 400)
    heard = await wire.say(apply + b"\r\n")
    assert [each.status for each in heard] == [201]
    assert await wire.is_healthy()


@pytest.mark.abuse(16)
async def test_it_refuses_headers_that_two_readers_read_differently(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    for name, template in HEADERS.items():
        await refused(cast, pool, wire, name, filled(cast, template), 400)
    assert await wire.is_healthy()


async def test_it_refuses_request_lines_and_hosts_that_are_not_ours(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    for name, template in LINES.items():
        await refused(cast, pool, wire, name, filled(cast, template), 400)
    for host in HOSTS:
        said = filled(cast, GOOD.replace(HOST, b"Host: " + host + b"\r\n"))
        await refused(cast, pool, wire, str(host), said, 421)
    for host in OURS:
        heard = await wire.say(filled(cast, GOOD.replace(HOST, b"Host: " + host + b"\r\n")))
        assert [each.status for each in heard] == [200], host
    assert await wire.is_healthy()


async def test_a_probe_may_come_with_any_host_but_to_nothing_else(wire: Wire) -> None:
    for path in (b"/healthz", b"/readyz", b"/healthz?x=1"):
        heard = await wire.say(b"GET " + path + b" HTTP/1.1\r\nHost: 10.1.2.3:80\r\n\r\n")
        assert [each.status for each in heard] == [200], path
    for path in (b"/healthzz", b"/healthz/../docs", b"/readyz/x", b"/healthz%2e"):
        heard = await wire.say(b"GET " + path + b" HTTP/1.1\r\nHost: 10.1.2.3:80\r\n\r\n")
        assert [each.status for each in heard] == [421], path


# -- too much ---------------------------------------------------------------------------------


@pytest.mark.abuse(11, 16)
async def test_it_refuses_what_is_too_long(cast: Cast, pool: Pool, wire: Wire) -> None:
    long = json.dumps(cast.job()).encode()
    for name, template, body, status in (
        ("a header of 100 KB", HEAD + b"X: " + b"x" * 100_000 + b"\r\n" + SIZED + END, long, 431),
        ("17 KiB of headers", HEAD + b"X: %b\r\n" % (b"x" * 2000) * 9 + SIZED + END, long, 431),
        ("1,000 headers", HEAD + b"X: y\r\n" * 1000 + SIZED + END, long, 431),
        ("101 headers", HEAD + b"X: y\r\n" * 97 + SIZED + END, long, 431),
        ("a token of 1 MB", GOOD.replace(b"$TOKEN", b"x" * 2**20), long, 431),
        ("a long target", GOOD.replace(TARGET, TARGET + b"?" + b"x" * 8192), long, 414),
        ("64 KiB and 1", GOOD, long.ljust(BODY_BYTES_MAX + 1), 413),
        ("64 KiB and 1 in chunks", IN_CHUNKS, long.ljust(BODY_BYTES_MAX + 1), 413),
        ("a length of 11 MB", HEAD + b"Content-Length: 11000000\r\n" + END, long, 413),
        ("11 MB", GOOD, long.ljust(11_000_000), 413),
        ("11 MB in chunks", CHUNKED + b"1000\r\n%b\r\n" % (b" " * 4096) * 2700, long, 413),
        ("a chunk of 4 GB", CHUNKED + b"ffffffff\r\n" + b" " * 200_000, long, 413),
    ):
        await refused(cast, pool, wire, name, filled(cast, template, body), status)
    for name, head in (("exactly 64 KiB", GOOD), ("exactly 64 KiB in chunks", IN_CHUNKS)):
        heard = await wire.say(filled(cast, head, long.ljust(BODY_BYTES_MAX)))
        assert [each.status for each in heard] == [200], name
    heard = await wire.say(filled(cast, HEAD + b"X: y\r\n" * 96 + SIZED + END))
    assert [each.status for each in heard] == [200]
    assert await wire.is_healthy()


@pytest.mark.abuse(11)
async def test_it_stops_reading_chunks_that_say_nothing(cast: Cast, pool: Pool, wire: Wire) -> None:
    comment = b"1;" + b"x" * 60_000 + b"\r\n{\r\n"
    late = b"0\r\nX-Late: " + b"x" * 60_000
    for name, opening, more in (("comments", b"", comment), ("a last header", late, b"x" * 60_000)):
        before = await digest(pool)
        line = await wire.open()
        await line.send(filled(cast, CHUNKED) + opening)
        for _ in range(12):
            await line.send(more)
        heard = await line.until_closed()
        line.close()
        assert [each.status for each in heard] in ([400], [413]), name
        assert await digest(pool) == before
    assert await wire.is_healthy()


async def test_an_endless_head_is_not_kept(wire: Wire) -> None:
    line = await wire.open()
    await line.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
    for _ in range(5):
        await line.send(b"x" * 8192)
    [heard] = await line.until_closed()
    line.close()
    refusal(heard, 431)


async def test_only_the_webhook_takes_a_larger_body(cast: Cast, wire: Wire) -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "type": "x", "data": {"object": {}}})
    secret = cast.app.state.webhook_secrets[0]

    async def post(path: bytes, size_bytes: int) -> list[Heard]:
        raw = body.encode().ljust(size_bytes)
        signed = signature.sign(raw, secret, int(time.time()))
        head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + SIZED
        return await wire.say(
            filled(cast, head + b"Stripe-Signature: " + signed.encode() + b"\r\n" + END, raw)
        )

    for path in (b"/webhook", b"/webhook?x=1", b"http://localhost/webhook"):
        [heard] = await post(path, 256 * 1024)
        assert heard.status != 413, heard
        [heard] = await post(path, 256 * 1024 + 1)
        refusal(heard, 413)
    for path in (b"/webhooks", b"/webhook/x", b"/api/webhook"):
        [heard] = await post(path, 64 * 1024 + 1)
        refusal(heard, 413)


@pytest.mark.abuse(10)
async def test_it_unpacks_no_bomb(cast: Cast, pool: Pool, wire: Wire) -> None:
    bomb = gzip.compress(b" " * 60_000_000)
    assert len(bomb) < BODY_BYTES_MAX
    zipped = gzip.compress(json.dumps(cast.job()).encode())
    before, rss_before = await digest(pool), psutil.Process().memory_info().rss
    for body in (zipped, bomb):
        for encoding in (b"gzip", b"GZIP", b"gzip, gzip", b"deflate", b"br", b"zstd", b"x-gzip"):
            said = HEAD + b"Content-Encoding: " + encoding + b"\r\n" + SIZED + END
            [heard] = await wire.say(filled(cast, said, body))
            refusal(heard, 415)
    assert psutil.Process().memory_info().rss - rss_before < 20_000_000
    assert await digest(pool) == before
    assert await wire.is_healthy()


# -- what is answered, oddly as it comes ------------------------------------------------------


async def test_it_answers_requests_to_change_the_protocol_in_this_one(wire: Wire) -> None:
    for protocol in (b"websocket", b"h2c", b"TLS/1.0"):
        said = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: " + protocol
        said += b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        line = await wire.open()
        await line.send(said + b"\r\nGET /readyz HTTP/1.1\r\n\r\n")
        [heard] = await line.until_closed()
        line.close()
        assert (heard.status, heard.headers["connection"]) == (200, "close"), protocol


async def test_it_names_what_a_method_may_be(cast: Cast, pool: Pool, wire: Wire) -> None:
    before = await digest(pool)
    for method in (b"TRACE", b"PROPFIND", b"PURGE", b"LINK", b"QUERY", b"FOO", b"get", b"M-X"):
        [heard] = await wire.say(filled(cast, GOOD.replace(b"POST", method)))
        refusal(heard, 405)
        assert "POST" in heard.headers["allow"].split(", "), method
    for target in (b"localhost:443", b"localhost:80", b"/", TARGET):
        [heard] = await wire.say(b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert heard.status in (400, 404, 405), target
        refusal(heard, heard.status)
    assert await digest(pool) == before


async def test_it_heeds_no_other_method_than_the_first_lines(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    job = await cast.post_job()
    target = b"/api/client/job/update-job/" + job.encode()
    before = await digest(pool)
    for header in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"):
        for method in (b"GET", b"POST"):
            said = GOOD.replace(b"POST " + TARGET, method + b" " + target + b"?_method=PUT")
            said = said.replace(SIZED, SIZED + header + b": PUT\r\n")
            [heard] = await wire.say(filled(cast, said, b'{"title":"Taken over"}'))
            refusal(heard, 405)
    assert await digest(pool) == before


async def test_it_tells_who_waits_for_it_to_go_on(cast: Cast, wire: Wire) -> None:
    whole = filled(cast, HEAD + b"Expect: 100-continue\r\n" + SIZED + END)
    head, _, body = whole.partition(b"\r\n\r\n")
    line = await wire.open()
    await line.send(head + b"\r\n\r\n")
    assert await line.status() == 100
    await line.send(body)
    assert await line.status() == 200
    line.close()
    long = whole.replace(b"Content-Length: %d" % len(body), b"Content-Length: 65537")
    [heard] = await wire.say(long.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    refusal(heard, 413)


async def test_it_answers_requests_that_come_together_in_their_order(
    cast: Cast, wire: Wire
) -> None:
    token = b"Authorization: " + cast.alice.headers["authorization"].encode() + b"\r\n"
    asked: list[tuple[bytes, int]] = [
        (b"GET /api/client/job/get-jobs HTTP/1.1\r\n" + HOST + token + b"\r\n", 200),
        (filled(cast, GOOD), 200),
        (b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (filled(cast, IN_CHUNKS), 200),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    ] * 20
    heard = await wire.say(b"".join(said for said, _ in asked))
    assert [each.status for each in heard] == [status for _, status in asked]


async def test_a_broken_request_takes_no_answer_from_those_before_it(
    cast: Cast, pool: Pool, wire: Wire
) -> None:
    good, broken = filled(cast, GOOD), filled(cast, CHUNKS["size in no digits"])
    for count in (1, 2, 5):
        for end in (broken, b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HT"):
            before = await job_count(pool)
            heard = await wire.say(good * count + end + good)
            assert [each.status for each in heard] == [200] * count, end
            assert await job_count(pool) == before + count, end


async def job_count(pool: Pool) -> int:
    async with pool.connection() as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM job")
        return count


async def test_it_answers_who_has_stopped_sending(cast: Cast, wire: Wire) -> None:
    [heard] = await wire.say(filled(cast, GOOD))  # `say` closes its side at once
    assert heard.status == 200
    for part in (1, 10, 60, 400):
        [heard] = await wire.say(filled(cast, GOOD)[:part])
        assert "ended" in refusal(heard, 400)
    assert await wire.say(b"") == []
    assert await wire.say(b"\r\n\r\n") == []
