"""The **worker** process that `earnest serve` runs, see `earnest.process`; `earnest worker` is one
more."""

import asyncio
import signal

from earnest import process
from earnest.assembly import build_core
from earnest.outbound.sender import IDLE_LINES_MAX
from earnest.settings import Settings
from earnest.web.metrics import Metrics
from earnest.worker import loop as worker_loop
from earnest.worker.chores import chores_of
from earnest.worker.deliveries import ALL_IN_FLIGHT_MAX

# Connections to webhooks: on the wire, and idle ones that may be used again.
CONNECTIONS_OUT_MAX = ALL_IN_FLIGHT_MAX + IDLE_LINES_MAX


def main() -> None:
    """Do the job, until SIGTERM."""
    process.main(lambda job, metrics: run_worker(job.settings, metrics))


async def run_worker(settings: Settings, metrics: Metrics) -> None:
    """The worker's chores until SIGTERM or SIGINT; then finish what runs."""
    process.allow_files(CONNECTIONS_OUT_MAX + process.OTHER_FILES_MAX)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    pool = process.pool_of(settings, metrics, "earnest worker")
    core = build_core(settings, pool, metrics)
    try:
        chores = chores_of(settings, core, metrics.webhook, metrics.alert)
        await worker_loop.run(chores, stopping, metrics.chore)
    finally:
        await core.provider.close()
        await pool.close()


if __name__ == "__main__":
    main()
