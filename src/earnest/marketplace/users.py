"""/api/admin/users: who has an account, who is kept out, and who else operates (spec 4.3).

Admins only. A block works from the next request on: every load brings the caller's status. The
money of a blocked person stays where it is.
"""

from typing import Any

import asyncpg
import msgspec
from litestar import Response, Router, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions.accounts import canonical_email
from earnest.actions.passwords import check_rule
from earnest.domain.party import Role
from earnest.domain.people import CannotBlockYourself, User, UserNotFound
from earnest.errors import Conflict, InvalidField, TooMany
from earnest.ids import parse_public_id
from earnest.marketplace.catalog import called
from earnest.marketplace.contracts import read_page
from earnest.marketplace.shapes import AccountRole, AccountStatus, Id
from earnest.store import accounts, people
from earnest.store.people import Status
from earnest.web.address import address_of
from earnest.web.auth import actor, only, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, keyed, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Line, search_text, tidy


class UserDocument(msgspec.Struct):
    """An account; `status` is Active or Blocked. What signs it in is never shown."""

    id: Id = msgspec.field(name="_id")
    name: str
    email: str
    role: AccountRole
    status: AccountStatus
    profilePic: str  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class UserList(msgspec.Struct):
    """`total` counts what was searched for, on all pages."""

    success: bool
    data: list[UserDocument]
    total: int
    currentPage: int  # noqa: N815
    totalPages: int  # noqa: N815


class UserSaved(msgspec.Struct):
    success: bool
    message: str
    data: UserDocument


class NewAdmin(msgspec.Struct):
    name: Line
    email: Line
    password: str


@post("/create-admin", status_code=201, refuses=(Conflict, TooMany))
async def create_admin(request: EarnestRequest, data: JSONBody[NewAdmin]) -> Response[UserSaved]:
    """Make another admin, on record as made by the caller."""
    caller = await signed_in(request)
    state = request.app.state
    name, email = tidy(data.name), data.email.strip()
    if not name:
        raise InvalidField("name", "must not be empty")
    email_canonical = canonical_email(email)
    check_rule(data.password)
    wanted = keyed(await once(request, caller), state.code_key)
    password_hash = await state.passwords.hash(data.password, address_of(request))

    async def work(conn: asyncpg.Connection) -> Any:
        made = await accounts.create(
            conn,
            name=name,
            email=email,
            email_canonical=email_canonical,
            role=Role.ADMIN,
            password_hash=password_hash,
            made_by=caller.name,
        )
        shown = document(await people.get(conn, made))
        return reply(201, UserSaved(True, "Admin has been created", shown))

    return respond(await carry_out(state.core, caller, wanted, work))


def _routes(role: Role) -> list[HTTPRouteHandler]:
    """What can be done with users of one role."""

    @get(f"/get-{role}s")
    @called(f"get_{role}s", f"All {role}s, newest first; 1,000 at most if not asked by page.")
    async def every(
        request: EarnestRequest,
        page: FromQuery[str | None] = None,
        limit: FromQuery[str | None] = None,
        search: FromQuery[str | None] = None,
    ) -> UserList:
        await signed_in(request)
        wanted = read_page(page, limit)
        text = search_text(search)
        async with request.app.state.pool.connection() as conn:
            found = await people.of_role(conn, role, text, wanted)
        return UserList(
            success=True,
            data=[document(user) for user in found.users],
            total=found.total,
            currentPage=wanted.offset // wanted.limit + 1,
            totalPages=-(-found.total // wanted.limit),
        )

    async def set_status(
        request: EarnestRequest, user_id: str, status: Status, message: str
    ) -> Response[UserSaved]:
        caller = actor(request)
        user = parse_public_id(user_id, "id")
        wanted = await once(request, caller)

        async def work(conn: asyncpg.Connection) -> Any:
            changed = await people.set_status(conn, caller, role, user, status)
            return reply(200, UserSaved(True, message, document(changed)))

        return respond(await carry_out(request.app.state.core, caller, wanted, work))

    @put(f"/block-{role}/{{user_id:str}}", refuses=_BLOCK_REFUSES[role])
    @called(f"block_{role}", f"Keep this {role} out, from their next request on.")
    async def block(request: EarnestRequest, user_id: FromPath[str]) -> Response[UserSaved]:
        return await set_status(request, user_id, "Blocked", f"{role.title()} has been blocked")

    @put(f"/unblock-{role}/{{user_id:str}}", refuses=(UserNotFound,))
    @called(f"unblock_{role}", f"Let this {role} sign in again.")
    async def unblock(request: EarnestRequest, user_id: FromPath[str]) -> Response[UserSaved]:
        return await set_status(request, user_id, "Active", f"{role.title()} has been unblocked")

    return [every, block, unblock]


def document(user: User) -> UserDocument:
    """A user as admins see them."""
    return UserDocument(
        id=user.public_id,
        name=user.name,
        email=user.email,
        role=user.role,
        status=user.status,
        profilePic=user.picture,
        createdAt=instant(user.created_at),
        updatedAt=instant(user.updated_at),
    )


_BLOCK_REFUSES = {
    Role.CLIENT: (UserNotFound,),
    Role.FREELANCER: (UserNotFound,),
    Role.ADMIN: (UserNotFound, CannotBlockYourself),
}

router = Router(
    "/api/admin/users",
    route_handlers=[
        create_admin,
        *_routes(Role.CLIENT),
        *_routes(Role.FREELANCER),
        *_routes(Role.ADMIN),
    ],
    opt={"access": only(Role.ADMIN)},
    tags=["Users"],
)
