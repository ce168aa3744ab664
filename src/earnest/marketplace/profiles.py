"""Profiles: how clients and freelancers introduce themselves (spec 4.3).

Everybody has one, empty at first; its id in a path is its own or its owner's. Only the owner
changes it: what is not sent stays as it is, other fields are ignored, and an empty text empties
its field. The account's name, which contracts show, is not part of it.
"""

from typing import Annotated, Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
from litestar import Response, Router, get, put
from litestar.params import FromPath, JSONBody

from earnest.domain.job import Label, Level
from earnest.domain.party import Actor, Party, Role
from earnest.domain.people import ClientProfile, FreelancerProfile, ProfileNotFound, profile_id
from earnest.errors import Forbidden, InvalidField
from earnest.ids import parse_public_id
from earnest.marketplace.job_fields import find_category, find_skills
from earnest.marketplace.shapes import ExperienceLevelOrNone, Id, Named
from earnest.store import profiles
from earnest.web.auth import READERS, SIGNED_IN, actor, only, reader, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Line, tidy

ENTRIES_MAX = 20
LINK_CHARACTERS_MAX = 500

About = Annotated[str, msgspec.Meta(max_length=5_000)]
Link = Annotated[str, msgspec.Meta(max_length=LINK_CHARACTERS_MAX)]


class Owner(msgspec.Struct):
    """Whose profile it is; `email` is left out for who may not see it (D8)."""

    id: Id = msgspec.field(name="_id")
    email: str | msgspec.UnsetType = msgspec.UNSET


class ClientProfileDocument(msgspec.Struct):
    """How a client introduces themselves."""

    id: Id = msgspec.field(name="_id")
    userId: Owner  # noqa: N815
    firstName: str  # noqa: N815
    lastName: str  # noqa: N815
    companyName: str  # noqa: N815
    description: str
    website: str
    country: str
    city: str
    profilePic: str  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class FreelancerProfileDocument(msgspec.Struct):
    """How a freelancer introduces themselves; `portfolio` holds https links."""

    id: Id = msgspec.field(name="_id")
    userId: Owner  # noqa: N815
    firstName: str  # noqa: N815
    lastName: str  # noqa: N815
    title: str
    bio: str
    experienceLevel: ExperienceLevelOrNone  # noqa: N815
    jobCategory: Named | None  # noqa: N815
    skills: list[Named]
    language: list[str]
    portfolio: list[str]
    country: str
    city: str
    profilePic: str  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class ClientProfileAnswer(msgspec.Struct):
    data: ClientProfileDocument


class FreelancerProfileAnswer(msgspec.Struct):
    data: FreelancerProfileDocument


class ClientProfileSaved(msgspec.Struct):
    message: str
    data: ClientProfileDocument


class FreelancerProfileSaved(msgspec.Struct):
    message: str
    data: FreelancerProfileDocument


class Reference(msgspec.Struct):
    """A label as a profile shows it, sent back: only its id counts."""

    id: Line = msgspec.field(name="_id")


class ClientFields(msgspec.Struct):
    """What a client says of themselves. `website` is an https link."""

    firstName: Line | None = None  # noqa: N815
    lastName: Line | None = None  # noqa: N815
    companyName: Line | None = None  # noqa: N815
    description: About | None = None
    website: Link | None = None
    country: Line | None = None
    city: Line | None = None


class FreelancerFields(msgspec.Struct):
    """What a freelancer says of themselves. Labels are ids, or documents as they were read."""

    firstName: Line | None = None  # noqa: N815
    lastName: Line | None = None  # noqa: N815
    title: Line | None = None
    bio: About | None = None
    experienceLevel: Line | None = None  # noqa: N815
    jobCategory: Line | Reference | None = None  # noqa: N815
    skills: list[Line | Reference] | None = None
    language: list[Line] | None = None
    portfolio: list[Link] | None = None
    country: Line | None = None
    city: Line | None = None


# -- clients ----------------------------------------------------------------------------------


@get("/get-profile/{user_id:str}", access=SIGNED_IN, refuses=(ProfileNotFound,))
async def get_client_profile(
    request: EarnestRequest, user_id: FromPath[str]
) -> ClientProfileAnswer:
    """A client's profile, for whoever is signed in."""
    viewer = await signed_in(request)
    wanted = parse_public_id(user_id, "id")
    async with request.app.state.pool.connection() as conn:
        found = await profiles.of_client(conn, wanted)
        return ClientProfileAnswer(_client(found, await _shown(conn, found.owner, viewer)))


@put(
    "/update-profile/{user_id:str}",
    access=only(Role.CLIENT),
    refuses=(Forbidden, ProfileNotFound),
)
async def update_client_profile(
    request: EarnestRequest, user_id: FromPath[str], data: JSONBody[ClientFields]
) -> Response[ClientProfileSaved]:
    """Change one's own profile."""
    caller = actor(request)
    wanted_id = parse_public_id(user_id, "id")
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        await profiles.lock(conn, caller.key)
        before = await profiles.of_client(conn, wanted_id)
        _require_owner(before.owner, caller)
        changed = msgspec.structs.replace(
            before,
            first_name=_first_name(data.firstName, before.first_name),
            last_name=_text(data.lastName, before.last_name),
            company_name=_text(data.companyName, before.company_name),
            description=_text(data.description, before.description),
            website=before.website if data.website is None else _link(data.website, "website"),
            country=_text(data.country, before.country),
            city=_text(data.city, before.city),
        )
        saved = await profiles.save_client(conn, changed)
        shown = _client(saved, Owner(caller.public_id, saved.owner.email))
        return reply(200, ClientProfileSaved("Profile has been updated", shown))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


def _client(profile: ClientProfile, owner: Owner) -> ClientProfileDocument:
    return ClientProfileDocument(
        id=profile_id(profile.owner.public_id),
        userId=owner,
        firstName=profile.first_name,
        lastName=profile.last_name,
        companyName=profile.company_name,
        description=profile.description,
        website=profile.website,
        country=profile.country,
        city=profile.city,
        profilePic=profile.owner.picture,
        createdAt=instant(profile.created_at),
        updatedAt=instant(profile.updated_at),
    )


# -- freelancers ------------------------------------------------------------------------------


@get("/get-profile/{user_id:str}", access=READERS, refuses=(ProfileNotFound,))
async def get_freelancer_profile(
    request: EarnestRequest, user_id: FromPath[str]
) -> FreelancerProfileAnswer:
    """A freelancer's profile, for anybody."""
    viewer = await reader(request)
    wanted = parse_public_id(user_id, "id")
    async with request.app.state.pool.connection() as conn:
        found = await profiles.of_freelancer(conn, wanted)
        return FreelancerProfileAnswer(_freelancer(found, await _shown(conn, found.owner, viewer)))


@put(
    "/update-profile/{user_id:str}",
    access=only(Role.FREELANCER),
    refuses=(Forbidden, ProfileNotFound),
)
async def update_freelancer_profile(
    request: EarnestRequest, user_id: FromPath[str], data: JSONBody[FreelancerFields]
) -> Response[FreelancerProfileSaved]:
    """Change one's own profile."""
    caller = actor(request)
    wanted_id = parse_public_id(user_id, "id")
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        await profiles.lock(conn, caller.key)
        before = await profiles.of_freelancer(conn, wanted_id)
        _require_owner(before.owner, caller)
        saved = await profiles.save_freelancer(conn, await _changed(conn, before, data))
        shown = _freelancer(saved, Owner(caller.public_id, saved.owner.email))
        return reply(200, FreelancerProfileSaved("Profile has been updated", shown))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


async def _changed(
    conn: asyncpg.Connection, before: FreelancerProfile, data: FreelancerFields
) -> FreelancerProfile:
    """What the profile shall be: what was sent, over what it is already."""
    languages, portfolio = before.languages, before.portfolio
    if data.language is not None:
        languages = _entries([tidy(one) for one in data.language], "language")
    if data.portfolio is not None:
        portfolio = _entries([_link(one, "portfolio") for one in data.portfolio], "portfolio")
    return msgspec.structs.replace(
        before,
        first_name=_first_name(data.firstName, before.first_name),
        last_name=_text(data.lastName, before.last_name),
        title=_text(data.title, before.title),
        bio=_text(data.bio, before.bio),
        experience_level=_level(data.experienceLevel, before.experience_level),
        category=await _category(conn, data.jobCategory, before.category),
        skills=await find_skills(
            conn, None if data.skills is None else list(map(_id, data.skills)), before.skills
        ),
        languages=languages,
        portfolio=portfolio,
        country=_text(data.country, before.country),
        city=_text(data.city, before.city),
    )


def _freelancer(profile: FreelancerProfile, owner: Owner) -> FreelancerProfileDocument:
    category = profile.category
    return FreelancerProfileDocument(
        id=profile_id(profile.owner.public_id),
        userId=owner,
        firstName=profile.first_name,
        lastName=profile.last_name,
        title=profile.title,
        bio=profile.bio,
        experienceLevel=profile.experience_level or "",
        jobCategory=None if category is None else Named(category.public_id, category.name),
        skills=[Named(skill.public_id, skill.name) for skill in profile.skills],
        language=list(profile.languages),
        portfolio=list(profile.portfolio),
        country=profile.country,
        city=profile.city,
        profilePic=profile.owner.picture,
        createdAt=instant(profile.created_at),
        updatedAt=instant(profile.updated_at),
    )


# -- what they share --------------------------------------------------------------------------


async def _shown(conn: asyncpg.Connection, owner: Party, viewer: Actor | None) -> Owner:
    """The owner as `viewer` may see them: the address is for themselves, for admins and for who
    has a contract with them (D8)."""
    if viewer is None:
        return Owner(owner.public_id)
    sees = viewer.role is Role.ADMIN or viewer.key == owner.key
    if sees or await profiles.share_a_contract(conn, viewer.key, owner.key):
        return Owner(owner.public_id, owner.email)
    return Owner(owner.public_id)


def _require_owner(owner: Party, caller: Actor) -> None:
    if owner.key != caller.key:
        raise Forbidden


def _first_name(text: str | None, before: str) -> str:
    name = _text(text, before)
    if not name:
        raise InvalidField("firstName", "must not be empty")
    return name


def _text(text: str | None, before: str) -> str:
    return before if text is None else tidy(text)


def _level(text: str | None, before: Level | None) -> Level | None:
    if text is None:
        return before
    if text and text not in tuple(Level):
        raise InvalidField("experienceLevel", f"must be one of {', '.join(Level)}")
    return Level(text) if text else None


def _id(label: str | Reference) -> str:
    return label.id if isinstance(label, Reference) else label


async def _category(
    conn: asyncpg.Connection, sent: str | Reference | None, before: Label | None
) -> Label | None:
    if sent is None:
        return before
    return None if sent == "" else await find_category(conn, _id(sent), "jobCategory", before)


def _entries(texts: list[str], field: str) -> tuple[str, ...]:
    """Each once, without empty ones."""
    kept = tuple(dict.fromkeys(text for text in texts if text))
    if len(kept) > ENTRIES_MAX:
        raise InvalidField(field, f"must have at most {ENTRIES_MAX} entries")
    return kept


def _link(text: str, field: str) -> str:
    """An https link that names a host and nobody's password; "" stays empty."""
    link = tidy(text)
    if link and not _is_sound(link):
        raise InvalidField(field, "must be an https:// link")
    return link


def _is_sound(link: str) -> bool:
    try:
        parts = urlsplit(link)
        names_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_one_word = link.isprintable() and " " not in link
    return parts.scheme == "https" and names_host and "@" not in parts.netloc and is_one_word


client_router = Router(
    "/api/client/profile",
    route_handlers=[get_client_profile, update_client_profile],
    tags=["Profiles"],
)
freelancer_router = Router(
    "/api/freelancer/profile",
    route_handlers=[get_freelancer_profile, update_freelancer_profile],
    tags=["Profiles"],
)
