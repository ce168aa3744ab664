"""The steps of partners' contracts, as their events tell them: see `earnest.domain.history`.

A **step** is what an event did: the verb of the table that had to allow it, for which tranches,
and the effect. Steps that only the system takes have no verb; what they need is checked here.
"""

from collections.abc import Iterable, Mapping

import msgspec

from earnest.domain.audit import Event
from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.party import Role
from earnest.domain.refund import Part, RefundKind
from earnest.domain.rules import Verb


class Step(msgspec.Struct, frozen=True):
    """`verb` None: taken by `by` whenever all `tranches` are in one of `states`.

    `says`: what the event's body must say, for that is what partners are told.
    """

    effect: dict[str, object]
    verb: Verb | None = None
    tranches: tuple[int, ...] | None = None
    by: frozenset[Role] = frozenset({Role.SYSTEM})
    states: frozenset[Money] = frozenset(Money)
    says: Mapping[str, object] = {}


class _Body(msgspec.Struct):
    """What these events may say; each says the part that concerns it."""

    by: str = ""
    tranches: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    kind: str = ""
    milestone: int | None = None


_decoder = msgspec.json.Decoder(_Body)
_SIMPLE: Mapping[str, tuple[Verb, dict[str, object]]] = {
    "contract.rejected": (Verb.REJECT, {"agreement": Agreement.REJECTED}),
    "contract.delivered": (Verb.DELIVER, {"work": Work.DELIVERED}),
    "contract.disputed": (Verb.DISPUTE, {"dispute": Dispute.OPEN}),
    "dispute.resolved": (Verb.RESOLVE, {"dispute": Dispute.RESOLVED}),
}


def step(state: Contract, event: Event) -> Step | None:
    """What `event` did to `state`; None for a type that partners' contracts alone do not have.

    Raises ValueError and msgspec.DecodeError for a body that cannot be read.
    """
    if event.type in _SIMPLE:
        verb, effect = _SIMPLE[event.type]
        return Step(effect, verb)
    body = _decoder.decode(event.body)
    at = event.recorded_at
    everything = tuple(range(len(state.tranches)))
    match event.type:
        case "contract.received":
            return Step({"work": Work.COMPLETED, "completed_at": at}, Verb.RECEIVE)
        case "contract.completed":
            by = frozenset({Role.PARTNER, Role.SYSTEM})
            return Step({}, None, everything, by, _SETTLED)
        case "payment.processing":
            waiting = (Money.AWAITING_PAYMENT,) * len(everything)
            return Step({"tranches": waiting}, Verb.FUND)
        case "payment.failed" | "payment.expired":
            return Step({"tranches": (Money.UNFUNDED,) * len(everything)}, Verb.FUND)
        case "contract.released":
            effect = _moved(state, body.tranches, Money.RELEASED, at)
            says = _release_says(state, body)
            return Step(effect, Verb.RELEASE, body.tranches, says=says)
        case "contract.cancelled":
            effect = {
                "agreement": Agreement.CANCELLED,
                "cancelled_at": at,
                "cancelled_by": body.by,
                "cancelled_work": state.work,
            }
            return Step(effect, Verb.CANCEL)
        case "refund.full-initiated" | "refund.partial-initiated":
            return _initiated(state, body)
        case "refund.declined":
            admin = frozenset({Role.ADMIN})
            effect = {"tranches": state.with_tranches(body.tranches, Money.HELD)}
            return Step(effect, None, body.tranches, admin, _PENDING)
        case "refund.full-succeeded" | "refund.partial-succeeded":
            return Step({}, None, _of(body), states=_PENDING, says=_refund_says(state, body))
        case "contract.refunded":
            gone = Money.SPLIT if body.kind == RefundKind.PARTIAL else Money.REFUNDED
            by, states = frozenset({Role.SYSTEM}), _PENDING
            if body.kind == RefundKind.CANCELLATION and not any(p.buyer_minor for p in body.parts):
                # Nothing for the buyer: whoever cancels settles it.
                by, states = frozenset({Role.PARTNER}), frozenset({Money.HELD})
            effect = _moved(state, _of(body), gone, at)
            return Step(effect, None, _of(body), by, states, _refund_says(state, body))
    return None


def settled_parts(events: Iterable[Event]) -> dict[int, tuple[RefundKind, Part]]:
    """By tranche: the part of the refund that settled it, and why that was."""
    found: dict[int, tuple[RefundKind, Part]] = {}
    for event in events:
        if event.type == "contract.refunded":
            body = _decoder.decode(event.body)
            for part in body.parts:
                found[part.tranche] = RefundKind(body.kind), part
    return found


_PENDING = frozenset({Money.REFUND_PENDING})
_SETTLED = frozenset({Money.RELEASED, Money.REFUNDED, Money.SPLIT})


def _initiated(state: Contract, body: _Body) -> Step:
    tranches = _of(body)
    effect: dict[str, object] = {"tranches": state.with_tranches(tranches, Money.REFUND_PENDING)}
    says = _refund_says(state, body)
    match body.kind:
        case RefundKind.LATE:
            return Step(effect, None, tranches, states=_PENDING, says=says)
        case RefundKind.CANCELLATION:
            partner, held = frozenset({Role.PARTNER}), frozenset({Money.HELD})
            return Step(effect, None, tranches, partner, held, says)
    return Step(effect, Verb.REFUND, tranches, says=says)


def _release_says(state: Contract, body: _Body) -> dict[str, object]:
    priced = [state.terms.tranches[index] for index in body.tranches]
    return {
        "amount": state.major(sum(one.base_minor for one in priced)),
        "charge": state.major(sum(one.charge_minor for one in priced)),
        "seller": state.major(sum(one.net_minor for one in priced)),
        **_milestone_says(state, body, body.tranches),
    }


def _refund_says(state: Contract, body: _Body) -> dict[str, object]:
    return {
        "amount": state.major(sum(part.buyer_minor for part in body.parts)),
        "seller": state.major(sum(part.seller_minor for part in body.parts)),
        **_milestone_says(state, body, _of(body)),
    }


def _milestone_says(state: Contract, body: _Body, tranches: tuple[int, ...]) -> dict[str, object]:
    """Who names a milestone means the one tranche that the money left."""
    if body.milestone is None:
        return {}
    named = [state.terms.milestones[index].id for index in tranches]
    return {"milestone": named[0] if len(named) == 1 else named}


def _of(body: _Body) -> tuple[int, ...]:
    return tuple(part.tranche for part in body.parts)


def _moved(state: Contract, tranches: tuple[int, ...], to: Money, at: object) -> dict[str, object]:
    after = state.with_tranches(tranches, to)
    effect: dict[str, object] = {"tranches": after}
    if _SETTLED.issuperset(after):
        effect["settled_at"] = at
        if state.dispute is Dispute.OPEN:
            effect["dispute"] = Dispute.RESOLVED
    return effect
