"""A Change: everything one decision wants written, as one value.

It names the aggregates it changes, each one version after the one that the decision saw
(version 1 creates), and carries the movements, the events and the provider event it consumes.
`earnest.store.commit` writes all of it or nothing.
"""

from datetime import datetime

import msgspec

from earnest.domain.audit import Event, canonical
from earnest.domain.chargeback import Booking, Chargeback
from earnest.domain.contract import Contract
from earnest.domain.movement import Movement
from earnest.domain.party import Actor, Member
from earnest.domain.payment import Consumed, Payment
from earnest.domain.payout import Payout
from earnest.domain.refund import Refund
from earnest.ids import Ids


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`occurred_at`: when the money moved in the world; the events say when it was recorded."""

    commit_id: int
    recorded_at: datetime
    occurred_at: datetime
    events: tuple[Event, ...]
    contract: Contract | None = None
    members: tuple[Member, ...] = ()
    """People whom a contract that is created names for the first time."""
    payment: Payment | None = None
    refund: Refund | None = None
    payout: Payout | None = None
    chargeback: Chargeback | None = None
    bookings: tuple[Booking, ...] = ()
    movements: tuple[Movement, ...] = ()
    consumed: Consumed | None = None

    @property
    def empties_an_account(self) -> bool:
        """Whether it takes from what others take from, too: it may find less than it saw."""
        return self.payout is not None or self.chargeback is not None


def of_contract(contract: Contract, events: tuple[Event, ...], *movements: Movement) -> Change:
    """A change of nothing but `contract`, which is already one version on."""
    return Change(
        commit_id=contract.commit_id,
        recorded_at=contract.updated_at,
        occurred_at=contract.updated_at,
        events=events,
        contract=contract,
        movements=movements,
    )


def audit_event(
    ids: Ids, subject: str, type_: str, actor: Actor, now: datetime, body: dict[str, object]
) -> Event:
    """An event of something that has no chain of its own; it begins a commit."""
    key = ids.new_entry()
    return Event(key, key, subject, type_, actor.name, now, canonical(body))


def next_refund(refund: Refund, commit_id: int, now: datetime, **changes: object) -> Refund:
    """`refund` one version on."""
    return msgspec.structs.replace(
        refund,
        version=refund.version + 1,
        commit_id=commit_id,
        updated_at=max(now, refund.updated_at),
        **changes,
    )


def next_payment(payment: Payment, commit_id: int, now: datetime, **changes: object) -> Payment:
    """`payment` one version on."""
    return msgspec.structs.replace(
        payment,
        version=payment.version + 1,
        commit_id=commit_id,
        updated_at=max(now, payment.updated_at),
        **changes,
    )
