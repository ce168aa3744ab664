"""What a client says of a job, read and checked against the catalog (spec 4.2)."""

import re
from datetime import date

import asyncpg
import msgspec

from earnest.domain.job import Job, Label, Level, Listing
from earnest.domain.money import currency, parse_major
from earnest.errors import Conflict, InvalidField
from earnest.ids import PublicId, parse_public_id
from earnest.store import businesses, catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.store.jobs import Draft
from earnest.web.guard import Amount
from earnest.web.shapes import Line, Text, choice, given, tidy

LEVELS = tuple(Level)
SKILLS_MAX = 30
ALL_REQUIRED = "All fields are required"
_DAY = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?Z)?"
)


class JobFields(msgspec.Struct):
    """What a client says of a job; other fields are ignored. Days are `YYYY-MM-DD` or ""."""

    title: Line | None = None
    description: Text | None = None
    rate: Amount | msgspec.UnsetType = msgspec.UNSET
    experienceLevel: Line | None = None  # noqa: N815
    location: Line | None = None
    category: Line | None = None
    skills: list[Line] | None = None
    status: Line | None = None
    startDate: Line | None = None  # noqa: N815
    endDate: Line | None = None  # noqa: N815


def require_all(data: JobFields) -> None:
    """Old clients read the 409 (spec 4.2); a rate that is there but not positive is a 400."""
    texts = (data.title, data.description, data.experienceLevel, data.location, data.category)
    if data.rate is msgspec.UNSET or data.skills is None:
        raise Conflict(ALL_REQUIRED)
    if given(data.experienceLevel) is None or given(data.category) is None:
        raise Conflict(ALL_REQUIRED)
    if not all(text is not None and tidy(text) for text in texts):
        raise Conflict(ALL_REQUIRED)


async def draft_of(conn: asyncpg.Connection, data: JobFields, job: Job | None) -> Draft:
    """What the job shall be: what was sent, over what `job` is already."""
    title = _text(data.title, "title", job.title if job else "")
    description = _text(data.description, "description", job.description if job else "")
    listing = _listing(data.status, job)
    if job is not None and job.is_settled:
        return Draft(
            title=title,
            description=description,
            rate_minor=job.rate_minor,
            currency=job.currency,
            experience_level=job.experience_level,
            location=job.location,
            category=job.category,
            skills=job.skills,
            listing=listing,
            start_date=job.start_date,
            end_date=job.end_date,
        )
    business = await businesses.marketplace(conn)
    of = currency(job.currency if job else business.currency)
    rate_minor = job.rate_minor if job else 0
    if data.rate is not msgspec.UNSET:
        rate_minor = parse_major(data.rate, of, "rate", business.settings.amount_minor_max)
    level = choice(
        data.experienceLevel, "experienceLevel", LEVELS, job.experience_level if job else ""
    )
    category = job.category if job else None
    if given(data.category) is not None:
        category = await find_category(conn, str(data.category), "category", category)
    return Draft(
        title=title,
        description=description,
        rate_minor=rate_minor,
        currency=of.code,
        experience_level=Level(level),
        location=_text(data.location, "location", job.location if job else ""),
        category=category,
        skills=await find_skills(conn, data.skills, job.skills if job else ()),
        listing=listing,
        start_date=_day(data.startDate, "startDate", job.start_date if job else None),
        end_date=_day(data.endDate, "endDate", job.end_date if job else None),
    )


def _text(text: str | None, field: str, before: str) -> str:
    if text is None:
        return before
    tidied = tidy(text)
    if not tidied:
        raise InvalidField(field, "must not be empty")
    return tidied


def _listing(text: str | None, job: Job | None) -> Listing:
    """A hired job shows Closed: sending that back changes nothing."""
    before = job.listing if job else Listing.OPEN
    if job is None or (job.hired is not None and text == Listing.CLOSED):
        return before
    return Listing(choice(text, "status", tuple(Listing), before))


def _day(text: str | None, field: str, before: date | None) -> date | None:
    """`YYYY-MM-DD`, alone or with which an instant begins; "" removes the day."""
    if text is None:
        return before
    if given(text) is None:
        return None
    written = _DAY.fullmatch(text)
    try:
        if written is None:
            raise ValueError
        return date.fromisoformat(written[1])
    except ValueError:
        raise InvalidField(field, "must be a day, YYYY-MM-DD") from None


async def find_category(
    conn: asyncpg.Connection, text: str, field: str, before: Label | None
) -> Label:
    """The category with this id; an unlisted one only if it is `before`, too.

    Raises InvalidField naming `field`.
    """
    wanted = parse_public_id(text, field)
    found = (await catalog.find(conn, CATEGORY, [wanted])).get(wanted)
    if found is None or not _may_stand(found, () if before is None else (before,)):
        raise InvalidField(field, "is not one of the categories")
    return found


async def find_skills(
    conn: asyncpg.Connection, texts: list[str] | None, before: tuple[Label, ...]
) -> tuple[Label, ...]:
    """The skills with these ids, each once, unlisted ones only if they are in `before`; `before`
    without any. Raises InvalidField."""
    if texts is None:
        return before
    if len(texts) > SKILLS_MAX:
        raise InvalidField("skills", f"must have at most {SKILLS_MAX} entries")
    wanted: list[PublicId] = list(dict.fromkeys(parse_public_id(text, "skills") for text in texts))
    found = await catalog.find(conn, SKILL, wanted)
    if len(found) != len(wanted) or not all(_may_stand(one, before) for one in found.values()):
        raise InvalidField("skills", "contains an id that is not one of the skills")
    return tuple(found[one] for one in wanted)


def _may_stand(label: Label, before: tuple[Label, ...]) -> bool:
    """What is no longer offered may stay where it is."""
    return label.is_listed or any(one.key == label.key for one in before)
