"""/api/admin/categories and /api/admin/skills (spec 4.3, D17). Everybody reads, admins write."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath, JSONBody

from earnest.domain.job import Label
from earnest.domain.party import Role
from earnest.errors import InvalidField
from earnest.ids import parse_public_id
from earnest.marketplace.shapes import Line, tidy
from earnest.store import catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.web.auth import actor, only
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond

NAME_CHARACTERS_MAX = 100
ADMINS = [only(Role.ADMIN)]


class LabelName(msgspec.Struct):
    name: Line


class LabelDocument(msgspec.Struct):
    """A category or a skill."""

    id: str = msgspec.field(name="_id")
    name: str
    isListed: bool  # noqa: N815


class LabelSaved(msgspec.Struct):
    success: bool
    message: str
    data: LabelDocument


class Labels(msgspec.Struct):
    success: bool
    data: list[LabelDocument]


async def _change(
    request: EarnestRequest,
    status: int,
    message: str,
    change: Callable[[asyncpg.Connection], Awaitable[Label]],
) -> Response[Any]:
    """Let an admin change one label, at most once per idempotency key."""
    caller = actor(request)
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        return reply(status, LabelSaved(True, message, _document(await change(conn))))

    return respond(await carry_out(request.app.state.pool, caller, wanted, work))


def _document(label: Label) -> LabelDocument:
    return LabelDocument(id=label.public_id, name=label.name, isListed=label.is_listed)


def _name(data: JSONBody[LabelName]) -> str:
    name = tidy(data.name)
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise InvalidField("name", f"must have 1 to {NAME_CHARACTERS_MAX} characters")
    return name


async def _every(request: EarnestRequest, shelf: catalog.Shelf) -> Labels:
    async with request.app.state.pool.connection() as conn:
        return Labels(True, [_document(one) for one in await catalog.every(conn, shelf)])


@post("/add-category", status_code=201, guards=ADMINS)
async def add_category(request: EarnestRequest, data: JSONBody[LabelName]) -> Response[LabelSaved]:
    """A new category."""
    name = _name(data)
    return await _change(
        request, 201, "Category added", lambda conn: catalog.add(conn, CATEGORY, name)
    )


@get("/get-categories")
async def get_categories(request: EarnestRequest) -> Labels:
    """All categories, the unlisted ones too."""
    return await _every(request, CATEGORY)


@put("/edit-category/{label_id:str}", guards=ADMINS)
async def edit_category(
    request: EarnestRequest, label_id: FromPath[str], data: JSONBody[LabelName]
) -> Response[LabelSaved]:
    """Rename a category."""
    label, name = parse_public_id(label_id, "id"), _name(data)
    return await _change(
        request, 200, "Category updated", lambda conn: catalog.rename(conn, CATEGORY, label, name)
    )


@put("/list-category/{label_id:str}", guards=ADMINS)
async def list_category(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
    """Offer a category again."""
    label = parse_public_id(label_id, "id")
    return await _change(
        request,
        200,
        "Category listed",
        lambda conn: catalog.set_listed(conn, CATEGORY, label, is_listed=True),
    )


@put("/unlist-category/{label_id:str}", guards=ADMINS)
async def unlist_category(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
    """Offer a category no longer."""
    label = parse_public_id(label_id, "id")
    return await _change(
        request,
        200,
        "Category unlisted",
        lambda conn: catalog.set_listed(conn, CATEGORY, label, is_listed=False),
    )


@post("/add-skills", status_code=201, guards=ADMINS)
async def add_skill(request: EarnestRequest, data: JSONBody[LabelName]) -> Response[LabelSaved]:
    """A new skill."""
    name = _name(data)
    return await _change(request, 201, "Skill added", lambda conn: catalog.add(conn, SKILL, name))


@get("/get-skills")
async def get_skills(request: EarnestRequest) -> Labels:
    """All skills, the unlisted ones too."""
    return await _every(request, SKILL)


@put("/edit-skills/{label_id:str}", guards=ADMINS)
async def edit_skill(
    request: EarnestRequest, label_id: FromPath[str], data: JSONBody[LabelName]
) -> Response[LabelSaved]:
    """Rename a skill."""
    label, name = parse_public_id(label_id, "id"), _name(data)
    return await _change(
        request, 200, "Skill updated", lambda conn: catalog.rename(conn, SKILL, label, name)
    )


@put("/list-skills/{label_id:str}", guards=ADMINS)
async def list_skill(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
    """Offer a skill again."""
    label = parse_public_id(label_id, "id")
    return await _change(
        request,
        200,
        "Skill listed",
        lambda conn: catalog.set_listed(conn, SKILL, label, is_listed=True),
    )


@put("/unlist-skills/{label_id:str}", guards=ADMINS)
async def unlist_skill(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
    """Offer a skill no longer."""
    label = parse_public_id(label_id, "id")
    return await _change(
        request,
        200,
        "Skill unlisted",
        lambda conn: catalog.set_listed(conn, SKILL, label, is_listed=False),
    )


categories_router = Router(
    "/api/admin/categories",
    route_handlers=[add_category, get_categories, edit_category, list_category, unlist_category],
    tags=["Categories and skills"],
)
skills_router = Router(
    "/api/admin/skills",
    route_handlers=[add_skill, get_skills, edit_skill, list_skill, unlist_skill],
    tags=["Categories and skills"],
)
