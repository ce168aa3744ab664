"""/api/admin/reconciliations: what each day came to, as Olga reads it; and the alert about it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from alerted import look, open_alerts
from balances import exact
from conftest import TestDatabase
from earnest.actions.core import Core
from earnest.actions.reconciliation import reconcile
from ledgers import Books, age, captured, line, take, today, yesterday
from refusals import only_for, refused
from web import Cast

PATH = "/api/admin/reconciliations"
MISSING = "This day has not been reconciled."


@pytest.fixture
async def books(cast: Cast, database: TestDatabase) -> Books:
    """Yesterday a payment came in that the provider has, and one that it has not."""
    await take(cast.app.state.core, captured("pi_1", 50_000), captured("pi_2", 70_050))
    await age(database)
    return Books([line("pi_1", 50_000, yesterday(), fee_minor=1_175)])


def core_of(cast: Cast, books: Books) -> Core:
    return books.before(cast.app.state.core)


async def test_it_lists_days_and_shows_one(cast: Cast, books: Books) -> None:
    await reconcile(core_of(cast, books), yesterday())
    await reconcile(core_of(cast, books), today())
    body = exact(await cast.olga.get(PATH))
    assert [(one["date"], one["status"]) for one in body["data"]] == [
        (today().isoformat(), "open"),
        (yesterday().isoformat(), "different"),
    ]
    assert (body["total"], body["currentPage"], body["totalPages"]) == (2, 1, 1)
    of_day = body["data"][1]
    body = exact(await cast.olga.get(f"{PATH}/{yesterday()}"))
    assert body["data"]["date"] == yesterday().isoformat()
    assert body["data"]["currencies"] == [of_day]
    assert of_day.pop("comparedAt").endswith("Z")
    cents = Decimal("488.25"), Decimal("1188.75")
    assert of_day == {
        "date": yesterday().isoformat(),
        "currency": "INR",
        "status": "different",
        "provider": {"opening": 0, "closing": cents[0]},
        "ledger": {"opening": 0, "closing": cents[1]},
        "drift": Decimal("-700.5"),
        "lines": 2,
        "entries": 3,
        "differences": 1,
    }
    (one,) = body["data"]["differences"]
    assert one.pop("firstSeen").endswith("Z")
    assert one.pop("of").startswith("provider_event evt_")
    assert one == {
        "cause": "missing_there",
        "kind": "charge",
        "source": "pi_2",
        "currency": "INR",
        "provider": 0,
        "ledger": Decimal("700.5"),
        "since": yesterday().isoformat(),
        "resolvedAt": None,
    }
    (one,) = exact(await cast.olga.get(f"{PATH}/{today()}"))["data"]["differences"]
    assert one["since"] == yesterday().isoformat()


async def test_a_difference_that_is_gone_stays_on_record(cast: Cast, books: Books) -> None:
    await reconcile(core_of(cast, books), yesterday())
    books.lines.append(line("pi_2", 70_050, yesterday()))
    await reconcile(core_of(cast, books), yesterday())
    body = exact(await cast.olga.get(f"{PATH}/{yesterday()}"))
    assert body["data"]["currencies"][0]["status"] == "clean"
    (one,) = body["data"]["differences"]
    assert one["resolvedAt"] is not None


async def test_it_pages(cast: Cast, books: Books) -> None:
    books.lines += [line(f"pi_x{n}", 100, yesterday()) for n in range(5)]
    await reconcile(core_of(cast, books), yesterday())
    await reconcile(core_of(cast, books), today())
    body = exact(await cast.olga.get(PATH, params={"page": "2", "limit": "1"}))
    assert ([one["date"] for one in body["data"]], body["total"], body["totalPages"]) == (
        [yesterday().isoformat()],
        2,
        2,
    )
    shown = []
    for page in ("1", "2", "3"):
        query = {"page": page, "limit": "2"}
        body = exact(await cast.olga.get(f"{PATH}/{yesterday()}", params=query))
        assert (body["total"], body["totalPages"]) == (6, 3)
        shown += [one["source"] for one in body["data"]["differences"]]
    assert sorted(shown) == ["pi_2", "pi_x0", "pi_x1", "pi_x2", "pi_x3", "pi_x4"]


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "20261122", "2026-11-22T00:00:00Z"])
async def test_it_refuses_what_is_no_day(cast: Cast, day: str) -> None:
    says = "date must be a day such as 2026-11-22"
    await refused(cast, cast.olga.get(f"{PATH}/{day}"), 400, says)


async def test_it_says_that_a_day_was_not_reconciled(cast: Cast) -> None:
    await refused(cast, cast.olga.get(f"{PATH}/{yesterday()}"), 404, MISSING)
    assert exact(await cast.olga.get(PATH))["data"] == []


async def test_it_is_for_admins_only(cast: Cast) -> None:
    await only_for(cast, lambda who: who.get(PATH), cast.olga)
    day = yesterday() - timedelta(days=1)
    await only_for(cast, lambda who: who.get(f"{PATH}/{day}"), cast.olga)


async def test_it_alerts_once_and_until_it_is_resolved(cast: Cast, books: Books) -> None:
    await reconcile(core_of(cast, books), yesterday())
    await look(cast.app)
    found = [one for one in await open_alerts(cast) if one["kind"] == "reconciliation"]
    (one,) = found
    assert one["subject"] == f"reconciliation:{yesterday()}"
    assert f"{PATH}/{yesterday()}" in one["advice"]
    await reconcile(core_of(cast, books), today())
    await look(cast.app)
    assert len([a for a in await open_alerts(cast) if a["kind"] == "reconciliation"]) == 1
    books.lines.append(line("pi_2", 70_050, today()))
    await reconcile(core_of(cast, books), today())
    await look(cast.app)
    assert [a for a in await open_alerts(cast) if a["kind"] == "reconciliation"] == []
