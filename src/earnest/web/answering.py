"""**Answering**: how an answer gets from the application onto its connection.

Uvicorn writes the head of an answer when it hears of it and the body when that follows: two
calls of the operating system, which are a tenth of what a request costs. Nearly all of our
answers are whole when their head is told, and leave by one. Invariants: whatever is not that
plain (a stream, an answer to HEAD, a reader who is slow) leaves as uvicorn lets it; and a request
that has been answered is gone without the garbage collector, which halts everything.
"""

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from earnest.web.last_words import BROKEN


class Answering(RequestResponseCycle):
    """A request and its answer, whose head waits for the first piece of its body.

    It is made of uvicorn's own by giving that this class. An object that sends for another would
    refer to it, and be referred to: a ring of 19 objects for every request.
    """

    around: tuple[tuple[bytes, bytes], ...]
    """The headers that all answers have."""

    _head: Any = None

    @classmethod
    def of(
        cls, cycle: RequestResponseCycle, around: tuple[tuple[bytes, bytes], ...]
    ) -> "Answering":
        """The same object from now on."""
        cycle.__class__ = cls
        answering = cast("Answering", cycle)
        answering.around = around
        return answering

    async def send(self, message: Any) -> None:
        """Send one ASGI message. Raises RuntimeError for one that makes no answer."""
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            body = message.get("body", b"")
            if not message.get("more_body") and self._is_plain(head, body):
                self._send_whole(head, body)
                return
            await super().send(head)
        await super().send(message)

    async def send_500_response(self) -> None:
        """What uvicorn says in plain text when even the application's own handler has failed."""
        kind, body = BROKEN.spoken(self.scope["path"].encode())
        headers = [
            *self.around,
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _is_plain(self, head: Any, body: bytes) -> bool:
        if self.flow.write_paused or self.disconnected or self.scope["method"] == "HEAD":
            return False
        return (b"content-length", str(len(body)).encode()) in head["headers"]

    def _send_whole(self, head: Any, body: bytes) -> None:
        lines = [b"%b: %b" % header for header in self.default_headers]
        lines += [b"%b: %b" % header for header in head["headers"]]
        if not self.keep_alive:
            lines.append(b"connection: close")
        breaks = len(lines) - 1
        headers = b"\r\n".join(lines)
        if headers.count(b"\n") != breaks or headers.count(b"\r") != breaks or b"\0" in headers:
            raise RuntimeError("a header of this answer would break out of its line")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[head["status"]], headers, body))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
