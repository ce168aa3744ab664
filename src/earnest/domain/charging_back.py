"""What a dispute at the payer's bank does to our books, and to the contract behind it.

`notice` begins a chargeback at the first event of a dispute; `learn` takes what the provider says
of it now, whatever was known before. Invariant: every balance transaction of the dispute is booked
once (`earnest.domain.bearing` says who bears it). While it is undecided nothing leaves the
contract, or the parked payment; and once it is lost, what was held or parked covers the loss.
"""

from datetime import datetime

import msgspec

from earnest.domain.audit import Event, canonical
from earnest.domain.bearing import Dossier, Exposure, book
from earnest.domain.change import Change, audit_event, next_payment, next_refund, of_contract
from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import HOLDING, Agreement, Contract, Dispute, Money, Work, record
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.movement import ChargebackCovered, Movement, ParkedCovered, ParkedRefunded
from earnest.domain.party import SYSTEM
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.projection import step
from earnest.domain.refund import Refund, RefundState
from earnest.ids import Ids

UNDECIDED = frozenset({ChargebackState.WARNING, ChargebackState.OPEN, ChargebackState.REVIEW})
_DECIDED = frozenset({ChargebackState.WON, ChargebackState.LOST})


def notice(dispute_id: str, payment: Payment, now: datetime, ids: Ids) -> Change:
    """A dispute that we hear of for the first time; the worker asks about it at once.

    A parked payment is one version on: whoever is about to give it away looks again, and finds the
    chargeback. A contract is frozen by `learn`.
    """
    key, public_id = ids.new_object(now)
    body: dict[str, object] = {"dispute": dispute_id, "payment": payment.public_id}
    event = audit_event(ids, f"chargeback:{public_id}", "chargeback.noticed", SYSTEM, now, body)
    begun = Chargeback(
        key=key,
        public_id=public_id,
        business=payment.business,
        payment=payment.key,
        contract=payment.contract if payment.state is PaymentState.CAPTURED else None,
        provider_account=payment.provider_account,
        provider_dispute_id=dispute_id,
        currency=payment.currency,
        created_at=now,
        version=1,
        commit_id=event.commit_id,
        updated_at=now,
        due_at=now,
    )
    changed = _change(begun, event)
    if payment.state is not PaymentState.PARKED:
        return changed
    return msgspec.structs.replace(changed, payment=next_payment(payment, event.commit_id, now))


def step_alone(
    chargeback: Chargeback, happened: str, now: datetime, ids: Ids, **changes: object
) -> Change:
    """The chargeback one step on, and nothing else: hinted, asked, delayed."""
    subject = f"chargeback:{chargeback.public_id}"
    event = audit_event(ids, subject, happened, SYSTEM, now, {})
    return _change(_next(chargeback, event.commit_id, now, **changes), event)


def learn(
    chargeback: Chargeback,
    told: Dossier,
    exposure: Exposure,
    now: datetime,
    next_look_at: datetime,
    ids: Ids,
) -> Change:
    """What the provider says of the dispute, booked and acted upon; what was, is left alone."""
    known = {line.id for line in chargeback.lines}
    fresh = [line for line in told.lines if line.id not in known and line.amount_minor]
    lines, movements = book(chargeback, exposure, fresh)
    acted = _act(chargeback, told, exposure, now)
    movements += _coverings(chargeback, exposure, acted)
    is_decided = told.state in _DECIDED
    changes: dict[str, object] = {
        "contract": exposure.contract.key if exposure.contract is not None else None,
        "state": told.state,
        "amount_minor": told.amount_minor,
        "reason": told.reason,
        "evidence_due_at": None if is_decided else told.evidence_due_at,
        "lines": (*chargeback.lines, *lines),
        "attempts": 0,
        "due_at": None if is_decided and not acted.leaves_something else next_look_at,
        "last_error": "",
    }
    said = _said(chargeback, told, exposure, lines, acted)
    if acted.contract is None:
        (subject, first_type, body), *more = said
        first = audit_event(ids, subject, first_type, SYSTEM, now, body)
        changed = _change(
            _next(chargeback, first.commit_id, now, **changes),
            first,
            *_events(more, first.commit_id, now, ids),
        )
        if acted.covered_minor:
            gone = PaymentState.CHARGED_BACK
            payment = next_payment(exposure.payment, first.commit_id, now, state=gone)
            changed = msgspec.structs.replace(changed, payment=payment)
    else:
        after, chain = record(acted.contract, SYSTEM, now, ids, *acted.happened)
        changed = msgspec.structs.replace(
            of_contract(after, (*chain, *_events(said, after.commit_id, now, ids))),
            chargeback=_next(chargeback, after.commit_id, now, **changes),
            refund=_ended(acted.ends, after.commit_id, now),
        )
    return msgspec.structs.replace(changed, movements=tuple(movements))


def _coverings(chargeback: Chargeback, exposure: Exposure, acted: "_Acted") -> list[Movement]:
    """What covers a loss; the rest of a parked payment is its buyer's."""
    account, contract, payment = chargeback.provider_account, exposure.contract, exposure.payment
    if contract is not None:
        return [
            ChargebackCovered(
                contract=contract.key,
                tranche=index,
                currency=contract.currency,
                amount_minor=contract.terms.tranches[index].charge_minor,
                provider_account=account,
            )
            for index in acted.covered
        ]
    moved: list[Movement] = []
    if acted.covered_minor:
        moved.append(ParkedCovered(payment.currency, acted.covered_minor, account))
    if acted.rest_minor:
        moved.append(ParkedRefunded(payment.buyer, payment.currency, acted.rest_minor, account))
    return moved


# -- the contract, or the parked payment -------------------------------------------------------


class _Acted(msgspec.Struct, frozen=True):
    """What follows: the contract, when that changes, with the events that tell of it; the tranches
    that cover the loss, and the refund that ends because of that; or how much of a parked payment
    covers it, and its rest; and whether something is left to be done later."""

    contract: Contract | None = None
    happened: tuple[tuple[str, dict[str, object]], ...] = ()
    covered: tuple[int, ...] = ()
    ends: Refund | None = None
    covered_minor: int = 0
    rest_minor: int = 0
    leaves_something: bool = False


def _act(chargeback: Chargeback, told: Dossier, exposure: Exposure, now: datetime) -> _Acted:
    if exposure.contract is not None:
        return _act_on_contract(chargeback, told, exposure, exposure.contract, now)
    if told.state is not ChargebackState.LOST or exposure.payment.state is not PaymentState.PARKED:
        return _Acted()
    if exposure.others_open:
        return _Acted(leaves_something=True)
    parked_minor = exposure.payment.amount_minor
    covered_minor = min(parked_minor, told.amount_minor + exposure.others_lost_minor)
    if not covered_minor:
        return _Acted()
    return _Acted(covered_minor=covered_minor, rest_minor=parked_minor - covered_minor)


def _act_on_contract(
    chargeback: Chargeback, told: Dossier, exposure: Exposure, contract: Contract, now: datetime
) -> _Acted:
    about: dict[str, object] = {"chargeback": chargeback.public_id, "reason": told.reason}
    if told.state in UNDECIDED:
        if contract.charged_back or not contract.holding(*HOLDING):
            return _Acted()
        after = msgspec.structs.replace(contract, charged_back=True)
        return _Acted(
            after, (("contract.disputed", about | {"by": "bank"} | step(contract, after)),)
        )
    if told.state is ChargebackState.LOST and told.amount_minor >= contract.charge_minor:
        if exposure.is_refunding:
            return _Acted(leaves_something=True)
        ends = exposure.refunds[0] if exposure.refunds else None
        covered = _coverable(contract, ends)
        if covered:
            more = len(exposure.refunds) > 1
            still = contract.charged_back and (exposure.others_open or more)
            after = _lost(contract, covered, now, charged_back=still)
            body = about | {"tranches": covered, "undecided": still} | step(contract, after)
            if ends is not None:
                body["refund"] = ends.key
            return _Acted(
                after,
                (("contract.charged_back", body),),
                covered,
                ends,
                leaves_something=more,
            )
    if told.state in _DECIDED and contract.charged_back and not exposure.others_open:
        after = msgspec.structs.replace(contract, charged_back=False)
        body = about | {"outcome": told.state} | step(contract, after)
        return _Acted(after, (("chargeback.closed", body),))
    return _Acted()


def _coverable(contract: Contract, ends: Refund | None) -> tuple[int, ...]:
    """What is held, and what waits for a refund that can end: one to a wallet, or `ends`."""
    held = set(contract.holding(Money.HELD, Money.RELEASE_REQUESTED))
    if ends is not None:
        held.update(part.tranche for part in ends.parts)
    elif not contract.is_partners:
        held.update(contract.holding(Money.REFUND_PENDING))
    return tuple(sorted(held.intersection(contract.holding(*HOLDING))))


def _lost(
    contract: Contract, covered: tuple[int, ...], now: datetime, *, charged_back: bool
) -> Contract:
    """The buyer has their money from their bank, and the contract is over, unless it was done."""
    ends = contract.live and contract.work is not Work.COMPLETED
    after = msgspec.structs.replace(
        contract,
        tranches=contract.with_tranches(covered, Money.REFUNDED),
        agreement=Agreement.TERMINATED if ends else contract.agreement,
        charged_back=charged_back,
    )
    if not after.settled:
        return after
    resolved = Dispute.RESOLVED if after.dispute is Dispute.OPEN else after.dispute
    return msgspec.structs.replace(after, settled_at=now, dispute=resolved)


def _ended(refund: Refund | None, commit_id: int, now: datetime) -> Refund | None:
    if refund is None:
        return None
    return next_refund(refund, commit_id, now, state=RefundState.DECLINED, due_at=None)


# -- what is told -------------------------------------------------------------------------------


_Said = tuple[str, str, dict[str, object]]
"""An event's subject, type and body."""


def _said(
    chargeback: Chargeback, told: Dossier, exposure: Exposure, lines: list[Line], acted: _Acted
) -> list[_Said]:
    subject, payment = f"chargeback:{chargeback.public_id}", exposure.payment
    looked_up: dict[str, object] = {
        "state": told.state,
        "amount_minor": told.amount_minor,
        "reason": told.reason,
    }
    said: list[_Said] = [(subject, "chargeback.looked_up", looked_up)]
    for type_, wanted in (
        ("chargeback.taken", [line for line in lines if line.amount_minor < 0]),
        ("chargeback.given_back", [line for line in lines if line.amount_minor > 0]),
    ):
        if wanted:
            said.append((subject, type_, {"lines": msgspec.to_builtins(wanted)}))
    if acted.covered:
        said.append((subject, "chargeback.covered", {"tranches": acted.covered}))
    if acted.covered_minor:
        said.append((subject, "chargeback.covered", {"amount_minor": acted.covered_minor}))
    if acted.rest_minor:
        rest = to_number(acted.rest_minor, CURRENCIES[payment.currency])
        said.append((f"payment:{payment.public_id}", "payment.refunded", {"amount": rest}))
    return said


def _events(said: list[_Said], commit_id: int, now: datetime, ids: Ids) -> list[Event]:
    return [
        Event(ids.new_entry(), commit_id, subject, type_, SYSTEM.name, now, canonical(body))
        for subject, type_, body in said
    ]


def _next(chargeback: Chargeback, commit_id: int, now: datetime, **changes: object) -> Chargeback:
    return msgspec.structs.replace(
        chargeback,
        version=chargeback.version + 1,
        commit_id=commit_id,
        updated_at=max(now, chargeback.updated_at),
        **changes,
    )


def _change(chargeback: Chargeback, *events: Event) -> Change:
    return Change(
        commit_id=chargeback.commit_id,
        recorded_at=chargeback.updated_at,
        occurred_at=chargeback.updated_at,
        events=events,
        chargeback=chargeback,
    )
