"""A job in values: what others see of it, when people rely on its terms, and its days."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from earnest.domain.job import Job, Level, Listing, check_dates
from earnest.domain.party import Party
from earnest.errors import InvalidField
from earnest.ids import PublicId

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
BOB = PublicId("b" * 24)


def a_job(**facts: Any) -> Job:
    """Alice's, open, for which nobody has applied."""
    told: dict[str, Any] = {"listing": Listing.OPEN, "hired": None, "applicants": 0} | facts
    return Job(
        key=7,
        public_id=PublicId("0" * 24),
        client=Party(1, PublicId("a" * 24), "Alice"),
        title="Logo",
        description="",
        rate_minor=1_200_000,
        currency="INR",
        experience_level=Level.BEGINNER,
        location="",
        category=None,
        skills=(),
        start_date=None,
        end_date=None,
        created_at=NOW,
        updated_at=NOW,
        **told,
    )


@pytest.mark.parametrize("listing", Listing)
def test_a_job_is_what_its_client_says_until_somebody_is_hired_for_it(listing: Listing) -> None:
    assert a_job(listing=listing).status is listing
    assert a_job(listing=listing, hired=BOB).status is Listing.CLOSED


def test_people_rely_on_its_terms_once_one_applied_or_was_hired() -> None:
    assert a_job().is_settled is False
    assert a_job(applicants=1).is_settled is True
    assert a_job(hired=BOB).is_settled is True
    assert a_job(applicants=3, hired=BOB).is_settled is True


# -- its days -------------------------------------------------------------------------------------

TODAY = date(2026, 5, 1)
LAST = TODAY + timedelta(days=50 * 366)
BEFORE, AFTER, BEYOND = (
    TODAY - timedelta(days=1),
    TODAY + timedelta(days=1),
    LAST + timedelta(days=1),
)


@pytest.mark.parametrize(
    ("start", "end", "refused"),
    [
        (None, None, None),
        (TODAY, None, None),
        (TODAY, TODAY, None),
        (None, TODAY, None),
        (AFTER, AFTER, None),
        (LAST, None, None),
        (None, LAST, None),
        (LAST, LAST, None),
        (BEFORE, None, "startDate must not be in the past"),
        (BEFORE, AFTER, "startDate must not be in the past"),
        (BEFORE, BEFORE, "startDate must not be in the past"),
        (None, BEFORE, "endDate must not be before the start"),
        (TODAY, BEFORE, "endDate must not be before the start"),
        (AFTER, TODAY, "endDate must not be before the start"),
        (BEYOND, LAST, "endDate must not be before the start"),
        (BEYOND, None, "startDate is too far ahead"),
        (None, BEYOND, "endDate is too far ahead"),
        (TODAY, BEYOND, "endDate is too far ahead"),
        (BEYOND, BEYOND, "endDate is too far ahead"),
    ],
)
def test_it_begins_today_or_later_and_ends_within_fifty_years(
    start: date | None, end: date | None, refused: str | None
) -> None:
    if refused is None:
        check_dates(start, end, TODAY)
        return
    with pytest.raises(InvalidField) as error:
        check_dates(start, end, TODAY)
    assert str(error.value) == refused
    assert error.value.field == refused.split(" ", maxsplit=1)[0]
