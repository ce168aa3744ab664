"""The socket of Stripe's double: requests in, answers out, and everything that goes wrong there.

A **fault** is armed for a method and a path (`*` is one part of it) and strikes as often as it was
armed for. An **idempotency key** belongs to one request and to its first answer. Invariant: what
was done under a key was done once, whatever the answer looked like and however often it was asked.
"""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import msgspec
import stripe

from stripe_books import Books, Call
from stripe_routes import ROUTES
from stripe_wire import Answer, Object, Refused, Request, parameters, read_request


class Fault(StrEnum):
    """What goes wrong. AFTER_SUCCESS: the work was done all the same. BEFORE: it never was."""

    TIMEOUT_AFTER_SUCCESS = "timeout_after_success"
    TIMEOUT_BEFORE = "timeout_before"
    RESET_AFTER_SUCCESS = "reset_after_success"
    RESET_BEFORE = "reset_before"
    ERROR_500 = "error_500"  # nothing was done, and the key says 500 for ever
    ERROR_500_AFTER_SUCCESS = "error_500_after_success"  # it was done, and the key says 500
    ERROR_500_THEN_SUCCESS = "error_500_then_success"  # nothing was done; the key may try again
    CONFLICT_409 = "conflict_409"
    TOO_MANY_429 = "too_many_429"
    SLOW = "slow"  # the work begins and takes its time; its key is in use meanwhile
    GARBAGE = "garbage"  # done; the answer is 200 and no JSON
    HALF = "half"  # done; the answer breaks off in the middle of its body


_BEFORE = {Fault.TIMEOUT_BEFORE, Fault.RESET_BEFORE}
_SILENT = {Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER_SUCCESS}
_RESETS = {Fault.RESET_BEFORE, Fault.RESET_AFTER_SUCCESS}
_BROKEN = {Fault.ERROR_500, Fault.ERROR_500_AFTER_SUCCESS, Fault.ERROR_500_THEN_SUCCESS}


class Armed(msgspec.Struct):
    """A fault that waits for its request. `begun` is set when it strikes; what is slow takes
    `seconds`, or until a test sets `over`."""

    method: str
    path: str
    fault: Fault
    times: int
    seconds: float
    struck: int = 0
    begun: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    over: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    async def take_time(self) -> None:
        self.begun.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), self.seconds)

    def meets(self, request: Request) -> bool:
        pattern = "[^/]+".join(map(re.escape, self.path.split("*")))
        met = self.method == request.method and re.fullmatch(pattern, request.path) is not None
        return met and self.struck < self.times


class Remembered(msgspec.Struct, frozen=True):
    """The first answer to an idempotency key, and the request that it answers."""

    # Method, path, parameters, and the account: Stripe does not say whether accounts have keys of
    # their own, so a key that comes for another one is refused here.
    question: tuple[str, str, dict[str, str], str | None]
    answer: Answer


class StripeServer:
    """One Stripe account in test mode, on a free port of 127.0.0.1 until the block ends.

    `requests` are all that came in. `withheld` is what the key may not do, such as "GET
    /v1/account". A fault that never struck proves nothing: the end refuses it.
    """

    api_key = "sk_test_double"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.books = Books(clock)
        self.requests: list[Request] = []
        self.withheld: set[str] = set()
        self.url = ""
        self._faults: list[Armed] = []
        self._answers: dict[str, Remembered] = {}
        self._running: set[str] = set()
        self._connections: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        bound = _bound(0)
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self._server = await asyncio.start_server(self._serve, sock=bound)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._hang_up()
        idle = [armed for armed in self._faults if not armed.struck]
        assert kind is not None or not idle, f"armed, and never struck: {idle}"

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Nobody listens at `url`: every connection is refused before anything is sent."""
        await self._hang_up()
        bound = _bound(
            int(self.url.rpartition(":")[2])
        )  # bound and deaf: nobody else gets the port
        try:
            yield
        finally:
            self._server = await asyncio.start_server(self._serve, sock=bound)

    async def _hang_up(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def fault(
        self, method: str, path: str, fault: Fault, times: int = 1, *, seconds: float = 30
    ) -> Armed:
        """Arm a fault for the next `times` requests that meet it; `seconds` is how slow SLOW is.

        Faults that wait for the same request strike in the order in which they were armed.
        """
        armed = Armed(method, path, fault, times, seconds)
        self._faults.append(armed)
        return armed

    def forget_keys(self) -> None:
        """A day and more went by: Stripe knows none of the idempotency keys."""
        self._answers.clear()

    # -- serving ----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client went, or the block ended
        finally:
            writer.close()
            self._connections.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and what becomes of it; whether the connection is still good."""
        request = await read_request(reader)
        self.requests.append(request)
        armed = next((each for each in self._faults if each.meets(request)), None)
        fault = None if armed is None else armed.fault
        if armed is not None:
            armed.struck += 1
        answer = None if fault in _BEFORE else await self._answered(request, armed)
        if fault in _SILENT:
            await reader.read()  # until the client hangs up
            return False
        if fault in _RESETS:
            _reset(writer)
            return False
        assert answer is not None
        written = answer.written()
        if fault is Fault.GARBAGE:
            written = answer.framed(b"<html>Bad gateway")
        if fault is Fault.HALF:
            writer.write(written[: -len(msgspec.json.encode(answer.body)) // 2])
            return False
        writer.write(written)
        return True

    async def _answered(self, request: Request, armed: Armed | None) -> Answer:
        fault = None if armed is None else armed.fault
        version = request.headers.get("stripe-version", stripe.api_version)
        headers = {"Request-Id": self.books.number("req"), "Stripe-Version": version}
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _error(401, "This is not the key.").but(headers)
        if f"{request.method} {request.path}" in self.withheld:
            return _error(403, "This key may not do this.").but(headers)
        if fault is Fault.TOO_MANY_429:
            return _error(429, "Too many requests.", code="rate_limit").but(headers)
        if request.key is None:
            return (await self._worked(request, armed))[0].but(headers)
        headers["Idempotency-Key"] = request.key
        question = (request.method, request.path, request.params, request.account)
        if fault is Fault.CONFLICT_409 or request.key in self._running:
            return _error(409, "This key is in use.", code="idempotency_key_in_use").but(headers)
        if not 0 < len(request.key) <= 255:
            return _error(400, "A key has 1 to 255 characters.").but(headers)
        known = self._answers.get(request.key)
        if known is not None and known.question != question:
            refused = _error(400, "This key was another request's.", type_="idempotency_error")
            return refused.but(headers)
        if known is not None and fault in _BROKEN:
            return _broken().but(headers)
        if known is not None:
            return known.answer.but(headers | {"Idempotent-Replayed": "true"})
        self._running.add(request.key)
        try:
            answer, begun = await self._worked(request, armed)
        finally:
            self._running.discard(request.key)
        if begun:
            self._answers[request.key] = Remembered(question, answer)
        return answer.but(headers)

    async def _worked(self, request: Request, armed: Armed | None) -> tuple[Answer, bool]:
        """The answer, and whether the work had begun: then a key remembers it."""
        fault = None if armed is None else armed.fault
        if armed is not None and fault is Fault.SLOW:
            await armed.take_time()
        if fault in (Fault.ERROR_500, Fault.ERROR_500_THEN_SUCCESS):
            return _broken(), fault is Fault.ERROR_500
        if fault is Fault.CONFLICT_409:
            return _error(409, "Somebody else changes it.", code="lock_timeout"), False
        try:
            answer = Answer(200, self._work(request))
        except Refused as refused:
            return refused.answer, refused.begun
        return (_broken() if fault is Fault.ERROR_500_AFTER_SUCCESS else answer), True

    def _work(self, request: Request) -> Object:
        self.books.pass_time()
        if request.account is not None and request.account not in self.books.all("account"):
            raise Refused("No access to this account.", status=403, code="account_invalid")
        for route in ROUTES:
            match = route.path.fullmatch(request.path)
            if match is None or route.method != request.method:
                continue
            taken = parameters(request.form, route.known, route.spoken)
            expand = taken.pop("expand", [])
            call = Call(match.groups(), taken, request.account, request.path)
            return self.books.expanded(route.work(self.books, call), expand)
        raise Refused(f"Unrecognized: {request.method} {request.path}.", status=404)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _error(status: int, message: str, **named: Any) -> Answer:
    return Refused(message, status=status, **named).answer


def _broken() -> Answer:
    return _error(500, "Something went wrong on Stripe's end.", type_="api_error")


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN: what a client sees when a machine in between dies."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
