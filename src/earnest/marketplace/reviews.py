"""/api/client/review: what clients say of completed contracts (spec 4.3). Anybody may read it."""

from typing import Annotated, Any

import asyncpg
import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions.contracts import ContractNotFound
from earnest.domain.party import Actor, Role
from earnest.domain.people import AlreadyReviewed, NotCompletedYet, Review
from earnest.domain.projection import marketplace_status
from earnest.errors import Forbidden, InvalidField
from earnest.ids import parse_public_id
from earnest.marketplace.contracts import read_page
from earnest.marketplace.documents import person
from earnest.marketplace.shapes import Id, Person
from earnest.store import reviews
from earnest.web.auth import READERS, actor, only, reader
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import carry_out, once, reply, respond
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Line, tidy

Rating = Annotated[int, msgspec.Meta(ge=1, le=5)]
Description = Annotated[str, msgspec.Meta(max_length=2_000)]


class NewReview(msgspec.Struct):
    """`rating` is a whole number from 1 to 5; `freelancerId` is the freelancer's user id."""

    contractId: Line  # noqa: N815
    freelancerId: Line  # noqa: N815
    rating: Rating
    description: Description


class ReviewDocument(msgspec.Struct):
    """A review; the client is an id, or a document in lists."""

    id: Id = msgspec.field(name="_id")
    rating: Rating
    description: str
    createdAt: Instant  # noqa: N815
    clientId: Id | Person  # noqa: N815
    freelancerId: Id  # noqa: N815
    contractId: Id  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class ReviewSaved(msgspec.Struct):
    message: str
    data: ReviewDocument


class ReviewList(msgspec.Struct):
    """`count` is how many there are in `data`, `total` how many on all pages."""

    count: int
    total: int
    data: list[ReviewDocument]


@post(
    "/rate-freelancer/{client_id:str}",
    status_code=201,
    access=only(Role.CLIENT),
    refuses=(Forbidden, ContractNotFound, NotCompletedYet, AlreadyReviewed),
)
async def rate_freelancer(
    request: EarnestRequest, client_id: FromPath[str], data: JSONBody[NewReview]
) -> Response[ReviewSaved]:
    """Say once, and for good, how a completed contract went. The client is the caller."""
    caller = actor(request)
    client = parse_public_id(client_id, "clientId")
    contract = parse_public_id(data.contractId, "contractId")
    freelancer = parse_public_id(data.freelancerId, "freelancerId")
    description = tidy(data.description)
    if not description:
        raise InvalidField("description", "must not be empty")
    if client != caller.public_id:
        raise Forbidden
    wanted = await once(request, caller)

    async def work(conn: asyncpg.Connection) -> Any:
        found = await reviews.contract_to_review(conn, contract)
        if found is None:
            raise ContractNotFound
        if found.contract.buyer != caller.key:
            raise Forbidden
        if found.seller.public_id != freelancer:
            raise InvalidField("freelancerId", "is not the freelancer of this contract")
        if marketplace_status(found.contract) != "Completed":
            raise NotCompletedYet
        made = await reviews.add(conn, found, data.rating, description)
        shown = _document(made, made.client.public_id)
        return reply(201, ReviewSaved("Review has been added", shown))

    return respond(await carry_out(request.app.state.core, caller, wanted, work))


@get("/show-reviews/{freelancer_id:str}", access=READERS)
async def show_reviews(
    request: EarnestRequest,
    freelancer_id: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ReviewList:
    """What clients said of a freelancer, newest first; 1,000 at most if not asked by page."""
    viewer = await reader(request)
    freelancer = parse_public_id(freelancer_id, "freelancerId")
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await reviews.of_freelancer(conn, freelancer, wanted)
    shown = [
        _document(one, person(one.client, with_email=_sees_email(one, viewer)))
        for one in found.reviews
    ]
    return ReviewList(len(shown), found.total, shown)


def _sees_email(review: Review, viewer: Actor | None) -> bool:
    """The parties of the reviewed contract and admins (D8)."""
    if viewer is None:
        return False
    parties = (review.client.public_id, review.freelancer)
    return viewer.role is Role.ADMIN or viewer.public_id in parties


def _document(review: Review, client: str | Person) -> ReviewDocument:
    return ReviewDocument(
        id=review.public_id,
        rating=review.rating,
        description=review.description,
        createdAt=instant(review.created_at),
        clientId=client,
        freelancerId=review.freelancer,
        contractId=review.contract,
    )


router = Router(
    "/api/client/review", route_handlers=[rate_freelancer, show_reviews], tags=["Reviews"]
)
