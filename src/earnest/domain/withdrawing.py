"""Paying people out: asking for it, and what the provider's answers do (D21, E24).

`withdraw` takes the money out of the wallet; every other function here is one step of the payout,
which the worker takes when it knows what the provider did. Invariant: each step that moves money
moves all of the payout's amount, and no path moves it twice or leaves it nowhere.
"""

from datetime import datetime

import msgspec

from earnest.domain.business import Settings
from earnest.domain.change import Change, audit_event
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.movement import Movement, PaidOut, PayoutRefused, PayoutReturned, Withdrawn
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.payout import DUE, Cause, Leg, Payout, PayoutState
from earnest.domain.refusals import WrongRole
from earnest.errors import InvalidField, Refused
from earnest.ids import Ids


class Funds(msgspec.Struct, frozen=True):
    """What can be paid out of, and to where: a wallet, or what a business is owed (`party` None).

    `external_account` is None as long as the owner has no account at the provider.
    """

    business: int
    party: int | None
    currency: str
    balance_minor: int
    provider_account: int
    external_account: str | None
    is_payable: bool


class OnboardingFirst(Refused):
    """Before money can be paid out, its owner has to say where to: finish the onboarding."""


class NotEnough(Refused):
    """The wallet does not hold that much."""


class NotStuck(Refused):
    """This payout does not wait for an operator."""


def withdraw(
    funds: Funds,
    settings: Settings,
    actor: Actor,
    now: datetime,
    ids: Ids,
    amount_minor: int,
    cause: Cause = Cause.ASKED,
) -> Change:
    """`amount_minor` leaves the wallet at once, and for the bank as soon as the worker can (D21).

    Raises InvalidField naming amount, NotEnough, and OnboardingFirst.
    """
    if amount_minor < settings.payout_minimum_minor:
        least = to_number(settings.payout_minimum_minor, CURRENCIES[funds.currency])
        raise InvalidField("amount", f"must be at least {least}")
    if amount_minor > funds.balance_minor:
        raise NotEnough
    if funds.external_account is None or not funds.is_payable:
        raise OnboardingFirst
    key, public_id = ids.new_object(now)
    payout = Payout(
        key=key,
        public_id=public_id,
        business=funds.business,
        party=funds.party,
        provider_account=funds.provider_account,
        external_account=funds.external_account,
        cause=cause,
        amount_minor=amount_minor,
        currency=funds.currency,
        created_at=now,
        version=0,
        commit_id=0,
        updated_at=now,
        due_at=now,
    )
    body = {"owner": payout.owner, "amount_minor": amount_minor, "currency": funds.currency}
    return _step(payout, "payout.requested", actor, now, ids, body, _out(Withdrawn, payout))


# -- what the worker finds out ------------------------------------------------------------------


def step(payout: Payout, happened: str, now: datetime, ids: Ids, **changes: object) -> Change:
    """The payout one step on, without any money moving: sent, delayed, accepted, hinted."""
    return _step(payout, happened, SYSTEM, now, ids, {}, **changes)


def transferred(payout: Payout, transfer_id: str, now: datetime, ids: Ids) -> Change:
    """Our balance at the provider has fallen; next comes the payout to the bank."""
    body: dict[str, object] = {"providerTransfer": transfer_id}
    return _step(
        payout,
        "payout.transferred",
        SYSTEM,
        now,
        ids,
        body,
        _out(PaidOut, payout),
        provider_transfer_id=transfer_id,
        **_leg(Leg.PAYOUT, now),
    )


def completed(payout: Payout, payout_id: str, now: datetime, ids: Ids) -> Change:
    """The bank has the money. It may send it back for days, and then `bounced` follows."""
    return _step(
        payout,
        "payout.completed",
        SYSTEM,
        now,
        ids,
        {"providerPayout": payout_id},
        state=PayoutState.DONE,
        due_at=None,
        provider_payout_id=payout_id,
        paid_at=payout.paid_at or now,
        last_error="",
    )


def look_again(payout: Payout, now: datetime, ids: Ids) -> Change | None:
    """The provider has news of it: the worker asks how it stands. None where that is settled.

    Also when it was done: a bank may send money back for days.
    """
    if payout.state in DUE:
        return step(payout, "payout.hinted", now, ids, due_at=now)
    if payout.state is PayoutState.DONE:
        return step(payout, "payout.hinted", now, ids, state=PayoutState.SENT, due_at=now)
    return None


def refused(payout: Payout, why: str, now: datetime, ids: Ids) -> Change:
    """The provider will not do this leg's call. No transfer was made: the money is in the wallet
    again. No payout was made: the transfer has to come back. It cannot: an operator has to look."""
    match payout.leg:
        case Leg.TRANSFER:
            return _step(
                payout,
                "payout.refused",
                SYSTEM,
                now,
                ids,
                {"why": why},
                _out(PayoutRefused, payout),
                state=PayoutState.FAILED,
                due_at=None,
                last_error=why,
            )
        case Leg.PAYOUT:
            return _step(
                payout,
                "payout.bounced",
                SYSTEM,
                now,
                ids,
                {"why": why},
                last_error=why,
                paid_at=None,
                **_leg(Leg.RETURN, now),
            )
        case Leg.RETURN:
            return _step(
                payout,
                "payout.stuck",
                SYSTEM,
                now,
                ids,
                {"why": why},
                state=PayoutState.STUCK,
                due_at=None,
                last_error=why,
            )


def returned(payout: Payout, now: datetime, ids: Ids) -> Change:
    """The transfer came back: the money is in the wallet again. `last_error` says why."""
    return _step(
        payout,
        "payout.returned",
        SYSTEM,
        now,
        ids,
        {},
        _out(PayoutReturned, payout),
        state=PayoutState.FAILED,
        due_at=None,
    )


def retry(payout: Payout, actor: Actor, now: datetime, ids: Ids) -> Change:
    """An admin has the provider asked again for the return of a stuck payout."""
    if actor.role is not Role.ADMIN:
        raise WrongRole
    if payout.state is not PayoutState.STUCK:
        raise NotStuck
    again = {"state": PayoutState.UNKNOWN, "calls": payout.calls + 1, "due_at": now}
    return _step(payout, "payout.retried", actor, now, ids, {}, **again)


# -- common ground ------------------------------------------------------------------------------


def _leg(leg: Leg, now: datetime) -> dict[str, object]:
    return {"leg": leg, "state": PayoutState.PLANNED, "attempts": 0, "calls": 1, "due_at": now}


def _out(
    movement: type[Withdrawn | PaidOut | PayoutRefused | PayoutReturned], payout: Payout
) -> Movement:
    return movement(
        business=payout.business,
        party=payout.party,
        currency=payout.currency,
        amount_minor=payout.amount_minor,
        provider_account=payout.provider_account,
    )


def _step(
    payout: Payout,
    happened: str,
    actor: Actor,
    now: datetime,
    ids: Ids,
    body: dict[str, object],
    *movements: Movement,
    **changes: object,
) -> Change:
    event = audit_event(ids, f"payout:{payout.public_id}", happened, actor, now, body)
    after = msgspec.structs.replace(
        payout,
        version=payout.version + 1,
        commit_id=event.commit_id,
        updated_at=max(now, payout.updated_at),
        **changes,
    )
    return Change(
        commit_id=event.commit_id,
        recorded_at=after.updated_at,
        occurred_at=after.updated_at,
        events=(event,),
        payout=after,
        movements=movements,
    )
