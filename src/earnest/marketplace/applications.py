"""Applications of freelancers for jobs (spec 4.2, 4.3)."""

from typing import Annotated, Any

import asyncpg
import msgspec
from litestar import Response, Router, delete, get, post
from litestar.params import FromPath

from earnest.domain.hiring import JobNotFound, JobNotOpen
from earnest.domain.job import Application, Listing
from earnest.domain.party import Actor, Party, Role
from earnest.domain.people import FreelancerProfile, profile_id
from earnest.errors import Conflict, Forbidden, NotFound
from earnest.ids import key_of, parse_public_id
from earnest.marketplace.jobs import JobDocument, populated
from earnest.marketplace.shapes import ExperienceLevelOrNone, Id, Message
from earnest.store import applications, jobs, profiles
from earnest.web.auth import READERS, actor, only, reader, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, one_of

STATUS = "Applied"


class Profile(msgspec.Struct):
    """A freelancer's profile: `userId` is the party that a client hires."""

    id: Id = msgspec.field(name="_id")
    userId: Id  # noqa: N815
    firstName: str  # noqa: N815
    profilePic: str  # noqa: N815
    title: str
    experienceLevel: ExperienceLevelOrNone  # noqa: N815


class ApplicationDocument(msgspec.Struct):
    """An application. References are ids, or documents in lists."""

    id: Id = msgspec.field(name="_id")
    jobId: Id | JobDocument  # noqa: N815
    freelancerId: Id | Profile  # noqa: N815
    isApplied: bool  # noqa: N815
    status: Annotated[str, one_of(STATUS)]
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class Applied(msgspec.Struct):
    message: str
    application: ApplicationDocument


class Applicants(msgspec.Struct):
    message: str
    applicants: list[ApplicationDocument]


class Applications(msgspec.Struct):
    applications: list[ApplicationDocument]


class MaybeApplication(msgspec.Struct):
    application: ApplicationDocument | None


@get(
    "/applicants/{job_id:str}/{client_id:str}",
    access=READERS,
    refuses=(JobNotFound, Forbidden),
)
async def applicants(
    request: EarnestRequest, job_id: FromPath[str], client_id: FromPath[str]
) -> Applicants:
    """Who applied for a job of this client: names and ids."""
    await reader(request)
    job_id = parse_public_id(job_id, "jobId")
    client_id = parse_public_id(client_id, "clientId")
    async with request.app.state.pool.connection() as conn:
        job = await jobs.get(conn, job_id)
        if job.client.public_id != client_id:
            raise Forbidden
        found = await applications.of_job(conn, job.key)
        known = await profiles.of_freelancers(conn, [one.freelancer.key for one in found])
    return Applicants(
        "Applicants of this job",
        [document(one, one.job, profile(known[one.freelancer.key])) for one in found],
    )


@post(
    "/apply-job/{job_id:str}",
    status_code=201,
    access=only(Role.FREELANCER),
    refuses=(JobNotFound, JobNotOpen, Conflict),
)
async def apply_job(request: EarnestRequest, job_id: FromPath[str]) -> Response[Applied]:
    """Apply for an open job."""
    caller = actor(request)
    job_id = parse_public_id(job_id, "jobId")
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        job = await jobs.get(conn, job_id)
        if job.status is not Listing.OPEN:
            raise JobNotOpen
        made = await applications.apply(conn, job, _party(caller))
        return reply(201, Applied("Application has been sent", document(made)))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


@delete(
    "/cancel-application/{application_id:str}",
    status_code=200,
    access=only(Role.FREELANCER),
    refuses=(Forbidden, NotFound),
)
async def cancel_application(
    request: EarnestRequest, application_id: FromPath[str]
) -> Response[Message]:
    """Withdraw one's own application. A contract that came of it stays what it is."""
    caller = actor(request)
    application_id = parse_public_id(application_id, "applicationId")
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        owner_key = await applications.applicant(conn, application_id)
        if owner_key is None:
            raise NotFound("Application not found")
        if owner_key != caller.key:
            raise Forbidden
        await applications.withdraw(conn, application_id, caller.key)
        return reply(200, Message("Application has been cancelled"))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


@get("/applied-jobs", access=only(Role.FREELANCER))
async def applied_jobs(request: EarnestRequest) -> Applications:
    """What the caller applied for, newest first."""
    caller = await signed_in(request)
    async with request.app.state.pool.connection() as conn:
        found = await applications.by_freelancer(conn, caller.key)
    return Applications([document(one, populated(job, caller)) for one, job in found])


@get("/applied-status/{job_id:str}/{freelancer_id:str}", access=READERS)
async def applied_status(
    request: EarnestRequest, job_id: FromPath[str], freelancer_id: FromPath[str]
) -> MaybeApplication:
    """One freelancer's application for a job; null for anybody else, clients included."""
    await reader(request)
    job_id = parse_public_id(job_id, "jobId")
    freelancer_id = parse_public_id(freelancer_id, "freelancerId")
    async with request.app.state.pool.connection() as conn:
        found = await applications.of_job(conn, key_of(job_id), key_of(freelancer_id))
    for one in found:
        if one.job == job_id and one.freelancer.public_id == freelancer_id:
            return MaybeApplication(document(one))
    return MaybeApplication(None)


# -- shapes ---------------------------------------------------------------------------------


def document(
    one: Application,
    job: str | JobDocument | None = None,
    freelancer: str | Profile | None = None,
) -> ApplicationDocument:
    """An application; what is not given as a document stays an id."""
    created = instant(one.created_at)
    return ApplicationDocument(
        id=one.public_id,
        jobId=job or one.job,
        freelancerId=freelancer or one.freelancer.public_id,
        isApplied=True,
        status=STATUS,
        createdAt=created,
        updatedAt=created,
    )


def profile(of: FreelancerProfile) -> Profile:
    """The applicant as others see them."""
    return Profile(
        id=profile_id(of.owner.public_id),
        userId=of.owner.public_id,
        firstName=of.first_name,
        profilePic=of.owner.picture,
        title=of.title,
        experienceLevel=of.experience_level or "",
    )


def _party(caller: Actor) -> Party:
    return Party(caller.key, caller.public_id, "")


client_router = Router("/api/client/job", route_handlers=[applicants], tags=["Applications"])
freelancer_router = Router(
    "/api/freelancer/jobs",
    route_handlers=[apply_job, cancel_application, applied_jobs, applied_status],
    tags=["Applications"],
)
