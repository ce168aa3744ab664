"""The days of a job: a day that there is, written in one way, and not over (row 35)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from digest import digest
from earnest.store.db import Pool
from life import accepted
from web import Cast, problem


def day(ahead: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=ahead)).isoformat()


YEAR = int(day(400)[:4])
LEAP = YEAR + (-YEAR) % 4
NO_DAYS: tuple[Any, ...] = (
    f"{YEAR}-02-30",
    f"{LEAP + 1}-02-29",
    f"{YEAR}-04-31",
    f"{YEAR}-13-01",
    f"{YEAR}-00-10",
    f"{YEAR}-10-00",
    f"{YEAR}-1-1",
    f"{YEAR}1231",
    f"{YEAR}-W10-1",
    f"{YEAR}-100",
    f"{YEAR}/12/31",
    f"31-12-{YEAR}",
    f"{YEAR}-12",
    f" {YEAR}-12-31",
    f"{YEAR}-12-31 ",
    f"{YEAR}-12-31Z",
    f"{YEAR}-12-31T00:00:00",  # whose midnight?
    f"{YEAR}-12-31T00:00:00+05:30",
    f"{YEAR}-12-31T00:00:00-00:00",
    f"{YEAR}-12-31T00:00:00z",
    f"{YEAR}-12-31t00:00:00Z",
    f"{YEAR}-12-31 00:00:00Z",
    f"{YEAR}-12-31T24:00:00Z",
    f"{YEAR}-12-31T23:59:60Z",
    f"{YEAR}-12-31T25:61Z",
    f"{YEAR}-12-31TZ",
    f"{YEAR}-12-31TnoonZ",
    f"{YEAR}-12-31T00:00:00ZZ",
    f"+{YEAR}-12-31",
    f"-{YEAR}-12-31",
    "0000-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59.999Z",
    "10000-01-01",
    "+010000-01-01",
    f"{YEAR}-12-31".translate({48 + n: 0x660 + n for n in range(10)}),
    f"{YEAR}\u201012\u201031",  # another hyphen
    "tomorrow",
    "now",
    "infinity",
    "NaN",
    "0",
    1893456000,
    1893456000000,
    1.5,
    True,
    [],
    {"$date": f"{YEAR}-12-31"},
)
OVER = (day(-1), day(-400), "1970-01-01", "0001-01-01", f"{day(-1)}T23:59:59.999Z")
DAYS = (day(1), f"{LEAP}-02-29", f"{YEAR}-12-31T00:00:00.000Z", f"{YEAR}-12-31T23:59Z")


@pytest.mark.abuse(35)
@pytest.mark.parametrize("field", ["startDate", "endDate"])
async def test_it_takes_days_that_there_are_in_one_spelling(
    cast: Cast, pool: Pool, field: str
) -> None:
    job = await cast.post_job()
    before = await digest(pool)
    for written in (*NO_DAYS, *OVER):
        body = cast.job(**{field: written})
        said = problem(await cast.alice.post("/api/client/job/create-job", json=body), 400)
        assert said["field"] == field, written
        changed = await cast.alice.put(f"/api/client/job/update-job/{job}", json={field: written})
        assert problem(changed, 400)["field"] == field, written
    assert await digest(pool) == before
    for written in DAYS:
        body = cast.job(**{field: written})
        made = accepted(await cast.alice.post("/api/client/job/create-job", json=body))["job"]
        assert made[field] == f"{written[:10]}T00:00:00.000Z"


@pytest.mark.abuse(35)
async def test_it_ends_no_job_before_it_starts(cast: Cast, pool: Pool) -> None:
    job = await cast.post_job(startDate=day(5), endDate=day(9))
    before = await digest(pool)
    for change in (
        {"endDate": day(4)},
        {"startDate": day(10)},
        {"startDate": day(7), "endDate": day(6)},
    ):
        asked = await cast.alice.put(f"/api/client/job/update-job/{job}", json=change)
        problem(asked, 400)
    assert await digest(pool) == before
