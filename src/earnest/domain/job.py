"""**Jobs**: what a client wants done, and **applications** of freelancers for it.

Invariant: a job with a live contract is Closed and has a hired freelancer, whatever its client
set `listing` to; both are read from that contract and never stored.
"""

from datetime import date, datetime, timedelta
from enum import StrEnum

import msgspec

from earnest.domain.party import Party
from earnest.errors import InvalidField
from earnest.ids import PublicId

DAYS_AHEAD_MAX = 50 * 366


class Level(StrEnum):
    """How experienced a freelancer the client looks for."""

    BEGINNER = "Beginner"
    INTERMEDIATE = "Intermediate"
    EXPERT = "Expert"


class Listing(StrEnum):
    """What the client says of the job."""

    OPEN = "Open"
    ONGOING = "Ongoing"
    CLOSED = "Closed"


class Label(msgspec.Struct, frozen=True):
    """A category or a skill. An unlisted one is no longer offered."""

    key: int
    public_id: PublicId
    name: str
    is_listed: bool = True


class Job(msgspec.Struct, frozen=True):
    """A job. `rate_minor` is in minor units of `currency`; `hired` is who its live contract
    binds."""

    key: int
    public_id: PublicId
    client: Party
    title: str
    description: str
    rate_minor: int
    currency: str
    experience_level: Level
    location: str
    category: Label | None
    skills: tuple[Label, ...]
    listing: Listing
    hired: PublicId | None
    applicants: int
    start_date: date | None
    end_date: date | None
    created_at: datetime
    updated_at: datetime

    @property
    def status(self) -> Listing:
        """What everybody else sees of `listing`."""
        return Listing.CLOSED if self.hired is not None else self.listing

    @property
    def is_settled(self) -> bool:
        """Whether people rely on its terms: then only its texts and its listing may change."""
        return self.applicants > 0 or self.hired is not None


class Application(msgspec.Struct, frozen=True):
    """A freelancer who wants a job."""

    key: int
    public_id: PublicId
    job: PublicId
    freelancer: Party
    created_at: datetime


def check_dates(start: date | None, end: date | None, today: date) -> None:
    """A job starts today or later and does not end before it starts (spec 4.2).

    Raises InvalidField.
    """
    last = today + timedelta(days=DAYS_AHEAD_MAX)
    if start is not None and start < today:
        raise InvalidField("startDate", "must not be in the past")
    if end is not None and end < (start or today):
        raise InvalidField("endDate", "must not be before the start")
    if end is not None and end > last:
        raise InvalidField("endDate", "is too far ahead")
    if start is not None and start > last:
        raise InvalidField("startDate", "is too far ahead")
