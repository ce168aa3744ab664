"""Reconciling with Stripe: its double's books, fees and all, and the command in its own process."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from conftest import TestDatabase
from deal import Deal
from earnest.actions import chargebacks
from earnest.actions.reconciliation import reconcile
from earnest.domain.reconciliation import Balances
from earnest.settings import Settings
from ledgers import today
from life import Life
from partners import make_broker
from stripe_desk import checkout, fetch, heard, paid, settings_with, sound
from stripe_double import StripeDouble
from stripe_server import Fault
from web import SECRET_KEY, Cast

BOOKED = "SELECT line_id, kind, amount_minor FROM booked_line ORDER BY line_id"


@pytest.fixture
async def stripe() -> AsyncIterator[StripeDouble]:
    async with StripeDouble() as double:
        yield double


@pytest.fixture
def settings(database: TestDatabase, stripe: StripeDouble) -> Settings:
    return settings_with(stripe, database.app_dsn)


async def client_pays(cast: Cast, stripe: StripeDouble) -> Life:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    stripe.pay(life.session)
    await heard(stripe, cast.app)
    return life


def lines_at(stripe: StripeDouble) -> list[Any]:
    """Of our own balance."""
    return stripe.books.of("balance_transaction", None)


def to_our_bank(stripe: StripeDouble, amount: int) -> str:
    """Stripe pays us out, by itself; the payout."""
    payout = stripe.books.add("po", "payout", None, amount=amount, currency="inr", automatic=True)
    stripe.books.book("payout", -amount, "inr", str(payout["id"]))
    return str(payout["id"])


async def test_a_day_with_stripe_has_no_drift_and_its_fees_booked(
    stripe: StripeDouble, cast: Cast
) -> None:
    await client_pays(cast, stripe)
    broker = await make_broker(cast.app)
    deal = await Deal.begin(broker)
    await paid(stripe, deal)
    assert (await deal.refund()).status_code == 200
    await deal.settle()
    assert await deal.status() == "refunded"
    found = {one.currency: one for one in await reconcile(cast.app.state.core, today())}
    lines = lines_at(stripe)
    assert sorted(found) == ["INR", "SAR"]
    for currency, one in found.items():
        net = sum(line["net"] for line in lines if line["currency"] == currency.lower())
        assert (one.differences, one.closing) == ((), Balances(net, net))
    fees = {line["id"]: line["fee"] for line in lines if line["fee"]}
    assert fees
    assert {row[0]: row[2] for row in await fetch(cast.app, BOOKED)} == fees
    await sound(cast.app)
    await broker.client.aclose()


async def test_it_books_what_went_to_our_own_bank(stripe: StripeDouble, cast: Cast) -> None:
    await client_pays(cast, stripe)
    to_our_bank(stripe, 500_000)
    stripe.books.book("stripe_fee", -1_180, "inr", None)
    (found,) = await reconcile(cast.app.state.core, today())
    net = sum(line["net"] for line in lines_at(stripe))
    assert (found.differences, found.closing) == ((), Balances(net, net))
    kinds = sorted((row[1], row[2]) for row in await fetch(cast.app, BOOKED))
    assert kinds == [("bank", 500_000), ("fee", 1_180), ("fee", 34_830)]
    await sound(cast.app)


async def test_it_finds_what_we_were_never_told(stripe: StripeDouble, cast: Cast) -> None:
    """The webhook was down while Alice paid; later Stripe tells it after all."""
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    events = stripe.pay(life.session)
    intent = next(iter(stripe.payment_intents))
    core = cast.app.state.core
    (found,) = await reconcile(core, today())
    assert [(str(d.cause), d.source_id, d.minor) for d in found.differences] == [
        ("missing_here", intent, 1_200_000)
    ]
    await sound(cast.app)
    await heard(stripe, cast.app, *events)
    (found,) = await reconcile(core, today())
    assert (found.differences, found.closing.drift_minor) == ((), 0)
    await sound(cast.app)


# -- disputes whose events never came -------------------------------------------------------------

CHARGEBACKS = "SELECT provider_dispute_id, state FROM chargeback"
ASKED = re.compile(r"/v1/disputes/\w+")


def disputed(stripe: StripeDouble) -> str:
    """Alice's bank takes back what she paid, and no event tells of it; the dispute."""
    (intent,) = stripe.payment_intents
    created, *_ = stripe.dispute(intent)
    return str(created["data"]["object"]["id"])


async def shown(cast: Cast) -> list[tuple[str, str, int]]:
    results = await reconcile(cast.app.state.core, today())
    found = [one for result in results for one in result.differences]
    return [(str(one.cause), one.source_id, one.minor) for one in found]


async def test_it_begins_the_chargeback_of_a_dispute_that_no_event_told_of(
    stripe: StripeDouble, cast: Cast
) -> None:
    life = await client_pays(cast, stripe)
    dispute = disputed(stripe)
    core = cast.app.state.core
    assert await shown(cast) == [("missing_here", dispute, -1_200_000)]
    assert await fetch(cast.app, CHARGEBACKS) == [(dispute, "noticed")]
    await sound(cast.app)
    assert await chargebacks.look_up_due(core) == 1
    assert await fetch(cast.app, CHARGEBACKS) == [(dispute, "open")]
    (found,) = await reconcile(core, today())
    net = sum(line["net"] for line in lines_at(stripe))
    assert (found.differences, found.closing) == ((), Balances(net, net)), "with the bank's fee"
    assert (await life.proof())["holds"] is True
    await sound(cast.app)


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.TOO_MANY_429, Fault.RESET_BEFORE])
async def test_it_compares_though_stripe_does_not_say_what_a_dispute_is_about(
    stripe: StripeDouble, cast: Cast, fault: Fault
) -> None:
    await client_pays(cast, stripe)
    dispute = disputed(stripe)
    stripe.fault("GET", "/v1/disputes/*", fault)
    missing = [("missing_here", dispute, -1_200_000)]
    assert await shown(cast) == missing
    assert await fetch(cast.app, CHARGEBACKS) == []
    assert await shown(cast) == missing, "and the next run asks again"
    assert await fetch(cast.app, CHARGEBACKS) == [(dispute, "noticed")]
    await sound(cast.app)


async def test_it_begins_nothing_for_a_payment_that_we_were_never_told_of_either(
    stripe: StripeDouble, cast: Cast
) -> None:
    life = await Life.begin(cast)
    await life.create()
    await checkout(life)
    paid = stripe.pay(life.session)
    dispute = disputed(stripe)
    assert ("missing_here", dispute, -1_200_000) in await shown(cast)
    assert await fetch(cast.app, CHARGEBACKS) == []
    await sound(cast.app)
    await heard(stripe, cast.app, *paid)
    assert await shown(cast) == [("missing_here", dispute, -1_200_000)]
    assert await chargebacks.look_up_due(cast.app.state.core) == 1
    assert await shown(cast) == []
    asked = [request for request in stripe.requests if ASKED.fullmatch(request.path)]
    assert len(asked) == 3, "once in each run that did not know it, once by the worker"
    await sound(cast.app)


# -- the command ----------------------------------------------------------------------------------


async def run(
    app: Litestar, stripe: StripeDouble | None, tmp_path: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """`earnest reconcile` with these options, as an operator runs it."""
    environment = os.environ | {
        "EARNEST_DATABASE_URL": app.state.settings.database_url,
        "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
        "EARNEST_DATA_DIR": str(tmp_path),
    }
    if stripe is not None:
        environment |= {
            "EARNEST_PROVIDER": "stripe",
            "EARNEST_STRIPE_SECRET_KEY": stripe.api_key,
            "EARNEST_STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
            "EARNEST_STRIPE_API_BASE": stripe.url,
        }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "earnest", "reconcile", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_the_command_ends_with_0_on_a_clean_day(
    stripe: StripeDouble, cast: Cast, tmp_path: Path
) -> None:
    await client_pays(cast, stripe)
    day = today().isoformat()
    done = await run(cast.app, stripe, tmp_path, "--date", day, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["clean"], told["differences"], told["bank"]) == (True, [], None)
    assert told["balances"] == [
        {
            "currency": "INR",
            "provider": {"opening": "0.00", "closing": "11651.70"},
            "ledger": {"opening": "0.00", "closing": "11651.70"},
            "drift": "0.00",
            "lines": 2,
            "entries": 2,
            "differences": 0,
        }
    ]
    done = await run(cast.app, stripe, tmp_path, "--date", day)
    assert done.stdout.splitlines()[-1] == "Nothing differs."
    await sound(cast.app)


async def test_the_command_ends_with_1_on_differences(
    stripe: StripeDouble, cast: Cast, tmp_path: Path
) -> None:
    await client_pays(cast, stripe)
    stripe.books.book("charge", 70_000, "inr", None)
    payout = to_our_bank(stripe, 500_000)
    day = today().isoformat()
    bank = tmp_path / "bank.csv"
    bank.write_text(
        f"Date;Amount;Currency;Reference\n{day};5000.00;INR;STRIPE {payout}\n"
        f"{day};12.50;INR;who knows\n"
    )
    done = await run(cast.app, stripe, tmp_path, "--date", day, "--bank", str(bank), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["clean"]) == (1, False)
    assert [(one["cause"], one["provider"], one["ledger"]) for one in told["differences"]] == [
        ("missing_here", "700.00", "0.00")
    ]
    assert [(one["cause"], one["bank"], one["row"]) for one in told["bank"]] == [
        ("missing_here", "12.50", 3)
    ]
    done = await run(cast.app, stripe, tmp_path, "--date", day)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "They differ.")
    await sound(cast.app)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--date", "yesterday"), "date must be a day such as 2026-11-22"),
        (("--date", "20261122"), "date must be a day such as 2026-11-22"),
        (("--date", "2999-01-01"), "date must not be in the future"),
        (("--date", "2026-01-01"), "date must not be before"),
        (("--date", "TODAY", "--bank", "/nowhere.csv"), "bank cannot be read"),
    ],
)
async def test_the_command_ends_with_2_when_it_could_not_be_done(
    stripe: StripeDouble, cast: Cast, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    await client_pays(cast, stripe)
    given = (one.replace("TODAY", today().isoformat()) for one in options)
    done = await run(cast.app, stripe, tmp_path, *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_command_ends_with_2_when_stripe_is_away(
    stripe: StripeDouble, cast: Cast, tmp_path: Path
) -> None:
    await client_pays(cast, stripe)
    async with stripe.away():
        done = await run(cast.app, stripe, tmp_path, "--date", today().isoformat())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
