"""The processes that `earnest serve` runs: **API** processes and one **worker**.

The supervisor starts one with `python -m earnest.serving` and writes its job, one line of JSON,
into its standard input, which stays open. Invariant: such a process never outlives the
supervisor, however that ended: when its standard input closes it is gone at once, which is safe
because whatever it had acknowledged is committed.
"""

import asyncio
import functools
import gc
import os
import resource
import signal
import socket
import threading
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
import uvloop
from litestar import Litestar
from litestar.datastructures import State

from earnest import job_line, logs
from earnest.app import build_app, build_core
from earnest.hooks.payments import EVENT_BYTES_MAX
from earnest.outbound.sender import IDLE_LINES_MAX
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.web.connection import LOOPBACK, BoundedProtocol, ServerConfig
from earnest.web.envelope import headers_around
from earnest.web.metrics import Metrics, share
from earnest.web.origins import origin_of
from earnest.worker import loop as worker_loop
from earnest.worker.chores import chores_of
from earnest.worker.deliveries import ALL_IN_FLIGHT_MAX

DRAIN_SECONDS_MAX = 8
ORPHANED = 70
LISTEN_BACKLOG = 2048
# Longer than common clients keep an idle connection, so that it is they who close it.
KEEP_ALIVE_SECONDS = 20
# What a process needs besides its HTTP connections: database, mail, provider, files.
OTHER_FILES_MAX = 512
# The worker's connections to webhooks: on the wire, and idle ones that it may use again.
CONNECTIONS_OUT_MAX = ALL_IN_FLIGHT_MAX + IDLE_LINES_MAX


def main() -> None:
    """Read the job, which may take until the database is there, and do it until SIGTERM."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        return  # the supervisor has ended before there was anything to do
    job = job_line.decode(line)
    threading.Thread(target=_die_with_supervisor, daemon=True).start()
    logs.start(job.settings.log_format, job.name)
    share(job.metrics_dir, job.name.replace(" ", "-"))
    metrics = Metrics(job.metrics_dir)
    if job.kind == "api":
        uvloop.run(serve_api(job.settings, metrics, socket.socket(fileno=job.socket_fd)))
    else:
        uvloop.run(run_worker(job.settings, metrics))


async def serve_api(settings: Settings, metrics: Metrics, listener: socket.socket) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT, then finish those that run."""
    _allow_files(settings.connections_max + OTHER_FILES_MAX)
    pool = _pool(settings, metrics, "earnest api", only_probes=True)
    app = build_app(settings, pool, metrics)
    config = server_config(settings, app)
    config.admission = app.admission
    config.load()
    # What start-up made lives as long as the process: keep the collector away from it. Measured:
    # the slowest answers in a hundred take a third to a quarter less.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await _Server(config, app.state, settings.drain_seconds).serve([listener])


def server_config(settings: Settings, app: Litestar) -> ServerConfig:
    """How the HTTP server runs. X-Forwarded-* is for `web.address` alone to believe."""
    config = ServerConfig(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=LISTEN_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
    )
    config.hosts = hosts_of(settings)
    config.larger_bodies = {b"/webhook": EVENT_BYTES_MAX}
    config.connections_max = settings.connections_max
    config.proxies = settings.trusted_proxies
    config.around = headers_around(is_https=settings.public_url.startswith("https://"))
    config.client_origin = origin_of(settings.client_url).encode()
    return config


def hosts_of(settings: Settings) -> frozenset[bytes]:
    """The host of the public URL; in the sandbox the names of loopback, too."""
    name = urlsplit(settings.public_url).hostname or ""
    own = frozenset({f"[{name}]".encode() if ":" in name else name.encode("idna")})
    return own if settings.is_production else own | LOOPBACK


async def run_worker(settings: Settings, metrics: Metrics) -> None:
    """The worker's chores until SIGTERM or SIGINT; then finish what runs."""
    _allow_files(CONNECTIONS_OUT_MAX + OTHER_FILES_MAX)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    pool = _pool(settings, metrics, "earnest worker")
    core = build_core(settings, pool, metrics)
    try:
        chores = chores_of(settings, core, metrics.webhook, metrics.alert)
        await worker_loop.run(chores, stopping, metrics.chore)
    finally:
        await core.provider.close()
        await pool.close()


class _Server(uvicorn.Server):
    """Uvicorn's server, which after draining would die of the signal it had caught.

    The first signal makes `/readyz` fail; `drain_seconds` later nothing new is taken.
    """

    def __init__(self, config: uvicorn.Config, state: State, drain_seconds: int) -> None:
        super().__init__(config)
        self._state = state
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at once if there is nothing to wait for, or somebody insists."""
        insists, self._state.is_draining = self._state.is_draining, True
        if insists or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        end = functools.partial(super().handle_exit, sig, frame)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, end)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        await self._serve(sockets)


def _allow_files(count: int) -> None:
    """Many systems allow a process 1,024 open files unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _pool(
    settings: Settings, metrics: Metrics, application_name: str, *, only_probes: bool = False
) -> Pool:
    return Pool(
        settings.database_url,
        connections_max=settings.pool_connections_max,
        application_name=application_name,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        observe_wait=metrics.pool_wait,
        only_probes=only_probes,
    )


def _die_with_supervisor() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
