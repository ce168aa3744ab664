"""SIGKILL, again and again, under load: what was acknowledged is there, once, and balances.

Five kills in CI, 200 by `make nightly`, each campaign from a seed that its report names. The
report goes to build/kill-campaign.json. Each of the campaign's eyes has a canary: a server with
one promise broken, which the campaign must not let pass.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from campaign import TARGETS, TWINS, Campaign, Report, plan
from canary import plant
from earnest.store.embedded import Embedded
from planted import planted
from standing import a_place
from test_races import NO_VERSIONS

IS_NIGHT = os.environ.get("EARNEST_TEST_PROFILE") == "nightly"
KILLS = 200 if IS_NIGHT else 5
REPORT = Path(__file__).parent.parent / "build" / "kill-campaign.json"

# A server whose every writer says that the disk can wait. What is written by whom does not
# matter, and what a connection is set to still says "on".
FORGETFUL = """
CREATE FUNCTION forgetful() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM set_config('synchronous_commit', 'off', TRUE); RETURN NULL; END $$;
DO $$
DECLARE place text;
BEGIN
    FOR place IN
        SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('public', 'sandbox')
    LOOP
        EXECUTE format('CREATE TRIGGER forgetful BEFORE INSERT OR UPDATE OR DELETE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION forgetful()', place);
    END LOOP;
END $$;
"""
# ... and whose log is written when there is time: by default a commit waits for 0.6 s at most.
LAZY = (
    "ALTER SYSTEM SET wal_writer_delay = '10s'",
    "ALTER SYSTEM SET wal_writer_flush_after = '1GB'",
    "SELECT pg_reload_conf()",
)


@pytest.fixture
def directory() -> Iterator[Path]:
    with a_place() as made:
        yield made


def test_it_loses_doubles_and_unbalances_nothing(directory: Path) -> None:
    seed = random.randrange(1 << 32) if IS_NIGHT else 1
    report = asyncio.run(Campaign(directory, seed).run(KILLS))
    summary = json.dumps(report.summary(), indent=2)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(summary + "\n")
    assert report.is_clean, summary
    assert len(report.kills) == KILLS
    assert report.acknowledged > 20 * KILLS
    assert report.unknown > 0, "no kill has hit anybody: this proves little"


def test_it_hits_everything_as_often_and_the_same_again() -> None:
    hits = plan(7, 200)
    assert hits == plan(7, 200)
    assert hits != plan(8, 200)
    often = Counter(hit.target for hit in hits)
    assert (often["api"], often["worker"], often["backend"]) == (40, 40, 40)
    assert often["PostgreSQL"] + often["postmaster"] == 40
    assert often["everything"] + often["supervisor"] == 40
    assert set(often) == {*TARGETS, *TWINS.values()}
    assert len({hit.target for hit in plan(1, 5)}) == 5


# -- canaries --------------------------------------------------------------------------------------


async def forget(embedded: Embedded) -> None:
    """Acknowledge what is not on the disk yet."""
    conn = await asyncpg.connect(embedded.superuser_dsn)
    try:
        for statement in (*LAZY, FORGETFUL):
            await conn.execute(statement)
    finally:
        await conn.close()


async def compare_nothing(embedded: Embedded) -> None:
    """Write whatever was decided, whoever was faster."""
    await plant(embedded.owner_dsn, *NO_VERSIONS, without=("event_chain", "balance_floor"))


def test_its_canary_a_database_that_forgets_has_lost_what_was_acknowledged(
    directory: Path,
) -> None:
    report = asyncio.run(Campaign(directory, 1, plant=forget).run(2, ("PostgreSQL",)))
    assert report.lost, report.summary()
    assert not report.violation, "the books that are left balance: only receipts show it"


def test_its_canary_without_versions_money_is_paid_twice(directory: Path) -> None:
    report = asyncio.run(Campaign(directory, 1, plant=compare_nothing).run(2, ("worker",)))
    assert any(one.startswith("contract.released") for one in report.doubled), report.summary()
    assert report.imbalance
    assert report.violation


def test_its_canary_a_record_beside_the_commit_does_things_twice(directory: Path) -> None:
    report = asyncio.run(Campaign(directory, 1, planted("late-record")).run(2, ("api",)))
    assert report.doubled, report.summary()


def test_its_canary_an_answer_before_the_commit_promises_what_never_happens(
    directory: Path,
) -> None:
    report = asyncio.run(Campaign(directory, 1, planted("early-reply")).run(2, ("api",)))
    assert any(one.endswith("missing") for one in report.lost), report.summary()


def test_a_report_with_anything_wrong_in_it_is_not_clean() -> None:
    assert Report(1).is_clean
    one = ["one"]
    for wrong in (
        Report(1, lost=one),
        Report(1, doubled=one),
        Report(1, imbalance=one),
        Report(1, astray=one),
        Report(1, violation="row 7"),
    ):
        assert not wrong.is_clean
