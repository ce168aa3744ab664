"""The whole table of who may do what: each verb when all is right, and with each thing that is not.

Written by hand from the specs. Nothing here asks whether a state can be reached: a rule that only
holds because of another one is still held.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import combinations

import pytest

from earnest.domain.contract import Agreement, Contract, Dispute, Money, Terms, Work
from earnest.domain.party import Actor, Role
from earnest.domain.rules import Verb, facet, refusal, refusals, require, require_standing
from earnest.errors import EarnestError
from earnest.ids import PublicId

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
KEYS = {"buyer": 1, "seller": 2, "business": 6}
STRANGER = 4

# Verbs, and a contract that allows them: agreement, work, money, dispute. Below them, in the
# order in which they are looked at, the states that do not, and why. All others do.
TABLE = """
approve: pending not_started unfunded none
    agreement: accepted AlreadyApproved
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    dispute: open InDispute
claim: pending not_started held none
    agreement: rejected expired cancelled terminated NotClaimable
work on: accepted started held none
    agreement: cancelled AlreadyCanceled
    agreement: draft pending NotApproved
    agreement: rejected expired terminated ContractEnded
    work: not_started ongoing delivered completed NotInThisWorkState
    money: unfunded awaiting_payment NotFunded
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    dispute: open InDispute
complete: accepted ongoing held none
    agreement: cancelled AlreadyCanceled
    agreement: draft pending NotApproved
    agreement: rejected expired terminated ContractEnded
    work: not_started started completed NotInThisWorkState
    money: unfunded awaiting_payment NotFunded
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    dispute: open InDispute
cancel: accepted started held none
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    work: completed CompletedAndFunded
    money: release_requested released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    dispute: open InDispute
    charged_back: yes ChargedBackNow
fund: accepted started unfunded none
    money: held release_requested released refund_pending refunded split AlreadyFunded
request release: accepted completed held none
    agreement: cancelled AlreadyCanceled
    agreement: draft pending rejected expired terminated NotCompleted
    work: not_started started ongoing delivered NotCompleted
    money: unfunded awaiting_payment NotFunded
    money: release_requested ReleaseAlreadyRequested
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    dispute: open InDispute
approve release: accepted completed release_requested none
    money: unfunded awaiting_payment EscrowNotFound
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    work: not_started started ongoing delivered ReleaseNotRequested
    dispute: open InDispute
    charged_back: yes ChargedBackNow
request refund, approve refund: accepted started held none
    money: unfunded awaiting_payment EscrowNotFound
    money: released RefundOfFinished
    money: refunded split AlreadyRefunded
    work: completed RefundOfFinished
    dispute: open InDispute
    charged_back: yes ChargedBackNow
reject: pending not_started unfunded none
    agreement: accepted AlreadyApproved
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    money: held release_requested PaidFor
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
deliver: accepted started held none
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    money: unfunded awaiting_payment NotFunded
    money: refund_pending RefundPending
    money: released refunded split AlreadySettled
    work: delivered AlreadyDelivered
    work: completed AlreadyReceived
    dispute: open InDispute
receive: accepted delivered held none
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    money: unfunded awaiting_payment release_requested NotFunded
    money: refund_pending RefundPending
    money: refunded AlreadyRefunded
    work: completed AlreadyReceived
    dispute: open InDispute
dispute: accepted started held none
    agreement: cancelled AlreadyCanceled
    agreement: draft rejected expired terminated ContractEnded
    money: unfunded awaiting_payment NotFunded
    money: refund_pending RefundPending
    money: released refunded split AlreadySettled
    dispute: open AlreadyInDispute
resolve dispute: accepted started held open
    dispute: none resolved NotInDispute
release: accepted completed held none
    money: unfunded awaiting_payment release_requested NotFunded
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    dispute: open InDispute
    charged_back: yes ChargedBackNow
refund: accepted started held none
    money: unfunded awaiting_payment release_requested NotFunded
    money: released AlreadyReleased
    money: refund_pending RefundPending
    money: refunded split AlreadyRefunded
    charged_back: yes ChargedBackNow
"""
FACETS: dict[str, type[StrEnum]] = {
    "agreement": Agreement,
    "work": Work,
    "money": Money,
    "dispute": Dispute,
}

# Who may ask at all, and as whom of the contract.
WHO = """
verb             client  freelancer  admin  partner   system
approve          -       seller      -      business  -
claim            buyer   -           -      -         -
work on          -       seller      -      -         -
complete         -       seller      -      -         -
cancel           buyer   seller      -      business  -
fund             -       -           -      -         anyone
request release  buyer   -           -      -         -
approve release  -       -           anyone -         -
request refund   buyer   -           -      -         -
approve refund   -       -           anyone -         -
reject           -       -           -      business  -
deliver          -       -           -      business  -
receive          -       -           -      business  -
dispute          -       -           -      business  -
resolve dispute  -       -           -      business  -
release          -       -           -      business  -
refund           -       -           -      business  -
"""
WHO_MAY = {
    row[:17].strip(): dict(zip(Role, row[17:].split(), strict=True))
    for row in WHO.strip().splitlines()[1:]
}
# What the state of one tranche alone does not show: contracts that ended unpaid, or are claimed.
BESIDES = {
    "request refund": {"NothingHeld"},
    "approve refund": {"NothingHeld"},
}

Wrong = dict[tuple[str, str], str]


def _read() -> Iterator[tuple[str, dict[str, str], Wrong]]:
    """Verb, the facets of a contract that allows it, and (facet, state) -> refusal in order."""
    for block in TABLE.strip().replace("\n    ", ";").splitlines():
        head, *lines = block.split(";")
        verbs, right = head.split(": ")
        wrong: Wrong = {}
        for line in lines:
            name, *states, why = line.replace(":", "").split()
            wrong |= {(name, state): why for state in states}
        for verb in verbs.split(", "):
            yield verb, dict(zip(FACETS, right.split(), strict=True)), wrong


RIGHT = {verb: right for verb, right, _ in _read()}
WRONG = {verb: wrong for verb, _, wrong in _read()}


def contract(
    verb: str, *changes: tuple[str, str], tranches: tuple[str, ...] = (), claimed: bool = False
) -> Contract:
    """One that allows `verb`, but for these facets."""
    facets = RIGHT[verb] | dict(changes)
    money = tranches or (facets["money"],)
    return Contract(
        key=9,
        public_id=PublicId("0" * 24),
        business=KEYS["business"],
        number="CON1",
        buyer=KEYS["buyer"],
        seller=KEYS["seller"],
        job=None,
        currency="SAR",
        amount_minor=100,
        created_at=NOW,
        terms=Terms("Logo", (), ()),
        version=1,
        commit_id=1,
        updated_at=NOW,
        agreement=Agreement(facets["agreement"]),
        work=Work(facets["work"]),
        dispute=Dispute(facets["dispute"]),
        tranches=tuple(Money(state) for state in money),
        charged_back=facets.get("charged_back") == "yes",
        unclaimed=verb == "claim" and not claimed,
    )


def said(about: Contract, verb: str, tranches: tuple[int, ...] | None = None) -> str:
    """ "ok" or the refusal."""
    why = refusal(about, Verb(verb), tranches)
    return "ok" if why is None else why.__name__


def states(name: str) -> list[str]:
    return ["no", "yes"] if name == "charged_back" else [str(one) for one in FACETS[name]]


def test_every_verb_has_its_row() -> None:
    assert list(RIGHT) == list(WHO_MAY) == [str(verb) for verb in Verb]


# -- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", RIGHT)
def test_it_refuses_each_state_that_is_wrong_for_its_reason_and_no_other_state(verb: str) -> None:
    assert said(contract(verb), verb) == "ok"
    for name in (*FACETS, "charged_back"):
        found = {state: said(contract(verb, (name, state)), verb) for state in states(name)}
        assert found == {state: WRONG[verb].get((name, state), "ok") for state in states(name)}


@pytest.mark.parametrize("verb", RIGHT)
def test_of_two_reasons_it_gives_the_first_of_the_table(verb: str) -> None:
    for (one, why), (other, _) in combinations(WRONG[verb].items(), 2):
        if one[0] != other[0]:
            assert said(contract(verb, one, other), verb) == why, f"{one} and {other}"


@pytest.mark.parametrize("verb", ["request refund", "approve refund"])
def test_nothing_is_held_for_a_contract_that_ended_before_it_was_paid(verb: str) -> None:
    found = {
        (str(agreement), str(money)): said(
            contract(verb, ("agreement", agreement), ("money", money)), verb
        )
        for agreement in Agreement
        for money in (Money.UNFUNDED, Money.AWAITING_PAYMENT, Money.HELD)
    }
    live = {"draft", "pending", "accepted"}
    unpaid = {"unfunded", "awaiting_payment"}
    assert found == {
        (agreement, money): "ok"
        if money not in unpaid
        else ("EscrowNotFound" if agreement in live else "NothingHeld")
        for agreement, money in found
    }


def test_a_contract_is_claimed_once() -> None:
    assert said(contract("claim"), "claim") == "ok"
    assert said(contract("claim", claimed=True), "claim") == "NotClaimable"


@pytest.mark.parametrize(
    ("tranches", "deliver", "receive"),
    [
        ("unfunded held", "ok", "ok"),
        ("released held", "ok", "ok"),
        ("released release_requested", "ok", "ok"),
        ("refunded held", "ok", "ok"),
        ("refund_pending held", "ok", "ok"),
        ("refund_pending release_requested", "ok", "RefundPending"),
        ("refund_pending released", "RefundPending", "ok"),
        ("refund_pending split", "RefundPending", "ok"),
        ("refund_pending refunded", "RefundPending", "RefundPending"),
        ("refunded refunded", "AlreadySettled", "AlreadyRefunded"),
        ("refunded split", "AlreadySettled", "ok"),
        ("refunded released", "AlreadySettled", "ok"),
        ("refunded unfunded", "NotFunded", "NotFunded"),
    ],
)
def test_what_is_delivered_needs_money_in_any_tranche(
    tranches: str, deliver: str, receive: str
) -> None:
    several = tuple(tranches.split())
    for of in (several, several[::-1]):
        assert said(contract("deliver", tranches=of), "deliver") == deliver
        assert said(contract("dispute", tranches=of), "dispute") == deliver
        assert said(contract("receive", tranches=of), "receive") == receive


def test_it_looks_at_the_tranches_that_are_asked_for_and_else_at_all() -> None:
    about = contract("release", tranches=("held", "refunded", "unfunded"))
    assert [said(about, "release", (index,)) for index in range(3)] == [
        "ok",
        "AlreadyRefunded",
        "NotFunded",
    ]
    assert said(about, "release", (0, 2)) == "NotFunded"
    assert said(about, "release") == "AlreadyRefunded"
    assert said(about, "release", ()) == "ok"


def test_what_is_looked_at_has_a_word_in_every_state() -> None:
    names = ("charged back", "unclaimed", "cancelled and unpaid", "in escrow")
    new = contract("fund")
    assert [facet(new, name) for name in names] == ["no", "no", "no", "no"]
    assert facet(new, "something for the seller") == "no"
    ended = contract("fund", ("agreement", "cancelled"), ("charged_back", "yes"))
    assert [facet(ended, name) for name in names] == ["yes", "no", "yes", "no"]
    assert facet(contract("claim"), "unclaimed") == "yes"


def test_a_facet_of_the_money_is_the_first_tranches_unless_another_is_named() -> None:
    about = contract("release", tranches=("held", "refunded"))
    assert facet(about, "money") == "held"
    assert facet(about, "money", 1) == "refunded"
    with pytest.raises(ValueError, match="weather"):
        facet(about, "weather")


# -- who ------------------------------------------------------------------------------------------


def standing(verb: str, role: Role, key: int) -> str:
    try:
        require_standing(contract(verb), Verb(verb), Actor(role, key))
    except EarnestError as refused:
        return type(refused).__name__
    return "ok"


@pytest.mark.parametrize("verb", RIGHT)
def test_it_lets_those_ask_whose_contract_it_is_in_the_right_role(verb: str) -> None:
    for role, who in WHO_MAY[verb].items():
        keys = (*KEYS.values(), STRANGER)
        wanted = {
            "-": dict.fromkeys(keys, "WrongRole"),
            "anyone": dict.fromkeys(keys, "ok"),
        }.get(who) or {key: "ok" if key == KEYS.get(who) else "NotYourContract" for key in keys}
        assert {key: standing(verb, role, key) for key in keys} == wanted, role


def test_a_stranger_learns_nothing_of_the_state() -> None:
    ended = contract("cancel", ("agreement", "cancelled"))
    for actor, why in (
        (Actor(Role.CLIENT, KEYS["seller"]), "NotYourContract"),
        (Actor(Role.ADMIN, KEYS["buyer"]), "WrongRole"),
        (Actor(Role.CLIENT, KEYS["buyer"]), "AlreadyCanceled"),
    ):
        with pytest.raises(EarnestError) as refused:
            require(ended, Verb.CANCEL, actor)
        assert type(refused.value).__name__ == why


def test_it_lets_the_right_one_act_on_the_tranches_that_allow_it() -> None:
    about = contract("release", tranches=("held", "refunded"))
    partner = Actor(Role.PARTNER, KEYS["business"])
    require(about, Verb.RELEASE, partner, (0,))
    with pytest.raises(EarnestError) as refused:
        require(about, Verb.RELEASE, partner, (1,))
    assert type(refused.value).__name__ == "AlreadyRefunded"


# -- what the API documents -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", RIGHT)
def test_it_lists_every_refusal_that_a_verb_can_meet_and_no_other(verb: str) -> None:
    anyone = set(WHO_MAY[verb].values()) <= {"-", "anyone"}
    wanted = set(WRONG[verb].values()) | BESIDES.get(verb, set())
    wanted |= set() if anyone else {"NotYourContract"}
    listed = [one.__name__ for one in refusals(Verb(verb))]
    assert sorted(listed) == sorted(wanted)


def test_refusals_of_several_verbs_are_listed_once() -> None:
    both = [one.__name__ for one in refusals(Verb.CLAIM, Verb.RESOLVE)]
    assert both == ["NotYourContract", "NotClaimable", "NotInDispute"]
