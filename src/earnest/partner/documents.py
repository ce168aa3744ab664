"""A contract as partners see it: the seed's sample key for key, then what its tables add (E1).

Invariant: amounts are major units, and their bytes are those that JavaScript would write.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from earnest.domain.contract import HOLDING, Contract, Money
from earnest.domain.party import Member
from earnest.domain.pricing import LineType
from earnest.domain.projection import PARTNER_STATUSES, milestone_status, partner_status
from earnest.domain.refund import Part
from earnest.ids import uuid_of
from earnest.partner.charges import LineShown, Sheet, Uuid, charges
from earnest.store.partners import Brokered, Listed, Moved
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, one_of

Status = Annotated[str, one_of(*PARTNER_STATUSES)]
Number = Annotated[str, msgspec.Meta(pattern=r"\ACNT-[0-9]{4}-[0-9]{8}\Z")]
TAXES = (LineType.ESCROW_FEE_TAX, LineType.PLATFORM_FEE_TAX)


class PartyShown(msgspec.Struct, rename="camel"):
    """A buyer or a seller."""

    platform_ref_id: str
    first_name: str
    last_name: str
    phone_number: str


class MilestoneShown(msgspec.Struct, rename="pascal"):
    """A milestone; its amount is with all fees and taxes."""

    id: int
    name: str
    description: str
    due_date: str
    amount: Major
    pricing_line_items: list[LineShown]
    status: str


class MetaData(msgspec.Struct, rename="lower"):
    """Four texts of the partner's own."""

    metadata1: str = ""
    metadata2: str = ""
    metadata3: str = ""
    metadata4: str = ""


class TransactionShown(msgspec.Struct, rename="camel"):
    """Money that came from the buyer (payment) or went to one of the two (release, refund)."""

    id: str
    type: Annotated[str, one_of("payment", "release", "refund")]
    amount: Major
    currency: str
    milestone_id: int | None
    created_date: Instant


class CheckoutShown(msgspec.Struct, rename="camel"):
    """Where the buyer pays; good for ten minutes."""

    url: str
    token: str
    expires_at: Instant


class SettlementShown(msgspec.Struct, rename="camel"):
    """Where the money is: funded = held + releasedToSeller + refundedToBuyer + fees + taxes."""

    currency: str
    funded: Major
    held: Major
    released_to_seller: Major
    refunded_to_buyer: Major
    fees: Major
    taxes: Major


class ContractShown(msgspec.Struct, rename="camel"):
    """A contract; `amount` is its base, before all fees."""

    contract_id: Number
    reference: str | None
    title: str
    description: str | None
    notes: str | None
    status: Status
    contract_service_type: str
    buyer_party: PartyShown
    seller_party: PartyShown
    business_name: str
    created_date: Instant
    meta_data: MetaData | None
    milestones: list[MilestoneShown]
    pricing_line_items: list[LineShown]
    transactions: list[TransactionShown]
    amount: Major
    updated_date: Instant
    id: Uuid
    checkout: CheckoutShown | None
    settlement: SettlementShown


class ContractMade(msgspec.Struct, rename="camel"):
    """A new contract."""

    contract_id: Number
    status: Status
    contract_service_type: str
    checkout_url: str
    buyer_party: PartyShown
    seller_party: PartyShown
    reference: str | None
    meta_data: MetaData | None
    milestones: list[MilestoneShown]
    pricing_line_items: list[LineShown]
    created_date: Instant
    checkout: CheckoutShown


class ContractListed(msgspec.Struct, rename="camel"):
    """A contract in a list."""

    contract_id: Number
    reference: str | None
    title: str
    status: Status
    contract_service_type: str
    buyer_party: PartyShown
    seller_party: PartyShown
    created_date: Instant
    amount: Major
    updated_date: Instant
    id: Uuid


def shown(found: Brokered, checkout: CheckoutShown | None) -> ContractShown:
    """Everything about a contract."""
    contract = found.contract
    terms = contract.terms
    priced = charges(contract)
    return ContractShown(
        contract_id=contract.number,
        reference=terms.reference,
        title=terms.title,
        description=terms.description,
        notes=terms.notes,
        status=partner_status(contract),
        contract_service_type=terms.service_type,
        buyer_party=party(found.buyer),
        seller_party=party(found.seller),
        business_name=found.business.name,
        created_date=instant(contract.created_at),
        meta_data=metadata(contract),
        milestones=milestones(contract, priced.milestones),
        pricing_line_items=priced.whole.lines,
        transactions=list(transactions(found)),
        amount=contract.major(contract.amount_minor),
        updated_date=instant(contract.updated_at),
        id=priced.id,
        checkout=checkout,
        settlement=settlement(found),
    )


def made(found: Brokered, checkout: CheckoutShown) -> ContractMade:
    """What the one who created a contract is told."""
    contract = found.contract
    priced = charges(contract)
    return ContractMade(
        contract_id=contract.number,
        status=partner_status(contract),
        contract_service_type=contract.terms.service_type,
        checkout_url=checkout.url,
        buyer_party=party(found.buyer),
        seller_party=party(found.seller),
        reference=contract.terms.reference,
        meta_data=metadata(contract),
        milestones=milestones(contract, priced.milestones),
        pricing_line_items=priced.whole.lines,
        created_date=instant(contract.created_at),
        checkout=checkout,
    )


def listed(found: Listed) -> ContractListed:
    """A contract in a list."""
    contract = found.contract
    return ContractListed(
        contract_id=contract.number,
        reference=contract.terms.reference,
        title=contract.terms.title,
        status=partner_status(contract),
        contract_service_type=contract.terms.service_type,
        buyer_party=party(found.buyer),
        seller_party=party(found.seller),
        created_date=instant(contract.created_at),
        amount=contract.major(contract.amount_minor),
        updated_date=instant(contract.updated_at),
        id=uuid_of(contract.public_id),
    )


# -- its parts ------------------------------------------------------------------------------------


def party(member: Member) -> PartyShown:
    """A buyer or a seller."""
    return PartyShown(member.platform_ref, member.first_name, member.last_name, member.phone)


def metadata(contract: Contract) -> MetaData | None:
    """The four texts, None where the partner sent no object."""
    given = contract.terms.metadata
    return None if given is None else MetaData(**given)


def milestones(contract: Contract, sheets: list[Sheet]) -> list[MilestoneShown]:
    """The milestones in their order, with the charges of each."""
    return [
        MilestoneShown(
            id=one.id,
            name=one.name,
            description=one.description,
            due_date=one.due_date,
            amount=sheet.amount,
            pricing_line_items=sheet.lines,
            status=milestone_status(contract, index),
        )
        for index, (one, sheet) in enumerate(zip(contract.terms.milestones, sheets, strict=True))
    ]


# -- where the money is ---------------------------------------------------------------------------

_parts = msgspec.json.Decoder(tuple[Part, ...])
_body = msgspec.json.Decoder(dict[str, msgspec.Raw])


def transactions(found: Brokered) -> Iterator[TransactionShown]:
    """Every movement of its money from and to its two people, in order."""
    for moved in found.moved:
        rows = list(_went(found.contract, moved))
        for number, (type_, tranche, minor) in enumerate(rows, start=1):
            ids = found.contract.terms.milestones
            yield TransactionShown(
                id=f"TXN-{moved.key}" if len(rows) == 1 else f"TXN-{moved.key}-{number}",
                type=type_,
                amount=found.contract.major(minor),
                currency=found.contract.currency,
                milestone_id=ids[tranche].id if ids else None,
                created_date=instant(moved.recorded_at),
            )


def _went(contract: Contract, moved: Moved) -> Iterator[tuple[str, int, int]]:
    """Type, tranche and minor units of each movement that an event tells of."""
    priced = contract.terms.tranches
    body: dict[str, Any] = _body.decode(moved.body)
    match moved.type:
        case "payment.completed":
            for index, one in enumerate(priced):
                yield "payment", index, one.charge_minor
        case "contract.released":
            for index in msgspec.json.decode(body["tranches"], type=list[int]):
                yield "release", index, priced[index].net_minor
        case "contract.refunded":
            for part in _parts.decode(body["parts"]):
                if part.buyer_minor:
                    yield "refund", part.tranche, part.buyer_minor
                if part.seller_minor:
                    yield "release", part.tranche, part.seller_minor


def settlement(found: Brokered) -> SettlementShown:
    """The sums over all tranches; what was settled by a refund is in that refund's parts."""
    contract = found.contract
    if not contract.funded:
        return SettlementShown(contract.currency, 0, 0, 0, 0, 0, 0)
    parts = {
        part.tranche: part
        for moved in found.moved
        if moved.type == "contract.refunded"
        for part in _parts.decode(_body.decode(moved.body)["parts"])
    }
    held = seller = buyer = fees = taxes = 0
    for index, priced in enumerate(contract.terms.tranches):
        state = contract.tranches[index]
        if state in HOLDING:
            held += priced.charge_minor
            continue
        lines = priced.lines if state is Money.RELEASED else ()
        if index in parts:
            buyer += parts[index].buyer_minor
            seller += parts[index].seller_minor
            lines = parts[index].lines
        elif state is Money.RELEASED:
            seller += priced.net_minor
        for one in lines:
            if one.type in TAXES:
                taxes += one.amount_minor
            else:
                fees += one.amount_minor
    return SettlementShown(
        currency=contract.currency,
        funded=contract.major(contract.charge_minor),
        held=contract.major(held),
        released_to_seller=contract.major(seller),
        refunded_to_buyer=contract.major(buyer),
        fees=contract.major(fees),
        taxes=contract.major(taxes),
    )
