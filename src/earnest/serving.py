"""The processes that `earnest serve` runs: **API** processes and one **worker**.

The supervisor starts one with `python -m earnest.serving` and writes its job, one line of JSON,
into its standard input, which stays open. Invariant: such a process never outlives the
supervisor, however that ended: when its standard input closes it is gone at once, which is safe
because whatever it had acknowledged is committed.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvicorn
import uvloop

from earnest.app import build_app, build_core
from earnest.providers.sandbox import SandboxProvider
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.web.connection import BoundedProtocol, ServerConfig, hosts_of
from earnest.worker import loop as worker_loop
from earnest.worker.chores import chores_of

DRAIN_SECONDS_MAX = 8
ORPHANED = 70
LISTEN_BACKLOG = 2048


class Job(msgspec.Struct, frozen=True):
    """What one process shall do. `socket_fd` is the bound socket that API processes share."""

    kind: Literal["api", "worker"]
    settings: Settings
    socket_fd: int = -1

    def encoded(self) -> bytes:
        """One line; only for the pipe to the process, for it holds every secret."""
        return msgspec.json.encode(self, enc_hook=str) + b"\n"


def main() -> None:
    """Read the job and do it until SIGTERM."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        job = msgspec.json.decode(stdin.readline(), type=Job, dec_hook=_decode_path)
    threading.Thread(target=_die_with_supervisor, daemon=True).start()
    log_to_stderr()
    if job.kind == "api":
        uvloop.run(serve_api(job.settings, socket.socket(fileno=job.socket_fd)))
    else:
        uvloop.run(run_worker(job.settings))


async def serve_api(settings: Settings, listener: socket.socket) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT, then finish those that run."""
    pool = _pool(settings, "earnest api")
    config = ServerConfig(
        build_app(settings, pool),
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=LISTEN_BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
    )
    config.hosts = hosts_of(settings)
    config.load()
    # What start-up made lives as long as the process: keep the collector away from it. Measured:
    # the slowest answers in a hundred take a third to a quarter less.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await _Server(config).serve([listener])


async def run_worker(settings: Settings) -> None:
    """The worker's chores until SIGTERM or SIGINT; then finish what runs."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    pool = _pool(settings, "earnest worker")
    core = build_core(settings, pool)
    try:
        await worker_loop.run(chores_of(settings, core), stopping)
    finally:
        if isinstance(core.provider, SandboxProvider):
            await core.provider.close()
        await pool.close()


def log_to_stderr() -> None:
    """Standard output belongs to what a command answers."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _Server(uvicorn.Server):
    """Uvicorn's server, which after draining would die of the signal it had caught."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        await self._serve(sockets)


def _pool(settings: Settings, application_name: str) -> Pool:
    return Pool(
        settings.database_url,
        connections_max=settings.pool_connections_max,
        application_name=application_name,
        statement_timeout_seconds=settings.statement_timeout_seconds,
    )


def _die_with_supervisor() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def _decode_path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


if __name__ == "__main__":
    main()
