"""Jobs: plain SQL in one database transaction.

A list is found in two steps: keys in order, then the documents of those keys. Status and hired
freelancer come from the job's live contract, applicants from its applications.
"""

from datetime import date

import asyncpg
import msgspec

from earnest.domain.business import MARKETPLACE
from earnest.domain.hiring import JobNotFound
from earnest.domain.job import Job, Label, Level, Listing
from earnest.domain.party import Party
from earnest.errors import Conflict
from earnest.ids import PublicId, key_of
from earnest.store import keys

DOCUMENTS = """
SELECT
    j.id,
    j.public_id,
    j.client_id,
    p.public_id AS client_public_id,
    p.name AS client_name,
    p.email AS client_email,
    p.picture AS client_picture,
    j.title,
    j.description,
    j.rate_minor,
    j.currency,
    j.experience_level,
    j.location,
    j.category_id,
    c.public_id AS category_public_id,
    c.name AS category_name,
    j.listing,
    j.start_date,
    j.end_date,
    j.created_at,
    j.updated_at,
    (
        SELECT hired.public_id FROM contract
        INNER JOIN party AS hired ON contract.seller_id = hired.id
        WHERE contract.job_id = j.id AND contract.live
    ) AS hired,
    (SELECT count(*) FROM application WHERE application.job_id = j.id) AS applicants,
    ARRAY(
        SELECT ROW(skill.id, skill.public_id, skill.name) FROM job_skill
        INNER JOIN skill ON job_skill.skill_id = skill.id
        WHERE job_skill.job_id = j.id
        ORDER BY job_skill.position
    ) AS skills
FROM job AS j
INNER JOIN party AS p ON j.client_id = p.id
LEFT JOIN category AS c ON j.category_id = c.id
WHERE j.id = ANY($1::bigint [])
ORDER BY array_position($1::bigint [], j.id)
"""

# $1 search pattern ('%' finds all), $2 experience level ('' is any).
COUNT_OPEN = """
SELECT count(*) FROM job AS j
WHERE j.listing = 'Open'
AND NOT EXISTS (SELECT 1 FROM contract WHERE contract.job_id = j.id AND contract.live)
AND ($1 = '%' OR j.title ILIKE $1 OR j.description ILIKE $1)
AND ($2 = '' OR j.experience_level = $2)
"""

OPEN_NEWEST = """
SELECT j.id FROM job AS j
WHERE j.listing = 'Open'
AND NOT EXISTS (SELECT 1 FROM contract WHERE contract.job_id = j.id AND contract.live)
AND ($1 = '%' OR j.title ILIKE $1 OR j.description ILIKE $1)
AND ($2 = '' OR j.experience_level = $2)
ORDER BY j.id DESC
LIMIT $3 OFFSET $4
"""

OPEN_OLDEST = """
SELECT j.id FROM job AS j
WHERE j.listing = 'Open'
AND NOT EXISTS (SELECT 1 FROM contract WHERE contract.job_id = j.id AND contract.live)
AND ($1 = '%' OR j.title ILIKE $1 OR j.description ILIKE $1)
AND ($2 = '' OR j.experience_level = $2)
ORDER BY j.id
LIMIT $3 OFFSET $4
"""

OPEN_DEAREST = """
SELECT j.id FROM job AS j
WHERE j.listing = 'Open'
AND NOT EXISTS (SELECT 1 FROM contract WHERE contract.job_id = j.id AND contract.live)
AND ($1 = '%' OR j.title ILIKE $1 OR j.description ILIKE $1)
AND ($2 = '' OR j.experience_level = $2)
ORDER BY j.rate_minor DESC, j.id DESC
LIMIT $3 OFFSET $4
"""

OPEN_CHEAPEST = """
SELECT j.id FROM job AS j
WHERE j.listing = 'Open'
AND NOT EXISTS (SELECT 1 FROM contract WHERE contract.job_id = j.id AND contract.live)
AND ($1 = '%' OR j.title ILIKE $1 OR j.description ILIKE $1)
AND ($2 = '' OR j.experience_level = $2)
ORDER BY j.rate_minor, j.id DESC
LIMIT $3 OFFSET $4
"""

OPEN_SORTED = {
    "dateNew": OPEN_NEWEST,
    "dateOld": OPEN_OLDEST,
    "budgetHigh": OPEN_DEAREST,
    "budgetLow": OPEN_CHEAPEST,
}

# One client's jobs are few enough to be sorted as they come.
COUNT_OF_CLIENT = """
SELECT count(*) FROM job AS j
INNER JOIN party AS p ON j.client_id = p.id
WHERE j.client_id = $1 AND p.public_id = $4
AND ($2 = '%' OR j.title ILIKE $2 OR j.description ILIKE $2)
AND ($3 = '' OR j.experience_level = $3)
"""

OF_CLIENT = """
SELECT j.id FROM job AS j
INNER JOIN party AS p ON j.client_id = p.id
WHERE j.client_id = $1 AND p.public_id = $7
AND ($2 = '%' OR j.title ILIKE $2 OR j.description ILIKE $2)
AND ($3 = '' OR j.experience_level = $3)
ORDER BY
    CASE $4 WHEN 'budgetHigh' THEN -j.rate_minor WHEN 'budgetLow' THEN j.rate_minor END,
    CASE $4 WHEN 'dateOld' THEN j.id ELSE -j.id END
LIMIT $5 OFFSET $6
"""

INSERT = """
INSERT INTO job (
    id, public_id, business_id, client_id, title, description, rate_minor, currency,
    experience_level, location, category_id, start_date, end_date, created_at, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)
"""

# Keeps a payment from being opened while the terms change: its foreign key needs this row.
LOCK = "SELECT id FROM job WHERE id = $1 AND public_id = $2 FOR UPDATE"

HAS_OPEN_PAYMENT = """
SELECT EXISTS (
    SELECT 1 FROM payment
    WHERE job_id = $1 AND state IN ('opening', 'open', 'processing', 'parked')
)
"""

UPDATE = """
UPDATE job SET
    title = $2, description = $3, rate_minor = $4, experience_level = $5, location = $6,
    category_id = $7, listing = $8, start_date = $9, end_date = $10, updated_at = business_now()
WHERE id = $1
"""

CLEAR_SKILLS = "DELETE FROM job_skill WHERE job_id = $1"

ADD_SKILLS = """
INSERT INTO job_skill (job_id, skill_id, position)
SELECT $1, skill_id, position
FROM unnest($2::bigint []) WITH ORDINALITY AS given (skill_id, position)
"""


class Draft(msgspec.Struct, frozen=True):
    """What a client decides about a job."""

    title: str
    description: str
    rate_minor: int
    currency: str
    experience_level: Level
    location: str
    category: Label | None
    skills: tuple[Label, ...]
    listing: Listing
    start_date: date | None
    end_date: date | None


class Page(msgspec.Struct, frozen=True):
    """Some jobs of `total`."""

    jobs: list[Job]
    total: int


async def get(conn: asyncpg.Connection, job: PublicId) -> Job:
    """Raises NotFound."""
    rows = await conn.fetch(DOCUMENTS, [key_of(job)])
    if not rows or rows[0]["public_id"] != job:
        raise JobNotFound
    return _job(rows[0])


async def lock(conn: asyncpg.Connection, job: PublicId) -> Job:
    """The job, which nobody else changes or opens a payment for until the caller commits."""
    if await conn.fetchval(LOCK, key_of(job), job) is None:
        raise JobNotFound
    return await get(conn, job)


async def page_of_open(
    conn: asyncpg.Connection, *, search: str, level: str, sort: str, limit: int, offset: int
) -> Page:
    """Open jobs that nobody was hired for. `search` is literal text, "" finds all."""
    pattern = literal_pattern(search)
    total = await conn.fetchval(COUNT_OPEN, pattern, level)
    rows = await conn.fetch(OPEN_SORTED[sort], pattern, level, limit, offset)
    return Page(await by_keys(conn, [row["id"] for row in rows]), total)


async def page_of_client(
    conn: asyncpg.Connection,
    client: PublicId,
    *,
    search: str,
    level: str,
    sort: str,
    limit: int,
    offset: int,
) -> Page:
    """One client's jobs of any status."""
    pattern = literal_pattern(search)
    client_key = key_of(client)
    total = await conn.fetchval(COUNT_OF_CLIENT, client_key, pattern, level, client)
    rows = await conn.fetch(OF_CLIENT, client_key, pattern, level, sort, limit, offset, client)
    return Page(await by_keys(conn, [row["id"] for row in rows]), total)


async def create(conn: asyncpg.Connection, client_key: int, draft: Draft) -> Job:
    """A new open job of this client."""
    fresh = await keys.draw(conn)
    await conn.execute(
        INSERT,
        fresh.key,
        fresh.public_id,
        MARKETPLACE,
        client_key,
        draft.title,
        draft.description,
        draft.rate_minor,
        draft.currency,
        draft.experience_level,
        draft.location,
        draft.category.key if draft.category else None,
        draft.start_date,
        draft.end_date,
        fresh.at,
    )
    await conn.execute(ADD_SKILLS, fresh.key, [skill.key for skill in draft.skills])
    return await get(conn, fresh.public_id)


async def update(conn: asyncpg.Connection, job: Job, draft: Draft) -> Job:
    """Replace what a client decides about a job that the caller holds locked.

    Raises Conflict when the rate would change under a checkout (D2).
    """
    if draft.rate_minor != job.rate_minor and await conn.fetchval(HAS_OPEN_PAYMENT, job.key):
        raise Conflict("The rate cannot change while a payment for this job is under way")
    await conn.execute(
        UPDATE,
        job.key,
        draft.title,
        draft.description,
        draft.rate_minor,
        draft.experience_level,
        draft.location,
        draft.category.key if draft.category else None,
        draft.listing,
        draft.start_date,
        draft.end_date,
    )
    if draft.skills != job.skills:
        await conn.execute(CLEAR_SKILLS, job.key)
        await conn.execute(ADD_SKILLS, job.key, [skill.key for skill in draft.skills])
    return await get(conn, job.public_id)


def literal_pattern(search: str) -> str:
    r"""An ILIKE pattern that finds exactly this text: `50%` becomes `%50\%%`."""
    if not search:
        return "%"
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


async def by_keys(conn: asyncpg.Connection, job_keys: list[int]) -> list[Job]:
    """The jobs with these keys, in this order."""
    if not job_keys:
        return []
    return [_job(row) for row in await conn.fetch(DOCUMENTS, job_keys)]


def _job(row: asyncpg.Record) -> Job:
    category = None
    if row["category_id"] is not None:
        category = Label(row["category_id"], row["category_public_id"], row["category_name"])
    return Job(
        key=row["id"],
        public_id=PublicId(row["public_id"]),
        client=Party(
            row["client_id"],
            PublicId(row["client_public_id"]),
            row["client_name"],
            row["client_email"],
            row["client_picture"],
        ),
        title=row["title"],
        description=row["description"],
        rate_minor=row["rate_minor"],
        currency=row["currency"],
        experience_level=Level(row["experience_level"]),
        location=row["location"],
        category=category,
        skills=tuple(Label(skill[0], skill[1], skill[2]) for skill in row["skills"]),
        listing=Listing(row["listing"]),
        hired=PublicId(row["hired"]) if row["hired"] is not None else None,
        applicants=row["applicants"],
        start_date=row["start_date"],
        end_date=row["end_date"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
