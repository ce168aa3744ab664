"""A dispute whose events were all lost is found in the provider's books: reconciling begins its
chargeback, and the worker does the rest. The sandbox over HTTP, and books that a test writes."""

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from conftest import TestDatabase
from earnest.actions import chargebacks, hints
from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile
from earnest.domain.reconciliation import Difference
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.providers.base import BalanceKind, BalanceTransaction
from ledgers import Books, age, captured, disputed, fetch, line, take, today, yesterday
from life import Life, accepted, post_event
from test_reconcile_day import core_of, sound
from web import Cast

CHARGEBACKS = "SELECT provider_dispute_id, state FROM chargeback ORDER BY id"
TAKEN = "SELECT sum(amount_minor)::bigint FROM transfer WHERE movement = 'charged_back'"
UNTOLD = "SELECT body FROM sandbox.outbox WHERE type LIKE 'charge.dispute.%' ORDER BY position"
DISPUTE = "SELECT id FROM sandbox.dispute"
KEPT = """
SELECT day, cause, resolved_at IS NOT NULL FROM reconciliation_difference
WHERE kind = 'chargeback' ORDER BY day
"""
PAID_MINOR = 1_200_000


async def differences(core: Core, day: date) -> list[Difference]:
    results = await reconcile(core, day)
    found = [one for result in results for one in result.differences]
    assert sum(r.closing.drift_minor for r in results) == sum(one.minor for one in found)
    return found


def shown(found: list[Difference]) -> list[Any]:
    return [(str(one.cause), str(one.kind), one.source_id, one.minor) for one in found]


async def bank_says(cast: Cast, life: Life, outcome: str) -> str:
    """Alice's bank opens a dispute, or decides it, and no event of it comes; the dispute."""
    body = {"session": life.session, "outcome": outcome}
    accepted(await cast.anybody.post("/sandbox/disputes", json=body))
    ((dispute,),) = await fetch(core_of(cast.app), DISPUTE)
    return str(dispute)


async def dispute_was_yesterday(database: TestDatabase) -> None:
    """To the provider; we hear of it after midnight."""
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        await conn.execute(
            "UPDATE sandbox.dispute_line SET recorded_at = recorded_at - interval '1 day'"
        )
    finally:
        await conn.close()


def taken(source: str, day: date, minor: int = 700) -> BalanceTransaction:
    return line(source, -minor, day, kind=BalanceKind.CHARGEBACK)


# -- found, booked, gone --------------------------------------------------------------------------


async def test_it_begins_the_chargeback_of_a_dispute_that_no_event_told_of(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    dispute = await bank_says(cast, life, "opened")
    core = core_of(cast.app)
    found = await differences(core, today())
    assert shown(found) == [("missing_here", "chargeback", dispute, -PAID_MINOR)]
    number = (await life.seen())["contractId"]
    assert found[0].of.startswith("chargeback "), "it says that it is known by now"
    assert found[0].of.endswith(f", {number}")
    assert await fetch(core, CHARGEBACKS) == [(dispute, "noticed")]
    await sound(cast.app)

    assert await chargebacks.look_up_due(core) == 1, "at once"
    assert await fetch(core, CHARGEBACKS) == [(dispute, "open")]
    assert await fetch(core, TAKEN) == [(PAID_MINOR,)]
    refused = await cast.alice.patch(f"/api/client/release-fund/{life.contract}")
    assert refused.status_code == 400, refused.text
    assert (await life.proof())["holds"] is True
    assert await differences(core, today()) == []
    assert [row[2] for row in await fetch(core, KEPT)] == [True]
    await sound(cast.app)


async def test_what_it_leaves_missing_is_timing_to_the_next_runs_and_then_gone(
    cast: Cast, database: TestDatabase
) -> None:
    life = await Life.at(cast, "paid")
    dispute = await bank_says(cast, life, "opened")
    await dispute_was_yesterday(database)
    core = core_of(cast.app)
    found = await differences(core, yesterday())
    assert shown(found) == [("missing_here", "chargeback", dispute, -PAID_MINOR)]
    assert await chargebacks.look_up_due(core) == 1
    assert await differences(core, today()) == [], "the next night, which looks back"
    assert await fetch(core, KEPT) == [(yesterday(), "timing", True)]
    found = await differences(core, yesterday())
    assert shown(found) == [("timing", "chargeback", dispute, -PAID_MINOR)]
    assert await differences(core, today()) == []
    assert await fetch(core, TAKEN) == [(PAID_MINOR,)]
    await sound(cast.app)


async def test_it_finds_a_dispute_that_is_over_before_anybody_has_heard_of_it(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    dispute = await bank_says(cast, life, "opened")
    await bank_says(cast, life, "won")
    core = core_of(cast.app)
    kinds = [str(one.kind) for one in await differences(core, today())]
    assert kinds == ["chargeback", "chargeback_returned"]
    assert await chargebacks.look_up_due(core) == 1
    assert await fetch(core, CHARGEBACKS) == [(dispute, "won")]
    assert await differences(core, today()) == []
    await sound(cast.app)


async def test_it_looks_again_at_one_that_was_over_when_the_bank_gives_the_money_back(
    cast: Cast, database: TestDatabase
) -> None:
    """Lost, looked up, and won after all: of that no event came."""
    life = await Life.at(cast, "released")
    await bank_says(cast, life, "opened")
    await bank_says(cast, life, "lost")
    core = core_of(cast.app)
    await differences(core, today())
    assert await chargebacks.look_up_due(core) == 1
    assert await differences(core, today()) == []
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        await conn.execute("UPDATE sandbox.dispute SET state = 'open'")
    finally:
        await conn.close()
    dispute = await bank_says(cast, life, "won")
    (found,) = await differences(core, today())
    assert (str(found.cause), str(found.kind)) == ("missing_here", "chargeback_returned")
    assert await chargebacks.look_up_due(core) == 1
    assert await fetch(core, CHARGEBACKS) == [(dispute, "won")]
    assert await differences(core, today()) == []
    assert await chargebacks.look_up_due(core) == 0, "nobody asks again"
    await sound(cast.app)


async def test_events_that_come_after_all_change_nothing(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    dispute = await bank_says(cast, life, "opened")
    core = core_of(cast.app)
    await differences(core, today())
    await chargebacks.look_up_due(core)
    for (told,) in await fetch(core, UNTOLD):
        assert (await post_event(cast, told)).status_code == 200
    await chargebacks.look_up_due(core)
    assert await fetch(core, CHARGEBACKS) == [(dispute, "open")]
    assert await fetch(core, TAKEN) == [(PAID_MINOR,)]
    assert await differences(core, today()) == []
    await sound(cast.app)


# -- twice, at once, half-way ---------------------------------------------------------------------


async def test_two_at_once_begin_one_chargeback(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    dispute = await bank_says(cast, life, "opened")
    core = core_of(cast.app)
    told = [body for (body,) in await fetch(core, UNTOLD)]
    await asyncio.gather(
        *(reconcile(core, today()) for _ in range(6)), *(post_event(cast, body) for body in told)
    )
    await reconcile(core, today())
    assert [row[0] for row in await fetch(core, CHARGEBACKS)] == [dispute]
    await sound(cast.app)
    assert await chargebacks.look_up_due(core) == 1
    assert await fetch(core, TAKEN) == [(PAID_MINOR,)]
    assert await differences(core, today()) == []
    await sound(cast.app)


async def test_a_run_that_dies_after_it_has_begun_one_goes_on(
    cast: Cast, database: TestDatabase
) -> None:
    life = await Life.at(cast, "paid")
    dispute = await bank_says(cast, life, "opened")
    core = core_of(cast.app)
    owner = await asyncpg.connect(database.superuser_dsn)
    try:
        await owner.execute("""
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'killed' USING ERRCODE = 'data_exception';
            END $$;
            CREATE TRIGGER dying BEFORE INSERT ON reconciliation
            FOR EACH ROW EXECUTE FUNCTION die();
        """)
        with pytest.raises(asyncpg.DataError):
            await reconcile(core, today())
        assert await fetch(core, CHARGEBACKS) == [(dispute, "noticed")]
        await sound(cast.app)
        await owner.execute("DROP TRIGGER dying ON reconciliation")
    finally:
        await owner.close()
    assert await chargebacks.look_up_due(core) == 1
    assert await differences(core, today()) == []
    assert await fetch(core, CHARGEBACKS) == [(dispute, "open")]
    await sound(cast.app)


# -- what cannot be begun -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [disputed("du_1", 700, "pi_of_another_shop"), None, ProviderTransient(), ProviderUnknown(),
     ProviderPermanent()],
    ids=["not ours", "unknown", "transient", "outcome unknown", "refused"],
)  # fmt: skip
async def test_it_lists_what_it_cannot_begin_as_before(cast: Cast, answer: Any) -> None:
    await take(core_of(cast.app), captured("pi_1", 50_000))
    lines = [line("pi_1", 50_000, today()), taken("du_1", today())]
    books = Books(lines, disputes={} if answer is None else {"du_1": answer})
    core = books.before(core_of(cast.app))
    for night in (1, 2):
        found = await differences(core, today())
        assert shown(found) == [("missing_here", "chargeback", "du_1", -700)]
        assert found[0].of == ""
        assert books.asked_about == ["du_1"] * night, "once in each run"
    assert await fetch(core, CHARGEBACKS) == []
    await sound(cast.app)


async def test_it_begins_weeks_later_what_was_not_answered(
    cast: Cast, database: TestDatabase
) -> None:
    """The line is of a day that no later run looks at: what is missing is carried on."""
    life = await Life.at(cast, "paid")
    real = core_of(cast.app)
    ((payment,),) = await fetch(real, "SELECT provider_payment_id FROM payment")
    lines = [line(payment, PAID_MINOR, today()), taken("du_1", days_ago(20), PAID_MINOR)]
    books = Books(lines, disputes={"du_1": ProviderTransient()})
    core = books.before(real)
    await make_older(database, days=21)
    for day in (20, 9, 1):
        found = await differences(core, days_ago(day))
        assert shown(found) == [("missing_here", "chargeback", "du_1", -PAID_MINOR)]
    await make_older(database, days=-21)
    books.disputes = {"du_1": disputed("du_1", PAID_MINOR, payment)}
    books.asked_about.clear()
    await differences(core, today())
    assert books.asked_about == ["du_1"]
    assert await chargebacks.look_up_due(core) == 1
    assert await differences(core, today()) == []
    assert books.asked_about == ["du_1"] * 2, "by the worker, and by no reconciliation again"
    assert (await life.proof())["holds"] is True
    await sound(cast.app)


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


async def make_older(database: TestDatabase, days: int) -> None:
    """When the first payer was asked to pay: books of earlier days can be compared."""
    conn = await asyncpg.connect(database.superuser_dsn)
    try:
        await conn.execute(
            "UPDATE payment SET created_at = created_at - make_interval(0, 0, 0, $1)", days
        )
    finally:
        await conn.close()


async def test_it_asks_a_silent_provider_about_no_more_than_a_few(cast: Cast) -> None:
    sources = [f"du_{n}" for n in range(6)]
    await take(core_of(cast.app), captured("pi_1", 50_000))
    lines = [line("pi_1", 50_000, today()), *(taken(source, today()) for source in sources)]
    books = Books(lines, disputes=dict.fromkeys(sources, ProviderUnknown()))
    core = books.before(core_of(cast.app))
    for _ in range(30):
        assert len(await differences(core, today())) == 6
    assert len(books.asked_about) == 30 * hints.UNANSWERED_MAX
    assert set(books.asked_about) == set(sources), "none waits behind the others for ever"


async def test_it_asks_about_no_more_than_a_hundred_in_one_run(cast: Cast) -> None:
    sources = [f"du_{n}" for n in range(hints.ASKED_MAX + 50)]
    await take(core_of(cast.app), captured("pi_1", 50_000))
    lines = [line("pi_1", 50_000, today()), *(taken(source, today()) for source in sources)]
    books = Books(lines, disputes=dict.fromkeys(sources, ProviderPermanent()))
    assert len(await differences(books.before(core_of(cast.app)), today())) == len(sources)
    assert len(books.asked_about) == len(set(books.asked_about)) == hints.ASKED_MAX


async def test_it_asks_once_where_all_days_are_compared_again(
    cast: Cast, database: TestDatabase
) -> None:
    await take(core_of(cast.app), captured("pi_1", 500))
    await age(database)
    books = Books([taken("du_1", yesterday())])
    core = books.before(core_of(cast.app))
    await differences(core, yesterday())
    assert (books.asked, books.asked_about) == (1, ["du_1"])
    await take(core, captured("pi_2", 500))
    await age(database)  # what was yesterday's is of the day before it now
    await differences(core, today())
    assert (books.asked, books.asked_about) == (3, ["du_1"] * 2)
