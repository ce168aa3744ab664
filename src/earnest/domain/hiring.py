"""Hiring: from a job to a contract and its payment, in whichever order they come (D2).

    create, then pay    create_contract -> open_payment -> take_capture funds it
    pay, then create    open_payment -> take_capture creates the contract, funded and unclaimed
                        -> create_contract claims it, once
    paid, but not now   take_capture parks the money -> create_contract attaches it,
                        or an admin refunds it; neither while its payer's bank wants it back

What a checkout asks for comes from the contract or the job, never from a request's body.
"""

from datetime import datetime

import msgspec

from earnest.domain.business import Business
from earnest.domain.change import Change, audit_event, next_payment, of_contract
from earnest.domain.contract import Contract, Money, record
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.movement import Attached, Funded, ParkedRefunded
from earnest.domain.party import Actor, Role
from earnest.domain.payment import PAYABLE, Payment, PaymentState, checkout_metadata
from earnest.domain.projection import step
from earnest.domain.refusals import ChargedBackNow, WrongRole
from earnest.domain.returning import begun, late
from earnest.domain.rules import Verb, refusal
from earnest.domain.verbs import claim, created_body, new_contract
from earnest.errors import Conflict, Forbidden, InvalidField, NotFound, Refused
from earnest.ids import Ids, PublicId


class Job(msgspec.Struct, frozen=True):
    """What hiring needs to know of a job. `listing` is the client's own word for it."""

    key: int
    public_id: PublicId
    client: int
    title: str
    description: str
    rate_minor: int
    currency: str
    listing: str


class JobNotFound(NotFound):
    """Job not found"""


class NotYourJob(Forbidden):
    """This job is not yours."""


class JobNotOpen(Refused):
    """Job is closed, or hired someone"""


class ContractExists(Refused):
    """Contract is already exist"""


class NotApplied(Refused):
    """Freelancers not applied"""


class HireYourself(Refused):
    """A contract needs two different people."""


class FreelancerNotFound(Refused):
    """This freelancer does not exist."""


class PaidAlready(Refused):
    """This contract is already paid for."""


class ContractWasCanceled(Refused):
    """The contract with this freelancer was canceled: create a new one before you pay."""


class PaymentWaits(Refused):
    """This job is already paid for: create the contract, or ask an admin for a refund."""


class OtherFreelancerBeingPaid(Conflict):
    """A payment for another freelancer is open for this job."""


class NotParked(Refused):
    """Only a payment that waits for a contract can be refunded here."""


class Hire(msgspec.Struct, frozen=True):
    """The situation around a job: who asks for whom, and what exists already.

    `contract` is the job's live contract; `payment` the job's payment that is payable or
    parked, if any; `seller` the freelancer's key or None when there is no such freelancer,
    `seller_public_id` the id that was asked for;
    `applied` whether the freelancer's application is there; `ended` whether these two had a
    contract for this job before; `charged_back` whether a dispute about `payment` is not done with.
    """

    job: Job
    seller: int | None
    seller_public_id: PublicId
    applied: bool
    contract: Contract | None
    payment: Payment | None
    ended: bool = False
    charged_back: bool = False


def _guard(hire: Hire, actor: Actor) -> int:
    if actor.role is not Role.CLIENT:
        raise WrongRole
    if hire.job.client != actor.key:
        raise NotYourJob
    if hire.seller is None:
        raise FreelancerNotFound
    if hire.seller == actor.key:
        raise HireYourself
    return hire.seller


def create_contract(
    hire: Hire, business: Business, actor: Actor, now: datetime, ids: Ids, amount_minor: int
) -> Change:
    """The client hires the freelancer (C1).

    Claims a contract that a payment created; else creates one, binding the job's payment when
    it is for the same people and amount: an open one will fund it, a parked one does so now.
    """
    seller = _guard(hire, actor)
    if hire.contract is not None:
        if not hire.contract.unclaimed or hire.contract.seller != seller:
            raise ContractExists if hire.contract.seller == seller else JobNotOpen
        _check_amount(amount_minor, hire.contract.amount_minor)
        return claim(hire.contract, actor, now, ids)
    if hire.job.listing != "Open":
        raise JobNotOpen
    if not hire.applied:
        raise NotApplied
    _check_amount(amount_minor, hire.job.rate_minor)
    contract = new_contract(
        business,
        buyer=actor.key,
        seller=seller,
        job=hire.job.key,
        title=hire.job.title,
        amount_minor=amount_minor,
        now=now,
        ids=ids,
    )
    payment = hire.payment
    if payment is None or not matches(payment, contract):
        happened = ("contract.created", created_body(contract))
        return of_contract(*record(contract, actor, now, ids, happened))
    if payment.state is PaymentState.PARKED:
        if hire.charged_back:
            raise ChargedBackNow
        return _attach(contract, payment, actor, now, ids)
    after, events = record(contract, actor, now, ids, ("contract.created", created_body(contract)))
    change = of_contract(after, events)
    bound = next_payment(payment, after.commit_id, now, contract=contract.key)
    return msgspec.structs.replace(change, payment=bound)


def matches(payment: Payment, contract: Contract) -> bool:
    """Whether this payment is for exactly this contract's people, job and money."""
    return (
        payment.job == contract.job
        and payment.buyer == contract.buyer
        and payment.seller == contract.seller
        and payment.amount_minor == contract.charge_minor
        and payment.currency == contract.currency
    )


def open_payment(
    hire: Hire,
    business: Business,
    provider_account: int,
    actor: Actor,
    now: datetime,
    ids: Ids,
) -> Payment | Change:
    """The client wants to pay: the payment that is open already, or the Change that opens one.

    The amount is the live contract's, else the job's rate.
    """
    seller = _guard(hire, actor)
    contract, payment = hire.contract, hire.payment
    if contract is not None and contract.seller != seller:
        raise OtherFreelancerBeingPaid if contract.funded else JobNotOpen
    if contract is not None and contract.funded:
        raise PaidAlready
    if contract is None and hire.ended:
        raise ContractWasCanceled
    if payment is not None and payment.seller != seller:
        raise OtherFreelancerBeingPaid
    if payment is not None and payment.state in PAYABLE:
        return payment
    if payment is not None:
        raise PaymentWaits
    if contract is None:
        _guard_paying_first(hire)
    priced = contract or new_contract(
        business,
        buyer=actor.key,
        seller=seller,
        job=hire.job.key,
        title=hire.job.title,
        amount_minor=hire.job.rate_minor,
        now=now,
        ids=ids,
    )
    key, public_id = ids.new_object(now)
    opened = Payment(
        key=key,
        public_id=public_id,
        business=business.key,
        job=hire.job.key,
        buyer=actor.key,
        seller=seller,
        provider_account=provider_account,
        amount_minor=priced.charge_minor,
        currency=business.currency,
        metadata=checkout_metadata(
            public_id, {"jobId": hire.job.public_id}, actor.public_id, hire.seller_public_id
        ),
        created_at=now,
        version=0,
        commit_id=0,
        updated_at=now,
        contract=contract.key if contract is not None else None,
    )
    return payment_change(opened, "payment.opening", actor, now, ids, {})


def _guard_paying_first(hire: Hire) -> None:
    """Without a contract, the payment will create one: everything for that must be there."""
    if hire.job.listing != "Open":
        raise JobNotOpen
    if not hire.applied:
        raise NotApplied


def payment_change(
    payment: Payment,
    happened: str,
    actor: Actor,
    now: datetime,
    ids: Ids,
    body: dict[str, object],
    **changes: object,
) -> Change:
    """A change of nothing but `payment`."""
    event = audit_event(ids, f"payment:{payment.public_id}", happened, actor, now, body)
    return Change(
        commit_id=event.commit_id,
        recorded_at=now,
        occurred_at=now,
        events=(event,),
        payment=next_payment(payment, event.commit_id, now, **changes),
    )


def refund_parked(
    payment: Payment, actor: Actor, now: datetime, ids: Ids, *, charged_back: bool
) -> Change:
    """An admin gives a payment that found no contract back to its buyer's wallet (D2).

    `charged_back`: a dispute about it is not done with. Raises WrongRole, NotParked,
    ChargedBackNow.
    """
    if actor.role is not Role.ADMIN:
        raise WrongRole
    if payment.state is not PaymentState.PARKED:
        raise NotParked
    if charged_back:
        raise ChargedBackNow
    change = payment_change(
        payment,
        "payment.refunded",
        actor,
        now,
        ids,
        {"amount": to_number(payment.amount_minor, CURRENCIES[payment.currency])},
        state=PaymentState.REFUNDED,
    )
    back = ParkedRefunded(
        payment.buyer, payment.currency, payment.amount_minor, payment.provider_account
    )
    return msgspec.structs.replace(change, movements=(back,))


def fund(
    contract: Contract,
    payment: Payment,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *,
    to_source: bool = False,
) -> Change:
    """`contract` with `payment`'s money in it; version 0 creates it in the same commit.

    A contract that ended before its money came holds it with a refund pending (D14), which begins
    at once where the business refunds `to_source`. Raises AlreadyFunded.
    """
    refused = refusal(contract, Verb.FUND)
    if refused is not None:
        raise refused
    held = Money.HELD if contract.live else Money.REFUND_PENDING
    funded = msgspec.structs.replace(
        contract, tranches=(held,) * len(contract.tranches), funded_at=now
    )
    happened: list[tuple[str, dict[str, object]]] = []
    if contract.version == 0:
        happened.append(("contract.created", created_body(contract)))
    amount = to_number(payment.amount_minor, CURRENCIES[payment.currency])
    body: dict[str, object] = {"payment": payment.public_id, "amount": amount}
    happened.append(("payment.completed", body | step(contract, funded)))
    refund = None
    if to_source and not contract.live:
        refund, told = late(funded, payment, now, ids)
        happened.append(told)
    after, events = record(funded, actor, now, ids, *happened)
    captured = next_payment(
        payment,
        after.commit_id,
        now,
        state=PaymentState.CAPTURED,
        contract=contract.key,
        captured_at=payment.captured_at or now,
    )
    movements = _bring(Funded, contract, payment)
    return msgspec.structs.replace(
        of_contract(after, events, *movements),
        payment=captured,
        refund=begun(refund, after) if refund is not None else None,
    )


def _attach(contract: Contract, payment: Payment, actor: Actor, now: datetime, ids: Ids) -> Change:
    change = fund(contract, payment, actor, now, ids)
    return msgspec.structs.replace(change, movements=_bring(Attached, contract, payment))


def _bring(
    movement: type[Funded | Attached], contract: Contract, payment: Payment
) -> tuple[Funded | Attached, ...]:
    """Every tranche gets its charge; together they are what was paid, see `matches`."""
    return tuple(
        [
            movement(
                contract.key, i, contract.currency, priced.charge_minor, payment.provider_account
            )
            for i, priced in enumerate(contract.terms.tranches)
        ]
    )


def _check_amount(given_minor: int, agreed_minor: int) -> None:
    if given_minor != agreed_minor:
        raise InvalidField("amount", "must be the rate of the job")
