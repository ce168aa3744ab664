"""/api/client/job: jobs (spec 4.2). Anybody may look, their client changes them."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.domain.hiring import JobNotFound
from earnest.domain.job import Job, Label, check_dates
from earnest.domain.money import currency, to_number
from earnest.domain.party import Actor, Role
from earnest.errors import Conflict, Forbidden
from earnest.ids import parse_public_id
from earnest.marketplace.job_fields import LEVELS, JobFields, draft_of, require_all
from earnest.marketplace.shapes import ExperienceLevel, Id, JobStatus, Named, Person
from earnest.store import clock, jobs
from earnest.web.auth import READERS, SIGNED_IN, actor, only, reader, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant, midnight
from earnest.web.shapes import (
    PAGE_ENTRIES_MAX,
    PAGE_MAX,
    Instant,
    Major,
    choice,
    page_number,
    search_text,
)

SORTS = tuple(jobs.OPEN_SORTED)
PAGE_ENTRIES_DEFAULT = 4


class JobDocument(msgspec.Struct):
    """A job. References are ids after a write and populated documents in lists and details."""

    id: Id = msgspec.field(name="_id")
    title: str
    description: str
    rate: Major
    experienceLevel: ExperienceLevel  # noqa: N815
    location: str
    clientId: Id | Person  # noqa: N815
    category: Id | Named | None
    skills: Sequence[Id | Named]
    hiredFreelancer: Id | None  # noqa: N815
    applicants: int
    status: JobStatus
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    startDate: Instant | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    endDate: Instant | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class JobPage(msgspec.Struct):
    jobs: list[JobDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class JobSaved(msgspec.Struct):
    message: str
    job: JobDocument


class JobDetails(msgspec.Struct):
    data: JobDocument


# -- reading --------------------------------------------------------------------------------


@get("/get-jobs", access=READERS)
async def get_jobs(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    search: FromQuery[str | None] = None,
    filter: FromQuery[str | None] = None,  # noqa: A002
    sort: FromQuery[str | None] = None,
) -> JobPage:
    """Open jobs. `filter` is an experience level."""
    viewer = await reader(request)
    wanted = _Paging(page, limit, search, filter, sort)
    async with request.app.state.pool.connection() as conn:
        found = await jobs.page_of_open(
            conn,
            search=wanted.search,
            level=wanted.level,
            sort=wanted.sort,
            limit=wanted.limit,
            offset=wanted.offset,
        )
    return _page(found, wanted, viewer)


@get("/my-jobs/{client_id:str}", access=READERS)
async def my_jobs(
    request: EarnestRequest,
    client_id: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    search: FromQuery[str | None] = None,
    filter: FromQuery[str | None] = None,  # noqa: A002
    sort: FromQuery[str | None] = None,
) -> JobPage:
    """One client's jobs of any status."""
    viewer = await reader(request)
    client = parse_public_id(client_id, "id")
    wanted = _Paging(page, limit, search, filter, sort)
    async with request.app.state.pool.connection() as conn:
        found = await jobs.page_of_client(
            conn,
            client,
            search=wanted.search,
            level=wanted.level,
            sort=wanted.sort,
            limit=wanted.limit,
            offset=wanted.offset,
        )
    return _page(found, wanted, viewer)


@get("/job-details/{job_id:str}", access=SIGNED_IN, refuses=(JobNotFound,))
async def job_details(request: EarnestRequest, job_id: FromPath[str]) -> JobDetails:
    """One job, for anybody who is signed in."""
    caller = await signed_in(request)
    wanted_id = parse_public_id(job_id, "id")
    async with request.app.state.pool.connection() as conn:
        return JobDetails(populated(await jobs.get(conn, wanted_id), caller))


# -- writing --------------------------------------------------------------------------------


@post("/create-job", status_code=200, access=only(Role.CLIENT), refuses=(Conflict,))
async def create_job(request: EarnestRequest, data: JSONBody[JobFields]) -> Response[JobSaved]:
    """A new job of the caller."""
    caller = actor(request)
    require_all(data)
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        draft = await draft_of(conn, data, None)
        check_dates(draft.start_date, draft.end_date, (await clock.now(conn)).date())
        job = await jobs.create(conn, caller.key, draft)
        return reply(200, JobSaved("Job has been updated", plain(job)))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


@put(
    "/update-job/{job_id:str}",
    access=only(Role.CLIENT),
    refuses=(Forbidden, JobNotFound, Conflict),
)
async def update_job(
    request: EarnestRequest, job_id: FromPath[str], data: JSONBody[JobFields]
) -> Response[JobSaved]:
    """Change one's own job. Once somebody applied, only title, description and status change;
    the rest is left as it is without a word (spec 4.2)."""
    caller = actor(request)
    wanted_id = parse_public_id(job_id, "id")
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        job = await jobs.lock(conn, wanted_id)
        if job.client.key != caller.key:
            raise Forbidden
        draft = await draft_of(conn, data, job)
        if (draft.start_date, draft.end_date) != (job.start_date, job.end_date):
            today = (await clock.now(conn)).date()
            begins_as_before = draft.start_date == job.start_date
            earliest = min(today, job.start_date or today) if begins_as_before else today
            check_dates(draft.start_date, draft.end_date, earliest)
        changed = await jobs.update(conn, job, draft)
        return reply(200, JobSaved("Job has been updated", plain(changed)))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


# -- shapes ---------------------------------------------------------------------------------


def plain(job: Job) -> JobDocument:
    """A job whose references are ids."""
    return _document(
        job,
        job.client.public_id,
        None if job.category is None else job.category.public_id,
        [skill.public_id for skill in job.skills],
    )


def populated(job: Job, viewer: Actor | None) -> JobDocument:
    """A job whose references are documents; the client's address only for the client and for
    admins (D8)."""
    sees_email = viewer is not None and (viewer.role is Role.ADMIN or viewer.key == job.client.key)
    client = Person(
        id=job.client.public_id,
        name=job.client.name,
        email=job.client.email if sees_email else msgspec.UNSET,
    )
    category = None if job.category is None else _named(job.category)
    return _document(job, client, category, [_named(skill) for skill in job.skills])


def _named(label: Label) -> Named:
    return Named(id=label.public_id, name=label.name)


def _document(
    job: Job,
    client: str | Person,
    category: str | Named | None,
    skills: Sequence[str | Named],
) -> JobDocument:
    return JobDocument(
        id=job.public_id,
        title=job.title,
        description=job.description,
        rate=to_number(job.rate_minor, currency(job.currency)),
        experienceLevel=job.experience_level,
        location=job.location,
        clientId=client,
        category=category,
        skills=skills,
        hiredFreelancer=job.hired,
        applicants=job.applicants,
        status=job.status,
        createdAt=instant(job.created_at),
        updatedAt=instant(job.updated_at),
        startDate=midnight(job.start_date) if job.start_date else msgspec.UNSET,
        endDate=midnight(job.end_date) if job.end_date else msgspec.UNSET,
    )


class _Paging:
    """The query of a list of jobs, read and checked."""

    def __init__(
        self,
        page: str | None,
        limit: str | None,
        search: str | None,
        level: str | None,
        sort: str | None,
    ) -> None:
        self.page = page_number(page, "page", 1, PAGE_MAX)
        self.limit = page_number(limit, "limit", PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX)
        self.offset = (self.page - 1) * self.limit
        self.search = search_text(search)
        self.level = choice(level, "filter", LEVELS, "")
        self.sort = choice(sort, "sort", SORTS, "dateNew")


def _page(found: jobs.Page, wanted: _Paging, viewer: Actor | None) -> JobPage:
    return JobPage(
        jobs=[populated(job, viewer) for job in found.jobs],
        total=found.total,
        currentPage=wanted.page,
        totalPages=-(-found.total // wanted.limit),
    )


router = Router(
    "/api/client/job",
    route_handlers=[get_jobs, my_jobs, job_details, create_job, update_job],
    tags=["Jobs"],
)
