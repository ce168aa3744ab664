"""GET /metrics: what it counts is what happened, whichever process is asked."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerted import advance, look
from checkout_event import opened, tell
from conftest import TestDatabase
from earnest.app import build_app
from earnest.store.db import Pool
from earnest.worker.chores import roll_up
from life import Life
from test_register import register
from test_serve import Serve, data_dir, earnest
from web import UNKNOWN_ID, Caller, Cast, caller, make_settings, problem

__all__ = ["data_dir"]

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"
TOKEN = "a token that only Prometheus knows"


class Scrape:
    """One answer of /metrics, to look values up in."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.families = list(text_string_to_metric_families(answer.text))

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels, 0 if there is none."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {
            sample.labels[label]
            for family in self.families
            for sample in family.samples
            if sample.name == name
        }


async def scrape(of: Cast | Caller) -> Scrape:
    return Scrape(await (of.anybody if isinstance(of, Cast) else of).get("/metrics"))


# -- requests -------------------------------------------------------------------------------


async def test_it_counts_requests_by_method_route_and_status(cast: Cast) -> None:
    for _ in range(3):
        await cast.alice.get(f"/api/client/job/job-details/{UNKNOWN_ID}")
    job = await cast.post_job()
    await cast.alice.get(f"/api/client/job/job-details/{job}")
    await cast.anybody.head("/healthz")
    found = await scrape(cast)
    total = "earnest_http_requests_total"
    route = "/api/client/job/job-details/{job_id}"
    assert found(total, method="GET", route=route, status="404") == 3
    assert found(total, method="GET", route=route, status="200") == 1
    assert found(total, method="POST", route="/api/client/job/create-job", status="200") == 1
    assert found(total, method="HEAD", route="/healthz", status="200") == 1
    seconds = "earnest_http_request_duration_seconds"
    assert found(f"{seconds}_count", method="GET", route=route) == 4
    assert 0 < found(f"{seconds}_sum", method="GET", route=route) < 60
    assert found(f"{seconds}_bucket", method="GET", route=route, le="+Inf") == 4


async def test_nobody_makes_up_a_label(api: Caller) -> None:
    for number in range(30):
        await api.get(f"/made-up/{number}")
        await api.request(f"METHOD{number}", "/healthz")
        await api.request("PROPFIND", f"/made-up/{number}")
    found = await scrape(api)
    assert found.labels("earnest_http_requests_total", "route") == {"(none)"}
    assert found.labels("earnest_http_requests_total", "method") == {"GET", "OTHER"}
    assert found("earnest_http_requests_total") == 90


# -- commits --------------------------------------------------------------------------------


async def test_it_counts_commits_their_batches_and_conflicts(cast: Cast) -> None:
    lives = [await Life.at(cast, "requested") for _ in range(2)]
    before = await scrape(cast)
    # All of them decide on what they have seen; in each contract one is first.
    answers = await asyncio.gather(
        *(
            cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}")
            for life in lives
            for _ in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers)[:2] == [200, 200]
    after = await scrape(cast)

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert more("earnest_commits_total", outcome="written") == 2
    assert more("earnest_commits_total", outcome="conflict") > 0
    assert more("earnest_commits_total", outcome="unknown") == 0
    commits = more("earnest_commits_total")
    assert more("earnest_commit_batch_members_sum") == commits
    assert 0 < more("earnest_commit_batch_members_count") <= commits
    assert more("earnest_commit_batch_duration_seconds_sum") > 0


async def test_it_counts_who_waited_for_a_connection(database: TestDatabase) -> None:
    settings = make_settings(database.app_dsn)
    made = build_app(settings, Pool(database.app_dsn))
    metrics = made.state.metrics
    made = build_app(
        settings,
        Pool(database.app_dsn, connections_max=1, observe_wait=metrics.pool_wait),
        metrics,
    )
    async with made.lifespan(), caller(made) as nobody:
        assert (await scrape(nobody))("earnest_database_pool_wait_seconds_count") == 0
        paths = ["/api/admin/skills/get-skills"] * 5
        await asyncio.gather(*(nobody.get(path) for path in paths))
        assert (await scrape(nobody))("earnest_database_pool_wait_seconds_count") >= 4


# -- money and queues -----------------------------------------------------------------------


async def test_it_knows_how_much_money_is_where(cast: Cast, pool: Pool) -> None:
    def money(found: Scrape) -> dict[str, float]:
        return {
            kind: found("earnest_money_minor", kind=kind, currency="INR")
            for kind in ("held", "wallet", "parked")
        }

    assert money(await scrape(cast)) == {"held": 0, "wallet": 0, "parked": 0}
    await Life.at(cast, "paid", rate=700)
    life = await Life.at(cast, "requested", rate=12000)
    assert money(await scrape(cast)) == {"held": 1_270_000, "wallet": 0, "parked": 0}
    await life.release()
    earned = 100 * await life.wallet(cast.bob)
    assert earned > 0
    _, event = await opened(cast)
    await tell(cast, event.but(amount_minor=event.amount_minor - 1))
    expected = {"held": 70_000, "wallet": earned, "parked": event.amount_minor - 1}
    assert money(await scrape(cast)) == expected
    # Parked money is a rollup and the tail behind it: the sum is the same after rolling up.
    await roll_up(pool)
    assert money(await scrape(cast)) == expected


async def test_it_knows_what_waits_and_for_how_long(cast: Cast, pool: Pool) -> None:
    found = await scrape(cast)
    for queue in ("mail", "provider_events"):
        assert found("earnest_queue_due", queue=queue) == 0
        assert found("earnest_queue_oldest_due_seconds", queue=queue) == 0
    await register(cast.anybody)
    life = await Life.at(cast, "created")
    session = await life.checkout()
    await cast.app.state.provider.complete(session, "paid")  # and nobody is there to hear of it
    async with pool.connection() as conn:
        await conn.execute("UPDATE mail SET due_at = now() - interval '100 seconds'")
        await conn.execute("UPDATE sandbox.outbox SET next_attempt_at = now() - interval '1 hour'")
    found = await scrape(cast)
    assert found("earnest_queue_due", queue="mail") == 1
    assert 100 <= found("earnest_queue_oldest_due_seconds", queue="mail") < 160
    assert found("earnest_queue_due", queue="provider_events") >= 1
    assert 3600 <= found("earnest_queue_oldest_due_seconds", queue="provider_events") < 3660
    assert found("earnest_database_connections_max") == 200


async def test_it_still_counts_when_the_database_is_gone() -> None:
    nowhere = "postgresql://earnest_app:x@127.0.0.1:1/earnest"
    made = build_app(make_settings(nowhere), Pool(nowhere))
    async with made.lifespan(), caller(made) as nobody:
        problem(await nobody.get("/readyz"), 503)
        found = await scrape(nobody)
    assert found("earnest_database_up") == 0
    assert found("earnest_http_requests_total", route="/readyz", status="503") == 1
    assert "earnest_money_minor" not in {family.name for family in found.families}


# -- who may ask ----------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["sandbox", "production"])
async def test_it_tells_only_whoever_knows_the_token(database: TestDatabase, env: str) -> None:
    settings = make_settings(database.app_dsn, env=env, metrics_token=TOKEN)
    made = build_app(settings, Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        for wrong in (None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"bearer{TOKEN}"):
            headers = {} if wrong is None else {"authorization": wrong}
            answer = await nobody.get("/metrics", headers=headers)
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        answer = await nobody.get("/metrics", headers=[(b"authorization", b"Bearer \xff\xe9")])
        problem(answer, 401)
        answer = await nobody.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert Scrape(answer)("earnest_database_up") == 1


async def test_it_is_closed_in_production_without_a_token(database: TestDatabase) -> None:
    made = build_app(make_settings(database.app_dsn, env="production"), Pool(database.app_dsn))
    async with made.lifespan(), caller(made) as nobody:
        for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
            problem(await nobody.get("/metrics", headers=headers), 401)


def test_it_refuses_a_token_that_is_easily_guessed(tmp_path: Path) -> None:
    refused = earnest("doctor", "--data", tmp_path, EARNEST_METRICS_TOKEN="short")
    assert refused.returncode == 1
    assert "EARNEST_METRICS_TOKEN: needs at least 16 characters" in refused.stdout


# -- the reference --------------------------------------------------------------------------


def documented() -> Iterator[tuple[str, str, set[str]]]:
    row = re.compile(r"\| `(earnest_\w+)` \| (\w+) \|([^|]*)\|")
    for name, kind, labels in row.findall(REFERENCE.read_text()):
        yield name, kind, set(re.findall(r"`(\w+)`", labels))


async def test_the_reference_describes_what_is_exported_and_nothing_else(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await life.release()
    cast.app.state.metrics.chore("send mail", failed=False)
    await Life.at(cast, "ongoing")
    await advance(cast.app, days=61)
    assert await look(cast.app) == 1
    cast.app.state.metrics.alert("hold_limit")
    exported = set()
    for family in (await scrape(cast)).families:
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exported.add((name, family.type, frozenset(labels)))
    assert exported == {(name, kind, frozenset(labels)) for name, kind, labels in documented()}


# -- all processes --------------------------------------------------------------------------


def family_with(serve: Serve, kind: str) -> list[psutil.Process]:
    """Its processes that hold the listening socket ("api"), or those that do not."""
    return [
        one
        for one in serve.family()
        if any(c.status == psutil.CONN_LISTEN for c in one.net_connections()) == (kind == "api")
    ]


def test_any_process_tells_of_all_and_none_is_forgotten_when_it_dies(data_dir: Path) -> None:
    def total(found: Scrape) -> float:
        return found("earnest_http_requests_total", route="/healthz")

    serve = Serve(data_dir, "--workers", "3")
    url = serve.ready()
    (shared,) = Path("/dev/shm").glob(f"earnest-metrics-*-{serve.process.pid}-*")
    for _ in range(60):
        assert httpx.get(f"{url}/healthz").status_code == 200
    told = [Scrape(httpx.get(f"{url}/metrics")) for _ in range(10)]
    assert {total(one) for one in told} == {60}
    deadline = time.monotonic() + 20
    while True:
        found = Scrape(httpx.get(f"{url}/metrics"))
        if found("earnest_worker_chores_total", chore="send mail", outcome="done"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found("earnest_worker_chores_total", outcome="failed") == 0
    last = found("earnest_worker_chore_last_done_timestamp_seconds", chore="send mail")
    assert time.time() - 30 < last <= time.time()

    files = set(shared.iterdir())
    for process in family_with(serve, "api"):
        process.kill()
        process.wait(10)
    _until_answers(url)
    assert total(Scrape(httpx.get(f"{url}/metrics"))) == 60
    for _ in range(10):
        httpx.get(f"{url}/healthz")
    assert total(Scrape(httpx.get(f"{url}/metrics"))) == 70
    assert set(shared.iterdir()) == files, "who takes a dead one's place goes on in its files"
    assert serve.stop() == 0
    assert not shared.exists()


def _until_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/readyz", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError


def test_it_clears_away_what_a_killed_server_left(data_dir: Path) -> None:
    first = Serve(data_dir)
    first.ready()
    first.process.kill()
    first.process.communicate()
    (left,) = Path("/dev/shm").glob(f"earnest-metrics-*-{first.process.pid}-*")
    second = Serve(data_dir)
    second.ready()
    assert not left.exists()
    assert second.stop() == 0


def test_it_leaves_what_a_server_of_another_container_counts(data_dir: Path) -> None:
    """Whose processes it cannot see, and so cannot know to be gone."""
    elsewhere = Path("/dev/shm/earnest-metrics-1-999999999-of-another-container")
    elsewhere.mkdir()
    try:
        serve = Serve(data_dir)
        serve.ready()
        assert elsewhere.exists()
        assert serve.stop() == 0
    finally:
        elsewhere.rmdir()
