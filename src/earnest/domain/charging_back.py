"""What a dispute at the payer's bank does to our books, and to the contract behind it.

`notice` begins a chargeback at the first event of a dispute; `learn` takes what the provider says
of it now, whatever was known before. Invariant: every balance transaction of the dispute is booked
once. What the bank takes falls on what is still held, then on what the seller got and still has,
then on us; while it is undecided nothing leaves the contract; and once it is lost, what was held
covers the loss.
"""

from datetime import datetime

import msgspec

from earnest.domain.audit import Event, canonical
from earnest.domain.change import Change, audit_event, of_contract
from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import HOLDING, Agreement, Contract, Dispute, Money, Work, record
from earnest.domain.movement import ChargebackCovered, ChargebackReturned, ChargedBack, Movement
from earnest.domain.party import SYSTEM
from earnest.domain.payment import Payment
from earnest.domain.projection import step
from earnest.ids import Ids

UNDECIDED = frozenset({ChargebackState.WARNING, ChargebackState.OPEN, ChargebackState.REVIEW})
_DECIDED = frozenset({ChargebackState.WON, ChargebackState.LOST})


class Taken(msgspec.Struct, frozen=True):
    """One balance transaction of a dispute: negative when money was taken. Without its fee."""

    id: str
    amount_minor: int


class Dossier(msgspec.Struct, frozen=True):
    """A dispute as the provider knows it now."""

    state: ChargebackState
    amount_minor: int
    currency: str
    reason: str
    evidence_due_at: datetime | None
    lines: tuple[Taken, ...]


class Exposure(msgspec.Struct, frozen=True):
    """Who can bear a loss. `contract` is None for a payment that found none; `seller_got_minor` is
    what its seller was given of it, less what chargebacks took of that; `others_open`: another
    chargeback of the payment is undecided."""

    payment: Payment
    contract: Contract | None
    wallet_minor: int = 0
    seller_got_minor: int = 0
    others_open: bool = False


def notice(dispute_id: str, payment: Payment, now: datetime, ids: Ids) -> Change:
    """A dispute that we hear of for the first time; the worker asks about it at once."""
    key, public_id = ids.new_object(now)
    body: dict[str, object] = {"dispute": dispute_id, "payment": payment.public_id}
    event = audit_event(ids, f"chargeback:{public_id}", "chargeback.noticed", SYSTEM, now, body)
    begun = Chargeback(
        key=key,
        public_id=public_id,
        business=payment.business,
        payment=payment.key,
        contract=payment.contract,
        provider_account=payment.provider_account,
        provider_dispute_id=dispute_id,
        currency=payment.currency,
        created_at=now,
        version=1,
        commit_id=event.commit_id,
        updated_at=now,
        due_at=now,
    )
    return _change(begun, event)


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
    lines, movements = _book(chargeback, exposure, fresh)
    covered: tuple[int, ...] = ()
    happened: list[tuple[str, dict[str, object]]] = []
    contract = exposure.contract
    after = contract
    if contract is not None:
        after, happened, covered = _act(chargeback, told, exposure, contract, now)
        movements += _coverings(contract, chargeback.provider_account, covered)
    is_decided = told.state in _DECIDED
    changes: dict[str, object] = {
        "contract": contract.key if contract is not None else None,
        "state": told.state,
        "amount_minor": told.amount_minor,
        "reason": told.reason,
        "evidence_due_at": None if is_decided else told.evidence_due_at,
        "lines": (*chargeback.lines, *lines),
        "attempts": 0,
        "due_at": None if is_decided else next_look_at,
        "last_error": "",
    }
    said = _said(told, lines, covered)
    if after is None or not happened:
        (first_type, body), *more = said
        subject = f"chargeback:{chargeback.public_id}"
        first = audit_event(ids, subject, first_type, SYSTEM, now, body)
        events = (first, *_events(chargeback, more, first.commit_id, now, ids))
        changed = _change(_next(chargeback, first.commit_id, now, **changes), *events)
    else:
        after, chain = record(after, SYSTEM, now, ids, *happened)
        events = (*chain, *_events(chargeback, said, after.commit_id, now, ids))
        changed = msgspec.structs.replace(
            of_contract(after, events),
            chargeback=_next(chargeback, after.commit_id, now, **changes),
        )
    return msgspec.structs.replace(changed, movements=tuple(movements))


# -- the money ----------------------------------------------------------------------------------


def _book(
    chargeback: Chargeback, exposure: Exposure, fresh: list[Taken]
) -> tuple[list[Line], list[Movement]]:
    contract = exposure.contract
    held_minor = 0
    if contract is not None:
        held_minor = sum(_charge(contract, index) for index in contract.holding(*HOLDING))
    wallet_minor, got_minor = exposure.wallet_minor, exposure.seller_got_minor
    bears_minor = -sum(line.seller_minor for line in chargeback.lines)
    lines: list[Line] = []
    movements: list[Movement] = []
    for one in fresh:
        if one.amount_minor < 0:
            beyond = max(0, -one.amount_minor - held_minor)
            seller_minor = max(0, min(beyond, wallet_minor, got_minor))
            kind: type[ChargedBack] = ChargedBack
            lines.append(Line(one.id, one.amount_minor, -seller_minor))
            change = -seller_minor
        else:
            seller_minor = max(0, min(one.amount_minor, bears_minor))
            kind = ChargebackReturned
            lines.append(Line(one.id, one.amount_minor, seller_minor))
            change = seller_minor
        wallet_minor, got_minor = wallet_minor + change, got_minor + change
        bears_minor -= change
        movements.append(
            kind(
                currency=chargeback.currency,
                provider_account=chargeback.provider_account,
                amount_minor=abs(one.amount_minor),
                seller=exposure.payment.seller,
                seller_minor=seller_minor,
            )
        )
    return lines, movements


def _coverings(
    contract: Contract, provider_account: int, covered: tuple[int, ...]
) -> list[Movement]:
    return [
        ChargebackCovered(
            contract=contract.key,
            tranche=index,
            currency=contract.currency,
            amount_minor=_charge(contract, index),
            provider_account=provider_account,
        )
        for index in covered
    ]


def _charge(contract: Contract, index: int) -> int:
    return contract.terms.tranches[index].charge_minor


# -- the contract -------------------------------------------------------------------------------


def _act(
    chargeback: Chargeback, told: Dossier, exposure: Exposure, contract: Contract, now: datetime
) -> tuple[Contract, list[tuple[str, dict[str, object]]], tuple[int, ...]]:
    """The contract after this, what happened to it, and which tranches cover the loss."""
    about: dict[str, object] = {"chargeback": chargeback.public_id, "reason": told.reason}
    if told.state in UNDECIDED:
        if contract.charged_back or not contract.holding(*HOLDING):
            return contract, [], ()
        after = msgspec.structs.replace(contract, charged_back=True)
        return after, [("contract.disputed", about | {"by": "bank"} | step(contract, after))], ()
    if told.state is ChargebackState.LOST and told.amount_minor >= contract.charge_minor:
        # What waits for a provider's refund may still go that way: that is for an operator.
        covered = contract.holding(*_coverable(contract))
        if covered:
            after = _lost(contract, covered, exposure, now)
            still = {"tranches": covered, "undecided": after.charged_back}
            body = about | still | step(contract, after)
            return after, [("contract.charged_back", body)], covered
    if told.state in _DECIDED and contract.charged_back and not exposure.others_open:
        after = msgspec.structs.replace(contract, charged_back=False)
        body = about | {"outcome": told.state} | step(contract, after)
        return after, [("chargeback.closed", body)], ()
    return contract, [], ()


def _coverable(contract: Contract) -> tuple[Money, ...]:
    to_wallet = not contract.is_partners
    held = (Money.HELD, Money.RELEASE_REQUESTED)
    return (*held, Money.REFUND_PENDING) if to_wallet else held


def _lost(
    contract: Contract, covered: tuple[int, ...], exposure: Exposure, now: datetime
) -> Contract:
    """The buyer has their money from their bank, and the contract is over, unless it was done."""
    ends = contract.live and contract.work is not Work.COMPLETED
    after = msgspec.structs.replace(
        contract,
        tranches=contract.with_tranches(covered, Money.REFUNDED),
        agreement=Agreement.TERMINATED if ends else contract.agreement,
        charged_back=contract.charged_back and exposure.others_open,
    )
    if not after.settled:
        return after
    resolved = Dispute.RESOLVED if after.dispute is Dispute.OPEN else after.dispute
    return msgspec.structs.replace(after, settled_at=now, dispute=resolved)


# -- what is told -------------------------------------------------------------------------------


def _said(
    told: Dossier, lines: list[Line], covered: tuple[int, ...]
) -> list[tuple[str, dict[str, object]]]:
    said: list[tuple[str, dict[str, object]]] = [
        (
            "chargeback.looked_up",
            {"state": told.state, "amount_minor": told.amount_minor, "reason": told.reason},
        )
    ]
    for type_, wanted in (
        ("chargeback.taken", [line for line in lines if line.amount_minor < 0]),
        ("chargeback.given_back", [line for line in lines if line.amount_minor > 0]),
    ):
        if wanted:
            said.append((type_, {"lines": msgspec.to_builtins(wanted)}))
    if covered:
        said.append(("chargeback.covered", {"tranches": covered}))
    return said


def _events(
    chargeback: Chargeback,
    said: list[tuple[str, dict[str, object]]],
    commit_id: int,
    now: datetime,
    ids: Ids,
) -> list[Event]:
    subject = f"chargeback:{chargeback.public_id}"
    return [
        Event(ids.new_entry(), commit_id, subject, type_, SYSTEM.name, now, canonical(body))
        for type_, body in said
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
