"""**Profiles** of clients and freelancers.

Everybody has one from the start: without a row it is empty, and its first name is the account's
name. Only the owner's own update writes a row, whole, with the login locked.
"""

from collections.abc import Sequence

import asyncpg

from earnest.domain.job import Label, Level
from earnest.domain.party import Party
from earnest.domain.people import ClientProfile, FreelancerProfile, ProfileNotFound, profile_id
from earnest.ids import PublicId, key_of

CLIENT = """
SELECT
    p.id,
    p.public_id,
    p.name,
    p.email,
    p.picture,
    coalesce(f.first_name, p.name) AS first_name,
    coalesce(f.last_name, '') AS last_name,
    coalesce(f.company_name, '') AS company_name,
    coalesce(f.description, '') AS description,
    coalesce(f.website, '') AS website,
    coalesce(f.country, '') AS country,
    coalesce(f.city, '') AS city,
    l.created_at,
    coalesce(f.updated_at, l.created_at) AS updated_at
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
LEFT JOIN client_profile AS f ON l.party_id = f.party_id
WHERE l.party_id = $1 AND l.role = 'client'
"""

FREELANCERS = """
SELECT
    p.id,
    p.public_id,
    p.name,
    p.email,
    p.picture,
    coalesce(f.first_name, p.name) AS first_name,
    coalesce(f.last_name, '') AS last_name,
    coalesce(f.title, '') AS title,
    coalesce(f.bio, '') AS bio,
    coalesce(f.experience_level, '') AS experience_level,
    c.id AS category_id,
    c.public_id AS category_public_id,
    c.name AS category_name,
    ARRAY(
        SELECT ROW(skill.id, skill.public_id, skill.name) FROM freelancer_skill
        INNER JOIN skill ON freelancer_skill.skill_id = skill.id
        WHERE freelancer_skill.party_id = l.party_id
        ORDER BY freelancer_skill.position
    ) AS skills,
    coalesce(f.languages, '{}') AS languages,
    coalesce(f.portfolio, '{}') AS portfolio,
    coalesce(f.country, '') AS country,
    coalesce(f.city, '') AS city,
    l.created_at,
    coalesce(f.updated_at, l.created_at) AS updated_at
FROM login AS l
INNER JOIN party AS p ON l.party_id = p.id
LEFT JOIN freelancer_profile AS f ON l.party_id = f.party_id
LEFT JOIN category AS c ON f.category_id = c.id
WHERE l.party_id = ANY($1::bigint []) AND l.role = 'freelancer'
"""

LOCK = "SELECT party_id FROM login WHERE party_id = $1 FOR NO KEY UPDATE"

SAVE_CLIENT = """
INSERT INTO client_profile (
    party_id, first_name, last_name, company_name, description, website, country, city, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, business_now())
ON CONFLICT (party_id) DO UPDATE SET
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    company_name = excluded.company_name,
    description = excluded.description,
    website = excluded.website,
    country = excluded.country,
    city = excluded.city,
    updated_at = excluded.updated_at
"""

SAVE_FREELANCER = """
INSERT INTO freelancer_profile (
    party_id, first_name, last_name, title, bio, experience_level, category_id, languages,
    portfolio, country, city, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, business_now())
ON CONFLICT (party_id) DO UPDATE SET
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    title = excluded.title,
    bio = excluded.bio,
    experience_level = excluded.experience_level,
    category_id = excluded.category_id,
    languages = excluded.languages,
    portfolio = excluded.portfolio,
    country = excluded.country,
    city = excluded.city,
    updated_at = excluded.updated_at
"""

CLEAR_SKILLS = "DELETE FROM freelancer_skill WHERE party_id = $1"

ADD_SKILLS = """
INSERT INTO freelancer_skill (party_id, skill_id, position)
SELECT $1, skill_id, position
FROM unnest($2::bigint []) WITH ORDINALITY AS given (skill_id, position)
"""

SHARE_A_CONTRACT = """
SELECT EXISTS (
    SELECT 1 FROM contract WHERE buyer_id = $1 AND seller_id = $2
    UNION ALL
    SELECT 1 FROM contract WHERE buyer_id = $2 AND seller_id = $1
)
"""


async def lock(conn: asyncpg.Connection, owner_key: int) -> None:
    """Keep every other update of this profile waiting until the caller commits."""
    await conn.execute(LOCK, owner_key)


async def share_a_contract(conn: asyncpg.Connection, one_key: int, other_key: int) -> bool:
    """Whether a contract, of any status, binds these two."""
    found: bool = await conn.fetchval(SHARE_A_CONTRACT, one_key, other_key)
    return found


# -- clients ----------------------------------------------------------------------------------


async def of_client(conn: asyncpg.Connection, wanted: PublicId) -> ClientProfile:
    """The profile with this id, or of the client with this id. Raises ProfileNotFound."""
    row = await conn.fetchrow(CLIENT, key_of(wanted))
    if row is None or not _is_meant(row, wanted):
        raise ProfileNotFound
    return ClientProfile(
        owner=_owner(row),
        first_name=row["first_name"],
        last_name=row["last_name"],
        company_name=row["company_name"],
        description=row["description"],
        website=row["website"],
        country=row["country"],
        city=row["city"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def save_client(conn: asyncpg.Connection, profile: ClientProfile) -> ClientProfile:
    """Write a profile whose owner the caller holds locked; as it is afterwards."""
    await conn.execute(
        SAVE_CLIENT,
        profile.owner.key,
        profile.first_name,
        profile.last_name,
        profile.company_name,
        profile.description,
        profile.website,
        profile.country,
        profile.city,
    )
    return await of_client(conn, profile.owner.public_id)


# -- freelancers ------------------------------------------------------------------------------


async def of_freelancer(conn: asyncpg.Connection, wanted: PublicId) -> FreelancerProfile:
    """The profile with this id, or of the freelancer with this id. Raises ProfileNotFound."""
    row = await conn.fetchrow(FREELANCERS, [key_of(wanted)])
    if row is None or not _is_meant(row, wanted):
        raise ProfileNotFound
    return _freelancer(row)


async def of_freelancers(
    conn: asyncpg.Connection, freelancer_keys: Sequence[int]
) -> dict[int, FreelancerProfile]:
    """The profiles of these freelancers, by their keys."""
    rows = await conn.fetch(FREELANCERS, freelancer_keys)
    return {row["id"]: _freelancer(row) for row in rows}


async def save_freelancer(
    conn: asyncpg.Connection, profile: FreelancerProfile
) -> FreelancerProfile:
    """Write a profile whose owner the caller holds locked; as it is afterwards."""
    key = profile.owner.key
    await conn.execute(
        SAVE_FREELANCER,
        key,
        profile.first_name,
        profile.last_name,
        profile.title,
        profile.bio,
        profile.experience_level or "",
        profile.category.key if profile.category else None,
        profile.languages,
        profile.portfolio,
        profile.country,
        profile.city,
    )
    await conn.execute(CLEAR_SKILLS, key)
    await conn.execute(ADD_SKILLS, key, [skill.key for skill in profile.skills])
    return await of_freelancer(conn, profile.owner.public_id)


def _freelancer(row: asyncpg.Record) -> FreelancerProfile:
    category = None
    if row["category_id"] is not None:
        category = Label(row["category_id"], row["category_public_id"], row["category_name"])
    return FreelancerProfile(
        owner=_owner(row),
        first_name=row["first_name"],
        last_name=row["last_name"],
        title=row["title"],
        bio=row["bio"],
        experience_level=Level(row["experience_level"]) if row["experience_level"] else None,
        category=category,
        skills=tuple(Label(skill[0], skill[1], skill[2]) for skill in row["skills"]),
        languages=tuple(row["languages"]),
        portfolio=tuple(row["portfolio"]),
        country=row["country"],
        city=row["city"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _owner(row: asyncpg.Record) -> Party:
    return Party(row["id"], PublicId(row["public_id"]), row["name"], row["email"], row["picture"])


def _is_meant(row: asyncpg.Record, wanted: PublicId) -> bool:
    owner = PublicId(row["public_id"])
    return wanted in (owner, profile_id(owner))
