"""Giving money back to where it came from: asking for a refund, and what its outcome does (E6).

`request`, `cancel` and `late` begin a refund and make its tranches wait; nothing is posted.
`settle` posts what the refund's parts say once the provider has given the money back. In between
the worker moves the refund alone (`earnest.domain.refund`).
"""

from datetime import datetime

import msgspec

from earnest.domain.business import Business
from earnest.domain.change import Change, audit_event, next_refund, of_contract
from earnest.domain.contract import (
    Agreement,
    Contract,
    Dispute,
    Money,
    Work,
    cancellation_shares,
    record,
)
from earnest.domain.money import share_bps
from earnest.domain.movement import RefundedToSource
from earnest.domain.partner import target
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.payment import Payment
from earnest.domain.pricing import FeesExceedAmount, Line, LineType, Payee, Payer, PricedTranche
from earnest.domain.projection import partner_status, step
from earnest.domain.refund import DEAD, Part, Refund, RefundKind, RefundState
from earnest.domain.refusals import NotFunded, WrongRole
from earnest.domain.rules import Verb, require
from earnest.errors import InvalidField, Refused
from earnest.ids import Ids

Told = tuple[str, dict[str, object]]
"""An event to be: its type and its body."""


class NotRequested(Refused):
    """This refund does not wait for an approval."""


class NotFailed(Refused):
    """This refund has not failed."""


def request(
    contract: Contract,
    business: Business,
    payment: Payment | None,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    kind: RefundKind,
    milestone: int | None,
    amount_minor: int | None,
    reason: str,
) -> Change:
    """The partner wants money back for its buyer: FULL, or PARTIAL with an amount of the base.

    Raises MilestoneNotFound, InvalidField naming milestoneId or amount, what the table refuses,
    and FeesExceedAmount where the rest of a base is too small for the seller's fees.
    """
    targets = target(contract, milestone)
    if kind is RefundKind.PARTIAL and len(contract.tranches) > 1 and milestone is None:
        raise InvalidField("milestoneId", "is required: say of which milestone")
    require(contract, Verb.REFUND, actor, targets)
    if kind is RefundKind.PARTIAL:
        assert amount_minor is not None
        if amount_minor >= contract.terms.tranches[targets[0]].base_minor:
            raise InvalidField("amount", "must be less than the base amount that it is part of")
    parts = tuple(part_of(contract, kind, index, amount_minor or 0) for index in targets)
    needs_approval = business.settings.refund_approval == "admin"
    refund = _begin(contract, payment, kind, parts, reason, now, ids, needs_approval=needs_approval)
    return _wait_for(contract, refund, actor, now, ids)


def cancel(
    contract: Contract,
    payment: Payment | None,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    by: str,
    reason: str,
) -> Change:
    """The contract ends for the `by` of "buyer" and "seller"; money that is held goes back by the
    cancellation policy that they agreed to (D7), which may leave the seller a share."""
    require(contract, Verb.CANCEL, actor)
    after = msgspec.structs.replace(
        contract,
        agreement=Agreement.CANCELLED,
        cancelled_at=now,
        cancelled_by=by,
        cancelled_work=contract.work,
        cancel_reason=reason,
    )
    body: dict[str, object] = {
        "by": by,
        "work": contract.work,
        "held": contract.funded,
        "reason": reason,
    }
    if not contract.funded:
        told = ("contract.cancelled", body | step(contract, after))
        return of_contract(*record(after, actor, now, ids, told))
    kind = RefundKind.CANCELLATION
    parts = tuple(part_of(contract, kind, index, 0) for index in range(len(contract.tranches)))
    refund = _begin(contract, payment, kind, parts, reason, now, ids)
    waiting = _waiting(after, refund)
    told = ("contract.cancelled", body | step(contract, waiting))
    if not refund.amount_minor:
        return _nothing_back(after, refund, payment, actor, now, ids, told)
    return _wait_for(after, refund, actor, now, ids, first=told)


def _nothing_back(
    contract: Contract,
    refund: Refund,
    payment: Payment | None,
    actor: Actor,
    now: datetime,
    ids: Ids,
    told: Told,
) -> Change:
    """The policy leaves the buyer nothing: no provider has to be asked."""
    assert payment is not None
    after = _settled(contract, refund, now)
    said = _said(contract, refund) | step(_waiting(contract, refund), after)
    after, events = record(after, actor, now, ids, told, ("contract.refunded", said))
    return of_contract(after, events, *_movements(contract, refund, payment))


def late(contract: Contract, payment: Payment, now: datetime, ids: Ids) -> tuple[Refund, Told]:
    """`payment` came for `contract`, which had ended: all of it goes back, fees included, for
    nothing was ever done for them. The refund, and the event that tells of it."""
    kind = RefundKind.LATE
    parts = tuple(part_of(contract, kind, index, 0) for index in range(len(contract.tranches)))
    refund = _begin(contract, payment, kind, parts, "The contract had ended.", now, ids)
    return refund, _initiated(contract, refund, contract)


def settle(
    contract: Contract, refund: Refund, payment: Payment, provider_id: str, now: datetime, ids: Ids
) -> Change:
    """The provider has given the money back: post what the refund said would become of it."""
    after = _settled(contract, refund, now)
    completes = partner_status(after) == "completed"
    refunded = msgspec.structs.replace(after, work=Work.DELIVERED) if completes else after
    said = _said(contract, refund) | step(contract, refunded)
    proven = said | {"providerRefund": provider_id}
    happened = [(f"refund.{_word(refund)}-succeeded", said), ("contract.refunded", proven)]
    if completes:
        happened.append(("contract.completed", step(refunded, after)))
    after, events = record(after, SYSTEM, now, ids, *happened)
    movements = _movements(contract, refund, payment)
    done = next_refund(
        refund,
        after.commit_id,
        now,
        state=RefundState.DONE,
        due_at=None,
        provider_refund_id=provider_id,
        last_error="",
    )
    return msgspec.structs.replace(of_contract(after, events, *movements), refund=done)


def approve(refund: Refund, actor: Actor, now: datetime, ids: Ids) -> Change:
    """An admin lets a refund go that waited for it."""
    if actor.role is not Role.ADMIN:
        raise WrongRole
    if refund.state is not RefundState.REQUESTED:
        raise NotRequested
    return step_alone(
        refund, "refund.approved", actor, now, ids, state=RefundState.PLANNED, due_at=now
    )


def decline(
    contract: Contract, refund: Refund, actor: Actor, now: datetime, ids: Ids, reason: str
) -> Change:
    """An admin does not let it go: the money is held as before."""
    if actor.role is not Role.ADMIN:
        raise WrongRole
    if refund.state is not RefundState.REQUESTED:
        raise NotRequested
    indexes = [part.tranche for part in refund.parts]
    after = msgspec.structs.replace(contract, tranches=contract.with_tranches(indexes, Money.HELD))
    body: dict[str, object] = {"refund": refund.key, "tranches": indexes, "reason": reason}
    told = ("refund.declined", body | step(contract, after))
    after, events = record(after, actor, now, ids, told)
    declined = next_refund(refund, after.commit_id, now, state=RefundState.DECLINED)
    return msgspec.structs.replace(of_contract(after, events), refund=declined)


def retry(refund: Refund, actor: Actor, now: datetime, ids: Ids) -> Change:
    """An admin has mended what was wrong: the provider is asked again."""
    if actor.role is not Role.ADMIN:
        raise WrongRole
    if refund.state not in DEAD:
        raise NotFailed
    # A refusal may have been of a refund that exists all the same: it is looked up first. The
    # provider would repeat what it said for the old key.
    return step_alone(
        refund,
        "refund.retried",
        actor,
        now,
        ids,
        state=RefundState.UNKNOWN,
        calls=refund.calls + 1,
        due_at=now,
        last_error="",
    )


def step_alone(
    refund: Refund, type_: str, actor: Actor, now: datetime, ids: Ids, **changes: object
) -> Change:
    """A change of nothing but `refund`, told by an event without a chain."""
    subject = f"refund:{refund.public_id}"
    body: dict[str, object] = {"refund": refund.key}
    if error := changes.get("last_error"):
        body["error"] = error
    if provider_id := changes.get("provider_refund_id"):
        body["providerRefund"] = provider_id
    event = audit_event(ids, subject, type_, actor, now, body)
    return Change(
        commit_id=event.commit_id,
        recorded_at=now,
        occurred_at=now,
        events=(event,),
        refund=next_refund(refund, event.commit_id, now, **changes),
    )


# -- who gets what ------------------------------------------------------------------------------


def part_of(contract: Contract, kind: RefundKind, index: int, buyer_minor: int) -> Part:
    """What a refund of this kind makes of a tranche; `buyer_minor` matters to a PARTIAL one."""
    priced = contract.terms.tranches[index]
    match kind:
        case RefundKind.FULL:
            return _full(priced, index)
        case RefundKind.PARTIAL:
            return _partial(contract, index, buyer_minor)
        case RefundKind.LATE:
            return Part(index, priced.charge_minor, 0, ())
        case RefundKind.CANCELLATION:
            work = contract.cancelled_work or contract.work
            shares = cancellation_shares(contract.terms, index, work)
            return Part(index, shares.buyer_minor, shares.seller_minor, shares.lines)


def _full(priced: PricedTranche, index: int) -> Part:
    """The base goes back; fees of the buyer stay paid, those of the seller lapse with his share."""
    paid = tuple(line for line in priced.lines if line.payer is Payer.BUYER)
    return Part(index, priced.base_minor, 0, paid)


def _partial(contract: Contract, index: int, amount_minor: int) -> Part:
    """1000 refund 250 -> buyer 250.00, seller 712.50, retention 37.50, all fees posted (E6)."""
    priced = contract.terms.tranches[index]
    kept_minor = share_bps(priced.base_minor - amount_minor, contract.terms.retention_bps)
    seller_minor = priced.net_minor - amount_minor - kept_minor
    if seller_minor < 0:
        raise FeesExceedAmount
    retention = Line(LineType.RETENTION, Payer.SELLER, Payee.ESCROW_FEE_INCOME, kept_minor)
    return Part(index, amount_minor, seller_minor, (*priced.lines, retention))


# -- common ground ------------------------------------------------------------------------------


def _begin(
    contract: Contract,
    payment: Payment | None,
    kind: RefundKind,
    parts: tuple[Part, ...],
    reason: str,
    now: datetime,
    ids: Ids,
    *,
    needs_approval: bool = False,
) -> Refund:
    if payment is None:
        raise NotFunded
    key, public_id = ids.new_object(now)
    return Refund(
        key=key,
        public_id=public_id,
        business=contract.business,
        contract=contract.key,
        payment=payment.key,
        kind=kind,
        parts=parts,
        amount_minor=sum(part.buyer_minor for part in parts),
        currency=contract.currency,
        reason=reason,
        created_at=now,
        version=0,
        commit_id=0,
        updated_at=now,
        state=RefundState.REQUESTED if needs_approval else RefundState.PLANNED,
        due_at=None if needs_approval else now,
    )


def _settled(contract: Contract, refund: Refund, now: datetime) -> Contract:
    indexes = [part.tranche for part in refund.parts]
    gone = Money.SPLIT if refund.kind is RefundKind.PARTIAL else Money.REFUNDED
    after = msgspec.structs.replace(contract, tranches=contract.with_tranches(indexes, gone))
    if not after.settled:
        return after
    ended = Dispute.RESOLVED if after.dispute is Dispute.OPEN else after.dispute
    return msgspec.structs.replace(after, settled_at=now, dispute=ended)


def _movements(
    contract: Contract, refund: Refund, payment: Payment
) -> tuple[RefundedToSource, ...]:
    return tuple(
        RefundedToSource(
            business=contract.business,
            contract=contract.key,
            tranche=part.tranche,
            currency=contract.currency,
            provider_account=payment.provider_account,
            buyer_minor=part.buyer_minor,
            seller=contract.seller,
            seller_minor=part.seller_minor,
            lines=part.lines,
        )
        for part in refund.parts
    )


def _waiting(contract: Contract, refund: Refund) -> Contract:
    """`contract` with the refund's tranches pending. A dispute stays open until all is settled:
    the refund may yet be declined."""
    indexes = [part.tranche for part in refund.parts]
    tranches = contract.with_tranches(indexes, Money.REFUND_PENDING)
    return msgspec.structs.replace(contract, tranches=tranches)


def _wait_for(
    contract: Contract,
    refund: Refund,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    first: Told | None = None,
) -> Change:
    after = _waiting(contract, refund)
    happened = [first] if first is not None else []
    happened.append(_initiated(contract, refund, after))
    after, events = record(after, actor, now, ids, *happened)
    return msgspec.structs.replace(of_contract(after, events), refund=begun(refund, after))


def begun(refund: Refund, contract: Contract) -> Refund:
    """`refund` as it begins, in the commit that brought `contract` to where it is."""
    return msgspec.structs.replace(refund, version=1, commit_id=contract.commit_id)


def _initiated(before: Contract, refund: Refund, after: Contract) -> Told:
    body = _said(before, refund) | step(before, after)
    if refund.state is RefundState.REQUESTED:
        body["approval"] = Role.ADMIN
    return f"refund.{_word(refund)}-initiated", body


def _said(contract: Contract, refund: Refund) -> dict[str, object]:
    """What the events of a refund tell: the parts are the settlement lines (invariant 8)."""
    body: dict[str, object] = {
        "refund": refund.key,
        "kind": refund.kind,
        "reason": refund.reason,
        "amount": contract.major(refund.amount_minor),
        "seller": contract.major(refund.seller_minor),
        "parts": msgspec.to_builtins(refund.parts),
    }
    if len(refund.parts) == 1 and contract.terms.milestones:
        body["milestone"] = contract.terms.milestones[refund.parts[0].tranche].id
    return body


def _word(refund: Refund) -> str:
    """full or partial (spec 6.2): a cancellation by whether it leaves the seller a share."""
    partial = refund.kind is RefundKind.PARTIAL or refund.seller_minor > 0
    return "partial" if partial else "full"
