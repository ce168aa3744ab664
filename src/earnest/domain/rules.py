"""Who may do what, in which state: the one table of (state x verb x actor role).

A rule names the roles that may ask, whose contract it must be, and checks in order of
precedence: the first facet whose state is not allowed decides which refusal is uttered.
docs/states.md is generated from this table.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.party import Actor, Role
from earnest.domain.refusals import (
    AlreadyApproved,
    AlreadyCanceled,
    AlreadyDelivered,
    AlreadyFunded,
    AlreadyInDispute,
    AlreadyReceived,
    AlreadyRefunded,
    AlreadyReleased,
    AlreadySettled,
    ChargedBackNow,
    CompletedAndFunded,
    ContractEnded,
    EscrowNotFound,
    InDispute,
    NotApproved,
    NotClaimable,
    NotCompleted,
    NotFunded,
    NothingHeld,
    NotInDispute,
    NotInThisWorkState,
    NotYourContract,
    PaidFor,
    RefundOfFinished,
    RefundPending,
    ReleaseAlreadyRequested,
    ReleaseNotRequested,
    WrongRole,
)
from earnest.errors import EarnestError, NotFound, Refused


class Verb(StrEnum):
    APPROVE = "approve"
    CLAIM = "claim"
    WORK_ON = "work on"
    COMPLETE = "complete"
    CANCEL = "cancel"
    FUND = "fund"
    REQUEST_RELEASE = "request release"
    APPROVE_RELEASE = "approve release"
    REQUEST_REFUND = "request refund"
    APPROVE_REFUND = "approve refund"
    REJECT = "reject"
    DELIVER = "deliver"
    RECEIVE = "receive"
    DISPUTE = "dispute"
    RESOLVE = "resolve dispute"
    RELEASE = "release"
    REFUND = "refund"


# -- the table ---------------------------------------------------------------------------------

Refusal = type[Refused] | type[NotFound]


class Check(msgspec.Struct, frozen=True):
    """`facet` must be in `allowed`; `why` names the refusal by state, `otherwise` the rest."""

    facet: str
    allowed: frozenset[str]
    otherwise: Refusal
    why: Mapping[str, Refusal] = {}


class Rule(msgspec.Struct, frozen=True):
    """`owner`: for each role that must own the contract, as what: "buyer", "seller", or the
    "business" whose contract it is."""

    roles: frozenset[Role]
    owner: Mapping[Role, str]
    checks: tuple[Check, ...]


_BUYER = {Role.CLIENT: "buyer"}
_SELLER = {Role.FREELANCER: "seller"}
_BUSINESS = {Role.PARTNER: "business"}
_NO_DISPUTE = Check("dispute", frozenset({Dispute.NONE, Dispute.RESOLVED}), InDispute)
_NOT_CHARGED_BACK = Check("charged back", frozenset({"no"}), ChargedBackNow)
_GONE: dict[str, Refusal] = {Agreement.CANCELLED: AlreadyCanceled}
_SETTLED: dict[str, Refusal] = {
    Money.RELEASED: AlreadyReleased,
    Money.REFUNDED: AlreadyRefunded,
    Money.SPLIT: AlreadyRefunded,
    Money.REFUND_PENDING: RefundPending,
}
_ACCEPTED = Check(
    "agreement",
    frozenset({Agreement.ACCEPTED}),
    ContractEnded,
    {**_GONE, Agreement.PENDING: NotApproved, Agreement.DRAFT: NotApproved},
)
_LIVE = Check("agreement", frozenset({Agreement.PENDING, Agreement.ACCEPTED}), ContractEnded, _GONE)
_IN_ESCROW = Check(
    "in escrow",
    frozenset({"yes"}),
    NotFunded,
    {"settled": AlreadySettled, "refund pending": RefundPending},
)
_HELD = Check("money", frozenset({Money.HELD}), NotFunded, _SETTLED)
_PAID_FOR = Check("money", frozenset({Money.HELD, Money.RELEASE_REQUESTED}), NotFunded, _SETTLED)
_UNFINISHED = frozenset({Work.NOT_STARTED, Work.STARTED, Work.ONGOING, Work.DELIVERED})
# Asked for by the client or granted by an admin: the same contracts.
_REFUNDABLE = (
    Check("cancelled and unpaid", frozenset({"no"}), NothingHeld),
    Check(
        "money",
        frozenset({Money.HELD, Money.RELEASE_REQUESTED, Money.REFUND_PENDING}),
        EscrowNotFound,
        {**_SETTLED, Money.RELEASED: RefundOfFinished},
    ),
    Check("work", _UNFINISHED, RefundOfFinished),
    _NO_DISPUTE,
    _NOT_CHARGED_BACK,
)

RULES: dict[Verb, Rule] = {
    Verb.APPROVE: Rule(
        frozenset({Role.FREELANCER, Role.PARTNER}),
        {**_SELLER, **_BUSINESS},
        (
            Check(
                "agreement",
                frozenset({Agreement.PENDING}),
                ContractEnded,
                {**_GONE, Agreement.ACCEPTED: AlreadyApproved},
            ),
            _NO_DISPUTE,
        ),
    ),
    Verb.CLAIM: Rule(
        frozenset({Role.CLIENT}),
        _BUYER,
        (Check("unclaimed", frozenset({"yes"}), NotClaimable),),
    ),
    Verb.WORK_ON: Rule(
        frozenset({Role.FREELANCER}),
        _SELLER,
        (
            _ACCEPTED,
            Check("work", frozenset({Work.STARTED}), NotInThisWorkState),
            _PAID_FOR,
            _NO_DISPUTE,
        ),
    ),
    Verb.COMPLETE: Rule(
        frozenset({Role.FREELANCER}),
        _SELLER,
        (
            _ACCEPTED,
            Check("work", frozenset({Work.ONGOING, Work.DELIVERED}), NotInThisWorkState),
            _PAID_FOR,
            _NO_DISPUTE,
        ),
    ),
    Verb.CANCEL: Rule(
        frozenset({Role.CLIENT, Role.FREELANCER, Role.PARTNER}),
        {**_BUYER, **_SELLER, **_BUSINESS},
        (
            _LIVE,
            Check("work", _UNFINISHED, CompletedAndFunded),
            Check(
                "money",
                frozenset({Money.UNFUNDED, Money.AWAITING_PAYMENT, Money.HELD}),
                AlreadyReleased,
                _SETTLED,
            ),
            _NO_DISPUTE,
            _NOT_CHARGED_BACK,
        ),
    ),
    Verb.FUND: Rule(
        frozenset({Role.SYSTEM}),
        {},
        (Check("money", frozenset({Money.UNFUNDED, Money.AWAITING_PAYMENT}), AlreadyFunded),),
    ),
    Verb.REQUEST_RELEASE: Rule(
        frozenset({Role.CLIENT}),
        _BUYER,
        (
            Check("agreement", frozenset({Agreement.ACCEPTED}), NotCompleted, _GONE),
            Check("work", frozenset({Work.COMPLETED}), NotCompleted),
            Check(
                "money",
                frozenset({Money.HELD}),
                NotFunded,
                {**_SETTLED, Money.RELEASE_REQUESTED: ReleaseAlreadyRequested},
            ),
            _NO_DISPUTE,
        ),
    ),
    Verb.APPROVE_RELEASE: Rule(
        frozenset({Role.ADMIN}),
        {},
        (
            Check(
                "money",
                frozenset({Money.RELEASE_REQUESTED, Money.HELD}),
                EscrowNotFound,
                _SETTLED,
            ),
            Check("work", frozenset({Work.COMPLETED}), ReleaseNotRequested),
            _NO_DISPUTE,
            _NOT_CHARGED_BACK,
        ),
    ),
    Verb.REQUEST_REFUND: Rule(
        frozenset({Role.CLIENT}),
        _BUYER,
        _REFUNDABLE,
    ),
    Verb.APPROVE_REFUND: Rule(
        frozenset({Role.ADMIN}),
        {},
        _REFUNDABLE,
    ),
    Verb.REJECT: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (
            Check(
                "agreement",
                frozenset({Agreement.PENDING}),
                ContractEnded,
                {**_GONE, Agreement.ACCEPTED: AlreadyApproved},
            ),
            Check("money", frozenset({Money.UNFUNDED, Money.AWAITING_PAYMENT}), PaidFor, _SETTLED),
        ),
    ),
    Verb.DELIVER: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (
            _LIVE,
            _IN_ESCROW,
            Check(
                "work",
                frozenset({Work.NOT_STARTED, Work.STARTED, Work.ONGOING}),
                AlreadyDelivered,
                {Work.COMPLETED: AlreadyReceived},
            ),
            _NO_DISPUTE,
        ),
    ),
    Verb.RECEIVE: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (
            _LIVE,
            Check(
                "something for the seller",
                frozenset({"yes"}),
                NotFunded,
                {"refunded": AlreadyRefunded, "refund pending": RefundPending},
            ),
            Check("work", _UNFINISHED, AlreadyReceived),
            _NO_DISPUTE,
        ),
    ),
    Verb.DISPUTE: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (
            _LIVE,
            _IN_ESCROW,
            Check("dispute", frozenset({Dispute.NONE, Dispute.RESOLVED}), AlreadyInDispute),
        ),
    ),
    Verb.RESOLVE: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (Check("dispute", frozenset({Dispute.OPEN}), NotInDispute),),
    ),
    Verb.RELEASE: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (_HELD, _NO_DISPUTE, _NOT_CHARGED_BACK),
    ),
    Verb.REFUND: Rule(
        frozenset({Role.PARTNER}),
        _BUSINESS,
        (_HELD, _NOT_CHARGED_BACK),
    ),
}


def refusals(*verbs: Verb) -> tuple[type[EarnestError], ...]:
    """Everything that `require` can raise for these verbs once the caller's role is right."""
    found: dict[type[EarnestError], None] = {}
    for verb in verbs:
        if RULES[verb].owner:
            found[NotYourContract] = None
        for check in RULES[verb].checks:
            reasons = [why for state, why in check.why.items() if state not in check.allowed]
            found |= dict.fromkeys((*reasons, check.otherwise))
    return tuple(found)


def facet(contract: Contract, name: str, tranche: int = 0) -> str:
    """The state of one facet, under the names that the table uses; "money" is a tranche's."""
    match name:
        case "agreement" | "work" | "dispute":
            state: str = getattr(contract, name)
            return state
        case "money":
            return contract.tranches[tranche]
        case "charged back":
            return "yes" if contract.charged_back else "no"
        case "unclaimed":
            return "yes" if contract.unclaimed and contract.live else "no"
        case "cancelled and unpaid":
            return "yes" if not contract.live and not contract.funded else "no"
        case "in escrow":
            if contract.holding(Money.HELD, Money.RELEASE_REQUESTED):
                return "yes"
            if contract.holding(Money.REFUND_PENDING):
                return "refund pending"
            return "settled" if contract.settled else "no"
        case "something for the seller":
            if contract.holding(Money.HELD, Money.RELEASED, Money.SPLIT):
                return "yes"
            if contract.holding(Money.REFUND_PENDING):
                return "refund pending"
            return "refunded" if contract.settled else "no"
    raise ValueError(name)


def refusal(
    contract: Contract, verb: Verb, tranches: Sequence[int] | None = None
) -> type[Refused] | type[NotFound] | None:
    """Why the contract's state does not allow `verb`, or None when it does.

    `tranches` are the indexes of those that it is about; without them it is about all.
    """
    for check in RULES[verb].checks:
        about: Sequence[int] = (0,)
        if check.facet == "money":
            about = range(len(contract.tranches)) if tranches is None else tranches
        for tranche in about:
            state = facet(contract, check.facet, tranche)
            if state not in check.allowed:
                return check.why.get(state, check.otherwise)
    return None


def require_standing(contract: Contract, verb: Verb, actor: Actor) -> None:
    """Let `actor` ask for `verb` on `contract` at all, whatever state the contract is in.

    Raises WrongRole, NotYourContract (403).
    """
    rule = RULES[verb]
    if actor.role not in rule.roles:
        raise WrongRole
    match rule.owner.get(actor.role):
        case "buyer" if contract.buyer != actor.key:
            raise NotYourContract
        case "seller" if contract.seller != actor.key:
            raise NotYourContract
        case "business" if contract.business != actor.key:
            raise NotYourContract


def require(
    contract: Contract, verb: Verb, actor: Actor, tranches: Sequence[int] | None = None
) -> None:
    """Let `actor` do `verb` on `contract` now, or raise the refusal that fits best.

    `tranches` as in `refusal`.

    Raises WrongRole, NotYourContract (403), and what the table names (400, 404).
    """
    require_standing(contract, verb, actor)
    refused = refusal(contract, verb, tranches)
    if refused is not None:
        raise refused
