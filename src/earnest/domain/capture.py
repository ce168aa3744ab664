"""Taking a capture: what a provider's event does to payments and contracts (D2, D14).

Applied exactly once, or quarantined, or ignored; never half. Every branch ends in one Change
that consumes the event, so an event that comes again finds itself in the inbox.
"""

from datetime import datetime

import msgspec

from earnest.domain.business import Business
from earnest.domain.change import Change, audit_event, of_contract
from earnest.domain.contract import Contract, Money, record
from earnest.domain.hiring import Job, fund, matches, payment_change
from earnest.domain.money import CURRENCIES
from earnest.domain.movement import Parked
from earnest.domain.party import SYSTEM
from earnest.domain.payment import (
    PAYABLE,
    TAKEN,
    Capture,
    CaptureKind,
    Consumed,
    Outcome,
    Payment,
    PaymentState,
)
from earnest.domain.projection import step
from earnest.domain.verbs import new_contract
from earnest.ids import Ids


class Situation(msgspec.Struct, frozen=True):
    """What is known around the event's session.

    `bound`: the contract the payment was opened for, live or not. `live`: the job's live
    contract. `applied`: whether the freelancer's application is still there. `counted`: whether
    the provider's payment has brought another session's money in before.
    """

    payment: Payment | None
    bound: Contract | None
    live: Contract | None
    job: Job | None
    applied: bool
    quarantined: bool
    counted: bool


def take_capture(
    capture: Capture, situation: Situation, business: Business, now: datetime, ids: Ids
) -> Change:
    """The Change that this verified event leads to; it always consumes the event."""
    if capture.kind is CaptureKind.OTHER:
        return only_inbox(capture, Outcome.IGNORED, "not a kind we act on", now, ids)
    if not capture.ours:
        return only_inbox(capture, Outcome.QUARANTINED, "another account or mode", now, ids)
    payment = situation.payment
    if capture.kind is not CaptureKind.PAID:
        return _unpaid(capture, situation, now, ids)
    if payment is None:
        return _quarantine(capture, situation, "a session that we did not open", now, ids)
    if payment.state in TAKEN:
        return only_inbox(capture, Outcome.IGNORED, f"already {payment.state}", now, ids)
    if situation.counted:
        return only_inbox(
            capture, Outcome.QUARANTINED, "money that was counted for another session", now, ids
        )
    asked = (payment.amount_minor, payment.currency, payment.provider_account)
    if asked != (capture.amount_minor, capture.currency, capture.provider_account):
        return _quarantine(capture, situation, "not the amount that we asked for", now, ids)
    if not _for_whom_we_asked(capture.metadata, payment.metadata):
        return _quarantine(capture, situation, "not for whom we asked", now, ids)
    payment = msgspec.structs.replace(
        payment, provider_payment_id=capture.provider_payment_id, captured_at=capture.occurred_at
    )
    contract = _contract_for(payment, situation, business, now, ids)
    if contract is None:
        return _park(capture, payment, now, ids)
    to_source = business.settings.refund_to == "source"
    change = fund(contract, payment, SYSTEM, now, ids, to_source=to_source)
    return consume(change, capture, Outcome.APPLIED, "funded its contract", now)


def _for_whom_we_asked(told: dict[str, str], asked: dict[str, str]) -> bool:
    """Whether the event names the job (or contract) and both people of the payment, and no other
    payment.

    The three are what every relay has to name (spec 3.2); `paymentId` is our own word, which
    only the provider can repeat, and further words change nothing: the session is ours (D14).
    """
    if told == asked:
        return True
    said = {key: told.get(key) for key in asked}
    said["paymentId"] = told.get("paymentId", asked["paymentId"])
    return said == asked


def _contract_for(
    payment: Payment, situation: Situation, business: Business, now: datetime, ids: Ids
) -> Contract | None:
    """The contract that this money is for; created here when it was paid for first (D2).

    The live one before the one that the payment was opened for: that may have ended, and the
    same people may have agreed again.
    """
    for contract in (situation.live, situation.bound):
        if contract is not None and not contract.funded and matches(payment, contract):
            return contract
    job = situation.job
    if (
        situation.bound is not None
        or situation.live is not None
        or job is None
        or job.listing != "Open"
        or not situation.applied
    ):
        return None
    contract = new_contract(
        business,
        buyer=payment.buyer,
        seller=payment.seller,
        job=job.key,
        title=job.title,
        amount_minor=job.rate_minor,
        now=now,
        ids=ids,
        unclaimed=True,
    )
    return contract if matches(payment, contract) else None


def _unpaid(capture: Capture, situation: Situation, now: datetime, ids: Ids) -> Change:
    """The session ended without money, or a slow bank payment is under way."""
    payment = situation.payment
    if payment is None or payment.state not in PAYABLE:
        state = "unknown" if payment is None else payment.state
        return only_inbox(capture, Outcome.IGNORED, f"the session is {state}", now, ids)
    state = {
        CaptureKind.PROCESSING: PaymentState.PROCESSING,
        CaptureKind.FAILED: PaymentState.FAILED,
        CaptureKind.EXPIRED: PaymentState.EXPIRED,
    }[capture.kind]
    change = payment_change(payment, f"payment.{state}", SYSTEM, now, ids, {}, state=state)
    if payment.job is None and situation.bound is not None:
        change = _awaiting(change, situation.bound, state, now, ids)
    return consume(change, capture, Outcome.APPLIED, f"now {state}", now)


def _awaiting(
    change: Change, contract: Contract, state: PaymentState, now: datetime, ids: Ids
) -> Change:
    """A contract without a job shows that its buyer's bank is at work, or is so no longer."""
    waits = Money.AWAITING_PAYMENT if state is PaymentState.PROCESSING else Money.UNFUNDED
    if contract.funded or not contract.live or contract.tranches[0] is waits:
        return change
    after = msgspec.structs.replace(contract, tranches=(waits,) * len(contract.tranches))
    told = (f"payment.{state}", step(contract, after))
    after, events = record(after, SYSTEM, now, ids, told)
    commit_id = after.commit_id
    assert change.payment is not None
    return msgspec.structs.replace(
        of_contract(after, events),
        payment=msgspec.structs.replace(change.payment, commit_id=commit_id),
    )


def _park(capture: Capture, payment: Payment, now: datetime, ids: Ids) -> Change:
    change = payment_change(
        payment, "payment.parked", SYSTEM, now, ids, {}, state=PaymentState.PARKED
    )
    parked = Parked(payment.currency, payment.amount_minor, payment.provider_account)
    change = msgspec.structs.replace(change, movements=(parked,))
    return consume(change, capture, Outcome.PARKED, "no contract matches", now)


def _quarantine(
    capture: Capture, situation: Situation, reason: str, now: datetime, ids: Ids
) -> Change:
    """Proven money that we did not ask for: into suspense, in its own amount and currency.

    The payment stays as it is: should its own money come after all, it is taken.
    """
    body: dict[str, object] = {
        "event": capture.event_id,
        "amount_minor": capture.amount_minor,
        "currency": capture.currency,
        "reason": reason,
    }
    subject = f"provider_event:{capture.event_id}"
    event = audit_event(ids, subject, "payment.quarantined", SYSTEM, now, body)
    change = Change(commit_id=event.commit_id, recorded_at=now, occurred_at=now, events=(event,))
    proven = capture.amount_minor > 0 and capture.currency in CURRENCIES
    if proven and not situation.quarantined:
        money = Parked(
            capture.currency, capture.amount_minor, capture.provider_account, quarantined=True
        )
        change = msgspec.structs.replace(change, movements=(money,))
    return consume(change, capture, Outcome.QUARANTINED, reason, now)


def only_inbox(
    capture: Capture,
    outcome: Outcome,
    reason: str,
    now: datetime,
    ids: Ids,
    **told: object,
) -> Change:
    """Nothing but the inbox row, so that a repeated event is known; `told` for the audit event."""
    subject = f"provider_event:{capture.event_id}"
    body: dict[str, object] = {"type": capture.type, "reason": reason} | told
    event = audit_event(ids, subject, f"provider_event.{outcome}", SYSTEM, now, body)
    change = Change(commit_id=event.commit_id, recorded_at=now, occurred_at=now, events=(event,))
    return consume(change, capture, outcome, reason, now)


def consume(
    change: Change, capture: Capture, outcome: Outcome, reason: str, now: datetime
) -> Change:
    return msgspec.structs.replace(
        change,
        occurred_at=capture.occurred_at,
        consumed=Consumed(capture, outcome, reason, now, took_money=bool(change.movements)),
    )
