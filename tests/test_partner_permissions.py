"""What a partner may do, when, in every reachable state; and what that state is called.

The rules are written down here once more, by hand from the spec, so that the table of the product
is checked against a second opinion and not against itself. The same for the names of the states:
in Python, and in the SQL that lists use.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import msgspec
import pytest

from brokered import PARTS, PLAIN, REACHABLE, state
from earnest.domain.contract import Agreement, Contract, Dispute, Money, Work
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.projection import PARTNER_STATUSES, milestone_status, partner_status
from earnest.domain.rules import RULES, Verb
from earnest.store.db import Pool
from till import BROKER, OLGA, RIVAL, VERBS, Till

OTHERS = (
    RIVAL,
    OLGA,
    SYSTEM,
    Actor(Role.CLIENT, BROKER.key),
    Actor(Role.FREELANCER, BROKER.key),
)
BEFORE_MONEY = {"unfunded", "awaiting_payment"}


def ended(contract: Contract) -> str | None:
    """Why nothing more is agreed about."""
    if contract.agreement in ("pending", "accepted"):
        return None
    return "AlreadyCanceled" if contract.agreement == "cancelled" else "ContractEnded"


def gone(money: str) -> str:
    """Why this money is not there to be moved."""
    return {
        "released": "AlreadyReleased",
        "refunded": "AlreadyRefunded",
        "split": "AlreadyRefunded",
        "refund_pending": "RefundPending",
    }.get(money, "NotFunded")


def targets(contract: Contract, milestone: int | None) -> Sequence[str]:
    """The money that a release or a refund is about."""
    if milestone is not None:
        return [contract.tranches[milestone]]
    held = [money for money in contract.tranches if money == "held"]
    return held or list(contract.tranches)


def expected(contract: Contract, verb: str, milestone: int | None = None) -> str:
    """ "ok" or the refusal, by spec 3.4, 3.5, 7 and the decisions E6, E15, E22."""
    disputed = contract.dispute == "open"
    match verb:
        case "approve" | "reject":
            return agreeing(contract, verb)
        case "cancel":
            return cancelling(contract)
        case "deliver" | "dispute" | "receive":
            return working(contract, verb)
        case "resolve dispute":
            return "ok" if disputed else "NotInDispute"
    for money in targets(contract, milestone):
        if money != "held":
            return gone(money)
    return "InDispute" if verb == "release" and disputed else "ok"


def agreeing(contract: Contract, verb: str) -> str:
    if contract.agreement == "accepted":
        return "AlreadyApproved"
    if why := ended(contract):
        return why
    if verb == "approve":
        return "InDispute" if contract.dispute == "open" else "ok"
    paid = [money for money in contract.tranches if money not in BEFORE_MONEY]
    if not paid:
        return "ok"
    return "PaidFor" if paid[0] == "held" else gone(paid[0])


def cancelling(contract: Contract) -> str:
    if why := ended(contract):
        return why
    if contract.work == "completed":
        return "CompletedAndFunded"
    moved = [money for money in contract.tranches if money not in {*BEFORE_MONEY, "held"}]
    if moved:
        return gone(moved[0])
    return "InDispute" if contract.dispute == "open" else "ok"


def working(contract: Contract, verb: str) -> str:
    if why := ended(contract):
        return why
    money, disputed = set(contract.tranches), contract.dispute == "open"
    needed = {"held", "released", "split"} if verb == "receive" else {"held"}
    if not money & needed:
        if "refund_pending" in money:
            return "RefundPending"
        if money & BEFORE_MONEY:
            return "NotFunded"
        return "AlreadyRefunded" if verb == "receive" else "AlreadySettled"
    if verb == "dispute":
        return "AlreadyInDispute" if disputed else "ok"
    if contract.work == "completed":
        return "AlreadyReceived"
    if verb == "deliver" and contract.work == "delivered":
        return "AlreadyDelivered"
    return "InDispute" if disputed else "ok"


def label(till: Till) -> str:
    agreement, work, tranches, dispute, *_ = state(till)
    assert isinstance(tranches, tuple)
    return f"{agreement} {work} {'+'.join(tranches)} {dispute}"


# -- who, and when ------------------------------------------------------------------------------


def test_it_lets_a_partner_do_what_the_spec_says_and_nothing_else() -> None:
    seen: set[tuple[str, str]] = set()
    for till in REACHABLE:
        places: list[int | None] = [None]
        if len(till.contract.tranches) > 1:
            places += range(len(till.contract.tranches))
        for verb in VERBS:
            for place in places if verb in ("release", "refund") else [None]:
                said = till.copy().act(verb, milestone=place)
                wanted = expected(till.contract, verb, place)
                assert said == wanted, f"{verb} {place}: {label(till)}"
                seen.add((verb, said))
    assert {verb for verb, said in seen if said == "ok"} == set(VERBS)
    assert len(seen) > 40


def test_it_lets_nobody_else_do_anything() -> None:
    """Not another business either, whose key is another; and nobody by the number alone."""
    for till in PLAIN:
        for actor in OTHERS:
            for verb in VERBS:
                said = till.copy().act(verb, actor=actor)
                roles = RULES[Verb(verb)].roles
                known = "NotYourContract" if actor.role in roles else "WrongRole"
                assert said == known, f"{verb} by {actor.name}: {label(till)}"


def test_it_moves_money_by_release_cancel_and_the_end_of_a_refund_alone() -> None:
    for till in REACHABLE:
        for verb in VERBS:
            tried = till.copy()
            said = tried.act(verb)
            moved = len(tried.transfers) > len(till.transfers)
            assert moved is (verb == "release" and said == "ok"), f"{verb}: {label(till)}"
        tried = till.copy()
        tried.rule("approve")
        settled = tried.settle()
        assert (len(tried.transfers) > len(till.transfers)) is (settled > 0)


def test_the_books_are_in_order_in_every_state() -> None:
    for till in [*PLAIN, *PARTS[::7]]:
        # A bank at work is no step of the till's own.
        if Money.AWAITING_PAYMENT not in till.contract.tranches:
            till.look()


# -- what it is called --------------------------------------------------------------------------


def named(contract: Contract) -> str:
    """Spec 7 and E22, once more."""
    money = list(contract.tranches)
    if "refund_pending" in money:
        return "refundInProgress"
    if "held" in money or "release_requested" in money:
        return "dispute" if contract.dispute == "open" else "escrow"
    live = contract.agreement in ("draft", "pending", "accepted")
    if not live and "refunded" not in money:
        return str(contract.agreement)
    if "awaiting_payment" in money:
        return "waitingForBankPayment"
    if "unfunded" not in money:
        if "released" in money and contract.work == "completed":
            return "completed"
        return "released" if set(money) == {"released"} else "refunded"
    if contract.agreement == "accepted":
        return "accepted" if contract.work == "not_started" else "approved"
    return str(contract.agreement)


def test_every_reachable_state_has_the_name_of_the_spec() -> None:
    seen = set()
    for till in REACHABLE:
        assert partner_status(till.contract) == named(till.contract), label(till)
        seen.add(partner_status(till.contract))
        for index, money in enumerate(till.contract.tranches):
            shown = milestone_status(till.contract, index)
            if money in ("held", "refund_pending", "released", "refunded", "split"):
                assert shown == {
                    "held": "escrow",
                    "refund_pending": "refundInProgress",
                    "split": "refunded",
                }.get(money, money)
            else:
                assert shown == named(
                    msgspec.structs.replace(till.contract, tranches=(money,), work=Work.NOT_STARTED)
                ).replace("accepted", "pending")
    assert seen == set(PARTNER_STATUSES) - {"draft", "accepted", "expired", "terminated"}


def all_facets() -> list[Contract]:
    """Every combination of one and of two tranches, whether it can happen or not."""
    plain = PLAIN[0].contract
    tranches = [*product(Money), *product(Money, Money)]
    return [
        msgspec.structs.replace(plain, agreement=agreement, work=work, tranches=of, dispute=dispute)
        for agreement, work, of, dispute in product(Agreement, Work, tranches, Dispute)
    ]


IN_SQL = """
SELECT partner_status(jsonb_populate_record(NULL::contract, one))
FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS all_of (one, position)
ORDER BY position
"""


async def test_the_database_calls_every_combination_what_python_calls_it(pool: Pool) -> None:
    contracts = [*(till.contract for till in REACHABLE), *all_facets()]
    rows = [
        {
            "agreement": contract.agreement,
            "work": contract.work,
            "tranches": contract.tranches,
            "dispute": contract.dispute,
            "live": contract.live,
        }
        for contract in contracts
    ]
    async with pool.connection() as conn:
        names = await conn.fetch(IN_SQL, msgspec.json.encode(rows).decode())
    told: list[Any] = [row[0] for row in names]
    assert told == [partner_status(contract) for contract in contracts]
    assert set(told) == set(PARTNER_STATUSES)


@pytest.mark.parametrize("status", PARTNER_STATUSES)
def test_every_status_is_what_some_facets_are_called(status: str) -> None:
    assert status in {partner_status(contract) for contract in all_facets()}
