"""The history of a contract: do its events tell how it came to be as it is?

`check_chain` proves that nobody touched the events (invariant 19). `replay` starts from an
empty contract, lets every event take its step through the table of `earnest.domain.rules`, and
compares what comes out with the contract's row (invariants 10 and 11). Both return the first
**finding**, None when there is none. A new type of event needs its line in `_step`.
"""

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from earnest.domain.audit import Event, canonical, genesis, link
from earnest.domain.chargeback_history import charged_back
from earnest.domain.contract import Agreement, Contract, Dispute, Money, Terms, Work
from earnest.domain.partner_history import Step, step
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.projection import partner_status
from earnest.domain.rules import RULES, Verb, refusal, require
from earnest.domain.verbs import created_body
from earnest.errors import EarnestError

CREATED = "contract.created"
_APPROVALS = frozenset({Verb.APPROVE_RELEASE, Verb.APPROVE_REFUND, Verb.REQUEST_REFUND})
_FACETS = (
    "agreement",
    "work",
    "dispute",
    "tranches",
    "cancelled_by",
    "cancelled_work",
    "unclaimed",
    "charged_back",
)
_MOMENTS = (
    "funded_at",
    "settled_at",
    "started_at",
    "ongoing_at",
    "completed_at",
    "cancelled_at",
    "refund_requested_at",
)
_body = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Finding(msgspec.Struct, frozen=True):
    """What breaks invariant number `invariant`: an event, or with None the contract's row."""

    invariant: int
    event: int | None
    expected: str
    found: str


class _Broken(Exception):
    """A finding on its way out."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def check_chain(contract: Contract, events: Sequence[Event]) -> Finding | None:
    """Sequence, times and hashes of all `events` of a contract, in order, and the stored head."""
    try:
        _check_chain(contract, events)
    except _Broken as broken:
        return broken.finding
    except msgspec.DecodeError as error:
        return Finding(19, None, "a first event that can be read", f"{error}")
    return None


def _check_chain(contract: Contract, events: Sequence[Event]) -> None:
    head = genesis(contract.public_id)
    subject = f"contract:{contract.public_id}"
    commits: set[int] = set()
    before = contract.created_at
    for seq, event in enumerate(events, start=1):
        _same(19, event.key, "seq", seq, event.seq)
        _same(19, event.key, "subject", subject, event.subject)
        head = link(head, seq, event.recorded_at, event.type, event.actor, event.body)
        if event.hash != head:
            _fail(19, event.key, f"hash {head.hex()}", (event.hash or b"").hex())
        if event.recorded_at < before:
            _fail(19, event.key, f"recorded at {before} or later", f"{event.recorded_at}")
        before = event.recorded_at
        commits.add(event.commit_id)
    if not events:
        _fail(19, None, "an event for each step", "no event")
    _same(19, None, "event_seq", len(events), contract.event_seq)
    _same(19, None, "event_head", head.hex(), contract.event_head.hex())
    _same(19, None, "commit_id", events[-1].commit_id, contract.commit_id)
    _same(19, None, "version (a commit each)", len(commits), contract.version)
    _same(19, None, "updated_at", events[-1].recorded_at, contract.updated_at)
    _check_terms(contract, events[0])


def _check_terms(contract: Contract, first: Event) -> None:
    """The first event said what would never change; the row and the terms still say it."""
    _same(19, first.key, "type of the first event", CREATED, first.type)
    said, says = _body.decode(first.body), _body.decode(canonical(created_body(contract)))
    for name in ("amount", "currency", "number", "buyer", "seller", "job"):
        _same(19, None, name, bytes(said.get(name, b"")).decode(), bytes(says[name]).decode())
    agreed = msgspec.json.decode(said.get("terms", b"{}"), type=Terms)
    if agreed != contract.terms:
        agreed_text, text = (msgspec.json.encode(t).decode() for t in (agreed, contract.terms))
        _fail(19, None, f"terms {agreed_text}", text)


def replay(contract: Contract, events: Sequence[Event]) -> Finding | None:
    """Every step by somebody who might take it, and at the end the contract as it is."""
    refunding = {event.commit_id for event in events if event.type == "contract.refunded"}
    state = msgspec.structs.replace(
        contract,
        agreement=Agreement.PENDING,
        work=Work.NOT_STARTED,
        dispute=Dispute.NONE,
        tranches=(Money.UNFUNDED,) * len(contract.terms.tranches),
        cancelled_by=None,
        cancelled_work=None,
        unclaimed=False,
        charged_back=False,
        **dict.fromkeys(_MOMENTS),
    )
    try:
        for event in events:
            told = charged_back(state, event)
            if told is None and contract.is_partners:
                told = step(state, event)
            if told is not None:
                _take(state, told, event)
                _check_said(told, event)
                state = msgspec.structs.replace(state, **told.effect)
            else:
                state = _step(state, event, in_refund=event.commit_id in refunding)
        for name in _FACETS:
            _same(10, None, name, getattr(state, name), getattr(contract, name))
        for name in _MOMENTS:
            known = (getattr(state, name) is not None, getattr(contract, name) is not None)
            if known[0] != known[1]:
                _fail(10, None, f"{name} {'set' if known[0] else 'not set'}", "the contrary")
        if contract.is_partners:
            _check_status(contract, events[-1])
    except _Broken as broken:
        return broken.finding
    except (ValueError, LookupError) as error:  # DecodeError is a ValueError
        return Finding(10, None, "events that can be read", f"{type(error).__name__}: {error}")
    return None


def _step(state: Contract, event: Event, *, in_refund: bool) -> Contract:
    """`state` after `event`; the table must have allowed it."""
    actor = _actor(event)
    at = event.recorded_at
    effect: dict[str, object]
    verb: Verb
    match event.type:
        case "contract.created":
            if event.seq != 1:
                _fail(10, event.key, "one creation", f"another one, event {event.seq}")
            _check_creator(state, actor, event)
            return msgspec.structs.replace(state, unclaimed=actor.role is Role.SYSTEM)
        case "contract.claimed":
            verb, effect = Verb.CLAIM, {"unclaimed": False}
        case "contract.approved":
            verb = Verb.APPROVE
            work = Work.STARTED if state.work is Work.NOT_STARTED else state.work
            effect = {"agreement": Agreement.ACCEPTED, "work": work, "started_at": at}
        case "contract.work_updated":
            verb, effect = _work(state, event)
        case "payment.completed":
            held = (Money.HELD if state.live else Money.REFUND_PENDING,) * len(state.tranches)
            verb, effect = Verb.FUND, {"tranches": held, "funded_at": at}
        case "release.requested":
            verb = Verb.REQUEST_RELEASE
            effect = {"tranches": state.with_tranche(0, Money.RELEASE_REQUESTED)}
        case "contract.released":
            verb = Verb.APPROVE_RELEASE
            effect = {"tranches": state.with_tranche(0, Money.RELEASED), "settled_at": at}
        case "contract.cancelled":
            verb, effect = Verb.CANCEL, _cancelled(state, event)
        case "refund.requested":
            verb, effect = Verb.REQUEST_REFUND, {"refund_requested_at": at}
        case "contract.refunded":
            verb = Verb.APPROVE_REFUND if actor.role is Role.ADMIN else Verb.REQUEST_REFUND
            effect = {"tranches": state.with_tranche(0, Money.REFUNDED), "settled_at": at}
        case _:
            _fail(10, event.key, "a known type of event", event.type)
    _allow(state, verb, actor, event, in_refund=in_refund)
    return msgspec.structs.replace(state, **effect)


def _allow(state: Contract, verb: Verb, actor: Actor, event: Event, *, in_refund: bool) -> None:
    """Refuse what `earnest.domain.rules` would have refused."""
    settles = verb in _APPROVALS and event.type != "refund.requested"
    by_other_rule = (
        # Money that had waited is taken by the client who creates the contract for it.
        (verb is Verb.FUND and actor.role is Role.CLIENT and actor.key == state.buyer)
        # A refund of a live contract cancels it first, whoever grants it.
        or (verb is Verb.CANCEL and actor.role is Role.ADMIN and in_refund)
    )
    try:
        if not by_other_rule:
            require(state, verb, actor)
            return
    except EarnestError as error:
        roles = " or ".join(sorted(RULES[verb].roles))
        found = f"{event.type} by {event.actor}: {error.message}"
        _fail(11 if settles else 10, event.key, f"a step that {roles} may take here", found)
    refused = refusal(state, verb)
    if refused is not None:
        _fail(10, event.key, "a step of the table", f"{event.type}: {refused().message}")


def _take(state: Contract, told: Step, event: Event) -> None:
    """Refuse a step of a partner's contract that the table, or its own terms, would refuse."""
    actor = _actor(event)
    if told.verb is not None:
        try:
            require(state, told.verb, actor, told.tranches)
        except EarnestError as error:
            settles = told.verb in (Verb.RELEASE, Verb.REFUND)
            found = f"{event.type} by {event.actor}: {error.message}"
            _fail(11 if settles else 10, event.key, f"a step of {told.verb}", found)
        return
    about = told.tranches
    if not about or actor.role not in told.by:
        roles = " or ".join(sorted(told.by))
        _fail(10, event.key, f"a step that {roles} may take here", f"{event.type} by {event.actor}")
    for tranche in about:
        if state.tranches[tranche] not in told.states:
            allowed = " or ".join(sorted(told.states))
            _fail(10, event.key, f"tranche {tranche} {allowed}", state.tranches[tranche])


def _check_said(told: Step, event: Event) -> None:
    """What partners are told of money is what was posted: both follow the terms and the parts."""
    said = _body.decode(event.body)
    for name, value in _body.decode(canonical(dict(told.says))).items():
        found = bytes(said.get(name, b"nothing")).decode()
        _same(11, event.key, name, bytes(value).decode(), found)


def _check_status(contract: Contract, last: Event) -> None:
    """The last word that a partner had of the status is the status."""
    said = _body.decode(last.body).get("status", b"null")
    _same(10, last.key, "status", partner_status(contract), msgspec.json.decode(said))


def _check_creator(contract: Contract, actor: Actor, event: Event) -> None:
    """A contract is made by the client who buys, by a payment, or by its partner."""
    creators = {(Role.CLIENT, contract.buyer), (Role.SYSTEM, SYSTEM.key)}
    if contract.is_partners:
        creators = {(Role.PARTNER, contract.business)}
    if (actor.role, actor.key) not in creators:
        what = "the partner" if contract.is_partners else "the client or a payment"
        _fail(10, event.key, f"a creation by {what}", event.actor)


def _work(state: Contract, event: Event) -> tuple[Verb, dict[str, object]]:
    body = msgspec.json.decode(event.body, type=dict[str, str])
    _same(10, event.key, "work before", state.work, body["from"])
    to = Work(body["to"])
    if to is Work.ONGOING:
        return Verb.WORK_ON, {"work": to, "ongoing_at": event.recorded_at}
    _same(10, event.key, "work after", Work.COMPLETED, to)
    return Verb.COMPLETE, {"work": to, "completed_at": event.recorded_at}


def _cancelled(state: Contract, event: Event) -> dict[str, object]:
    body = _body.decode(event.body)
    pending = Money.REFUND_PENDING if state.funded else state.money
    return {
        "agreement": Agreement.CANCELLED,
        "tranches": state.with_tranche(0, pending),
        "cancelled_at": event.recorded_at,
        "cancelled_by": msgspec.json.decode(body["by"], type=str),
        "cancelled_work": state.work,
        "unclaimed": False,
    }


def _actor(event: Event) -> Actor:
    role, _, key = event.actor.partition(":")
    return Actor(Role(role), int(key))


def _same(invariant: int, event: int | None, name: str, expected: object, found: object) -> None:
    if expected != found:
        _fail(invariant, event, f"{name} {_words(expected)}", _words(found))


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fail(invariant: int, event: int | None, expected: str, found: str) -> NoReturn:
    raise _Broken(Finding(invariant, event, expected, found))
