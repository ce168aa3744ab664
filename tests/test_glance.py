"""What a glance takes for a request is that request for the parser, too, and all that has come."""

import httptools
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from earnest.web.glance import glance

VIEW = b"GET /api/freelancer/contract/view-contract/6b0490390000000101794925 HTTP/1.1"
PLAIN = b"\r\nHost: a.example\r\nAuthorization: Bearer x.y.z\r\nConnection: keep-alive"


def asking(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", b""]) + body


class Parsed:
    """What the parser finds in a piece that is followed by the start of the next request."""

    def __init__(self, piece: bytes) -> None:
        self.begun = self.complete = 0
        self.url = b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(piece)
        self.method = self._parser.get_method().decode()
        self.keeps_alive = self._parser.should_keep_alive()
        self._parser.feed_data(b"G")

    def on_message_begin(self) -> None:
        self.begun += 1
        self.url = b"" if self.begun == 1 else self.url

    def on_url(self, url: bytes) -> None:
        self.url += url if self.begun == 1 else b""

    def on_message_complete(self) -> None:
        self.complete += 1


@pytest.mark.parametrize(
    ("piece", "seen"),
    [
        (asking(VIEW + PLAIN), ("GET", VIEW.split()[1].decode())),
        (
            asking(b"GET /apps/api/contracts?page=2&q=%20 HTTP/1.1" + PLAIN),
            ("GET", "/apps/api/contracts"),
        ),
        (
            asking(
                b"POST /api/client/jobs HTTP/1.1", b"content-LENGTH: 7", b"a: b", body=b'{"a":1}'
            ),
            ("POST", "/api/client/jobs"),
        ),
        (asking(b"PUT /webhook HTTP/1.1", b"Content-Length:0"), ("PUT", "/webhook")),
        (asking(b"DELETE /connect/token HTTP/1.1"), ("DELETE", "/connect/token")),
    ],
)
def test_what_clients_of_an_api_send_is_seen(piece: bytes, seen: tuple[str, str]) -> None:
    assert glance(piece) == seen


@pytest.mark.parametrize(
    "piece",
    [
        asking(VIEW + PLAIN)[:-1],
        asking(VIEW + PLAIN) + b"G",
        asking(VIEW + PLAIN) * 2,
        b"\r\n" + asking(VIEW + PLAIN),
        asking(VIEW.replace(b"1.1", b"1.0")),
        asking(VIEW.replace(b"GET", b"HEAD")),
        asking(VIEW.replace(b"GET", b"get")),
        asking(VIEW.replace(b"/api", b"http://a.example/api")),
        asking(b"GET /contracts HTTP/1.1"),
        asking(VIEW, b"Origin: http://a.example"),
        asking(VIEW, b"Connection: close"),
        asking(VIEW, b"Connection: keep-alive, upgrade"),
        asking(VIEW, b"Upgrade: websocket"),
        asking(VIEW, b"Expect: 100-continue", b"Content-Length: 0"),
        asking(VIEW, b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        asking(VIEW, b"Content-Length: 3", body=b"ab"),
        asking(VIEW, b"Content-Length: 3", body=b"abcd"),
        asking(VIEW, b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
        asking(VIEW, b"Content-Length: 9", b"Content-Length: 3", body=b"abc"),
        asking(VIEW, b"Content-Length: 3, 3", body=b"abc"),
        asking(VIEW, b"Content-Length: +3", body=b"abc"),
        asking(VIEW, b"Content-Length : 3", body=b"abc"),
        asking(VIEW, b"a: b\nContent-Length: 3", body=b"abc"),
        asking(VIEW, b"a: b", b" folded: c"),
        asking(VIEW, b"no colon"),
    ],
)
def test_anything_else_is_left_to_the_parser(piece: bytes) -> None:
    assert glance(piece) is None


usual = st.sampled_from([b"Host: a.example", b"X-A:", b"Connection: keep-alive"])
names = st.sampled_from(
    [b"Content-Length", b"Connection", b"Transfer-Encoding", b"Origin", b"Expect", b"Upgrade"]
)
spoiled = st.sampled_from([b"x a", b"", b"\tX", b"Content-Length\t", b"Content-Length "])
values = st.one_of(
    st.sampled_from(
        [b"", b"3", b"03", b" 3 ", b"3\t", b"0x3", b"chunked", b"close", b"keep-alive"]
    ),
    st.binary(max_size=6),
)
unusual = st.builds(
    lambda n, c, v: n + c + v, names | spoiled, st.sampled_from([b":", b": "]), values
)
lines = st.lists(usual, max_size=3) | st.lists(usual | unusual, max_size=3)


@example(lines=[b"Content-Length: 3"], end=b"\r\n", body=b"abc", declared=False, target=b"/api/x")
@given(
    lines=lines,
    end=st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"]),
    body=st.sampled_from([b"", b"abc", b"GET /api/y HTTP/1.1\r\n\r\n", b"0\r\n\r\n"]),
    declared=st.booleans(),
    target=st.sampled_from(
        [b"/api/x", b"/webhook", b"/api/x?y", b"/api/%20", b"/api/#y", b"/api/\x80"]
    ),
)
def test_the_parser_finds_the_same_request_and_its_end(
    lines: list[bytes], end: bytes, body: bytes, declared: bool, target: bytes
) -> None:
    length = [b"Content-Length: %d" % len(body)] if declared else []
    piece = end.join([b"POST " + target + b" HTTP/1.1", *lines, *length, b"", b""]) + body
    seen = glance(piece)
    event(f"seen: {seen is not None}")
    if seen is None:
        return
    parsed = Parsed(piece)
    assert parsed.begun == 2, "the next byte begins another request"
    assert parsed.complete == 1
    assert seen == (parsed.method, parsed.url.partition(b"?")[0].decode())
    assert parsed.keeps_alive
