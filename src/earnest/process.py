"""The **processes** that `earnest serve` runs: API processes (`earnest.serving`) and one worker
(`earnest.working`).

The supervisor starts one with `python -m` and writes its job, one line of JSON, into its standard
input, which stays open. Invariant: such a process never outlives the supervisor, however that
ended: when its standard input closes it is gone at once, which is safe because whatever it had
acknowledged is committed.
"""

import os
import resource
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from earnest import job_line, logs
from earnest.job_line import Job
from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.web.metrics import Metrics, share

ORPHANED = 70
# What a process needs besides its HTTP connections: database, mail, provider, files.
OTHER_FILES_MAX = 512


def main(work: Callable[[Job, Metrics], Coroutine[Any, Any, None]]) -> None:
    """Read the job, which may take until the database is there, and do it."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:
        return  # the supervisor has ended before there was anything to do
    job = job_line.decode(line)
    threading.Thread(target=_die_with_supervisor, daemon=True).start()
    logs.start(job.settings.log_format, job.name)
    share(job.metrics_dir, job.name.replace(" ", "-"))
    uvloop.run(work(job, Metrics(job.metrics_dir)))


def allow_files(count: int) -> None:
    """Many systems allow a process 1,024 open files unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pool_of(settings: Settings, metrics: Metrics, application_name: str) -> Pool:
    """The connections of one process to the database."""
    return Pool(
        settings.database_url,
        connections_max=settings.pool_connections_max,
        application_name=application_name,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        observe_wait=metrics.pool_wait,
    )


def _die_with_supervisor() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)
