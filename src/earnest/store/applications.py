"""Applications of freelancers for jobs: one per freelancer and job (`application_once`)."""

import asyncpg

from earnest.domain.job import Application, Job
from earnest.domain.party import Party
from earnest.errors import Conflict
from earnest.ids import PublicId, key_of
from earnest.store import jobs, keys

APPLY = """
INSERT INTO application (id, public_id, job_id, freelancer_id, created_at)
VALUES ($1, $2, $3, $4, $5)
"""

OF_JOB = """
SELECT
    a.id,
    a.public_id,
    j.public_id AS job,
    p.id AS party_id,
    p.public_id AS party_public_id,
    p.name,
    p.picture,
    a.created_at
FROM application AS a
INNER JOIN job AS j ON a.job_id = j.id
INNER JOIN party AS p ON a.freelancer_id = p.id
WHERE a.job_id = $1 AND ($2::bigint IS NULL OR a.freelancer_id = $2)
ORDER BY a.id DESC
LIMIT 1000
"""

BY_FREELANCER = """
SELECT
    a.id,
    a.public_id,
    j.public_id AS job,
    a.job_id,
    p.id AS party_id,
    p.public_id AS party_public_id,
    p.name,
    p.picture,
    a.created_at
FROM application AS a
INNER JOIN job AS j ON a.job_id = j.id
INNER JOIN party AS p ON a.freelancer_id = p.id
WHERE a.freelancer_id = $1
ORDER BY a.id DESC
LIMIT 1000
"""

FIND_APPLICANT = "SELECT freelancer_id FROM application WHERE id = $1 AND public_id = $2"

WITHDRAW = "DELETE FROM application WHERE id = $1 AND public_id = $2 AND freelancer_id = $3"


async def apply(conn: asyncpg.Connection, job: Job, freelancer: Party) -> Application:
    """A new application. Raises Conflict for a second one of the same freelancer."""
    fresh = await keys.draw(conn)
    try:
        await conn.execute(APPLY, fresh.key, fresh.public_id, job.key, freelancer.key, fresh.at)
    except asyncpg.UniqueViolationError:
        raise Conflict("You have already applied for this job") from None
    return Application(fresh.key, fresh.public_id, job.public_id, freelancer, fresh.at)


async def of_job(
    conn: asyncpg.Connection, job_key: int, freelancer_key: int | None = None
) -> list[Application]:
    """Who applied for a job, newest first, 1,000 at most; or one freelancer's application."""
    rows = await conn.fetch(OF_JOB, job_key, freelancer_key)
    return [_application(row) for row in rows]


async def by_freelancer(
    conn: asyncpg.Connection, freelancer_key: int
) -> list[tuple[Application, Job]]:
    """What a freelancer applied for, newest first, 1,000 at most."""
    rows = await conn.fetch(BY_FREELANCER, freelancer_key)
    found = await jobs.by_keys(conn, [row["job_id"] for row in rows])
    return [(_application(row), job) for row, job in zip(rows, found, strict=True)]


async def applicant(conn: asyncpg.Connection, application: PublicId) -> int | None:
    """The key of the freelancer behind an application, if there is one."""
    key: int | None = await conn.fetchval(FIND_APPLICANT, key_of(application), application)
    return key


async def withdraw(conn: asyncpg.Connection, application: PublicId, freelancer_key: int) -> None:
    """Remove this freelancer's application."""
    await conn.execute(WITHDRAW, key_of(application), application, freelancer_key)


def _application(row: asyncpg.Record) -> Application:
    return Application(
        key=row["id"],
        public_id=PublicId(row["public_id"]),
        job=PublicId(row["job"]),
        freelancer=Party(
            row["party_id"], PublicId(row["party_public_id"]), row["name"], "", row["picture"]
        ),
        created_at=row["created_at"],
    )
