"""What the guard and authentication cost: one small route, served with them and without them.

`python -m bench.guarded guarded 8123` serves it as the product serves its routes: bounded
connections, the strict body, the access of a route and its token. `plain` is the same route of
the same framework on the server's own protocol. Both take the same requests.
"""

import asyncio
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import uvicorn
import uvloop
from litestar import Litestar, Request, post
from litestar.params import FromPath, JSONBody

from bench import load
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.marketplace.contracts import NewContract
from earnest.marketplace.shapes import Message
from earnest.web import problems
from earnest.web.auth import actor, admit, only
from earnest.web.connection import BoundedProtocol, ServerConfig
from earnest.web.guard import BODY_BYTES_MAX, EarnestRequest
from earnest.web.tokens import Tokens
from earnest.web.wire import WireResponse

SECRET = b"the secret of this bench, 32 byte"
PARTY = PublicId("66aa00000000000000000b01")
CONNECTIONS = 16
READY_SECONDS_MAX = 20


@post("/hire/{job_id:str}", status_code=200, access=only(Role.CLIENT))
async def hire_guarded(
    request: EarnestRequest, job_id: FromPath[str], data: JSONBody[NewContract]
) -> Message:
    """As the product's routes read what they are sent."""
    return Message(f"{actor(request).public_id} {job_id} {data.freelancerId} {data.amount}")


@post("/hire/{job_id:str}", status_code=200)
async def hire_plain(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[NewContract]
) -> Message:
    """The same without knowing who calls."""
    assert request.scope["method"] == "POST"
    return Message(f"{PARTY} {job_id} {data.freelancerId} {data.amount}")


def _tokens() -> Tokens:
    return Tokens(SECRET, "access", 7200)


def _serve(kind: str, port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port))
    common: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
    if kind == "guarded":
        app = Litestar(
            [hire_guarded],
            before_request=admit,
            request_class=EarnestRequest,
            response_class=WireResponse,
            exception_handlers=problems.HANDLERS,
            request_max_body_size=BODY_BYTES_MAX,
            openapi_config=None,
            logging_config=None,
        )
        app.state.access_tokens = _tokens()
        app.state.settings = SimpleNamespace(anonymous_reads=True)
        config: uvicorn.Config = ServerConfig(app, http=BoundedProtocol, **common)
    else:
        app = Litestar(
            [hire_plain], response_class=WireResponse, openapi_config=None, logging_config=None
        )
        config = uvicorn.Config(app, http="httptools", **common)
    uvloop.run(uvicorn.Server(config).serve([listening]))


class Server:
    """One of the two, in a process of its own."""

    def __init__(self, kind: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.guarded", kind, str(self.port)]
        )
        self._measured = psutil.Process(self._process.pid)

    async def ready(self) -> None:
        until = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                await load.send(self.port, _requests(self.port, 1), connections=1)
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def cpu_us(self, requests: int) -> float:
        """Microseconds of this process's CPU, the kernel's part included, for one request."""
        sent = _requests(self.port, requests)
        before = self._measured.cpu_times()
        await load.send(self.port, sent, connections=CONNECTIONS)
        after = self._measured.cpu_times()
        spent = after.user + after.system - before.user - before.system
        return spent / requests * 1e6

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _requests(port: int, count: int) -> list[bytes]:
    token = _tokens().issue(PARTY, Role.CLIENT, 1)
    body = msgspec.json.encode({"freelancerId": PARTY, "amount": 12000})
    head = (
        f"POST /hire/{PARTY} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return [head.encode() + body] * count


async def measure(rounds: int, requests: int) -> list[float]:
    """What guard and authentication add to one request, in microseconds of CPU, round by round."""
    servers = {kind: Server(kind) for kind in ("plain", "guarded")}
    try:
        for server in servers.values():
            await server.ready()
            await server.cpu_us(requests)  # warm
        added = []
        for number in range(rounds):
            order = ("plain", "guarded") if number % 2 == 0 else ("guarded", "plain")
            spent = {kind: await servers[kind].cpu_us(requests) for kind in order}
            added.append(spent["guarded"] - spent["plain"])
        return added
    finally:
        for server in servers.values():
            server.close()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
