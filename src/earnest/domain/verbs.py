"""What people do with a contract: pure functions from a contract to a Change.

`now` is business time, `actor` who asks, `ids` fresh identifiers. Guards come first, in order
of precedence (the table in `earnest.domain.rules`), the effect last. Nothing here reads a
clock or a database, so every rule can be tested with values alone.
"""

from datetime import datetime, timedelta

import msgspec

from earnest.domain.business import Business
from earnest.domain.change import Change, of_contract
from earnest.domain.contract import (
    Agreement,
    Contract,
    Money,
    Terms,
    Work,
    cancellation_shares,
    record,
)
from earnest.domain.movement import Refunded, Released
from earnest.domain.party import Actor, Role
from earnest.domain.pricing import price
from earnest.domain.projection import step
from earnest.domain.refusals import NotFunded, NothingHeld, ReleaseNotRequested
from earnest.domain.rules import Verb, require, require_standing
from earnest.errors import Refused
from earnest.ids import Ids

_TRANCHE = 0  # the marketplace's contracts have exactly one


class InvalidTransition(Refused):
    """Invalid status transition."""


class RefundAlreadyRequested(Refused):
    """The refund of this contract is already requested."""


def new_contract(
    business: Business,
    *,
    buyer: int,
    seller: int,
    job: int,
    title: str,
    amount_minor: int,
    now: datetime,
    ids: Ids,
    unclaimed: bool = False,
) -> Contract:
    """A marketplace contract at version 0, priced by the business's plan, not yet recorded."""
    terms = Terms(
        title=title,
        tranches=price((amount_minor,), business.settings.fee_plan),
        cancellation_policy=business.settings.cancellation_policy,
    )
    number = ids.new_contract_number()
    contract = begin(business, terms, number=number, buyer=buyer, seller=seller, now=now, ids=ids)
    return msgspec.structs.replace(contract, job=job, unclaimed=unclaimed)


def begin(
    business: Business,
    terms: Terms,
    *,
    number: str,
    buyer: int,
    seller: int,
    now: datetime,
    ids: Ids,
) -> Contract:
    """A contract on these terms at version 0, not yet recorded anywhere."""
    key, public_id = ids.new_object(now)
    return Contract(
        key=key,
        public_id=public_id,
        business=business.key,
        number=number,
        buyer=buyer,
        seller=seller,
        job=None,
        currency=business.currency,
        amount_minor=sum(tranche.base_minor for tranche in terms.tranches),
        created_at=now,
        terms=terms,
        version=0,
        commit_id=0,
        updated_at=now,
        tranches=(Money.UNFUNDED,) * len(terms.tranches),
    )


def created_body(contract: Contract) -> dict[str, object]:
    """What the chain's first event says: the terms as agreed, for ever."""
    return {
        "amount": contract.major(contract.amount_minor),
        "currency": contract.currency,
        "number": contract.number,
        "buyer": contract.buyer,
        "seller": contract.seller,
        "job": contract.job,
        "terms": msgspec.to_builtins(contract.terms),
    }


def approve(
    contract: Contract,
    business: Business,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    reason: str = "",
) -> Change:
    """The seller accepts: Pending -> Started (D3). A partner may say so last of all: work that
    was delivered or received by then stays so."""
    require(contract, Verb.APPROVE, actor)
    if business.settings.require_funding_before_start and not contract.funded:
        raise NotFunded
    work = Work.STARTED if contract.work is Work.NOT_STARTED else contract.work
    after = msgspec.structs.replace(
        contract, agreement=Agreement.ACCEPTED, work=work, started_at=now
    )
    body = step(contract, after) | ({"reason": reason} if reason else {})
    return of_contract(*record(after, actor, now, ids, ("contract.approved", body)))


def work_on(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """The freelancer is at work: Started -> Ongoing. Needs consent and held money."""
    require(contract, Verb.WORK_ON, actor)
    after = msgspec.structs.replace(contract, work=Work.ONGOING, ongoing_at=now)
    body: dict[str, object] = {"from": contract.work, "to": after.work}
    return of_contract(*record(after, actor, now, ids, ("contract.work_updated", body)))


def complete(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """The freelancer says the work is done: Ongoing -> Completed."""
    require(contract, Verb.COMPLETE, actor)
    after = msgspec.structs.replace(contract, work=Work.COMPLETED, completed_at=now)
    body: dict[str, object] = {"from": contract.work, "to": after.work}
    return of_contract(*record(after, actor, now, ids, ("contract.work_updated", body)))


def cancel(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """Either party ends the contract (D5). Held money stays held, with a refund pending."""
    require(contract, Verb.CANCEL, actor)
    by = "Client" if actor.role is Role.CLIENT else "Freelancer"
    after = _cancelled(contract, by, now)
    body: dict[str, object] = {"by": by, "work": contract.work, "held": contract.funded}
    return of_contract(*record(after, actor, now, ids, ("contract.cancelled", body)))


def request_release(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """The client asks that the completed work be paid (D4)."""
    require(contract, Verb.REQUEST_RELEASE, actor)
    after = msgspec.structs.replace(
        contract, tranches=contract.with_tranche(_TRANCHE, Money.RELEASE_REQUESTED)
    )
    return of_contract(*record(after, actor, now, ids, ("release.requested", {})))


def approve_release(
    contract: Contract, business: Business, actor: Actor, now: datetime, ids: Ids
) -> Change:
    """An admin releases: the held money goes to the freelancer, less the priced lines.

    Without the client's request only when the completion is old enough (D20).
    """
    require(contract, Verb.APPROVE_RELEASE, actor)
    if contract.money is Money.HELD:
        patience = timedelta(days=business.settings.release_without_request_days)
        if contract.completed_at is None or now < contract.completed_at + patience:
            raise ReleaseNotRequested
    priced = contract.terms.tranches[_TRANCHE]
    after = msgspec.structs.replace(
        contract, tranches=contract.with_tranche(_TRANCHE, Money.RELEASED), settled_at=now
    )
    body: dict[str, object] = {
        "amount": contract.major(priced.charge_minor),
        "seller": contract.major(priced.net_minor),
    }
    return of_contract(
        *record(after, actor, now, ids, ("contract.released", body)),
        Released(
            business=contract.business,
            contract=contract.key,
            tranche=_TRANCHE,
            currency=contract.currency,
            seller=contract.seller,
            seller_minor=priced.net_minor,
            lines=priced.lines,
        ),
    )


def request_refund(
    contract: Contract,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    reason: str,
    description: str,
) -> Change:
    """The client wants the money back: the contract ends, the money waits for an admin (D6)."""
    require(contract, Verb.REQUEST_REFUND, actor)
    if contract.refund_requested_at is not None:
        raise RefundAlreadyRequested
    after = contract if not contract.live else _cancelled(contract, "Client", now)
    after = msgspec.structs.replace(
        after,
        refund_requested_at=now,
        cancel_reason=reason,
        cancel_reason_description=description,
    )
    happened: list[tuple[str, dict[str, object]]] = []
    if contract.live:
        body: dict[str, object] = {"by": "Client", "work": contract.work, "held": True}
        happened.append(("contract.cancelled", body))
    happened.append(("refund.requested", {"reason": reason, "description": description}))
    return of_contract(*record(after, actor, now, ids, *happened))


def approve_refund(
    contract: Contract,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    reason: str = "",
    description: str = "",
    by_policy: bool = False,
) -> Change:
    """An admin refunds by the cancellation policy (D7, D13).

    The tier is the work status when the contract was cancelled; a live contract is cancelled
    now, so its tier is the work status at this moment. `by_policy`: the business lets the
    client's own request do it (D6).
    """
    require(contract, Verb.REQUEST_REFUND if by_policy else Verb.APPROVE_REFUND, actor)
    happened: list[tuple[str, dict[str, object]]] = []
    after = contract
    if contract.live:
        after = _cancelled(contract, "Client", now)
        body: dict[str, object] = {"by": "Client", "work": contract.work, "held": True}
        happened.append(("contract.cancelled", body))
    if after.cancelled_work is None:
        raise NothingHeld
    shares = cancellation_shares(contract.terms, _TRANCHE, after.cancelled_work)
    after = msgspec.structs.replace(
        after,
        tranches=after.with_tranche(_TRANCHE, Money.REFUNDED),
        settled_at=now,
        cancel_reason=contract.cancel_reason or reason,
        cancel_reason_description=contract.cancel_reason_description or description,
    )
    happened.append(
        (
            "contract.refunded",
            {
                "buyer": contract.major(shares.buyer_minor),
                "seller": contract.major(shares.seller_minor),
                "work": after.cancelled_work,
            },
        )
    )
    return of_contract(
        *record(after, actor, now, ids, *happened),
        Refunded(
            business=contract.business,
            contract=contract.key,
            tranche=_TRANCHE,
            currency=contract.currency,
            buyer=contract.buyer,
            buyer_minor=shares.buyer_minor,
            seller=contract.seller,
            seller_minor=shares.seller_minor,
            lines=shares.lines,
        ),
    )


def claim(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """The client asks, once, for the contract that its payment created (D2)."""
    require(contract, Verb.CLAIM, actor)
    after = msgspec.structs.replace(contract, unclaimed=False)
    return of_contract(*record(after, actor, now, ids, ("contract.claimed", {})))


def update_status(
    contract: Contract,
    business: Business,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    shown: str,
    wanted: str,
) -> Change:
    """The freelancer names the next status (C10): the verb that leads there, if one does.

    `shown` is the status that the contract has in the marketplace's words now, `wanted` one of
    Pending, Started, Ongoing, Completed, Canceled. Raises InvalidTransition.
    """
    # Whose contract it is comes before the question what its status is.
    require_standing(contract, Verb.WORK_ON, actor)
    match shown, wanted:
        case "Pending", "Started":
            return approve(contract, business, actor, now, ids)
        case "Started", "Ongoing":
            return work_on(contract, actor, now, ids)
        case "Ongoing", "Completed":
            return complete(contract, actor, now, ids)
        case (("Pending" | "Started" | "Ongoing"), "Canceled"):
            return cancel(contract, actor, now, ids)
    raise InvalidTransition(f"Invalid status transition from {shown} to {wanted}")


def _cancelled(contract: Contract, by: str, now: datetime) -> Contract:
    pending = Money.REFUND_PENDING if contract.funded else contract.money
    return msgspec.structs.replace(
        contract,
        agreement=Agreement.CANCELLED,
        tranches=contract.with_tranche(_TRANCHE, pending),
        cancelled_at=now,
        cancelled_by=by,
        cancelled_work=contract.work,
        unclaimed=False,
    )
