"""Contracts, escrows and wallets as the marketplace's clients read them (spec 2.2, 3.3).

Who looks decides what is shown (D8): the parties and admins see everything, anybody else names
and ids: no e-mail, no reasons.
"""

import functools
from datetime import UTC, date
from typing import Annotated, Any

import msgspec

from earnest.domain.contract import Contract, cancellation_shares
from earnest.domain.hiring import Job
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Actor, Party, Role
from earnest.domain.projection import escrow_status, marketplace_status, release_fund_status
from earnest.ids import PublicId, sub_id
from earnest.marketplace.jobs import JobDocument
from earnest.marketplace.shapes import (
    CanceledBy,
    ContractNumber,
    ContractStatus,
    Direction,
    EscrowStatus,
    Id,
    Person,
    ReleaseStatus,
)
from earnest.store.contracts import Documented
from earnest.store.provider_objects import Captured
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major
from earnest.web.wire import encode

ESCROW_PART = 0xE5C0
WALLET_PART = 0xA11E7


class StatusEntry(msgspec.Struct):
    """One step; `timestamp` is DD-MM-YY in UTC (D20)."""

    status: ContractStatus
    timestamp: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")]
    id: Id = msgspec.field(name="_id")


class JobBrief(msgspec.Struct):
    """A job inside a contract."""

    id: Id = msgspec.field(name="_id")
    title: str
    description: str
    rate: Major


JobReference = Annotated[
    Any,
    msgspec.Meta(
        extra_json_schema={
            "anyOf": [
                {"type": "string", "pattern": "^[0-9a-f]{24}$"},
                {"$ref": "#/components/schemas/JobBrief"},
                {"$ref": "#/components/schemas/JobDocument"},
                {"type": "null"},
            ]
        }
    ),
]
"""An id, a JobBrief or a whole JobDocument: two structs in one union is more than msgspec says."""


class ContractDocument(msgspec.Struct):
    """A contract; references are ids or populated documents. `amount` in major units."""

    id: Id = msgspec.field(name="_id")
    contractId: ContractNumber  # noqa: N815
    jobId: JobReference  # noqa: N815
    clientId: Id | Person  # noqa: N815
    freelancerId: Id | Person  # noqa: N815
    isApproved: bool  # noqa: N815
    status: ContractStatus
    amount: Major
    escrowPaid: bool  # noqa: N815
    canceledBy: CanceledBy | None  # noqa: N815
    cancelReason: str  # noqa: N815
    cancelReasonDescription: str  # noqa: N815
    releaseFundStatus: ReleaseStatus  # noqa: N815
    statusHistory: list[StatusEntry]  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    isDeleted: bool = False  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


class ContractShown(ContractDocument, kw_only=True):
    """The fields of the contract, and the same contract again under `contract` (D10)."""

    contract: ContractDocument


class ContractChanged(ContractShown, kw_only=True):
    """The same after a change."""

    message: str


class ContractMade(msgspec.Struct):
    message: str
    contract: ContractDocument


class ContractOrNull(msgspec.Struct):
    contract: ContractDocument | None


class ContractList(msgspec.Struct):
    """`contracts` and `data` are the same list (D10)."""

    count: int
    contracts: list[ContractDocument]
    data: list[ContractDocument]


class ClientContracts(msgspec.Struct):
    count: int
    data: list[ContractDocument]


class AllContracts(msgspec.Struct):
    data: list[ContractDocument]


class EscrowDocument(msgspec.Struct):
    """What became of a contract's money; it keeps its amount for ever (D15).

    `providerSessionId` and `providerPaymentId` are the payment provider's ids of what paid for it.
    """

    id: Id = msgspec.field(name="_id")
    clientId: Id | Person  # noqa: N815
    freelancerId: Id  # noqa: N815
    contractId: Id | ContractDocument  # noqa: N815
    jobId: Id | None  # noqa: N815
    amount: Major
    platformFee: Major  # noqa: N815
    freelancerEarning: Major  # noqa: N815
    status: EscrowStatus
    transactionType: Direction  # noqa: N815
    providerSessionId: str | None  # noqa: N815
    providerPaymentId: str | None  # noqa: N815
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    v: int = msgspec.field(name="__v", default=0)


def sees_all(documented: Documented, viewer: Actor | None) -> bool:
    """Whether `viewer` is a party to this contract, or an admin."""
    if viewer is None:
        return False
    parties = (documented.contract.buyer, documented.contract.seller)
    return viewer.role is Role.ADMIN or viewer.key in parties


def person(party: Party, *, with_email: bool) -> Person:
    email = party.email if with_email else msgspec.UNSET
    return Person(id=party.public_id, name=party.name, email=email, profilePic=party.picture)


def job_brief(job: Job | None) -> JobBrief | None:
    if job is None:
        return None
    rate = to_number(job.rate_minor, CURRENCIES[job.currency])
    return JobBrief(id=job.public_id, title=job.title, description=job.description, rate=rate)


def plain_contract(documented: Documented) -> ContractDocument:
    """For its parties, with ids as references."""
    return _contract(
        documented,
        job=documented.job.public_id if documented.job is not None else None,
        client=documented.buyer.public_id,
        freelancer=documented.seller.public_id,
        with_reasons=True,
    )


def populated_contract(
    documented: Documented,
    viewer: Actor | None,
    job: str | JobBrief | JobDocument | None = None,
) -> ContractDocument:
    """With the people in it, and the job (the brief one unless `job` is given)."""
    everything = sees_all(documented, viewer)
    return _contract(
        documented,
        job=job if job is not None else job_brief(documented.job),
        client=person(documented.buyer, with_email=everything),
        freelancer=person(documented.seller, with_email=everything),
        with_reasons=everything,
    )


def referenced_contract(documented: Documented, viewer: Actor | None) -> ContractDocument:
    """With ids as references, as `viewer` may see it (C3)."""
    return msgspec.structs.replace(
        plain_contract(documented),
        **(
            {}
            if sees_all(documented, viewer)
            else {"cancelReason": "", "cancelReasonDescription": ""}
        ),
    )


def _contract(
    documented: Documented,
    *,
    job: str | JobBrief | JobDocument | None,
    client: str | Person,
    freelancer: str | Person,
    with_reasons: bool,
) -> ContractDocument:
    contract = documented.contract
    return ContractDocument(
        id=contract.public_id,
        contractId=contract.number,
        jobId=job,
        clientId=client,
        freelancerId=freelancer,
        isApproved=contract.started_at is not None,
        status=marketplace_status(contract),
        amount=to_number(contract.amount_minor, CURRENCIES[contract.currency]),
        escrowPaid=contract.funded,
        canceledBy=contract.cancelled_by,
        cancelReason=contract.cancel_reason if with_reasons else "",
        cancelReasonDescription=contract.cancel_reason_description if with_reasons else "",
        releaseFundStatus=release_fund_status(contract),
        statusHistory=status_history(contract),
        createdAt=instant(contract.created_at),
        updatedAt=instant(contract.updated_at),
    )


def status_history(contract: Contract) -> list[StatusEntry]:
    """The steps that were taken, without Pending (D20)."""
    steps = (
        ("Started", contract.started_at),
        ("Ongoing", contract.ongoing_at),
        ("Completed", contract.completed_at),
        ("Canceled", contract.cancelled_at),
    )
    return [
        StatusEntry(
            status=status,
            timestamp=_shown(at.astimezone(UTC).date()),
            id=sub_id(contract.public_id, index),
        )
        for index, (status, at) in enumerate(steps, start=1)
        if at is not None
    ]


@functools.lru_cache(maxsize=2_048)
def _shown(day: date) -> str:
    """01-05-26; there are not many days, and a list has hundreds of steps."""
    return day.strftime("%d-%m-%y")


def merged(document: ContractDocument, message: str | None = None) -> bytes:
    """The document's fields at top level, and again under `contract` (D10)."""
    inner = encode(document)
    head = b"{" if message is None else b'{"message":' + encode(message) + b","
    return head + inner[1:-1] + b',"contract":' + inner + b"}"


# -- escrow -----------------------------------------------------------------------------------


def plain_escrow(documented: Documented, paid: Captured | None) -> EscrowDocument:
    """The escrow of a funded contract, with ids as references."""
    return _escrow(
        documented,
        paid,
        client=documented.buyer.public_id,
        contract=documented.contract.public_id,
    )


def populated_escrow(documented: Documented, paid: Captured | None) -> EscrowDocument:
    """With the client's name and the contract in it, for admins."""
    client = person(documented.buyer, with_email=True)
    return _escrow(documented, paid, client=client, contract=plain_contract(documented))


def _escrow(
    documented: Documented,
    paid: Captured | None,
    *,
    client: str | Person,
    contract: str | ContractDocument,
) -> EscrowDocument:
    of = documented.contract
    assert of.funded_at is not None
    currency = CURRENCIES[of.currency]
    priced = of.terms.tranches[0]
    earning = priced.net_minor
    status = escrow_status(of)
    if status == "refunded" and of.cancelled_work is not None:
        earning = cancellation_shares(of.terms, 0, of.cancelled_work).seller_minor
    return EscrowDocument(
        id=escrow_id(of.public_id),
        clientId=client,
        freelancerId=documented.seller.public_id,
        contractId=contract,
        jobId=documented.job.public_id if documented.job is not None else None,
        amount=to_number(priced.charge_minor, currency),
        platformFee=to_number(priced.fees_minor, currency),
        freelancerEarning=to_number(earning, currency),
        status=status,
        transactionType="credit" if status == "funded" else "debit",
        providerSessionId=paid.session_id if paid is not None else None,
        providerPaymentId=paid.payment_id if paid is not None else None,
        createdAt=instant(of.funded_at),
        updatedAt=instant(of.settled_at or of.funded_at),
    )


def escrow_id(contract: PublicId) -> PublicId:
    return sub_id(contract, ESCROW_PART)


def wallet_id(party: PublicId) -> PublicId:
    return sub_id(party, WALLET_PART)
