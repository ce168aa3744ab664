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
from earnest.domain.change import Change, audit_event, next_refund, of_contract
from earnest.domain.chargeback import Chargeback, ChargebackState, Line
from earnest.domain.contract import HOLDING, Agreement, Contract, Dispute, Money, Work, record
from earnest.domain.movement import ChargebackCovered, ChargebackReturned, ChargedBack, Movement
from earnest.domain.party import SYSTEM
from earnest.domain.payment import Payment
from earnest.domain.projection import step
from earnest.domain.refund import Refund, RefundState
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
    refunds: tuple[Refund, ...] = ()
    """Those of the contract that are neither done nor declined."""

    @property
    def is_refunding(self) -> bool:
        """Whether a refund may be happening at the provider now."""
        return any(
            refund.state in (RefundState.SENT, RefundState.UNKNOWN) for refund in self.refunds
        )


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
    contract = exposure.contract
    acted = _Acted(contract)
    if contract is not None:
        acted = _act(chargeback, told, exposure, contract, now)
        movements += _coverings(contract, chargeback.provider_account, acted.covered)
    after, happened, covered = acted.contract, list(acted.happened), acted.covered
    is_decided = told.state in _DECIDED
    is_over = is_decided and not acted.leaves_something
    changes: dict[str, object] = {
        "contract": contract.key if contract is not None else None,
        "state": told.state,
        "amount_minor": told.amount_minor,
        "reason": told.reason,
        "evidence_due_at": None if is_decided else told.evidence_due_at,
        "lines": (*chargeback.lines, *lines),
        "attempts": 0,
        "due_at": None if is_over else next_look_at,
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
            refund=_ended(acted.ends, after.commit_id, now),
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


class _Acted(msgspec.Struct, frozen=True):
    """What becomes of the contract: itself, the events that tell of it, the tranches that cover the
    loss, the refund that ends because of that, and whether something is left to be done later."""

    contract: Contract | None
    happened: tuple[tuple[str, dict[str, object]], ...] = ()
    covered: tuple[int, ...] = ()
    ends: Refund | None = None
    leaves_something: bool = False


def _act(
    chargeback: Chargeback, told: Dossier, exposure: Exposure, contract: Contract, now: datetime
) -> _Acted:
    about: dict[str, object] = {"chargeback": chargeback.public_id, "reason": told.reason}
    if told.state in UNDECIDED:
        if contract.charged_back or not contract.holding(*HOLDING):
            return _Acted(contract)
        after = msgspec.structs.replace(contract, charged_back=True)
        return _Acted(
            after, (("contract.disputed", about | {"by": "bank"} | step(contract, after)),)
        )
    if told.state is ChargebackState.LOST and told.amount_minor >= contract.charge_minor:
        if exposure.is_refunding:
            return _Acted(contract, leaves_something=True)
        ends = exposure.refunds[0] if exposure.refunds else None
        covered = _coverable(contract, ends)
        if covered:
            more = len(exposure.refunds) > 1
            still = contract.charged_back and (exposure.others_open or more)
            after = _lost(contract, covered, now, charged_back=still)
            body = about | {"tranches": covered, "undecided": still} | step(contract, after)
            if ends is not None:
                body["refund"] = ends.key
            return _Acted(after, (("contract.charged_back", body),), covered, ends, more)
    if told.state in _DECIDED and contract.charged_back and not exposure.others_open:
        after = msgspec.structs.replace(contract, charged_back=False)
        body = about | {"outcome": told.state} | step(contract, after)
        return _Acted(after, (("chargeback.closed", body),))
    return _Acted(contract)


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
