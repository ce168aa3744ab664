"""Who may do what, in which state: the one table of (state x verb x actor role).

A rule names the roles that may ask, whose contract it must be, and checks in order of
precedence: the first facet whose state is not allowed decides which refusal is uttered.
docs/states.md is generated from this table.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.party import Actor, Role
from earnest.errors import EarnestError, Forbidden, NotFound, Refused


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


# -- the refusals, in the words people read ---------------------------------------------------


class NotYourContract(Forbidden):
    """This contract is not yours."""


class WrongRole(Forbidden):
    """Unauthorized Access"""


class AlreadyCanceled(Refused):
    """This contract is already canceled."""


class ContractEnded(Refused):
    """This contract has ended."""


class AlreadyApproved(Refused):
    """This contract is already approved."""


class NotApproved(Refused):
    """The freelancer has to approve the contract first."""


class NotFunded(Refused):
    """The contract has to be paid for first."""


class AlreadyFunded(Refused):
    """This contract is already paid for."""


class NotInThisWorkState(Refused):
    """The work is not at a point where this is possible."""


class CompletedAndFunded(Refused):
    """Completed work that is paid for cannot be canceled."""


class NotCompleted(Refused):
    """You can request release only after work completion."""


class ReleaseAlreadyRequested(Refused):
    """The release of these funds is already requested."""


class AlreadyReleased(Refused):
    """Funds have already been released for this contract."""


class AlreadyRefunded(Refused):
    """Funds have already been refunded for this contract."""


class RefundPending(Refused):
    """A refund is pending for this contract."""


class ReleaseNotRequested(Refused):
    """The client has not requested the release of these funds."""


class EscrowNotFound(NotFound):
    """Escrow not found for the contract id"""


class NothingHeld(Refused):
    """Nothing is held for this contract."""


class RefundOfFinished(Refused):
    """Refund not allowed for a finished contract"""


class InDispute(Refused):
    """This contract is in dispute."""


class NotClaimable(Refused):
    """Contract is already exist"""


# -- the table ---------------------------------------------------------------------------------

Refusal = type[Refused] | type[NotFound]


class Check(msgspec.Struct, frozen=True):
    """`facet` must be in `allowed`; `why` names the refusal by state, `otherwise` the rest."""

    facet: str
    allowed: frozenset[str]
    otherwise: Refusal
    why: Mapping[str, Refusal] = {}


class Rule(msgspec.Struct, frozen=True):
    """`owner`: for each role that must own the contract, as which party ("buyer"/"seller")."""

    roles: frozenset[Role]
    owner: Mapping[Role, str]
    checks: tuple[Check, ...]


_BUYER = {Role.CLIENT: "buyer"}
_SELLER = {Role.FREELANCER: "seller"}
_NO_DISPUTE = Check("dispute", frozenset({Dispute.NONE, Dispute.RESOLVED}), InDispute)
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
)

RULES: dict[Verb, Rule] = {
    Verb.APPROVE: Rule(
        frozenset({Role.FREELANCER}),
        _SELLER,
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
        frozenset({Role.CLIENT, Role.FREELANCER}),
        {**_BUYER, **_SELLER},
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


def facet(contract: Contract, name: str) -> str:
    """The state of one facet, under the names that the table uses."""
    match name:
        case "agreement":
            return contract.agreement
        case "work":
            return contract.work
        case "money":
            return contract.money
        case "dispute":
            return contract.dispute
        case "unclaimed":
            return "yes" if contract.unclaimed and contract.live else "no"
        case "cancelled and unpaid":
            return "yes" if not contract.live and not contract.funded else "no"
    raise ValueError(name)


def refusal(contract: Contract, verb: Verb) -> type[Refused] | type[NotFound] | None:
    """Why the contract's state does not allow `verb`, or None when it does."""
    for check in RULES[verb].checks:
        state = facet(contract, check.facet)
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


def require(contract: Contract, verb: Verb, actor: Actor) -> None:
    """Let `actor` do `verb` on `contract` now, or raise the refusal that fits best.

    Raises WrongRole, NotYourContract (403), and what the table names (400, 404).
    """
    require_standing(contract, verb, actor)
    refused = refusal(contract, verb)
    if refused is not None:
        raise refused
