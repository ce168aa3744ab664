"""What a forged provider event costs: `POST /webhook` with a signature that does not verify.

`python -m bench.forged 8123` serves the product's application as `earnest serve` does, without a
database, for a forged event never comes that far. Measured is the CPU of that process, the
kernel's part included, log lines and all: 200 microseconds are 5,000 a second on one core.
"""

import asyncio
import socket
import subprocess
import sys
import time

import msgspec
import psutil
import uvloop

from bench import load
from earnest import logs
from earnest.serving import serve_api
from earnest.settings import Settings
from earnest.web.metrics import Metrics

CONNECTIONS = 16
READY_SECONDS_MAX = 20
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "checkout.session.completed",
    # As long as one of Stripe's.
    "data": {"object": {"object": "checkout.session", "id": "cs_1", "more": "x" * 2_500}},
}


def _serve(port: int) -> None:
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:1/none",
        secret_key=b"the secret of this bench, 32 byte",
        public_url=f"http://127.0.0.1:{port}",
    )
    logs.start(settings.log_format, "api")
    listening = socket.create_server(("127.0.0.1", port))
    uvloop.run(serve_api(settings, Metrics(), listening))


def _request(port: int) -> bytes:
    body = msgspec.json.encode(EVENT)
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Stripe-Signature: t={int(time.time())},v1={'ab' * 32}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def measure(rounds: int, requests: int) -> list[float]:
    """Microseconds of the server's CPU for one forged event, round by round."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    process = _started(port)
    try:
        await _ready(port)
        measured = psutil.Process(process.pid)
        await _send(port, requests)  # warm
        spent = []
        for _ in range(rounds):
            before = measured.cpu_times()
            await _send(port, requests)
            after = measured.cpu_times()
            seconds = after.user + after.system - before.user - before.system
            spent.append(seconds / requests * 1e6)
        return spent
    finally:
        process.terminate()
        process.wait()


def _started(port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bench.forged", str(port)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _send(port: int, requests: int) -> None:
    await load.send(port, [_request(port)] * requests, connections=CONNECTIONS, wanted=(400,))


async def _ready(port: int) -> None:
    until = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            await _send(port, 1)
        except OSError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
