"""**Metrics** for Prometheus: what every process counts, and what the database knows.

Processes of one server share a directory: each writes its counts into files named after its
*place* ("api-1", "worker"), and whichever process is asked adds all of them up. Invariant: a
process that takes a dead one's place goes on counting where that stopped, so that no counter
falls and no file is left over. Without a directory (one process) the counts live in memory.

Every metric is described in docs/reference/metrics.md, and nothing else is exported.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from earnest import __version__
from earnest.domain.delivery import Verdict
from earnest.domain.money import CURRENCY_BY_NUMERIC
from earnest.errors import EarnestError, OutcomeUnknown
from earnest.store import figures
from earnest.store.db import Pool
from earnest.web.kinds import Kind

SCRAPE_SECONDS_MAX = 4
MEDIA_TYPE = "text/plain; version=0.0.4"  # the framework adds the charset
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128)
MONEY = {1: "held", 2: "wallet", 12: "parked"}
"""Kinds of accounts (see earnest.ledger.accounts) whose sums are exported."""


def share(directory: Path, place: str) -> None:
    """Count into `directory`, in `place`, from now on; before any Metrics is made.

    No two processes that run at once may have the same place.
    """
    # The library decides by an environment variable, at its import; ours is known only later.
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


class Metrics:
    """One process's counts, and the way to everybody's.

    `directory` is what `share` was given, None if the counts are in memory.
    """

    def __init__(self, directory: Path | None = None) -> None:
        # Processes that share never tell when they began; nor does one alone, then.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._directory = directory
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "earnest_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=own,
        )
        self._request_seconds = Histogram(
            "earnest_http_request_duration_seconds",
            "From a request's head until its answer was handed over.",
            ["method", "route"],
            registry=own,
            buckets=SECONDS,
        )
        self._commits = Counter(
            "earnest_commits_total",
            "Changes handed to the door: written, conflict (decided anew), refused, unknown.",
            ["outcome"],
            registry=own,
        )
        self._commit_members = Histogram(
            "earnest_commit_batch_members",
            "Changes that travelled to the database together.",
            registry=own,
            buckets=MEMBERS,
        )
        self._commit_seconds = Histogram(
            "earnest_commit_batch_duration_seconds",
            "From a batch's departure until its outcome is known.",
            registry=own,
            buckets=SECONDS,
        )
        self._pool_seconds = Histogram(
            "earnest_database_pool_wait_seconds",
            "How long callers waited for a connection, when none was free at once.",
            registry=own,
            buckets=SECONDS,
        )
        self._chores = Counter(
            "earnest_worker_chores_total",
            "Turns of the worker's chores: done or failed.",
            ["chore", "outcome"],
            registry=own,
        )
        self._chore_done = Gauge(
            "earnest_worker_chore_last_done_timestamp_seconds",
            "When a chore was last done without failing.",
            ["chore"],
            registry=own,
            multiprocess_mode="mostrecent",
        )
        webhooks = Counter(
            "earnest_webhook_attempts_total",
            "Attempts to deliver a webhook: succeeded, retry, or why it failed for good.",
            ["outcome"],
            registry=own,
        )
        self._verdicts = {verdict: webhooks.labels(verdict) for verdict in Verdict}
        self._webhook_seconds = Histogram(
            "earnest_webhook_attempt_duration_seconds",
            "From the beginning of an attempt until its outcome is known.",
            registry=own,
            buckets=(*SECONDS, 30.0),
        )
        self._alerts = Counter(
            "earnest_alerts_total",
            "Alerts raised: what an operator has to see.",
            ["kind"],
            registry=own,
        )
        shed = Counter(
            "earnest_http_requests_shed_total",
            "Requests refused with 503 because they would have waited for too long, by kind.",
            ["kind"],
            registry=own,
        )
        self._shed = {kind: shed.labels(kind) for kind in Kind}
        self._outcomes = {
            name: self._commits.labels(name)
            for name in ("written", "conflict", "refused", "unknown")
        }
        self._seen: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    # -- what is counted ----------------------------------------------------------------------

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`method` and `route` come from short lists: never what a client made up."""
        found = self._seen.get((method, route, status))
        if found is None:
            found = self._seen[method, route, status] = (
                self._requests.labels(method, route, str(status)),
                self._request_seconds.labels(method, route),
            )
        found[0].inc()
        found[1].observe(seconds)

    def shed(self, kind: Kind) -> None:
        """A request was refused because there were too many."""
        self._shed[kind].inc()

    def batch(self, answers: Sequence[bool | BaseException], seconds: float) -> None:
        """The door's report of one batch."""
        self._commit_members.observe(len(answers))
        self._commit_seconds.observe(seconds)
        for answer in answers:
            self._outcomes[_outcome(answer)].inc()

    def pool_wait(self, seconds: float) -> None:
        """The pool's report of a caller that had to wait."""
        self._pool_seconds.observe(seconds)

    def chore(self, name: str, *, failed: bool) -> None:
        """The worker's report of one turn of a chore."""
        self._chores.labels(name, "failed" if failed else "done").inc()
        if not failed:
            self._chore_done.labels(name).set_to_current_time()

    def webhook(self, verdict: Verdict, seconds: float) -> None:
        """The worker's report of one attempt."""
        self._verdicts[verdict].inc()
        self._webhook_seconds.observe(seconds)

    def alert(self, kind: str) -> None:
        """The worker's report of something that an operator has to see."""
        self._alerts.labels(kind).inc()

    # -- what is told -------------------------------------------------------------------------

    async def text(self, pool: Pool) -> bytes:
        """Everything, in the text format. A database that is away takes its own figures along."""
        found: figures.Figures | None = None
        try:
            async with asyncio.timeout(SCRAPE_SECONDS_MAX), pool.connection() as conn:
                found = await figures.read(conn)
        except (EarnestError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        counted = self._registry
        if self._directory is not None:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, str(self._directory))  # type: ignore[no-untyped-call]
        known = CollectorRegistry()
        known.register(_Known(found))
        return generate_latest(counted) + generate_latest(known)


def _outcome(answer: bool | BaseException) -> str:
    if isinstance(answer, BaseException):
        return "unknown" if isinstance(answer, OutcomeUnknown) else "refused"
    return "written" if answer else "conflict"


class _Known(Collector):
    """What no process counts: the build, and the database's figures if it has told them."""

    def __init__(self, found: figures.Figures | None) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("earnest_build_info", "Always 1.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield GaugeMetricFamily(
            "earnest_database_up",
            "1 if the database answered this scrape, else 0.",
            value=int(self._found is not None),
        )
        if self._found is not None:
            yield from _families(self._found)


def _families(found: figures.Figures) -> Iterator[Metric]:
    money = GaugeMetricFamily(
        "earnest_money_minor",
        "Money by kind of account, in minor units of its currency.",
        labels=["kind", "currency"],
    )
    for kind, numeric, amount_minor in found.money:
        money.add_metric([MONEY[kind], CURRENCY_BY_NUMERIC[numeric].code], float(amount_minor))
    yield money
    due = GaugeMetricFamily("earnest_queue_due", "Entries whose time has come.", labels=["queue"])
    age = GaugeMetricFamily(
        "earnest_queue_oldest_due_seconds",
        "For how long the oldest entry that is due has been so; 0 if none is.",
        labels=["queue"],
    )
    for queue, entries, seconds in found.queues:
        due.add_metric([queue], entries)
        age.add_metric([queue], seconds)
    yield due
    yield age
    open_alerts = GaugeMetricFamily(
        "earnest_alerts_open", "Alerts that nobody has seen to.", labels=["kind"]
    )
    for kind_of_alert, alerts in found.alerts:
        open_alerts.add_metric([kind_of_alert], alerts)
    yield open_alerts
    connections = GaugeMetricFamily(
        "earnest_database_connections",
        "Connections to this database by whose they are and what they do.",
        labels=["application", "state"],
    )
    for application, state, count in found.connections:
        connections.add_metric([application, state], count)
    yield connections
    yield GaugeMetricFamily(
        "earnest_database_connections_max",
        "How many connections the database server takes.",
        value=found.connections_max,
    )
