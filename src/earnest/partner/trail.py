"""What happened to a partner's contract, and where its money went: its hash chain and its proof.

Both are told from the records themselves, events and transfers, and not from the contract's
opinion of itself.
"""

from typing import Annotated

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath, FromQuery

from earnest.actions.contracts import ContractNotFound
from earnest.domain.audit import genesis, moment
from earnest.ledger.accounts import unpack
from earnest.partner.answers import PAGE_ENTRIES_MAX, PARTNER, find
from earnest.partner.binding import PartnerRequest
from earnest.partner.documents import Number
from earnest.partner.envelope import Envelope, answer
from earnest.partner.shapes import InvalidContractId
from earnest.store import books, partners
from earnest.web.idempotency import respond
from earnest.web.instants import instant
from earnest.web.provider_objects import ProviderObject, provider_object
from earnest.web.shapes import PAGE_MAX, Instant, Major, page_number

# -- the trail ------------------------------------------------------------------------------------


Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Moment = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}\+00:00\Z",
        extra_json_schema={"format": "date-time"},
    ),
]


class EventShown(msgspec.Struct, rename="camel"):
    """One event of the contract's hash chain: `hash` is SHA-256 over `previousHash` (32 bytes) and
    the texts of `sequence`, `recordedDate`, `type`, `actor` and `body`, each with its length in
    bytes before it, as 8 bytes, the highest first."""

    sequence: int
    recorded_date: Moment
    type: str
    actor: str
    body: str
    previous_hash: Sha256
    hash: Sha256


class EventPage(msgspec.Struct, rename="camel"):
    """Oldest first."""

    events: list[EventShown]
    page: int
    page_size: int


@get("/{contract_id:str}/events", access=PARTNER, refuses=(InvalidContractId, ContractNotFound))
async def list_events(
    request: PartnerRequest,
    contract_id: FromPath[str],
    page: FromQuery[str | None] = None,
    pageSize: FromQuery[str | None] = None,  # noqa: N803
) -> Response[Envelope[EventPage]]:
    """List what happened to a contract, oldest first, with the hash chain that proves it."""
    found, _ = await find(request, contract_id)
    size = page_number(pageSize, "pageSize", PAGE_ENTRIES_MAX, PAGE_ENTRIES_MAX)
    number = page_number(page, "page", 1, PAGE_MAX)
    async with request.app.state.pool.connection() as conn:
        told = await partners.events(conn, found.contract.key, size, (number - 1) * size)
    events = [
        EventShown(
            sequence=one.seq,
            type=one.type,
            actor=one.actor,
            recorded_date=moment(one.recorded_at),
            body=one.body,
            previous_hash=(one.hash_before or genesis(found.contract.public_id)).hex(),
            hash=one.hash.hex(),
        )
        for one in told
    ]
    return respond(answer(EventPage(events, number, size), "EventsRetrievedSuccessfully"))


# -- proof ----------------------------------------------------------------------------------------


class TransferShown(msgspec.Struct, rename="camel"):
    """One row of the ledger; accounts by name."""

    movement: str
    debit: str
    credit: str
    amount: Major
    recorded_date: Instant


class ProofShown(msgspec.Struct, rename="camel"):
    """funded = toSeller + toBuyer + fees + tax + held, by the ledger alone; `holds` says so.

    `tax` is what is owed to the state; the business's own tax is among what it gets, `fees` (E24).
    `provider`: what the payment provider has of this money, in the order in which it was begun.
    """

    contract_id: Number
    currency: str
    funded: Major
    to_seller: Major
    to_buyer: Major
    fees: Major
    tax: Major
    held: Major
    holds: bool
    transfers: list[TransferShown]
    provider: list[ProviderObject]


@get("/{contract_id:str}/proof", access=PARTNER, refuses=(InvalidContractId, ContractNotFound))
async def show_proof(
    request: PartnerRequest, contract_id: FromPath[str]
) -> Response[Envelope[ProofShown]]:
    """Prove where every halala of a contract is, from the transfers of the ledger."""
    found, _ = await find(request, contract_id)
    contract = found.contract
    async with request.app.state.pool.connection() as conn:
        proof, moved, objects = await books.proof_of(conn, contract)
    told = ProofShown(
        contract_id=contract.number,
        currency=contract.currency,
        funded=contract.major(proof.funded_minor),
        to_seller=contract.major(proof.to_seller_minor),
        to_buyer=contract.major(proof.to_buyer_minor),
        fees=contract.major(proof.fees_minor),
        tax=contract.major(proof.tax_minor),
        held=contract.major(proof.held_minor),
        holds=proof.holds,
        transfers=[
            TransferShown(
                movement=one.movement,
                debit=unpack(one.debit).name,
                credit=unpack(one.credit).name,
                amount=contract.major(one.amount_minor),
                recorded_date=instant(one.recorded_at),
            )
            for one in moved
        ],
        provider=[provider_object(one) for one in objects],
    )
    return respond(answer(told, "ProofRetrievedSuccessfully"))


router = Router(
    "/apps/api/contracts",
    route_handlers=[list_events, show_proof],
    request_class=PartnerRequest,
    tags=["Partner contracts"],
)
