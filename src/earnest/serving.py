"""The **API** processes that `earnest serve` runs, see `earnest.process`."""

import asyncio
import functools
import gc
import signal
import socket
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from litestar import Litestar
from litestar.datastructures import State

from earnest import process
from earnest.app import build_app
from earnest.hooks.payments import EVENT_BYTES_MAX
from earnest.job_line import Job
from earnest.settings import Settings
from earnest.web.connection import LOOPBACK, BoundedProtocol, ServerConfig
from earnest.web.envelope import headers_around
from earnest.web.metrics import Metrics
from earnest.web.origins import origin_of

DRAIN_SECONDS_MAX = 8
LISTEN_BACKLOG = 2048
# Longer than common clients keep an idle connection, so that it is they who close it.
KEEP_ALIVE_SECONDS = 20


def main() -> None:
    """Do the job, until SIGTERM."""
    process.main(lambda job, metrics: serve_api(job.settings, metrics, _listener(job)))


def _listener(job: Job) -> socket.socket:
    return socket.socket(fileno=job.socket_fd)


async def serve_api(settings: Settings, metrics: Metrics, listener: socket.socket) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT, then finish those that run."""
    process.allow_files(settings.connections_max + process.OTHER_FILES_MAX)
    pool = process.pool_of(settings, metrics, "earnest api")
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


if __name__ == "__main__":
    main()
