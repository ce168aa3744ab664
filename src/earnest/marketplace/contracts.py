"""Contracts C1 to C11 of the marketplace, each at its seed path and at its deployed one (D1)."""

from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
from litestar import Response, Router, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from earnest.actions import contracts as actions
from earnest.actions import payments
from earnest.actions.contracts import ContractNotFound, NotTheirContract, Render
from earnest.actions.core import ANY_ACTION, Core
from earnest.domain.business import MARKETPLACE
from earnest.domain.hiring import (
    ContractExists,
    FreelancerNotFound,
    HireYourself,
    JobNotFound,
    JobNotOpen,
    NotApplied,
    NotYourJob,
)
from earnest.domain.money import CURRENCIES, parse_major
from earnest.domain.party import Actor, Role
from earnest.domain.pricing import FeesExceedAmount
from earnest.domain.projection import MARKETPLACE_STATUSES
from earnest.domain.refusals import ChargedBackNow, NotFunded
from earnest.domain.rules import Verb, refusals
from earnest.domain.verbs import InvalidTransition
from earnest.errors import InvalidField
from earnest.ids import PublicId, parse_public_id
from earnest.marketplace import jobs as job_documents
from earnest.marketplace.documents import (
    AllContracts,
    ClientContracts,
    ContractChanged,
    ContractDocument,
    ContractList,
    ContractMade,
    ContractOrNull,
    ContractShown,
    merged,
    plain_contract,
    populated_contract,
    referenced_contract,
)
from earnest.marketplace.shapes import Message
from earnest.store import contracts, jobs
from earnest.store.accounts import require_active
from earnest.store.contracts import Asked, Documented, Page
from earnest.store.idempotency import Once, Reply
from earnest.web.auth import READERS, actor, only, reader, viewer
from earnest.web.guard import Amount, EarnestRequest
from earnest.web.idempotency import once, respond
from earnest.web.shapes import PAGE_ENTRIES_MAX, PAGE_MAX, Line, given, page_number
from earnest.web.wire import encode

Act = Callable[[Core, Actor, PublicId, Once | None, Render], Awaitable[Reply]]
Find = Callable[[asyncpg.Connection, PublicId, Page], Awaitable[list[Documented]]]


class NewContract(msgspec.Struct):
    """`freelancerId` is the freelancer's user id; `amount` the job's rate, in INR."""

    freelancerId: Line  # noqa: N815
    amount: Amount


class NewStatus(msgspec.Struct):
    """One of Started, Ongoing, Completed, Canceled."""

    status: Line


# -- what the client does ---------------------------------------------------------------------


@post(
    ["/create-contract/{job_id:str}", "/contract/create-contract/{job_id:str}"],
    access=only(Role.CLIENT),
    refuses=(
        JobNotFound,
        NotYourJob,
        FreelancerNotFound,
        HireYourself,
        JobNotOpen,
        NotApplied,
        ContractExists,
        FeesExceedAmount,
        ChargedBackNow,
        *ANY_ACTION,
    ),
)
async def create_contract(
    request: EarnestRequest, job_id: FromPath[str], data: JSONBody[NewContract]
) -> Response[ContractMade]:
    """C1: hire a freelancer who applied. The client is the caller."""
    caller = actor(request)
    inr = CURRENCIES["INR"]
    # The business's own limit is no larger than this; what binds is the job's rate.
    amount_minor = parse_major(data.amount, inr, "amount", 10**15)

    return respond(
        await payments.create_contract(
            request.app.state.core,
            caller,
            parse_public_id(job_id, "jobId"),
            parse_public_id(data.freelancerId, "freelancerId"),
            amount_minor,
            await once(request, caller, moves_money=True),  # parked money may be attached
            _made(201, "Job contract has been created"),
        )
    )


@delete(
    ["/cancel-contract/{contract_id:str}", "/contract/cancel-contract/{contract_id:str}"],
    status_code=200,
    access=only(Role.CLIENT, Role.FREELANCER),
    refuses=(ContractNotFound, *refusals(Verb.CANCEL), *ANY_ACTION),
)
async def cancel_contract(request: EarnestRequest, contract_id: FromPath[str]) -> Response[Message]:
    """C2: either party ends the contract; what is held waits for an admin's refund."""
    caller = actor(request)
    return await _told(
        request, caller, actions.cancel, contract_id, "Your job contract has been cancelled"
    )


@get(
    [
        "/is-created/{job_id:str}/{client_id:str}",
        "/contract/is-created/{job_id:str}/{client_id:str}",
    ],
    access=READERS,
)
async def is_created(
    request: EarnestRequest, job_id: FromPath[str], client_id: FromPath[str]
) -> ContractOrNull:
    """C3: the live contract of this job and client, or null."""
    who = await reader(request)
    job, client = parse_public_id(job_id, "jobId"), parse_public_id(client_id, "clientId")
    async with request.app.state.pool.connection() as conn:
        found = await contracts.of_job(conn, job, client)
    return ContractOrNull(None if found is None else referenced_contract(found, who))


@get(
    ["/get-contracts/{client_id:str}", "/contract/get-contracts/{client_id:str}"],
    access=READERS,
)
async def client_contracts(
    request: EarnestRequest,
    client_id: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ClientContracts:
    """C4: a client's contracts, newest first; 1,000 at most if not asked by page."""
    who = await reader(request)
    client = parse_public_id(client_id, "clientId")
    wanted = read_page(page, limit)
    shown = await _with_whole_jobs(request, who, contracts.of_buyer, client, wanted)
    return ClientContracts(len(shown), shown)


@get(["/all-contracts", "/contract/all-contracts"], access=READERS)
async def all_contracts(
    request: EarnestRequest,
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> AllContracts:
    """C5: all contracts of the marketplace, newest first; 1,000 at most if not asked by page."""
    who = await reader(request)
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await contracts.of_business(conn, MARKETPLACE, wanted)
    return AllContracts(
        [populated_contract(one, who, job=one.job.public_id if one.job else None) for one in found]
    )


@patch(
    ["/release-fund/{contract_id:str}", "/contract/release-fund/{contract_id:str}"],
    access=only(Role.CLIENT),
    refuses=(ContractNotFound, *refusals(Verb.REQUEST_RELEASE), *ANY_ACTION),
)
async def request_release(request: EarnestRequest, contract_id: FromPath[str]) -> Response[Message]:
    """C6: ask that the completed work be paid."""
    caller = actor(request)
    return await _told(
        request,
        caller,
        actions.request_release,
        contract_id,
        "Fund release requested successfully.",
    )


# -- what the freelancer does -----------------------------------------------------------------


@post(
    "/approve-contract/{contract_id:str}/{freelancer_id:str}",
    status_code=200,
    access=only(Role.FREELANCER),
    refuses=(
        ContractNotFound,
        NotTheirContract,
        *refusals(Verb.APPROVE),
        NotFunded,
        *ANY_ACTION,
    ),
)
async def approve_contract(
    request: EarnestRequest, contract_id: FromPath[str], freelancer_id: FromPath[str]
) -> Response[ContractMade]:
    """C7: accept the contract: Pending becomes Started."""
    caller = actor(request)

    return respond(
        await actions.approve(
            request.app.state.core,
            caller,
            parse_public_id(contract_id, "contractId"),
            parse_public_id(freelancer_id, "freelancerId"),
            await once(request, caller),
            _made(200, "Contract has been approved"),
        )
    )


@put(
    "/update-status/{contract_id:str}",
    access=only(Role.FREELANCER),
    refuses=(
        ContractNotFound,
        InvalidTransition,
        *refusals(Verb.APPROVE, Verb.WORK_ON, Verb.COMPLETE, Verb.CANCEL),
        *ANY_ACTION,
    ),
)
async def update_status(
    request: EarnestRequest, contract_id: FromPath[str], data: JSONBody[NewStatus]
) -> Response[ContractChanged]:
    """C10: the next status of the work."""
    caller = actor(request)
    if data.status not in MARKETPLACE_STATUSES:
        raise InvalidField("status", "must be one of Started, Ongoing, Completed, Canceled")
    return respond(
        await actions.update_status(
            request.app.state.core,
            caller,
            parse_public_id(contract_id, "contractId"),
            data.status,
            await once(request, caller),
            lambda documented: Reply(
                200, merged(plain_contract(documented), "Contract status changed")
            ),
        )
    )


@get("/get-contracts/{freelancer_id:str}", access=READERS)
async def freelancer_contracts(
    request: EarnestRequest,
    freelancer_id: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ContractList:
    """C8: a freelancer's contracts, newest first; 1,000 at most if not asked by page."""
    who = await reader(request)
    freelancer = parse_public_id(freelancer_id, "freelancerId")
    wanted = read_page(page, limit)
    shown = await _with_whole_jobs(request, who, contracts.of_seller, freelancer, wanted)
    return ContractList(len(shown), shown, shown)


@get(
    "/view-contract/{contract_id:str}",
    access=READERS,
    refuses=(ContractNotFound,),
    straight=True,
)
async def view_contract(
    request: EarnestRequest, contract_id: FromPath[str]
) -> Response[ContractShown]:
    """C9: one contract with its job and both people."""
    who = await viewer(request)
    asked = Asked(parse_public_id(contract_id, "contractId"), who)
    found = await request.app.state.core.loads.contract(asked)
    if who is not None:
        require_active(found.caller, who)
    if found.documented is None:
        raise ContractNotFound
    return respond(Reply(200, merged(populated_contract(found.documented, who))))


@get("/completed-works/{freelancer_id:str}", access=READERS)
async def completed_works(
    request: EarnestRequest,
    freelancer_id: FromPath[str],
    page: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> ContractList:
    """C11: a freelancer's completed contracts, newest first; 1,000 at most if not asked by page."""
    who = await reader(request)
    freelancer = parse_public_id(freelancer_id, "freelancerId")
    wanted = read_page(page, limit)
    async with request.app.state.pool.connection() as conn:
        found = await contracts.of_seller(conn, freelancer, wanted, completed=True)
    shown = [populated_contract(one, who) for one in found]
    return ContractList(len(shown), shown, shown)


# -- what they share --------------------------------------------------------------------------


async def _told(
    request: EarnestRequest, caller: Actor, act: Act, contract_id: str, message: str
) -> Response[Message]:
    """Let `caller` act on one contract; the reply is a message alone."""
    return respond(
        await act(
            request.app.state.core,
            caller,
            parse_public_id(contract_id, "contractId"),
            await once(request, caller),
            lambda _: Reply(200, encode(Message(message))),
        )
    )


def _made(status: int, message: str) -> Render:
    """The reply that shows a contract beside a message."""
    return lambda documented: Reply(
        status, encode(ContractMade(message, plain_contract(documented)))
    )


def read_page(page: str | None, limit: str | None) -> Page:
    """Without paging parameters everything, up to `store.contracts.LIST_MAX` (D15)."""
    if given(page) is None and given(limit) is None:
        return Page()
    size = page_number(limit, "limit", PAGE_ENTRIES_MAX, PAGE_ENTRIES_MAX)
    return Page(size, (page_number(page, "page", 1, PAGE_MAX) - 1) * size)


async def _with_whole_jobs(
    request: EarnestRequest, who: Actor | None, find: Find, party: PublicId, wanted: Page
) -> list[ContractDocument]:
    """What `find` finds of `party`, the jobs as whole documents (C4, C8)."""
    async with request.app.state.pool.connection() as conn:
        found = await find(conn, party, wanted)
        keys = list({one.contract.job for one in found if one.contract.job is not None})
        whole = {job.key: job_documents.plain(job) for job in await jobs.by_keys(conn, keys)}
    return [
        populated_contract(one, who, job=whole.get(one.contract.job) if one.contract.job else None)
        for one in found
    ]


client_router = Router(
    "/api/client",
    route_handlers=[
        create_contract,
        cancel_contract,
        is_created,
        client_contracts,
        all_contracts,
        request_release,
    ],
    tags=["Contracts"],
)
freelancer_router = Router(
    "/api/freelancer/contract",
    route_handlers=[
        approve_contract,
        update_status,
        freelancer_contracts,
        view_contract,
        completed_works,
    ],
    tags=["Contracts"],
)
