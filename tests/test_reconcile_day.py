"""A day reconciled: the ledger in PostgreSQL against the books of the sandbox, of Stripe's double,
and of a provider that has the lines that a test gives it."""

import asyncio
import os
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from litestar import Litestar

from conftest import TestDatabase
from deal import Deal
from earnest.actions import chargebacks
from earnest.actions.core import Core
from earnest.actions.reconciliation import TooEarly, reconcile, reconcile_due
from earnest.domain.reconciliation import Result
from earnest.errors import InvalidField, ProviderUnknown
from earnest.providers.base import BalanceKind, BalanceTransaction
from earnest.store.verify import verify
from ledgers import Books, age, captured, fetch, line, noon, take, today, yesterday
from life import Life, accepted, post_event
from partners import Broker
from paying_out import seen, withdrawn, work
from web import Cast

N = 100_000 if os.environ.get("EARNEST_TEST_PROFILE") == "nightly" else 10_000

BOOKED = "SELECT line_id, kind, amount_minor FROM booked_line ORDER BY line_id"
FEES = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM transfer WHERE debit >> 57 = 10"
STORED = """
SELECT cause, source_id, resolved_at IS NOT NULL FROM reconciliation_difference
WHERE day = $1 ORDER BY cause, source_id
"""
CASH_MOVEMENTS = """
SELECT DISTINCT movement FROM transfer WHERE 3 IN (debit >> 57, credit >> 57) ORDER BY movement
"""
OF_DISPUTES = "SELECT body FROM sandbox.outbox WHERE type LIKE 'charge.dispute.%' ORDER BY position"
STATES = "SELECT day, state, drift_minor FROM reconciliation ORDER BY day"


async def sound(app: Litestar) -> None:
    report = await verify(app.state.settings.database_url)
    assert report.violations == (), report.lines()


def core_of(app: Litestar) -> Core:
    core: Core = app.state.core
    return core


def shown(results: list[Result]) -> list[Any]:
    return [
        (r.currency, r.closing.there_minor, r.closing.here_minor, len(r.differences))
        for r in results
    ]


def causes(results: list[Result]) -> list[tuple[str, str, int]]:
    return [
        (str(one.cause), one.source_id, one.minor)
        for result in results
        for one in result.differences
    ]


# -- the sandbox ----------------------------------------------------------------------------------


async def test_a_day_of_the_sandbox_has_no_drift(cast: Cast) -> None:
    for point in ("paid", "released", "refunded"):
        await Life.at(cast, point)
    found = await reconcile(core_of(cast.app), today())
    assert shown(found) == [("INR", 3_600_000, 3_600_000, 0)]
    assert (found[0].lines, found[0].entries) == (3, 3)
    await sound(cast.app)


async def test_it_compares_real_days_however_the_clock_was_moved(cast: Cast) -> None:
    await Life.at(cast, "paid")
    for _ in range(2):
        accepted(await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 900_000}))
        await Life.at(cast, "paid")
    found = await reconcile(core_of(cast.app), today())
    assert shown(found) == [("INR", 3_600_000, 3_600_000, 0)]
    again = await reconcile(core_of(cast.app), today())
    assert shown(again) == shown(found)
    await sound(cast.app)


async def test_all_that_money_does_is_told_alike_on_both_sides(cast: Cast, broker: Broker) -> None:
    """Paid, released, refunded, paid out, sent back by a bank, charged back and given back."""
    deal = await Deal.at(broker, "paid", Milestones=None)
    assert (await deal.refund("PARTIAL", amount=300)).status_code == 200
    await deal.settle()
    life = await Life.at(cast, "released")
    done, failing = await withdrawn(cast.bob, 800), await withdrawn(cast.bob, 700)
    await work(cast.app, turns=2, seconds=0)
    assert (await cast.anybody.post(f"/sandbox/payouts/{failing['_id']}/fail")).status_code == 200
    await work(cast.app)
    assert (await seen(cast.bob, done))["status"] == "paid"
    assert (await seen(cast.bob, failing))["status"] == "failed"
    for outcome in ("opened", "won"):
        body = {"session": life.session, "outcome": outcome}
        accepted(await cast.anybody.post("/sandbox/disputes", json=body))
        for (told,) in await fetch(core_of(cast.app), OF_DISPUTES):
            await post_event(cast, told)
        await chargebacks.look_up_due(core_of(cast.app))
    assert [row[0] for row in await fetch(core_of(cast.app), CASH_MOVEMENTS)] == [
        "chargeback_returned", "charged_back", "funded", "paid_out", "payout_returned",
        "refunded_to_source",
    ]  # fmt: skip
    found = await reconcile(core_of(cast.app), today())
    assert [(r.currency, r.closing.drift_minor, r.differences) for r in found] == [
        ("INR", 0, ()),
        ("SAR", 0, ()),
    ]
    assert [(r.lines, r.entries) for r in found] == [(6, 6), (2, 2)]
    await sound(cast.app)


async def test_it_says_when_there_is_nothing_to_compare(cast: Cast) -> None:
    core = core_of(cast.app)
    with pytest.raises(TooEarly, match="before the first payment"):
        await reconcile(core, today())
    await Life.at(cast, "paid")
    with pytest.raises(TooEarly, match="must not be before"):
        await reconcile(core, today() - timedelta(days=9))
    with pytest.raises(InvalidField, match="must not be in the future"):
        await reconcile(core, today() + timedelta(days=1))
    assert await fetch(core, STATES) == []


# -- what is seeded is found ----------------------------------------------------------------------

SEEDS = {
    "missing here": ("missing_here", 40),
    "missing there": ("missing_there", 40),
    "twice there": ("amount", 30),
    "late here": ("timing", 30),
    "late there": ("timing", 30),
    "another amount": ("amount", 30),
}


async def test_it_finds_what_is_seeded_among_ten_thousand_and_nothing_else(
    cast: Cast, database: TestDatabase
) -> None:
    dice = random.Random(5)
    seeds = [seed for seed, (_, count) in SEEDS.items() for _ in range(count)]
    seeds += ["sound"] * (N - len(seeds))
    dice.shuffle(seeds)
    lines: list[BalanceTransaction] = []
    early, late, wanted = [], [], {}
    for number, seed in enumerate(seeds):
        source, minor = f"pi_{number:06d}", dice.randint(100, 9_999_999)
        told = captured(source, minor)
        if seed == "late here":
            late.append(told)
        elif seed != "missing here":
            early.append(told)
        if seed != "missing there":
            day = today() if seed == "late there" else yesterday()
            off = dice.choice((-7, 1, 50)) if seed == "another amount" else 0
            lines.append(line(source, minor + off, day, fee_minor=minor // 50))
        if seed == "twice there":
            lines.append(line(source, minor, yesterday(), id_=f"txn_again_{number}"))
        if seed != "sound":
            wanted[source] = SEEDS[seed][0]
    real = core_of(cast.app)
    await take(real, *early)
    await age(database)
    await take(real, *late)
    books = Books(lines)
    core = books.before(real)

    (first,) = await reconcile(core, yesterday())
    assert {one.source_id: str(one.cause) for one in first.differences} == wanted
    assert len(first.differences) == len(wanted)
    assert first.closing.drift_minor == sum(one.minor for one in first.differences) != 0
    fees = {one.id: one.fee_minor for one in lines if one.created_at == noon(yesterday())}
    booked = await fetch(core, BOOKED)
    assert {row[0]: row[2] for row in booked} == {id_: fee for id_, fee in fees.items() if fee}
    assert await fetch(core, FEES) == [(sum(fees.values()),)]
    await sound(cast.app)

    (again,) = await reconcile(core, yesterday())
    assert again == first
    assert await fetch(core, BOOKED) == booked
    await sound(cast.app)

    (second,) = await reconcile(core, today())
    left = {source: cause for source, cause in wanted.items() if cause != "timing"}
    assert {one.source_id: str(one.cause) for one in second.differences} == left
    assert second.opening == first.closing
    kept = await fetch(core, STORED, yesterday())
    assert Counter((row[0], row[2]) for row in kept) == Counter(
        (cause, cause == "timing") for cause in wanted.values()
    )
    assert [row[1] for row in await fetch(core, STATES)] == ["different", "open"]
    await sound(cast.app)


async def test_a_clean_day_is_closed_with_its_fees_booked(
    cast: Cast, database: TestDatabase
) -> None:
    await take(core_of(cast.app), captured("pi_1", 50_000), captured("pi_2", 70_000))
    await age(database)
    bank = line("po_1", -90_000, yesterday(), kind=BalanceKind.BANK, fee_minor=25)
    fee = line("fee_1", -300, yesterday(), kind=BalanceKind.FEE, fee_minor=54)
    books = Books(
        [
            line("pi_1", 50_000, yesterday(), fee_minor=1_200),
            line("pi_2", 70_000, yesterday(), fee_minor=1_700),
            bank,
            fee,
        ]
    )
    core = books.before(core_of(cast.app))
    found = await reconcile(core, yesterday())
    left = 120_000 - 2_900 - 90_025 - 354
    assert shown(found) == [("INR", left, left, 0)]
    assert await fetch(core, BOOKED) == [
        ("txn_fee_1", "fee", 300),
        ("txn_fee_1#fee", "fee", 54),
        ("txn_pi_1", "fee", 1_200),
        ("txn_pi_2", "fee", 1_700),
        ("txn_po_1", "bank", 90_000),
        ("txn_po_1#fee", "fee", 25),
    ]
    assert await fetch(core, STATES) == [(yesterday(), "clean", 0)]
    await sound(cast.app)


async def test_it_names_what_of_ours_a_line_is(cast: Cast) -> None:
    """The provider has a refund of a payment of ours, and we know nothing of it."""
    life = await Life.at(cast, "paid")
    core = core_of(cast.app)
    ((payment,),) = await fetch(core, "SELECT provider_payment_id FROM payment")
    number = (await life.seen())["contractId"]
    books = Books([line(payment, 1_100_000, today())])
    (found,) = await reconcile(books.before(core), today())
    (one,) = found.differences
    assert (str(one.cause), one.minor) == ("amount", -100_000)
    assert one.of.startswith("payment ")
    assert one.of.endswith(f", {number}")


async def test_it_tells_of_a_line_that_was_altered(cast: Cast, database: TestDatabase) -> None:
    await take(core_of(cast.app), captured("pi_1", 50_000))
    await age(database)
    books = Books([line("pi_1", 50_000, yesterday())])
    core = books.before(core_of(cast.app))
    assert causes(await reconcile(core, yesterday())) == []
    books.lines = [line("pi_1", 40_000, yesterday())]
    found = await reconcile(core, yesterday())
    assert causes(found) == [("altered", "txn_pi_1#altered", 0)]
    assert (found[0].differences[0].there_minor, found[0].closing.drift_minor) == (40_000, 0)
    books.lines = [line("pi_1", 50_000, yesterday())]
    assert causes(await reconcile(core, yesterday())) == []
    await sound(cast.app)


async def test_it_compares_again_what_followed_a_late_line(
    cast: Cast, database: TestDatabase
) -> None:
    """A line that the provider tells a day after its day."""
    await take(core_of(cast.app), captured("pi_1", 500), captured("pi_2", 700))
    await age(database)
    books = Books([line("pi_1", 500, yesterday())])
    core = books.before(core_of(cast.app))
    await take(core, captured("pi_3", 900))
    assert causes(await reconcile(core, yesterday())) == [("missing_there", "pi_2", -700)]
    assert causes(await reconcile(core, today())) == [
        ("missing_there", "pi_2", -700),
        ("missing_there", "pi_3", -900),
    ]
    books.lines += [line("pi_2", 700, yesterday()), line("pi_3", 900, today())]
    assert causes(await reconcile(core, yesterday())) == []
    days = [(yesterday(), "clean", 0), (today(), "open", 0)]
    assert await fetch(core, STATES) == days, "and the day after is what it is now"
    assert [row[2] for row in await fetch(core, STORED, today())] == [True, True]
    await sound(cast.app)


# -- twice, at once, half-way ---------------------------------------------------------------------


async def test_two_at_once_book_once(cast: Cast, database: TestDatabase) -> None:
    await take(core_of(cast.app), *(captured(f"pi_{n}", 500) for n in range(700)))
    await age(database)
    lines = [line(f"pi_{n}", 500, yesterday(), fee_minor=15) for n in range(700)]
    core = Books(lines).before(core_of(cast.app))
    found = await asyncio.gather(*(reconcile(core, yesterday()) for _ in range(4)))
    left = 700 * 485
    assert [shown(one) for one in found] == [[("INR", left, left, 0)]] * 4
    assert len(await fetch(core, BOOKED)) == 700
    assert await fetch(core, FEES) == [(700 * 15,)]
    await sound(cast.app)


async def test_it_goes_on_where_another_run_died(cast: Cast, database: TestDatabase) -> None:
    await take(core_of(cast.app), *(captured(f"pi_{n:04d}", 500) for n in range(1_200)))
    await age(database)
    lines = [line(f"pi_{n:04d}", 500, yesterday(), fee_minor=15) for n in range(1_200)]
    core = Books(lines).before(core_of(cast.app))
    owner = await asyncpg.connect(database.superuser_dsn)
    try:
        # The second commit ends its own connection, and so the run.
        await owner.execute("""
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'killed' USING ERRCODE = 'data_exception';
            END $$;
            CREATE TRIGGER dying BEFORE INSERT ON booked_line
            FOR EACH ROW WHEN (NEW.line_id = 'txn_pi_0700') EXECUTE FUNCTION die();
        """)
        with pytest.raises(asyncpg.DataError):
            await reconcile(core, yesterday())
        assert len(await fetch(core, BOOKED)) == 500
        assert await fetch(core, STATES) == []
        await sound(cast.app)
        await owner.execute("DROP TRIGGER dying ON booked_line")
    finally:
        await owner.close()
    assert shown(await reconcile(core, yesterday())) == [("INR", 582_000, 582_000, 0)]
    assert len(await fetch(core, BOOKED)) == 1_200
    assert await fetch(core, FEES) == [(18_000,)]
    await sound(cast.app)


async def test_a_provider_that_breaks_off_is_asked_again(
    cast: Cast, database: TestDatabase
) -> None:
    await take(core_of(cast.app), captured("pi_1", 500), captured("pi_2", 500))
    await age(database)
    lines = [line("pi_1", 500, yesterday()), line("pi_2", 500, yesterday())]
    books = Books(lines, failing=ProviderUnknown())
    core = books.before(core_of(cast.app))
    with pytest.raises(ProviderUnknown):
        await reconcile(core, yesterday())
    assert await fetch(core, STATES) == []
    assert shown(await reconcile(core, yesterday())) == [("INR", 1_000, 1_000, 0)]


# -- every night ----------------------------------------------------------------------------------

AFTER_AN_HOUR = "UPDATE reconciliation_turn SET next_try_at = next_try_at - interval '1 hour'"


async def test_the_worker_reconciles_a_day_once(cast: Cast, database: TestDatabase) -> None:
    for number in range(2):  # before two o'clock in the morning it is about the day before
        await take(core_of(cast.app), captured(f"pi_{number}", 500))
        await age(database)
    books = Books([line("pi_1", 500, yesterday()), line("pi_0", 500, yesterday())])
    core = books.before(core_of(cast.app))
    await asyncio.gather(*(reconcile_due(core) for _ in range(3)))
    assert books.asked == 1
    assert await reconcile_due(core) == 0
    assert books.asked == 1
    assert len(await fetch(core, STATES)) >= 1


async def test_the_worker_tries_again_after_an_hour(cast: Cast, database: TestDatabase) -> None:
    await take(core_of(cast.app), captured("pi_1", 500))
    await age(database)
    await age(database)
    books = Books([line("pi_1", 500, yesterday() - timedelta(days=1))], failing=ProviderUnknown())
    core = books.before(core_of(cast.app))
    with pytest.raises(ProviderUnknown):
        await reconcile_due(core)
    assert await reconcile_due(core) == 0
    assert books.asked == 1, "not before an hour has passed"
    async with core.pool.connection() as conn:
        await conn.execute(AFTER_AN_HOUR)
    await reconcile_due(core)
    assert (books.asked, (await fetch(core, STATES))[0][1]) == (2, "clean")
