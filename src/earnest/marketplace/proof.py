"""The money proof of one contract, for admins and for its two parties."""

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from earnest.actions.contracts import ContractNotFound
from earnest.domain.party import Actor, Role
from earnest.domain.refusals import NotYourContract
from earnest.ids import parse_public_id
from earnest.ledger.accounts import unpack
from earnest.marketplace.documents import sees_all
from earnest.marketplace.shapes import Id
from earnest.store import books
from earnest.store.accounts import require_active
from earnest.store.contracts import Asked, Documented
from earnest.web.auth import actor, only
from earnest.web.guard import EarnestRequest
from earnest.web.instants import instant
from earnest.web.provider_objects import ProviderObject, provider_object
from earnest.web.shapes import Instant, Major

_REFUSES = (ContractNotFound,)
_REFUSES_PARTY = (ContractNotFound, NotYourContract)


class ProofLine(msgspec.Struct):
    """One transfer; accounts by name, `amount` in major units."""

    movement: str
    debit: str
    credit: str
    amount: Major
    recordedAt: Instant  # noqa: N815


class MoneyProof(msgspec.Struct):
    """funded = toFreelancer + toClient + fees + tax + held, by the ledger; `holds` says so.

    `provider`: what the payment provider has of this money, in the order in which it was begun.
    """

    contractId: Id  # noqa: N815
    currency: str
    funded: Major
    toFreelancer: Major  # noqa: N815
    toClient: Major  # noqa: N815
    fees: Major
    tax: Major
    held: Major
    holds: bool
    transfers: list[ProofLine]
    provider: list[ProviderObject]


@get("/admin/escrow/proof/{contract_id:str}", access=only(Role.ADMIN), refuses=_REFUSES)
async def admin_proof(request: EarnestRequest, contract_id: FromPath[str]) -> MoneyProof:
    """Where every paisa of any contract is."""
    return await _proof_for(request, actor(request), contract_id)


@get("/client/contract/proof/{contract_id:str}", access=only(Role.CLIENT), refuses=_REFUSES_PARTY)
async def client_proof(request: EarnestRequest, contract_id: FromPath[str]) -> MoneyProof:
    """Where every paisa of one's own contract is, for the client."""
    return await _proof_for(request, actor(request), contract_id)


@get(
    "/freelancer/contract/proof/{contract_id:str}",
    access=only(Role.FREELANCER),
    refuses=_REFUSES_PARTY,
)
async def freelancer_proof(request: EarnestRequest, contract_id: FromPath[str]) -> MoneyProof:
    """Where every paisa of one's own contract is, for the freelancer."""
    return await _proof_for(request, actor(request), contract_id)


async def _proof_for(request: EarnestRequest, caller: Actor, contract_id: str) -> MoneyProof:
    asked = Asked(parse_public_id(contract_id, "contractId"), caller)
    found = await request.app.state.core.loads.contract(asked)
    require_active(found.caller, caller)
    if found.documented is None:
        raise ContractNotFound
    if not sees_all(found.documented, caller):
        raise NotYourContract
    return await _proof(request, found.documented)


async def _proof(request: EarnestRequest, documented: Documented) -> MoneyProof:
    contract = documented.contract
    async with request.app.state.pool.connection() as conn:
        proof, moved, objects = await books.proof_of(conn, contract)
    return MoneyProof(
        contractId=contract.public_id,
        currency=contract.currency,
        funded=contract.major(proof.funded_minor),
        toFreelancer=contract.major(proof.to_seller_minor),
        toClient=contract.major(proof.to_buyer_minor),
        fees=contract.major(proof.fees_minor),
        tax=contract.major(proof.tax_minor),
        held=contract.major(proof.held_minor),
        holds=proof.holds,
        transfers=[
            ProofLine(
                movement=one.movement,
                debit=unpack(one.debit).name,
                credit=unpack(one.credit).name,
                amount=contract.major(one.amount_minor),
                recordedAt=instant(one.recorded_at),
            )
            for one in moved
        ],
        provider=[provider_object(one) for one in objects],
    )


router = Router(
    "/api", route_handlers=[admin_proof, client_proof, freelancer_proof], tags=["Money proof"]
)
