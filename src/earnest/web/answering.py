"""**Answering**: how an answer gets from the application onto its connection.

Uvicorn writes the head of an answer when it hears of it and the body when that follows: two
calls of the operating system, which are a tenth of what a request costs. Nearly all of our
answers are whole when their head is told, and leave by one. Invariant: whatever is not that plain
(a stream, an answer to HEAD, a reader who is slow) leaves as uvicorn lets it.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Answering:
    """The `send` of one request: a head waits for the first piece of its body."""

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: Any = None

    async def __call__(self, message: Any) -> None:
        """Send one ASGI message. Raises RuntimeError for one that makes no answer."""
        cycle = self._cycle
        if message["type"] == "http.response.start" and not cycle.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            body = message.get("body", b"")
            if not message.get("more_body") and self._is_plain(head, body):
                self._send_whole(head, body)
                return
            await RequestResponseCycle.send(cycle, head)
        await RequestResponseCycle.send(cycle, message)

    def _is_plain(self, head: Any, body: bytes) -> bool:
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or cycle.scope["method"] == "HEAD":
            return False
        return (b"content-length", str(len(body)).encode()) in head["headers"]

    def _send_whole(self, head: Any, body: bytes) -> None:
        cycle = self._cycle
        lines = [b"%b: %b" % header for header in cycle.default_headers]
        lines += [b"%b: %b" % header for header in head["headers"]]
        if not cycle.keep_alive:
            lines.append(b"connection: close")
        breaks = len(lines) - 1
        headers = b"\r\n".join(lines)
        if headers.count(b"\n") != breaks or headers.count(b"\r") != breaks or b"\0" in headers:
            raise RuntimeError("a header of this answer would break out of its line")
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[head["status"]], headers, body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
