"""/api/admin/categories and /api/admin/skills (spec 4.3, D17). Everybody reads, admins write."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath, JSONBody

from earnest.domain.job import Label
from earnest.domain.party import Role
from earnest.errors import Conflict, InvalidField, NotFound
from earnest.ids import parse_public_id
from earnest.marketplace.shapes import Id
from earnest.store import catalog
from earnest.store.catalog import CATEGORY, SKILL
from earnest.web.auth import OPEN, actor, only, reader
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.shapes import Line, tidy

NAME_CHARACTERS_MAX = 100
ADMINS = only(Role.ADMIN)

Handler = TypeVar("Handler", bound=Callable[..., Any])


class LabelName(msgspec.Struct):
    name: Line


class LabelDocument(msgspec.Struct):
    """A category or a skill."""

    id: Id = msgspec.field(name="_id")
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

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


def _document(label: Label) -> LabelDocument:
    return LabelDocument(id=label.public_id, name=label.name, isListed=label.is_listed)


def _name(data: JSONBody[LabelName]) -> str:
    name = " ".join(tidy(data.name).split())
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise InvalidField("name", f"must have 1 to {NAME_CHARACTERS_MAX} characters")
    return name


def called(name: str, description: str) -> Callable[[Handler], Handler]:
    """Name a handler that is made for each shelf: the API's description speaks of it so."""

    def rename(handler: Handler) -> Handler:
        handler.__name__, handler.__doc__ = name, description
        return handler

    return rename


def _router(shelf: catalog.Shelf, several: str, in_paths: str) -> Router:
    """The routes of one shelf. `in_paths`: what they call one label, `skills` for a skill (D17)."""
    one = shelf.noun.lower()

    @post(f"/add-{in_paths}", status_code=201, access=ADMINS, refuses=(Conflict,))
    @called(f"add_{one}", f"A new {one}.")
    async def add(request: EarnestRequest, data: JSONBody[LabelName]) -> Response[LabelSaved]:
        name = _name(data)
        return await _change(
            request, 201, f"{shelf.noun} added", lambda conn: catalog.add(conn, shelf, name)
        )

    @get(f"/get-{several}", access=OPEN)
    @called(f"get_{several}", f"All {several}, the unlisted ones too.")
    async def every(request: EarnestRequest) -> Labels:
        await reader(request)  # open to everybody, but not to who is blocked
        async with request.app.state.pool.connection() as conn:
            return Labels(True, [_document(label) for label in await catalog.every(conn, shelf)])

    @put(f"/edit-{in_paths}/{{label_id:str}}", access=ADMINS, refuses=(NotFound, Conflict))
    @called(f"edit_{one}", f"Rename a {one}.")
    async def edit(
        request: EarnestRequest, label_id: FromPath[str], data: JSONBody[LabelName]
    ) -> Response[LabelSaved]:
        label, name = parse_public_id(label_id, "id"), _name(data)
        return await _change(
            request,
            200,
            f"{shelf.noun} updated",
            lambda conn: catalog.rename(conn, shelf, label, name),
        )

    async def set_listed(
        request: EarnestRequest, label_id: str, *, is_listed: bool
    ) -> Response[LabelSaved]:
        label = parse_public_id(label_id, "id")
        return await _change(
            request,
            200,
            f"{shelf.noun} {'listed' if is_listed else 'unlisted'}",
            lambda conn: catalog.set_listed(conn, shelf, label, is_listed=is_listed),
        )

    @put(f"/list-{in_paths}/{{label_id:str}}", access=ADMINS, refuses=(NotFound,))
    @called(f"list_{one}", f"Offer a {one} again.")
    async def list_again(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
        return await set_listed(request, label_id, is_listed=True)

    @put(f"/unlist-{in_paths}/{{label_id:str}}", access=ADMINS, refuses=(NotFound,))
    @called(f"unlist_{one}", f"Offer a {one} no longer.")
    async def unlist(request: EarnestRequest, label_id: FromPath[str]) -> Response[LabelSaved]:
        return await set_listed(request, label_id, is_listed=False)

    return Router(
        f"/api/admin/{several}",
        route_handlers=[add, every, edit, list_again, unlist],
        tags=["Categories and skills"],
    )


categories_router = _router(CATEGORY, "categories", "category")
skills_router = _router(SKILL, "skills", "skills")
