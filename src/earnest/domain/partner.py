"""What a partner does with its contracts, for the buyer and the seller that it brought together.

The partner is trusted to say what its people want: approve, reject and deliver act for the
seller, receive for the buyer, cancel and dispute name who they are for (decision E22). What money
may do stands in the same table as for everybody, `earnest.domain.rules.RULES`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from earnest.domain.business import Business
from earnest.domain.change import Change, of_contract
from earnest.domain.contract import (
    Agreement,
    Contract,
    Dispute,
    Milestone,
    Money,
    Terms,
    Work,
    record,
)
from earnest.domain.movement import Released
from earnest.domain.party import Actor, Member
from earnest.domain.pricing import price
from earnest.domain.projection import partner_status, step
from earnest.domain.rules import Verb, require
from earnest.domain.verbs import begin, created_body
from earnest.errors import InvalidField, NotFound, Refused
from earnest.ids import Ids

MILESTONES_MAX = 100
DUE_YEARS_MAX = 10


class SamePerson(Refused):
    """A contract needs two different people."""


class MilestoneNotFound(NotFound):
    """Milestone not found"""


class SellerNotApproved(Refused):
    """The seller has to approve this contract first."""


class SellerNotVerified(Refused):
    """The seller's identity is not verified yet."""


class Stage(msgspec.Struct, frozen=True):
    """A milestone as it is asked for: `due_date` is the text that was sent."""

    name: str
    description: str
    amount_minor: int
    due_date: str
    due_at: datetime


class Draft(msgspec.Struct, frozen=True):
    """What a partner wants agreed; `amount_minor` is the base, before all fees (E2)."""

    title: str
    service_type: str
    amount_minor: int
    description: str | None
    notes: str | None
    reference: str | None
    metadata: dict[str, str] | None
    callback_url: str
    stages: tuple[Stage, ...]


def check_stages(amount_minor: int, stages: Sequence[Stage], now: datetime) -> None:
    """Raises InvalidField unless the milestones make up the contract (spec 3.1, B20, E23)."""
    if len(stages) > MILESTONES_MAX:
        raise InvalidField("Milestones", f"must have at most {MILESTONES_MAX} entries")
    latest = now + timedelta(days=366 * DUE_YEARS_MAX)
    for index, stage in enumerate(stages):
        where = f"Milestones[{index}]"
        if stage.amount_minor >= amount_minor:
            raise InvalidField(f"{where}.Amount", "must be less than the contract's amount")
        if not now < stage.due_at < latest:
            expected = f"must be in the future, within {DUE_YEARS_MAX} years"
            raise InvalidField(f"{where}.DueDate", expected)
    if stages and sum(stage.amount_minor for stage in stages) != amount_minor:
        raise InvalidField("Milestones", "must have amounts that sum to the contract's amount")


def create(
    draft: Draft,
    business: Business,
    buyer: Member,
    seller: Member,
    new: tuple[Member, ...],
    actor: Actor,
    now: datetime,
    ids: Ids,
) -> Change:
    """A new contract, with the people among its parties whom the business did not know (`new`).

    Raises InvalidField for milestones that do not fit, SamePerson, and
    `earnest.domain.pricing.FeesExceedAmount`.
    """
    check_stages(draft.amount_minor, draft.stages, now)
    if buyer.key == seller.key:
        raise SamePerson
    bases = tuple(stage.amount_minor for stage in draft.stages) or (draft.amount_minor,)
    settings = business.settings
    terms = Terms(
        title=draft.title,
        tranches=price(bases, settings.fee_plan),
        cancellation_policy=settings.cancellation_policy,
        retention_bps=settings.retention_bps,
        milestones=tuple(
            Milestone(ids.new_entry(), stage.name, stage.description, stage.due_date)
            for stage in draft.stages
        ),
        service_type=draft.service_type,
        description=draft.description,
        notes=draft.notes,
        reference=draft.reference,
        metadata=draft.metadata,
        callback_url=draft.callback_url,
    )
    number = ids.new_partner_number(now)
    contract = begin(
        business, terms, number=number, buyer=buyer.key, seller=seller.key, now=now, ids=ids
    )
    body = created_body(contract) | step(None, contract)
    change = of_contract(*record(contract, actor, now, ids, ("contract.created", body)))
    return msgspec.structs.replace(change, members=new)


def reject(contract: Contract, actor: Actor, now: datetime, ids: Ids, reason: str) -> Change:
    """The seller does not want it: pending -> rejected."""
    require(contract, Verb.REJECT, actor)
    after = msgspec.structs.replace(contract, agreement=Agreement.REJECTED)
    return _told(contract, after, "contract.rejected", {"reason": reason}, actor, now, ids)


def deliver(contract: Contract, actor: Actor, now: datetime, ids: Ids, reason: str) -> Change:
    """The seller has delivered. No status of its own (spec 7): the money stays in escrow."""
    require(contract, Verb.DELIVER, actor)
    after = msgspec.structs.replace(contract, work=Work.DELIVERED)
    return _told(contract, after, "contract.delivered", {"reason": reason}, actor, now, ids)


def receive(contract: Contract, actor: Actor, now: datetime, ids: Ids, reason: str) -> Change:
    """The buyer has received it; once all money is settled the contract is completed (E22)."""
    require(contract, Verb.RECEIVE, actor)
    after = msgspec.structs.replace(contract, work=Work.COMPLETED, completed_at=now)
    body: dict[str, object] = {"reason": reason} | step(contract, contract)
    happened: list[tuple[str, dict[str, object]]] = [("contract.received", body)]
    if partner_status(after) == "completed":
        happened.append(("contract.completed", step(contract, after)))
    return of_contract(*record(after, actor, now, ids, *happened))


def dispute(
    contract: Contract, actor: Actor, now: datetime, ids: Ids, *, by: str, reason: str
) -> Change:
    """One of the two disagrees: nothing is released until that is resolved or refunded."""
    require(contract, Verb.DISPUTE, actor)
    after = msgspec.structs.replace(contract, dispute=Dispute.OPEN)
    body: dict[str, object] = {"by": by, "reason": reason}
    return _told(contract, after, "contract.disputed", body, actor, now, ids)


def resolve(contract: Contract, actor: Actor, now: datetime, ids: Ids, reason: str) -> Change:
    """They agree again: the money is in escrow as before."""
    require(contract, Verb.RESOLVE, actor)
    after = msgspec.structs.replace(contract, dispute=Dispute.RESOLVED)
    return _told(contract, after, "dispute.resolved", {"reason": reason}, actor, now, ids)


def release(
    contract: Contract,
    business: Business,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    milestone: int | None,
    seller_verified: bool,
) -> Change:
    """The seller gets what is held: of one milestone, or of all that still hold money (E6).

    Raises MilestoneNotFound, what the table refuses, SellerNotApproved where the business wants the
    seller's approval first (E15), and SellerNotVerified (E12).
    """
    targets = target(contract, milestone)
    require(contract, Verb.RELEASE, actor, targets)
    if business.settings.release_needs_approval and contract.agreement is not Agreement.ACCEPTED:
        raise SellerNotApproved
    if business.settings.require_kyc and not seller_verified:
        raise SellerNotVerified
    after = msgspec.structs.replace(
        contract, tranches=contract.with_tranches(targets, Money.RELEASED)
    )
    if after.settled:
        after = msgspec.structs.replace(after, settled_at=now)
    priced = [contract.terms.tranches[index] for index in targets]
    completes = after.settled and after.work is Work.COMPLETED
    released = msgspec.structs.replace(after, work=Work.DELIVERED) if completes else after
    body: dict[str, object] = {
        "tranches": targets,
        "amount": contract.major(sum(one.base_minor for one in priced)),
        "charge": contract.major(sum(one.charge_minor for one in priced)),
        "seller": contract.major(sum(one.net_minor for one in priced)),
        **_milestone(milestone),
        **step(contract, released),
    }
    happened: list[tuple[str, dict[str, object]]] = [("contract.released", body)]
    if completes:
        happened.append(("contract.completed", step(released, after)))
    return of_contract(
        *record(after, actor, now, ids, *happened),
        *(
            Released(
                business=contract.business,
                contract=contract.key,
                tranche=index,
                currency=contract.currency,
                seller=contract.seller,
                seller_minor=one.net_minor,
                lines=one.lines,
            )
            for index, one in zip(targets, priced, strict=True)
        ),
    )


def target(contract: Contract, milestone: int | None) -> tuple[int, ...]:
    """The indexes of the tranches that money is to leave: one milestone's, or all that hold any.

    All of them where none holds any, so that the table says why not. Raises MilestoneNotFound.
    """
    if milestone is None:
        return contract.holding(Money.HELD) or tuple(range(len(contract.tranches)))
    for index, one in enumerate(contract.terms.milestones):
        if one.id == milestone:
            return (index,)
    raise MilestoneNotFound


def _milestone(milestone: int | None) -> dict[str, object]:
    return {} if milestone is None else {"milestone": milestone}


def _told(
    before: Contract,
    after: Contract,
    type_: str,
    body: dict[str, object],
    actor: Actor,
    now: datetime,
    ids: Ids,
) -> Change:
    """A change of state without money, and the one event that tells of it."""
    return of_contract(*record(after, actor, now, ids, (type_, body | step(before, after))))
